//! The properties of librdkafka by their own names: which exist, which may be set from outside, and what is like an unknown one.

use std::collections::BTreeSet;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use rdkafka::bindings::rd_kafka_conf_properties_show;

use super::settings::OWN_PROPERTIES;

unsafe extern "C" {
    fn open_memstream(text: *mut *mut c_char, n_bytes: *mut usize) -> *mut c_void;
    fn fclose(file: *mut c_void) -> c_int;
    fn free(text: *mut c_void);
}

/// The properties that may be set from outside.
pub fn property_names() -> BTreeSet<String> {
    let described = described();
    let names = described.lines().filter_map(|line| line.split_once('|')).map(|(name, _)| name.trim());
    let is_name = |name: &&str| name.starts_with(|c: char| c.is_ascii_lowercase()) && !OWN_PROPERTIES.contains(name);
    // "Property" is the head of the table.
    names.filter(is_name).map(str::to_owned).collect()
}

/// Why a property of this name cannot be set, and what may be meant; none if it can.
pub fn property_fault(name: &str, known: &BTreeSet<String>) -> Option<String> {
    if OWN_PROPERTIES.contains(&name) {
        return Some(format!("Kafka property `{name}` is set by curb and cannot be changed"));
    }
    // Without its list the client itself says what it does not know.
    if known.is_empty() || known.contains(name) {
        return None;
    }
    let near = known.iter().map(|k| (strsim::damerau_levenshtein(name, k), k)).min();
    let hint = near.filter(|(distance, _)| *distance <= 1 + name.len() / 4);
    let hint = hint.map(|(_, near)| format!("; did you mean `{near}`?")).unwrap_or_default();
    Some(format!("Kafka property `{name}` does not exist{hint}"))
}

/// The client's own table of its properties, one a line. Empty where memory is short.
fn described() -> String {
    let (mut text, mut n_bytes): (*mut c_char, usize) = (ptr::null_mut(), 0);
    // SAFETY: the stream is closed before its text is read, which is valid for `n_bytes` from then on, and freed once.
    unsafe {
        let stream = open_memstream(&raw mut text, &raw mut n_bytes);
        if stream.is_null() {
            return String::new();
        }
        rd_kafka_conf_properties_show(stream.cast());
        let is_whole = fclose(stream) == 0;
        if text.is_null() {
            return String::new();
        }
        let described = match is_whole {
            true => String::from_utf8_lossy(std::slice::from_raw_parts(text.cast::<u8>(), n_bytes)).into_owned(),
            false => String::new(),
        };
        free(text.cast());
        described
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_tells_the_names_of_its_properties() {
        let known = property_names();
        for name in ["sasl.password", "ssl.ca.location", "security.protocol", "linger.ms", "acks", "debug"] {
            assert!(known.contains(name), "{name} is missing of {}", known.len());
        }
        assert!(!known.contains("group.id") && !known.contains("Property"));
        assert!(
            known.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_')),
            "{known:?}"
        );
    }

    #[test]
    fn what_cannot_be_set_is_said_with_what_may_be_meant() {
        let known = property_names();
        assert_eq!(property_fault("sasl.username", &known), None);
        let fault = property_fault("sasl.pasword", &known).unwrap();
        assert_eq!(fault, "Kafka property `sasl.pasword` does not exist; did you mean `sasl.password`?");
        assert_eq!(property_fault("colour", &known).unwrap(), "Kafka property `colour` does not exist");
        assert!(property_fault("group.id", &known).unwrap().contains("set by curb"));
    }
}
