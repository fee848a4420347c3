//! The machine of a lane, by itself.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use runnel_record::Offset;
use tokio::time::Instant;

use super::rig::{Ears, LANE, identity};
use crate::object::draft::Draft;
use crate::object::event::{Effect, Input, Placed, Trimmed};
use crate::object::lane::Lane;
use crate::object::options::{ObjectOptions, WINDOW};
use crate::tests::rig::{Heard, entry, tp};
use crate::{Error, ErrorKind, Listener};

const MS: Duration = Duration::from_millis(1);
/// What an entry without a body is charged.
const ROW: u64 = 112;

/// A machine whose effects are kept, and the time.
struct Rig {
    lane: Lane,
    now: Instant,
    ears: Arc<Ears>,
    listener: Arc<dyn Listener>,
    puts: Vec<Draft>,
    trims: Vec<u64>,
    deletes: Vec<std::ops::Range<u64>>,
}

impl Rig {
    fn new(options: ObjectOptions) -> Self {
        let ears = Arc::new(Ears::default());
        let listener: Arc<dyn Listener> = Arc::clone(&ears) as _;
        let (puts, trims, deletes) = (Vec::new(), Vec::new(), Vec::new());
        Self { lane: Lane::new(LANE, options), now: Instant::now(), ears, listener, puts, trims, deletes }
    }

    fn on(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.lane.on(self.now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Put(draft) => self.puts.push(draft),
                Effect::Durable(waiting) => waiting.durable(),
                Effect::Failed(waiting) => waiting.failed(),
                Effect::Trim(pointer) => self.trims.push(pointer),
                Effect::Delete(slots) => self.deletes.push(slots),
            }
        }
    }

    fn after(&mut self, time: Duration) {
        self.now += time;
        self.on(Input::Due);
    }

    fn append(&mut self, partition: i32, base: i64) -> Result<u64, Error> {
        let seq = self.lane.append(self.now, entry(partition, base, 1, 1, b""), &self.listener)?;
        self.on(Input::Due);
        Ok(seq.0.0)
    }

    fn ours(&mut self, slot: u64) {
        self.on(Input::Put(slot, Placed::Ours));
    }

    fn slots(&self) -> Vec<u64> {
        self.puts.iter().map(|draft| draft.slot).collect()
    }

    fn heard(&self) -> Heard {
        self.ears.heard()
    }

    fn durable(&self) -> u64 {
        self.heard().durable
    }
}

/// A slot for every entry.
fn each() -> ObjectOptions {
    ObjectOptions { max_bytes: 1, ..ObjectOptions::default() }
}

#[tokio::test]
async fn a_slot_is_due_when_it_is_full_or_an_interval_after_the_last() {
    let mut rig = Rig::new(ObjectOptions { max_bytes: 3 * ROW, ..ObjectOptions::default() });
    rig.append(0, 0).unwrap();
    rig.after(9 * MS);
    rig.append(1, 0).unwrap();
    assert!(rig.puts.is_empty());
    assert_eq!(rig.lane.wake_at(), Some(rig.now + MS), "after a pause, those that come together");
    rig.after(MS);
    assert_eq!(rig.slots(), [0], "both partitions are in one slot");
    assert_eq!(rig.puts[0].runs().len(), 2);
    rig.after(30 * MS);
    rig.append(1, 1).unwrap();
    assert_eq!(rig.lane.wake_at(), Some(rig.now + 70 * MS), "not more often than once in an interval");
    rig.after(70 * MS);
    assert_eq!(rig.slots(), [0, 1]);
    rig.after(95 * MS);
    rig.append(1, 2).unwrap();
    assert_eq!(rig.lane.wake_at(), Some(rig.now + 10 * MS), "its first entry waits for others");
    for base in 1..3 {
        rig.append(0, base).unwrap();
    }
    assert_eq!(rig.slots(), [0, 1, 2], "full");
    assert_eq!(rig.lane.wake_at(), None);
}

#[tokio::test]
async fn what_an_alarm_is_late_by_is_not_added_to_every_interval() {
    let mut rig = Rig::new(ObjectOptions::default());
    let (start, mut dues) = (rig.now, Vec::new());
    for base in 0..4 {
        rig.append(0, base).unwrap();
        let due = rig.lane.wake_at().unwrap();
        dues.push(due - start);
        rig.after(due + 2 * MS - rig.now);
        rig.ours(base.unsigned_abs());
    }
    assert_eq!(rig.slots(), [0, 1, 2, 3]);
    assert_eq!(dues, [10 * MS, 110 * MS, 210 * MS, 310 * MS]);
    // One that was very late is not followed by another at once.
    rig.append(0, 4).unwrap();
    rig.after(500 * MS);
    rig.append(0, 5).unwrap();
    assert_eq!((rig.slots().len(), rig.lane.wake_at()), (5, Some(rig.now + 90 * MS)));
}

