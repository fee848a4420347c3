//! Several brokers on one bucket and one metadata store (protocol §4 to §10), and what clients see of them.
//!
//! Every broker follows the metadata store ([`follow`]) and keeps what it says in a [`View`]. One of them, the controller
//! ([`control`]), fences sessions whose broker is gone and says who leads which partition; whoever is told so opens it, and
//! hands it over when asked to ([`lead`]). Nothing of this is on the path of a record, and nothing that must not happen is
//! prevented by a lease: lanes are sealed and roots are swapped in the bucket.

mod adopt;
mod control;
mod describe;
mod era;
mod find_topic;
mod follow;
mod janitor;
mod join;
mod lead;
mod lease;
mod leave;
mod nearest;
mod open;
mod raise;
mod release;
mod suspect;
mod view;
mod weigh;
mod write_off;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use runnel_api::{Error, ErrorKind, SessionState};
use runnel_format::Levels;
use runnel_record::TopicPartition;
use runnel_wal::object;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

pub use adopt::{AdoptProgress, Adopted};
pub(crate) use join::CLUSTER;
pub(crate) use view::{LIVE, View};

use crate::options::ClusterOptions;
use crate::topics::Topic;
use crate::{BUCKET_PATIENCE, Broker};
use lease::Lease;
use weigh::Weights;

/// Partitions that one broker opens at once.
const OPEN_AT_ONCE: usize = 32;

/// Partitions that one broker hands over at once. Fewer: producers wait for each while it is under way.
const HAND_OVER_AT_ONCE: usize = 8;

/// Partitions whose orphans are looked for at once.
const SWEEP_AT_ONCE: usize = 2;

/// A broker's part in a cluster.
pub(crate) struct Member {
    view: RwLock<View>,
    /// Raised with every change of the view.
    changes: watch::Sender<u64>,
    lease: Lease,
    options: ClusterOptions,
    /// That of the cluster when this broker joined it; a restore raises it.
    era: u32,
    /// Sessions of others, and whether they are ended and their lanes known here. Locked while they are being ended.
    ended: Mutex<BTreeMap<u64, Arc<tokio::sync::Mutex<bool>>>>,
    /// Partitions that a task is opening or handing over.
    turning: Mutex<BTreeSet<TopicPartition>>,
    /// What goes through partitions, if this broker is the controller.
    weights: Mutex<Weights>,
    /// Why partitions are not turned yet, by what the last attempt said.
    troubles: Mutex<BTreeMap<TopicPartition, String>>,
    opens: Semaphore,
    hand_overs: Semaphore,
    sweeps: Semaphore,
    /// This broker is to lead nothing any more.
    leaving: AtomicBool,
    /// Up to where the history of the metadata store is taken over; a revision.
    followed: AtomicU64,
    /// When the last look for topics that are not known here began. Locked while one is under way.
    caught_up: tokio::sync::Mutex<Option<Instant>>,
    /// The last look whether the own lane is sealed. Locked while one is under way.
    last_look: tokio::sync::Mutex<Option<Look>>,
}

/// A look at the own lane in the bucket.
struct Look {
    began: Instant,
    /// `None` if the bucket did not answer.
    is_sealed: Option<bool>,
}

impl Member {
    /// `view` is of `revision`.
    fn new((revision, view): (u64, View), lease: Lease, options: ClusterOptions, era: u32) -> Self {
        Self {
            view: RwLock::new(view),
            changes: watch::Sender::new(0),
            lease,
            options,
            era,
            ended: Mutex::default(),
            turning: Mutex::default(),
            weights: Mutex::default(),
            troubles: Mutex::default(),
            opens: Semaphore::new(OPEN_AT_ONCE),
            hand_overs: Semaphore::new(HAND_OVER_AT_ONCE),
            sweeps: Semaphore::new(SWEEP_AT_ONCE),
            leaving: AtomicBool::new(false),
            followed: AtomicU64::new(revision),
            caught_up: tokio::sync::Mutex::default(),
            last_look: tokio::sync::Mutex::default(),
        }
    }

    fn followed(&self) -> u64 {
        self.followed.load(Ordering::Acquire)
    }

    pub(crate) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the state of the cluster, as this broker sees it.
    fn measure(&self, number: i32, session: u64) {
        let (status, is_controller) = {
            let view = self.view();
            (view.status(), view.controller.is_some_and(|(controller, _)| controller.session == session))
        };
        let over = status.sessions.iter().filter(|session| session.state != SessionState::Active).count();
        metrics::gauge!("runnel_cluster_brokers").set(status.leads.len() as f64);
        metrics::gauge!("runnel_cluster_is_controller").set(f64::from(u8::from(is_controller)));
        metrics::gauge!("runnel_cluster_led_partitions").set(status.leads.get(&number).copied().unwrap_or(0) as f64);
        metrics::gauge!("runnel_cluster_leaderless_partitions").set(status.leaderless as f64);
        metrics::gauge!("runnel_cluster_unshipped_sessions").set(over as f64);
        metrics::gauge!("runnel_cluster_level").set(f64::from(status.level.unwrap_or(0)));
        metrics::gauge!("runnel_cluster_level_supported").set(f64::from(Levels::SUPPORTED.highest));
        metrics::gauge!("runnel_cluster_lease_valid").set(f64::from(u8::from(self.lease.is_valid())));
    }

