//! What goes wrong: one function for each thing, and how often it is called.

use runnel_api::{Admin as _, AlterConfigOp, ConfigChange, ConfigResource};
use runnel_runtime::FailAction;
use runnel_runtime::simulation::Chance;

use std::time::Duration;

use crate::ambush::{Ambush, Spot, Then};
use crate::clients::TOPIC;
use crate::kinds::Fault;
use crate::machine::{FAIL_POINTS, Machine};
use crate::world::World;

/// Lets something go wrong, and says whether it came about.
type Strike = fn(&mut World) -> bool;

/// Everything that can go wrong with a step.
const FAULTS: [(Fault, Strike); 21] = [
    (Fault::Kill, kill),
    (Fault::Stop, stop),
    (Fault::Pause, pause),
    (Fault::CutStore, cut_store),
    (Fault::Outage, outage),
    (Fault::SlowBucket, slow_bucket),
    (Fault::SlowStore, slow_store),
    (Fault::Zombie, zombie),
    (Fault::Ambush, ambush),
    (Fault::Usurp, usurp),
    (Fault::Succeed, succeed),
    (Fault::Expire, expire),
    (Fault::Clock, clock),
    (Fault::Compact, compact),
    (Fault::Settings, settings),
    (Fault::FailPoint, fail_point),
    (Fault::Disk, disk),
    (Fault::Full, full),
    (Fault::Tear, tear),
    (Fault::Rot, rot),
    (Fault::WriteOff, write_off),
];

/// Lets go wrong what the seed says.
pub(crate) fn strike(world: &mut World) {
    spring(world);
    for (kind, fault) in FAULTS {
        if world.chance.permille(world.swarm.rates.rate(kind)) && fault(world) {
            world.trace().count_fault(kind);
        }
    }
    let rate = world.swarm.rates.rate(Fault::Restore);
    if world.swarm.restores && world.chance.permille(rate) && restore(world) {
        world.trace().count_fault(Fault::Restore);
    }
}

/// What happens besides to those who have just sent a request that was waited for.
fn spring(world: &mut World) {
    for at in 0..world.machines.len() {
        let Some(then) = world.machines[at].trap.take_sprung() else { continue };
        world.trace().note("ambush", format_args!("of {at}: {then:?}"));
        world.trace().count_fault(Fault::Ambush);
        if world.chance.permille(500) || matches!(then, Then::IsSucceeded(_)) {
            // Those who are to replace it are well.
            world.machines.iter_mut().for_each(Machine::relieve);
        }
        if let Then::IsSucceeded(_) = then {
            world.machines.iter().for_each(|machine| machine.trap.clear());
        }
        let machine = &mut world.machines[at];
        match then {
            Then::Nothing => {}
            Then::Sleeps(steps) | Then::IsSucceeded(steps) => {
                machine.access.expire();
                machine.slow_store(steps + 200);
                machine.pause(steps);
            }
            Then::CutOff(steps) => {
                machine.access.expire();
                machine.lose_store(steps);
            }
            Then::Dies | Then::DiesUnreplaced(_) => {
                machine.access.expire();
                if !machine.is_down() {
                    machine.kill(None);
                }
            }
        }
        if let Then::DiesUnreplaced(steps) = then {
            world.machines.iter_mut().for_each(|machine| machine.obstruct(steps));
        }
    }
}

/// Somebody waits for a request of some kind.
fn ambush(world: &mut World) -> bool {
    let (ambush, any) = (Ambush::of(&mut world.chance), world.any());
    // Somebody who has just begun has little to be remembered for.
    let fresh = world.machines.iter().position(|machine| !machine.is_up());
    let at = fresh.filter(|_| matches!(ambush.then, Then::DiesUnreplaced(_))).unwrap_or(any);
    world.machines[at].trap.set(ambush);
    // It counts once it is met.
    false
}

/// A broker is replaced; whoever comes to lead sleeps while it looks for what is left over, and is replaced in turn.
fn succeed(world: &mut World) -> bool {
    let (at, ambush) = (world.any(), Ambush::of_a_sweep(&mut world.chance));
    if !world.machines.iter().all(Machine::is_well) {
        return false;
    }
    world.machines.iter_mut().for_each(Machine::relieve);
    for other in (0..world.machines.len()).filter(|other| *other != at) {
        world.machines[other].trap.set(ambush);
    }
    world.machines[at].access.expire();
    true
}

/// A broker is taken for dead, does not hear of it and goes on well; who comes to end its lane is slow to.
fn usurp(world: &mut World) -> bool {
    let (at, steps) = (world.any(), world.chance.pick(&[200, 400]));
    if !world.machines.iter().all(Machine::is_well) {
        return false;
    }
    world.machines.iter_mut().for_each(Machine::relieve);
    for other in (0..world.machines.len()).filter(|other| *other != at) {
        let held = Duration::from_millis(world.chance.pick(&[200, 400, 600, 780]));
        world.machines[other].trap.set(Ambush { spot: Spot::Seal, pass: 0, held, then: Then::Nothing });
    }
    let machine = &mut world.machines[at];
    machine.lose_store(steps);
    machine.access.expire();
    true
}

/// A process dies, with its machine or without.
fn kill(world: &mut World) -> bool {
    let power = world.chance.permille(300).then(|| world.chance.next());
    let victim = world.any_machine();
    let lives = !victim.is_down();
    if lives {
        victim.kill(power);
    }
    lives
}

fn stop(world: &mut World) -> bool {
    world.any_machine().stop()
}

