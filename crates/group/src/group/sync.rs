//! Syncing: the leader brings the assignment, everyone gets their part.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::Error;
use crate::group::Group;
use crate::requests::{GroupState, Reply, SyncGroup, Synced};
use crate::shard::{Context, Token};

impl Group {
    pub(crate) fn sync(&mut self, ctx: &mut Context<'_>, token: Token, sync: SyncGroup) {
        if let Some(consumer) = &mut self.consumer {
            let outcome = consumer.sync_classic(ctx, &sync);
            return ctx.reply(token, outcome.map(Reply::Sync));
        }
        if let Err(error) = self.try_sync(ctx, token, sync) {
            ctx.reply(token, Err(error));
        }
    }

    fn try_sync(&mut self, ctx: &mut Context<'_>, token: Token, sync: SyncGroup) -> Result<(), Error> {
        self.current(&sync.member)?;
        let member_id = &sync.member.member_id;
        let differs = |named: &Option<String>, own: &Option<String>| named.is_some() && named != own;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(Error::InconsistentGroupProtocol);
        }
        match self.state {
            GroupState::Empty => Err(Error::UnknownMemberId),
            GroupState::PreparingRebalance => Err(Error::RebalanceInProgress),
            GroupState::Stable => {
                self.mark_synced(ctx, member_id, None);
                let synced = self.synced(member_id);
                ctx.reply(token, Ok(Reply::Sync(synced)));
                Ok(())
            }
            GroupState::CompletingRebalance => {
                let leads = self.leader.as_ref() == Some(member_id);
                let added: usize = sync.assignments.iter().map(|(_, assignment)| assignment.len()).sum();
                if leads && self.bytes().saturating_add(added) > ctx.options.max_group_bytes {
                    return Err(Error::GroupTooLarge);
                }
                if leads && added > ctx.room {
                    return Err(Error::TooManyGroups);
                }
                self.mark_synced(ctx, member_id, Some(token));
                if leads {
                    self.assign(ctx, sync.assignments.into_iter().collect());
                }
                Ok(())
            }
        }
    }

    fn mark_synced(&mut self, ctx: &mut Context<'_>, member_id: &str, waiting: Option<Token>) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.synced = true;
            member.deadline = ctx.now.elapsed + member.session_timeout;
            let older = waiting.and_then(|token| member.syncing.replace(token));
            if let Some(older) = older {
                ctx.reply(older, Err(Error::RebalanceInProgress));
            }
        }
        if self.members.values().all(|member| member.synced) {
            self.sync_deadline = None;
        }
    }

    /// The assignment is there: it is written before anyone is told.
    fn assign(&mut self, ctx: &mut Context<'_>, mut assignments: BTreeMap<String, Bytes>) {
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
        }
        self.enter(ctx, GroupState::Stable);
        self.write(ctx);
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let synced = self.synced(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            if let Some(token) = member.syncing.take() {
                member.deadline = ctx.now.elapsed + member.session_timeout;
                ctx.reply(token, Ok(Reply::Sync(synced)));
            }
        }
    }

    fn synced(&self, member_id: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(member_id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }
}
