//! Leaders that follow each other over one root, in every order that their requests can be answered in, with answers that
//! get lost and requests that arrive late. Each takes the root over, uploads a segment, commits it, and sweeps up what
//! earlier ones have left; each believes that it leads until the root says otherwise.

use std::sync::Mutex;

use runnel_blob::testing::{Act, Content, Stage};
use runnel_explore::{Explored, Stopped, digest, explore, held, is_deep, noticed};
use runnel_guard::Without;

use super::*;
use crate::sweep::sweep_orphans;

const LEADERS: [&str; 3] = ["leader 1", "leader 2", "leader 3"];
const FLIGHT: i64 = 10;

/// How far a world goes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    leaders: usize,
    /// Segments that each ships.
    segments: usize,
    /// Requests that may get lost.
    lost: u32,
    /// What is switched off.
    without: Option<Guard>,
}

const PLAIN: Bounds = Bounds { leaders: 2, segments: 1, lost: 0, without: None };

/// What has become known.
#[derive(Default)]
struct Facts {
    /// Segments whose commit was acknowledged to a leader.
    committed: Vec<Uuid>,
    /// Leaders that have done all they do.
    finished: usize,
    broken: Option<String>,
}

type Shared = std::sync::Arc<Mutex<Facts>>;

/// What a leader with this manifest goes on from.
fn known(stage: &str, manifest: &Manifest) -> (String, Vec<u8>, Option<String>) {
    let nonce = manifest.version().map(|version| version.to_string().chars().take_while(|c| *c != ' ').collect());
    (stage.to_owned(), manifest.root().encode().to_vec(), nonce)
}

/// Commits, however often it takes.
async fn commit_it(manifest: &mut Manifest, commit: &Commit) -> Result<(), Error> {
    loop {
        match manifest.commit(commit).await {
            Err(error) if error.kind() == crate::ErrorKind::Storage => {}
            outcome => return outcome,
        }
    }
}

async fn lead(bucket: Bucket, which: usize, bounds: Bounds, gate: runnel_blob::testing::Gate, facts: Shared) {
    let outcome = serve(&bucket, which, bounds, &gate, &facts).await;
    let mut facts = facts.lock().unwrap();
    facts.finished += 1;
    match outcome {
        // Another leads, or was faster with the same offsets.
        Ok(()) | Err(Error::Fenced { .. } | Error::NotNext { .. } | Error::SweepTooEarly { .. }) => {}
        Err(error) => facts.broken = Some(format!("{}: {error}", LEADERS[which])),
    }
    gate.becomes(LEADERS[which], &"over");
}

async fn serve(
    bucket: &Bucket,
    which: usize,
    bounds: Bounds,
    gate: &runnel_blob::testing::Gate,
    facts: &Shared,
) -> Result<(), Error> {
    let epoch = LeaderEpoch(i32::try_from(which).unwrap() + 1);
    let mut manifest = Manifest::load(bucket, TP, TOPIC, IfAbsent::Empty, FailPoints::default()).await?;
    if manifest.root().epoch >= epoch {
        return Ok(());
    }
    let mut takeover = Commit::trim(epoch, manifest.root(), Offset::ZERO);
    takeover.epochs.push(EpochStart { epoch, start: manifest.root().end });
    takeover.producers = Some(Bytes::from_static(b"producers"));
    commit_it(&mut manifest, &takeover).await?;
    gate.becomes(LEADERS[which], &known("leads", &manifest));
    for _ in 0..bounds.segments {
        let new = SegmentRef { id: random_id(), ..segment(epoch.0, manifest.root().end.0, FLIGHT) };
        let key = manifest.snapshot().key(&new);
        while bucket.put(&key, vec![Bytes::from_static(b"records")]).await.is_err() {}
        let (end, epochs) = (new.next, manifest.root().epochs.clone());
        let more = Commit::new(epoch, vec![new.clone()], end, epochs, Bytes::from_static(b"producers"));
        commit_it(&mut manifest, &more).await?;
        facts.lock().unwrap().committed.push(new.id);
        gate.becomes(LEADERS[which], &known("ships", &manifest));
    }
    while let Err(error) = sweep_orphans(&manifest.snapshot(), epoch).await {
        if error.kind() != crate::ErrorKind::Storage {
            return Err(error);
        }
    }
    Ok(())
}

