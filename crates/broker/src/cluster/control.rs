//! The controller: whoever holds the key. It decides from its view of the store ([`runnel_plan`]) and writes with its
//! token compared, so what it knows may be old and it may have been replaced without knowing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use runnel_api::Error;
use runnel_format::meta::{ControllerRecord, Durability, Leadership, PartitionRecord, SessionRecord, SessionState};
use runnel_metastore::{Compare, Op};
use runnel_plan::{BrokerView, Decision, Led, Limits, PartitionView, Scales, SessionView, Step, decide};
use runnel_record::TopicPartition;

use super::Member;
use super::view::{At, CONTROLLER, View, live_key};
use crate::Broker;
use crate::error::metadata_error;
use crate::open::partition_key;
use crate::sessions;
use crate::topics::{created_key, topic_key};

/// How often the controller looks even if nothing changed.
const LOOK: Duration = Duration::from_secs(1);

/// Changes come in crowds; so long a decision waits for the rest of one.
const SETTLE: Duration = Duration::from_millis(20);

/// Partitions that one transaction assigns or moves.
const AT_ONCE: usize = 40;

/// What a transaction of the controller shall do to one key, and what must be as it was for that: at most three things.
type Change = (Vec<Compare>, Op);

impl Broker {
    /// Becomes the controller whenever there is none, and does its work. Ends with the broker.
    pub(super) async fn control(self: Arc<Self>) {
        let Some(member) = &self.member else { return };
        let mut changes = member.changes.subscribe();
        let (mut known, mut waiting) = (None, BTreeSet::new());
        loop {
            tokio::select! {
                biased;
                () = self.stop_signal.triggered() => return,
                _ = changes.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            tokio::time::sleep(SETTLE).await;
            changes.mark_unchanged();
            let token = match self.token(member).await {
                Ok(Some(token)) => token,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%error, "cannot become the controller now");
                    continue;
                }
            };
            if known.replace(token) != Some(token) {
                tracing::info!(token, "this broker is the controller");
            }
            let decision = self.decide(member, token);
            self.tell_waiting(&decision, &mut waiting);
            if let Err(error) = self.carry_out(member, token, &decision.steps).await {
                tracing::warn!(%error, "cannot carry out what the controller decided");
            }
        }
    }

    /// The token of this broker's time as the controller, if it is that now or can become it.
    async fn token(&self, member: &Member) -> Result<Option<u64>, Error> {
        let (known, alive) = {
            let view = member.view();
            (view.controller, view.brokers.get(&self.home.node_id).map(|at| at.revision))
        };
        if let Some((controller, token)) = known {
            return Ok((controller.session == self.home.session).then_some(token));
        }
        let Some(alive) = alive.filter(|_| !self.is_leaving()) else { return Ok(None) };
        let record = ControllerRecord { broker: self.home.node_id, session: self.home.session };
        let compare =
            vec![Compare::Absent(CONTROLLER.to_owned()), Compare::Revision(live_key(self.home.node_id), alive)];
        let put = Op::Put(CONTROLLER.to_owned(), record.encode(), Some(member.lease.id()));
        let outcome = self.meta.txn(compare, vec![put]).await.map_err(|e| metadata_error(&e))?;
        if !outcome.is_committed() {
            return Ok(None);
        }
        let found = self.meta.get(CONTROLLER).await.map_err(|e| metadata_error(&e))?;
        self.note(CONTROLLER, found.as_ref())?;
        Ok(member.view().token_of(self.home.session))
    }

    fn decide(&self, member: &Member, token: u64) -> Decision {
        let wanted: Vec<TopicPartition> = {
            let topics = self.topics.all();
            topics.iter().flat_map(|topic| topic.partition_numbers().map(|n| topic.tp(n))).collect()
        };
        let view = member.view();
        let weights = member.weights();
        let scales = weights.of(token);
        let partitions: Vec<PartitionView> = wanted.into_iter().map(|tp| partition_view(&view, scales, tp)).collect();
        let limits = limits(scales, view.reached(), member.options.balance.least_gain);
        decide(&broker_views(&view), &session_views(&view), &partitions, limits)
    }

    fn tell_waiting(&self, decision: &Decision, told: &mut BTreeSet<TopicPartition>) {
        let waiting: BTreeSet<TopicPartition> = decision.waiting.iter().map(|one| one.tp).collect();
        for one in decision.waiting.iter().filter(|one| !told.contains(&one.tp)) {
            tracing::warn!(partition = %one.tp, disk = %one.disk, "a partition waits for the broker with this disk");
        }
        metrics::gauge!("runnel_cluster_waiting_partitions").set(waiting.len() as f64);
        *told = waiting;
    }

    async fn carry_out(&self, member: &Member, token: u64, steps: &[Step]) -> Result<(), Error> {
        for steps in steps.chunks(AT_ONCE) {
            if self.carry_out_at_once(member, token, steps).await? {
                tell(steps);
                continue;
            }
            // Something changed meanwhile, which is on its way here. What it did not touch need not wait for it.
            for step in steps {
                if self.carry_out_at_once(member, token, std::slice::from_ref(step)).await? {
                    tell(std::slice::from_ref(step));
                }
            }
        }
        Ok(())
    }

    /// All of the steps or none; whether they were carried out.
    async fn carry_out_at_once(&self, member: &Member, token: u64, steps: &[Step]) -> Result<bool, Error> {
        let (mut compare, then): (Vec<Vec<Compare>>, Vec<Op>) = {
            let view = member.view();
            steps.iter().filter_map(|step| change(&view, step)).unzip()
        };
        compare.push(vec![Compare::Created(CONTROLLER.to_owned(), token)]);
        let outcome = self.meta.txn(compare.concat(), then).await.map_err(|e| metadata_error(&e))?;
        Ok(outcome.is_committed())
    }
}

