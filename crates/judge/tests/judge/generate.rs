//! Histories of a log that keeps every promise, to clients whose requests get lost at every point.

use std::collections::{BTreeMap, VecDeque};

use runnel_judge::{Event, Outcome, Poll, Record};

pub(crate) type Name = &'static str;
pub(crate) type Events = Vec<Event<Name>>;

/// Marsaglia's xorshift.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % n
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.below(from.len())]) }
    }
}

pub(crate) const TOPIC: Name = "t";
pub(crate) const GROUP: Name = "readers";
/// Nothing is ever given up in this partition; records are deleted in the next, and lost, with leave, in the last.
pub(crate) const WHOLE: i32 = 0;
pub(crate) const TRIMMED: i32 = 1;
pub(crate) const LOSSY: i32 = 2;
/// The first two are idempotent, the third tries again by itself, the library of the fourth does.
pub(crate) const PRODUCERS: [Name; 4] = ["first", "second", "plain", "eager"];
const WATCHERS: [Name; 3] = ["watcher", "other", "seeker"];
const STEPS: usize = 600;

/// A value that was sent and has no outcome yet.
struct InFlight {
    producer: usize,
    value: u64,
}

/// A value that was written, and whose producer will hear of it.
struct Answer {
    producer: usize,
    value: u64,
    offset: usize,
}

#[derive(Default)]
struct Partition {
    /// Producer, value, content and epoch of each record.
    log: Vec<(Name, u64, u32, i32)>,
    start: usize,
    epoch: i32,
    waiting: VecDeque<InFlight>,
    answers: Vec<Answer>,
    next: [u64; 4],
    committed: Option<i64>,
}

struct Story {
    random: Random,
    now: u64,
    partitions: Vec<Partition>,
    /// Where consumers are, by name and partition.
    positions: BTreeMap<(Name, i32), usize>,
    member: Name,
    events: Events,
}

pub(crate) fn generate(seed: u64) -> Events {
    let mut story = Story::begin(seed);
    for _ in 0..STEPS {
        story.step();
    }
    story.end()
}

impl Story {
    fn begin(seed: u64) -> Self {
        let partitions = (0..3).map(|_| Partition::default()).collect();
        let (random, positions, events) = (Random::new(seed), BTreeMap::new(), Vec::new());
        let mut story = Self { random, now: 1_000, partitions, positions, member: "one", events };
        story.events.push(Event::Repeats { client: PRODUCERS[2], retries: false });
        story.events.push(Event::Repeats { client: PRODUCERS[3], retries: true });
        for client in WATCHERS {
            (0..3).for_each(|partition| story.seek(client, partition, 0));
        }
        story.join("one");
        story
    }

    /// Time passes.
    fn tick(&mut self) -> u64 {
        self.now += 1 + self.random.below(50) as u64;
        self.now
    }

    fn step(&mut self) {
        let partition = i32::try_from(self.random.below(3)).unwrap();
        match self.random.below(100) {
            0..30 => self.send(partition),
            30..55 => self.deliver(partition),
            55..70 => self.answer(partition),
            70..82 => {
                let client = self.random.pick(&WATCHERS).unwrap();
                if client == "seeker" && self.random.below(3) == 0 {
                    let Partition { start, ref log, .. } = self.partitions[partition as usize];
                    let to = start + self.random.below(log.len() - start + 1);
                    self.seek(client, partition, to);
                }
                self.poll(client, partition, 8);
            }
            82..88 => self.poll(self.member, partition, 8),
            88..92 => self.commit(partition),
            92..95 => self.committed(partition),
            95..97 => self.offsets("admin", partition),
            97 => self.partitions[partition as usize].epoch += 1,
            98 => match self.random.below(3) {
                0 => self.trim(),
                1 => self.lose(),
                _ => self.rebalance(),
            },
            _ => {}
        }
    }

