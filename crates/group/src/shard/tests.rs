#![allow(clippy::unwrap_used, clippy::panic)]

mod classic;
mod consumer;
mod consumer_random;
mod crash;
mod hostile;
mod migration;
mod migration_random;
mod offsets;
mod statics;

use std::collections::BTreeMap;

use runnel_record::TopicId;

use super::*;
use crate::partitions::Partitions;
use crate::requests::*;

/// A coordinator, its log, and the answers so far.
pub(super) struct World {
    pub(super) shard: Shard,
    pub(super) now: Now,
    pub(super) log: Vec<(Bytes, Option<Bytes>)>,
    pub(super) answers: BTreeMap<Token, Result<Reply, Error>>,
    topics: Arc<Topics>,
    next: u64,
}

pub(super) fn topic_id(name: &str) -> TopicId {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    TopicId(uuid::Uuid::from_bytes(bytes))
}

pub(super) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) fn options() -> Options {
    Options { initial_rebalance_delay: seconds(3), ..Options::default() }
}

impl World {
    pub(super) fn new(options: Options) -> Self {
        let now = Now { elapsed: Duration::ZERO, wall_ms: 1_000_000 };
        Self {
            shard: Shard::new(options),
            now,
            log: Vec::new(),
            answers: BTreeMap::new(),
            topics: Arc::default(),
            next: 0,
        }
    }

    /// A coordinator whose groups rebalance without the first delay.
    pub(super) fn quick() -> Self {
        Self::new(Self::quick_options())
    }

    pub(super) fn quick_options() -> Options {
        Options { initial_rebalance_delay: Duration::ZERO, ..options() }
    }

    /// Topics by name, and how many partitions each has; one that grows stays the same.
    pub(super) fn topics(&mut self, topics: &[(&str, i32)]) {
        let version = self.topics.version() + 1;
        let topics = topics.iter().map(|(name, count)| ((*name).to_owned(), topic_id(name), *count));
        self.shown(Topics::new(version, topics));
    }

    pub(super) fn shown(&mut self, topics: Topics) {
        self.topics = Arc::new(topics);
        self.shard.set_topics(Arc::clone(&self.topics));
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Write { key, value } => self.log.push((key.encode(), value)),
                Effect::Reply { token, outcome } => {
                    assert!(self.answers.insert(token, outcome).is_none(), "{token:?} is answered twice");
                }
            }
        }
    }

    /// Asks; the answer may come later.
    pub(super) fn send(&mut self, request: Request) -> Token {
        self.next += 1;
        let (token, mut effects) = (Token(self.next), Vec::new());
        self.shard.on(self.now, token, request, &mut effects);
        self.carry_out(effects);
        token
    }

    /// Asks what is answered at once.
    pub(super) fn ask(&mut self, request: Request) -> Result<Reply, Error> {
        let token = self.send(request);
        self.answers[&token].clone()
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now.elapsed + time;
        loop {
            let next = self.shard.next_tick().min(until).max(self.now.elapsed);
            self.now.wall_ms += i64::try_from((next - self.now.elapsed).as_millis()).unwrap();
            self.now.elapsed = next;
            let mut effects = Vec::new();
            self.shard.tick(self.now, &mut effects);
            self.carry_out(effects);
            if next == until {
                return;
            }
            assert!(self.shard.next_tick() > self.now.elapsed, "a timer that is never done");
        }
    }

    /// The coordinator dies and comes back from its log.
    pub(super) fn restart(&mut self, options: Options) {
        self.shard = Shard::new(options);
        self.shard.set_topics(Arc::clone(&self.topics));
        for (key, value) in &self.log {
            self.shard.load(key, value.as_deref()).unwrap();
        }
        self.shard.loaded(self.now);
    }

    pub(super) fn joined(&self, token: Token) -> Joined {
        match self.answers.get(&token) {
            Some(Ok(Reply::Join(JoinOutcome::Joined(joined)))) => joined.clone(),
            other => panic!("{token:?}: {other:?}"),
        }
    }

    pub(super) fn synced(&self, token: Token) -> Bytes {
        match self.answers.get(&token) {
            Some(Ok(Reply::Sync(synced))) => synced.assignment.clone(),
            other => panic!("{token:?}: {other:?}"),
        }
    }

    pub(super) fn state(&mut self, group: &str) -> Option<GroupState> {
        match self.ask(Request::Describe(group.to_owned())) {
            Ok(Reply::Described(described)) => Some(described.state),
            Err(Error::GroupIdNotFound) => None,
            other => panic!("{other:?}"),
        }
    }

    /// Members join and sync until the group is stable; their ids, the leader first.
    pub(super) fn stable(&mut self, group: &str, count: usize) -> Vec<String> {
        let tokens: Vec<_> = (0..count).map(|n| self.send(join(group, "", &format!("fresh-{n}")))).collect();
        // A rebalance that the first of them completed alone wants it back.
        let first = self.answers.remove(&tokens[0]);
        let mut tokens = tokens;
        if let (Some(Ok(Reply::Join(JoinOutcome::Joined(alone)))), true) = (&first, count > 1) {
            tokens[0] = self.send(join(group, &alone.member_id, ""));
        } else if let Some(first) = first {
            self.answers.insert(tokens[0], first);
        }
        let joined: Vec<_> = tokens.iter().map(|token| self.joined(*token)).collect();
        let leader = joined.iter().find(|j| j.leader == j.member_id).unwrap().clone();
        for member in joined.iter().filter(|j| j.member_id != leader.member_id) {
            self.send(sync(group, member.generation, &member.member_id, &[]));
        }
        let ids: Vec<_> = leader.members.iter().map(|m| m.member_id.clone()).collect();
        let parts: Vec<_> = ids.iter().map(|id| (id.as_str(), id.as_bytes())).collect();
        self.send(sync(group, leader.generation, &leader.member_id, &parts));
        ids
    }
}

