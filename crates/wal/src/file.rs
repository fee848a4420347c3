//! One file of a lane.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runnel_format::wal::{FILE_HEADER_LEN, FileHeader, LaneState};
use runnel_runtime::simulation::random_id;
use runnel_runtime::{Disk, DiskFile, Reuse};

use crate::Error;

/// Which file of which lane. Orders by age, over all lanes of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileId {
    /// Age rank of the lane.
    pub(crate) generation: u64,
    /// Number in the lane.
    pub(crate) number: u64,
}

/// An open lane file. Whoever holds one keeps it from being recycled.
pub(crate) struct LaneFile {
    pub(crate) id: FileId,
    pub(crate) path: PathBuf,
    pub(crate) io: Arc<dyn DiskFile>,
    pub(crate) seed: u32,
    pub(crate) len: u64,
}

/// What a file in a lane's directory is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Holds blocks.
    Log,
    /// Was being prepared.
    Next,
    /// The end of a sealed lane.
    Seal,
}

impl Role {
    const fn extension(self) -> &'static str {
        match self {
            Self::Log => "wal",
            Self::Next => "next",
            Self::Seal => "seal",
        }
    }
}

/// Path of file `number` in the lane directory `dir`.
pub(crate) fn path(dir: &Path, number: u64, role: Role) -> PathBuf {
    dir.join(format!("{number:016x}.{}", role.extension()))
}

/// Reads a file name back.
pub(crate) fn parse(name: &str) -> Option<(u64, Role)> {
    let (number, extension) = name.split_once('.')?;
    let role = [Role::Log, Role::Next, Role::Seal].into_iter().find(|role| role.extension() == extension)?;
    if number.len() != 16 {
        return None;
    }
    Some((u64::from_str_radix(number, 16).ok()?, role))
}

impl LaneFile {
    /// Creates a file of `len` bytes at `path`, header included, synced; the caller syncs the directory.
    pub(crate) fn create(disk: &dyn Disk, path: &Path, lane: &LaneState, number: u64, len: u64) -> Result<Self, Error> {
        let io = disk.create(path, len).map_err(Error::io("creating", path))?;
        Self::initialise(io, path, lane, number, len)
    }

    /// Gives a file a new header, and so a new life: nothing that was in it will ever pass again.
    pub(crate) fn initialise(
        io: Arc<dyn DiskFile>,
        path: &Path,
        lane: &LaneState,
        number: u64,
        len: u64,
    ) -> Result<Self, Error> {
        let LaneState { lane, disk, session, generation, .. } = *lane;
        let (_, salt) = random_id().as_u64_pair();
        let header = FileHeader { lane, disk, session, generation, salt, file: number, len };
        io.write_at(&[io::IoSlice::new(&header.encode())], 0).map_err(Error::io("writing the header of", path))?;
        io.sync().map_err(Error::io("syncing", path))?;
        let id = FileId { generation, number };
        Ok(Self { id, path: path.to_owned(), io, seed: header.seed(), len })
    }

    /// Opens file `number` of a lane. A header that is damaged, or of another file, is `Error::Format`.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, lane: &LaneState, number: u64) -> Result<Self, Error> {
        let io = disk.open(path).map_err(Error::io("opening", path))?;
        let len = io.len().map_err(Error::io("reading the length of", path))?;
        let head = FILE_HEADER_LEN.min(usize::try_from(len).unwrap_or(FILE_HEADER_LEN));
        let bytes = io.read_exact_at(head, 0, Reuse::Unlikely).map_err(Error::io("reading the header of", path))?;
        let header = FileHeader::decode(&bytes)
            .and_then(|header| {
                if (header.lane, header.file, header.generation) == (lane.lane, number, lane.generation) {
                    Ok(header)
                } else {
                    Err(runnel_format::Error::Corrupt { what: "WAL file header", reason: "belongs to another file" })
                }
            })
            .map_err(|source| Error::Format { path: path.to_owned(), source })?;
        let id = FileId { generation: lane.generation, number };
        Ok(Self { id, path: path.to_owned(), io, seed: header.seed(), len: len.min(header.len) })
    }
}

impl std::fmt::Debug for LaneFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaneFile").field("id", &self.id).field("path", &self.path).finish_non_exhaustive()
    }
}
