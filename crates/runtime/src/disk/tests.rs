#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};

use super::*;

/// What every disk must do.
fn conforms(disk: &dyn Disk, root: &Path) {
    let dir = root.join("a/b");
    disk.create_dir(&dir).unwrap();
    disk.create_dir(&dir).unwrap();
    let path = dir.join("x");
    let file = disk.create(&path, 10_000).unwrap();
    assert_eq!(file.len().unwrap(), 10_000);
    assert_eq!(disk.create(&path, 1).err().unwrap().kind(), ErrorKind::AlreadyExists);
    assert_eq!(disk.reserve(&path, 1).err().unwrap().kind(), ErrorKind::AlreadyExists);
    let reserved = disk.reserve(&dir.join("r"), 10_000).unwrap();
    // Where the file system of temporary files can.
    let reserved = reserved.unwrap_or_else(|| disk.create(&dir.join("r"), 10_000).unwrap());
    reserved.write_at(&[IoSlice::new(b"written")], 5_000).unwrap();
    reserved.sync().unwrap();
    let read = reserved.read_exact_at(10_000, 0, Reuse::Unlikely).unwrap();
    assert_eq!(
        (&read[..5_000], &read[5_000..5_007], &read[5_007..]),
        (&[0; 5_000][..], &b"written"[..], &[0; 4_993][..])
    );
    disk.remove(&dir.join("r")).unwrap();

    let parts: Vec<Vec<u8>> = (0..3000u16).map(|i| i.to_le_bytes().to_vec()).collect();
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|p| IoSlice::new(p)).collect();
    file.write_at(&slices, 100).unwrap();
    file.sync().unwrap();
    let back = disk.open(&path).unwrap().read_exact_at(6000, 100, Reuse::Unlikely).unwrap();
    assert_eq!(back, parts.concat());
    for reuse in [Reuse::Unlikely, Reuse::Likely] {
        assert_eq!(file.read_exact_at(100, 0, reuse).unwrap(), [0; 100]);
        // Behind what there is, whatever room there is.
        let mut out = b"before".to_vec();
        out.reserve(4096);
        assert_eq!(file.read_at(&mut out, 2, 100, reuse).unwrap(), 2);
        assert_eq!(out, b"before\0\0");
        assert_eq!(file.read_at(&mut out, 100, 10_000, reuse).unwrap(), 0);
        assert_eq!(out.len(), 8);
        assert_eq!(file.read_exact_at(100, 9_950, reuse).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    disk.write_atomic(&dir.join("y"), b"first").unwrap();
    disk.write_atomic(&dir.join("y"), b"second").unwrap();
    assert_eq!(disk.read(&dir.join("y"), 100).unwrap(), b"second");
    assert_eq!(disk.read(&dir.join("y"), 5).unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(disk.list(&dir).unwrap(), ["x", "y"]);
    assert_eq!(disk.list(&root.join("a")).unwrap(), ["b"]);

    disk.rename(&path, &dir.join("z")).unwrap();
    assert_eq!(disk.open(&path).err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(disk.remove(&path).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(disk.remove_dir(&dir).is_err());
    disk.remove(&dir.join("z")).unwrap();
    assert_eq!(file.len().unwrap(), 10_000, "a removed file lives on in its handle");
    disk.remove(&dir.join("y")).unwrap();
    disk.sync_dir(&dir).unwrap();
    disk.remove_dir(&dir).unwrap();
    assert!(disk.list(&dir).is_err());
    assert!(disk.free_space(root).unwrap() > 0);
}

#[test]
fn both_disks_conform() {
    let temporary = tempfile::tempdir().unwrap();
    conforms(&StdDisk, temporary.path());
    let simulated = SimDisk::new(1);
    simulated.set_reserves();
    conforms(&simulated, Path::new("/"));
}

/// Whole pages, odd pieces and small pieces take different ways to the disk; all see the same file.
#[test]
fn direct_and_cached_access_agree() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("f");
    let mut expected: Vec<u8> = (0..3 << 20).map(|at: u32| (at % 251) as u8).collect();
    let file = StdDisk.create(&path, expected.len() as u64).unwrap();
    let agree = |expected: &[u8], what: &str| {
        for opened in [&file, &StdDisk.open(&path).unwrap()] {
            for (start, end) in [(0, expected.len()), (4095, 100_000), (1 << 20, 1 << 20 | 100), (3_000_000, 3 << 20)] {
                for reuse in [Reuse::Unlikely, Reuse::Likely] {
                    opened.prefetch(start as u64..end as u64);
                    let found = opened.read_exact_at(end - start, start as u64, reuse).unwrap();
                    assert!(found == expected[start..end], "{what}: {start} to {end}, {reuse:?}");
                }
            }
        }
        assert_eq!(file.read_at(&mut Vec::new(), 64 << 10, expected.len() as u64, Reuse::Unlikely).unwrap(), 0);
    };
    agree(&vec![0; expected.len()], "a new file");
    for cut in [1, 4096, 1_500_001] {
        let (head, tail) = expected.split_at(cut);
        file.write_at(&[IoSlice::new(head), IoSlice::new(tail)], 0).unwrap();
    }
    agree(&expected, "whole pages");
    file.write_at(&[IoSlice::new(&[7; 5000])], 8192).unwrap();
    expected[8192..13_192].fill(7);
    agree(&expected, "an odd piece");
    file.write_at(&[IoSlice::new(&[8; 4096])], 8192).unwrap();
    expected[8192..12_288].fill(8);
    agree(&expected, "a page over what was cached");
}

/// A file that is written once has any length, and comes in parts that may end within a page.
#[test]
fn a_file_of_any_length_is_written_past_the_page_cache() {
    let temporary = tempfile::tempdir().unwrap();
    for len in [0, 1, 4096, 70_000, (2 << 20) + 4096, (3 << 20) + 4097] {
        let path = temporary.path().join(len.to_string());
        let expected: Vec<u8> = (0..len).map(|at: usize| (at % 251) as u8).collect();
        let file = StdDisk::create_empty(&path, len as u64).unwrap();
        let (head, tail) = expected.split_at(len / 2 / 4096 * 4096);
        // As the parts of an upload may: the last one first, and none in one piece.
        for (part, position) in [(tail, head.len()), (head, 0)] {
            let (a, b) = part.split_at(part.len() / 3);
            file.write_at(&[IoSlice::new(a), IoSlice::new(&[]), IoSlice::new(b)], position as u64).unwrap();
        }
        file.sync().unwrap();
        assert!(std::fs::read(&path).unwrap() == expected, "{len} bytes");
        assert!(StdDisk::create_empty(&path, 1).is_err(), "it is there already");
    }
}

fn write(file: &Arc<dyn DiskFile>, bytes: &[u8], position: u64) -> Result<()> {
    file.write_at(&[IoSlice::new(bytes)], position)
}

fn synced_file(disk: &SimDisk, len: u64) -> (PathBuf, Arc<dyn DiskFile>) {
    let path = PathBuf::from("/f");
    let file = disk.create(&path, len).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    (path, file)
}

#[test]
fn a_crash_keeps_what_was_synced_and_tears_the_rest_by_sector() {
    let mut torn = 0;
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let (path, file) = synced_file(&disk, 8192);
        write(&file, &[1; 4096], 0).unwrap();
        file.sync().unwrap();
        write(&file, &[2; 4096], 4096).unwrap();
        let disk = disk.crash(seed);
        assert!(file.len().is_err(), "handles of the old process are dead");
        let bytes = disk.read(&path, 10_000).unwrap();
        assert_eq!(bytes[..4096], [1; 4096], "seed {seed}");
        for sector in bytes[4096..].chunks(SECTOR_FOR_TEST) {
            assert!(sector.iter().all(|b| *b == sector[0]) && (sector[0] == 0 || sector[0] == 2), "seed {seed}");
        }
        torn += usize::from(bytes[4096..].contains(&0) && bytes[4096..].contains(&2));
    }
    assert!(torn > 5, "some seeds must tear the write");
}
const SECTOR_FOR_TEST: usize = 512;

#[test]
fn unsynced_names_may_vanish_and_atomic_writes_do_not() {
    let mut vanished = 0;
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        disk.write_atomic(Path::new("/state"), b"old").unwrap();
        disk.create(Path::new("/new"), 1).unwrap();
        disk.die_in(1 + seed % 6);
        let written = disk.write_atomic(Path::new("/state"), b"fresh").is_ok();
        let disk = disk.crash(seed);
        let state = disk.read(Path::new("/state"), 100).unwrap();
        assert!(state == b"fresh" || (state == b"old" && !written), "seed {seed}: {state:?}");
        vanished += usize::from(disk.open(Path::new("/new")).is_err());
    }
    assert!(vanished > 5);
}

#[test]
fn a_failed_sync_looks_clean_and_loses_the_data() {
    let disk = SimDisk::new(3);
    let (path, file) = synced_file(&disk, 4096);
    write(&file, &[7; 4096], 0).unwrap();
    disk.fail_sync(0);
    assert!(file.sync().is_err());
    assert!(file.sync().is_ok(), "asking again proves nothing");
    let disk = disk.kill();
    assert_eq!(disk.read(&path, 4096).unwrap(), [7; 4096], "the page cache still shows it");
    assert_eq!(disk.crash(9).read(&path, 4096).unwrap(), [0; 4096]);
}

#[test]
fn faults_hit_once_and_space_runs_out() {
    let disk = SimDisk::new(4);
    let (path, file) = synced_file(&disk, 4096);
    disk.fail_write(1);
    write(&file, &[1; 512], 0).unwrap();
    assert!(write(&file, &[1; 512], 0).is_err());
    write(&file, &[1; 512], 0).unwrap();
    disk.set_capacity(5000);
    assert!(is_full(&disk.create(Path::new("/g"), 1000).err().unwrap()));
    assert_eq!(disk.free_space(&path).unwrap(), 904);
    disk.flip_bit(&path, 3, 1).unwrap();
    assert_eq!(disk.read(&path, 4096).unwrap()[..5], [1, 1, 1, 3, 1]);
}
