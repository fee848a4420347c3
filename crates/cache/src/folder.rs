//! The folder of the disk tier.

use std::fs;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};

/// What a write past the page cache is aligned to.
const PAGE: usize = 4096;

/// A folder that can be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    pub(crate) dir: PathBuf,
    /// Whether its files can be read and written past the page cache: what is in there costs another copy, and the memory
    /// is better left to the tier above.
    pub(crate) direct: bool,
}

/// Checks that the folder can be made and written to. foyer panics where this would fail.
pub(crate) async fn prepare(dir: &Path) -> Result<Folder> {
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || {
        fs::create_dir_all(&dir)?;
        let probe = dir.join("probe");
        drop(fs::File::create(&probe)?);
        let direct = writes_directly(&probe).is_ok();
        fs::remove_file(&probe)?;
        Ok(Folder { dir, direct })
    })
    .await
    .map_err(Error::other)?
}

/// A file system may refuse to open such a file, or to write to it.
#[cfg(target_os = "linux")]
fn writes_directly(probe: &Path) -> Result<()> {
    use std::os::unix::fs::{FileExt, OpenOptionsExt};

    let flags = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).map_err(Error::other)?;
    let file = fs::OpenOptions::new().write(true).custom_flags(flags).open(probe)?;
    let memory = vec![0; 2 * PAGE];
    let start = memory.as_ptr().align_offset(PAGE);
    file.write_all_at(memory.get(start..start + PAGE).ok_or_else(|| Error::other("no page in memory"))?, 0)
}

#[cfg(not(target_os = "linux"))]
fn writes_directly(_: &Path) -> Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn nothing_is_left_of_the_probe() {
        let dir = tempfile::tempdir().unwrap();
        let folder = prepare(&dir.path().join("new")).await.unwrap();
        assert_eq!(folder.dir, dir.path().join("new"));
        assert_eq!(fs::read_dir(&folder.dir).unwrap().count(), 0);
    }
}
