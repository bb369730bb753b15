//! Random expressions over the columns that a FROM clause offers.

use fastrand::Rng;

use super::query::Kind;

/// A column that may be used, with its qualifier.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) sql: String,
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// The columns on offer.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope(pub(super) Vec<Offered>);

impl Scope {
    pub(super) fn any(&self, kinds: &[Kind], rng: &mut Rng) -> Option<&Offered> {
        let found: Vec<&Offered> = self.0.iter().filter(|o| kinds.contains(&o.kind)).collect();
        if found.is_empty() { None } else { Some(found[rng.usize(0..found.len())]) }
    }

    /// All columns that can be ordered: rows that agree on them cannot be told apart.
    pub(super) fn ordered(&self) -> Vec<String> {
        self.0.iter().filter(|o| o.kind != Kind::Texts).map(|o| o.sql.clone()).collect()
    }

    /// A whole number.
    pub(super) fn int(&self, rng: &mut Rng) -> String {
        let Some(column) = self.any(&[Kind::Int], rng).map(|o| o.sql.clone()) else {
            return match self.any(&[Kind::Text], rng) {
                Some(text) => format!("CAST(length({}) AS BIGINT)", text.sql),
                None => rng.i64(0..4).to_string(),
            };
        };
        match rng.u32(0..12) {
            0 => format!("{column} + {}", rng.i64(-2..3)),
            1 => format!("{column} * 2"),
            2 => format!("coalesce({column}, {})", rng.i64(0..3)),
            3 => format!("nullif({column}, {})", rng.i64(0..3)),
            4 => format!("{column} % 3"),
            5 => format!("CASE WHEN {} THEN {column} ELSE {} END", self.predicate(0, rng), rng.i64(-1..2)),
            _ => column,
        }
    }

    /// A value of some kind.
    pub(super) fn value(&self, rng: &mut Rng) -> (String, Kind) {
        let column = |kind: Kind, rng: &mut Rng| self.any(&[kind], rng).map(|o| o.sql.clone());
        match rng.u32(0..14) {
            0..=2 => (self.int(rng), Kind::Int),
            3 => match column(Kind::Text, rng) {
                Some(text) => {
                    let forms = [
                        format!("coalesce({text}, 'g9')"),
                        format!("upper({text})"),
                        format!("{text} || '-x'"),
                        format!("CASE WHEN {} THEN {text} ELSE 'g1' END", self.predicate(0, rng)),
                    ];
                    (forms[rng.usize(0..4)].clone(), Kind::Text)
                }
                None => (format!("CAST({} AS VARCHAR)", self.int(rng)), Kind::Text),
            },
            4 => match column(Kind::Float, rng) {
                Some(x) => {
                    ([format!("{x} * 2"), format!("{x} + {}", self.int(rng))][rng.usize(0..2)].clone(), Kind::Float)
                }
                None => (format!("CAST({} AS DOUBLE)", self.int(rng)), Kind::Float),
            },
            5 => (format!("({})", self.predicate(1, rng)), Kind::Bool),
            6 => match column(Kind::Instant, rng) {
                Some(at) => {
                    let forms = [
                        (format!("{at} + INTERVAL '45 minutes'"), Kind::Instant),
                        (format!("tumble({at}, INTERVAL '1 hour')"), Kind::Instant),
                        (format!("date_trunc('day', {at})"), Kind::Instant),
                        (format!("local_date({at})"), Kind::Date),
                        (format!("year_month({at})"), Kind::Text),
                    ];
                    forms[rng.usize(0..5)].clone()
                }
                None => (self.int(rng), Kind::Int),
            },
            7 => match column(Kind::Texts, rng) {
                Some(list) => (format!("CAST(array_length({list}) AS BIGINT)"), Kind::Int),
                None => (self.int(rng), Kind::Int),
            },
            _ => {
                let offered = &self.0[rng.usize(0..self.0.len())];
                (offered.sql.clone(), offered.kind)
            }
        }
    }

    /// A condition; deeper ones are made of several.
    pub(super) fn predicate(&self, depth: u32, rng: &mut Rng) -> String {
        if depth > 0 && rng.u32(0..3) == 0 {
            let (a, b) = (self.predicate(depth - 1, rng), self.predicate(depth - 1, rng));
            return match rng.u32(0..3) {
                0 => format!("({a} OR {b})"),
                1 => format!("({a} AND {b})"),
                _ => format!("NOT ({a})"),
            };
        }
        let compare = ["=", "<>", "<", "<=", ">", ">="][rng.usize(0..6)];
        let Some(column) = self.any(
            &[Kind::Int, Kind::Text, Kind::Bool, Kind::Float, Kind::Decimal, Kind::Rounded, Kind::Instant, Kind::Date],
            rng,
        ) else {
            return "1 = 1".into();
        };
        let c = &column.sql;
        if rng.u32(0..7) == 0 {
            return format!("{c} IS {}NULL", if rng.bool() { "NOT " } else { "" });
        }
        match column.kind {
            Kind::Int => match (rng.u32(0..4), self.any(&[Kind::Int], rng)) {
                (0, Some(other)) if other.sql != *c => format!("{c} {compare} {}", other.sql),
                (1, _) => format!("{c} BETWEEN {} AND {}", rng.i64(-2..2), rng.i64(2..6)),
                _ => format!("{c} {compare} {}", rng.i64(-1..5)),
            },
            Kind::Text => match rng.u32(0..4) {
                0 => format!("{c} IN ('g0', 'g1', 'a3')"),
                1 => format!("{c} LIKE 'g%'"),
                2 => format!("{c} <> 'g2'"),
                _ => format!("{c} = 'g{}'", rng.u32(0..4)),
            },
            Kind::Bool => c.clone(),
            Kind::Float | Kind::Decimal | Kind::Rounded => format!("{c} {compare} {}", rng.i64(-3..4)),
            Kind::Instant => {
                // Not in the hour that the clocks skip.
                format!("{c} {compare} TIMESTAMP '2024-03-31T0{}:00:00Z'", [0, 2, 3, 5][rng.usize(0..4)])
            }
            Kind::Date => format!("{c} {compare} DATE '2024-02-{}'", rng.u32(26..30)),
            Kind::Texts => "1 = 1".into(),
        }
    }
}
