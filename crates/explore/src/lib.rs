//! Visits every state that a small world can reach, in order of how many steps that takes, so that the first bad one it
//! meets has the shortest way to it.
//!
//! A world is made of production values, which cannot always be copied: a future in the middle of a request cannot. So a
//! world is not asked for a copy of itself but for another one to which the same has happened ([`World::after`]), and two
//! are the same if their digests are. A world of values answers with a clone; one of futures begins anew and repeats the
//! steps, and its digest is what each of its parts has been told so far, since that decides what the part does next.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A state, and what may happen in it.
pub trait World: Sized {
    /// Something that may happen.
    type Step: Clone + fmt::Display;

    /// What may happen next, always in the same order.
    fn steps(&self) -> Vec<Self::Step>;

    /// Lets it happen.
    ///
    /// # Errors
    /// With what must not be: a property that does not hold any more.
    fn take(&mut self, step: &Self::Step) -> Result<(), String>;

    /// The same for two worlds in which the same may happen, from here on.
    fn digest(&self) -> u64;

    /// Another world in the state of this one. `path` is what has happened in it.
    #[must_use]
    fn after(&self, path: &[Self::Step]) -> Self;
}

/// A world in which everything that can happen may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explored {
    /// States visited, each once.
    pub states: usize,
    /// Steps taken from them.
    pub steps: usize,
    /// Steps to the farthest of them.
    pub depth: usize,
    /// States in which nothing more happens.
    pub ends: usize,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, steps, depth, ends } = self;
        write!(f, "{states} states, {steps} steps, {ends} ends, the farthest {depth} steps away")
    }
}

/// Why an exploration ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// A property does not hold.
    Broken {
        /// The shortest way there, step by step.
        path: Vec<String>,
        /// What does not hold.
        what: String,
        /// States visited before.
        states: usize,
    },
    /// There are more states than allowed.
    TooMany(usize),
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(states) => write!(f, "more than {states} states"),
            Self::Broken { path, what, states } => {
                writeln!(f, "{what}; the shortest of the ways there, found after {states} states:")?;
                (1..).zip(path).try_for_each(|(at, step)| writeln!(f, "{at:>4}. {step}"))
            }
        }
    }
}

/// How a state was reached first.
struct Origin<S> {
    from: usize,
    /// `None` for the first state.
    step: Option<S>,
}

fn path_to<S: Clone>(origins: &[Origin<S>], mut at: usize) -> Vec<S> {
    let mut path = Vec::new();
    while let Some(Origin { from, step: Some(step), .. }) = origins.get(at) {
        path.push(step.clone());
        at = *from;
    }
    path.reverse();
    path
}

/// Visits every state that can be reached from `first`, breadth first.
///
/// # Errors
/// With the first state that is not as it should be and the way to it, or after `limit` states.
///
/// # Panics
/// If a world is not the same after the same steps: what was found would mean nothing.
pub fn explore<W: World>(first: W, limit: usize) -> Result<Explored, Stopped> {
    let mut seen = HashSet::from([first.digest()]);
    let mut origins = vec![Origin { from: 0, step: None }];
    let mut queue = VecDeque::from([(0, first)]);
    let (mut steps, mut ends, mut depth) = (0, 0, 0);
    while let Some((at, world)) = queue.pop_front() {
        let (path, choices) = (path_to(&origins, at), world.steps());
        depth = path.len();
        ends += usize::from(choices.is_empty());
        let last = choices.len().saturating_sub(1);
        let known = world.digest();
        let mut world = Some(world);
        for (place, step) in choices.into_iter().enumerate() {
            // The last step is taken by the world itself.
            let next = if place == last { world.take() } else { world.as_ref().map(|world| world.after(&path)) };
            let Some(mut next) = next else { break };
            if place == 0 {
                assert_eq!(next.digest(), known, "the same steps lead to the same state");
            }
            steps += 1;
            if let Err(what) = next.take(&step) {
                let path = path.iter().chain([&step]).map(ToString::to_string).collect();
                return Err(Stopped::Broken { path, what, states: origins.len() });
            }
            if seen.insert(next.digest()) {
                if origins.len() == limit {
                    return Err(Stopped::TooMany(limit));
                }
                queue.push_back((origins.len(), next));
                origins.push(Origin { from: at, step: Some(step) });
            }
        }
    }
    Ok(Explored { states: origins.len(), steps, depth, ends })
}

