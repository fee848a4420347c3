use runnel_record::TopicId;
use uuid::Uuid;

use super::*;

const MIB: u64 = 1 << 20;

fn tp(partition: i32) -> TopicPartition {
    TopicPartition { topic: TopicId(Uuid::nil()), partition }
}

/// Runs of ten records and a MiB each.
fn runs(count: i64) -> Vec<Run> {
    let run = |i: i64| {
        let mut run = Run::default();
        (run.base, run.next, run.bytes) = (Offset(i * 10), Offset(i * 10 + 10), MIB);
        run
    };
    (0..count).map(run).collect()
}

#[test]
fn the_window_grows_in_sequence_and_closes_on_a_jump() {
    let (runs, mut ahead) = (runs(40), Readahead::new(100 * MIB));
    let loaded = [5, 5, 6, 7, 7, 8, 9, 10, 2, 3].map(|run| ahead.read(tp(0), &runs, run).runs);
    let expected = [6..6, 0..0, 7..8, 8..10, 0..0, 10..13, 13..18, 18..18, 3..3, 4..5];
    assert_eq!(loaded, expected);
}

#[test]
fn the_window_is_filled_again_when_half_of_it_was_read() {
    let (runs, mut ahead) = (runs(40), Readahead::new(100 * MIB));
    let loaded: Vec<_> =
        (0..20).map(|run| ahead.read(tp(0), &runs, run).runs).filter(|runs| !runs.is_empty()).collect();
    assert_eq!(loaded, [2..3, 3..5, 5..8, 8..13, 13..17, 17..21, 21..25]);
}

#[test]
fn nothing_is_loaded_twice_in_sequence_or_past_the_segment() {
    let (runs, mut ahead) = (runs(20), Readahead::new(100 * MIB));
    let loaded: Vec<usize> = (0..20).flat_map(|run| ahead.read(tp(0), &runs, run).runs).collect();
    assert_eq!(loaded, (2..20).collect::<Vec<_>>(), "all but the first two, which nobody could foresee");
    assert_eq!(ahead.taken, 0, "all of it was asked for");
}

#[test]
fn a_reader_in_sequence_goes_on_in_the_next_segment() {
    let (all, mut ahead) = (runs(24), Readahead::new(100 * MIB));
    let (first, second) = all.split_at(12);
    let mut crosses = |runs: &[Run], indices: Range<usize>| -> Vec<usize> {
        indices.filter(|run| ahead.read(tp(0), runs, *run).crosses).collect()
    };
    assert_eq!(crosses(first, 0..12), [4], "once, when all of the segment is on its way");
    assert_eq!(crosses(second, 0..11), [4], "its window stays open");
    assert_eq!(crosses(&all[12..13], 0..1), [] as [usize; 0], "a jump back");
    assert_eq!(crosses(&all[13..14], 0..1), [0], "segments of one run");
}

#[test]
fn a_reader_without_room_crosses_when_it_gets_there() {
    let (runs, mut ahead) = (runs(6), Readahead::new(MIB));
    let crossing: Vec<usize> = (0..6).filter(|run| ahead.read(tp(0), &runs, *run).crosses).collect();
    assert_eq!(crossing, [4]);
}

#[test]
fn what_is_ahead_of_all_readers_stays_within_the_budget() {
    let (runs, mut ahead) = (runs(50), Readahead::new(12 * MIB));
    for run in 0..50 {
        for partition in 0..5 {
            ahead.read(tp(partition), &runs, run);
            let held: u64 = ahead.readers.values().flat_map(|r| &r.ahead).map(|(_, bytes)| bytes).sum();
            assert!(held == ahead.taken && held <= 12 * MIB, "{held}");
        }
    }
}

#[test]
fn a_reader_that_stays_away_gives_its_share_back() {
    let (runs, mut ahead) = (runs(200), Readahead::new(8 * MIB));
    for run in 0..5 {
        ahead.read(tp(0), &runs, run);
    }
    assert_eq!(ahead.taken, 8 * MIB, "the first reader has it all");
    let loaded: usize = (0..200).map(|run| ahead.read(tp(1), &runs, run).runs.len()).sum();
    assert!(loaded > 150, "the second reader went without: {loaded}");
}

#[test]
fn readers_are_forgotten_when_there_are_too_many() {
    let (runs, mut ahead) = (runs(4), Readahead::new(8 * MIB));
    for partition in 0..3_000 {
        for run in 0..3 {
            ahead.read(tp(partition), &runs, run);
        }
    }
    assert!(ahead.readers.len() <= MOST_READERS && ahead.taken <= 8 * MIB);
}

#[test]
fn a_reader_is_expected_where_it_goes_on() {
    let (runs, mut ahead) = (runs(24), Readahead::new(100 * MIB));
    let is_expected = |ahead: &Readahead, run: usize| ahead.expects(tp(0), runs[run].base);
    assert!(!is_expected(&ahead, 0), "nobody has read yet");
    ahead.read(tp(0), &runs[..12], 3);
    assert_eq!([3, 4, 5].map(|run| is_expected(&ahead, run)), [false, true, false]);
    let crosses = (4..11).filter(|run| ahead.read(tp(0), &runs[..12], *run).crosses).count();
    assert_eq!(crosses, 1);
    assert!(is_expected(&ahead, 12), "it was told to go on with the next segment");
    assert!(!ahead.expects(tp(1), runs[11].base), "another partition");
}
