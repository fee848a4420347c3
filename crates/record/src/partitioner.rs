//! Which partition a key belongs to, as Kafka's Java client decides it (`BuiltInPartitioner`): whoever produces a key,
//! over whichever protocol, it lands in the same partition.

/// The 32-bit murmur2 hash with the seed that Kafka's clients use.
pub fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    // The length is hashed as 32 bits; keys are far below 4 GiB.
    #[allow(clippy::cast_possible_truncation)]
    let mut h = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (shift, byte) in [0, 8, 16].into_iter().zip(rest) {
            h ^= u32::from(*byte) << shift;
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    (h ^ (h >> 15)).cast_signed()
}

/// The partition of a key in a topic of `partitions` partitions, of which there is at least one.
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & i32::MAX) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by `org.apache.kafka.common.utils.Utils` of kafka-clients 4.3.1: hash, partition of 6, 12 and 1000.
    const JAVA: [(&[u8], i32, [i32; 3]); 14] = [
        (b"", 275_646_681, [3, 9, 681]),
        (b"a", -1_563_381_124, [4, 4, 524]),
        (b"ab", 316_155_434, [2, 2, 434]),
        (b"abc", 479_470_107, [3, 3, 107]),
        (b"abcd", -1_323_649_548, [2, 8, 100]),
        (b"abcde", 461_995_741, [1, 1, 741]),
        (b"21", -973_932_308, [0, 0, 340]),
        (b"foobar", -790_332_482, [0, 6, 166]),
        (b"a-little-bit-long-string", -985_981_536, [2, 8, 112]),
        (b"a-little-bit-longer-string", -1_486_304_829, [5, 11, 819]),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971, [5, 5, 677]),
        (b"N14228", -1_499_626_080, [2, 8, 568]),
        ("äö€🚀".as_bytes(), 1_861_243_236, [0, 0, 236]),
        (&[0xff, 0, 0x80, 0x7f, 0xfe, 0xff, 0xff], 811_269_904, [4, 4, 904]),
    ];

    #[test]
    fn as_the_java_client_does() {
        for (key, hash, partitions) in JAVA {
            assert_eq!(murmur2(key), hash, "{key:?}");
            assert_eq!([6, 12, 1000].map(|n| partition_for_key(key, n)), partitions, "{key:?}");
        }
    }

    #[test]
    fn every_length_as_the_java_client_does() {
        let bytes: Vec<u8> = (0..=255).collect();
        let sum = |sum: i64, n| sum.wrapping_mul(31).wrapping_add(murmur2(&bytes[..n]).into());
        assert_eq!((0..=256).fold(0, sum), 1_476_454_985_914_407_045);
    }
}
