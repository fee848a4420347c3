//! Seeds that are known for something, with the dice as they are: with others they are as good as any.

use runnel_guard::Guard;

/// A seed in which a guard is missed; none where nobody knows one. Others are tried after it all the same.
pub(crate) const fn missed_in(guard: Guard) -> Option<u64> {
    match guard {
        Guard::SlotIfAbsent
        | Guard::TrimPointerFirst
        | Guard::SealBeforeOpen
        | Guard::DedupReplay
        | Guard::HighWatermark => Some(2),
        Guard::PrefixAck | Guard::SealAtFirstHole => Some(3),
        Guard::CurrentGeneration => Some(6),
        Guard::AnswerAfterRecord => Some(7),
        Guard::SyncBeforeAck => Some(13),
        Guard::NoSyncAgain => Some(21),
        Guard::TrimAfterRoot | Guard::RootEpoch => Some(24),
        Guard::OrphansByEpoch => Some(20),
        Guard::SealAbovePointer => Some(36),
        Guard::SessionIsActive => Some(40),
        Guard::RootSwap | Guard::RecordSwap => None,
    }
}
