use super::{File, Identity, Storage, Temp, file, lock, sys};
use crate::error::{Error, Result, error};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute, is_separator};
use std::process;

/// Where files are made, replaced and removed; their names are names inside it.
pub trait Folder: Send + Sync {
    /// Opens `name`, with `write` for reading and writing; `None` when nothing is there.
    fn open(&self, name: &OsStr, write: bool) -> Result<Option<Box<dyn Storage>>>;

    /// Makes the empty file that will become `name`: locked, with the mode of `like`, or else what the process's umask
    /// leaves of 0666.
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

    /// What messages call `name`.
    fn path(&self, name: &OsStr) -> PathBuf;
}

/// A folder of the file system.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Absolute: an appender outlives a change of the working directory.
    at: PathBuf,
    /// As the caller wrote it, for messages.
    shown: PathBuf,
}

/// As many symlinks as Linux follows.
const MAX_SYMLINKS: usize = 40;

impl Directory {
    /// The folder and the name that `path` leads to, through symlinks, whether the last leads to a file yet or not.
    ///
    /// A missing folder, and a path that is a folder, are errors.
    pub fn resolve(path: &Path) -> Result<(Self, OsString)> {
        if path.as_os_str().is_empty() {
            return Err(error!(Io, "expected the path of a file, found an empty one"));
        }
        let mut path = path.to_path_buf();
        for _ in 0..MAX_SYMLINKS {
            match fs::read_link(&path) {
                Ok(target) => path = parent(&path).join(target),
                // No symlink, or nothing at all, or something that `split` will trip over too.
                Err(_) => return Self::split(&path).map_err(|error| error.at(path.display())),
            }
        }
        Err(error!(Io, "followed {MAX_SYMLINKS} symlinks and found no file: do they go round?").at(path.display()))
    }

    fn split(path: &Path) -> Result<(Self, OsString)> {
        let folder = path.as_os_str().as_encoded_bytes().last().is_some_and(|byte| is_separator(char::from(*byte)));
        let Some(name) = path.file_name().filter(|_| !folder) else {
            return Err(error!(Io, "expected the path of a file, found the path of a folder"));
        };
        let shown = parent(path);
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(file::irregular(&found)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = if shown.as_os_str().is_empty() { Path::new(".") } else { shown };
                fs::metadata(folder)
                    .map_err(|error| Error::io(format!("no folder {}: make it first", folder.display()), &error))?;
            }
            Err(error) => return Err(Error::io("cannot look up", &error)),
        }
        let mut at = absolute(path).map_err(|error| Error::io("cannot tell the working folder", &error))?;
        at.pop();
        Ok((Directory { at, shown: shown.into() }, name.into()))
    }

    fn fail(&self, action: &'static str, name: &OsStr) -> impl Fn(io::Error) -> Error {
        move |error| Error::io(action, &error).at(self.path(name).display())
    }

    /// The one name that temps for `name` have.
    fn temp(&self, name: &OsStr) -> PathBuf {
        self.at.join(temp_name(name))
    }

    /// Lets `make` make a file of the temp's name, once an abandoned one is out of the way.
    fn make_temp<T>(&self, name: &OsStr, make: impl Fn(&Path) -> io::Result<T>) -> Result<T> {
        let path = self.temp(name);
        loop {
            match make(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map_err(self.fail("cannot make a new file in its folder", name)),
            }
            if !self.clear(&path)? {
                let holder = sys::identity_at(&path).ok().flatten();
                return Err(lock::refusal(holder, None)
                    .and("its new version is being written")
                    .at(self.path(name).display()));
            }
        }
    }

    fn create_named(&self, name: &OsStr, private: bool) -> Result<File> {
        let path = self.temp(name);
        loop {
            let file = self.make_temp(name, |path| sys::create(path, private))?;
            let mut file = File::new(file, self.path(name), true)?;
            // Before it was locked, another process may have taken it for abandoned, and be removing it.
            if file.try_lock()? && sys::identity_at(&path).is_ok_and(|found| found == file.id()) {
                return Ok(file);
            }
        }
    }

    /// Removes the temp at `path`; `false` when someone holds its lock.
    fn clear(&self, path: &Path) -> Result<bool> {
        let Some(mut file) = File::open(path, false)? else { return Ok(true) };
        if !file.try_lock()? {
            return Ok(false);
        }
        // Only under the lock, and only while the name is still this file's, is it sure to be nobody's.
        let removed =
            sys::identity_at(path).and_then(|found| if found == file.id() { fs::remove_file(path) } else { Ok(()) });
        removed.map(|()| true).map_err(|error| Error::io("cannot remove", &error).at(path.display()))
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// `.NAME.npygrow`; of a name too long for that, the end.
fn temp_name(name: &OsStr) -> String {
    const MAX_BYTES: usize = 255 - ".".len() - ".npygrow".len();
    let name = name.to_string_lossy();
    let mut start = name.len().saturating_sub(MAX_BYTES);
    while !name.is_char_boundary(start) {
        start += 1;
    }
    format!(".{}.npygrow", &name[start..])
}

/// Removes `path`, unless a fork of this process asks.
fn remover(path: PathBuf) -> impl FnOnce() + Send + 'static {
    let owner = process::id();
    move || {
        if owner == process::id() {
            let _ = fs::remove_file(path);
        }
    }
}

