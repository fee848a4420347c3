//! When the trim pointer of a lane moves, and when slots go. No I/O, no clock.

use runnel_guard::{Guard, holds};
use tokio::time::Instant;

use super::event::Effect;
use super::options::ObjectOptions;

/// Where trimming stands: `deleted <= pointer <= what is not needed`. One thing is done at a time.
#[derive(Debug, Default)]
pub(crate) struct Trim {
    /// As it is in the lane's header.
    pointer: u64,
    /// Slots below it are gone.
    deleted: u64,
    /// Up to where the pointer is being moved, or slots deleted.
    busy: Option<u64>,
    /// The pointer does not move before this.
    at: Option<Instant>,
}

impl Trim {
    /// What to do where nothing below `wanted` is needed: the pointer first, then what is below it. `at_once` takes no
    /// heed of the last move.
    pub(crate) fn next(&mut self, now: Instant, wanted: u64, at_once: bool, options: &ObjectOptions) -> Option<Effect> {
        if self.busy.is_some() {
            return None;
        }
        if !holds(Guard::TrimPointerFirst) && wanted > self.deleted {
            self.busy = Some(wanted);
            return Some(Effect::Delete(self.deleted..wanted));
        }
        let early = self.at.is_some_and(|at| now < at) && !at_once;
        if wanted > self.pointer && !early {
            self.at = Some(now + options.trim_every);
            self.busy = Some(wanted);
            return Some(Effect::Trim(wanted));
        }
        if self.deleted < self.pointer {
            self.busy = Some(self.pointer);
            return Some(Effect::Delete(self.deleted..self.pointer));
        }
        if !early {
            self.at = None;
        }
        None
    }

    /// When [`Trim::next`] may have something to do, if nothing else happens.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.at.filter(|_| self.busy.is_none())
    }

    /// The pointer is there, durably.
    pub(crate) fn recorded(&mut self, pointer: u64) {
        self.busy = None;
        self.pointer = self.pointer.max(pointer);
    }

    /// Everything below `upto` is gone.
    pub(crate) fn deleted(&mut self, upto: u64) {
        self.busy = None;
        self.deleted = self.deleted.max(upto);
    }

    #[cfg(test)]
    pub(crate) const fn fingerprint(&self) -> (u64, u64, Option<u64>) {
        (self.pointer, self.deleted, self.busy)
    }

    /// Whether nothing is under way or left to delete.
    pub(crate) const fn is_idle(&self) -> bool {
        self.busy.is_none() && self.deleted == self.pointer
    }
}
