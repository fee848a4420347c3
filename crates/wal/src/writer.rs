//! The writer turns waiting entries into durable blocks, one block at a time. While one is being synced, the next fills.

use std::sync::{Arc, PoisonError};

use bytes::BytesMut;
use runnel_format::wal::{BlockHeader, BlockKind, FILE_HEADER_LEN, Span};
use runnel_guard::{Guard, holds};
use tokio::time::Instant;

use crate::Error;
use crate::block::{self, Place, Run, Runs};
use crate::entry::Entry;
use crate::file::LaneFile;
use crate::keeper;
use crate::metrics;
use crate::queue::{Next, Queue, Taken, Waiting};
use crate::shared::Shared;

/// What the writer does next.
pub(crate) enum Step {
    Write(Taken),
    Roll,
    Footer,
    End,
    Closed,
}

/// The writer. [`crate::hands`] decides when it takes a step.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    file: Option<Arc<LaneFile>>,
    position: u64,
    /// Number of the next block.
    seq: u64,
    /// That of the first block in the file.
    first_seq: u64,
    /// Content of the block before it.
    spans: Vec<Span>,
    /// No block says yet that the last one is durable.
    footer_due: bool,
    /// The keeper knows that there are appends.
    told: bool,
    head: BytesMut,
}

impl Drop for Writer {
    /// Also a panic, of a listener say, ends the lane for all to see.
    fn drop(&mut self) {
        self.shared.stop("the writer has stopped");
        let waiting = self.shared.queue().fail(Waiting::default());
        waiting.failed();
    }
}

impl Writer {
    /// A writer of a new lane whose first file is `file`, if there was room for one.
    pub(crate) fn new(shared: Arc<Shared>, file: Option<Arc<LaneFile>>) -> Self {
        let position = FILE_HEADER_LEN as u64;
        Self {
            shared,
            file,
            position,
            seq: 1,
            first_seq: 1,
            spans: Vec::new(),
            footer_due: false,
            told: false,
            head: BytesMut::new(),
        }
    }

    /// Takes a step; false if it was the last: the log is closed, or a write or sync failed, and what still waited with it.
    pub(crate) fn take(&mut self, step: Step) -> bool {
        let (done, taken) = match step {
            Step::Write(taken) => self.write(taken),
            Step::Roll => (self.roll(), Waiting::default()),
            Step::Footer => (self.footer(BlockKind::Footer), Waiting::default()),
            Step::End => {
                // A clean end needs no footer to be correct, it only saves the next start some work.
                let room = self.shared.queue().take_footer();
                if room && let Err(Some(error)) = self.footer(BlockKind::End) {
                    self.shared.end(&error);
                }
                self.shared.stop("the log was closed");
                return false;
            }
            Step::Closed => (Err(None), Waiting::default()),
        };
        let Err(error) = done else { return true };
        match error {
            Some(error) => self.shared.end(&error),
            None => self.shared.stop("the log was closed while the disk was full"),
        }
        let waiting = self.shared.queue().fail(taken);
        waiting.failed();
        false
    }

