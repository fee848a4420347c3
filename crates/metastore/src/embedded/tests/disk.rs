//! A disk in memory that can lose power.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use redb::StorageBackend;

/// Bytes that reach the medium together.
const SECTOR: usize = 512;

/// Storage that keeps what is synced, and of the rest what chance keeps, when the power goes.
#[derive(Debug, Clone, Default)]
pub(super) struct PowerlessDisk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What is on the medium for certain.
    durable: Vec<u8>,
    /// What was written since the last sync.
    pending: Vec<Pending>,
    /// Writes and syncs that still succeed.
    fuse: Option<u64>,
    dead: bool,
    lies: bool,
    holding: bool,
    waiting_in_sync: bool,
    syncs: usize,
}

/// What of the unsynced data is on the medium after a power loss.
#[derive(Debug, Clone, Copy)]
pub(super) enum Survivors {
    /// All of it.
    All,
    /// About half of the sectors, by this seed.
    Chance(u64),
}

#[derive(Debug, Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    Resize(usize),
}

impl PowerlessDisk {
    pub(super) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// The write or sync number `fuse` from now, from 0, and all after it fail.
    pub(super) fn cut_power_after(&self, fuse: u64) {
        self.state().fuse = Some(fuse);
    }

    /// From now on syncs report success and do nothing.
    pub(super) fn lie(&self) {
        self.state().lies = true;
    }

    pub(super) fn syncs(&self) -> usize {
        self.state().syncs
    }

    /// Holds every sync until the answer is dropped.
    pub(super) fn hold_syncs(&self) -> Held {
        self.state().holding = true;
        Held(self.clone())
    }

    /// The disk after the power came back: what was synced, and of what was not, the survivors.
    pub(super) fn after_power_loss(&self, survivors: Survivors) -> Self {
        let mut chance = match survivors {
            Survivors::All => 0,
            Survivors::Chance(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        };
        let mut toss = || {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance & 2 == 0
        };
        let state = self.state();
        let mut image = state.durable.clone();
        for pending in &state.pending {
            match pending {
                Pending::Resize(len) if toss() => image.resize(*len, 0),
                Pending::Resize(_) => {}
                Pending::Write(at, data) => {
                    for (i, sector) in data.chunks(SECTOR).enumerate().filter(|_| toss()) {
                        apply(&mut image, at + i * SECTOR, sector);
                    }
                }
            }
        }
        let state = State { seen: image.clone(), durable: image, ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }
}

/// Syncs are held while this lives.
pub(super) struct Held(PowerlessDisk);

impl Held {
    /// Blocks until a sync has begun and is held.
    pub(super) fn wait_for_a_sync(&self) {
        let shared = &self.0.0;
        drop(shared.changed.wait_while(shared.state.lock().unwrap(), |s| !s.waiting_in_sync).unwrap());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.state().holding = false;
        self.0.0.changed.notify_all();
    }
}

impl State {
    /// Spends one write, or fails.
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            Some(0) => {
                self.dead = true;
                Err(io::Error::other("no power"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn apply(image: &mut Vec<u8>, at: usize, data: &[u8]) {
    if image.len() < at + data.len() {
        image.resize(at + data.len(), 0);
    }
    image[at..at + data.len()].copy_from_slice(data);
}

impl StorageBackend for PowerlessDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let state = self.state();
        let found = state.seen.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap();
        let mut state = self.state();
        state.spend()?;
        state.seen.resize(len, 0);
        state.pending.push(Pending::Resize(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.waiting_in_sync = true;
        self.0.changed.notify_all();
        let mut state = self.0.changed.wait_while(state, |s| s.holding).unwrap();
        state.waiting_in_sync = false;
        state.spend()?;
        state.syncs += 1;
        if !state.lies {
            state.pending.clear();
            state.durable = state.seen.clone();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let mut state = self.state();
        // The write that the power loss meets may have reached the medium in part.
        let spent = state.spend();
        state.pending.push(Pending::Write(at, data.to_vec()));
        spent?;
        apply(&mut state.seen, at, data);
        Ok(())
    }
}