#[tokio::test]
async fn no_more_than_a_few_slots_are_in_flight() {
    let mut rig = Rig::new(each());
    for base in 0..10 {
        rig.append(0, base).unwrap();
    }
    assert_eq!(rig.slots(), [0, 1, 2, 3]);
    rig.after(Duration::from_secs(100));
    assert_eq!(rig.slots().len(), 4);
    rig.ours(2);
    assert_eq!(rig.slots(), [0, 1, 2, 3, 4], "its outcome is known, so another may go");
    assert_eq!(rig.durable(), 0);
}

#[tokio::test]
async fn slots_do_not_run_far_ahead_of_one_whose_outcome_is_open() {
    let mut rig = Rig::new(each());
    for base in 0..100 {
        rig.append(0, base).unwrap();
    }
    let mut told = 1;
    while rig.slots().len() as u64 > told {
        rig.ours(told);
        told += 1;
    }
    assert_eq!((rig.slots().len(), rig.durable()), (WINDOW, 0));
    rig.ours(0);
    assert_eq!(rig.slots().len(), WINDOW + 4);
}

#[tokio::test]
async fn batches_that_waited_share_a_slot_up_to_its_size() {
    let mut rig = Rig::new(ObjectOptions { max_bytes: 2 * ROW, in_flight: 1, ..ObjectOptions::default() });
    for base in 0..7 {
        rig.append(0, base).unwrap();
    }
    for slot in 0..3 {
        rig.ours(slot);
    }
    assert_eq!(rig.puts.iter().map(|draft| draft.runs()[0].rows).collect::<Vec<_>>(), [2, 2, 2]);
    rig.after(100 * MS);
    rig.ours(3);
    assert_eq!((rig.slots(), rig.durable()), (vec![0, 1, 2, 3], 7));
}

#[tokio::test]
async fn a_seal_fails_everything_once() {
    let mut rig = Rig::new(each());
    for base in 0..6 {
        rig.append(0, base).unwrap();
    }
    rig.ours(0);
    rig.on(Input::Put(2, Placed::Sealed));
    assert_eq!((rig.durable(), rig.heard().failed), (1, 1));
    rig.ours(1);
    rig.on(Input::Put(3, Placed::Sealed));
    assert_eq!((rig.durable(), rig.heard().failed), (1, 1), "nothing is heard after that");
    assert_eq!(rig.append(0, 6).unwrap_err().kind(), ErrorKind::Fenced);
    assert!(rig.lane.is_finished());
    assert_eq!(rig.lane.wake_at(), None);
    assert_eq!(rig.lane.pressure().unflushed_bytes, 0);
}

