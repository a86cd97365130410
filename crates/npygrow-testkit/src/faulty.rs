//! A folder around another that records every call, and makes one of them go wrong.

use npygrow::storage::{Folder, Identity, Storage, Temp};
use npygrow::{Error, Result};
use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is called: of a storage down to `TryLock`, of a folder after it. Not `unlock`: closing a file does it too, and cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Call {
    Len,
    Read,
    Write,
    Commit,
    CommitDurably,
    SetLen,
    Sync,
    Copy,
    Share,
    TakeAttributes,
    TryLock,
    Open,
    CreateTemp,
    Link,
    Replace,
    Remove,
    RemoveAbandoned,
    SyncFolder,
    Identity,
    Names,
    Folder,
    PlaceFolder,
    SwapFolders,
    RemoveFolder,
}

/// How a call goes wrong; the number is the `errno`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and does nothing.
    Fails(i32),
    /// It fails, and has done its work all the same.
    FailsLate(i32),
    /// It fails half-way: of a write or a copy, half the bytes are there. What is overwritten changes by whole pages.
    FailsTorn(i32),
    /// A write does half of what it should, and says so.
    Short,
    /// The process dies in it: a write leaves half its bytes, and no later call does anything.
    Dies,
}

/// A call that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What was called.
    pub call: Call,
    /// On which storage; 0 is the folder.
    pub handle: u64,
    /// From which byte on.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
    /// Whether it was made to fail.
    pub failed: bool,
}

impl Record {
    /// Whether it changes a file or its durability.
    #[must_use]
    pub fn changes(&self) -> bool {
        use Call::{Commit, CommitDurably, Copy, SetLen, Share, Sync, TakeAttributes, Write};
        matches!(self.call, Write | Commit | CommitDurably | SetLen | Sync | Copy | Share | TakeAttributes)
    }
}

impl fmt::Display for Record {
    /// `Write 128+24`: 24 bytes at 128.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.call {
            Call::Write | Call::Commit | Call::CommitDurably | Call::Copy | Call::Share => {
                write!(f, "{:?} {}+{}", self.call, self.offset, self.len)
            }
            Call::SetLen => write!(f, "SetLen {}", self.len),
            call => write!(f, "{call:?}"),
        }
    }
}

/// What goes wrong, and what was called.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    armed: Option<Armed>,
    before: Option<(Call, Box<dyn FnOnce() + Send>)>,
    hit: Option<Call>,
    dead: bool,
    calls: Vec<Record>,
    handles: u64,
}

struct Armed {
    call: Option<Call>,
    skip: usize,
    fault: Fault,
}

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the calls so far, and lets one from now on go wrong: the one after `skip`, of those of kind `call` if one is given.
    pub fn arm(&self, call: Option<Call>, skip: usize, fault: Fault) {
        let mut state = self.state();
        state.armed = Some(Armed { call, skip, fault });
        state.hit = None;
        state.calls.clear();
    }

    /// Lets something happen just before the next call of this kind: what another process would do.
    pub fn before(&self, call: Call, action: impl FnOnce() + Send + 'static) {
        self.state().before = Some((call, Box::new(action)));
    }

    /// The process dies now.
    pub fn die(&self) {
        self.state().dead = true;
    }

    /// Nothing goes wrong any more: for the process after the dead one, too.
    pub fn calm(&self) {
        let mut state = self.state();
        (state.armed, state.dead) = (None, false);
    }

    /// Which call went wrong.
    #[must_use]
    pub fn hit(&self) -> Option<Call> {
        self.state().hit
    }

    /// The calls since the last time, and forgets them.
    #[must_use]
    pub fn take_calls(&self) -> Vec<Record> {
        std::mem::take(&mut self.state().calls)
    }

    /// Records a call and says how it goes wrong.
    fn enter(&self, mut record: Record) -> Result<Option<Fault>> {
        let action = self.state().before.take_if(|(call, _)| *call == record.call);
        if let Some((_, action)) = action {
            action();
        }
        let mut state = self.state();
        if state.dead {
            return Err(died());
        }
        let fault = match &mut state.armed {
            Some(armed) if armed.call.is_none_or(|call| call == record.call) && armed.skip == 0 => Some(armed.fault),
            Some(armed) if armed.call.is_none_or(|call| call == record.call) => {
                armed.skip -= 1;
                None
            }
            _ => None,
        };
        if let Some(fault) = fault {
            state.armed = None;
            state.hit = Some(record.call);
            state.dead = fault == Fault::Dies;
        }
        record.failed = fault.is_some_and(|fault| fault != Fault::Short);
        state.calls.push(record);
        Ok(fault)
    }

    /// Does `work` on as many of the bytes as the fault lets it: on `torn` where it stops half-way.
    fn run<T>(&self, record: Record, torn: u64, mut work: impl FnMut(u64) -> Result<T>) -> Result<T> {
        let len = record.len;
        let mut half = || if torn > 0 { work(torn).map(drop) } else { Ok(()) };
        match self.enter(record)? {
            Some(Fault::Fails(errno)) => Err(failure(errno)),
            Some(Fault::FailsTorn(errno)) => half().and(Err(failure(errno))),
            Some(Fault::Dies) => half().and(Err(died())),
            // A name is given, or it is not.
            Some(Fault::FailsLate(errno))
                if matches!(record.call, Call::Link | Call::Replace | Call::PlaceFolder | Call::SwapFolders) =>
            {
                Err(failure(errno))
            }
            Some(Fault::FailsLate(errno)) => work(len).and(Err(failure(errno))),
            Some(Fault::Short) if record.call == Call::Write => work(len.div_ceil(2)),
            Some(Fault::Short) | None => work(len),
        }
    }

    fn wrap(&self, inner: Box<dyn Storage>, locked: bool) -> Box<dyn Storage> {
        let mut state = self.state();
        state.handles += 1;
        Box::new(FaultyStorage { inner, faults: self.clone(), handle: state.handles, locked })
    }
}

