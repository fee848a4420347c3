//! Traffic is evened out where numbers and topics are: a busy partition goes to a broker that has fewer, or changes places
//! with a quiet one.
//!
//! What is measured trembles, so the gain of each move must show: it is more than what measuring it again would change.
//! Traffic that is made of very many small partitions is left as it is.

use std::cmp::Reverse;

use super::Placement;
use crate::Limits;
use crate::case::Case;

/// What brings the busiest broker and another closer together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchange {
    /// Goes to the other.
    goes: usize,
    to: usize,
    /// Comes from there, to the broker.
    comes: Option<(usize, usize)>,
    /// What the busier of the two carries less afterwards.
    gain: u128,
}

impl Exchange {
    fn moves(&self) -> u128 {
        1 + u128::from(self.comes.is_some())
    }
}

impl Placement<'_> {
    pub(super) fn exchange(&mut self, exchange: Exchange) {
        self.put(exchange.goes, exchange.to);
        if let Some((one, to)) = exchange.comes {
            self.put(one, to);
        }
    }

    /// What gains most for each move, if a broker carries far more than the average.
    pub(super) fn uneven_traffic(&self, limits: Limits) -> Option<Exchange> {
        let busiest = (0..self.loads.len()).max_by_key(|broker| (self.loads[*broker].traffic, Reverse(*broker)))?;
        let from = &self.loads[busiest];
        let average = self.loads.iter().map(|load| load.traffic).sum::<u128>() / self.loads.len() as u128;
        if from.traffic <= average + average * u128::from(limits.slack_percent) / 100 {
            return None;
        }
        let share = average * u128::from(limits.gain_percent) / 100;
        let least = share.max(u128::from(limits.least_gain)).max(1);
        // Few: what brings less than the least gain is not among them.
        let busy = from.partitions.iter().copied().filter(|one| self.traffic(*one) >= least && self.is_settled(*one));
        let others = (0..self.loads.len()).filter(|to| *to != busiest);
        let pairs = busy.flat_map(|goes| others.clone().map(move |to| (goes, to)));
        let able = pairs.flat_map(|(goes, to)| self.exchanges(goes, busiest, to));
        let able = able.filter(|found| found.gain >= least && self.has_room(found, limits));
        able.max_by_key(|found| {
            let names = (self.partitions[found.goes].tp, found.comes.map(|(one, _)| self.partitions[one].tp));
            (found.gain * 2 / found.moves(), Reverse((names, found.to)))
        })
    }

    /// What makes neither numbers nor topics less even: `goes` alone, or in exchange for something.
    fn exchanges(&self, goes: usize, from: usize, to: usize) -> impl Iterator<Item = Exchange> {
        let gap = self.loads[from].traffic.saturating_sub(self.loads[to].traffic);
        let crowds = self.topics.crowds(goes, from, to);
        let has_fewer = self.loads[to].partitions.len() < self.loads[from].partitions.len();
        let alone = (has_fewer && crowds <= 0).then_some(None);
        let comes = self.loads[to].partitions.iter().copied().filter(move |comes| {
            let is_of_the_topic = self.partitions[*comes].tp.topic == self.partitions[goes].tp.topic;
            let spreads = is_of_the_topic || crowds + self.topics.crowds(*comes, to, from) <= 0;
            // Two that are about as busy as each other would change places for a trembling.
            let is_quiet = self.traffic(*comes) * 2 <= self.traffic(goes);
            is_quiet && spreads && self.is_settled(*comes)
        });
        alone.into_iter().chain(comes.map(Some)).map(move |comes| {
            let difference = self.traffic(goes) - comes.map_or(0, |comes| self.traffic(comes));
            let gain = difference.min(gap.saturating_sub(difference));
            Exchange { goes, to, comes: comes.map(|comes| (comes, from)), gain }
        })
    }

    /// Whether as many more may be under way.
    fn has_room(&self, exchange: &Exchange, limits: Limits) -> bool {
        let parts = [Some((exchange.goes, exchange.to)), exchange.comes];
        let more: i8 = parts.into_iter().flatten().filter_map(|(one, to)| self.more_under_way(one, to)).sum();
        let room = limits.moves.min(limits.traffic_moves).saturating_sub(self.under_way);
        usize::try_from(more).map_or(true, |more| more <= room)
    }

    fn traffic(&self, one: usize) -> u128 {
        u128::from(self.partitions[one].traffic)
    }

    /// Whether traffic alone may move it: what is on its way arrives first.
    fn is_settled(&self, one: usize) -> bool {
        self.partitions[one].settled && matches!(self.cases[one], Case::Led { home: Some(_), asked: None })
    }
}
