//! Every API and version through a real socket, with `kafka-protocol` as the client's codec.

use crate::support::{Client, framed, start};
use bytes::{Buf, Bytes};
use kafka_protocol::error::ResponseError as Wire;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use runnel_api::ErrorKind;
use runnel_kafka::Options;
use runnel_record::Codec;
use runnel_testkit::{BatchSpec, MemoryBroker, batch};
use uuid::Uuid;

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

pub(crate) fn name(s: &str) -> TopicName {
    TopicName(text(s))
}

pub(crate) async fn topic_id(client: &mut Client, topic: &str) -> Uuid {
    let wanted = metadata_request::MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request = MetadataRequest::default().with_topics(Some(vec![wanted])).with_allow_auto_topic_creation(true);
    let mut found = client.call(&request, 13).await;
    if found.topics[0].error_code == Wire::UnknownTopicOrPartition.code() {
        // That request made it, and the next one finds it, as in Kafka.
        assert!(found.topics[0].topic_id.is_nil() && found.topics[0].partitions.is_empty());
        found = client.call(&request, 13).await;
    }
    assert_eq!(found.topics[0].error_code, 0);
    found.topics[0].topic_id
}

fn produce(topic: &str, id: Uuid, version: i16, acks: i16, parts: Vec<(i32, Option<Bytes>)>) -> ProduceRequest {
    let data = parts.into_iter().map(|(index, records)| {
        produce_request::PartitionProduceData::default().with_index(index).with_records(records)
    });
    let data = produce_request::TopicProduceData::default().with_partition_data(data.collect());
    let data = if version >= 13 { data.with_topic_id(id) } else { data.with_name(name(topic)) };
    ProduceRequest::default().with_acks(acks).with_timeout_ms(5000).with_topic_data(vec![data])
}

fn fetch(topic: &str, id: Uuid, version: i16, parts: &[(i32, i64)]) -> FetchRequest {
    let partitions = parts.iter().map(|(partition, offset)| {
        fetch_request::FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    });
    let wanted = fetch_request::FetchTopic::default().with_partitions(partitions.collect());
    let wanted = if version >= 13 { wanted.with_topic_id(id) } else { wanted.with_topic(name(topic)) };
    FetchRequest::default().with_max_bytes(1 << 20).with_min_bytes(0).with_topics(vec![wanted])
}

fn records(value: &'static [u8]) -> Bytes {
    batch(&BatchSpec { records: &[(None, Some(value)), (Some(b"k"), None)], ..BatchSpec::default() })
}

/// Records as they come back: with the leader's epoch, and the offset that was assigned.
fn at(offset: i64, sent: &Bytes) -> Vec<u8> {
    let mut back = sent.to_vec();
    back[..8].copy_from_slice(&offset.to_be_bytes());
    back[12..16].copy_from_slice(&1_i32.to_be_bytes());
    back
}

#[tokio::test]
async fn api_versions_lists_what_is_served() {
    let server = start(&MemoryBroker::new(), Options::default()).await;
    let mut client = server.client().await;
    for version in 0..=4 {
        let request = ApiVersionsRequest::default();
        let request = if version >= 3 {
            request.with_client_software_name(text("a-b.c")).with_client_software_version(text("1"))
        } else {
            request
        };
        let response = client.call(&request, version).await;
        assert_eq!(response.error_code, 0);
        let listed: Vec<_> = response.api_keys.iter().map(|k| (k.api_key, k.min_version, k.max_version)).collect();
        assert_eq!(listed, runnel_kafka::served_versions().collect::<Vec<_>>());
        let features: Vec<_> =
            response.finalized_features.iter().map(|f| (f.name.as_str(), f.max_version_level)).collect();
        assert_eq!(features, if version >= 3 { vec![("group.version", 1)] } else { Vec::new() });
        assert_eq!(response.supported_features.len(), features.len());
    }
    let nameless = client.call(&ApiVersionsRequest::default(), 3).await;
    assert_eq!(nameless.error_code, Wire::InvalidRequest.code());
}

