//! What most functions have in common: arguments of fixed types, one result a row, null where there is no answer.
//!
//! A [`Definition`] says what is particular to one function. Constants stay single values, however many rows there are, and
//! those that can never have an answer are refused when a rule is planned.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::arguments::documentation;

/// What a function takes and yields.
pub(super) struct Definition {
    /// The name in SQL.
    pub name: &'static str,
    /// Under which heading it is listed.
    pub family: &'static str,
    /// How it is called.
    pub syntax: &'static str,
    /// What it means, its units, and the source of its formula.
    pub description: &'static str,
    /// The kinds of its arguments.
    pub arguments: &'static [Argument],
    /// The type of the result.
    pub yields: fn() -> DataType,
    /// Why constants can have no answer, if so.
    pub refuses: fn(&Constants<'_>) -> Option<&'static str>,
    /// Computes the result.
    pub evaluate: fn(&Rows) -> Result<ArrayRef>,
}

/// The kind of an argument, of which all types are taken as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    /// Text, as Utf8.
    Text,
    /// A whole number, as Int64.
    Integer,
    /// Any number, as Float64.
    Number,
}

impl Argument {
    fn taken(self, given: &DataType) -> Option<DataType> {
        let is_null = *given == DataType::Null;
        let is_text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        match (self, given) {
            (Self::Text, DataType::Dictionary(_, value)) => is_text(value).then_some(DataType::Utf8),
            (Self::Text, _) => (is_text(given) || is_null).then_some(DataType::Utf8),
            (Self::Integer, _) => (given.is_integer() || is_null).then_some(DataType::Int64),
            (Self::Number, _) => (given.is_numeric() || is_null).then_some(DataType::Float64),
        }
    }
}

/// The constant arguments of a call.
pub(super) struct Constants<'a>(&'a [Option<&'a ScalarValue>]);

impl Constants<'_> {
    fn cast(&self, idx: usize, to: &DataType) -> Option<ScalarValue> {
        self.0.get(idx).copied().flatten()?.cast_to(to).ok()
    }

    /// A constant whole number.
    pub fn integer(&self, idx: usize) -> Option<i64> {
        match self.cast(idx, &DataType::Int64)? {
            ScalarValue::Int64(value) => value,
            _ => None,
        }
    }

    /// A constant text.
    pub fn text(&self, idx: usize) -> Option<String> {
        match self.cast(idx, &DataType::Utf8)? {
            ScalarValue::Utf8(value) => value,
            _ => None,
        }
    }
}

/// No constants are refused.
pub(super) fn any(_: &Constants<'_>) -> Option<&'static str> {
    None
}

/// The arguments of a call: one value a row, or one for all rows.
pub(super) struct Rows {
    columns: Vec<(ArrayRef, bool)>,
    n_rows: usize,
}

/// One argument of a call.
pub(super) struct Column<'a, A> {
    array: &'a A,
    is_constant: bool,
}

impl<A: Array> Column<'_, A> {
    fn index(&self, row: usize) -> Option<usize> {
        let idx = if self.is_constant { 0 } else { row };
        self.array.is_valid(idx).then_some(idx)
    }
}

impl<'a> Column<'a, StringArray> {
    /// The text in a row.
    pub fn get(&self, row: usize) -> Option<&'a str> {
        self.index(row).map(|idx| self.array.value(idx))
    }
}

impl Column<'_, Float64Array> {
    /// The number in a row, if it is finite.
    pub fn get(&self, row: usize) -> Option<f64> {
        self.index(row).map(|idx| self.array.value(idx)).filter(|v| v.is_finite())
    }
}

impl Column<'_, Int64Array> {
    /// The whole number in a row.
    pub fn get(&self, row: usize) -> Option<i64> {
        self.index(row).map(|idx| self.array.value(idx))
    }
}

impl Rows {
    /// The arguments of a call. If all are constants there is one row.
    pub fn new(args: &ScalarFunctionArgs) -> Result<Self> {
        let column = |value: &ColumnarValue| {
            Ok(match value {
                ColumnarValue::Array(array) => (array.clone(), false),
                ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
            })
        };
        let columns = args.args.iter().map(column).collect::<Result<Vec<_>>>()?;
        let n_rows = if columns.iter().all(|(_, is_constant)| *is_constant) { 1 } else { args.number_rows };
        Ok(Self { columns, n_rows })
    }

