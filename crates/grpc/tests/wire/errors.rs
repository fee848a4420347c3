//! Every kind of failure as a status: code, reason, when to retry.

use std::time::Duration;

use runnel_api::ErrorKind;
use runnel_proto::admin::v1::{ConfigChange, CreateTopicRequest, ListTopicsRequest, UpdateTopicConfigsRequest};
use runnel_proto::consume::v1::{FetchRequest, ListOffsetsRequest, Position};
use runnel_proto::produce::v1::append_outcome::Outcome;
use runnel_proto::produce::v1::{AppendBatch, ProduceRequest, ProducerIdentity, ProducerSequence};
use runnel_proto::record::v1::Record;
use runnel_testkit::MemoryBroker;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{batch, quick, record, start};

/// Code, reason and retry of a status, and the facts beside them.
fn told(status: &Status) -> (Code, String, Option<Duration>) {
    let details = status.get_error_details();
    let info = details.error_info().expect("every status has ErrorInfo");
    assert_eq!(info.domain, "runnel");
    let retry = details.retry_info().and_then(|retry| retry.retry_delay);
    (status.code(), info.reason.clone(), retry)
}

fn fact(status: &Status, name: &str) -> String {
    let details = status.get_error_details();
    details.error_info().unwrap().metadata.get(name).cloned().unwrap_or_else(|| panic!("no `{name}` in {details:?}"))
}

const SOON: Option<Duration> = Some(Duration::from_millis(100));
const LATER: Option<Duration> = Some(Duration::from_secs(1));

/// As `docs/grpc.md` lists them.
const KINDS: &[(ErrorKind, Code, &str, Option<Duration>)] = &[
    (ErrorKind::UnknownTopic, Code::NotFound, "UNKNOWN_TOPIC", None),
    (ErrorKind::UnknownTopicId, Code::NotFound, "UNKNOWN_TOPIC_ID", None),
    (ErrorKind::UnknownPartition, Code::NotFound, "UNKNOWN_PARTITION", None),
    (ErrorKind::InvalidTopicName, Code::InvalidArgument, "INVALID_TOPIC_NAME", None),
    (ErrorKind::TopicExists, Code::AlreadyExists, "TOPIC_EXISTS", None),
    (ErrorKind::InvalidPartitions, Code::InvalidArgument, "INVALID_PARTITIONS", None),
    (ErrorKind::InvalidReplicationFactor, Code::InvalidArgument, "INVALID_REPLICATION_FACTOR", None),
    (ErrorKind::InvalidReplicaAssignment, Code::InvalidArgument, "INVALID_REPLICA_ASSIGNMENT", None),
    (ErrorKind::InvalidConfig, Code::InvalidArgument, "INVALID_CONFIG", None),
    (ErrorKind::InvalidRequest, Code::InvalidArgument, "INVALID_REQUEST", None),
    (ErrorKind::Unsupported, Code::Unimplemented, "UNSUPPORTED", None),
    (ErrorKind::CorruptMessage, Code::InvalidArgument, "CORRUPT_MESSAGE", None),
    (ErrorKind::InvalidRecord, Code::InvalidArgument, "INVALID_RECORD", None),
    (ErrorKind::InvalidTimestamp, Code::InvalidArgument, "INVALID_TIMESTAMP", None),
    (ErrorKind::UnsupportedFormat, Code::InvalidArgument, "UNSUPPORTED_FORMAT", None),
    (ErrorKind::MessageTooLarge, Code::InvalidArgument, "MESSAGE_TOO_LARGE", None),
    (ErrorKind::RecordListTooLarge, Code::InvalidArgument, "RECORD_LIST_TOO_LARGE", None),
    (ErrorKind::OffsetOutOfRange, Code::OutOfRange, "OFFSET_OUT_OF_RANGE", None),
    (ErrorKind::UnknownLeaderEpoch, Code::Unavailable, "UNKNOWN_LEADER_EPOCH", SOON),
    (ErrorKind::FencedLeaderEpoch, Code::FailedPrecondition, "FENCED_LEADER_EPOCH", None),
    (ErrorKind::OutOfOrderSequence, Code::FailedPrecondition, "OUT_OF_ORDER_SEQUENCE", None),
    (ErrorKind::DuplicateSequence, Code::AlreadyExists, "DUPLICATE_SEQUENCE", None),
    (ErrorKind::UnknownProducerId, Code::FailedPrecondition, "UNKNOWN_PRODUCER_ID", None),
    (ErrorKind::InvalidProducerEpoch, Code::FailedPrecondition, "INVALID_PRODUCER_EPOCH", None),
    (ErrorKind::NotLeader, Code::Unavailable, "NOT_LEADER", SOON),
    (ErrorKind::LeaderNotAvailable, Code::Unavailable, "LEADER_NOT_AVAILABLE", SOON),
    (ErrorKind::Throttled, Code::ResourceExhausted, "THROTTLED", LATER),
    (ErrorKind::StorageError, Code::Unavailable, "STORAGE_ERROR", LATER),
    (ErrorKind::Corrupt, Code::DataLoss, "CORRUPT", None),
    (ErrorKind::TimedOut, Code::DeadlineExceeded, "OUTCOME_UNKNOWN", SOON),
    (ErrorKind::ShuttingDown, Code::Unavailable, "SHUTTING_DOWN", LATER),
    (ErrorKind::Denied, Code::PermissionDenied, "DENIED", None),
    (ErrorKind::Internal, Code::Internal, "INTERNAL", None),
];

