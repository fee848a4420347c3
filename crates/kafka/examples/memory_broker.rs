//! Serves the in-memory broker of `runnel-testkit` on the Kafka protocol, to try clients by hand:
//!
//! ```text
//! cargo run -p runnel-kafka --example memory_broker -- 127.0.0.1:19092
//! ```

use runnel_kafka::Options;
use runnel_runtime::Shutdown;
use runnel_testkit::MemoryBroker;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:19092".to_owned());
    let listener = TcpListener::bind(address).await?;
    let shutdown = Shutdown::new();
    let serving = runnel_kafka::serve(listener, MemoryBroker::new(), None, Options::default(), shutdown.clone());
    let interrupted = async {
        let signal = tokio::signal::ctrl_c().await;
        shutdown.trigger();
        signal
    };
    let (served, signal) = tokio::join!(serving, interrupted);
    signal?;
    Ok(served?)
}
