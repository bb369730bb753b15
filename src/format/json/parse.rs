//! The general JSON parser: all of RFC 8259, with bounded depth. Fields that nobody reads are checked but not built.

use std::borrow::Cow;

use super::value::{Fields, Value};

/// How deep arrays and objects may be nested, so that no record can exhaust the stack.
const DEPTH_MAX: usize = 100;

/// Why a record is not JSON as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::format) enum ParseError {
    #[error("not a JSON object")]
    NotAnObject,
    #[error("invalid JSON at byte {at}: expected {expected}")]
    Invalid { at: usize, expected: &'static str },
    #[error("JSON nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
}

/// Reads a record as one object and puts the values of interest into their slots; of equal names the last wins.
pub(in crate::format) fn parse_object<'a>(
    text: &'a str,
    fields: &Fields,
    slots: &mut [Value<'a>],
) -> Result<(), ParseError> {
    let mut parser = Parser::at(text, 0);
    parser.skip_space();
    if parser.peek() != Some(b'{') {
        return Err(ParseError::NotAnObject);
    }
    parser.members(0, |parser, name, depth| {
        match fields.slot(&name).and_then(|slot| slots.get_mut(slot)) {
            Some(slot) => *slot = parser.value(depth)?,
            None => parser.skip_value(depth)?,
        }
        Ok(())
    })?;
    parser.end()
}

/// Reads a text as one JSON value.
pub(in crate::format) fn parse_value(text: &str) -> Result<Value<'_>, ParseError> {
    let mut parser = Parser::at(text, 0);
    parser.skip_space();
    let value = parser.value(0)?;
    parser.end()?;
    Ok(value)
}

/// A position in a record.
pub(in crate::format) struct Parser<'a> {
    text: &'a str,
    pub at: usize,
}

impl<'a> Parser<'a> {
    /// A parser that goes on at byte `at`.
    pub fn at(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn invalid<T>(&self, expected: &'static str) -> Result<T, ParseError> {
        Err(ParseError::Invalid { at: self.at, expected })
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), ParseError> {
        if self.peek() != Some(byte) {
            return self.invalid(expected);
        }
        self.at += 1;
        Ok(())
    }

    fn end(mut self) -> Result<(), ParseError> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { self.invalid("the end") }
    }

    /// Reads the value that starts here, `depth` levels below the record.
    pub fn value(&mut self, depth: usize) -> Result<Value<'a>, ParseError> {
        match self.peek() {
            Some(b'"') => Ok(Value::Text(self.string()?)),
            Some(b'{') => {
                let mut members = Vec::new();
                self.members(depth, |parser, name, depth| {
                    members.push((name, parser.value(depth)?));
                    Ok(())
                })?;
                Ok(Value::Object(members))
            }
            Some(b'[') => {
                let mut elements = Vec::new();
                self.elements(depth, |parser, depth| {
                    elements.push(parser.value(depth)?);
                    Ok(())
                })?;
                Ok(Value::Array(elements))
            }
            _ => self.scalar(),
        }
    }

    /// Checks the value that starts here and goes past it.
    pub fn skip_value(&mut self, depth: usize) -> Result<(), ParseError> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{') => self.members(depth, |parser, _, depth| parser.skip_value(depth)),
            Some(b'[') => self.elements(depth, |parser, depth| parser.skip_value(depth)),
            _ => self.scalar().map(|_| ()),
        }
    }

    fn scalar(&mut self) -> Result<Value<'a>, ParseError> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let literals = [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))];
        for (literal, value) in literals {
            if rest.starts_with(literal.as_bytes()) {
                self.at += literal.len();
                return Ok(value);
            }
        }
        let start = self.at;
        match number_end(self.text.as_bytes(), start) {
            Some(end) => {
                self.at = end;
                Ok(Value::Number(self.text.get(start..end).unwrap_or_default()))
            }
            None => self.invalid("a value"),
        }
    }

    fn members(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&mut Self, Cow<'a, str>, usize) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        self.items(depth, b'}', |parser, depth| {
            if parser.peek() != Some(b'"') {
                return parser.invalid("a field name");
            }
            let name = parser.string()?;
            parser.skip_space();
            parser.expect(b':', "`:`")?;
            parser.skip_space();
            member(parser, name, depth)
        })
    }

    fn elements(
        &mut self,
        depth: usize,
        element: impl FnMut(&mut Self, usize) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        self.items(depth, b']', element)
    }

    /// Reads from an opening bracket to its closing one.
    fn items(
        &mut self,
        depth: usize,
        close: u8,
        mut item: impl FnMut(&mut Self, usize) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        if depth >= DEPTH_MAX {
            return Err(ParseError::TooDeep);
        }
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            item(self, depth + 1)?;
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.invalid("`,` or a closing bracket"),
            }
            self.skip_space();
        }
    }

    /// Reads the string whose opening quote is here.
    pub fn string(&mut self) -> Result<Cow<'a, str>, ParseError> {
        let bytes = self.text.as_bytes();
        let mut unescaped: Option<String> = None;
        self.at += 1;
        loop {
            let end = run_end(bytes, self.at);
            let run = self.text.get(self.at..end).unwrap_or_default();
            self.at = end;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(match unescaped {
                        None => Cow::Borrowed(run),
                        Some(text) => Cow::Owned(text + run),
                    });
                }
                Some(b'\\') => {
                    let text = unescaped.get_or_insert_default();
                    text.push_str(run);
                    self.at += 1;
                    let c = self.escape()?;
                    text.push(c);
                }
                _ => return self.invalid("a closing quote"),
            }
        }
    }

    /// Reads what follows a backslash.
    fn escape(&mut self) -> Result<char, ParseError> {
        let simple = match self.peek() {
            Some(c @ (b'"' | b'\\' | b'/')) => c.into(),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return self.invalid("an escape"),
        };
        self.at += 1;
        Ok(simple)
    }

    fn unicode_escape(&mut self) -> Result<char, ParseError> {
        let first = self.hex4()?;
        let code = if (0xd800..0xdc00).contains(&first) {
            self.expect(b'\\', "the second half of a surrogate pair")?;
            self.expect(b'u', "the second half of a surrogate pair")?;
            let second = self.hex4()?;
            if !(0xdc00..0xe000).contains(&second) {
                return self.invalid("the second half of a surrogate pair");
            }
            0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        // A lone second half is no character.
        char::from_u32(code).map_or_else(|| self.invalid("a character"), Ok)
    }

    fn hex4(&mut self) -> Result<u32, ParseError> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).unwrap_or_default();
        let code = digits.iter().try_fold(0, |code, d| Some(code * 16 + char::from(*d).to_digit(16)?));
        match code {
            Some(code) if digits.len() == 4 => {
                self.at += 4;
                Ok(code)
            }
            _ => self.invalid("four hexadecimal digits"),
        }
    }
}

/// The first byte from `at` on that a string cannot simply contain: a quote, a backslash, a control character, or the end.
#[inline(always)]
pub(in crate::format) fn run_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // Sets the high bit of the first zero byte, and perhaps of later bytes, which do not matter.
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control) & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(byte) = bytes.get(at) {
        if matches!(byte, b'"' | b'\\' | 0..0x20) {
            break;
        }
        at += 1;
    }
    at
}

/// The end of the number that starts at `at`, if one does.
#[inline]
pub(in crate::format) fn number_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        let start = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > start).then_some(at)
    };
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(bytes.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        at = digits(at)?;
    }
    Some(at)
}
