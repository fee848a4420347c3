//! Around every call: a span, a count, a duration, and what it holds in memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::metrics::Gauge;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument, Span};

use crate::budget::{Held, Lease};
use crate::door::Door;
use crate::intake::Intake;
use crate::socket::Caller;
use crate::{metrics, services};

/// Wraps the services.
#[derive(Clone)]
pub(crate) struct Observe(pub(crate) Arc<Door>);

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, door: Arc::clone(&self.0) }
    }
}

/// Services whose calls are observed.
#[derive(Clone)]
pub(crate) struct Observed<S> {
    inner: S,
    door: Arc<Door>,
}

impl<S> Service<Request<Body>> for Observed<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Watched>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = services::method(request.uri().path());
        let lease = self.door.lease(request.extensions().get());
        let mut call = Call::new(method, Arc::clone(&lease));
        let request = self.metered(request, method, lease);
        let span = call.span.clone();
        let answer = span.in_scope(|| self.inner.call(request));
        let watched = async move {
            let mut response = answer.await?;
            call.see(response.headers());
            call.held = response.extensions_mut().remove();
            Ok(response.map(|inner| Watched { inner, call }))
        };
        Box::pin(watched.instrument(span))
    }
}

impl<S> Observed<S> {
    /// The request with a body that is counted as it comes. What other brokers send is counted where it came from: were it
    /// to wait here for room that clients have, whose requests wait there, nobody would get on.
    fn metered(&self, mut request: Request<Body>, method: &str, lease: Arc<Lease>) -> Request<Body> {
        if services::is_of_peers(method) {
            return request;
        }
        let options = &self.door.options;
        request.extensions_mut().insert(Arc::clone(&lease));
        let (path, max) = services::limits(method, options);
        request.map(|body| Body::new(Intake::new(body, lease, path, max, options.patience)))
    }
}

impl Door {
    /// A lease for a call.
    pub(crate) fn lease(&self, caller: Option<&Caller>) -> Arc<Lease> {
        let alone = || Arc::new(Semaphore::new(self.options.max_inflight_bytes_per_connection));
        let own = caller.map_or_else(alone, |caller| Arc::clone(&caller.budget));
        Arc::new(Lease::new(Arc::clone(&self.budget), own))
    }
}

/// One call; counted when it is dropped.
struct Call {
    method: &'static str,
    begun: Instant,
    /// `None` until the status was sent: a call that ends without was cancelled.
    code: Option<Code>,
    streams: Gauge,
    span: Span,
    /// What its request holds.
    _lease: Arc<Lease>,
    /// What its reply holds.
    held: Option<Arc<Held>>,
}

impl Call {
    fn new(method: &'static str, lease: Arc<Lease>) -> Self {
        let streams = metrics::streams();
        streams.increment(1.0);
        let span = tracing::debug_span!("request", method);
        Self { method, begun: Instant::now(), code: None, streams, span, _lease: lease, held: None }
    }

    /// Headers or trailers that may hold the status.
    fn see(&mut self, headers: &HeaderMap) {
        self.code = Status::from_header_map(headers).map(|status| status.code()).or(self.code);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.streams.decrement(1.0);
        metrics::request(self.method, self.code.unwrap_or(Code::Cancelled), self.begun.elapsed());
    }
}

/// The body of an answer; its trailers tell how the call ended.
pub(crate) struct Watched {
    inner: Body,
    call: Call,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let frame = this.call.span.in_scope(|| Pin::new(&mut this.inner).poll_frame(cx));
        let frame = ready!(frame);
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            this.call.see(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