#[tokio::test]
async fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let server = start(&MemoryBroker::new(), Options::default()).await;
    let mut client = server.client().await;
    // Key 18, version 99, correlation id 7, and a rest that nobody can read.
    client.write(&framed(&[0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xfe, 0xfd])).await;
    let response = client.receive::<ApiVersionsRequest>(0, 7).await;
    assert_eq!(response.error_code, Wire::UnsupportedVersion.code());
    assert!(response.api_keys.len() > 10);
    topic_id(&mut client, "still-open").await;
}

#[tokio::test]
async fn metadata_in_every_version() {
    let broker = MemoryBroker::with_topic("t", 3);
    broker.fail("bad", ErrorKind::Internal);
    let server = start(&broker, Options::default()).await;
    let mut client = server.client().await;
    for version in 0..=13 {
        let topic = |n: &str| metadata_request::MetadataRequestTopic::default().with_name(Some(name(n)));
        let all = if version == 0 { Some(vec![]) } else { None };
        let response = client.call(&MetadataRequest::default().with_topics(all), version).await;
        assert_eq!(response.topics.len(), 1, "all topics, v{version}");
        assert_eq!(response.topics[0].partitions.len(), 3);
        assert_eq!(
            (response.brokers[0].host.as_str(), response.brokers[0].port),
            ("127.0.0.1", i32::from(server.address.port()))
        );
        if version > 0 {
            let none = client.call(&MetadataRequest::default().with_topics(Some(vec![])), version).await;
            assert!(none.topics.is_empty(), "no topics, v{version}");
        }
        if version >= 4 {
            let request = MetadataRequest::default()
                .with_topics(Some(vec![topic("t"), topic("absent")]))
                .with_allow_auto_topic_creation(false);
            let codes: Vec<_> = client.call(&request, version).await.topics.iter().map(|t| t.error_code).collect();
            assert_eq!(codes, [0, Wire::UnknownTopicOrPartition.code()], "per topic, v{version}");
        }
    }
    let known = topic_id(&mut client, "t").await;
    for version in [12, 13] {
        let by_id = |id| metadata_request::MetadataRequestTopic::default().with_name(None).with_topic_id(id);
        let request = MetadataRequest::default().with_topics(Some(vec![by_id(known), by_id(Uuid::max())]));
        let response = client.call(&request, version).await;
        assert_eq!(response.topics[0].name, Some(name("t")));
        assert_eq!(response.topics[1].error_code, Wire::UnknownTopicId.code());
        assert_eq!(response.topics[1].topic_id, Uuid::max());
    }
    for version in 0..=3 {
        let wanted = format!("made-by-{version}");
        let topic = metadata_request::MetadataRequestTopic::default().with_name(Some(name(&wanted)));
        let request = MetadataRequest::default().with_topics(Some(vec![topic]));
        // The request that makes it does not find it yet, as in Kafka.
        for expected in [(Wire::UnknownTopicOrPartition.code(), 0), (0, 1)] {
            let response = client.call(&request, version).await;
            assert_eq!((response.topics[0].error_code, response.topics[0].partitions.len()), expected);
        }
    }
}

#[tokio::test]
async fn the_advertised_address_wins_over_the_dialled_one() {
    let options = Options { advertise: Some("broker.example:1234".parse().unwrap()), ..Options::default() };
    let server = start(&MemoryBroker::new(), options).await;
    let mut client = server.client().await;
    let node = client.call(&MetadataRequest::default().with_topics(Some(vec![])), 9).await.brokers.remove(0);
    assert_eq!((node.host.as_str(), node.port), ("broker.example", 1234));
    let node = client.call(&DescribeClusterRequest::default(), 0).await.brokers.remove(0);
    assert_eq!((node.host.as_str(), node.port), ("broker.example", 1234));
    let found = client.call(&FindCoordinatorRequest::default().with_key(text("g")), 0).await;
    assert_eq!((found.host.as_str(), found.port), ("broker.example", 1234));
}

