//! What is wrong with a machine for a while, and with its ways to bucket and store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use runnel_blob::testing::{Fault, Op};
use runnel_format::wal::{BlockHeader, PAGE};
use runnel_runtime::disk::Disk as _;
use runnel_runtime::simulation::Chance;

use super::Machine;
use crate::kinds;
use crate::swarm::Rates;

impl Machine {
    /// Lets requests to the bucket take their time, and some of them fail.
    pub(super) fn disturb(&self, rates: Rates, mut chance: Chance) {
        let (name, trace, is_slow) = (self.name(), self.around.trace.clone(), Arc::clone(&self.is_slow));
        let trap = self.trap.clone();
        self.faults.decide(move |op, path| {
            let drawn = fault(&mut chance, &rates, is_slow.load(Ordering::SeqCst), op);
            let fault = match trap.springs(trap.spot(op, path)) {
                // What is only looked at has nowhere to be without who looks.
                Some(held) if op == Op::List => Fault::Delay(held.min(LONGEST)),
                Some(held) => Fault::Held(held),
                None => {
                    drawn.1.inspect(|kind| trace.count_fault(*kind));
                    drawn.0
                }
            };
            trace.note(&name, format_args!("bucket {op:?} {path} {fault:?}"));
            Some(fault)
        });
    }

    /// The process stands still for so many steps.
    pub(crate) fn pause(&mut self, steps: u64) {
        self.around.trace.note(&self.name(), format_args!("sleeps for {steps} steps"));
        self.paused = steps;
    }

    /// The bucket fails every request for so many steps.
    pub(crate) fn lose_bucket(&mut self, steps: u64) {
        self.around.trace.note(&self.name(), format_args!("has no bucket for {steps} steps"));
        self.outage = steps;
        self.faults.outage(true);
    }

    /// The store is out of reach for so many steps.
    pub(crate) fn lose_store(&mut self, steps: u64) {
        self.around.trace.note(&self.name(), format_args!("has no store for {steps} steps"));
        self.cut = steps;
        self.access.cut(true);
    }

    /// The bucket takes its time for so many steps.
    pub(crate) fn slow_bucket(&mut self, steps: u64) {
        self.around.trace.note(&self.name(), format_args!("has a slow bucket for {steps} steps"));
        self.slow_bucket = steps;
        self.is_slow.store(true, Ordering::SeqCst);
    }

    /// The store takes its time for so many steps.
    pub(crate) fn slow_store(&mut self, steps: u64) {
        self.around.trace.note(&self.name(), format_args!("has a slow store for {steps} steps"));
        self.slow_store = steps;
        self.access.slow(true);
    }

    /// Nothing that it says of partitions comes to the store for so many steps.
    pub(crate) fn obstruct(&mut self, steps: u64) {
        self.around.trace.note(&self.name(), format_args!("can write no partition for {steps} steps"));
        self.obstructed = steps;
        self.access.obstruct(true);
    }

    /// In so many steps its lease ends, and it stands still for so many.
    pub(crate) fn fall_asleep(&mut self, delay: u64, steps: u64) {
        self.nap = Some((delay, steps));
    }

    /// The power fails in so many steps.
    pub(crate) fn doom(&mut self, steps: u64, seed: u64) {
        self.doom = Some((steps, seed));
    }

    /// The power fails in the middle of a change to the disk, after so many more, or in so many steps at the latest.
    pub(crate) fn tear(&mut self, changes: u64, steps: u64, seed: u64) {
        self.around.trace.note(&self.name(), format_args!("loses its power in {changes} changes of its disk"));
        self.disk.die_in(changes);
        (self.torn, self.doom) = (Some(seed), Some((steps, seed)));
    }

    /// The disk fails a write or a sync, after so many more.
    pub(crate) fn fail_disk(&self, sync: bool, after: u64) {
        self.around.trace.note(&self.name(), format_args!("has a disk that fails, sync {sync}, after {after}"));
        if sync { self.disk.fail_sync(after) } else { self.disk.fail_write(after) }
    }

    /// Its disk has no room for so many steps, but for so many bytes.
    pub(crate) fn fill_disk(&mut self, steps: u64, left: u64) {
        self.around.trace.note(&self.name(), format_args!("has a disk with room for {left} bytes for {steps} steps"));
        self.full = steps;
        self.disk.set_capacity(self.disk.used() + left);
    }

    /// Bits of what its disk holds of the log turn. False if it holds nothing.
    pub(crate) fn rot(&self, bits: u64, chance: &mut Chance) -> bool {
        let files = self.files_of_log();
        let mut turn = || {
            let path = files.get(usize::try_from(chance.below(files.len().max(1) as u64)).ok()?)?;
            let bytes = self.disk.read(path, usize::MAX).ok()?;
            let byte = usize::try_from(chance.below(told_of(&bytes)?)).ok()?;
            self.disk.flip_bit(path, byte, u8::try_from(chance.below(8)).unwrap_or(0)).ok()
        };
        let turned = (0..bits).filter_map(|_| turn()).count();
        self.around.trace.note(&self.name(), format_args!("has a disk of which {turned} bits turn"));
        turned > 0
    }

    /// Those that hold blocks.
    fn files_of_log(&self) -> Vec<PathBuf> {
        let log = self.options.data_dir.join("wal");
        let inside = |folder: &Path| {
            let names = self.disk.list(folder).unwrap_or_default();
            names.into_iter().map(|name| folder.join(name)).collect::<Vec<_>>()
        };
        let files = inside(&log).into_iter().flat_map(|lane| inside(&lane));
        files.filter(|path| path.extension().is_some_and(|extension| extension == "wal")).collect()
    }

