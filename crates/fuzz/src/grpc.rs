//! The gRPC port: calls that a connection may carry at the same time, against a broker in memory.
//!
//! The input is a sequence of messages. In front of each stand a byte that names the method (its upper bit: one more message
//! of the call before) and a length of two bytes that is never wrong, so that what is changed, repeated or cut are the
//! messages and their order.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prost::Message;
use runnel_grpc::Options;
use runnel_grpc::fuzz::{Call, converse, methods};
use runnel_proto::admin::v1::{
    self as admin, CreateTopicRequest, GetTopicRequest, ResetOffsetsRequest, TopicPartitions, TrimTopicRequest,
};
use runnel_proto::consume::v1::{
    FetchRequest, GroupSessionRequest, ListOffsetsRequest, Position, ReadCredit, ReadRange, ReadSessionRequest,
    group_session_request as group, position, read_session_request as read,
};
use runnel_proto::produce::v1::{
    AppendBatch, AppendSessionRequest, InitProducerRequest, ProduceRequest, ProducerIdentity, ProducerSequence,
    append_session_request as append,
};
use runnel_proto::record::v1::Record;
use runnel_runtime::ManualClock;
use runnel_testkit::MemoryBroker;
use tonic::Code;

use crate::panics::Panics;

/// Numbers of methods, in the order of [`methods`].
const PRODUCE: u8 = 0;
const APPEND_SESSION: u8 = 1;
const READ_SESSION: u8 = 5;
const GROUP_SESSION: u8 = 6;

/// One more message of the call before.
const MORE: u8 = 0x80;

/// A client that waits longer than this, by the broker's clock, gives up. Sessions may go on for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// The broker's time.
const NOW: i64 = 1_700_000_000_000;

pub(crate) fn calls(input: &[u8]) {
    let panics = Panics::watch();
    let ended = converse_with_memory(input);
    panics.check();
    for code in ended.into_iter().flatten() {
        assert_ne!(code, Code::Unknown, "a call ended without a status");
    }
}

/// The status of each call that ended.
fn converse_with_memory(input: &[u8]) -> Vec<Option<Code>> {
    // Sessions and long polls wait for nobody: where everything sleeps, the clock jumps.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let options = Options {
        max_message_bytes: 1 << 20,
        max_inflight_bytes_per_connection: 2 << 20,
        max_inflight_bytes: 4 << 20,
        ..Options::default()
    };
    let ended = runtime.expect("a runtime").block_on(async {
        let broker: Arc<dyn runnel_api::Broker> = MemoryBroker::with_topic("t", 2);
        converse(broker, Arc::new(ManualClock::new(NOW)), options, decoded(input), PATIENCE).await
    });
    ended.expect("settings that can work")
}

fn decoded(mut left: &[u8]) -> Vec<Call> {
    let methods: Vec<_> = methods().collect();
    let mut calls: Vec<(&'static str, BytesMut)> = Vec::new();
    while let Some(([method, low, high], rest)) = left.split_first_chunk() {
        let (message, rest) = rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
        left = rest;
        if method & MORE == 0 || calls.is_empty() {
            calls.push((methods[usize::from(method & !MORE) % methods.len()], BytesMut::new()));
        }
        let Some((_, body)) = calls.last_mut() else { continue };
        body.extend_from_slice(&[0]);
        body.extend_from_slice(&u32::try_from(message.len()).expect("two bytes").to_be_bytes());
        body.extend_from_slice(message);
    }
    calls.into_iter().map(|(path, body)| Call { path, body: body.freeze() }).collect()
}

/// A call of one method with these messages.
fn call(method: u8, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, message) in messages.iter().enumerate() {
        bytes.push(if number == 0 { method } else { method | MORE });
        bytes.extend_from_slice(&u16::try_from(message.len()).expect("a short message").to_le_bytes());
        bytes.extend_from_slice(message);
    }
    bytes
}

fn position(position: position::Position) -> Option<Position> {
    Some(Position { position: Some(position) })
}

fn earliest() -> Option<Position> {
    position(position::Position::Earliest(position::Earliest {}))
}

fn batch(sequence: Option<i32>) -> AppendBatch {
    let producer = Some(ProducerIdentity { id: 1, epoch: 0 });
    let record =
        Record { key: Some(Bytes::from_static(b"k")), value: Some(Bytes::from_static(b"v")), ..Record::default() };
    AppendBatch {
        topic: "t".to_owned(),
        partition: Some(0),
        records: vec![record; 3],
        sequence: sequence.map(|base_sequence| ProducerSequence { producer, base_sequence }),
        ..AppendBatch::default()
    }
}

