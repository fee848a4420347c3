//! Registers: small objects that change by compare-and-swap only.
//!
//! A register's bytes are an envelope (magic `rnRG`, version, length, CRC-32C; see `runnel_format::codec`) around a
//! nonce of 16 random bytes and the payload. The nonce is what makes an unclear answer clear. A conditional PUT can
//! be applied and still come back as a timeout, a reset, a 5xx, a 409 or, after a retry below us, as a refusal of its
//! own success. So no answer but a plain success is believed: the register is read back, and
//!
//! - our nonce there: the write happened;
//! - what we expected to replace still there: it has not happened (yet), and the *same* bytes are put again under the
//!   same condition, of which at most one can be applied, in whatever order they arrive;
//! - anything else: someone else's write is there.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use object_store::{PutMode, PutOptions, PutPayload, UpdateVersion};
use runnel_format::codec;
use runnel_runtime::simulation::random_id;
use uuid::Uuid;

use crate::{Bucket, Error, ErrorKind, Key, metrics};

/// Largest register.
pub const MAX_REGISTER_BYTES: usize = 256 * 1024;

const MAGIC: [u8; 4] = *b"rnRG";
const FORMAT: u16 = 1;
const NONCE_LEN: usize = 16;
pub(crate) const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Which write a register holds. It can be kept as a string and read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    nonce: Uuid,
    e_tag: Option<String>,
}

impl Version {
    /// Whether both name the same write; the store's own tag may differ, after a copy of the bucket for one.
    pub fn same_write(&self, other: &Self) -> bool {
        self.nonce == other.nonce
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.nonce.simple())?;
        self.e_tag.as_ref().map_or(Ok(()), |tag| write!(f, " {tag}"))
    }
}

impl FromStr for Version {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (nonce, e_tag) = s.split_once(' ').map_or((s, None), |(nonce, tag)| (nonce, Some(tag.to_owned())));
        Ok(Self { nonce: Uuid::parse_str(nonce)?, e_tag })
    }
}

/// What a register holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// The caller's bytes.
    pub payload: Bytes,
    /// Which write this is.
    pub version: Version,
}

/// How a compare-and-swap ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CasOutcome {
    /// The register held this write when the answer, or the read that resolved it, was given.
    Done(Version),
    /// The register holds something else now, or nothing. If there were unclear answers, this write may have been
    /// there in between: who must know finds out from what the payload says about its own history.
    Conflict(Option<Register>),
}

/// The nonce of an encoded register; `None` if the bytes are none.
pub(crate) fn nonce_of(bytes: &[u8]) -> Option<Uuid> {
    let (_, inner) = codec::open("register", MAGIC, FORMAT, bytes).ok()?;
    Uuid::from_slice(inner.get(..NONCE_LEN)?).ok()
}

fn encode(nonce: Uuid, payload: &[u8]) -> Bytes {
    codec::seal(MAGIC, FORMAT, &[nonce.as_bytes(), payload].concat())
}

fn decode(key: &str, bytes: &Bytes, e_tag: Option<String>) -> Result<Register, Error> {
    let corrupt = |reason: String| Error::Corrupt { key: key.to_owned(), reason };
    let (_, inner) = codec::open("register", MAGIC, FORMAT, bytes).map_err(|e| corrupt(e.to_string()))?;
    let nonce = inner.get(..NONCE_LEN).and_then(|n| Uuid::from_slice(n).ok());
    let nonce = nonce.ok_or_else(|| corrupt("register without a nonce".to_owned()))?;
    let payload = bytes.slice_ref(&inner[NONCE_LEN..]);
    Ok(Register { payload, version: Version { nonce, e_tag } })
}

impl Bucket {
    /// Reads a register; `None` if it is absent.
    pub async fn read_register(&self, key: &Key) -> Result<Option<Register>, Error> {
        let path = key.path();
        let found = self.fetch(&path, Some(MAX_REGISTER_BYTES as u64)).await?;
        found.map(|object| decode(&path, &object.bytes, object.e_tag)).transpose()
    }

