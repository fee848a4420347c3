#![allow(clippy::unwrap_used, clippy::panic)]

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use proptest::prelude::*;
use runnel_record::{BatchFields, Codec, LeaderEpoch, Offset, ProducerId, TimestampMs};

use super::*;
use crate::testing::{NOON, Record, arbitrary_log, batch, encoded, log, object, options, read_all, seen};
use crate::{ErrorKind, ParquetCodec, verify};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_encoded_is_read_back(batches in arbitrary_log(), zstd in any::<bool>()) {
        let codec = if zstd { ParquetCodec::default() } else { ParquetCodec::None };
        let mut rest = &batches[..];
        while !rest.is_empty() {
            let segment = encoded(rest, codec);
            let (held, later) = rest.split_at(segment.batches);
            prop_assert_eq!(seen(&read_all(&segment).unwrap()), seen(held));
            rest = later;
        }
    }
}

/// One batch of every kind of row, and the same for every codec.
fn example() -> Vec<SourceBatch> {
    let headers = vec![(b"a".to_vec(), None), (b"a".to_vec(), Some(vec![])), (vec![0xff], Some(vec![1, 2]))];
    let records = [
        Record { key: Some(b"k".to_vec()), headers, ..Record::of("plain") },
        Record { timestamp_delta: 7, key: Some(vec![]), ..Record::of(vec![]) },
        Record { timestamp_delta: 3, ..Record::default() },
        Record { gap: 2, ..Record::of([0, 0, 0, 1, 2, b'x']) },
    ];
    let fields = BatchFields {
        base_offset: Offset(100),
        leader_epoch: LeaderEpoch(4),
        base_timestamp: TimestampMs(NOON - 50),
        producer_id: ProducerId(9),
        producer_epoch: 2,
        base_sequence: i32::MAX - 1,
        ..BatchFields::default()
    };
    let first = batch(fields, &records, 0, Codec::Zstd);
    let fields = BatchFields {
        base_offset: first.next_offset(),
        attributes: 0b1000,
        base_timestamp: TimestampMs(5),
        max_timestamp: Some(TimestampMs(NOON + 1)),
        ..BatchFields::default()
    };
    let second = batch(fields, &[Record::of("appended")], 0, Codec::None);
    [first, second].into_iter().map(|batch| SourceBatch { batch, append_time: TimestampMs(NOON + 1) }).collect()
}

#[test]
fn columns_hold_what_the_contract_says() {
    let file = SerializedFileReader::new(Bytes::from(object(&encoded(&example(), ParquetCodec::default())))).unwrap();
    let rows: Vec<String> = file
        .get_row_iter(None)
        .unwrap()
        .map(|row| {
            let row = row.unwrap();
            assert_eq!(row.get_int(0).unwrap(), 3);
            row.get_column_iter().skip(1).map(|(_, field)| field.to_string()).collect::<Vec<_>>().join(" | ")
        })
        .collect();
    let expected = [
        "100 | 2026-11-23 11:59:59.950000 +00:00 | 0 | 2026-11-23 12:00:00.001000 +00:00 | [107] | [112, 108, 97, 105, 110] \
         | [{key: \"a\", value: null}, {key: \"a\", value: []}, {key: \"\u{fffd}\", value: [1, 2]}] \
         | null | 4 | 9 | 2 | 2147483646 | 4 | 100",
        "101 | 2026-11-23 11:59:59.957000 +00:00 | 0 | 2026-11-23 12:00:00.001000 +00:00 | [] | [] | [] \
         | null | 4 | 9 | 2 | 2147483647 | 4 | 100",
        "102 | 2026-11-23 11:59:59.953000 +00:00 | 0 | 2026-11-23 12:00:00.001000 +00:00 | null | null | [] \
         | null | 4 | 9 | 2 | 0 | 4 | 100",
        "105 | 2026-11-23 11:59:59.950000 +00:00 | 0 | 2026-11-23 12:00:00.001000 +00:00 | null | \
         [0, 0, 0, 1, 2, 120] | [] | 258 | 4 | 9 | 2 | 3 | 4 | 100",
        "106 | 2026-11-23 12:00:00.001000 +00:00 | 1 | 2026-11-23 12:00:00.001000 +00:00 | null | [97, 112, 112, 101, 110, 100, 101, 100] | [] \
         | null | 0 | null | null | null | 8 | 106",
    ];
    assert_eq!(rows, expected);
}

