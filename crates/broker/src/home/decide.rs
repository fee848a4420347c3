//! Whether a data directory and a bucket belong together: the decision, without I/O.
//!
//! Design §5, "Embedded mode": a broker never guesses. It starts only where what is on the disk and what is in the
//! bucket agree, or where the disk can wait for the bucket to answer.

use uuid::Uuid;

/// What the data directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnDisk {
    /// The cluster and disk ids of the identity file, if there is one.
    pub(crate) identity: Option<(Uuid, Uuid)>,
    /// Whether the metadata store knows that the bucket was claimed for this cluster.
    pub(crate) claimed: bool,
    /// Whether there are lanes of earlier sessions.
    pub(crate) lanes: bool,
    /// Whether the metadata store knows of a log that is not there any more.
    pub(crate) log_lost: bool,
}

/// What `cluster/id` in the bucket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InBucket {
    /// The bucket does not answer.
    Unknown,
    /// It answers, and the prefix has no `cluster/id`.
    Absent,
    /// It belongs to this cluster and was last used from this disk.
    Claimed {
        /// The cluster.
        cluster: Uuid,
        /// The disk that used it last.
        disk: Uuid,
    },
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing anywhere: make a cluster.
    Create,
    /// The identity was written, the claim was not: go on with it.
    Claim,
    /// Everything agrees.
    Open,
    /// The bucket does not answer: open from the disk and compare later.
    OpenUnseen,
    /// The metadata store was lost, the lanes were not: rebuild it from bucket and lanes.
    Rebuild,
    /// Do not start.
    Refuse(Refusal),
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "the bucket does not answer and this data directory was never used with it: the first start needs the bucket. \
         Check storage.url, storage.endpoint and the credentials, then start again"
    )]
    FirstStartNeedsBucket,
    #[error(
        "the bucket already belongs to cluster {0}, and this data directory does not: two data directories never share \
         a bucket prefix. Point storage.url at an empty prefix, or start with the data directory that belongs to it"
    )]
    BucketTaken(Uuid),
    #[error(
        "the bucket belongs to cluster {found}, this data directory to cluster {own}: point storage.url at the bucket \
         that this data directory was used with"
    )]
    OtherCluster {
        /// Cluster of the bucket.
        found: Uuid,
        /// Cluster of the data directory.
        own: Uuid,
    },
    #[error(
        "the bucket of cluster {0} was last used by a broker with another data directory: only one may use it. Stop the \
         other broker for good before its bucket is used from here, and use its data directory"
    )]
    OtherDisk(Uuid),
    #[error(
        "this data directory belongs to cluster {0}, and the bucket is empty: it may be the wrong bucket, or its \
         content was deleted. Point storage.url at the right one; nothing was changed"
    )]
    BucketEmptied(Uuid),
    #[error(
        "the metadata of this data directory is gone, its write-ahead log too, and the bucket is full: what was not \
         shipped would be lost silently. Bring the data directory back from a backup, or use an empty prefix"
    )]
    MetadataLost,
    #[error(
        "the write-ahead log of this data directory is gone: what was acknowledged and not shipped would be lost silently. \
         Bring the folder `wal` back. If it is lost for good and you accept that, create the file \
         `wal/loss-accepted` and start again"
    )]
    LogLost,
    #[error(
        "the metadata of this data directory is gone and the bucket, which could rebuild it, does not answer: start \
         again when the bucket is back"
    )]
    RebuildNeedsBucket,
}

/// Decides.
pub(crate) fn decide(disk: OnDisk, bucket: InBucket) -> Decision {
    use Decision::{Claim, Create, Open, OpenUnseen, Rebuild, Refuse};
    if disk.log_lost {
        return Refuse(Refusal::LogLost);
    }
    let Some((own, own_disk)) = disk.identity else {
        return match bucket {
            InBucket::Unknown => Refuse(Refusal::FirstStartNeedsBucket),
            InBucket::Absent => Create,
            InBucket::Claimed { cluster, .. } => Refuse(Refusal::BucketTaken(cluster)),
        };
    };
    match bucket {
        InBucket::Unknown if disk.claimed => OpenUnseen,
        InBucket::Unknown if disk.lanes => Refuse(Refusal::RebuildNeedsBucket),
        InBucket::Unknown => Refuse(Refusal::FirstStartNeedsBucket),
        InBucket::Absent if disk.claimed || disk.lanes => Refuse(Refusal::BucketEmptied(own)),
        InBucket::Absent => Claim,
        InBucket::Claimed { cluster, .. } if cluster != own => Refuse(Refusal::OtherCluster { found: cluster, own }),
        InBucket::Claimed { cluster, disk: used } if used != own_disk => Refuse(Refusal::OtherDisk(cluster)),
        InBucket::Claimed { .. } if disk.claimed => Open,
        InBucket::Claimed { .. } if disk.lanes => Rebuild,
        // The claim reached the bucket and the crash came before the metadata store heard of it, or the metadata
        // store was deleted together with the lanes: topics in the bucket tell the two apart (see the caller).
        InBucket::Claimed { .. } => Claim,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);
    const DISK: Uuid = Uuid::from_u128(3);

    #[test]
    fn every_combination() {
        use Decision::{Claim, Create, Open, OpenUnseen, Rebuild, Refuse};
        let mine = InBucket::Claimed { cluster: A, disk: DISK };
        let cases = [
            // identity, claimed, lanes, bucket, decision
            (false, false, false, InBucket::Absent, Create),
            (false, false, false, InBucket::Unknown, Refuse(Refusal::FirstStartNeedsBucket)),
            (false, false, false, mine, Refuse(Refusal::BucketTaken(A))),
            (true, true, true, mine, Open),
            (true, true, false, mine, Open),
            (true, true, true, InBucket::Unknown, OpenUnseen),
            (true, true, true, InBucket::Absent, Refuse(Refusal::BucketEmptied(A))),
            (
                true,
                true,
                true,
                InBucket::Claimed { cluster: B, disk: DISK },
                Refuse(Refusal::OtherCluster { found: B, own: A }),
            ),
            (true, true, true, InBucket::Claimed { cluster: A, disk: B }, Refuse(Refusal::OtherDisk(A))),
            (true, false, true, mine, Rebuild),
            (true, false, true, InBucket::Unknown, Refuse(Refusal::RebuildNeedsBucket)),
            (true, false, true, InBucket::Absent, Refuse(Refusal::BucketEmptied(A))),
            (true, false, false, InBucket::Absent, Claim),
            (true, false, false, mine, Claim),
            (true, false, false, InBucket::Unknown, Refuse(Refusal::FirstStartNeedsBucket)),
        ];
        for (identity, claimed, lanes, bucket, expected) in cases {
            let disk = OnDisk { identity: identity.then_some((A, DISK)), claimed, lanes, log_lost: false };
            assert_eq!(decide(disk, bucket), expected, "{disk:?} {bucket:?}");
            let lost = OnDisk { log_lost: true, ..disk };
            assert_eq!(decide(lost, bucket), Refuse(Refusal::LogLost), "{bucket:?}");
        }
    }
}
