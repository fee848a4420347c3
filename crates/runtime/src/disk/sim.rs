//! A disk in memory that can crash, lie and fill up.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, Reuse};

/// The unit that a real disk writes whole or not at all.
const SECTOR: usize = 512;

/// A disk in memory with a write-back cache. What was not synced is lost on a crash, wholly or sector by sector;
/// names live until [`Disk::sync_dir`] in the same uncertainty. All chance comes from the seed of the restart.
///
/// After a crash or a kill every handle of the old process answers with an error; the machine goes on with the
/// disk that [`SimDisk::crash`] or [`SimDisk::kill`] returned.
#[derive(Clone)]
pub struct SimDisk {
    machine: Arc<Mutex<Machine>>,
    boot: u64,
}

struct SimFile {
    disk: SimDisk,
    inode: u64,
}

#[derive(Default)]
struct Inode {
    /// What programs see.
    seen: Vec<u8>,
    /// What is on the platter.
    kept: Vec<u8>,
    /// Sectors of `seen` that may not be on the platter yet.
    dirty: BTreeSet<usize>,
    /// Sectors in which `seen` may differ from `kept`: the dirty ones, and those of syncs that failed.
    ahead: BTreeSet<usize>,
}

#[derive(Clone)]
enum NameChange {
    Link(PathBuf, u64),
    Rename(PathBuf, PathBuf, u64),
    Unlink(PathBuf),
    MakeDir(PathBuf),
    RemoveDir(PathBuf),
}

#[derive(Default, Clone)]
struct Names {
    files: BTreeMap<PathBuf, u64>,
    dirs: BTreeSet<PathBuf>,
}

struct Machine {
    boot: u64,
    capacity: u64,
    inodes: BTreeMap<u64, Inode>,
    seen: Names,
    kept: Names,
    /// Name changes not yet synced, by directory, oldest first.
    unsynced: BTreeMap<PathBuf, Vec<NameChange>>,
    steps: u64,
    die_at: Option<u64>,
    dead: bool,
    writes_left: Option<u64>,
    syncs_left: Option<u64>,
    /// Bytes written so far.
    written: u64,
    /// Space can be set aside.
    reserves: bool,
    random: SplitMix,
}

/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}

impl Names {
    fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::Link(path, inode) => {
                self.files.insert(path.clone(), *inode);
            }
            NameChange::Rename(from, to, inode) => {
                self.files.remove(from);
                self.files.insert(to.clone(), *inode);
            }
            NameChange::Unlink(path) => {
                self.files.remove(path);
            }
            NameChange::MakeDir(path) => {
                self.dirs.insert(path.clone());
            }
            NameChange::RemoveDir(path) => {
                self.dirs.remove(path);
            }
        }
    }
}

fn eio(what: &'static str) -> Error {
    Error::other(format!("injected I/O error: {what}"))
}

impl Machine {
    /// Counts a step that changes something; the machine may die in the middle of it.
    fn step(&mut self) -> bool {
        self.steps += 1;
        if self.die_at.is_some_and(|at| self.steps >= at) {
            self.dead = true;
        }
        self.dead
    }

    fn change(&mut self, dir: &Path, change: NameChange) -> Result<()> {
        let dies = self.step();
        self.seen.apply(&change);
        self.unsynced.entry(dir.to_owned()).or_default().push(change);
        if dies { Err(eio("the machine is off")) } else { Ok(()) }
    }

    fn lookup(&self, path: &Path) -> Result<u64> {
        self.seen.files.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        self.seen.files.values().filter_map(|inode| self.inodes.get(inode)).map(|i| i.seen.len() as u64).sum()
    }

    fn write(&mut self, inode: u64, bytes: &[u8], position: usize) -> Result<()> {
        let len = self.inodes.get(&inode).map_or(0, |i| i.seen.len());
        self.written += bytes.len() as u64;
        let growth = (position + bytes.len()).saturating_sub(len) as u64;
        if growth > self.capacity.saturating_sub(self.used()) {
            return Err(ErrorKind::StorageFull.into());
        }
        let dies = self.step();
        let fails = countdown(&mut self.writes_left);
        let sectors = bytes.len().div_ceil(SECTOR) as u64;
        let part = if dies || fails {
            bytes.len().min(usize::try_from(self.random.below(sectors + 1)).unwrap_or(0) * SECTOR)
        } else {
            bytes.len()
        };
        if let Some(file) = self.inodes.get_mut(&inode)
            && part > 0
        {
            let end = position + part;
            file.seen.resize(file.seen.len().max(end), 0);
            file.seen[position..end].copy_from_slice(&bytes[..part]);
            file.dirty.extend(position / SECTOR..=(end - 1) / SECTOR);
            file.ahead.extend(position / SECTOR..=(end - 1) / SECTOR);
        }
        if dies || fails { Err(eio("write")) } else { Ok(()) }
    }

