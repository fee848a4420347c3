//! Ranges of neighbours, topic by topic.

use std::collections::BTreeMap;

use runnel_record::TopicId;

use super::Subscriber;
use crate::partitions::Partitions;

pub(super) fn assign(subscribers: &[Subscriber<'_>], sizes: &BTreeMap<TopicId, i32>) -> Vec<Partitions> {
    // Static members first, by instance: their ranges stay when they come back under another id.
    let mut order: Vec<usize> = (0..subscribers.len()).collect();
    order.sort_by_key(|i| {
        let Subscriber { id, instance_id, .. } = subscribers[*i];
        (instance_id.is_none(), instance_id, id)
    });
    let mut readers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for i in order {
        for topic in &subscribers[i].topics {
            readers.entry(*topic).or_default().push(i);
        }
    }
    let mut assigned = vec![Partitions::default(); subscribers.len()];
    for (topic, readers) in readers {
        let count = usize::try_from(sizes.get(&topic).copied().unwrap_or(0)).unwrap_or(0);
        let (each, more) = (count / readers.len(), count % readers.len());
        let mut numbers = 0_i32..;
        for (place, reader) in readers.into_iter().enumerate() {
            for partition in numbers.by_ref().take(each + usize::from(place < more)) {
                assigned[reader].insert(topic, partition);
            }
        }
    }
    assigned
}
