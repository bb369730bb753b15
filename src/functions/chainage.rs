//! Places along a road: chainage, the distance in metres from where the road's stakes begin.
//!
//! On highways cells of a grid mix the directions and the roads of an interchange; sections of one road do not.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, Int64Builder, ListBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{Argument, Constants, Definition, Rows, any, define};

/// No road is longer: 100,000 km.
const METRES_MAX: f64 = 1e8;
/// So many sections may overlap at one place.
const SECTIONS_MAX: i64 = 100;

/// `chainage_m`, `chainage_bin` and `chainage_sections`.
pub(super) fn functions() -> Vec<ScalarUDF> {
    let family = "Places";
    define([
        Definition {
            name: "chainage_m",
            family,
            syntax: "chainage_m(stake)",
            description: "The metres that a stake such as 'K12+300' stands for, as DOUBLE: 12300. The K may be lower case or \
                          missing, the metres have up to three digits and a fraction. Null for null and for other texts.",
            arguments: &[Argument::Text],
            yields: || DataType::Float64,
            refuses: any,
            evaluate: |rows| {
                let stakes = rows.texts(0)?;
                rows.map::<Float64Array, _>(|row| parse(stakes.get(row)?))
            },
        },
        Definition {
            name: "chainage_bin",
            family,
            syntax: "chainage_bin(metres, width)",
            description: "Where the section of a road begins that holds a chainage, as BIGINT metres: the greatest multiple of \
                          the width (whole metres) that is not above it. Null for null, for a negative chainage, and for a \
                          width that is not positive.",
            arguments: &[Argument::Number, Argument::Integer],
            yields: || DataType::Int64,
            refuses: |constants| refuse_not_positive(constants, 1, "the width must be positive"),
            evaluate: |rows| {
                let (metres, widths) = (rows.numbers(0)?, rows.integers(1)?);
                rows.map::<Int64Array, _>(|row| {
                    let (at, width) = (whole_metres(metres.get(row)?)?, widths.get(row).filter(|w| *w > 0)?);
                    Some(at - at.rem_euclid(width))
                })
            },
        },
        Definition {
            name: "chainage_sections",
            family,
            syntax: "chainage_sections(metres, length, step)",
            description: "Where the overlapping sections of a road begin that hold a chainage, as a list of BIGINT metres to \
                          UNNEST: every multiple of the step, from 0, at most the length (both whole metres) before it. Null \
                          for null, for a negative chainage, and where length or step is not positive or more than 100 \
                          sections overlap.",
            arguments: &[Argument::Number, Argument::Integer, Argument::Integer],
            yields: || DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true))),
            refuses: |constants| {
                let not_positive = |idx| refuse_not_positive(constants, idx, "length and step must be positive");
                let too_many = constants.integer(1).zip(constants.integer(2)).filter(|(l, s)| !may_overlap(*l, *s));
                let too_many = too_many.map(|_| "at most 100 sections may overlap");
                not_positive(1).or_else(|| not_positive(2)).or(too_many)
            },
            evaluate: sections,
        },
    ])
}

fn refuse_not_positive(constants: &Constants<'_>, idx: usize, reason: &'static str) -> Option<&'static str> {
    constants.integer(idx).filter(|value| *value <= 0).map(|_| reason)
}

fn may_overlap(length: i64, step: i64) -> bool {
    length > 0 && step > 0 && (length - 1) / step < SECTIONS_MAX
}

/// A chainage without its fraction; none if no road has it.
fn whole_metres(metres: f64) -> Option<i64> {
    (0.0..=METRES_MAX).contains(&metres).then_some(metres as i64)
}

fn parse(stake: &str) -> Option<f64> {
    let stake = stake.trim();
    let (kilometres, metres) = stake.strip_prefix(['K', 'k']).unwrap_or(stake).split_once('+')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = metres.split_once('.').unwrap_or((metres, "0"));
    let is_stake =
        [kilometres, whole, fraction].into_iter().all(is_number) && kilometres.len() <= 5 && whole.len() <= 3;
    if !is_stake {
        return None;
    }
    Some(kilometres.parse::<f64>().ok()? * 1_000.0 + metres.parse::<f64>().ok()?)
}

fn sections(rows: &Rows) -> Result<ArrayRef> {
    let (metres, lengths, steps) = (rows.numbers(0)?, rows.integers(1)?, rows.integers(2)?);
    let mut lists = ListBuilder::with_capacity(Int64Builder::new(), rows.len());
    for row in 0..rows.len() {
        let at = metres.get(row).and_then(whole_metres);
        let section = lengths.get(row).zip(steps.get(row)).filter(|(length, step)| may_overlap(*length, *step));
        let Some((at, (length, step))) = at.zip(section) else {
            lists.append_null();
            continue;
        };
        // A section holds its beginning and not its end.
        let first = (at.saturating_sub(length).div_euclid(step) + 1) * step;
        let mut start = first.max(0);
        while start <= at {
            lists.values().append_value(start);
            start += step;
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;

    #[test]
    fn stakes_are_read_and_other_texts_are_not() {
        for (stake, metres) in
            [("K12+300", 12_300.0), ("k0+000", 0.0), (" 400+3.5 ", 400_003.5), ("K99999+999.25", 99_999_999.25)]
        {
            assert_eq!(parse(stake), Some(metres), "{stake}");
        }
        for stake in [
            "",
            "K12",
            "12300",
            "K+300",
            "K12+",
            "K12+1000",
            "K-1+3",
            "K1+-3",
            "K1+2+3",
            "K1e3+0",
            "K100000+0",
            "K1+2.",
        ] {
            assert_eq!(parse(stake), None, "{stake}");
        }
    }

    #[test]
    fn bins_and_sections_in_sql() {
        reference::check_sql(&[
            ("chainage_bin(12399.9, 100)", "12300"),
            ("chainage_bin(12300, 100)", "12300"),
            ("chainage_bin(0, 1000)", "0"),
            ("chainage_bin(-0.5, 100)", ""),
            ("chainage_bin(CAST('Infinity' AS DOUBLE), 100)", ""),
            ("chainage_bin(1e300, 100)", ""),
            ("chainage_bin(7, CASE WHEN random() < 2 THEN 0 END)", ""),
            ("chainage_bin(chainage_m('K3+250'), 500)", "3000"),
            ("chainage_sections(1234, 500, 100)", "[800, 900, 1000, 1100, 1200]"),
            ("chainage_sections(1200, 500, 100)", "[800, 900, 1000, 1100, 1200]"),
            ("chainage_sections(1199.9, 500, 100)", "[700, 800, 900, 1000, 1100]"),
            ("chainage_sections(150, 500, 100)", "[0, 100]"),
            // A step that does not divide the length, and one beyond it: some places lie in no section.
            ("chainage_sections(1000, 500, 300)", "[600, 900]"),
            ("chainage_sections(250, 100, 200)", "[200]"),
            ("chainage_sections(350, 100, 200)", "[]"),
            ("chainage_sections(-1, 500, 100)", ""),
            ("chainage_sections(1, CASE WHEN random() < 2 THEN 100000 END, 1)", ""),
            ("chainage_m(NULL)", ""),
        ]);
        reference::check_refused(&[
            ("chainage_bin(i, 0)", "the width must be positive"),
            ("chainage_sections(i, 500, -100)", "length and step must be positive"),
            ("chainage_sections(i, 5000, 10)", "at most 100 sections may overlap"),
        ]);
    }
}
