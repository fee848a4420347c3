//! What the machine of a lane is told, and what it says.

use std::ops::Range;
use std::sync::Arc;

use super::draft::Draft;
use crate::queue::Waiting;

/// What has happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// Time has passed, or something was asked for.
    Due,
    /// The outcome of a [`Effect::Put`] is known.
    Put(u64, Placed),
    /// A [`Effect::Trim`] has ended.
    Trim(Trimmed),
    /// A [`Effect::Delete`] has ended: everything below this number is gone.
    Deleted(u64),
}

/// What is in a slot that the owner wrote to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placed {
    /// What it wrote.
    Ours,
    /// A SEAL.
    Sealed,
    /// It will never be known, or something that should not be there. Says what.
    Lost(Arc<str>),
}

/// What became of the trim pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trimmed {
    /// It is there, durably.
    At(u64),
    /// The lane is sealed.
    Sealed,
    /// It will never be known. Says why.
    Lost(Arc<str>),
}

/// What is to be done.
pub(crate) enum Effect {
    /// Write a slot if it is absent, however often it takes.
    Put(Draft),
    /// Tell these that their entries are durable.
    Durable(Waiting),
    /// Tell these that the outcome of their entries is unknown.
    Failed(Waiting),
    /// Move the trim pointer, durably.
    Trim(u64),
    /// Delete these slots. The trim pointer is behind them.
    Delete(Range<u64>),
}
