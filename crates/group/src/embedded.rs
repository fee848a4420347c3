//! What consumers of the classic protocol tell each other through the coordinator: Kafka's `ConsumerProtocolSubscription` and
//! `ConsumerProtocolAssignment`. The coordinator reads them where members of both protocols are in one group.

use bytes::{BufMut, Bytes, BytesMut};

/// Newest version of an assignment; all have the same fields.
const NEWEST: i16 = 3;

/// Topic names and partitions.
pub(crate) type Named = Vec<(String, Vec<i32>)>;

/// What a consumer wants to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) version: i16,
    pub(crate) topics: Vec<String>,
    /// What it holds, from version 1 on.
    pub(crate) owned: Named,
    /// From version 3 on.
    pub(crate) rack: Option<String>,
}

/// Reads a subscription; `None` if these bytes are something else.
pub(crate) fn subscription(bytes: &[u8]) -> Option<Subscription> {
    let mut left = Reader(bytes);
    let version = left.int16()?;
    let topics = left.array(Reader::string)?;
    left.blob()?;
    let owned = if version >= 1 { left.array(Reader::topic)? } else { Vec::new() };
    if version >= 2 {
        // The generation in which it held that.
        left.int32()?;
    }
    let rack = if version >= 3 { left.nullable()? } else { None };
    (version >= 0).then_some(Subscription { version, topics, owned, rack })
}

/// Reads an assignment; no bytes are none.
pub(crate) fn assignment(bytes: &[u8]) -> Option<Named> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut left = Reader(bytes);
    left.int16()?;
    left.array(Reader::topic)
}

/// An assignment for a member whose subscription is of this version.
pub(crate) fn assign(version: i16, topics: &Named) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(version.clamp(0, NEWEST));
    out.put_i32(i32::try_from(topics.len()).unwrap_or(i32::MAX));
    for (name, partitions) in topics {
        out.put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
        out.put_slice(name.as_bytes());
        out.put_i32(i32::try_from(partitions.len()).unwrap_or(i32::MAX));
        partitions.iter().for_each(|partition| out.put_i32(*partition));
    }
    // No data of an assignor's own.
    out.put_i32(-1);
    out.freeze()
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn int16(&mut self) -> Option<i16> {
        self.bytes().map(i16::from_be_bytes)
    }

    fn int32(&mut self) -> Option<i32> {
        self.bytes().map(i32::from_be_bytes)
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn nullable(&mut self) -> Option<Option<String>> {
        let Ok(length) = usize::try_from(self.int16()?) else { return Some(None) };
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        Some(Some(text.to_owned()))
    }

    fn string(&mut self) -> Option<String> {
        self.nullable()?
    }

    /// Bytes that are passed over.
    fn blob(&mut self) -> Option<()> {
        let length = usize::try_from(self.int32()?).unwrap_or(0);
        self.take(length).map(drop)
    }

    fn topic(&mut self) -> Option<(String, Vec<i32>)> {
        Some((self.string()?, self.array(Self::int32)?))
    }

    fn array<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        for _ in 0..self.int32()?.max(0) {
            items.push(item(self)?);
        }
        Some(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_says_more() {
        let topics = b"\0\0\0\x01\0\x01t\xff\xff\xff\xff";
        let owned = b"\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x01";
        let versions = [
            [&b"\0\0"[..], topics].concat(),
            [&b"\0\x01"[..], topics, owned].concat(),
            [&b"\0\x03"[..], topics, owned, b"\0\0\0\x05\0\x01r"].concat(),
        ];
        for (bytes, (version, holds, rack)) in
            versions.iter().zip([(0, false, None), (1, true, None), (3, true, Some("r"))])
        {
            let expected = Subscription {
                version,
                topics: vec!["t".into()],
                owned: if holds { vec![("t".into(), vec![0, 1])] } else { Vec::new() },
                rack: rack.map(str::to_owned),
            };
            assert_eq!(subscription(bytes), Some(expected));
        }
        for noise in
            [&b""[..], b"\0\x01\0\0\0\x01\0\x01t", b"\0\0\x7f\xff\xff\xff", b"\xff\xff\0\0\0\0\xff\xff\xff\xff"]
        {
            assert_eq!(subscription(noise), None);
        }
    }

    #[test]
    fn an_assignment_is_read_back() {
        let topics = vec![("t".to_owned(), vec![0, 2])];
        let bytes = assign(9, &topics);
        assert_eq!(&bytes[..], b"\0\x03\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x02\xff\xff\xff\xff");
        assert_eq!(assignment(&bytes), Some(topics));
        assert_eq!((assignment(b""), assignment(b"\0")), (Some(Vec::new()), None));
    }
}
