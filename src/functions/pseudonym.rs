//! Keyed pseudonyms: the same value has the same pseudonym, and nobody without the key finds the value.
//!
//! Keys have ids and rotate: the active one makes new pseudonyms, older ones stay for those that were made with them.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef};
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::arguments::{column, documentation, evaluate};

/// The name of the function.
pub const PSEUDONYM: &str = "pseudonym";
/// A key is at least this long.
const KEY_BYTES_MIN: usize = 16;
/// The word before the id of the active key.
const ACTIVE: &str = "active";
/// The id of the key that tests use.
const TEST_ID: &str = "test";

/// The keys of pseudonyms by their ids.
#[derive(Clone, Default)]
pub struct PseudonymKeys {
    active: String,
    keys: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for PseudonymKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PseudonymKeys").field("active", &self.active).finish_non_exhaustive()
    }
}

/// A file of keys cannot be read. No key is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// What is wrong with a line.
    #[error("line {line}: {reason}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// There is no key at all.
    #[error("it has no key")]
    Empty,
    /// It does not say which key is the active one, or names one that is not there.
    #[error("it has no line `active = ID` that names one of its keys")]
    NoActive,
}

impl PseudonymKeys {
    /// The fixed key of tests, whose id is `test`. It is known to everybody.
    pub fn of_tests() -> Self {
        let key = Sha256::digest(b"curb: the key of pseudonyms in tests").to_vec();
        Self { active: TEST_ID.to_owned(), keys: [(TEST_ID.to_owned(), key)].into() }
    }

    /// No keys: a pack that asks for pseudonyms is refused.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads lines `id = key` in hexadecimal digits or Base64, and `active = id` unless there is one key only. Empty lines and
    /// those that begin with `#` are passed over.
    pub fn parse(text: &str) -> std::result::Result<Self, KeyFileError> {
        let mut keys = BTreeMap::new();
        let mut active = None;
        for (idx, line) in text.lines().enumerate() {
            let wrong = |reason| KeyFileError::Line { line: idx + 1, reason };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, value) = line.split_once('=').ok_or_else(|| wrong("not of the form `id = key`"))?;
            let (id, value) = (id.trim(), value.trim().trim_matches('"'));
            let is_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if id.is_empty() || id.len() > 64 || !id.chars().all(is_id) {
                return Err(wrong("an id has 1 to 64 letters, digits, `.`, `_` and `-`"));
            }
            if id == ACTIVE {
                if active.replace(value.to_owned()).is_some() {
                    return Err(wrong("the active key is named twice"));
                }
                continue;
            }
            let key = key_bytes(value).ok_or_else(|| wrong("the key is neither hexadecimal digits nor Base64"))?;
            if key.len() < KEY_BYTES_MIN {
                return Err(wrong("the key has less than 16 bytes"));
            }
            if keys.insert(id.to_owned(), key).is_some() {
                return Err(wrong("the id occurs twice"));
            }
        }
        let only = (keys.len() == 1).then(|| keys.keys().next().cloned()).flatten();
        match active.or(only) {
            _ if keys.is_empty() => Err(KeyFileError::Empty),
            Some(active) if keys.contains_key(&active) => Ok(Self { active, keys }),
            _ => Err(KeyFileError::NoActive),
        }
    }

    /// The id of the key that makes new pseudonyms; none where there are no keys.
    pub fn active(&self) -> Option<&str> {
        (!self.keys.is_empty()).then_some(self.active.as_str())
    }

    /// Whether there is a key of this id.
    pub fn has(&self, id: &str) -> bool {
        self.keys.contains_key(id)
    }

    /// The ids of all keys, for messages.
    pub fn ids(&self) -> String {
        self.keys.keys().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ")
    }

    fn write(&self, id: &str, value: &str, out: &mut String) -> Option<()> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.keys.get(id)?).ok()?;
        mac.update(value.as_bytes());
        out.push_str(id);
        out.push(':');
        URL_SAFE_NO_PAD.encode_string(mac.finalize().into_bytes(), out);
        Some(())
    }
}

/// The bytes of a key: an even number of hexadecimal digits, else Base64 in either alphabet, padded or not.
fn key_bytes(text: &str) -> Option<Vec<u8>> {
    if text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        return text.as_bytes().chunks(2).map(pair).collect();
    }
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decode = |alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok();
    decode(&STANDARD).or_else(|| decode(&URL_SAFE))
}

/// `pseudonym` under these keys.
pub fn pseudonym(keys: Arc<PseudonymKeys>) -> ScalarUDF {
    ScalarUDF::new_from_impl(Pseudonym {
        keys,
        signature: Signature::user_defined(Volatility::Immutable),
        documentation: documentation(
            "Identity",
            "pseudonym(text)",
            "A pseudonym of the text: HMAC-SHA-256 under the active key of the key file, as `<key id>:<Base64 for URLs>`. Equal \
             texts have equal pseudonyms, so that they can be joined and counted; without the key nobody finds the text. \
             `pseudonym(text, 'key id')` uses an older key of the file. Null for null. Not private, whatever the text is.",
        ),
    })
}

