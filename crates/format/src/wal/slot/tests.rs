#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use runnel_record::TimestampMs;

use super::*;
use crate::wal::{LaneHeader, Row};

const LANE: Uuid = Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
const NONCE: Uuid = Uuid::from_u128(0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20);
const SLOT: u64 = 128;

fn tp() -> TopicPartition {
    TopicPartition { topic: TopicId(Uuid::from_u128(42)), partition: 9 }
}

fn run() -> SlotRun {
    let (epoch, base, next) = (LeaderEpoch(3), Offset(90), Offset(100));
    SlotRun { tp: tp(), epoch, base, next, slot: 127, first_row: 4, rows: 2, body_at: 1_000, body_len: 50 }
}

/// A slot of one batch, offsets 100 to 104 and the body `abc`, and of a checkpoint of one run.
fn object() -> Vec<u8> {
    let seed = SlotHeader::seed(LANE, SLOT);
    let mut header = [0; 61];
    header[0..8].copy_from_slice(&100i64.to_be_bytes());
    header[16] = 2;
    header[23..27].copy_from_slice(&4i32.to_be_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[21..]), b"abc");
    header[17..21].copy_from_slice(&crc.to_be_bytes());
    let body_at = (SLOT_HEADER_LEN + ROW_LEN + RUN_LEN) as u64;
    let (mut rows, mut runs) = (Vec::new(), Vec::new());
    let append_time = TimestampMs(1_700_000_000_000);
    Row { tp: tp(), append_time, body_at, body_len: 3, header }.encode(seed, &mut rows);
    run().encode(&mut runs);
    let head = SlotHeader {
        kind: SlotKind::Data,
        lane: LANE,
        session: 7,
        slot: SLOT,
        nonce: NONCE,
        total_len: body_at + 3,
        rows: 1,
        runs: Some(1),
        rows_crc: seeded_crc(seed, &rows),
        runs_crc: seeded_crc(seed, &runs),
    };
    [&head.encode()[..], &rows, &runs, b"abc"].concat()
}

fn seal() -> SlotHeader {
    SlotHeader::seal(LANE, 8, SLOT, NONCE)
}

fn lane_header(end: Option<u64>) -> LaneHeader {
    LaneHeader { lane: LANE, session: 7, trim: 64, end }
}

fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|b| format!("{b:02x}")).collect::<String>();
    bytes.chunks(32).map(line).collect::<Vec<_>>().join("\n")
}

/// The whole of a slot that is whole.
fn check(bytes: &[u8], slot: u64) -> Result<(SlotHeader, Row, Vec<SlotRun>), Error> {
    let header = SlotHeader::decode(bytes, LANE, slot)?;
    let (rows, runs) = header.tables(bytes)?;
    let row = Row::decode_within(rows, SlotHeader::seed(LANE, slot), header.data_at()..header.total_len)?;
    Ok((header, row, runs.unwrap_or_default()))
}

/// The first release's bytes; a reader of them must exist for ever.
#[test]
fn the_bytes_are_those_of_the_golden_file() {
    let found = format!(
        "slot\n{}\nseal\n{}\nlane header\n{}\n",
        hex(&object()),
        hex(&seal().encode()),
        hex(&lane_header(Some(128)).encode())
    );
    assert_eq!(found, include_str!("../../../golden/wal-slot-v1.hex"));
}

#[test]
fn what_is_written_reads_back() {
    let (header, row, runs) = check(&object(), SLOT).unwrap();
    assert_eq!((header.kind, header.session, header.nonce), (SlotKind::Data, 7, NONCE));
    assert_eq!((row.base(), row.next(), row.tp), (Offset(100), Offset(105), tp()));
    assert!(row.matches(&object()[usize::try_from(row.body_at).unwrap()..]));
    assert_eq!(runs, [run()]);
    assert_eq!(SlotHeader::rows_at(&(0..1)).end + RUN_LEN as u64, header.data_at());
    assert_eq!(SlotHeader::decode(&seal().encode(), LANE, SLOT), Ok(seal()));
    for end in [None, Some(64), Some(u64::MAX)] {
        assert_eq!(LaneHeader::decode(&lane_header(end).encode()), Ok(lane_header(end)));
    }
    assert!(LaneHeader::decode(&lane_header(Some(63)).encode()).is_err(), "it starts behind its end");
}

#[test]
fn a_newer_version_is_named() {
    let mut bytes = seal().encode();
    bytes[8] = 2;
    let crc = seeded_crc(SlotHeader::seed(LANE, SLOT), &bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    let error = SlotHeader::decode(&bytes, LANE, SLOT).unwrap_err();
    assert_eq!(error, Error::NewerFormat { what: WHAT, found: 2, newest: VERSION });
}

#[test]
fn a_slot_from_another_place_does_not_pass() {
    assert!(check(&object(), SLOT + 1).is_err());
    assert!(SlotHeader::decode(&object(), NONCE, SLOT).is_err());
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let good = SlotHeader::decode(&object(), LANE, SLOT).unwrap();
    for bad in [
        SlotHeader { rows: u32::MAX, runs: Some(u32::MAX), ..good.clone() },
        SlotHeader { rows: 0, ..good.clone() },
        SlotHeader { total_len: good.data_at() - 1, ..good.clone() },
        SlotHeader { kind: SlotKind::Seal, ..good },
        SlotHeader { total_len: 113, ..seal() },
        SlotHeader { runs: Some(0), ..seal() },
    ] {
        assert!(SlotHeader::decode(&bad.encode(), LANE, SLOT).is_err(), "{bad:?}");
    }
    // Claims of more than is there are refused before anything is allocated.
    let many = SlotHeader { rows: u32::MAX, runs: Some(u32::MAX), total_len: u64::MAX, ..seal() };
    let many = SlotHeader { kind: SlotKind::Data, ..many };
    assert!(SlotHeader::decode(&many.encode(), LANE, SLOT).unwrap().tables(&object()).is_err());
}

#[test]
fn impossible_runs_are_refused() {
    for bad in [
        SlotRun { slot: SLOT, ..run() },
        SlotRun { base: Offset(-1), ..run() },
        SlotRun { next: Offset(90), ..run() },
        SlotRun { rows: 0, ..run() },
        SlotRun { first_row: u32::MAX, ..run() },
        SlotRun { body_at: u64::MAX, ..run() },
    ] {
        let mut bytes = Vec::new();
        bad.encode(&mut bytes);
        assert_eq!(bytes.len(), RUN_LEN);
        assert!(SlotRun::decode(&mut Reader::new(RUN, &bytes), SLOT).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn every_flipped_bit_in_front_of_the_bodies_is_seen(at in 0usize..(SLOT_HEADER_LEN + ROW_LEN + RUN_LEN) * 8) {
        let mut bytes = object();
        bytes[at / 8] ^= 1 << (at % 8);
        prop_assert!(check(&bytes, SLOT).is_err());
    }

    #[test]
    fn what_is_cut_off_is_refused(len in 0usize..SLOT_HEADER_LEN + ROW_LEN + RUN_LEN) {
        prop_assert!(check(&object()[..len], SLOT).is_err());
        let header = lane_header(Some(128)).encode();
        prop_assert!(LaneHeader::decode(&header[..len.min(header.len() - 1)]).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(SlotHeader::decode(&bytes, LANE, SLOT).is_err());
        prop_assert!(LaneHeader::decode(&bytes).is_err());
    }
}
