//! What goes through partitions: each broker tells of its own, and the controller weighs by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};

use async_trait::async_trait;
use runnel_api::{Error, Flow, Node, Traffic, Weigh};
use runnel_plan::Scales;

use super::Member;
use super::view::{is_reached, node};
use crate::Broker;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Weights {
    /// As the controller by this token.
    known: Option<(u64, Scales)>,
    /// Brokers whose load is shown.
    shown: BTreeSet<i32>,
}

impl Weights {
    /// What the controller by this token knows. One that is new, or is it once more, knows nothing.
    pub(super) fn of(&self, token: u64) -> Option<&Scales> {
        self.known.as_ref().filter(|(of, _)| *of == token).map(|(_, scales)| scales)
    }

    /// Shows what goes through each broker, and nothing any more of those that are left out.
    fn show(&mut self, loads: &BTreeMap<i32, u64>) {
        let gone = std::mem::take(&mut self.shown).into_iter().filter(|broker| !loads.contains_key(broker));
        for (broker, load) in gone.map(|broker| (broker, 0)).chain(loads.iter().map(|(broker, load)| (*broker, *load)))
        {
            metrics::gauge!("runnel_cluster_traffic_bytes_per_second", "broker" => broker.to_string()).set(load as f64);
        }
        self.shown = loads.keys().copied().collect();
    }
}

impl Member {
    pub(super) fn weights(&self) -> MutexGuard<'_, Weights> {
        self.weights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Traffic for Broker {
    async fn traffic(&self) -> Result<Vec<Flow>, Error> {
        let topics = self.topics.all();
        let open = topics.iter().flat_map(|topic| topic.open_partitions());
        Ok(open.map(|open| Flow { tp: open.tp, epoch: open.epoch, bytes: open.traffic() }).collect())
    }
}

impl Weigh for Broker {
    fn weighed(&self) -> Vec<Node> {
        let Some(member) = &self.member else { return Vec::new() };
        let view = member.view();
        if view.token_of(self.home.session).is_none() {
            drop(view);
            let mut weights = member.weights();
            weights.known = None;
            weights.show(&BTreeMap::new());
            return Vec::new();
        }
        let others = view.brokers.iter().filter(|(number, _)| **number != self.home.node_id);
        let others = others.filter(|(_, at)| is_reached(&at.record)).map(|(number, at)| node(*number, &at.record));
        others.chain([self.own_node()]).collect()
    }

    fn weigh(&self, told: BTreeMap<i32, Vec<Flow>>) {
        let Some(member) = &self.member else { return };
        let view = member.view();
        let Some(token) = view.token_of(self.home.session) else { return };
        let told = told
            .into_iter()
            .map(|(broker, flows)| (broker, flows.into_iter().map(|flow| (flow.tp, flow.epoch, flow.bytes)).collect()));
        let mut weights = member.weights();
        let known = weights.known.take().filter(|(of, _)| *of == token);
        let (_, mut scales) = known.unwrap_or_else(|| (token, Scales::new(member.options.balance.pace)));
        scales.weigh(self.ports.clock.now_ms(), &told.collect());
        let mut loads: BTreeMap<i32, u64> = view.reached().map(|number| (number, 0)).collect();
        for tp in view.partitions.keys() {
            if let Some((leader, ..)) = view.leader(*tp) {
                let load = loads.entry(leader).or_default();
                *load = load.saturating_add(scales.traffic(*tp));
            }
        }
        weights.show(&loads);
        weights.known = Some((token, scales));
    }
}
