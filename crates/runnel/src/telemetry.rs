//! Logs and metrics of the process.

use std::sync::Arc;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

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
        // foyer tells of its own life at INFO; an operator has no use for it.
        return Ok(EnvFilter::new("info,foyer=warn,foyer_storage=warn,foyer_memory=warn"));
    }
    EnvFilter::try_new(&log.level).with_context(|| format!("log.level = `{}`: expected {expected}", log.level))
}

/// Starts logging to standard error.
pub(crate) fn start_logs(log: &Log) -> anyhow::Result<()> {
    let filter = filter(log)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
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
