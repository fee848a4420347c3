//! Following the metadata store: what changed there is taken over here, in the order in which it happened.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use runnel_api::{Error, TopicKey};
use runnel_format::Levels;
use runnel_format::meta::{SessionState, TopicRecord};
use runnel_metastore::{Change, Event, Snapshot, Versioned};
use runnel_record::{TopicId, TopicPartition};

use super::view::{Subject, build_key, drain_key, live_key};
use crate::Broker;
use crate::error::{damaged, metadata_error};
use crate::open::partition_key;
use crate::sessions;
use crate::topics::{created_key, topic_key};

/// Pause before a watch that failed is begun again.
const AGAIN: Duration = Duration::from_millis(500);

impl Broker {
    /// Follows all keys from a revision on. Ends with the broker.
    pub(super) async fn follow(self: Arc<Self>, mut from: u64) {
        loop {
            let mut watch = self.meta.watch("", from);
            loop {
                let next = tokio::select! {
                    biased;
                    () = self.stop_signal.triggered() => return,
                    next = watch.next() => next,
                };
                match next {
                    Ok(changes) => self.take_in(changes.events).await,
                    Err(error) => {
                        // The store dropped its history, or was closed: what is there now is read as a whole.
                        tracing::warn!(%error, "lost track of the metadata store");
                        break;
                    }
                }
            }
            loop {
                tokio::select! {
                    biased;
                    () = self.stop_signal.triggered() => return,
                    () = tokio::time::sleep(AGAIN) => {}
                }
                match self.meta.snapshot("").await {
                    Ok(snapshot) => {
                        from = snapshot.revision + 1;
                        self.take_in(self.difference(snapshot)).await;
                        break;
                    }
                    Err(error) => tracing::warn!(%error, "cannot read the metadata store yet"),
                }
            }
        }
    }

    /// What leads from the view at hand to a snapshot.
    fn difference(&self, snapshot: Snapshot) -> Vec<Event> {
        let Some(member) = &self.member else { return Vec::new() };
        let known: Vec<String> = {
            let view = member.view();
            let brokers = view.brokers.keys().map(|number| live_key(*number));
            let builds = view.builds.keys().map(|number| build_key(*number));
            let sessions = view.sessions.keys().map(|session| sessions::key(*session));
            let partitions = view.partitions.keys().map(|tp| partition_key(*tp));
            let controller = view.controller.iter().map(|_| super::view::CONTROLLER.to_owned());
            let drained = view.drained.iter().map(|number| drain_key(*number));
            let created = view.created.iter().map(|topic| created_key(*topic));
            brokers
                .chain(builds)
                .chain(sessions)
                .chain(partitions)
                .chain(controller)
                .chain(drained)
                .chain(created)
                .collect()
        };
        let topics = self.topics.all().into_iter().map(|topic| topic_key(topic.id));
        let there: std::collections::BTreeSet<&str> = snapshot.entries.iter().map(|(key, _)| key.as_str()).collect();
        let gone = known.into_iter().chain(topics).filter(|key| !there.contains(key.as_str()));
        let gone: Vec<Event> = gone.map(|key| Event { key, change: Change::Deleted }).collect();
        let put = |(key, value): (String, Versioned)| Event { key, change: Change::Put(value) };
        gone.into_iter().chain(snapshot.entries.into_iter().map(put)).collect()
    }

    async fn take_in(self: &Arc<Self>, events: Vec<Event>) {
        let revision = |event: &Event| match &event.change {
            Change::Put(value) => Some(value.revision),
            Change::Deleted => None,
        };
        let upto = events.iter().filter_map(revision).max();
        for event in events {
            let value = match &event.change {
                Change::Put(value) => Some(value),
                Change::Deleted => None,
            };
            if let Err(error) = self.take_in_one(&event.key, value).await {
                tracing::error!(key = event.key, %error, "cannot take over a change of the metadata store");
            }
        }
        if let (Some(member), Some(upto)) = (&self.member, upto) {
            member.followed.fetch_max(upto, Ordering::AcqRel);
        }
        self.view_changed();
    }

