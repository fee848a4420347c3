//! Seeds that are known for something, with the dice as they are: elsewhere they are as good as any.

use runnel_guard::Guard;

/// A seed in which a guard is missed. Without it others are tried all the same.
pub(crate) const fn missed_in(guard: Guard) -> Option<u64> {
    match guard {
        Guard::SlotIfAbsent => Some(2),
        _ => None,
    }
}
