//! Arithmetic of sequence numbers: 0 to 2³¹ − 1, then 0 again (`DefaultRecordBatch.incrementSequence` in Kafka).

/// Size of the sequence space; also the mask plus one.
const SPACE: i64 = 1 << 31;

/// The sequence number `by` records after `sequence`.
pub(crate) fn advance(sequence: i32, by: i64) -> i32 {
    let sum = (i64::from(sequence) + by).rem_euclid(SPACE);
    // Below 2³¹ by construction.
    i32::try_from(sum).unwrap_or_default()
}

/// How many records `from` lies before `to`, going forward and round the end: 0 to 2³¹ − 1.
pub(crate) fn distance(from: i32, to: i32) -> i64 {
    (i64::from(to) - i64::from(from)).rem_euclid(SPACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_wrap_at_i32_max() {
        assert_eq!(advance(0, 1), 1);
        assert_eq!(advance(i32::MAX, 1), 0);
        assert_eq!(advance(i32::MAX - 1, 3), 1);
        assert_eq!(distance(i32::MAX, 0), 1);
        assert_eq!(distance(0, i32::MAX), i64::from(i32::MAX));
        assert_eq!(distance(5, 5), 0);
        assert_eq!(distance(9, 5), SPACE - 4);
    }
}
