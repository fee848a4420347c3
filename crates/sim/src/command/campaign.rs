//! Many runs, several at a time. Each takes place on one thread.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use tokio::time::Instant;

/// Does `work` for each of `seeds` on `jobs` threads, and begins none after `until`. Hands the outcomes over in the order of
/// the seeds.
pub(crate) fn run<T: Send>(
    seeds: Range<u64>,
    until: Option<Instant>,
    jobs: u64,
    work: impl Fn(u64) -> T + Sync,
    mut told: impl FnMut(u64, T) -> io::Result<()>,
) -> io::Result<()> {
    let next = AtomicU64::new(seeds.start);
    let take = || {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        (seed < seeds.end && until.is_none_or(|until| Instant::now() < until)).then_some(seed)
    };
    std::thread::scope(|scope| {
        let (done, outcomes) = mpsc::channel();
        for _ in 0..jobs {
            let (done, take, work) = (done.clone(), &take, &work);
            // Nobody listens any more once one could not be told.
            scope.spawn(move || while take().is_some_and(|seed| done.send((seed, work(seed))).is_ok()) {});
        }
        drop(done);
        let (mut waiting, mut at) = (BTreeMap::new(), seeds.start);
        for (seed, outcome) in outcomes {
            waiting.insert(seed, outcome);
            while let Some(outcome) = waiting.remove(&at) {
                told(at, outcome)?;
                at += 1;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_come_in_order_and_none_is_missing() {
        let mut seen = Vec::new();
        let outcome = run(
            5..50,
            None,
            4,
            |seed| seed * 2,
            |seed, twice| {
                seen.push((seed, twice));
                Ok(())
            },
        );
        outcome.expect("nobody refuses to be told");
        assert_eq!(seen, (5..50).map(|seed| (seed, seed * 2)).collect::<Vec<_>>());
        let refused = run(0..50, None, 4, |seed| seed, |_, _| Err(io::ErrorKind::BrokenPipe.into()));
        assert!(refused.is_err());
        let late = run(0..50, Some(Instant::now()), 4, |seed| seed, |_, _| Err(io::ErrorKind::Other.into()));
        assert!(late.is_ok(), "nothing is begun after the end");
    }
}
