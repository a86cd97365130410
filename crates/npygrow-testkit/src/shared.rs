//! A folder in memory with several handles on a file, locks and identities: all that runs on a disk runs here without one.
//! It holds its callers to what the traits ask of them.

use npygrow::storage::{Folder, Identity, Memory, Storage, Temp};
use npygrow::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Identities are unique in the process, as the library's list of locks is.
static NEXT: AtomicU64 = AtomicU64::new(1);

fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A thread that panics here has failed its test; the others should fail for their own reasons.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folder. Temps have names, so that one left behind shows in [`names`](SharedFolder::names).
#[derive(Clone, Default)]
pub struct SharedFolder {
    files: Arc<Mutex<BTreeMap<OsString, Arc<Inode>>>>,
    /// Before the names of the files in a folder inside: all are in one map.
    prefix: String,
}

struct Inode {
    id: u64,
    content: Mutex<Content>,
    /// The handle that has the lock.
    holder: Mutex<Option<u64>>,
    freed: Condvar,
}

#[derive(Default)]
struct Content {
    bytes: Memory,
    synced: bool,
}

struct SharedFile {
    inode: Arc<Inode>,
    handle: u64,
    write: bool,
}

impl SharedFolder {
    /// The bytes of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let inode = guard(&self.files).get(OsStr::new(name))?.clone();
        let bytes = guard(&inode.content).bytes.bytes().to_vec();
        Some(bytes)
    }

    /// Overwrites `name` in place, as another program does, whoever has it open or locked.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let inode = guard(&self.files).entry(name.into()).or_insert_with(|| Arc::new(Inode::new())).clone();
        guard(&inode.content).bytes = Memory::from(bytes.to_vec());
    }

    /// Gives `name` to a new file, as a rename does.
    pub fn swap(&self, name: &str, bytes: &[u8]) {
        guard(&self.files).remove(OsStr::new(name));
        self.put(name, bytes);
    }

    /// All names, those of temps too.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        guard(&self.files).keys().map(|name| name.to_string_lossy().into_owned()).collect()
    }

    fn full(&self, name: &OsStr) -> OsString {
        format!("{}{}", self.prefix, name.display()).into()
    }

    /// The folder `name` inside. One without a file is there only for who makes it.
    #[must_use]
    pub fn inside(&self, name: &OsStr, make: bool) -> Option<SharedFolder> {
        let prefix = format!("{}{}/", self.prefix, name.display());
        let there = make || self.names().iter().any(|name| name.starts_with(&prefix));
        there.then(|| SharedFolder { files: self.files.clone(), prefix })
    }

    /// Moves what is in one folder inside to another name, and what is there to a third.
    fn move_folders(&self, moves: &[(&OsStr, &OsStr)]) {
        let mut files = guard(&self.files);
        let prefix = |name: &OsStr| format!("{}{}/", self.prefix, name.display());
        let moved = files.keys().filter_map(|name| {
            let found = name.to_string_lossy().into_owned();
            let to = moves.iter().find_map(|(from, to)| Some(prefix(to) + found.strip_prefix(&prefix(from))?))?;
            Some((name.clone(), OsString::from(to)))
        });
        let moved: Vec<_> = moved.collect();
        let taken: Vec<_> = moved.into_iter().filter_map(|(from, to)| Some((to, files.remove(&from)?))).collect();
        files.extend(taken);
    }

    /// Moves the file of the temp to `name`.
    fn rename(&self, temp: &mut Temp, name: &OsStr) {
        let mut files = guard(&self.files);
        let inode = files.remove(temp.path().as_os_str()).expect("the temp is in its folder");
        files.insert(self.full(name), inode);
        temp.set_placed();
    }
}

impl Folder for SharedFolder {
    fn open(&self, name: &OsStr, write: bool) -> Result<Option<Box<dyn Storage>>> {
        let inode = guard(&self.files).get(&self.full(name)).cloned();
        Ok(inode.map(|inode| Box::new(SharedFile { inode, handle: next(), write }) as Box<dyn Storage>))
    }

    fn create_temp(&self, name: &OsStr, _like: Option<&dyn Storage>) -> Result<Temp> {
        let temp = self.full(&temp_name(name));
        self.remove_abandoned(name)?;
        let inode = Arc::new(Inode::new());
        let mut file = SharedFile { inode: inode.clone(), handle: next(), write: true };
        file.try_lock()?;
        if guard(&self.files).insert(temp.clone(), inode).is_some() {
            return Err(Error::new(ErrorKind::Locked, "its new version is being written"));
        }
        let (files, gone) = (self.files.clone(), temp.clone());
        let mut temp_file = Temp::new(Box::new(file), PathBuf::new());
        temp_file.set_name(temp.into(), move || drop(guard(&files).remove(&gone)));
        Ok(temp_file)
    }