    /// Writes a register that must be absent. An `Err` says nothing about whether the write has happened or will.
    pub async fn create_register(&self, key: &Key, payload: Bytes) -> Result<CasOutcome, Error> {
        self.write_register("create", key, None, &payload).await
    }

    /// Writes a register that must hold `expected`. An `Err` says nothing about whether the write has happened or
    /// will.
    pub async fn replace_register(&self, key: &Key, expected: &Version, payload: Bytes) -> Result<CasOutcome, Error> {
        self.write_register("replace", key, Some(expected.clone()), &payload).await
    }

    async fn write_register(
        &self,
        op: &'static str,
        key: &Key,
        mut expected: Option<Version>,
        payload: &[u8],
    ) -> Result<CasOutcome, Error> {
        let path = key.path();
        let nonce = random_id();
        let bytes = encode(nonce, payload);
        if bytes.len() > MAX_REGISTER_BYTES {
            let reason = format!("{} bytes are more than a register may hold", bytes.len());
            return Err(Error::Invalid { key: path, reason });
        }
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            pause(attempt).await;
            match self.put_if(op, &path, bytes.clone(), expected.as_ref()).await {
                Ok(Some(version)) => return Ok(CasOutcome::Done(Version { nonce, ..version })),
                Ok(None) => {}
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => last = Some(error),
            }
            match self.read_register(key).await {
                Ok(Some(found)) if found.version.nonce == nonce => return Ok(CasOutcome::Done(found.version)),
                Ok(found) if !is_same(found.as_ref(), expected.as_ref()) => return Ok(CasOutcome::Conflict(found)),
                // The same write may carry another tag than the one we kept.
                Ok(found) => expected = found.map(|register| register.version),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => last = Some(error),
            }
            tracing::debug!(op, path, attempt, ?last, "conditional write unresolved, trying again");
        }
        let source = last.map(Box::new);
        Err(Error::Unresolved { bucket: self.name().to_owned(), op, key: path, attempts: ATTEMPTS, source })
    }

    /// One conditional PUT. `None`: it went through but the store gave no tag for the next one.
    async fn put_if(
        &self,
        op: &'static str,
        path: &str,
        bytes: Bytes,
        expected: Option<&Version>,
    ) -> Result<Option<Version>, Error> {
        let mode = expected.map_or(PutMode::Create, |v| {
            // Stores compare their own tag; a folder has none and compares the nonce.
            PutMode::Update(UpdateVersion { e_tag: v.e_tag.clone(), version: Some(v.nonce.simple().to_string()) })
        });
        let (location, len) = (self.location(path)?, bytes.len());
        let put = self.store().put_opts(&location, PutPayload::from_bytes(bytes), PutOptions::from(mode));
        let result = self.request(op, path, put).await?;
        metrics::bytes_out(op, len);
        let version = Version { nonce: Uuid::nil(), e_tag: result.e_tag };
        Ok((version.e_tag.is_some() || self.is_folder()).then_some(version))
    }
}

/// Waits in front of an attempt, but not of the first.
pub(crate) async fn pause(attempt: u32) {
    if attempt > 0 {
        tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(attempt - 1)).await;
    }
}

/// Whether asking again, or reading back, is pointless.
pub(crate) fn is_final(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Unavailable => matches!(error, Error::SyncFailed { .. }),
        ErrorKind::Timeout | ErrorKind::Conflict => false,
        ErrorKind::NotFound
        | ErrorKind::Denied
        | ErrorKind::Corrupt
        | ErrorKind::Unsupported
        | ErrorKind::Invalid
        | ErrorKind::Internal => true,
    }
}

fn is_same(found: Option<&Register>, expected: Option<&Version>) -> bool {
    match (found, expected) {
        (None, None) => true,
        (Some(found), Some(expected)) => found.version.same_write(expected),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
