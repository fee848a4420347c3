//! Spans to an OpenTelemetry collector, over OTLP with gRPC.
//!
//! A span that ends goes into a bounded queue, or is dropped if the queue is full; a thread of its own sends what is
//! there every few seconds. So the broker never waits for a collector, and one that is away costs a queue's memory
//! and one line in the log. Queue, batches and delay are OpenTelemetry's own, OTEL_BSP_* changes them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{RetryPolicy, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::registry::LookupSpan;

use crate::config::Telemetry;

/// How long the collector has to take a batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a stop waits for the collector.
const LAST_PATIENCE: Duration = Duration::from_secs(3);
/// The value by which the setting overrules the environment.
const NONE: &str = "none";

/// Where to send spans, if anywhere: the setting, else OpenTelemetry's own variables.
pub(super) fn endpoint(settings: &Telemetry) -> Option<String> {
    let variables = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    let inherited = || variables.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    settings.otlp_endpoint.clone().or_else(inherited).filter(|endpoint| endpoint != NONE)
}

/// Refuses what cannot be sent to.
pub(super) fn check(settings: &Telemetry) -> anyhow::Result<()> {
    if !(0.0..=1.0).contains(&settings.otlp_sampling) {
        anyhow::bail!("telemetry.otlp_sampling = {}: expected 0 to 1", settings.otlp_sampling);
    }
    match settings.otlp_endpoint.as_deref() {
        None | Some(NONE) => Ok(()),
        Some(endpoint) if endpoint.starts_with("http://") => Ok(()),
        Some(endpoint) => anyhow::bail!(
            "telemetry.otlp_endpoint = `{endpoint}`: expected http://HOST:PORT of a collector's OTLP port for gRPC, often \
             4317, or `{NONE}`; this release does not send over TLS, so let it be a collector nearby"
        ),
    }
}

/// The export while it runs.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Starts the export; within a tokio runtime, on which the connection lives. Nothing is connected yet.
    pub(super) fn start(endpoint: &str, settings: &Telemetry, instance: &str) -> anyhow::Result<Self> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(PATIENCE)
            // A batch that fails is lost; the thread is free for the next one, and for a stop.
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .with_context(|| format!("cannot send traces to {endpoint}"))?;
        let exporter = Outages { exporter, endpoint: endpoint.to_owned(), away: AtomicBool::new(false) };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(instance))
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.otlp_sampling))))
            .with_batch_exporter(exporter)
            .build();
        Ok(Self(provider))
    }

    /// The layer that turns our spans into exported ones.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        // Whatever `log.level` says: our spans are at DEBUG, and what is said within them is worth having from INFO on.
        let ours = FilterFn::new(|metadata| {
            let most = if metadata.is_span() { Level::DEBUG } else { Level::INFO };
            *metadata.level() <= most && metadata.target().starts_with("runnel")
        });
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("runnel"))
            .with_threads(false)
            .with_location(false)
            .with_tracked_inactivity(false)
            .with_filter(ours.with_max_level_hint(LevelFilter::DEBUG))
    }

    /// Sends what waits and ends the export. Blocks, for a bounded time.
    pub(crate) fn stop(self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_PATIENCE) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Who we are. OTEL_RESOURCE_ATTRIBUTES adds to it, and goes over it.
fn resource(instance: &str) -> Resource {
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "runnel"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance.to_owned()),
        ])
        .with_detector(Box::new(EnvResourceDetector::new()))
        .build()
}

/// An exporter that says once when the collector goes away, and once when it is back.
#[derive(Debug)]
struct Outages {
    exporter: opentelemetry_otlp::SpanExporter,
    endpoint: String,
    away: AtomicBool,
}

impl SpanExporter for Outages {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.exporter.export(batch).await;
        let was_away = self.away.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !was_away => {
                tracing::warn!(
                    %error, endpoint = self.endpoint,
                    "the collector does not take traces; they are dropped until it does"
                );
            }
            Ok(()) if was_away => tracing::info!(endpoint = self.endpoint, "the collector takes traces again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn settings(endpoint: &str, sampling: f64) -> Telemetry {
        Telemetry { otlp_endpoint: Some(endpoint.to_owned()), otlp_sampling: sampling }
    }

    #[test]
    fn refuses_what_cannot_be_sent_to() {
        check(&settings("http://127.0.0.1:4317", 0.5)).unwrap();
        check(&settings(NONE, 1.0)).unwrap();
        for (endpoint, sampling) in
            [("https://x:4317", 1.0), ("x:4317", 1.0), ("http://x:4317", 1.5), ("http://x:4317", f64::NAN)]
        {
            assert!(check(&settings(endpoint, sampling)).is_err(), "{endpoint} {sampling}");
        }
    }

    #[test]
    fn none_overrules_the_environment() {
        assert_eq!(endpoint(&settings(NONE, 1.0)), None);
        assert_eq!(endpoint(&settings("http://x:4317", 1.0)).as_deref(), Some("http://x:4317"));
    }

    #[test]
    fn the_resource_says_who_it_is() {
        let resource = resource("broker-a");
        let value = |key: &'static str| resource.get(&key.into()).map(|value| value.to_string());
        assert_eq!(value("service.name").as_deref(), Some("runnel"));
        assert_eq!(value("service.instance.id").as_deref(), Some("broker-a"));
        assert_eq!(value("service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    }
}
