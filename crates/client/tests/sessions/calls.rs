//! One call, one answer, and what stands in its way.

use runnel_client::proto::admin::v1::{ConfigChange, CreateTopicRequest, SealSegmentsRequest, config_change::Op};
use runnel_client::proto::consume::v1::FetchRequest;
use runnel_client::{Client, ErrorKind, Options, Producer, ProducerOptions, Target};
use runnel_testkit::MemoryBroker;
use tokio::net::TcpListener;

use crate::support::{END, Server, client, record, within};

#[tokio::test]
async fn topics_are_created_described_altered_and_deleted() {
    let server = Server::start(&MemoryBroker::new(), None).await;
    let client = client(server.address);
    let create = |name: &str| CreateTopicRequest {
        name: name.to_owned(),
        partitions: Some(2),
        configs: [("retention.ms".to_owned(), "5".to_owned())].into(),
        ..CreateTopicRequest::default()
    };
    let topic = client.create_topic(create("a")).await.unwrap();
    assert_eq!((topic.name.as_str(), topic.partitions.len()), ("a", 2));
    assert_eq!(client.create_topic(create("a")).await.unwrap_err().kind(), ErrorKind::Exists);
    client.create_topic(create("b")).await.unwrap();
    let names: Vec<_> = client.topics().await.unwrap().into_iter().map(|topic| topic.name).collect();
    assert_eq!(names, ["a", "b"]);
    let op = |op: Op, value: Option<&str>| ConfigChange {
        name: "retention.ms".to_owned(),
        op: op.into(),
        value: value.map(str::to_owned),
    };
    client.update_topic_configs("a", vec![op(Op::Set, Some("7"))]).await.unwrap();
    let configs = client.topic_configs("a").await.unwrap();
    assert_eq!(configs.iter().find(|c| c.name == "retention.ms").unwrap().value.as_deref(), Some("7"));
    assert_eq!(client.delete_topic("a").await.unwrap(), topic.id);
    let gone = client.topic("a").await.unwrap_err();
    assert_eq!((gone.kind(), gone.reason()), (ErrorKind::NotFound, "UNKNOWN_TOPIC"));
    assert!(client.cluster().await.unwrap().nodes.len() == 1 && client.health().await.unwrap().ready);
    server.stop().await;
}

#[tokio::test]
async fn offsets_records_and_seals_need_no_session() {
    let server = Server::start(&MemoryBroker::with_topic("t", 2), None).await;
    let client = client(server.address);
    let producer = Producer::new(client.clone(), ProducerOptions::default());
    producer.send("t", Target::Partition(1), record(None, "v")).await.unwrap().await.unwrap();
    let offsets = client.list_offsets("t", Vec::new(), END).await.unwrap();
    assert_eq!(offsets.iter().map(|o| (o.partition, o.offset)).collect::<Vec<_>>(), [(0, 0), (1, 1)]);
    let request = FetchRequest { topic: "t".to_owned(), partition: 1, ..FetchRequest::default() };
    assert_eq!(client.fetch(request).await.unwrap().next_offset, 1);
    let request = SealSegmentsRequest { topic: "t".to_owned(), wait: true, ..SealSegmentsRequest::default() };
    let sealed = client.seal_segments(request).await.unwrap();
    assert_eq!(sealed.iter().map(|p| (p.partition, p.shipped_offset)).collect::<Vec<_>>(), [(0, 0), (1, 1)]);
    server.stop().await;
}

#[tokio::test]
async fn the_first_address_that_answers_is_used() {
    let server = Server::start(&MemoryBroker::with_topic("t", 1), None).await;
    // Bound and closed again: nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let list = [nobody.to_string(), server.address.to_string()];
    assert!(Client::connect(Options::new(&list)).unwrap().topic("t").await.is_ok());
    let error = client(nobody).topic("t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&nobody.to_string()), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn who_speaks_something_else_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // As the Kafka port does with what is not Kafka.
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream)
        }
    });
    let error = within(client(address).topics()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("Kafka") && error.to_string().contains("grpc.listen"), "{error}");
}
