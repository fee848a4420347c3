//! The steps of a restore. What each leaves behind, and in which order, is told in `restore.rs`.

use runnel_blob::CasOutcome;
use runnel_format::meta::ClusterRecord;
use runnel_metastore::{Compare, Op};
use runnel_record::TopicId;

use super::decide::{Decision, InStore, Start, decide};
use super::lanes::Lanes;
use super::{DISCARDING, Progress, RESTORING, Restore, RestoreError, Restored, Watcher, is_local, look};
use crate::cluster::CLUSTER;

/// Keys that one transaction deletes or writes.
pub(super) const KEYS_AT_ONCE: usize = 100;

/// How often what brokers of before still write to the store is deleted, before it is theirs to stop.
const SWEEPS: usize = 50;

impl Restore {
    /// Restores. Looks anew at everything that [`Restore::plan`] has looked at.
    ///
    /// # Errors
    /// Why it did not, or not to the end: then it is to be run again, and no broker starts before it is through.
    pub async fn run(&self, watch: Watcher<'_>) -> Result<Restored, RestoreError> {
        let (before, version) = look::cluster(&self.bucket).await?;
        let store = look::store(&*self.meta).await?;
        let decision = decide(&before, &store, self.discard)?;
        let next = decision.next.clone();
        // Before anything is changed in a bucket that would not keep its promises.
        self.bucket.probe().await?;
        let ours = self.begin(&decision, &store).await?;
        self.fail.hit("restore.begun")?;
        self.discard(&store, &decision, watch).await?;
        let raised = self.bucket.replace_register(&runnel_blob::Key::ClusterId, &version, next.encode()).await?;
        if !matches!(raised, CasOutcome::Done(_)) {
            return Err(RestoreError::Changed("cluster record in the bucket"));
        }
        self.fail.hit("restore.era_raised")?;
        let lanes = self.end_lanes(watch).await?;
        self.fail.hit("restore.lanes_ended")?;
        // Behind the cut: who has a record in a lane is in the bucket by now.
        let topics = look::topics(&self.bucket).await?;
        self.check_topics(&lanes, &topics.iter().map(|topic| topic.id).collect::<Vec<_>>()).await?;
        let (partitions, unshipped) = self.fence_roots(&next, &topics, &lanes, watch).await?;
        self.fail.hit("restore.roots_fenced")?;
        let count = partitions.len();
        let settings = look::settings(&self.bucket).await?;
        self.write(&ours, &lanes, partitions, &topics, settings, watch).await?;
        self.complete(ours, &next).await?;
        self.fail.hit("restore.completed")?;
        let defaults = self.defaults().await?;
        let local = topics.iter().filter(|topic| is_local(topic, &defaults));
        Ok(Restored {
            cluster_id: next.cluster_id,
            era: next.era,
            topics: topics.len(),
            partitions: count,
            lanes: lanes.sessions.values().map(Vec::len).sum(),
            unshipped,
            may_miss: local.flat_map(|topic| (0..topic.partitions).map(|n| (topic.name.clone(), n))).collect(),
        })
    }

    /// Says in the store that a restore has begun; returns what holds while nobody else has ended it.
    async fn begin(&self, decision: &Decision, store: &InStore) -> Result<Compare, RestoreError> {
        if decision.start != Start::GoOn {
            let mut then = vec![Op::Put(RESTORING.to_owned(), decision.next.encode(), None)];
            if decision.start == Start::Discard {
                // From here on no broker starts on what is there.
                then.push(Op::Put(DISCARDING.to_owned(), bytes::Bytes::new(), None));
                then.push(Op::Delete(CLUSTER.to_owned()));
            }
            // Whoever is still at it is refused from here on, and whoever was faster is not undone.
            if !self.meta.txn(store.unchanged.clone(), then).await?.is_committed() {
                return Err(RestoreError::Changed("metadata store"));
            }
        }
        let found = self.meta.get(RESTORING).await?.ok_or(RestoreError::Changed("metadata store"))?;
        if ClusterRecord::decode(&found.value)? != decision.next {
            return Err(RestoreError::Changed("metadata store"));
        }
        Ok(Compare::Revision(RESTORING.to_owned(), found.revision))
    }

    /// Deletes what the store held before. Brokers that are alive in it may still write a little.
    async fn discard(&self, store: &InStore, decision: &Decision, watch: Watcher<'_>) -> Result<(), RestoreError> {
        if decision.start != Start::Discard && !store.discarding {
            return Ok(());
        }
        let keeps = |key: &str| key == RESTORING || key == DISCARDING;
        for _ in 0..SWEEPS {
            let keys: Vec<String> = self.meta.range("").await?.into_iter().map(|(key, _)| key).collect();
            let (gone, total): (Vec<&String>, usize) = (keys.iter().filter(|key| !keeps(key)).collect(), keys.len());
            if gone.is_empty() {
                let delete = Op::Delete(DISCARDING.to_owned());
                self.meta.txn(vec![Compare::Absent(CLUSTER.to_owned())], vec![delete]).await?;
                self.fail.hit("restore.discarded")?;
                return Ok(());
            }
            for (at, some) in gone.chunks(KEYS_AT_ONCE).enumerate() {
                let deletes = some.iter().map(|key| Op::Delete((*key).clone())).collect();
                self.meta.txn(vec![Compare::Present(DISCARDING.to_owned())], deletes).await?;
                self.fail.hit("restore.discarding")?;
                watch(Progress { what: "deleting old metadata", done: at * KEYS_AT_ONCE + some.len(), total });
            }
        }
        Err(RestoreError::Changed("metadata store"))
    }

    /// Whatever a lane holds is of a topic that is known, or known to be deleted.
    async fn check_topics(&self, lanes: &Lanes, known: &[TopicId]) -> Result<(), RestoreError> {
        let mut missing: Vec<TopicId> = lanes.topics().into_iter().filter(|topic| !known.contains(topic)).collect();
        if !missing.is_empty() {
            let dead = look::tombstones(&self.bucket).await?;
            missing.retain(|topic| !dead.contains(topic));
        }
        if missing.is_empty() { Ok(()) } else { Err(RestoreError::TopicsMissing(missing)) }
    }

    /// The store holds the cluster.
    async fn complete(&self, ours: Compare, next: &ClusterRecord) -> Result<(), RestoreError> {
        let compare = vec![ours, Compare::Absent(CLUSTER.to_owned())];
        let then = vec![Op::Put(CLUSTER.to_owned(), next.encode(), None), Op::Delete(RESTORING.to_owned())];
        match self.meta.txn(compare, then).await?.is_committed() {
            true => Ok(()),
            false => Err(RestoreError::Changed("metadata store")),
        }
    }
}
