//! The cluster as the metadata store shows it: brokers, sessions, partitions. Pure.
//!
//! Every broker follows all keys, so that it can tell clients who leads what, and become the controller at any time.

use std::collections::{BTreeMap, BTreeSet};

use runnel_api::{Build, ClusterStatus, Endpoint, Node, Session, SessionState};
use runnel_format::meta::{
    self, BrokerRecord, BuildRecord, ClusterRecord, ControllerRecord, HostPort, PartitionRecord, SessionRecord,
};
use runnel_format::{Error, Levels};
use runnel_metastore::Versioned;
use runnel_record::{TopicId, TopicPartition};
use uuid::Uuid;

use super::join::CLUSTER;
use super::write_off;
use crate::open::partition_of;
use crate::sessions;
use crate::topics::{TOPIC_PREFIX, created_of};

/// Prefix of the keys of brokers that are alive.
pub(crate) const LIVE: &str = "live/";

/// Prefix of the keys that say what brokers were built from.
pub(crate) const BUILD: &str = "build/";

const DRAIN: &str = "drain/";

/// Key of the controller.
pub(crate) const CONTROLLER: &str = "controller";

/// Key of a broker that is alive.
pub(crate) fn live_key(number: i32) -> String {
    format!("{LIVE}{number}")
}

/// Key of what a broker was built from.
pub(crate) fn build_key(number: i32) -> String {
    format!("{BUILD}{number}")
}

/// Key that is there while a broker is to lead nothing, whether it runs or not.
pub(crate) fn drain_key(number: i32) -> String {
    format!("{DRAIN}{number}")
}

/// A record and the revision that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) record: T,
    pub(crate) revision: u64,
}

/// What is known.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) brokers: BTreeMap<i32, At<BrokerRecord>>,
    /// As they say; one of an incarnation before is of no account.
    pub(crate) builds: BTreeMap<i32, At<BuildRecord>>,
    /// That of the cluster, of which a view from its first day on knows.
    pub(crate) level: Option<u32>,
    pub(crate) sessions: BTreeMap<u64, At<SessionRecord>>,
    pub(crate) partitions: BTreeMap<TopicPartition, At<PartitionRecord>>,
    /// With the revision that created it: its token.
    pub(crate) controller: Option<(ControllerRecord, u64)>,
    /// Numbers of brokers that an operator wants to lead nothing.
    pub(crate) drained: BTreeSet<i32>,
    /// Topics whose partitions are new where they have no record.
    pub(crate) created: BTreeSet<TopicId>,
}

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    Broker(i32),
    Build(i32),
    Level,
    Session(u64),
    Partition(TopicPartition),
    Controller,
    Topic(TopicId),
    Settings,
    /// Whether a broker is to lead nothing.
    Drain(i32),
    /// What of a disk was written off.
    WrittenOff(Uuid),
    /// Of no interest here.
    Other,
}

impl View {
    /// Takes over the value of a key, `None` for its deletion, and says what that was about. An older value than the one
    /// known changes nothing.
    pub(crate) fn apply(&mut self, key: &str, value: Option<&Versioned>) -> Result<Subject, Error> {
        let subject = subject(key);
        match &subject {
            Subject::Broker(number) => {
                put(&mut self.brokers, *number, value, BrokerRecord::decode)?;
            }
            Subject::Build(number) => put(&mut self.builds, *number, value, BuildRecord::decode)?,
            // That it is gone is the matter of a restore.
            Subject::Level => {
                let level = value.map(|found| ClusterRecord::level_of(&found.value)).transpose()?;
                self.level = level.or(self.level);
            }
            Subject::Session(session) => put(&mut self.sessions, *session, value, SessionRecord::decode)?,
            Subject::Partition(tp) => put(&mut self.partitions, *tp, value, PartitionRecord::decode)?,
            Subject::Controller => {
                let decode = |found: &Versioned| Ok((ControllerRecord::decode(&found.value)?, found.created));
                self.controller = value.map(decode).transpose()?;
            }
            Subject::Topic(_) | Subject::Settings | Subject::WrittenOff(_) => {}
            Subject::Drain(number) => {
                if value.is_some() {
                    self.drained.insert(*number)
                } else {
                    self.drained.remove(number)
                };
            }
            Subject::Other => {
                if let Some(topic) = created_of(key) {
                    if value.is_some() {
                        self.created.insert(topic)
                    } else {
                        self.created.remove(&topic)
                    };
                }
            }
        }
        Ok(subject)
    }