    fn sync(&mut self, inode: u64) -> Result<()> {
        let dies = self.step();
        let fails = countdown(&mut self.syncs_left);
        let Some(file) = self.inodes.get_mut(&inode) else { return Ok(()) };
        if dies {
            return Err(eio("the machine is off"));
        }
        if fails {
            // As ext4 does: the page is marked clean, the data is only in memory, and the next sync "succeeds".
            file.dirty.clear();
            return Err(eio("sync"));
        }
        file.kept.resize(file.seen.len(), 0);
        for sector in std::mem::take(&mut file.dirty) {
            keep_sector(file, sector);
        }
        Ok(())
    }

    /// Power goes: decides what of the unsynced reached the platter.
    fn lose_power(&mut self, seed: u64) {
        self.random = SplitMix(seed);
        for changes in std::mem::take(&mut self.unsynced).into_values() {
            let mood = self.random.below(4);
            for change in changes {
                if mood == 0 || (mood > 1 && self.random.below(2) == 0) {
                    self.kept.apply(&change);
                }
            }
        }
        let dirs = self.kept.dirs.clone();
        self.kept.files.retain(|path, _| path.parent().is_some_and(|dir| dirs.contains(dir)));
        let live: BTreeSet<u64> = self.kept.files.values().copied().collect();
        self.inodes.retain(|inode, _| live.contains(inode));
        for file in self.inodes.values_mut() {
            let mood = self.random.below(4);
            if mood == 0 || (mood > 1 && self.random.below(2) == 0) {
                file.kept.resize(file.seen.len(), 0);
            }
            for sector in std::mem::take(&mut file.dirty) {
                if mood == 0 || (mood > 1 && self.random.below(2) == 0) {
                    keep_sector(file, sector);
                }
            }
            // Only what differs: logs are large, and hold little.
            file.seen.resize(file.kept.len(), 0);
            for sector in std::mem::take(&mut file.ahead) {
                let start = (sector * SECTOR).min(file.kept.len());
                let end = (start + SECTOR).min(file.kept.len());
                file.seen[start..end].copy_from_slice(&file.kept[start..end]);
            }
        }
        self.seen = self.kept.clone();
    }
}

fn keep_sector(file: &mut Inode, sector: usize) {
    let start = sector * SECTOR;
    let end = (start + SECTOR).min(file.seen.len()).min(file.kept.len());
    if start < end {
        file.kept[start..end].copy_from_slice(&file.seen[start..end]);
        file.ahead.remove(&sector);
    }
}

fn countdown(left: &mut Option<u64>) -> bool {
    match left {
        Some(0) => {
            *left = None;
            true
        }
        Some(n) => {
            *n -= 1;
            false
        }
        None => false,
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new(0)
    }
}

impl SimDisk {
    /// An empty disk without limits; `seed` decides how failing writes are torn.
    pub fn new(seed: u64) -> Self {
        let names = Names { files: BTreeMap::new(), dirs: BTreeSet::from([PathBuf::from("/")]) };
        let machine = Machine {
            boot: 0,
            capacity: u64::MAX,
            inodes: BTreeMap::new(),
            seen: names.clone(),
            kept: names,
            unsynced: BTreeMap::new(),
            steps: 0,
            die_at: None,
            dead: false,
            writes_left: None,
            syncs_left: None,
            written: 0,
            reserves: false,
            random: SplitMix(seed),
        };
        Self { machine: Arc::new(Mutex::new(machine)), boot: 0 }
    }

    fn locked(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> Result<MutexGuard<'_, Machine>> {
        let machine = self.locked();
        if machine.dead || machine.boot != self.boot { Err(eio("the machine is off")) } else { Ok(machine) }
    }

    fn reboot(&self, change: impl FnOnce(&mut Machine)) -> Self {
        let mut machine = self.locked();
        change(&mut machine);
        machine.boot += 1;
        machine.dead = false;
        machine.die_at = None;
        machine.writes_left = None;
        machine.syncs_left = None;
        Self { machine: Arc::clone(&self.machine), boot: machine.boot }
    }

    /// The power fails and comes back: unsynced data and names survive as `seed` decides.
    pub fn crash(&self, seed: u64) -> Self {
        self.reboot(|machine| machine.lose_power(seed))
    }

    /// The process dies, the machine does not: the next one sees the page cache as it was.
    pub fn kill(&self) -> Self {
        self.reboot(|_| {})
    }

    /// Makes the machine die in the middle of the `steps`-th change from now (1 = the next). All later calls fail
    /// until [`SimDisk::crash`].
    pub fn die_in(&self, steps: u64) {
        let mut machine = self.locked();
        machine.die_at = Some(machine.steps + steps.max(1));
    }

    /// Changes made so far: writes, syncs, name changes.
    pub fn steps(&self) -> u64 {
        self.locked().steps
    }

    /// Lets `after` more writes pass, then fails one with an I/O error; part of it may be there.
    pub fn fail_write(&self, after: u64) {
        self.locked().writes_left = Some(after);
    }

    /// Lets `after` more file syncs pass, then fails one. Its data is never on the platter, though reads show it
    /// and later syncs succeed.
    pub fn fail_sync(&self, after: u64) {
        self.locked().syncs_left = Some(after);
    }

