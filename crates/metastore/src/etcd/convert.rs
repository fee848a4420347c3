//! Between the contract's words and etcd's.

use bytes::Bytes;

use super::pb;
use super::pb::compare::{CompareResult, CompareTarget, TargetUnion};
use super::pb::request_op::Request;
use crate::error::Error;
use crate::store::{Compare, Op, Versioned};

/// The keys of one cluster among all keys of an etcd.
#[derive(Debug)]
pub(super) struct Space {
    /// Ends with a slash, unless it is empty.
    prefix: String,
}

impl Space {
    pub(super) fn new(prefix: &str) -> Self {
        let trimmed = prefix.trim_matches('/');
        Self { prefix: if trimmed.is_empty() { String::new() } else { format!("{trimmed}/") } }
    }

    pub(super) fn key(&self, key: &str) -> Bytes {
        format!("{}{key}", self.prefix).into()
    }

    /// The first key of a prefix, and the first behind it.
    pub(super) fn range(&self, prefix: &str) -> (Bytes, Bytes) {
        let first = self.key(prefix);
        // Of no prefix at all: from the first key on, in etcd's words.
        if first.is_empty() {
            return (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
        }
        (first.clone(), end_of(&first))
    }

    /// A key as the callers know it.
    fn strip(&self, key: &Bytes) -> Result<String, Error> {
        let text = std::str::from_utf8(key).ok().and_then(|text| text.strip_prefix(&self.prefix));
        let foreign = || Error::Foreign(String::from_utf8_lossy(key).into_owned());
        text.map(str::to_owned).ok_or_else(foreign)
    }

    pub(super) fn entry(&self, kv: pb::KeyValue) -> Result<(String, Versioned), Error> {
        Ok((self.strip(&kv.key)?, versioned(kv)))
    }

    pub(super) fn compare(&self, compare: Compare) -> pb::Compare {
        let key = self.key(compare.key());
        let (result, target, target_union) = match compare {
            Compare::Absent(_) => (CompareResult::Equal, CompareTarget::Create, TargetUnion::CreateRevision(0)),
            Compare::Present(_) => (CompareResult::Greater, CompareTarget::Create, TargetUnion::CreateRevision(0)),
            Compare::Revision(_, at) => {
                (CompareResult::Equal, CompareTarget::Mod, TargetUnion::ModRevision(signed(at)))
            }
            Compare::Created(_, at) => {
                (CompareResult::Equal, CompareTarget::Create, TargetUnion::CreateRevision(signed(at)))
            }
        };
        pb::Compare { result: result.into(), target: target.into(), key, target_union: Some(target_union) }
    }

    pub(super) fn op(&self, op: Op) -> pb::RequestOp {
        let key = self.key(op.key());
        let request = match op {
            Op::Put(_, value, lease) => {
                let lease = lease.map_or(0, |lease| lease.0.cast_signed());
                Request::RequestPut(pb::PutRequest { key, value, lease })
            }
            Op::Delete(_) => Request::RequestDeleteRange(pb::DeleteRangeRequest { key }),
        };
        pb::RequestOp { request: Some(request) }
    }
}

/// Conditions that never hold, and would in etcd, to which an absent key has revision 0.
pub(super) const fn is_impossible(compare: &Compare) -> bool {
    matches!(compare, Compare::Revision(_, 0) | Compare::Created(_, 0))
}

pub(super) fn versioned(kv: pb::KeyValue) -> Versioned {
    Versioned { value: kv.value, revision: kv.mod_revision.unsigned_abs(), created: kv.create_revision.unsigned_abs() }
}

/// A revision on the wire.
pub(super) fn signed(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// The first key behind a key.
pub(super) fn after(key: &Bytes) -> Bytes {
    [key, &b"\0"[..]].concat().into()
}

/// The first key behind all that start with a prefix. UTF-8 has no byte 0xff.
fn end_of(prefix: &Bytes) -> Bytes {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_its_own_keys() {
        for (prefix, key) in [("", "a/b"), ("/", "a/b"), ("runnel", "runnel/a/b"), ("/x/y/", "x/y/a/b")] {
            assert_eq!(Space::new(prefix).key("a/b"), key);
        }
        let space = Space::new("runnel");
        assert_eq!(space.range("a/"), ("runnel/a/".into(), "runnel/a0".into()));
        assert_eq!(space.range(""), ("runnel/".into(), "runnel0".into()));
        assert_eq!(Space::new("").range(""), ("\0".into(), "\0".into()));
        assert_eq!(after(&"a".into()), "a\0");
        assert!(space.strip(&"other/a".into()).is_err());
    }
}
