#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const DAY_MS: i64 = 86_400_000;

type Change = fn(&mut Root);

fn tp() -> TopicPartition {
    TopicPartition { topic: TopicId(Uuid::from_u128(0x0123_4567_89ab_cdef_0011_2233_4455_6677)), partition: 7 }
}

/// A segment whose every field is as wide as a busy partition makes it.
fn wide_segment(base: i64, count: i64, i: u32) -> SegmentRef {
    let append = 1_800_000_000_000 + i64::from(i) * 700_000;
    SegmentRef {
        base: Offset(base),
        next: Offset(base + count),
        epoch: LeaderEpoch(1_000_000),
        id: Uuid::from_u128(u128::MAX - u128::from(i)),
        day: i32::try_from(append / DAY_MS).unwrap(),
        bytes: 3_000_000_000 + u64::from(i),
        crc32c: 0xdead_0000 + i,
        records: u32::try_from(count).unwrap(),
        min_timestamp: TimestampMs(append - 40_000_000_000),
        max_timestamp: TimestampMs(append + 40_000_000_000),
        max_timestamp_offset: Offset(base + count / 2),
        first_append_time: TimestampMs(append),
        last_append_time: TimestampMs(append + 600_000),
    }
}

fn wide_chunk(base: i64, count: i64, level: u8, i: u32) -> ChunkRef {
    let append = 1_700_000_000_000 + i64::from(i) * 700_000_000;
    ChunkRef {
        base: Offset(base),
        next: Offset(base + count),
        epoch: LeaderEpoch(1_000_000),
        id: Uuid::from_u128(u128::from(i)),
        level,
        bytes: 100_000,
        crc32c: 0xbeef_0000 + i,
        segments: 1 << 21,
        segment_bytes: 1 << 50,
        records: count.unsigned_abs(),
        min_timestamp: TimestampMs(append - 40_000_000_000),
        max_timestamp: TimestampMs(append + 40_000_000_000),
        max_timestamp_offset: Offset(base + count / 2),
        last_append_time: TimestampMs(append),
    }
}

/// Every list at its limit.
fn full_root() -> Root {
    let mut root = Root::empty(tp());
    let (chunk, segment) = (1_i64 << 40, 4_000_000_000);
    for i in 0..256 {
        root.chunks.push(wide_chunk(i64::from(i) * chunk, chunk, u8::try_from((255 - i) / 64).unwrap(), i));
    }
    let from = 256 * chunk;
    for i in 0..128 {
        root.segments.push(wide_segment(from + i64::from(i) * segment, segment, i));
    }
    root.end = Offset(from + 128 * segment);
    root.epoch = LeaderEpoch(1_000_000);
    root.version = u64::MAX;
    root.commits = (0..8).map(Uuid::from_u128).collect();
    root.epochs =
        (0..256).map(|i| EpochStart { epoch: LeaderEpoch(i * 3900), start: Offset(i64::from(i) << 40) }).collect();
    root.producers =
        ProducerState::Stored { id: Uuid::from_u128(9), epoch: LeaderEpoch(1_000_000), bytes: 1 << 30, crc32c: 5 };
    root.pending_delete =
        (0..64).map(|i| PendingDelete { id: Uuid::from_u128(i), epoch: LeaderEpoch(1_000_000) }).collect();
    root
}

fn small_root() -> Root {
    let mut root = Root::empty(tp());
    root.chunks = vec![wide_chunk(0, 1000, 1, 1), wide_chunk(1000, 500, 0, 2)];
    root.segments = vec![wide_segment(1500, 10, 3), wide_segment(1510, 5, 4)];
    (root.log_start, root.end) = (Offset(3), Offset(1515));
    (root.epoch, root.version) = (LeaderEpoch(1_000_001), 12);
    root.commits = vec![Uuid::from_u128(1), Uuid::from_u128(2)];
    root.epochs = vec![
        EpochStart { epoch: LeaderEpoch(1), start: Offset(0) },
        EpochStart { epoch: LeaderEpoch(1_000_001), start: Offset(1500) },
    ];
    root.producers = ProducerState::Inline(Bytes::from_static(b"snapshot"));
    root.pending_delete = vec![PendingDelete { id: Uuid::from_u128(77), epoch: LeaderEpoch(4) }];
    root
}

