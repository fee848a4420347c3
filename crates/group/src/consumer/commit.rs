//! Who may commit offsets and ask for them.

use super::ConsumerGroup;
use crate::error::Error;
use crate::requests::{CommitOffset, CommitOffsets};
use crate::topics::Topics;

impl ConsumerGroup {
    pub(crate) fn may_commit(&self, topics: &Topics, commit: &CommitOffsets) -> Result<(), Error> {
        let claim = &commit.member;
        // From a tool, or a consumer that was assigned its partitions by hand.
        if claim.generation < 0 && self.is_empty() {
            return Ok(());
        }
        let member = self.members.get(&claim.member_id).ok_or(Error::UnknownMemberId)?;
        if member.classic.is_none() && !commit.knows_epochs {
            return Err(Error::CommitTooOld);
        }
        // One that has not heard of its epoch yet commits what it read before: fine for what it had all the time (KIP-1251).
        let had = |offset: &CommitOffset| {
            let topic = topics.find(&offset.topic).map(|(id, _)| id);
            let since = topic.and_then(|id| member.since.get(&(id, offset.partition)));
            since.is_some_and(|since| *since <= claim.generation)
        };
        let is_late = member.classic.is_none() && (0..member.epoch).contains(&claim.generation);
        if is_late && commit.offsets.iter().all(had) {
            return Ok(());
        }
        self.check_claim(&claim.member_id, claim.generation)
    }

    pub(crate) fn may_fetch(&self, member_id: &str, epoch: i32) -> Result<(), Error> {
        self.check_claim(member_id, epoch)
    }

    fn check_claim(&self, member_id: &str, epoch: i32) -> Result<(), Error> {
        let member = self.members.get(member_id).ok_or(Error::UnknownMemberId)?;
        match &member.classic {
            _ if epoch == member.epoch => Ok(()),
            Some(_) => Err(Error::IllegalGeneration),
            None => Err(Error::StaleMemberEpoch),
        }
    }
}
