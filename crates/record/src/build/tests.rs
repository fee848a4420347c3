#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::testing::{any_codec, any_records, batch_of, java, records_of, to_bytes};

const NO_HEADERS: [(&[u8], Option<&[u8]>); 0] = [];

fn java_fields() -> BatchFields {
    BatchFields {
        leader_epoch: LeaderEpoch(-1),
        base_timestamp: TimestampMs(1_700_000_000_000),
        producer_id: ProducerId(4000),
        producer_epoch: 3,
        base_sequence: 7,
        ..BatchFields::default()
    }
}

fn push_java(builder: &mut BatchBuilder) {
    let headers = [(&b"h"[..], Some(&[0, 0xff][..])), (&b"h"[..], None)];
    builder.push(0, 0, Some(b"k"), Some(b"v1"), headers).unwrap();
    builder.push(1, 5, None, Some(b""), NO_HEADERS).unwrap();
    builder.push(2, -5, Some(b""), None, NO_HEADERS).unwrap();
}

#[test]
fn writes_what_the_java_client_writes() {
    let mut builder = BatchBuilder::new(java_fields());
    // Twice from one builder: nothing is left over.
    for _ in 0..2 {
        assert!(builder.is_empty());
        push_java(&mut builder);
        assert_eq!((builder.record_count(), builder.len()), (3, java(Codec::None).len()));
        assert_eq!(to_bytes(&builder.build(Codec::None).unwrap()), java(Codec::None));
    }
    push_java(&mut builder);
    builder.reset(java_fields());
    push_java(&mut builder);
    assert_eq!(to_bytes(&builder.build(Codec::None).unwrap()), java(Codec::None));
}

#[test]
fn batches_that_are_placed_lie_one_behind_the_other() {
    for codec in [Codec::None, Codec::Zstd] {
        let mut builder = BatchBuilder::placing(java_fields(), 4);
        let mut expected = Vec::new();
        for n in 0..3_u8 {
            // What was dropped leaves nothing behind.
            push_java(&mut builder);
            builder.reset(java_fields());
            push_java(&mut builder);
            assert_eq!((builder.record_count(), builder.len()), (3, java(Codec::None).len()));
            let mut alone = BatchBuilder::new(java_fields());
            push_java(&mut alone);
            let batch = to_bytes(&alone.build(codec).unwrap());
            builder.place(codec, |body| [n, 0xff, 0xff, u8::try_from(body).unwrap()]).unwrap();
            expected.extend([n, 0xff, 0xff, u8::try_from(batch.len() - HEADER_LEN).unwrap()]);
            expected.extend(batch);
        }
        // What was not closed is not there.
        push_java(&mut builder);
        assert_eq!(builder.into_placed(), expected);
    }
    assert!(BatchBuilder::placing(java_fields(), 4).into_placed().is_empty());
}

#[test]
fn what_compression_saves_is_given_back() {
    let mut builder = BatchBuilder::placing(java_fields(), 1);
    builder.push(0, 0, None, Some(&[7; 1 << 20]), NO_HEADERS).unwrap();
    builder.place(Codec::Zstd, |_| [1]).unwrap();
    let placed = builder.into_placed();
    let len = placed.len();
    assert!(placed.try_into_mut().unwrap().capacity() < 2 * len, "{len} bytes");
}

#[test]
fn a_batch_that_cannot_be_closed_stays_open() {
    let mut builder = BatchBuilder::placing(java_fields(), 1);
    assert!(builder.place(Codec::None, |_| [1]).is_err(), "no record");
    push_java(&mut builder);
    builder.place(Codec::None, |_| [2]).unwrap();
    assert_eq!(builder.into_placed(), [&[2][..], &java(Codec::None)].concat());
}

#[test]
fn header_fields_as_given() {
    let mut builder = BatchBuilder::new(BatchFields {
        base_offset: Offset(40),
        attributes: 0x18 | 5, // codec bits are not the caller's
        max_timestamp: Some(TimestampMs(99)),
        last_offset_delta: Some(9),
        ..java_fields()
    });
    builder.push(3, 0, None, None, NO_HEADERS).unwrap();
    builder.push(7, 0, None, None, NO_HEADERS).unwrap();
    let batch = builder.build(Codec::Lz4).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!(batch.attributes(), 0x18 | 3);
    assert_eq!((batch.base_offset(), batch.next_offset()), (Offset(40), Offset(50)));
    assert_eq!((batch.record_count(), batch.max_timestamp()), (2, TimestampMs(99)));
    let body = batch.inflate(1 << 10).unwrap();
    let deltas: Vec<_> = body.records().map(|r| r.unwrap().offset_delta).collect();
    assert_eq!(deltas, [3, 7]);
}

#[test]
fn max_timestamp_of_the_records() {
    let max_of = |base, deltas: &[i64]| {
        let mut builder =
            BatchBuilder::new(BatchFields { base_timestamp: TimestampMs(base), ..BatchFields::default() });
        for (offset, delta) in (0..).zip(deltas) {
            builder.push(offset, *delta, None, None, NO_HEADERS).unwrap();
        }
        builder.build(Codec::None).unwrap().max_timestamp().0
    };
    assert_eq!(max_of(10, &[0, 5, -5]), 15);
    assert_eq!(max_of(-1, &[0, 0]), -1);
    // None is not a time; a time before 1970 is one.
    assert_eq!(max_of(-1, &[0, -49, -59]), -50);
    assert_eq!(max_of(-1, &[-59, -49, 0]), -50);
}

#[test]
fn refusals_leave_the_batch_as_it_was() {
    let mut builder = BatchBuilder::new(java_fields());
    assert_eq!(builder.build(Codec::None).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(matches!(builder.push(-1, 0, None, None, NO_HEADERS), Err(Error::Record { index: 0, .. })));
    push_java(&mut builder);
    assert!(matches!(builder.push(2, 0, None, None, NO_HEADERS), Err(Error::Record { index: 3, .. })));
    assert!(matches!(builder.push(3, i64::MAX, None, None, NO_HEADERS), Err(Error::Timestamp { index: 3, .. })));
    assert_eq!(to_bytes(&builder.build(Codec::None).unwrap()), java(Codec::None));

    builder.reset(BatchFields { last_offset_delta: Some(1), ..java_fields() });
    push_java(&mut builder);
    assert_eq!(builder.build(Codec::None).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_batch_may_be_empty_where_compaction_left_it_so() {
    let fields = BatchFields { last_offset_delta: Some(4), ..java_fields() };
    for codec in Codec::ALL {
        let batch = BatchBuilder::new(fields).build(codec).unwrap();
        assert_eq!((batch.record_count(), batch.next_offset()), (0, Offset(5)));
        assert_eq!(records_of(&batch).unwrap(), []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn round_trip(records in any_records(), codec in any_codec()) {
        let batch = batch_of(&records, BatchFields::default(), codec);
        let (parsed, rest) = Batch::parse(to_bytes(&batch)).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert!(parsed.verify_crc().is_ok());
        prop_assert_eq!(parsed.codec().unwrap(), codec);
        prop_assert_eq!(records_of(&parsed).unwrap(), records);
    }
}
