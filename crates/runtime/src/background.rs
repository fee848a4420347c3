//! Work that may wait: threads of its own for each [`Chore`], as many as there are processors, which give way to all others.
//!
//! Decoding what somebody replays, or encoding segments, keeps every processor busy for as long as it lasts. Beside the
//! threads that acknowledge and serve what is new it would take its share of them by the scheduler's slices, which are
//! milliseconds each; behind them it takes what is left. Threads cannot have their priority back once it is lowered
//! (that takes a privilege), so they are not those of [`blocking`].

use std::num::NonZero;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinError;

use crate::simulation::{blocking, is_simulated};

/// How much nicer the threads are than the process: a tenth of the weight of others.
const NICER: i32 = 10;

/// Threads at least: one long piece of work must not keep all others waiting.
const LEAST: usize = 2;

/// What may wait. Each has its own threads: pieces of one kind take longer than who asks for another would wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// Decoding what is read again: milliseconds each.
    Replay,
    /// Encoding segments that are shipped or merged: up to a third of a second each.
    Encode,
}

/// Only their threads for blocking work are used. `None` if it cannot be had.
static REPLAYS: LazyLock<Option<Runtime>> = LazyLock::new(|| threads("replay"));
static ENCODERS: LazyLock<Option<Runtime>> = LazyLock::new(|| threads("encode"));

fn threads(name: &str) -> Option<Runtime> {
    let threads = std::thread::available_parallelism().map_or(LEAST, NonZero::get).max(LEAST);
    let mut builder = Builder::new_current_thread();
    builder.max_blocking_threads(threads).thread_name(name).on_thread_start(give_way);
    builder.build().ok()
}

/// Does work that may wait. It goes on if the caller is dropped; what is asked for first of its kind is done first.
///
/// # Errors
/// The work panicked.
#[allow(clippy::disallowed_methods)] // the one place that may
pub async fn background<T, F>(chore: Chore, work: F) -> Result<T, JoinError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let threads = match chore {
        Chore::Replay => &REPLAYS,
        Chore::Encode => &ENCODERS,
    };
    match &**threads {
        Some(threads) if !is_simulated() => threads.spawn_blocking(work).await,
        _ => blocking(work).await,
    }
}

/// A thread that cannot lower its priority does its work all the same.
fn give_way() {
    #[cfg(target_os = "linux")] // elsewhere a priority is that of the whole process
    {
        let this = Some(rustix::thread::gettid());
        // Beyond the nicest the system takes the nicest.
        let _lowered = rustix::process::getpriority_process(this)
            .and_then(|own| rustix::process::setpriority_process(this, own + NICER));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]

    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_its_own_threads_give_way() {
        let nice = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).expect("it is there");
        let own = nice();
        for chore in [Chore::Replay, Chore::Encode] {
            assert_eq!(background(chore, nice).await.expect("it does not panic"), (own + NICER).min(19), "{chore:?}");
        }
        assert_eq!(blocking(nice).await.expect("it does not panic"), own);
        assert_eq!(nice(), own);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_next_work_is_done() {
        assert!(background(Chore::Replay, || panic!("on purpose")).await.is_err());
        assert_eq!(background(Chore::Replay, || 7).await.expect("it does not panic"), 7);
    }

    #[tokio::test]
    async fn one_chore_does_not_wait_for_another() {
        let threads = std::thread::available_parallelism().map_or(LEAST, NonZero::get).max(LEAST);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = std::sync::Arc::new(std::sync::Mutex::new(held));
        let mut encoders = Vec::new();
        for _ in 0..threads {
            let held = std::sync::Arc::clone(&held);
            let wait = move || held.lock().is_ok_and(|held| held.recv().is_err());
            encoders.push(tokio::spawn(background(Chore::Encode, wait)));
        }
        assert_eq!(background(Chore::Replay, || 7).await.expect("it does not panic"), 7);
        drop(release);
        for encoder in encoders {
            assert!(encoder.await.expect("it does not panic").expect("nor does its work"));
        }
    }
}
