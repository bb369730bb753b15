//! Number plates: the texts that mean "no plate", one spelling for each plate, and how plates are shown.
//!
//! Plates of motor vehicles follow GA 36; those of electric bicycles have no national format, so that only their spelling
//! can be brought into one form.

use arrow::array::BooleanArray;
use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{Argument, Definition, any, define};

/// What devices and people write where there is no plate, in capital letters and without white space around it.
const SENTINELS: [&str; 10] =
    ["", "NULL", "NONE", "UNKNOWN", "NO PLATE", "BLANKPLATE", "00000", "无牌", "未知", "无号牌"];
/// What a plate of a motor vehicle begins with: the short names of the provinces, and of embassies and consulates.
const PROVINCES: &str = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使领";
/// What the last place of a plate of five may hold besides letters and digits.
const KINDS: &str = "挂学警港澳";
/// Plates shorter than this are masked as a whole.
const MASKED_PARTLY_MIN: usize = 7;

/// `plate_sentinel`, `plate_normalize`, `plate_valid` and `plate_mask`.
pub(super) fn functions() -> Vec<ScalarUDF> {
    let of_text = |name, syntax, description, yields, evaluate| Definition {
        name,
        family: "Identity",
        syntax,
        description,
        arguments: &[Argument::Text],
        yields,
        refuses: any,
        evaluate,
    };
    define([
        of_text(
            "plate_sentinel",
            "plate_sentinel(plate)",
            "Whether a text stands for no plate, as BOOLEAN: without Unicode white space around it and in capital letters it \
             is empty, NULL, NONE, UNKNOWN, NO PLATE, BLANKPLATE, 00000, 无牌, 未知 or 无号牌. Null for null.",
            || DataType::Boolean,
            |rows| {
                let plates = rows.texts(0)?;
                rows.map::<BooleanArray, _>(|row| plates.get(row).map(is_sentinel))
            },
        ),
        of_text(
            "plate_normalize",
            "plate_normalize(plate)",
            "One spelling for each plate, to join and count by, as VARCHAR: no white space, points and hyphens, full-width \
             characters as ASCII, capital letters, and the digits 0 and 1 for the letters O and I, which no plate has. Null for \
             null and for what plate_sentinel says is no plate.",
            || DataType::Utf8,
            |rows| {
                let plates = rows.texts(0)?;
                rows.write(|row, out| normalize(plates.get(row)?, out))
            },
        ),
        of_text(
            "plate_valid",
            "plate_valid(plate)",
            "Whether a text, as it is, has the form of a motor vehicle's plate in mainland China (GA 36, new-energy plates of \
             eight characters included), as BOOLEAN. Plates of electric bicycles have no national form. Null for null.",
            || DataType::Boolean,
            |rows| {
                let plates = rows.texts(0)?;
                rows.map::<BooleanArray, _>(|row| plates.get(row).map(is_motor_plate))
            },
        ),
        of_text(
            "plate_mask",
            "plate_mask(plate)",
            "A plate as it may be shown, as VARCHAR: all but the first two and the last two characters become a *, of fewer \
             than seven characters all. Null for null.",
            || DataType::Utf8,
            |rows| {
                let plates = rows.texts(0)?;
                rows.write(|row, out| {
                    mask(plates.get(row)?, out);
                    Some(())
                })
            },
        ),
    ])
}

/// A full-width character as the ASCII character that it looks like; others as they are.
pub(super) fn fold_width(character: char) -> char {
    match character {
        '\u{3000}' => ' ',
        // The block "Halfwidth and Fullwidth Forms" repeats ASCII in its order.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(character as u32 - 0xff01 + 0x21).unwrap_or(character),
        other => other,
    }
}

fn is_sentinel(plate: &str) -> bool {
    let trimmed = plate.trim();
    // Most plates are told from all sentinels by their first characters, without a copy in capitals.
    trimmed.chars().count() <= 10 && SENTINELS.contains(&trimmed.to_uppercase().as_str())
}

fn normalize(plate: &str, out: &mut String) -> Option<()> {
    if is_sentinel(plate) {
        return None;
    }
    for character in plate.chars().map(fold_width) {
        if !character.is_whitespace() && !matches!(character, '·' | '•' | '・' | '.' | '-') {
            out.extend(character.to_uppercase());
        }
    }
    let is_compact_sentinel = out.is_empty() || SENTINELS.contains(&out.as_str()) || out == "NOPLATE";
    if is_compact_sentinel {
        return None;
    }
    if out.contains(['O', 'I']) {
        *out = out.replace('O', "0").replace('I', "1");
    }
    Some(())
}

