//! Avro schemas: types as a list of nodes that refer to one another, so that a type may hold itself.

use std::collections::HashMap;

use serde_json::Value;

/// A schema, read from its JSON.
#[derive(Clone, Debug)]
pub(in crate::format) struct Schema {
    nodes: Vec<Node>,
    pub(in crate::format) root: usize,
}

/// A type.
#[derive(Clone, Debug)]
pub(in crate::format) struct Node {
    pub(in crate::format) shape: Shape,
    pub(in crate::format) logical: Option<Logical>,
}

/// How data of a type are written.
#[derive(Clone, Debug)]
pub(in crate::format) enum Shape {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Enum(Vec<String>),
    /// Nodes, here and below.
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    Record(Vec<Field>),
}

/// A field of a record.
#[derive(Clone, Debug)]
pub(in crate::format) struct Field {
    pub(in crate::format) name: String,
    /// Names that it had in earlier versions.
    pub(in crate::format) aliases: Vec<String>,
    pub(in crate::format) node: usize,
    /// What readers take where a writer's schema lacks the field; none if it says nothing.
    pub(in crate::format) default: Option<Value>,
}

/// What a type means beyond how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) enum Logical {
    Decimal {
        precision: u32,
        scale: i32,
    },
    Uuid,
    Date,
    /// An instant by its number of units in a millisecond; `zoned` is false for the time of a clock on the wall.
    Timestamp {
        per_ms: i64,
        zoned: bool,
    },
}

impl Schema {
    /// Reads a schema; `references` are those that it names, each after the ones that it names itself.
    pub(in crate::format) fn parse(text: &str, references: &[&str]) -> Result<Self, String> {
        let mut parser = Parser { nodes: Vec::new(), names: HashMap::new() };
        let mut root = 0;
        for text in references.iter().chain([&text]) {
            let json: Value = serde_json::from_str(text).or_else(|error| {
                // Registries hand out the schema of a primitive type as its bare name, too.
                if text.chars().all(|c| c.is_ascii_alphanumeric()) && !text.is_empty() {
                    Ok(Value::String((*text).to_owned()))
                } else {
                    Err(format!("the schema is not JSON: {error}"))
                }
            })?;
            root = parser.node(&json, "")?;
        }
        let schema = Self { nodes: parser.nodes, root };
        Ok(schema)
    }

    /// A node of this schema.
    pub(in crate::format) fn node(&self, node: usize) -> &Node {
        const NULL: Node = Node { shape: Shape::Null, logical: None };
        self.nodes.get(node).unwrap_or(&NULL)
    }

    /// The fields of a node if it is a record.
    pub(in crate::format) fn fields(&self, node: usize) -> Option<&[Field]> {
        match &self.node(node).shape {
            Shape::Record(fields) => Some(fields),
            _ => None,
        }
    }

    /// What a type is called in messages.
    pub(in crate::format) fn describe(&self, node: usize) -> String {
        let node = self.node(node);
        let shape = match &node.shape {
            Shape::Null => "null",
            Shape::Boolean => "boolean",
            Shape::Int => "int",
            Shape::Long => "long",
            Shape::Float => "float",
            Shape::Double => "double",
            Shape::Bytes => "bytes",
            Shape::String => "string",
            Shape::Fixed(_) => "fixed",
            Shape::Enum(_) => "an enum",
            Shape::Array(_) => "an array",
            Shape::Map(_) => "a map",
            Shape::Record(_) => "a record",
            Shape::Union(branches) => {
                let branches: Vec<String> = branches.iter().map(|b| self.describe(*b)).collect();
                return format!("a union of {}", branches.join(", "));
            }
        };
        match node.logical {
            None => shape.to_owned(),
            Some(Logical::Decimal { .. }) => format!("{shape} (decimal)"),
            Some(Logical::Uuid) => format!("{shape} (uuid)"),
            Some(Logical::Date) => format!("{shape} (date)"),
            Some(Logical::Timestamp { zoned: true, .. }) => format!("{shape} (timestamp)"),
            Some(Logical::Timestamp { zoned: false, .. }) => format!("{shape} (local timestamp)"),
        }
    }
}

struct Parser {
    nodes: Vec<Node>,
    names: HashMap<String, usize>,
}

impl Parser {
    fn add(&mut self, shape: Shape) -> usize {
        self.nodes.push(Node { shape, logical: None });
        self.nodes.len() - 1
    }