fn small_chunk() -> Chunk {
    Chunk { tp: tp(), entries: Entries::Segments(vec![wide_segment(100, 10, 3), wide_segment(110, 5, 4)]) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(32).map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<String>() + "\n").collect()
}

fn check_golden(name: &str, encoded: &[u8]) {
    // Asked for when it runs: a build that is kept may have been made in another clone.
    let path = format!("{}/golden/{name}", std::env::var("CARGO_MANIFEST_DIR").unwrap());
    if std::env::var_os("RUNNEL_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, hex(encoded)).unwrap();
    }
    assert_eq!(hex(encoded), std::fs::read_to_string(&path).unwrap(), "{path}: a released layout never changes");
}

/// Puts a changed payload back under a right CRC, so that the fields behind it are reached.
fn reseal(magic: [u8; 4], payload: &[u8]) -> Bytes {
    codec::seal(magic, VERSION, payload)
}

#[test]
fn golden_bytes() {
    check_golden("manifest-root-v1.hex", &small_root().encode());
    check_golden("manifest-root-empty-v1.hex", &Root::empty(tp()).encode());
    check_golden("manifest-chunk-v1.hex", &small_chunk().encode());
    let chunks = Chunk { tp: tp(), entries: Entries::Chunks(vec![wide_chunk(0, 5, 2, 1), wide_chunk(5, 6, 2, 2)]) };
    check_golden("manifest-chunk-of-chunks-v1.hex", &chunks.encode());
    assert_eq!(Root::decode(&small_root().encode()), Ok(small_root()));
    assert_eq!(Chunk::decode(&chunks.encode()), Ok(chunks));
}

#[test]
fn a_root_with_every_list_at_its_limit_fits() {
    let root = full_root();
    assert_eq!(root.check(), Ok(()));
    let encoded = root.encode();
    assert!(encoded.len() <= MAX_ROOT_BYTES, "{} bytes", encoded.len());
    assert_eq!(Root::decode(&encoded), Ok(root));
}

#[test]
fn one_more_than_the_limit_is_refused() {
    let cases: [(&str, Change); 5] = [
        ("segments", |r| {
            let last = r.segments.last().unwrap().next;
            r.segments.push(wide_segment(last.0, 1, 1));
            r.end = last.plus(1);
        }),
        ("chunks", |r| r.chunks.insert(0, wide_chunk(-1, 1, 3, 1))),
        ("epochs", |r| r.epochs.push(EpochStart { epoch: LeaderEpoch(1_000_000), start: Offset(1 << 60) })),
        ("commits", |r| r.commits.push(Uuid::nil())),
        ("pending", |r| r.pending_delete.push(PendingDelete { id: Uuid::nil(), epoch: LeaderEpoch(0) })),
    ];
    for (name, grow) in cases {
        let mut root = full_root();
        grow(&mut root);
        assert!(root.check().is_err(), "{name}");
        assert!(Root::decode(&root.encode()).is_err(), "{name}");
    }
}

