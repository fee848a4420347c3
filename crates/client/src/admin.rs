//! Topics, segments, the cluster: one method for each call.

use std::time::Duration;

use runnel_proto::admin::v1 as admin;
use runnel_proto::admin::v1::segment_service_client::SegmentServiceClient;
use runnel_proto::admin::v1::topic_service_client::TopicServiceClient;
use runnel_proto::cluster::v1 as cluster;
use runnel_proto::cluster::v1::cluster_service_client::ClusterServiceClient;

use crate::{Client, Error, ErrorKind, Result};

/// The broker's own default of how long calls that need the bucket wait for it.
const BUCKET_WAIT: Duration = Duration::from_secs(60);

impl Client {
    /// Creates a topic.
    pub async fn create_topic(&self, request: admin::CreateTopicRequest) -> Result<admin::Topic> {
        let reply = self.call(|c| async { TopicServiceClient::new(c).create_topic(request).await }).await?;
        reply.topic.ok_or_else(|| missing("the topic"))
    }

    /// Describes a topic.
    pub async fn topic(&self, name: &str) -> Result<admin::Topic> {
        let request = admin::GetTopicRequest { name: name.to_owned() };
        let reply = self.call(|c| async { TopicServiceClient::new(c).get_topic(request).await }).await?;
        reply.topic.ok_or_else(|| missing("the topic"))
    }

    /// Every topic, by name.
    pub async fn topics(&self) -> Result<Vec<admin::Topic>> {
        let mut topics = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = admin::ListTopicsRequest { page_size: 0, page_token };
            let page = self.call(|c| async { TopicServiceClient::new(c).list_topics(request).await }).await?;
            topics.extend(page.topics);
            if page.next_page_token.is_empty() {
                return Ok(topics);
            }
            page_token = page.next_page_token;
        }
    }

    /// Deletes a topic and returns the id of what it was.
    pub async fn delete_topic(&self, name: &str) -> Result<String> {
        let request = admin::DeleteTopicRequest { name: name.to_owned() };
        Ok(self.call(|c| async { TopicServiceClient::new(c).delete_topic(request).await }).await?.id)
    }

    /// Gives up the records of partitions below an offset.
    pub async fn trim_topic(&self, request: admin::TrimTopicRequest) -> Result<Vec<Trimmed>> {
        let wait = request.timeout_ms.map_or(BUCKET_WAIT, |ms| Duration::from_millis(ms.into()));
        let call = |c| async { TopicServiceClient::new(c).trim_topic(request).await };
        Ok(self.call_within(self.options().deadline + wait, call).await?.partitions)
    }

    /// The configuration of a topic.
    pub async fn topic_configs(&self, name: &str) -> Result<Vec<admin::ConfigEntry>> {
        let request = admin::GetTopicConfigsRequest { name: name.to_owned() };
        Ok(self.call(|c| async { TopicServiceClient::new(c).get_topic_configs(request).await }).await?.configs)
    }

    /// Changes the configuration of a topic: all changes or none.
    pub async fn update_topic_configs(&self, name: &str, changes: Vec<admin::ConfigChange>) -> Result<()> {
        let request = admin::UpdateTopicConfigsRequest { name: name.to_owned(), changes, validate_only: false };
        self.call(|c| async { TopicServiceClient::new(c).update_topic_configs(request).await }).await?;
        Ok(())
    }

    /// Closes the open segments of a topic, so that they ship now.
    pub async fn seal_segments(&self, request: admin::SealSegmentsRequest) -> Result<Vec<Sealed>> {
        let wait = request.timeout_ms.map_or(BUCKET_WAIT, |ms| Duration::from_millis(ms.into()));
        let deadline = self.options().deadline + if request.wait { wait } else { Duration::ZERO };
        let call = |c| async { SegmentServiceClient::new(c).seal_segments(request).await };
        Ok(self.call_within(deadline, call).await?.partitions)
    }

    /// Describes the cluster.
    pub async fn cluster(&self) -> Result<cluster::GetClusterResponse> {
        let request = cluster::GetClusterRequest {};
        self.call(|c| async { ClusterServiceClient::new(c).get_cluster(request).await }).await
    }

    /// Lets a broker lead nothing from now on, or ends that.
    pub async fn drain(&self, node_id: i32, undo: bool) -> Result<()> {
        let request = cluster::DrainBrokerRequest { node_id, undo };
        self.call(|c| async { ClusterServiceClient::new(c).drain_broker(request).await }).await?;
        Ok(())
    }

    /// Raises the level of formats to the highest that all live brokers support; with `dry_run` only says what that would be.
    pub async fn upgrade(&self, dry_run: bool) -> Result<cluster::UpgradeClusterResponse> {
        let request = cluster::UpgradeClusterRequest { dry_run };
        self.call(|c| async { ClusterServiceClient::new(c).upgrade_cluster(request).await }).await
    }

    /// Gives up what partitions of a topic have on disks that are gone for good; with `dry_run` only says what that would be.
    pub async fn accept_loss(&self, request: cluster::AcceptLossRequest) -> Result<Vec<Loss>> {
        let call = |c| async { ClusterServiceClient::new(c).accept_loss(request).await };
        Ok(self.call_within(self.options().deadline + BUCKET_WAIT, call).await?.losses)
    }

    /// Whether the broker that answers is able to work.
    pub async fn health(&self) -> Result<cluster::GetHealthResponse> {
        let request = cluster::GetHealthRequest {};
        self.call(|c| async { ClusterServiceClient::new(c).get_health(request).await }).await
    }
}

type Sealed = admin::seal_segments_response::SealedPartition;
type Loss = cluster::accept_loss_response::Loss;
type Trimmed = admin::trim_topic_response::TrimmedPartition;

/// A reply without what it is about.
fn missing(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("the broker's reply lacks {what}"))
}