#[tokio::test]
async fn what_is_produced_comes_back_byte_for_byte_in_every_version() {
    let broker = MemoryBroker::with_topic("t", 2);
    let server = start(&broker, Options::default()).await;
    let mut client = server.client().await;
    let id = topic_id(&mut client, "t").await;
    let mut sent = Vec::new();
    for version in 3..=13 {
        let value: &'static [u8] = format!("v{version}").leak().as_bytes();
        let request = produce("t", id, version, -1, vec![(0, Some(records(value))), (9, Some(records(value)))]);
        let response = client.call(&request, version).await;
        let parts = &response.responses[0].partition_responses;
        let base = 2 * i64::try_from(sent.len()).unwrap();
        assert_eq!((parts[0].error_code, parts[0].base_offset), (0, base), "v{version}");
        assert_eq!(parts[1].error_code, Wire::UnknownTopicOrPartition.code(), "v{version}");
        assert_eq!(parts[1].error_message.is_some(), version >= 8, "KIP-467 from 8, v{version}");
        sent.extend([at(base, &records(value))]);
    }
    let end = 2 * i64::try_from(sent.len()).unwrap();
    for version in 4..=18 {
        let response = client.call(&fetch("t", id, version, &[(0, 3), (1, 0), (0, 99), (7, 0)]), version).await;
        let topic = &response.responses[0];
        assert_eq!(if version >= 13 { topic.topic_id } else { id }, id);
        assert_eq!(topic.topic, if version >= 13 { name("") } else { name("t") });
        // A partition that is named twice is read once, at the place named last.
        let [missing, empty, unknown] = &topic.partitions[..] else { panic!("{} partitions", topic.partitions.len()) };
        assert_eq!((missing.partition_index, missing.error_code), (0, Wire::OffsetOutOfRange.code()));
        assert_eq!((empty.partition_index, empty.error_code, empty.high_watermark), (1, 0, 0));
        assert_eq!(empty.records, Some(Bytes::new()));
        assert_eq!((unknown.partition_index, unknown.error_code), (7, Wire::UnknownTopicOrPartition.code()));

        let response = client.call(&fetch("t", id, version, &[(0, 3)]), version).await;
        let data = &response.responses[0].partitions[0];
        assert_eq!((data.error_code, data.high_watermark, data.last_stable_offset), (0, end, end));
        assert_eq!(data.records.as_ref().unwrap(), &sent[1..].concat(), "from the batch that holds 3, v{version}");
    }
}