    /// The broker that leads a partition, if it is alive, and whether it serves already.
    pub(crate) fn leader(&self, tp: TopicPartition) -> Option<(i32, &BrokerRecord, bool)> {
        let leader = self.partitions.get(&tp)?.record.leader?;
        let (number, broker) = self.broker_of(leader.session).filter(|(_, broker)| is_reached(broker))?;
        Some((number, broker, leader.is_open))
    }

    /// The broker whose present incarnation is `session`.
    pub(crate) fn broker_of(&self, session: u64) -> Option<(i32, &BrokerRecord)> {
        let found = self.brokers.iter().find(|(_, at)| at.record.session == session);
        found.map(|(number, at)| (*number, &at.record))
    }

    /// Whether `session` leads a partition, as far as is known.
    pub(crate) fn is_led_by(&self, tp: TopicPartition, session: u64) -> bool {
        self.partitions.get(&tp).and_then(|at| at.record.leader).is_some_and(|leader| leader.session == session)
    }

    /// How many partitions a session leads.
    pub(crate) fn count_led_by(&self, session: u64) -> usize {
        let led = |at: &&At<PartitionRecord>| at.record.leader.is_some_and(|leader| leader.session == session);
        self.partitions.values().filter(led).count()
    }

    /// The token of a session's time as the controller, if it is that.
    pub(crate) fn token_of(&self, session: u64) -> Option<u64> {
        self.controller.filter(|(controller, _)| controller.session == session).map(|(_, token)| token)
    }

    /// The brokers that are alive and serve somebody, by number.
    pub(crate) fn reached(&self) -> impl Iterator<Item = i32> {
        self.brokers.iter().filter(|(_, at)| is_reached(&at.record)).map(|(number, _)| *number)
    }

    /// What a broker that is alive was built from, if it says so.
    pub(crate) fn build(&self, number: i32) -> Option<&BuildRecord> {
        let (at, broker) = (self.builds.get(&number)?, self.brokers.get(&number)?);
        (at.record.session == broker.record.session).then_some(&at.record)
    }

    /// The levels that each live broker supports.
    pub(crate) fn levels(&self) -> BTreeMap<i32, Levels> {
        let of = |number| self.build(number).map_or(Levels::UNTOLD, |build| build.levels);
        self.brokers.keys().map(|number| (*number, of(*number))).collect()
    }

    /// Whether a broker is to lead nothing.
    pub(crate) fn is_draining(&self, number: i32, broker: &BrokerRecord) -> bool {
        broker.is_draining || self.drained.contains(&number)
    }

    /// How the cluster is.
    pub(crate) fn status(&self) -> ClusterStatus {
        let number_of: BTreeMap<u64, i32> =
            self.brokers.iter().map(|(number, at)| (at.record.session, *number)).collect();
        let mut leads: BTreeMap<i32, usize> = self.brokers.keys().map(|number| (*number, 0)).collect();
        let mut leaderless = 0;
        for at in self.partitions.values() {
            let leader = at.record.leader.and_then(|leader| number_of.get(&leader.session));
            match leader.and_then(|number| leads.get_mut(number)) {
                Some(count) => *count += 1,
                None => leaderless += 1,
            }
        }
        let leaving = self.brokers.iter().filter(|(_, at)| at.record.is_draining).map(|(number, _)| *number);
        let draining = self.drained.iter().copied().chain(leaving).collect();
        let session = |(id, at): (&u64, &At<SessionRecord>)| Session {
            id: *id,
            node: at.record.node_name.clone(),
            state: match at.record.state {
                meta::SessionState::Active => SessionState::Active,
                meta::SessionState::Fencing => SessionState::Fencing,
                meta::SessionState::Sealed => SessionState::Sealed,
            },
            lanes: at.record.lanes.len(),
        };
        let version = |number| self.build(number).map(|build| build.version.clone());
        let build =
            |(number, Levels { lowest, highest })| (number, Build { version: version(number), lowest, highest });
        ClusterStatus {
            leads,
            draining,
            leaderless,
            sessions: self.sessions.iter().map(session).collect(),
            level: self.level,
            builds: self.levels().into_iter().map(build).collect(),
        }
    }