#[tokio::test]
async fn every_kind_has_a_code_a_reason_and_the_same_in_a_part_of_an_answer() {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = start(&broker, quick()).await;
    let (mut producer, mut consumer) = (server.producer().await, server.consumer().await);
    for &(kind, code, reason, retry) in KINDS {
        broker.fail("t", kind);
        let fetch = FetchRequest { topic: "t".to_owned(), ..FetchRequest::default() };
        let status = consumer.fetch(fetch).await.unwrap_err();
        assert_eq!(told(&status), (code, reason.to_owned(), retry), "{kind:?}");
        assert_eq!((fact(&status, "topic"), fact(&status, "partition")), ("t".to_owned(), "0".to_owned()));

        broker.fail_appends("t", kind);
        let named = ProduceRequest { batch: Some(batch(&["v"])), timeout_ms: None };
        let status = producer.produce(named).await.unwrap_err();
        // A partition that closes may have stored the batch.
        let unknown = kind == ErrorKind::NotLeader;
        let (code, reason) = if unknown { (Code::Aborted, "OUTCOME_UNKNOWN") } else { (code, reason) };
        assert_eq!(told(&status), (code, reason.to_owned(), retry), "{kind:?}");

        let routed = AppendBatch { partition: None, ..batch(&["v"]) };
        let routed = ProduceRequest { batch: Some(routed), timeout_ms: None };
        let outcomes = producer.produce(routed).await.unwrap().into_inner().outcomes;
        let Some(Outcome::Error(error)) = &outcomes[0].outcome else { panic!("{outcomes:?}") };
        assert_eq!((error.code, error.reason.as_str()), (code as i32, reason));
        assert_eq!(error.retry_after_ms.map(|ms| Duration::from_millis(ms.into())), retry);
        assert_eq!(error.metadata["partition"], "0");
    }
    server.stop().await;
}

