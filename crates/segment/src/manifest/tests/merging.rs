//! Merges, by themselves and in random histories.

use super::*;

/// One step of the random history below.
#[derive(Debug, Clone)]
enum Step {
    Commit {
        segments: i64,
        big_snapshot: bool,
    },
    LoseAnswer,
    NextLeader,
    Crash(&'static str),
    /// In the list of references of this number, from this place on.
    Merge {
        list: usize,
        from: usize,
        count: usize,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..90_i64, any::<bool>()).prop_map(|(segments, big_snapshot)| Step::Commit { segments, big_snapshot }),
        1 => Just(Step::LoseAnswer),
        1 => Just(Step::NextLeader),
        3 => (0..9_usize, 0..100_usize, 1..60_usize)
            .prop_map(|(list, from, count)| Step::Merge { list, from, count }),
        1 => prop_oneof![
            Just("ship.after_producers"), Just("ship.after_chunk"), Just("ship.after_root_cas")
        ].prop_map(Step::Crash),
    ]
}

/// The lists of references in which a merge is possible: those in the root, and each chunk of the lowest level.
async fn lists(m: &Manifest) -> Vec<Vec<SegmentRef>> {
    let mut lists = vec![m.root().segments.clone()];
    for chunk in m.root().chunks.iter().filter(|chunk| chunk.level == 0) {
        let entries = m.snapshot().below(chunk).await.unwrap().into_iter().map(|node| match node {
            snapshot::Node::Segment(segment) => segment,
            snapshot::Node::Chunk(chunk) => panic!("{chunk:?} in a chunk of level 0"),
        });
        lists.push(entries.collect());
    }
    lists
}

/// What merging `sources` comes to.
fn merged(epoch: i32, sources: &[SegmentRef]) -> Merged {
    let (first, last) = (&sources[0], &sources[sources.len() - 1]);
    let into = SegmentRef { day: first.day, ..segment(epoch, first.base.0, last.next.0 - first.base.0) };
    Merged { sources: sources.iter().map(|source| source.id).collect(), into }
}

#[tokio::test]
async fn a_merged_segment_takes_the_place_of_its_sources() {
    let w = World::new();
    let mut m = w.load().await;
    m.commit(&commit(1, m.root(), 140)).await.unwrap();
    let (before, lists) = (m.root().clone(), lists(&m).await);
    assert_eq!(lists.iter().map(Vec::len).collect::<Vec<_>>(), [64, 76]);
    for (list, from) in [(0, 10), (1, 20)] {
        let c = Commit::merge(LeaderEpoch(1), m.root(), merged(1, &lists[list][from..from + 30]));
        m.commit(&c).await.unwrap();
        let into = &c.merged.as_ref().unwrap().into;
        for at in [into.base, into.next.plus(-1)] {
            assert_eq!(m.snapshot().find(at).await.unwrap().as_ref(), Some(into));
        }
        // The same once more: done already, not done twice.
        m.commit(&c).await.unwrap();
    }
    let after = w.load().await;
    assert_eq!((after.root(), after.root().end, after.root().version), (m.root(), before.end, 3));
    assert_eq!(after.snapshot().all_segments().await.unwrap().len(), 140 - 2 * 29);
    assert_eq!(
        crate::replaced_chunks(&before, after.root()),
        [Key::Chunk { tp: TP, epoch: before.chunks[0].epoch, id: before.chunks[0].id }]
    );
    assert_eq!(crate::replaced_chunks(after.root(), after.root()), []);
}