#[tokio::test]
async fn versions_of_produce_that_are_only_listed_are_refused_in_their_own_shape() {
    let server = start(&MemoryBroker::with_topic("t", 1), Options::default()).await;
    let mut client = server.client().await;
    for version in 0..=2_u8 {
        // Header v1, then acks, timeout, one topic with two partitions of three bytes.
        let mut body = vec![0, 0, 0, version, 0, 0, 0, 5, 0, 1, b'c'];
        body.extend([0xff, 0xff, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2]);
        body.extend([0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]);
        body.extend([0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
        client.write(&framed(&body)).await;
        let mut reply = client.frame().await.unwrap();
        assert_eq!((reply.get_i32(), reply.get_i32(), reply.get_i16()), (5, 1, 1));
        assert_eq!((reply.get_u8(), reply.get_i32()), (b't', 2));
        for partition in 0..2 {
            assert_eq!((reply.get_i32(), reply.get_i16(), reply.get_i64()), (partition, 35, -1));
            if version == 2 {
                assert_eq!(reply.get_i64(), -1);
            }
        }
        assert_eq!(reply.len(), if version == 0 { 0 } else { 4 }, "throttle time from version 1");
    }
}

#[tokio::test]
async fn produce_refuses_what_makes_no_sense() {
    let server = start(&MemoryBroker::with_topic("t", 1), Options::default()).await;
    let mut client = server.client().await;
    let codes = |response: ProduceResponse| -> Vec<i16> {
        response.responses.iter().flat_map(|t| &t.partition_responses).map(|p| p.error_code).collect()
    };
    let good = || Some(records(b"x"));
    let bad_acks = produce("t", Uuid::nil(), 9, 2, vec![(0, good())]);
    assert_eq!(codes(client.call(&bad_acks, 9).await), [Wire::InvalidRequiredAcks.code()]);
    let twice = produce("t", Uuid::nil(), 9, 1, vec![(0, good()), (0, good())]);
    assert_eq!(codes(client.call(&twice, 9).await), [0, Wire::InvalidRequest.code()]);
    let null = produce("t", Uuid::nil(), 9, 1, vec![(0, None)]);
    assert_eq!(codes(client.call(&null, 9).await), [Wire::InvalidRecord.code()]);
    let zstd = Some(batch(&BatchSpec { codec: Codec::Zstd, ..BatchSpec::default() }));
    let request = produce("t", Uuid::nil(), 6, 1, vec![(0, zstd.clone())]);
    assert_eq!(codes(client.call(&request, 6).await), [Wire::UnsupportedCompressionType.code()]);
    let transactional =
        produce("t", Uuid::nil(), 9, -1, vec![(0, good())]).with_transactional_id(Some(TransactionalId(text("x"))));
    assert_eq!(codes(client.call(&transactional, 9).await), [Wire::InvalidTxnState.code()]);
    let unknown = produce("t", Uuid::max(), 13, -1, vec![(0, good())]);
    assert_eq!(codes(client.call(&unknown, 13).await), [Wire::UnknownTopicId.code()]);
    let mut flipped = records(b"x").to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let corrupt = produce("t", Uuid::nil(), 9, -1, vec![(0, Some(flipped.into()))]);
    assert_eq!(codes(client.call(&corrupt, 9).await), [Wire::CorruptMessage.code()]);
}

#[tokio::test]
async fn zstd_is_not_served_to_versions_that_do_not_know_it() {
    let server = start(&MemoryBroker::with_topic("t", 1), Options::default()).await;
    let mut client = server.client().await;
    let zstd = Some(batch(&BatchSpec { codec: Codec::Zstd, ..BatchSpec::default() }));
    client.call(&produce("t", Uuid::nil(), 7, 1, vec![(0, zstd)]), 7).await;
    for (version, code) in [(9, Wire::UnsupportedCompressionType.code()), (10, 0)] {
        let response = client.call(&fetch("t", Uuid::nil(), version, &[(0, 0)]), version).await;
        assert_eq!(response.responses[0].partitions[0].error_code, code, "v{version}");
    }
}

#[tokio::test]
async fn acks_0_gets_no_reply_and_an_error_closes() {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = start(&broker, Options::default()).await;
    let mut client = server.client().await;
    client.send(&produce("t", Uuid::nil(), 9, 0, vec![(0, Some(records(b"x")))]), 9).await;
    // The next reply is the one to the next request.
    let fetched = client.call(&fetch("t", Uuid::nil(), 11, &[(0, 0)]), 11).await;
    assert_eq!(fetched.responses[0].partitions[0].high_watermark, 2);
    client.send(&produce("t", Uuid::nil(), 9, 0, vec![(5, Some(records(b"x")))]), 9).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_fetch_session_names_partitions_once() {
    let server = start(&MemoryBroker::with_topic("t", 2), Options::default()).await;
    let mut client = server.client().await;
    let id = topic_id(&mut client, "t").await;
    for version in 7..=18 {
        let full = fetch("t", id, version, &[(0, 0), (1, 0)]).with_session_epoch(0);
        let opened = client.call(&full, version).await;
        assert_ne!(opened.session_id, 0);
        let next = |epoch| {
            let empty = FetchRequest::default().with_max_bytes(1 << 20).with_min_bytes(0);
            empty.with_session_id(opened.session_id).with_session_epoch(epoch)
        };
        let caught_up = fetch("t", id, version, &[(0, opened.responses[0].partitions[0].high_watermark)]);
        let moved = next(1).with_topics(caught_up.topics);
        client.call(&moved, version).await;
        assert!(client.call(&next(2), version).await.responses.is_empty(), "no news, v{version}");
        client.call(&produce("t", id, 12, -1, vec![(0, Some(records(b"x")))]), 12).await;
        let news = client.call(&next(3), version).await;
        assert_eq!((news.session_id, news.responses.len()), (opened.session_id, 1));
        assert_eq!(news.responses[0].partitions[0].partition_index, 0);
        let repeated = client.call(&next(3), version).await;
        assert_eq!((repeated.error_code, repeated.session_id), (Wire::InvalidFetchSessionEpoch.code(), 0));
        let unknown = client.call(&next(4).with_session_id(-5), version).await;
        assert_eq!(unknown.error_code, Wire::FetchSessionIdNotFound.code());
    }
}

#[tokio::test]
async fn consumers_are_sent_to_their_zone_once() {
    let broker = MemoryBroker::with_topic("t", 2);
    broker.send_away("z", 7);
    let server = start(&broker, Options::default()).await;
    let mut client = server.client().await;
    let id = topic_id(&mut client, "t").await;
    client.call(&produce("t", id, 9, 1, vec![(0, Some(records(b"a"))), (1, Some(records(b"b")))]), 9).await;
    let told = |found: &FetchResponse| {
        let parts = found.responses.iter().flat_map(|topic| &topic.partitions);
        parts
            .map(|p| (p.preferred_read_replica.0, p.records.as_ref().is_some_and(|r| !r.is_empty())))
            .collect::<Vec<_>>()
    };
    for version in 11..=18 {
        let mut client = server.client().await;
        let ask = |zone: &str, parts: &[(i32, i64)]| fetch("t", id, version, parts).with_rack_id(text(zone));
        let long = ask("z", &[(0, 0)]).with_max_wait_ms(60_000).with_min_bytes(1 << 20);
        assert_eq!(told(&client.call(&long, version).await), [(7, false)], "at once");
        // It is back: it is not served there.
        assert_eq!(told(&client.call(&ask("z", &[(0, 0), (1, 0)]), version).await), [(-1, true), (7, false)]);
        assert_eq!(told(&client.call(&ask("y", &[(1, 0)]), version).await), [(-1, true)], "nobody is there");
        assert_eq!(told(&client.call(&ask("", &[(1, 0)]), version).await), [(-1, true)], "it is in no zone");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_long_poll_ends_when_data_comes() {
    let server = start(&MemoryBroker::with_topic("t", 1), Options::default()).await;
    let (mut reader, mut writer) = (server.client().await, server.client().await);
    let waiting = fetch("t", Uuid::nil(), 11, &[(0, 0)]).with_min_bytes(1).with_max_wait_ms(60_000);
    let id = reader.send(&waiting, 11).await;
    writer.call(&produce("t", Uuid::nil(), 9, -1, vec![(0, Some(records(b"x")))]), 9).await;
    let response = reader.receive::<FetchRequest>(11, id).await;
    assert_eq!(response.responses[0].partitions[0].high_watermark, 2);
}

#[tokio::test]
async fn list_offsets_in_every_version() {
    let server = start(&MemoryBroker::with_topic("t", 1), Options::default()).await;
    let mut client = server.client().await;
    client.call(&produce("t", Uuid::nil(), 9, -1, vec![(0, Some(records(b"x")))]), 9).await;
    let stamp = BatchSpec::default().timestamp.0;
    for version in 1..=10 {
        let mut ask = async |partition, timestamp| {
            let wanted = list_offsets_request::ListOffsetsPartition::default()
                .with_partition_index(partition)
                .with_timestamp(timestamp);
            let topic =
                list_offsets_request::ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![wanted]);
            let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
            let found = client.call(&request, version).await.topics[0].partitions[0].clone();
            assert_eq!(found.leader_epoch >= 0, version >= 4 && found.offset >= 0);
            (found.error_code, found.offset, found.timestamp)
        };
        let unsupported = (Wire::UnsupportedVersion.code(), -1, -1);
        assert_eq!(ask(0, -2).await, (0, 0, -1));
        assert_eq!(ask(0, -1).await, (0, 2, -1));
        assert_eq!(ask(0, stamp).await, (0, 0, stamp));
        assert_eq!(ask(0, stamp + 1).await, (0, -1, -1), "nothing that late");
        assert_eq!(ask(0, -3).await, if version >= 7 { (0, 0, stamp) } else { unsupported });
        assert_eq!(ask(0, -4).await, if version >= 8 { (0, 0, -1) } else { unsupported });
        assert_eq!(ask(0, -5).await, if version >= 9 { (0, -1, -1) } else { unsupported });
        assert_eq!(ask(4, -1).await, (Wire::UnknownTopicOrPartition.code(), -1, -1));
    }
}

#[tokio::test]
async fn topics_are_created_described_and_deleted_in_every_version() {
    let server = start(&MemoryBroker::new(), Options::default()).await;
    let mut client = server.client().await;
    for version in 2..=7 {
        let config = create_topics_request::CreatableTopicConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("77")));
        let topic = |n: &str| {
            create_topics_request::CreatableTopic::default()
                .with_name(name(n))
                .with_num_partitions(4)
                .with_replication_factor(1)
                .with_configs(vec![config.clone()])
        };
        let request = CreateTopicsRequest::default().with_topics(vec![topic("a"), topic("b"), topic("b")]);
        let made = client.call(&request, version).await.topics;
        let codes: Vec<_> = made.iter().map(|t| (t.name.to_string(), t.error_code)).collect();
        assert_eq!(codes, [("a".to_owned(), 0), ("b".to_owned(), Wire::InvalidRequest.code())], "v{version}");
        if version >= 5 {
            assert_eq!((made[0].num_partitions, made[0].configs.as_ref().unwrap().len()), (4, 2));
        }
        let again = client.call(&CreateTopicsRequest::default().with_topics(vec![topic("a")]), version).await;
        assert_eq!(again.topics[0].error_code, Wire::TopicAlreadyExists.code());
        let only = CreateTopicsRequest::default().with_topics(vec![topic("c")]).with_validate_only(true);
        assert_eq!(client.call(&only, version).await.topics[0].error_code, 0);
        let deleted =
            client.call(&DeleteTopicsRequest::default().with_topic_names(vec![name("a"), name("c")]), 5).await;
        let codes: Vec<_> = deleted.responses.iter().map(|t| t.error_code).collect();
        assert_eq!(codes, [0, Wire::UnknownTopicOrPartition.code()], "validation alone creates nothing");
    }
    for version in 1..=5 {
        topic_id(&mut client, "d").await;
        let request = DeleteTopicsRequest::default().with_topic_names(vec![name("d")]);
        assert_eq!(client.call(&request, version).await.responses[0].error_code, 0, "v{version}");
    }
    let id = topic_id(&mut client, "e").await;
    let by_id = |name, id| delete_topics_request::DeleteTopicState::default().with_name(name).with_topic_id(id);
    let twice = vec![by_id(None, id), by_id(None, Uuid::nil()), by_id(None, id), by_id(Some(name("e")), Uuid::nil())];
    let twice = [twice.clone(), twice[3..].to_vec()].concat();
    let refused = client.call(&DeleteTopicsRequest::default().with_topics(twice), 6).await.responses;
    let codes: Vec<_> = refused.iter().map(|t| t.error_code).collect();
    assert_eq!(codes, [Wire::InvalidRequest.code(); 3], "named twice or not at all, and answered once");
    let other = Uuid::from_u128(9);
    let request = DeleteTopicsRequest::default().with_topics(vec![
        by_id(Some(name("e")), id),
        by_id(None, id),
        by_id(None, other),
    ]);
    let deleted = client.call(&request, 6).await.responses;
    let codes: Vec<_> = deleted.iter().map(|t| t.error_code).collect();
    assert_eq!(codes, [Wire::InvalidRequest.code(), 0, Wire::UnknownTopicId.code()]);
    assert_eq!(deleted[1].name, Some(name("e")));
}

#[tokio::test]
async fn configs_are_described_and_altered_in_every_version() {
    let server = start(&MemoryBroker::with_topic("t", 1), Options::default()).await;
    let mut client = server.client().await;
    for version in 0..=1 {
        let set = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_config_operation(0)
            .with_value(Some(text("5")));
        let twice = vec![set.clone(), set.clone()];
        let nothing = set.clone().with_value(None);
        let resource = |kind, configs| {
            incremental_alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text("t"))
                .with_configs(configs)
        };
        let request = |resources| IncrementalAlterConfigsRequest::default().with_resources(resources);
        let bad = Wire::InvalidRequest.code();
        // A resource that is named twice is not changed at all.
        for (resources, expected) in [
            (vec![resource(2, vec![set.clone()]), resource(2, vec![])], vec![bad, bad]),
            (vec![resource(2, twice), resource(16, vec![])], vec![bad, bad]),
            (vec![resource(2, vec![nothing])], vec![bad]),
            (vec![resource(2, vec![set])], vec![0]),
        ] {
            let response = client.call(&request(resources), version).await;
            assert_eq!(response.responses.iter().map(|r| r.error_code).collect::<Vec<_>>(), expected);
        }
    }
    for version in 1..=4 {
        let resource = |keys| {
            describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_configuration_keys(keys)
        };
        let request = DescribeConfigsRequest::default()
            .with_resources(vec![resource(None), resource(Some(vec![text("retention.ms")]))])
            .with_include_synonyms(true);
        let results = client.call(&request, version).await.results;
        assert_eq!((results[0].configs.len(), results[1].configs.len()), (2, 1));
        let retention = &results[1].configs[0];
        assert_eq!((retention.value.as_deref(), retention.config_source), (Some("5"), 1));
        assert_eq!(retention.synonyms.len(), 1);
    }
    for version in 0..=2 {
        let set = alter_configs_request::AlterableConfig::default()
            .with_name(text("cleanup.policy"))
            .with_value(Some(text("compact")));
        let resource = alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t"))
            .with_configs(vec![set]);
        let request = |resources| AlterConfigsRequest::default().with_resources(resources);
        let twice = client.call(&request(vec![resource.clone(), resource.clone()]), version).await;
        assert_eq!(twice.responses.iter().map(|r| r.error_code).collect::<Vec<_>>(), [Wire::InvalidRequest.code(); 2]);
        let nothing = vec![resource.configs[0].clone().with_value(None)];
        let response = client.call(&request(vec![resource.clone().with_configs(nothing)]), version).await;
        assert_eq!(response.responses[0].error_code, Wire::InvalidRequest.code());
        let response = client.call(&request(vec![resource]), version).await;
        assert_eq!(response.responses[0].error_code, 0);
    }
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_configuration_keys(None);
    let results = client.call(&DescribeConfigsRequest::default().with_resources(vec![resource]), 4).await.results;
    let values: Vec<_> = results[0].configs.iter().map(|c| c.value.clone().unwrap().to_string()).collect();
    assert_eq!(values, ["compact", "-1"], "AlterConfigs takes back what it does not name");
}

#[tokio::test]
async fn idempotent_producers_get_identities_and_transactional_ones_a_reason() {
    let server = start(&MemoryBroker::new(), Options::default()).await;
    let mut client = server.client().await;
    for version in 0..=5 {
        let plain = client.call(&InitProducerIdRequest::default().with_transactional_id(None), version).await;
        assert_eq!((plain.error_code, plain.producer_id.0 > 0, plain.producer_epoch), (0, true, 0));
        if version >= 3 {
            // What a producer says that it has been is nothing that another could not say as well.
            let again = InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_producer_id(plain.producer_id)
                .with_producer_epoch(plain.producer_epoch);
            let again = client.call(&again, version).await;
            assert_eq!((again.error_code, again.producer_epoch), (0, 0));
            assert_ne!(again.producer_id, plain.producer_id);
        }
        let request = InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("x"))));
        let refused = client.call(&request, version).await;
        assert_eq!(refused.error_code, Wire::TransactionalIdAuthorizationFailed.code());
    }
    for version in 1..=6 {
        let request = FindCoordinatorRequest::default().with_key_type(1);
        let (error, message) = if version >= 4 {
            let response = client.call(&request.with_coordinator_keys(vec![text("x")]), version).await;
            (response.coordinators[0].error_code, response.coordinators[0].error_message.clone())
        } else {
            let response = client.call(&request.with_key(text("x")), version).await;
            (response.error_code, response.error_message)
        };
        assert_ne!(error, 0);
        assert!(message.unwrap().contains("transactional.id"), "v{version}");
    }
}

#[tokio::test]
async fn the_end_of_an_epoch_is_found_in_every_version() {
    let server = start(&MemoryBroker::with_topic("t", 1), Options::default()).await;
    let mut client = server.client().await;
    client.call(&produce("t", Uuid::nil(), 9, -1, vec![(0, Some(records(b"x")))]), 9).await;
    for version in 2..=4 {
        let of = |epoch| offset_for_leader_epoch_request::OffsetForLeaderPartition::default().with_leader_epoch(epoch);
        let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
            .with_topic(name("t"))
            .with_partitions(vec![of(1), of(2)]);
        let response = client.call(&OffsetForLeaderEpochRequest::default().with_topics(vec![topic]), version).await;
        let ends: Vec<_> = response.topics[0].partitions.iter().map(|p| (p.leader_epoch, p.end_offset)).collect();
        assert_eq!(ends, [(1, 2), (-1, -1)]);
    }
}
