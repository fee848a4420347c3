//! What is assigned to a consumer, as the leader of a classic group wrote it: the beginning of Kafka's
//! `ConsumerProtocolAssignment`, which is the same in every version: version (int16), then topics with their partitions.

/// The partitions of each topic, or `None` if these bytes are something else.
pub fn assigned_partitions(assignment: &[u8]) -> Option<Vec<(String, Vec<i32>)>> {
    let (_version, mut left) = assignment.split_first_chunk::<2>()?;
    let mut topics = Vec::new();
    for _ in 0..count(&mut left)? {
        let (length, rest) = left.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, rest) = rest.split_at_checked(length)?;
        left = rest;
        let mut partitions = Vec::new();
        for _ in 0..count(&mut left)? {
            let (partition, rest) = left.split_first_chunk::<4>()?;
            partitions.push(i32::from_be_bytes(*partition));
            left = rest;
        }
        topics.push((std::str::from_utf8(name).ok()?.to_owned(), partitions));
    }
    Some(topics)
}

/// The length of an array, which may be absent.
fn count(left: &mut &[u8]) -> Option<i32> {
    let (count, rest) = left.split_first_chunk::<4>()?;
    *left = rest;
    Some(i32::from_be_bytes(*count).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_found_and_noise_is_not() {
        let bytes = b"\0\x03\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x05\0\x02bc\0\0\0\0\xff\xff\xff\xff";
        let expected = vec![("a".to_owned(), vec![0, 5]), ("bc".to_owned(), vec![])];
        assert_eq!(assigned_partitions(bytes), Some(expected));
        assert_eq!(assigned_partitions(b"\0\0\0\0\0\0"), Some(vec![]));
        for cut in 0..bytes.len() - 4 {
            assert_eq!(assigned_partitions(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(assigned_partitions(b"\0\0\x7f\xff\xff\xff"), None);
    }
}
