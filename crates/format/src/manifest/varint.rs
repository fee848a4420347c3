//! Variable-length integers: seven bits a byte, lowest first, the top bit set on all but the last; signed numbers
//! are zigzagged first.

use crate::Error;
use crate::codec::{Reader, Writer};

/// Most bytes of a 64-bit number.
const MAX_BYTES: u32 = 10;

pub(super) fn put(w: &mut Writer, mut v: u64) {
    while v >= 0x80 {
        w.u8((v & 0x7f) as u8 | 0x80);
        v >>= 7;
    }
    w.u8((v & 0x7f) as u8);
}

pub(super) fn put_signed(w: &mut Writer, v: i64) {
    put(w, (v.cast_unsigned() << 1) ^ (v >> 63).cast_unsigned());
}

pub(super) fn take(what: &'static str, r: &mut Reader<'_>) -> Result<u64, Error> {
    let mut v = 0;
    for i in 0..MAX_BYTES {
        let byte = r.u8()?;
        let bits = u64::from(byte & 0x7f);
        if i == MAX_BYTES - 1 && bits > 1 {
            break;
        }
        v |= bits << (7 * i);
        if byte & 0x80 == 0 {
            // One encoding for one value.
            let shortest = i == 0 || byte != 0;
            return if shortest {
                Ok(v)
            } else {
                Err(Error::Corrupt { what, reason: "a number with a needless byte" })
            };
        }
    }
    Err(Error::Corrupt { what, reason: "a number of more than 64 bits" })
}

pub(super) fn take_signed(what: &'static str, r: &mut Reader<'_>) -> Result<i64, Error> {
    let v = take(what, r)?;
    Ok((v >> 1).cast_signed() ^ -(v & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_encoding() {
        for v in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::MAX >> 1, u64::MAX] {
            let mut w = Writer::default();
            put(&mut w, v);
            assert_eq!(take("n", &mut Reader::new("n", &w.0)), Ok(v));
        }
        for v in [0, -1, 1, i64::MIN, i64::MAX] {
            let mut w = Writer::default();
            put_signed(&mut w, v);
            assert_eq!(take_signed("n", &mut Reader::new("n", &w.0)), Ok(v));
        }
        let too_long = [0xff; 10];
        let more_than_64_bits = [&[0xff; 9][..], &[2]].concat();
        for bad in [&[][..], &[0x80], &[0x80, 0], &[0xff, 0x80, 0], &too_long, &more_than_64_bits] {
            assert!(take("n", &mut Reader::new("n", bad)).is_err(), "{bad:?}");
        }
    }
}
