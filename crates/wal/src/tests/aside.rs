use std::path::Path;
use std::sync::Arc;

use runnel_runtime::{Disk, FailAction, FailPoints, SimDisk};

use super::rig::*;
use crate::{Error, set_aside};

const KEPT: &str = "/kept";

/// The lane of a session that two partitions wrote to, of which the first was written off.
fn written_off() -> SimDisk {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk);
    put(&log, entry(0, 0, 1, 10, b"lost"));
    put(&log, entry(1, 0, 1, 10, b"good"));
    log.close();
    disk
}

fn set_aside_0(disk: &SimDisk, fail: &FailPoints) -> Result<usize, Error> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let who = (identity().disk_id, identity().session);
    set_aside(&disk, &options(), who, &[tp(0)], Path::new(KEPT), fail).map(|copies| copies.len())
}

#[test]
fn what_was_written_off_is_kept_and_not_served() {
    let disk = written_off();
    assert_eq!(set_aside_0(&disk, &FailPoints::default()).unwrap(), 1);
    let (log, recovered) = open(&disk);
    assert!(!recovered.tails.contains_key(&tp(0)) && recovered.corrupt.is_empty());
    assert_eq!(tail_bases(&recovered, 1), [0]);
    assert_eq!(bases(&read_all(&log, 1, 0, usize::MAX)), [0]);
    assert!(matches!(read(&log, 0, 0..10, usize::MAX), Err(Error::Absent { .. })));
    // The log goes on elsewhere, and comes back here further on: what is between the two is not here.
    put(&log, entry(0, 20, 3, 10, b"new"));
    assert!(matches!(read(&log, 0, 5..30, usize::MAX), Err(Error::Absent { .. })));
    assert_eq!(bases(&read(&log, 0, 20..30, usize::MAX).unwrap()), [20]);
    log.close();

    let kept = disk.list(Path::new(KEPT)).unwrap();
    assert_eq!(kept.len(), 1);
    let files = disk.list(&Path::new(KEPT).join(&kept[0])).unwrap();
    let holds = |name: &String| {
        let bytes = disk.read(&Path::new(KEPT).join(&kept[0]).join(name), 64 << 20).unwrap();
        bytes.windows(4).any(|some| some == b"lost")
    };
    assert!(files.iter().any(holds), "{files:?}");
}

#[test]
fn it_is_set_aside_whenever_that_was_cut_short() {
    for point in ["wal.aside.kept", "wal.aside.recorded"] {
        let disk = written_off();
        let fail = FailPoints::default();
        fail.arm(point, FailAction::Error);
        set_aside_0(&disk, &fail).unwrap_err();
        let disk = disk.crash(7);
        assert_eq!(set_aside_0(&disk, &FailPoints::default()).unwrap(), 1, "{point}");
        assert_eq!(set_aside_0(&disk, &FailPoints::default()).unwrap(), 1, "{point}: once more");
        let (log, recovered) = open(&disk);
        assert!(!recovered.tails.contains_key(&tp(0)), "{point}");
        assert_eq!(tail_bases(&recovered, 1), [0], "{point}");
        log.close();
    }
}
