//! Producer snapshots at the end of the root, also while the bucket is down.
//!
//! A small snapshot is inside the root, and so in its copy on this disk. A large one is an object in the bucket; this
//! disk keeps a copy of its bytes, named by the object, and never trusts one whose name or checksum differs.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use runnel_api::{Error, ErrorKind};
use runnel_format::manifest::{ProducerState, Root};
use runnel_format::producer::ProducerSnapshot;
use runnel_runtime::disk::is_full;
use runnel_runtime::simulation::blocking;
use runnel_segment::manifest::Manifest;

use crate::Broker;
use crate::error::{damaged, segment_error};

impl Broker {
    /// The dedup state at the end of the root.
    pub(crate) async fn producers_at_end(&self, manifest: &Manifest) -> Result<ProducerSnapshot, Error> {
        let bytes = match manifest.snapshot().producers().await {
            Ok(bytes) => bytes,
            Err(error) => self.kept_producers(manifest.root()).await.ok_or_else(|| segment_error(&error))?,
        };
        if bytes.is_empty() {
            return Ok(ProducerSnapshot { offset: manifest.root().end, ..ProducerSnapshot::empty() });
        }
        ProducerSnapshot::decode(&bytes).map_err(|e| damaged(&e))
    }

    /// Keeps a copy of a snapshot that is not inside the root. Called before the copy of the root is stored.
    pub(crate) async fn keep_producers(&self, manifest: &Manifest) -> Result<(), Error> {
        let root = manifest.root();
        let ProducerState::Stored { .. } = root.producers else { return Ok(()) };
        let bytes = manifest.snapshot().producers().await.map_err(|e| segment_error(&e))?;
        let (disk, folder, file) = (Arc::clone(&self.ports.disk), self.home.layout.producers(), self.file_of(root));
        let written = blocking(move || {
            disk.create_dir(&folder)?;
            folder.parent().map_or(Ok(()), |data_dir| disk.sync_dir(data_dir))?;
            disk.write_atomic(&file, &bytes)
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            // Trimming the log is what makes room, so it must not wait for room. The copy that is there does not match
            // the new root, and is not used.
            Ok(Err(error)) if is_full(&error) => {
                tracing::warn!(partition = %root.tp, "the disk is full: no copy of the producer state for an outage");
                Ok(())
            }
            Ok(Err(error)) => Err(Error::new(ErrorKind::StorageError, format!("cannot keep producer state: {error}"))),
            Err(error) => Err(Error::new(ErrorKind::Internal, format!("keeping producer state ended early: {error}"))),
        }
    }

    async fn kept_producers(&self, root: &Root) -> Option<Bytes> {
        let ProducerState::Stored { bytes: len, crc32c: crc, .. } = root.producers else { return None };
        let (disk, file, limit) = (Arc::clone(&self.ports.disk), self.file_of(root), usize::try_from(len).ok()?);
        let read = blocking(move || disk.read(&file, limit)).await.ok()?.ok()?;
        (read.len() == limit && crc32c::crc32c(&read) == crc).then(|| Bytes::from(read))
    }

    /// One file a partition: the next snapshot replaces it. Its checksum is in the root that goes with it.
    fn file_of(&self, root: &Root) -> PathBuf {
        self.home.layout.producers().join(format!("{}-{}", root.tp.topic, root.tp.partition))
    }
}
