//! The keeper has the next file ready before it is needed, and trims.

use std::io::IoSlice;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use runnel_format::wal::FILE_HEADER_LEN;
use runnel_runtime::DiskFile;
use runnel_runtime::simulation::is_simulated;
use tokio::time::Instant;

use crate::Error;
use crate::file::{self, LaneFile, Role};
use crate::index::Freed;
use crate::lanes::Lane;
use crate::shared::Shared;

/// How long a full disk is left alone before the next try.
pub(crate) const RETRY: Duration = Duration::from_millis(200);
/// Trimmed files kept for recycling; more are deleted.
const MAX_SPARES: usize = 2;
/// Blocks that are this long on average keep the disk busy. Filling the next file with zeros, so that it is synced sooner, would
/// have the disk write everything twice; space that is set aside costs a block of this length a third of its time.
const BUSY_BLOCK_BYTES: u64 = 256 << 10;
/// What is filled at once, and for how many times as long the disk is left alone then.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
const FILL_REST: u32 = 3;

/// What the keeper is asked for and what it has.
pub(crate) struct Work {
    /// Trims asked for and done.
    trims_wanted: u64,
    trims_done: u64,
    ready: Option<Arc<LaneFile>>,
    /// A file is kept ready: somebody is going to append, or does.
    ahead: bool,
    /// The disk has enough to do with what is appended.
    busy: bool,
    /// The writer waits for the next file.
    awaited: bool,
    /// There is no room for the next file.
    starved: bool,
    /// No more files are needed.
    lane_ended: bool,
    /// No more appends come; what waits for room that is not there is given up.
    closing: bool,
    stop: bool,
    stopped: bool,
}

impl Work {
    pub(crate) const fn new() -> Self {
        Self {
            trims_wanted: 0,
            trims_done: 0,
            ready: None,
            ahead: false,
            busy: false,
            awaited: false,
            starved: false,
            lane_ended: false,
            closing: false,
            stop: false,
            stopped: false,
        }
    }

    pub(crate) const fn starved(&mut self) {
        self.starved = true;
    }

    pub(crate) const fn lane_ended(&mut self) {
        self.lane_ended = true;
    }

    fn wanted(&self) -> Option<Task> {
        if self.trims_done < self.trims_wanted {
            Some(Task::Trim(self.trims_wanted))
        } else if self.stop {
            Some(Task::Stop)
        } else {
            (self.ahead && self.ready.is_none() && !self.lane_ended).then_some(Task::Prepare)
        }
    }

    /// Whether there is nothing else for the keeper to do.
    const fn is_patient(&self) -> bool {
        !(self.stop || self.closing || self.lane_ended) && self.trims_done == self.trims_wanted
    }

    /// Whether there will be no other file.
    const fn is_final(&self) -> bool {
        self.lane_ended || self.stopped || (self.closing && self.starved)
    }
}

/// From now on the next file is made before it is needed.
pub(crate) fn get_ahead(shared: &Shared) {
    shared.work().ahead = true;
    shared.want_work();
}

/// A file is full after so many blocks of so many bytes in all.
pub(crate) fn filled(shared: &Shared, bytes: u64, blocks: u64) {
    shared.work().busy = bytes / blocks.max(1) >= BUSY_BLOCK_BYTES;
}

