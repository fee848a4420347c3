//! Random appends, ships, closes, kills, crashes and faults; then: everything acknowledged is there, in order and
//! byte for byte, and nothing else but a contiguous run of unacknowledged entries behind it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use runnel_record::{Batch, Offset};
use runnel_runtime::{Disk, FailAction, FailPoints, SimDisk};

use super::rig::*;
use crate::{Entry, LaneSeq, LocalLog, Recovered};

const PARTITIONS: i32 = 3;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// What a partition must hold.
#[derive(Default)]
struct Model {
    /// Everything appended and not known to be lost, oldest first.
    entries: Vec<(Entry, Option<LaneSeq>)>,
    /// How many of them were acknowledged.
    acked: usize,
    shipped: i64,
}

struct World {
    seed: u64,
    random: Random,
    disk: SimDisk,
    models: BTreeMap<i32, Model>,
    epoch: i32,
}

impl World {
    fn new(seed: u64) -> Self {
        let models = (0..PARTITIONS).map(|partition| (partition, Model::default())).collect();
        Self { seed, random: Random(seed), disk: SimDisk::new(seed), models, epoch: 0 }
    }

    /// Opens the log, dying on the way now and then, and checks what is there.
    fn open(&mut self, fail: &FailPoints) -> LocalLog {
        for attempt in 0.. {
            if attempt < 4 && self.random.below(2) == 0 {
                self.disk.die_in(1 + self.random.below(30));
            }
            let opened = LocalLog::open(Arc::new(self.disk.clone()), options(), identity(), fail.clone());
            match opened {
                Ok((log, recovered)) => {
                    self.disk.die_in(u64::MAX >> 1);
                    // What was reported counts, even if the machine died just behind it.
                    self.check(&log, &recovered);
                    if self.disk.list(Path::new(DIR)).is_ok() {
                        self.check_reads(&log);
                        return log;
                    }
                    self.disk = self.disk.crash(self.random.below(1 << 30));
                }
                Err(error) => {
                    assert!(attempt < 5, "seed {}: {error}", self.seed);
                    self.disk = self.disk.crash(self.random.below(1 << 30));
                }
            }
        }
        unreachable!()
    }

    fn check(&mut self, log: &LocalLog, recovered: &Recovered) {
        let seed = self.seed;
        assert!(recovered.corrupt.is_empty(), "seed {seed}: {:?}", recovered.corrupt);
        assert!(recovered.unattributed.is_empty(), "seed {seed}: {:?}", recovered.unattributed);
        assert!(recovered.foreign.is_empty(), "seed {seed}");
        for (partition, model) in &mut self.models {
            let tail = recovered.tails.get(&tp(*partition)).map(Vec::as_slice).unwrap_or_default();
            let facts: Vec<Batch> = tail.iter().map(|entry| Batch::from_parts(entry.header, Bytes::new())).collect();
            let found_end = facts.last().map_or(0, |batch| batch.next_offset().0).max(model.shipped);
            let kept = model.entries.iter().take_while(|(e, _)| e.batch.next_offset().0 <= found_end).count();
            assert!(kept >= model.acked, "seed {seed}: {kept} of {} acknowledged entries", model.acked);
            model.entries.truncate(kept);
            model.acked = kept;
            for (entry, seq) in &mut model.entries {
                *seq = None;
                let header = entry.batch.header();
                let here = tail.iter().filter(|found| found.header == *header).count();
                let needed = entry.batch.base_offset().0 >= model.shipped;
                assert!(here <= 1 && (here == 1 || !needed), "seed {seed}: {entry:?} is there {here} times");
            }
            // Below what is shipped a younger lane may be trimmed further than an older one.
            let due: Vec<&Batch> = facts.iter().filter(|batch| batch.base_offset().0 >= model.shipped).collect();
            assert!(due.windows(2).all(|pair| pair[0].next_offset() == pair[1].base_offset()), "seed {seed}: a gap");
            assert!(tail.len() <= model.entries.len(), "seed {seed}: garbage");
            log.shipped(tp(*partition), Offset(model.shipped));
        }
    }

    fn check_reads(&self, log: &LocalLog) {
        let seed = self.seed;
        for (partition, model) in &self.models {
            let acked = model.entries[..model.acked].iter().map(|(entry, _)| entry);
            let wanted: Vec<&Entry> = acked.filter(|e| e.batch.base_offset().0 >= model.shipped).collect();
            let Some(last) = wanted.last() else { continue };
            let range = model.shipped..last.batch.next_offset().0;
            let stored = read(log, *partition, range, usize::MAX).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            assert_eq!(stored.len(), wanted.len(), "seed {seed}");
            for (stored, wanted) in stored.iter().zip(wanted) {
                assert_eq!((&stored.batch, stored.append_time), (&wanted.batch, wanted.append_time), "seed {seed}");
            }
        }
    }

