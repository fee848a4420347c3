//! What a consumer's metadata says that it reads: the beginning of Kafka's `ConsumerProtocolSubscription`, which is the
//! same in every version: version (int16), then topic names.

/// The topics, or `None` if these bytes are something else.
pub(super) fn topics(metadata: &[u8]) -> Option<Vec<&str>> {
    let (_version, mut left) = metadata.split_first_chunk::<2>()?;
    let (count, rest) = left.split_first_chunk::<4>()?;
    left = rest;
    let mut topics = Vec::new();
    for _ in 0..i32::from_be_bytes(*count).max(0) {
        let (length, rest) = left.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, rest) = rest.split_at_checked(length)?;
        topics.push(std::str::from_utf8(name).ok()?);
        left = rest;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_noise_is_not() {
        assert_eq!(topics(b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\0\0\0\0"), Some(vec!["a", "bc"]));
        assert_eq!(topics(b"\0\0\0\0\0\0"), Some(vec![]));
        for noise in [&b""[..], b"\0\0\x7f\xff\xff\xff", b"\0\0\0\0\0\x01\0\x05ab", b"\0\0\0\0\0\x01\xff\xff"] {
            assert_eq!(topics(noise), None);
        }
    }
}
