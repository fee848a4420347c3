//! Who reads a partition for the consumers of a zone (KIP-392): the same broker for all of them, as long as it is there, so
//! that what is not in the bucket yet crosses into the zone once. Pure.

use std::collections::BTreeSet;

use runnel_record::TopicPartition;

use super::view::{View, is_reached};

/// The broker of a zone that its consumers read a partition from, if there is one that is to be asked anything. The
/// partitions are spread over the brokers of a zone; one that comes or goes moves no more of them than it must.
pub(super) fn reader(view: &View, zone: &str, tp: TopicPartition) -> Option<i32> {
    let there = view.brokers.iter().filter(|(number, at)| {
        at.record.zone.as_deref() == Some(zone) && is_reached(&at.record) && !view.is_draining(**number, &at.record)
    });
    there.map(|(number, _)| *number).max_by_key(|number| (weight(*number, tp), *number))
}

/// Those who read a partition for the zones that its leader is not in, by zone. Nobody, if the leader has none.
pub(super) fn readers(view: &View, leader: i32, tp: TopicPartition) -> Vec<i32> {
    let Some(own) = view.brokers.get(&leader).and_then(|at| at.record.zone.as_deref()) else { return Vec::new() };
    let zones: BTreeSet<&str> = view.brokers.values().filter_map(|at| at.record.zone.as_deref()).collect();
    zones.into_iter().filter(|zone| *zone != own).filter_map(|zone| reader(view, zone, tp)).collect()
}

/// How much a broker is to read a partition: the one with the most does (rendezvous hashing). The same in every broker.
fn weight(number: i32, tp: TopicPartition) -> u64 {
    let (high, low) = tp.topic.0.as_u64_pair();
    [high, low, tp.partition as u64, number as u64].into_iter().fold(0, |hash, part| mix(hash ^ part))
}

/// The finaliser of SplitMix64.
const fn mix(value: u64) -> u64 {
    let mut value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use runnel_format::meta::{BrokerRecord, HostPort};
    use runnel_record::TopicId;
    use uuid::Uuid;

    use super::super::view::At;
    use super::*;

    fn view(brokers: &[(i32, Option<&str>)]) -> View {
        let at = HostPort { host: "h".to_owned(), port: 1 };
        let record = |number: i32, zone: Option<&str>| BrokerRecord {
            session: number.unsigned_abs().into(),
            disk_id: Uuid::nil(),
            name: number.to_string(),
            zone: zone.map(str::to_owned),
            is_draining: false,
            kafka: at.clone(),
            grpc: at.clone(),
        };
        let brokers =
            brokers.iter().map(|(number, zone)| (*number, At { record: record(*number, *zone), revision: 1 }));
        View { brokers: brokers.collect(), ..View::default() }
    }

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition { topic: TopicId(Uuid::from_u128(7)), partition }
    }

    #[test]
    fn brokers_of_the_zone_that_are_to_be_asked() {
        let mut view = view(&[(0, Some("a")), (1, Some("b")), (2, None), (3, Some("b"))]);
        assert!(matches!(reader(&view, "b", tp(0)), Some(1 | 3)));
        assert_eq!(reader(&view, "c", tp(0)), None);
        view.drained.insert(1);
        assert_eq!(reader(&view, "b", tp(0)), Some(3));
        if let Some(at) = view.brokers.get_mut(&3) {
            at.record.kafka.port = 0;
        }
        assert_eq!(reader(&view, "b", tp(0)), None, "nobody is reached");
    }

    #[test]
    fn every_zone_but_that_of_the_leader_has_a_reader() {
        let view = view(&[(0, Some("a")), (1, Some("b")), (2, Some("c")), (3, None)]);
        assert_eq!(readers(&view, 0, tp(0)), [1, 2]);
        assert_eq!(readers(&view, 2, tp(0)), [0, 1]);
        assert!(readers(&view, 3, tp(0)).is_empty(), "it is in no zone");
        assert!(readers(&view, 9, tp(0)).is_empty(), "it is gone");
    }

    #[test]
    fn partitions_are_spread_and_move_only_to_who_came() {
        let of = |brokers: &[(i32, Option<&str>)]| -> Vec<i32> {
            let view = view(brokers);
            (0..900).filter_map(|partition| reader(&view, "b", tp(partition))).collect()
        };
        let before = of(&[(1, Some("b")), (3, Some("b"))]);
        let after = of(&[(1, Some("b")), (3, Some("b")), (4, Some("b"))]);
        let mut counts: BTreeMap<i32, i32> = BTreeMap::new();
        after.iter().for_each(|number| *counts.entry(*number).or_default() += 1);
        assert!(counts.values().all(|count| (230..370).contains(count)), "{counts:?}");
        assert!(before.iter().zip(&after).all(|(before, after)| before == after || *after == 4));
    }
}
