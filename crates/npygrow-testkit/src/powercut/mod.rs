//! A folder whose power can fail. It writes down, in order, what changes files and what makes changes durable; a [`Disk`]
//! follows that log up to any point and says what may be left if the power fails there.
//!
//! The model is at least as bad as any disk and file system: every 512-byte sector that was written since the file's last
//! sync is there as it was then or after any write since, each for itself; the size is the durable one or any that the file
//! had since, also half-way through a write; the names are the durable ones or those after any later change, in order. A
//! durable commit makes its own sector durable and nothing else, and no sync of a file makes its name durable.

mod disk;

pub use disk::{Disk, Random, Walk, hash};

use crate::shared::SharedFolder;
use npygrow::Result;
use npygrow::storage::{Folder, Identity, Storage, Temp};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// As much of a write as is done at once: between two pieces the power can fail.
const PIECE: usize = 1024;

/// Which file has which name.
type Names = BTreeMap<OsString, usize>;

/// The files of a folder, by name: the number, which a file keeps when the power comes back, and the bytes.
pub type Image = BTreeMap<OsString, (usize, Vec<u8>)>;

/// Something that changed a file, or made changes durable.
#[derive(Clone, Debug)]
pub enum Event {
    /// Bytes were written.
    Write {
        /// The file's number.
        file: usize,
        /// Where they begin.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The file was cut, or grown with zeros.
    SetLen {
        /// The file's number.
        file: usize,
        /// Its new length.
        len: u64,
    },
    /// All bytes of the file and its size became durable.
    Sync {
        /// The file's number.
        file: usize,
    },
    /// The sector with this byte became durable.
    SyncSector {
        /// The file's number.
        file: usize,
        /// Where the byte is.
        offset: u64,
    },
    /// Names were given, moved or removed: these are there now.
    Names(Names),
    /// All names became durable.
    SyncNames,
}

#[derive(Default)]
struct Log {
    events: Vec<Event>,
    /// The identities of the files, in the order of their numbers; some numbers are of files that a cut took away.
    files: Vec<Option<Identity>>,
    names: Names,
}

impl Log {
    fn number(&mut self, identity: Identity) -> usize {
        let known = self.files.iter().position(|file| *file == Some(identity));
        known.unwrap_or_else(|| {
            self.files.push(Some(identity));
            self.files.len() - 1
        })
    }
}

/// The folder.
pub struct PowerFolder {
    inner: SharedFolder,
    /// The outermost folder: all names are in it, and a sync of any folder makes all of them durable.
    root: SharedFolder,
    log: Arc<Mutex<Log>>,
}

impl PowerFolder {
    /// A folder with the files of `image`, all of them durable.
    #[must_use]
    pub fn new(image: &Image) -> Self {
        let root = SharedFolder::default();
        let this = PowerFolder { inner: root.clone(), root, log: Arc::default() };
        for (name, (file, bytes)) in image {
            this.inner.put(&name.to_string_lossy(), bytes);
            let mut log = this.log();
            let files = log.files.len().max(file + 1);
            log.files.resize(files, None);
            log.files[*file] = this.inner.identity(name).ok().flatten();
        }
        this.note_names();
        let files = image.values().flat_map(|(file, bytes)| {
            [Event::Write { file: *file, offset: 0, bytes: bytes.clone() }, Event::Sync { file: *file }]
        });
        this.log().events.extend(files.chain([Event::SyncNames]));
        this
    }

    /// The files as they are now.
    #[must_use]
    pub fn image(&self) -> Image {
        self.note_names();
        let bytes = |name: &OsString| self.root.get(&name.to_string_lossy()).unwrap_or_default();
        self.log().names.iter().map(|(name, file)| (name.clone(), (*file, bytes(name)))).collect()
    }

    /// What happened so far, from an empty disk on.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.log().events.clone()
    }

    /// How much happened so far.
    #[must_use]
    pub fn now(&self) -> usize {
        self.log().events.len()
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        guard(&self.log)
    }

    /// Writes down which names there are, if they are others than before: the temp that was dropped since included.
    fn note_names(&self) {
        let mut log = self.log();
        let files = self.root.names().into_iter().filter_map(|name| {
            let file = self.root.identity(name.as_ref()).ok()??;
            Some((name.into(), log.number(file)))
        });
        let names: Names = files.collect();
        if names != log.names {
            log.names.clone_from(&names);
            log.events.push(Event::Names(names));
        }
    }