    /// One session: appends and ships until something breaks or it has had enough.
    fn session(&mut self) {
        let fail = FailPoints::default();
        let log = self.open(&fail);
        self.epoch += 1;
        let plan = self.random.below(8);
        match plan {
            0 => self.disk.fail_sync(self.random.below(30)),
            1 => self.disk.fail_write(self.random.below(30)),
            2 => fail.arm("wal.trim.recycle", FailAction::Error),
            3 => fail.arm("wal.trim.pointer", FailAction::Error),
            4 => fail.arm(
                if self.seed.is_multiple_of(2) { "wal.block.written" } else { "wal.file.prepared" },
                FailAction::Error,
            ),
            5 | 6 => self.disk.die_in(1 + self.random.below(200)),
            _ => {}
        }
        let ears: Vec<_> = (0..PARTITIONS).map(|_| ears()).collect();
        for _ in 0..20 + self.random.below(60) {
            let partition = self.random.below(PARTITIONS as u64) as i32;
            let (ear, listener) = &ears[partition as usize];
            let size = if self.random.below(20) == 0 { 20_000 } else { self.random.below(4000) };
            let records = 1 + self.random.below(5) as i32;
            let body = vec![self.random.below(256) as u8; size as usize];
            let Some(model) = self.models.get_mut(&partition) else { continue };
            let base = model.entries.last().map_or(0, |(entry, _)| entry.batch.next_offset().0);
            let entry = entry(partition, base, self.epoch, records, &body);
            // On an error the entry was not queued, so it must never show up.
            let Ok(seq) = log.append(entry.clone(), listener) else { break };
            model.entries.push((entry, Some(seq)));
            if self.random.below(3) == 0 {
                ear.wait(seq);
            }
            self.note_acks(&ears);
            self.ship(&log);
        }
        if !(5..7).contains(&plan) {
            self.check_reads(&log);
        }
        match self.random.below(3) {
            0 => log.close(),
            1 => drop(log),
            _ => {}
        }
        let power_fails = self.random.below(3) > 0;
        self.note_acks(&ears);
        let next = if power_fails { self.disk.crash(self.random.below(1 << 30)) } else { self.disk.kill() };
        self.disk = next;
        // What the old threads published until the very end counts too.
        self.note_acks(&ears);
    }

    fn note_acks(&mut self, ears: &[(Arc<Ears>, Arc<dyn crate::Listener>)]) {
        for (partition, model) in &mut self.models {
            let durable = ears[*partition as usize].0.heard().durable;
            let acked = model.entries.iter().take_while(|(_, seq)| seq.is_none_or(|seq| seq.0 <= durable)).count();
            assert!(acked >= model.acked, "seed {}", self.seed);
            model.acked = acked;
        }
    }

    fn ship(&mut self, log: &LocalLog) {
        let partition = self.random.below(PARTITIONS as u64) as i32;
        let some = self.random.below(12) == 0;
        let Some(model) = self.models.get_mut(&partition).filter(|model| some && model.acked > 0) else { return };
        let at = self.random.below(model.acked as u64) as usize;
        model.shipped = model.shipped.max(model.entries[at].0.batch.next_offset().0);
        log.shipped(tp(partition), Offset(model.shipped));
    }
}

