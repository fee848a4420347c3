//! Calls with one answer: what goes in comes out, and the answers say what they must.

use std::collections::HashMap;

use bytes::Bytes;
use runnel_proto::admin::v1::{
    ConfigChange, ConfigSource, CreateTopicRequest, DeleteTopicRequest, GetTopicConfigsRequest, GetTopicRequest,
    ListTopicsRequest, SealSegmentsRequest, UpdateTopicConfigsRequest, config_change::Op,
};
use runnel_proto::cluster::v1::accept_loss_response::Loss;
use runnel_proto::cluster::v1::{AcceptLossRequest, GetClusterRequest, GetHealthRequest, UpgradeClusterRequest};
use runnel_proto::consume::v1::position::{Earliest, Latest, Position as Named};
use runnel_proto::consume::v1::{FetchRequest, ListOffsetsRequest, OutOfRange, Position};
use runnel_proto::produce::v1::append_outcome::Outcome;
use runnel_proto::produce::v1::{
    AppendBatch, AppendOutcome, Appended, InitProducerRequest, ProduceRequest, ProducerSequence,
};
use runnel_proto::record::v1::{Compression, Durability, Header, Record, StoredRecord, TimestampType};
use runnel_testkit::MemoryBroker;

use crate::support::{NOW, batch, quick, record, start, within};

fn produce(batch: AppendBatch) -> ProduceRequest {
    ProduceRequest { batch: Some(batch), timeout_ms: None }
}

fn at(offset: i64) -> Option<Position> {
    Some(Position { position: Some(Named::Offset(offset)) })
}

fn fetch(partition: i32, start: Option<Position>) -> FetchRequest {
    FetchRequest { topic: "t".to_owned(), partition, start, ..FetchRequest::default() }
}