    fn noted<T>(&self, done: Result<T>) -> Result<T> {
        self.note_names();
        done
    }

    fn wrap(&self, inner: Box<dyn Storage>) -> Box<dyn Storage> {
        let identity = inner.identity().ok().flatten().expect("a file of a shared folder has an identity");
        Box::new(PowerFile { inner, file: self.log().number(identity), log: self.log.clone() })
    }
}

fn guard(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Numbers that come again in every folder: the library keeps a list of locked files, which thousands of folders in one
/// process would fill.
fn identity(file: usize) -> Identity {
    Identity { device: u64::MAX - 1, file: file as u64 }
}

impl Folder for PowerFolder {
    fn open(&self, name: &OsStr, write: bool) -> Result<Option<Box<dyn Storage>>> {
        Ok(self.inner.open(name, write)?.map(|storage| self.wrap(storage)))
    }

    fn create_temp(&self, name: &OsStr, like: Option<&dyn Storage>) -> Result<Temp> {
        let temp = self.noted(self.inner.create_temp(name, like))?;
        Ok(temp.wrap(|storage| self.wrap(storage)))
    }

    fn link_noreplace(&self, temp: &mut Temp, name: &OsStr) -> Result<bool> {
        self.noted(self.inner.link_noreplace(temp, name))
    }

    fn replace(&self, temp: &mut Temp, name: &OsStr) -> Result<()> {
        self.noted(self.inner.replace(temp, name))
    }

    fn remove(&self, name: &OsStr) -> Result<()> {
        self.noted(self.inner.remove(name))
    }

    fn remove_abandoned(&self, name: &OsStr) -> Result<()> {
        self.noted(self.inner.remove_abandoned(name))
    }

    fn sync(&self) -> Result<()> {
        self.noted(self.inner.sync())?;
        self.log().events.push(Event::SyncNames);
        Ok(())
    }

    fn identity(&self, name: &OsStr) -> Result<Option<Identity>> {
        Ok(self.inner.identity(name)?.map(|inner| identity(self.log().number(inner))))
    }

    fn names(&self) -> Result<Vec<OsString>> {
        Folder::names(&self.inner)
    }

    fn folder(&self, name: &OsStr, make: bool) -> Result<Option<Arc<dyn Folder>>> {
        let inside = self.inner.inside(name, make);
        let folder = |inner| PowerFolder { inner, root: self.root.clone(), log: self.log.clone() };
        Ok(inside.map(|inner| Arc::new(folder(inner)) as Arc<dyn Folder>))
    }

    fn place_folder(&self, from: &OsStr, to: &OsStr) -> Result<bool> {
        self.noted(self.inner.place_folder(from, to))
    }

    fn swap_folders(&self, one: &OsStr, other: &OsStr) -> Result<()> {
        self.noted(self.inner.swap_folders(one, other))
    }

    fn remove_folder(&self, name: &OsStr) -> Result<()> {
        self.noted(self.inner.remove_folder(name))
    }

    fn path(&self, name: &OsStr) -> PathBuf {
        self.inner.path(name)
    }
}

struct PowerFile {
    inner: Box<dyn Storage>,
    file: usize,
    log: Arc<Mutex<Log>>,
}

impl PowerFile {
    fn note(&self, event: Event) {
        guard(&self.log).events.push(event);
    }
}

impl Storage for PowerFile {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.inner.read_at(offset, buf)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<usize> {
        let written = self.inner.write_at(offset, &bytes[..bytes.len().min(PIECE)])?;
        self.note(Event::Write { file: self.file, offset, bytes: bytes[..written].to_vec() });
        Ok(written)
    }

    fn commit_at(&mut self, offset: u64, bytes: &[u8], durable: bool) -> Result<()> {
        self.inner.commit_at(offset, bytes, durable)?;
        self.note(Event::Write { file: self.file, offset, bytes: bytes.to_vec() });
        if durable {
            self.note(Event::SyncSector { file: self.file, offset });
        }
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        self.inner.set_len(len)?;
        self.note(Event::SetLen { file: self.file, len });
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.inner.sync()?;
        self.note(Event::Sync { file: self.file });
        Ok(())
    }

    fn try_lock(&mut self) -> Result<bool> {
        self.inner.try_lock()
    }

    fn lock(&mut self) -> Result<bool> {
        self.inner.lock()
    }

    fn unlock(&mut self) -> Result<()> {
        self.inner.unlock()
    }

    fn identity(&self) -> Result<Option<Identity>> {
        Ok(Some(identity(self.file)))
    }
}