#[test]
fn a_root_that_breaks_an_invariant_is_refused_by_both_sides() {
    let cases: [(&str, Change); 11] = [
        ("gap between segments", |r| r.segments[1].base = Offset(1511)),
        ("gap behind the chunks", |r| {
            r.chunks.pop();
        }),
        ("segments short of the end", |r| {
            r.segments.pop();
        }),
        ("empty segment", |r| r.segments[1].next = r.segments[1].base),
        ("log start behind the end", |r| r.log_start = Offset(1516)),
        ("log start before the first segment", |r| {
            r.chunks.remove(0);
        }),
        ("segment of a younger epoch", |r| r.segments[0].epoch = LeaderEpoch(1_000_002)),
        ("epoch above the root's", |r| r.epochs[1].epoch = LeaderEpoch(1_000_002)),
        ("epochs that do not rise", |r| r.epochs.swap(0, 1)),
        ("levels that rise", |r| r.chunks[1].level = 2),
        ("negative epoch", |r| r.epoch = LeaderEpoch(-1)),
    ];
    for (name, damage) in cases {
        let mut root = small_root();
        damage(&mut root);
        assert!(matches!(root.check(), Err(Error::Corrupt { .. })), "{name}");
        // What the encoding itself cannot express (a gap) decodes to something else, but never to this root.
        assert_ne!(Root::decode(&root.encode()), Ok(root), "{name}");
    }
}

#[test]
fn a_newer_version_is_named_as_such() {
    let (_, payload) =
        codec::open("root", ROOT_MAGIC, VERSION, &small_root().encode()).map(|(v, p)| (v, p.to_vec())).unwrap();
    let newer = codec::seal(ROOT_MAGIC, VERSION + 1, &payload);
    assert_eq!(Root::decode(&newer), Err(Error::NewerFormat { what: "root", found: 2, newest: 1 }));
}

#[test]
fn every_cut_and_every_flipped_bit_is_noticed() {
    for (encoded, decode) in [
        (small_root().encode(), (|b: &[u8]| Root::decode(b).is_ok()) as fn(&[u8]) -> bool),
        (small_chunk().encode(), |b: &[u8]| Chunk::decode(b).is_ok()),
    ] {
        assert!(decode(&encoded));
        for cut in 0..encoded.len() {
            assert!(!decode(&encoded[..cut]), "cut at {cut}");
        }
        for bit in (0..encoded.len() * 8).filter(|bit| !(48..64).contains(bit)) {
            let mut bad = encoded.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!decode(&bad), "bit {bit}");
        }
    }
}

#[test]
fn a_count_beyond_the_data_is_refused_before_anything_is_allocated() {
    let mut e = Encoder::default();
    e.w.uuid(tp().topic.0).i32(0).u8(0);
    e.start_at(Offset(0));
    e.count(usize::MAX);
    assert!(Chunk::decode(&reseal(CHUNK_MAGIC, &e.w.0)).is_err());
    e.w.0.truncate(22);
    e.count(1000);
    assert!(Chunk::decode(&reseal(CHUNK_MAGIC, &e.w.0)).is_err());
}

#[test]
fn a_chunk_sums_up_its_entries() {
    let mut segments = vec![wide_segment(100, 10, 3), wide_segment(110, 5, 4), wide_segment(115, 5, 5)];
    segments[0].max_timestamp = segments[1].max_timestamp;
    segments[2].max_timestamp = TimestampMs(0);
    segments[2].min_timestamp = TimestampMs::NONE;
    let chunk = Chunk { tp: tp(), entries: Entries::Segments(segments.clone()) };
    let encoded = chunk.encode();
    let reference = chunk.reference(LeaderEpoch(4), Uuid::from_u128(1), &encoded).unwrap();
    assert_eq!((reference.base, reference.next, reference.level), (Offset(100), Offset(120), 0));
    assert_eq!((reference.segments, reference.records), (3, 20));
    assert_eq!(reference.segment_bytes, segments.iter().map(|s| s.bytes).sum::<u64>());
    assert_eq!(reference.min_timestamp, TimestampMs::NONE);
    assert_eq!(reference.max_timestamp, segments[1].max_timestamp);
    assert_eq!(reference.max_timestamp_offset, segments[0].max_timestamp_offset, "the first of equals");
    assert_eq!((reference.bytes as usize, reference.crc32c), (encoded.len(), crc32c::crc32c(&encoded)));

    let upper = Chunk { tp: tp(), entries: Entries::Chunks(vec![reference]) };
    assert_eq!(upper.level(), 1);
    assert_eq!(upper.reference(LeaderEpoch(4), Uuid::nil(), &upper.encode()).unwrap().segments, 3);
    assert_eq!(
        Chunk { tp: tp(), entries: Entries::Chunks(Vec::new()) }.reference(LeaderEpoch(4), Uuid::nil(), b""),
        None
    );
}

