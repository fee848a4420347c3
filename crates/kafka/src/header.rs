//! The request header, versions 1 and 2.

use bytes::{Buf, Bytes};

use crate::guard::{self, Refused};

/// What stands in front of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// Which API.
    pub(crate) api_key: i16,
    /// Which version of it.
    pub(crate) api_version: i16,
    /// The client's number for this request; the reply repeats it.
    pub(crate) correlation_id: i32,
}

/// Bytes of the part that every header version has.
const PREFIX_LEN: usize = 8;

/// Takes the fixed part off `frame`; it is the same in all header versions.
pub(crate) fn prefix(frame: &mut Bytes) -> Result<Prefix, Refused> {
    if frame.len() < PREFIX_LEN {
        return Err(Refused::Truncated { missing: PREFIX_LEN - frame.len() });
    }
    Ok(Prefix { api_key: frame.get_i16(), api_version: frame.get_i16(), correlation_id: frame.get_i32() })
}

/// Takes the rest of the header off `frame`: the client id, which is never compact, and the tagged fields of header
/// version 2. Returns the client id.
pub(crate) fn client_id(frame: &mut Bytes, flexible: bool) -> Result<Option<Bytes>, Refused> {
    if frame.len() < 2 {
        return Err(Refused::Truncated { missing: 2 - frame.len() });
    }
    let id = match frame.get_i16() {
        -1 => None,
        n => {
            let length = usize::try_from(n).map_err(|_| Refused::Negative(i32::from(n)))?;
            if length > frame.len() {
                return Err(Refused::Truncated { missing: length - frame.len() });
            }
            Some(frame.split_to(length))
        }
    };
    if flexible {
        frame.advance(guard::tags_len(frame)?);
    }
    Ok(id)
}
