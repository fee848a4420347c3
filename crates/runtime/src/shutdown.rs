//! The signal to stop, seen by everything that runs.

use tokio_util::sync::CancellationToken;

/// A stop signal. Cheap to clone; children stop with their parent, not the reverse.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A signal that nobody has raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// A signal that follows this one and can be raised alone.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Raises the signal.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether the signal was raised.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits for the signal. Cancel-safe.
    pub async fn triggered(&self) {
        self.0.cancelled().await;
    }
}
