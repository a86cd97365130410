use super::{Identity, Storage, copy_through_memory, lock, sys};
use crate::error::{Error, Result, error};
use std::any::Any;
use std::fs::{self, FileTimes, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::process;

/// A regular file.
///
/// ```
/// use npygrow::storage::{File, Storage};
///
/// # let folder = std::env::temp_dir();
/// let file = File::open(&folder.join("no such file"), false)?;
/// assert!(file.is_none());
/// # Ok::<(), npygrow::Error>(())
/// ```
pub struct File {
    file: fs::File,
    /// For messages only.
    path: PathBuf,
    write: bool,
    identity: Option<Identity>,
    owner: u32,
    locked: bool,
    word: sys::Word,
}

impl File {
    /// Opens the file at `path`, with `write` for reading and writing; `None` when nothing is there.
    ///
    /// Anything but a regular file is an error, and never waited for.
    pub fn open(path: &Path, write: bool) -> Result<Option<Self>> {
        Self::open_shown(path, path.into(), write)
    }

    /// As [`open`](File::open), but messages name it `shown`.
    pub(super) fn open_shown(path: &Path, shown: PathBuf, write: bool) -> Result<Option<Self>> {
        let opened = fs::metadata(path).and_then(|metadata| {
            // Looked at before it is opened: opening a FIFO wakes its writer, opening a device may do anything.
            if metadata.is_file() { sys::open(path, write).map(Ok) } else { Ok(Err(metadata)) }
        });
        match opened {
            Ok(Ok(file)) => Self::new(file, shown, write).map(Some),
            Ok(Err(metadata)) => Err(irregular(&metadata).at(shown.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("cannot open", &error).at(shown.display())),
        }
    }

    /// Takes over an open file, which messages name `shown`.
    pub(super) fn new(file: fs::File, shown: PathBuf, write: bool) -> Result<Self> {
        let metadata = file.metadata().map_err(|error| Error::io("cannot look at", &error).at(shown.display()))?;
        if !metadata.is_file() {
            return Err(irregular(&metadata).at(shown.display()));
        }
        Ok(File {
            identity: sys::identity(&metadata),
            owner: process::id(),
            path: shown,
            locked: false,
            word: sys::Word::default(),
            file,
            write,
        })
    }

    /// The file behind `storage`, if that is what it is.
    pub(super) fn behind(storage: &dyn Storage) -> Option<&fs::File> {
        (storage as &dyn Any).downcast_ref::<File>().map(|file| &file.file)
    }

    pub(super) fn id(&self) -> Option<Identity> {
        self.identity
    }

    /// The standard library's handle, for reading and mapping.
    #[must_use]
    pub fn as_std(&self) -> &fs::File {
        &self.file
    }

    fn writable(&self) -> Result<&fs::File> {
        if self.write {
            return Ok(&self.file);
        }
        Err(error!(Io, "opened for reading: open it for writing to change it").at(self.path.display()))
    }

    fn fail(&self, action: &'static str) -> impl Fn(io::Error) -> Error {
        move |error| Error::io(action, &error).at(self.path.display())
    }
}

/// The error for `found`, which is no regular file.
pub(super) fn irregular(found: &Metadata) -> Error {
    let kind = if found.is_dir() { io::ErrorKind::IsADirectory } else { io::ErrorKind::InvalidInput };
    Error::io(format!("expected a regular file, found {}", sys::kind(found.file_type())), &kind.into())
}

impl Storage for File {
    fn len(&self) -> Result<u64> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(self.fail("cannot tell the length"))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        sys::retry(|| sys::read_at(&self.file, buf, offset)).map_err(self.fail("cannot read"))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<usize> {
        let file = self.writable()?;
        sys::retry(|| sys::write_at(file, bytes, offset)).map_err(self.fail("cannot write"))
    }

    fn commit_at(&mut self, offset: u64, bytes: &[u8], durable: bool) -> Result<()> {
        let file = self.writable()?;
        if durable {
            return sys::write_durably(file, bytes, offset).map_err(self.fail("cannot commit durably"));
        }
        match bytes.try_into() {
            Ok(word) if self.word.store(&self.file, offset, word) => Ok(()),
            _ => self.write_all_at(offset, bytes),
        }
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        self.word.forget();
        self.writable()?.set_len(len).map_err(self.fail("cannot set the length"))
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(self.fail("cannot sync"))
    }

    fn copy_from(&mut self, from: &dyn Storage, from_offset: u64, offset: u64, len: u64) -> Result<u64> {
        let file = self.writable()?;
        let done = File::behind(from).map_or(0, |from| sys::copy_range(from, from_offset, file, offset, len));
        Ok(done + copy_through_memory(self, from, from_offset + done, offset + done, len - done)?)
    }

    fn share_from(&mut self, from: &dyn Storage, from_offset: u64, offset: u64, len: u64) -> Result<bool> {
        let file = self.writable()?;
        Ok(File::behind(from).is_some_and(|from| sys::share_range(from, from_offset, file, offset, len)))
    }

    fn take_attributes(&mut self, from: &dyn Storage) -> Result<()> {
        let (to, Some(from)) = (self.writable()?, File::behind(from)) else { return Ok(()) };
        let take = || {
            let from = from.metadata()?;
            // The owner first: a change of owner clears bits of the mode. The times last: all else changes them.
            sys::take_owner(to, &from)?;
            to.set_permissions(from.permissions())?;
            to.set_times(FileTimes::new().set_accessed(from.accessed()?).set_modified(from.modified()?))
        };
        take().map_err(self.fail("cannot take over mode, owner and times"))
    }

    fn check_owner(&self) -> Result<()> {
        let (owner, this) = (self.owner, process::id());
        if owner == this {
            return Ok(());
        }
        Err(error!(Latched, "opened by process {owner}, this is process {this} (a fork): open the file again here")
            .at(self.path.display()))
    }

    fn try_lock(&mut self) -> Result<bool> {
        self.check_owner()?;
        self.locked = self.locked || sys::try_lock(&self.file).map_err(self.fail("cannot lock"))?;
        Ok(self.locked)
    }

    fn lock(&mut self) -> Result<bool> {
        self.check_owner()?;
        self.locked = self.locked || sys::lock(&self.file).map_err(self.fail("cannot lock"))?;
        Ok(self.locked)
    }

    fn unlock(&mut self) -> Result<()> {
        // In a fork this would take the parent's lock away: the two share it.
        if !self.locked || self.owner != process::id() {
            return Ok(());
        }
        self.locked = false;
        self.identity.into_iter().for_each(lock::leave);
        sys::unlock(&self.file).map_err(self.fail("cannot unlock"))
    }

    fn identity(&self) -> Result<Option<Identity>> {
        Ok(self.identity)
    }
}

impl Drop for File {
    /// Unlocks outright: closing alone leaves the lock with a forked child that still has the file open.
    fn drop(&mut self) {
        let _ = self.unlock();
    }
}