fn starts(of: &[(i32, i64)]) -> Vec<EpochStart> {
    of.iter().map(|(e, s)| EpochStart { epoch: LeaderEpoch(*e), start: Offset(*s) }).collect()
}

#[test]
fn epochs_collapse() {
    let check = |before: &[(i32, i64)], log_start: i64, after: &[(i32, i64)]| {
        assert_eq!(collapse_epochs(&starts(before), Offset(log_start)), starts(after));
    };
    check(&[], 0, &[]);
    check(&[(1, 0), (2, 0), (3, 5), (4, 5)], 0, &[(2, 0), (4, 5)]);
    check(&[(1, 0), (2, 10), (3, 20)], 10, &[(2, 10), (3, 20)]);
    check(&[(1, 0), (2, 10), (3, 20)], 9, &[(1, 0), (2, 10), (3, 20)]);
    check(&[(1, 0), (2, 10), (3, 20)], 99, &[(3, 20)]);
    check(&[(1, 0), (2, 10), (3, 20), (4, 5)], 0, &[(1, 0), (4, 5)]);
}

/// Where epoch `asked` ends, as OffsetForLeaderEpoch answers it.
fn epoch_end(epochs: &[EpochStart], asked: LeaderEpoch, end: Offset) -> Offset {
    epochs.iter().find(|e| e.epoch > asked).map_or(end, |e| e.start)
}

#[test]
fn a_thinned_history_never_reports_a_truncation_that_did_not_happen() {
    let all = starts(&(0..2000).map(|i| (i, i64::from(i) * 10)).collect::<Vec<_>>());
    let thin = collapse_epochs(&all, Offset(0));
    assert!(thin.len() <= MAX_EPOCHS && thin[0] == all[0] && thin.last() == all.last());
    for asked in 0..2000 {
        let asked = LeaderEpoch(asked);
        assert!(epoch_end(&thin, asked, Offset(20_000)) >= epoch_end(&all, asked, Offset(20_000)));
    }
    assert_eq!(collapse_epochs(&thin, Offset(0)), thin);
}

prop_compose! {
    fn any_segment()(
        ids in any::<(u128, u32, i32, u64, u32, i32)>(), count in 1..i64::from(u32::MAX), times in any::<[i64; 5]>()
    ) -> SegmentRef {
        SegmentRef {
            base: Offset(0), next: Offset(count), id: Uuid::from_u128(ids.0), crc32c: ids.1, day: ids.2, bytes: ids.3,
            records: ids.4, epoch: LeaderEpoch(ids.5 & i32::MAX), min_timestamp: TimestampMs(times[0]),
            max_timestamp: TimestampMs(times[1]), max_timestamp_offset: Offset(times[2]),
            first_append_time: TimestampMs(times[3]), last_append_time: TimestampMs(times[4]),
        }
    }
}

prop_compose! {
    fn any_chunk()(
        ids in any::<(u128, u32, u32, u64, u64, u64)>(), epoch in 0..i32::MAX, count in 1..i64::from(u32::MAX),
        times in any::<[i64; 4]>()
    ) -> ChunkRef {
        ChunkRef {
            base: Offset(0), next: Offset(count), epoch: LeaderEpoch(epoch), id: Uuid::from_u128(ids.0), level: 3,
            bytes: ids.1, crc32c: ids.2, segments: ids.3, segment_bytes: ids.4, records: ids.5,
            min_timestamp: TimestampMs(times[0]), max_timestamp: TimestampMs(times[1]),
            max_timestamp_offset: Offset(times[2]), last_append_time: TimestampMs(times[3]),
        }
    }
}

