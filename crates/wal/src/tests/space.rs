use std::path::Path;
use std::sync::Arc;

use runnel_record::Offset;
use runnel_runtime::{Disk, FailPoints, SimDisk};

use super::rig::*;
use crate::{Error, ErrorKind, LocalLog, Options};

/// Appends until refused; returns the next offset. Everything accepted must become durable without more space.
fn fill(log: &LocalLog, mut base: i64) -> (i64, Error) {
    let (ears, listener) = ears();
    let mut last = None;
    loop {
        // How far the keeper is must not decide what is accepted.
        wait_for_next_file(log);
        match log.append(entry(0, base, 1, 1, &[base as u8; 3000]), &listener) {
            Ok(seq) => (last, base) = (Some(seq), base + 1),
            Err(error) => {
                assert!(last.is_none_or(|seq| ears.wait(seq)), "an accepted entry has room");
                return (base, error);
            }
        }
        assert!(ears.wait(last.unwrap()));
    }
}

#[test]
fn a_full_disk_refuses_appends_and_goes_on_with_the_rest() {
    let disk = SimDisk::new(1);
    disk.set_capacity(300 << 10);
    let (log, _) = open(&disk);
    let (base, error) = fill(&log, 0);
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(base > 30 && log.pressure().full, "{base}");
    assert_eq!(read_all(&log, 0, 0, 10_000).len() as i64, base, "reads go on");
    disk.set_capacity(disk.used());
    log.shipped(tp(0), Offset(base));
    log.wait_trimmed();
    // The reserve paid for the trim pointer, and the trimmed files are the room.
    while log.pressure().full {
        std::thread::yield_now();
    }
    let (after, _) = fill(&log, base);
    assert!(after > base + 10);
    log.close();
    let (_, recovered) = open(&disk.kill());
    assert_eq!(tail_bases(&recovered, 0).last(), Some(&(after - 1)));
}

#[test]
fn the_reserve_is_made_behind_the_start_and_before_the_next_file() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk);
    let reserve = || disk.open(&Path::new(DIR).join("reserve"));
    assert!(reserve().is_err(), "the start waited for it");
    // Room for one of the two.
    disk.set_capacity(disk.used() + (96 << 10));
    log.get_ahead();
    while !log.pressure().full {
        std::thread::yield_now();
    }
    assert!(reserve().is_ok());
    log.close();
}

#[test]
fn a_log_opens_and_seals_on_a_full_disk() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk);
    for i in 0..20 {
        put(&log, entry(0, i, 1, 1, &[1; 3000]));
    }
    let disk = disk.kill();
    disk.set_capacity(disk.used());
    let (log, recovered) = open(&disk);
    assert_eq!(tail_bases(&recovered, 0).len(), 20);
    let (_, listener) = ears();
    let refused = log.append(entry(0, 20, 2, 1, &[1; 60 << 10]), &listener);
    assert!(refused.is_err());
    assert_eq!(read_all(&log, 0, 0, 10_000).len(), 20);
    disk.set_capacity(u64::MAX);
    while log.pressure().full {
        std::thread::yield_now();
    }
    put(&log, entry(0, 20, 2, 1, &[1; 30 << 10]));
}

#[test]
fn a_full_disk_presses_for_full_files_only() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk);
    put(&log, entry(0, 0, 1, 1, &[1; 3000]));
    assert_eq!(log.oldest(false), [(tp(0), Offset(1))]);
    assert!(log.oldest(true).is_empty(), "the file that is being written is no room for the next");
    wait_for_next_file(&log);
    disk.set_capacity(disk.used());
    // The next file, which was ready, is taken; there is none after it.
    let mut next = 1;
    while !log.pressure().full {
        put(&log, entry(0, next, 1, 1, &[1; 3000]));
        next += 1;
        wait_for_next_file(&log);
    }
    let pinned = log.pressing();
    assert!(pinned.len() == 1 && pinned[0].1 < Offset(next), "the full file alone: {pinned:?} of {next}");
    log.shipped(tp(0), pinned[0].1);
    while log.pressure().full {
        std::thread::yield_now();
    }
    assert!(log.pressing().is_empty(), "its file is the next one");
    log.close();
}

#[test]
fn closing_a_full_log_gives_up_what_waits_for_room() {
    let disk = SimDisk::new(1);
    let (log, _) = LocalLog::open(Arc::new(disk.clone()), options(), identity(), FailPoints::default()).unwrap();
    put(&log, entry(0, 0, 1, 1, &[0; 3000]));
    disk.set_capacity(disk.used());
    let (_, error) = fill(&log, 1);
    assert_eq!(error.kind(), ErrorKind::Full);
    log.close();
    assert_eq!(log.append(entry(0, 900, 2, 1, b"x"), &ears().1).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_log_that_keeps_the_disk_busy_has_its_files_set_aside_and_not_filled() {
    for (bytes, is_busy) in [(3_000, false), (400_000, true)] {
        let disk = SimDisk::new(1);
        disk.set_reserves();
        let options = Options { file_bytes: 2 << 20, block_bytes: 512 << 10, ..options() };
        let (log, _) = LocalLog::open(Arc::new(disk.clone()), options, identity(), FailPoints::default()).unwrap();
        let mut base = 0;
        while disk.used() < 17 << 20 {
            wait_for_next_file(&log);
            put(&log, entry(0, base, 1, 1, &vec![7; bytes]));
            base += 1;
        }
        // The second file is made ready before it is known how long blocks are.
        assert_eq!(disk.written() < 20 << 20, is_busy, "{} bytes are written", disk.written());
        assert_eq!(bases(&read_all(&log, 0, 0, usize::MAX)), (0..base).collect::<Vec<_>>());
        log.close();
        let (_, recovered) = open(&disk.kill());
        assert_eq!(tail_bases(&recovered, 0), (0..base).collect::<Vec<_>>());
    }
}
