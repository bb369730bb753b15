//! The record header that says which epoch a transaction belongs to and how far it has read.
//!
//! One record of every transaction in the state topic carries it. Topics, not relations, are named: a position means
//! nothing in another topic, so a relation that moves to another topic starts anew.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The header's name.
pub(super) const EPOCH_HEADER: &str = "curb_epoch";

/// The number of an epoch and, by topic and partition, the next offsets to read after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EpochHeader {
    pub(super) epoch: u64,
    pub(super) positions: BTreeMap<String, BTreeMap<i32, i64>>,
}

impl EpochHeader {
    pub(super) fn encode(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(self).map_err(|e| e.to_string())
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|e| e.to_string())
    }

    /// An upper bound of the encoded size for `n_partitions` of `topics`.
    pub(super) fn size_bound<'a>(topics: impl Iterator<Item = (&'a str, i32)>) -> usize {
        topics.fold(64, |size, (topic, n)| size + topic.len() + 8 + 36 * n.max(0) as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_survives_the_wire_and_stays_below_its_bound(
            epoch in any::<u64>(),
            positions in prop::collection::btree_map(
                "[a-z._-]{1,20}",
                prop::collection::btree_map(0..i32::MAX, 0..i64::MAX, 1..9),
                0..5,
            ),
        ) {
            let header = EpochHeader { epoch, positions };
            let bytes = header.encode().unwrap();
            let bound = EpochHeader::size_bound(header.positions.iter().map(|(t, p)| (t.as_str(), p.len() as i32)));
            prop_assert!(bytes.len() <= bound, "{} > {bound}", bytes.len());
            prop_assert_eq!(EpochHeader::decode(&bytes).unwrap(), header);
        }
    }

    #[test]
    fn a_header_is_readable_by_eye() {
        let positions = BTreeMap::from([("captures".to_owned(), BTreeMap::from([(0, 12), (1, 7)]))]);
        let bytes = EpochHeader { epoch: 3, positions }.encode().unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), r#"{"epoch":3,"positions":{"captures":{"0":12,"1":7}}}"#);
    }

    #[test]
    fn bytes_that_are_no_header_are_refused() {
        assert!(EpochHeader::decode(b"{\"epoch\":").is_err());
    }
}
