//! What went wrong, and what a caller may do about it.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::Duration;

use runnel_proto::error::v1 as wire;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The domain of the reasons that a broker gives.
const DOMAIN: &str = "runnel";

/// The result of whatever may fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// The request makes no sense: change it.
    Invalid,
    /// What was asked for does not exist.
    NotFound,
    /// What was to be created exists.
    Exists,
    /// Something else changed what the request relies on: look again.
    Conflict,
    /// Another producer took over this identity, or the sequence is broken.
    Fenced,
    /// The position lies outside the log.
    OutOfRange,
    /// The caller may not do this.
    Denied,
    /// Too much at once: wait, then repeat.
    Throttled,
    /// Nobody answers, or not now: repeat later.
    Unavailable,
    /// The time was over.
    Timeout,
    /// It may or may not have been done: repeat with the same producer and sequence.
    OutcomeUnknown,
    /// The broker does not serve this.
    Unsupported,
    /// What was asked for is damaged: an operator must look.
    Corrupt,
    /// The client was closed.
    Closed,
    /// A defect.
    Internal,
}

/// An error with a message that tells what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    reason: String,
    message: String,
    metadata: BTreeMap<String, String>,
    retry_after: Option<Duration>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, reason: String::new(), message: message.into(), metadata: BTreeMap::new(), retry_after: None }
    }

    /// What a caller may do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The broker's reason in UPPER_SNAKE_CASE; empty if the error is the client's own.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Facts that belong to the reason.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// How long to wait before a repetition, where the broker says so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        let kinds = [ErrorKind::Unavailable, ErrorKind::OutcomeUnknown];
        self.retry_after.is_some() || kinds.contains(&self.kind)
    }
}

/// A status that a broker sent.
impl From<&Status> for Error {
    fn from(status: &Status) -> Self {
        let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN);
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let (reason, metadata) = info.map(|info| (info.reason, info.metadata)).unwrap_or_default();
        Self {
            kind: kind(status.code(), &reason, retry_after.is_some()),
            reason,
            message: status.message().to_owned(),
            metadata: metadata.into_iter().collect(),
            retry_after,
        }
    }
}

/// An error of one part of a request.
impl From<wire::Error> for Error {
    fn from(error: wire::Error) -> Self {
        let retry_after = error.retry_after_ms.map(|ms| Duration::from_millis(ms.into()));
        Self {
            kind: kind(Code::from_i32(error.code), &error.reason, retry_after.is_some()),
            reason: error.reason,
            message: error.message,
            metadata: error.metadata.into_iter().collect(),
            retry_after,
        }
    }
}

/// Whether a status was made here because the connection failed, and not sent by a broker.
pub(crate) fn is_transport(status: &Status) -> bool {
    status.source().is_some()
}

fn kind(code: Code, reason: &str, retry: bool) -> ErrorKind {
    match reason {
        "OUTCOME_UNKNOWN" => return ErrorKind::OutcomeUnknown,
        "OUT_OF_ORDER_SEQUENCE" | "DUPLICATE_SEQUENCE" | "INVALID_PRODUCER_EPOCH" | "FENCED" => {
            return ErrorKind::Fenced;
        }
        _ => {}
    }
    match code {
        Code::InvalidArgument => ErrorKind::Invalid,
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::Exists,
        Code::FailedPrecondition | Code::Aborted => ErrorKind::Conflict,
        Code::OutOfRange => ErrorKind::OutOfRange,
        Code::PermissionDenied | Code::Unauthenticated => ErrorKind::Denied,
        Code::ResourceExhausted if retry => ErrorKind::Throttled,
        // Too large a message: waiting does not help.
        Code::ResourceExhausted => ErrorKind::Invalid,
        Code::Unavailable => ErrorKind::Unavailable,
        Code::DeadlineExceeded => ErrorKind::Timeout,
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::DataLoss => ErrorKind::Corrupt,
        Code::Cancelled => ErrorKind::Closed,
        Code::Ok | Code::Unknown | Code::Internal => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_status_says_its_kind_reason_facts_and_wait() {
        let mut details = ErrorDetails::new();
        details.set_error_info("THROTTLED", DOMAIN, [("limit".to_owned(), "64".to_owned())]);
        details.set_retry_info(Some(Duration::from_millis(250)));
        let error = Error::from(&Status::with_error_details(Code::ResourceExhausted, "wait", details));
        assert_eq!((error.kind(), error.reason()), (ErrorKind::Throttled, "THROTTLED"));
        assert_eq!(error.metadata()["limit"], "64");
        assert_eq!(error.retry_after(), Some(Duration::from_millis(250)));
        assert!(error.is_retryable());
        assert_eq!(error.to_string(), "wait");
    }

    #[test]
    fn reasons_of_another_domain_do_not_count() {
        let mut details = ErrorDetails::new();
        details.set_error_info("OUTCOME_UNKNOWN", "proxy.example", [] as [(String, String); 0]);
        let error = Error::from(&Status::with_error_details(Code::NotFound, "gone", details));
        assert_eq!((error.kind(), error.reason()), (ErrorKind::NotFound, ""));
        assert!(!error.is_retryable());
    }

    #[test]
    fn the_error_of_a_part_reads_like_a_status() {
        let part = wire::Error {
            code: Code::Unavailable as i32,
            reason: "OUTCOME_UNKNOWN".to_owned(),
            message: "perhaps".to_owned(),
            ..wire::Error::default()
        };
        let error = Error::from(part);
        assert!(error.is_retryable() && error.kind() == ErrorKind::OutcomeUnknown);
    }
}
