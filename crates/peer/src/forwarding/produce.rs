//! Appends, each part to its leader. Not repeated: what failed may have been stored, and what came after it may be under
//! way. Producers know how to go on.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::future::join_all;
use runnel_api::error::Result;
use runnel_api::{
    ActiveProducer, Endpoint, Error, ErrorKind, Produce, ProduceRequest, ProducedPartition, ProducerIdentity, TopicKey,
};

use super::Forwarding;

#[async_trait]
impl Produce for Forwarding {
    async fn produce(&self, request: ProduceRequest) -> Vec<ProducedPartition> {
        let ProduceRequest { acks, timeout, partitions } = request;
        let mut by_leader: BTreeMap<Option<Endpoint>, (Vec<usize>, ProduceRequest)> = BTreeMap::new();
        let mut places: Vec<_> = Vec::with_capacity(partitions.len());
        for (at, part) in partitions.into_iter().enumerate() {
            places.push((part.topic.clone(), part.partition));
            let leader = self.leader(&part.topic, part.partition).await;
            let empty = || (Vec::new(), ProduceRequest { acks, timeout, partitions: Vec::new() });
            let (wanted, request) = by_leader.entry(leader).or_insert_with(empty);
            wanted.push(at);
            request.partitions.push(part);
        }
        // Polled in order, and begun when they are first polled, as with one broker.
        let asked = by_leader.into_iter().map(|(leader, (wanted, request))| {
            let peer = self.peer(leader.as_ref());
            async move { (wanted, peer.produce(request).await) }
        });
        let mut answers: Vec<Option<ProducedPartition>> = places.iter().map(|_| None).collect();
        for (wanted, produced) in join_all(asked).await {
            for (at, answer) in wanted.into_iter().zip(produced) {
                answers[at] = Some(answer);
            }
        }
        let answered = places.into_iter().zip(answers);
        answered.map(|((topic, partition), answer)| answer.unwrap_or_else(|| missing(topic, partition))).collect()
    }

    async fn init_producer_id(&self, current: Option<ProducerIdentity>) -> Result<ProducerIdentity> {
        self.local.init_producer_id(current).await
    }

    async fn active_producers(&self, topic: &TopicKey, partition: i32) -> Result<Vec<ActiveProducer>> {
        self.ask_leader(topic, partition, |peer| {
            let topic = topic.clone();
            Box::pin(async move { peer.active_producers(&topic, partition).await })
        })
        .await
    }
}

fn missing(topic: TopicKey, partition: i32) -> ProducedPartition {
    let error = Error::new(ErrorKind::Internal, "the leader gave no answer for this partition");
    ProducedPartition { topic, partition, outcome: Err(error) }
}
