//! Questions about offsets: the leader knows.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::future::join_all;
use runnel_api::error::Result;
use runnel_api::{Endpoint, EpochEnd, Isolation, ListedOffset, OffsetSpec, Offsets, Standing, TopicKey};
use runnel_record::{LeaderEpoch, Offset};

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

    async fn ends(&self, partitions: &[(TopicKey, i32)]) -> Vec<Option<Offset>> {
        let mut by_leader: BTreeMap<Option<Endpoint>, Vec<usize>> = BTreeMap::new();
        for (place, (topic, partition)) in partitions.iter().enumerate() {
            by_leader.entry(self.leader(topic, *partition).await).or_default().push(place);
        }
        let asks = by_leader.into_iter().map(|(leader, places)| async move {
            let asked: Vec<_> = places.iter().map(|place| partitions[*place].clone()).collect();
            (places, self.peer(leader.as_ref()).ends(&asked).await)
        });
        let mut ends = vec![None; partitions.len()];
        for (places, told) in join_all(asks).await {
            places.into_iter().zip(told).for_each(|(place, end)| ends[place] = end);
        }
        ends
    }
}
