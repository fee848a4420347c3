//! Calls without a connection, for fuzzing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http_body::{Body as HttpBody, Frame};
use runnel_api::Broker;
use runnel_runtime::{Clock, Shutdown};
use tonic::body::Body;
use tonic::codegen::http::Request;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::door::Door;
use crate::error::Error;
use crate::observe::Observe;
use crate::{Options, services};

/// A call: its path, and what the client sends before it closes its side.
#[derive(Debug, Clone)]
pub struct Call {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// Messages, each behind the five bytes that say how long it is.
    pub body: Bytes,
}

/// The methods that clients may call.
pub fn methods() -> impl Iterator<Item = &'static str> {
    let of_peers = |path: &str| services::is_of_peers(services::method(path));
    services::METHODS.iter().copied().filter(move |path| !of_peers(path))
}

/// Serves calls as a connection does that carries all of them at once. The status of each, or `None` of one that had not
/// ended after `patience`, and was given up by its client.
///
/// # Errors
/// As [`crate::serve`].
pub async fn converse(
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    options: Options,
    calls: Vec<Call>,
    patience: Duration,
) -> Result<Vec<Option<Code>>, Error> {
    options.check()?;
    let door = Door::new(broker, None, clock, options, Shutdown::new());
    let service = Observe(Arc::clone(&door)).layer(services::routes(&door)?);
    let calls = calls.into_iter().map(|call| tokio::time::timeout(patience, one(service.clone(), call)));
    Ok(join_all(calls).await.into_iter().map(Result::ok).collect())
}

async fn one<S, B>(mut service: S, call: Call) -> Code
where
    S: Service<Request<Body>, Response = tonic::codegen::http::Response<B>, Error = std::convert::Infallible>,
    B: HttpBody<Data = Bytes, Error = Status> + Unpin,
{
    let mut request = Request::new(Body::new(Sent(Some(call.body))));
    *request.method_mut() = tonic::codegen::http::Method::POST;
    *request.uri_mut() = tonic::codegen::http::Uri::from_static(call.path);
    let headers = request.headers_mut();
    headers.insert("content-type", tonic::codegen::http::HeaderValue::from_static("application/grpc"));
    let Ok(response) = service.call(request).await;
    let (head, mut body) = response.into_parts();
    let mut status = Status::from_header_map(&head.headers);
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame {
            Ok(frame) => status = frame.trailers_ref().and_then(Status::from_header_map).or(status),
            Err(error) => return error.code(),
        }
    }
    status.map_or(Code::Unknown, |status| status.code())
}

/// What a client sends: all of it, and then the end.
struct Sent(Option<Bytes>);

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}
