//! Signs of life.

use crate::error::Error;
use crate::group::Group;
use crate::requests::{GroupState, Heartbeat};
use crate::shard::Context;

impl Group {
    pub(crate) fn heartbeat(&mut self, ctx: &Context<'_>, beat: &Heartbeat) -> Result<(), Error> {
        if let Some(consumer) = &mut self.consumer {
            return consumer.beat_classic(ctx, beat);
        }
        let state = self.state;
        let member = self.current(&beat.member)?;
        member.deadline = ctx.now.elapsed + member.session_timeout;
        match state {
            GroupState::Empty => Err(Error::UnknownMemberId),
            GroupState::PreparingRebalance => Err(Error::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
        }
    }
}
