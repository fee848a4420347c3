//! Finding offsets, and reading from one position without a session.

use std::time::Duration;

use runnel_proto::consume::v1 as consume;
use runnel_proto::consume::v1::consumer_service_client::ConsumerServiceClient;

use crate::{Client, Error, Result};

/// The largest reply that is taken; the broker keeps to `max_bytes` but for a single record.
pub(crate) const MAX_MESSAGE: usize = 256 << 20;

impl Client {
    /// Where `position` lies in each of `partitions`, or in all of them if empty, by partition. Fails if one of them fails.
    pub async fn list_offsets(
        &self,
        topic: &str,
        partitions: Vec<i32>,
        position: consume::Position,
    ) -> Result<Vec<consume::list_offsets_response::PartitionOffset>> {
        let mut offsets = self.list_offsets_of_each(topic, partitions, position).await?;
        match offsets.iter_mut().find_map(|offset| offset.error.take()) {
            Some(error) => Err(Error::from(error)),
            None => Ok(offsets),
        }
    }

    /// As [`Client::list_offsets`]; what fails of a partition is in its answer.
    pub async fn list_offsets_of_each(
        &self,
        topic: &str,
        partitions: Vec<i32>,
        position: consume::Position,
    ) -> Result<Vec<consume::list_offsets_response::PartitionOffset>> {
        let request = consume::ListOffsetsRequest { topic: topic.to_owned(), partitions, position: Some(position) };
        let reply = self.call(|c| async { ConsumerServiceClient::new(c).list_offsets(request).await }).await?;
        let mut offsets = reply.offsets;
        offsets.sort_by_key(|offset| offset.partition);
        Ok(offsets)
    }

    /// Reads from one position once.
    pub async fn fetch(&self, request: consume::FetchRequest) -> Result<consume::FetchResponse> {
        let wait = Duration::from_millis(request.max_wait_ms.unwrap_or_default().into());
        let deadline = self.options().deadline + wait;
        let call =
            |c| async { ConsumerServiceClient::new(c).max_decoding_message_size(MAX_MESSAGE).fetch(request).await };
        self.call_within(deadline, call).await
    }
}
