//! What a broker asks of a bucket, tried one by one: for whoever sets one up and wants to know which of it fails.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStoreExt;
use runnel_runtime::disk::nearest_folder;
use runnel_runtime::simulation::random_id;
use runnel_runtime::{Clock, FailPoints};
use tokio::time::Instant;

use crate::options::Location;
use crate::{Bucket, Error, Key, Options};

/// Size of the object that is written.
const OBJECT_BYTES: usize = 1024;
/// The part of it that is read by itself.
const PIECE: Range<usize> = 100..600;
/// Writes whose median is the latency.
const WRITES: usize = 5;
/// Stores tell the time in whole seconds.
const SECOND_MS: i64 = 1000;

/// One thing that a broker does to its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// Lists objects.
    List,
    /// Writes an object.
    Put,
    /// Reads a whole object.
    Get,
    /// Reads a part of one.
    GetRange,
    /// Deletes an object.
    Delete,
    /// Has a create of what is present and a replace of what has changed refused.
    ConditionalWrites,
}

impl Ability {
    /// Its name in a report.
    pub const fn label(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Put => "put",
            Self::Get => "get",
            Self::GetRange => "get_range",
            Self::Delete => "delete",
            Self::ConditionalWrites => "conditional_writes",
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Checkup {
    /// The abilities in the order in which they were tried. It ends with the first that is missing.
    pub tried: Vec<(Ability, Result<(), Error>)>,
    /// Median time of a small write.
    pub put_latency: Option<Duration>,
    /// How far the store's clock is ahead of ours, to a second.
    pub clock_skew_ms: Option<i64>,
}

/// Tries everything on the bucket of `options` and leaves nothing behind. A folder, which may be in use or not there
/// yet, is not touched: a scratch folder takes its place, in it or in the nearest folder above that exists.
pub async fn checkup(options: &Options, clock: &dyn Clock) -> Result<Checkup, Error> {
    let Location::Folder(path) = options.location()? else {
        return Ok(Bucket::open(options, FailPoints::default())?.checkup(clock).await);
    };
    let scratch = Scratch(nearest_folder(&path).join(format!(".runnel-doctor-{}", random_id().simple())));
    let instead = Options { url: format!("file://{}", scratch.0.display()), ..options.clone() };
    Ok(Bucket::open(&instead, FailPoints::default())?.checkup(clock).await)
}

/// A folder that is removed with all that is in it.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(folder = %self.0.display(), %error, "a scratch folder could not be removed");
            }
            _ => {}
        }
    }
}

impl Checkup {
    /// Notes an outcome; `None` if it ends the tries.
    fn note<T>(&mut self, ability: Ability, outcome: Result<T, Error>) -> Option<T> {
        let (outcome, value) = match outcome {
            Ok(value) => (Ok(()), Some(value)),
            Err(error) => (Err(error), None),
        };
        self.tried.push((ability, outcome));
        value
    }
}

impl Bucket {
    /// Tries everything on an object of its own.
    async fn checkup(&self, clock: &dyn Clock) -> Checkup {
        let mut checkup = Checkup::default();
        self.try_all(clock, &mut checkup).await;
        checkup
    }

    /// Ends early, with `None`, behind the first that is missing.
    async fn try_all(&self, clock: &dyn Clock, checkup: &mut Checkup) -> Option<()> {
        checkup.note(Ability::List, self.list_after("", "", 1).await)?;
        let key = Key::Probe(random_id());
        // Whoever may not delete is not to write either: it would stay behind.
        if let Err(error) = self.delete(&key).await {
            return checkup.note(Ability::Delete, Err(error));
        }
        let used = self.try_object(&key, clock, checkup).await;
        checkup.note(Ability::Delete, self.delete(&key).await)?;
        used?;
        checkup.note(Ability::ConditionalWrites, self.probe().await)
    }

    async fn try_object(&self, key: &Key, clock: &dyn Clock, checkup: &mut Checkup) -> Option<()> {
        let body = Bytes::from_iter((0..OBJECT_BYTES).map(|i| u8::try_from(i % 251).unwrap_or_default()));
        let (latency, last) = checkup.note(Ability::Put, self.timed_puts(key, &body, clock).await)?;
        checkup.put_latency = Some(latency);
        let read = self.get(key).await.and_then(|read| same(key, read.as_ref(), &body));
        checkup.note(Ability::Get, read)?;
        checkup.clock_skew_ms = self.written_at_ms(key).await.ok().map(|written_ms| skew(last, written_ms));
        let range = PIECE.start as u64..PIECE.end as u64;
        let read = self.get_ranges(key, std::slice::from_ref(&range)).await;
        checkup.note(Ability::GetRange, read.and_then(|read| same(key, read.first(), &body.slice(PIECE))))
    }

