//! What can go wrong between runnel and its bucket.

use std::time::Duration;

use object_store::Error as StoreError;

/// A failed operation on the bucket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The setting cannot be used.
    #[error("storage.url `{url}`: {reason}")]
    Url {
        /// The setting.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A key that no store accepts, or a range that is none.
    #[error("`{key}`: {reason}")]
    Invalid {
        /// The object.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The object is not there.
    #[error("`{key}` is not in the bucket")]
    NotFound {
        /// The object.
        key: String,
    },
    /// The bucket, or the folder that stands for it, is not there.
    #[error(
        "the bucket {bucket} does not exist: create it, or correct storage.url, storage.endpoint or storage.region"
    )]
    BucketMissing {
        /// The bucket.
        bucket: String,
        /// The store's answer.
        #[source]
        source: Option<Box<StoreError>>,
    },
    /// The credentials do not allow the operation.
    #[error(
        "access to `{key}` in {bucket} was denied: check storage.access_key_id and storage.secret_access_key (or the \
         AWS_* variables, or the folder's owner), and that they may read, write, delete and list below the prefix"
    )]
    Denied {
        /// The bucket.
        bucket: String,
        /// The object.
        key: String,
        /// The store's answer.
        #[source]
        source: Box<StoreError>,
    },
    /// The store takes our clock to be wrong; signatures carry the time.
    #[error(
        "{bucket} refuses requests because its clock and this machine's are too far apart: set the clock, with NTP for one"
    )]
    Clock {
        /// The bucket.
        bucket: String,
        /// The store's answer.
        #[source]
        source: Box<StoreError>,
    },
    /// The store gave no answer, or said that it cannot serve now.
    #[error("{bucket} cannot be reached or does not serve: {op} of `{key}` failed")]
    Unavailable {
        /// The bucket.
        bucket: String,
        /// The operation.
        op: &'static str,
        /// The object.
        key: String,
        /// The store's answer.
        #[source]
        source: Box<StoreError>,
    },
    /// The store did not answer in time.
    #[error("{op} of `{key}` in {bucket} got no answer within {after:?}")]
    Timeout {
        /// The bucket.
        bucket: String,
        /// The operation.
        op: &'static str,
        /// The object.
        key: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// A conditional write whose answer never became clear: it may have happened, or may still.
    #[error("the outcome of {op} of `{key}` in {bucket} is unknown after {attempts} attempts")]
    Unresolved {
        /// The bucket.
        bucket: String,
        /// The operation.
        op: &'static str,
        /// The object.
        key: String,
        /// Attempts made.
        attempts: u32,
        /// The last failure.
        #[source]
        source: Option<Box<Error>>,
    },
    /// The object is damaged or shorter than what refers to it says.
    #[error("`{key}` is corrupt: {reason}")]
    Corrupt {
        /// The object.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The condition of a write did not hold, or so the store says: an answer that still has to be resolved, and that
    /// does not leave this crate.
    #[error("the condition of the write of `{key}` did not hold")]
    Refused {
        /// The object.
        key: String,
        /// The store's answer.
        #[source]
        source: Box<StoreError>,
    },
    /// The store does not honour conditional writes.
    #[error(
        "{bucket} ignores conditional writes ({what}): two brokers could overwrite each other's commits. Use a store \
         that honours If-None-Match and If-Match on PUT (AWS S3, MinIO, Ceph 19 or later, Cloudflare R2, versitygw), \
         or upgrade this one"
    )]
    ConditionalWritesIgnored {
        /// The bucket.
        bucket: String,
        /// Which write went through that should not have.
        what: &'static str,
    },
    /// The store cannot do it.
    #[error("{bucket} does not support {op}")]
    Unsupported {
        /// The bucket.
        bucket: String,
        /// The operation.
        op: &'static str,
        /// The store's answer.
        #[source]
        source: Box<StoreError>,
    },
    /// Another process holds the folder.
    #[error("the bucket folder {folder} is in use by another broker: stop it, or give this one its own storage.url")]
    Locked {
        /// The folder.
        folder: String,
    },
    /// A failed sync of the folder: what was written may be lost, so nothing more is read or written.
    #[error("an earlier sync of the bucket folder {folder} failed: check the disk, then restart")]
    SyncFailed {
        /// The folder.
        folder: String,
    },
    /// A file operation of the folder that stands for the bucket.
    #[error("{op} {path}")]
    Io {
        /// The operation.
        op: &'static str,
        /// The file or folder.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Something that should not happen.
    #[error("{op} of `{key}` in {bucket} failed")]
    Internal {
        /// The bucket.
        bucket: String,
        /// The operation.
        op: &'static str,
        /// The object.
        key: String,
        /// The store's answer.
        #[source]
        source: Box<StoreError>,
    },
}

/// What a caller may do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// It is not there: object or bucket.
    NotFound,
    /// Someone else holds or changed it.
    Conflict,
    /// Try again later.
    Unavailable,
    /// Try again later; the request may still be applied.
    Timeout,
    /// Ask for permission.
    Denied,
    /// Report it; a human must look.
    Corrupt,
    /// Use another store.
    Unsupported,
    /// Correct the setting or the call.
    Invalid,
    /// A defect.
    Internal,
}

impl ErrorKind {
    /// The kind as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Denied => "denied",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::Invalid => "invalid",
            Self::Internal => "internal",
        }
    }
}

impl Error {
    /// What a caller may do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Url { .. } | Self::Invalid { .. } => ErrorKind::Invalid,
            Self::NotFound { .. } | Self::BucketMissing { .. } => ErrorKind::NotFound,
            Self::Denied { .. } | Self::Clock { .. } => ErrorKind::Denied,
            Self::Unavailable { .. } | Self::SyncFailed { .. } => ErrorKind::Unavailable,
            Self::Timeout { .. } | Self::Unresolved { .. } => ErrorKind::Timeout,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::ConditionalWritesIgnored { .. } | Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Locked { .. } | Self::Refused { .. } => ErrorKind::Conflict,
            Self::Internal { .. } => ErrorKind::Internal,
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Unavailable,
            },
        }
    }
}
