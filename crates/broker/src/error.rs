//! Errors: why a broker does not start, and what lower layers' errors mean to a client.

use runnel_api::{Error, ErrorKind};

use crate::home::Refusal;

/// Why a broker does not start. Every message says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}: {source}")]
    DataDir {
        /// The directory.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another process holds it.
    #[error("another broker is using this data directory ({path}): stop it first, or choose another node.data_dir")]
    Locked {
        /// The directory.
        path: String,
    },
    /// Disk and bucket do not belong together.
    #[error("{0}")]
    Refused(String),
    /// The bucket cannot be used.
    #[error("the bucket cannot be used: {0}")]
    Bucket(#[from] runnel_blob::Error),
    /// The metadata store cannot be used.
    #[error("the metadata store cannot be used: {0}")]
    Metadata(#[from] runnel_metastore::Error),
    /// The write-ahead log cannot be used.
    #[error("the write-ahead log cannot be used: {0}")]
    Wal(#[from] runnel_wal::Error),
    /// The cache cannot be used.
    #[error("the cache cannot be used: {0}")]
    Cache(#[from] runnel_cache::Error),
    /// Stored bytes cannot be read.
    #[error(transparent)]
    Format(#[from] runnel_format::Error),
}

impl From<Refusal> for StartError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.to_string())
    }
}

/// A batch that was refused before anything was stored.
pub(crate) fn record_error(error: &runnel_record::Error) -> Error {
    use runnel_record::ErrorKind as Kind;
    let kind = match error.kind() {
        Kind::Corrupt => ErrorKind::CorruptMessage,
        Kind::Invalid => ErrorKind::InvalidRecord,
        Kind::InvalidTimestamp => ErrorKind::InvalidTimestamp,
        Kind::UnsupportedFormat => ErrorKind::UnsupportedFormat,
        Kind::TooLarge => ErrorKind::MessageTooLarge,
    };
    Error::new(kind, error.to_string())
}

/// The bucket failed on a request that needs it.
pub(crate) fn bucket_error(error: &runnel_blob::Error) -> Error {
    use runnel_blob::ErrorKind as Kind;
    let kind = match error.kind() {
        Kind::Corrupt => ErrorKind::Corrupt,
        Kind::NotFound
        | Kind::Conflict
        | Kind::Unavailable
        | Kind::Timeout
        | Kind::Denied
        | Kind::Unsupported
        | Kind::Invalid
        | Kind::Internal => ErrorKind::StorageError,
    };
    Error::new(kind, format!("the bucket: {error}"))
}

/// The metadata store failed.
pub(crate) fn metadata_error(error: &runnel_metastore::Error) -> Error {
    Error::new(ErrorKind::StorageError, format!("the metadata store: {error}"))
}

/// Stored bytes cannot be read.
pub(crate) fn damaged(error: &runnel_format::Error) -> Error {
    Error::new(ErrorKind::Corrupt, error.to_string())
}
