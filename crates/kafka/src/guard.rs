//! Checks a request's shape before anything decodes it.
//!
//! `kafka-protocol` reserves memory for as many array elements as the wire announces, so five bytes can abort the
//! process. The guard walks a request with the tables of [`layout`] and lets it through only if every length and
//! count lies inside the frame. It allocates nothing. It reads lengths exactly as the decoder does, but refuses
//! over-long varints, so both always see the same request.
//!
//! Invariant: what the guard accepts makes the decoder allocate no more than a constant for each element that the
//! guard counted, plus the frame.

pub(crate) mod layout;

use layout::{Field, Kind, Layout};

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// A value or a whole array does not fit in what is left of the frame.
    #[error("the request ends {missing} bytes too early")]
    Truncated {
        /// How much more the announced length needs, at least.
        missing: usize,
    },
    /// A length or count below the one that means "null".
    #[error("a length of {0} makes no sense")]
    Negative(i32),
    /// A varint of more than 32 bits.
    #[error("a variable-length number has more than 32 bits")]
    Varint,
    /// A tagged field whose content is not as long as it says.
    #[error("tagged field {tag} says it has {announced} bytes and has {actual}")]
    Tag {
        /// The tag.
        tag: u32,
        /// Its announced size.
        announced: usize,
        /// What its content takes.
        actual: usize,
    },
}

/// Walks `body` as a request of `version` laid out as `layout`; returns how many array elements and tagged fields it
/// has. Bytes after the request are ignored, as Kafka does.
pub(crate) fn check(layout: &Layout, version: i16, flexible: bool, body: &[u8]) -> Result<usize, Refused> {
    let mut walk = Walk { rest: body, version, flexible, elements: 0 };
    walk.layout(layout)?;
    Ok(walk.elements)
}

/// The number of bytes that a request header's tagged fields take at the start of `bytes`.
pub(crate) fn tags_len(bytes: &[u8]) -> Result<usize, Refused> {
    let mut walk = Walk { rest: bytes, version: 0, flexible: true, elements: 0 };
    walk.tags(&[])?;
    Ok(bytes.len() - walk.rest.len())
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements: usize,
}

impl Walk<'_> {
    fn layout(&mut self, layout: &Layout) -> Result<(), Refused> {
        let version = self.version;
        for field in layout.fields.iter().filter(|f| f.is_in(version)) {
            self.value(&field.kind)?;
        }
        if self.flexible { self.tags(layout.tags) } else { Ok(()) }
    }

    fn value(&mut self, kind: &Kind) -> Result<(), Refused> {
        match kind {
            Kind::Fixed(bytes) => self.skip(*bytes),
            Kind::Str => {
                let length = if self.flexible { self.compact_length()? } else { self.short_length()? };
                self.skip(length)
            }
            Kind::Data => {
                let length = self.length()?;
                self.skip(length)
            }
            Kind::Array(item) => {
                let count = self.length()?;
                // No element is empty, so this also bounds the loop by the frame.
                self.require(count)?;
                self.elements += count;
                (0..count).try_for_each(|_| self.value(item))
            }
            Kind::Struct(layout) => self.layout(layout),
            Kind::Option(layout) => {
                let present = self.take::<1>()?;
                if present == [1] { self.layout(layout) } else { Ok(()) }
            }
        }
    }

    fn tags(&mut self, known: &[Field]) -> Result<(), Refused> {
        let count = self.varint()?;
        for _ in 0..count {
            self.elements += 1;
            let tag = self.varint()?;
            let announced = self.varint()? as usize;
            self.require(announced)?;
            let before = self.rest.len();
            match known.iter().find(|f| f.tag == tag && f.is_in(self.version)) {
                None => self.skip(announced)?,
                Some(field) => self.value(&field.kind)?,
            }
            let actual = before - self.rest.len();
            if actual != announced {
                return Err(Refused::Tag { tag, announced, actual });
            }
        }
        Ok(())
    }

    fn require(&self, bytes: usize) -> Result<(), Refused> {
        if bytes > self.rest.len() { Err(Refused::Truncated { missing: bytes - self.rest.len() }) } else { Ok(()) }
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Refused> {
        self.require(bytes)?;
        self.rest = &self.rest[bytes..];
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or_else(|| Refused::Truncated { missing: N - self.rest.len() })?;
        self.rest = rest;
        Ok(*head)
    }

    fn length(&mut self) -> Result<usize, Refused> {
        if self.flexible { self.compact_length() } else { self.take().and_then(|b| plain(i32::from_be_bytes(b))) }
    }

    fn short_length(&mut self) -> Result<usize, Refused> {
        self.take().and_then(|b| plain(i32::from(i16::from_be_bytes(b))))
    }

    fn compact_length(&mut self) -> Result<usize, Refused> {
        Ok(self.varint()?.saturating_sub(1) as usize)
    }

    fn varint(&mut self) -> Result<u32, Refused> {
        let mut value = 0;
        for i in 0..5 {
            let [byte] = self.take()?;
            if i == 4 && byte > 0x0f {
                return Err(Refused::Varint);
            }
            value |= u32::from(byte & 0x7f) << (i * 7);
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }
}

/// A length where −1 stands for null, which takes no bytes.
fn plain(length: i32) -> Result<usize, Refused> {
    match length {
        -1 => Ok(0),
        n => usize::try_from(n).map_err(|_| Refused::Negative(n)),
    }
}

#[cfg(test)]
mod tests;
