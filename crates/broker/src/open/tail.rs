//! Which sessions hold the tail of a partition, and what that tail is. Pure.

use runnel_format::meta::{Durability, TailSession};
use runnel_partition::BatchFacts;
use runnel_record::Offset;
use runnel_wal::{CorruptRange, TailEntry};

/// The sessions of the record before, without those whose part is shipped, ended where the new one begins.
pub(crate) fn continued(before: Vec<TailSession>, shipped: Offset, own: TailSession) -> Vec<TailSession> {
    let ended = before.into_iter().map(|part| {
        let to = part.to.unwrap_or(own.from).max(part.from);
        TailSession { to: Some(to), ..part }
    });
    let mut tail = without_shipped(ended.collect(), shipped);
    tail.push(own);
    tail
}

/// The same with sessions that turned out to hold something, as after the loss of the record.
pub(crate) fn completed(mut tail: Vec<TailSession>, holders: &[u64], shipped: Offset, end: Offset) -> Vec<TailSession> {
    let named: Vec<u64> = tail.iter().map(|part| part.session).collect();
    let new = holders.iter().filter(|session| !named.contains(session)).map(|session| TailSession {
        session: *session,
        durability: Durability::Object,
        from: shipped,
        to: Some(end.max(shipped)),
    });
    tail.extend(new);
    tail
}

/// The part of a damaged range that a session may have written; `None` if there is none.
pub(crate) fn clipped(range: CorruptRange, part: &TailSession) -> Option<CorruptRange> {
    let from = range.from.max(part.from);
    let upto = [range.upto, part.to].into_iter().flatten().min();
    upto.is_none_or(|upto| from < upto).then_some(CorruptRange { from, upto, ..range })
}

/// The same without the sessions whose whole part is in segments.
pub(crate) fn without_shipped(mut tail: Vec<TailSession>, shipped: Offset) -> Vec<TailSession> {
    tail.retain(|part| part.to.is_none_or(|to| to > shipped));
    tail
}

/// The same, saying that a session may write to lanes in the bucket.
pub(crate) fn promoted(mut tail: Vec<TailSession>, session: u64) -> Vec<TailSession> {
    for part in tail.iter_mut().filter(|part| part.session == session) {
        part.durability = Durability::Object;
    }
    tail
}

/// The same, naming both classes of lanes for a session of a cluster that goes from one to the other: those who come after
/// it may have no way to its disk.
pub(crate) fn also(mut tail: Vec<TailSession>, session: u64, durability: Durability) -> Vec<TailSession> {
    let own = |part: &&TailSession| part.session == session;
    if let Some(last) = tail.iter().rfind(own).copied()
        && tail.iter().filter(own).all(|part| part.durability != durability)
    {
        tail.push(TailSession { durability, ..last });
    }
    tail
}

/// Whether something that is not shipped may be in lanes in the bucket.
pub(crate) fn may_be_in_bucket(tail: &[TailSession], shipped: Offset) -> bool {
    let needed = |part: &&TailSession| part.to.is_none_or(|to| to > shipped);
    tail.iter().filter(needed).any(|part| part.durability == Durability::Object)
}

/// The parts that may be on a disk and are not shipped.
pub(crate) fn on_disk(tail: &[TailSession], shipped: Offset) -> Vec<TailSession> {
    let parts = tail.iter().filter(|part| part.durability == Durability::Local).copied().collect();
    without_shipped(parts, shipped)
}

/// Where the entries of a lane end, which are in offset order.
pub(crate) fn end(entries: &[TailEntry]) -> Option<Offset> {
    entries.last().map(|entry| facts_of(entry).next)
}

fn facts_of(entry: &TailEntry) -> BatchFacts {
    BatchFacts::from_header(&entry.header, entry.body_len, entry.append_time)
}

/// The batches of several lanes, as they were appended: by epoch, and by offset in an epoch.
pub(crate) fn in_order<'a>(entries: impl Iterator<Item = &'a TailEntry>) -> Vec<BatchFacts> {
    let mut facts: Vec<BatchFacts> = entries.map(facts_of).collect();
    facts.sort_by_key(|batch| (batch.epoch, batch.base));
    facts
}

#[cfg(test)]
mod tests {
    use runnel_record::{TopicId, TopicPartition};

    use super::*;

    fn part(session: u64, durability: Durability, from: i64, to: Option<i64>) -> TailSession {
        TailSession { session, durability, from: Offset(from), to: to.map(Offset) }
    }

    #[test]
    fn a_new_session_ends_the_one_before_and_drops_what_is_shipped() {
        use Durability::{Local, Object};
        let before = vec![part(1, Local, 0, Some(10)), part(2, Object, 10, Some(20)), part(3, Object, 20, None)];
        let own = part(4, Local, 25, None);
        let tail = continued(before.clone(), Offset(10), own);
        assert_eq!(tail, [part(2, Object, 10, Some(20)), part(3, Object, 20, Some(25)), own]);
        assert_eq!(continued(before, Offset(25), own), [own], "all is shipped");
        // A session that never appended leaves no trace.
        assert_eq!(continued(vec![part(3, Object, 25, None)], Offset(25), own), [own]);
    }

    #[test]
    fn who_holds_something_is_named() {
        use Durability::{Local, Object};
        let known = vec![part(1, Local, 0, Some(10))];
        let tail = completed(known.clone(), &[1, 7], Offset(5), Offset(20));
        assert_eq!(tail, [known[0], part(7, Object, 5, Some(20))]);
    }

    #[test]
    fn damage_is_that_of_what_a_session_wrote() {
        let tp = TopicPartition { topic: TopicId(uuid::Uuid::nil()), partition: 0 };
        let range = |from, upto: Option<i64>| CorruptRange { tp, from: Offset(from), upto: upto.map(Offset) };
        let ended = part(1, Durability::Object, 10, Some(20));
        assert_eq!(clipped(range(0, None), &ended), Some(range(10, Some(20))));
        assert_eq!(clipped(range(12, Some(15)), &ended), Some(range(12, Some(15))));
        assert_eq!(clipped(range(20, None), &ended), None, "its successor wrote that");
        assert_eq!(clipped(range(0, None), &TailSession { to: None, ..ended }), Some(range(10, None)));
    }

    #[test]
    fn a_session_that_changes_its_class_is_named_with_both() {
        use Durability::{Local, Object};
        let tail = vec![part(1, Object, 0, Some(10)), part(2, Local, 10, None)];
        let both = also(tail.clone(), 2, Object);
        assert_eq!(both, [tail[0], tail[1], part(2, Object, 10, None)]);
        assert_eq!(also(both.clone(), 2, Local), both);
        assert_eq!(also(tail.clone(), 3, Object), tail, "a session that leads nothing");
        let closed = continued(both, Offset(0), part(4, Object, 30, None));
        assert!(closed[..3].iter().all(|part| part.to.is_some()));
    }

    #[test]
    fn only_unshipped_parts_make_an_open_wait_for_the_bucket() {
        use Durability::{Local, Object};
        let tail = [part(1, Object, 0, Some(10)), part(2, Local, 10, None)];
        assert!(may_be_in_bucket(&tail, Offset(9)));
        assert!(!may_be_in_bucket(&tail, Offset(10)));
        assert!(may_be_in_bucket(&promoted(tail.to_vec(), 2), Offset(10)));
        assert!(!may_be_in_bucket(&[], Offset::ZERO));
    }
}