    fn at(&self, idx: usize) -> Result<(&ArrayRef, bool)> {
        match self.columns.get(idx) {
            Some((array, is_constant)) => Ok((array, *is_constant)),
            None => exec_err!("argument {} is missing", idx + 1),
        }
    }

    /// A text argument.
    pub fn texts(&self, idx: usize) -> Result<Column<'_, StringArray>> {
        let (array, is_constant) = self.at(idx)?;
        match array.as_string_opt() {
            Some(array) => Ok(Column { array, is_constant }),
            None => exec_err!("argument {} is not text but {}", idx + 1, array.data_type()),
        }
    }

    /// A numeric argument.
    pub fn numbers(&self, idx: usize) -> Result<Column<'_, Float64Array>> {
        let (array, is_constant) = self.at(idx)?;
        match array.as_primitive_opt::<Float64Type>() {
            Some(array) => Ok(Column { array, is_constant }),
            None => exec_err!("argument {} is no number but {}", idx + 1, array.data_type()),
        }
    }

    /// A whole-number argument.
    pub fn integers(&self, idx: usize) -> Result<Column<'_, Int64Array>> {
        let (array, is_constant) = self.at(idx)?;
        match array.as_primitive_opt::<Int64Type>() {
            Some(array) => Ok(Column { array, is_constant }),
            None => exec_err!("argument {} is no whole number but {}", idx + 1, array.data_type()),
        }
    }

    /// One result a row, from the row's number.
    pub fn map<A, V>(&self, value: impl FnMut(usize) -> Option<V>) -> Result<ArrayRef>
    where
        A: Array + FromIterator<Option<V>> + 'static,
    {
        Ok(Arc::new((0..self.n_rows).map(value).collect::<A>()))
    }

    /// One text a row, written into a buffer; null where there is none.
    pub fn write(&self, mut text: impl FnMut(usize, &mut String) -> Option<()>) -> Result<ArrayRef> {
        let mut texts = StringBuilder::with_capacity(self.n_rows, self.n_rows * 16);
        let mut buffer = String::new();
        for row in 0..self.n_rows {
            buffer.clear();
            match text(row, &mut buffer) {
                Some(()) => texts.append_value(&buffer),
                None => texts.append_null(),
            }
        }
        Ok(Arc::new(texts.finish()))
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.n_rows
    }

    /// A result as DataFusion takes it: of constants a constant.
    pub fn finish(&self, result: ArrayRef) -> Result<ColumnarValue> {
        if self.columns.iter().all(|(_, is_constant)| *is_constant) {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// Makes functions of definitions.
pub(super) fn define(definitions: impl IntoIterator<Item = Definition>) -> Vec<ScalarUDF> {
    let function = |definition: Definition| {
        ScalarUDF::new_from_impl(Scalar {
            documentation: documentation(definition.family, definition.syntax, definition.description),
            signature: Signature::user_defined(Volatility::Immutable),
            definition,
        })
    };
    definitions.into_iter().map(function).collect()
}

struct Scalar {
    definition: Definition,
    signature: Signature,
    documentation: Documentation,
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scalar").field(&self.definition.name).finish()
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let wanted = self.definition.arguments;
        let taken: Option<Vec<DataType>> =
            wanted.iter().zip(types).map(|(argument, given)| argument.taken(given)).collect();
        match taken {
            Some(taken) if wanted.len() == types.len() => Ok(taken),
            _ => {
                let types = types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                plan_err!("{} cannot take ({types})", self.definition.syntax)
            }
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok((self.definition.yields)())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match (self.definition.refuses)(&Constants(args.scalar_arguments)) {
            Some(reason) => plan_err!("{}: {reason}", self.definition.syntax),
            None => Ok(Arc::new(Field::new(self.definition.name, (self.definition.yields)(), true))),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&args)?;
        rows.finish((self.definition.evaluate)(&rows)?)
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}
