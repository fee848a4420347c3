#![allow(clippy::unwrap_used, clippy::panic)]

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::testing::hex;

const COMPRESSED: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// Bytes that compress a little, over several blocks of every codec.
fn text(len: usize) -> Vec<u8> {
    (0..len).map(|n| b"departure delay by carrier"[(n + n / 97) % 26]).collect()
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn lz4_frame(raw: &[u8], info: FrameInfo) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

/// Magic and this descriptor, with its check byte.
fn lz4_head(descriptor: &[u8]) -> Vec<u8> {
    let check = twox_hash::XxHash32::oneshot(0, descriptor).to_le_bytes()[1];
    [&hex("04224d18")[..], descriptor, &[check]].concat()
}

#[test]
fn round_trips_and_stops_at_the_limit() {
    for raw in [vec![], vec![7], text(100), text(65_536), text(65_537), text(300_000), noise(200_000), vec![0; 300_000]]
    {
        for codec in Codec::ALL {
            let packed = compress(codec, &raw).unwrap();
            assert!(decompress(codec, &packed, raw.len()).unwrap() == raw, "{codec}, {} bytes", raw.len());
            assert!(decompress(codec, &packed, usize::MAX).unwrap() == raw, "{codec}, {} bytes", raw.len());
            let Some(limit) = raw.len().checked_sub(1) else { continue };
            let error = decompress(codec, &packed, limit).unwrap_err();
            assert!(matches!(error, Error::Inflated { limit: l } if l == limit), "{codec}: {error}");
        }
    }
}

#[test]
fn a_buffer_is_used_again() {
    let mut buffer = b"something older".to_vec();
    for codec in Codec::ALL {
        decompress_into(codec, &compress(codec, b"fresh").unwrap(), 5, &mut buffer).unwrap();
        assert_eq!(buffer, b"fresh");
    }
}

#[test]
fn a_bomb_costs_no_more_than_the_limit() {
    let bomb = vec![0; 32 << 20];
    for codec in COMPRESSED {
        let packed = compress(codec, &bomb).unwrap();
        assert!(packed.len() < 2 << 20, "{codec}: {}", packed.len());
        let mut out = Vec::new();
        assert!(matches!(decompress_into(codec, &packed, 1 << 20, &mut out), Err(Error::Inflated { .. })), "{codec}");
        assert!(out.capacity() <= 3 << 20, "{codec} took {}", out.capacity());
    }
}

#[test]
fn a_claimed_size_is_not_believed() {
    // A raw snappy block of 4 GiB − 1 in five bytes and a little, under a limit that would allow it.
    let mut out = Vec::new();
    let claim = hex("ffffffff0f00000000");
    let error = decompress_into(Codec::Snappy, &claim, usize::MAX, &mut out).unwrap_err();
    assert!(matches!(error, Error::Compressed { codec: Codec::Snappy, .. }), "{error}");
    // LZ4 frames of 4 MiB blocks that hold one byte, stored and compressed.
    for block in ["010000807a", "02000000107a"] {
        let frame = [&lz4_head(&[0x60, 0x70])[..], &hex(block), &[0; 4]].concat();
        let mut out = Vec::new();
        decompress_into(Codec::Lz4, &frame, usize::MAX, &mut out).unwrap();
        assert_eq!(out, b"z");
        assert!(out.capacity() < 1 << 12, "took {}", out.capacity());
    }
}

#[test]
fn broken_data_is_an_error_everywhere() {
    let raw = text(100_000);
    for codec in COMPRESSED {
        let packed = compress(codec, &raw).unwrap();
        let cuts = (1..40).chain((40..packed.len()).step_by(997)).chain(packed.len() - 9..packed.len());
        for len in cuts {
            match decompress(codec, &packed[..len], 1 << 20) {
                // The xerial framing has no end: cut between blocks it reads as a shorter stream.
                Ok(short) => assert!(codec == Codec::Snappy && short.len() < raw.len(), "{codec} cut at {len}"),
                Err(error) => {
                    assert!(matches!(error, Error::Compressed { .. }), "{codec} cut at {len}: {error}");
                    assert_eq!(error.kind(), ErrorKind::Invalid);
                }
            }
        }
        let garbage = [&packed[..], b"garbage after the end"].concat();
        assert!(decompress(codec, &garbage, 1 << 20).is_err(), "{codec}");
    }
}

#[test]
fn streams_may_follow_each_other() {
    for codec in COMPRESSED {
        let two = [compress(codec, b"first ").unwrap(), compress(codec, b"second").unwrap()].concat();
        assert_eq!(decompress(codec, &two, 12).unwrap(), b"first second", "{codec}");
        assert!(matches!(decompress(codec, &two, 11), Err(Error::Inflated { .. })), "{codec}");
    }
}

#[test]
fn snappy_raw_and_xerial() {
    // One raw block: length 5, literal of 5.
    assert_eq!(decompress(Codec::Snappy, &hex("051068656c6c6f"), 5).unwrap(), b"hello");
    // Xerial framing; the second number of the header differs between clients.
    for compatible in ["00000001", "01000000", "00000000"] {
        let stream = format!("82534e4150505900{}{compatible}00000007051068656c6c6f", "00000001");
        assert_eq!(decompress(Codec::Snappy, &hex(&stream), 5).unwrap(), b"hello");
    }
    for broken in [
        "82534e41505059000000000000000001",                       // version 0
        "82534e4150505900000000010000",                           // header cut off
        "82534e415050590000000001000000010000",                   // length cut off
        "82534e41505059000000000100000001ffffffff",               // negative length
        "82534e4150505900000000010000000100000008051068656c6c6f", // block cut off
        "82534e4150505900000000010000000100000007061068656c6c6f", // block of another length
    ] {
        assert!(decompress(Codec::Snappy, &hex(broken), 100).is_err(), "{broken}");
    }
    // What we write is the framing that the Java client writes, in its blocks of 32 KiB.
    let packed = compress(Codec::Snappy, &noise(40_000)).unwrap();
    assert_eq!(packed[..16], hex("82534e41505059000000000100000001"));
    let first = usize::try_from(u32::from_be_bytes(packed[16..20].try_into().unwrap())).unwrap();
    assert_eq!(snap::raw::decompress_len(&packed[20..]).unwrap(), 32 * 1024);
    assert_eq!(snap::raw::decompress_len(&packed[20 + first + 4..]).unwrap(), 40_000 - 32 * 1024);
}

#[test]
fn lz4_frames_of_every_make() {
    let raw = [text(200_000), noise(200_000)].concat();
    for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
        for checks in [false, true] {
            let info = FrameInfo::new().block_size(size).block_checksums(checks).content_checksum(checks);
            let info = info.content_size(checks.then_some(raw.len() as u64));
            let frame = lz4_frame(&raw, info);
            assert!(decompress(Codec::Lz4, &frame, raw.len()).unwrap() == raw);
            assert!(is_single_lz4_frame(&frame));
            assert!(!is_single_lz4_frame(&[&frame[..], &frame[..]].concat()));
            assert!(!is_single_lz4_frame(&frame[..frame.len() - 1]));
        }
    }
}

