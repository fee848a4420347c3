//! What `object_store` by itself gets in a second: the bare loop beside which reading from the bucket is measured.
//!
//! `gets BUCKET PREFIX BYTES PARALLEL` gets every Parquet object below a prefix in ranges of so many bytes, so many at once,
//! and prints the bytes and the seconds that it took. Where the bucket is and who asks is in the environment, `AWS_ENDPOINT`
//! and the like. Run by `cargo xtask bench cold`.

#![allow(clippy::print_stdout)] // a command-line tool

use std::error::Error;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::time::Instant;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [bucket, prefix, bytes, parallel] = args.as_slice() else {
        return Err("usage: gets BUCKET PREFIX BYTES PARALLEL".into());
    };
    let (bytes, parallel): (usize, usize) = (bytes.parse()?, parallel.parse()?);
    let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build()?;
    let objects: Vec<_> = store.list(Some(&Path::from(prefix.as_str()))).try_collect().await?;
    let parquet = objects.iter().filter(|object| object.location.extension() == Some("parquet"));
    let ranges = parquet.flat_map(|object| {
        let starts = (0..object.size).step_by(bytes);
        starts.map(|start| (&object.location, start..object.size.min(start + bytes as u64)))
    });
    let started = Instant::now();
    let gets = ranges.map(|(path, range)| {
        let store = &store;
        async move { store.get_range(path, range).await.map(|got| got.len()) }
    });
    let got: usize =
        stream::iter(gets).buffer_unordered(parallel).try_fold(0, |sum, got| async move { Ok(sum + got) }).await?;
    println!("{got} {:.3}", started.elapsed().as_secs_f64());
    Ok(())
}
