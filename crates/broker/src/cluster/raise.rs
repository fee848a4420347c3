//! Raising the level of a cluster: from then on its brokers write layouts that releases from before cannot read.
//!
//! The bucket is told first, so that a restore knows; then the metadata store, by which the brokers hear of it. Whoever
//! starts in between completes it ([`super::join`]).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use runnel_api::{Error, ErrorKind, Upgrade};
use runnel_blob::{CasOutcome, Key};
use runnel_format::Levels;
use runnel_format::meta::ClusterRecord;
use runnel_metastore::{Compare, Op};
use runnel_plan::{Raise, raise};

use super::join::CLUSTER;
use super::view::{BUILD, LIVE, View};
use crate::Broker;
use crate::error::{damaged, metadata_error};
use crate::home;

impl Broker {
    /// Raises the level to the highest that all live brokers support, or says what that would be.
    pub(super) async fn raise_level(&self, dry_run: bool) -> Result<Upgrade, Error> {
        let found = home::read_cluster(&self.bucket).await.map_err(|error| storage(&error.to_string()))?;
        let (record, version) = found.ok_or_else(|| storage("the bucket has lost the record of its cluster"))?;
        if self.member.as_ref().is_some_and(|member| member.era != record.era) {
            return Err(storage("the cluster was restored without this broker"));
        }
        let from = record.level;
        let Raise { to, held_back_by } = raise(from, &self.levels_of_all().await?);
        if dry_run {
            return Ok(Upgrade { from, to, held_back_by });
        }
        if to > from {
            let raised = ClusterRecord { level: to, ..record };
            let outcome = self.bucket.replace_register(&Key::ClusterId, &version, raised.encode()).await;
            match outcome.map_err(|error| storage(&error.to_string()))? {
                CasOutcome::Done(_) => tracing::info!(from, to, "the level of the cluster was raised"),
                CasOutcome::Conflict(_) => return Err(storage("the cluster record changed at this moment: try again")),
            }
        }
        self.pass("level.raised_in_bucket")?;
        self.tell_store(to).await?;
        Ok(Upgrade { from, to, held_back_by })
    }

    /// Also for whoever raised it before and got no further.
    async fn tell_store(&self, level: u32) -> Result<(), Error> {
        if self.is_alone() {
            self.note_level(level);
            return Ok(());
        }
        loop {
            let found = self.meta.get(CLUSTER).await.map_err(|e| metadata_error(&e))?;
            let Some(found) = found else { return Err(storage("the metadata store has lost the cluster record")) };
            let record = ClusterRecord::decode(&found.value).map_err(|e| damaged(&e))?;
            if record.level >= level {
                return Ok(());
            }
            let put = Op::Put(CLUSTER.to_owned(), ClusterRecord { level, ..record }.encode(), None);
            let unchanged = Compare::Revision(CLUSTER.to_owned(), found.revision);
            let outcome = self.meta.txn(vec![unchanged], vec![put]).await.map_err(|e| metadata_error(&e))?;
            if outcome.is_committed() {
                return Ok(());
            }
        }
    }

    /// What the brokers support that are alive at this moment, by what the store says now.
    async fn levels_of_all(&self) -> Result<BTreeMap<i32, Levels>, Error> {
        if self.is_alone() {
            return Ok([(self.home.node_id, Levels::SUPPORTED)].into());
        }
        let mut view = View::default();
        for prefix in [LIVE, BUILD] {
            for (key, found) in self.meta.range(prefix).await.map_err(|e| metadata_error(&e))? {
                view.apply(&key, Some(&found)).map_err(|e| damaged(&e))?;
            }
        }
        Ok(view.levels())
    }

    /// Notes the level that the bucket of a single node shows.
    pub(crate) fn note_level(&self, level: u32) {
        self.level.store(level, Ordering::Release);
    }

    /// The level of a single node, once its bucket has answered.
    pub(super) fn noted_level(&self) -> Option<u32> {
        Some(self.level.load(Ordering::Acquire)).filter(|level| *level > 0)
    }
}

fn storage(why: &str) -> Error {
    Error::new(ErrorKind::StorageError, why)
}
