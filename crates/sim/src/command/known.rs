//! Seeds that are known for something, with the dice as they are: with others they are as good as any.

use runnel_guard::Guard;

/// A seed in which a guard is missed. Should it not be, others are tried.
pub(crate) const fn missed_in(guard: Guard) -> u64 {
    match guard {
        Guard::SlotIfAbsent
        | Guard::TrimPointerFirst
        | Guard::SealBeforeOpen
        | Guard::DedupReplay
        | Guard::HighWatermark => 2,
        Guard::PrefixAck | Guard::SealAtFirstHole => 3,
        Guard::CurrentGeneration => 6,
        Guard::AnswerAfterRecord => 7,
        Guard::SyncBeforeAck => 13,
        Guard::NoSyncAgain => 21,
        Guard::TrimAfterRoot | Guard::RootEpoch => 24,
        Guard::OrphansByEpoch => 20,
        Guard::SealAbovePointer => 36,
        Guard::SessionIsActive => 40,
        Guard::RootSwap => 74,
        Guard::RecordSwap => 91,
    }
}