    /// Sessions that some partition's unshipped log may be with.
    pub(crate) fn needed_sessions(&self) -> BTreeSet<u64> {
        self.partitions.values().flat_map(|at| at.record.tail.iter().map(|part| part.session)).collect()
    }
}

/// Whether clients reach a broker: one that adopts a disk serves nobody.
pub(crate) fn is_reached(broker: &BrokerRecord) -> bool {
    broker.kafka.port != 0
}

/// A broker as clients see it.
pub(crate) fn node(number: i32, broker: &BrokerRecord) -> Node {
    let endpoint = |at: &HostPort| Some(Endpoint { host: at.host.clone(), port: at.port });
    let (kafka, grpc) = (endpoint(&broker.kafka), endpoint(&broker.grpc));
    Node { id: number, name: broker.name.clone(), zone: broker.zone.clone(), kafka, grpc }
}

fn put<K: Ord, T>(
    known: &mut BTreeMap<K, At<T>>,
    key: K,
    value: Option<&Versioned>,
    decode: fn(&[u8]) -> Result<T, Error>,
) -> Result<(), Error> {
    match value {
        None => drop(known.remove(&key)),
        Some(found) if known.get(&key).is_none_or(|at| at.revision < found.revision) => {
            known.insert(key, At { record: decode(&found.value)?, revision: found.revision });
        }
        Some(_) => {}
    }
    Ok(())
}