    /// Whether partitions are being opened, or wait for that, at this moment.
    fn is_opening(&self) -> bool {
        self.opens.available_permits() < OPEN_AT_ONCE
    }

    /// Whether this broker is about to end its session.
    fn is_ending(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// The gate of a session that may have to be ended.
    fn gate(&self, session: u64) -> Arc<tokio::sync::Mutex<bool>> {
        Arc::clone(self.ended.lock().unwrap_or_else(PoisonError::into_inner).entry(session).or_default())
    }

    fn forget_gate(&self, session: u64) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
    }

    /// Whether the caller is the one who turns a partition; [`Member::turned`] ends that.
    fn turn(&self, tp: TopicPartition) -> bool {
        self.turning.lock().unwrap_or_else(PoisonError::into_inner).insert(tp)
    }

    /// Notes how the last attempt to turn a partition ended.
    fn note_trouble(&self, tp: TopicPartition, trouble: Option<String>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(trouble) => drop(troubles.insert(tp, trouble)),
            None => drop(troubles.remove(&tp)),
        }
    }

    fn trouble(&self, tp: TopicPartition) -> Option<String> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).get(&tp).cloned()
    }

    fn turned(&self, tp: TopicPartition) {
        self.turning.lock().unwrap_or_else(PoisonError::into_inner).remove(&tp);
    }
}

impl Broker {
    /// Whether this broker is on its way out of the cluster.
    pub(crate) fn is_leaving(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.is_ending() || !member.options.is_reached())
    }

    /// Whether a partition is led from here, as far as is known; on a single node it always is.
    pub(crate) fn leads(&self, tp: TopicPartition) -> bool {
        self.member.as_ref().is_none_or(|member| member.view().is_led_by(tp, self.home.session))
    }

    /// That somebody else leads a partition, or nobody.
    pub(crate) fn led_elsewhere(&self, topic: &Topic, tp: TopicPartition) -> Error {
        let label = topic.label(tp);
        let leader = self.member.as_ref().and_then(|member| member.view().leader(tp).map(|(number, _, _)| number));
        match leader {
            Some(number) => Error::new(ErrorKind::NotLeader, format!("broker {number} leads {label}")),
            None => Error::new(ErrorKind::LeaderNotAvailable, format!("{label} has no leader now: retry")),
        }
    }

    /// Whether reads may be answered: past the end of its lease a broker may have been replaced, and what it knows be old.
    pub(crate) fn check_lease(&self) -> Result<(), Error> {
        match &self.member {
            Some(member) if !member.lease.is_valid() => {
                Err(Error::new(ErrorKind::NotLeader, "this broker has lost touch with the metadata store: retry"))
            }
            _ => Ok(()),
        }
    }

    /// That nobody has led since what this broker leads, which its lease does not prove: another may have ended its session
    /// early, or the process may have stood still. Asked before a client is told for good that it is wrong, about its
    /// offset or its sequence numbers, say: whoever leads now may see that differently.
    ///
    /// One look at the bucket at a time serves all who wait, so that clients that are wrong all the time cost no more.
    pub(crate) async fn confirm_session(&self) -> Result<(), Error> {
        self.check_lease()?;
        let Some(member) = &self.member else { return Ok(()) };
        match self.is_lane_sealed(member).await {
            Some(false) => Ok(()),
            Some(true) => Err(Error::new(ErrorKind::NotLeader, "this broker was replaced: retry")),
            None => {
                let why = "the bucket does not show whether this broker was replaced: retry";
                Err(Error::new(ErrorKind::NotLeader, why))
            }
        }
    }

    /// Whether the lane of this broker was sealed by others before this was asked; `None` if nothing shows that: the
    /// bucket does not answer, or the lane, which is made as soon as it does, is not there yet.
    async fn is_lane_sealed(&self, member: &Member) -> Option<bool> {
        let lane = self.log.object_lane()?;
        let asked = Instant::now();
        let mut last = member.last_look.lock().await;
        if let Some(look) = last.as_ref().filter(|look| look.began >= asked) {
            return look.is_sealed;
        }
        let began = Instant::now();
        let looked = tokio::time::timeout(BUCKET_PATIENCE, object::is_sealed(&self.bucket, lane)).await;
        let is_sealed = looked.ok().and_then(Result::ok);
        *last = Some(Look { began, is_sealed });
        is_sealed
    }
}
