//! A writer that may be a zombie, two sealers and a janitor over one store, each with faults of its own; the seed
//! decides everything. What must hold is checked after every step and at the end (protocol §14: 9, 13, 14).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use runnel_blob::testing::{Fault, Faults, Op};
use runnel_blob::{Bucket, Key};
use runnel_format::wal::SLOT_HEADER_LEN;
use runnel_guard::{Guard, Without};
use runnel_record::Offset;
use runnel_runtime::FailPoints;

use super::rig::*;
use crate::object::header;
use crate::object::seal::seal_from;
use crate::object::{ObjectLog, ObjectOptions, SealedLane, retire, seal, sweep};
use crate::tests::rig::{batch, tp};
use crate::{Error, ErrorKind};

const PARTITIONS: i32 = 3;

/// What a run breaks on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    Without(Guard),
    /// The janitor takes the SEAL too.
    SealDeleted,
}

/// What a run went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Story {
    /// Entries acknowledged.
    durable: u64,
    /// Entries that were not, and are in the lane all the same.
    unheard: u64,
    /// Where the lane began when it was sealed.
    trim: u64,
    /// Slots behind the end.
    dead: usize,
    /// SEALs in front of it.
    void: usize,
}

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn ms(&mut self, n: u64) -> Duration {
        Duration::from_millis(self.below(n))
    }

    fn fork(&mut self) -> Self {
        Self(self.next())
    }
}

fn faulty(bucket: &Bucket, rng: &mut Rng) -> Bucket {
    let (bucket, faults) = behind(bucket);
    for _ in 0..rng.below(12) {
        let op =
            [Op::Create, Op::Create, Op::Create, Op::Replace, Op::Get, Op::Delete, Op::List][rng.below(7) as usize];
        let writes = matches!(op, Op::Create | Op::Replace);
        let fault = match rng.below(if writes { 6 } else { 4 }) {
            0 => Fault::FailBefore,
            1 => Fault::LoseAnswer,
            2 => Fault::HangAfter,
            3 => Fault::Delay(rng.ms(1_500)),
            4 => Fault::ApplyLater(rng.ms(8_000)),
            _ => Fault::Conflict,
        };
        faults.once_after(rng.below(12) as u32, op, "wal/", fault);
    }
    outages(faults, rng.fork());
    bucket
}

fn outages(faults: Faults, mut rng: Rng) {
    if rng.below(3) == 0 {
        drop(tokio::spawn(async move {
            tokio::time::sleep(rng.ms(2_000)).await;
            faults.outage(true);
            tokio::time::sleep(rng.ms(3_000)).await;
            faults.outage(false);
        }));
    }
}

/// What the world knows: every entry that was appended, and what is in the segments.
#[derive(Default)]
struct Model {
    /// Partition and offset of each entry, by its number from 1.
    appended: Vec<(i32, i64)>,
    /// What is shipped, by partition: the bodies from offset 0 on.
    shipped: BTreeMap<i32, Vec<Bytes>>,
}

impl Model {
    fn body(partition: i32, base: i64) -> Bytes {
        Bytes::from(format!("{partition}/{base}").repeat(1 + usize::try_from(base % 7).unwrap()))
    }

    fn ship(&mut self, partition: i32, found: &[crate::StoredBatch]) -> Result<i64, String> {
        let root = self.shipped.entry(partition).or_default();
        for stored in found {
            let base = stored.batch.base_offset().0;
            let expected = batch(base, 1, 1, &Self::body(partition, base));
            if stored.batch != expected {
                return Err(format!("{partition}/{base} reads back as something else"));
            }
            match usize::try_from(base).unwrap() {
                at if at == root.len() => root.push(stored.batch.body().clone()),
                at if at > root.len() => return Err(format!("{partition}: a gap in front of {base}")),
                _ => {}
            }
        }
        Ok(root.len() as i64)
    }

    /// Whether the first `durable` entries are all shipped.
    fn check(&self, durable: u64) -> Result<(), String> {
        for (partition, base) in &self.appended[..usize::try_from(durable).unwrap()] {
            let have = self.shipped.get(partition).map_or(0, |root| root.len() as i64);
            if *base >= have {
                return Err(format!("{partition}/{base} was acknowledged and is lost ({have} shipped)"));
            }
        }
        Ok(())
    }
}

type Shared = Arc<Mutex<Model>>;

