//! Clients of both protocols come and go, and change from one to the other: no partition ever has two owners.

use super::consumer::{alive, join_as, owning};
use super::consumer_random::Random;
use super::*;
use crate::embedded;

#[derive(Debug, Default)]
struct Client {
    /// It speaks the consumer protocol.
    modern: bool,
    id: String,
    /// Member epoch or generation; none while it is no member.
    epoch: Option<i32>,
    /// It joined and has not fetched its assignment (classic).
    unsynced: bool,
    /// It was told to rejoin (classic).
    rejoins: bool,
    waiting: Option<(Token, Vec<String>)>,
    /// What it reads.
    owned: Partitions,
    /// What it was told that it may read (consumer protocol).
    told: Partitions,
}

impl Client {
    fn forget(&mut self) {
        (self.epoch, self.unsynced, self.rejoins, self.waiting) = (None, false, false, None);
        (self.owned, self.told) = (Partitions::default(), Partitions::default());
    }
}

struct Run {
    world: World,
    random: Random,
    clients: Vec<Client>,
    lives: usize,
}

fn metadata() -> Bytes {
    let mut bytes = subscribed(&["t"]).to_vec();
    bytes[1] = 1;
    bytes.extend((-1_i32).to_be_bytes());
    // Eager members hold nothing when they join.
    bytes.extend(0_i32.to_be_bytes());
    bytes.into()
}

const PARTITIONS: i32 = 6;

impl Run {
    fn modern(&mut self, n: usize) {
        let says = self.random.chance(60);
        let client = &mut self.clients[n];
        if says {
            client.owned = client.told.clone();
        }
        let beat = match client.epoch {
            None => join_as(&client.id, &["t"]),
            Some(epoch) if says => owning(&client.id, epoch, &client.owned),
            Some(epoch) => alive(&client.id, epoch),
        };
        let answer = self.world.beat(beat);
        let client = &mut self.clients[n];
        match answer {
            Ok(beat) => {
                client.epoch = Some(beat.epoch);
                client.told = beat.assignment.unwrap_or_else(|| client.told.clone());
            }
            Err(Error::UnknownMemberId | Error::FencedMemberEpoch | Error::GroupIdNotFound) => client.forget(),
            other => panic!("{other:?}"),
        }
    }

    fn classic(&mut self, n: usize) {
        self.hear(n);
        let client = &mut self.clients[n];
        if client.waiting.is_some() {
            return;
        }
        match client.epoch {
            Some(epoch) if client.unsynced => {
                let token = self.world.send(sync("g", epoch, &client.id, &[]));
                client.waiting = Some((token, Vec::new()));
            }
            Some(epoch) if !client.rejoins => {
                let answer = self.world.ask(beat("g", epoch, &client.id));
                match answer {
                    Ok(_) => {}
                    Err(Error::RebalanceInProgress) => client.rejoins = true,
                    Err(_) => client.forget(),
                }
            }
            _ => {
                client.owned = Partitions::default();
                let join = JoinGroup { protocols: vec![("range".into(), metadata())], ..join_of("g", &client.id) };
                let known = client.epoch.is_some();
                let (id, fresh) =
                    if known { (client.id.clone(), String::new()) } else { (String::new(), client.id.clone()) };
                let token = self.world.send(Request::Join(JoinGroup { member_id: id, ..join }, fresh));
                client.waiting = Some((token, Vec::new()));
            }
        }
        self.hear(n);
    }

    /// Takes in the answer to what a classic client waits for.
    fn hear(&mut self, n: usize) {
        let client = &mut self.clients[n];
        let Some((token, _)) = &client.waiting else { return };
        let Some(answer) = self.world.answers.get(token).cloned() else { return };
        client.waiting = None;
        match answer {
            Ok(Reply::Join(JoinOutcome::Joined(joined))) => {
                (client.epoch, client.unsynced, client.rejoins) = (Some(joined.generation), true, false);
                if joined.leader == client.id {
                    // It leads: all partitions, in turn.
                    let parts: Vec<_> = (0..joined.members.len())
                        .map(|place| {
                            let mine: Vec<i32> = (0..PARTITIONS)
                                .filter(|p| usize::try_from(*p).unwrap() % joined.members.len() == place)
                                .collect();
                            embedded::assign(1, &vec![("t".to_owned(), mine)])
                        })
                        .collect();
                    let parts: Vec<_> =
                        joined.members.iter().zip(&parts).map(|(m, part)| (m.member_id.as_str(), &part[..])).collect();
                    let token = self.world.send(sync("g", joined.generation, &client.id, &parts));
                    client.waiting = Some((token, Vec::new()));
                }
            }
            Ok(Reply::Sync(synced)) => {
                client.unsynced = false;
                let named = embedded::assignment(&synced.assignment).unwrap();
                client.owned = named.into_iter().map(|(name, partitions)| (topic_id(&name), partitions)).collect();
            }
            Err(Error::RebalanceInProgress) => {
                client.rejoins = true;
                client.unsynced = false;
                if client.epoch.is_none() {
                    client.forget();
                }
            }
            Err(_) => client.forget(),
            Ok(other) => panic!("{other:?}"),
        }
    }

