#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use runnel_record::{Offset, TimestampMs, TopicId, TopicPartition};
use uuid::Uuid;

use super::*;
use crate::Error;
use crate::codec::Reader;

fn file_header() -> FileHeader {
    FileHeader {
        lane: Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        disk: Uuid::from_u128(0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20),
        session: 7,
        generation: 3,
        salt: 0xfeed_beef_0102_0304,
        file: 5,
        len: 1 << 20,
    }
}

fn tp() -> TopicPartition {
    TopicPartition { topic: TopicId(Uuid::from_u128(42)), partition: 9 }
}

fn block_header() -> BlockHeader {
    BlockHeader {
        kind: BlockKind::Data,
        file: 5,
        position: 8192,
        seq: 11,
        durable_upto: 10,
        total_len: 4096,
        data_len: 3,
        rows: 1,
        spans: Some(1),
        rows_crc: 0x0a0b_0c0d,
        spans_crc: 0x0102_0304,
    }
}

/// Base offset 100, last offset delta 4, and a CRC over `abc`.
fn row() -> Row {
    let mut header = [0; 61];
    header[0..8].copy_from_slice(&100i64.to_be_bytes());
    header[16] = 2;
    header[23..27].copy_from_slice(&4i32.to_be_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[21..]), b"abc");
    header[17..21].copy_from_slice(&crc.to_be_bytes());
    Row { tp: tp(), append_time: TimestampMs(1_700_000_000_000), body_at: 244, body_len: 3, header }
}

fn span() -> Span {
    Span { tp: tp(), base: Offset(1), next: Offset(6) }
}

fn state() -> LaneState {
    let FileHeader { lane, disk, session, generation, .. } = file_header();
    let end = Some(LaneEnd { last_file: 5, position: 8192, seal_file: 6, last_seq: 12 });
    LaneState { lane, disk, session, generation, first_file: 4, first_seq: 8, end, accepted: vec![span()] }
}

fn hex(bytes: &[u8]) -> String {
    let lines: Vec<String> =
        bytes.chunks(32).map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<String>()).collect();
    lines.join("\n")
}

/// The first release's bytes; a reader of them must exist for ever.
#[test]
fn the_bytes_are_those_of_the_golden_file() {
    let seed = file_header().seed();
    let mut row_bytes = Vec::new();
    row().encode(seed, &mut row_bytes);
    let mut span_bytes = Vec::new();
    span().encode(&mut span_bytes);
    let header = file_header().encode();
    let found = format!(
        "file header, fields\n{}\nfile header, CRC\n{}\nblock header\n{}\nrow\n{}\nspan\n{}\nstate\n{}\n",
        hex(&header[..88]),
        hex(&header[PAGE - 4..PAGE]),
        hex(&block_header().encode(seed)),
        hex(&row_bytes),
        hex(&span_bytes),
        hex(&state().encode()),
    );
    assert_eq!(found, include_str!("../../golden/wal-v1.hex"));
}

#[test]
fn what_is_written_reads_back() {
    let seed = file_header().seed();
    assert_eq!(FileHeader::decode(&file_header().encode()), Ok(file_header()));
    let block = BlockHeader::decode(&block_header().encode(seed), seed, 5, 8192, 1 << 20).unwrap();
    assert_eq!(block, block_header());
    let mut bytes = Vec::new();
    row().encode(seed, &mut bytes);
    let row_back = Row::decode(&bytes, seed, &block).unwrap();
    assert_eq!(row_back, row());
    assert!(Row::is_of(&bytes, tp()) && !Row::is_of(&bytes, TopicPartition { partition: 8, ..tp() }));
    assert_eq!((row_back.base(), row_back.next()), (Offset(100), Offset(105)));
    assert!(row_back.matches(b"abc") && !row_back.matches(b"abd") && !row_back.matches(b"ab"));
    let mut bytes = Vec::new();
    span().encode(&mut bytes);
    assert_eq!(bytes.len(), SPAN_LEN);
    assert_eq!(Span::decode(&mut Reader::new("span", &bytes)), Ok(span()));
    for end in [None, state().end] {
        let state = LaneState { end, ..state() };
        assert_eq!(LaneState::decode(&state.encode()), Ok(state));
    }
}

#[test]
fn either_copy_is_enough() {
    let mut bytes = file_header().encode().to_vec();
    bytes[40] ^= 1;
    assert_eq!(FileHeader::decode(&bytes), Ok(file_header()));
    bytes[PAGE + 40] ^= 1;
    assert!(matches!(FileHeader::decode(&bytes), Err(Error::Corrupt { .. })));

    let mut bytes = state().encode().to_vec();
    let half = bytes.len() / 2;
    bytes[20] ^= 1;
    assert_eq!(LaneState::decode(&bytes), Ok(state()));
    bytes[half + 20] ^= 1;
    assert!(matches!(LaneState::decode(&bytes), Err(Error::Corrupt { .. })));
}

#[test]
fn a_newer_version_says_so() {
    let mut bytes = file_header().encode().to_vec();
    for page in bytes.chunks_exact_mut(PAGE) {
        page[8] = 2;
        let crc = crc32c::crc32c(&page[..PAGE - 4]);
        page[PAGE - 4..].copy_from_slice(&crc.to_le_bytes());
    }
    let error = FileHeader::decode(&bytes).unwrap_err();
    assert_eq!(error, Error::NewerFormat { what: "WAL file header", found: 2, newest: 1 });
}

#[test]
fn a_block_from_another_life_or_place_does_not_pass() {
    let seed = file_header().seed();
    let bytes = block_header().encode(seed);
    let other = FileHeader { salt: 1, ..file_header() }.seed();
    for (seed, file, position, len) in
        [(other, 5, 8192, 1 << 20), (seed, 6, 8192, 1 << 20), (seed, 5, 4096, 1 << 20), (seed, 5, 8192, 8192)]
    {
        assert!(BlockHeader::decode(&bytes, seed, file, position, len).is_err());
    }
    let overflowing = BlockHeader { data_len: u64::MAX - 10, rows: u32::MAX, ..block_header() };
    assert!(BlockHeader::decode(&overflowing.encode(seed), seed, 5, 8192, 1 << 20).is_err());
}

proptest! {
    #[test]
    fn every_flipped_bit_of_a_block_head_is_seen(at in 0usize..BLOCK_HEADER_LEN * 8, in_row in 0usize..ROW_LEN * 8) {
        let seed = file_header().seed();
        let mut bytes = block_header().encode(seed);
        bytes[at / 8] ^= 1 << (at % 8);
        prop_assert!(BlockHeader::decode(&bytes, seed, 5, 8192, 1 << 20).is_err());
        let mut bytes = Vec::new();
        row().encode(seed, &mut bytes);
        bytes[in_row / 8] ^= 1 << (in_row % 8);
        prop_assert!(Row::decode(&bytes, seed, &block_header()).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(FileHeader::decode(&bytes).is_err());
        prop_assert!(BlockHeader::decode(&bytes, 1, 5, 8192, 1 << 20).is_err());
        prop_assert!(Row::decode(&bytes, 1, &block_header()).is_err());
        prop_assert!(LaneState::decode(&bytes).is_err());
    }
}
