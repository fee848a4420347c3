use std::sync::Arc;

use runnel_record::{Offset, TopicId};
use runnel_runtime::{Disk, FailAction, FailPoints, SimDisk, StdDisk};
use uuid::Uuid;

use super::rig::*;
use crate::{ErrorKind, LaneIdentity, LocalLog, Options};

#[test]
fn what_is_durable_reads_back_here_and_after_a_restart_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: dir.path().join("wal"), ..options() };
    let disk: Arc<dyn Disk> = Arc::new(StdDisk);
    let (log, recovered) =
        LocalLog::open(Arc::clone(&disk), options.clone(), identity(), FailPoints::default()).unwrap();
    assert!(recovered.tails.is_empty() && recovered.lanes == 0);
    let (ears, listener) = ears();
    let mut expected = Vec::new();
    let mut last = None;
    for i in 0..300 {
        let entry = entry(i % 3, i64::from(i / 3) * 2, 1, 2, &vec![i as u8; 1 + (i as usize * 37) % 3000]);
        expected.push(entry.clone());
        last = Some(log.append(entry, &listener).unwrap());
    }
    assert!(ears.wait(last.unwrap()));
    assert!(ears.heard().calls <= 300);
    for round in 0..2 {
        let log = if round == 0 {
            log.clone()
        } else {
            log.close();
            let (log, recovered) =
                LocalLog::open(Arc::clone(&disk), options.clone(), identity(), FailPoints::default()).unwrap();
            assert_eq!((recovered.torn_bytes, recovered.corrupt.len(), recovered.lanes), (0, 0, 1));
            assert_eq!(tail_bases(&recovered, 1), (0..100).map(|i| i * 2).collect::<Vec<_>>());
            log
        };
        for partition in 0..3 {
            let stored = read_all(&log, partition, 0, 5000);
            let wanted: Vec<_> = expected.iter().filter(|entry| entry.tp == tp(partition)).collect();
            assert_eq!(stored.len(), wanted.len());
            for (stored, wanted) in stored.iter().zip(wanted) {
                assert_eq!((&stored.batch, stored.append_time), (&wanted.batch, wanted.append_time));
            }
        }
    }
}

#[test]
fn the_second_file_is_made_once_it_is_said_or_something_is_appended() {
    for appends in [false, true] {
        let disk = SimDisk::new(1);
        let (log, _) = open(&disk);
        // The keeper does what it wants to do before it looks for more.
        for _ in 0..3 {
            log.wait_trimmed();
        }
        assert_eq!(files(&disk, "wal").len(), 1, "who starts would wait behind it");
        if appends {
            put(&log, entry(0, 0, 1, 1, b"first"));
        } else {
            log.get_ahead();
        }
        while !log.is_prepared() {
            std::thread::yield_now();
        }
        assert_eq!(files(&disk, "wal").len(), 2);
    }
}

#[test]
fn a_read_starts_with_the_batch_that_contains_the_offset_and_keeps_to_its_limits() {
    let (log, _) = open(&SimDisk::new(1));
    for i in 0..10 {
        put(&log, entry(0, i * 5, 1, 5, &[7; 1000]));
    }
    assert_eq!(bases(&read(&log, 0, 12..30, usize::MAX).unwrap()), [10, 15, 20, 25]);
    assert_eq!(bases(&read(&log, 0, 12..50, 1).unwrap()), [10], "the first batch is always whole");
    assert_eq!(bases(&read(&log, 0, 0..50, 2500).unwrap()), [0, 5]);
    assert!(read(&log, 0, 50..60, 1000).unwrap().is_empty());
    assert_eq!(read(&log, 9, 0..60, 1000).unwrap_err().kind(), ErrorKind::NotFound);
    log.shipped(tp(0), Offset(20));
    assert_eq!(read(&log, 0, 19..60, 1000).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(bases(&read(&log, 0, 20..60, 1).unwrap()), [20]);
}

#[test]
fn a_listener_hears_once_per_block_however_many_entries_it_has() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk);
    let (ears, listener) = ears();
    let (other, second) = super::rig::ears();
    let mut last = None;
    for i in 0..1000 {
        last = Some(log.append(entry(0, i, 1, 1, b"x"), &listener).unwrap());
    }
    let own = log.append(entry(1, 0, 1, 1, b"x"), &second).unwrap();
    assert!(ears.wait(last.unwrap()) && other.wait(own));
    assert!(ears.heard().calls < 500, "{} calls for 1000 entries", ears.heard().calls);
    assert_eq!(other.heard().calls, 1);
}

