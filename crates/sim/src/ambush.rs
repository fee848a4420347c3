//! Ambushes: something goes wrong at the very moment at which a broker sends a request of some kind. What a guard keeps off
//! takes a request that is under way while others decide; that rarely comes about by chance.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runnel_blob::testing::Op;
use runnel_runtime::simulation::Chance;

use crate::clients::TOPIC;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spot {
    /// A swap of a root.
    Root,
    /// A slot of the lane that the broker writes.
    Slot,
    /// A slot of another lane: whoever writes there ends it.
    Seal,
    /// A change to the header of a lane.
    Header,
    Segment,
    List,
    /// A listing of the objects of a partition: whoever comes to lead it looks for what is left over.
    Sweep,
    Delete,
    /// A change to the record of a partition.
    Record,
    /// A change to the record of a session.
    Session,
}

impl Spot {
    const ALL: [Self; 10] = [
        Self::Root,
        Self::Slot,
        Self::Seal,
        Self::Header,
        Self::Segment,
        Self::List,
        Self::Sweep,
        Self::Delete,
        Self::Record,
        Self::Session,
    ];

    /// That of a change to the store.
    pub(crate) fn of_keys<'a>(mut keys: impl Iterator<Item = &'a str>) -> Option<Self> {
        keys.find_map(|key| match key.split_once('/')?.0 {
            "p" => Some(Self::Record),
            "s" => Some(Self::Session),
            _ => None,
        })
    }
}

/// What a broker meets, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ambush {
    pub(crate) spot: Spot,
    /// Requests that pass before.
    pub(crate) pass: u64,
    /// How long the request is on its way.
    pub(crate) held: Duration,
    pub(crate) then: Then,
}

/// What else happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// Its sender is taken for dead, and sleeps for so many steps; after that the store is slow for it.
    Sleeps(u64),
    /// The same, and nothing is in the way of those who come to lead in its place.
    IsSucceeded(u64),
    /// Its sender is taken for dead, and has no store for so many steps.
    CutOff(u64),
    /// Its sender dies.
    Dies,
    /// Its sender dies, and nobody comes to write the record of a partition for so many steps.
    DiesUnreplaced(u64),
}

impl Ambush {
    /// That of somebody who has just come to lead, is succeeded while it looks for what is left over, and goes on then.
    pub(crate) fn of_a_sweep(chance: &mut Chance) -> Self {
        let (held, steps) = (Duration::from_millis(chance.pick(&[100, 300, 600])), chance.pick(&[400, 600]));
        Self { spot: Spot::Sweep, pass: 0, held, then: Then::IsSucceeded(steps) }
    }

    pub(crate) fn of(chance: &mut Chance) -> Self {
        let steps = chance.pick(&[40, 100, 200, 400]);
        let mut ambush = Self {
            spot: chance.pick(&Spot::ALL),
            pass: chance.pick(&[0, 0, 1, 5]),
            held: Duration::from_millis(chance.pick(&[100, 300, 600, 1_500, 4_000])),
            then: Then::Nothing,
        };
        match chance.below(6) {
            0 => {}
            1 => ambush.then = Then::Sleeps(steps),
            2 => ambush.then = Then::CutOff(steps),
            3 => ambush.then = Then::Dies,
            // Whoever looks at what is there acts on it after others have made more.
            4 => (ambush.spot, ambush.pass, ambush.then) = (Spot::List, 0, Then::Sleeps(200 + steps)),
            // The record changes after its author was buried, and before anybody else changes it.
            _ => {
                let seconds = chance.pick(&[2, 4, 6, 8]);
                (ambush.spot, ambush.pass, ambush.held) = (Spot::Record, 0, Duration::from_secs(seconds));
                ambush.then = Then::DiesUnreplaced(seconds * 200 + 100);
            }
        }
        ambush
    }
}

/// What waits for the requests of a broker. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trap(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    set: Option<Ambush>,
    /// What happens besides, once it has sprung.
    sprung: Option<Then>,
    /// The lane that the broker last wrote to, as its name begins.
    lane: String,
}

impl Trap {
    pub(crate) fn set(&self, ambush: Ambush) {
        self.state().set = Some(ambush);
    }

    pub(crate) fn clear(&self) {
        let mut state = self.state();
        (state.set, state.sprung) = (None, None);
    }

    /// What is to happen besides to whose request was met, once.
    pub(crate) fn take_sprung(&self) -> Option<Then> {
        self.state().sprung.take()
    }

    /// Whether a request is met, and how long it is on its way then.
    pub(crate) fn springs(&self, spot: Option<Spot>) -> Option<Duration> {
        let mut state = self.state();
        let ambush = state.set.as_mut().filter(|ambush| Some(ambush.spot) == spot)?;
        if ambush.pass > 0 {
            ambush.pass -= 1;
            return None;
        }
        let Ambush { held, then, .. } = *ambush;
        (state.set, state.sprung) = (None, Some(then));
        Some(held)
    }

    /// The kind of a request to the bucket.
    pub(crate) fn spot(&self, op: Op, path: &str) -> Option<Spot> {
        match op {
            Op::List if path.starts_with(&format!("topics/topic={TOPIC}/")) => return Some(Spot::Sweep),
            Op::List => return Some(Spot::List),
            Op::Delete => return Some(Spot::Delete),
            Op::Put if path.ends_with(".parquet") => return Some(Spot::Segment),
            Op::Create | Op::Replace => {}
            _ => return None,
        }
        match path.rsplit_once('/')? {
            (_, "root") => Some(Spot::Root),
            (folder, "hdr") if folder.starts_with("wal/") => Some(Spot::Header),
            (lane, _) if lane.starts_with("wal/") => {
                let mut state = self.state();
                let is_same = state.lane == lane;
                lane.clone_into(&mut state.lane);
                Some(if is_same { Spot::Slot } else { Spot::Seal })
            }
            _ => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_met_once_and_those_before_pass() {
        let trap = Trap::default();
        let then = Then::Dies;
        trap.set(Ambush { spot: Spot::Seal, pass: 1, held: Duration::from_millis(7), then });
        let slot = |lane: &str| trap.springs(trap.spot(Op::Create, &format!("wal/{lane}/00")));
        assert_eq!(slot("a"), None, "the first passes");
        assert_eq!(slot("a"), None, "it is the same lane");
        assert_eq!(trap.take_sprung(), None);
        assert_eq!(slot("b"), Some(Duration::from_millis(7)));
        assert_eq!(slot("c"), None, "it has sprung");
        assert_eq!(trap.take_sprung(), Some(then));
        assert_eq!(trap.take_sprung(), None);
        assert_eq!(Spot::of_keys(["live/1", "p/x/0"].into_iter()), Some(Spot::Record));
    }
}
