//! A consumer that is in no group's generation, commits how far it has come, and asks for it.

use std::time::Duration;

use runnel_api::groups::{CommitOffset, CommitOffsets, FetchOffsets, Groups as _, Membership};
use runnel_api::{Error, ErrorKind};
use runnel_judge::Outcome;
use runnel_runtime::simulation::Chance;

use super::{AGAIN, Log, Shared, TOPIC};
use crate::kinds::Operation;
use crate::told::Place;

/// Nobody is a member of it.
pub(crate) const GROUP: &str = "group";

/// Commits offset after offset of one partition until the run ends, and asks for the last now and then.
pub(crate) async fn commit(shared: Shared, chance: Chance) {
    let mut committer = Committer::new(&shared, GROUP, 0, chance);
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

/// Asks what a group has committed of a partition until somebody tells.
pub(crate) async fn read_committed(shared: Shared, group: &'static str, partition: i32, chance: Chance) {
    let mut committer = Committer::new(&shared, group, partition, chance);
    while shared.verdict().is_none() && committer.read().await.is_none() {
        tokio::time::sleep(AGAIN).await;
    }
}

struct Committer {
    shared: Shared,
    group: &'static str,
    chance: Chance,
    /// What it commits offsets of.
    place: Place,
}

impl Committer {
    fn new(shared: &Shared, group: &'static str, partition: i32, chance: Chance) -> Self {
        Self { shared: shared.clone(), group, chance, place: Log::lasting(partition).place }
    }

    async fn commit(&mut self, offset: i64) -> Option<()> {
        let coordinator = self.shared.coordinator(self.group, &mut self.chance).await?;
        let begin = self.shared.told.moment();
        let offsets = vec![CommitOffset {
            topic: TOPIC.to_owned(),
            partition: self.place.partition,
            offset,
            leader_epoch: -1,
            metadata: String::new(),
        }];
        let member = Membership { generation: -1, member_id: String::new(), instance_id: None };
        let group = self.group.to_owned();
        let commit = CommitOffsets { group, member, knows_epochs: false, retention: None, offsets };
        self.shared.trace.count(Operation::Commit);
        let asked = self.shared.directory.ask(coordinator, |broker| async move { broker.commit_offsets(commit).await });
        let outcome = asked.await.map(|answer| answer.and_then(|each| each.into_iter().next().unwrap_or_else(none)));
        let outcome = match outcome {
            Some(Ok(())) => Outcome::Ok,
            Some(Err(error)) => {
                self.shared.may_retry(self.group, &error);
                Outcome::Unknown
            }
            None => Outcome::Unknown,
        };
        self.shared.trace.note(self.group, format_args!("commits {offset}: {outcome:?}"));
        self.shared.told.commit((self.group, self.group), &self.place, begin, offset, outcome);
        Some(())
    }

    async fn read(&mut self) -> Option<()> {
        let coordinator = self.shared.coordinator(self.group, &mut self.chance).await?;
        let begin = self.shared.told.moment();
        let topics = Some(vec![(TOPIC.to_owned(), vec![self.place.partition])]);
        let fetch = FetchOffsets { group: self.group.to_owned(), topics, member: None };
        self.shared.trace.count(Operation::Committed);
        let asked = self.shared.directory.ask(coordinator, |broker| async move { broker.fetch_offsets(fetch).await });
        let found = match asked.await?.map(|found| found.into_iter().next()) {
            Ok(found) => found?.offset,
            Err(error) => {
                self.shared.may_retry(self.group, &error);
                return None;
            }
        };
        self.shared.trace.note(self.group, format_args!("is told {found}"));
        self.shared.told.committed((self.group, self.group), &self.place, begin, (found >= 0).then_some(found));
        Some(())
    }
}

fn none() -> Result<(), Error> {
    Err(Error::new(ErrorKind::Internal, "no answer for the partition"))
}