    fn link_noreplace(&self, temp: &mut Temp, name: &OsStr) -> Result<bool> {
        let free = !guard(&self.files).contains_key(&self.full(name));
        if free {
            self.rename(temp, name);
        }
        Ok(free)
    }

    fn replace(&self, temp: &mut Temp, name: &OsStr) -> Result<()> {
        let inode = guard(&self.files).get(temp.path().as_os_str()).cloned().expect("the temp is in its folder");
        assert!(guard(&inode.content).synced, "a file that was not synced replaces another");
        self.rename(temp, name);
        Ok(())
    }

    fn remove(&self, name: &OsStr) -> Result<()> {
        guard(&self.files).remove(&self.full(name));
        Ok(())
    }

    fn remove_abandoned(&self, name: &OsStr) -> Result<()> {
        let mut files = guard(&self.files);
        let temp = self.full(&temp_name(name));
        if files.get(&temp).is_some_and(|inode| guard(&inode.holder).is_none()) {
            files.remove(&temp);
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn identity(&self, name: &OsStr) -> Result<Option<Identity>> {
        Ok(guard(&self.files).get(&self.full(name)).map(|inode| inode.identity()))
    }

    fn names(&self) -> Result<Vec<OsString>> {
        let names = self.names();
        let inside = names.iter().filter_map(|name| name.strip_prefix(&self.prefix)?.split('/').next());
        let mut names: Vec<OsString> = inside.map(OsString::from).collect();
        names.dedup();
        Ok(names)
    }

    fn folder(&self, name: &OsStr, make: bool) -> Result<Option<Arc<dyn Folder>>> {
        Ok(self.inside(name, make).map(|folder| Arc::new(folder) as Arc<dyn Folder>))
    }

    fn place_folder(&self, from: &OsStr, to: &OsStr) -> Result<bool> {
        let free = self.inside(to, false).is_none() && !guard(&self.files).contains_key(&self.full(to));
        if free {
            self.move_folders(&[(from, to)]);
        }
        Ok(free)
    }

    fn swap_folders(&self, one: &OsStr, other: &OsStr) -> Result<()> {
        self.move_folders(&[(one, other), (other, one)]);
        Ok(())
    }

    fn remove_folder(&self, name: &OsStr) -> Result<()> {
        let prefix = format!("{}{}/", self.prefix, name.display());
        guard(&self.files).retain(|name, _| !name.to_string_lossy().starts_with(&prefix));
        Ok(())
    }

    fn path(&self, name: &OsStr) -> PathBuf {
        PathBuf::from("shared").join(self.full(name))
    }
}

fn temp_name(name: &OsStr) -> OsString {
    format!(".{}.temp", name.display()).into()
}

impl Inode {
    fn new() -> Self {
        Inode { id: next(), content: Mutex::default(), holder: Mutex::default(), freed: Condvar::new() }
    }

    fn identity(&self) -> Identity {
        // No device has this number.
        Identity { device: u64::MAX, file: self.id }
    }
}

impl SharedFile {
    fn change<T>(&mut self, change: impl FnOnce(&mut Memory) -> Result<T>) -> Result<T> {
        assert!(self.write, "a file opened for reading is written");
        let mut content = guard(&self.inode.content);
        content.synced = false;
        change(&mut content.bytes)
    }
}

impl Storage for SharedFile {
    fn len(&self) -> Result<u64> {
        guard(&self.inode.content).bytes.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        guard(&self.inode.content).bytes.read_at(offset, buf)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<usize> {
        self.change(|memory| memory.write_at(offset, bytes))
    }

    fn commit_at(&mut self, offset: u64, bytes: &[u8], durable: bool) -> Result<()> {
        let len = bytes.len() as u64;
        assert!(matches!(len, 8 | 16) && offset.is_multiple_of(len), "{len} bytes at {offset} can be seen torn");
        self.change(|memory| memory.commit_at(offset, bytes, durable))
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        self.change(|memory| memory.set_len(len))
    }

    fn sync(&mut self) -> Result<()> {
        guard(&self.inode.content).synced = true;
        Ok(())
    }

    fn try_lock(&mut self) -> Result<bool> {
        Ok(*guard(&self.inode.holder).get_or_insert(self.handle) == self.handle)
    }

    fn lock(&mut self) -> Result<bool> {
        let holder = guard(&self.inode.holder);
        let others = |holder: &mut Option<u64>| holder.is_some_and(|holder| holder != self.handle);
        let mut holder = self.inode.freed.wait_while(holder, others).unwrap_or_else(PoisonError::into_inner);
        *holder = Some(self.handle);
        Ok(true)
    }

    fn unlock(&mut self) -> Result<()> {
        let mut holder = guard(&self.inode.holder);
        if *holder == Some(self.handle) {
            *holder = None;
            self.inode.freed.notify_all();
        }
        Ok(())
    }

    fn identity(&self) -> Result<Option<Identity>> {
        Ok(Some(self.inode.identity()))
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        let _ = self.unlock();
    }
}
