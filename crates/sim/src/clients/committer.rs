//! A consumer that commits how far it has come, and asks for it.

use std::time::Duration;

use runnel_api::groups::{CommitOffset, CommitOffsets, FetchOffsets, Groups as _, Membership};
use runnel_api::{Error, ErrorKind, TopicKey};
use runnel_judge::Outcome;
use runnel_record::LeaderEpoch;
use runnel_runtime::simulation::Chance;

use super::{AGAIN, Log, Shared, TOPIC};
use crate::kinds::Operation;
use crate::told::Place;

const GROUP: &str = "group";

/// Where groups keep what is committed. There is one partition in a simulation.
const OFFSETS: &str = "__consumer_offsets";

/// Commits offset after offset of one partition until the run ends, and asks for the last now and then.
pub(crate) async fn commit(shared: Shared, chance: Chance) {
    let mut committer = Committer::new(&shared, chance);
    let mut next = 1;
    while !shared.is_ending() {
        tokio::time::sleep(Duration::from_millis(committer.chance.below(100))).await;
        if committer.chance.permille(300) {
            committer.read().await;
        } else if next <= shared.told.end(&committer.place) {
            committer.commit(next).await;
            next += 1;
        }
    }
}

/// Asks for what is committed until somebody tells.
pub(crate) async fn read_committed(shared: Shared, chance: Chance) {
    let mut committer = Committer::new(&shared, chance);
    while shared.verdict().is_none() && committer.read().await.is_none() {
        tokio::time::sleep(AGAIN).await;
    }
}

struct Committer {
    shared: Shared,
    chance: Chance,
    /// What it commits offsets of.
    place: Place,
    /// The newest epoch of a coordinator that it has heard of.
    epoch: LeaderEpoch,
}

impl Committer {
    fn new(shared: &Shared, chance: Chance) -> Self {
        Self { shared: shared.clone(), chance, place: Log::lasting(0).place, epoch: LeaderEpoch(0) }
    }

    /// The coordinator, never one that was replaced by another that it has heard of: that one may know less.
    async fn coordinator(&mut self) -> Option<usize> {
        let place = Place { topic: OFFSETS.to_owned(), partition: 0 };
        let log = Log { key: TopicKey::Name(OFFSETS.to_owned()), place };
        let Some((leader, epoch)) = self.shared.leader(&log, &mut self.chance).await else {
            // The first who looks for a coordinator makes the topic.
            let at = self.shared.directory.any(&mut self.chance)?;
            self.shared.trace.count(Operation::Admin);
            let find = self.shared.directory.ask(at, |broker| async move { broker.find_coordinator(GROUP).await });
            drop(find.await);
            return None;
        };
        if epoch < self.epoch {
            return None;
        }
        self.epoch = epoch;
        Some(leader)
    }

    async fn commit(&mut self, offset: i64) -> Option<()> {
        let coordinator = self.coordinator().await?;
        let begin = self.shared.told.moment();
        let offsets = vec![CommitOffset {
            topic: TOPIC.to_owned(),
            partition: self.place.partition,
            offset,
            leader_epoch: -1,
            metadata: String::new(),
        }];
        let member = Membership { generation: -1, member_id: String::new(), instance_id: None };
        let commit = CommitOffsets { group: GROUP.to_owned(), member, knows_epochs: false, retention: None, offsets };
        self.shared.trace.count(Operation::Commit);
        let asked = self.shared.directory.ask(coordinator, |broker| async move { broker.commit_offsets(commit).await });
        let outcome = asked.await.map(|answer| answer.and_then(|each| each.into_iter().next().unwrap_or_else(none)));
        let outcome = match outcome {
            Some(Ok(())) => Outcome::Ok,
            Some(Err(error)) => {
                self.shared.may_retry(GROUP, &error);
                Outcome::Unknown
            }
            None => Outcome::Unknown,
        };
        self.shared.trace.note(GROUP, format_args!("commits {offset}: {outcome:?}"));
        self.shared.told.commit(GROUP, &self.place, begin, offset, outcome);
        Some(())
    }

    async fn read(&mut self) -> Option<()> {
        let coordinator = self.coordinator().await?;
        let begin = self.shared.told.moment();
        let topics = Some(vec![(TOPIC.to_owned(), vec![self.place.partition])]);
        let fetch = FetchOffsets { group: GROUP.to_owned(), topics, member: None };
        self.shared.trace.count(Operation::Committed);
        let asked = self.shared.directory.ask(coordinator, |broker| async move { broker.fetch_offsets(fetch).await });
        let found = match asked.await?.map(|found| found.into_iter().next()) {
            Ok(found) => found?.offset,
            Err(error) => {
                self.shared.may_retry(GROUP, &error);
                return None;
            }
        };
        self.shared.trace.note(GROUP, format_args!("is told {found}"));
        self.shared.told.committed(GROUP, &self.place, begin, (found >= 0).then_some(found));
        Some(())
    }
}

fn none() -> Result<(), Error> {
    Err(Error::new(ErrorKind::Internal, "no answer for the partition"))
}
