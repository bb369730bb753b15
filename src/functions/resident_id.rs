//! Numbers of resident identity cards (GB 11643-1999): whether they can exist, what they say, and how they are shown.
//!
//! Six digits of the division in which the number was given, eight of the birth date, three of an order (odd for men), and a
//! check character: the digits weighted and summed modulo 11 choose it from `10X98765432` (ISO 7064, MOD 11-2). Which
//! divisions there were is not checked: they change, and numbers keep the old one.

use arrow::array::{BooleanArray, Date32Array};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;

use super::civil::Date;
use super::scalar::{Argument, Definition, any, define};

const LENGTH: usize = 18;
/// Numbers of the first generation: no century, no check character.
const OLD_LENGTH: usize = 15;
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
const CHECK_CHARACTERS: [u8; 11] = *b"10X98765432";

/// `resident_id_valid`, `resident_id_normalize`, `resident_id_birth_date`, `resident_id_sex`, `resident_id_division` and
/// `resident_id_mask`.
pub(super) fn functions() -> Vec<ScalarUDF> {
    let text = |name, syntax, description, evaluate| Definition {
        name,
        family: "Identity",
        syntax,
        description,
        arguments: &[Argument::Text],
        yields: || DataType::Utf8,
        refuses: any,
        evaluate,
    };
    define([
        Definition {
            yields: || DataType::Boolean,
            ..text(
                "resident_id_valid",
                "resident_id_valid(id)",
                "Whether a text is a resident identity number of 18 characters (GB 11643): its birth date exists, between 1800 \
                 and 2099, and its check character is right, as BOOLEAN. White space around it, full-width digits and a small x \
                 are accepted. Null for null.",
                |rows| {
                    let ids = rows.texts(0)?;
                    rows.map::<BooleanArray, _>(|row| ids.get(row).map(|id| ResidentId::parse(id).is_some()))
                },
            )
        },
        text(
            "resident_id_normalize",
            "resident_id_normalize(id)",
            "A valid resident identity number as 18 characters without white space and with a capital X, as VARCHAR; one of 15 \
             digits becomes that of the same person born in the twentieth century. Null for null and for what is not valid.",
            |rows| {
                let ids = rows.texts(0)?;
                rows.write(|row, out| {
                    let id = ids.get(row)?;
                    out.push_str(ResidentId::parse(id).or_else(|| ResidentId::upgrade(id))?.as_str());
                    Some(())
                })
            },
        ),
        Definition {
            yields: || DataType::Date32,
            ..text(
                "resident_id_birth_date",
                "resident_id_birth_date(id)",
                "The birth date in a valid resident identity number of 18 characters, as DATE. Null for null and for what is \
                 not valid.",
                |rows| {
                    let ids = rows.texts(0)?;
                    rows.map::<Date32Array, _>(|row| ResidentId::parse(ids.get(row)?)?.birth_day())
                },
            )
        },
        text(
            "resident_id_sex",
            "resident_id_sex(id)",
            "'male' or 'female' as a valid resident identity number of 18 characters says, as VARCHAR. Null for null and for \
             what is not valid.",
            |rows| {
                let ids = rows.texts(0)?;
                rows.write(|row, out| {
                    out.push_str(ResidentId::parse(ids.get(row)?)?.sex());
                    Some(())
                })
            },
        ),
        text(
            "resident_id_division",
            "resident_id_division(id)",
            "The six digits of the division (GB/T 2260) in a valid resident identity number of 18 characters, as VARCHAR: that \
             of the time at which the number was given. Null for null and for what is not valid.",
            |rows| {
                let ids = rows.texts(0)?;
                rows.write(|row, out| {
                    out.push_str(ResidentId::parse(ids.get(row)?)?.as_str().get(..6)?);
                    Some(())
                })
            },
        ),
        text(
            "resident_id_mask",
            "resident_id_mask(id)",
            "A resident identity number as it may be shown, as VARCHAR: '330522********001X'. Of what is not valid every \
             character becomes a *. Null for null.",
            |rows| {
                let ids = rows.texts(0)?;
                rows.write(|row, out| {
                    let given = ids.get(row)?;
                    match ResidentId::parse(given) {
                        Some(id) => out.extend([id.as_str().get(..6)?, "********", id.as_str().get(14..)?]),
                        None => out.extend(given.trim().chars().map(|_| '*')),
                    }
                    Some(())
                })
            },
        ),
    ])
}

/// A valid number in its normal form.
struct ResidentId([u8; LENGTH]);

impl ResidentId {
    fn parse(text: &str) -> Option<Self> {
        let id = Self(ascii(text)?);
        (id.check_character() == Some(id.0[LENGTH - 1]) && id.0[0] != b'0' && id.birth_day().is_some()).then_some(id)
    }

    /// A number of 15 digits with the century and the check character that it lacks.
    fn upgrade(text: &str) -> Option<Self> {
        let old: [u8; OLD_LENGTH] = ascii(text)?;
        let mut id = Self([0; LENGTH]);
        id.0[..6].copy_from_slice(&old[..6]);
        id.0[6..8].copy_from_slice(b"19");
        id.0[8..17].copy_from_slice(&old[6..]);
        id.0[LENGTH - 1] = id.check_character()?;
        (id.0[0] != b'0' && id.birth_day().is_some()).then_some(id)
    }