fn any_producers() -> impl Strategy<Value = ProducerState> {
    prop_oneof![
        vec(any::<u8>(), 0..200).prop_map(|b| ProducerState::Inline(Bytes::from(b))),
        any::<(u128, i32, u64, u32)>().prop_map(|(id, epoch, bytes, crc32c)| ProducerState::Stored {
            id: Uuid::from_u128(id),
            epoch: LeaderEpoch(epoch),
            bytes,
            crc32c
        }),
    ]
}

/// Any root that `check` accepts, with the widest values in every field that has no rule.
fn any_root() -> impl Strategy<Value = Root> {
    let lists = (vec(any_chunk(), 0..9), vec(any_segment(), 0..9), vec(any::<u128>(), 0..8), any_producers());
    (lists, any::<(u128, u64)>(), 0..1_000_000_i64, vec(any::<(u128, i32)>(), 0..9)).prop_map(
        |((mut chunks, mut segments, commits, producers), (topic, version), base, pending)| {
            let mut at = Offset(base);
            for c in &mut chunks {
                (c.base, c.next) = (at, at.plus(c.next.0));
                at = c.next;
            }
            for s in &mut segments {
                (s.base, s.next) = (at, at.plus(s.next.0));
                at = s.next;
            }
            let mut root = Root::empty(TopicPartition { topic: TopicId(Uuid::from_u128(topic)), partition: 3 });
            (root.epoch, root.version, root.producers) = (LeaderEpoch(i32::MAX), version, producers);
            (root.log_start, root.end, root.chunks, root.segments) = (Offset(base), at, chunks, segments);
            root.commits = commits.into_iter().map(Uuid::from_u128).collect();
            root.pending_delete = pending
                .into_iter()
                .map(|(id, epoch)| PendingDelete { id: Uuid::from_u128(id), epoch: LeaderEpoch(epoch) })
                .collect();
            root
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_root_round_trips(root in any_root()) {
        prop_assert_eq!(root.check(), Ok(()));
        prop_assert_eq!(Root::decode(&root.encode()), Ok(root));
    }

    #[test]
    fn any_chunk_round_trips(root in any_root()) {
        for entries in [Entries::Segments(root.segments.clone()), Entries::Chunks(root.chunks.clone())] {
            let chunk = Chunk { tp: root.tp, entries };
            let decoded = Chunk::decode(&chunk.encode());
            match chunk.reference(LeaderEpoch(0), Uuid::nil(), b"") {
                Some(_) => prop_assert_eq!(decoded, Ok(chunk)),
                None => prop_assert!(decoded.is_err(), "no entries"),
            }
        }
    }

    #[test]
    fn changed_payloads_never_panic(
        root in any_root(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()
    ) {
        let (root_bytes, chunk_bytes) = (root.encode(), small_chunk().encode());
        for (magic, bytes) in [(ROOT_MAGIC, root_bytes), (CHUNK_MAGIC, chunk_bytes)] {
            let mut payload = bytes[codec::ENVELOPE_LEN..].to_vec();
            for (at, value) in &changes {
                *at.get_mut(&mut payload) = *value;
            }
            for payload in [&payload[..], &payload[..cut.index(payload.len())]] {
                let bytes = reseal(magic, payload);
                // Whatever is accepted must be sound.
                if let Ok(root) = Root::decode(&bytes) {
                    prop_assert_eq!(root.check(), Ok(()));
                }
                if let Ok(chunk) = Chunk::decode(&bytes) {
                    prop_assert!(chunk.reference(LeaderEpoch(0), Uuid::nil(), b"").is_some());
                }
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(Root::decode(&bytes).is_err() && Chunk::decode(&bytes).is_err());
        drop(Root::decode(&reseal(ROOT_MAGIC, &bytes)));
        drop(Chunk::decode(&reseal(CHUNK_MAGIC, &bytes)));
    }
}