    /// Waits for the next step.
    pub(crate) fn wait(&self) -> Step {
        let mut queue = self.shared.queue();
        loop {
            if let Some(step) = ready(&mut queue) {
                return step;
            }
            if !self.footer_due {
                queue = self.shared.queue_changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (guard, timeout) = self
                .shared
                .queue_changed
                .wait_timeout(queue, self.shared.options.footer_after)
                .unwrap_or_else(PoisonError::into_inner);
            queue = guard;
            if timeout.timed_out() {
                drop(queue);
                if let Some(step) = self.when_idle() {
                    return step;
                }
                queue = self.shared.queue();
            }
        }
    }

    /// The next step, if there is one that needs no waiting.
    pub(crate) fn next(&self) -> Option<Step> {
        match ready(&mut self.shared.queue())? {
            Step::Roll if !keeper::can_answer(&self.shared) => None,
            step => Some(step),
        }
    }

    /// What is due once nothing came for [`footer_after`](crate::Options::footer_after).
    pub(crate) fn when_idle(&self) -> Option<Step> {
        let mut queue = self.shared.queue();
        if !self.footer_due || !queue.is_idle() {
            return None;
        }
        if queue.take_footer() {
            return Some(Step::Footer);
        }
        drop(queue);
        keeper::has_next(&self.shared).then_some(Step::Roll)
    }

    /// Makes a block durable, then tells. On an error, who waited for it is returned too.
    fn write(&mut self, taken: Taken) -> (Result<(), Option<Error>>, Waiting) {
        let Taken { entries, waiting, bytes } = taken;
        if !std::mem::replace(&mut self.told, true) {
            keeper::get_ahead(&self.shared);
        }
        let runs = Runs::of(&entries);
        match self.append(BlockKind::Data, &entries) {
            Ok((file, header)) => {
                self.publish(&file, &header, &runs, bytes, &waiting);
                (Ok(()), Waiting::default())
            }
            Err(error) => (Err(Some(error)), waiting),
        }
    }

    fn publish(&mut self, file: &LaneFile, header: &BlockHeader, runs: &[Run], bytes: u64, waiting: &Waiting) {
        self.spans = runs.iter().map(Run::span).collect();
        self.footer_due = true;
        let mut overhead = header.total_len - runs.iter().map(|run| run.bytes).sum::<u64>();
        self.shared.index(|index| {
            for run in runs {
                index.push(run, file.id, header.position..header.end(), std::mem::take(&mut overhead));
            }
        });
        {
            let mut queue = self.shared.queue();
            queue.set_spans(self.spans.len());
            queue.flushed(bytes);
            metrics::unflushed(queue.unflushed());
        }
        waiting.durable();
    }

    fn footer(&mut self, kind: BlockKind) -> Result<(), Option<Error>> {
        self.append(kind, &[])?;
        self.spans.clear();
        self.footer_due = false;
        Ok(())
    }

    /// Writes and syncs a block.
    fn append(&mut self, kind: BlockKind, entries: &[Entry]) -> Result<(Arc<LaneFile>, BlockHeader), Error> {
        let Some(file) = self.file.clone() else {
            return Err(Error::Closed { reason: "the lane has no file".into() });
        };
        let started = Instant::now();
        let place = Place {
            kind,
            position: self.position,
            seq: self.seq,
            durable_upto: self.seq - 1,
            spans: Some(&self.spans),
        };
        let header = block::write(&file, place, entries, &mut self.head).map_err(Error::io("writing", &file.path))?;
        self.shared.fail.hit("wal.block.written")?;
        if holds(Guard::SyncBeforeAck) {
            let synced =
                file.io.sync().or_else(|error| if holds(Guard::NoSyncAgain) { Err(error) } else { file.io.sync() });
            synced.map_err(Error::io("syncing", &file.path))?;
        }
        self.shared.fail.hit("wal.block.synced")?;
        metrics::block(header.total_len, started.elapsed());
        self.position = header.end();
        self.seq += 1;
        Ok((file, header))
    }

    /// Goes on in the next file.
    fn roll(&mut self) -> Result<(), Option<Error>> {
        keeper::filled(&self.shared, self.position, self.seq - self.first_seq);
        let Some(next) = keeper::next_file(&self.shared) else { return Err(None) };
        let room = keeper::room(next.len);
        self.shared.index(|index| {
            index.add_file(Arc::clone(&next), self.seq);
            if let Some(old) = &self.file {
                index.close_file(old.id);
            }
        });
        self.file = Some(next);
        (self.position, self.first_seq) = (FILE_HEADER_LEN as u64, self.seq);
        self.shared.queue().set_room(room);
        // What the old file held may all be shipped already.
        keeper::want_trim(&self.shared);
        Ok(())
    }
}

fn ready(queue: &mut Queue) -> Option<Step> {
    match queue.next() {
        Next::Block(taken) => Some(Step::Write(taken)),
        Next::Roll => Some(Step::Roll),
        Next::End => Some(Step::End),
        Next::Closed => Some(Step::Closed),
        Next::Idle => None,
    }
}
