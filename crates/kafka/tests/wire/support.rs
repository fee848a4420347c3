//! A server on a real socket and a client that speaks through `kafka-protocol`.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use runnel_kafka::{Error, Options};
use runnel_runtime::Shutdown;
use runnel_testkit::MemoryBroker;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) serving: JoinHandle<Result<(), Error>>,
}

pub(crate) async fn start(broker: &Arc<MemoryBroker>, options: Options) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let broker: Arc<dyn runnel_api::Broker> = Arc::<MemoryBroker>::clone(broker);
    let reading: Arc<dyn runnel_api::Fetch> = Arc::clone(&broker) as _;
    let serving = tokio::spawn(runnel_kafka::serve(listener, broker, Some(reading), options, shutdown.clone()));
    Server { address, shutdown, serving }
}

impl Server {
    pub(crate) async fn client(&self) -> Client {
        Client { socket: TcpStream::connect(self.address).await.unwrap(), correlation_id: 100 }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.trigger();
        self.serving.await.unwrap().unwrap();
    }
}

pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    correlation_id: i32,
}

/// A frame for `request`, length included.
pub(crate) fn frame<Q: Request>(request: &Q, version: i16, correlation_id: i32) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(Q::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    let mut body = BytesMut::new();
    header.encode(&mut body, Q::header_version(version)).unwrap();
    request.encode(&mut body, version).unwrap();
    framed(&body)
}

pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u32(u32::try_from(body.len()).unwrap());
    out.extend_from_slice(body);
    out
}

impl Client {
    /// Sends a request without waiting; returns its correlation id.
    pub(crate) async fn send<Q: Request>(&mut self, request: &Q, version: i16) -> i32 {
        self.correlation_id += 1;
        self.write(&frame(request, version, self.correlation_id)).await;
        self.correlation_id
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// The next frame, or `None` if the server closed instead.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let length = self.socket.read_u32().await.ok()?;
        let mut body = vec![0; usize::try_from(length).unwrap()];
        self.socket.read_exact(&mut body).await.unwrap();
        Some(body.into())
    }

    /// The reply to `correlation_id`, decoded whole.
    pub(crate) async fn receive<Q: Request>(&mut self, version: i16, correlation_id: i32) -> Q::Response {
        let mut body = self.frame().await.expect("a reply");
        let header = ResponseHeader::decode(&mut body, Q::Response::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, correlation_id);
        let response = Q::Response::decode(&mut body, version).unwrap();
        assert!(body.is_empty(), "{} bytes after the reply", body.len());
        response
    }

    pub(crate) async fn call<Q: Request>(&mut self, request: &Q, version: i16) -> Q::Response {
        let id = self.send(request, version).await;
        self.receive::<Q>(version, id).await
    }

    /// Whether the server closes, rather than say anything more.
    pub(crate) async fn is_closed(&mut self) -> bool {
        match self.socket.read(&mut [0; 1]).await {
            Ok(read) => read == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}
