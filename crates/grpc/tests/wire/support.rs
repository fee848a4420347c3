//! A server on a real socket, and clients of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runnel_grpc::{Error, Options};
use runnel_proto::admin::v1::group_service_client::GroupServiceClient;
use runnel_proto::admin::v1::segment_service_client::SegmentServiceClient;
use runnel_proto::admin::v1::topic_service_client::TopicServiceClient;
use runnel_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use runnel_proto::consume::v1::consumer_service_client::ConsumerServiceClient;
use runnel_proto::produce::v1::AppendBatch;
use runnel_proto::produce::v1::producer_service_client::ProducerServiceClient;
use runnel_proto::record::v1::Record;
use runnel_runtime::{ManualClock, Shutdown};
use runnel_testkit::MemoryBroker;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

/// The broker's time.
pub(crate) const NOW: i64 = 1_700_000_000_000;

/// The defaults, but for a stop that does not wait for sessions.
pub(crate) fn quick() -> Options {
    Options { drain_grace: Duration::from_millis(20), ..Options::default() }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    serving: JoinHandle<Result<(), Error>>,
}

pub(crate) async fn start(broker: &Arc<MemoryBroker>, options: Options) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let broker: Arc<dyn runnel_api::Broker> = Arc::<MemoryBroker>::clone(broker);
    let clock = Arc::new(ManualClock::new(NOW));
    let serving = tokio::spawn(runnel_grpc::serve(listener, broker, None, clock, options, shutdown.clone()));
    Server { address, shutdown, serving }
}

impl Server {
    pub(crate) async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn producer(&self) -> ProducerServiceClient<Channel> {
        ProducerServiceClient::new(self.channel().await)
    }

    pub(crate) async fn consumer(&self) -> ConsumerServiceClient<Channel> {
        ConsumerServiceClient::new(self.channel().await)
    }

    pub(crate) async fn topics(&self) -> TopicServiceClient<Channel> {
        TopicServiceClient::new(self.channel().await)
    }

    pub(crate) async fn groups(&self) -> GroupServiceClient<Channel> {
        GroupServiceClient::new(self.channel().await)
    }

    pub(crate) async fn segments(&self) -> SegmentServiceClient<Channel> {
        SegmentServiceClient::new(self.channel().await)
    }

    pub(crate) async fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel().await)
    }

    pub(crate) async fn dial(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Waits for the end that `shutdown` asks for.
    pub(crate) async fn ended(self) {
        within(self.serving).await.unwrap().unwrap();
    }

    pub(crate) async fn stop(self) {
        self.shutdown.trigger();
        self.ended().await;
    }
}

/// What must not take long.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it took too long")
}

/// A record with a key and a value.
pub(crate) fn record(key: Option<&str>, value: &str) -> Record {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Record { key: key.map(bytes), value: Some(bytes(value)), ..Record::default() }
}

/// Records without keys for partition 0 of topic `t`.
pub(crate) fn batch(values: &[&str]) -> AppendBatch {
    let records = values.iter().map(|value| record(None, value)).collect();
    AppendBatch { topic: "t".to_owned(), partition: Some(0), records, ..AppendBatch::default() }
}
