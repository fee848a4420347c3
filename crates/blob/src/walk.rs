//! Going through everything below a folder, however much that is, a page at a time.

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::{Error as StoreError, ObjectMeta};

use crate::{Bucket, Error, Listed};

/// Names of one page.
const PAGE: usize = 1000;

/// A listing that is read as it is asked for.
pub struct Walk {
    bucket: Bucket,
    prefix: String,
    names: BoxStream<'static, Result<ObjectMeta, StoreError>>,
}

impl Bucket {
    /// Goes through all objects below the folder `prefix` (`""`: all). What is written or deleted meanwhile may show or not.
    /// Names come in the order of the store, which is none in a folder; those of one folder come together.
    pub fn walk(&self, prefix: &str) -> Result<Walk, Error> {
        let location = self.location(prefix)?;
        // Asked once more at its end it must not panic.
        let names = self.store().list(Some(&location)).fuse().boxed();
        Ok(Walk { bucket: self.clone(), prefix: prefix.to_owned(), names })
    }
}

impl Walk {
    /// The next objects; none at the end. After an error the walk is over, and has not shown everything.
    pub async fn next(&mut self) -> Result<Vec<Listed>, Error> {
        let page = self.names.by_ref().take(PAGE).try_collect();
        let found: Vec<ObjectMeta> = self.bucket.request("list", &self.prefix, page).await?;
        Ok(self.bucket.listed(found))
    }
}
