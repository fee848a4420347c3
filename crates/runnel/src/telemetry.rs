//! Logs, traces and metrics of the process.

mod traces;

use std::sync::Arc;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, Log, LogFormat, Telemetry};
pub(crate) use traces::Traces;

/// Upper bounds of the latency histograms, in seconds.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// The filter of `log.level`. A word that is no level would be taken for a module that does not exist.
pub(crate) fn filter(log: &Log) -> anyhow::Result<EnvFilter> {
    let expected = "error, warn, info, debug, trace, or a filter such as info,runnel_wal=debug";
    if !log.level.contains(['=', ',', '[']) && !LEVELS.contains(&log.level.as_str()) {
        anyhow::bail!("log.level = `{}`: expected {expected}", log.level);
    }
    if log.level == "info" {
        // foyer tells of its own life at INFO; an operator has no use for it. What it cannot read it says at ERROR, also when
        // that is only because the process ends; the cache tells of it.
        return Ok(EnvFilter::new(
            "info,foyer=warn,foyer_storage=warn,foyer_memory=warn,foyer_storage::engine::block::engine=off",
        ));
    }
    EnvFilter::try_new(&log.level).with_context(|| format!("log.level = `{}`: expected {expected}", log.level))
}

/// Refuses settings of `[telemetry]` that cannot work.
pub(crate) fn check(settings: &Telemetry) -> anyhow::Result<()> {
    traces::check(settings)
}

/// Starts logging to standard error and, where an endpoint is set, the export of traces; within a tokio runtime.
pub(crate) fn start(config: &Config) -> anyhow::Result<Option<Traces>> {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match config.log.format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let endpoint = traces::endpoint(&config.telemetry);
    let started = match &endpoint {
        Some(endpoint) => Traces::start(endpoint, &config.telemetry, &config.node.id).map(Some),
        None => Ok(None),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter(&config.log)?));
    match started {
        Ok(Some(traces)) => {
            subscriber.with(traces.layer()).init();
            tracing::info!(endpoint, sampling = config.telemetry.otlp_sampling, "sending traces");
            Ok(Some(traces))
        }
        // No second layer, not even an absent one: a span below `log.level` then costs the look at one number.
        Ok(None) => {
            subscriber.init();
            Ok(None)
        }
        // The endpoint may come from an environment that was made for others: no reason not to serve.
        Err(error) => {
            subscriber.init();
            tracing::warn!("no traces are sent: {error:#}");
            Ok(None)
        }
    }
}

/// Installs the metrics recorder and gives the function that renders `/metrics`.
pub(crate) fn start_metrics() -> anyhow::Result<Arc<dyn Fn() -> String + Send + Sync>> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)
        .context("metrics buckets")?
        .install_recorder()
        .context("metrics recorder")?;
    metrics::gauge!("runnel_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(Arc::new(move || {
        handle.run_upkeep();
        handle.render()
    }))
}