/// The owner: appends, ships what is durable, now and then.
async fn own(bucket: Bucket, mut rng: Rng, model: Shared, owner: Arc<Mutex<Option<Arc<Owner>>>>) -> Result<(), String> {
    let options = ObjectOptions {
        max_bytes: 150 + rng.below(600),
        interval: rng.ms(60),
        trim_every: rng.ms(400),
        ..ObjectOptions::default()
    };
    let log = loop {
        match ObjectLog::open(bucket.clone(), options.clone(), identity(), FailPoints::default()).await {
            Ok(log) => break log,
            Err(Error::Fenced { .. }) => return Ok(()),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let this = Arc::new(Owner::of(log));
    *owner.lock().unwrap() = Some(Arc::clone(&this));
    let mut next = [0i64; PARTITIONS as usize];
    loop {
        for _ in 0..rng.below(6) {
            let partition = rng.below(PARTITIONS as u64) as i32;
            let base = &mut next[partition as usize];
            match this.append(partition, *base, &Model::body(partition, *base)) {
                Ok(_) => {
                    model.lock().unwrap().appended.push((partition, *base));
                    *base += 1;
                }
                Err(Error::Throttled { .. }) => {}
                Err(Error::Fenced { .. } | Error::Closed { .. }) => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
        }
        if rng.below(4) == 0 {
            let partition = rng.below(PARTITIONS as u64) as i32;
            let from = model.lock().unwrap().shipped.get(&partition).map_or(0, |root| root.len() as i64);
            // As a leader would: only while the root can still be committed, which the model of this test is not about.
            if let Ok(found) = this.log.read(tp(partition), Offset(from), ALL, usize::MAX).await {
                let upto = model.lock().unwrap().ship(partition, &found)?;
                this.log.shipped(tp(partition), Offset(upto));
            }
        }
        tokio::time::sleep(rng.ms(80)).await;
    }
}

/// Sees to it that slots never change, and go only when they may.
async fn watch(bucket: Bucket) -> Result<(), String> {
    let mut seen: BTreeMap<u64, Bytes> = BTreeMap::new();
    let mut end = None;
    for round in 0u64.. {
        let listed = slots(&bucket).await;
        let mut now = BTreeMap::new();
        for (slot, len) in listed {
            // Looking at all of them every time takes long, in real time.
            let known = seen.get(&slot).filter(|known| known.len() as u64 == len && !round.is_multiple_of(20));
            if let Some(known) = known {
                now.insert(slot, known.clone());
            } else if let Some(bytes) = bucket.get(&Key::Slot { lane: LANE, slot }).await.unwrap() {
                now.insert(slot, bytes);
            }
        }
        if let Some(header) = header::load(&bucket, LANE).await.map_err(|error| error.to_string())? {
            if end.is_some() && header.end != end {
                return Err(format!("the end was {end:?} and is {:?}", header.end));
            }
            end = header.end;
            for (slot, bytes) in &seen {
                let needed = *slot >= header.trim && end.is_none_or(|end| *slot <= end);
                if needed && now.get(slot) != Some(bytes) {
                    let what = if now.contains_key(slot) { "changed" } else { "gone" };
                    return Err(format!("slot {slot} is {what}, trim {} and end {end:?}", header.trim));
                }
            }
        }
        seen.extend(now);
        // Nothing is needed of a lane that is retired, so there is little left to see.
        let retired = header_is_retired(&bucket).await;
        tokio::time::sleep(Duration::from_millis(if retired { 1_000 } else { 10 + round * 7 % 50 })).await;
    }
    Ok(())
}

async fn header_is_retired(bucket: &Bucket) -> bool {
    let header = header::load(bucket, LANE).await.unwrap();
    header.is_some_and(|header| header.end == Some(header.trim))
}

async fn seal_until_done(bucket: Bucket, mut rng: Rng, session: u64) -> Result<u64, String> {
    tokio::time::sleep(rng.ms(3_000)).await;
    loop {
        match seal_once(&bucket, &mut rng, session).await {
            Ok(end) => return Ok(end),
            Err(error) if error.kind() == ErrorKind::Unavailable => tokio::time::sleep(rng.ms(300)).await,
            Err(error) => return Err(error.to_string()),
        }
    }
}

async fn seal_once(bucket: &Bucket, rng: &mut Rng, session: u64) -> Result<u64, Error> {
    let fail = FailPoints::default();
    // Some look at the header, and then dawdle.
    let Some(header) = header::load(bucket, LANE).await?.filter(|header| header.end.is_none() && rng.below(2) == 0)
    else {
        return seal(bucket, LANE, session, &fail).await;
    };
    tokio::time::sleep(rng.ms(1_000)).await;
    seal_from(bucket, LANE, session, header.trim, &fail).await
}

/// Ships all that a sealed lane holds.
async fn recover(bucket: &Bucket, model: &Shared) -> Result<(), String> {
    let lane = SealedLane::open(bucket, LANE).await.map_err(|error| error.to_string())?;
    if !lane.damaged().is_empty() {
        return Err(format!("slots {:?} in front of the end {} cannot be read", lane.damaged(), lane.end()));
    }
    for partition in 0..PARTITIONS {
        let found = all_of(&lane, tp(partition)).await.map_err(|error| error.to_string())?;
        model.lock().unwrap().ship(partition, &found)?;
    }
    Ok(())
}

async fn run(seed: u64, broken: Broken) -> Result<Story, String> {
    let mut rng = Rng(seed);
    let bucket = store();
    let model: Shared = Shared::default();
    let owner = Arc::new(Mutex::new(None));
    let heard = |owner: &Mutex<Option<Arc<Owner>>>| {
        owner.lock().unwrap().as_ref().map_or(0, |owner: &Arc<Owner>| owner.ears.heard().durable)
    };
    let watching = tokio::spawn(watch(bucket.clone()));
    let owning = faulty(&bucket, &mut rng);
    let owning = tokio::spawn(own(owning, rng.fork(), Arc::clone(&model), Arc::clone(&owner)));
    let sealers = [8, 9].map(|session| tokio::spawn(seal_until_done(faulty(&bucket, &mut rng), rng.fork(), session)));
    if rng.below(3) == 0 {
        let (owner, wait) = (Arc::clone(&owner), rng.ms(3_000));
        drop(tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(owner) = owner.lock().unwrap().as_ref() {
                owner.log.kill();
            }
        }));
    }
    let mut ends = Vec::new();
    for sealer in sealers {
        ends.push(sealer.await.unwrap()?);
    }
    if ends[0] != ends[1] {
        return Err(format!("two sealers disagree: {ends:?}"));
    }
    recover(&bucket, &model).await?;
    model.lock().unwrap().check(heard(&owner))?;
    let trim = lane_header(&bucket).await.trim;
    let present = slots(&bucket).await;
    let dead = present.iter().filter(|(slot, _)| *slot > ends[0]).count();
    let void = present.iter().filter(|(slot, len)| *slot < ends[0] && *len == SLOT_HEADER_LEN as u64).count();
    // The janitor, while the writer may still believe that it lives.
    let janitor = faulty(&bucket, &mut rng);
    while let Err(error) = retire(&janitor, LANE, &FailPoints::default()).await {
        if error.kind() != ErrorKind::Unavailable {
            return Err(error.to_string());
        }
        tokio::time::sleep(rng.ms(300)).await;
    }
    if broken == Broken::SealDeleted {
        bucket.delete(&Key::Slot { lane: LANE, slot: ends[0] }).await.unwrap();
    }
    tokio::time::sleep(rng.ms(20_000)).await;
    while let Err(error) = sweep(&janitor, LANE).await {
        if error.kind() != ErrorKind::Unavailable {
            return Err(error.to_string());
        }
        tokio::time::sleep(rng.ms(300)).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    sweep(&bucket, LANE).await.map_err(|error| error.to_string())?;
    let durable = heard(&owner);
    model.lock().unwrap().check(durable)?;
    if owning.is_finished() {
        owning.await.unwrap()?;
    } else {
        return Err("the owner still believes that it lives".to_owned());
    }
    if watching.is_finished() {
        watching.await.unwrap()?;
    }
    let left = slots(&bucket).await;
    if left.iter().any(|(_, bytes)| *bytes > SLOT_HEADER_LEN as u64) {
        return Err(format!("slots stay behind: {left:?}"));
    }
    let header = lane_header(&bucket).await;
    match seal(&bucket, LANE, 10, &FailPoints::default()).await {
        Ok(end) if end == ends[0] && header.trim == end => {
            let have: usize = model.lock().unwrap().shipped.values().map(Vec::len).sum();
            Ok(Story { durable, unheard: have as u64 - durable, trim, dead, void })
        }
        other => Err(format!("sealed at {}, then {other:?}, trim {}", ends[0], header.trim)),
    }
}

fn simulate(seed: u64, broken: Broken) -> Result<Story, String> {
    let _without = if let Broken::Without(guard) = broken { Some(Without::of(guard)) } else { None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(seed, broken)).map_err(|what| format!("seed {seed}: {what}"))
}

/// `RUNNEL_SEED` runs one seed, `RUNNEL_SEEDS` that many.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_protocol_holds() {
    if let Some(seed) = number("RUNNEL_SEED") {
        simulate(seed, Broken::Nothing).unwrap();
        return;
    }
    let seeds = 0..number("RUNNEL_SEEDS").unwrap_or(120);
    let stories: Vec<Story> = seeds.map(|seed| simulate(seed, Broken::Nothing).unwrap()).collect();
    // It holds easily where nothing happens.
    let count = |what: fn(&Story) -> bool| stories.iter().filter(|story| what(story)).count();
    let counts = [
        count(|story| story.durable > 10),
        count(|story| story.unheard > 0),
        count(|story| story.trim > 0),
        count(|story| story.dead > 0),
        count(|story| story.void > 0),
    ];
    println!(
        "of {} runs: much acknowledged, unheard entries, a moved start, dead slots, void SEALs: {counts:?}",
        stories.len()
    );
    assert!(counts[0] > stories.len() / 2 && counts.iter().all(|count| *count > 3), "{counts:?}");
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in 0..5 {
        assert_eq!(simulate(seed, Broken::Nothing), simulate(seed, Broken::Nothing));
    }
}

#[test]
fn every_mutant_is_caught() {
    for broken in [
        Broken::Without(Guard::PrefixAck),
        Broken::Without(Guard::TrimPointerFirst),
        Broken::Without(Guard::SealAtFirstHole),
        Broken::Without(Guard::SealAbovePointer),
        Broken::SealDeleted,
    ] {
        let caught = (0..300).find_map(|seed| simulate(seed, broken).err());
        println!("{broken:?}: {caught:?}");
        assert!(caught.is_some(), "{broken:?} was not noticed");
    }
}