#[tokio::test]
async fn a_sealed_header_and_a_strange_slot_end_the_lane_too() {
    for (input, kind) in [
        (Input::Trim(Trimmed::Sealed), ErrorKind::Fenced),
        (Input::Trim(Trimmed::Lost("gone".into())), ErrorKind::Closed),
        (Input::Put(0, Placed::Lost("strange".into())), ErrorKind::Closed),
    ] {
        let mut rig = Rig::new(each());
        rig.append(0, 0).unwrap();
        rig.on(input);
        assert_eq!(rig.heard().failed, 1);
        assert_eq!(rig.append(0, 1).unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn appends_are_throttled_by_what_waits() {
    let mut rig = Rig::new(ObjectOptions { max_unflushed: 2 * ROW, ..each() });
    rig.append(0, 0).unwrap();
    rig.append(0, 1).unwrap();
    assert!(matches!(rig.append(0, 2), Err(Error::Throttled { what: "flushed", .. })));
    rig.ours(0);
    rig.append(0, 2).unwrap();
    assert!(matches!(rig.append(0, 2), Err(Error::NotContiguous { .. })));

    let mut rig = Rig::new(ObjectOptions { max_unshipped: 20_000, ..each() });
    for base in 0..5 {
        let partition = i32::from(base == 0);
        if rig.append(partition, base.max(1) - 1).is_err() {
            break;
        }
        rig.ours(u64::try_from(base).unwrap());
    }
    assert!(matches!(rig.append(0, 9), Err(Error::NotContiguous { .. })));
    assert!(matches!(rig.append(0, 4), Err(Error::Throttled { what: "shipped", .. })));
    assert_eq!(rig.lane.pressing(), [(tp(0), Offset(1)), (tp(1), Offset(1))], "the oldest first");
    rig.lane.shipped(tp(1), Offset(1));
    rig.append(0, 4).unwrap();
}

#[tokio::test]
async fn the_pointer_moves_first_and_seldom_and_never_past_what_is_needed() {
    let mut rig = Rig::new(each());
    for base in 0..4 {
        rig.append(0, base).unwrap();
    }
    rig.append(1, 0).unwrap();
    (0..4).for_each(|slot| rig.ours(slot));
    rig.lane.shipped(tp(0), Offset(2));
    rig.on(Input::Due);
    assert_eq!((&rig.trims[..], rig.deletes.len()), (&[2][..], 0));
    rig.lane.shipped(tp(0), Offset(4));
    rig.after(Duration::from_secs(20));
    assert_eq!(rig.trims, [2], "one at a time");
    rig.on(Input::Trim(Trimmed::At(2)));
    // It is late enough for the next move; that goes before the deletes of the last.
    assert_eq!(rig.trims, [2, 4], "slot 4 is not there yet");
    rig.on(Input::Trim(Trimmed::At(4)));
    assert_eq!((rig.deletes.len(), rig.deletes[0].clone()), (1, 0..4));
    rig.ours(4);
    rig.lane.shipped(tp(1), Offset(1));
    rig.on(Input::Deleted(4));
    assert_eq!((rig.trims.len(), rig.lane.wake_at()), (2, Some(rig.now + Duration::from_secs(10))));
    rig.after(Duration::from_secs(10));
    assert_eq!(rig.trims, [2, 4, 5]);
    rig.on(Input::Trim(Trimmed::At(5)));
    rig.on(Input::Deleted(5));
    rig.after(Duration::from_secs(10));
    assert_eq!(rig.lane.wake_at(), None, "an idle lane sleeps");
}

#[tokio::test]
async fn a_closed_lane_writes_and_trims_what_it_has() {
    let mut rig = Rig::new(ObjectOptions::default());
    rig.append(0, 0).unwrap();
    rig.lane.close();
    rig.on(Input::Due);
    assert_eq!(rig.slots(), [0], "at once");
    assert_eq!(rig.append(0, 1).unwrap_err().kind(), ErrorKind::Closed);
    assert!(!rig.lane.is_finished());
    rig.lane.shipped(tp(0), Offset(1));
    rig.ours(0);
    rig.on(Input::Trim(Trimmed::At(1)));
    assert!(!rig.lane.is_finished());
    rig.on(Input::Deleted(1));
    assert!(rig.lane.is_finished());
    assert_eq!((rig.durable(), rig.heard().failed), (1, 0));
}

#[tokio::test]
async fn a_later_epoch_takes_the_place_of_what_it_overlaps() {
    let mut rig = Rig::new(each());
    for (base, epoch, records) in [(0, 1, 2), (2, 1, 3), (5, 1, 1), (2, 2, 1), (3, 2, 1)] {
        rig.lane.append(rig.now, entry(0, base, epoch, records, b""), &rig.listener).unwrap();
        rig.on(Input::Due);
        let slot = *rig.slots().last().unwrap();
        rig.ours(slot);
    }
    let plan = rig.lane.plan(tp(0), Offset(0), Offset(100), usize::MAX).unwrap();
    let found: Vec<_> = plan.iter().map(|run| (run.slot, run.base.0, run.next.0, run.epoch.0)).collect();
    assert_eq!(found, [(0, 0, 2, 1), (3, 2, 3, 2), (4, 3, 4, 2)]);
    rig.lane.shipped(tp(0), Offset(2));
    rig.on(Input::Due);
    assert_eq!(rig.trims, [3], "what was superseded pins nothing");
    assert!(matches!(rig.lane.plan(tp(0), Offset(1), Offset(9), 1), Err(Error::Absent { .. })));
    assert!(rig.lane.plan(tp(0), Offset(4), Offset(9), 1).unwrap().is_empty(), "the end of the lane");
    rig.lane.forget(tp(0).topic);
    rig.on(Input::Trim(Trimmed::At(3)));
    assert_eq!(rig.lane.pressure().unshipped_bytes, 0);
}

#[test]
fn the_same_slot_has_the_same_bytes() {
    let entries =
        vec![entry(1, 0, 1, 1, b"b"), entry(0, 0, 1, 2, b"a"), entry(1, 1, 1, 1, b"c"), entry(1, 2, 2, 1, b"")];
    let draft = Draft::new(5, entries, None);
    let runs: Vec<_> = draft.runs().iter().map(|run| (run.tp.partition, run.base.0, run.rows, run.body_len)).collect();
    assert_eq!(runs, [(0, 0, 1, 1), (1, 0, 2, 2), (1, 2, 1, 0)], "neighbours by partition and epoch");
    let parts = draft.encode(&identity());
    assert_eq!(parts, draft.encode(&identity()));
    assert_eq!(parts[1..].concat(), b"abc");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever happens in whatever order: slots are put in order, few at a time; what is heard is the prefix that is
    /// there; the pointer stays below what is needed, and deletes below the pointer.
    #[test]
    fn the_machine_keeps_its_word(steps in proptest::collection::vec((0u8..6, any::<u16>()), 1..120)) {
        let options = ObjectOptions { max_bytes: 2 * ROW, trim_every: 50 * MS, ..ObjectOptions::default() };
        let mut rig = Rig::new(options);
        let (mut next, mut shipped) = ([0i64; 3], [0i64; 3]);
        // By slot: outcome, and the last entry that it holds.
        let mut outcome: Vec<bool> = Vec::new();
        let mut upto: Vec<u64> = Vec::new();
        let mut appended: Vec<(usize, i64)> = Vec::new();
        let (mut pointer, mut seen, mut trimmed, mut deleted) = (0, 0, 0, 0);
        for (what, n) in steps {
            let n = usize::from(n);
            match what {
                0 | 1 => {
                    let p = n % 3;
                    rig.append(i32::try_from(p).unwrap(), next[p]).unwrap();
                    appended.push((p, next[p]));
                    next[p] += 1;
                }
                2 => rig.after(MS * u32::try_from(n % 120).unwrap()),
                3 => {
                    let open: Vec<usize> = (0..outcome.len()).filter(|slot| !outcome[*slot]).collect();
                    if !open.is_empty() {
                        let slot = open[n % open.len()];
                        outcome[slot] = true;
                        rig.ours(slot as u64);
                    }
                }
                4 => {
                    let durable = usize::try_from(rig.durable()).unwrap();
                    let p = n % 3;
                    let known = appended[..durable].iter().filter(|(q, _)| *q == p).map(|(_, base)| base + 1).max();
                    shipped[p] = shipped[p].max(known.unwrap_or(0));
                    rig.lane.shipped(tp(i32::try_from(p).unwrap()), Offset(shipped[p]));
                    rig.on(Input::Due);
                }
                _ => {
                    if trimmed < rig.trims.len() {
                        pointer = rig.trims[trimmed];
                        trimmed += 1;
                        rig.on(Input::Trim(Trimmed::At(pointer)));
                    } else if deleted < rig.deletes.len() {
                        let range = rig.deletes[deleted].clone();
                        deleted += 1;
                        prop_assert!(range.end <= pointer, "deleted behind the pointer");
                        rig.on(Input::Deleted(range.end));
                    }
                }
            }
            for draft in &rig.puts[outcome.len()..] {
                prop_assert_eq!(draft.slot, outcome.len() as u64, "a slot was skipped");
                let rows: u32 = draft.runs().iter().map(|run| run.rows).sum();
                seen += u64::from(rows);
                outcome.push(false);
                upto.push(seen);
            }
            prop_assert!(outcome.iter().filter(|done| !**done).count() <= 4);
            let prefix = outcome.iter().take_while(|done| **done).count();
            prop_assert_eq!(rig.durable(), prefix.checked_sub(1).map_or(0, |last| upto[last]));
            if let Some(wanted) = rig.trims.last() {
                let wanted = usize::try_from(*wanted).unwrap();
                prop_assert!(wanted <= prefix);
                let needed = appended.iter().position(|(p, base)| *base >= shipped[*p]).unwrap_or(appended.len());
                prop_assert!(wanted == 0 || upto[wanted - 1] <= needed as u64, "trimmed what is needed");
            }
        }
    }
}
