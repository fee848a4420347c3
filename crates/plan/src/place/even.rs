//! What is uneven is evened out, by as few moves as that takes.
//!
//! There is an end to it: each move makes numbers more even; or topics, at no cost to numbers; or traffic, at no cost to
//! either ([`super::traffic`]).

use super::Placement;
use crate::Limits;
use crate::case::Case;

impl Placement<'_> {
    pub(crate) fn even_out(&mut self, limits: Limits) {
        loop {
            let before = self.changes;
            while let Some((one, to)) = self.uneven_number(limits) {
                self.put(one, to);
            }
            for topic in 0..self.topics.members.len() {
                while let Some((one, to)) = self.uneven_topic(topic, limits) {
                    self.put(one, to);
                }
            }
            while let Some(exchange) = self.uneven_traffic(limits) {
                self.exchange(exchange);
            }
            if self.changes == before {
                return;
            }
        }
    }

    /// Somebody has two more than somebody else.
    fn uneven_number(&self, limits: Limits) -> Option<(usize, usize)> {
        let (most, least) = self.extremes(|broker| self.loads[broker].partitions.len() as u128)?;
        let (from, to) = (&self.loads[most], &self.loads[least]);
        if from.partitions.len() < to.partitions.len() + 2 {
            return None;
        }
        // Of the topic that is most crowded there and rarest here; of those, what brings traffic closest to even.
        let gap = from.traffic.saturating_sub(to.traffic) / 2;
        let able = from.partitions.iter().filter_map(|one| Some((*one, self.cost(*one, least, limits)?)));
        let best = able.min_by_key(|(one, cost)| {
            let crowd = i64::from(self.topics.on(*one, least)) - i64::from(self.topics.on(*one, most));
            let partition = &self.partitions[*one];
            (*cost, crowd, u128::from(partition.traffic).abs_diff(gap), partition.tp)
        });
        best.map(|(one, _)| (one, least))
    }

    /// A topic has two more partitions on a broker than on another. Exchanging is two moves, so it only goes to a broker
    /// that has fewer in all.
    fn uneven_topic(&self, topic: usize, limits: Limits) -> Option<(usize, usize)> {
        let members = self.topics.members[topic].iter().filter_map(|one| Some((*one, self.places[*one]?)));
        let crowded = members.filter(|(one, from)| self.topics.on(*one, *from) >= 2);
        let moves = crowded.flat_map(|(one, from)| {
            let roomy = move |to: &usize| {
                self.loads[*to].partitions.len() < self.loads[from].partitions.len()
                    && self.topics.on(one, *to) + 2 <= self.topics.on(one, from)
            };
            (0..self.loads.len()).filter(roomy).map(move |to| (one, to))
        });
        let able = moves.filter_map(|(one, to)| Some((self.cost(one, to, limits)?, one, to)));
        let best = able.min_by_key(|(cost, one, to)| {
            let partition = &self.partitions[*one];
            (*cost, self.topics.on(*one, *to), self.loads[*to].traffic, partition.traffic, *to, partition.tp)
        });
        best.map(|(_, one, to)| (one, to))
    }

    /// How many partitions more are under way once `one` goes to `to`, if it may. What a leader was already asked to hand
    /// over may only stay after all.
    fn cost(&self, one: usize, to: usize, limits: Limits) -> Option<i8> {
        let Case::Led { home, asked } = self.cases[one] else { return None };
        if asked.is_some() && Some(to) != asked && Some(to) != home {
            return None;
        }
        let cost = self.more_under_way(one, to)?;
        (cost <= 0 || self.under_way < limits.moves).then_some(cost)
    }

    /// How many partitions more are under way once `one` goes to `to`.
    pub(super) fn more_under_way(&self, one: usize, to: usize) -> Option<i8> {
        let from = self.places[one]?;
        Some(i8::from(self.is_away(one, to)) - i8::from(self.is_away(one, from)))
    }

    /// Who has most and who has least of something; `None` if that is the same broker.
    fn extremes(&self, of: impl Fn(usize) -> u128) -> Option<(usize, usize)> {
        let most = (0..self.loads.len()).rev().max_by_key(|broker| of(*broker))?;
        let least = (0..self.loads.len()).min_by_key(|broker| of(*broker))?;
        (most != least).then_some((most, least))
    }
}