/// How far an exploration went in which all was as it should be.
///
/// # Panics
/// If it was not, with the way there.
#[allow(clippy::panic, reason = "for tests, which end with it")]
pub fn held(of: &impl fmt::Debug, outcome: Result<Explored, Stopped>) -> String {
    match outcome {
        Ok(explored) => format!("{of:?}: {explored}"),
        Err(stopped) => panic!("{of:?}: {stopped}"),
    }
}

/// What an exploration met that had to meet something, since a guard was off.
///
/// # Panics
/// If it met nothing.
#[allow(clippy::panic, reason = "for tests, which end with it")]
pub fn noticed(of: &impl fmt::Debug, outcome: Result<Explored, Stopped>) -> String {
    match outcome {
        Ok(explored) => panic!("{of:?} was not noticed: {explored}"),
        Err(stopped) => format!("{of:?}: {stopped}"),
    }
}

/// Whether `RUNNEL_EXPLORE=deep` asks for bounds that take minutes.
pub fn is_deep() -> bool {
    std::env::var("RUNNEL_EXPLORE").is_ok_and(|how| how == "deep")
}

/// A digest of anything, the same in every run.
pub fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two counters that go up to a limit each; together they must not reach a sum.
    #[derive(Clone, Hash)]
    struct Counters {
        at: [u32; 2],
        limit: u32,
        forbidden: u32,
        copied: bool,
    }

    impl Counters {
        fn new(limit: u32, forbidden: u32) -> Self {
            Self { at: [0; 2], limit, forbidden, copied: true }
        }
    }

    impl World for Counters {
        type Step = usize;

        fn steps(&self) -> Vec<usize> {
            (0..2).filter(|one| self.at[*one] < self.limit).collect()
        }

        fn take(&mut self, step: &usize) -> Result<(), String> {
            self.at[*step] += 1;
            if self.at.iter().sum::<u32>() == self.forbidden { Err(format!("{:?}", self.at)) } else { Ok(()) }
        }

        fn digest(&self) -> u64 {
            digest(&self.at)
        }

        fn after(&self, path: &[usize]) -> Self {
            if self.copied {
                return self.clone();
            }
            let mut anew = Self { at: [0; 2], ..self.clone() };
            path.iter().for_each(|step| anew.take(step).expect("it went well the first time"));
            anew
        }
    }

    #[test]
    fn every_state_is_visited_once_whether_it_is_copied_or_repeated() {
        let all = Explored { states: 16, steps: 24, depth: 6, ends: 1 };
        assert_eq!(explore(Counters::new(3, 99), 16), Ok(all));
        assert_eq!(explore(Counters { copied: false, ..Counters::new(3, 99) }, 16), Ok(all));
    }

    #[test]
    fn the_shortest_way_to_a_broken_state_is_found() {
        let Err(stopped) = explore(Counters::new(3, 2), 100) else { unreachable!("the sum can be reached") };
        let path = vec!["0".to_owned(), "0".to_owned()];
        assert_eq!(stopped, Stopped::Broken { path, what: "[2, 0]".to_owned(), states: 3 });
        assert!(stopped.to_string().contains("   2. 0"), "{stopped}");
    }

    #[test]
    fn more_states_than_allowed_are_no_proof() {
        assert_eq!(explore(Counters::new(3, 99), 15), Err(Stopped::TooMany(15)));
    }
}
