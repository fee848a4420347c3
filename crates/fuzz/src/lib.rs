//! What is thrown at every decoder that reads bytes from outside or from the disk: one function for each, a finding is
//! a panic (docs/testing.md, "Fuzzing").
//!
//! Owns: the targets and the inputs that they start from; a seeded mutator, so that the same functions run on stable
//! Rust, in `tests/corpora.rs`. Deliberately not here: libFuzzer, which needs a compiler of its own (`fuzz/`).
//!
//! A checksum stops nearly every mutation at the door. Whoever can write to a bucket or a disk can also compute one, so
//! the targets mend checksums before they decode.
#![allow(clippy::unwrap_used, clippy::panic)] // a finding is a panic

mod batches;
mod groups;
mod grpc;
mod kafka;
mod log;
mod manifest;
mod metadata;
pub mod mutate;
mod names;
mod panics;
mod sealed;
mod segments;

/// A decoder under fire.
pub struct Target {
    /// Name of the target, and of the folder of its corpus.
    pub name: &'static str,
    /// Takes any bytes. Panics if the decoder misbehaves.
    pub run: fn(&[u8]),
    /// Inputs from real encoders, to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds }
}

/// Every target.
pub static TARGETS: [Target; 15] = [
    target("record_batch", batches::batch, batches::seeds),
    target("codec", batches::codec, batches::codec_seeds),
    target("kafka_stream", kafka::stream, kafka::stream_seeds),
    target("kafka_frames", kafka::frames, kafka::frame_seeds),
    target("grpc_calls", grpc::calls, grpc::seeds),
    target("wal_block", log::block, log::block_seeds),
    target("wal_files", log::files, log::file_seeds),
    target("wal_recovery", log::recovery, log::recovery_seeds),
    target("wal_slot", log::slot, log::slot_seeds),
    target("manifest", manifest::run, manifest::seeds),
    target("metadata", metadata::run, metadata::seeds),
    target("group_log", groups::run, groups::seeds),
    target("segment", segments::file, segments::file_seeds),
    target("cached_run", segments::cached_run, segments::run_seeds),
    target("names", names::run, names::seeds),
];

/// The target of this name.
///
/// # Panics
/// If there is none.
pub fn find(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no target `{name}`"))
}