fn failure(errno: i32) -> Error {
    Error::io("a fault was put here", &io::Error::from_raw_os_error(errno))
}

fn died() -> Error {
    Error::io("the process is dead", &io::Error::other("no more calls"))
}

/// The folder around another.
pub struct FaultyFolder {
    inner: Arc<dyn Folder>,
    faults: Faults,
}

impl FaultyFolder {
    /// Around `inner`; `faults` says what goes wrong.
    #[must_use]
    pub fn new(inner: Arc<dyn Folder>, faults: Faults) -> Self {
        FaultyFolder { inner, faults }
    }

    fn run<T>(&self, call: Call, mut work: impl FnMut(&dyn Folder) -> Result<T>) -> Result<T> {
        let record = Record { call, handle: 0, offset: 0, len: 0, failed: false };
        self.faults.run(record, 0, |_| work(&*self.inner))
    }
}

impl Folder for FaultyFolder {
    fn open(&self, name: &OsStr, write: bool) -> Result<Option<Box<dyn Storage>>> {
        let opened = self.run(Call::Open, |inner| inner.open(name, write))?;
        Ok(opened.map(|storage| self.faults.wrap(storage, false)))
    }

    fn create_temp(&self, name: &OsStr, like: Option<&dyn Storage>) -> Result<Temp> {
        let temp = self.run(Call::CreateTemp, |inner| inner.create_temp(name, like.map(unwrapped)))?;
        Ok(temp.wrap(|storage| self.faults.wrap(storage, true)))
    }

    fn link_noreplace(&self, temp: &mut Temp, name: &OsStr) -> Result<bool> {
        self.run(Call::Link, |inner| inner.link_noreplace(temp, name))
    }

    fn replace(&self, temp: &mut Temp, name: &OsStr) -> Result<()> {
        self.run(Call::Replace, |inner| inner.replace(temp, name))
    }

    fn remove(&self, name: &OsStr) -> Result<()> {
        self.run(Call::Remove, |inner| inner.remove(name))
    }

    fn remove_abandoned(&self, name: &OsStr) -> Result<()> {
        self.run(Call::RemoveAbandoned, |inner| inner.remove_abandoned(name))
    }

    fn sync(&self) -> Result<()> {
        self.run(Call::SyncFolder, |inner| inner.sync())
    }

    fn identity(&self, name: &OsStr) -> Result<Option<Identity>> {
        self.run(Call::Identity, |inner| inner.identity(name))
    }

    fn names(&self) -> Result<Vec<OsString>> {
        self.run(Call::Names, |inner| inner.names())
    }

    fn folder(&self, name: &OsStr, make: bool) -> Result<Option<Arc<dyn Folder>>> {
        let folder = self.run(Call::Folder, |inner| inner.folder(name, make))?;
        Ok(folder.map(|inner| Arc::new(FaultyFolder { inner, faults: self.faults.clone() }) as Arc<dyn Folder>))
    }

    fn place_folder(&self, from: &OsStr, to: &OsStr) -> Result<bool> {
        self.run(Call::PlaceFolder, |inner| inner.place_folder(from, to))
    }

