//! Group coordinators: one task for each partition of `__consumer_offsets`, which owns the groups that belong there.
//!
//! A coordinator is made on first use, and for every partition after a start, since time passes for members that do not
//! come back. It loads what the log holds, then serves. The topic is created when the first group needs it.

mod coordinator;
mod live;
mod load;
mod serve;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runnel_api::{CreateTopic, Error, ErrorKind, TopicKey};
use runnel_group::{Effect, Now, Reply, Request, Shard, Token, Weight, partition_of};
use runnel_record::TopicPartition;
use tokio::sync::{mpsc, oneshot};

use crate::Broker;
use crate::options::GroupOptions;
use crate::topics::{OFFSETS_TOPIC, Topic};
use coordinator::Coordinator;

/// Requests that may wait in front of one coordinator.
const MAILBOX: usize = 1024;

/// How long a request waits for a coordinator that loads, or for a log that takes nothing; Kafka's
/// `offsets.commit.timeout.ms`.
const PATIENCE: Duration = Duration::from_secs(5);

/// Coordinators that load at once.
const LOAD_AT_ONCE: usize = 8;

/// A request on its way to a coordinator.
struct Asked {
    request: Request,
    reply: oneshot::Sender<Result<Reply, Error>>,
}

/// The coordinators that were made.
pub(crate) struct Coordinators {
    options: GroupOptions,
    made: Mutex<BTreeMap<TopicPartition, mpsc::Sender<Asked>>>,
    loading: tokio::sync::Semaphore,
    /// What the groups of all take.
    weight: Mutex<Weight>,
}

impl Coordinators {
    pub(crate) fn new(options: GroupOptions) -> Self {
        let loading = tokio::sync::Semaphore::new(LOAD_AT_ONCE);
        Self { options, made: Mutex::default(), loading, weight: Mutex::default() }
    }

    /// The partition is led elsewhere from now on: so are its groups.
    pub(crate) fn end(&self, tp: TopicPartition) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).remove(&tp);
    }

    /// A coordinator's groups take `now` in place of `before`; what those of the others take.
    fn replace_weight(&self, before: Weight, now: Weight) -> Weight {
        let mut all = self.weight.lock().unwrap_or_else(PoisonError::into_inner);
        let others = all.minus(before);
        *all = others.plus(now);
        others
    }
}

impl Broker {
    /// Asks the coordinator of `group`. Where there is no coordinator yet, `first` says whether the request makes one; else
    /// it is answered as by one that knows no group.
    async fn ask_group(&self, group: &str, request: Request, first: bool) -> Result<Reply, Error> {
        self.refuse_when_stopping()?;
        let Some(topic) = self.offsets_topic(first).await? else { return self.without_groups(request) };
        let partitions = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
        self.ask_coordinator(&topic, partition_of(group, partitions), request).await
    }

    async fn ask_coordinator(&self, topic: &Arc<Topic>, partition: i32, request: Request) -> Result<Reply, Error> {
        // Members wait for each other, and only they know how long.
        let patient = matches!(request, Request::Join(..) | Request::Sync(_));
        let (reply, answer) = oneshot::channel();
        if !self.leads(topic.tp(partition)) {
            return Err(gone());
        }
        let coordinator = self.coordinator(topic, partition).ok_or_else(gone)?;
        let answered = async {
            coordinator.send(Asked { request, reply }).await.map_err(|_| gone())?;
            let answer = answer.await.map_err(|_| gone())?;
            // One that may have been replaced knows nothing for certain, not even who is no member.
            self.check_lease()?;
            answer
        };
        if patient {
            return answered.await;
        }
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or_else(|_| Err(slow()))
    }

    /// The answer of a coordinator that knows no group.
    fn without_groups(&self, request: Request) -> Result<Reply, Error> {
        let now = Now { elapsed: Duration::ZERO, wall_ms: self.ports.clock.now_ms() };
        let mut effects = Vec::new();
        Shard::new(self.groups.options.coordinator.clone()).on(now, Token(0), request, &mut effects);
        match effects.pop() {
            Some(Effect::Reply { outcome, .. }) => Ok(outcome?),
            _ => Err(gone()),
        }
    }

    /// `__consumer_offsets`, made if `create` asks for it.
    pub(crate) async fn offsets_topic(&self, create: bool) -> Result<Option<Arc<Topic>>, Error> {
        let key = TopicKey::Name(OFFSETS_TOPIC.to_owned());
        if let Some(topic) = self.topics.find(&key) {
            return Ok(Some(topic));
        }
        if !create {
            return Ok(None);
        }
        let set = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        let wanted = CreateTopic {
            name: OFFSETS_TOPIC.to_owned(),
            partitions: Some(self.groups.options.offsets_partitions),
            replication_factor: None,
            assignments: Vec::new(),
            // What a coordinator knows does not age, whatever the default of topics is.
            configs: vec![set("cleanup.policy", "compact"), set("retention.ms", "-1"), set("retention.bytes", "-1")],
        };
        match self.create(&wanted, false).await {
            Ok(_) => {}
            Err(error) if error.kind == ErrorKind::TopicExists => {}
            Err(error) => return Err(error),
        }
        Ok(self.topics.find(&key))
    }

    /// The coordinator of a partition; `None` at the very end of the broker.
    fn coordinator(&self, topic: &Arc<Topic>, partition: i32) -> Option<mpsc::Sender<Asked>> {
        let mut made = self.groups.made.lock().unwrap_or_else(PoisonError::into_inner);
        let tp = topic.tp(partition);
        // One that had to end is made anew, from what is durable.
        if let Some(open) = made.get(&tp).filter(|sender| !sender.is_closed()) {
            return Some(open.clone());
        }
        let broker = self.me.upgrade()?;
        let (sender, mailbox) = mpsc::channel(MAILBOX);
        let options = self.groups.options.coordinator.clone();
        let coordinator = Coordinator::new(broker, Arc::clone(topic), partition, Shard::new(options));
        tokio::spawn(coordinator.run(mailbox));
        made.insert(tp, sender.clone());
        Some(sender)
    }

    /// Makes every coordinator, so that members that do not come back after a start are missed.
    pub(crate) fn start_coordinators(&self) {
        let Some(topic) = self.topics.find(&TopicKey::Name(OFFSETS_TOPIC.to_owned())) else { return };
        for partition in self.led_partitions(&topic) {
            self.coordinator(&topic, partition);
        }
    }

    /// Makes the coordinator of a partition that is led from here now.
    pub(crate) fn start_coordinator(&self, topic: &Arc<Topic>, partition: i32) {
        self.coordinator(topic, partition);
    }

    /// The partitions of a topic that are led from here.
    fn led_partitions(&self, topic: &Topic) -> Vec<i32> {
        topic.partition_numbers().filter(|partition| self.leads(topic.tp(*partition))).collect()
    }

    /// What was committed for a topic that is deleted must not be taken for its successor's.
    pub(crate) async fn forget_offsets_of(&self, deleted: &str) {
        let Ok(Some(topic)) = self.offsets_topic(false).await else { return };
        let forget = |partition| self.ask_coordinator(&topic, partition, Request::ForgetTopic(deleted.to_owned()));
        for outcome in futures::future::join_all(self.led_partitions(&topic).into_iter().map(forget)).await {
            if let Err(error) = outcome {
                tracing::warn!(topic = deleted, %error, "offsets committed for a deleted topic may be kept for longer");
            }
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::NotLeader, "the group coordinator is closed here: look for it again")
}

fn slow() -> Error {
    Error::new(ErrorKind::LeaderNotAvailable, "the group coordinator is loading, or its log takes nothing now: retry")
}
