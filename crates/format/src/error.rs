//! What can be wrong with stored bytes.

/// Stored bytes that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are damaged.
    #[error("{what} is corrupt: {reason}")]
    Corrupt {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The bytes were written by a newer release.
    #[error("{what} has format version {found}, this release reads up to {newest}: run a newer release")]
    NewerFormat {
        /// What was read.
        what: &'static str,
        /// The version found.
        found: u16,
        /// The newest version known.
        newest: u16,
    },
}
