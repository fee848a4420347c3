//! What happened, line by line. Two runs of one seed must give the same lines.

use std::cell::RefCell;
use std::fmt::Arguments;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

/// The lines of a run. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    now_ms: u64,
    lines: Vec<String>,
}

impl Trace {
    /// Notes what happens now.
    pub(crate) fn note(&self, who: &str, what: Arguments<'_>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{:>8} {who:<9} {what}", lines.now_ms);
        lines.lines.push(line);
    }

    pub(crate) fn set_now(&self, now_ms: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now_ms = now_ms;
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now_ms
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).lines)
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
