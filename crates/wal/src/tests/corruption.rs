use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use runnel_format::wal::{BLOCK_HEADER_LEN, FILE_HEADER_LEN, PAGE};
use runnel_record::Offset;
use runnel_runtime::{Disk, FailPoints, Reuse, SimDisk};

use super::rig::*;
use crate::{CorruptRange, Error, ErrorKind, LocalLog, Options};

/// Blocks 1 to 5 of one page each, in one file: partition 0 in all of them but block 3, which holds partition 1, and
/// block 4, which holds partition 2.
fn five_blocks() -> (SimDisk, PathBuf) {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk);
    put(&log, entry(0, 0, 1, 10, b"block-1"));
    put(&log, entry(0, 10, 1, 10, b"block-2"));
    put(&log, entry(1, 0, 1, 5, b"block-3"));
    put(&log, entry(2, 0, 1, 1, b"block-4"));
    put(&log, entry(0, 20, 1, 10, b"block-5"));
    log.close();
    let file = files(&disk, "wal").remove(0);
    (disk, file)
}

const fn block(number: usize) -> usize {
    FILE_HEADER_LEN + (number - 1) * PAGE
}

fn range(partition: i32, from: i64, upto: Option<i64>) -> CorruptRange {
    CorruptRange { tp: tp(partition), from: Offset(from), upto: upto.map(Offset) }
}

fn corrupt_range(error: &Error) -> (i32, i64, i64) {
    match error {
        Error::Corrupt { tp, range } => (tp.partition, range.start.0, range.end.0),
        other => panic!("{other}"),
    }
}

fn accept(log: &LocalLog, partition: i32, from: i64, upto: i64) {
    log.accept_loss(tp(partition), Offset(from)..Offset(upto)).unwrap();
}

#[test]
fn a_damaged_body_is_found_by_the_read_and_blocks_only_its_batch() {
    let (disk, _) = five_blocks();
    damage(&disk, "wal", b"block-2");
    let (log, recovered) = open(&disk);
    assert!(recovered.corrupt.is_empty(), "recovery does not read bodies");
    assert_eq!(bases(&read(&log, 0, 0..30, usize::MAX).unwrap()), [0], "what is in front of it is returned");
    let error = read(&log, 0, 15..30, usize::MAX).unwrap_err();
    assert_eq!((error.kind(), corrupt_range(&error)), (ErrorKind::Corrupt, (0, 10, 20)));
    assert_eq!(bases(&read(&log, 0, 20..30, usize::MAX).unwrap()), [20]);
    assert_eq!(bases(&read_all(&log, 1, 0, usize::MAX)), [0]);
    accept(&log, 0, 10, 20);
    assert_eq!(bases(&read_all(&log, 0, 0, usize::MAX)), [0, 20]);
    assert_eq!(bases(&read(&log, 0, 15..30, usize::MAX).unwrap()), [20]);
    log.close();
    let (log, recovered) = open(&disk);
    assert_eq!((recovered.corrupt.as_slice(), recovered.accepted.as_slice()), (&[][..], &[range(0, 10, Some(20))][..]));
    assert_eq!(tail_bases(&recovered, 0), [0, 20]);
    assert_eq!(bases(&read_all(&log, 0, 0, usize::MAX)), [0, 20]);
}

#[test]
fn a_damaged_block_header_is_reported_with_what_the_block_held() {
    for (at, bit) in [(block(2), 0), (block(2) + 60, 3), (block(2) + BLOCK_HEADER_LEN - 1, 7)] {
        let (disk, file) = five_blocks();
        disk.flip_bit(&file, at, bit).unwrap();
        for _ in 0..2 {
            let (log, recovered) = open(&disk);
            assert_eq!(recovered.corrupt, [range(0, 10, Some(20))]);
            assert!(recovered.unattributed.is_empty());
            assert_eq!((tail_bases(&recovered, 0), tail_bases(&recovered, 1)), (vec![0, 20], vec![0]));
            let error = read(&log, 0, 10..30, usize::MAX).unwrap_err();
            assert_eq!(corrupt_range(&error), (0, 10, 20));
            assert_eq!(bases(&read(&log, 0, 0..30, usize::MAX).unwrap()), [0]);
            assert_eq!(bases(&read(&log, 0, 20..30, usize::MAX).unwrap()), [20]);
            log.close();
        }
    }
}

