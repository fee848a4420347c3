//! An operator who makes the cluster again from its bucket, once the metadata store has lost what it held; brokers of before
//! are alive meanwhile, and have no store. And who gives up what is on a disk that is gone, or damaged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runnel_api::{Cluster as _, DiskLoss, ErrorKind, TopicKey};
use runnel_broker::{Options, Restore};
use runnel_runtime::FailPoints;
use runnel_runtime::simulation::Chance;

use crate::clients::{Log, Shared, TOPIC};
use crate::machine::{FAIL_POINTS_OF_A_RESTORE, Surroundings};
use crate::swarm::Rates;

/// Pause before a restore that was cut off is run again.
const AGAIN: Duration = Duration::from_millis(100);

/// Runs the command until it is through. It is cut off now and then, and its requests to the bucket fail as those of brokers.
pub(crate) async fn restore(around: Surroundings, options: Options, rates: Rates, mut chance: Chance) {
    let fail = FailPoints::default();
    if chance.permille(500) {
        fail.arm(chance.pick(&FAIL_POINTS_OF_A_RESTORE), runnel_runtime::FailAction::Error);
    }
    loop {
        let (bucket, store) = around.ways_of_an_operator(rates, &mut chance);
        let restore = Restore::on(bucket, options.clone(), Arc::new(store), true, fail.clone());
        match restore.run(&|_| {}).await {
            Ok(done) => {
                let (era, lanes, unshipped) = (done.era, done.lanes, done.unshipped);
                return around
                    .trace
                    .note("operator", format_args!("restored, era {era}, {lanes} lanes with {unshipped} offsets"));
            }
            Err(error) => around.trace.note("operator", format_args!("does not restore: {error}")),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// So long a broker that was taken down may count as alive: what it sent before may arrive yet.
const GONE: Duration = Duration::from_secs(6);

/// Gives up what the disk of a broker holds alone, which is down until that is done.
pub(crate) async fn write_off(shared: Shared, name: String, mut chance: Chance) {
    let topic = TopicKey::Name(TOPIC.to_owned());
    let begun = tokio::time::Instant::now();
    // What may have been given up, since when: of a request without an answer nobody knows.
    let mut open: BTreeMap<i32, (u64, i64)> = BTreeMap::new();
    loop {
        tokio::time::sleep(AGAIN).await;
        let (Some(asked), key) = (shared.directory.any(&mut chance), topic.clone()) else { continue };
        let found = shared.directory.ask(asked, |broker| async move { broker.disk_losses(&key, None).await }).await;
        let losses = match found {
            Some(Ok(losses)) => losses,
            Some(Err(error)) if error.kind == ErrorKind::InvalidRequest => Vec::new(),
            Some(Err(error)) => {
                shared.trace.note("operator", format_args!("{error}"));
                continue;
            }
            None => continue,
        };
        let waits = |partition: &i32| losses.iter().any(|loss| loss.partition == *partition);
        // Nothing but that it was given up lets a partition go on whose disk is down.
        for (partition, (at, from)) in open.extract_if(.., |partition, _| !waits(partition)) {
            shared.told.loss("operator", &Log::lasting(partition).place, at, from);
        }
        if losses.is_empty() && begun.elapsed() > GONE {
            return shared.trace.note("operator", format_args!("has given up what {name} held alone"));
        }
        // Those that wait for somebody else too do so until it is back.
        for loss in losses.into_iter().filter(|loss| loss.brokers.iter().eq([&name])) {
            let (partition, from) = (loss.partition, loss.from.0);
            let (at, _) = *open.entry(partition).or_insert_with(|| (shared.told.moment(), from));
            open.insert(partition, (at, from));
            match accept(&shared, asked, loss).await {
                Some(Ok(())) => {
                    open.remove(&partition);
                    shared.told.loss("operator", &Log::lasting(partition).place, at, from);
                    shared.trace.note("operator", format_args!("gives up {partition} from {from}"));
                }
                Some(Err(error)) => shared.trace.note("operator", format_args!("{error}")),
                None => {}
            }
        }
    }
}

async fn accept(shared: &Shared, asked: usize, loss: DiskLoss) -> Option<Result<(), runnel_api::Error>> {
    let key = TopicKey::Name(TOPIC.to_owned());
    shared.directory.ask(asked, |broker| async move { broker.accept_disk_losses(&key, &[loss]).await }).await
}