/// `RUNNEL_WAL_SEEDS=from..upto` runs others.
fn seeds() -> Range<u64> {
    let Ok(spec) = std::env::var("RUNNEL_WAL_SEEDS") else { return 0..25 };
    let (from, upto) = spec.split_once("..").unwrap();
    from.parse().unwrap()..upto.parse().unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_whatever_happens() {
    for seed in seeds() {
        let mut world = World::new(seed);
        for _ in 0..6 {
            world.session();
        }
        let log = world.open(&FailPoints::default());
        log.close();
    }
}

/// The disk of a lane of forty entries that was closed.
fn forty_entries(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    let (log, _) = open(&disk);
    for i in 0..40 {
        put(&log, entry(0, i, 1, 1, &[i as u8; 3000]));
    }
    log.close();
    disk
}

/// Dies at every single step of a recovery that has something to seal, to copy and to remove.
#[test]
fn a_crash_at_any_step_of_a_recovery_changes_nothing() {
    let make = |seed| {
        let disk = forty_entries(seed);
        let (log, _) = open(&disk);
        for i in 40..50 {
            put(&log, entry(0, i, 2, 1, &[i as u8; 3000]));
        }
        log.shipped(tp(0), Offset(20));
        log.wait_trimmed();
        disk.kill()
    };
    let mut finished = false;
    for step in 1..200 {
        for seed in 0..4 {
            let disk = make(seed);
            disk.die_in(step);
            finished = try_open(&disk).is_ok_and(|(log, _)| {
                log.wait_trimmed();
                log.is_open()
            });
            let disk = disk.crash(seed * 1000 + step);
            let (log, recovered) = open(&disk);
            let tail = tail_bases(&recovered, 0);
            assert_eq!(tail.last(), Some(&49), "step {step}, seed {seed}");
            assert!(tail[0] <= 20 && tail.windows(2).all(|pair| pair[0] + 1 == pair[1]), "step {step}, seed {seed}");
            let stored = read(&log, 0, 20..50, usize::MAX).unwrap();
            assert!(stored.iter().zip(20..).all(|(stored, i)| stored.batch.body()[..] == vec![i as u8; 3000]));
            assert_eq!(stored.len(), 30, "step {step}, seed {seed}");
        }
        if finished {
            return;
        }
    }
    assert!(finished, "recovery takes more steps than were tried");
}

/// The process dies while it moves the trim pointer, and the next one sees the pointer in the page cache only. What it
/// removes because of it must not reach the platter first.
#[test]
fn a_trim_pointer_in_the_page_cache_is_made_durable_before_it_is_acted_on() {
    for step in 1..40 {
        for seed in 0..8 {
            let disk = forty_entries(seed);
            // Of a lane that is sealed, which the next start has no other reason to sync.
            let (log, _) = open(&disk);
            disk.die_in(step);
            log.shipped(tp(0), Offset(30));
            log.wait_trimmed();
            let disk = disk.kill();
            open(&disk);
            let disk = disk.crash(seed * 1000 + step);
            let (_, recovered) = open(&disk);
            assert!(recovered.corrupt.is_empty(), "step {step}, seed {seed}: {:?}", recovered.corrupt);
            assert!(recovered.unattributed.is_empty(), "step {step}, seed {seed}: {:?}", recovered.unattributed);
            assert_eq!(tail_bases(&recovered, 0).last(), Some(&39), "step {step}, seed {seed}");
        }
    }
}

/// The sync fails, the process restarts, the page cache still shows the block: what recovery then reports must
/// survive the next power cut.
#[test]
fn an_unsynced_tail_in_the_page_cache_is_not_trusted() {
    let mut survived = 0;
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let (log, _) = open(&disk);
        put(&log, entry(0, 0, 1, 1, b"acknowledged"));
        wait_for_next_file(&log);
        disk.fail_sync(0);
        let (ears, listener) = ears();
        let seq = log.append(entry(0, 1, 1, 1, b"never acknowledged"), &listener).unwrap();
        assert!(!ears.wait(seq));
        let disk = disk.kill();
        let (log, recovered) = open(&disk);
        assert_eq!(tail_bases(&recovered, 0), [0, 1]);
        let before = read_all(&log, 0, 0, usize::MAX);
        let disk = disk.crash(seed);
        let (log, recovered) = open(&disk);
        assert_eq!(tail_bases(&recovered, 0), [0, 1], "seed {seed}");
        assert_eq!(read_all(&log, 0, 0, usize::MAX), before);
        survived += 1;
    }
    assert_eq!(survived, 20);
}

/// A removed lane may come back with a crash; a younger one must not have taken its rank.
#[test]
fn a_lane_that_a_crash_brings_back_is_known_as_the_old_one() {
    for (step, seed) in (1..60).flat_map(|step| (0..8).map(move |seed| (step, seed))) {
        let disk = SimDisk::new(seed);
        open(&disk).0.close();
        let disk = disk.kill();
        disk.die_in(step);
        drop(try_open(&disk));
        let (_, recovered) =
            try_open(&disk.crash(seed * 1000 + step)).unwrap_or_else(|e| panic!("step {step}, seed {seed}: {e}"));
        assert!(recovered.tails.is_empty() && recovered.unattributed.is_empty(), "step {step}, seed {seed}");
    }
}

#[test]
fn a_sealed_lane_ends_where_it_was_sealed() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk);
    put(&log, entry(0, 0, 1, 1, b"first"));
    put(&log, entry(0, 1, 1, 1, b"last one"));
    let disk = disk.kill();
    damage(&disk, "wal", b"last one");
    let (_, recovered) = open(&disk);
    assert_eq!(tail_bases(&recovered, 0), [0]);
    // The bytes turn out to be readable after all: too late.
    damage(&disk, "wal", b"hast one"); // l ^ 4 = h
    assert!(files(&disk, "wal").iter().any(|path| find(&disk, path, b"last one").is_some()));
    let (_, recovered) = open(&disk.kill());
    assert_eq!(tail_bases(&recovered, 0), [0]);
}

#[test]
fn a_start_that_is_cut_off_anywhere_leaves_a_lane() {
    let mut cut_off = 0;
    for steps in 1..200 {
        let disk = SimDisk::new(steps);
        drop(open(&disk));
        // What it left holds nothing, and goes.
        let disk = disk.kill();
        disk.die_in(steps);
        cut_off += usize::from(try_open(&disk).is_err());
        let disk = disk.crash(steps);
        let names = disk.list(Path::new(DIR)).unwrap();
        assert!(names.iter().any(|name| name.starts_with("lane-")), "cut off at step {steps}: {names:?}");
    }
    assert!(cut_off > 5, "only {cut_off} starts were cut off");
}
