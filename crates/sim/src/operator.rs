//! An operator who makes the cluster again from its bucket, once the metadata store has lost what it held. Brokers of before
//! are alive meanwhile, and have no store.

use std::sync::Arc;
use std::time::Duration;

use runnel_broker::{Options, Restore};
use runnel_runtime::FailPoints;
use runnel_runtime::simulation::Chance;

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
