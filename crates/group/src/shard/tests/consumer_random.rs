//! Members with arbitrary heartbeats, and a coordinator that dies whenever it likes: no partition ever has two owners, and
//! once they calm down everybody has a fair share.

use super::*;

/// What a client believes. It holds what it was given until it has let go.
#[derive(Debug, Default)]
struct Client {
    joined: bool,
    epoch: i32,
    /// What it reads now.
    owned: Partitions,
    /// What it was last told that it may read.
    told: Partitions,
    topics: Vec<String>,
    changed: bool,
    instance: Option<String>,
    /// How often it came under a new id.
    lives: usize,
}

pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct Run {
    world: World,
    random: Random,
    clients: Vec<Client>,
    topics: BTreeMap<&'static str, i32>,
}

const TOPICS: [&str; 3] = ["t", "u", "v"];

impl Run {
    fn new(seed: u64) -> Self {
        let mut run = Self {
            world: World::quick(),
            random: Random(seed),
            clients: Vec::new(),
            topics: [("t", 5), ("u", 3)].into_iter().collect(),
        };
        run.tell_topics();
        for n in 0..1 + run.random.below(5) {
            let instance = run.random.chance(30).then(|| format!("i{n}"));
            run.clients.push(Client { instance, topics: vec!["t".into()], ..Client::default() });
        }
        run
    }

    fn tell_topics(&mut self) {
        let topics: Vec<_> = self.topics.iter().map(|(name, count)| (*name, *count)).collect();
        self.world.topics(&topics);
    }

    fn name(&self, n: usize) -> String {
        format!("m{n}-{}", self.clients[n].lives)
    }

    fn heartbeat(&mut self, n: usize, epoch: i32, lost: bool) {
        let (full, name) = (epoch == JOIN || self.random.chance(10), self.name(n));
        let says = epoch >= JOIN && (full || self.random.chance(60));
        if says {
            // What it says that it holds is final: it does not take up afterwards what it was told before.
            self.settle(n);
        }
        let client = &mut self.clients[n];
        let beat = ConsumerHeartbeat {
            group: "g".into(),
            member_id: name,
            chooses_id: true,
            epoch,
            instance_id: client.instance.clone(),
            rack: None,
            rebalance_timeout: full.then_some(seconds(30)),
            topics: (full || client.changed).then(|| client.topics.clone()),
            pattern: None,
            assignor: None,
            owned: says.then(|| client.owned.clone()),
            client_id: String::new(),
            client_host: String::new(),
        };
        let before = self.world.log.len();
        let answer = self.world.ask(Request::ConsumerHeartbeat(beat, String::new()));
        if lost {
            // The answer is lost, and sometimes the coordinator with it, with some of what it did not get to the disk.
            if self.random.chance(50) {
                let unwritten = u64::try_from(self.world.log.len() - before).unwrap();
                let kept = before + usize::try_from(self.random.below(unwritten + 1)).unwrap();
                self.world.log.truncate(kept);
                self.world.restart(options());
            }
            return;
        }
        let client = &mut self.clients[n];
        match answer {
            Ok(Reply::ConsumerBeat(beat)) => {
                client.changed = false;
                client.joined = beat.epoch >= 0;
                client.epoch = beat.epoch;
                if let Some(assignment) = beat.assignment {
                    client.told = assignment;
                }
            }
            Err(Error::UnreleasedInstanceId) => {}
            Err(
                Error::UnknownMemberId | Error::FencedMemberEpoch | Error::FencedInstanceId | Error::GroupIdNotFound,
            ) => {
                // It gives up everything and comes back.
                (client.joined, client.owned, client.told) = (false, Partitions::default(), Partitions::default());
            }
            other => panic!("{other:?}"),
        }
    }

    /// A client reads what it may, and lets the rest go.
    fn settle(&mut self, n: usize) {
        let client = &mut self.clients[n];
        if client.joined {
            client.owned = client.told.clone();
        }
    }