fn subject(key: &str) -> Subject {
    let live = || key.strip_prefix(LIVE)?.parse().ok().map(Subject::Broker);
    let build = || key.strip_prefix(BUILD)?.parse().ok().map(Subject::Build);
    let drain = || key.strip_prefix(DRAIN)?.parse().ok().map(Subject::Drain);
    let session = || sessions::session_of(key).map(Subject::Session);
    let partition = || partition_of(key).map(Subject::Partition);
    let written_off = || write_off::disk_of(key).map(Subject::WrittenOff);
    let topic = || key.strip_prefix(TOPIC_PREFIX)?.parse().ok().map(Subject::Topic);
    match key {
        CONTROLLER => Subject::Controller,
        CLUSTER => Subject::Level,
        crate::settings::SETTINGS => Subject::Settings,
        _ => live()
            .or_else(build)
            .or_else(drain)
            .or_else(session)
            .or_else(partition)
            .or_else(topic)
            .or_else(written_off)
            .unwrap_or(Subject::Other),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use runnel_format::meta::Leadership;
    use runnel_record::LeaderEpoch;
    use uuid::Uuid;

    use super::*;
    use crate::open::partition_key;
    use crate::topics::{created_key, topic_key};

    const TP: TopicPartition = TopicPartition { topic: TopicId(Uuid::from_u128(7)), partition: 3 };

    fn broker(session: u64) -> BrokerRecord {
        let at = HostPort { host: "h".to_owned(), port: 1 };
        BrokerRecord {
            session,
            disk_id: Uuid::from_u128(1),
            name: "a".to_owned(),
            zone: None,
            is_draining: false,
            kafka: at.clone(),
            grpc: at,
        }
    }

    fn led(session: u64) -> Bytes {
        let leader = Some(Leadership { session, is_open: true, move_to: None });
        let (epoch, never_shipped) = (LeaderEpoch(4), false);
        let (starts, last_root, tail) = (Vec::new(), None, Vec::new());
        PartitionRecord { epoch, leader, never_shipped, starts, last_root, tail }.encode()
    }

    fn at(value: Bytes, revision: u64) -> Versioned {
        Versioned { value, revision, created: 1 }
    }

    #[test]
    fn keys_are_told_apart() {
        assert_eq!(subject(&live_key(12)), Subject::Broker(12));
        assert_eq!(subject(&build_key(12)), Subject::Build(12));
        assert_eq!(subject(&drain_key(12)), Subject::Drain(12));
        assert_eq!(subject(&sessions::key(255)), Subject::Session(255));
        assert_eq!(subject(&partition_key(TP)), Subject::Partition(TP));
        assert_eq!(subject(&topic_key(TP.topic)), Subject::Topic(TP.topic));
        assert_eq!(subject("controller"), Subject::Controller);
        assert_eq!(subject("settings"), Subject::Settings);
        assert_eq!(subject("cluster"), Subject::Level);
        for other in ["live/x", "build/x", "s/zz", "p/a/b", "created/x"] {
            assert_eq!(subject(other), Subject::Other, "{other}");
        }
    }

    #[test]
    fn who_leads_follows_the_records_and_who_is_alive() {
        let mut view = View::default();
        view.apply(&partition_key(TP), Some(&at(led(9), 5))).unwrap();
        assert_eq!(view.leader(TP), None, "nobody says that it is alive");
        view.apply(&live_key(2), Some(&at(broker(9).encode(), 6))).unwrap();
        assert_eq!(view.leader(TP), Some((2, &broker(9), true)));
        assert!(view.is_led_by(TP, 9) && !view.is_led_by(TP, 8));
        view.apply(&live_key(2), Some(&at(broker(10).encode(), 7))).unwrap();
        assert_eq!(view.leader(TP), None, "another incarnation leads nothing");
        view.apply(&partition_key(TP), Some(&at(led(10), 8))).unwrap();
        view.apply(&partition_key(TP), Some(&at(led(9), 5))).unwrap();
        assert_eq!(view.count_led_by(10), 1, "an older record changes nothing");
        view.apply(&partition_key(TP), None).unwrap();
        assert_eq!(view.count_led_by(10), 0);
    }

    #[test]
    fn a_broker_supports_what_its_present_incarnation_says() {
        let (mut view, levels) = (View::default(), Levels { lowest: 2, highest: 4 });
        let build = BuildRecord { session: 9, version: "7.1".to_owned(), levels };
        view.apply(&build_key(2), Some(&at(build.encode(), 5))).unwrap();
        assert_eq!(view.levels(), BTreeMap::new(), "nobody says that it is alive");
        view.apply(&live_key(2), Some(&at(broker(9).encode(), 5))).unwrap();
        assert_eq!(view.levels(), [(2, levels)].into());
        let shown = Build { version: Some("7.1".to_owned()), lowest: 2, highest: 4 };
        assert_eq!(view.status().builds, [(2, shown)].into());
        // An older release takes the place of a newer one, whose lease goes on for a while.
        view.apply(&live_key(2), Some(&at(broker(10).encode(), 7))).unwrap();
        assert_eq!(view.levels(), [(2, Levels::UNTOLD)].into());
    }

    #[test]
    fn the_level_of_a_newer_release_is_seen() {
        let mut view = View::default();
        let record = |level| ClusterRecord { cluster_id: Uuid::from_u128(7), era: 0, level, session: None };
        for level in [1, 2, 99] {
            view.apply(CLUSTER, Some(&at(record(level).encode(), 5))).unwrap();
            assert_eq!(view.level, Some(level));
        }
        view.apply(CLUSTER, None).unwrap();
        assert_eq!(view.level, Some(99));
    }

    #[test]
    fn topics_that_were_made_here_are_known() {
        let mut view = View::default();
        let key = created_key(TP.topic);
        view.apply(&key, Some(&at(Bytes::new(), 1))).unwrap();
        assert!(view.created.contains(&TP.topic));
        view.apply(&key, None).unwrap();
        assert!(view.created.is_empty());
    }
}