/// A file that release 0.1.0 wrote from `example`; it is read for ever and never written anew.
#[test]
fn the_golden_segment_is_still_read() {
    let golden = include_bytes!("../../golden/segment-v1.parquet");
    let mut segment = encoded(&example(), ParquetCodec::default());
    segment.bytes = vec![Bytes::from_static(golden)];
    segment.len = golden.len() as u64;
    segment.crc32c = crc32c::crc32c(golden);
    assert_eq!(seen(&read_all(&segment).unwrap()), seen(&example()));
    verify(&segment, &example()).unwrap();
}

#[test]
fn the_reference_gets_its_facts() {
    let segment = encoded(&example(), ParquetCodec::default());
    assert_eq!((segment.batches, segment.records), (2, 5));
    assert_eq!((segment.base, segment.next), (Offset(100), Offset(107)));
    assert_eq!((segment.min_timestamp, segment.max_timestamp), (TimestampMs(NOON - 50), TimestampMs(NOON + 1)));
    assert_eq!(segment.max_timestamp_offset, Offset(106));
    assert_eq!(segment.len, object(&segment).len() as u64);
    assert_eq!(segment.crc32c, crc32c::crc32c(&object(&segment)));
}

#[test]
fn the_same_batches_give_the_same_bytes() {
    let encode = || object(&encoded(&example(), ParquetCodec::default()));
    assert_eq!(encode(), encode());
}

#[test]
fn one_huge_record() {
    let huge: Vec<u8> = (0..5u32 << 18).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let batches = log(0, &[vec![Record::of("small")], vec![Record::of(huge)], vec![Record::of("small")]]);
    let segment = encoded(&batches, ParquetCodec::default());
    assert_eq!(seen(&read_all(&segment).unwrap()), seen(&batches));
    assert_eq!(verify::parse(&segment).unwrap().runs().len(), 3, "a large batch is a run of its own");
}

#[test]
fn a_batch_that_inflates_too_far_is_served_with_its_old_codec() {
    let zeros = |len| vec![Record::of(vec![0_u8; len])];
    let fields = BatchFields { base_timestamp: TimestampMs(NOON), ..BatchFields::default() };
    let source =
        |fields, len| SourceBatch { batch: batch(fields, &zeros(len), 0, Codec::Zstd), append_time: TimestampMs(NOON) };
    let small = source(fields, 1 << 20);
    let large = source(BatchFields { base_offset: Offset(1), ..fields }, 9 << 20);
    let batches = vec![small, large];
    let segment = encoded(&batches, ParquetCodec::default());
    let found = read_all(&segment).unwrap();
    assert_eq!(seen(&found), seen(&batches));
    let codecs: Vec<Codec> = found.iter().map(|b| b.batch.codec().unwrap()).collect();
    assert_eq!(codecs, [Codec::None, Codec::Zstd]);
    assert!(found[1].batch.len() < 1 << 20);
    verify(&segment, &batches).unwrap();
}

#[test]
fn many_tiny_records() {
    let tiny = |count| vec![Record::of("x"); count];
    let mut lists = vec![tiny(50_000)];
    lists.resize(501, tiny(100));
    let batches = log(7, &lists);
    let segment = encoded(&batches, ParquetCodec::default());
    assert_eq!(segment.records, 100_000);
    assert_eq!(seen(&read_all(&segment).unwrap()), seen(&batches));
}

#[test]
fn row_groups_are_of_the_promised_size_and_hold_whole_runs() {
    let noise = |seed: u32| (0..16 << 10).flat_map(move |n: u32| (n ^ seed).wrapping_mul(0x9e37_79b9).to_le_bytes());
    let lists: Vec<_> = (0..20 * 16).map(|n| vec![Record::of(noise(n).collect::<Vec<u8>>())]).collect();
    let batches = log(0, &lists); // 20 MiB
    let segment = encoded(&batches, ParquetCodec::None);
    let footer = verify::parse(&segment).unwrap();
    let sizes: Vec<_> = footer.metadata.row_groups().iter().map(|g| g.compressed_size() >> 20).collect();
    assert_eq!(sizes, [8, 8, 3]);
    for run in footer.runs() {
        assert!(run.bytes <= 1 << 20 && footer.ranges(run.index).is_ok(), "{run:?}");
    }
    let value = footer.ranges(0).unwrap()[crate::schema::leaf::VALUE].clone();
    assert!(footer.ranges(0).unwrap().iter().all(|range| range.start <= value.start), "the value comes last");
    assert_eq!(seen(&read_all(&segment).unwrap()), seen(&batches));
}

/// A record whose header keys are `bytes` bytes that are no UTF-8.
fn odd_header(bytes: usize) -> Record {
    Record { headers: vec![(vec![0xff; bytes], None)], ..Record::default() }
}