    /// Takes over one key.
    pub(super) async fn take_in_one(self: &Arc<Self>, key: &str, value: Option<&Versioned>) -> Result<(), Error> {
        match self.note(key, value)? {
            Subject::Topic(topic) => self.follow_topic(topic, value).await,
            Subject::Partition(tp) => {
                self.follow_leader(tp);
                Ok(())
            }
            Subject::Settings => {
                // It waits for administrative work under way, which may wait for what comes after this.
                let broker = Arc::clone(self);
                tokio::spawn(async move { broker.follow_settings().await });
                Ok(())
            }
            Subject::Session(session) => {
                self.follow_session(session);
                Ok(())
            }
            Subject::WrittenOff(disk) => {
                if value.is_some() && disk == self.home.identity.disk_id {
                    // It came back at this moment: its log, which is open, must not show what is given up.
                    self.fail("the loss of this broker's disk was accepted".to_owned());
                }
                Ok(())
            }
            Subject::Level => {
                self.follow_level();
                Ok(())
            }
            Subject::Broker(_) | Subject::Build(_) | Subject::Drain(_) | Subject::Controller | Subject::Other => Ok(()),
        }
    }

    /// Takes over a key into the view: what this broker wrote itself need not come back to be known.
    pub(super) fn note(&self, key: &str, value: Option<&Versioned>) -> Result<Subject, Error> {
        let Some(member) = &self.member else { return Ok(Subject::Other) };
        member.view_mut().apply(key, value).map_err(|e| damaged(&e))
    }

    pub(super) fn view_changed(&self) {
        if let Some(member) = &self.member {
            member.changes.send_modify(|count| *count += 1);
        }
    }

    async fn follow_topic(self: &Arc<Self>, id: TopicId, value: Option<&Versioned>) -> Result<(), Error> {
        let Some(value) = value else {
            if self.topics.find(&TopicKey::Id(id)).is_some() {
                // That it is gone from the store proves nothing; its tombstone does.
                let broker = Arc::clone(self);
                tokio::spawn(async move { broker.look_for_tombstone(id).await });
            }
            return Ok(());
        };
        let record = TopicRecord::decode(&value.value).map_err(|e| damaged(&e))?;
        let (topic, is_new) = self.topics.learn(record.clone(), value.revision);
        if !is_new && topic.record() != record {
            self.topics.apply(&topic, record, value.revision).await;
        }
        // Its partitions may have been assigned before it was known here.
        for partition in topic.partition_numbers() {
            self.follow_leader(topic.tp(partition));
        }
        Ok(())
    }

    async fn look_for_tombstone(&self, id: TopicId) {
        loop {
            match self.is_tombstoned(id).await {
                Ok(true) => return self.forget_deleted(id).await,
                Ok(false) => {
                    return tracing::error!(%id, "a topic is gone from the metadata store and was not deleted");
                }
                Err(error) => tracing::warn!(%id, %error, "whether a topic was deleted is not known yet"),
            }
            tokio::select! {
                biased;
                () = self.stop_signal.triggered() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    /// Leaves a cluster that was raised above what this release supports.
    fn follow_level(&self) {
        let Some(member) = &self.member else { return };
        let level = member.view().level;
        if let Some(Err(misfit)) = level.map(|level| Levels::SUPPORTED.check(level)) {
            self.outgrown(misfit);
        }
    }

    fn follow_session(self: &Arc<Self>, session: u64) {
        let Some(member) = &self.member else { return };
        let state = member.view().sessions.get(&session).map(|at| at.record.state);
        match state {
            Some(SessionState::Active) => {}
            Some(_) if session == self.home.session && !member.is_ending() => {
                self.fail("the session of this broker was ended by another".to_owned());
            }
            Some(_) => {}
            // Nothing in its lanes is needed any more.
            None => {
                member.forget_gate(session);
                self.log.disinherit_session(session);
            }
        }
    }

    /// Every partition's leader as known now.
    pub(super) fn follow_leaders(self: &Arc<Self>) {
        let Some(member) = &self.member else { return };
        let partitions: Vec<TopicPartition> = member.view().partitions.keys().copied().collect();
        partitions.into_iter().for_each(|tp| self.follow_leader(tp));
    }

    /// Reads the record of a partition and takes it over.
    pub(super) async fn refresh(&self, tp: TopicPartition) -> Result<Option<Versioned>, Error> {
        let key = partition_key(tp);
        let found = self.meta.get(&key).await.map_err(|e| metadata_error(&e))?;
        self.note(&key, found.as_ref())?;
        Ok(found)
    }
}
