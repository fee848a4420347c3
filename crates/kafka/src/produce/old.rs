//! Produce versions 0–2: listed, because librdkafka looks for them before it compresses, and refused.
//!
//! `kafka-protocol` knows them no more, so request and reply are handled by hand. The guard has walked the request.

use bytes::{Buf, BufMut, Bytes};
use kafka_protocol::error::ResponseError;

use crate::header::Prefix;
use crate::reply::{Reply, Rope};

/// Answers UNSUPPORTED_VERSION for every partition of a request of version 0, 1 or 2.
pub(crate) fn unsupported(prefix: Prefix, body: Bytes) -> Reply {
    let error = ResponseError::UnsupportedVersion;
    match reply(prefix, body, error.code()) {
        Ok(Some(rope)) => Reply::Send(rope),
        Ok(None) => Reply::Close(format!("Produce version {} is not served", prefix.api_version)),
        Err(short) => Reply::Close(format!("Produce version {} is malformed: {short}", prefix.api_version)),
    }
}

fn reply(prefix: Prefix, mut body: Bytes, error: i16) -> Result<Option<Rope>, bytes::TryGetError> {
    let acks = body.try_get_i16()?;
    body.try_get_i32()?;
    let mut rope = Rope::new(prefix.correlation_id, 0);
    rope.error = error;
    let out = rope.buf();
    let topics = body.try_get_i32()?.max(0);
    out.put_i32(topics);
    for _ in 0..topics {
        let name_len = body.try_get_i16()?;
        out.put_i16(name_len);
        out.put_slice(&take(&mut body, i32::from(name_len)));
        let partitions = body.try_get_i32()?.max(0);
        out.put_i32(partitions);
        for _ in 0..partitions {
            out.put_i32(body.try_get_i32()?);
            let records = body.try_get_i32()?;
            take(&mut body, records);
            out.put_i16(error);
            out.put_i64(-1); // base offset
            if prefix.api_version >= 2 {
                out.put_i64(-1); // append time
            }
        }
    }
    if prefix.api_version >= 1 {
        out.put_i32(0); // throttle time
    }
    Ok((acks != 0).then_some(rope))
}

fn take(body: &mut Bytes, length: i32) -> Bytes {
    body.split_to(usize::try_from(length).unwrap_or(0).min(body.len()))
}
