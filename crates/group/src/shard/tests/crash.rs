//! Whatever clients do, and whenever the coordinator dies: what was acknowledged stays, and nobody waits for ever.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Join(usize),
    Sync(usize),
    Beat(usize),
    Commit(usize),
    Leave(usize),
    Pass(u64),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0_usize..4;
    prop_oneof![
        4 => who.clone().prop_map(Step::Join),
        4 => who.clone().prop_map(Step::Sync),
        3 => who.clone().prop_map(Step::Beat),
        4 => who.clone().prop_map(Step::Commit),
        1 => who.prop_map(Step::Leave),
        3 => (0_u64..12).prop_map(Step::Pass),
        1 => Just(Step::Crash),
    ]
}

/// A client: what it believes, and what it waits for.
#[derive(Debug, Default)]
struct Client {
    id: String,
    generation: i32,
    /// Members to assign to, while it leads.
    leads: Vec<String>,
    waiting: Option<Token>,
}

impl Client {
    /// Takes in the answer to what it waits for.
    fn listen(&mut self, world: &World) {
        let Some(answer) = self.waiting.and_then(|token| world.answers.get(&token)) else { return };
        self.waiting = None;
        match answer {
            Ok(Reply::Join(JoinOutcome::Joined(joined))) => {
                (self.id, self.generation) = (joined.member_id.clone(), joined.generation);
                self.leads = joined.members.iter().map(|m| m.member_id.clone()).collect();
            }
            Ok(Reply::Join(JoinOutcome::MemberIdRequired(id))) => self.id.clone_from(id),
            Err(Error::UnknownMemberId) => self.id.clear(),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn acknowledged_commits_and_live_members_survive(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new(options());
        let mut clients: Vec<Client> = (0..4).map(|_| Client::default()).collect();
        let (mut last, mut acknowledged, mut fresh) = (0, -1, 0);
        for step in steps {
            for client in &mut clients {
                client.listen(&world);
            }
            match step {
                Step::Join(n) if clients[n].waiting.is_none() => {
                    fresh += 1;
                    let wants = JoinGroup { needs_member_id: n % 2 == 0, ..join_of("g", &clients[n].id) };
                    clients[n].waiting = Some(world.send(Request::Join(wants, format!("m{fresh}"))));
                }
                Step::Sync(n) if clients[n].waiting.is_none() => {
                    let client = &clients[n];
                    let parts: Vec<_> = client.leads.iter().map(|id| (id.as_str(), id.as_bytes())).collect();
                    let request = sync("g", client.generation, &client.id, &parts);
                    clients[n].waiting = Some(world.send(request));
                }
                Step::Beat(n) => {
                    let request = beat("g", clients[n].generation, &clients[n].id);
                    drop(world.ask(request));
                }
                Step::Commit(n) if !clients[n].id.is_empty() => {
                    last += 1;
                    let request = commit("g", clients[n].generation, &clients[n].id, last);
                    if world.ask(request).is_ok() {
                        acknowledged = last;
                    }
                }
                Step::Leave(n) => {
                    let request = leave("g", &clients[n].id);
                    drop(world.ask(request));
                }
                Step::Pass(n) => world.pass(seconds(n)),
                Step::Crash => {
                    world.restart(options());
                    // Connections broke: nobody waits for an answer any more.
                    clients.iter_mut().for_each(|client| client.waiting = None);
                }
                _ => {}
            }
            prop_assert_eq!(committed(&mut world, "g"), acknowledged);
        }
        // However it ended: within the longest of all waits, every request is answered.
        world.pass(seconds(1000));
        for client in &mut clients {
            client.listen(&world);
            prop_assert!(client.waiting.is_none(), "waits for ever: {client:?}");
        }
        prop_assert!(matches!(world.state("g"), None | Some(GroupState::Empty)));
        prop_assert_eq!(committed(&mut world, "g"), acknowledged);
    }

    #[test]
    fn a_log_of_noise_does_not_panic(
        records in prop::collection::vec(
            (prop::collection::vec(0_u8..8, 0..12), prop::option::of(prop::collection::vec(0_u8..8, 0..30))), 0..20)
    ) {
        let mut world = World::quick();
        for (key, value) in &records {
            drop(world.shard.load(key, value.as_deref()));
        }
        world.shard.loaded(world.now);
        world.pass(seconds(1000));
    }
}

#[test]
fn a_restart_in_the_middle_of_a_rebalance_brings_back_the_last_generation() {
    let mut world = World::quick();
    let ids = world.stable("g", 2);
    world.send(join("g", "", "late"));
    world.restart(options());
    assert_eq!(world.ask(beat("g", 2, &ids[0])), Ok(Reply::Done));
    assert_eq!(world.ask(commit("g", 2, &ids[1], 9)), Ok(Reply::Each(vec![Ok(())])));
    assert_eq!(world.ask(join("g", "late", "")), Err(Error::UnknownMemberId));
    let synced = world.send(sync("g", 2, &ids[1], &[]));
    assert_eq!(&world.synced(synced)[..], ids[1].as_bytes());
}
