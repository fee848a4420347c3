//! Reads from several leaders as one: a long poll ends when there is enough at all of them together.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{join_all, select_all};
use runnel_api::{Endpoint, Fetch, FetchPartition, FetchRequest, FetchedPartition};
use tokio::time::Instant;

use super::{AGAIN, Forwarding, PATIENCE, is_moving};
use crate::answers::{bytes, is_urgent};

/// What a leader may return however many there are to ask.
const LEAST: usize = 64 << 10;

/// What is asked of one leader.
struct Share {
    leader: Option<Endpoint>,
    /// Where its partitions stand in the request.
    places: Vec<usize>,
    partitions: Vec<FetchPartition>,
    /// What it answered last.
    answer: Vec<FetchedPartition>,
}

#[async_trait]
impl Fetch for Forwarding {
    async fn fetch(&self, request: FetchRequest) -> Vec<FetchedPartition> {
        let deadline = Instant::now() + request.max_wait;
        let patience = deadline.min(Instant::now() + PATIENCE);
        let mut is_new = true;
        loop {
            let mut shares = self.shares(&request.partitions, is_new).await;
            self.fill(&request, &mut shares, deadline).await;
            let answers = together(shares, request.max_bytes);
            let is_for_nothing = bytes(&answers) == 0 && answers.iter().any(is_elsewhere);
            if !is_for_nothing || Instant::now() + AGAIN >= patience {
                return answers;
            }
            is_new = false;
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl Forwarding {
    /// The parts of a request by who is asked. What is led in another zone is read from here, unless that has failed.
    async fn shares(&self, partitions: &[FetchPartition], may_read: bool) -> Vec<Share> {
        let mut by_leader: BTreeMap<Option<Endpoint>, Share> = BTreeMap::new();
        for (place, part) in partitions.iter().enumerate() {
            let node = self.local.leader_of(&part.topic, part.partition).await.map(|(node, _)| node);
            let zone = node.as_ref().and_then(|node| self.zone_to_read_in(node)).filter(|_| may_read);
            let leader = if zone.is_some() { None } else { node.and_then(|node| node.grpc) };
            let part = FetchPartition { zone, ..part.clone() };
            let share = by_leader.entry(leader.clone()).or_insert_with(|| Share {
                leader,
                places: Vec::new(),
                partitions: Vec::new(),
                answer: Vec::new(),
            });
            share.places.push(place);
            share.partitions.push(part);
        }
        by_leader.into_values().collect()
    }

    /// Asks the leaders until there is enough, or something that the client should hear of at once, or the time is over.
    async fn fill(&self, request: &FetchRequest, shares: &mut [Share], deadline: Instant) {
        if let [share] = shares {
            let max_wait = deadline.saturating_duration_since(Instant::now());
            share.answer = self.ask(request, share, max_wait, request.min_bytes, request.max_bytes).await;
            return;
        }
        let max_bytes = (request.max_bytes / shares.len().max(1)).max(LEAST.min(request.max_bytes));
        let all = shares.iter().map(|share| self.ask(request, share, Duration::ZERO, 0, max_bytes));
        let answers = join_all(all).await;
        for (share, answer) in shares.iter_mut().zip(answers) {
            share.answer = answer;
        }
        loop {
            let found: usize = shares.iter().map(|share| bytes(&share.answer)).sum();
            let is_urgent = shares.iter().flat_map(|share| &share.answer).any(is_urgent);
            let max_wait = deadline.saturating_duration_since(Instant::now());
            if is_urgent || found >= request.min_bytes || max_wait.is_zero() {
                return;
            }
            // What is missing is there as soon as one of them has its part of it.
            let more = (request.min_bytes - found).div_ceil(shares.len());
            let asked = shares
                .iter()
                .map(|share| self.ask(request, share, max_wait, bytes(&share.answer) + more, max_bytes).boxed());
            // The others have nothing new, or little: what they said before holds. Their requests end with this.
            let (answer, at, _) = select_all(asked).await;
            shares[at].answer = answer;
        }
    }

    async fn ask(
        &self,
        request: &FetchRequest,
        share: &Share,
        max_wait: Duration,
        min_bytes: usize,
        max_bytes: usize,
    ) -> Vec<FetchedPartition> {
        let (isolation, partitions) = (request.isolation, share.partitions.clone());
        let request = FetchRequest { max_wait, min_bytes, max_bytes, isolation, partitions };
        match (&share.leader, &self.reading) {
            (None, Some(reading)) => reading.fetch(request).await,
            (leader, _) => self.peer(leader.as_ref()).fetch(request).await,
        }
    }
}

/// The answers in the order of the request, and no more of them than was asked for.
fn together(shares: Vec<Share>, max_bytes: usize) -> Vec<FetchedPartition> {
    let is_one = shares.len() == 1;
    let placed = shares.into_iter().flat_map(|share| share.places.into_iter().zip(share.answer));
    let answers: BTreeMap<usize, FetchedPartition> = placed.collect();
    let mut answers: Vec<_> = answers.into_values().collect();
    if !is_one {
        cut(&mut answers, max_bytes);
    }
    answers
}

/// Drops batches past `max_bytes`, but not the first of all (KIP-74). What is dropped of a partition is its end.
fn cut(answers: &mut [FetchedPartition], max_bytes: usize) {
    let mut held = 0;
    for read in answers.iter_mut().filter_map(|answer| answer.outcome.as_mut().ok()) {
        let fits = read.batches.iter().take_while(|batch| {
            let fits = held == 0 || held + batch.len() <= max_bytes;
            held += if fits { batch.len() } else { 0 };
            fits
        });
        let keep = fits.count();
        read.batches.truncate(keep);
    }
}

/// Whether another leader may know better in a moment.
fn is_elsewhere(answer: &FetchedPartition) -> bool {
    answer.outcome.as_ref().is_err_and(|error| is_moving(error.kind))
}
