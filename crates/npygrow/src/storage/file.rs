use super::{Identity, Owner, Storage, copy_through_memory, lock, sys};
use crate::error::{Error, Result, error};
use std::any::Any;
use std::fs::{self, FileTimes, Metadata};
use std::io;
use std::path::{Path, PathBuf};

const PAGE: u64 = 4096;

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
    pub(super) identity: Option<Identity>,
    owner: Owner,
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
            Err(error) => {
                let action = if write { "cannot open for writing" } else { "cannot open" };
                Err(Error::io(action, &error).at(shown.display()))
            }
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
            owner: Owner::new(),
            path: shown,
            locked: false,
            word: Default::default(),
            file,
            write,
        })
    }

    /// The file behind `storage`, if that is what it is.
    pub(crate) fn behind(storage: &dyn Storage) -> Option<&fs::File> {
        (storage as &dyn Any).downcast_ref::<File>().map(|file| &file.file)
    }

    /// The standard library's handle, for reading and mapping.
    #[must_use]
    pub fn as_std(&self) -> &fs::File {
        &self.file
    }

    /// The handle, where this may change the file: opened for that, and by this process. A fork that goes on with what its
    /// parent began would write into the parent's file, under the parent's lock.
    fn writable(&self) -> Result<&fs::File> {
        self.check_owner()?;
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
    Error::of_kind(kind, format!("expected a regular file, found {}", sys::kind(found.file_type())))
}

impl Storage for File {
    fn len(&self) -> Result<u64> {
        sys::len(&self.file).map_err(self.fail("cannot tell the length"))
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
        // A fork shares the open file: it would be told of a failed write in place of its parent.
        self.check_owner()?;
        self.file.sync_data().map_err(self.fail("cannot sync"))
    }

    fn copy_from(&mut self, from: &dyn Storage, from_offset: u64, offset: u64, len: u64) -> Result<u64> {
        let file = self.writable()?;
        // Where the bytes of one page go to two, the kernel's own copy takes half as long again as reads and writes of whole
        // pages.
        let alike = from_offset % PAGE == offset % PAGE;
        let from_file = File::behind(from).filter(|_| alike);
        let done = from_file.map_or(0, |from| sys::copy_range(from, from_offset, file, offset, len));
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
        self.owner.check().map_err(|error| error.at(self.path.display()))
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
        if !self.locked || !self.owner.is_here() {
            return Ok(());
        }
        self.locked = false;
        self.identity.into_iter().for_each(lock::leave);
        sys::unlock(&self.file).map_err(self.fail("cannot unlock"))
    }

    fn is_deleted(&self) -> Result<bool> {
        self.file.metadata().map(|metadata| sys::is_deleted(&metadata)).map_err(self.fail("cannot look at"))
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

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::ErrorKind;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::process::{Command, Stdio};
    use std::time::{Duration, SystemTime};
    use tempfile::TempDir;

    fn file_of(bytes: &[u8]) -> (TempDir, PathBuf, File) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        fs::write(&path, bytes).unwrap();
        let file = File::open(&path, true).unwrap().unwrap();
        (folder, path, file)
    }

    #[test]
    fn reads_writes_cuts_and_syncs() {
        let (_folder, path, mut file) = file_of(b"");
        assert!(file.is_empty().unwrap());
        file.write_all_at(2, b"cdef").unwrap();
        file.commit_at(0, b"ab", true).unwrap();
        file.commit_at(3, b"DE", false).unwrap();
        file.set_len(5).unwrap();
        file.sync().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abcDE");
        let mut buf = [0; 9];
        assert_eq!(file.read_at(3, &mut buf).unwrap(), 2);
        assert_eq!(file.read_at(5, &mut buf).unwrap(), 0);
        assert_eq!(file.write_at(u64::MAX, b"x").unwrap_err().kind(), ErrorKind::Io);
    }

    #[test]
    fn thousands_of_commits_all_reach_other_handles() {
        let (_folder, path, mut file) = file_of(&[b'.'; 128]);
        let reader = File::open(&path, false).unwrap().unwrap();
        let (mut end, mut word) = (128, [0; 8]);
        for count in 0..2000 {
            file.write_all_at(end, &[b'r'; 100]).unwrap();
            end += 100;
            let digits = format!("{count:8}");
            file.commit_at(72, digits.as_bytes(), false).unwrap();
            reader.read_exact_at(72, &mut word).unwrap();
            assert_eq!(word, digits.as_bytes());
        }
        // Cutting below the mapped word and committing again must neither fault nor be lost.
        file.set_len(0).unwrap();
        for digits in [*b"       1", *b"       2"] {
            file.commit_at(72, &digits, false).unwrap();
            reader.read_exact_at(72, &mut word).unwrap();
            assert_eq!(word, digits);
        }
    }

    #[test]
    fn copies_from_files_and_from_memory() {
        let (_folder, path, mut file) = file_of(b"0123456789");
        let (_other, _, from) = file_of(b"abcdef");
        assert_eq!(file.copy_from(&from, 2, 1, 3).unwrap(), 3);
        assert_eq!(file.copy_from(&from, 4, 8, 99).unwrap(), 2);
        assert_eq!(file.copy_from(&from, 7, 0, 1).unwrap(), 0);
        assert_eq!(fs::read(&path).unwrap(), b"0cde4567ef");
        let memory = crate::storage::Memory::from(b"XYZ".to_vec());
        assert_eq!(file.copy_from(&memory, 1, 9, 5).unwrap(), 2);
        assert!(!file.share_from(&memory, 0, 0, 3).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"0cde4567eYZ");
    }

