//! What can go wrong in a metadata store.

use std::path::PathBuf;
use std::sync::Arc;

use crate::store::LeaseId;

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request can never succeed as it is; nothing was applied.
    Invalid,
    /// The lease is gone; nothing was applied.
    NotFound,
    /// Somebody else has the store open.
    InUse,
    /// The changes asked for are no longer kept: take a new snapshot and watch from there.
    Compacted,
    /// The store does not take our password, or does not let us at our keys; nothing was applied.
    Denied,
    /// The stored bytes are damaged; an operator must look.
    Corrupt,
    /// The stored bytes were written by a newer release.
    Unsupported,
    /// The store failed; a transaction that was under way may or may not have been applied.
    Unavailable,
    /// The store was closed before the request was taken; nothing was applied.
    Closed,
}

/// A metadata store that cannot do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The request breaks a rule of the contract.
    #[error("invalid metadata request: {0}")]
    Invalid(String),
    /// The lease does not exist, or not any more.
    #[error("{0} does not exist")]
    LeaseNotFound(LeaseId),
    /// Another process, or another handle in this one, has the store open.
    #[error("the metadata store {path} is already open: is another broker running on this data directory?")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A watch asked for changes that are no longer kept.
    #[error("the changes from revision {requested} are gone, the oldest kept is {oldest}")]
    Compacted {
        /// The revision asked for.
        requested: u64,
        /// The oldest revision that can be asked for.
        oldest: u64,
    },
    /// The file is not a metadata store, or is damaged.
    #[error("the metadata store {path} is corrupt: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was written by a newer release.
    #[error("the metadata store {path} has format {found}, this release reads up to {newest}: run a newer release")]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: u64,
        /// The newest format known.
        newest: u64,
    },
    /// The file could not be opened or created.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: Arc<std::io::Error>,
    },
    /// A read or a commit failed. After a failed commit the store answers nothing else.
    #[error("the metadata store failed: {0}")]
    Failed(#[source] Arc<redb::Error>),
    /// etcd refused a request, or did not answer it.
    #[error("etcd cannot {action}: {}", .status.message())]
    Etcd {
        /// What was tried.
        action: &'static str,
        /// What it said.
        #[source]
        status: Arc<tonic::Status>,
    },
    /// A key that none of ours can be lies below our prefix.
    #[error("there is a key `{0}` that runnel has not written: is the prefix of this cluster used by others?")]
    Foreign(String),
    /// The answer was lost: the thread that held the request ended without giving one.
    #[error("the metadata store stopped before it answered")]
    AnswerLost,
    /// The store is closed.
    #[error("the metadata store is closed")]
    Closed,
}

impl Error {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::LeaseNotFound(_) => ErrorKind::NotFound,
            Self::InUse { .. } => ErrorKind::InUse,
            Self::Compacted { .. } => ErrorKind::Compacted,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::NewerFormat { .. } => ErrorKind::Unsupported,
            Self::Foreign(_) => ErrorKind::Corrupt,
            Self::Etcd { status, .. } if is_denied(status) => ErrorKind::Denied,
            Self::Io { .. } | Self::Failed(_) | Self::Etcd { .. } | Self::AnswerLost => ErrorKind::Unavailable,
            Self::Closed => ErrorKind::Closed,
        }
    }
}

/// etcd has no code of its own for a wrong password.
fn is_denied(status: &tonic::Status) -> bool {
    matches!(status.code(), tonic::Code::PermissionDenied | tonic::Code::Unauthenticated)
        || status.message().contains("authentication failed")
        || status.message().contains("user name is empty")
}
