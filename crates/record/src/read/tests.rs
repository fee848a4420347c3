#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::testing::{JAVA, java, records_of};

/// Walks records and their headers; the error that stops the walk.
fn walk(bytes: &[u8], count: i32) -> Result<usize, Error> {
    let mut n = 0;
    for record in Records::new(bytes, count) {
        record?.headers.check()?;
        n += 1;
    }
    Ok(n)
}

#[test]
fn reads_the_records_of_every_java_batch() {
    for (codec, _) in JAVA {
        let (batch, _) = Batch::parse(java(codec)).unwrap();
        let body = batch.inflate(0x51 - 49).unwrap();
        let records: Vec<_> = body.records().collect::<Result<_, _>>().unwrap();
        let [first, second, third] = records[..] else { panic!("{codec}: {} records", records.len()) };

        assert_eq!((first.attributes, first.timestamp_delta, first.offset_delta), (0, 0, 0));
        assert_eq!((first.key, first.value), (Some(&b"k"[..]), Some(&b"v1"[..])));
        assert_eq!(first.headers.count(), 2);
        let headers: Vec<_> = first.headers.collect::<Result<_, _>>().unwrap();
        assert_eq!(headers[0], HeaderRef { key: b"h", value: Some(&[0, 0xff]) });
        assert_eq!(headers[1], HeaderRef { key: b"h", value: None });

        assert_eq!((second.timestamp_delta, second.offset_delta), (5, 1));
        assert_eq!((second.key, second.value, second.headers.count()), (None, Some(&b""[..]), 0));
        assert_eq!((third.timestamp_delta, third.offset_delta), (-5, 2));
        assert_eq!((third.key, third.value, third.headers.count()), (Some(&b""[..]), None, 0));
    }
}

#[test]
fn an_uncompressed_body_is_shared_and_still_limited() {
    let (batch, _) = Batch::parse(java(Codec::None)).unwrap();
    let len = batch.body().len();
    assert_eq!(batch.inflate(len).unwrap().bytes().as_ptr(), batch.body().as_ptr());
    for (codec, _) in JAVA {
        let (batch, _) = Batch::parse(java(codec)).unwrap();
        assert!(matches!(batch.inflate(len - 1), Err(Error::Inflated { limit }) if limit == len - 1), "{codec}");
    }
}

#[test]
fn the_count_must_be_exact() {
    let (batch, _) = Batch::parse(java(Codec::None)).unwrap();
    assert_eq!(walk(batch.body(), 3).unwrap(), 3);
    assert!(matches!(walk(batch.body(), 2), Err(Error::Batch(_))));
    assert!(matches!(walk(batch.body(), 4), Err(Error::Record { index: 3, .. })));
    assert_eq!(walk(&[], 0).unwrap(), 0);
    assert!(walk(&[], i32::MAX).is_err());
}

#[test]
fn malformed_records() {
    // Length, attributes, timestamp delta, offset delta, key length, value length, header count.
    const GOOD: [u8; 7] = [12, 0, 0, 0, 1, 1, 0];
    assert_eq!(walk(&GOOD, 1).unwrap(), 1);
    let table: [(&str, &[u8]); 17] = [
        ("malformed length", &[0xff, 0xff, 0xff, 0xff, 0xff]),
        ("negative length", &[11, 0, 0, 0, 1, 1, 0]),
        ("longer than the batch", &[14, 0, 0, 0, 1, 1, 0]),
        ("longer than the batch", &[0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 1, 1, 0]),
        ("no attributes", &[0]),
        ("malformed timestamp delta", &[2, 0]),
        ("malformed offset delta", &[4, 0, 0]),
        ("malformed key", &[6, 0, 0, 0]),
        ("malformed key", &[12, 0, 0, 0, 3, 1, 0]),
        ("malformed key", &[12, 0, 0, 0, 100, 1, 0]),
        ("malformed value", &[12, 0, 0, 0, 1, 100, 0]),
        ("malformed header count", &[10, 0, 0, 0, 1, 1]),
        ("negative header count", &[12, 0, 0, 0, 1, 1, 1]),
        ("malformed header key", &[20, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f]),
        ("null header key", &[16, 0, 0, 0, 1, 1, 2, 1, 1]),
        ("malformed header value", &[16, 0, 0, 0, 1, 1, 2, 0, 100]),
        ("bytes after the last header", &[14, 0, 0, 0, 1, 1, 0, 0]),
    ];
    for (expected, bytes) in table {
        let error = walk(bytes, 1).unwrap_err();
        assert!(matches!(error, Error::Record { index: 0, reason } if reason == expected), "{bytes:?}: {error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        // The same after a good record is blamed on the second.
        let error = walk(&[&GOOD[..], bytes].concat(), 2).unwrap_err();
        assert!(matches!(error, Error::Record { index: 1, reason } if reason == expected), "{bytes:?}: {error}");
    }
}

#[test]
fn iterators_end_after_an_error() {
    let mut records = Records::new(&[2, 0], 5);
    assert!(records.next().unwrap().is_err());
    assert!(records.next().is_none());

    let mut headers = Records::new(&[16, 0, 0, 0, 1, 1, 4, 1, 1], 1).next().unwrap().unwrap().headers;
    assert_eq!(headers.count(), 2);
    assert!(headers.next().unwrap().is_err());
    assert!(headers.next().is_none());
}

#[test]
fn a_record_may_hold_a_key_that_is_not_text() {
    let bytes = [18, 0, 0, 0, 1, 1, 2, 2, 0xff, 0];
    let record = Records::new(&bytes, 1).next().unwrap().unwrap();
    let headers: Vec<_> = record.headers.collect::<Result<_, _>>().unwrap();
    assert_eq!(headers, [HeaderRef { key: &[0xff], value: Some(&[]) }]);
}

proptest! {
    #[test]
    fn walks_anything_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), count in -1..40i32) {
        if let Ok(n) = walk(&bytes, count) {
            prop_assert_eq!(n, usize::try_from(count.max(0)).unwrap());
        }
    }

    #[test]
    fn a_flipped_byte_never_panics(at in 61..93usize, with: u8) {
        let mut bytes = java(Codec::None).to_vec();
        bytes[at] = with;
        let (batch, _) = Batch::parse(bytes.into()).unwrap();
        if let Ok(records) = records_of(&batch) {
            prop_assert_eq!(records.len(), 3);
        }
    }
}
