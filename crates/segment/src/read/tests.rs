#![allow(clippy::unwrap_used, clippy::panic)]

use bytes::Bytes;

use super::*;
use crate::footer::Parsed;
use crate::testing::{Record, encoded, log, object, read_all};
use crate::{Encoded, ErrorKind, ParquetCodec, SourceBatch, decode_run, encode_run};

/// Reads the object as [`Segment`](crate::Segment) does: the end first, then run by run.
fn read_object(object: &[u8]) -> Result<Vec<SourceBatch>, Error> {
    let object = Bytes::copy_from_slice(object);
    let Parsed::Footer(footer) = Footer::parse(&object, object.len() as u64)? else {
        panic!("the whole object is there");
    };
    let mut batches = Vec::new();
    let mut whole = Pieces::default();
    whole.push(0, object);
    for run in footer.runs() {
        let mut pieces = Pieces::default();
        for range in footer.ranges(run.index)? {
            pieces.push(range.start, whole.slice(&range)?);
        }
        batches.extend(decode_run(&read_run(&footer, run.index, pieces)?)?);
    }
    Ok(batches)
}

/// A small segment whose values stand in it as they are, so that only a checksum can tell a changed one.
fn example() -> Encoded {
    let header = vec![(vec![0xfe], Some(b"v".to_vec()))];
    let record = |n: u8| Record { key: Some(vec![n]), headers: header.clone(), ..Record::of([n; 40]) };
    encoded(&log(1000, &[vec![record(1), record(2)], vec![record(3)]]), ParquetCodec::None)
}

#[test]
fn a_flipped_bit_anywhere_is_reported_or_harmless() {
    let segment = example();
    let (expected, mut object) = (read_all(&segment).unwrap(), object(&segment));
    let mut harmless = Vec::new();
    for at in 0..object.len() {
        for bit in [at % 8, (at + 3) % 8] {
            object[at] ^= 1 << bit;
            match read_object(&object) {
                Ok(found) => {
                    assert_eq!(found, expected, "bit {bit} of byte {at}");
                    harmless.push(at);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit} of byte {at}: {error}"),
            }
            object[at] ^= 1 << bit;
        }
    }
    harmless.dedup();
    assert_eq!(harmless, [0, 1, 2, 3], "only the magic in front is never read");
}

#[test]
fn a_run_is_rebuilt_in_the_form_that_the_cache_keeps() {
    let records = |n: u8| vec![Record::of([n; 9]), Record { key: Some(vec![n]), ..Record::of("v") }];
    let batches = log(7, &[records(1), records(2), records(3)]);
    for codec in [ParquetCodec::None, ParquetCodec::Zstd(1)] {
        let segment = encoded(&batches, codec);
        let footer = crate::verify::parse(&segment).unwrap();
        let run = read_run(&footer, 0, crate::verify::pieces(&segment)).unwrap();
        assert_eq!(run, encode_run(&batches));
        assert_eq!(decode_run(&run).unwrap(), batches);
    }
}

#[test]
fn a_truncated_object_is_reported() {
    let object = object(&example());
    for len in 0..object.len() {
        let error = read_object(&object[..len]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{len} bytes: {error}");
    }
}

#[test]
fn bytes_of_another_run_are_reported() {
    let lists: Vec<_> = (0..3).map(|n| vec![Record::of(vec![n; 900 << 10])]).collect();
    let segment = encoded(&log(0, &lists), ParquetCodec::None);
    let footer = crate::verify::parse(&segment).unwrap();
    assert_eq!(footer.runs().len(), 3);
    let whole = crate::verify::pieces(&segment);
    let (wanted, other) = (footer.ranges(1).unwrap(), footer.ranges(2).unwrap());
    let mut swapped = Pieces::default();
    for (wanted, other) in wanted.iter().zip(&other) {
        swapped.push(wanted.start, whole.slice(other).unwrap());
    }
    assert_eq!(read_run(&footer, 1, swapped).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(read_run(&footer, 1, Pieces::default()).unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(matches!(read_run(&footer, 3, whole), Err(Error::NoSuchRun { run: 3 })));
}

#[test]
fn a_newer_format_is_refused_as_such() {
    let segment = example();
    let mut end = segment.bytes.last().unwrap().to_vec();
    let at = end.windows(13).position(|w| w == b"runnel.format").unwrap() + 13;
    let value = at + end[at..].iter().position(|b| *b == b'1').unwrap();
    end[value] = b'2';
    let error = Footer::parse(&with_good_checks(&end), segment.len).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found: 2, newest: 1 }), "{error}");
}

/// Replaces the check block of the end of a segment.
fn with_good_checks(end: &[u8]) -> Bytes {
    let block = end.windows(8).position(|w| w == b"RNLCHK01").unwrap();
    crate::checks::insert(&[&end[..block], &end[block + 24..]].concat()).unwrap()
}

#[test]
fn a_footer_that_lies_is_reported() {
    let segment = example();
    let end = segment.bytes.last().unwrap();
    let Parsed::Footer(_) = Footer::parse(&with_good_checks(end), segment.len).unwrap() else {
        panic!("an unchanged end is good");
    };
    let footer_at = end.windows(8).position(|w| w == b"RNLCHK01").unwrap() + 24;
    for at in footer_at..end.len() - 8 {
        let mut changed = end.to_vec();
        changed[at] ^= 1 << (at % 8);
        let changed = with_good_checks(&changed);
        let read = || match Footer::parse(&changed, segment.len)? {
            Parsed::Footer(footer) => read_run(&footer, 0, crate::verify::pieces(&segment)),
            Parsed::Need(_) => Err(Error::corrupt("too short")),
        };
        if let Err(error) = read() {
            let kind = error.kind();
            assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::Invalid), "{at}: {error}");
        }
    }
}

#[test]
fn the_end_is_asked_for_until_it_is_whole() {
    let object = Bytes::from(object(&example()));
    let len = object.len() as u64;
    let mut have = 4;
    let mut rounds = 0;
    let footer = loop {
        rounds += 1;
        match Footer::parse(&object.slice(object.len() - have..), len).unwrap() {
            Parsed::Footer(footer) => break footer,
            Parsed::Need(need) => {
                assert!(need as usize > have);
                have = need as usize;
            }
        }
    };
    assert_eq!((footer.runs().len(), rounds), (1, 4));
}
