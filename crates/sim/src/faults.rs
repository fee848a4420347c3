//! What goes wrong: one function for each thing, and how often it is called.

use runnel_api::{Admin as _, AlterConfigOp, ConfigChange, ConfigResource};
use runnel_runtime::FailAction;

use crate::clients::TOPIC;
use crate::machine::{FAIL_POINTS, Machine};
use crate::swarm::Rates;
use crate::world::World;

type Rate = fn(&Rates) -> u64;
type Fault = fn(&mut World);

/// Everything that can go wrong, with its rate.
const FAULTS: [(Rate, Fault); 15] = [
    (|rates| rates.kill, kill),
    (|rates| rates.stop, stop),
    (|rates| rates.pause, pause),
    (|rates| rates.cut_store, cut_store),
    (|rates| rates.outage, outage),
    (|rates| rates.slow_bucket, slow_bucket),
    (|rates| rates.slow_store, slow_store),
    (|rates| rates.zombie, zombie),
    (|rates| rates.expire, expire),
    (|rates| rates.clock, clock),
    (|rates| rates.compact, compact),
    (|rates| rates.settings, settings),
    (|rates| rates.fail_point, fail_point),
    (|rates| rates.disk, disk),
    (|rates| rates.tear, tear),
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

fn slow_bucket(world: &mut World) {
    let steps = world.chance.pick(&[100, 400, 1_000]);
    world.any_machine().slow_bucket(steps);
}

fn slow_store(world: &mut World) {
    let steps = world.chance.pick(&[100, 400, 1_000]);
    world.any_machine().slow_store(steps);
}

/// A broker is replaced and does not hear of it: it has no way to the store, or sleeps, and its requests to the bucket take
/// long. Or those of whoever replaces it do, who may die soon after. Nothing else is wrong when it begins, or nobody would
/// replace it.
fn zombie(world: &mut World) {
    let (at, sleeps, is_slow) = (world.any(), world.chance.permille(500), world.chance.permille(700));
    let (steps, nap) = (world.chance.pick(&[200, 400]), world.chance.pick(&[30, 60, 120, 300]));
    let (delay, doomed) = (world.chance.below(150), world.chance.permille(300));
    if !world.machines.iter().all(Machine::is_up) {
        return;
    }
    world.machines.iter_mut().for_each(Machine::relieve);
    let machine = &mut world.machines[at];
    if sleeps {
        machine.slow_bucket(steps);
        return machine.fall_asleep(delay, nap);
    }
    machine.lose_store(steps);
    machine.access.expire();
    if is_slow {
        return machine.slow_bucket(steps);
    }
    for other in (0..world.machines.len()).filter(|other| *other != at) {
        let (when, seed) = (world.chance.below(steps), world.chance.next());
        world.machines[other].slow_bucket(steps);
        if doomed {
            world.machines[other].doom(when, seed);
        }
    }
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

/// A write or a sync fails; what a failed sync left in memory is never written, which shows once the power fails.
fn disk(world: &mut World) {
    let (sync, after) = (world.chance.permille(700), world.chance.below(20));
    let doom = world.chance.permille(500).then(|| (world.chance.below(200), world.chance.next()));
    let victim = world.any_machine();
    victim.fail_disk(sync, after);
    if let Some((steps, seed)) = doom {
        victim.doom(steps, seed);
    }
}

/// The power fails in the middle of a write, which is there in part.
fn tear(world: &mut World) {
    let (changes, steps, seed) = (1 + world.chance.below(30), world.chance.below(200), world.chance.next());
    world.any_machine().tear(changes, steps, seed);
}
