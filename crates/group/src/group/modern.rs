//! The group as one of the consumer protocol, and the way between the protocols.

use std::time::Duration;

use runnel_format::groups::GroupKey;

use crate::consumer::ConsumerGroup;
use crate::error::Error;
use crate::group::Group;
use crate::requests::{ConsumerBeat, ConsumerHeartbeat, GroupState, JOIN};
use crate::shard::{Context, Now};

impl Group {
    pub(crate) fn consumer_beat(
        &mut self,
        ctx: &mut Context<'_>,
        beat: &ConsumerHeartbeat,
    ) -> Result<ConsumerBeat, Error> {
        match &mut self.consumer {
            Some(consumer) if beat.epoch < JOIN => consumer.leave(ctx, beat),
            Some(consumer) => {
                let admission = consumer.admit(ctx, beat)?;
                Ok(consumer.beat(ctx, beat, admission))
            }
            None if beat.epoch == JOIN && self.state == GroupState::Empty => {
                let mut consumer = Box::new(ConsumerGroup::new(self.id.clone()));
                let admission = consumer.admit(ctx, beat)?;
                if self.generation > 0 {
                    ctx.write(GroupKey::Group { group: self.id.clone() }, None);
                }
                self.restore_absent();
                let answer = consumer.beat(ctx, beat, admission);
                self.consumer = Some(consumer);
                Ok(answer)
            }
            None => Err(Error::GroupIdNotFound),
        }
    }

    /// When it wants to be looked at.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.consumer.as_ref().map_or(self.wake, |consumer| consumer.due())
    }

    /// Everything is loaded.
    pub(crate) fn restored(&mut self, now: Now, session: Duration) {
        let Some(consumer) = &mut self.consumer else { return };
        consumer.restored(now, session);
        if consumer.is_trivial() {
            self.consumer = None;
        }
    }

    /// A group of the consumer protocol that has no members can be joined in the classic one.
    pub(super) fn leave_consumer_protocol(&mut self, ctx: &mut Context<'_>) -> Result<(), Error> {
        let Some(consumer) = self.consumer.take_if(|consumer| consumer.is_empty()) else {
            return if self.consumer.is_none() { Ok(()) } else { Err(Error::InconsistentGroupProtocol) };
        };
        consumer.write_gone(ctx);
        Ok(())
    }
}