    #[test]
    fn shares_blocks_or_does_nothing() {
        let (_folder, path, mut file) = file_of(&[1; 8192]);
        let (_other, _, from) = file_of(&[2; 8192]);
        let shared = file.share_from(&from, 4096, 0, 4096).unwrap();
        let first = if shared { 2 } else { 1 };
        assert_eq!(fs::read(&path).unwrap(), [[first; 4096], [1; 4096]].concat());
        assert!(!file.share_from(&from, 1, 0, 4096).unwrap(), "not on the blocks' bounds");
        assert!(file.share_from(&from, 0, 0, 0).unwrap());
        assert_eq!(fs::read(&path).unwrap(), [[first; 4096], [1; 4096]].concat());
    }

    #[test]
    fn refuses_to_change_what_was_opened_for_reading() {
        let (_folder, path, _) = file_of(b"abc");
        let mut file = File::open(&path, false).unwrap().unwrap();
        let text = format!("{}: opened for reading: open it for writing to change it", path.display());
        assert_eq!(file.write_at(0, b"x").unwrap_err().to_string(), text);
        assert_eq!(file.commit_at(0, b"12345678", false).unwrap_err().to_string(), text);
        assert_eq!(file.set_len(0).unwrap_err().to_string(), text);
        assert_eq!(fs::read(&path).unwrap(), b"abc");
    }

    #[test]
    fn opens_nothing_but_regular_files() {
        let folder = tempfile::tempdir().unwrap();
        let (fifo, socket) = (folder.path().join("fifo"), folder.path().join("socket"));
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let cases =
            [(folder.path(), "folder"), (&fifo, "FIFO"), (&socket, "socket"), (Path::new("/dev/null"), "device")];
        for (path, kind) in cases {
            for write in [false, true] {
                let error = File::open(path, write).err().unwrap();
                let text = format!("{}: expected a regular file, found a {kind}", path.display());
                assert_eq!(error.to_string(), text);
            }
        }
        // As when it is put there between the look and the opening.
        let error = File::new(sys::open(&fifo, false).unwrap(), "fifo".into(), false).err().unwrap();
        assert!(error.to_string().starts_with("fifo: expected a regular file, found a FIFO"), "{error}");
        assert!(File::open(&folder.path().join("none"), true).unwrap().is_none());
    }

    #[test]
    fn takes_mode_owner_and_times() {
        let ((_a, path, mut file), (_b, from_path, from)) = (file_of(b""), file_of(b""));
        fs::set_permissions(&from_path, fs::Permissions::from_mode(0o2764)).unwrap();
        // Only root can give a file away; for others this changes nothing, and is to succeed all the same.
        let _ = std::os::unix::fs::chown(&from_path, Some(12), Some(34));
        let times = FileTimes::new()
            .set_accessed(SystemTime::UNIX_EPOCH)
            .set_modified(SystemTime::UNIX_EPOCH + Duration::from_nanos(5));
        from.file.set_times(times).unwrap();
        file.take_attributes(&from).unwrap();
        let attributes = |path| {
            let found = fs::metadata(path).unwrap();
            (found.mode(), found.uid(), found.gid(), found.atime(), found.mtime(), found.mtime_nsec())
        };
        assert_eq!(attributes(&path), attributes(&from_path));
        assert_eq!(fs::metadata(&path).unwrap().mtime_nsec(), 5);
    }

    #[test]
    fn a_fork_neither_writes_nor_takes_nor_gives_back_the_lock() {
        let (_folder, path, mut file) = file_of(b"");
        let (there, here) = (sys::process_id() + 1, sys::process_id());
        assert!(file.try_lock().unwrap());
        file.check_owner().unwrap();
        file.owner = Owner::of(there);
        let error = file.check_owner().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Latched);
        assert_eq!(
            error.detail(),
            format!("opened by process {there}, this is process {here} (a fork): open the file again here")
        );
        assert_eq!(file.try_lock().unwrap_err().kind(), ErrorKind::Latched);
        assert_eq!(file.lock().unwrap_err().kind(), ErrorKind::Latched);
        let source = crate::storage::Memory::from(vec![1]);
        for refused in [
            file.write_at(0, b"x").map(drop),
            file.commit_at(0, b"12345678", false),
            file.commit_at(0, b"12345678", true),
            file.set_len(9),
            file.sync(),
            file.copy_from(&source, 0, 0, 1).map(drop),
            file.take_attributes(&source),
        ] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Latched);
        }
        assert_eq!(fs::read(&path).unwrap(), b"");
        file.unlock().unwrap();
        let mut other = File::open(&path, true).unwrap().unwrap();
        assert!(!other.try_lock().unwrap());
        // What the drop in a child does: its copy is closed, the parent's stays open.
        let parent = file.file.try_clone().unwrap();
        drop(file);
        assert!(!other.try_lock().unwrap());
        drop(parent);
        assert!(other.try_lock().unwrap());
    }

    #[test]
    fn dropping_unlocks_although_a_child_has_the_file_open() {
        let (_folder, path, mut file) = file_of(b"");
        assert!(file.try_lock().unwrap());
        let mut child =
            Command::new("sleep").arg("60").stdin(Stdio::from(file.file.try_clone().unwrap())).spawn().unwrap();
        let mut other = File::open(&path, true).unwrap().unwrap();
        assert!(!other.try_lock().unwrap());
        drop(file);
        let free = other.try_lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(free);
    }
}