#[test]
fn entries_must_continue_their_partition() {
    let (log, _) = open(&SimDisk::new(1));
    let (_, listener) = ears();
    put(&log, entry(0, 10, 3, 5, b"a"));
    for (base, epoch) in [(14, 3), (16, 3), (15, 2)] {
        let error = log.append(entry(0, base, epoch, 1, b"b"), &listener).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    put(&log, entry(0, 15, 3, 1, b"b"));
    put(&log, entry(0, 90, 4, 1, b"c"));
    let large = entry(0, 91, 4, 1, &vec![0; 64 << 10]);
    assert_eq!(log.append(large, &listener).unwrap_err().kind(), ErrorKind::Invalid);
    put(&log, entry(0, 91, 4, 1, &vec![1; 40 << 10]));
    assert_eq!(read_all(&log, 0, 90, 1)[1].batch.body().len(), 40 << 10, "larger than a block, as it is");
}

#[test]
fn limits_throttle_and_let_go() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let options = Options { max_unshipped: 60_000, ..options() };
    let (log, _) = LocalLog::open(disk, options, identity(), FailPoints::default()).unwrap();
    let (_, listener) = ears();
    let mut base = 0;
    let error = loop {
        match log.append(entry(0, base, 1, 1, &[0; 5000]), &listener) {
            Ok(_) => base += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert!((3..12).contains(&base), "{base}");
    while log.pressure().unflushed_bytes > 0 {
        std::thread::yield_now();
    }
    assert!(log.pressure().unshipped_bytes > 40_000);
    log.shipped(tp(0), Offset(base));
    log.wait_trimmed();
    put(&log, entry(0, base, 1, 1, &[0; 5000]));
}

#[test]
fn shipped_files_are_recycled_and_their_bytes_never_come_back() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk);
    for i in 0..200 {
        put(&log, entry(0, i, 1, 1, &[i as u8; 3000]));
        log.shipped(tp(0), Offset(i + 1));
        log.wait_trimmed();
    }
    assert!(disk.used() < 12 * (64 << 10), "{} bytes are used", disk.used());
    put(&log, entry(1, 0, 1, 1, b"kept"));
    let disk = disk.kill();
    let (log, recovered) = open(&disk);
    assert_eq!(tail_bases(&recovered, 1), [0]);
    let tail = tail_bases(&recovered, 0);
    assert!(tail.len() < 30 && tail.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{tail:?}");
    assert!(recovered.corrupt.is_empty() && recovered.unattributed.is_empty());
    log.shipped(tp(0), Offset(200));
    log.shipped(tp(1), Offset(1));
    log.wait_trimmed();
    assert_eq!(files(&disk, "seal").len(), 0, "a lane that is shipped is removed");
    assert_eq!(log.pressure().unshipped_bytes, 0);
}

#[test]
fn what_pins_the_oldest_file_is_named_and_a_deleted_topic_pins_nothing() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk);
    put(&log, entry(7, 0, 1, 3, b"a small one"));
    for i in 0..60 {
        put(&log, entry(0, i, 1, 1, &[1; 3000]));
    }
    assert!(log.pressing().is_empty(), "there is room");
    let oldest = log.oldest(false);
    assert_eq!(oldest.iter().map(|(tp, _)| tp.partition).collect::<Vec<_>>(), [0, 7]);
    assert_eq!(oldest[1].1, Offset(3));
    let held = || log.held().iter().map(|(tp, end)| (tp.partition, end.0)).collect::<Vec<_>>();
    assert_eq!(held(), [(0, 60), (7, 3)]);
    log.shipped(tp(0), Offset(60));
    assert_eq!(held(), [(7, 3)]);
    log.wait_trimmed();
    assert!(log.pressure().unshipped_bytes >= 3 * (64 << 10), "the full files are still there");
    log.forget(TopicId(Uuid::from_u128(77)));
    log.wait_trimmed();
    assert_eq!(log.pressure().unshipped_bytes, 0);
    assert!(log.oldest(false).is_empty() && log.held().is_empty());
}

