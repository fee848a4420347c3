//! Placement: partitions without a leader get one at once, brokers that leave are emptied, and what is uneven is evened
//! out by as few moves as that takes.
//!
//! A move costs a pause of its partition, so a plan that is applied and made again is empty: nothing moves for being
//! anywhere else.

use std::collections::BTreeMap;

use runnel_record::{TopicId, TopicPartition};

/// A broker that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerView {
    /// Its number.
    pub id: i32,
    /// Where it stands.
    pub zone: Option<String>,
    /// It is to lead nothing any more.
    pub draining: bool,
}

/// A partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionView {
    /// Which.
    pub tp: TopicPartition,
    /// Who leads it, alive or not.
    pub leader: Option<i32>,
    /// Bytes per second that go through it, in and out.
    pub traffic: u64,
}

/// Who shall lead a partition from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The partition.
    pub tp: TopicPartition,
    /// Who leads it now, if it is alive: it hands the partition over.
    pub from: Option<i32>,
    /// The new leader.
    pub to: i32,
}

/// How far a plan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Partitions with a leader that is well are moved at most so many at a time. Those without one, and those of brokers
    /// that leave, are not counted.
    pub moves: usize,
    /// The busiest broker may carry so many percent more than the average before traffic alone is a reason to move.
    pub slack_percent: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { moves: 100, slack_percent: 25 }
    }
}

/// What a broker carries.
#[derive(Debug, Clone, Default)]
struct Load {
    partitions: usize,
    traffic: u64,
    topics: BTreeMap<TopicId, usize>,
}

impl Load {
    fn add(&mut self, partition: &PartitionView) {
        self.partitions += 1;
        self.traffic = self.traffic.saturating_add(partition.traffic);
        *self.topics.entry(partition.tp.topic).or_default() += 1;
    }

    fn remove(&mut self, partition: &PartitionView) {
        self.partitions -= 1;
        self.traffic = self.traffic.saturating_sub(partition.traffic);
        if let Some(count) = self.topics.get_mut(&partition.tp.topic) {
            *count -= 1;
        }
    }

    fn of_topic(&self, topic: TopicId) -> usize {
        self.topics.get(&topic).copied().unwrap_or(0)
    }
}

/// Plans. `partitions` are all there are; the plan is in the order in which it should be carried out: those without a
/// leader first. Empty without a broker that may lead.
pub fn place(brokers: &[BrokerView], partitions: &[PartitionView], limits: Limits) -> Vec<Assignment> {
    let mut plan = Plan::new(brokers, partitions);
    if plan.loads.is_empty() {
        return Vec::new();
    }
    plan.lead_the_leaderless();
    plan.even_out(limits);
    plan.assignments()
}

struct Plan<'a> {
    partitions: &'a [PartitionView],
    alive: Vec<i32>,
    zones: BTreeMap<i32, Option<&'a str>>,
    loads: BTreeMap<i32, Load>,
    /// Where each partition is, and is to be, by its place in `partitions`.
    now: Vec<Option<i32>>,
}

