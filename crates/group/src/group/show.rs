//! A group as tools see it.

use crate::group::Group;
use crate::requests::{DescribedGroup, DescribedMember, GroupState, ListedGroup, ListedState};

impl Group {
    pub(crate) fn listed(&self) -> ListedGroup {
        if let Some(consumer) = &self.consumer {
            return consumer.listed();
        }
        ListedGroup {
            group: self.id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            state: ListedState::Classic(self.state),
            members: self.members.len(),
        }
    }

    pub(crate) fn described(&self) -> DescribedGroup {
        let stable = self.is(GroupState::Stable);
        let protocol = self.protocol.clone().filter(|_| stable).unwrap_or_default();
        let members = self.members.iter().map(|(id, member)| DescribedMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if stable { member.metadata(&protocol) } else { Default::default() },
            assignment: if stable { member.assignment.clone() } else { Default::default() },
        });
        DescribedGroup {
            group: self.id.clone(),
            state: self.state,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: members.collect(),
            protocol,
        }
    }
}
