#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use runnel_blob::testing::{Fault, Op};
use runnel_record::{BatchFields, Codec};

use super::*;
use crate::manifest::tests::{TP, World};
use crate::manifest::{Commit, Manifest};
use crate::testing::{NOON, Record, arbitrary_log, batch, log, seen};
use crate::{ParquetCodec, Segment, encode};

const NEXT_DAY: TimestampMs = TimestampMs(NOON + 86_400_000);
const POLICY: MergePolicy = MergePolicy { target: 256 << 20, after_ms: 0, span_ms: None };

fn options() -> EncodeOptions {
    EncodeOptions { topic: TP.topic, partition: TP.partition, compression: ParquetCodec::Zstd(1) }
}

fn day() -> i32 {
    i32::try_from(NOON / 86_400_000).unwrap()
}

/// Encodes and uploads a segment.
async fn ship(m: &Manifest, batches: &[SourceBatch]) -> SegmentRef {
    let encoded = encode(batches, &options()).unwrap();
    assert_eq!(encoded.batches, batches.len());
    let reference = encoded.reference(LeaderEpoch(1), uuid::Uuid::new_v4(), day());
    m.snapshot().bucket().put(&m.snapshot().key(&reference), encoded.bytes).await.unwrap();
    reference
}

/// Writes and checks the merged object.
async fn merge(m: &Manifest, sources: &[SegmentRef]) -> Result<SegmentRef, Error> {
    let mut merge = Merge::new(&m.snapshot(), sources.to_vec(), LeaderEpoch(1), &options()).unwrap();
    loop {
        match merge.step().await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                merge.abort().await;
                return Err(error);
            }
        }
    }
    let (into, mut readback) = merge.finish().await?;
    while readback.step().await? {}
    Ok(into)
}

async fn read(m: &Manifest, segments: &[SegmentRef]) -> Vec<SourceBatch> {
    let mut all = Vec::new();
    for segment in segments {
        let open = Segment::open(m.snapshot().bucket(), &m.snapshot().key(segment), segment.bytes).await.unwrap();
        for run in open.runs() {
            all.extend(open.read_run(run.index).await.unwrap());
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A merged segment is what one would have been that was cut later.
    #[test]
    fn a_merged_segment_holds_what_its_sources_held(batches in arbitrary_log(), cuts in prop::collection::vec(0..12_usize, 0..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let w = World::new();
            let m = w.load().await;
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(batches.len())).chain([0, batches.len()]).collect();
            cuts.sort_unstable();
            cuts.dedup();
            let mut sources = Vec::new();
            for cut in cuts.windows(2) {
                sources.push(ship(&m, &batches[cut[0]..cut[1]]).await);
            }
            let into = merge(&m, &sources).await.unwrap();
            assert_eq!(read(&m, std::slice::from_ref(&into)).await, read(&m, &sources).await);
            assert_eq!(seen(&read(&m, std::slice::from_ref(&into)).await), seen(&batches));
            let whole = encode(&batches, &options()).unwrap();
            let expected = SegmentRef { bytes: into.bytes, crc32c: into.crc32c, ..whole.reference(into.epoch, into.id, into.day) };
            assert_eq!(into, expected);
            let object = m.snapshot().bucket().get(&m.snapshot().key(&into)).await.unwrap().unwrap();
            assert_eq!((object.len() as u64, crc32c::crc32c(&object)), (into.bytes, into.crc32c));
        });
    }
}

/// Batches that hardly shrink, so many bytes in each.
fn bulky(base: i64, batches: usize, bytes: usize) -> Vec<SourceBatch> {
    let mut state = 1_u64;
    let mut noise = || {
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..bytes).map(next).collect::<Vec<u8>>()
    };
    let records: Vec<Vec<Record>> = (0..batches).map(|_| vec![Record::of(noise())]).collect();
    log(base, &records)
}

#[tokio::test]
async fn a_large_merge_is_written_in_row_groups_and_parts() {
    let w = World::new();
    let m = w.load().await;
    let all = bulky(0, 48, 1 << 20);
    let mut sources = Vec::new();
    for batches in all.chunks(5) {
        sources.push(ship(&m, batches).await);
    }
    let into = merge(&m, &sources).await.unwrap();
    assert_eq!(seen(&read(&m, std::slice::from_ref(&into)).await), seen(&all));
    assert!(w.faults.requests().iter().filter(|(op, _)| *op == Op::PutPart).count() >= 3, "48 MiB in parts");
    let object = m.snapshot().bucket().get(&m.snapshot().key(&into)).await.unwrap().unwrap();
    let parquet = parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(&object).unwrap();
    let groups: Vec<i64> = parquet.row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!((groups.iter().sum::<i64>(), groups.len()), (48, 7), "{groups:?}");
}

#[tokio::test]
async fn batches_that_stay_compressed_are_merged_too() {
    let w = World::new();
    let m = w.load().await;
    let records = [Record::of(vec![7; 9 << 20])];
    let mut sources = Vec::new();
    for base in 0..2 {
        let fields = BatchFields { base_offset: Offset(base), ..BatchFields::default() };
        let batch = batch(fields, &records, 0, Codec::Zstd);
        sources.push(ship(&m, &[SourceBatch { batch, append_time: TimestampMs(NOON) }]).await);
    }
    let into = merge(&m, &sources).await.unwrap();
    assert_eq!(read(&m, &[into]).await, read(&m, &sources).await);
}