struct Pseudonym {
    keys: Arc<PseudonymKeys>,
    signature: Signature,
    documentation: Documentation,
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pseudonym").field(&self.keys).finish()
    }
}

impl PartialEq for Pseudonym {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys)
            || (self.keys.active == other.keys.active && self.keys.keys == other.keys.keys)
    }
}

impl Eq for Pseudonym {}

impl Hash for Pseudonym {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.keys.active.hash(state);
    }
}

impl ScalarUDFImpl for Pseudonym {
    fn name(&self) -> &str {
        PSEUDONYM
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_text = |t: &DataType| match t {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => true,
            DataType::Dictionary(_, value) => value.is_string(),
            _ => false,
        };
        match types {
            [_] | [_, _] if types.iter().all(is_text) => Ok(vec![DataType::Utf8; types.len()]),
            _ => {
                let types = types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                plan_err!("pseudonym(text) or pseudonym(text, 'key id') cannot take ({types})")
            }
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        // Which ids there are is the planner's business.
        if let Some(id) = args.scalar_arguments.get(1)
            && id.and_then(|id| id.try_as_str().flatten()).is_none()
        {
            return plan_err!("pseudonym: the id of the key must be a constant text");
        }
        Ok(Arc::new(Field::new(PSEUDONYM, DataType::Utf8, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let id = match args.args.get(1) {
            None => self.keys.active.clone(),
            Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(id)))) => id.clone(),
            Some(_) => return exec_err!("pseudonym: the id of the key must be a constant text"),
        };
        if !self.keys.has(&id) {
            return exec_err!("pseudonym: there is no key '{id}'");
        }
        let value = ScalarFunctionArgs { args: args.args.into_iter().take(1).collect(), ..args };
        evaluate(&value, |columns| self.of_column(column(columns, 0)?, &id))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

impl Pseudonym {
    fn of_column(&self, values: &ArrayRef, id: &str) -> Result<ArrayRef> {
        let Some(values) = values.as_string_opt::<i32>() else {
            return exec_err!("pseudonym: expected text, found {}", values.data_type());
        };
        let mut pseudonyms = StringBuilder::with_capacity(values.len(), values.len() * (id.len() + 44));
        let mut text = String::new();
        for row in 0..values.len() {
            text.clear();
            match values.is_valid(row).then(|| self.keys.write(id, values.value(row), &mut text)).flatten() {
                Some(()) => pseudonyms.append_value(&text),
                None => pseudonyms.append_null(),
            }
        }
        Ok(Arc::new(pseudonyms.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_that_of_rfc_4231() {
        let keys = PseudonymKeys::parse("k1 = 0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b").unwrap();
        let mut text = String::new();
        keys.write("k1", "Hi There", &mut text).unwrap();
        // b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7
        assert_eq!(text, "k1:sDRMYdjbOFNcqK_OrwvxK4gdwgDJgz2nJuk3bC4yz_c");
    }

    #[test]
    fn a_file_names_its_keys_and_which_one_is_active() {
        let text =
            "# rotated in May\nactive = b\n\na = 000102030405060708090a0b0c0d0e0f\nb = \"AAECAwQFBgcICQoLDA0ODw==\"\n";
        let keys = PseudonymKeys::parse(text).unwrap();
        assert_eq!(keys.active(), Some("b"));
        assert_eq!(keys.keys.get("a"), keys.keys.get("b"));
        assert_eq!(PseudonymKeys::parse("c = AAECAwQFBgcICQoLDA0ODw").unwrap().active(), Some("c"));
        assert_eq!(PseudonymKeys::none().active(), None);
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_without_its_keys() {
        let line = |line, reason| Err(KeyFileError::Line { line, reason });
        let parse = |text: &str| PseudonymKeys::parse(text).map(|_| ());
        assert_eq!(parse("\nsecret"), line(2, "not of the form `id = key`"));
        assert_eq!(parse("a b = 00"), line(1, "an id has 1 to 64 letters, digits, `.`, `_` and `-`"));
        assert_eq!(parse("a = 0001"), line(1, "the key has less than 16 bytes"));
        assert_eq!(parse("a = !"), line(1, "the key is neither hexadecimal digits nor Base64"));
        let key = "000102030405060708090a0b0c0d0e0f";
        assert_eq!(parse(&format!("a={key}\na={key}")), line(2, "the id occurs twice"));
        assert_eq!(parse(&format!("a={key}\nb={key}")), Err(KeyFileError::NoActive));
        assert_eq!(parse(&format!("a={key}\nactive=c")), Err(KeyFileError::NoActive));
        assert_eq!(parse("# nothing"), Err(KeyFileError::Empty));
        let keys = PseudonymKeys::parse(&format!("a={key}")).unwrap();
        let shown = format!("{keys:?} {:?}", pseudonym(Arc::new(keys.clone())));
        assert!(!shown.contains("[0, 1") && !shown.contains("0001"), "{shown}");
    }
}