    /// The check character that the first 17 digits ask for; none if they are no digits.
    fn check_character(&self) -> Option<u8> {
        let mut sum = 0;
        for (character, weight) in self.0.iter().zip(WEIGHTS) {
            sum += char::from(*character).to_digit(10)? * weight;
        }
        CHECK_CHARACTERS.get(sum as usize % 11).copied()
    }

    fn number(&self, from: usize, until: usize) -> Option<i64> {
        self.as_str().get(from..until)?.parse().ok()
    }

    /// The birth date in days since 1970-01-01; none if there is no such day.
    fn birth_day(&self) -> Option<i32> {
        let (year, month, day) = (self.number(6, 10)?, self.number(10, 12)?, self.number(12, 14)?);
        let is_known = (1800..2100).contains(&year) && (1..=12).contains(&month) && day >= 1;
        let date = Date { month_idx: year * 12 + month - 1, day };
        let days = date.to_days();
        (is_known && Date::from_days(days) == date).then(|| i32::try_from(days).ok()).flatten()
    }

    fn sex(&self) -> &'static str {
        if self.0[16] % 2 == 1 { "male" } else { "female" }
    }

    fn as_str(&self) -> &str {
        // All characters are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The characters of a text without white space around them, full-width ones as ASCII and letters large; none if there are
/// not exactly `N`, or others than digits and X.
fn ascii<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    let mut n = 0;
    for character in text.trim().chars() {
        let folded = super::plate::fold_width(character).to_ascii_uppercase();
        let place = out.get_mut(n)?;
        *place = u8::try_from(folded).ok().filter(|b| b.is_ascii_digit() || *b == b'X')?;
        n += 1;
    }
    (n == N).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;

    #[test]
    fn numbers_are_valid_and_say_what_python_stdnum_says() {
        let mut n_valid = 0;
        for row in reference::rows(include_str!("../../tests/data/functions/resident_ids.csv")) {
            let id = ResidentId::parse(&row[0]);
            assert_eq!(id.is_some(), row[1] == "1", "{row:?}");
            if let Some(id) = id {
                let date = Date::from_days(id.birth_day().unwrap().into());
                assert_eq!(format!("{}-{:02}-{:02}", date.year(), date.month(), date.day), row[2], "{row:?}");
                assert_eq!(id.sex(), row[3], "{row:?}");
                n_valid += 1;
            }
        }
        assert!(n_valid > 50);
    }

    #[test]
    fn in_sql_numbers_are_validated_taken_apart_and_masked() {
        reference::check_sql(&[
            // The example of the standard, and two numbers computed by hand.
            ("resident_id_valid('11010519491231002X')", "true"),
            ("resident_id_valid('33052219900101001X')", "true"),
            ("resident_id_valid('520502198506151235')", "true"),
            ("resident_id_valid(' 33052219900101001x\u{3000}')", "true"),
            ("resident_id_valid('３３０５２２１９９００１０１００１Ｘ')", "true"),
            ("resident_id_valid('330522199001010011')", "false"),
            ("resident_id_valid('33052219900230001X')", "false"),
            ("resident_id_valid('33052219900101001')", "false"),
            ("resident_id_valid('33052219900101001XX')", "false"),
            ("resident_id_valid('X30522199001010019')", "false"),
            ("resident_id_valid('')", "false"),
            ("resident_id_valid('身份证')", "false"),
            ("resident_id_valid(NULL)", ""),
            ("resident_id_normalize(' 33052219900101001x')", "33052219900101001X"),
            ("resident_id_normalize('110105491231002')", "11010519491231002X"),
            ("resident_id_valid('110105491231002')", "false"),
            ("resident_id_normalize('110105491331002')", ""),
            ("resident_id_birth_date('33052219900101001X')", "1990-01-01"),
            ("resident_id_birth_date('33052219900101001Y')", ""),
            ("resident_id_sex('33052219900101001X')", "male"),
            ("resident_id_sex('NULL')", ""),
            ("resident_id_division('33052219900101001X')", "330522"),
            ("resident_id_mask('33052219900101001x')", "330522********001X"),
            ("resident_id_mask('33052219900101001')", "*****************"),
            ("resident_id_mask('张三')", "**"),
            ("resident_id_mask(NULL)", ""),
        ]);
    }

    #[test]
    fn a_leap_day_exists_in_leap_years_only() {
        let with_check = |body: &str| {
            let mut id = ResidentId([b'0'; LENGTH]);
            id.0[..17].copy_from_slice(body.as_bytes());
            id.0[17] = id.check_character().unwrap();
            id.as_str().to_owned()
        };
        let exists = |body: &str| ResidentId::parse(&with_check(body)).is_some();
        assert!(exists("33052220000229001") && exists("33052219960229001"));
        assert!(!exists("33052219000229001") && !exists("33052219990229001"));
        assert!(!exists("33052219991300001") && !exists("33052217991231001") && !exists("03052220000229001"));
    }
}
