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

#[cfg(test)]
mod tests {
    use runnel_client::proto::error::v1 as wire;

    use super::*;

    #[test]
    fn every_failure_has_its_exit_code_and_only_silence_gets_a_hint() {
        // Codes of google.rpc.Code.
        for (code, expected) in [(3, 1), (4, 5), (5, 3), (6, 1), (7, 4), (14, 1), (16, 4)] {
            let reason = "SOME_REASON".to_owned();
            let error = Error::from(wire::Error { code, reason, ..wire::Error::default() });
            assert_eq!(exit_code(&error), expected, "{error:?}");
            assert_eq!(hint(&error), None);
        }
        assert!(hint(&Error::from(wire::Error { code: 14, ..wire::Error::default() })).is_some());
    }
}
