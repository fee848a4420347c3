//! Who a member of a group says that it is, as several requests have it.

use kafka_protocol::protocol::StrBytes;
use runnel_api::groups::Membership;

pub(crate) fn membership(generation: i32, member_id: &StrBytes, instance_id: Option<&StrBytes>) -> Membership {
    Membership { generation, member_id: member_id.to_string(), instance_id: instance_id.map(ToString::to_string) }
}
