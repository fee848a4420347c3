#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::batch::HEADER_LEN;
use crate::build::{BatchBuilder, BatchFields};
use crate::compression::compress;
use crate::error::ErrorKind;
use crate::testing::{JAVA, any_codec, any_records, around, batch_of, edited, java, open_limits, records_of, to_bytes};

fn kind(bytes: &Bytes) -> ErrorKind {
    validate(bytes.clone(), &open_limits()).unwrap_err().kind()
}

/// A batch of records at these times, or `base` where `None`.
fn timed(base: i64, deltas: &[i64]) -> Bytes {
    let fields = BatchFields { base_timestamp: TimestampMs(base), ..BatchFields::default() };
    let mut builder = BatchBuilder::new(fields);
    for (offset, delta) in (0..).zip(deltas) {
        builder.push(offset, *delta, None, None, []).unwrap();
    }
    to_bytes(&builder.build(Codec::None).unwrap())
}

#[test]
fn takes_java_batches_as_they_are() {
    for (codec, _) in JAVA {
        let bytes = java(codec);
        let batch = validate(bytes.clone(), &open_limits()).unwrap();
        assert_eq!(to_bytes(&batch), bytes, "{codec}");
        assert_eq!(batch.body().as_ptr(), bytes[HEADER_LEN..].as_ptr(), "{codec} was copied");
    }
}

#[test]
fn a_flipped_bit_is_corruption_wherever_the_crc_reaches() {
    for (codec, _) in JAVA {
        let bytes = java(codec);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 1 << bit;
                match validate(damaged.into(), &open_limits()) {
                    // Base offset and leader epoch: the leader overwrites them.
                    Ok(_) => assert!(matches!(at, 0..8 | 12..16), "{codec}: byte {at} bit {bit} went unseen"),
                    Err(error) if at >= 17 => assert!(matches!(error, Error::Crc { .. }), "{codec} {at}: {error}"),
                    Err(error) => assert!(matches!(at, 0..12 | 16), "{codec} {at}: {error}"),
                }
            }
        }
    }
}

#[test]
fn cut_off_anywhere() {
    let bytes = java(Codec::None);
    assert_eq!(kind(&Bytes::new()), ErrorKind::Invalid);
    for len in 1..bytes.len() {
        assert_eq!(kind(&bytes.slice(..len)), ErrorKind::Corrupt, "{len}");
    }
}

#[test]
fn exactly_one_batch() {
    let two = [java(Codec::None), java(Codec::None)].concat();
    assert_eq!(kind(&two.into()), ErrorKind::Invalid);
    let trailing = [&java(Codec::None)[..], &[0]].concat();
    assert_eq!(kind(&trailing.into()), ErrorKind::Invalid);
}

#[test]
fn header_fields() {
    let table: [(&str, usize, &[u8], ErrorKind); 17] = [
        ("magic 0", 16, &[0], ErrorKind::UnsupportedFormat),
        ("magic 1", 16, &[1], ErrorKind::UnsupportedFormat),
        ("magic 3", 16, &[3], ErrorKind::Corrupt),
        ("codec 5", 21, &[0, 5], ErrorKind::Invalid),
        ("codec 7", 21, &[0, 7], ErrorKind::Invalid),
        ("log append time", 21, &[0, 0x08], ErrorKind::InvalidTimestamp),
        ("transactional", 21, &[0, 0x10], ErrorKind::Invalid),
        ("control", 21, &[0, 0x20], ErrorKind::Invalid),
        ("delete horizon", 21, &[0, 0x40], ErrorKind::Invalid),
        ("a reserved attribute", 21, &[0x80, 0], ErrorKind::Invalid),
        ("last offset delta too large", 23, &[0, 0, 0, 3], ErrorKind::Invalid),
        ("last offset delta negative", 23, &[0xff; 4], ErrorKind::Invalid),
        ("producer id −2", 43, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], ErrorKind::Invalid),
        ("producer epoch −1", 51, &[0xff; 2], ErrorKind::Invalid),
        ("sequence −1", 53, &[0xff; 4], ErrorKind::Invalid),
        ("one record less", 57, &[0, 0, 0, 2], ErrorKind::Invalid),
        ("record count negative", 57, &[0xff; 4], ErrorKind::Invalid),
    ];
    for (what, at, with, expected) in table {
        assert_eq!(kind(&edited(&java(Codec::None), at, with)), expected, "{what}");
    }
    // Count and last offset delta agree with each other, but not with the records.
    for (count, codec) in [(2i32, Codec::None), (4, Codec::None), (2, Codec::Zstd), (4, Codec::Zstd)] {
        let bytes = edited(&java(codec), 23, &(count - 1).to_be_bytes());
        assert_eq!(kind(&edited(&bytes, 57, &count.to_be_bytes())), ErrorKind::Invalid, "{count} {codec}");
    }
    // A negative base offset is nobody's business: the leader assigns it.
    assert!(validate(edited(&java(Codec::None), 0, &[0xff; 8]), &open_limits()).is_ok());
    assert_eq!(kind(&edited(&java(Codec::None), 0, &i64::MAX.to_be_bytes())), ErrorKind::Invalid);
}

