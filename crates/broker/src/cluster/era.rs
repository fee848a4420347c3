//! The era of a cluster, which a restore raises in the bucket before it ends any lane.
//!
//! A broker that did not hear of that, because it has another metadata store or none, leads on what is led elsewhere. What
//! it does in the bucket fails: its lane is ended and its roots are taken over. That it gets no other lane, and lets go of
//! what it has on its disk alone, is the matter of this module.

use std::sync::Arc;
use std::time::Duration;

use runnel_api::{Error, ErrorKind};

use crate::Broker;
use crate::error::StartError;
use crate::home;

/// How often a broker looks whether its cluster was restored without it.
const LOOK: Duration = Duration::from_secs(5);

impl Broker {
    /// Looks for a restore from time to time. Ends with the broker.
    pub(super) async fn watch_era(self: Arc<Self>) {
        loop {
            tokio::select! {
                biased;
                () = self.stop_signal.triggered() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            match self.check_era().await {
                Ok(()) => {}
                Err(error) if error.kind == ErrorKind::NotLeader => return self.fail(error.message),
                Err(error) => tracing::debug!(%error, "the bucket does not show the era of the cluster"),
            }
        }
    }

    /// Whether the cluster is still in the era in which this broker joined it.
    ///
    /// A restore raises the era, then ends all lanes that it finds. So a lane that was there before the era was looked at
    /// is ended by every restore whose era is not seen here.
    pub(crate) async fn check_era(&self) -> Result<(), Error> {
        let Some(member) = &self.member else { return Ok(()) };
        let found = home::read_cluster(&self.bucket).await;
        if let Err(StartError::Level(misfit)) = &found {
            self.outgrown(*misfit);
        }
        let found = found.map_err(|error| Error::new(ErrorKind::StorageError, error.to_string()))?;
        match found {
            Some((record, _)) if record.era == member.era => Ok(()),
            Some((record, _)) => Err(replaced(member.era, record.era)),
            None => Err(Error::new(ErrorKind::StorageError, "the bucket has lost the record of its cluster")),
        }
    }
}

fn replaced(own: u32, found: u32) -> Error {
    let what = format!("the cluster was restored: this broker is of era {own}, the bucket of era {found}");
    Error::new(ErrorKind::NotLeader, what)
}