    /// Bytes that all files together may take.
    pub fn set_capacity(&self, bytes: u64) {
        self.locked().capacity = bytes;
    }

    /// Bytes that all files together take.
    pub fn used(&self) -> u64 {
        self.locked().used()
    }

    /// From now on space can be set aside; before, it is there for nothing.
    pub fn set_reserves(&self) {
        self.locked().reserves = true;
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.locked().written
    }

    /// Turns one bit of a file at rest.
    pub fn flip_bit(&self, path: &Path, byte: usize, bit: u8) -> Result<()> {
        let mut machine = self.locked();
        let inode = machine.lookup(path)?;
        let file = machine.inodes.get_mut(&inode).ok_or(ErrorKind::NotFound)?;
        for content in [&mut file.seen, &mut file.kept] {
            if let Some(b) = content.get_mut(byte) {
                *b ^= 1 << (bit % 8);
            }
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path, len: u64) -> Result<Arc<dyn DiskFile>> {
        let mut machine = self.alive()?;
        let dir = path.parent().ok_or(ErrorKind::InvalidInput)?;
        if !machine.seen.dirs.contains(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        if machine.seen.files.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if len > machine.capacity.saturating_sub(machine.used()) {
            return Err(ErrorKind::StorageFull.into());
        }
        let len = usize::try_from(len).map_err(|_| ErrorKind::StorageFull)?;
        let inode = machine.steps;
        // Twice from the allocator, which gives zeros for nothing: a copy would cost the memory of large files.
        machine.inodes.insert(
            inode,
            Inode { kept: vec![0; len], seen: vec![0; len], dirty: BTreeSet::new(), ahead: BTreeSet::new() },
        );
        machine.change(dir, NameChange::Link(path.to_owned(), inode))?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn reserve(&self, path: &Path, len: u64) -> Result<Option<Arc<dyn DiskFile>>> {
        if self.locked().reserves { self.create(path, len).map(Some) } else { Ok(None) }
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>> {
        let inode = self.alive()?.lookup(path)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut machine = self.alive()?;
        let inode = machine.lookup(from)?;
        let dir = to.parent().ok_or(ErrorKind::InvalidInput)?;
        machine.change(dir, NameChange::Rename(from.to_owned(), to.to_owned(), inode))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut machine = self.alive()?;
        machine.lookup(path)?;
        let dir = path.parent().ok_or(ErrorKind::InvalidInput)?;
        machine.change(dir, NameChange::Unlink(path.to_owned()))
    }

    fn create_dir(&self, path: &Path) -> Result<()> {
        let mut machine = self.alive()?;
        let mut missing: Vec<&Path> = path.ancestors().take_while(|dir| !machine.seen.dirs.contains(*dir)).collect();
        while let Some(dir) = missing.pop() {
            let parent = dir.parent().ok_or(ErrorKind::InvalidInput)?;
            machine.change(parent, NameChange::MakeDir(dir.to_owned()))?;
        }
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        let mut machine = self.alive()?;
        let parent = path.parent().ok_or(ErrorKind::InvalidInput)?;
        let holds_something = machine.seen.files.keys().chain(&machine.seen.dirs).any(|p| p.parent() == Some(path));
        if holds_something {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        machine.change(parent, NameChange::RemoveDir(path.to_owned()))
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let machine = self.alive()?;
        if !machine.seen.dirs.contains(path) {
            return Err(ErrorKind::NotFound.into());
        }
        let inside = machine.seen.files.keys().chain(&machine.seen.dirs).filter(|p| p.parent() == Some(path));
        let mut names: Vec<String> =
            inside.filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned())).collect();
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        let mut machine = self.alive()?;
        if machine.step() {
            return Err(eio("the machine is off"));
        }
        for change in machine.unsynced.remove(path).unwrap_or_default() {
            machine.kept.apply(&change);
        }
        Ok(())
    }

    fn free_space(&self, _path: &Path) -> Result<u64> {
        let machine = self.alive()?;
        Ok(machine.capacity.saturating_sub(machine.used()))
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> Result<()> {
        let mut machine = self.disk.alive()?;
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let position = usize::try_from(position).map_err(|_| ErrorKind::InvalidInput)?;
        machine.write(self.inode, &bytes, position)
    }

    fn read_at(&self, out: &mut Vec<u8>, len: usize, position: u64, _reuse: Reuse) -> Result<usize> {
        let machine = self.disk.alive()?;
        let file = machine.inodes.get(&self.inode).ok_or(ErrorKind::NotFound)?;
        let from = usize::try_from(position).map_or(file.seen.len(), |p| p.min(file.seen.len()));
        let n = len.min(file.seen.len() - from);
        out.extend_from_slice(&file.seen[from..from + n]);
        Ok(n)
    }

    fn sync(&self) -> Result<()> {
        self.disk.alive()?.sync(self.inode)
    }

    fn len(&self) -> Result<u64> {
        let machine = self.disk.alive()?;
        let file = machine.inodes.get(&self.inode).ok_or(ErrorKind::NotFound)?;
        Ok(file.seen.len() as u64)
    }
}
