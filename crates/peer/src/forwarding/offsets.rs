//! Questions about offsets: the leader knows.

use async_trait::async_trait;
use runnel_api::error::Result;
use runnel_api::{EpochEnd, Isolation, ListedOffset, OffsetSpec, Offsets, Standing, TopicKey};
use runnel_record::LeaderEpoch;

use super::Forwarding;

#[async_trait]
impl Offsets for Forwarding {
    async fn list_offset(
        &self,
        topic: &TopicKey,
        partition: i32,
        spec: OffsetSpec,
        isolation: Isolation,
        epoch: Option<LeaderEpoch>,
    ) -> Result<Option<ListedOffset>> {
        self.ask_leader(topic, partition, |peer| {
            let topic = topic.clone();
            Box::pin(async move { peer.list_offset(&topic, partition, spec, isolation, epoch).await })
        })
        .await
    }

    async fn epoch_end(
        &self,
        topic: &TopicKey,
        partition: i32,
        epoch: LeaderEpoch,
        current: Option<LeaderEpoch>,
    ) -> Result<Option<EpochEnd>> {
        self.ask_leader(topic, partition, |peer| {
            let topic = topic.clone();
            Box::pin(async move { peer.epoch_end(&topic, partition, epoch, current).await })
        })
        .await
    }

    async fn standing(&self, topic: &TopicKey, partition: i32, epoch: LeaderEpoch) -> Result<Standing> {
        self.ask_leader(topic, partition, |peer| {
            let topic = topic.clone();
            Box::pin(async move { peer.standing(&topic, partition, epoch).await })
        })
        .await
    }
}
