//! A writer, two sealers and a janitor over one bucket, in every order that their requests can be answered in, with answers
//! that get lost and requests that arrive late: all the code of a lane, tasks included, and not a model of it.
//! `simulation.rs` does at random, and with more slots, what this does completely with few.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use runnel_blob::testing::{Act, Content, Gate};
use runnel_blob::{Bucket, Key};
use runnel_explore::{Explored, Stopped, World, digest, explore, is_deep};
use runnel_format::wal::{LaneHeader, SLOT_HEADER_LEN};
use runnel_guard::{Guard, Without};
use runnel_record::Offset;
use runnel_runtime::FailPoints;
use runnel_runtime::simulation::Simulation;
use tokio::runtime::Runtime;

use super::rig::*;
use crate::object::header;
use crate::object::{ObjectLog, ObjectOptions, SealedLane, retire, seal};
use crate::tests::rig::{entry, tp};
use crate::{Error, ErrorKind, LaneSeq, Listener};

const WRITER: &str = "writer";
/// The first one also recovers what the lane holds, and then retires it.
const SEALERS: [&str; 2] = ["sealer", "other sealer"];
/// More than the pauses between three attempts, and so little that tokio's clock gets there in one go.
const SETTLED: Duration = Duration::from_millis(60);

/// How far a world goes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Entries, each in a slot of its own.
    slots: i64,
    /// Slots on their way at a time.
    in_flight: usize,
    sealers: usize,
    /// Requests that may get lost.
    lost: u32,
    /// The writer ships what is durable.
    ships: bool,
    /// The first sealer goes on to recover what the lane holds, and retires the lane.
    retires: bool,
    /// It takes the SEAL too.
    seal_deleted: bool,
    /// What is switched off.
    without: Option<Guard>,
}

const PLAIN: Bounds = Bounds {
    slots: 2,
    in_flight: 2,
    sealers: 1,
    lost: 0,
    ships: false,
    retires: false,
    seal_deleted: false,
    without: None,
};

#[derive(Debug, Clone)]
enum Step {
    Store(Act),
    Ship,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(act) => act.fmt(f),
            Self::Ship => f.write_str("writer: ships one more"),
        }
    }
}

/// What has become known.
#[derive(Default)]
struct Facts {
    log: Option<ObjectLog>,
    /// Entries acknowledged.
    durable: i64,
    /// Entries that the root refers to.
    shipped: i64,
    ends: [Option<u64>; 2],
    /// Sealers that have done all they do.
    finished: usize,
    broken: Option<String>,
}

type Shared = Arc<Mutex<Facts>>;

struct Ears(Shared);

impl Listener for Ears {
    fn durable(&self, upto: LaneSeq) {
        let mut facts = self.0.lock().unwrap();
        facts.durable = facts.durable.max(i64::try_from(upto.0).unwrap());
    }

    fn failed(&self) {}
}

async fn write(bucket: Bucket, bounds: Bounds, facts: Shared) {
    let (in_flight, now) = (bounds.in_flight, Duration::ZERO);
    let options = ObjectOptions { interval: now, trim_every: now, in_flight, ..one_each() };
    let log = match ObjectLog::open(bucket, options, identity(), FailPoints::default()).await {
        Ok(log) => log,
        Err(Error::Fenced { .. }) => return,
        Err(error) => return facts.lock().unwrap().broken = Some(error.to_string()),
    };
    let listener: Arc<dyn Listener> = Arc::new(Ears(Arc::clone(&facts)));
    for base in 0..bounds.slots {
        log.append(entry(0, base, 1, 1, b""), &listener).unwrap();
    }
    facts.lock().unwrap().log = Some(log);
}

async fn end(bucket: Bucket, which: usize, bounds: Bounds, gate: Gate, facts: Shared) {
    let fail = FailPoints::default();
    let done = async {
        let end = seal(&bucket, LANE, 8 + which as u64, &fail).await?;
        facts.lock().unwrap().ends[which] = Some(end);
        // What it was told on the way is of no more use.
        gate.becomes(SEALERS[which], &end);
        if which > 0 || !bounds.retires {
            return Ok(());
        }
        facts.lock().unwrap().shipped = recover(&bucket, &facts).await?;
        gate.becomes(SEALERS[which], &"recovered");
        // A janitor that does not get through comes again.
        while let Err(error) = retire(&bucket, LANE, &fail).await {
            if error.kind() != ErrorKind::Unavailable {
                return Err(error);
            }
        }
        if bounds.seal_deleted {
            drop(bucket.delete(&Key::Slot { lane: LANE, slot: end }).await);
        }
        Ok::<(), Error>(())
    };
    let outcome = done.await;
    let mut facts = facts.lock().unwrap();
    facts.finished += 1;
    if let Err(error) = outcome {
        facts.broken = Some(error.to_string());
    }
}

