//! Members of a group in the classic protocol. They read what they are assigned and commit how far they have come. They leave,
//! die and come back, and sleep through their session without noticing.

mod embedded;
mod ledger;

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use runnel_api::groups::{
    CommitOffset, CommitOffsets, FetchOffsets, GroupError, Groups as _, Heartbeat, JoinGroup, JoinOutcome, Joined,
    LeaveGroup, Leaving, Membership, SyncGroup,
};
use runnel_api::{Error, ErrorKind};
use runnel_broker::Broker;
use runnel_judge::Outcome;
use runnel_record::LeaderEpoch;
use runnel_runtime::simulation::Chance;

pub(crate) use ledger::Ledger;

use super::reader::Reader;
use super::{AGAIN, Log, Shared, TOPIC};
use crate::kinds::Operation;

/// The group.
pub(crate) const MEMBERS: &str = "members";

/// Longest wait for something new to read.
const WAIT: Duration = Duration::from_millis(100);

/// Longest wait for an answer that nobody holds back.
const PATIENCE: Duration = Duration::from_secs(1);

/// Turns from one sign of life to the next.
const BEAT: u64 = 3;

/// Joins, reads and commits until the group is dismissed. `number` tells members apart, `partitions` are those of the topic.
pub(crate) async fn belong(shared: Shared, number: u64, partitions: i32, mut chance: Chance) {
    let name = format!("member-{number}");
    let is_static = chance.permille(300);
    let mut member = Member {
        who: Membership { generation: -1, member_id: String::new(), instance_id: is_static.then(|| name.clone()) },
        session: Duration::from_millis(chance.pick(&[1_000, 3_000])),
        rebalance: Duration::from_millis(chance.pick(&[1_000, 2_000])),
        shared,
        name,
        partitions,
        chance,
        reading: Vec::new(),
        late: None,
    };
    while !member.is_over() {
        member.shared.told.subscribe(&member.name, MEMBERS, TOPIC);
        let end = member.live().await;
        member.shared.told.close(&member.name);
        member.shared.trace.note(&member.name, format_args!("ends: {end:?}"));
        member.forget();
        let pause = member.chance.below(2_000);
        if !member.shared.is_ending() {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// What a member does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The same once more.
    Again,
    /// Joins the next generation.
    Rejoin,
    /// Joins as one that nobody knows.
    JoinAnew,
    /// Is no member any more, and has said so or not.
    End,
}

/// A partition that a member has.
struct Reading {
    reader: Reader,
    partition: i32,
    /// What it has committed of it, or found to be committed; 0 if nothing is.
    committed: i64,
}

struct Member {
    shared: Shared,
    name: String,
    partitions: i32,
    chance: Chance,
    session: Duration,
    rebalance: Duration,
    who: Membership,
    reading: Vec<Reading>,
    /// A commit that is long on its way, and who it was by.
    late: Option<(Membership, Vec<CommitOffset>)>,
}

impl Member {
    fn is_over(&self) -> bool {
        self.shared.is_dismissed() || self.shared.verdict().is_some()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It knows nothing of itself any more but its name.
    fn forget(&mut self) {
        (self.who.generation, self.who.member_id) = (-1, String::new());
        self.reading.clear();
    }

    /// From its first request to when it leaves or dies.
    async fn live(&mut self) -> Next {
        while !self.is_over() {
            let next = match self.join().await {
                Ok(()) => self.work().await,
                Err(next) => next,
            };
            match next {
                Next::End => return Next::End,
                Next::JoinAnew => self.forget(),
                // What it has, it gives up: it may get something else.
                Next::Again | Next::Rejoin => self.reading.clear(),
            }
            tokio::time::sleep(AGAIN).await;
        }
        Next::End
    }

    /// What a refusal asks of it. What nobody may refuse is wrong.
    fn refused(&self, error: &Error) -> Next {
        match error.kind {
            ErrorKind::Group(GroupError::RebalanceInProgress | GroupError::IllegalGeneration) => Next::Rejoin,
            ErrorKind::Group(GroupError::UnknownMemberId | GroupError::FencedInstanceId) => Next::JoinAnew,
            _ if self.shared.may_retry(&self.name, error) => Next::Again,
            _ => Next::End,
        }
    }

    async fn coordinator(&mut self) -> Option<usize> {
        tokio::time::timeout(PATIENCE, self.shared.coordinator(MEMBERS, &mut self.chance)).await.ok().flatten()
    }

    /// Asks a broker, and waits so long for its answer. The request goes on where nobody waits for it any more.
    async fn ask<T, F>(
        &self,
        at: usize,
        wait: Duration,
        kind: Operation,
        ask: impl FnOnce(Arc<Broker>) -> F,
    ) -> Asked<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.shared.trace.count(kind);
        tokio::time::timeout(wait, self.shared.directory.ask(at, ask)).await.ok().flatten()
    }

    /// Becomes one of a generation, and learns what it has in it.
    async fn join(&mut self) -> Result<(), Next> {
        let joined = self.ask_to_join().await?;
        let skips = joined.skip_assignment || joined.members.is_empty();
        let assignments = if skips { Vec::new() } else { embedded::share(&joined.members, self.partitions) };
        let sync = SyncGroup {
            group: MEMBERS.to_owned(),
            member: self.who.clone(),
            protocol_type: Some(joined.protocol_type),
            protocol: Some(joined.protocol),
            assignments,
        };
        let at = self.coordinator().await.ok_or(Next::Again)?;
        let wait = self.rebalance + PATIENCE;
        let synced = self.ask(at, wait, Operation::Sync, |broker| async move { broker.sync_group(sync).await }).await;
        let synced = synced.ok_or(Next::Again)?.map_err(|error| self.refused(&error))?;
        let Some(partitions) = embedded::assigned(&synced.assignment) else {
            self.shared.condemn(&self.name, &format!("is assigned {:?}", synced.assignment));
            return Err(Next::End);
        };
        self.shared.trace.note(&self.name, format_args!("has {partitions:?} of generation {}", self.who.generation));
        let who = self.who.instance_id.as_ref().unwrap_or(&self.who.member_id);
        let told = self.ledger().assigned(self.who.generation, who, &partitions);
        self.believe(told)?;
        self.begin_to_read(&partitions).await
    }

    async fn ask_to_join(&mut self) -> Result<Joined, Next> {
        let join = JoinGroup {
            group: MEMBERS.to_owned(),
            member_id: self.who.member_id.clone(),
            instance_id: self.who.instance_id.clone(),
            client_id: self.name.clone(),
            client_host: String::new(),
            session_timeout: self.session,
            rebalance_timeout: self.rebalance,
            protocol_type: "consumer".to_owned(),
            protocols: vec![("every-nth".to_owned(), embedded::subscription())],
            reason: None,
            needs_member_id: self.chance.permille(700),
            may_skip_assignment: self.chance.permille(500),
        };
        let at = self.coordinator().await.ok_or(Next::Again)?;
        // Others may take as long to join as they may.
        let wait = self.rebalance + Duration::from_secs(3);
        let asked = self.ask(at, wait, Operation::Join, |broker| async move { broker.join_group(join).await });
        match asked.await.ok_or(Next::Again)?.map_err(|error| self.refused(&error))? {
            JoinOutcome::MemberIdRequired(id) => {
                self.who.member_id = id;
                Err(Next::Again)
            }
            JoinOutcome::Joined(joined) => {
                self.who.member_id.clone_from(&joined.member_id);
                self.who.generation = joined.generation;
                Ok(joined)
            }
        }
    }

    /// What cannot be true ends it.
    fn believe(&self, told: Result<(), String>) -> Result<(), Next> {
        told.map_err(|why| {
            self.shared.condemn(&self.name, &why);
            Next::End
        })
    }

    /// Goes on where the group has come to.
    async fn begin_to_read(&mut self, partitions: &[i32]) -> Result<(), Next> {
        if partitions.is_empty() {
            return Ok(());
        }
        let found = loop {
            let topics = Some(vec![(TOPIC.to_owned(), partitions.to_vec())]);
            let fetch = FetchOffsets { group: MEMBERS.to_owned(), topics, member: None };
            if self.is_over() {
                return Err(Next::End);
            }
            if let Some(at) = self.coordinator().await {
                let (begin, known) = (self.shared.told.moment(), self.ledger().clone());
                let asked = self
                    .ask(at, PATIENCE, Operation::Committed, |broker| async move { broker.fetch_offsets(fetch).await });
                match asked.await {
                    Some(Ok(found)) => {
                        for (partition, offset) in found.iter().map(|found| (found.partition, found.offset)) {
                            let (place, read) = (Log::lasting(partition).place, (offset >= 0).then_some(offset));
                            self.shared.told.committed((&self.name, MEMBERS), &place, begin, read);
                            self.believe(known.may_be_told(partition, offset))?;
                            read.into_iter().for_each(|offset| self.ledger().committed(partition, offset));
                        }
                        break found;
                    }
                    Some(Err(error)) => match self.refused(&error) {
                        Next::Again => {}
                        next => return Err(next),
                    },
                    None => {}
                }
            }
            tokio::time::sleep(AGAIN).await;
        };
        self.reading = found
            .iter()
            .map(|found| {
                let (offset, epoch) = (found.offset.max(0), LeaderEpoch(found.leader_epoch.max(0)));
                let (log, chance) = (Log::lasting(found.partition), Chance::new(self.chance.next()));
                let reader = Reader::at(&self.shared, self.name.clone(), log, (offset, epoch), chance);
                Reading { reader, partition: found.partition, committed: offset }
            })
            .collect();
        Ok(())
    }

    /// A member's day: until the group wants something else of it, or it ends.
    async fn work(&mut self) -> Next {
        self.arrive_late().await;
        for turn in 0_u64.. {
            if self.is_over() {
                self.leave().await;
                return Next::End;
            }
            let commits = self.chance.permille(300) || self.shared.is_ending();
            let mut next = self.read().await;
            if next == Next::Again && commits {
                next = self.commit().await;
            }
            if next == Next::Again && turn % BEAT == 0 {
                next = self.beat().await;
            }
            if next == Next::Again && !self.shared.is_ending() {
                next = self.suffer().await;
            }
            match next {
                Next::Again => {}
                Next::Rejoin => {
                    // It may commit what it has read until the others have agreed to go on.
                    return match self.commit().await {
                        Next::Again => Next::Rejoin,
                        next => next,
                    };
                }
                next => return next,
            }
            tokio::time::sleep(Duration::from_millis(self.chance.below(50))).await;
        }
        Next::End
    }

    /// It leaves, dies, or sleeps for longer than its session, and does not know it when it wakes up. One with an instance id
    /// is to come back, and does not leave.
    async fn suffer(&mut self) -> Next {
        match self.chance.below(150) {
            0 if self.who.instance_id.is_none() => {
                self.leave().await;
                Next::End
            }
            1 => Next::End,
            2 => {
                let time = self.chance.pick(&[500, 2_000, 5_000]);
                self.shared.trace.note(&self.name, format_args!("sleeps for {time} ms"));
                tokio::time::sleep(Duration::from_millis(time)).await;
                self.commit().await
            }
            _ => Next::Again,
        }
    }

    /// Reads once from one of its partitions.
    async fn read(&mut self) -> Next {
        if self.reading.is_empty() {
            tokio::time::sleep(WAIT).await;
            return Next::Again;
        }
        let at = usize::try_from(self.chance.below(self.reading.len() as u64)).unwrap_or(0);
        let reader = &mut self.reading[at].reader;
        // Whatever becomes of it: a reader is where it was, or further.
        drop(tokio::time::timeout(PATIENCE, reader.poll(WAIT)).await);
        Next::Again
    }

    /// Commits what it has read since it did so last.
    async fn commit(&mut self) -> Next {
        let offsets: Vec<CommitOffset> = self.reading.iter().filter_map(Reading::uncommitted).collect();
        if offsets.is_empty() {
            return Next::Again;
        }
        let who = self.who.clone();
        if self.chance.permille(100) && !self.shared.is_ending() {
            self.late = Some((who, offsets));
            return Next::Again;
        }
        self.send(who, offsets).await
    }

    /// What was long on its way arrives when its generation is over. In its own one it would be right to take it.
    async fn arrive_late(&mut self) {
        if let Some((who, offsets)) = self.late.take_if(|(who, _)| who.generation != self.who.generation) {
            // Nobody waits for the answer any more.
            self.send(who, offsets).await;
        }
    }

    async fn send(&mut self, who: Membership, offsets: Vec<CommitOffset>) -> Next {
        let Some(at) = self.coordinator().await else { return Next::Again };
        let (begin, known) = (self.shared.told.moment(), self.ledger().clone());
        let (group, generation, sent) = (MEMBERS.to_owned(), who.generation, offsets.clone());
        let commit = CommitOffsets { group, member: who, knows_epochs: false, retention: None, offsets };
        let asked =
            self.ask(at, PATIENCE, Operation::Commit, |broker| async move { broker.commit_offsets(commit).await });
        let each = match asked.await {
            Some(Ok(each)) => each,
            Some(Err(error)) => vec![Err(error); sent.len()],
            None => Vec::new(),
        };
        let (mut each, mut next) = (each.into_iter(), Next::Again);
        for CommitOffset { partition, offset, .. } in sent {
            let answer = each.next();
            let outcome = match &answer {
                Some(Ok(())) => Outcome::Ok,
                Some(Err(error)) if matches!(error.kind, ErrorKind::Group(_)) => Outcome::Refused,
                Some(Err(_)) | None => Outcome::Unknown,
            };
            let what = format_args!("commits {offset} of {partition} in generation {generation}: {outcome:?}");
            self.shared.trace.note(&self.name, what);
            let place = Log::lasting(partition).place;
            self.shared.told.commit((&self.name, MEMBERS), &place, begin, offset, outcome);
            match answer {
                Some(Ok(())) => {
                    if let Err(next) = self.believe(known.may_commit(generation)) {
                        return next;
                    }
                    self.ledger().committed(partition, offset);
                    let reading = self.reading.iter_mut().filter(|reading| reading.partition == partition);
                    reading.for_each(|reading| reading.committed = offset);
                }
                Some(Err(error)) => next = self.refused(&error),
                None => {}
            }
        }
        next
    }

    async fn beat(&mut self) -> Next {
        let Some(at) = self.coordinator().await else { return Next::Again };
        let beat = Heartbeat { group: MEMBERS.to_owned(), member: self.who.clone() };
        let asked = self.ask(at, PATIENCE, Operation::Heartbeat, |broker| async move { broker.heartbeat(beat).await });
        match asked.await {
            Some(Err(error)) => self.refused(&error),
            Some(Ok(())) | None => Next::Again,
        }
    }

    /// Says that it goes. If nobody hears it, its session ends some time.
    async fn leave(&mut self) {
        let Some(at) = self.coordinator().await else { return };
        let Membership { member_id, instance_id, .. } = self.who.clone();
        let members = vec![Leaving { member_id, instance_id, reason: None }];
        let leave = LeaveGroup { group: MEMBERS.to_owned(), members };
        let asked = self.ask(at, PATIENCE, Operation::Leave, |broker| async move { broker.leave_group(leave).await });
        let left = asked.await;
        self.shared.trace.note(&self.name, format_args!("leaves: {left:?}"));
    }
}

/// None if nobody answered in time.
type Asked<T> = Option<Result<T, Error>>;

impl Reading {
    fn uncommitted(&self) -> Option<CommitOffset> {
        let Self { reader, partition, committed } = self;
        (reader.offset > *committed).then(|| CommitOffset {
            topic: TOPIC.to_owned(),
            partition: *partition,
            offset: reader.offset,
            leader_epoch: reader.epoch.0,
            metadata: String::new(),
        })
    }
}