fn appended(outcome: &AppendOutcome) -> &Appended {
    match &outcome.outcome {
        Some(Outcome::Appended(appended)) => appended,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn records_come_back_as_they_were_in_every_codec() {
    let server = start(&MemoryBroker::with_topic("t", 1), quick()).await;
    let (mut producer, mut consumer) = (server.producer().await, server.consumer().await);
    let header =
        |key: &str, value: Option<&'static [u8]>| Header { key: key.to_owned(), value: value.map(Bytes::from_static) };
    let sent = [
        Record {
            key: Some(Bytes::from_static(b"\xff\x00")),
            value: Some(Bytes::new()),
            headers: vec![header("h", Some(b"1")), header("h", None), header("", Some(b""))],
            timestamp_ms: Some(NOW - 5),
        },
        Record { key: Some(Bytes::new()), value: None, headers: Vec::new(), timestamp_ms: Some(-1) },
        record(None, &"long ".repeat(40_000)),
    ];
    let codecs =
        [Compression::Unspecified, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for (base, codec) in (0..).step_by(3).zip(codecs) {
        let batch = AppendBatch { records: sent.to_vec(), compression: codec.into(), ..batch(&[]) };
        let answer = producer.produce(produce(batch)).await.unwrap().into_inner();
        let [outcome] = answer.outcomes.as_slice() else { panic!("{answer:?}") };
        let expected = Appended {
            partition: 0,
            base_offset: base,
            next_offset: base + 3,
            append_time_ms: -1,
            durability: Durability::Local.into(),
            leader_epoch: 1,
        };
        assert_eq!((appended(outcome), outcome.partition, outcome.records.len()), (&expected, 0, 0));
        let got = consumer.fetch(fetch(0, at(base))).await.unwrap().into_inner();
        let stored = sent.iter().zip(base..).map(|(record, offset)| StoredRecord {
            offset,
            timestamp_ms: record.timestamp_ms.unwrap_or(NOW),
            timestamp_type: TimestampType::Create.into(),
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.clone(),
        });
        assert_eq!(got.records, stored.collect::<Vec<_>>(), "{codec:?}");
        assert_eq!((got.next_offset, got.log_start, got.high_watermark), (base + 3, 0, base + 3));
    }
    server.stop().await;
}

#[tokio::test]
async fn keys_decide_the_partition_and_each_partition_answers() {
    let server = start(&MemoryBroker::with_topic("t", 6), quick()).await;
    let mut producer = server.producer().await;
    let keys = [Some("abcde"), None, Some("21"), None, Some("abcde")];
    let records: Vec<_> = keys.map(|key| record(key, "v")).into();
    let mut keyless = Vec::new();
    for _ in 0..3 {
        let batch = AppendBatch { topic: "t".to_owned(), records: records.clone(), ..AppendBatch::default() };
        let outcomes = producer.produce(produce(batch)).await.unwrap().into_inner().outcomes;
        let of = |index: u32| outcomes.iter().find(|outcome| outcome.records.contains(&index)).unwrap();
        // As kafka-clients says: see runnel_record::partitioner.
        assert_eq!([0, 4, 2].map(|index| of(index).partition), [1, 1, 0]);
        assert_eq!(of(1).partition, of(3).partition, "what has no key stays together");
        let mut answered: Vec<_> = outcomes.iter().flat_map(|outcome| outcome.records.clone()).collect();
        answered.sort_unstable();
        assert_eq!(answered, [0, 1, 2, 3, 4]);
        for outcome in &outcomes {
            let stored = appended(outcome).next_offset - appended(outcome).base_offset;
            assert_eq!(usize::try_from(stored).unwrap(), outcome.records.len());
        }
        keyless.push(of(1).partition);
    }
    assert!(keyless[0] != keyless[1] && keyless[1] != keyless[2], "{keyless:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_topic_is_created_when_it_is_first_written_to_not_when_it_is_read() {
    let server = start(&MemoryBroker::new(), quick()).await;
    let missing = server.consumer().await.fetch(fetch(0, None)).await.unwrap_err();
    assert_eq!(missing.code(), tonic::Code::NotFound);
    server.producer().await.produce(produce(batch(&["v"]))).await.unwrap();
    assert_eq!(server.consumer().await.fetch(fetch(0, None)).await.unwrap().into_inner().records.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn retries_with_a_sequence_are_stored_once_and_offsets_can_be_expected() {
    let server = start(&MemoryBroker::with_topic("t", 1), quick()).await;
    let mut client = server.producer().await;
    let producer = client.init_producer(InitProducerRequest { current: None }).await.unwrap().into_inner().producer;
    let sequence = |base_sequence| Some(ProducerSequence { producer, base_sequence });
    let once = AppendBatch { sequence: sequence(0), expected_offset: Some(0), ..batch(&["a", "b"]) };
    for _ in 0..2 {
        let answer = client.produce(produce(once.clone())).await.unwrap().into_inner();
        assert_eq!(appended(&answer.outcomes[0]).base_offset, 0);
    }
    let next = AppendBatch { sequence: sequence(2), expected_offset: Some(2), ..batch(&["c"]) };
    assert_eq!(appended(&client.produce(produce(next)).await.unwrap().into_inner().outcomes[0]).base_offset, 2);
    server.stop().await;
}

#[tokio::test]
async fn a_fetch_begins_ends_and_waits_as_asked() {
    let server = start(&MemoryBroker::with_topic("t", 1), quick()).await;
    let (mut producer, mut consumer) = (server.producer().await, server.consumer().await);
    producer.produce(produce(batch(&["0", "1", "2", "3"]))).await.unwrap();
    let mut offsets = async |request: FetchRequest| {
        let got = within(consumer.fetch(request)).await.unwrap().into_inner();
        (got.records.iter().map(|record| record.offset).collect::<Vec<_>>(), got.next_offset)
    };
    assert_eq!(offsets(fetch(0, None)).await, (vec![0, 1, 2, 3], 4));
    assert_eq!(offsets(fetch(0, at(2))).await, (vec![2, 3], 4), "not from the start of the batch");
    assert_eq!(offsets(FetchRequest { max_records: Some(2), ..fetch(0, at(1)) }).await, (vec![1, 2], 3));
    assert_eq!(offsets(FetchRequest { max_bytes: Some(1), ..fetch(0, None) }).await, (vec![0], 1));
    let clamp = FetchRequest { out_of_range: OutOfRange::Clamp.into(), ..fetch(0, at(99)) };
    assert_eq!(offsets(clamp).await, (vec![], 4), "nothing yet, and no wait");
    let position = Some(Named::BeforeLatest(1));
    assert_eq!(offsets(fetch(0, Some(Position { position }))).await, (vec![3], 4));
    let mut waiting = server.consumer().await;
    let latest = Some(Position { position: Some(Named::Latest(Latest {})) });
    let waiting = tokio::spawn(async move {
        let request = FetchRequest { max_wait_ms: Some(60_000), ..fetch(0, latest) };
        waiting.fetch(request).await.unwrap().into_inner().records.len()
    });
    while !waiting.is_finished() {
        producer.produce(produce(batch(&["new"]))).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(waiting.await.unwrap() > 0);
    server.stop().await;
}

#[tokio::test]
async fn offsets_are_listed_for_each_partition() {
    let server = start(&MemoryBroker::with_topic("t", 2), quick()).await;
    server.producer().await.produce(produce(batch(&["a", "b"]))).await.unwrap();
    let mut consumer = server.consumer().await;
    let mut list = async |partitions: Vec<i32>, position: Option<Named>| {
        let position = position.map(|position| Position { position: Some(position) });
        let request = ListOffsetsRequest { topic: "t".to_owned(), partitions, position };
        consumer.list_offsets(request).await.unwrap().into_inner().offsets
    };
    let ends: Vec<_> = list(vec![], None).await.iter().map(|o| (o.partition, o.offset, o.high_watermark)).collect();
    assert_eq!(ends, [(0, 2, 2), (1, 0, 0)]);
    assert_eq!(list(vec![0], Some(Named::Earliest(Earliest {}))).await[0].offset, 0);
    let by_time = &list(vec![0], Some(Named::TimestampMs(NOW))).await[0];
    assert_eq!((by_time.offset, by_time.timestamp_ms), (0, Some(NOW)));
    let after = &list(vec![0], Some(Named::TimestampMs(NOW + 1))).await[0];
    assert_eq!((after.offset, after.timestamp_ms), (2, None), "the end");
    let mixed = list(vec![1, 7], None).await;
    assert!(mixed[0].error.is_none());
    assert_eq!(mixed[1].error.as_ref().unwrap().reason, "UNKNOWN_PARTITION");
    server.stop().await;
}

#[tokio::test]
async fn topics_are_administered() {
    let server = start(&MemoryBroker::new(), quick()).await;
    let mut topics = server.topics().await;
    let configs = HashMap::from([("retention.ms".to_owned(), "5".to_owned())]);
    let wanted =
        CreateTopicRequest { name: "b".to_owned(), partitions: Some(3), configs, ..CreateTopicRequest::default() };
    let checked = CreateTopicRequest { validate_only: true, ..wanted.clone() };
    let checked = topics.create_topic(checked).await.unwrap().into_inner().topic.unwrap();
    assert_eq!((checked.id.as_str(), checked.partitions.len()), ("", 0));
    let created = topics.create_topic(wanted).await.unwrap().into_inner().topic.unwrap();
    assert_eq!((created.id.len(), created.partitions.len()), (36, 3));
    let got = topics.get_topic(GetTopicRequest { name: "b".to_owned() }).await.unwrap().into_inner();
    assert_eq!(got.topic, Some(created.clone()));

    let change = |op: Op, value: Option<&str>| ConfigChange {
        name: "cleanup.policy".to_owned(),
        op: op.into(),
        value: value.map(str::to_owned),
    };
    let changes = vec![change(Op::Set, Some("compact")), change(Op::Append, Some("delete"))];
    let update = UpdateTopicConfigsRequest { name: "b".to_owned(), changes, validate_only: false };
    topics.update_topic_configs(update).await.unwrap();
    let configs = topics.get_topic_configs(GetTopicConfigsRequest { name: "b".to_owned() }).await.unwrap();
    let configs = configs.into_inner().configs;
    let entry = |name: &str| configs.iter().find(|entry| entry.name == name).unwrap();
    assert_eq!(entry("cleanup.policy").value.as_deref(), Some("compact,delete"));
    assert_eq!(
        (entry("retention.ms").value.as_deref(), entry("retention.ms").source()),
        (Some("5"), ConfigSource::Topic)
    );

    for name in ["a", "c"] {
        let wanted = CreateTopicRequest { name: name.to_owned(), ..CreateTopicRequest::default() };
        topics.create_topic(wanted).await.unwrap();
    }
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = topics.list_topics(ListTopicsRequest { page_size: 2, page_token }).await.unwrap().into_inner();
        names.push(page.topics.iter().map(|topic| topic.name.clone()).collect::<Vec<_>>().join(" "));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["a b", "c"]);
    let deleted = topics.delete_topic(DeleteTopicRequest { name: "b".to_owned() }).await.unwrap().into_inner();
    assert_eq!(deleted.id, created.id);
    server.stop().await;
}

#[tokio::test]
async fn segments_are_sealed_partition_by_partition() {
    let server = start(&MemoryBroker::with_topic("t", 2), quick()).await;
    server.producer().await.produce(produce(batch(&["a", "b"]))).await.unwrap();
    let request = SealSegmentsRequest { topic: "t".to_owned(), wait: true, ..SealSegmentsRequest::default() };
    let sealed = server.segments().await.seal_segments(request).await.unwrap().into_inner().partitions;
    let sealed: Vec<_> = sealed.iter().map(|p| (p.partition, p.sealed_offset, p.shipped_offset)).collect();
    assert_eq!(sealed, [(0, 2, 2), (1, 0, 0)]);
    server.stop().await;
}

#[tokio::test]
async fn the_cluster_and_its_health_are_described() {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = start(&broker, quick()).await;
    let mut cluster = server.cluster().await;
    let described = cluster.get_cluster(GetClusterRequest {}).await.unwrap().into_inner();
    assert_eq!((described.node_id, described.nodes[0].name.as_str()), (0, "memory"));
    assert_eq!(described.version, env!("CARGO_PKG_VERSION"));
    assert!(cluster.get_health(GetHealthRequest {}).await.unwrap().into_inner().ready);
    server.stop().await;
}

#[tokio::test]
async fn the_level_is_raised_or_only_told() {
    let server = start(&MemoryBroker::with_topic("t", 1), quick()).await;
    let mut cluster = server.cluster().await;
    for (dry_run, held_back_by) in [(true, vec![7]), (false, vec![])] {
        let told = cluster.upgrade_cluster(UpgradeClusterRequest { dry_run }).await.unwrap().into_inner();
        assert_eq!((told.from, told.to, told.held_back_by), (1, 2, held_back_by));
    }
    server.stop().await;
}

#[tokio::test]
async fn what_a_lost_disk_takes_along_is_told_before_it_is_given_up() {
    let server = start(&MemoryBroker::with_topic("t", 1), quick()).await;
    let mut cluster = server.cluster().await;
    let request = AcceptLossRequest { topic: "t".to_owned(), partition: Some(0), losses: Vec::new() };
    let told = cluster.accept_loss(request.clone()).await.unwrap().into_inner().losses;
    let loss = Loss { partition: 0, from_offset: 3, known_end_offset: 7, brokers: vec!["gone".to_owned()] };
    assert_eq!(told, std::slice::from_ref(&loss));
    let accept = |loss: Loss| AcceptLossRequest { losses: vec![loss], ..request.clone() };
    assert_eq!(cluster.accept_loss(accept(loss.clone())).await.unwrap().into_inner().losses, told);
    let less = Loss { from_offset: 4, ..loss };
    let refused = cluster.accept_loss(accept(less)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    let unknown = cluster.accept_loss(AcceptLossRequest { topic: "u".to_owned(), ..request }).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    server.stop().await;
}