#[test]
fn records() {
    let good = [12, 0, 0, 0, 1, 1, 0];
    assert!(validate(around(&good, 1, Codec::None), &open_limits()).is_ok());
    let table: [(&str, &[u8], i32); 6] = [
        ("no records", &[], 0),
        ("a record attribute", &[12, 1, 0, 0, 1, 1, 0], 1),
        ("an offset delta of 1 first", &[12, 0, 0, 2, 1, 1, 0], 1),
        ("an offset delta twice", &[12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 0, 1, 1, 0], 2),
        ("a null header key", &[16, 0, 0, 0, 1, 1, 2, 1, 1], 1),
        ("a byte after the last header", &[14, 0, 0, 0, 1, 1, 0, 0], 1),
    ];
    for (what, body, count) in table {
        for codec in Codec::ALL {
            // Going by the header alone for a count of 0: a batch cannot be built around it.
            let bytes = around(&compress(codec, body).unwrap(), count.max(1), codec);
            let bytes = edited(&bytes, 57, &count.to_be_bytes());
            assert_eq!(kind(&bytes), ErrorKind::Invalid, "{what}, {codec}");
        }
    }
}

#[test]
fn sizes() {
    let bytes = java(Codec::Zstd);
    let wire = |max_batch_bytes| validate(bytes.clone(), &Limits { max_batch_bytes, ..open_limits() });
    assert!(wire(bytes.len()).is_ok());
    assert!(matches!(wire(bytes.len() - 1), Err(e) if e.kind() == ErrorKind::TooLarge));
    let inflated = |max_inflated_bytes| validate(bytes.clone(), &Limits { max_inflated_bytes, ..open_limits() });
    assert!(inflated(32).is_ok());
    assert!(matches!(inflated(31), Err(e @ Error::Inflated { limit: 31 }) if e.kind() == ErrorKind::Invalid));
}

#[test]
fn bombs_are_refused_and_their_memory_given_back() {
    let limits = Limits { max_inflated_bytes: 6 << 20, ..open_limits() };
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = around(&compress(codec, &vec![0; 16 << 20]).unwrap(), 1, codec);
        assert!(matches!(validate(bomb, &limits), Err(Error::Inflated { .. })), "{codec}");
        assert_eq!(INFLATED.with_borrow(Vec::capacity), 0, "{codec}");
        // A batch of an ordinary size keeps its buffer for the next.
        validate(java(codec), &limits).unwrap();
        assert_ne!(INFLATED.with_borrow(Vec::capacity), 0, "{codec}");
    }
}

#[test]
fn only_lz4_that_every_consumer_can_read() {
    let (batch, _) = Batch::parse(java(Codec::None)).unwrap();
    let (head, tail) = batch.body().split_at(10);
    let two = [compress(Codec::Lz4, head).unwrap(), compress(Codec::Lz4, tail).unwrap()].concat();
    assert_eq!(kind(&around(&two, 3, Codec::Lz4)), ErrorKind::Invalid);
    let one = compress(Codec::Lz4, batch.body()).unwrap();
    assert!(validate(around(&one, 3, Codec::Lz4), &open_limits()).is_ok());
}

#[test]
fn a_wrong_max_timestamp_is_put_right() {
    for (codec, _) in JAVA {
        for wrong in [-1i64, 0, 1_700_000_000_004, i64::MAX, i64::MIN] {
            let batch = validate(edited(&java(codec), 35, &wrong.to_be_bytes()), &open_limits()).unwrap();
            assert_eq!(to_bytes(&batch), java(codec), "{codec} {wrong}");
        }
    }
}

#[test]
fn producer_fields_without_a_producer_are_kept() {
    // Epoch 0 and sequence 0, as kafkajs sends them; epoch −1 and sequence 0, as Sarama does.
    let anonymous = |epoch: i16, sequence: i32| {
        let bytes = edited(&java(Codec::None), 43, &[0xff; 8]);
        let bytes = edited(&edited(&bytes, 51, &epoch.to_be_bytes()), 53, &sequence.to_be_bytes());
        validate(bytes, &open_limits()).unwrap()
    };
    for (epoch, sequence, kept) in [(-1, -1, -1), (0, 0, 0), (-1, 0, 0), (i16::MIN, 7, 7), (0, -2, -1)] {
        let batch = anonymous(epoch, sequence);
        let found = (batch.producer_id(), batch.producer_epoch(), batch.base_sequence());
        assert_eq!(found, (ProducerId::NONE, epoch, kept));
        batch.verify_crc().unwrap();
    }
}

