//! The local log: blocks, file headers and lane states, and a whole recovery from damaged files. And the object lane.

mod recovery;
mod slot;

use runnel_format::codec::Reader;
use runnel_format::wal::{
    BLOCK_HEADER_LEN, BlockHeader, BlockKind, FILE_HEADER_LEN, FileHeader, LaneEnd, LaneState, PAGE, ROW_LEN, Row,
    Span, seeded_crc,
};
use runnel_record::{Codec, Offset, TimestampMs, TopicId, TopicPartition};
use uuid::Uuid;

pub(crate) use recovery::{recovery, seeds as recovery_seeds};
pub(crate) use slot::{seeds as slot_seeds, slot};

use crate::batches::{NOON, sample};
use crate::sealed;

const SEED: u32 = 0x5eed;
const FILE_LEN: u64 = 64 << 20;

/// A block header, a row, a span: each with its CRC made right.
pub(crate) fn block(input: &[u8]) {
    let mut bytes = input.to_vec();
    let Some(head) = bytes.first_chunk_mut::<BLOCK_HEADER_LEN>() else { return };
    close(head, SEED);
    // It stands where it says, so that the other checks are reached.
    let word = |at: usize| head[at..at + 8].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let (file, position) = (word(8), word(16));
    let Ok(header) = BlockHeader::decode(head, SEED, file, position, FILE_LEN) else { return };
    assert!(header.end() <= FILE_LEN && header.data_at() <= header.total_len, "a block past its file");
    assert!(header.rows_len() + header.spans_len() <= usize::try_from(FILE_LEN).unwrap_or(0), "a table past its file");
    assert_eq!(BlockHeader::decode(&header.encode(SEED), SEED, file, position, FILE_LEN), Ok(header.clone()));
    for row in bytes[BLOCK_HEADER_LEN..].chunks_exact_mut(ROW_LEN) {
        close(row, SEED);
        let Ok(row) = Row::decode(row, SEED, &header) else { continue };
        assert!(row.base() < row.next(), "a row without offsets");
        assert!(row.body_at + u64::from(row.body_len) <= header.total_len, "a body past its block");
        let _ = (row.epoch(), row.matches(&[]));
    }
    Span::decode(&mut Reader::new("span", &bytes)).ok();
}

/// Puts the CRC of everything in front of the last four bytes there.
fn close(bytes: &mut [u8], seed: u32) {
    let at = bytes.len() - 4;
    let crc = seeded_crc(seed, &bytes[..at]);
    bytes[at..].copy_from_slice(&crc.to_le_bytes());
}

/// The first byte picks file header or lane state.
pub(crate) fn files(input: &[u8]) {
    let Some((kind, input)) = input.split_first() else { return };
    if kind % 2 == 0 {
        let mut page = input.to_vec();
        page.resize(PAGE, 0);
        close(&mut page, 0);
        if let Ok(header) = FileHeader::decode(&[&page[..], &page].concat()) {
            assert_eq!(FileHeader::decode(&header.encode()), Ok(header));
        }
        FileHeader::decode(input).ok();
    } else {
        let one = sealed::like(&state(true).encode(), input);
        for bytes in [[&one[..], &one].concat(), input.to_vec()] {
            if let Ok(state) = LaneState::decode(&bytes) {
                assert_eq!(LaneState::decode(&state.encode()), Ok(state));
            }
        }
    }
}

pub(crate) fn block_seeds() -> Vec<Vec<u8>> {
    let batch = sample(10, 7).build(Codec::None).expect("it fits");
    let body_len = u32::try_from(batch.body().len()).expect("short");
    let header = |kind, rows: u32, spans| BlockHeader {
        kind,
        file: 1,
        position: FILE_HEADER_LEN as u64,
        seq: 5,
        durable_upto: 4,
        total_len: BlockHeader::block_len(rows as usize, 1, u64::from(body_len)),
        data_len: u64::from(body_len),
        rows,
        spans,
        rows_crc: 1,
        spans_crc: 2,
    };
    let data = header(BlockKind::Data, 1, Some(1));
    let tp = TopicPartition { topic: TopicId(Uuid::from_u128(0xab)), partition: 3 };
    let row = Row { tp, append_time: TimestampMs(NOON), body_at: data.data_at(), body_len, header: *batch.header() };
    let mut whole = data.encode(SEED).to_vec();
    row.encode(SEED, &mut whole);
    Span { tp, base: Offset(0), next: Offset(10) }.encode(&mut whole);
    let footers = [header(BlockKind::Footer, 0, None), header(BlockKind::End, 0, Some(1))];
    footers.iter().map(|footer| footer.encode(SEED).to_vec()).chain([whole]).collect()
}

pub(crate) fn file_seeds() -> Vec<Vec<u8>> {
    let header = FileHeader {
        lane: Uuid::from_u128(1),
        disk: Uuid::from_u128(2),
        session: 3,
        generation: 4,
        salt: 5,
        file: 6,
        len: FILE_LEN,
    };
    let state = |sealed: bool| {
        let both = state(sealed).encode();
        sealed::payload(&both.slice(..both.len() / 2))
    };
    // The rest of the page is zeros, which the target adds.
    let header = header.encode()[..80].to_vec();
    [(0u8, header), (1, state(true)), (1, state(false))].map(|(kind, bytes)| [&[kind][..], &bytes].concat()).into()
}

fn state(sealed: bool) -> LaneState {
    let tp = TopicPartition { topic: TopicId(Uuid::from_u128(0xab)), partition: 3 };
    LaneState {
        lane: Uuid::from_u128(1),
        disk: Uuid::from_u128(2),
        session: 3,
        generation: 4,
        first_file: 1,
        first_seq: 1,
        end: sealed.then_some(LaneEnd { last_file: 2, position: 8192, seal_file: 3, last_seq: 9 }),
        accepted: vec![Span { tp, base: Offset(3), next: Offset(5) }],
    }
}
