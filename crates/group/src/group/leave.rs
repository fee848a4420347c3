//! Leaving, by oneself or by the hand of an operator.

use crate::error::Error;
use crate::group::Group;
use crate::requests::{LeaveGroup, Leaving};
use crate::shard::Context;

impl Group {
    pub(crate) fn leave(&mut self, ctx: &mut Context<'_>, leave: &LeaveGroup) -> Vec<Result<(), Error>> {
        if let Some(consumer) = &mut self.consumer {
            let each = consumer.leave_classic(ctx, &leave.members);
            self.downgrade(ctx);
            return each;
        }
        let before = (self.members.len(), self.pending.len());
        let each = leave.members.iter().map(|leaving| self.leave_one(ctx, leaving)).collect();
        if self.members.len() != before.0 {
            self.after_departure(ctx);
        } else if self.pending.len() != before.1 {
            self.after_pending_left(ctx);
        }
        each
    }

    fn leave_one(&mut self, ctx: &mut Context<'_>, leaving: &Leaving) -> Result<(), Error> {
        let id = match &leaving.instance_id {
            // An operator knows a static member by its instance only.
            Some(instance) if leaving.member_id.is_empty() => {
                self.instances.get(instance).cloned().ok_or(Error::UnknownMemberId)?
            }
            Some(instance) => {
                self.authenticate(&leaving.member_id, Some(instance))?;
                leaving.member_id.clone()
            }
            None if self.pending.remove(&leaving.member_id).is_some() => return Ok(()),
            None => leaving.member_id.clone(),
        };
        if !self.members.contains_key(&id) {
            return Err(Error::UnknownMemberId);
        }
        self.drop_member(ctx, &id);
        Ok(())
    }
}