/// The next file if it is ready, for the writer. Waits for it; `None` if there will be none.
pub(crate) fn next_file(shared: &Shared) -> Option<Arc<LaneFile>> {
    let mut work = shared.work();
    loop {
        if let Some(ready) = work.ready.take() {
            work.awaited = false;
            shared.want_work();
            return Some(ready);
        }
        if work.is_final() {
            return None;
        }
        work.awaited = true;
        shared.want_work();
        work = shared.work_done.wait(work).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Whether the next file is ready.
pub(crate) fn has_next(shared: &Shared) -> bool {
    shared.work().ready.is_some()
}

/// Whether [`next_file`] would not wait.
pub(crate) fn can_answer(shared: &Shared) -> bool {
    let work = shared.work();
    work.ready.is_some() || work.is_final()
}

/// No more appends come: a writer that waits for room on a full disk gives up.
pub(crate) fn closing(shared: &Shared) {
    shared.work().closing = true;
    shared.work_done.notify_all();
    shared.stir();
}

/// Asks for a trim; returns its ticket for [`wait_for_trim`].
pub(crate) fn want_trim(shared: &Shared) -> u64 {
    let mut work = shared.work();
    work.trims_wanted += 1;
    shared.want_work();
    work.trims_wanted
}

/// Waits until the trim with this ticket is done, or the keeper has stopped.
pub(crate) fn wait_for_trim(shared: &Shared, ticket: u64) {
    let mut work = shared.work();
    while work.trims_done < ticket && !work.stopped {
        work = shared.work_done.wait(work).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Tells the keeper to stop after the trims asked for.
pub(crate) fn stop(shared: &Shared) {
    shared.work().stop = true;
    shared.want_work();
}

/// What the keeper does next.
pub(crate) enum Task {
    Trim(u64),
    Prepare,
    Stop,
}

/// The keeper. [`crate::hands`] decides when it does something.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    lane: Lane,
    /// Number of the next file.
    number: u64,
    spares: Vec<LaneFile>,
}

impl Keeper {
    /// A keeper of `lane`, whose next file is number `number`.
    pub(crate) const fn new(shared: Arc<Shared>, lane: Lane, number: u64) -> Self {
        Self { shared, lane, number, spares: Vec::new() }
    }

    /// Does a task; false if it was the last. A failed write or sync ends the lane, trims go on.
    pub(crate) fn take(&mut self, task: Task) -> bool {
        let goes_on = match task {
            Task::Trim(ticket) => {
                if let Err(error) = self.trim() {
                    self.shared.end(&error);
                }
                self.shared.work().trims_done = ticket;
                true
            }
            Task::Prepare => {
                if let Err(error) = self.prepare() {
                    self.shared.end(&error);
                }
                true
            }
            Task::Stop => {
                self.shared.work().stopped = true;
                false
            }
        };
        self.shared.work_done.notify_all();
        goes_on
    }

    /// The next task, if there is one now. `retries` says whether a disk that was full is tried again already.
    pub(crate) fn next(&self, retries: bool) -> Option<Task> {
        let work = self.shared.work();
        let waits = work.starved && self.spares.is_empty() && !retries;
        match work.wanted()? {
            Task::Prepare if waits => None,
            task => Some(task),
        }
    }

    /// Waits for the next task.
    pub(crate) fn wait(&self) -> Task {
        let mut work = self.shared.work();
        let mut retry = work.starved && self.spares.is_empty();
        loop {
            let wants_file = match work.wanted() {
                Some(Task::Prepare) if retry => true,
                Some(task) => return task,
                None => false,
            };
            if wants_file {
                let (guard, timeout) =
                    self.shared.work_wanted.wait_timeout(work, RETRY).unwrap_or_else(PoisonError::into_inner);
                work = guard;
                retry = !timeout.timed_out();
            } else {
                work = self.shared.work_wanted.wait(work).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Makes the next file ready. A full disk is not an error: appends are refused and it is tried again.
    fn prepare(&mut self) -> Result<(), Error> {
        // First: with the last room taken by a file, none could be given back.
        self.shared.lanes.reserve.restore();
        let result = match self.spares.pop() {
            Some(spare) => self.recycle(spare),
            None => new_file(&self.shared, &self.lane, self.number),
        };
        match result {
            Ok(file) => {
                self.number += 1;
                let starved = {
                    let mut work = self.shared.work();
                    work.ready = Some(Arc::new(file));
                    std::mem::take(&mut work.starved)
                };
                if starved {
                    tracing::info!("there is room again for the local log");
                    self.shared.queue().set_starved(false);
                }
                Ok(())
            }
            Err(error) if error.is_full() => {
                self.shared.queue().set_starved(true);
                if !std::mem::replace(&mut self.shared.work().starved, true) {
                    tracing::warn!(%error, "the disk is full: appends are refused once the current file is");
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn recycle(&self, spare: LaneFile) -> Result<LaneFile, Error> {
        let disk = self.shared.lanes.disk.as_ref();
        let next = file::path(&self.lane.dir, self.number, Role::Next);
        disk.rename(&spare.path, &next).map_err(Error::io("renaming", &spare.path))?;
        let file = LaneFile::initialise(spare.io, &next, &self.lane.state, self.number, spare.len)?;
        publish(&self.shared, &self.lane, file)
    }

    /// Gives back the files that nothing needs any more: pointer first, then the files.
    fn trim(&mut self) -> Result<(), Error> {
        let freed = self.shared.index(|index| index.take_free(self.shared.live));
        if freed.is_empty() {
            return Ok(());
        }
        for lane in freed {
            self.trim_lane(lane)?;
        }
        self.shared.lanes.reserve.restore();
        Ok(())
    }

    fn trim_lane(&mut self, Freed { generation, files, keep_from }: Freed) -> Result<(), Error> {
        let Shared { lanes, fail, .. } = &*self.shared;
        fail.hit("wal.trim.pointer")?;
        let after_last = files.last().map_or((0, 0), |file| (file.id.number + 1, u64::MAX));
        let (first_file, first_seq) = keep_from.unwrap_or(after_last);
        let lane = lanes.update(generation, |state| {
            state.first_file = first_file;
            state.first_seq = first_seq;
        })?;
        fail.hit("wal.trim.recycle")?;
        if keep_from.is_none() {
            drop(files);
            return lanes.remove(generation);
        }
        if generation == self.lane.state.generation {
            self.lane = lane;
        }
        for file in files {
            self.free(file)?;
        }
        Ok(())
    }

    /// Keeps a file for recycling, or deletes it. One that a read still looks at lives on in that read's handle,
    /// so it must not get a new content.
    fn free(&mut self, file: Arc<LaneFile>) -> Result<(), Error> {
        let path = file.path.clone();
        let usable = file.id.generation == self.shared.live && file.len == self.shared.options.file_bytes;
        match Arc::try_unwrap(file) {
            Ok(file) if usable && self.spares.len() < MAX_SPARES => {
                self.spares.push(file);
                Ok(())
            }
            _ => self.shared.lanes.disk.remove(&path).map_err(Error::io("removing", path)),
        }
    }
}

/// Makes the first file of a lane, durable in content and name.
pub(crate) fn first_file(shared: &Shared, lane: &Lane, len: u64) -> Result<LaneFile, Error> {
    let path = file::path(&lane.dir, 1, Role::Next);
    let file = LaneFile::create(shared.lanes.disk.as_ref(), &path, &lane.state, 1, len)?;
    publish(shared, lane, file)
}

/// Makes a later one; so that the disk has little to do for it now where that is busy.
fn new_file(shared: &Shared, lane: &Lane, number: u64) -> Result<LaneFile, Error> {
    let (len, path) = (shared.options.file_bytes, file::path(&lane.dir, number, Role::Next));
    let disk = shared.lanes.disk.as_ref();
    let file = match disk.reserve(&path, len).map_err(Error::io("creating", &path))? {
        Some(io) => {
            let is_busy = shared.work().busy;
            if !is_busy && let Err(error) = fill(shared, io.as_ref(), len) {
                disk.remove(&path).ok(); // what counts is the first error
                return Err(Error::io("filling", &path)(error));
            }
            LaneFile::initialise(io, &path, &lane.state, number, len)?
        }
        None => LaneFile::create(disk, &path, &lane.state, number, len)?,
    };
    publish(shared, lane, file)
}

/// Writes zeros, and leaves most of the disk's time to who appends. If the writer waits for the file, it gets it as it is.
fn fill(shared: &Shared, io: &dyn DiskFile, len: u64) -> std::io::Result<()> {
    let mut at = 0;
    while at < len {
        let piece = usize::try_from(len - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        let began = Instant::now();
        io.write_at(&[IoSlice::new(&ZEROS[..piece])], at)?;
        at += piece as u64;
        let work = shared.work();
        if work.awaited {
            break;
        }
        if work.is_patient() && !is_simulated() {
            drop(shared.work_wanted.wait_timeout(work, began.elapsed() * FILL_REST));
        }
    }
    Ok(())
}

/// Gives a prepared file its name. A `.wal` file has a whole header, always.
fn publish(shared: &Shared, lane: &Lane, file: LaneFile) -> Result<LaneFile, Error> {
    let disk = shared.lanes.disk.as_ref();
    shared.fail.hit("wal.file.prepared")?;
    let path = file::path(&lane.dir, file.id.number, Role::Log);
    disk.rename(&file.path, &path).map_err(Error::io("renaming", &file.path))?;
    disk.sync_dir(&lane.dir).map_err(Error::io("syncing", &lane.dir))?;
    Ok(LaneFile { path, ..file })
}

/// Bytes of blocks that a file of `len` bytes takes.
pub(crate) const fn room(len: u64) -> u64 {
    len.saturating_sub(FILE_HEADER_LEN as u64)
}
