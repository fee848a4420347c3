//! Panics in tasks: the runtime catches them, and tells nobody that would fail for it.

use std::cell::Cell;
use std::sync::Once;

thread_local! {
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

/// Watches the runtimes of this thread for panics.
pub(crate) struct Panics;

impl Panics {
    pub(crate) fn watch() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                PANICKED.set(true);
                before(info);
            }));
        });
        PANICKED.set(false);
        Self
    }

    pub(crate) fn check(self) {
        assert!(!PANICKED.get(), "a task panicked");
    }
}
