//! The guards that the protocol rests on, by name, so that tests can see what happens without one.
//!
//! A test that never fails proves little. Each guard stands in the code as `holds(Guard::…)`; a test switches one off on its
//! thread ([`Without`]), and must then find something wrong. Builds without debug assertions have no such switch:
//! [`holds`] is `true` there, and the compiler removes it.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

macro_rules! guards {
    ($($(#[doc = $doc:literal])+ $guard:ident $name:literal,)+) => {
        /// A guard.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Guard {
            $($(#[doc = $doc])+ $guard,)+
        }

        impl Guard {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$guard,)+];

            /// What people call it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$guard => $name,)+
                }
            }

            /// What it says.
            pub const fn says(self) -> &'static str {
                match self {
                    $(Self::$guard => concat!($($doc,)+).trim_ascii(),)+
                }
            }
        }
    };
}

guards! {
    /// A slot is acknowledged when it and all before it are in the bucket (O2).
    PrefixAck "prefix-ack",
    /// A slot is written only where there is none (O1).
    SlotIfAbsent "slot-if-absent",
    /// A lane is sealed at its first hole, not behind what is listed (O5).
    SealAtFirstHole "seal-at-first-hole",
    /// A SEAL below the trim pointer is void (O6).
    SealAbovePointer "seal-above-pointer",
    /// The trim pointer of a lane moves before its slots are deleted (O4).
    TrimPointerFirst "trim-pointer-first",
    /// Lanes of those who led before are sealed and read before a partition is served (P2).
    SealBeforeOpen "seal-before-open",
    /// A root is replaced only by who has read it (P6).
    RootSwap "root-swap",
    /// Nobody commits to the root of a later epoch (P6).
    RootEpoch "root-epoch",
    /// The record of a partition is replaced only by who has read it (P7).
    RecordSwap "record-swap",
    /// A session that was ended names itself in no record (P7).
    SessionIsActive "session-is-active",
    /// The producers of a log that was taken over are learnt from what is in no segment (§11).
    DedupReplay "dedup-replay",
    /// Readers see what is durable, and nothing behind it (invariant 22).
    HighWatermark "high-watermark",
    /// A lane is trimmed after the root refers to what was in it (§6).
    TrimAfterRoot "trim-after-root",
    /// Of what the root does not refer to, only objects of earlier epochs are deleted (G2).
    OrphansByEpoch "orphans-by-epoch",
    /// A block of the local lane is synced before it is acknowledged (§4.2).
    SyncBeforeAck "sync-before-ack",
    /// A failed sync is the last one of its lane (§4.2).
    NoSyncAgain "no-sync-again",
    /// A coordinator of groups answers once the records of what it says are durable (T4).
    AnswerAfterRecord "answer-after-record",
    /// A group believes a member only in its current generation.
    CurrentGeneration "current-generation",
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

thread_local! {
    static WITHOUT: Cell<Option<Guard>> = const { Cell::new(None) };
}

/// Whether a guard is in place.
pub fn holds(guard: Guard) -> bool {
    !cfg!(debug_assertions) || WITHOUT.get() != Some(guard)
}

/// This thread does without a guard for as long as the value lives.
#[derive(Debug)]
pub struct Without(PhantomData<*const ()>);

impl Without {
    /// Switches a guard off.
    pub fn of(guard: Guard) -> Self {
        WITHOUT.set(Some(guard));
        Self(PhantomData)
    }
}

impl Drop for Without {
    fn drop(&mut self) {
        WITHOUT.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_off_on_one_thread_for_a_while() {
        {
            let _without = Without::of(Guard::RootSwap);
            assert!(!holds(Guard::RootSwap));
            assert!(holds(Guard::RootEpoch));
            assert!(std::thread::spawn(|| holds(Guard::RootSwap)).join().expect("it only looks"));
        }
        assert!(holds(Guard::RootSwap));
    }

    #[test]
    fn names_differ() {
        let mut names: Vec<&str> = Guard::ALL.iter().map(|guard| guard.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Guard::ALL.len());
    }
}