    fn send(&mut self, partition: i32) {
        let (at, producer) = (self.tick(), self.random.below(4));
        let next = &mut self.partitions[partition as usize].next[producer];
        let value = *next;
        *next += 1;
        self.events.push(Event::Send { at, client: PRODUCERS[producer], topic: TOPIC, partition, value });
        self.partitions[partition as usize].waiting.push_back(InFlight { producer, value });
    }

    fn write(&mut self, partition: i32, producer: usize, value: u64) -> usize {
        let place = &mut self.partitions[partition as usize];
        let content = u32::try_from(place.log.len() * 31 + 7).unwrap();
        place.log.push((PRODUCERS[producer], value, content, place.epoch));
        place.log.len() - 1
    }

    /// Something becomes of what was sent first.
    fn deliver(&mut self, partition: i32) {
        let Some(InFlight { producer, value }) = self.partitions[partition as usize].waiting.pop_front() else {
            return;
        };
        match self.random.below(10) {
            0 => {
                let at = self.tick();
                self.events.push(Event::Refused { at, client: PRODUCERS[producer], topic: TOPIC, partition, value });
            }
            1 => {} // nothing is written, and nobody hears of that
            2 => {
                self.write(partition, producer, value); // and nobody hears of it
            }
            3 => {
                // The answer is lost, and it is tried again. An idempotent producer is told where it is.
                let mut offset = self.write(partition, producer, value);
                let at = self.tick();
                if PRODUCERS[producer] != "eager" {
                    self.events.push(Event::Send { at, client: PRODUCERS[producer], topic: TOPIC, partition, value });
                }
                if producer > 1 {
                    offset = self.write(partition, producer, value);
                }
                self.partitions[partition as usize].answers.push(Answer { producer, value, offset });
            }
            _ => {
                let offset = self.write(partition, producer, value);
                self.partitions[partition as usize].answers.push(Answer { producer, value, offset });
            }
        }
    }

    fn answer(&mut self, partition: i32) {
        let at = self.tick();
        let answers = &mut self.partitions[partition as usize].answers;
        if answers.is_empty() {
            return;
        }
        let Answer { producer, value, offset } = answers.swap_remove(self.random.below(answers.len()));
        let offset = i64::try_from(offset).unwrap();
        self.events.push(Event::Acked { at, client: PRODUCERS[producer], topic: TOPIC, partition, value, offset });
    }

    fn seek(&mut self, client: Name, partition: i32, to: usize) {
        let (at, offset) = (self.tick(), Some(i64::try_from(to).unwrap()));
        self.events.push(Event::Seek { at, client, topic: TOPIC, partition, offset });
        self.positions.insert((client, partition), to);
    }

    /// Records of one epoch, some, or all that there are.
    fn poll(&mut self, client: Name, partition: i32, most: usize) {
        let (at, most) = (self.tick(), self.random.below(most) + 1);
        let Partition { log, start, epoch, .. } = &self.partitions[partition as usize];
        let position = self.positions.entry((client, partition)).or_default();
        *position = (*position).max(*start);
        let epoch = log.get(*position).map_or(*epoch, |record| record.3);
        let some = log.iter().enumerate().skip(*position).take(most).take_while(|(_, record)| record.3 == epoch);
        let records: Box<[Record<Name>]> = some
            .map(|(offset, (producer, value, content, _))| {
                Record(i64::try_from(offset).unwrap(), *producer, *value, *content)
            })
            .collect();
        *position += records.len();
        let (high_watermark, log_start) = (i64::try_from(log.len()).ok(), i64::try_from(*start).ok());
        let epoch = Some(epoch);
        let poll = Poll { at, client, topic: TOPIC, partition, high_watermark, log_start, epoch, records };
        self.events.push(Event::Poll(Box::new(poll)));
    }