#[test]
fn timestamps_that_cannot_be_stored() {
    let (first, last) = (-62_135_596_800_000, 253_402_300_799_999);
    for good in [first, -2, -1, 0, last] {
        for log_append_time in [false, true] {
            let limits = Limits { log_append_time, ..open_limits() };
            assert_eq!(validate(timed(good, &[0]), &limits).unwrap().max_timestamp(), TimestampMs(good));
        }
    }
    for bad in [i64::MIN, first - 1, last + 1, i64::MAX] {
        for log_append_time in [false, true] {
            let limits = Limits { log_append_time, ..open_limits() };
            let error = validate(timed(bad, &[0]), &limits).unwrap_err();
            assert!(matches!(error, Error::Timestamp { index: 0, timestamp, .. } if timestamp == bad), "{error}");
        }
    }
    // Base and delta that overflow: written with a base of 0, then the base is changed.
    for (base, delta) in [(i64::MAX, 1), (i64::MIN, -1), (i64::MAX, i64::MAX)] {
        let bytes = edited(&timed(0, &[delta]), 27, &base.to_be_bytes());
        assert_eq!(kind(&bytes), ErrorKind::InvalidTimestamp, "{base} {delta}");
    }
    // An odd base is fine as long as no record is.
    let odd = edited(&timed(0, &[-i64::MAX]), 27, &i64::MAX.to_be_bytes());
    assert_eq!(validate(odd, &open_limits()).unwrap().max_timestamp(), TimestampMs(0));
}

#[test]
fn timestamps_that_the_topic_does_not_allow() {
    let now = 1_700_000_000_000;
    let limits = Limits { before_max_ms: 100, after_max_ms: 10, ..open_limits() };
    let table = [(0, true), (-100, true), (10, true), (-101, false), (11, false), (-1 - now, true)];
    for (delta, good) in table {
        let bytes = timed(now, &[0, delta]);
        match validate(bytes.clone(), &limits) {
            Ok(_) => assert!(good, "{delta}"),
            Err(error) => {
                assert!(!good && matches!(error, Error::Timestamp { index: 1, .. }), "{delta}: {error}");
                assert_eq!(error.kind(), ErrorKind::InvalidTimestamp);
            }
        }
        assert!(validate(bytes, &Limits { log_append_time: true, ..limits }).is_ok(), "{delta}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn takes_every_storable_batch(records in any_records(), codec in any_codec()) {
        let bytes = to_bytes(&batch_of(&records, BatchFields::default(), codec));
        let batch = validate(bytes.clone(), &open_limits()).unwrap();
        prop_assert_eq!(&to_bytes(&batch), &bytes);
        let latest = records.iter().fold(TimestampMs::NONE, |max, r| max.latest(TimestampMs(r.timestamp)));
        prop_assert_eq!(batch.max_timestamp(), latest);
        prop_assert_eq!(records_of(&batch).unwrap(), records);
    }

    /// Damage that the CRC does not show: whatever is let through can be walked, rebuilt, and is let through again.
    #[test]
    fn what_passes_can_be_rebuilt(
        records in any_records(),
        codec in any_codec(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = to_bytes(&batch_of(&records, BatchFields::default(), codec));
        for (at, with) in edits {
            let at = 21 + at.index(bytes.len() - 21);
            bytes = edited(&bytes, at, &[with]);
        }
        if let Ok(batch) = validate(bytes, &open_limits()) {
            prop_assert!(batch.verify_crc().is_ok());
            let kept = records_of(&batch).unwrap();
            prop_assert_eq!(i64::try_from(kept.len()).unwrap(), batch.next_offset().0 - batch.base_offset().0);
            let fields = BatchFields {
                base_timestamp: TimestampMs(kept[0].timestamp),
                producer_id: batch.producer_id(),
                producer_epoch: batch.producer_epoch(),
                base_sequence: batch.base_sequence(),
                ..BatchFields::default()
            };
            let rebuilt = validate(to_bytes(&batch_of(&kept, fields, Codec::None)), &open_limits()).unwrap();
            prop_assert_eq!(rebuilt.max_timestamp(), batch.max_timestamp());
            prop_assert_eq!(records_of(&rebuilt).unwrap(), kept);
        }
    }
}
