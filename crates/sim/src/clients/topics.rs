//! A topic that comes and goes. Each incarnation is a log of its own, and shows nothing of those before.

use std::collections::BTreeSet;
use std::time::Duration;

use runnel_api::{Admin as _, Cluster as _, CreateTopic, Error, ErrorKind, TopicKey};
use runnel_record::TopicId;
use runnel_runtime::simulation::Chance;

use super::producer::Producer;
use super::{AGAIN, Log, Shared, audit};
use crate::kinds::Operation;
use crate::told::Place;

const NAME: &str = "topics";

/// The topic's name, in all its lives.
const TOPIC: &str = "fleeting";

/// Creates the topic, uses it, and deletes it, again and again until the run ends.
pub(crate) async fn come_and_go(shared: Shared, mut chance: Chance) {
    let Some(mut producer) = Producer::new(&shared, NAME.to_owned(), 5, Chance::new(chance.next())).await else {
        return;
    };
    let mut gone = BTreeSet::new();
    for life in 0.. {
        if shared.is_ending() {
            return;
        }
        let Some(id) = create(&shared, &gone, &mut chance).await else { return };
        let place = Place { topic: format!("{TOPIC}-{life}"), partition: 0 };
        shared.trace.note(NAME, format_args!("{} is {id:?}", place.topic));
        let log = Log { key: TopicKey::Id(id), place };
        for _ in 0..chance.below(6) {
            if producer.send(&log).await.is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(chance.below(200))).await;
        }
        audit(shared.clone(), format!("{NAME}-{life}"), log, Chance::new(chance.next())).await;
        delete(&shared, id, &mut chance).await;
        gone.insert(id);
    }
}

/// Makes the topic, which its last life may still be in the way of: an answer that got lost. `None` if something is wrong.
async fn create(shared: &Shared, gone: &BTreeSet<TopicId>, chance: &mut Chance) -> Option<TopicId> {
    while shared.verdict().is_none() {
        let found = match try_create(shared, chance).await {
            Some(Err(error)) if error.kind == ErrorKind::TopicExists => existing(shared, chance).await,
            other => other,
        };
        match found {
            Some(Ok(id)) if gone.contains(&id) => delete(shared, id, chance).await,
            Some(Ok(id)) => return Some(id),
            Some(Err(error)) if !shared.may_retry(NAME, &error) => return None,
            Some(Err(_)) | None => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
    None
}

async fn try_create(shared: &Shared, chance: &mut Chance) -> Option<Result<TopicId, Error>> {
    let set = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    let wanted = CreateTopic {
        name: TOPIC.to_owned(),
        partitions: Some(1),
        replication_factor: None,
        assignments: Vec::new(),
        configs: vec![set("file.delete.delay.ms", "100")],
    };
    let at = shared.directory.any(chance)?;
    shared.trace.count(Operation::Admin);
    let created = shared.directory.ask(at, |broker| async move { broker.create_topic(wanted, false).await });
    Some(created.await?.map(|created| created.id))
}

async fn existing(shared: &Shared, chance: &mut Chance) -> Option<Result<TopicId, Error>> {
    let (at, key) = (shared.directory.any(chance)?, TopicKey::Name(TOPIC.to_owned()));
    shared.trace.count(Operation::Metadata);
    let found = shared.directory.ask(at, |broker| async move { broker.describe_topic(&key, false).await });
    Some(found.await?.map(|found| found.id))
}

/// Deletes an incarnation, unless nobody knows it.
async fn delete(shared: &Shared, id: TopicId, chance: &mut Chance) {
    while shared.verdict().is_none() {
        if let Some(at) = shared.directory.any(chance) {
            let key = TopicKey::Id(id);
            shared.trace.count(Operation::Admin);
            let deleted = shared.directory.ask(at, |broker| async move { broker.delete_topic(&key).await });
            match deleted.await {
                Some(Ok(_)) => return,
                Some(Err(error)) if matches!(error.kind, ErrorKind::UnknownTopic | ErrorKind::UnknownTopicId) => return,
                Some(Err(error)) if !shared.may_retry(NAME, &error) => return,
                Some(Err(_)) | None => {}
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
