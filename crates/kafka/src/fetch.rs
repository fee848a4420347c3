//! Fetch: record batches out, as shared bytes.

pub(crate) mod redirects;
pub(crate) mod response;
pub(crate) mod session;

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::FetchRequest;
use runnel_api::{FetchRequest as ApiRequest, FetchedPartition, Room};
use runnel_record::{Batch, Offset};

use crate::budget::{Budget, Lease};
use crate::context::Context;
use crate::error::read_code;
use crate::header::Prefix;
use crate::leaders::{Leaders, is_elsewhere};
use crate::list_offsets::{given_epoch, isolation};
use crate::reply::Reply;
use crate::topics;
use response::{Answer, PartitionAnswer};
use session::{Asked, Position, Refused, Request};

/// First version that names topics by id.
const WITH_TOPIC_IDS: i16 = 13;

/// First version with sessions (KIP-227).
const WITH_SESSIONS: i16 = 7;

/// First version that may carry zstd (KIP-110).
const WITH_ZSTD: i16 = 10;

/// Largest reply, as in Kafka (`fetch.max.bytes` of the broker): what a consumer asks for above it is not refused,
/// it gets less.
const MAX_REPLY: usize = 55 << 20;

/// What a fetch may return even if the budget is exhausted.
const MIN_REPLY: usize = 64 << 10;

pub(crate) async fn handle(ctx: Arc<Context>, prefix: Prefix, request: FetchRequest) -> Reply {
    let version = prefix.api_version;
    let mut lease = ctx.budget.reserve(size(request.max_bytes).min(MAX_REPLY));
    let mut ask = ApiRequest {
        max_wait: Duration::from_millis(request.max_wait_ms.max(0).unsigned_abs().into()),
        min_bytes: size(request.min_bytes),
        max_bytes: lease.bytes().max(MIN_REPLY).min(size(request.max_bytes)),
        isolation: isolation(request.isolation_level),
        partitions: Vec::new(),
    };
    let zone = zone_of(&ctx, &request);
    let mut session = match ctx.sessions.begin(read(version, request)) {
        Ok(session) => session,
        Err(refused) => {
            let error = match refused {
                Refused::UnknownSession => ResponseError::FetchSessionIdNotFound,
                Refused::WrongEpoch => ResponseError::InvalidFetchSessionEpoch,
                Refused::TopicIdsMixed => ResponseError::FetchSessionTopicIdError,
            };
            let (partitions, endpoints) = Default::default();
            let answer = Answer { error: error.code(), session_id: 0, partitions, endpoints };
            return Reply::Send(response::encode(prefix, answer, lease));
        }
    };
    ask.partitions = session.wanted();
    for wanted in &mut ask.partitions {
        wanted.zone = zone.clone().filter(|_| ctx.redirects.allow(&wanted.topic, wanted.partition));
    }
    let mut fetched = match (&ctx.reading, zone) {
        _ if ask.partitions.is_empty() => Vec::new(),
        (Some(reading), Some(_)) => reading.fetch(ask).await,
        _ => ctx.broker.fetch(ask).await,
    };
    fit(&ctx.budget, &mut lease, &mut fetched);
    let (mut partitions, mut leaders) = (Vec::with_capacity(fetched.len()), Leaders::default());
    for answer in fetched {
        let data = match answer.outcome {
            Ok(fetched) if version < WITH_ZSTD && fetched.batches.iter().any(is_zstd) => {
                PartitionAnswer::failed(ResponseError::UnsupportedCompressionType.code())
            }
            Ok(fetched) => {
                if fetched.reader.is_some() {
                    ctx.redirects.note(&answer.topic, answer.partition);
                }
                PartitionAnswer::Data(fetched)
            }
            Err(error) => {
                let code = read_code(error.kind).code();
                let leader =
                    if is_elsewhere(code) { leaders.find(&ctx, &answer.topic, answer.partition).await } else { None };
                PartitionAnswer::Failed(code, leader)
            }
        };
        partitions.push((answer.topic, answer.partition, data));
    }
    let partitions = session.finish(partitions);
    let endpoints = leaders.endpoints(&ctx);
    let answer = Answer { error: 0, session_id: session.id(), partitions, endpoints };
    Reply::Send(response::encode(prefix, answer, lease))
}

/// The zone of a consumer that may be served in it, or sent there.
fn zone_of(ctx: &Context, request: &FetchRequest) -> Option<Arc<str>> {
    // Other requests have none.
    let is_told = ctx.reading.is_some() && !request.rack_id.is_empty();
    is_told.then(|| request.rack_id.as_str().into())
}

/// Drops what there is no room for. Others may have read at the same time, each within what was free before.
fn fit(budget: &Budget, lease: &mut Lease, fetched: &mut [FetchedPartition]) {
    let batches = fetched.iter().filter_map(|answer| answer.outcome.as_ref().ok()).flat_map(|data| &data.batches);
    let read = batches.map(Batch::len).sum();
    let granted = budget.settle(lease, read);
    if read == 0 {
        return;
    }
    // A client that asks for more before it has taken what it asked for gets nothing past the budget.
    let must = budget.is_only_reply(lease);
    let room = if must { granted.max(MIN_REPLY) } else { granted };
    let held = shorten(fetched, room, must);
    budget.settle(lease, held);
    // Counted here from now on, and for as long as the client takes its time.
    for data in fetched.iter_mut().filter_map(|answer| answer.outcome.as_mut().ok()) {
        data.room = Room::default();
    }
}

/// Drops batches past `room` bytes, but not the first one if the client `must` get on. Returns the bytes left.
fn shorten(fetched: &mut [FetchedPartition], room: usize, must: bool) -> usize {
    let mut held = 0;
    for data in fetched.iter_mut().filter_map(|answer| answer.outcome.as_mut().ok()) {
        let fits = data.batches.iter().take_while(|batch| {
            let fits = (must && held == 0) || held + batch.len() <= room;
            held += if fits { batch.len() } else { 0 };
            fits
        });
        let keep = fits.count();
        data.batches.truncate(keep);
    }
    held
}

fn size(wire: i32) -> usize {
    usize::try_from(wire).unwrap_or(0)
}

fn is_zstd(batch: &Batch) -> bool {
    batch.attributes() & 7 == 4
}

/// A request as sessions see it.
fn read(version: i16, request: FetchRequest) -> Request {
    let by_id = version >= WITH_TOPIC_IDS;
    let mut asked = Vec::new();
    for topic in request.topics {
        let key = topics::by_name_or_id(&topic.topic, topic.topic_id, by_id);
        asked.extend(topic.partitions.into_iter().map(|p| Asked {
            topic: key.clone(),
            partition: p.partition,
            position: Position {
                offset: Offset(p.fetch_offset),
                max_bytes: size(p.partition_max_bytes),
                current_leader_epoch: given_epoch(p.current_leader_epoch),
                last_fetched_epoch: given_epoch(p.last_fetched_epoch),
            },
        }));
    }
    let mut forgotten = Vec::new();
    for topic in request.forgotten_topics_data {
        let key = topics::by_name_or_id(&topic.topic, topic.topic_id, by_id);
        forgotten.extend(topic.partitions.into_iter().map(|p| (key.clone(), p)));
    }
    let (id, epoch) = if version >= WITH_SESSIONS {
        (request.session_id, request.session_epoch)
    } else {
        (session::NO_SESSION, session::FINAL_EPOCH)
    };
    Request { id, epoch, by_id, asked, forgotten }
}
