//! What was read of several partitions.

use runnel_api::FetchedPartition;
use runnel_record::Batch;

/// Bytes of all batches.
pub(crate) fn bytes(answers: &[FetchedPartition]) -> usize {
    let read = answers.iter().filter_map(|answer| answer.outcome.as_ref().ok());
    read.flat_map(|read| &read.batches).map(Batch::len).sum()
}

/// Whether the client should hear of it at once.
pub(crate) fn is_urgent(answer: &FetchedPartition) -> bool {
    answer.outcome.as_ref().map_or(true, |read| read.diverging.is_some() || read.reader.is_some())
}
