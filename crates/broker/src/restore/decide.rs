//! Whether a restore may begin, or go on: the decision, without I/O.

use runnel_format::meta::ClusterRecord;
use runnel_metastore::Compare;

use super::RestoreError;

/// What a metadata store holds.
#[derive(Debug, Clone, Default)]
pub(super) struct InStore {
    /// The cluster that it is the store of.
    pub(super) cluster: Option<ClusterRecord>,
    /// The cluster that it was to become the store of.
    pub(super) begun: Option<ClusterRecord>,
    /// What it held before is being deleted.
    pub(super) discarding: bool,
    /// What holds as long as the two clusters are as they were found.
    pub(super) unchanged: Vec<Compare>,
    /// How many keys there are.
    pub(super) keys: usize,
    /// Brokers that say that they are alive.
    pub(super) alive: Vec<String>,
}

/// Where it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// The store is empty.
    Begin,
    /// What the store holds goes first.
    Discard,
    /// An earlier one was cut off before it raised the era.
    GoOn,
    /// An earlier one was cut off, and the era is raised: by it or by a restore into another store, whose brokers may be
    /// at work in it. So it is raised once more.
    Again,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) start: Start,
    /// The cluster as it will be.
    pub(super) next: ClusterRecord,
}

/// Decides.
pub(super) fn decide(bucket: &ClusterRecord, store: &InStore, discard: bool) -> Result<Decision, RestoreError> {
    if bucket.session.is_some() {
        return Err(RestoreError::SingleNode(bucket.cluster_id));
    }
    // However much is to be thrown away: what belongs to somebody else is not.
    let known = store.cluster.iter().chain(&store.begun);
    if let Some(other) = known.clone().find(|known| known.cluster_id != bucket.cluster_id) {
        return Err(RestoreError::OtherCluster { found: other.cluster_id, own: bucket.cluster_id });
    }
    let next = ClusterRecord { era: bucket.era.saturating_add(1), ..bucket.clone() };
    let begun = |start| Ok(Decision { start, next: next.clone() });
    if let Some(next) = &store.begun {
        return match next.era.checked_sub(bucket.era) {
            Some(1) => begun(Start::GoOn),
            Some(0) => begun(Start::Again),
            _ if discard => begun(Start::Discard),
            _ => Err(RestoreError::Overtaken { wanted: next.era, found: bucket.era }),
        };
    }
    match &store.cluster {
        None if store.keys == 0 => begun(Start::Begin),
        _ if discard => begun(Start::Discard),
        None => Err(RestoreError::Unknown { keys: store.keys }),
        Some(known) => {
            let (era, in_bucket, alive) = (known.era, bucket.era, store.alive.clone());
            Err(RestoreError::InUse { era, in_bucket, alive })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use runnel_format::meta::BrokerSession;
    use uuid::Uuid;

    use super::*;

    fn cluster(id: u128, era: u32) -> ClusterRecord {
        ClusterRecord { cluster_id: Uuid::from_u128(id), era, level: 1, session: None }
    }

    fn holds(cluster: Option<ClusterRecord>, begun: Option<ClusterRecord>, keys: usize) -> InStore {
        InStore { cluster, begun, keys, ..InStore::default() }
    }

    #[test]
    fn an_empty_store_is_filled_and_a_restore_that_was_cut_off_goes_on() {
        let bucket = cluster(1, 4);
        let begun = |start, era| Decision { start, next: cluster(1, era) };
        assert_eq!(decide(&bucket, &holds(None, None, 0), false).unwrap(), begun(Start::Begin, 5));
        // Before the era was raised, and after: it cannot be told by whom.
        for (era, start) in [(5, Start::GoOn), (4, Start::Again)] {
            let store = holds(None, Some(cluster(1, era)), 9);
            assert_eq!(decide(&bucket, &store, false).unwrap(), begun(start, 5));
        }
    }

    #[test]
    fn what_is_there_is_thrown_away_only_if_told() {
        let bucket = cluster(1, 4);
        let live = InStore { alive: vec!["a".to_owned()], ..holds(Some(cluster(1, 4)), None, 9) };
        let error = decide(&bucket, &live, false).unwrap_err();
        assert!(error.to_string().contains("with brokers a: start the brokers instead"), "{error}");
        let old = holds(Some(cluster(1, 3)), None, 9);
        assert!(matches!(decide(&bucket, &old, false), Err(RestoreError::InUse { era: 3, in_bucket: 4, .. })));
        let part = holds(None, None, 9);
        assert!(matches!(decide(&bucket, &part, false), Err(RestoreError::Unknown { keys: 9 })));
        for overtaken in [cluster(1, 3), cluster(1, 6)] {
            let overtaken = holds(None, Some(overtaken), 9);
            assert!(matches!(decide(&bucket, &overtaken, false), Err(RestoreError::Overtaken { .. })));
            assert_eq!(decide(&bucket, &overtaken, true).unwrap().start, Start::Discard);
        }
        for store in [live, old, part] {
            let discards = Decision { start: Start::Discard, next: cluster(1, 5) };
            assert_eq!(decide(&bucket, &store, true).unwrap(), discards);
        }
    }

    #[test]
    fn what_belongs_to_others_is_left_alone() {
        let bucket = cluster(1, 4);
        for discard in [false, true] {
            for store in [holds(Some(cluster(2, 4)), None, 9), holds(None, Some(cluster(2, 4)), 9)] {
                assert!(matches!(decide(&bucket, &store, discard), Err(RestoreError::OtherCluster { .. })));
            }
            let session = BrokerSession { session: 1, disk_id: Uuid::nil(), node_name: "a".to_owned(), started_ms: 0 };
            let single = ClusterRecord { session: Some(session), ..cluster(1, 0) };
            assert!(matches!(decide(&single, &holds(None, None, 0), discard), Err(RestoreError::SingleNode(_))));
        }
    }
}