/// Says what was decided; of partitions, which may be many, how many.
fn tell(steps: &[Step]) {
    let count = |of: fn(&Step) -> bool| steps.iter().filter(|step| of(step)).count();
    let assigned = count(|step| matches!(step, Step::Assign { .. }));
    let moved = count(|step| matches!(step, Step::Move { .. }));
    let unmoved = count(|step| matches!(step, Step::Unmove { .. }));
    let fenced = count(|step| matches!(step, Step::Fence { .. }));
    tracing::info!(fenced, assigned, moved, unmoved, "the controller decided");
    tracing::debug!(?steps, "what it decided");
}

/// Nothing moves for traffic alone while a broker that is alive does not tell of its own: it may carry anything.
fn limits(scales: Option<&Scales>, mut reached: impl Iterator<Item = i32>, least_gain: u64) -> Limits {
    let limits = Limits { least_gain, ..Limits::default() };
    let is_known = scales.is_some_and(|scales| reached.all(|broker| scales.has_heard(broker)));
    if is_known { limits } else { Limits { traffic_moves: 0, ..limits } }
}

fn broker_views(view: &View) -> Vec<BrokerView> {
    let of = |(number, at): (&i32, &At<runnel_format::meta::BrokerRecord>)| BrokerView {
        id: *number,
        session: at.record.session,
        disk: at.record.disk_id,
        zone: at.record.zone.clone(),
        draining: view.is_draining(*number, &at.record),
    };
    view.brokers.iter().map(of).collect()
}

fn session_views(view: &View) -> Vec<SessionView> {
    let of = |(session, at): (&u64, &At<SessionRecord>)| SessionView {
        session: *session,
        disk: at.record.disk_id,
        state: at.record.state,
    };
    view.sessions.iter().map(of).collect()
}

fn partition_view(view: &View, scales: Option<&Scales>, tp: TopicPartition) -> PartitionView {
    let record = view.partitions.get(&tp).map(|at| &at.record);
    let led = record.map(|record| Led {
        epoch: record.epoch,
        leader: record.leader.map(|leader| leader.session),
        move_to: record.leader.and_then(|leader| leader.move_to),
        local: local_disks(view, record),
    });
    let traffic = scales.map_or(0, |scales| scales.traffic(tp));
    PartitionView { tp, record: led, traffic, settled: scales.is_some_and(|scales| scales.is_settled(tp)) }
}

/// The disks that some of a partition's unshipped log may be on.
fn local_disks(view: &View, record: &PartitionRecord) -> Vec<uuid::Uuid> {
    let local = record.tail.iter().filter(|part| part.durability == Durability::Local);
    local.filter_map(|part| Some(view.sessions.get(&part.session)?.record.disk_id)).collect()
}

fn change(view: &View, step: &Step) -> Option<Change> {
    match *step {
        Step::Fence { session } => {
            let at = view.sessions.get(&session)?;
            let (key, record) = (sessions::key(session), at.record.clone());
            let record = SessionRecord { state: SessionState::Fencing, ..record };
            Some((vec![Compare::Revision(key.clone(), at.revision)], Op::Put(key, record.encode(), None)))
        }
        Step::Assign { tp, epoch, to } => {
            let leader = Some(Leadership { session: to, is_open: false, move_to: None });
            let key = partition_key(tp);
            let Some(at) = view.partitions.get(&tp) else {
                let never_shipped = view.created.contains(&tp.topic);
                let (starts, last_root, tail) = (Vec::new(), None, Vec::new());
                let record = PartitionRecord { epoch, leader, never_shipped, starts, last_root, tail };
                let created = created_key(tp.topic);
                let compare = vec![
                    // A topic that is being deleted gets no new records.
                    Compare::Present(topic_key(tp.topic)),
                    if never_shipped { Compare::Present(created) } else { Compare::Absent(created) },
                    Compare::Absent(key.clone()),
                ];
                return Some((compare, Op::Put(key, record.encode(), None)));
            };
            let record = PartitionRecord { epoch, leader, ..at.record.clone() };
            Some((vec![Compare::Revision(key.clone(), at.revision)], Op::Put(key, record.encode(), None)))
        }
        Step::Move { tp, to, .. } => move_to(view, tp, Some(to)),
        Step::Unmove { tp } => move_to(view, tp, None),
    }
}

fn move_to(view: &View, tp: TopicPartition, to: Option<u64>) -> Option<Change> {
    let (at, key) = (view.partitions.get(&tp)?, partition_key(tp));
    let leader = at.record.leader.map(|leader| Leadership { move_to: to, ..leader });
    let record = PartitionRecord { leader, ..at.record.clone() };
    Some((vec![Compare::Revision(key.clone(), at.revision)], Op::Put(key, record.encode(), None)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_for_traffic_before_every_broker_has_told_of_its_own() {
        let mut scales = Scales::default();
        let moves = |scales: Option<&Scales>| limits(scales, [0, 2].into_iter(), 1).traffic_moves;
        assert_eq!(moves(None), 0);
        assert_eq!(moves(Some(&scales)), 0);
        scales.weigh(1, &[(0, Vec::new()), (1, Vec::new())].into());
        assert_eq!(moves(Some(&scales)), 0);
        scales.weigh(2, &[(0, Vec::new()), (2, Vec::new())].into());
        assert_eq!(moves(Some(&scales)), Limits::default().traffic_moves);
    }
}
