//! What members tell each other through the coordinator: Kafka's `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`,
//! each in its first version. Both begin alike: version, one topic.

use bytes::{BufMut, Bytes, BytesMut};
use runnel_api::groups::{JoinedMember, assigned_partitions};

use crate::clients::TOPIC;

fn begin() -> BytesMut {
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(1);
    out.put_i16(i16::try_from(TOPIC.len()).unwrap_or(0));
    out.put_slice(TOPIC.as_bytes());
    out
}

/// No data of an application's own.
fn end(mut out: BytesMut) -> Bytes {
    out.put_i32(-1);
    out.freeze()
}

/// Reads the lasting topic.
pub(super) fn subscription() -> Bytes {
    end(begin())
}

/// Shares the partitions of the lasting topic among members: each gets every n-th.
pub(super) fn share(members: &[JoinedMember], partitions: i32) -> Vec<(String, Bytes)> {
    let one = |(at, member): (usize, &JoinedMember)| {
        let theirs: Vec<i32> = (0..partitions).skip(at).step_by(members.len()).collect();
        (member.member_id.clone(), assignment(&theirs))
    };
    members.iter().enumerate().map(one).collect()
}

fn assignment(partitions: &[i32]) -> Bytes {
    let mut out = begin();
    out.put_i32(i32::try_from(partitions.len()).unwrap_or(0));
    partitions.iter().for_each(|partition| out.put_i32(*partition));
    end(out)
}

/// The partitions that a member was assigned; `None` if these bytes are something else.
pub(super) fn assigned(bytes: &[u8]) -> Option<Vec<i32>> {
    let topics = assigned_partitions(bytes)?;
    topics.into_iter().find(|(topic, _)| topic == TOPIC).map(|(_, partitions)| partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_is_somebodys() {
        let member = |id: &str| JoinedMember { member_id: id.to_owned(), instance_id: None, metadata: subscription() };
        let shared = share(&[member("a"), member("b")], 3);
        let read: Vec<_> = shared.iter().map(|(id, bytes)| (id.as_str(), assigned(bytes))).collect();
        assert_eq!(read, [("a", Some(vec![0, 2])), ("b", Some(vec![1]))]);
        assert_eq!((assigned(b""), assigned(b"\0\0\0\0\0\0")), (None, None));
    }
}
