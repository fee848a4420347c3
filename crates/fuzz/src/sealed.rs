//! Envelopes with a checksum that fits.

use bytes::Bytes;
use runnel_format::codec;

/// `payload` in an envelope of the kind and version of `like`.
pub(crate) fn like(like: &Bytes, payload: &[u8]) -> Bytes {
    codec::seal([like[0], like[1], like[2], like[3]], u16::from_le_bytes([like[4], like[5]]), payload)
}

/// What is in an envelope.
pub(crate) fn payload(envelope: &Bytes) -> Vec<u8> {
    envelope[codec::ENVELOPE_LEN..].to_vec()
}

/// Decodes `payload` as a value of the kind of `like`, and again as the bytes of an envelope; whatever decodes must
/// survive being stored.
pub(crate) fn check<T: PartialEq + std::fmt::Debug, E>(
    envelope: &Bytes,
    input: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Bytes,
) {
    for bytes in [like(envelope, input), Bytes::copy_from_slice(input)] {
        if let Ok(value) = decode(&bytes) {
            match decode(&encode(&value)) {
                Ok(again) => assert_eq!(again, value, "another value after being stored"),
                Err(_) => panic!("not readable once stored: {value:?}"),
            }
        }
    }
}