fn append_session() -> Vec<u8> {
    let open = append::Message::Open(append::Open { idempotent: true, ..append::Open::default() });
    let messages = [open, append::Message::Batch(batch(None)), append::Message::Batch(batch(None))];
    call(APPEND_SESSION, &messages.map(|message| AppendSessionRequest { message: Some(message) }.encode_to_vec()))
}

fn read_session() -> Vec<u8> {
    let range = ReadRange {
        topic: "t".to_owned(),
        start: earliest(),
        stop: position(position::Position::Offset(3)),
        ..ReadRange::default()
    };
    let credit = ReadCredit { records: 2, bytes: 1 << 20 };
    let open = read::Open { ranges: vec![range], credit: Some(credit), ..read::Open::default() };
    let messages = [read::Message::Open(open), read::Message::Credit(credit)];
    call(READ_SESSION, &messages.map(|message| ReadSessionRequest { message: Some(message) }.encode_to_vec()))
}

fn group_session(last: Option<group::Message>) -> Vec<u8> {
    let open = group::Open {
        group: "g".to_owned(),
        topics: vec!["t".to_owned()],
        start: earliest(),
        credit: Some(ReadCredit { records: 10, bytes: 1 << 20 }),
        ..group::Open::default()
    };
    let offset = group::commit::Offset { topic: "t".to_owned(), offset: 1, ..group::commit::Offset::default() };
    let messages = [group::Message::Open(open), group::Message::Commit(group::Commit { offsets: vec![offset] })];
    let encoded = |message| GroupSessionRequest { message: Some(message) }.encode_to_vec();
    call(GROUP_SESSION, &messages.into_iter().chain(last).map(encoded).collect::<Vec<_>>())
}

/// Each kind of session, each method with an empty message, and an hour in the life of an application.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (topic, group) = ("t".to_owned(), "g".to_owned());
    let produce = ProduceRequest { batch: Some(batch(Some(0))), ..ProduceRequest::default() };
    let fetch =
        FetchRequest { topic: topic.clone(), start: earliest(), max_wait_ms: Some(100), ..FetchRequest::default() };
    let offsets = ListOffsetsRequest {
        topic: topic.clone(),
        position: position(position::Position::Latest(position::Latest {})),
        ..ListOffsetsRequest::default()
    };
    let create = CreateTopicRequest { name: "new".to_owned(), partitions: Some(3), ..CreateTopicRequest::default() };
    let get = GetTopicRequest { name: topic.clone() };
    let trim = TrimTopicRequest { name: topic.clone(), before_offset: Some(1), ..TrimTopicRequest::default() };
    let reset = ResetOffsetsRequest {
        group: group.clone(),
        topics: vec![TopicPartitions { topic, partitions: vec![0] }],
        to: Some(admin::reset_offsets_request::To::ShiftBy(-1)),
        ..ResetOffsetsRequest::default()
    };
    let life = [
        call(2, &[InitProducerRequest::default().encode_to_vec()]),
        call(PRODUCE, &[produce.encode_to_vec()]),
        call(3, &[fetch.encode_to_vec()]),
        call(4, &[offsets.encode_to_vec()]),
        call(7, &[create.encode_to_vec()]),
        call(8, &[get.encode_to_vec()]),
        call(11, &[trim.encode_to_vec()]),
        call(17, &[reset.encode_to_vec()]),
        call(15, &[admin::DescribeGroupRequest { group, ..Default::default() }.encode_to_vec()]),
    ]
    .concat();
    let empty = (0..).zip(methods()).flat_map(|(method, _)| call(method, &[Vec::new()])).collect();
    let released = group_session(Some(group::Message::Released(group::Released { revocation: 1 })));
    let all = [append_session(), read_session(), group_session(None), released.clone(), life.clone()].concat();
    vec![append_session(), read_session(), group_session(None), released, life, empty, all]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is mutated would not get far otherwise.
    #[test]
    fn the_seeds_are_understood() {
        assert_eq!(converse_with_memory(&append_session()), [Some(Code::Ok)]);
        assert_eq!(converse_with_memory(&read_session()), [None], "it waits for records");
        assert_eq!(converse_with_memory(&group_session(None)), [Some(Code::Ok)], "it leaves with its client");
        let [.., life, _empty, _all] = &seeds()[..] else { panic!("no seeds") };
        let ended = converse_with_memory(life);
        let understood = ended.iter().filter(|code| **code == Some(Code::Ok)).count();
        assert_eq!((ended.len(), understood), (9, 7), "there is no group to reset or to describe: {ended:?}");
    }
}
