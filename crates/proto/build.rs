//! Compiles `proto/` in pure Rust, so that a plain `cargo build` needs no `protoc`.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message;

/// What brokers say to each other.
const INTERNAL: &str = "runnel.peer.v1";

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    find(&root, &mut files)?;
    files.sort();
    let descriptors = protox::compile(files, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // For server reflection: what clients may know.
    let mut public = descriptors.clone();
    public.file.retain(|file| file.package() != INTERNAL);
    std::fs::write(out.join("descriptors.bin"), public.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").codec_path("crate::Exact").compile_fds(descriptors)?;
    Ok(())
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