    fn swap_folders(&self, one: &OsStr, other: &OsStr) -> Result<()> {
        self.run(Call::SwapFolders, |inner| inner.swap_folders(one, other))
    }

    fn remove_folder(&self, name: &OsStr) -> Result<()> {
        self.run(Call::RemoveFolder, |inner| inner.remove_folder(name))
    }

    fn path(&self, name: &OsStr) -> PathBuf {
        self.inner.path(name)
    }
}

struct FaultyStorage {
    inner: Box<dyn Storage>,
    faults: Faults,
    handle: u64,
    /// What has the lock asks nobody for it.
    locked: bool,
}

/// The storage inside, which another of its kind can copy from in ways of its own.
fn unwrapped(storage: &dyn Storage) -> &dyn Storage {
    (storage as &dyn Any).downcast_ref::<FaultyStorage>().map_or(storage, |faulty| &*faulty.inner)
}

/// How many of `len` bytes at `offset` of a file of `size` bytes are there after half a write. Of a page that was there
/// a system call overwrites all bytes or none, kill or no kill.
fn torn(offset: u64, len: u64, size: u64) -> u64 {
    const PAGE: u64 = 4096;
    let end = offset + len / 2;
    if end > size { len / 2 } else { (end - end % PAGE).saturating_sub(offset) }
}

impl FaultyStorage {
    fn record(&self, call: Call, offset: u64, len: u64) -> Record {
        Record { call, handle: self.handle, offset, len, failed: false }
    }

    fn change<T>(
        &mut self,
        call: Call,
        offset: u64,
        len: u64,
        mut work: impl FnMut(&mut dyn Storage, u64) -> Result<T>,
    ) -> Result<T> {
        let record = self.record(call, offset, len);
        let torn = if matches!(call, Call::Write | Call::Copy) { torn(offset, len, self.inner.len()?) } else { 0 };
        self.faults.run(record, torn, |len| work(&mut *self.inner, len))
    }
}

impl Storage for FaultyStorage {
    fn len(&self) -> Result<u64> {
        self.faults.run(self.record(Call::Len, 0, 0), 0, |_| self.inner.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.faults.run(self.record(Call::Read, offset, buf.len() as u64), 0, |_| self.inner.read_at(offset, buf))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<usize> {
        let len = bytes.len() as u64;
        self.change(Call::Write, offset, len, |inner, len| inner.write_at(offset, &bytes[..len as usize]))
    }

    fn commit_at(&mut self, offset: u64, bytes: &[u8], durable: bool) -> Result<()> {
        let call = if durable { Call::CommitDurably } else { Call::Commit };
        self.change(call, offset, bytes.len() as u64, |inner, _| inner.commit_at(offset, bytes, durable))
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        self.change(Call::SetLen, 0, len, |inner, len| inner.set_len(len))
    }

    fn sync(&mut self) -> Result<()> {
        self.change(Call::Sync, 0, 0, |inner, _| inner.sync())
    }

    fn copy_from(&mut self, from: &dyn Storage, from_offset: u64, offset: u64, len: u64) -> Result<u64> {
        self.change(Call::Copy, offset, len, |inner, len| inner.copy_from(unwrapped(from), from_offset, offset, len))
    }

    fn share_from(&mut self, from: &dyn Storage, from_offset: u64, offset: u64, len: u64) -> Result<bool> {
        self.change(Call::Share, offset, len, |inner, len| inner.share_from(unwrapped(from), from_offset, offset, len))
    }

    fn take_attributes(&mut self, from: &dyn Storage) -> Result<()> {
        self.change(Call::TakeAttributes, 0, 0, |inner, _| inner.take_attributes(unwrapped(from)))
    }

    fn check_owner(&self) -> Result<()> {
        self.inner.check_owner()
    }

    fn try_lock(&mut self) -> Result<bool> {
        self.locked = self.locked || self.change(Call::TryLock, 0, 0, |inner, _| inner.try_lock())?;
        Ok(self.locked)
    }

    fn lock(&mut self) -> Result<bool> {
        self.locked = self.locked || self.change(Call::TryLock, 0, 0, |inner, _| inner.lock())?;
        Ok(self.locked)
    }

    fn unlock(&mut self) -> Result<()> {
        self.locked = false;
        self.inner.unlock()
    }

    fn is_deleted(&self) -> Result<bool> {
        self.inner.is_deleted()
    }

    fn identity(&self) -> Result<Option<Identity>> {
        self.inner.identity()
    }
}
