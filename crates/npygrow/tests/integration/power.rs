//! A disk whose power can be cut, whose syncs can fail for good, and that can be full.

use crate::support::NAME;
use npygrow::storage::{Folder, Identity, Storage, Temp};
use npygrow::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::take;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECTOR: usize = 512;

/// The disk: of what was not synced each sector, length and name may be there or not.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<World>>);

#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) inodes: Vec<Inode>,
    pub(crate) names: BTreeMap<OsString, usize>,
    names_on_disk: BTreeMap<OsString, usize>,
    capacity: usize,
    boots: u64,
    /// The call at which the process ends, and how it ends.
    stop: Option<(usize, Stop)>,
    dead: bool,
    pub(crate) random: u64,
}

#[derive(Clone, Default)]
pub(crate) struct Inode {
    pub(crate) bytes: Vec<u8>,
    on_disk: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stop {
    /// Killed before, in the middle of, and after the call.
    Before,
    Within,
    After,
    /// The call, if it is a sync, fails, and what it should have written is taken for clean from then on.
    SyncFails,
}

impl Inode {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.bytes.resize(self.bytes.len().max(end), 0);
        self.bytes[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    /// Brings the sectors of `which` to the disk.
    fn flush(&mut self, mut which: impl FnMut(usize) -> bool) {
        for sector in take(&mut self.dirty) {
            let end = self.on_disk.len().min(self.bytes.len()).min((sector + 1) * SECTOR);
            let range = (sector * SECTOR).min(end)..end;
            if which(sector) {
                self.on_disk[range.clone()].copy_from_slice(&self.bytes[range]);
            } else {
                self.dirty.insert(sector);
            }
        }
    }

    fn sync(&mut self) {
        self.on_disk.resize(self.bytes.len(), 0);
        self.flush(|_| true);
    }
}

impl World {
    fn chance(&mut self, of_four: u64) -> bool {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 40) % 4 < of_four
    }

    /// Whether this call is to be made, in part, or not, and whether it fails.
    fn call(&mut self) -> Result<Option<Stop>> {
        if self.dead {
            return Err(dead());
        }
        let Some((left, stop)) = &mut self.stop else { return Ok(None) };
        let stop = *stop;
        *left = left.saturating_sub(1);
        if *left > 0 {
            return Ok(None);
        }
        self.stop = None;
        self.dead = stop != Stop::SyncFails;
        if stop == Stop::Before { Err(dead()) } else { Ok(Some(stop)) }
    }

    /// A call that is made as a whole or not.
    fn whole<T>(&mut self, work: impl FnOnce(&mut World) -> T) -> Result<T> {
        match self.call()? {
            Some(Stop::Within) => Err(dead()),
            Some(Stop::After) => {
                work(self);
                Err(dead())
            }
            _ => Ok(work(self)),
        }
    }

    fn cut_power(&mut self, of_four: u64) {
        for at in 0..self.inodes.len() {
            let mut inode = self.inodes[at].clone();
            if self.chance(of_four) {
                inode.on_disk.resize(inode.bytes.len(), 0);
            }
            inode.flush(|_| self.chance(of_four));
            self.inodes[at] = Inode { bytes: inode.on_disk.clone(), on_disk: inode.on_disk, dirty: BTreeSet::new() };
        }
        let all: BTreeSet<_> = self.names.keys().chain(self.names_on_disk.keys()).cloned().collect();
        for name in all {
            let now = self.names.get(&name).copied();
            if now != self.names_on_disk.get(&name).copied() && self.chance(of_four) {
                match now {
                    Some(inode) => self.names_on_disk.insert(name, inode),
                    None => self.names_on_disk.remove(&name),
                };
            }
        }
        self.names = self.names_on_disk.clone();
        self.boots += 1;
    }
}

fn dead() -> Error {
    Error::io("the process is dead", &io::Error::other("no more calls"))
}

impl Disk {
    pub(crate) fn new(file: &[u8], free: usize) -> Self {
        let inode = Inode { bytes: file.to_vec(), on_disk: file.to_vec(), dirty: BTreeSet::new() };
        let names: BTreeMap<_, _> = [(NAME.into(), 0)].into();
        let (names_on_disk, capacity) = (names.clone(), file.len() + free);
        let world = World { inodes: vec![inode], names, names_on_disk, capacity, ..World::default() };
        Disk(Arc::new(Mutex::new(world)))
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn folder(&self) -> Arc<dyn Folder> {
        Arc::new(self.clone())
    }

    pub(crate) fn stop_at(&self, call: usize, stop: Stop) {
        self.world().stop = Some((call, stop));
    }

    /// A new process, after a power cut if there was one. Says whether the last one was stopped.
    pub(crate) fn again(&self, power_cut: Option<u64>) -> bool {
        let mut world = self.world();
        if let Some(of_four) = power_cut {
            world.cut_power(of_four);
        }
        world.dead = false;
        world.stop.take().is_none()
    }

    pub(crate) fn empty() -> Self {
        Disk(Arc::default())
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let world = self.world();
        world.inodes[world.names[OsStr::new(name)]].bytes.clone()
    }

    /// Gives `name` to a new file.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let mut world = self.world();
        world.inodes.push(Inode { bytes: bytes.to_vec(), ..Inode::default() });
        let inode = world.inodes.len() - 1;
        world.names.insert(name.into(), inode);
    }

