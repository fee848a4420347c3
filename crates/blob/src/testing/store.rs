//! A store that does what [`Faults`] say to the one below it.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, UploadPart,
};

use super::{Fault, Faults, Op};

type Result<T> = std::result::Result<T, Error>;

fn injected(op: Op) -> Error {
    Error::Generic { store: "fault", source: format!("injected failure of {op:?}").into() }
}

/// Does `fault` to the request `apply`.
async fn perform<T>(fault: Option<Fault>, op: Op, path: &Path, apply: impl Future<Output = Result<T>>) -> Result<T> {
    match fault {
        None | Some(Fault::IgnoreCondition) => apply.await,
        Some(Fault::FailBefore | Fault::ApplyLater(_)) => Err(injected(op)),
        Some(Fault::LoseAnswer) => {
            apply.await?;
            Err(injected(op))
        }
        Some(Fault::HangAfter) => {
            apply.await?;
            std::future::pending().await
        }
        Some(Fault::Delay(time) | Fault::Held(time)) => {
            tokio::time::sleep(time).await;
            apply.await
        }
        Some(Fault::Conflict) => Err(Error::AlreadyExists { path: path.to_string(), source: "409".into() }),
    }
}

impl Faults {
    async fn around<T>(&self, op: Op, path: &Path, apply: impl Future<Output = Result<T>>) -> Result<T> {
        perform(self.next(op, path.as_ref()), op, path, apply).await
    }
}

#[derive(Debug)]
pub(crate) struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    faults: Faults,
}

impl FaultStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, faults: Faults) -> Self {
        Self { inner, faults }
    }

    /// Passes a listing on, or fails it.
    fn listing(
        &self,
        prefix: Option<&Path>,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (faults, prefix) = (self.faults.clone(), prefix.cloned().unwrap_or_default());
        async move { faults.around(Op::List, &prefix, async { Ok(listing) }).await }.into_stream().try_flatten().boxed()
    }
}

impl std::fmt::Display for FaultStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "faults over {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut opts: PutOptions) -> Result<PutResult> {
        let op = match opts.mode {
            PutMode::Overwrite => Op::Put,
            PutMode::Create => Op::Create,
            PutMode::Update(_) => Op::Replace,
        };
        let fault = self.faults.next(op, location.as_ref());
        if fault == Some(Fault::IgnoreCondition) {
            opts.mode = PutMode::Overwrite;
        }
        if let Some(Fault::ApplyLater(time) | Fault::Held(time)) = fault {
            let (inner, to, payload, opts) = (Arc::clone(&self.inner), location.clone(), payload.clone(), opts.clone());
            let held = self.faults.carry(time, async move { inner.put_opts(&to, payload, opts).await });
            if let Some(Fault::Held(_)) = fault {
                return held.await.unwrap_or_else(|_| Err(injected(op)));
            }
        }
        perform(fault, op, location, self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(FaultUpload { inner, location: location.clone(), faults: self.faults.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.faults.around(Op::Get, location, self.inner.get_opts(location, options)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, faults) = (Arc::clone(&self.inner), self.faults.clone());
        locations
            .and_then(move |location| {
                let (inner, faults) = (Arc::clone(&inner), faults.clone());
                async move {
                    let fault = faults.next(Op::Delete, location.as_ref());
                    if let Some(Fault::Held(time)) = fault {
                        let (inner, at) = (Arc::clone(&inner), location.clone());
                        let held = faults.carry(time, async move { inner.delete(&at).await });
                        held.await.unwrap_or_else(|_| Err(injected(Op::Delete)))?;
                    } else {
                        perform(fault, Op::Delete, &location, inner.delete(&location)).await?;
                    }
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// A multipart upload under the same faults.
#[derive(Debug)]
struct FaultUpload {
    inner: Box<dyn MultipartUpload>,
    location: Path,
    faults: Faults,
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (faults, location, part) = (self.faults.clone(), self.location.clone(), self.inner.put_part(data));
        async move { faults.around(Op::PutPart, &location, part).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.faults.around(Op::Complete, &self.location, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.faults.around(Op::Abort, &self.location, self.inner.abort()).await
    }
}
