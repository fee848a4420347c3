//! Zigzag varints as in protocol buffers: seven bits a byte, low bits first, the top bit set while more follow.

use bytes::BufMut;

/// Takes a 32-bit number off the front of `input`; `None` if it is cut off or does not fit.
#[inline]
pub(crate) fn take_i32(input: &mut &[u8]) -> Option<i32> {
    // Anything that fits 32 bits takes at most five bytes; longer spellings of small numbers are refused.
    let value = take(input, 5)?;
    i32::try_from(unzigzag(value)).ok()
}

/// Takes a 64-bit number off the front of `input`; `None` if it is cut off or does not fit.
#[inline]
pub(crate) fn take_i64(input: &mut &[u8]) -> Option<i64> {
    take(input, 10).map(unzigzag)
}

#[inline]
fn take(input: &mut &[u8], max_bytes: u32) -> Option<u64> {
    let (&first, rest) = input.split_first()?;
    if first < 0x80 {
        *input = rest;
        return Some(u64::from(first));
    }
    take_long(input, max_bytes)
}

fn take_long(input: &mut &[u8], max_bytes: u32) -> Option<u64> {
    let mut value = 0u64;
    for n in 0..max_bytes {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit only.
        if n == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * n);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Appends `value`.
pub(crate) fn put(out: &mut impl BufMut, value: i64) {
    let mut left = zigzag(value);
    while left >= 0x80 {
        out.put_u8((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.put_u8(left as u8);
}

/// Bytes that [`put`] writes for `value`.
pub(crate) const fn len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn written(value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, value);
        out
    }

    #[test]
    fn known_bytes() {
        let table: [(i64, &[u8]); 8] = [
            (0, &[0]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (64, &[0x80, 0x01]),
            (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ];
        for (value, bytes) in table {
            assert_eq!(written(value), bytes);
            assert_eq!(take_i64(&mut &bytes[..]), Some(value));
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        // Past 32 bits, in five bytes and in six.
        assert_eq!(take_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]), None);
        assert_eq!(take_i32(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..]), None);
        // Past 64 bits, by value and by length.
        assert_eq!(take_i64(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02][..]), None);
        assert_eq!(take_i64(&mut &[0xff; 11][..]), None);
        // Cut off.
        assert_eq!(take_i64(&mut &[][..]), None);
        assert_eq!(take_i64(&mut &[0x80][..]), None);
    }

    proptest! {
        #[test]
        fn round_trip(value: i64, tail: Vec<u8>) {
            let mut bytes = written(value);
            prop_assert_eq!(bytes.len(), len(value));
            bytes.extend_from_slice(&tail);
            let mut input = &bytes[..];
            prop_assert_eq!(take_i64(&mut input), Some(value));
            prop_assert_eq!(input, &tail[..]);
            let narrow = i32::try_from(value).ok();
            prop_assert_eq!(take_i32(&mut &bytes[..]), narrow);
        }
    }
}