/// Reads what a sealed lane holds, as who takes over does, and says where the log ends.
async fn recover(bucket: &Bucket, facts: &Mutex<Facts>) -> Result<i64, Error> {
    let found = SealedLane::open(bucket, LANE).await?;
    let tails = found.tails(&[tp(0)]).await?;
    let rows = tails.tails.get(&tp(0)).into_iter().flatten();
    let bases: Vec<i64> = rows.map(|row| i64::from_be_bytes(row.header[..8].try_into().unwrap())).collect();
    let mut facts = facts.lock().unwrap();
    let (durable, shipped) = (facts.durable, facts.shipped);
    let first = bases.first().copied().unwrap_or(shipped);
    let next = first + bases.len() as i64;
    let (damaged, corrupt) = (found.damaged(), &tails.corrupt);
    let whole = bases.iter().copied().eq(first..next) && damaged.is_empty() && corrupt.is_empty();
    if !whole || first > shipped || next < durable {
        facts.broken = Some(format!(
            "{durable} entries were acknowledged and {shipped} shipped; recovered are {bases:?}, damaged slots {damaged:?}"
        ));
    }
    Ok(shipped.max(next))
}

struct Twin {
    bounds: Bounds,
    lost: u32,
    bucket: Bucket,
    gate: Gate,
    facts: Shared,
    /// Slots as they were when they were there first.
    slots: BTreeMap<u64, Content>,
    header: Option<(Content, LaneHeader)>,
    /// Dropped last but for nothing: the tasks are in it.
    runtime: Runtime,
}

impl Twin {
    fn new(bounds: Bounds) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let options = runnel_blob::Options { request_timeout: Duration::MAX, ..runnel_blob::Options::new("memory:") };
        let bucket = Bucket::open(&options, FailPoints::default()).unwrap();
        let (gate, facts) = (Gate::new(), Shared::default());
        gate.forgets(WRITER);
        drop(runtime.spawn(write(bucket.gated(&gate, WRITER), bounds, Arc::clone(&facts))));
        for (which, name) in SEALERS.into_iter().enumerate().take(bounds.sealers) {
            drop(runtime.spawn(end(bucket.gated(&gate, name), which, bounds, gate.clone(), Arc::clone(&facts))));
        }
        let (slots, header) = (BTreeMap::new(), None);
        let twin = Self { bounds, lost: bounds.lost, bucket, gate, facts, slots, header, runtime };
        twin.settle(0);
        twin
    }

    /// Lets everybody go on who can, until all wait for the bucket. Ids that are drawn follow from `seed`.
    fn settle(&self, seed: u64) {
        let _simulation = Simulation::enter(seed);
        self.runtime.block_on(async { tokio::time::sleep(SETTLED).await });
        self.gate.settled();
    }

    fn go(&mut self, step: &Step) {
        let mut seed = 0;
        match step {
            Step::Store(act) => {
                seed = self.gate.seed(act);
                self.gate.act(act, &self.bucket);
                self.lost -= u32::from(matches!(act, Act::Lose(_)));
            }
            Step::Ship => {
                let mut facts = self.facts.lock().unwrap();
                facts.shipped += 1;
                facts.log.iter().for_each(|log| log.shipped(tp(0), Offset(facts.shipped)));
            }
        }
        self.settle(seed);
    }

    /// What must hold at all times (protocol §14: 9, 13, 14).
    fn check(&mut self) -> Result<(), String> {
        let objects = self.gate.objects();
        self.look_at_header(objects.get(&Key::LaneHeader { lane: LANE }.path()))?;
        let (trim, end) = self.header.as_ref().map_or((0, None), |(_, header)| (header.trim, header.end));
        let facts = self.facts.lock().unwrap();
        if let Some(broken) = &facts.broken {
            return Err(broken.clone());
        }
        if facts.ends.iter().flatten().any(|told| Some(*told) != end) {
            return Err(format!("sealers were told {:?}, and the lane ends at {end:?}", facts.ends));
        }
        let durable = u64::try_from(facts.durable).unwrap();
        if end.is_some_and(|end| durable > end) {
            return Err(format!("{durable} slots were acknowledged, and the lane ends at {end:?}"));
        }
        for slot in 0..u64::try_from(self.bounds.slots).unwrap() {
            let found = objects.get(&Key::Slot { lane: LANE, slot }.path());
            let Some(found) = found.filter(|found| found.bytes > SLOT_HEADER_LEN) else {
                if slot >= trim && slot < durable.max(end.unwrap_or(0)) {
                    return Err(format!("slot {slot} is gone: {durable} acknowledged, trim {trim}, end {end:?}"));
                }
                continue;
            };
            if self.slots.entry(slot).or_insert(*found) != found {
                return Err(format!("slot {slot} has changed"));
            }
        }
        drop(facts);
        self.recover_now(end.is_some_and(|end| trim < end))
    }

    /// Whoever takes over now finds everything.
    fn recover_now(&self, has_something: bool) -> Result<(), String> {
        if !has_something {
            return Ok(());
        }
        let _context = self.runtime.enter();
        let recovered = recover(&self.bucket, &self.facts).now_or_never().ok_or("memory answers at once")?;
        recovered.map_err(|error| error.to_string())?;
        self.facts.lock().unwrap().broken.take().map_or(Ok(()), Err)
    }

    fn look_at_header(&mut self, found: Option<&Content>) -> Result<(), String> {
        let Some(content) = found.filter(|content| self.header.as_ref().is_none_or(|(known, _)| known != *content))
        else {
            return Ok(());
        };
        let _context = self.runtime.enter();
        let loaded = header::load(&self.bucket, LANE).now_or_never().ok_or("memory answers at once")?;
        let now = loaded.map_err(|error| error.to_string())?.ok_or("the header is gone")?;
        if let Some((_, before)) = &self.header
            && (now.trim < before.trim || (before.end.is_some() && now.end != before.end))
        {
            return Err(format!("the header was {before:?} and is {now:?}"));
        }
        self.header = Some((*content, now));
        Ok(())
    }
}

