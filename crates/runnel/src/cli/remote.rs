//! Verbs that talk to a broker.

use std::future::Future;

use runnel_client::{Client, Error, ErrorKind, Options};

/// Where the brokers are.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) bootstrap: Vec<String>,
}

impl Remote {
    /// Runs a verb with a client. What still blocks a thread at its end, such as reading from a terminal, is left alone.
    pub(crate) fn run<F>(&self, verb: impl FnOnce(Client) -> F) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        let client = Client::connect(Options::new(&self.bootstrap))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(verb(client));
        runtime.shutdown_background();
        result
    }
}

/// What to try when a call failed.
pub(crate) fn hint(error: &Error) -> Option<&'static str> {
    // A broker that answers gives a reason.
    (error.kind() == ErrorKind::Unavailable && error.reason().is_empty()).then_some(
        "is a broker running? Start one with `runnel serve`, or name its gRPC address with --bootstrap HOST:PORT",
    )
}

/// The exit code of an error of the client: 3 not found, 4 denied, 5 timeout, else 1.
pub(crate) fn exit_code(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::NotFound => 3,
        ErrorKind::Denied => 4,
        ErrorKind::Timeout => 5,
        _ => 1,
    }
}
