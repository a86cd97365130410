use super::{Identity, Storage};
use crate::error::{Result, error};
use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where files are made, replaced and removed; their names are names inside it.
pub trait Folder: Send + Sync {
    /// Opens `name`, with `write` for reading and writing; `None` when nothing is there.
    fn open(&self, name: &OsStr, write: bool) -> Result<Option<Box<dyn Storage>>>;

    /// Makes the empty file that will become `name`: locked, with mode, owner and times of `like`, or else the mode that the
    /// process's umask leaves of 0666.
    fn create_temp(&self, name: &OsStr, like: Option<&dyn Storage>) -> Result<Temp>;

    /// Gives the temp the name, unless something has it: then `false`, and the temp is to be dropped.
    fn link_noreplace(&self, temp: &mut Temp, name: &OsStr) -> Result<bool>;

    /// Puts the temp in the place of `name`. The caller has synced it.
    fn replace(&self, temp: &mut Temp, name: &OsStr) -> Result<()>;

    /// Removes `name`, if it is there.
    fn remove(&self, name: &OsStr) -> Result<()>;

    /// Removes the temp that a dead process left for `name`: one that nobody holds the lock of.
    fn remove_abandoned(&self, name: &OsStr) -> Result<()>;

    /// Makes the names given so far survive a power cut.
    fn sync(&self) -> Result<()>;

    /// Which file has the name now.
    fn identity(&self, name: &OsStr) -> Result<Option<Identity>>;

    /// All names in it, those of folders too, in any order. What is not asked for a folder of columns need not have it.
    fn names(&self) -> Result<Vec<OsString>> {
        Err(error!(Unsupported, "this kind of folder cannot say what is in it"))
    }

    /// The folder `name` in it, made with `make` where nothing is; `None` where nothing is, or a file.
    fn folder(&self, name: &OsStr, make: bool) -> Result<Option<Arc<dyn Folder>>> {
        if make {
            Err(error!(Unsupported, "this kind of folder has no folders in it").at(name.display()))
        } else {
            Ok(None)
        }
    }

    /// Gives the folder `from` in it the name `to`, at once; `false` where that name is a file's, or a folder's with something
    /// in it.
    fn place_folder(&self, from: &OsStr, to: &OsStr) -> Result<bool> {
        let _ = from;
        Err(error!(Unsupported, "this kind of folder has no folders in it").at(to.display()))
    }

    /// Swaps the names of two folders in it, at once.
    fn swap_folders(&self, one: &OsStr, other: &OsStr) -> Result<()> {
        let _ = one;
        Err(error!(Unsupported, "this kind of folder has no folders in it").at(other.display()))
    }

    /// Removes the folder `name` in it with all that is there, if it is there.
    fn remove_folder(&self, name: &OsStr) -> Result<()> {
        Err(error!(Unsupported, "this kind of folder has no folders in it").at(name.display()))
    }

    /// Keeps others out of the same call until what it gives is dropped: for making files that belong together. A folder that
    /// only one process can reach, or that cannot be locked, gives nothing.
    fn lock(&self) -> Result<Option<Box<dyn Any>>> {
        Ok(None)
    }

    /// What messages call `name`.
    fn path(&self, name: &OsStr) -> PathBuf;
}

/// The name `.NAME.SUFFIX`, for what stands beside `name`; of a name too long for that, the end.
pub(crate) fn beside(name: &OsStr, suffix: &str) -> OsString {
    const MAX_BYTES: usize = 255;
    let name = name.to_string_lossy();
    let mut start = (name.len() + suffix.len() + "..".len()).saturating_sub(MAX_BYTES);
    while !name.is_char_boundary(start) {
        start += 1;
    }
    format!(".{}.{suffix}", &name[start..]).into()
}

/// A file in the making: it has its final name only once its folder gave it that. Dropped before, it leaves nothing behind.
pub struct Temp {
    // Before `storage`: the name goes while the lock is still held, so that it cannot have become another's.
    removal: Removal,
    path: PathBuf,
    storage: Box<dyn Storage>,
}

struct Removal(Option<Box<dyn FnOnce() + Send>>);

impl Drop for Removal {
    fn drop(&mut self) {
        if let Some(remove) = self.0.take() {
            remove();
        }
    }
}

impl Temp {
    /// A file without a name; its folder finds it by `path`.
    #[must_use]
    pub fn new(storage: Box<dyn Storage>, path: PathBuf) -> Self {
        Temp { removal: Removal(None), path, storage }
    }

    /// The file has the name `path` for now; dropping the temp calls `remove`.
    pub fn set_name(&mut self, path: PathBuf, remove: impl FnOnce() + Send + 'static) {
        self.path = path;
        self.removal.0 = Some(Box::new(remove));
    }

    /// The file has its final name: nothing is removed any more.
    pub fn set_placed(&mut self) {
        self.removal.0 = None;
    }

    /// Whether it has a name that goes when the temp is dropped.
    #[must_use]
    pub fn has_name(&self) -> bool {
        self.removal.0.is_some()
    }

    /// By what its folder finds it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file itself.
    pub fn storage(&mut self) -> &mut dyn Storage {
        &mut *self.storage
    }

    /// The file, once it has its final name.
    #[must_use]
    pub fn into_storage(self) -> Box<dyn Storage> {
        self.storage
    }

    /// The same temp with another storage around its own: for folders that wrap a folder.
    #[must_use]
    pub fn wrap(mut self, with: impl FnOnce(Box<dyn Storage>) -> Box<dyn Storage>) -> Self {
        self.storage = with(self.storage);
        self
    }
}