#[test]
fn lz4_checksums_are_checked() {
    // Stored as they are, so that nothing but a checksum can tell.
    let raw = noise(1000);
    let info = || FrameInfo::new().block_size(BlockSize::Max64KB);
    for info in [info().block_checksums(true), info().content_checksum(true)] {
        let frame = lz4_frame(&raw, info);
        for at in 0..frame.len() {
            let mut damaged = frame.clone();
            damaged[at] ^= 0x01;
            assert!(decompress(Codec::Lz4, &damaged, 1 << 20).is_err(), "a flipped bit at {at} went unseen");
        }
    }
    // A frame that announces two bytes of content and holds one.
    let frame = [&lz4_head(&[0x68, 0x40, 2, 0, 0, 0, 0, 0, 0, 0])[..], &hex("010000807a00000000")].concat();
    assert!(decompress(Codec::Lz4, &frame, 10).is_err());
}

#[test]
fn lz4_linked_blocks_and_dictionaries_are_refused() {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Linked);
    let linked = lz4_frame(&text(100_000), info);
    assert!(decompress(Codec::Lz4, &linked, 1 << 20).is_err());
    assert!(!is_single_lz4_frame(&linked));
    assert!(decompress(Codec::Lz4, &[&lz4_head(&[0x60, 0x40])[..], &[0; 4]].concat(), 10).unwrap().is_empty());
    for flags in [0x40, 0x61, 0x62, 0xa0, 0x20] {
        let frame = [&lz4_head(&[flags, 0x40])[..], &[0; 4]].concat();
        assert!(decompress(Codec::Lz4, &frame, 10).is_err(), "{flags:#x}");
    }
}

#[test]
fn lz4_blocks_keep_to_the_size_of_the_frame() {
    for (len, good) in [(65_536u32, true), (65_537, false)] {
        let size = (len | 1 << 31).to_le_bytes();
        let frame = [&lz4_head(&[0x60, 0x40])[..], &size, &noise(len as usize), &[0; 4]].concat();
        assert_eq!(decompress(Codec::Lz4, &frame, 1 << 20).is_ok(), good, "{len}");
    }
}

#[test]
fn lz4_frames_of_ours_are_the_plainest() {
    let raw = [text(100_000), noise(70_000)].concat();
    let frame = compress(Codec::Lz4, &raw).unwrap();
    // Magic, version 1 with independent blocks, 64 KiB, and the well-known check byte of that descriptor.
    assert_eq!(frame[..7], hex("04224d18604082"));
    let mut out = Vec::new();
    FrameDecoder::new(&frame[..]).read_to_end(&mut out).unwrap();
    assert!(out == raw);
}

proptest! {
    #[test]
    fn reads_anything_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        codec in prop::sample::select(COMPRESSED.to_vec()),
        head in 0..60usize,
    ) {
        // Noise behind the start of a real stream gets further.
        let mut mixed = compress(codec, &text(80)).unwrap();
        mixed.truncate(head);
        mixed.extend_from_slice(&bytes);
        if let Ok(out) = decompress(codec, &mixed, 1000) {
            prop_assert!(out.len() <= 1000);
        }
    }
}