#[tokio::test]
async fn requests_that_make_no_sense() {
    let server = start(&MemoryBroker::with_topic("t", 2), quick()).await;
    let mut producer = server.producer().await;
    let sequence = |id, epoch, base_sequence| {
        Some(ProducerSequence { producer: Some(ProducerIdentity { id, epoch }), base_sequence })
    };
    let cases = [
        ("no batch", None),
        ("no records", Some(batch(&[]))),
        ("unknown codec", Some(AppendBatch { compression: 77, ..batch(&["v"]) })),
        ("an offset of no partition", Some(AppendBatch { partition: None, expected_offset: Some(0), ..batch(&["v"]) })),
        (
            "a sequence of no partition",
            Some(AppendBatch { partition: None, sequence: sequence(1, 0, 0), ..batch(&["v"]) }),
        ),
        ("a sequence of nobody", Some(AppendBatch { sequence: Some(ProducerSequence::default()), ..batch(&["v"]) })),
        ("a negative producer", Some(AppendBatch { sequence: sequence(-1, 0, 0), ..batch(&["v"]) })),
        ("a large epoch", Some(AppendBatch { sequence: sequence(1, 40_000, 0), ..batch(&["v"]) })),
        ("a negative sequence", Some(AppendBatch { sequence: sequence(1, 0, -1), ..batch(&["v"]) })),
    ];
    for (what, batch) in cases {
        let status = producer.produce(ProduceRequest { batch, timeout_ms: None }).await.unwrap_err();
        assert_eq!(told(&status), (Code::InvalidArgument, "INVALID_REQUEST".to_owned(), None), "{what}");
    }
    let far = [i64::MIN, i64::MAX].map(|time| Record { timestamp_ms: Some(time), ..record(None, "v") });
    let far = AppendBatch { records: far.into(), ..batch(&[]) };
    let status = producer.produce(ProduceRequest { batch: Some(far), timeout_ms: None }).await.unwrap_err();
    assert_eq!(told(&status).1, "INVALID_TIMESTAMP");
    let list = ListOffsetsRequest { topic: "t".to_owned(), partitions: vec![], position: None };
    for list in [
        ListOffsetsRequest { position: Some(Position { position: None }), ..list.clone() },
        ListOffsetsRequest { partitions: vec![0; 2001], ..list },
    ] {
        let status = server.consumer().await.list_offsets(list).await.unwrap_err();
        assert_eq!(told(&status).1, "INVALID_REQUEST");
    }
    let page = ListTopicsRequest { page_size: -1, page_token: String::new() };
    assert_eq!(told(&server.topics().await.list_topics(page).await.unwrap_err()).1, "INVALID_REQUEST");
    let change = ConfigChange { name: "retention.ms".to_owned(), ..ConfigChange::default() };
    let update = UpdateTopicConfigsRequest { name: "t".to_owned(), changes: vec![change], validate_only: false };
    assert_eq!(told(&server.topics().await.update_topic_configs(update).await.unwrap_err()).1, "INVALID_REQUEST");
    let create = CreateTopicRequest { replication_factor: Some(1 << 20), ..CreateTopicRequest::default() };
    assert_eq!(told(&server.topics().await.create_topic(create).await.unwrap_err()).1, "INVALID_REQUEST");
    server.stop().await;
}

#[tokio::test]
async fn facts_come_with_the_reason() {
    let server = start(&MemoryBroker::with_topic("t", 1), quick()).await;
    let mut producer = server.producer().await;
    producer.produce(ProduceRequest { batch: Some(batch(&["a", "b"])), timeout_ms: None }).await.unwrap();
    let late = AppendBatch { expected_offset: Some(1), ..batch(&["c"]) };
    let status = producer.produce(ProduceRequest { batch: Some(late), timeout_ms: None }).await.unwrap_err();
    assert_eq!(told(&status), (Code::Aborted, "OFFSET_MISMATCH".to_owned(), None));
    assert_eq!(fact(&status, "next_offset"), "2");
    let start_at = runnel_proto::consume::v1::position::Position::Offset(3);
    let fetch = FetchRequest {
        topic: "t".to_owned(),
        start: Some(Position { position: Some(start_at) }),
        ..FetchRequest::default()
    };
    let status = server.consumer().await.fetch(fetch).await.unwrap_err();
    assert_eq!(told(&status).1, "OFFSET_OUT_OF_RANGE");
    assert_eq!(["offset", "log_start", "high_watermark"].map(|name| fact(&status, name)), ["3", "0", "2"]);
    server.stop().await;
}