    fn node(&mut self, json: &Value, namespace: &str) -> Result<usize, String> {
        match json {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|b| self.node(b, namespace)).collect::<Result<Vec<_>, _>>()?;
                if branches.iter().any(|b| matches!(self.nodes.get(*b).map(|n| &n.shape), Some(Shape::Union(_)))) {
                    return Err("a union within a union".to_owned());
                }
                Ok(self.add(Shape::Union(branches)))
            }
            Value::Object(attributes) => {
                let Some(kind) = attributes.get("type") else { return Err("a schema without `type`".to_owned()) };
                // `{"type": {"type": ..}}` is the type within.
                let Value::String(kind) = kind else { return self.node(kind, namespace) };
                self.complex(kind, json, namespace)
            }
            _ => Err("a schema that is neither a name, a list nor an object".to_owned()),
        }
    }

    fn named(&mut self, name: &str, namespace: &str) -> Result<usize, String> {
        let shape = match name {
            "null" => Shape::Null,
            "boolean" => Shape::Boolean,
            "int" => Shape::Int,
            "long" => Shape::Long,
            "float" => Shape::Float,
            "double" => Shape::Double,
            "bytes" => Shape::Bytes,
            "string" => Shape::String,
            _ => {
                let found = self.names.get(&full_name(name, namespace)).or_else(|| self.names.get(name));
                return found.copied().ok_or_else(|| format!("type `{name}` is not defined"));
            }
        };
        Ok(self.add(shape))
    }

    fn complex(&mut self, kind: &str, json: &Value, namespace: &str) -> Result<usize, String> {
        let text = |name: &str| json.get(name).and_then(|v| v.as_str());
        let inner = |name: &str| json.get(name).ok_or_else(|| format!("{kind} without `{name}`"));
        match kind {
            "record" | "error" | "enum" | "fixed" => {
                let name = text("name").ok_or_else(|| format!("{kind} without `name`"))?;
                let namespace = match name.rsplit_once('.') {
                    Some((namespace, _)) => namespace.to_owned(),
                    None => text("namespace").unwrap_or(namespace).to_owned(),
                };
                let node = self.add(Shape::Null);
                self.names.insert(full_name(name, &namespace), node);
                for alias in strings(json.get("aliases")) {
                    self.names.entry(full_name(&alias, &namespace)).or_insert(node);
                }
                let shape = match kind {
                    "enum" => Shape::Enum(strings(json.get("symbols"))),
                    "fixed" => {
                        let size = json.get("size").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
                        Shape::Fixed(size.ok_or_else(|| format!("fixed `{name}` without `size`"))?)
                    }
                    _ => Shape::Record(self.fields(inner("fields")?, &namespace)?),
                };
                if let Some(place) = self.nodes.get_mut(node) {
                    place.logical = logical(json, &shape);
                    place.shape = shape;
                }
                Ok(node)
            }
            "array" => {
                let items = self.node(inner("items")?, namespace)?;
                Ok(self.add(Shape::Array(items)))
            }
            "map" => {
                let values = self.node(inner("values")?, namespace)?;
                Ok(self.add(Shape::Map(values)))
            }
            primitive => {
                let node = self.named(primitive, namespace)?;
                let meaning = self.nodes.get(node).and_then(|n| logical(json, &n.shape));
                if let (Some(place), Some(meaning)) = (self.nodes.get_mut(node), meaning) {
                    place.logical = Some(meaning);
                }
                Ok(node)
            }
        }
    }

    fn fields(&mut self, fields: &Value, namespace: &str) -> Result<Vec<Field>, String> {
        let fields = fields.as_array().ok_or("`fields` is not a list")?;
        let mut made: Vec<Field> = Vec::with_capacity(fields.len());
        for field in fields {
            let name = field.get("name").and_then(|n| n.as_str()).ok_or("a field without `name`")?;
            let of = field.get("type").ok_or_else(|| format!("field `{name}` without `type`"))?;
            let node = self.node(of, namespace)?;
            let default = field.get("default").cloned();
            made.push(Field { name: name.to_owned(), aliases: strings(field.get("aliases")), node, default });
        }
        Ok(made)
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if namespace.is_empty() || name.contains('.') { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let elements = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    elements.iter().filter_map(|e| e.as_str().map(str::to_owned)).collect()
}

/// The meaning of a type by its attributes: Avro's own, or that of Kafka Connect and Debezium. One that does not fit is
/// ignored, as the specification asks.
fn logical(json: &Value, shape: &Shape) -> Option<Logical> {
    let text = |name: &str| json.get(name).and_then(|v| v.as_str());
    let timestamp = |per_ms, zoned| Some(Logical::Timestamp { per_ms, zoned });
    let of_avro = match (text("logicalType").unwrap_or_default(), shape) {
        ("decimal", Shape::Bytes | Shape::Fixed(_)) => {
            let scale = json.get("scale").and_then(Value::as_i64).unwrap_or(0);
            let precision = json.get("precision").and_then(Value::as_u64).unwrap_or(0);
            let precision = u32::try_from(precision).unwrap_or(u32::MAX);
            i32::try_from(scale).ok().map(|scale| Logical::Decimal { precision, scale })
        }
        ("uuid", Shape::String | Shape::Fixed(16)) => Some(Logical::Uuid),
        ("date", Shape::Int) => Some(Logical::Date),
        ("timestamp-millis", Shape::Long) => timestamp(1, true),
        ("timestamp-micros", Shape::Long) => timestamp(1_000, true),
        ("timestamp-nanos", Shape::Long) => timestamp(1_000_000, true),
        ("local-timestamp-millis", Shape::Long) => timestamp(1, false),
        ("local-timestamp-micros", Shape::Long) => timestamp(1_000, false),
        ("local-timestamp-nanos", Shape::Long) => timestamp(1_000_000, false),
        _ => None,
    };
    of_avro.or_else(|| match (text("connect.name").unwrap_or_default(), shape) {
        ("io.debezium.time.Date" | "org.apache.kafka.connect.data.Date", Shape::Int) => Some(Logical::Date),
        ("io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp", Shape::Long) => timestamp(1, true),
        ("io.debezium.time.MicroTimestamp", Shape::Long) => timestamp(1_000, true),
        ("io.debezium.time.NanoTimestamp", Shape::Long) => timestamp(1_000_000, true),
        _ => None,
    })
}