impl<'a> Plan<'a> {
    fn new(brokers: &'a [BrokerView], partitions: &'a [PartitionView]) -> Self {
        let able = brokers.iter().filter(|broker| !broker.draining);
        let mut loads: BTreeMap<i32, Load> = able.clone().map(|broker| (broker.id, Load::default())).collect();
        let mut now = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let load = partition.leader.and_then(|leader| loads.get_mut(&leader));
            now.push(load.is_some().then_some(partition.leader).flatten());
            if let Some(load) = load {
                load.add(partition);
            }
        }
        let zones = able.map(|broker| (broker.id, broker.zone.as_deref())).collect();
        Self { partitions, alive: brokers.iter().map(|broker| broker.id).collect(), zones, loads, now }
    }

    /// Heavy ones first: what is light fills the gaps.
    fn lead_the_leaderless(&mut self) {
        let mut open: Vec<usize> = (0..self.now.len()).filter(|at| self.now[*at].is_none()).collect();
        open.sort_by_key(|at| (std::cmp::Reverse(self.partitions[*at].traffic), self.partitions[*at].tp));
        for at in open {
            if let Some(to) = self.best_for(&self.partitions[at]) {
                self.put(at, to);
            }
        }
    }

    /// The broker that should lead a partition: fewest of all, then fewest of its topic, then of its topic in the zone, then
    /// least traffic.
    fn best_for(&self, partition: &PartitionView) -> Option<i32> {
        let topic = partition.tp.topic;
        let in_zone = |zone: Option<&str>| -> usize {
            let there = self.loads.iter().filter(|(id, _)| zone.is_some() && self.zones[*id] == zone);
            there.map(|(_, load)| load.of_topic(topic)).sum()
        };
        let best = self.loads.iter().min_by_key(|(id, load)| {
            (load.partitions, load.of_topic(topic), in_zone(self.zones[*id]), load.traffic, **id)
        });
        best.map(|(id, _)| *id)
    }

    fn put(&mut self, at: usize, to: i32) {
        let partition = &self.partitions[at];
        if let Some(load) = self.now[at].and_then(|from| self.loads.get_mut(&from)) {
            load.remove(partition);
        }
        if let Some(load) = self.loads.get_mut(&to) {
            load.add(partition);
        }
        self.now[at] = Some(to);
    }

    fn even_out(&mut self, limits: Limits) {
        for _ in 0..limits.moves {
            let Some((at, to)) =
                self.uneven_count().or_else(|| self.uneven_topic()).or_else(|| self.uneven_traffic(limits))
            else {
                return;
            };
            self.put(at, to);
        }
    }

    /// Somebody leads two more than somebody else.
    fn uneven_count(&self) -> Option<(usize, i32)> {
        let (most, least) = self.extremes(|load| load.partitions as u64)?;
        let (from, to) = (&self.loads[&most], &self.loads[&least]);
        if from.partitions < to.partitions + 2 {
            return None;
        }
        // Of the topic that is most crowded there and rarest here; of those, what brings traffic closest to even.
        let gap = from.traffic.saturating_sub(to.traffic) / 2;
        let of_most = self.led_by(most);
        let best = of_most.min_by_key(|at| {
            let partition = &self.partitions[*at];
            let topic = partition.tp.topic;
            let crowd = to.of_topic(topic) as i64 - from.of_topic(topic) as i64;
            (crowd, partition.traffic.abs_diff(gap), partition.tp)
        })?;
        Some((best, least))
    }

    /// A topic has two more partitions on a broker than on another: exchanging is two moves, so it is only done towards a
    /// broker that has one partition less in all.
    fn uneven_topic(&self) -> Option<(usize, i32)> {
        for (id, load) in &self.loads {
            for (topic, count) in load.topics.iter().filter(|(_, count)| **count >= 2) {
                let room = self
                    .loads
                    .iter()
                    .filter(|(_, other)| other.partitions < load.partitions && other.of_topic(*topic) + 2 <= *count);
                let Some((to, _)) = room.min_by_key(|(to, other)| (other.of_topic(*topic), other.traffic, **to)) else {
                    continue;
                };
                let at = self.led_by(*id).filter(|at| self.partitions[*at].tp.topic == *topic);
                let at = at.min_by_key(|at| (self.partitions[*at].traffic, self.partitions[*at].tp))?;
                return Some((at, *to));
            }
        }
        None
    }

    /// A broker carries far more than the average, and one of its partitions would bring it and another closer together.
    /// Counts stay within one of each other.
    fn uneven_traffic(&self, limits: Limits) -> Option<(usize, i32)> {
        let (most, least) = self.extremes(|load| load.traffic)?;
        let (from, to) = (&self.loads[&most], &self.loads[&least]);
        let total: u64 = self.loads.values().map(|load| load.traffic).fold(0, u64::saturating_add);
        let average = total / self.loads.len() as u64;
        if from.traffic <= average.saturating_add(average / 100 * limits.slack_percent)
            || to.partitions >= from.partitions
        {
            return None;
        }
        let gap = from.traffic - to.traffic;
        // Never at the cost of a topic's spread: so every move makes something more even, and there is an end.
        let fits = |at: &usize| {
            let PartitionView { tp, traffic, .. } = self.partitions[*at];
            (1..gap).contains(&traffic) && to.of_topic(tp.topic) < from.of_topic(tp.topic)
        };
        let at = self.led_by(most).filter(fits);
        let at = at.min_by_key(|at| (self.partitions[*at].traffic.abs_diff(gap / 2), self.partitions[*at].tp))?;
        Some((at, least))
    }

    /// Who has most and who has least of something; `None` if that is the same broker.
    fn extremes(&self, of: impl Fn(&Load) -> u64) -> Option<(i32, i32)> {
        let most = self.loads.iter().max_by_key(|(id, load)| (of(load), std::cmp::Reverse(**id)))?;
        let least = self.loads.iter().min_by_key(|(id, load)| (of(load), **id))?;
        (most.0 != least.0).then_some((*most.0, *least.0))
    }

    fn led_by(&self, broker: i32) -> impl Iterator<Item = usize> {
        (0..self.now.len()).filter(move |at| self.now[*at] == Some(broker))
    }

    fn assignments(&self) -> Vec<Assignment> {
        let changed = self.partitions.iter().zip(&self.now).filter_map(|(partition, now)| {
            let to = (*now).filter(|now| partition.leader != Some(*now))?;
            let from = partition.leader.filter(|leader| self.alive.contains(leader));
            Some(Assignment { tp: partition.tp, from, to })
        });
        let mut plan: Vec<Assignment> = changed.collect();
        plan.sort_by_key(|one| (one.from.is_some(), one.tp));
        plan
    }
}

#[cfg(test)]
mod tests;
