//! The fast way through a record: compact JSON whose fields come in the same order as in the record before.
//!
//! Anything unusual (spaces, escaped names, syntax errors) is refused here and left to the general parser, which also finds
//! the words for what is wrong. What the scanner accepts, the parser accepts with the same values.

use std::borrow::Cow;

use super::parse::{Parser, number_end, run_end};
use super::value::{Fields, Value};

/// How many fields of a record are guessed; later ones are looked up by name.
const GUESSES_MAX: usize = 256;

/// Scans records with the fields of interest; remembers the order of fields.
#[derive(Clone, Debug)]
pub(in crate::format) struct Scanner {
    fields: Fields,
    /// The names of the last record with the quote that ends them, and their slots.
    guesses: Vec<(Box<[u8]>, Option<usize>)>,
}

impl Scanner {
    pub fn new(fields: Fields) -> Self {
        Self { fields, guesses: Vec::new() }
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Puts the values of interest into their slots, or gives up; then slots may have been written.
    pub fn scan<'a>(&mut self, text: &'a str, slots: &mut [Value<'a>]) -> Option<()> {
        let bytes = text.as_bytes();
        if bytes.first() != Some(&b'{') {
            return None;
        }
        let mut at = 1;
        let mut nth = 0;
        loop {
            let (slot, after_name) = self.name(text, at, nth)?;
            nth += 1;
            if bytes.get(after_name) != Some(&b':') {
                return None;
            }
            at = after_name + 1;
            if bytes.get(at) == Some(&b' ') {
                at += 1;
            }
            let value;
            (value, at) = scan_value(text, at, slot.is_some())?;
            if let Some(slot) = slot.and_then(|slot| slots.get_mut(slot)) {
                *slot = value;
            }
            match bytes.get(at) {
                Some(b',') => at += 1,
                Some(b'}') => return (at + 1 == bytes.len()).then_some(()),
                _ => return None,
            }
            if bytes.get(at) == Some(&b' ') {
                at += 1;
            }
        }
    }

    /// The slot of the name whose opening quote is at `at`, and where the name ends.
    #[inline(always)]
    fn name(&mut self, text: &str, at: usize, nth: usize) -> Option<(Option<usize>, usize)> {
        let bytes = text.as_bytes();
        if bytes.get(at) != Some(&b'"') {
            return None;
        }
        let start = at + 1;
        if let Some((name, slot)) = self.guesses.get(nth)
            && bytes.get(start..).is_some_and(|rest| rest.starts_with(name))
        {
            return Some((*slot, start + name.len()));
        }
        let end = run_end(bytes, start);
        if bytes.get(end) != Some(&b'"') {
            return None;
        }
        let slot = self.fields.slot(text.get(start..end)?);
        if nth < GUESSES_MAX {
            self.guesses.truncate(nth);
            self.guesses.push((bytes.get(start..=end)?.into(), slot));
        }
        Some((slot, end + 1))
    }
}

/// The value at `at`, which is left out unless it is wanted, and where it ends.
#[inline(always)]
fn scan_value(text: &str, at: usize, wanted: bool) -> Option<(Value<'_>, usize)> {
    let bytes = text.as_bytes();
    match bytes.get(at)? {
        b'"' => {
            let end = run_end(bytes, at + 1);
            match bytes.get(end)? {
                b'"' if wanted => Some((Value::Text(Cow::Borrowed(text.get(at + 1..end)?)), end + 1)),
                b'"' => Some((Value::Absent, end + 1)),
                b'\\' => {
                    let mut parser = Parser::at(text, at);
                    Some((Value::Text(parser.string().ok()?), parser.at))
                }
                _ => None,
            }
        }
        b'-' | b'0'..=b'9' => {
            let end = number_end(bytes, at)?;
            Some((if wanted { Value::Number(text.get(at..end)?) } else { Value::Absent }, end))
        }
        _ => {
            // Literals, arrays and objects; the record itself is the first level.
            let mut parser = Parser::at(text, at);
            let value = if wanted {
                parser.value(1).ok()?
            } else {
                parser.skip_value(1).ok()?;
                Value::Absent
            };
            Some((value, parser.at))
        }
    }
}