/// Headers whose keys are no text: each is an exception in the footer.
fn odd(base: i64, records: usize) -> Vec<SourceBatch> {
    let record = Record { headers: vec![(vec![0xff; 20], None)], ..Record::of("x") };
    log(base, &[vec![record; records]])
}

#[tokio::test]
async fn what_does_not_fit_into_one_footer_is_left_as_it_is() {
    let w = World::new();
    let m = w.load().await;
    let sources = [ship(&m, &odd(0, 800)).await, ship(&m, &odd(800, 800)).await];
    let objects = w.bucket.list("").await.unwrap();
    let error = merge(&m, &sources).await.unwrap_err();
    assert!(matches!(error, Error::Unmergeable { base: Offset(0), next: Offset(1600) }), "{error:?}");
    assert_eq!(w.bucket.list("").await.unwrap(), objects);
}

#[tokio::test]
async fn damage_is_found_before_and_after_the_merge() {
    let w = World::new();
    let m = w.load().await;
    let all = bulky(0, 6, 1000);
    let sources = [ship(&m, &all[..3]).await, ship(&m, &all[3..]).await];
    // In a source.
    let key = m.snapshot().key(&sources[1]);
    let good = w.bucket.get(&key).await.unwrap().unwrap();
    let mut bad = good.to_vec();
    bad[300] ^= 1;
    w.bucket.put(&key, vec![bad.into()]).await.unwrap();
    assert!(matches!(merge(&m, &sources).await.unwrap_err(), Error::Corrupt { .. }));
    w.bucket.put(&key, vec![good]).await.unwrap();
    // In what was written: another segment of the same offsets.
    let mut merge = Merge::new(&m.snapshot(), sources.to_vec(), LeaderEpoch(1), &options()).unwrap();
    while merge.step().await.unwrap() {}
    let sum = merge.sum;
    let (into, _) = merge.finish().await.unwrap();
    let other = encode(&log(0, &vec![vec![Record::of("other")]; 6]), &options()).unwrap();
    let into = SegmentRef { bytes: other.len, ..into };
    w.bucket.put(&m.snapshot().key(&into), other.bytes).await.unwrap();
    let mut readback = Readback::new(&m.snapshot(), into, sum);
    let error = loop {
        match readback.step().await {
            Ok(more) => assert!(more, "a difference was not seen"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Differs { .. }), "{error:?}");
}

#[tokio::test]
async fn an_upload_that_fails_leaves_nothing() {
    let w = World::new();
    let m = w.load().await;
    let all = bulky(0, 20, 1 << 20);
    let sources = [ship(&m, &all[..10]).await, ship(&m, &all[10..]).await];
    let objects = w.bucket.list("").await.unwrap();
    for op in [Op::PutPart, Op::Complete] {
        w.faults.once(op, "", Fault::FailBefore);
        assert!(matches!(merge(&m, &sources).await.unwrap_err(), Error::Fetch(_)), "{op:?}");
        assert_eq!(w.bucket.list("").await.unwrap(), objects);
    }
}

#[tokio::test]
async fn candidates_are_looked_for_in_the_root_and_then_in_chunks() {
    let w = World::new();
    let mut m = w.load().await;
    let mut c = crate::manifest::tests::commit(1, m.root(), 140);
    for (i, segment) in c.segments.iter_mut().enumerate() {
        // The first 20 and the last 20 are small.
        segment.bytes = if (20..120).contains(&i) { POLICY.small() } else { 1000 };
        segment.day = day();
    }
    m.commit(&c).await.unwrap();
    let find = async |from: i64| m.snapshot().find_mergeable(&POLICY, Offset(from), NEXT_DAY).await.unwrap();
    let ids = |segments: &[SegmentRef]| segments.iter().map(|s| s.id).collect::<Vec<_>>();
    assert_eq!(ids(&find(0).await.unwrap()), ids(&c.segments[120..]));
    assert_eq!(ids(&find(1350).await.unwrap()), ids(&c.segments[135..]));
    // Merged, they are one, and there is nothing left but what lies in the chunk.
    let into = SegmentRef { next: Offset(1400), records: 200, ..c.segments[120].clone() };
    let merged = crate::manifest::Merged { sources: ids(&c.segments[120..]), into };
    m.commit(&Commit::merge(LeaderEpoch(1), m.root(), merged)).await.unwrap();
    let find = async |from: i64| m.snapshot().find_mergeable(&POLICY, Offset(from), NEXT_DAY).await.unwrap();
    assert_eq!(ids(&find(0).await.unwrap()), ids(&c.segments[..20]));
    assert_eq!(find(200).await, None);
    // What lies below the log start is not looked at.
    m.commit(&Commit::trim(LeaderEpoch(1), m.root(), Offset(195))).await.unwrap();
    assert_eq!(m.snapshot().find_mergeable(&POLICY, Offset(0), NEXT_DAY).await.unwrap(), None);
}
