//! What happened, line by line. Two runs of one seed must give the same lines.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Arguments;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kinds::{Fault, Operation};

/// How often clients did what, and what went wrong how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// What clients did.
    pub operations: BTreeMap<Operation, u64>,
    /// What went wrong.
    pub faults: BTreeMap<Fault, u64>,
}

impl Counts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        other.operations.iter().for_each(|(kind, count)| *self.operations.entry(*kind).or_default() += count);
        other.faults.iter().for_each(|(kind, count)| *self.faults.entry(*kind).or_default() += count);
    }
}

/// The lines of a run. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    now_ms: u64,
    lines: Vec<String>,
    counts: Counts,
}

impl Trace {
    /// Notes what happens now.
    pub(crate) fn note(&self, who: &str, what: Arguments<'_>) {
        let mut lines = self.lines();
        let line = format!("{:>8} {who:<9} {what}", lines.now_ms);
        lines.lines.push(line);
    }

    pub(crate) fn set_now(&self, now_ms: u64) {
        self.lines().now_ms = now_ms;
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.lines().now_ms
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines().lines)
    }

    /// A client does something.
    pub(crate) fn count(&self, operation: Operation) {
        self.count_many(operation, 1);
    }

    pub(crate) fn count_many(&self, operation: Operation, many: u64) {
        *self.lines().counts.operations.entry(operation).or_default() += many;
    }

    /// Something goes wrong.
    pub(crate) fn count_fault(&self, fault: Fault) {
        *self.lines().counts.faults.entry(fault).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> Counts {
        self.lines().counts.clone()
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    static PANIC: Rc<RefCell<Option<String>>> = Rc::default();
}

/// Remembers panics of this thread, also those that a runtime catches.
pub(crate) fn remember_panics() {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANIC.with(|panic| panic.borrow_mut().get_or_insert_with(|| info.to_string()).len());
            before(info);
        }));
    });
    PANIC.with(|panic| panic.borrow_mut().take());
}

/// The first panic of this thread since [`remember_panics`].
pub(crate) fn panicked() -> Option<String> {
    PANIC.with(|panic| panic.borrow().clone())
}