pub(super) fn join_of(group: &str, member_id: &str) -> JoinGroup {
    JoinGroup {
        group: group.into(),
        member_id: member_id.into(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout: seconds(10),
        rebalance_timeout: seconds(60),
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), subscribed(&["t"]))],
        reason: None,
        needs_member_id: false,
        may_skip_assignment: true,
    }
}

pub(super) fn subscribed(topics: &[&str]) -> Bytes {
    let mut out = vec![0, 0];
    out.extend(i32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        out.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
        out.extend(topic.as_bytes());
    }
    out.into()
}

pub(super) fn join(group: &str, member_id: &str, fresh: &str) -> Request {
    Request::Join(join_of(group, member_id), fresh.into())
}

pub(super) fn member(generation: i32, member_id: &str) -> Membership {
    Membership { generation, member_id: member_id.into(), instance_id: None }
}

pub(super) fn sync(group: &str, generation: i32, member_id: &str, assignments: &[(&str, &[u8])]) -> Request {
    Request::Sync(SyncGroup {
        group: group.into(),
        member: member(generation, member_id),
        protocol_type: None,
        protocol: None,
        assignments: assignments.iter().map(|(id, part)| ((*id).into(), Bytes::copy_from_slice(part))).collect(),
    })
}

pub(super) fn beat(group: &str, generation: i32, member_id: &str) -> Request {
    Request::Heartbeat(Heartbeat { group: group.into(), member: member(generation, member_id) })
}

pub(super) fn leave(group: &str, member_id: &str) -> Request {
    let leaving = Leaving { member_id: member_id.into(), instance_id: None, reason: None };
    Request::Leave(LeaveGroup { group: group.into(), members: vec![leaving] })
}

pub(super) fn commit(group: &str, generation: i32, member_id: &str, offset: i64) -> Request {
    Request::Commit(CommitOffsets {
        group: group.into(),
        member: member(generation, member_id),
        knows_epochs: false,
        retention: None,
        offsets: vec![CommitOffset { topic: "t".into(), partition: 0, offset, leader_epoch: 2, metadata: "m".into() }],
    })
}

pub(super) fn committed(world: &mut World, group: &str) -> i64 {
    let topics = Some(vec![("t".to_owned(), vec![0])]);
    match world.ask(Request::FetchOffsets(FetchOffsets { group: group.into(), topics, member: None })) {
        Ok(Reply::Offsets(offsets)) => offsets[0].offset,
        other => panic!("{other:?}"),
    }
}
