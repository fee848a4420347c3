//! Does the store honour conditional writes?

use bytes::Bytes;
use runnel_runtime::simulation::random_id;

use crate::{Bucket, CasOutcome, Error, Key, Version};

impl Bucket {
    /// Checks, on an object of its own, that the bucket is there, that it may be written, read and deleted, and that
    /// a create of what is present and a replace of what has changed are refused. Everything above relies on it.
    pub async fn probe(&self) -> Result<(), Error> {
        let key = Key::Probe(random_id());
        let probed = self.probe_with(&key).await;
        let cleaned = self.delete(&key).await;
        probed?;
        cleaned
    }

    async fn probe_with(&self, key: &Key) -> Result<(), Error> {
        let first = match self.create_register(key, Bytes::from_static(b"1")).await {
            Err(Error::Unsupported { .. }) => return self.ignored("it has no conditional create"),
            Ok(CasOutcome::Conflict(_)) => return self.ignored("a create of an absent object was refused"),
            Ok(CasOutcome::Done(version)) => version,
            Err(error) => return Err(error),
        };
        if let CasOutcome::Done(_) = self.create_register(key, Bytes::from_static(b"2")).await? {
            return self.ignored("a create of an object that is present was accepted");
        }
        let second = match self.replace_register(key, &first, Bytes::from_static(b"3")).await {
            Err(Error::Unsupported { .. }) => return self.ignored("it has no conditional replace"),
            Ok(CasOutcome::Conflict(_)) => return self.ignored("a replace of what was just written was refused"),
            Ok(CasOutcome::Done(version)) => version,
            Err(error) => return Err(error),
        };
        self.expect_stale(key, &first, &second).await
    }

    async fn expect_stale(&self, key: &Key, stale: &Version, current: &Version) -> Result<(), Error> {
        match self.replace_register(key, stale, Bytes::from_static(b"4")).await? {
            CasOutcome::Conflict(Some(found)) if found.version.same_write(current) => Ok(()),
            _ => self.ignored("a replace of an older version was accepted"),
        }
    }

    fn ignored(&self, what: &'static str) -> Result<(), Error> {
        Err(Error::ConditionalWritesIgnored { bucket: self.name().to_owned(), what })
    }
}
