//! A server on a real socket, and a proxy before it that can cut every connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use runnel_client::proto::consume::v1::position::{Earliest, Latest, Position as At};
use runnel_client::proto::consume::v1::{Position, ReadRange};
use runnel_client::proto::record::v1::{Record, StoredRecord};
use runnel_client::{Client, Consumer, ConsumerOptions, Event, Options, Producer, ProducerOptions, Target};
use runnel_runtime::{Shutdown, SystemClock};
use runnel_testkit::MemoryBroker;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shutdown: Shutdown,
    serving: JoinHandle<Result<(), runnel_grpc::Error>>,
}

impl Server {
    /// On `address`, or on any.
    pub(crate) async fn start(broker: &Arc<MemoryBroker>, address: Option<SocketAddr>) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(address.unwrap_or(any)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let options =
            runnel_grpc::Options { drain_grace: Duration::from_millis(200), ..runnel_grpc::Options::default() };
        let broker = Arc::clone(broker) as Arc<dyn runnel_api::Broker>;
        let serving = runnel_grpc::serve(listener, broker, None, Arc::new(SystemClock), options, shutdown.clone());
        Self { address, shutdown, serving: tokio::spawn(serving) }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.trigger();
        within(self.serving).await.unwrap().unwrap();
    }
}

/// Passes bytes on until it is told to cut.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    cuts: watch::Sender<u32>,
}

impl Proxy {
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cuts, _) = watch::channel(0);
        let cut = cuts.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut cut = cut.subscribe();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(to).await.unwrap();
                    tokio::select! {
                        // How it ends is of no concern.
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { address, cuts }
    }

    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

pub(crate) fn client(address: SocketAddr) -> Client {
    Client::connect(Options::new([address.to_string()])).unwrap()
}

/// What must not take long.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it took too long")
}

pub(crate) fn record(key: Option<&str>, value: impl ToString) -> Record {
    Record { key: key.map(|key| key.to_owned().into()), value: Some(value.to_string().into()), ..Record::default() }
}

pub(crate) const START: Position = Position { position: Some(At::Earliest(Earliest {})) };
pub(crate) const END: Position = Position { position: Some(At::Latest(Latest {})) };

pub(crate) fn whole(topic: &str) -> ReadRange {
    ReadRange { topic: topic.to_owned(), start: Some(START), stop: Some(END), ..ReadRange::default() }
}

pub(crate) fn number(record: &StoredRecord) -> u64 {
    std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap()
}

/// The records of one partition as the topic has them now.
pub(crate) async fn read(client: &Client, topic: &str, partition: i32) -> Vec<StoredRecord> {
    let range = ReadRange { partitions: vec![partition], ..whole(topic) };
    let mut consumer = Consumer::open(client.clone(), vec![range], ConsumerOptions::default()).await.unwrap();
    let mut records = Vec::new();
    while let Some(event) = within(consumer.next()).await.unwrap() {
        if let Event::Batch(batch) = event {
            records.extend(batch.records);
        }
    }
    records
}

/// Numbers from 0, in each partition of topic `t`.
pub(crate) async fn fill(client: &Client, partitions: i32, records: u64) {
    let producer = Producer::new(client.clone(), ProducerOptions { batch_bytes: 400, ..ProducerOptions::default() });
    for n in 0..records {
        for partition in 0..partitions {
            drop(producer.send("t", Target::Partition(partition), record(None, n)).await.unwrap());
        }
    }
    within(producer.flush()).await.unwrap();
}