#[test]
fn a_segment_is_closed_before_its_exceptions_outgrow_the_footer() {
    let batches = log(0, &vec![vec![odd_header(20 << 10)]; 5]);
    let first = encoded(&batches, ParquetCodec::default());
    assert_eq!((first.batches, first.next), (2, Offset(2)));
    assert_eq!(seen(&read_all(&first).unwrap()), seen(&batches[..2]));
    let second = encoded(&batches[2..], ParquetCodec::default());
    assert_eq!((second.batches, second.base), (2, Offset(2)));
}

#[test]
fn a_batch_with_too_many_exceptions_is_a_segment_of_its_own() {
    let batches = log(0, &[vec![odd_header(1)], vec![odd_header(200 << 10)], vec![odd_header(1)]]);
    let mut rest = &batches[..];
    for _ in 0..3 {
        let segment = encoded(rest, ParquetCodec::default());
        assert_eq!(segment.batches, 1);
        assert_eq!(seen(&read_all(&segment).unwrap()), seen(&rest[..1]));
        rest = &rest[1..];
    }
}

#[test]
fn verify_sees_every_difference() {
    let batches = log(0, &[vec![Record::of("a"), Record::of("b")], vec![Record::of("c")]]);
    let segment = encoded(&batches, ParquetCodec::default());
    let differs = |change: &dyn Fn(&mut SourceBatch)| {
        let mut changed = batches.clone();
        change(&mut changed[0]);
        match verify(&segment, &changed) {
            Err(Error::Differs { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    };
    let rebuilt = |list: &[Record]| {
        let fields = BatchFields { base_timestamp: TimestampMs(NOON), ..BatchFields::default() };
        batch(fields, list, 0, Codec::None)
    };
    let (a, b) = (Record::of("a"), Record::of("b"));
    assert_eq!(differs(&|s| s.append_time = TimestampMs(1)), "append time");
    assert_eq!(differs(&|s| s.batch.assign(Offset(0), LeaderEpoch(9))), "leader epoch");
    assert_eq!(differs(&|s| s.batch = rebuilt(&[a.clone(), Record::of("B")])), "value");
    assert_eq!(differs(&|s| s.batch = rebuilt(&[a.clone(), Record { key: Some(vec![]), ..b.clone() }])), "key");
    let header = vec![(vec![], None)];
    assert_eq!(
        differs(&|s| s.batch = rebuilt(&[a.clone(), Record { headers: header.clone(), ..b.clone() }])),
        "headers"
    );
    assert_eq!(differs(&|s| s.batch = rebuilt(&[a.clone(), Record { timestamp_delta: -1, ..b.clone() }])), "timestamp");
    assert_eq!(differs(&|s| s.batch = rebuilt(&[Record { gap: 1, ..a.clone() }])), "record count");
    assert!(matches!(verify(&segment, &batches[..1]), Err(Error::Differs { what: "batches", .. })));
    let mut more = batches.clone();
    more.push(batches[1].clone());
    verify(&segment, &more).unwrap();
    let mut truncated = segment.clone();
    truncated.bytes.remove(1);
    assert!(matches!(verify(&truncated, &batches), Err(Error::Differs { what: "CRC of the object", .. })));
}

#[test]
fn batches_that_break_the_contract_are_refused() {
    let good = log(10, &[vec![Record::of("a")], vec![Record::of("b")]]);
    let refused = |batches: &[SourceBatch]| {
        let error = encode(batches, &options(ParquetCodec::default())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    };
    let with = |change: &dyn Fn(&mut Vec<SourceBatch>)| {
        let mut batches = good.clone();
        change(&mut batches);
        refused(&batches)
    };
    assert!(refused(&[]).contains("no batches"));
    assert!(with(&|b| b.swap(0, 1)).contains("do not follow"));
    assert!(with(&|b| b[1].append_time = TimestampMs(0)).contains("append time"));
    assert!(with(&|b| b[1].append_time = TimestampMs(NOON + 43_200_000)).contains("another UTC day"));
    let fields = BatchFields { base_offset: Offset(10), attributes: 0b10_0000, ..BatchFields::default() };
    assert!(with(&|b| b[0].batch = batch(fields, &[Record::of("a")], 0, Codec::None)).contains("control"));
    let fields = BatchFields { base_offset: Offset(10), base_timestamp: TimestampMs(i64::MAX), ..fields };
    let fields = BatchFields { attributes: 0, ..fields };
    assert!(with(&|b| b[0].batch = batch(fields, &[Record::of("a")], 0, Codec::None)).contains("timestamp"));
    let broken = runnel_record::Batch::from_parts(*good[0].batch.header(), Bytes::from_static(b"\x10\0"));
    assert!(with(&|b| b[0].batch = broken.clone()).contains("record 0"));
}
