//! Placement: where each partition is, counted as if all that is on its way had arrived; what has no place gets the best.
//!
//! A move costs a pause of its partition, so a placement that is carried out and made again is the same: nothing moves
//! for being anywhere else.

mod even;
mod traffic;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::case::Case;
use crate::{BrokerView, PartitionView};

/// Partitions on brokers, both by their places in what was given.
pub(crate) struct Placement<'a> {
    partitions: &'a [PartitionView],
    cases: &'a [Case],
    /// Where each partition is, or shall be.
    places: Vec<Option<usize>>,
    loads: Vec<Load>,
    topics: Topics,
    /// How many partitions are led, and shall be led by another.
    under_way: usize,
    /// How often a partition was put anywhere.
    changes: usize,
}

/// What a broker carries.
#[derive(Debug, Clone, Default)]
struct Load {
    partitions: Vec<usize>,
    // Wide enough for the sum of whatever is reported.
    traffic: u128,
}

impl<'a> Placement<'a> {
    pub(crate) fn new(able: &[&BrokerView], partitions: &'a [PartitionView], cases: &'a [Case]) -> Self {
        let mut placement = Self {
            partitions,
            cases,
            places: vec![None; partitions.len()],
            loads: vec![Load::default(); able.len()],
            topics: Topics::new(able, partitions),
            under_way: 0,
            changes: 0,
        };
        for (one, case) in cases.iter().enumerate() {
            let place = match *case {
                Case::Led { home, asked } => asked.or(home),
                Case::Pinned(to) => Some(to),
                Case::Open | Case::Returns(_) | Case::Waits(_) | Case::Silent | Case::Fixed => None,
            };
            if let Some(to) = place {
                placement.put(one, to);
            }
        }
        placement
    }

    /// Where each partition shall be; `None` if it stays as it is.
    pub(crate) fn places(&self) -> impl Iterator<Item = Option<usize>> {
        self.places.iter().copied()
    }

    /// Finds a place for what is led by nobody, or by somebody who leaves. Heavy ones first: what is light fills the gaps.
    pub(crate) fn lead_the_leaderless(&mut self) {
        let seeks = |one: &usize| match self.cases[*one] {
            Case::Open | Case::Led { .. } => self.places[*one].is_none(),
            Case::Pinned(_) | Case::Returns(_) | Case::Waits(_) | Case::Silent | Case::Fixed => false,
        };
        let mut seeking: Vec<usize> = (0..self.partitions.len()).filter(seeks).collect();
        seeking.sort_by_key(|one| (Reverse(self.partitions[*one].traffic), self.partitions[*one].tp));
        for one in seeking {
            if let Some(to) = self.best_for(one) {
                self.put(one, to);
            }
        }
    }

    /// The broker with fewest of all, then fewest of the topic, then of the topic in the zone, then least traffic.
    fn best_for(&self, one: usize) -> Option<usize> {
        (0..self.loads.len()).min_by_key(|to| {
            let load = &self.loads[*to];
            (load.partitions.len(), self.topics.on(one, *to), self.topics.in_zone(one, *to), load.traffic)
        })
    }

    fn put(&mut self, one: usize, to: usize) {
        let traffic = u128::from(self.partitions[one].traffic);
        if let Some(from) = self.places[one].replace(to) {
            let load = &mut self.loads[from];
            load.partitions.retain(|other| *other != one);
            load.traffic -= traffic;
            self.topics.remove(one, from);
            self.under_way -= usize::from(self.is_away(one, from));
        }
        let load = &mut self.loads[to];
        load.partitions.push(one);
        load.traffic += traffic;
        self.topics.add(one, to);
        self.under_way += usize::from(self.is_away(one, to));
        self.changes += 1;
    }

    /// Whether a partition that shall be at `place` has to move to get there.
    fn is_away(&self, one: usize, place: usize) -> bool {
        matches!(self.cases[one], Case::Led { home, .. } if home != Some(place))
    }
}

/// How many partitions of each topic are on each broker and in each zone, as tables with a row for each topic.
struct Topics {
    /// The topic of each partition.
    of: Vec<usize>,
    /// The partitions of each topic.
    members: Vec<Vec<usize>>,
    /// The zone of each broker; those without one have one each.
    zones: Vec<usize>,
    brokers: Vec<u32>,
    zoned: Vec<u32>,
}

impl Topics {
    fn new(able: &[&BrokerView], partitions: &[PartitionView]) -> Self {
        let mut numbers = BTreeMap::new();
        let mut members: Vec<Vec<usize>> = Vec::new();
        let mut of = Vec::with_capacity(partitions.len());
        for (one, partition) in partitions.iter().enumerate() {
            let topic = *numbers.entry(partition.tp.topic).or_insert_with(|| {
                members.push(Vec::new());
                members.len() - 1
            });
            members[topic].push(one);
            of.push(topic);
        }
        let zones = able.iter().enumerate().map(|(at, broker)| {
            let same = |other: &&BrokerView| broker.zone.is_some() && other.zone == broker.zone;
            able.iter().position(same).unwrap_or(at)
        });
        let zones = zones.collect();
        let cells = vec![0; members.len() * able.len()];
        Self { of, members, zones, brokers: cells.clone(), zoned: cells }
    }

    /// Partitions of the topic of `one` on a broker.
    fn on(&self, one: usize, broker: usize) -> u32 {
        self.brokers[self.cell(one, broker)]
    }

    /// How much less even the topic of `one` is once that goes from one broker to another: half of what the sum of squares
    /// grows by.
    fn crowds(&self, one: usize, from: usize, to: usize) -> i64 {
        i64::from(self.on(one, to)) - i64::from(self.on(one, from)) + 1
    }

    /// Partitions of the topic of `one` in a broker's zone.
    fn in_zone(&self, one: usize, broker: usize) -> u32 {
        self.zoned[self.cell(one, self.zones[broker])]
    }

    fn add(&mut self, one: usize, broker: usize) {
        let (cell, zoned) = (self.cell(one, broker), self.cell(one, self.zones[broker]));
        self.brokers[cell] += 1;
        self.zoned[zoned] += 1;
    }

    fn remove(&mut self, one: usize, broker: usize) {
        let (cell, zoned) = (self.cell(one, broker), self.cell(one, self.zones[broker]));
        self.brokers[cell] -= 1;
        self.zoned[zoned] -= 1;
    }

    fn cell(&self, one: usize, column: usize) -> usize {
        self.of[one] * self.zones.len() + column
    }
}
