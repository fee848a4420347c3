//! What goes wrong: one function for each thing, and how often it is called.

use runnel_api::{Admin as _, AlterConfigOp, ConfigChange, ConfigResource};
use runnel_runtime::FailAction;

use crate::clients::TOPIC;
use crate::machine::FAIL_POINTS;
use crate::swarm::Rates;
use crate::world::World;

type Rate = fn(&Rates) -> u64;
type Fault = fn(&mut World);

/// Everything that can go wrong, with its rate.
const FAULTS: [(Rate, Fault); 11] = [
    (|rates| rates.kill, kill),
    (|rates| rates.stop, stop),
    (|rates| rates.pause, pause),
    (|rates| rates.cut_store, cut_store),
    (|rates| rates.outage, outage),
    (|rates| rates.expire, expire),
    (|rates| rates.clock, clock),
    (|rates| rates.compact, compact),
    (|rates| rates.settings, settings),
    (|rates| rates.fail_point, fail_point),
    (|rates| rates.disk, disk),
];

/// Lets go wrong what the seed says.
pub(crate) fn strike(world: &mut World) {
    for (rate, fault) in FAULTS {
        if world.chance.permille(rate(&world.swarm.rates)) {
            fault(world);
        }
    }
}

/// A process dies, with its machine or without.
fn kill(world: &mut World) {
    let power = world.chance.permille(300).then(|| world.chance.next());
    let victim = world.any_machine();
    if !victim.is_down() {
        victim.kill(power);
    }
}

fn stop(world: &mut World) {
    world.any_machine().stop();
}

/// SIGSTOP and SIGCONT, a long collection, a virtual machine that is moved.
fn pause(world: &mut World) {
    let steps = world.chance.pick(&[10, 100, 600]);
    let victim = world.any_machine();
    if !victim.is_down() {
        victim.pause(steps);
    }
}

fn cut_store(world: &mut World) {
    let steps = world.chance.pick(&[20, 200, 800]);
    world.any_machine().lose_store(steps);
}

fn outage(world: &mut World) {
    let steps = world.chance.pick(&[20, 200, 800]);
    world.any_machine().lose_bucket(steps);
}

/// A lease ends although its owner lives.
fn expire(world: &mut World) {
    world.any_machine().access.expire();
}

/// A wall clock jumps, back too.
fn clock(world: &mut World) {
    let jump = world.chance.pick(&[-3_600_000, -5_000, 1_000, 60_000]);
    world.any_machine().jump(jump);
}

fn compact(world: &mut World) {
    world.store().compact();
}

/// Somebody changes where the topic is acknowledged.
fn settings(world: &mut World) {
    let value = world.chance.pick(&["local", "object"]);
    let change = ConfigChange { name: "runnel.durability".into(), op: AlterConfigOp::Set, value: Some(value.into()) };
    let directory = world.directory();
    let Some(at) = directory.any(&mut world.chance) else { return };
    world.spawn(async move {
        let asked = directory.ask(at, |broker| async move {
            broker.alter_configs(&ConfigResource::Topic(TOPIC.to_owned()), &[change], false).await
        });
        // Whatever becomes of it.
        drop(asked.await);
    });
}

/// Something is cut off in the middle.
fn fail_point(world: &mut World) {
    let point = world.chance.pick(&FAIL_POINTS);
    world.any_machine().fail.arm(point, FailAction::Error);
}

/// A write or a sync fails; what a failed sync left in memory is never written.
fn disk(world: &mut World) {
    let (sync, after) = (world.chance.permille(500), world.chance.below(20));
    world.any_machine().fail_disk(sync, after);
}