impl World for Twin {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let facts = self.facts.lock().unwrap();
        let mut steps: Vec<Step> = self.gate.acts(self.lost > 0).into_iter().map(Step::Store).collect();
        let lives = facts.log.as_ref().is_some_and(ObjectLog::is_open);
        if self.bounds.ships && lives && facts.shipped < facts.durable {
            steps.push(Step::Ship);
        }
        steps
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        self.go(step);
        self.check()?;
        let facts = self.facts.lock().unwrap();
        if facts.finished < self.bounds.sealers && self.gate.acts(false).is_empty() {
            return Err("nothing goes on, and not all sealers are done".to_owned());
        }
        Ok(())
    }

    fn digest(&self) -> u64 {
        let facts = self.facts.lock().unwrap();
        let lane = facts.log.as_ref().map(ObjectLog::fingerprint);
        digest(&(self.gate.digest(), self.lost, lane, facts.durable, facts.shipped, facts.ends, facts.finished))
    }

    fn after(&self, path: &[Step]) -> Self {
        let mut anew = Self::new(self.bounds);
        path.iter().for_each(|step| anew.go(step));
        (anew.slots, anew.header) = (self.slots.clone(), self.header.clone());
        anew
    }
}

fn run(bounds: Bounds) -> Result<Explored, Stopped> {
    let _without = bounds.without.map(Without::of);
    explore(Twin::new(bounds), 3_000_000)
}

#[test]
fn the_protocol_holds_in_every_order() {
    let lossy = Bounds { lost: 1, ..PLAIN };
    let one = Bounds { slots: 1, ..PLAIN };
    let quick = [
        Bounds { slots: 3, ..PLAIN },
        lossy,
        Bounds { ships: true, ..PLAIN },
        Bounds { sealers: 2, ..one },
        Bounds { lost: 1, ships: true, ..one },
        Bounds { lost: 1, retires: true, ..one },
    ];
    let deep = [
        Bounds { slots: 3, ..lossy },
        Bounds { lost: 2, ..PLAIN },
        Bounds { sealers: 2, ..PLAIN },
        Bounds { ships: true, retires: true, ..PLAIN },
        Bounds { sealers: 2, ships: true, ..one },
        Bounds { sealers: 2, lost: 1, ..one },
    ];
    for bounds in if is_deep() { deep } else { quick } {
        match run(bounds) {
            Ok(explored) => println!("{bounds:?}: {explored}"),
            Err(stopped) => panic!("{bounds:?}: {stopped}"),
        }
    }
}

#[test]
fn every_mutant_is_caught() {
    let ships = Bounds { ships: true, ..PLAIN };
    for bounds in [
        Bounds { without: Some(Guard::PrefixAck), ..PLAIN },
        Bounds { without: Some(Guard::SlotIfAbsent), ..PLAIN },
        Bounds { without: Some(Guard::SealAtFirstHole), ..PLAIN },
        Bounds { without: Some(Guard::TrimPointerFirst), ..ships },
        Bounds { without: Some(Guard::SealAbovePointer), ..ships },
        Bounds { slots: 1, retires: true, seal_deleted: true, ..PLAIN },
    ] {
        match run(bounds) {
            Ok(explored) => panic!("{bounds:?} was not noticed: {explored}"),
            Err(stopped) => println!("{bounds:?}: {stopped}"),
        }
    }
}
