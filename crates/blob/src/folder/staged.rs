//! What a process that was killed has left: files that were written and not yet renamed.

use std::fs::File;
use std::io::{Result, Write};
use std::path::Path;
use std::time::SystemTime;

/// The stem of the files by which processes keep each other from one group of objects. A deleted one would let two in.
pub(super) const LOCK: &str = "lock";

/// Whether a file is a staged one: those end in `#digits`, here as in the library, and no listing shows them.
fn is_staged(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(stem, number)| {
        stem != LOCK && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The time now as the file system of an open file tells it, which may be another machine's.
pub(super) fn now(mut file: &File) -> Result<SystemTime> {
    file.write_all(b"held\n")?;
    file.metadata()?.modified()
}

/// Deletes staged files below `folder` that were last written before `before`; returns how many. One that is wrongly
/// taken for such a file, since a clock was set, costs an upload that fails and is made again.
pub(super) fn sweep(folder: &Path, before: SystemTime) -> Result<usize> {
    let mut swept = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            swept += sweep(&entry.path(), before)?;
        } else if is_staged(&entry.file_name().to_string_lossy()) && entry.metadata()?.modified()? < before {
            std::fs::remove_file(entry.path())?;
            swept += 1;
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::FileTimes;
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_old_files_that_no_listing_shows_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let (deep, second) = (dir.path().join("a/b"), Duration::from_secs(1));
        std::fs::create_dir_all(&deep).unwrap();
        let lock = File::create(dir.path().join("lock")).unwrap();
        let held = now(&lock).unwrap();
        let write = |name: &str, at| {
            let file = File::create(deep.join(name)).unwrap();
            file.set_times(FileTimes::new().set_modified(at)).unwrap();
        };
        for name in ["old.parquet#1", "old#20", "kept", "kept#", "kept#1a", "1", "lock#20"] {
            write(name, held - second);
        }
        write("new.parquet#1", held);
        assert_eq!(sweep(dir.path(), held).unwrap(), 2);
        let mut left: Vec<_> =
            std::fs::read_dir(&deep).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["1", "kept", "kept#", "kept#1a", "lock#20", "new.parquet#1"]);
    }
}
