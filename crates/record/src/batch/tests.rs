#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::testing::{JAVA, edited, java, to_bytes};

#[test]
fn reads_every_header_field() {
    let (batch, rest) = Batch::parse(java(Codec::None)).unwrap();
    assert!(rest.is_empty());
    assert_eq!(batch.base_offset(), Offset(0));
    assert_eq!(batch.next_offset(), Offset(3));
    assert_eq!(batch.len(), 0x51 + 12);
    assert_eq!(batch.leader_epoch(), LeaderEpoch(-1));
    assert_eq!(batch.crc(), 0x7b1d_7f0d);
    assert_eq!(batch.attributes(), 0);
    assert_eq!(batch.last_offset_delta(), 2);
    assert_eq!(batch.base_timestamp(), TimestampMs(1_700_000_000_000));
    assert_eq!(batch.max_timestamp(), TimestampMs(1_700_000_000_005));
    assert_eq!(batch.producer_id(), ProducerId(4000));
    assert_eq!(batch.producer_epoch(), 3);
    assert_eq!(batch.base_sequence(), 7);
    assert_eq!(batch.record_count(), 3);
    assert!(!batch.is_control() && !batch.is_transactional() && !batch.is_log_append_time());
    assert_eq!(to_bytes(&batch), java(Codec::None));
}

#[test]
fn knows_the_codec_and_crc_of_every_java_batch() {
    for (codec, _) in JAVA {
        let (batch, _) = Batch::parse(java(codec)).unwrap();
        assert_eq!(batch.codec().unwrap(), codec);
        batch.verify_crc().unwrap();
    }
}

#[test]
fn attribute_bits() {
    let with = |attributes: u8| Batch::parse(edited(&java(Codec::None), 22, &[attributes])).unwrap().0;
    assert!(with(0x08).is_log_append_time());
    assert!(with(0x10).is_transactional());
    assert!(with(0x20).is_control());
    for unknown in 5..8 {
        assert!(matches!(with(unknown).codec(), Err(Error::Codec(bits)) if bits == i16::from(unknown)));
    }
}

#[test]
fn leaves_the_next_batch_and_shares_the_bytes() {
    let mut bytes = java(Codec::None).to_vec();
    bytes.extend_from_slice(&java(Codec::Gzip));
    let bytes = Bytes::from(bytes);
    let (first, rest) = Batch::parse(bytes.clone()).unwrap();
    assert_eq!(first.body().as_ptr(), bytes[HEADER_LEN..].as_ptr());
    let (second, rest) = Batch::parse(rest).unwrap();
    assert_eq!(second.codec().unwrap(), Codec::Gzip);
    assert!(rest.is_empty());
}

#[test]
fn cut_off_anywhere() {
    let bytes = java(Codec::None);
    for len in 0..bytes.len() {
        let error = Batch::parse(bytes.slice(..len)).unwrap_err();
        assert!(matches!(error, Error::Truncated { have, need } if have == len && need > len), "{len}: {error}");
    }
}

#[test]
fn impossible_lengths() {
    for length in [i32::MIN, -1, 0, 48] {
        let error = Batch::parse(edited(&java(Codec::None), 8, &length.to_be_bytes())).unwrap_err();
        assert!(matches!(error, Error::Length(l) if l == length), "{length}: {error}");
    }
    let error = Batch::parse(edited(&java(Codec::None), 8, &i32::MAX.to_be_bytes())).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }));
    // The shortest: a header and no records.
    let (batch, rest) = Batch::parse(edited(&java(Codec::None), 8, &49i32.to_be_bytes())).unwrap();
    assert_eq!((batch.len(), rest.len()), (HEADER_LEN, 0x51 - 49));
}

#[test]
fn other_magics() {
    for (magic, kind) in [
        (0, ErrorKind::UnsupportedFormat),
        (1, ErrorKind::UnsupportedFormat),
        (3, ErrorKind::Corrupt),
        (0xff, ErrorKind::Corrupt),
    ] {
        let bytes = edited(&java(Codec::None), 16, &[magic]);
        assert_eq!(Batch::parse(bytes.clone()).unwrap_err().kind(), kind, "{magic}");
        // An old message is shorter than a header of today.
        assert_eq!(Batch::parse(bytes.slice(..20)).unwrap_err().kind(), kind, "{magic}");
    }
}

#[test]
fn impossible_ranges() {
    let parse = |at, with: &[u8]| Batch::parse(edited(&java(Codec::None), at, with));
    assert_eq!(parse(23, &(-1i32).to_be_bytes()).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(parse(57, &(-1i32).to_be_bytes()).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(parse(0, &(i64::MAX - 2).to_be_bytes()).unwrap_err().kind(), ErrorKind::Invalid);
    let (last, _) = parse(0, &(i64::MAX - 3).to_be_bytes()).unwrap();
    assert_eq!(last.next_offset(), Offset(i64::MAX));
    assert!(format!("{last:?}").contains("next_offset"));
}

#[test]
fn assigned_fields_lie_outside_the_crc() {
    let (mut batch, _) = Batch::parse(java(Codec::Zstd)).unwrap();
    batch.assign(Offset(77), LeaderEpoch(5));
    assert_eq!(
        (batch.base_offset(), batch.next_offset(), batch.leader_epoch()),
        (Offset(77), Offset(80), LeaderEpoch(5))
    );
    batch.verify_crc().unwrap();
}

#[test]
fn stamping_never_blesses_damage() {
    let mut bytes = java(Codec::None).to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let (mut batch, _) = Batch::parse(bytes.into()).unwrap();
    assert!(matches!(batch.verify_crc(), Err(Error::Crc { stored: 0x7b1d_7f0d, .. })));
    batch.set_log_append_time(TimestampMs(9));
    assert_eq!(batch.verify_crc().unwrap_err().kind(), ErrorKind::Corrupt);
}

proptest! {
    #[test]
    fn stamping_moves_the_crc(body in prop::collection::vec(any::<u8>(), 0..300), time: i64) {
        let (java, _) = Batch::parse(java(Codec::None)).unwrap();
        let mut batch = Batch::from_parts(with_crc(*java.header(), &body), Bytes::from(body));
        batch.set_log_append_time(TimestampMs(time));
        prop_assert!(batch.is_log_append_time());
        prop_assert_eq!(batch.max_timestamp(), TimestampMs(time));
        prop_assert!(batch.verify_crc().is_ok());
    }

    #[test]
    fn parses_anything_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), head in 0..80usize) {
        // Half real, half noise, so that the framing checks are passed at times.
        let mut mixed = java(Codec::None)[..head].to_vec();
        mixed.extend_from_slice(&bytes);
        if let Ok((batch, rest)) = Batch::parse(mixed.clone().into()) {
            prop_assert_eq!(batch.len() + rest.len(), mixed.len());
            prop_assert!(batch.next_offset() > batch.base_offset());
        }
    }
}
