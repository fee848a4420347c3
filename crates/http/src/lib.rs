//! The HTTP front door: liveness, readiness and metrics, on a plain port of their own.
//!
//! Knows the broker only through [`runnel_api`]; the text of `/metrics` comes from a function handed in. Connections are
//! few, short-lived and bounded (`listener.rs`): whoever holds one open does not keep a probe from being answered.

mod listener;
mod options;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use runnel_api::{Broker, Cluster};
use runnel_runtime::Shutdown;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::Instant;

use listener::Listener;
pub use options::{Neighbours, Options};

/// Renders the metrics in Prometheus' text format.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// How long a rendering of the metrics is good for. Whoever asks again and again gets the same text, and costs nothing.
const METRICS_AGE: Duration = Duration::from_millis(100);

#[derive(Clone)]
struct Door {
    broker: Arc<dyn Broker>,
    metrics: RenderMetrics,
    /// The last rendering and its time.
    rendered: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

/// Serves until `shutdown`; requests under way are answered first.
pub async fn serve(
    listener: TcpListener,
    broker: Arc<dyn Broker>,
    metrics: RenderMetrics,
    options: Options,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    axum::serve(Listener::new(listener, options)?, router(broker, metrics))
        .with_graceful_shutdown(async move { shutdown.triggered().await })
        .await
}

fn router(broker: Arc<dyn Broker>, metrics: RenderMetrics) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .fallback(missing)
        .with_state(Door { broker, metrics, rendered: Arc::default() })
}

/// The process answers; it looks at nothing else, so that a bucket outage restarts nobody.
async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(door): State<Door>) -> Response {
    let health = Cluster::health(&*door.broker).await;
    let mut body = String::new();
    for (name, passed, sentence) in &health.checks {
        body.push_str(&format!("{} {name}: {sentence}\n", if *passed { "ok  " } else { "FAIL" }));
    }
    body.push_str(if health.ready { "ready\n" } else { "not ready\n" });
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, body).into_response()
}

async fn render(State(door): State<Door>) -> Response {
    let mut rendered = door.rendered.lock().await;
    let text = match &*rendered {
        Some((at, text)) if at.elapsed() < METRICS_AGE => text.clone(),
        _ => {
            let ready = Cluster::health(&*door.broker).await.ready;
            metrics::gauge!("runnel_ready").set(f64::from(u8::from(ready)));
            let text = Bytes::from((door.metrics)());
            *rendered = Some((Instant::now(), text.clone()));
            text
        }
    };
    drop(rendered);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn missing() -> Response {
    (StatusCode::NOT_FOUND, "not found: this port serves /livez, /readyz and /metrics\n").into_response()
}
