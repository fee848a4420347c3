//! An object that comes in parts.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::{Error as StoreError, MultipartUpload, PutPayload, PutResult, UploadPart};
use runnel_runtime::simulation::blocking;

use super::staged::Staged;
use super::{Folder, io, written};

/// Parts are written side by side, each behind those that were asked for before it.
#[derive(Debug)]
pub(super) struct Upload {
    folder: Arc<Folder>,
    /// `None` once it is complete or given up.
    staged: Option<Arc<Staged>>,
    len: u64,
}

impl Upload {
    pub(super) const fn new(folder: Arc<Folder>, staged: Arc<Staged>) -> Self {
        Self { folder, staged: Some(staged), len: 0 }
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        let (staged, position) = (self.staged.clone(), self.len);
        self.len += part.content_length() as u64;
        Box::pin(async move {
            let staged = staged.ok_or_else(over)?;
            blocking(move || staged.write(&part, position)).await?.map_err(io)
        })
    }

    async fn complete(&mut self) -> Result<PutResult, StoreError> {
        // Nobody else has it when all parts are written.
        let staged = self.staged.take().and_then(Arc::into_inner).ok_or_else(over)?;
        let folder = Arc::clone(&self.folder);
        blocking(move || folder.complete(staged)).await??;
        Ok(written())
    }

    async fn abort(&mut self) -> Result<(), StoreError> {
        let staged = self.staged.take();
        Ok(blocking(move || drop(staged)).await?)
    }
}

fn over() -> StoreError {
    io(std::io::Error::other("the upload is over, or parts of it are still being written"))
}
