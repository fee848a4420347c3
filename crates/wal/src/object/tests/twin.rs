//! A writer, two sealers and a janitor over one bucket, in every order that their requests can be answered in, with answers
//! that get lost and requests that arrive late: all the code of a lane, tasks included, and not a model of it.
//! `simulation.rs` does at random, and with more slots, what this does completely with few.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runnel_blob::testing::{Act, Content, Gate, Stage};
use runnel_blob::{Bucket, Key};
use runnel_explore::{Explored, Stopped, World, digest, explore, held, is_deep, noticed};
use runnel_format::wal::{LaneHeader, SLOT_HEADER_LEN};
use runnel_guard::{Guard, Without};
use runnel_record::Offset;
use runnel_runtime::FailPoints;

use super::rig::*;
use crate::object::header;
use crate::object::{ObjectLog, ObjectOptions, SealedLane, retire, seal};
use crate::tests::rig::{entry, tp};
use crate::{Error, ErrorKind, LaneSeq, Listener};

const WRITER: &str = "writer";
/// The first one also recovers what the lane holds, and then retires it.
const SEALERS: [&str; 2] = ["sealer", "other sealer"];

/// How far a world goes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Entries, each in a slot of its own.
    slots: i64,
    /// So many of them are there, and acknowledged, when the world begins.
    before: i64,
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
    before: 0,
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
    stage: Stage,
    facts: Shared,
    /// Slots as they were when they were there first.
    slots: BTreeMap<u64, Content>,
    header: Option<(Content, LaneHeader)>,
}

impl Twin {
    fn new(bounds: Bounds) -> Self {
        let (stage, facts) = (Stage::new(), Shared::default());
        stage.gate().forgets(WRITER);
        stage.spawn(WRITER, |bucket| write(bucket, bounds, Arc::clone(&facts)));
        for (which, name) in SEALERS.into_iter().enumerate().take(bounds.sealers) {
            stage.spawn(name, |bucket| end(bucket, which, bounds, stage.gate().clone(), Arc::clone(&facts)));
        }
        stage.settle(0);
        while facts.lock().unwrap().durable < bounds.before {
            let acts = stage.gate().acts(false);
            let first = acts.iter().find(|act| matches!(act, Act::Answer(request) if request.client == WRITER));
            stage.act(first.expect("the writer goes on"));
        }
        Self { bounds, lost: bounds.lost, stage, facts, slots: BTreeMap::new(), header: None }
    }

    fn go(&mut self, step: &Step) {
        match step {
            Step::Store(act) => {
                self.lost -= u32::from(matches!(act, Act::Lose(_)));
                self.stage.act(act);
            }
            Step::Ship => {
                {
                    let mut facts = self.facts.lock().unwrap();
                    facts.shipped += 1;
                    facts.log.iter().for_each(|log| log.shipped(tp(0), Offset(facts.shipped)));
                }
                self.stage.settle(0);
            }
        }
    }

    /// What must hold at all times (protocol §14: 9, 13, 14).
    fn check(&mut self) -> Result<(), String> {
        let objects = self.stage.gate().objects();
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
        let recovered = self.stage.at_once(recover(self.stage.bucket(), &self.facts));
        recovered.map_err(|error| error.to_string())?;
        self.facts.lock().unwrap().broken.take().map_or(Ok(()), Err)
    }

    fn look_at_header(&mut self, found: Option<&Content>) -> Result<(), String> {
        let Some(content) = found.filter(|content| self.header.as_ref().is_none_or(|(known, _)| known != *content))
        else {
            return Ok(());
        };
        let loaded = self.stage.at_once(header::load(self.stage.bucket(), LANE));
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
        let mut steps: Vec<Step> = self.stage.gate().acts(self.lost > 0).into_iter().map(Step::Store).collect();
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
        if facts.finished < self.bounds.sealers && self.stage.gate().acts(false).is_empty() {
            return Err("nothing goes on, and not all sealers are done".to_owned());
        }
        Ok(())
    }

    fn digest(&self) -> u64 {
        let facts = self.facts.lock().unwrap();
        let lane = facts.log.as_ref().map(ObjectLog::fingerprint);
        digest(&(self.stage.gate().digest(), self.lost, lane, facts.durable, facts.shipped, facts.ends, facts.finished))
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
        Bounds { slots: 3, in_flight: 3, ..lossy },
        Bounds { lost: 2, ..PLAIN },
        // What is recovered comes from a checkpoint.
        Bounds { slots: 66, before: 63, ..PLAIN },
        Bounds { sealers: 2, ..PLAIN },
        Bounds { ships: true, retires: true, ..PLAIN },
        Bounds { sealers: 2, ships: true, ..one },
    ];
    for bounds in if is_deep() { deep.to_vec() } else { quick.to_vec() } {
        println!("{}", held(&bounds, run(bounds)));
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
        println!("{}", noticed(&bounds, run(bounds)));
    }
}
