//! Naming topics and passing on messages.

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use runnel_api::{Error, TopicKey};
use runnel_record::TopicId;
use uuid::Uuid;

/// Longest legal topic name.
const MAX_NAME: usize = 249;

/// Longest message that we send; older versions cannot carry 32 KiB.
const MAX_MESSAGE: usize = 1000;

/// Permissions on a topic while everyone may do everything (KIP-430): read, write, create, delete, alter, describe,
/// describe and alter configs.
pub(crate) const ALL_TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

/// The same for the cluster: create, alter, describe, cluster action, describe and alter configs, idempotent write.
pub(crate) const ALL_CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// "Not asked for" in place of permissions.
pub(crate) const NO_OPERATIONS: i32 = i32::MIN;

/// A topic by name. A name that is too long to be legal is clipped to one that still is: it is repeated for each
/// partition of a request, and a request could otherwise be made to take far more memory than it has bytes.
pub(crate) fn by_name(name: &TopicName) -> TopicKey {
    TopicKey::Name(clip(name, MAX_NAME + 1).to_owned())
}

/// A topic by id where the version has ids, else by name.
pub(crate) fn by_name_or_id(name: &TopicName, id: Uuid, has_ids: bool) -> TopicKey {
    if has_ids { TopicKey::Id(TopicId(id)) } else { by_name(name) }
}

/// A name for the wire.
pub(crate) fn wire_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// Text for the wire.
pub(crate) fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

/// The message of an error for the wire.
pub(crate) fn message(error: &Error) -> Option<StrBytes> {
    Some(text(clip(&error.message, MAX_MESSAGE)))
}

fn clip(s: &str, max: usize) -> &str {
    &s[..s.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[test]
    fn long_names_stay_illegal_and_short() {
        let long = "ä".repeat(10_000);
        let TopicKey::Name(name) = by_name(&wire_name(&long)) else { panic!("not a name") };
        assert!(name.len() > MAX_NAME - 1 && name.len() <= MAX_NAME + 1);
        assert_eq!(by_name(&wire_name("orders")), TopicKey::Name("orders".to_owned()));
    }
}
