//! What can go wrong in the fetch cache.

use std::sync::Arc;

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The load failed: its own error says what to do.
    Load,
    /// The cache could not be set up.
    Internal,
}

/// A run that the cache could not give, or a cache that could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The load failed; every caller that waited for it gets the same error.
    #[error(transparent)]
    Load(Arc<dyn std::error::Error + Send + Sync>),
    /// foyer could not be set up.
    #[error("cannot open the fetch cache: {0}")]
    Open(#[source] foyer::Error),
}

impl Error {
    /// What the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Load(_) => ErrorKind::Load,
            Self::Open(_) => ErrorKind::Internal,
        }
    }
}
