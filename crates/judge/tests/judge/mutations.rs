//! Ways to break a history, each with the anomaly that it is.

use runnel_judge::{Event, Outcome};

use crate::generate::{Events, GROUP, LOSSY, Random, TOPIC, TRIMMED, WHOLE};
use crate::mutate::{
    Acked, acked, commits, exchange, exchange_reads, extend, hide, last_committed, later, log, offsets, poll_at, polls,
    polls_of,
};

pub(crate) struct Mutation {
    pub(crate) name: &'static str,
    /// What it must be found to be.
    pub(crate) is: &'static str,
    /// What follows from it.
    also: &'static [&'static str],
    /// `None` if the history has no place for it.
    pub(crate) make: fn(&mut Events, &mut Random) -> Option<()>,
}

impl Mutation {
    pub(crate) fn may_be(&self, kind: &str) -> bool {
        self.is == kind || self.also.contains(&kind)
    }
}

const fn is(
    is: &'static str,
    also: &'static [&'static str],
    name: &'static str,
    make: fn(&mut Events, &mut Random) -> Option<()>,
) -> Mutation {
    Mutation { name, is, also, make }
}

const OUT_OF_ORDER: &[&str] = &["reordered", "overtaken"];

pub(crate) const MUTATIONS: &[Mutation] = &[
    is("lost", &[], "an acknowledged record is read by nobody", |events, random| {
        let one = some_inside(events, random)?;
        hide(events, one.offset);
        Some(())
    }),
    is("lost", &[], "the log ends before what was acknowledged", |events, _| {
        let last = last_record_acked(events)?;
        hide(events, last.offset);
        let end = events.iter_mut().find_map(|event| match event {
            Event::Offsets { client: "final", partition: WHOLE, end, .. } => Some(end),
            _ => None,
        });
        *end? = Some(last.offset);
        Some(())
    }),
    is("lost", &["phantom"], "something else is where a record was acknowledged", |events, random| {
        let one = some_inside(events, random)?;
        for record in polls(events, WHOLE).flat_map(|poll| &mut poll.records) {
            if record.0 == one.offset {
                record.2 = 1_000_000;
            }
        }
        Some(())
    }),
    is("unseen", &[], "the last record is acknowledged and read by nobody", |events, _| {
        let last = last_record_acked(events)?;
        hide(events, last.offset);
        Some(())
    }),
    is("moved", OUT_OF_ORDER, "two records are read in each other's place", |events, random| {
        let (a, b) = two(events, random, |a, b| a.offset < b.offset)?;
        exchange_reads(events, a, b);
        Some(())
    }),
    is(
        "moved",
        &["offset-given-twice", "ack-changed", "overtaken"],
        "an acknowledged offset is another",
        |events, random| {
            let one = some_inside(events, random)?;
            let acks = events.iter_mut().filter_map(|event| match event {
                Event::Acked { client, partition: WHOLE, value, offset, .. }
                    if (*client, *value) == (one.client, one.value) =>
                {
                    Some(offset)
                }
                _ => None,
            });
            acks.for_each(|offset| *offset += 1);
            Some(())
        },
    ),
    is("duplicate", &[], "a record is there twice", |events, random| {
        let all: Vec<Acked> = acked(events).into_iter().filter(Acked::is_idempotent).collect();
        let one = random.pick(&all)?;
        extend(events, one.client, one.value)
    }),
    is("duplicate", &[], "a record is there more often than it was tried", |events, random| {
        let all: Vec<Acked> = acked(events).into_iter().filter(|one| one.client == "plain").collect();
        let tried = |one: &Acked| {
            let sends = events.iter().filter(|event| match event {
                Event::Send { client, partition: WHOLE, value, .. } => (*client, *value) == (one.client, one.value),
                _ => false,
            });
            sends.count()
        };
        let once: Vec<Acked> = all.into_iter().filter(|one| tried(one) == 1).collect();
        let one = random.pick(&once)?;
        extend(events, one.client, one.value)
    }),
    is("ack-changed", &[], "a retry is told another offset", |events, random| {
        let all: Vec<Acked> = acked(events).into_iter().filter(Acked::is_idempotent).collect();
        let Acked { client, value, offset, .. } = random.pick(&all)?;
        let (at, topic, partition) = (later(events), TOPIC, WHOLE);
        events.push(Event::Send { at, client, topic, partition, value });
        events.push(Event::Acked { at, client, topic, partition, value, offset: offset + 1 });
        Some(())
    }),
    is(
        "offset-given-twice",
        &["lost", "overtaken", "reordered"],
        "an offset is acknowledged to two",
        |events, random| {
            let offset = some_inside(events, random)?.offset;
            let (at, client, topic, partition, value) = (later(events), "first", TOPIC, WHOLE, 1_000_000);
            events.push(Event::Send { at, client, topic, partition, value });
            events.push(Event::Acked { at, client, topic, partition, value, offset });
            Some(())
        },
    ),
    is("two-contents", &[], "a timestamp is another for one reader", |events, random| {
        let at = random.pick(&polls_of(events, &["watcher"]))?;
        poll_at(events, at).records[1].3 ^= 1 << 20;
        Some(())
    }),
    is("two-contents", &["duplicate"], "a record is another for one reader", |events, random| {
        let at = random.pick(&polls_of(events, &["watcher"]))?;
        let records = &mut poll_at(events, at).records;
        if (records[0].1, records[0].2) == (records[1].1, records[1].2) {
            return None; // tried twice, and there twice
        }
        (records[1].1, records[1].2) = (records[0].1, records[0].2);
        Some(())
    }),
    is("refused-read", OUT_OF_ORDER, "a refused record is read", |events, random| {
        let tried = |name, number| {
            let of = |event: &&Event<&str>| match event {
                Event::Send { client, partition: WHOLE, value, .. } => (*client, *value) == (name, number),
                _ => false,
            };
            events.iter().filter(of).count()
        };
        let refused = events.iter().filter_map(|event| match *event {
            Event::Refused { client, partition: WHOLE, value, .. } if tried(client, value) == 1 => {
                Some((client, value))
            }
            _ => None,
        });
        let (client, value) = random.pick(&refused.collect::<Vec<_>>())?;
        extend(events, client, value)
    }),
    is("phantom", &[], "a record is read that nobody sent", |events, _| extend(events, "nobody", 1)),
    is("reordered", &["overtaken"], "two records of one producer have changed places", |events, random| {
        let both =
            |a: &Acked, b: &Acked| a.is_idempotent() && a.client == b.client && a.value < b.value && b.begin < a.end;
        let (a, b) = two(events, random, both)?;
        exchange(events, a, b);
        Some(())
    }),
    is(
        "overtaken",
        &["reordered"],
        "a record is before one that was acknowledged before it was sent",
        |events, random| {
            let (a, b) = two(events, random, |a, b| a.client != b.client && a.end < b.begin)?;
            exchange(events, a, b);
            Some(())
        },
    ),
    is("epoch-back", &[], "a record has an earlier epoch than those before it", |events, _| {
        let first =
            polls(events, WHOLE).filter(|poll| poll.epoch > Some(0)).filter_map(|poll| Some(poll.records.first()?.0));
        let first = first.min()?;
        let later = polls(events, WHOLE).find(|poll| poll.records.first().is_some_and(|record| record.0 > first));
        later?.epoch = Some(0);
        Some(())
    }),
    is("nonmonotonic-poll", &[], "a consumer gets records again", |events, random| {
        let at = random.pick(&polls_of(events, &["watcher", "other"]))?;
        events.insert(at + 1, events[at].clone());
        Some(())
    }),
    is("nonmonotonic-poll", &["poll-skip"], "a consumer gets two records the wrong way round", |events, random| {
        let at = random.pick(&polls_of(events, &["watcher", "other"]))?;
        poll_at(events, at).records.swap(0, 1);
        Some(())
    }),
    is("poll-skip", &[], "a consumer does not get a record that others get", |events, random| {
        let at = random.pick(&polls_of(events, &["watcher"]))?;
        let poll = poll_at(events, at);
        poll.records = [&poll.records[..1], &poll.records[2..]].concat().into();
        Some(())
    }),
    is("hole", &[], "nobody finds anything at an offset", |events, random| {
        let (acked, read) = (acked(events), log(events));
        let last = *read.keys().last()?;
        let open: Vec<i64> =
            read.into_keys().filter(|offset| *offset < last && acked.iter().all(|one| one.offset != *offset)).collect();
        let offset = random.pick(&open)?;
        hide(events, offset);
        Some(())
    }),
    is("watermark-back", &[], "the high watermark goes back", |events, random| {
        let at = random.pick(&polls_of(events, &["watcher", "other"]))?;
        events.insert(at + 1, events[at].clone());
        let poll = poll_at(events, at + 1);
        poll.records = Box::default();
        poll.high_watermark = poll.high_watermark.map(|offset| offset - 1);
        Some(())
    }),
    is("above-watermark", &["watermark-back"], "a record is read above the high watermark", |events, random| {
        let at = random.pick(&polls_of(events, &["watcher", "other"]))?;
        let poll = poll_at(events, at);
        poll.high_watermark = poll.records.last().map(|record| record.0);
        Some(())
    }),
    is("log-start-back", &[], "the log start goes back", |events, _| {
        let trimmed = events.iter().filter_map(|event| match event {
            Event::Trim { before, .. } => Some(*before),
            _ => None,
        });
        let start = trimmed.max().filter(|start| *start > 0)?;
        let at = later(events);
        events.push(offsets(at, TRIMMED, start));
        events.push(offsets(at + 2, TRIMMED, start - 1));
        Some(())
    }),
    is("log-start-ahead", &[], "records are gone that nobody gave up", |events, _| {
        events.push(offsets(later(events), WHOLE, 1));
        Some(())
    }),
    is("lost-commit", &[], "a committed offset goes back", |events, random| {
        let all = commits(events);
        let (begin, _) = last_committed(events)?;
        let ok: Vec<_> = all.iter().filter(|commit| commit.4 == Outcome::Ok && commit.2 < begin).collect();
        let latest = ok.iter().map(|commit| commit.1).max()?;
        let old = |commit: &&i64| {
            all.iter().filter(|other| other.3 == **commit).all(|other| other.4 == Outcome::Ok && other.2 < latest)
        };
        let old: Vec<i64> = ok.iter().map(|commit| &commit.3).filter(old).copied().collect();
        *last_committed(events)?.1 = Some(random.pick(&old)?);
        Some(())
    }),
    is("lost-commit", &[], "nothing is left of a commit", |events, _| {
        let all = commits(events);
        let (begin, offset) = last_committed(events)?;
        all.iter().find(|commit| commit.4 == Outcome::Ok && commit.2 < begin)?;
        *offset = None;
        Some(())
    }),
    is("phantom-commit", &[], "a committed offset that nobody committed", |events, _| {
        let all = commits(events);
        let free = (0..).find(|offset| all.iter().all(|commit| commit.3 != *offset));
        *last_committed(events)?.1 = free;
        log(events).keys().last().filter(|last| Some(**last) > free).map(|_| ())
    }),
    is("refused-commit", &[], "a commit that was refused is in force", |events, random| {
        let all = commits(events);
        let refused =
            |offset: &i64| all.iter().filter(|commit| commit.3 == *offset).all(|commit| commit.4 == Outcome::Refused);
        let refused: Vec<i64> = all.iter().map(|commit| commit.3).filter(refused).collect();
        *last_committed(events)?.1 = Some(random.pick(&refused)?);
        Some(())
    }),
    is("commit-beyond-end", &[], "a commit is behind the end of the log", |events, _| {
        let offset = *log(events).keys().last()? + 100;
        let (begin, client, group, topic, partition) = (later(events), "one", GROUP, TOPIC, WHOLE);
        let (at, outcome) = (begin + 1, Outcome::Ok);
        events.push(Event::Commit { begin, at, client, group, topic, partition, offset, outcome });
        let (begin, at, offset) = (begin + 2, begin + 3, Some(offset));
        events.push(Event::Committed { begin, at, client, group, topic, partition, offset });
        Some(())
    }),
    is("stuck-group", &[], "a group gets nothing more", |events, _| {
        let since = events.iter().find_map(|event| match event {
            Event::Patience { since, .. } => Some(*since),
            _ => None,
        });
        let since = since?;
        let due = acked(events).last()?.offset;
        events.retain(|event| match event {
            Event::Poll(poll) if ["one", "two"].contains(&poll.client) && poll.partition == WHOLE => poll.at <= since,
            Event::Commit { partition: WHOLE, begin, .. } => *begin < since,
            Event::Committed { partition: WHOLE, begin, .. } => *begin < since,
            _ => true,
        });
        let read = polls(events, WHOLE).filter(|poll| ["one", "two"].contains(&poll.client));
        let read = read.filter_map(|poll| Some(poll.records.last()?.0)).max();
        (read < Some(due)).then_some(())
    }),
    is("watermark-back", WITHOUT_LEAVE, "records are given up without leave", |events, _| {
        let losses: Vec<usize> = (0..events.len()).filter(|at| matches!(events[*at], Event::Loss { .. })).collect();
        let [lost] = losses[..] else { return None };
        let Event::Loss { from, .. } = events[lost] else { return None };
        let known = |event: &Event<&str>| match event {
            Event::Poll(poll) => poll.partition == LOSSY && poll.high_watermark > Some(from),
            _ => false,
        };
        // Somebody must have known of it who comes again before the log is as long as it was.
        let before: Vec<_> =
            events[..lost].iter().filter(|event| known(event)).filter_map(client_and_watermark).collect();
        let after: Vec<_> = events[lost..].iter().filter_map(client_and_watermark).collect();
        before.iter().rev().find(|(client, high)| {
            let next = after.iter().find(|(other, _)| other == client);
            next.is_some_and(|(_, next)| next < high)
        })?;
        events.remove(lost);
        Some(())
    }),
];

