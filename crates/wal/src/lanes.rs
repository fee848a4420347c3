//! The lanes of one disk: their directories and durable states.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runnel_format::wal::{LaneState, Span};
use runnel_runtime::Disk;
use runnel_runtime::simulation::random_id;
use uuid::Uuid;

use crate::Error;
use crate::file::{self, Role};
use crate::reserve::Reserve;

const PREFIX: &str = "lane-";
/// A state has a handful of fields; accepted losses are entered by hand, and for the partitions of a lost disk at once.
pub(crate) const MAX_STATE_BYTES: usize = 1 << 20;

/// A lane on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) dir: PathBuf,
    pub(crate) state: LaneState,
}

/// All lanes of this disk, by generation.
pub(crate) struct Lanes {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) reserve: Reserve,
    root: PathBuf,
    /// The highest generation found at the start. Lanes removed since do not lower it: a crash may bring them back.
    newest: u64,
    lanes: Mutex<BTreeMap<u64, Lane>>,
}

impl Lanes {
    /// Reads the states of the lanes below `root`. Also returns the directories that belong to another disk.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        root: &Path,
        disk_id: Uuid,
        reserve_bytes: u64,
    ) -> Result<(Self, Vec<PathBuf>), Error> {
        disk.create_dir(root).map_err(Error::io("creating", root))?;
        if let Some(parent) = root.parent() {
            disk.sync_dir(parent).map_err(Error::io("syncing", parent))?;
        }
        let mut lanes = BTreeMap::new();
        let mut foreign = Vec::new();
        for name in disk.list(root).map_err(Error::io("listing", root))? {
            if !name.starts_with(PREFIX) {
                continue;
            }
            let dir = root.join(name);
            let Some(state) = read_state(disk.as_ref(), &dir)? else { continue };
            if state.disk != disk_id {
                tracing::warn!(dir = %dir.display(), disk = %state.disk, "a lane of another disk is left alone");
                foreign.push(dir);
                continue;
            }
            // A process that was killed may have put this state into the page cache only. What is removed because of it
            // must not reach the platter first.
            disk.sync_dir(&dir).map_err(Error::io("syncing", &dir))?;
            if let Some(twin) = lanes.insert(state.generation, Lane { dir, state }) {
                return Err(Error::DuplicateLane { path: twin.dir });
            }
        }
        let reserve = Reserve::new(Arc::clone(&disk), root, reserve_bytes);
        let newest = lanes.last_key_value().map_or(0, |(generation, _)| *generation);
        Ok((Self { disk, reserve, root: root.to_owned(), newest, lanes: Mutex::new(lanes) }, foreign))
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<u64, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lanes as they are now, oldest first.
    pub(crate) fn all(&self) -> Vec<Lane> {
        self.locked().values().cloned().collect()
    }

    /// Makes the new lane of this session, younger than all others, durably.
    pub(crate) fn create(&self, session: u64, disk_id: Uuid) -> Result<Lane, Error> {
        let mut lanes = self.locked();
        let generation = self.newest + 1;
        let lane = random_id();
        let dir = self.root.join(format!("{PREFIX}{}", lane.simple()));
        let state = LaneState {
            lane,
            disk: disk_id,
            session,
            generation,
            first_file: 1,
            first_seq: 1,
            end: None,
            accepted: Vec::new(),
        };
        self.disk.create_dir(&dir).map_err(Error::io("creating", &dir))?;
        let lane = Lane { dir, state };
        self.store(&lane)?;
        self.disk.sync_dir(&self.root).map_err(Error::io("syncing", &self.root))?;
        lanes.insert(generation, lane.clone());
        Ok(lane)
    }

    /// Changes the state of a lane, durably; on an error it is as before.
    pub(crate) fn update(&self, generation: u64, change: impl FnOnce(&mut LaneState)) -> Result<Lane, Error> {
        let mut lanes = self.locked();
        let Some(lane) = lanes.get_mut(&generation) else {
            return Err(Error::Closed { reason: "the lane was removed".into() });
        };
        let mut changed = lane.clone();
        change(&mut changed.state);
        self.store(&changed)?;
        *lane = changed.clone();
        Ok(changed)
    }

    /// Enters an accepted loss into the state of a lane.
    pub(crate) fn accept(&self, generation: u64, span: Span) -> Result<(), Error> {
        self.update(generation, |state| state.accepted.push(span)).map(|_| ())
    }

    fn store(&self, lane: &Lane) -> Result<(), Error> {
        let path = state_path(&lane.dir);
        let bytes = lane.state.encode();
        self.reserve.with(|| self.disk.write_atomic(&path, &bytes).map_err(Error::io("replacing", &path)))
    }

    /// Removes a lane that holds nothing any more. The state goes last: files without one could be anything.
    pub(crate) fn remove(&self, generation: u64) -> Result<(), Error> {
        let Some(Lane { dir, .. }) = self.locked().remove(&generation) else { return Ok(()) };
        let disk = self.disk.as_ref();
        let state = state_path(&dir);
        for name in disk.list(&dir).map_err(Error::io("listing", &dir))? {
            let path = dir.join(&name);
            if file::parse(&name).is_some() {
                disk.remove(&path).map_err(Error::io("removing", &path))?;
            }
        }
        disk.sync_dir(&dir).map_err(Error::io("syncing", &dir))?;
        disk.remove(&state).map_err(Error::io("removing", &state))?;
        remove_leftovers(disk, &dir);
        Ok(())
    }

    /// Removes the files of a lane that `keep` does not want.
    pub(crate) fn sweep(&self, dir: &Path, keep: impl Fn(u64, Role) -> bool) -> Result<(), Error> {
        for name in self.disk.list(dir).map_err(Error::io("listing", dir))? {
            if let Some((number, role)) = file::parse(&name)
                && !keep(number, role)
            {
                let path = dir.join(name);
                self.disk.remove(&path).map_err(Error::io("removing", &path))?;
            }
        }
        Ok(())
    }
}

pub(crate) fn state_path(dir: &Path) -> PathBuf {
    dir.join("state")
}

/// The state of the lane in `dir`; `None` if its creation was not finished, or its removal nearly was.
fn read_state(disk: &dyn Disk, dir: &Path) -> Result<Option<LaneState>, Error> {
    let path = state_path(dir);
    match disk.read(&path, MAX_STATE_BYTES) {
        Ok(bytes) => LaneState::decode(&bytes).map(Some).map_err(|source| Error::Format { path, source }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let names = disk.list(dir).map_err(Error::io("listing", dir))?;
            if names.iter().any(|name| file::parse(name).is_some()) {
                return Err(Error::StateMissing { path: dir.to_owned() });
            }
            remove_leftovers(disk, dir);
            Ok(None)
        }
        Err(source) => Err(Error::io("reading", path)(source)),
    }
}

/// Removes what is left of a lane that holds nothing. If it does not work, the next start tries again.
fn remove_leftovers(disk: &dyn Disk, dir: &Path) {
    disk.remove(&dir.join("state.tmp")).ok();
    if let Err(error) = disk.remove_dir(dir) {
        tracing::warn!(%error, dir = %dir.display(), "an empty lane directory stays");
    }
}
