//! The lane reports: progress, or its end.

use crate::acks::Pending;
use crate::{Effect, Error, Partition, RequestId};

impl Partition {
    /// The lane is durable up to its entry `upto`, inclusive, whichever partitions those entries belong to. News may
    /// be merged, late or repeated. After a failure they are ignored: outcomes were declared unknown.
    pub fn durable(&mut self, upto: u64, effects: &mut Vec<Effect>) {
        if self.closed {
            return;
        }
        self.acks.durable(upto);
        self.commit(effects);
    }

    /// The lane failed, or the caller gives up after [`crate::ErrorKind::Internal`]: every request that waits gets
    /// [`Error::OutcomeUnknown`], in order, and the machine is closed. What is committed stays readable and may still
    /// be shipped; appends need a new [`Partition::open`] from durable state.
    pub fn failed(&mut self, effects: &mut Vec<Effect>) {
        self.closed = true;
        let unknown = |token: RequestId| Effect::Reply { token, outcome: Err(Error::OutcomeUnknown) };
        for pending in self.acks.drain() {
            effects.extend(pending.tokens().map(unknown));
        }
        effects.extend(self.take_staged_token().map(unknown));
    }

    /// Moves the high watermark over everything that is durable, then answers.
    pub(crate) fn commit(&mut self, effects: &mut Vec<Effect>) {
        let committed: Vec<Pending> = std::iter::from_fn(|| self.acks.pop_durable()).collect();
        let Some(last) = committed.last() else { return };
        self.high_watermark = last.next;
        self.committed_bytes += committed.iter().map(|p| u64::from(p.bytes)).sum::<u64>();
        effects.push(Effect::HighWatermark(self.high_watermark));
        for pending in &committed {
            let produced = self.produced(pending.base, pending.append_time);
            effects.extend(pending.tokens().map(|token| Effect::Reply { token, outcome: Ok(produced) }));
        }
    }
}

#[cfg(test)]
mod tests;