impl Folder for Directory {
    fn open(&self, name: &OsStr, write: bool) -> Result<Option<Box<dyn Storage>>> {
        let file = File::open_shown(&self.at.join(name), self.path(name), write)?;
        Ok(file.map(|file| Box::new(file) as Box<dyn Storage>))
    }

    fn create_temp(&self, name: &OsStr, like: Option<&dyn Storage>) -> Result<Temp> {
        let private = like.is_some();
        let mut temp = match sys::create_unnamed(&self.at, private) {
            Ok((file, path)) => {
                let mut file = File::new(file, self.path(name), true)?;
                file.try_lock()?;
                Temp::new(Box::new(file), path)
            }
            // Not here, or not at all: then the plain way gives the error.
            Err(_) => {
                let path = self.temp(name);
                let mut temp = Temp::new(Box::new(self.create_named(name, private)?), PathBuf::new());
                temp.set_name(path.clone(), remover(path));
                temp
            }
        };
        if let Some(like) = like {
            temp.storage().take_attributes(like)?;
        }
        Ok(temp)
    }

    fn link_noreplace(&self, temp: &mut Temp, name: &OsStr) -> Result<bool> {
        let link = if temp.has_name() { sys::rename_noreplace } else { sys::link_unnamed };
        match link(temp.path(), &self.at.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            linked => {
                linked.map_err(self.fail("cannot give the new file its name", name))?;
                temp.set_placed();
                Ok(true)
            }
        }
    }

    fn replace(&self, temp: &mut Temp, name: &OsStr) -> Result<()> {
        if !temp.has_name() {
            self.make_temp(name, |path| sys::link_unnamed(temp.path(), path))?;
            let path = self.temp(name);
            temp.set_name(path.clone(), remover(path));
        }
        fs::rename(temp.path(), self.at.join(name)).map_err(self.fail("cannot put the new file in its place", name))?;
        temp.set_placed();
        Ok(())
    }

    fn remove(&self, name: &OsStr) -> Result<()> {
        match fs::remove_file(self.at.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(self.fail("cannot remove", name)),
        }
    }

    fn remove_abandoned(&self, name: &OsStr) -> Result<()> {
        self.clear(&self.temp(name)).map(drop)
    }

    fn sync(&self) -> Result<()> {
        sys::sync_folder(&self.at).map_err(|error| Error::io("cannot sync the folder", &error).at(self.at.display()))
    }

    fn identity(&self, name: &OsStr) -> Result<Option<Identity>> {
        sys::identity_at(&self.at.join(name)).map_err(self.fail("cannot look up", name))
    }

    fn path(&self, name: &OsStr) -> PathBuf {
        self.shown.join(name)
    }
}
