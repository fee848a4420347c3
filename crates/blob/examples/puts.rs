//! What `object_store` by itself puts in a second: the bare loop beside which acknowledgements from the bucket are measured.
//!
//! `puts BUCKET PREFIX OBJECTS BYTES PARALLEL` puts so many objects of so many bytes, so many at once, and prints the
//! seconds that it took. Where the bucket is and who asks is in the environment, `AWS_ENDPOINT` and the like. Run by
//! `cargo xtask bench cluster`.

#![allow(clippy::print_stdout)] // a command-line tool

use std::error::Error;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use tokio::time::Instant;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [bucket, prefix, objects, bytes, parallel] = args.as_slice() else {
        return Err("usage: puts BUCKET PREFIX OBJECTS BYTES PARALLEL".into());
    };
    let (objects, bytes, parallel): (u64, usize, usize) = (objects.parse()?, bytes.parse()?, parallel.parse()?);
    let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build()?;
    let payload = PutPayload::from((0..bytes).map(|at| (at % 251) as u8).collect::<Vec<u8>>());
    let started = Instant::now();
    let puts = (0..objects).map(|number| {
        let (store, payload, path) = (&store, payload.clone(), Path::from(format!("{prefix}/{number:020}")));
        async move { store.put(&path, payload).await.map(drop) }
    });
    stream::iter(puts).buffer_unordered(parallel).try_for_each(async |()| Ok(())).await?;
    println!("{:.3}", started.elapsed().as_secs_f64());
    Ok(())
}