    fn step(&mut self) {
        let n = usize::try_from(self.random.below(u64::try_from(self.clients.len()).unwrap())).unwrap();
        match self.random.below(100) {
            0..60 => {
                let epoch = if self.clients[n].joined { self.clients[n].epoch } else { JOIN };
                let lost = self.random.chance(15);
                self.heartbeat(n, epoch, lost);
            }
            60..80 => self.settle(n),
            80..84 => {
                // It stops in good order, or for now, and comes back as another.
                if self.clients[n].joined {
                    let for_now = self.clients[n].instance.is_some() && self.random.chance(70);
                    self.heartbeat(n, if for_now { LEAVE_FOR_NOW } else { LEAVE }, false);
                    let client = &mut self.clients[n];
                    (client.joined, client.owned, client.told) = (false, Partitions::default(), Partitions::default());
                    client.lives += 1;
                }
            }
            84..88 => {
                let wanted: Vec<_> =
                    TOPICS.iter().filter(|_| self.random.chance(50)).map(|t| (*t).to_owned()).collect();
                self.clients[n].topics = wanted;
                self.clients[n].changed = true;
            }
            88..92 => {
                let topic = TOPICS[usize::try_from(self.random.below(3)).unwrap()];
                match self.topics.get_mut(topic) {
                    Some(count) if self.random.chance(70) => *count += 1,
                    Some(_) => drop(self.topics.remove(topic)),
                    None => drop(self.topics.insert(topic, 4)),
                }
                self.tell_topics();
            }
            92..97 => {
                let time = seconds(self.random.below(20));
                self.world.pass(time);
            }
            _ => self.world.restart(options()),
        }
    }

    /// Those who are members, as the coordinator has it, do not hold one partition twice.
    fn check(&mut self, context: &str) {
        let members: Vec<String> = match self.world.ask(Request::DescribeConsumer("g".into())) {
            Ok(Reply::DescribedConsumer(group)) => group.members.into_iter().map(|m| m.member_id).collect(),
            _ => Vec::new(),
        };
        let mut owners: BTreeMap<_, usize> = BTreeMap::new();
        for n in 0..self.clients.len() {
            if !members.contains(&self.name(n)) {
                continue;
            }
            // What a client was told it may begin to read at any moment.
            let client = &self.clients[n];
            let held: std::collections::BTreeSet<_> = client.owned.iter().chain(client.told.iter()).collect();
            for partition in held.into_iter().filter(|_| client.joined) {
                if let Some(other) = owners.insert(partition, n) {
                    panic!("{context}: {partition:?} is read by {other} and {n}: {:?}", self.clients);
                }
            }
        }
    }

    /// Everybody heartbeats as they should until nothing changes.
    fn calm(&mut self) {
        self.topics = [("t", 7), ("u", 5)].into_iter().collect();
        self.tell_topics();
        for client in &mut self.clients {
            (client.topics, client.changed) = (vec!["t".into(), "u".into()], true);
        }
        for _ in 0..40 {
            for n in 0..self.clients.len() {
                let epoch = if self.clients[n].joined { self.clients[n].epoch } else { JOIN };
                self.heartbeat(n, epoch, false);
                self.settle(n);
            }
            self.world.pass(seconds(5));
        }
    }
}

#[test]
fn no_partition_has_two_owners_and_everybody_gets_a_fair_share() {
    for seed in 0..200 {
        let mut run = Run::new(seed);
        for step in 0..150 {
            run.step();
            run.check(&format!("seed {seed}, step {step}"));
        }
        run.calm();
        let all: Vec<_> = run.clients.iter().flat_map(|client| client.owned.iter()).collect();
        assert_eq!(all.len(), 12, "seed {seed}: {:?}", run.clients);
        let shares: Vec<_> = run.clients.iter().map(|client| client.owned.len()).collect();
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(most - least <= 1, "seed {seed}: {shares:?}");
        assert!(run.clients.iter().all(|client| client.epoch == run.clients[0].epoch), "seed {seed}");
    }
}
