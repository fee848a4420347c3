//! What a simulation replaces without being handed in: random numbers, and work on other threads.
//!
//! Ids are drawn and blocking work is handed over in dozens of places, most of which have nothing else to do with the
//! machine. They ask here. While a thread simulates ([`Simulation`]), ids come from its seed and blocking work is done on
//! the spot, so that nothing but the seed decides what happens. Everywhere else this is `getrandom` and tokio.

use std::cell::RefCell;
use std::marker::PhantomData;

use tokio::task::JoinError;
use uuid::{Builder, Uuid};

thread_local! {
    static SIMULATED: RefCell<Option<Chance>> = const { RefCell::new(None) };
}

/// This thread simulates for as long as the value lives.
#[derive(Debug)]
pub struct Simulation(PhantomData<*const ()>);

impl Simulation {
    /// Begins to simulate on this thread.
    pub fn enter(seed: u64) -> Self {
        SIMULATED.set(Some(Chance::new(seed)));
        Self(PhantomData)
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        SIMULATED.set(None);
    }
}

/// Whether this thread simulates.
pub fn is_simulated() -> bool {
    SIMULATED.with_borrow(Option::is_some)
}

/// A random id (UUID version 4).
#[allow(clippy::disallowed_methods)] // the one place that may
pub fn random_id() -> Uuid {
    SIMULATED.with_borrow_mut(|chance| match chance {
        None => Uuid::new_v4(),
        Some(chance) => {
            let bytes = (u128::from(chance.next()) << 64) | u128::from(chance.next());
            Builder::from_random_bytes(bytes.to_be_bytes()).into_uuid()
        }
    })
}

/// Does blocking work off the async threads. It goes on if the caller is dropped.
///
/// # Errors
/// The work panicked, or the runtime is shutting down.
#[allow(clippy::disallowed_methods)] // the one place that may
pub fn blocking<T, F>(work: F) -> impl Future<Output = Result<T, JoinError>> + Send
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let work = if is_simulated() { Ok(work()) } else { Err(tokio::task::spawn_blocking(work)) };
    async move {
        match work {
            Ok(done) => {
                // Others get their turn, as they would while a thread works.
                tokio::task::yield_now().await;
                Ok(done)
            }
            Err(handed) => handed.await,
        }
    }
}

/// Numbers that look random and follow from a seed: Vigna's SplitMix64.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The numbers of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    #[allow(clippy::should_implement_trait)] // it never ends
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One below `n`, which is not 0.
    pub const fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True in so many of a thousand cases.
    pub const fn permille(&mut self, of_thousand: u64) -> bool {
        self.below(1000) < of_thousand
    }

    /// One of several, of which there is at least one.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_from_the_seed_and_only_while_a_thread_simulates() {
        let drawn = |seed| {
            let _simulation = Simulation::enter(seed);
            [random_id(), random_id()]
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert_ne!(drawn(1)[0], drawn(1)[1]);
        assert_eq!(drawn(1)[0].get_version_num(), 4);
        assert_ne!(random_id(), random_id());
        let elsewhere = {
            let _simulation = Simulation::enter(1);
            std::thread::spawn(is_simulated).join().expect("it only looks")
        };
        assert!(!elsewhere);
    }

    #[tokio::test]
    async fn blocking_work_is_done_on_the_spot_only_in_a_simulation() {
        let thread = || std::thread::current().id();
        assert_ne!(blocking(thread).await.expect("it does not panic"), thread());
        let _simulation = Simulation::enter(1);
        assert_eq!(blocking(thread).await.expect("it does not panic"), thread());
    }
}
