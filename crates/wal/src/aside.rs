//! Setting aside what was written off: a disk came back after its loss was accepted, and the log has gone on without it.
//!
//! The lanes are copied first, as they are: somebody may want to look what was lost. Then their states say which
//! partitions have nothing in them. Each step can be repeated; a copy is whole once it has a state.

use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runnel_format::wal::Span;
use runnel_record::{Offset, TopicPartition};
use runnel_runtime::{Disk, FailPoints, Reuse};
use uuid::Uuid;

use crate::lanes::{self, Lanes};
use crate::{Error, Options};

/// Bytes that are copied at once.
const COPY_BYTES: u64 = 1 << 20;

/// What is set aside of a partition: everything.
pub(crate) const WHOLE: (Offset, Offset) = (Offset::ZERO, Offset(i64::MAX));

/// Sets aside what the lanes of `session` hold of `partitions`: the log opens as if it were not there. Copies of the lanes
/// stay in `kept`, and are returned. The log must not be open. Blocks.
///
/// # Errors
/// A failing or full disk, or a lane whose state cannot be read.
pub fn set_aside(
    disk: &Arc<dyn Disk>,
    options: &Options,
    (disk_id, session): (Uuid, u64),
    partitions: &[TopicPartition],
    kept: &Path,
    fail: &FailPoints,
) -> Result<Vec<PathBuf>, Error> {
    let (lanes, _) = Lanes::open(Arc::clone(disk), &options.dir, disk_id, options.reserve_bytes)?;
    let mut copies = Vec::new();
    for lane in lanes.all().into_iter().filter(|lane| lane.state.session == session) {
        let Some(name) = lane.dir.file_name() else { continue };
        let copy = kept.join(name);
        keep(disk.as_ref(), &lane.dir, &copy)?;
        copies.push(copy);
        fail.hit("wal.aside.kept")?;
        lanes.update(lane.state.generation, |state| {
            for tp in partitions {
                let span = Span { tp: *tp, base: WHOLE.0, next: WHOLE.1 };
                if !state.accepted.contains(&span) {
                    state.accepted.push(span);
                }
            }
        })?;
        fail.hit("wal.aside.recorded")?;
    }
    Ok(copies)
}

/// Copies a lane, unless that was done. Its state comes last.
fn keep(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), Error> {
    let state = lanes::state_path(to);
    match disk.open(&state) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(source) => return Err(Error::io("opening", &state)(source)),
    }
    disk.create_dir(to).map_err(Error::io("creating", to))?;
    for name in disk.list(from).map_err(Error::io("listing", from))? {
        if crate::file::parse(&name).is_some() {
            copy(disk, &from.join(&name), &to.join(&name))?;
        }
    }
    disk.sync_dir(to).map_err(Error::io("syncing", to))?;
    let bytes = disk.read(&lanes::state_path(from), lanes::MAX_STATE_BYTES).map_err(Error::io("reading", from))?;
    disk.write_atomic(&state, &bytes).map_err(Error::io("replacing", &state))?;
    for parent in to.ancestors().skip(1).take(2) {
        disk.sync_dir(parent).map_err(Error::io("syncing", parent))?;
    }
    Ok(())
}

fn copy(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), Error> {
    match disk.remove(to) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io("removing", to)(error)),
        _ => {}
    }
    let source = disk.open(from).map_err(Error::io("opening", from))?;
    let len = source.len().map_err(Error::io("reading", from))?;
    let copy = disk.create(to, len).map_err(Error::io("creating", to))?;
    let mut at = 0;
    while at < len {
        let part = usize::try_from(COPY_BYTES.min(len - at)).unwrap_or(usize::MAX);
        let bytes = source.read_exact_at(part, at, Reuse::Unlikely).map_err(Error::io("reading", from))?;
        copy.write_at(&[IoSlice::new(&bytes)], at).map_err(Error::io("writing", to))?;
        at += bytes.len() as u64;
    }
    copy.sync().map_err(Error::io("syncing", to))
}