    /// Median latency, and our time before and after the last write.
    async fn timed_puts(&self, key: &Key, body: &Bytes, clock: &dyn Clock) -> Result<(Duration, (i64, i64)), Error> {
        let mut took = Vec::with_capacity(WRITES);
        let mut last = (0, 0);
        for _ in 0..WRITES {
            let (before_ms, started) = (clock.now_ms(), Instant::now());
            self.put(key, vec![body.clone()]).await?;
            took.push(started.elapsed());
            last = (before_ms, clock.now_ms());
        }
        took.sort();
        Ok((took[WRITES / 2], last))
    }

    /// When the object was written, by the store's clock.
    async fn written_at_ms(&self, key: &Key) -> Result<i64, Error> {
        let (path, location) = (key.path(), self.location(&key.path())?);
        Ok(self.request("head", &path, self.store().head(&location)).await?.last_modified.timestamp_millis())
    }
}

fn same(key: &Key, read: Option<&Bytes>, written: &Bytes) -> Result<(), Error> {
    match read {
        None => Err(Error::NotFound { key: key.path() }),
        Some(read) if read == written => Ok(()),
        Some(_) => {
            Err(Error::Corrupt { key: key.path(), reason: "it is not what was written a moment before".to_owned() })
        }
    }
}

/// How far `store_ms`, a time within our `before_ms` and `after_ms` if the clocks agree, is ahead.
fn skew((before_ms, after_ms): (i64, i64), store_ms: i64) -> i64 {
    if store_ms < before_ms - SECOND_MS { store_ms - before_ms } else { (store_ms - after_ms - SECOND_MS).max(0) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use runnel_runtime::SystemClock;

    use super::*;
    use crate::testing::{Fault, Faults, Op};

    const ALL: [Ability; 6] =
        [Ability::List, Ability::Put, Ability::Get, Ability::GetRange, Ability::Delete, Ability::ConditionalWrites];

    fn abilities(checkup: &Checkup) -> Vec<Ability> {
        checkup.tried.iter().map(|(ability, _)| *ability).collect()
    }

    #[tokio::test]
    async fn a_folder_can_do_all_and_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("not/there/yet");
        let options = Options::new(format!("file://{}", root.display()));
        for exists in [false, true] {
            let checkup = checkup(&options, &SystemClock).await.unwrap();
            assert_eq!(abilities(&checkup), ALL);
            assert!(checkup.tried.iter().all(|(_, outcome)| outcome.is_ok()));
            assert_eq!(checkup.clock_skew_ms, Some(0));
            assert!(checkup.put_latency.is_some());
            let left: Vec<_> = std::fs::read_dir(if exists { &root } else { dir.path() }).unwrap().collect();
            assert!(left.is_empty(), "{left:?}");
            std::fs::create_dir_all(&root).unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_missing_is_named_and_nothing_stays_behind() {
        for (op, fault, missing) in [
            (Op::List, Fault::FailBefore, Ability::List),
            (Op::Delete, Fault::FailBefore, Ability::Delete),
            (Op::Put, Fault::FailBefore, Ability::Put),
            (Op::Put, Fault::LoseAnswer, Ability::Put),
            (Op::Get, Fault::FailBefore, Ability::Get),
            (Op::Create, Fault::IgnoreCondition, Ability::ConditionalWrites),
        ] {
            let faults = Faults::new();
            let bucket = Bucket::open_with_faults(&Options::new("memory:"), FailPoints::default(), &faults).unwrap();
            match fault {
                Fault::IgnoreCondition => faults.always(op, "", fault),
                _ => faults.once(op, "", fault),
            }
            let checkup = bucket.checkup(&SystemClock).await;
            let failed: Vec<_> = checkup.tried.iter().filter(|(_, outcome)| outcome.is_err()).collect();
            assert!(matches!(failed[..], [(ability, _)] if *ability == missing), "{op:?}: {:?}", checkup.tried);
            assert_eq!(bucket.list("").await.unwrap(), Vec::new(), "{op:?}");
        }
    }

    #[test]
    fn skew_is_what_the_time_of_the_request_cannot_explain() {
        for (store_ms, ahead) in [(10_000, 0), (9_001, 0), (10_500, 0), (11_500, 0), (5_000, -5_000), (31_500, 20_000)]
        {
            assert_eq!(skew((10_000, 10_500), store_ms), ahead, "{store_ms}");
        }
    }
}
