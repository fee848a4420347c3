//! Settings of the embedded store.

/// Settings of [`crate::Embedded`]. The defaults fit a single node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes of the file kept in memory.
    pub cache_bytes: usize,
    /// Transactions kept in memory for watches that start in the past or fall behind.
    pub history_changes: usize,
    /// Bytes of keys and values that those transactions may hold.
    pub history_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: 16 << 20, history_changes: 4_096, history_bytes: 16 << 20 }
    }
}
