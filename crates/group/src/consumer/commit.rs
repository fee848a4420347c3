//! Who may commit offsets and ask for them.

use super::ConsumerGroup;
use crate::error::Error;
use crate::requests::CommitOffsets;

impl ConsumerGroup {
    pub(crate) fn may_commit(&self, commit: &CommitOffsets) -> Result<(), Error> {
        let claim = &commit.member;
        // From a tool, or a consumer that was assigned its partitions by hand.
        if claim.generation < 0 && self.is_empty() {
            return Ok(());
        }
        let member = self.members.get(&claim.member_id).ok_or(Error::UnknownMemberId)?;
        if member.classic.is_none() && !commit.knows_epochs {
            return Err(Error::CommitTooOld);
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