#[test]
fn lanes_of_earlier_sessions_stay_until_they_are_shipped() {
    let disk = SimDisk::new(1);
    for session in 0..4 {
        let (log, recovered) = open(&disk);
        assert_eq!(recovered.lanes, session);
        assert_eq!(tail_bases(&recovered, 0), (0..session as i64).collect::<Vec<_>>());
        put(&log, entry(0, session as i64, session as i32, 1, b"x"));
        if session % 2 == 0 {
            log.close();
        }
    }
    let (log, _) = open(&disk);
    assert_eq!(bases(&read_all(&log, 0, 0, usize::MAX)), [0, 1, 2, 3]);
    log.shipped(tp(0), Offset(3));
    log.wait_trimmed();
    log.close();
    let (_, recovered) = open(&disk);
    assert_eq!((recovered.lanes, tail_bases(&recovered, 0)), (1, vec![3]));
}

#[test]
fn a_later_epoch_supersedes_what_an_earlier_one_left() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk);
    for i in 0..6 {
        put(&log, entry(0, i, 1, 1, b"old"));
    }
    log.close();
    let (log, _) = open(&disk);
    put(&log, entry(0, 3, 2, 2, b"new"));
    let check = |log: &LocalLog| {
        let stored = read_all(log, 0, 0, 1);
        assert_eq!(bases(&stored), [0, 1, 2, 3]);
        assert_eq!(&stored[3].batch.body()[..], b"new");
    };
    check(&log);
    log.close();
    let (log, recovered) = open(&disk);
    assert_eq!(tail_bases(&recovered, 0), [0, 1, 2, 3]);
    check(&log);
}

#[test]
fn lanes_of_another_disk_are_left_alone() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk);
    put(&log, entry(0, 0, 1, 1, b"x"));
    log.close();
    let before = files(&disk, "wal");
    let stranger = LaneIdentity { disk_id: Uuid::from_u128(6), ..identity() };
    let (log, recovered) = LocalLog::open(Arc::new(disk.clone()), options(), stranger, FailPoints::default()).unwrap();
    assert!(recovered.tails.is_empty());
    assert_eq!(recovered.foreign.len(), 1);
    log.close();
    assert!(before.iter().all(|path| disk.open(path).is_ok()));
    let (_, recovered) = open(&disk);
    assert_eq!(tail_bases(&recovered, 0), [0]);
}

#[test]
fn a_failed_write_or_sync_is_final_and_nothing_false_is_acknowledged() {
    for fault in 0..4 {
        let disk = SimDisk::new(fault);
        let fail = FailPoints::default();
        let (log, _) = LocalLog::open(Arc::new(disk.clone()), options(), identity(), fail.clone()).unwrap();
        put(&log, entry(0, 0, 1, 1, b"first"));
        wait_for_next_file(&log);
        match fault {
            0 => disk.fail_write(0),
            1 => disk.fail_sync(0),
            2 => fail.arm("wal.block.written", FailAction::Error),
            _ => fail.arm("wal.block.synced", FailAction::Error),
        }
        let (ears, listener) = ears();
        let seq = log.append(entry(0, 1, 1, 1, b"second"), &listener).unwrap();
        assert!(!ears.wait(seq));
        assert_eq!((ears.heard().failed, ears.heard().durable), (1, 0));
        assert_eq!(log.append(entry(0, 2, 1, 1, b"third"), &listener).unwrap_err().kind(), ErrorKind::Closed);
        assert!(!log.is_open());
        assert_eq!(bases(&read(&log, 0, 0..9, 1000).unwrap()), [0], "reads go on");
        log.close();
        assert_eq!(ears.heard().failed, 1);
    }
}

#[test]
fn a_clone_that_goes_last_ends_the_log() {
    let (log, _) = open(&SimDisk::new(1));
    let (ears, listener) = ears();
    put(&log, entry(0, 0, 1, 1, b"x"));
    let seq = log.append(entry(0, 1, 1, 1, b"x"), &listener).unwrap();
    drop(log);
    ears.wait(seq);
    let heard = ears.heard();
    assert!(heard.durable == seq.0 || heard.failed == 1, "one of the two, and soon");
}
