//! The Kafka port: whatever a connection may carry, against a broker in memory.

use std::sync::Arc;

use runnel_kafka::{Options, served_versions};
use runnel_testkit::{BatchSpec, MemoryBroker, batch};

use crate::panics::Panics;

/// The input is what the client sends.
pub(crate) fn stream(input: &[u8]) {
    converse(input);
}

/// The input is a sequence of frames, each behind a length of two bytes that is never wrong: this gets further than
/// [`stream`], and still does when frames are changed, repeated or cut.
pub(crate) fn frames(input: &[u8]) {
    let (mut left, mut sent) = (input, Vec::new());
    while let Some((length, rest)) = left.split_first_chunk::<2>() {
        let (frame, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        sent.extend_from_slice(&u32::try_from(frame.len()).expect("two bytes").to_be_bytes());
        sent.extend_from_slice(frame);
        left = rest;
    }
    converse(&sent);
}

/// Sends `bytes` over one connection; what comes back must be whole frames that answer the requests in order.
fn converse(bytes: &[u8]) {
    let panics = Panics::watch();
    // Long polls wait for nobody: where everything sleeps, the clock jumps.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let options = Options {
        max_frame_bytes: 1 << 20,
        max_inflight_bytes_per_connection: 1 << 20,
        max_inflight_bytes: 4 << 20,
        ..Options::default()
    };
    let mut replies = Vec::new();
    runtime.expect("a runtime").block_on(async {
        let broker: Arc<dyn runnel_api::Broker> = MemoryBroker::with_topic("t", 2);
        runnel_kafka::serve_stream(bytes, &mut replies, broker, options).await;
    });
    panics.check();
    let mut asked = correlation_ids(bytes).into_iter();
    for id in answered(&replies) {
        assert!(asked.any(|asked| asked == id), "an answer to {id} out of order, or to nobody");
    }
}

fn correlation_ids(mut sent: &[u8]) -> Vec<i32> {
    let mut ids = Vec::new();
    while let Some((length, rest)) = sent.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let Some((frame, rest)) = rest.split_at_checked(length) else { break };
        ids.extend(frame.get(4..8).and_then(|id| Some(i32::from_be_bytes(*id.first_chunk()?))));
        sent = rest;
    }
    ids
}

fn answered(mut replies: &[u8]) -> Vec<i32> {
    let mut ids = Vec::new();
    while !replies.is_empty() {
        let (length, rest) = replies.split_first_chunk::<4>().expect("a whole length");
        let length = usize::try_from(i32::from_be_bytes(*length)).expect("a length");
        let (frame, rest) = rest.split_at_checked(length).expect("a whole frame");
        ids.push(i32::from_be_bytes(*frame.first_chunk().expect("a correlation id")));
        replies = rest;
    }
    ids
}

/// One request of each API and version with an empty body of zeros, which is a valid one for most.
pub(crate) fn frame_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = served_versions()
        .map(|(key, min, max)| (min.max(0)..=max).flat_map(|version| framed(&head(key, version, 40), true)).collect())
        .collect();
    seeds.push(sample_session().iter().flat_map(|frame| framed(frame, true)).collect());
    seeds
}

pub(crate) fn stream_seeds() -> Vec<Vec<u8>> {
    let session = sample_session().iter().flat_map(|frame| framed(frame, false)).collect();
    vec![session, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]]
}

fn framed(frame: &[u8], short: bool) -> Vec<u8> {
    let length = u16::try_from(frame.len()).expect("a short frame");
    if short {
        [&length.to_le_bytes()[..], frame].concat()
    } else {
        [&[0, 0], &length.to_be_bytes()[..], frame].concat()
    }
}

/// A header without client id, and zeros.
fn head(key: i16, version: i16, zeros: usize) -> Vec<u8> {
    [
        &key.to_be_bytes()[..],
        &version.to_be_bytes(),
        &[0, 0, key.to_be_bytes()[1], version.to_be_bytes()[1]],
        &[0xff; 2],
    ]
    .concat()
    .into_iter()
    .chain(vec![0; zeros])
    .collect()
}

/// Find out, produce, fetch with a session, list offsets: old versions, whose layout is plain.
fn sample_session() -> Vec<Vec<u8>> {
    let text = |s: &str| [&u16::try_from(s.len()).expect("short").to_be_bytes()[..], s.as_bytes()].concat();
    let int = |n: i32| n.to_be_bytes().to_vec();
    let records = batch(&BatchSpec::default());
    let topic = [int(1), text("t"), int(1), int(0)].concat();
    let produce = [vec![0xff; 2], vec![0xff; 2], int(1000), topic.clone()].concat();
    let produce = [produce, int(i32::try_from(records.len()).expect("short")), records.to_vec()].concat();
    let fetch = |session, epoch| {
        let limits = [int(-1), int(100), int(1), int(1 << 20), vec![0], int(session), int(epoch)].concat();
        [limits, topic.clone(), vec![0; 16], int(1 << 20), int(0)].concat()
    };
    let metadata = [int(1), text("t")].concat();
    let offsets = [int(-1), topic.clone(), vec![0xff; 8]].concat();
    let bodies: [(i16, i16, Vec<u8>); 7] = [
        (18, 0, Vec::new()),
        (3, 1, metadata),
        (22, 0, [vec![0xff; 2], int(1000)].concat()),
        (0, 3, produce),
        (1, 7, fetch(0, 0)),
        (1, 7, fetch(0, -1)),
        (2, 1, offsets),
    ];
    bodies.into_iter().map(|(key, version, body)| [head(key, version, 0), body].concat()).collect()
}
