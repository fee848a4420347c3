//! Settings of the stores.

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

/// How etcd is reached, and which keys in it are ours.
#[derive(Clone, Default)]
pub struct EtcdOptions {
    /// `host:port` of its members.
    pub endpoints: Vec<String>,
    /// All keys lie below it. Slashes at its ends do not matter.
    pub prefix: String,
    /// Name and password.
    pub user: Option<(String, String)>,
    /// Encryption; none without.
    pub tls: Option<EtcdTls>,
}

/// Certificates for etcd, in PEM.
#[derive(Clone, Default)]
pub struct EtcdTls {
    /// Who signed the server's; those whom the system trusts without.
    pub ca: Option<Vec<u8>>,
    /// Our own certificate and its key, where etcd asks for one.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}
