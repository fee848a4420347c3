//! Which partition of `__consumer_offsets` a group belongs to.

/// The partition of `group` among `partitions`: Java's `String.hashCode` without its sign, as in Kafka, so that tools that
/// look for a group's records find them.
pub fn partition_of(group: &str, partitions: i32) -> i32 {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_go_where_java_puts_them() {
        // "console-consumer-1".hashCode() and others, as Java computes them.
        assert_eq!(partition_of("", 50), 0);
        assert_eq!(partition_of("a", 50), 97 % 50);
        assert_eq!(partition_of("hello", 50), 99_162_322 % 50);
        assert_eq!(partition_of("polygenelubricants", 50), 0); // i32::MIN loses its sign
        assert_eq!(partition_of("g", 0), 0);
    }
}