fn is_motor_plate(plate: &str) -> bool {
    let mut characters = plate.chars();
    let (Some(province), Some(authority)) = (characters.next(), characters.next()) else { return false };
    let rest: Vec<char> = characters.take(7).collect();
    if !PROVINCES.contains(province) || !is_letter(authority) {
        return false;
    }
    let is_digit = |c: &char| c.is_ascii_digit();
    match rest.as_slice() {
        [serial @ .., last] if serial.len() == 4 => {
            serial.iter().all(|c| is_serial(*c)) && (is_serial(*last) || KINDS.contains(*last))
        }
        // New energy: large vehicles have their letter last, small ones first.
        [serial @ .., last] if serial.len() == 5 && serial.iter().all(is_digit) => is_new_energy(*last),
        [first, second, serial @ ..] if serial.len() == 4 => {
            is_new_energy(*first) && is_serial(*second) && serial.iter().all(is_digit)
        }
        _ => false,
    }
}

/// A letter that plates use: not I nor O.
fn is_letter(character: char) -> bool {
    character.is_ascii_uppercase() && !matches!(character, 'I' | 'O')
}

fn is_serial(character: char) -> bool {
    is_letter(character) || character.is_ascii_digit()
}

fn is_new_energy(character: char) -> bool {
    matches!(character, 'A'..='H' | 'J' | 'K')
}

fn mask(plate: &str, out: &mut String) {
    let plate = plate.trim();
    let n_characters = plate.chars().count();
    let shown = if n_characters < MASKED_PARTLY_MIN { 0 } else { 2 };
    let is_shown = |idx: usize| idx < shown || idx >= n_characters - shown;
    out.extend(plate.chars().enumerate().map(|(idx, c)| if is_shown(idx) { c } else { '*' }));
}

#[cfg(test)]
mod tests {
    use super::super::reference;

    /// The form as public code writes it, for the regular expressions of the `regex` crate.
    const GA_36: &str = "^[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使领][A-HJ-NP-Z]([A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳]|[0-9]{5}[A-HJK]|[A-HJK][A-HJ-NP-Z0-9][0-9]{4})$";

    #[test]
    fn the_form_of_motor_plates_is_that_of_the_regular_expression() {
        let ctx = reference::session();
        let mut rng = fastrand::Rng::with_seed(3);
        let alphabet: Vec<char> = "0123456789ABDFHIJKLOZ挂学警浙京".chars().collect();
        let mut plates = Vec::new();
        for _ in 0..4_000 {
            let n = [4, 5, 5, 6, 6, 6, 7][rng.usize(0..7)];
            let digits_only = rng.bool();
            let mut plate: Vec<char> = vec![alphabet[rng.usize(24..26)], alphabet[rng.usize(10..21)]];
            plate.extend((0..n).map(|_| alphabet[rng.usize(0..if digits_only { 10 } else { 24 })]));
            let place = [2, plate.len() - 1][rng.usize(0..2)];
            plate[place] = alphabet[rng.usize(0..26)];
            plates.push(plate.into_iter().collect::<String>());
        }
        let list: Vec<String> = plates.iter().map(|p| format!("('{p}')")).collect();
        let sql = format!(
            "SELECT count(*) || ' ' || sum(CAST(plate_valid(p) AS INT)) || ' ' || sum(CAST(plate_valid(p) <> (p ~ '{GA_36}') AS INT))
             FROM (VALUES {}) AS v(p)",
            list.join(", ")
        );
        let text = reference::value(&ctx, &sql).unwrap();
        let [n, valid, different] = reference::numbers(&text.split(' ').map(String::from).collect::<Vec<_>>());
        assert!(n == 4_000.0 && valid > 100.0 && valid < 3_900.0, "{text}");
        assert_eq!(different, 0.0);
    }

    #[test]
    fn in_sql_plates_are_recognised_normalized_and_masked() {
        reference::check_sql(&[
            ("plate_sentinel('\u{3000}no plate ')", "true"),
            ("plate_sentinel('')", "true"),
            ("plate_sentinel(' 无号牌')", "true"),
            ("plate_sentinel('000000')", "false"),
            ("plate_sentinel('No  Plate')", "false"),
            ("plate_sentinel('浙E12345')", "false"),
            ("plate_sentinel(NULL)", ""),
            ("plate_normalize(' 浙e·12O4i ')", "浙E12041"),
            ("plate_normalize('浙Ｅ１２３４５')", "浙E12345"),
            ("plate_normalize('浙E 123-45')", "浙E12345"),
            ("plate_normalize('ＮＵＬＬ')", ""),
            ("plate_normalize('no-plate')", ""),
            ("plate_normalize('·')", ""),
            ("plate_normalize('未知')", ""),
            ("plate_normalize(NULL)", ""),
            ("plate_valid('浙E12345')", "true"),
            ("plate_valid('浙ED12345')", "true"),
            ("plate_valid('浙E12345D')", "true"),
            ("plate_valid('浙E1234警')", "true"),
            ("plate_valid('浙EI2345')", "false"),
            ("plate_valid('浙E123456')", "false"),
            ("plate_valid('浙E12345 ')", "false"),
            ("plate_valid('')", "false"),
            ("plate_valid(NULL)", ""),
            ("plate_mask('浙E12345')", "浙E***45"),
            ("plate_mask('浙ED12345')", "浙E****45"),
            ("plate_mask('E12345')", "******"),
            ("plate_mask('')", ""),
            ("plate_mask(NULL)", ""),
        ]);
    }
}
