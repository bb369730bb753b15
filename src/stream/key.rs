//! Kafka keys: how a row's key looks on the wire and which partition it selects.

use serde_json::Value;

/// Writes a key as it goes on the wire: the text of a single column as in JSON without quotes, several as a JSON array.
///
/// ```
/// use serde_json::json;
/// assert_eq!(curb::stream::encode_key(&[json!("p1")]), b"p1");
/// assert_eq!(curb::stream::encode_key(&[json!("p1"), json!(3)]), br#"["p1",3]"#);
/// ```
pub fn encode_key(values: &[Value]) -> Vec<u8> {
    match values {
        [Value::String(text)] => text.as_bytes().to_vec(),
        [one] => one.to_string().into_bytes(),
        many => Value::Array(many.to_vec()).to_string().into_bytes(),
    }
}

/// Returns the partition that Java's default partitioner chooses for a key.
pub fn kafka_partition(key: &[u8], n_partitions: i32) -> i32 {
    ((murmur2(key) & 0x7fff_ffff) % n_partitions.max(1) as u32) as i32
}

/// MurmurHash2 as in `org.apache.kafka.common.utils.Utils.murmur2`.
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h: u32 = 0x9747_b28c ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = word.iter().rev().fold(0, |k, b| (k << 8) | u32::from(*b));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        h ^= tail.iter().rev().fold(0, |k, b| (k << 8) | u32::from(*b));
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_agrees_with_javas_client() {
        let cases: [(&str, i32); 5] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ];
        for (text, hash) in cases {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }
}