#[test]
fn a_damaged_row_is_reported_also_where_its_partition_has_nothing_else() {
    let (disk, file) = five_blocks();
    disk.flip_bit(&file, block(3) + BLOCK_HEADER_LEN + 3, 1).unwrap();
    disk.flip_bit(&file, block(2) + BLOCK_HEADER_LEN + 50, 1).unwrap();
    let (log, recovered) = open(&disk);
    assert_eq!(recovered.corrupt, [range(0, 10, Some(20)), range(1, 0, Some(5))]);
    assert_eq!(corrupt_range(&read(&log, 1, 0..5, 100).unwrap_err()), (1, 0, 5));
    assert_eq!(bases(&read_all(&log, 2, 0, 100)), [0]);
    // It pins the lane although everything else is shipped, until the loss is accepted.
    for partition in [0, 2] {
        log.shipped(tp(partition), Offset(30));
    }
    log.wait_trimmed();
    assert_eq!(files(&disk, "seal").len(), 1);
    accept(&log, 1, 0, 5);
    log.wait_trimmed();
    assert_eq!(files(&disk, "seal").len(), 0);
}

#[test]
fn the_last_block_is_covered_by_the_footer_behind_it() {
    let (disk, file) = five_blocks();
    disk.flip_bit(&file, block(5), 0).unwrap();
    let (_, recovered) = open(&disk);
    assert_eq!(recovered.corrupt, [range(0, 20, Some(30))], "corrupt, not torn");
    assert_eq!((recovered.torn_bytes, tail_bases(&recovered, 0)), (0, vec![0, 10]));
}

#[test]
fn an_idle_lane_writes_that_footer_by_itself() {
    let disk = SimDisk::new(1);
    let options = Options { footer_after: Duration::from_millis(1), ..options() };
    let (log, _) = LocalLog::open(Arc::new(disk.clone()), options, identity(), FailPoints::default()).unwrap();
    put(&log, entry(0, 0, 1, 10, b"the last one"));
    let file = files(&disk, "wal").remove(0);
    while disk.read(&file, usize::MAX).unwrap()[block(2)..block(2) + 4] != *b"RWBK" {
        std::thread::yield_now();
    }
    let disk = disk.kill();
    disk.flip_bit(&file, block(1), 0).unwrap();
    let (_, recovered) = open(&disk);
    assert_eq!((recovered.corrupt.as_slice(), recovered.torn_bytes), (&[range(0, 0, Some(10))][..], 0));
}

#[test]
fn a_torn_last_block_is_cut_and_only_that() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk);
    put(&log, entry(0, 0, 1, 10, b"first"));
    put(&log, entry(0, 10, 1, 10, b"second"));
    put(&log, entry(0, 20, 1, 10, b"third"));
    let disk = disk.kill();
    damage(&disk, "wal", b"third");
    let (log, recovered) = open(&disk);
    assert!(recovered.corrupt.is_empty());
    assert_eq!((recovered.torn_bytes, tail_bases(&recovered, 0)), (PAGE as u64, vec![0, 10]));
    assert_eq!(bases(&read_all(&log, 0, 0, usize::MAX)), [0, 10]);
}

#[test]
fn two_damaged_blocks_in_a_row_make_every_partition_of_the_lane_suspect() {
    let (disk, file) = five_blocks();
    disk.flip_bit(&file, block(3), 0).unwrap();
    disk.flip_bit(&file, block(4), 0).unwrap();
    let (_, recovered) = open(&disk);
    assert_eq!(recovered.unattributed.len(), 1, "{:?}", recovered.unattributed);
    assert_eq!(recovered.corrupt, [range(2, 0, Some(1))], "block 4 by name; partition 0 goes on without a gap");

    let (disk, file) = five_blocks();
    disk.flip_bit(&file, block(4), 0).unwrap();
    disk.flip_bit(&file, block(5), 0).unwrap();
    let (log, recovered) = open(&disk);
    assert_eq!(recovered.corrupt, [range(0, 20, Some(30)), range(1, 5, None)]);
    assert_eq!(corrupt_range(&read(&log, 1, 5..6, 1).unwrap_err()), (1, 5, i64::MAX));
    accept(&log, 1, 5, i64::MAX);
    put(&log, entry(1, 5, 2, 1, b"goes on"));
    assert_eq!(bases(&read_all(&log, 1, 0, 1)), [0, 5], "an accepted loss without an end hides nothing newer");
    log.close();
    let (log, recovered) = open(&disk);
    assert_eq!(tail_bases(&recovered, 1), [0, 5]);
    assert_eq!(bases(&read_all(&log, 1, 0, 1)), [0, 5]);
}

/// A lane with one block that was killed, whose first files cannot be read: as many as that, of which the second is empty.
fn without_first_files(count: usize) -> SimDisk {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk);
    put(&log, entry(0, 0, 1, 10, b"block-1"));
    while !log.is_prepared() {
        std::thread::yield_now();
    }
    let disk = disk.kill();
    for file in files(&disk, "wal").iter().take(count) {
        for page in 0..2 {
            disk.flip_bit(file, page * PAGE + 30, 0).unwrap();
        }
    }
    disk
}

