//! CreateTopic, GetTopic, ListTopics, DeleteTopic.

use runnel_api::{Admin, Cluster, CreateTopic, TopicDescription, TopicKey};
use runnel_proto::admin::v1::{
    CreateTopicRequest, CreateTopicResponse, DeleteTopicRequest, DeleteTopicResponse, GetTopicRequest,
    GetTopicResponse, ListTopicsRequest, ListTopicsResponse, Partition, Topic,
};

use crate::door::Door;
use crate::error::Failure;
use crate::page;

/// Partitions that a request may name: each gets an answer, which is larger than its name.
const MAX_NAMED: usize = 2000;

pub(crate) async fn create(door: &Door, request: CreateTopicRequest) -> Result<CreateTopicResponse, Failure> {
    let replication_factor = request.replication_factor.map(i16::try_from).transpose();
    let mut configs: Vec<_> = request.configs.into_iter().map(|(name, value)| (name, Some(value))).collect();
    configs.sort();
    let wanted = CreateTopic {
        name: request.name.clone(),
        partitions: request.partitions,
        replication_factor: replication_factor.map_err(|_| Failure::invalid("replication_factor is out of range"))?,
        assignments: Vec::new(),
        configs,
    };
    Admin::create_topic(&*door.broker, wanted, request.validate_only).await?;
    if request.validate_only {
        let topic = Topic { name: request.name, ..Topic::default() };
        return Ok(CreateTopicResponse { topic: Some(topic) });
    }
    let topic = door.describe(&request.name, false).await?;
    Ok(CreateTopicResponse { topic: Some(topic_of(topic)) })
}

pub(crate) async fn get(door: &Door, request: GetTopicRequest) -> Result<GetTopicResponse, Failure> {
    let topic = door.describe(&request.name, false).await?;
    Ok(GetTopicResponse { topic: Some(topic_of(topic)) })
}

/// The token of a page is the name of the last topic before it.
pub(crate) async fn list(door: &Door, request: ListTopicsRequest) -> Result<ListTopicsResponse, Failure> {
    let size = page::size(request.page_size, page::MAX_PAGE)?;
    let all = Cluster::list_topics(&*door.broker).await;
    let rest = all.into_iter().filter(|topic| request.page_token.is_empty() || topic.name > request.page_token);
    let (topics, more) = page::fill(rest.map(topic_of), size);
    let last = topics.last().filter(|_| more);
    let next_page_token = last.map_or_else(String::new, |topic| topic.name.clone());
    Ok(ListTopicsResponse { topics, next_page_token })
}

pub(crate) async fn delete(door: &Door, request: DeleteTopicRequest) -> Result<DeleteTopicResponse, Failure> {
    let (_, id) = Admin::delete_topic(&*door.broker, &TopicKey::Name(request.name)).await?;
    Ok(DeleteTopicResponse { id: id.0.to_string() })
}

impl Door {
    /// A topic by name; with `auto_create` an absent one is created where the settings allow it.
    pub(crate) async fn describe(&self, name: &str, auto_create: bool) -> Result<TopicDescription, Failure> {
        let key = TopicKey::Name(name.to_owned());
        let found = Cluster::describe_topic(&*self.broker, &key, auto_create).await;
        found.map_err(|error| Failure::from(error).with("topic", name))
    }

    /// The partitions that a request means: those it names, or all of them.
    pub(crate) async fn partitions(&self, topic: &str, named: Vec<i32>) -> Result<Vec<i32>, Failure> {
        let known = self.describe(topic, false).await?;
        if named.is_empty() {
            return Ok(known.partitions.iter().map(|partition| partition.partition).collect());
        }
        if named.len() > MAX_NAMED {
            return Err(Failure::invalid(format!("a request names at most {MAX_NAMED} partitions; none means all")));
        }
        Ok(named)
    }
}

fn topic_of(topic: TopicDescription) -> Topic {
    let partitions = topic.partitions.into_iter().map(|partition| Partition {
        partition: partition.partition,
        leader: partition.leader,
        leader_epoch: partition.leader_epoch.0,
        replicas: partition.replicas,
        in_sync_replicas: partition.in_sync,
    });
    Topic { name: topic.name, id: topic.id.0.to_string(), internal: topic.internal, partitions: partitions.collect() }
}