    /// Its clock jumps.
    pub(crate) fn jump(&mut self, by_ms: i64) {
        self.around.trace.note(&self.name(), format_args!("has its clock moved by {by_ms} ms"));
        self.skew_ms += by_ms;
    }

    /// What is wrong for a while ends. Whoever sleeps is left alone, and wakes up to what it fell asleep with.
    pub(crate) fn relieve(&mut self) {
        if self.paused > 0 {
            return;
        }
        (self.outage, self.cut) = (0, 0);
        (self.slow_bucket, self.slow_store, self.obstructed) = (0, 0, 0);
        (self.nap, self.doom) = (None, None);
        self.is_slow.store(false, Ordering::SeqCst);
        self.faults.outage(false);
        self.access.relieve();
    }

    /// Everything works from here on.
    pub(crate) fn heal(&mut self, chance: Chance) {
        self.paused = 0;
        self.relieve();
        if let Some(seed) = self.torn {
            self.kill(Some(seed));
        }
        self.faults.clear();
        self.trap.clear();
        self.access.heal();
        self.full = 0;
        self.disk.set_capacity(u64::MAX);
        FAIL_POINTS.iter().for_each(|point| self.fail.disarm(point));
        self.disturb(Rates::NONE, chance);
    }

    /// A step of whatever is wrong goes by.
    pub(super) fn go_by(&mut self) {
        if self.outage > 0 {
            self.outage -= 1;
            self.faults.outage(self.outage > 0);
        }
        if self.cut > 0 {
            self.cut -= 1;
            self.access.cut(self.cut > 0);
        }
        if self.slow_bucket > 0 {
            self.slow_bucket -= 1;
            self.is_slow.store(self.slow_bucket > 0, Ordering::SeqCst);
        }
        if self.slow_store > 0 {
            self.slow_store -= 1;
            self.access.slow(self.slow_store > 0);
        }
        if self.obstructed > 0 {
            self.obstructed -= 1;
            self.access.obstruct(self.obstructed > 0);
        }
        if self.full > 0 {
            self.full -= 1;
            if self.full == 0 {
                self.disk.set_capacity(u64::MAX);
            }
        }
        match self.nap.take() {
            Some((0, steps)) if self.is_up() => {
                self.access.expire();
                self.pause(steps);
            }
            Some((left, steps)) if left > 0 => self.nap = Some((left - 1, steps)),
            _ => {}
        }
        match self.doom.take() {
            Some((0, seed)) => self.kill(Some(seed)),
            Some((steps, seed)) => self.doom = Some((steps - 1, seed)),
            None => {}
        }
    }
}

/// Bytes of a file of the log of whose damage something tells. The last block that was written looks torn once it is damaged
/// (docs/formats/wal.md), and so does the one before it once that is torn.
fn told_of(file: &[u8]) -> Option<u64> {
    let mut blocks =
        file.chunks(PAGE).enumerate().filter(|(_, page)| BlockHeader::looks_like_one(page)).map(|(at, _)| at);
    blocks.nth_back(1).map(|at| (at * PAGE) as u64)
}

/// Steps that may be cut off.
pub(crate) const FAIL_POINTS: [&str; 16] = [
    "ship.put",
    "ship.after_root_cas",
    "ship.committed",
    "merge.put",
    "merge.committed",
    "open.root_taken",
    "open.recorded",
    "move.emptied",
    "move.given",
    "session.ended",
    "session.lane.recorded",
    "wal.object.header.created",
    "wal.object.seal.placed",
    "wal.object.retire.recorded",
    "wal.object.trim.recorded",
    "wal.object.trim.deleted",
];

/// Steps of a restore that may be cut off.
pub(crate) const FAIL_POINTS_OF_A_RESTORE: [&str; 5] =
    ["restore.begun", "restore.era_raised", "restore.lanes_ended", "restore.roots_fenced", "restore.completed"];

/// Longest time that a request is on its way before whoever waits for it gives up.
const LONGEST: Duration = Duration::from_millis(780);

/// What becomes of a request to the bucket, and what is wrong with that.
pub(super) fn fault(chance: &mut Chance, rates: &Rates, is_slow: bool, op: Op) -> (Fault, Option<kinds::Fault>) {
    use kinds::Fault as Kind;
    let is_write = matches!(op, Op::Put | Op::Create | Op::Replace);
    let is_conditional = matches!(op, Op::Create | Op::Replace);
    let time = Duration::from_millis(if is_slow { 20 + chance.below(680) } else { 1 + chance.below(15) });
    let mut left = chance.below(1000);
    let mut is = |kind: Kind, possible: bool| {
        let rate = rates.rate(kind);
        let hit = possible && left < rate;
        left = left.saturating_sub(rate);
        hit.then_some(kind)
    };
    let kind = is(Kind::BucketFails, true)
        .or_else(|| is(Kind::BucketUnheard, is_write))
        .or_else(|| is(Kind::BucketLater, is_write))
        .or_else(|| is(Kind::BucketHeld, is_write || op == Op::Delete))
        .or_else(|| is(Kind::BucketConflict, is_conditional));
    let fault = match kind {
        Some(Kind::BucketFails) => Fault::FailBefore,
        Some(Kind::BucketUnheard) => Fault::LoseAnswer,
        Some(Kind::BucketLater) => Fault::ApplyLater(Duration::from_millis(20 << chance.below(8))),
        Some(Kind::BucketHeld) => Fault::Held(Duration::from_millis(40 << chance.below(8))),
        Some(_) => Fault::Conflict,
        None => Fault::Delay(time),
    };
    (fault, kind)
}