struct Twin {
    bounds: Bounds,
    lost: u32,
    stage: Stage,
    facts: Shared,
    root: Option<(Content, Root)>,
}

impl Twin {
    fn new(bounds: Bounds) -> Self {
        let (stage, facts) = (Stage::new(), Shared::default());
        for (which, name) in LEADERS.into_iter().enumerate().take(bounds.leaders) {
            stage.spawn(name, |bucket| lead(bucket, which, bounds, stage.gate().clone(), Shared::clone(&facts)));
        }
        stage.settle(0);
        Self { bounds, lost: bounds.lost, stage, facts, root: None }
    }

    fn go(&mut self, act: &Act) {
        self.lost -= u32::from(matches!(act, Act::Lose(_)));
        self.stage.act(act);
    }

    /// What must hold at all times (protocol §14: 17, 19, 20).
    fn check(&mut self) -> Result<(), String> {
        let objects = self.stage.gate().objects();
        self.look_at_root(objects.get(&Key::Root(TP).path()))?;
        let facts = self.facts.lock().unwrap();
        if let Some(broken) = &facts.broken {
            return Err(broken.clone());
        }
        let Some((_, root)) = &self.root else { return Ok(()) };
        let snapshot = Snapshot::new(self.stage.bucket(), TOPIC, root.clone());
        let gone = root.segments.iter().find(|segment| !objects.contains_key(&snapshot.key(segment).path()));
        if let Some(gone) = gone {
            return Err(format!("the root refers to a segment of epoch {} that is gone", gone.epoch));
        }
        let lost = facts.committed.iter().any(|id| !root.segments.iter().any(|segment| segment.id == *id));
        if lost {
            return Err("a segment whose commit was acknowledged is not in the root".to_owned());
        }
        if facts.finished < self.bounds.leaders && self.stage.gate().acts(false).is_empty() {
            return Err("nothing goes on, and not all leaders are done".to_owned());
        }
        Ok(())
    }

    fn look_at_root(&mut self, found: Option<&Content>) -> Result<(), String> {
        let Some(content) = found.filter(|content| self.root.as_ref().is_none_or(|(known, _)| known != *content))
        else {
            return Ok(());
        };
        let root = self.stage.at_once(read_root(self.stage.bucket(), TP)).map_err(|error| error.to_string())?;
        if let Some((_, before)) = &self.root {
            next::check_successor(before, &root).map_err(|error| error.to_string())?;
        }
        self.root = Some((*content, root));
        Ok(())
    }
}

impl runnel_explore::World for Twin {
    type Step = Act;

    fn steps(&self) -> Vec<Act> {
        self.stage.gate().acts(self.lost > 0)
    }

    fn take(&mut self, act: &Act) -> Result<(), String> {
        self.go(act);
        self.check()
    }

    fn digest(&self) -> u64 {
        let facts = self.facts.lock().unwrap();
        let mut committed = facts.committed.clone();
        committed.sort_unstable();
        digest(&(self.stage.gate().digest(), self.lost, committed, facts.finished))
    }

    fn after(&self, path: &[Act]) -> Self {
        let mut anew = Self::new(self.bounds);
        path.iter().for_each(|act| anew.go(act));
        anew.root.clone_from(&self.root);
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
    let quick = [Bounds { segments: 2, ..PLAIN }, lossy];
    let deep = [Bounds { leaders: 3, ..PLAIN }, Bounds { segments: 2, ..lossy }];
    for bounds in if is_deep() { deep } else { quick } {
        println!("{}", held(&bounds, run(bounds)));
    }
}

#[test]
fn every_mutant_is_caught() {
    for guard in [Guard::RootSwap, Guard::RootEpoch, Guard::OrphansByEpoch] {
        println!("{}", noticed(&guard, run(Bounds { without: Some(guard), ..PLAIN })));
    }
}
