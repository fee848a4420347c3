#![allow(clippy::unwrap_used, clippy::panic)]

use futures::FutureExt;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::budget::Shared;

const IDLE: Duration = Duration::from_secs(60);

fn budget(limit: usize) -> Budget {
    Budget::new(limit, Shared::new(limit))
}

async fn ended(bytes: &[u8]) -> Ended {
    let mut reader = Reader::new(bytes, 1 << 20, IDLE);
    loop {
        match reader.next(&budget(1 << 20), || false).await {
            Ok(_) => {}
            Err(ended) => return ended,
        }
    }
}

#[tokio::test]
async fn frames_come_out_whole_however_they_arrive() {
    let (mut near, far) = tokio::io::duplex(5);
    let mut reader = Reader::new(far, 1 << 20, IDLE);
    let budget = budget(1 << 20);
    let frames: Vec<Vec<u8>> = [0, 1, 3, 4, 5, 100, 70_000, 2].iter().map(|n| vec![7_u8; *n]).collect();
    let sent = frames.clone();
    let writer = tokio::spawn(async move {
        for frame in sent {
            near.write_u32(u32::try_from(frame.len()).unwrap()).await.unwrap();
            near.write_all(&frame).await.unwrap();
        }
    });
    for frame in frames {
        let got = reader.next(&budget, || false).await.unwrap();
        assert_eq!(got.bytes, frame);
        assert_eq!(got.lease.bytes(), frame.len(), "the lease is the frame");
    }
    writer.await.unwrap();
    assert!(matches!(reader.next(&budget, || false).await, Err(Ended::Closed)));
}

#[tokio::test]
async fn a_small_frame_keeps_only_itself_alive() {
    let (mut near, far) = tokio::io::duplex(1 << 20);
    let mut reader = Reader::new(far, 1 << 20, IDLE);
    for length in [10, COPY_BELOW - 1, COPY_BELOW, 70_000] {
        near.write_u32(u32::try_from(length).unwrap()).await.unwrap();
        near.write_all(&vec![1; length]).await.unwrap();
        let frame = reader.next(&budget(1 << 20), || false).await.unwrap();
        // What is alone in its allocation can be turned into a vector of that size without a copy.
        let whole = frame.bytes.try_into_mut().map_or(usize::MAX, |bytes| bytes.capacity());
        assert_eq!(whole == length, length < COPY_BELOW, "{length}: {whole}");
    }
}

#[tokio::test]
async fn what_was_announced_is_not_reserved() {
    let (mut near, far) = tokio::io::duplex(1 << 20);
    let mut reader = Reader::new(far, 100 << 20, IDLE);
    let budget = budget(200 << 20);
    near.write_u32(90 << 20).await.unwrap();
    near.write_all(&[0; 1000]).await.unwrap();
    assert!(reader.next(&budget, || false).now_or_never().is_none());
    assert!(reader.buffer.capacity() <= 4 * FIRST_READ, "{}", reader.buffer.capacity());
}

#[tokio::test]
async fn a_long_frame_is_trusted_to_be_followed_by_another_within_a_bound() {
    for (length, at_once) in [(300_000, 300_000), (3 << 20, MAX_FIRST_READ)] {
        let (mut near, far) = tokio::io::duplex(16 << 20);
        let mut reader = Reader::new(far, 100 << 20, IDLE);
        let budget = budget(200 << 20);
        near.write_u32(u32::try_from(length).unwrap()).await.unwrap();
        near.write_all(&vec![0; length]).await.unwrap();
        // Kept, as the log keeps it: its memory is not free for the next one.
        let _kept = reader.next(&budget, || false).await.unwrap();
        near.write_u32(90 << 20).await.unwrap();
        near.write_all(&[0; 1000]).await.unwrap();
        assert!(reader.next(&budget, || false).now_or_never().is_none());
        let capacity = reader.buffer.capacity();
        assert!((at_once..2 * at_once).contains(&capacity), "{length}: {capacity}");
    }
}

#[tokio::test]
async fn what_a_client_has_shown_fades() {
    let (mut near, far) = tokio::io::duplex(16 << 20);
    let mut reader = Reader::new(far, 100 << 20, IDLE);
    let mut shown = Vec::new();
    for length in std::iter::once(400_000).chain(std::iter::repeat_n(100_000, 99)) {
        near.write_u32(length).await.unwrap();
        near.write_all(&vec![0; length as usize]).await.unwrap();
        reader.next(&budget(200 << 20), || false).await.unwrap();
        shown.push(reader.shown);
    }
    assert!(shown[1] > 300_000, "one short frame between long ones: {}", shown[1]);
    assert_eq!(shown[99], 100_000, "a client that sends short ones now");
}

#[tokio::test]
async fn lengths_that_no_request_has_end_the_connection() {
    assert!(matches!(ended(&[]).await, Ended::Closed));
    assert!(matches!(ended(&[0, 0]).await, Ended::Cut));
    assert!(matches!(ended(&[0, 0, 0, 4, 1]).await, Ended::Cut));
    assert!(matches!(ended(&[0xff; 8]).await, Ended::Length { announced: -1, .. }));
    assert!(matches!(ended(&[0x7f, 0xff, 0xff, 0xff]).await, Ended::Length { announced: i32::MAX, .. }));
    assert!(matches!(ended(&[0, 0x10, 0, 1]).await, Ended::Length { .. }));
}

#[tokio::test]
async fn other_protocols_are_recognised() {
    assert!(matches!(ended(&[0x16, 3, 1, 2, 0, 1]).await, Ended::Foreign { protocol: Protocol::Tls }));
    assert!(matches!(ended(b"GET / HTTP/1.1\r\n").await, Ended::Foreign { protocol: Protocol::Http1 }));
    assert!(matches!(ended(b"PRI * HTTP/2.0\r\n").await, Ended::Foreign { protocol: Protocol::Http2 }));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_connection_unless_a_reply_is_due() {
    let (mut near, far) = tokio::io::duplex(64);
    let mut reader = Reader::new(far, 1 << 20, IDLE);
    let budget = budget(1 << 20);
    let started = Instant::now();
    let busy = || started.elapsed() < 3 * IDLE;
    assert!(matches!(reader.next(&budget, busy).await, Err(Ended::Idle(_))));
    assert_eq!(started.elapsed(), 3 * IDLE);
    near.write_all(&[0, 0, 0, 9, 1]).await.unwrap();
    assert!(matches!(reader.next(&budget, || true).await, Err(Ended::Idle(_))), "half a request is never fine");
}

#[tokio::test(start_paused = true)]
async fn the_one_request_past_the_budget_may_not_dawdle() {
    let shared = Shared::new(FIRST_READ);
    let (first, second) = (Budget::new(1 << 20, shared.clone()), Budget::new(1 << 20, shared));
    let mut held = first.lease();
    first.grow(&mut held, FIRST_READ).await;
    let (mut near, far) = tokio::io::duplex(64);
    near.write_all(&[0, 1, 0, 0, 1]).await.unwrap();
    let mut reader = Reader::new(far, 1 << 20, IDLE);
    assert!(matches!(reader.next(&second, || false).await, Err(Ended::TooSlow(_))));
}
