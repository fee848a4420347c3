#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::Options;
use crate::testing::{Fault, Faults, Op};
use proptest::prelude::*;
use runnel_runtime::FailPoints;

fn bucket() -> (Bucket, Faults) {
    let faults = Faults::new();
    let bucket = Bucket::open_with_faults(&Options::new("memory:"), FailPoints::default(), &faults).unwrap();
    (bucket, faults)
}

fn text(s: &'static str) -> Bytes {
    Bytes::from_static(s.as_bytes())
}

async fn payload(bucket: &Bucket) -> Option<Bytes> {
    bucket.read_register(&Key::ClusterId).await.unwrap().map(|r| r.payload)
}

fn writes(faults: &Faults) -> usize {
    faults.requests().iter().filter(|(op, _)| matches!(op, Op::Create | Op::Replace)).count()
}

/// A register that holds "old", for replaces.
async fn old(bucket: &Bucket) -> Version {
    match bucket.create_register(&Key::ClusterId, text("old")).await.unwrap() {
        CasOutcome::Done(version) => version,
        CasOutcome::Conflict(_) => panic!("it was absent"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_unclear_answer_to_a_write_that_happened_is_a_success() {
    for fault in [Fault::LoseAnswer, Fault::HangAfter] {
        let (bucket, faults) = bucket();
        faults.once(Op::Create, "", fault);
        let created = bucket.create_register(&Key::ClusterId, text("new")).await.unwrap();
        let CasOutcome::Done(version) = created else { panic!("{created:?}") };
        faults.once(Op::Replace, "", fault);
        let replaced = bucket.replace_register(&Key::ClusterId, &version, text("newer")).await.unwrap();
        assert!(matches!(replaced, CasOutcome::Done(_)), "{fault:?}: {replaced:?}");
        assert_eq!(payload(&bucket).await, Some(text("newer")));
        assert_eq!((writes(&faults), faults.unused()), (2, 0), "{fault:?}: nothing is written twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_did_not_happen_is_made_again() {
    for fault in [Fault::FailBefore, Fault::Conflict, Fault::Delay(Duration::from_secs(3600))] {
        let (bucket, faults) = bucket();
        let version = old(&bucket).await;
        faults.once(Op::Replace, "", fault);
        faults.once(Op::Replace, "", fault);
        let outcome = bucket.replace_register(&Key::ClusterId, &version, text("new")).await.unwrap();
        assert!(matches!(outcome, CasOutcome::Done(_)), "{fault:?}: {outcome:?}");
        assert_eq!((payload(&bucket).await, faults.unused()), (Some(text("new")), 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_lands_late_is_recognised_or_refused() {
    let (bucket, faults) = bucket();
    let version = old(&bucket).await;
    // It fails, is still absent at the read, and lands before the second attempt, which is then refused.
    faults.once(Op::Replace, "", Fault::ApplyLater(Duration::from_millis(10)));
    let outcome = bucket.replace_register(&Key::ClusterId, &version, text("new")).await.unwrap();
    let CasOutcome::Done(version) = outcome else { panic!("{outcome:?}") };
    // It fails, the second attempt succeeds, and the first lands after it: refused by its condition.
    faults.once(Op::Replace, "", Fault::ApplyLater(Duration::from_secs(60)));
    let outcome = bucket.replace_register(&Key::ClusterId, &version, text("newer")).await.unwrap();
    let CasOutcome::Done(version) = outcome else { panic!("{outcome:?}") };
    let outcome = bucket.replace_register(&Key::ClusterId, &version, text("newest")).await.unwrap();
    assert!(matches!(outcome, CasOutcome::Done(_)));
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(payload(&bucket).await, Some(text("newest")));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_held_lands_though_its_sender_is_gone() {
    let (bucket, faults) = bucket();
    let version = old(&bucket).await;
    faults.once(Op::Replace, "", Fault::Held(Duration::from_secs(5)));
    let sent = bucket.replace_register(&Key::ClusterId, &version, text("new"));
    assert!(tokio::time::timeout(Duration::from_secs(1), sent).await.is_err(), "nobody waits that long");
    assert_eq!(payload(&bucket).await, Some(text("old")));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(payload(&bucket).await, Some(text("new")));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_a_lost_race_is_a_conflict() {
    let (bucket, faults) = bucket();
    let version = old(&bucket).await;
    bucket.replace_register(&Key::ClusterId, &version, text("theirs")).await.unwrap();
    for fault in [Fault::FailBefore, Fault::Conflict] {
        faults.once(Op::Replace, "", fault);
        match bucket.replace_register(&Key::ClusterId, &version, text("ours")).await.unwrap() {
            CasOutcome::Conflict(Some(found)) => assert_eq!(found.payload, text("theirs")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(payload(&bucket).await, Some(text("theirs")));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_still_resolved_when_the_read_fails_at_first() {
    let (bucket, faults) = bucket();
    faults.once(Op::Create, "", Fault::LoseAnswer);
    faults.once(Op::Get, "", Fault::FailBefore);
    faults.once(Op::Get, "", Fault::FailBefore);
    let outcome = bucket.create_register(&Key::ClusterId, text("new")).await.unwrap();
    assert!(matches!(outcome, CasOutcome::Done(_)), "{outcome:?}");
    assert_eq!(faults.unused(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_outage_leaves_the_outcome_unknown() {
    let (bucket, faults) = bucket();
    let version = old(&bucket).await;
    faults.outage(true);
    let error = bucket.replace_register(&Key::ClusterId, &version, text("new")).await.unwrap_err();
    assert!(matches!(error, Error::Unresolved { attempts: ATTEMPTS, .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    faults.outage(false);
    assert_eq!(payload(&bucket).await, Some(text("old")));
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused() {
    for (op, skip) in [(Op::Create, 1), (Op::Replace, 1)] {
        let (bucket, faults) = bucket();
        faults.once_after(skip, op, "cluster/probe/", Fault::IgnoreCondition);
        let error = bucket.probe().await.unwrap_err();
        assert!(matches!(error, Error::ConditionalWritesIgnored { .. }), "{op:?}: {error:?}");
        assert!(error.to_string().contains("If-None-Match"), "it says what is needed: {error}");
        assert_eq!(bucket.list("").await.unwrap(), Vec::new(), "the probe object is gone");
        faults.clear();
        bucket.probe().await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_register_is_reported() {
    let (bucket, _) = bucket();
    let good = encode(Uuid::from_u128(5), b"payload");
    let short = codec::seal(MAGIC, FORMAT, b"no nonce");
    let large = Bytes::from(vec![0; MAX_REGISTER_BYTES + 1]);
    let mut flipped = good.to_vec();
    flipped[36] ^= 1;
    for bad in [Bytes::from(flipped), good.slice(..20), short, large, Bytes::new()] {
        bucket.put(&Key::ClusterId, vec![bad]).await.unwrap();
        let error = bucket.read_register(&Key::ClusterId).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    bucket.put(&Key::ClusterId, vec![good]).await.unwrap();
    assert_eq!(payload(&bucket).await, Some(text("payload")));
    let error = bucket.create_register(&Key::Pids, Bytes::from(vec![0; MAX_REGISTER_BYTES])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn a_version_is_a_line_of_text() {
    for e_tag in [None, Some("\"a b\"".to_owned())] {
        let version = Version { nonce: Uuid::from_u128(7), e_tag };
        assert_eq!(version.to_string().parse(), Ok(version));
    }
    assert!("nonsense".parse::<Version>().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_are_no_register(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(nonce_of(&bytes), None);
        let sealed = codec::seal(MAGIC, FORMAT, &bytes);
        prop_assert_eq!(nonce_of(&sealed).is_some(), bytes.len() >= NONCE_LEN);
        prop_assert_eq!(decode("k", &sealed, None).is_ok(), bytes.len() >= NONCE_LEN);
    }
}
