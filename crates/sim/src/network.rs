//! Who listens where, and connections that end when a process does.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use runnel_runtime::{Dial, Line};
use tokio::io::DuplexStream;

/// All processes that listen, by port, with the ends of their connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network(Arc<Mutex<BTreeMap<u16, Vec<DuplexStream>>>>);

impl Network {
    pub(crate) fn listen(&self, port: u16) {
        self.ports().insert(port, Vec::new());
    }

    /// The process is gone, and its connections with it.
    pub(crate) fn hang_up(&self, port: u16) {
        self.ports().remove(&port);
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<u16, Vec<DuplexStream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Dial for Network {
    async fn dial(&self, _host: &str, port: u16) -> io::Result<Line> {
        match self.ports().get_mut(&port) {
            Some(lines) => {
                let (ours, theirs) = tokio::io::duplex(1);
                lines.push(theirs);
                Ok(Box::new(ours))
            }
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}
