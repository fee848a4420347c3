#![allow(clippy::unwrap_used, clippy::panic)]

mod samples;

use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Decodable;
use proptest::prelude::*;

use super::*;
use crate::apis::{self, APIS, Api};

fn guard(api: &Api, version: i16, body: &[u8]) -> Result<usize, Refused> {
    check(api.layout, version, api.is_flexible(version), body)
}

fn every_version() -> impl Iterator<Item = (&'static Api, i16)> {
    APIS.iter().flat_map(|api| (api.min..=api.max).map(move |version| (api, version)))
}

/// Decodes as `dispatch` does. Only what the guard let through may come here.
fn decode(api: &Api, version: i16, body: &[u8]) -> bool {
    let mut body = Bytes::copy_from_slice(body);
    macro_rules! decodes {
        ($($request:ident),*) => {
            match api.key {
                $(key if key as i16 == <$request as kafka_protocol::protocol::Request>::KEY =>
                    $request::decode(&mut body, version).is_ok(),)*
                other => panic!("{other:?} is not decoded here"),
            }
        };
    }
    decodes!(
        ProduceRequest,
        FetchRequest,
        ListOffsetsRequest,
        MetadataRequest,
        OffsetCommitRequest,
        OffsetFetchRequest,
        FindCoordinatorRequest,
        JoinGroupRequest,
        HeartbeatRequest,
        LeaveGroupRequest,
        SyncGroupRequest,
        DescribeGroupsRequest,
        ListGroupsRequest,
        DeleteGroupsRequest,
        OffsetDeleteRequest,
        ApiVersionsRequest,
        CreateTopicsRequest,
        DeleteTopicsRequest,
        InitProducerIdRequest,
        OffsetForLeaderEpochRequest,
        DescribeConfigsRequest,
        AlterConfigsRequest,
        IncrementalAlterConfigsRequest,
        DescribeClusterRequest,
        DescribeTopicPartitionsRequest,
        DeleteRecordsRequest,
        AlterReplicaLogDirsRequest,
        DescribeLogDirsRequest,
        CreatePartitionsRequest,
        ElectLeadersRequest,
        AlterPartitionReassignmentsRequest,
        ListPartitionReassignmentsRequest,
        DescribeClientQuotasRequest,
        AlterClientQuotasRequest,
        DescribeProducersRequest,
        ConsumerGroupHeartbeatRequest,
        ConsumerGroupDescribeRequest,
        GetTelemetrySubscriptionsRequest,
        PushTelemetryRequest,
        ListConfigResourcesRequest
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn whatever_the_encoder_writes_passes_and_nothing_shorter_does(
        items in 0_usize..4,
        text in "[a-zäß]{0,9}",
        long in prop::bool::weighted(0.2),
    ) {
        let text = if long { text.repeat(40) } else { text };
        for (api, version) in every_version() {
            let body = samples::request(api.key, version, items, &text);
            let elements = guard(api, version, &body);
            prop_assert!(elements.is_ok(), "{} v{version}: {elements:?}", api.name);
            prop_assert!(decode(api, version, &body), "{} v{version}", api.name);
            for length in (0..body.len()).step_by(1 + body.len() / 40) {
                let cut = guard(api, version, &body[..length]);
                prop_assert!(cut.is_err(), "{} v{version} cut at {length} of {}", api.name, body.len());
            }
        }
    }

    #[test]
    fn a_changed_request_is_refused_or_cheap_to_decode(
        items in 1_usize..3,
        at in any::<prop::sample::Index>(),
        change in prop_oneof![
            Just(vec![0x7f, 0xff, 0xff, 0xff]),
            Just(vec![0x80, 0, 0, 0]),
            Just(vec![0xff, 0xff, 0xff, 0xff, 0x0f]),
            Just(vec![0xff, 0xff, 0xff, 0xff, 0xff]),
            prop::collection::vec(any::<u8>(), 1..6),
        ],
    ) {
        for (api, version) in every_version() {
            let mut body = samples::request(api.key, version, items, "topic");
            if body.is_empty() {
                continue; // the first versions of ApiVersions
            }
            let at = at.index(body.len());
            for (old, new) in body[at..].iter_mut().zip(&change) {
                *old = *new;
            }
            if let Ok(elements) = guard(api, version, &body) {
                prop_assert!(elements <= body.len(), "{} v{version}: {elements} elements", api.name);
                decode(api, version, &body);
            }
        }
    }

    #[test]
    fn noise_is_refused_or_cheap_to_decode(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for (api, version) in every_version() {
            if let Ok(elements) = guard(api, version, &body) {
                prop_assert!(elements <= body.len());
                decode(api, version, &body);
            }
        }
    }
}

#[test]
fn five_bytes_cannot_reserve_the_address_space() {
    let api = apis::find(ApiKey::Metadata as i16).unwrap();
    let body = [0x7f, 0xff, 0xff, 0xff, 0];
    assert_eq!(guard(api, 1, &body), Err(Refused::Truncated { missing: i32::MAX as usize - 1 }));
    assert_eq!(
        guard(api, 9, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        Err(Refused::Truncated { missing: u32::MAX as usize - 1 })
    );
    assert_eq!(guard(api, 1, &[0xff, 0xff, 0xff, 0xfe]), Err(Refused::Negative(-2)));
    assert_eq!(guard(api, 9, &[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(Refused::Varint));
}

#[test]
fn elements_and_tagged_fields_are_counted() {
    let api = apis::find(ApiKey::Metadata as i16).unwrap();
    assert_eq!(guard(api, 1, &[0xff, 0xff, 0xff, 0xff]), Ok(0), "null is nothing");
    assert_eq!(guard(api, 1, &[0, 0, 0, 2, 0, 1, b'a', 0, 1, b'b']), Ok(2));
    let one_tag = [1, 1, 0, 0, 1, 9, 3, 1, 2, 3];
    assert_eq!(guard(api, 9, &one_tag[..]), Ok(1), "no topics, one unknown tagged field");
}

#[test]
fn a_known_tag_must_be_as_long_as_it_says() {
    let api = apis::find(ApiKey::Fetch as i16).unwrap();
    let mut body = samples::request(ApiKey::Fetch, 12, 0, "cluster");
    assert!(guard(api, 12, &body).is_ok());
    // The cluster id is the first tag, before the unknown one: tag 0, 8 bytes, the first of them its compact length.
    let at = body.windows(3).position(|w| w == [0, 8, 8]).unwrap();
    body[at + 2] = 3;
    assert_eq!(guard(api, 12, &body), Err(Refused::Tag { tag: 0, announced: 8, actual: 3 }));
}