/// SIGSTOP and SIGCONT, a long collection, a virtual machine that is moved.
fn pause(world: &mut World) -> bool {
    let steps = world.chance.pick(&[10, 100, 600]);
    let victim = world.any_machine();
    let lives = !victim.is_down();
    if lives {
        victim.pause(steps);
    }
    lives
}

fn cut_store(world: &mut World) -> bool {
    let steps = world.chance.pick(&[20, 200, 800]);
    world.any_machine().lose_store(steps);
    true
}

fn outage(world: &mut World) -> bool {
    let steps = world.chance.pick(&[20, 200, 800]);
    world.any_machine().lose_bucket(steps);
    true
}

fn slow_bucket(world: &mut World) -> bool {
    let steps = world.chance.pick(&[100, 400, 1_000]);
    world.any_machine().slow_bucket(steps);
    true
}

fn slow_store(world: &mut World) -> bool {
    let steps = world.chance.pick(&[100, 400, 1_000]);
    world.any_machine().slow_store(steps);
    true
}

/// A broker is replaced and does not hear of it: it has no way to the store, or sleeps, and its requests to the bucket take
/// long. Or those of whoever replaces it do, who may die soon after. Nothing else is wrong when it begins, or nobody would
/// replace it.
fn zombie(world: &mut World) -> bool {
    let (at, sleeps, is_slow) = (world.any(), world.chance.permille(500), world.chance.permille(700));
    let (steps, nap) = (world.chance.pick(&[200, 400]), world.chance.pick(&[30, 60, 120, 300]));
    let (delay, doomed) = (world.chance.below(150), world.chance.permille(300));
    if !world.machines.iter().all(Machine::is_well) {
        return false;
    }
    world.machines.iter_mut().for_each(Machine::relieve);
    let machine = &mut world.machines[at];
    if sleeps {
        machine.slow_bucket(steps);
        machine.fall_asleep(delay, nap);
        return true;
    }
    machine.lose_store(steps);
    machine.access.expire();
    if is_slow {
        machine.slow_bucket(steps);
        return true;
    }
    for other in (0..world.machines.len()).filter(|other| *other != at) {
        let (when, seed) = (world.chance.below(steps), world.chance.next());
        world.machines[other].slow_bucket(steps);
        if doomed {
            world.machines[other].doom(when, seed);
        }
    }
    true
}

/// A lease ends although its owner lives.
fn expire(world: &mut World) -> bool {
    world.any_machine().access.expire();
    true
}

/// A wall clock jumps, back too.
fn clock(world: &mut World) -> bool {
    let jump = world.chance.pick(&[-3_600_000, -5_000, 1_000, 60_000]);
    world.any_machine().jump(jump);
    true
}

fn compact(world: &mut World) -> bool {
    world.store().compact();
    true
}

/// Somebody changes where the topic is acknowledged.
fn settings(world: &mut World) -> bool {
    let value = world.chance.pick(&["local", "object"]);
    let change = ConfigChange { name: "runnel.durability".into(), op: AlterConfigOp::Set, value: Some(value.into()) };
    let directory = world.directory();
    let Some(at) = directory.any(&mut world.chance) else { return false };
    world.spawn(async move {
        let asked = directory.ask(at, |broker| async move {
            broker.alter_configs(&ConfigResource::Topic(TOPIC.to_owned()), &[change], false).await
        });
        // Whatever becomes of it.
        drop(asked.await);
    });
    true
}

/// Something is cut off in the middle.
fn fail_point(world: &mut World) -> bool {
    let point = world.chance.pick(&FAIL_POINTS);
    world.any_machine().fail.arm(point, FailAction::Error);
    true
}

/// A write or a sync fails; what a failed sync left in memory is never written, which shows once the power fails.
fn disk(world: &mut World) -> bool {
    let (sync, after) = (world.chance.permille(700), world.chance.below(20));
    let doom = world.chance.permille(800).then(|| (world.chance.below(200), world.chance.next()));
    let victim = world.any_machine();
    victim.fail_disk(sync, after);
    if let Some((steps, seed)) = doom {
        victim.doom(steps, seed);
    }
    true
}

/// Others fill a disk, and clean up after a while.
fn full(world: &mut World) -> bool {
    let (steps, left) = (world.chance.pick(&[20, 200, 800]), world.chance.pick(&[0, 4 << 10, 100 << 10]));
    world.any_machine().fill_disk(steps, left);
    true
}

/// The power fails in the middle of a write, which is there in part.
fn tear(world: &mut World) -> bool {
    let (changes, steps, seed) = (1 + world.chance.below(30), world.chance.below(200), world.chance.next());
    world.any_machine().tear(changes, steps, seed);
    true
}

/// Bits of a disk turn, mostly of one whose machine loses its power.
fn rot(world: &mut World) -> bool {
    let (bits, power) = (world.chance.pick(&[1, 3, 10]), world.chance.permille(800).then(|| world.chance.next()));
    let (at, mut chance) = (world.any(), Chance::new(world.chance.next()));
    let victim = &mut world.machines[at];
    let turned = victim.rot(bits, &mut chance);
    if turned && power.is_some() && !victim.is_down() {
        victim.kill(power);
    }
    turned
}

/// An operator takes a disk for lost.
fn write_off(world: &mut World) -> bool {
    let at = world.any();
    world.write_off(at);
    // It counts as those do that are about damage.
    false
}

/// The store loses everything, or is set back to what it was a while ago. An operator keeps the brokers out, which go on as they
/// can, and makes the cluster again.
fn restore(world: &mut World) -> bool {
    let all = world.chance.permille(500);
    world.restore(all)
}
