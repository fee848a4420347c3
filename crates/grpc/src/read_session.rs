//! ReadSession: records of many partitions, as far as the client has given credit.
//!
//! One task for each session. It fetches once, sends what it got, and fetches again; it waits in the fetch, for
//! credit, or for the client to take a reply.

mod plan;

use std::sync::Arc;

use futures::stream::BoxStream;
use prost::Message as _;
use runnel_proto::consume::v1::read_session_request::{Message as Asked, Open};
use runnel_proto::consume::v1::read_session_response::{Drain, Message, Opened};
use runnel_proto::consume::v1::{ReadSessionRequest, ReadSessionResponse};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::budget::Lease;
use crate::door::Door;
use crate::error::{FRAME_TOO_SMALL, Failure};
use crate::reader::{Manner, Planned, Reader};
use crate::session::{self, Life, Outbox, first};
use plan::plan;

pub(crate) fn handle(
    door: Arc<Door>,
    requests: Streaming<ReadSessionRequest>,
    lease: Arc<Lease>,
) -> BoxStream<'static, Result<ReadSessionResponse, Status>> {
    session::start(door, |outbox, life| run(requests, lease, outbox, life))
}

async fn run(
    mut requests: Streaming<ReadSessionRequest>,
    lease: Arc<Lease>,
    outbox: Outbox<ReadSessionResponse>,
    mut life: Life,
) -> Result<(), Status> {
    let door = Arc::clone(&life.door);
    let Some(Asked::Open(open)) = first(&door, &mut requests).await?.message else {
        return Err(Failure::invalid("the first message of a session is `open`").into());
    };
    let manner = Manner::new(&door, open.out_of_range(), open.heartbeat_ms, open.max_frame_bytes)?;
    let mut reader = begin(&door, open, manner, &outbox).await?;
    lease.done();
    let mut heartbeat_at = Instant::now() + manner.heartbeat;
    let mut no_more_credit = false;
    loop {
        while let Some(message) = reader.next()? {
            if matches!(message, Message::Batch(_)) {
                heartbeat_at = Instant::now() + manner.heartbeat;
            }
            outbox.send(reply(message)).await;
        }
        let stuck = no_more_credit && (!reader.has_credit() || life.draining());
        if reader.finished() || stuck {
            return Ok(());
        }
        tokio::select! {
            biased;
            asked = requests.message(), if !no_more_credit => match asked? {
                Some(ReadSessionRequest { message: Some(Asked::Credit(credit)) }) => {
                    reader.credit(credit);
                    lease.done();
                }
                Some(_) => return Err(Failure::invalid("only the first message is not `credit`").into()),
                None => no_more_credit = true,
            },
            () = life.over() => return Ok(()),
            () = life.drain_due() => outbox.send(reply(Message::Drain(Drain { grace_ms: life.drain() }))).await,
            () = tokio::time::sleep_until(heartbeat_at) => {
                for heartbeat in reader.heartbeats().await {
                    outbox.send(reply(Message::Heartbeat(heartbeat))).await;
                }
                heartbeat_at = Instant::now() + manner.heartbeat;
            }
            fetched = reader.fetched() => reader.take(fetched, |error| Err(error.into())).await?,
        }
    }
}

fn reply(message: Message) -> ReadSessionResponse {
    ReadSessionResponse { message: Some(message) }
}

async fn begin(
    door: &Arc<Door>,
    open: Open,
    manner: Manner,
    outbox: &Outbox<ReadSessionResponse>,
) -> Result<Reader, Failure> {
    let planned = plan(door, open.ranges, manner.policy).await?;
    let opened = reply(Message::Opened(Opened { partitions: planned.iter().map(Planned::start).collect() }));
    let needed = opened.encoded_len();
    if needed > manner.max_frame {
        let why = "the names of all partitions do not fit into max_frame_bytes: open the session with more";
        let failure = Failure::new(tonic::Code::FailedPrecondition, FRAME_TOO_SMALL, why);
        return Err(failure.with("needed_bytes", needed));
    }
    outbox.send(opened).await;
    let mut reader = Reader::new(Arc::clone(door), manner, open.credit);
    reader.add(planned);
    Ok(reader)
}
