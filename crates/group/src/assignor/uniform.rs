//! Balanced over all topics, and sticky: what is held stays, what nobody holds goes to those who have least, and then those
//! who have most give to those who have least, until no single move would help.
//!
//! Topics with the same readers are one class, and within a class it does not matter which partition moves. If all members
//! read the same, there is one class and loads differ by one at most.

use std::collections::{BTreeMap, BTreeSet};

use runnel_record::TopicId;

use super::Subscriber;
use crate::partitions::Partitions;

/// Rounds over the classes. Each move makes the loads more even, so that there is an end; members with very different
/// subscriptions may be far from it, and a coordinator has other groups.
const MAX_ROUNDS: usize = 16;

type Partition = (TopicId, i32);

/// Topics with the same readers.
struct Class {
    readers: Vec<usize>,
    topics: Vec<TopicId>,
}

struct Balance {
    /// How many partitions each member has, over all classes.
    loads: Vec<usize>,
    /// Who has what.
    owners: BTreeMap<Partition, usize>,
}

pub(super) fn assign(subscribers: &[Subscriber<'_>], sizes: &BTreeMap<TopicId, i32>) -> Vec<Partitions> {
    let mut balance = Balance { loads: vec![0; subscribers.len()], owners: BTreeMap::new() };
    for (i, subscriber) in subscribers.iter().enumerate() {
        for (topic, partition) in subscriber.held.iter() {
            let there = sizes.get(&topic).is_some_and(|count| partition < *count);
            if there && subscriber.topics.binary_search(&topic).is_ok() {
                balance.give((topic, partition), i);
            }
        }
    }
    let classes = classes(subscribers);
    for class in &classes {
        balance.fill(class, sizes);
    }
    for _ in 0..MAX_ROUNDS {
        let moved = classes.iter().fold(false, |moved, class| balance.even_out(class, sizes) | moved);
        if !moved {
            break;
        }
    }
    let mut assigned = vec![Partitions::default(); subscribers.len()];
    for ((topic, partition), owner) in balance.owners {
        assigned[owner].insert(topic, partition);
    }
    assigned
}

/// Those with the fewest readers first: they have the least choice.
fn classes(subscribers: &[Subscriber<'_>]) -> Vec<Class> {
    let mut readers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for (i, subscriber) in subscribers.iter().enumerate() {
        for topic in &subscriber.topics {
            readers.entry(*topic).or_default().push(i);
        }
    }
    let mut classes: BTreeMap<Vec<usize>, Vec<TopicId>> = BTreeMap::new();
    for (topic, readers) in readers {
        classes.entry(readers).or_default().push(topic);
    }
    let mut classes: Vec<_> = classes.into_iter().map(|(readers, topics)| Class { readers, topics }).collect();
    classes.sort_by_key(|class| class.readers.len());
    classes
}

fn partitions<'a>(class: &'a Class, sizes: &'a BTreeMap<TopicId, i32>) -> impl Iterator<Item = Partition> + 'a {
    class.topics.iter().flat_map(|topic| (0..sizes.get(topic).copied().unwrap_or(0)).map(move |p| (*topic, p)))
}

impl Balance {
    fn give(&mut self, partition: Partition, to: usize) {
        if self.owners.contains_key(&partition) {
            return;
        }
        self.owners.insert(partition, to);
        self.loads[to] += 1;
    }

    /// The readers of a class, those with the least first.
    fn by_load(&self, class: &Class) -> BTreeSet<(usize, usize)> {
        class.readers.iter().map(|reader| (self.loads[*reader], *reader)).collect()
    }

    /// Gives what nobody has.
    fn fill(&mut self, class: &Class, sizes: &BTreeMap<TopicId, i32>) {
        let mut readers = self.by_load(class);
        for partition in partitions(class, sizes) {
            if self.owners.contains_key(&partition) {
                continue;
            }
            let Some((load, reader)) = readers.pop_first() else { return };
            self.give(partition, reader);
            readers.insert((load + 1, reader));
        }
    }

    /// Moves partitions of a class from those with the most to those with the least; whether any moved.
    fn even_out(&mut self, class: &Class, sizes: &BTreeMap<TopicId, i32>) -> bool {
        let mut readers = self.by_load(class);
        let mut held: BTreeMap<usize, Vec<Partition>> = BTreeMap::new();
        for partition in partitions(class, sizes) {
            if let Some(owner) = self.owners.get(&partition) {
                held.entry(*owner).or_default().push(partition);
            }
        }
        // Who has most over all classes may have nothing of this one to give.
        let mut givers: BTreeSet<(usize, usize)> = held.keys().map(|owner| (self.loads[*owner], *owner)).collect();
        let mut moved = false;
        while let (Some((most, giver)), Some((least, taker))) = (givers.last().copied(), readers.first().copied()) {
            if most <= least + 1 {
                break;
            }
            let Some(partition) = held.get_mut(&giver).and_then(Vec::pop) else {
                givers.pop_last();
                continue;
            };
            self.owners.insert(partition, taker);
            held.entry(taker).or_default().push(partition);
            for (who, load) in [(giver, most - 1), (taker, least + 1)] {
                readers.remove(&(self.loads[who], who));
                givers.remove(&(self.loads[who], who));
                self.loads[who] = load;
                readers.insert((load, who));
                givers.insert((load, who));
            }
            moved = true;
        }
        moved
    }
}
