//! Why nothing, or not everything, was restored.

use runnel_record::{TopicId, TopicPartition};
use uuid::Uuid;

/// Why a restore did not take place, or stopped. Every message says what to do next; running it again is always right.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is nothing to restore.
    #[error("the bucket holds no cluster below its prefix: set storage.url to the bucket that is to be restored")]
    NoCluster,
    /// The bucket is that of a single node.
    #[error(
        "the bucket belongs to cluster {0}, a single node: its write-ahead log is on its disk, and it makes lost metadata \
         anew by itself when it starts on its data directory. `cluster restore` is for brokers that share an etcd"
    )]
    SingleNode(Uuid),
    /// The store is another cluster's.
    #[error(
        "the metadata store holds cluster {found}, the bucket cluster {own}: set metadata.url to that of this cluster, or \
         choose another prefix in it"
    )]
    OtherCluster {
        /// Cluster of the store.
        found: Uuid,
        /// Cluster of the bucket.
        own: Uuid,
    },
    /// The store holds the cluster.
    #[error(
        "the metadata store holds this cluster, era {era} (the bucket: {in_bucket}), {}: start the brokers instead. If what \
         it holds is wrong, --discard-metadata throws it away and ends the sessions of all brokers",
        told(alive)
    )]
    InUse {
        /// Era that the store knows.
        era: u32,
        /// Era of the bucket.
        in_bucket: u32,
        /// Brokers that are alive.
        alive: Vec<String>,
    },
    /// The store holds something else.
    #[error(
        "the metadata store holds {keys} keys and no cluster: it may be the wrong one, or have lost a part of its content. \
         Set metadata.url to the right one; --discard-metadata throws away what is there"
    )]
    Unknown {
        /// How many keys.
        keys: usize,
    },
    /// Another restore was faster.
    #[error(
        "the bucket is in era {found}, and this restore was to make era {wanted}: another one was made meanwhile. Use its \
         metadata store; --discard-metadata makes one anew from here"
    )]
    Overtaken {
        /// Era of this restore.
        wanted: u32,
        /// Era of the bucket.
        found: u32,
    },
    /// What was compared has changed.
    #[error("the {0} changed at this moment: another restore may be under way. Run it again when that has ended")]
    Changed(&'static str),
    /// Lanes hold records of topics that the bucket does not know.
    #[error("the bucket's log holds records of topics whose objects below meta/topics/ are gone: bring back {}", list(.0))]
    TopicsMissing(Vec<TopicId>),
    /// Partitions that had segments or records have no root.
    #[error("roots are gone of partitions that have records: bring back {}", list(.0))]
    RootsMissing(Vec<String>),
    /// Slots that were acknowledged cannot be read.
    #[error(
        "slots {slots:?} of lane {lane} below wal/ are damaged or gone, and any partition may have records there: bring \
         them back. Nothing was restored, and every lane is ended"
    )]
    LaneDamaged {
        /// The lane.
        lane: Uuid,
        /// The slots.
        slots: Vec<u64>,
    },
    /// There is no epoch left.
    #[error("{0} has used up its leader epochs: make the topic anew")]
    EpochsUsedUp(TopicPartition),
    /// The cluster is at a level of another release.
    #[error("{0}. Nothing was changed")]
    Level(#[from] runnel_format::Misfit),
    /// The bucket.
    #[error("the bucket: {0}")]
    Bucket(#[from] runnel_blob::Error),
    /// The metadata store.
    #[error("the metadata store: {0}")]
    Metadata(#[from] runnel_metastore::Error),
    /// A lane.
    #[error("the log in the bucket: {0}")]
    Lane(#[from] runnel_wal::Error),
    /// A root.
    #[error(transparent)]
    Manifest(#[from] runnel_segment::Error),
    /// Stored bytes cannot be read.
    #[error(transparent)]
    Format(#[from] runnel_format::Error),
    /// A test.
    #[error(transparent)]
    Injected(#[from] runnel_runtime::Injected),
}

fn told(alive: &[String]) -> String {
    if alive.is_empty() { "and no broker is alive in it".to_owned() } else { format!("with brokers {}", list(alive)) }
}

/// The first of many.
fn list<T: std::fmt::Display>(all: &[T]) -> String {
    const SHOWN: usize = 10;
    let mut shown: Vec<String> = all.iter().take(SHOWN).map(ToString::to_string).collect();
    if all.len() > SHOWN {
        shown.push(format!("{} more", all.len() - SHOWN));
    }
    shown.join(", ")
}