const WITHOUT_LEAVE: &[&str] = &[
    "lost",
    "unseen",
    "moved",
    "two-contents",
    "offset-given-twice",
    "nonmonotonic-poll",
    "reordered",
    "overtaken",
    "epoch-back",
    "duplicate",
    "hole",
    "commit-beyond-end",
    "stuck-group",
];

fn client_and_watermark<'a>(event: &Event<&'a str>) -> Option<(&'a str, i64)> {
    match event {
        Event::Poll(poll) if poll.partition == LOSSY => Some((poll.client, poll.high_watermark?)),
        _ => None,
    }
}

/// An acknowledged record that is there once, and not the last.
fn some_inside(events: &mut Events, random: &mut Random) -> Option<Acked> {
    let last = *log(events).keys().last()?;
    let inside: Vec<Acked> = acked(events).into_iter().filter(|one| one.is_idempotent() && one.offset < last).collect();
    random.pick(&inside)
}

/// The last record, if it was acknowledged.
fn last_record_acked(events: &mut Events) -> Option<Acked> {
    let last = *log(events).keys().last()?;
    acked(events).into_iter().find(|one| one.is_idempotent() && one.offset == last)
}

/// Two that are as asked for, in this order.
fn two(events: &Events, random: &mut Random, fits: impl Fn(&Acked, &Acked) -> bool) -> Option<(Acked, Acked)> {
    let all = acked(events);
    let pairs: Vec<(Acked, Acked)> =
        all.iter().flat_map(|a| all.iter().filter(|b| fits(a, b)).map(|b| (*a, *b))).collect();
    random.pick(&pairs)
}