    fn offsets(&mut self, client: Name, partition: i32) {
        let (begin, at) = (self.tick(), self.tick());
        let Partition { log, start, .. } = &self.partitions[partition as usize];
        let (log_start, end) = (i64::try_from(*start).ok(), i64::try_from(log.len()).ok());
        self.events.push(Event::Offsets { begin, at, client, topic: TOPIC, partition, log_start, end });
    }

    fn join(&mut self, client: Name) {
        let at = self.tick();
        self.member = client;
        self.events.push(Event::Subscribe { at, client, group: GROUP, topic: TOPIC });
        for partition in 0..3 {
            self.events.push(Event::Seek { at, client, topic: TOPIC, partition, offset: None });
            let committed = self.partitions[partition as usize].committed.unwrap_or(0);
            let end = self.partitions[partition as usize].log.len();
            self.positions.insert((client, partition), usize::try_from(committed).unwrap().min(end));
        }
    }

    fn rebalance(&mut self) {
        let (at, client) = (self.tick(), self.member);
        self.events.push(Event::Close { at, client });
        self.join(if client == "one" { "two" } else { "one" });
    }

    /// Of where it is, or of where it was once; the latter may go wrong.
    fn commit(&mut self, partition: i32) {
        let (begin, at, client, group) = (self.tick(), self.tick(), self.member, GROUP);
        let position = self.positions[&(client, partition)];
        let outcome = match self.random.below(6) {
            0 => Outcome::Refused,
            1 => Outcome::Unknown,
            _ => Outcome::Ok,
        };
        let offset = if outcome == Outcome::Ok { position } else { self.random.below(position + 1) };
        let offset = i64::try_from(offset).unwrap();
        if outcome == Outcome::Ok || outcome == Outcome::Unknown && self.random.below(2) == 0 {
            self.partitions[partition as usize].committed = Some(offset);
        }
        self.events.push(Event::Commit { begin, at, client, group, topic: TOPIC, partition, offset, outcome });
    }

    fn committed(&mut self, partition: i32) {
        let (begin, at, client, group) = (self.tick(), self.tick(), "admin", GROUP);
        let offset = self.partitions[partition as usize].committed;
        self.events.push(Event::Committed { begin, at, client, group, topic: TOPIC, partition, offset });
    }

    fn trim(&mut self) {
        let at = self.tick();
        let Partition { log, start, .. } = &mut self.partitions[TRIMMED as usize];
        *start += self.random.below((log.len() - *start) / 2 + 1);
        let before = i64::try_from(*start).unwrap();
        self.events.push(Event::Trim { at, client: "admin", topic: TOPIC, partition: TRIMMED, before });
    }

    /// A tail is gone, and given up.
    fn lose(&mut self) {
        let at = self.tick();
        let Partition { log, answers, .. } = &mut self.partitions[LOSSY as usize];
        let from = log.len() - self.random.below(log.len() / 3 + 1);
        log.truncate(from);
        answers.clear();
        for ((_, partition), position) in &mut self.positions {
            if *partition == LOSSY {
                *position = (*position).min(from);
            }
        }
        let from = i64::try_from(from).unwrap();
        self.events.push(Event::Loss { at, client: "admin", topic: TOPIC, partition: LOSSY, from });
        self.now += 1;
    }

    /// Everything is answered and read.
    fn end(mut self) -> Events {
        for partition in 0..3 {
            while !self.partitions[partition as usize].waiting.is_empty() {
                self.deliver(partition);
            }
            while !self.partitions[partition as usize].answers.is_empty() {
                self.answer(partition);
            }
        }
        let since = self.tick();
        for partition in 0..3 {
            self.offsets("final", partition);
            self.seek("final", partition, 0);
            for client in [self.member, "watcher", "final"] {
                while self.positions[&(client, partition)] < self.partitions[partition as usize].log.len() {
                    self.poll(client, partition, 40);
                }
            }
            self.commit(partition);
            self.committed(partition);
        }
        let at = self.tick();
        self.events.push(Event::Patience { since, at, client: "admin", group: GROUP });
        self.events
    }
}
