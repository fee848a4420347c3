//! The object lane: slots, checkpoints, lane headers.

use runnel_format::wal::{
    LaneHeader, ROW_LEN, RUN_LEN, Row, SLOT_HEADER_LEN, SlotHeader, SlotKind, SlotRun, seeded_crc,
};
use runnel_record::{Codec, LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};
use uuid::Uuid;

use super::close;
use crate::batches::{NOON, sample};
use crate::sealed;

const LANE: Uuid = Uuid::from_u128(1);
const SLOT: u64 = 128;

/// The first byte picks slot or lane header.
pub(crate) fn slot(input: &[u8]) {
    let Some((kind, input)) = input.split_first() else { return };
    if kind % 2 == 0 {
        one_slot(input.to_vec());
    } else {
        for bytes in [&sealed::like(&lane_header().encode(), input)[..], input] {
            if let Ok(header) = LaneHeader::decode(bytes) {
                assert!(header.end.is_none_or(|end| header.trim <= end), "a lane that starts behind its end");
                assert_eq!(LaneHeader::decode(&header.encode()), Ok(header));
            }
        }
    }
}

/// A slot whose CRCs are made right, in its place, so that the other checks are reached.
fn one_slot(mut bytes: Vec<u8>) {
    let seed = SlotHeader::seed(LANE, SLOT);
    let Some(head) = bytes.first_chunk_mut::<SLOT_HEADER_LEN>() else { return };
    head[16..32].copy_from_slice(LANE.as_bytes());
    head[56..64].copy_from_slice(&SLOT.to_le_bytes());
    close(head, seed);
    let Ok(header) = SlotHeader::decode(head, LANE, SLOT) else { return };
    assert!(header.data_at() <= header.total_len, "tables past the slot");
    assert_eq!(SlotHeader::decode(&header.encode(), LANE, SLOT), Ok(header.clone()));
    let (rows_end, end) = (SLOT_HEADER_LEN + header.rows as usize * ROW_LEN, header.data_at());
    if bytes.len() as u64 >= end {
        let end = usize::try_from(end).unwrap_or(0);
        bytes[SLOT_HEADER_LEN..rows_end].chunks_exact_mut(ROW_LEN).for_each(|row| close(row, seed));
        for (at, table) in [(80, SLOT_HEADER_LEN..rows_end), (84, rows_end..end)] {
            let crc = seeded_crc(seed, &bytes[table]);
            bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
        }
        close(&mut bytes[..SLOT_HEADER_LEN], seed);
    }
    let Ok(header) = SlotHeader::decode(&bytes, LANE, SLOT) else { return };
    let Ok((rows, runs)) = header.tables(&bytes) else { return };
    for row in rows.chunks(ROW_LEN) {
        let Ok(row) = Row::decode_within(row, seed, header.data_at()..header.total_len) else { continue };
        assert!(row.base() < row.next(), "a row without offsets");
        assert!(row.body_at + u64::from(row.body_len) <= header.total_len, "a body past its slot");
    }
    for run in runs.unwrap_or_default() {
        assert!(run.base < run.next && run.slot < SLOT && run.rows > 0, "an impossible run");
        let _ = SlotHeader::rows_at(&(run.first_row..run.first_row + run.rows));
    }
}

fn lane_header() -> LaneHeader {
    LaneHeader { lane: LANE, session: 3, trim: 64, end: Some(128) }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let batch = sample(10, 7).build(Codec::None).expect("it fits");
    let body_len = u32::try_from(batch.body().len()).expect("short");
    let tp = TopicPartition { topic: TopicId(Uuid::from_u128(0xab)), partition: 3 };
    let seed = SlotHeader::seed(LANE, SLOT);
    let slot = |runs: Option<u32>| {
        let seal = SlotHeader::seal(LANE, 3, SLOT, Uuid::from_u128(4));
        let mut header = SlotHeader { kind: SlotKind::Data, rows: 1, runs, ..seal };
        header.total_len = header.data_at() + u64::from(body_len);
        let row =
            Row { tp, append_time: TimestampMs(NOON), body_at: header.data_at(), body_len, header: *batch.header() };
        let mut whole = header.encode().to_vec();
        row.encode(seed, &mut whole);
        for base in 0..i64::from(runs.unwrap_or(0)) {
            let (base, next) = (Offset(base), Offset(base + 1));
            SlotRun {
                tp,
                epoch: LeaderEpoch(1),
                base,
                next,
                slot: 127,
                first_row: 0,
                rows: 1,
                body_at: 300,
                body_len: 9,
            }
            .encode(&mut whole);
        }
        assert_eq!(whole.len() as u64, header.data_at(), "{RUN_LEN} bytes a run");
        whole
    };
    let seal = SlotHeader::seal(LANE, 3, SLOT, Uuid::from_u128(4)).encode().to_vec();
    let header = sealed::payload(&lane_header().encode());
    let all = [(0u8, slot(None)), (0, slot(Some(0))), (0, slot(Some(2))), (0, seal), (1, header)];
    all.map(|(kind, bytes)| [&[kind][..], &bytes].concat()).into()
}