    /// Gives `name` to a new file, all of it on the disk.
    pub(crate) fn add(&self, name: &str, bytes: &[u8]) {
        self.put(name, bytes);
        let mut world = self.world();
        let inode = world.inodes.len() - 1;
        world.inodes[inode].on_disk = bytes.to_vec();
        world.names_on_disk.insert(name.into(), inode);
        world.capacity += 2 * bytes.len() + 4096;
    }

    pub(crate) fn copy(&self) -> Disk {
        Disk(Arc::new(Mutex::new(self.world().clone())))
    }

    pub(crate) fn names(&self) -> Vec<OsString> {
        self.world().names.keys().cloned().collect()
    }
}

impl Folder for Disk {
    fn open(&self, name: &OsStr, _write: bool) -> Result<Option<Box<dyn Storage>>> {
        let inode = self.world().names.get(name).copied();
        Ok(inode.map(|inode| Box::new(Handle { disk: self.clone(), inode }) as Box<dyn Storage>))
    }

    fn create_temp(&self, name: &OsStr, _like: Option<&dyn Storage>) -> Result<Temp> {
        let named: OsString = format!(".{}.temp", name.display()).into();
        let inode = self.world().whole(|world| {
            world.inodes.push(Inode::default());
            world.names.insert(named.clone(), world.inodes.len() - 1);
            world.inodes.len() - 1
        })?;
        let (disk, gone) = (self.clone(), named.clone());
        let mut temp = Temp::new(Box::new(Handle { disk: self.clone(), inode }), PathBuf::new());
        temp.set_name(named.into(), move || {
            let mut world = disk.world();
            if !world.dead {
                world.names.remove(&gone);
            }
        });
        Ok(temp)
    }

    fn link_noreplace(&self, temp: &mut Temp, name: &OsStr) -> Result<bool> {
        let taken = self.world().names.contains_key(name);
        if !taken {
            self.replace(temp, name)?;
        }
        Ok(!taken)
    }

    fn replace(&self, temp: &mut Temp, name: &OsStr) -> Result<()> {
        self.world().whole(|world| {
            let inode = world.names.remove(temp.path().as_os_str()).expect("the temp is there");
            world.names.insert(name.into(), inode);
        })?;
        temp.set_placed();
        Ok(())
    }

    fn remove(&self, name: &OsStr) -> Result<()> {
        self.world().whole(|world| world.names.remove(name)).map(drop)
    }

    fn remove_abandoned(&self, name: &OsStr) -> Result<()> {
        self.remove(format!(".{}.temp", name.display()).as_ref())
    }

    fn sync(&self) -> Result<()> {
        let mut world = self.world();
        let stop = world.call()?;
        if stop.is_none() || stop == Some(Stop::After) {
            world.names_on_disk = world.names.clone();
        }
        stop.map_or(Ok(()), |_| Err(dead()))
    }

    fn identity(&self, name: &OsStr) -> Result<Option<Identity>> {
        let world = self.world();
        Ok(world.names.get(name).map(|&inode| Identity { device: world.boots, file: inode as u64 }))
    }

    fn path(&self, name: &OsStr) -> PathBuf {
        name.into()
    }
}

struct Handle {
    disk: Disk,
    inode: usize,
}

impl Storage for Handle {
    fn len(&self) -> Result<u64> {
        Ok(self.disk.world().inodes[self.inode].bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let world = self.disk.world();
        let rest = world.inodes[self.inode].bytes.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<usize> {
        let mut world = self.disk.world();
        let used: usize = world.names.values().map(|&inode| world.inodes[inode].bytes.len()).sum();
        let more = (offset as usize + bytes.len()).saturating_sub(world.inodes[self.inode].bytes.len());
        let full = used + more > world.capacity;
        let stop = world.call()?;
        if full {
            return Err(Error::io("cannot write", &io::ErrorKind::StorageFull.into()));
        }
        let done = if stop == Some(Stop::Within) { bytes.len() / 2 } else { bytes.len() };
        world.inodes[self.inode].write(offset as usize, &bytes[..done]);
        if world.dead { Err(dead()) } else { Ok(done) }
    }

    /// Durable alone, not what was written before.
    fn commit_at(&mut self, offset: u64, bytes: &[u8], durable: bool) -> Result<()> {
        assert!(bytes.len() == 8 && offset.is_multiple_of(8) && durable);
        let mut world = self.disk.world();
        let stop = world.call()?;
        let inode = &mut world.inodes[self.inode];
        // Killed within, or failed: seen by all, on the disk perhaps.
        inode.write(offset as usize, bytes);
        let sector = offset as usize / SECTOR;
        match stop {
            None | Some(Stop::After) => inode.flush(|dirty| dirty == sector),
            Some(Stop::SyncFails) => inode.dirty.retain(|&dirty| dirty != sector),
            _ => {}
        }
        stop.map_or(Ok(()), |_| Err(dead()))
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        let inode = self.inode;
        self.disk.world().whole(|world| world.inodes[inode].bytes.resize(len as usize, 0))
    }

    fn sync(&mut self) -> Result<()> {
        let mut world = self.disk.world();
        let stop = world.call()?;
        match stop {
            None | Some(Stop::After) => world.inodes[self.inode].sync(),
            Some(Stop::SyncFails) => world.inodes[self.inode].dirty.clear(),
            _ => {}
        }
        stop.map_or(Ok(()), |_| Err(dead()))
    }

    fn identity(&self) -> Result<Option<Identity>> {
        Ok(Some(Identity { device: self.disk.world().boots, file: self.inode as u64 }))
    }
}