#[tokio::test]
async fn a_merge_of_what_is_there_no_more_changes_nothing() {
    let w = World::new();
    let mut m = w.load().await;
    m.commit(&commit(1, m.root(), 140)).await.unwrap();
    let lists = lists(&m).await;
    m.commit(&Commit::trim(LeaderEpoch(1), m.root(), lists[0][5].base)).await.unwrap();
    let before = m.root().clone();
    let whole = merged(1, &lists[0][20..30]);
    let mut wrong = vec![merged(1, &lists[0][..10]), merged(1, &lists[1][..10]), merged(1, &[segment(1, 2000, 10)])];
    // Not these, not in this order, not all of it, more than that, of another day.
    wrong.push(Merged { sources: whole.sources.iter().rev().copied().collect(), ..whole.clone() });
    wrong.push(Merged { sources: whole.sources[1..].to_vec(), ..whole.clone() });
    wrong.push(Merged { into: SegmentRef { next: whole.into.next.plus(-1), ..whole.into.clone() }, ..whole.clone() });
    wrong.push(Merged { into: SegmentRef { records: 7, ..whole.into.clone() }, ..whole.clone() });
    wrong.push(Merged { into: SegmentRef { day: 1, ..whole.into.clone() }, ..whole.clone() });
    wrong.push(Merged { sources: Vec::new(), ..whole.clone() });
    for merged in wrong {
        let error = m.commit(&Commit::merge(LeaderEpoch(1), m.root(), merged.clone())).await.unwrap_err();
        assert!(matches!(error, Error::SourcesGone { .. }), "{merged:?}: {error:?}");
    }
    let late = Merged { into: SegmentRef { epoch: LeaderEpoch(0), ..whole.into.clone() }, ..whole.clone() };
    assert!(m.commit(&Commit::merge(LeaderEpoch(1), m.root(), late)).await.is_err(), "of another epoch");
    assert_eq!(w.load().await.root(), &before);
    m.commit(&Commit::merge(LeaderEpoch(1), m.root(), whole)).await.unwrap();
}

#[tokio::test]
async fn a_merge_by_a_replaced_leader_is_fenced() {
    let w = World::new();
    let mut old = w.load().await;
    old.commit(&commit(1, old.root(), 20)).await.unwrap();
    let mut new = w.load().await;
    new.commit(&commit(2, new.root(), 1)).await.unwrap();
    let c = Commit::merge(LeaderEpoch(1), old.root(), merged(1, &old.root().segments[..10]));
    assert!(matches!(old.commit(&c).await.unwrap_err(), Error::Fenced { .. }));
    assert_eq!(w.load().await.root(), new.root());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens, the manifest lists what was committed, and nothing else.
    #[test]
    fn a_random_history_equals_the_list_of_its_commits(steps in proptest::collection::vec(any_step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let w = World::new();
            let (mut epoch, mut m, mut all) = (1, w.load().await, Vec::new());
            for step in steps {
                match step {
                    Step::NextLeader => {
                        epoch += 1;
                        m = w.load().await;
                    }
                    Step::LoseAnswer => w.faults.once(Op::Replace, "root", Fault::LoseAnswer),
                    Step::Crash(point) => w.fail.arm(point, FailAction::Error),
                    Step::Commit { segments, big_snapshot } => {
                        let mut c = commit(epoch, m.root(), segments);
                        if big_snapshot {
                            c.producers = Some(Bytes::from(vec![9; MAX_INLINE_PRODUCERS + 1]));
                        }
                        while let Err(error) = m.commit(&c).await {
                            assert!(matches!(error, Error::Injected(_)), "{error:?}");
                        }
                        all.extend(c.segments);
                    }
                    Step::Merge { list, from, count } => {
                        let lists = lists(&m).await;
                        let list = &lists[list % lists.len()];
                        let from = from.min(list.len());
                        let sources = &list[from..(from + count).min(list.len())];
                        if sources.is_empty() {
                            continue;
                        }
                        let c = Commit::merge(LeaderEpoch(epoch), m.root(), merged(epoch, sources));
                        while let Err(error) = m.commit(&c).await {
                            assert!(matches!(error, Error::Injected(_)), "{error:?}");
                        }
                        let at = all.iter().position(|segment| segment == &sources[0]).unwrap();
                        all.splice(at..at + sources.len(), c.merged.map(|merged| merged.into));
                    }
                }
                assert!(m.root().encode().len() <= runnel_format::manifest::MAX_ROOT_BYTES);
            }
            let snapshot = w.load().await.snapshot();
            assert_eq!(snapshot.all_segments().await.unwrap(), all);
            for expected in &all {
                assert_eq!(snapshot.find(expected.base).await.unwrap().as_ref(), Some(expected));
            }
            if snapshot.root().epoch.0 == epoch {
                crate::sweep_orphans(&snapshot, LeaderEpoch(epoch)).await.unwrap();
                assert_eq!(w.load().await.snapshot().all_segments().await.unwrap(), all, "the sweep spares them");
            }
        });
    }
}