    fn leave(&mut self, n: usize) {
        let client = &self.clients[n];
        if client.epoch.is_some() {
            if client.modern {
                drop(self.world.beat(alive(&client.id, LEAVE)));
            } else {
                drop(self.world.ask(leave("g", &client.id)));
            }
        }
        self.lives += 1;
        let modern = self.random.chance(50);
        self.clients[n] = Client { modern, id: format!("m{}", self.lives), ..Client::default() };
    }

    fn step(&mut self) {
        let n = usize::try_from(self.random.below(u64::try_from(self.clients.len()).unwrap())).unwrap();
        match self.random.below(100) {
            0..5 => self.leave(n),
            5..8 => self.world.pass(seconds(1)),
            8..9 => {
                self.world.restart(Options { initial_rebalance_delay: Duration::ZERO, ..options() });
                // Nobody answers what was asked of the coordinator that died.
                for client in self.clients.iter_mut().filter(|client| client.waiting.is_some()) {
                    client.waiting = None;
                    (client.unsynced, client.rejoins) = (false, client.epoch.is_some());
                }
            }
            _ if self.clients[n].modern => self.modern(n),
            _ => self.classic(n),
        }
    }

    fn members(&mut self) -> Vec<String> {
        if let Some(group) = self.world.consumer_group() {
            return group.members.into_iter().map(|m| m.member_id).collect();
        }
        match self.world.ask(Request::Describe("g".into())) {
            Ok(Reply::Described(group)) => group.members.into_iter().map(|m| m.member_id).collect(),
            _ => Vec::new(),
        }
    }

    fn check(&mut self, context: &str) {
        let members = self.members();
        let mut owners = BTreeMap::new();
        for client in self.clients.iter().filter(|client| members.contains(&client.id)) {
            let held: std::collections::BTreeSet<_> = client.owned.iter().chain(client.told.iter()).collect();
            for partition in held {
                if let Some(other) = owners.insert(partition, &client.id) {
                    panic!("{context}: {partition:?} is read by {other} and {}: {:?}", client.id, self.clients);
                }
            }
        }
    }
}

#[test]
fn clients_of_both_protocols_never_share_a_partition() {
    let (mut upgraded, mut downgraded) = (0, 0);
    for seed in 0..200 {
        let mut run = Run { world: World::quick(), random: Random(seed), clients: Vec::new(), lives: 0 };
        run.world.topics(&[("t", PARTITIONS)]);
        for n in 0..3 {
            run.clients.push(Client { modern: n == 2, id: format!("first{n}"), ..Client::default() });
        }
        let mut modern = false;
        for step in 0..300 {
            run.step();
            run.check(&format!("seed {seed}, step {step}"));
            let now = run.world.consumer_group().is_some();
            upgraded += usize::from(now && !modern);
            downgraded += usize::from(modern && run.world.state("g").is_some());
            modern = now;
        }
        // Left alone they come to share everything.
        for _ in 0..60 {
            for n in 0..3 {
                if run.clients[n].modern { run.modern(n) } else { run.classic(n) }
            }
            run.world.pass(seconds(1));
        }
        for client in run.clients.iter_mut().filter(|client| client.modern) {
            client.owned = client.told.clone();
        }
        run.check(&format!("seed {seed}, at the end"));
        let total: usize = run.clients.iter().map(|client| client.owned.len()).sum();
        assert_eq!(total, usize::try_from(PARTITIONS).unwrap(), "seed {seed}: {:?}", run.clients);
    }
    assert!(upgraded > 100 && downgraded > 100, "{upgraded} up, {downgraded} down");
}
