//! What requests have set on brokers, groups and clients: one register in the bucket, which is the truth, a copy in the
//! metadata store for a start without the bucket, and a copy in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use runnel_api::{ConfigChange, Error, ErrorKind};
use runnel_blob::{CasOutcome, Key};
use runnel_format::meta::ClusterSettings;
use runnel_group::GroupTimes;

use crate::Broker;
use crate::configs::{self, Defaults, Of};
use crate::error::{bucket_error, damaged, metadata_error};

/// Key of the copy in the metadata store.
pub(crate) const SETTINGS: &str = "settings";

/// Most bytes of all settings together: a register has limits.
const MOST_BYTES: usize = 200 << 10;

/// What is set on all brokers.
pub(crate) const ALL_BROKERS: &str = "broker/";

/// The entity of one broker.
pub(crate) fn broker_entity(node_id: i32) -> String {
    format!("{ALL_BROKERS}{node_id}")
}

const GROUPS: &str = "group/";

/// The entity of a group.
pub(crate) fn group_entity(group: &str) -> String {
    format!("{GROUPS}{group}")
}

/// The settings in memory.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    current: RwLock<Arc<ClusterSettings>>,
    /// Held while they are changed.
    changing: tokio::sync::Mutex<()>,
}

impl Settings {
    pub(crate) fn all(&self) -> Arc<ClusterSettings> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is set on an entity.
    pub(crate) fn of(&self, entity: &str) -> BTreeMap<String, String> {
        self.all().entities.get(entity).cloned().unwrap_or_default()
    }

    /// The times of the groups that have their own.
    pub(crate) fn times_of_groups(&self) -> BTreeMap<String, GroupTimes> {
        let times = |set: &BTreeMap<String, String>| GroupTimes {
            session: configs::group_time(set, "consumer.session.timeout.ms"),
            heartbeat: configs::group_time(set, "consumer.heartbeat.interval.ms"),
        };
        let all = self.all();
        let groups = all.entities.iter().filter_map(|(entity, set)| Some((entity.strip_prefix(GROUPS)?, set)));
        groups.map(|(group, set)| (group.to_owned(), times(set))).collect()
    }

    /// The groups that something is set on.
    pub(crate) fn groups(&self) -> Vec<String> {
        self.all().entities.keys().filter_map(|entity| entity.strip_prefix(GROUPS)).map(str::to_owned).collect()
    }
}

impl Broker {
    /// Takes the copy of the metadata store.
    pub(crate) async fn load_settings(&self) -> Result<(), Error> {
        let found = self.meta.get(SETTINGS).await.map_err(|e| metadata_error(&e))?;
        if let Some(found) = found {
            self.show_settings(ClusterSettings::decode(&found.value).map_err(|e| damaged(&e))?).await;
        }
        Ok(())
    }

    /// Takes over what another broker has set.
    pub(crate) async fn follow_settings(&self) {
        let _changing = self.settings.changing.lock().await;
        if let Err(error) = self.load_settings().await {
            tracing::warn!(%error, "settings that another broker made are not in force here yet");
        }
    }

    /// Takes over what the bucket has. Nothing is concluded from an absence.
    pub(crate) async fn reconcile_settings(&self) -> Result<(), Error> {
        let _changing = self.settings.changing.lock().await;
        self.copy_settings().await
    }

    /// Changes what is set on one entity: bucket first, then metadata store, then memory.
    pub(crate) async fn change_settings(
        &self,
        entity: &str,
        change: impl Fn(BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Error>,
        validate_only: bool,
    ) -> Result<(), Error> {
        let _changing = self.settings.changing.lock().await;
        change(self.settings.of(entity))?;
        if validate_only {
            return Ok(());
        }
        let mut found = self.bucket.read_register(&Key::Settings).await.map_err(|e| bucket_error(&e))?;
        loop {
            let stored = found.as_ref().map(|found| ClusterSettings::decode(&found.payload)).transpose();
            let mut settings = stored.map_err(|e| damaged(&e))?.unwrap_or_default();
            let set = change(settings.entities.remove(entity).unwrap_or_default())?;
            if !set.is_empty() {
                settings.entities.insert(entity.to_owned(), set);
            }
            let encoded = settings.encode();
            if encoded.len() > MOST_BYTES {
                let why = format!("settings of brokers and groups and quotas take at most {MOST_BYTES} bytes together");
                return Err(Error::new(ErrorKind::InvalidRequest, why));
            }
            let outcome = match &found {
                None => self.bucket.create_register(&Key::Settings, encoded).await,
                Some(found) => self.bucket.replace_register(&Key::Settings, &found.version, encoded).await,
            };
            match outcome.map_err(|e| bucket_error(&e))? {
                CasOutcome::Done(_) => {
                    self.pass("settings.changed")?;
                    return self.copy_settings().await;
                }
                CasOutcome::Conflict(now) => found = now,
            }
        }
    }

    /// Applies changes of configs to one entity.
    pub(crate) async fn alter_entity(
        &self,
        of: Of,
        entity: &str,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<(), Error> {
        self.change_settings(entity, |set| configs::apply(of, &set, changes), validate_only).await
    }

    /// Brings the metadata store's copy, and what is in force here, to what the bucket has. The last copy is of the last
    /// change, as with topics.
    async fn copy_settings(&self) -> Result<(), Error> {
        loop {
            let copy = self.meta.get(SETTINGS).await.map_err(|e| metadata_error(&e))?;
            let found = self.bucket.read_register(&Key::Settings).await.map_err(|e| bucket_error(&e))?;
            let Some(found) = found else { return Ok(()) };
            let settings = ClusterSettings::decode(&found.payload).map_err(|e| damaged(&e))?;
            if self.replace_copy(SETTINGS, copy, settings.encode()).await?.is_some() {
                self.show_settings(settings).await;
                return Ok(());
            }
        }
    }

    async fn show_settings(&self, settings: ClusterSettings) {
        *self.settings.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        let own = self.settings.of(&broker_entity(self.home.node_id));
        let defaults = Defaults::new(&self.options).with_brokers(own, self.settings.of(ALL_BROKERS));
        self.topics.set_defaults(defaults).await;
    }
}
