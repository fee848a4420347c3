//! The stream of appends as it goes out: gRPC, written by hand, so that records go to the socket from where they lie.
//!
//! What tonic encodes it copies, into a buffer that it allocates for each message. Here a message is a list of pieces, and
//! HTTP/2 takes each as it is. The bytes are those that tonic would send, but for the order of a part's fields, which
//! protobuf leaves open.

use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use runnel_proto::peer::v1::{ProduceRequest, ProduceResponse, produce_request::Part};
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codec::BufferSettings;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstDecoder;

use crate::wire::MAX_MESSAGE;

const PATH: &str = "/runnel.peer.v1.PeerService/Produce";

/// Numbers of fields in `proto/runnel/peer/v1/peer.proto`.
const PARTS: u32 = 3;
const RECORDS: u32 = 2;

/// Bytes in front of a message: that it is not compressed, and its length.
const PREFIX: usize = 5;

/// Begins a stream of requests; returns the answers.
pub(super) async fn begin(
    channel: &mut Channel,
    requests: impl Stream<Item = ProduceRequest> + Send + 'static,
) -> Result<Streaming<ProduceResponse>, Status> {
    let frames = requests.flat_map(|request| stream::iter(pieces(request).map(Frame::data).map(Ok::<_, Status>)));
    let request = http::Request::post(PATH)
        .header(http::header::TE, "trailers")
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .body(Body::new(StreamBody::new(frames)))
        .map_err(|error| Status::internal(error.to_string()))?;
    let unreached = |error: tonic::transport::Error| Status::from_error(Box::new(error));
    futures::future::poll_fn(|cx| channel.poll_ready(cx)).await.map_err(unreached)?;
    let response = channel.call(request).await.map_err(unreached)?;
    if let Some(refused) = Status::from_header_map(response.headers()).filter(|status| status.code() != Code::Ok) {
        return Err(refused);
    }
    let (decoder, status) = (ProstDecoder::new(BufferSettings::default()), response.status());
    Ok(Streaming::new_response(decoder, response.into_body(), status, None, Some(MAX_MESSAGE)))
}

/// A message, with its prefix: what describes records, then the records, part by part.
fn pieces(request: ProduceRequest) -> impl Iterator<Item = Bytes> {
    let ProduceRequest { id, timeout_ms, parts } = request;
    let outside = ProduceRequest { id, timeout_ms, parts: Vec::new() };
    let parts: Vec<_> = parts.into_iter().map(Described::new).collect();
    let length = outside.encoded_len() + parts.iter().map(Described::encoded_len).sum::<usize>();
    let records = parts.iter().map(|part| part.records.len()).sum::<usize>();
    let mut head = BytesMut::with_capacity(PREFIX + length - records);
    head.put_u8(0);
    // A front door lets in less than the four bytes can say.
    head.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    head.put_slice(&outside.encode_to_vec());
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    for part in parts {
        part.describe(&mut head);
        pieces.extend([head.split().freeze(), part.records]);
    }
    if !head.is_empty() {
        pieces.push(head.freeze());
    }
    pieces.into_iter()
}

/// A part, and its records apart from it.
struct Described {
    part: Part,
    records: Bytes,
}

impl Described {
    fn new(mut part: Part) -> Self {
        let records = std::mem::take(&mut part.records);
        Self { part, records }
    }

    /// Without what says that it is a part, and how long.
    fn inner_len(&self) -> usize {
        let records = self.records.len();
        self.part.encoded_len() + key_len(RECORDS) + encoded_len_varint(records as u64) + records
    }

    fn encoded_len(&self) -> usize {
        let inner = self.inner_len();
        key_len(PARTS) + encoded_len_varint(inner as u64) + inner
    }

    /// Everything but the records, which come next.
    fn describe(&self, to: &mut BytesMut) {
        encode_key(PARTS, WireType::LengthDelimited, to);
        encode_varint(self.inner_len() as u64, to);
        to.put_slice(&self.part.encode_to_vec());
        encode_key(RECORDS, WireType::LengthDelimited, to);
        encode_varint(self.records.len() as u64, to);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use bytes::Buf;
    use runnel_proto::peer::v1::{Partition, partition::Topic};

    use super::*;

    #[test]
    fn pieces_are_the_message_and_records_are_not_copied() {
        let part = |partition, records: &Bytes, expected_offset| {
            let topic = Some(Topic::Name("orders".to_owned()));
            Part { partition: Some(Partition { topic, partition }), records: records.clone(), expected_offset }
        };
        let (long, short) = (Bytes::from(vec![7; 300_000]), Bytes::from_static(b"x"));
        let all = [
            vec![],
            vec![part(1, &long, None)],
            vec![part(0, &short, Some(0)), part(200, &Bytes::new(), Some(-1)), part(3, &long, Some(1 << 40))],
        ];
        for parts in all {
            let request = ProduceRequest { id: 1 << 33, timeout_ms: 30_000, parts };
            let pieces: Vec<_> = pieces(request.clone()).collect();
            for part in &request.parts {
                assert!(pieces.iter().any(|piece| piece.as_ptr() == part.records.as_ptr() || part.records.is_empty()));
            }
            let mut sent = Bytes::from(pieces.concat());
            assert_eq!((sent.get_u8(), sent.get_u32() as usize), (0, sent.len()));
            assert_eq!(ProduceRequest::decode(sent).unwrap(), request);
        }
    }
}