#[test]
fn a_lost_file_is_damage_also_where_only_empty_ones_are_left() {
    for count in 1..=2 {
        let (_, recovered) = open(&without_first_files(count));
        assert_eq!(recovered.unattributed.len(), 1, "{count} files: {:?}", recovered.unattributed);
    }
}

/// All that a lane held may be lost. Whoever starts again must hear of it again, or would take the partitions for empty.
#[test]
fn damage_that_hides_whom_it_hit_is_told_of_until_it_is_given_up() {
    let disk = without_first_files(2);
    for start in 0..3 {
        let (log, recovered) = open(&disk);
        assert_eq!(recovered.unattributed.len(), 1, "start {start}");
        log.shipped(tp(0), Offset(10));
        log.wait_trimmed();
        if start == 2 {
            log.accept_hidden_loss();
            log.wait_trimmed();
        }
        log.close();
    }
    let (_, recovered) = open(&disk);
    assert_eq!(recovered.unattributed, Vec::<String>::new());
}

#[test]
fn a_lost_file_is_damage_and_not_an_end() {
    for last in [false, true] {
        let disk = SimDisk::new(1);
        let (log, _) = open(&disk);
        for i in 0..60 {
            put(&log, entry(0, i, 1, 1, &[1; 3000]));
        }
        log.close();
        let used: Vec<PathBuf> =
            files(&disk, "wal").into_iter().filter(|path| find(&disk, path, b"RWBK").is_some()).collect();
        let file = &used[if last { used.len() - 1 } else { 1 }];
        for page in 0..2 {
            disk.flip_bit(file, page * PAGE + 30, 0).unwrap();
        }
        for _ in 0..2 {
            let (log, recovered) = open(&disk);
            assert_eq!(recovered.unattributed.len(), 1);
            let hole = recovered.corrupt[0];
            assert_eq!((recovered.corrupt.len(), hole.upto.is_none()), (1, last), "{hole:?}");
            let tail = tail_bases(&recovered, 0);
            assert_eq!((tail.contains(&hole.from.0), tail.contains(&59)), (false, !last));
            assert!(disk.open(file).is_ok());
            log.close();
        }
    }
}

#[test]
fn a_lane_without_the_files_that_its_trim_pointer_asks_for_is_damaged() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk);
    for i in 0..60 {
        put(&log, entry(0, i, 1, 1, &[1; 3000]));
    }
    log.shipped(tp(0), Offset(50));
    log.wait_trimmed();
    log.close();
    for file in files(&disk, "wal") {
        disk.remove(&file).unwrap();
    }
    let (_, recovered) = open(&disk);
    assert_eq!(recovered.unattributed.len(), 1);
}

#[test]
fn a_newer_format_and_a_missing_state_are_refused_and_nothing_is_removed() {
    let (disk, file) = five_blocks();
    let handle = disk.open(&file).unwrap();
    let mut pages = disk.read(&file, usize::MAX).unwrap()[..2 * PAGE].to_vec();
    for page in pages.chunks_exact_mut(PAGE) {
        page[8] = 9;
        let crc = crc32c::crc32c(&page[..PAGE - 4]);
        page[PAGE - 4..].copy_from_slice(&crc.to_le_bytes());
    }
    handle.write_at(&[std::io::IoSlice::new(&pages)], 0).unwrap();
    let error = try_open(&disk).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("run a newer release"), "{error}");

    let (disk, file) = five_blocks();
    let state = file.with_file_name("state");
    let bytes = disk.read(&state, 1000).unwrap();
    disk.flip_bit(&state, 30, 1).unwrap();
    drop(open(&disk));
    disk.write_atomic(&state, &bytes).unwrap();
    disk.flip_bit(&state, 30, 1).unwrap();
    disk.flip_bit(&state, bytes.len() / 2 + 30, 1).unwrap();
    assert_eq!(try_open(&disk).err().unwrap().kind(), ErrorKind::Corrupt);
    disk.remove(&state).unwrap();
    assert_eq!(try_open(&disk).err().unwrap().kind(), ErrorKind::Corrupt);
    assert!(disk.open(&file).is_ok());
}

#[test]
fn a_read_that_runs_while_its_file_is_trimmed_is_not_disturbed() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk);
    for i in 0..60 {
        put(&log, entry(0, i, 1, 1, &[i as u8; 3000]));
    }
    let plan = log.plan(tp(0), Offset(0), Offset(60), usize::MAX).unwrap();
    log.shipped(tp(0), Offset(60));
    log.wait_trimmed();
    for i in 60..120 {
        put(&log, entry(0, i, 1, 1, &[i as u8; 3000]));
    }
    let stored = crate::read::read(plan, tp(0), Offset(0), Offset(60), usize::MAX, Reuse::Unlikely).unwrap();
    assert_eq!(bases(&stored), (0..60).collect::<Vec<_>>());
    assert_eq!(read(&log, 0, 0..60, 1).unwrap_err().kind(), ErrorKind::NotFound);
}
