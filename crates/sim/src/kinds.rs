//! What is counted: what clients do, and what goes wrong.

macro_rules! operations {
    ($($(#[doc = $doc:literal])+ $kind:ident $name:literal,)+) => {
        /// What clients do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Operation {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl Operation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// What people call it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }
        }
    };
}

operations! {
    /// A record that is sent, once however often it has to be sent again.
    Record "record sent",
    /// A request with records.
    Produce "produce request",
    /// A request for records.
    Fetch "fetch",
    /// A question about where a log begins and ends.
    Offsets "question about offsets",
    /// A question about topics and who leads them.
    Metadata "question about leaders",
    /// Somebody asks to be a member of a group.
    Join "join",
    /// A member asks what it is assigned, or says what all are.
    Sync "sync",
    /// A sign of life of a member.
    Heartbeat "heartbeat",
    /// A member says that it goes.
    Leave "departure",
    /// A commit of offsets.
    Commit "commit",
    /// A question about what is committed.
    Committed "question about commits",
    /// A request for records to be deleted.
    Trim "deletion of records",
    /// A change to topics or their settings; a producer's id.
    Admin "other request",
}

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $kind:ident $name:literal $most:literal,)+) => {
        /// What goes wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// What people call it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }

            /// How often it happens at most, of a thousand requests or steps.
            pub(crate) const fn most(self) -> u64 {
                match self {
                    $(Self::$kind => $most,)+
                }
            }
        }
    };
}

faults! {
    /// A request to the store that does not arrive.
    StoreLost "store-lost" 50,
    /// An answer of the store that does not arrive.
    StoreUnheard "store-unheard" 50,
    /// A change to the store that is long on its way, also after its sender has given up or died.
    StoreHeld "store-held" 30,
    /// A request to the bucket that fails.
    BucketFails "bucket-fails" 50,
    /// A write to the bucket that is done without an answer.
    BucketUnheard "bucket-unheard" 50,
    /// A write to the bucket that fails and is done later.
    BucketLater "bucket-later" 50,
    /// A write to the bucket that is long on its way, also after its sender has given up or died.
    BucketHeld "bucket-held" 30,
    /// A conditional write to the bucket that is refused with a 409.
    BucketConflict "bucket-conflict" 50,
    /// A process dies, with its machine or without.
    Kill "kill" 4,
    /// A broker is stopped cleanly.
    Stop "stop" 3,
    /// A process sleeps.
    Pause "pause" 4,
    /// A broker has no store for a while.
    CutStore "cut-store" 3,
    /// A broker has no bucket for a while.
    Outage "outage" 2,
    /// Requests of a broker to the bucket take long for a while.
    SlowBucket "slow-bucket" 2,
    /// Requests of a broker to the store take long for a while.
    SlowStore "slow-store" 3,
    /// A broker is replaced and does not hear of it.
    Zombie "zombie" 20,
    /// Something goes wrong at the moment of a request of some kind.
    Ambush "ambush" 30,
    /// Whoever replaces a broker is slow to end its lane, and the broker is not.
    Usurp "usurp" 10,
    /// Whoever comes to lead sleeps as it looks for what is left over, and is replaced in turn.
    Succeed "succeed" 10,
    /// A lease ends although its owner lives.
    Expire "expire" 4,
    /// A wall clock jumps, back too.
    Clock "clock" 10,
    /// The store forgets its history.
    Compact "compact" 20,
    /// Somebody changes where a topic is acknowledged.
    Settings "settings" 2,
    /// Something is cut off in the middle.
    FailPoint "fail-point" 6,
    /// A write or a sync fails.
    Disk "disk" 10,
    /// A disk is full for a while.
    Full "full" 2,
    /// The power fails in the middle of a write.
    Tear "tear" 3,
    /// The store loses everything or is set back, and the cluster is made again from its bucket.
    Restore "restore" 2,
    /// Bits of a disk turn, of what was synced too.
    Rot "rot" 2,
    /// An operator gives up what a disk holds, and the disk comes back.
    WriteOff "write-off" 1,
}
