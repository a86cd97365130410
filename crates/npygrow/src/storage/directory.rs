use super::{File, Folder, Hold, Identity, Owner, Storage, Temp, Wait, beside, file, lock, sys};
use crate::error::{Error, ErrorKind, Result, error};
#[cfg(unix)]
use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute, is_separator};
use std::sync::Arc;
use std::time::Duration;

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

/// For longer than this nobody holds a temp's lock only to remove it.
const TIDYING: Duration = Duration::from_millis(100);

impl Directory {
    /// The folder and the name that `path` leads to, through symlinks, whether the last leads to a file yet or not.
    ///
    /// A missing folder, and a path that is a folder, are errors.
    pub fn resolve(path: &Path) -> Result<(Self, OsString)> {
        if path.as_os_str().is_empty() {
            let text = "expected the path of a file, found an empty one";
            return Err(Error::of_kind(io::ErrorKind::NotFound, text));
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

    /// The folder at `path`, made where there is none, its name durable then; its parent must be there.
    pub fn make(path: &Path) -> Result<Self> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io("cannot make the folder", &error)),
            Ok(()) => {
                let inside = absolute(path).map_err(|error| Error::io("cannot tell the working folder", &error))?;
                sys::sync_folder(parent(&inside))
                    .map_err(|error| Error::io("cannot sync the folder around it", &error))?;
            }
        }
        Directory::at(path)
    }

    /// The folder at `path`.
    pub fn at(path: &Path) -> Result<Self> {
        let at = absolute(path).map_err(|error| Error::io("cannot tell the working folder", &error))?;
        let found = fs::metadata(&at).map_err(|error| Error::io("cannot open the folder", &error))?;
        if !found.is_dir() {
            return Err(Error::of_kind(io::ErrorKind::NotADirectory, "expected a folder, found a file"));
        }
        Ok(Directory { at, shown: path.into() })
    }

    /// The folder around the folder `path`, which is there or is to be made, and its name in it; symlinks are followed.
    pub fn around(path: &Path) -> Result<(Self, OsString)> {
        let at = fs::canonicalize(path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => absolute(path),
            _ => Err(error),
        });
        let at = at.map_err(|error| Error::io("cannot look up", &error))?;
        let (Some(name), Some(outer)) = (at.file_name(), at.parent()) else {
            return Err(error!(Mismatch, "expected the path of a folder to make, found the topmost folder"));
        };
        match fs::metadata(outer) {
            Ok(found) if found.is_dir() => {
                Ok((Directory { at: outer.into(), shown: parent(path).into() }, name.into()))
            }
            Ok(_) => Err(Error::of_kind(io::ErrorKind::NotADirectory, "expected a folder around it, found a file")),
            Err(error) => Err(Error::io(format!("no folder {}: make it first", outer.display()), &error)),
        }
    }

    fn split(path: &Path) -> Result<(Self, OsString)> {
        let folder = path.as_os_str().as_encoded_bytes().last().is_some_and(|byte| is_separator(char::from(*byte)));
        let Some(name) = path.file_name().filter(|_| !folder) else {
            let text = "expected the path of a file, found the path of a folder";
            return Err(Error::of_kind(io::ErrorKind::IsADirectory, text));
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
        self.at.join(beside(name, "npygrow"))
    }

    /// Lets `make` make a file of the temp's name, once an abandoned one is out of the way.
    fn make_temp<T>(&self, name: &OsStr, make: impl Fn(&Path) -> io::Result<T>) -> Result<T> {
        let path = self.temp(name);
        loop {
            match make(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map_err(self.fail("cannot make a new file in its folder", name)),
            }
            self.clear(&path, TIDYING)
                .map_err(|error| error.and("new versions are written here").at(path.display()))?;
        }
    }

    fn unnamed_temp(&self, name: &OsStr, private: bool) -> Result<Temp> {
        let (file, path) =
            sys::create_unnamed(&self.at, private).map_err(self.fail("cannot make a file without a name", name))?;
        let mut file = File::new(file, self.path(name), true)?;
        file.try_lock()?;
        Ok(Temp::new(Box::new(file), path))
    }

    fn named_temp(&self, name: &OsStr, private: bool) -> Result<Temp> {
        let path = self.temp(name);
        loop {
            let file = self.make_temp(name, |path| sys::create(path, private))?;
            let mut file = File::new(file, self.path(name), true)?;
            // Before it was locked, another process may have taken it for abandoned, and be removing it.
            if file.try_lock()? && sys::identity_at(&path).is_ok_and(|found| found == file.identity) {
                let mut temp = Temp::new(Box::new(file), PathBuf::new());
                temp.set_name(path.clone(), remover(path));
                return Ok(temp);
            }
        }
    }

    /// Removes the temp at `path`, unless someone holds its lock for longer than `timeout`.
    fn clear(&self, path: &Path, timeout: Duration) -> Result<()> {
        // One to nowhere would be there and not there for ever.
        if path.is_symlink() {
            return Err(error!(Io, "expected a regular file, found a symlink: remove it").at(path.display()));
        }
        let Some(mut file) = File::open(path, false)? else { return Ok(()) };
        lock::acquire(&mut file, &Wait { timeout: Some(timeout), poll: None }, Hold::Turn)?;
        // Only under the lock, and only while the name is still this file's, is it sure to be nobody's.
        sys::identity_at(path)
            .and_then(|found| if found == file.identity { fs::remove_file(path) } else { Ok(()) })
            .map_err(|error| Error::io("cannot remove", &error).at(path.display()))
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Removes `path`, unless a fork of this process asks.
fn remover(path: PathBuf) -> impl FnOnce() + Send + 'static {
    let owner = Owner::new();
    move || {
        if owner.is_here() {
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
        // Whatever is amiss with the first, the second either works or gives the true error.
        let mut temp = self.unnamed_temp(name, private).or_else(|_| self.named_temp(name, private))?;
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
        match self.clear(&self.temp(name), Duration::ZERO) {
            Err(error) if error.kind() == ErrorKind::Locked => Ok(()),
            cleared => cleared,
        }
    }

    fn sync(&self) -> Result<()> {
        sys::sync_folder(&self.at).map_err(|error| Error::io("cannot sync the folder", &error).at(self.at.display()))
    }

    fn identity(&self, name: &OsStr) -> Result<Option<Identity>> {
        sys::identity_at(&self.at.join(name)).map_err(self.fail("cannot look up", name))
    }

    /// The lock is the folder's own; elsewhere than on Unix a folder cannot be opened.
    #[cfg(unix)]
    fn lock(&self) -> Result<Option<Box<dyn Any>>> {
        let lock = || {
            let folder = fs::File::open(&self.at)?;
            while !sys::lock(&folder)? {}
            Ok(folder)
        };
        let folder = lock().map_err(|error| Error::io("cannot lock the folder", &error).at(self.shown.display()))?;
        Ok(Some(Box::new(folder)))
    }

    fn names(&self) -> Result<Vec<OsString>> {
        let entries = fs::read_dir(&self.at).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        entries.map_err(|error: io::Error| Error::io("cannot list the folder", &error).at(self.shown.display()))
    }

    fn folder(&self, name: &OsStr, make: bool) -> Result<Option<Arc<dyn Folder>>> {
        let path = self.at.join(name);
        if make {
            let made = fs::create_dir(&path).or_else(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(error),
            });
            made.map_err(self.fail("cannot make the folder", name))?;
        }
        Ok(path.is_dir().then(|| Arc::new(Directory { at: path, shown: self.path(name) }) as Arc<dyn Folder>))
    }

    fn place_folder(&self, from: &OsStr, to: &OsStr) -> Result<bool> {
        let (from, at) = (self.at.join(from), self.at.join(to));
        if cfg!(windows) {
            // Only there is an empty folder in the way of a rename.
            let _ = fs::remove_dir(&at);
        }
        match fs::rename(from, at) {
            Err(error) if is_taken(error.kind()) => Ok(false),
            renamed => renamed.map(|()| true).map_err(self.fail("cannot give the new folder its name", to)),
        }
    }

    fn swap_folders(&self, one: &OsStr, other: &OsStr) -> Result<()> {
        sys::swap(&self.at.join(one), &self.at.join(other))
            .map_err(self.fail("cannot put the new folder in its place", other))
    }

    fn remove_folder(&self, name: &OsStr) -> Result<()> {
        match fs::remove_dir_all(self.at.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(self.fail("cannot remove the folder", name)),
        }
    }

    fn path(&self, name: &OsStr) -> PathBuf {
        self.shown.join(name)
    }
}

/// Whether a rename failed because there is something already.
fn is_taken(why: io::ErrorKind) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(why, AlreadyExists | DirectoryNotEmpty | NotADirectory)
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::thread;
    use tempfile::TempDir;

    const NAME: &str = "rows.npy";
    const TEMP: &str = ".rows.npy.npygrow";

    fn folder() -> (TempDir, Directory) {
        let real = tempfile::tempdir().unwrap();
        let (folder, name) = Directory::resolve(&real.path().join(NAME)).unwrap();
        assert_eq!(name, NAME);
        (real, folder)
    }

    /// Both kinds of temp, whatever this file system has.
    fn temps(folder: &Directory) -> Vec<fn(&Directory) -> Result<Temp>> {
        let mut all: Vec<fn(&Directory) -> Result<Temp>> = vec![|folder| folder.named_temp(NAME.as_ref(), false)];
        if folder.unnamed_temp(NAME.as_ref(), false).is_ok() {
            all.push(|folder| folder.unnamed_temp(NAME.as_ref(), false));
        }
        all
    }

    fn names(real: &TempDir) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(real.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_temp_gets_its_name_or_leaves_nothing() {
        let (real, folder) = folder();
        for make in temps(&folder) {
            drop(make(&folder).unwrap());
            assert!(names(&real).is_empty());
            let mut temp = make(&folder).unwrap();
            temp.storage().write_all_at(0, b"rows").unwrap();
            assert!(folder.link_noreplace(&mut temp, NAME.as_ref()).unwrap());
            assert_eq!(names(&real), [NAME]);
            let held = temp.into_storage();
            let mut other = folder.open(NAME.as_ref(), true).unwrap().unwrap();
            assert!(!other.try_lock().unwrap(), "locked from birth");
            assert_eq!(folder.identity(NAME.as_ref()).unwrap(), held.identity().unwrap());
            drop(held);

            let mut late = make(&folder).unwrap();
            assert!(!folder.link_noreplace(&mut late, NAME.as_ref()).unwrap());
            drop(late);
            assert_eq!(names(&real), [NAME]);
            assert_eq!(fs::read(real.path().join(NAME)).unwrap(), b"rows");
            folder.sync().unwrap();
            folder.remove(NAME.as_ref()).unwrap();
            folder.remove(NAME.as_ref()).unwrap();
            assert_eq!(folder.identity(NAME.as_ref()).unwrap(), None);
        }
    }

    #[test]
    fn a_temp_takes_the_place_of_a_file() {
        let (real, folder) = folder();
        for make in temps(&folder) {
            fs::write(real.path().join(NAME), b"old").unwrap();
            fs::write(real.path().join(TEMP), b"left by a dead process").unwrap();
            let mut temp = make(&folder).unwrap();
            temp.storage().write_all_at(0, b"new").unwrap();
            assert_eq!(fs::read(real.path().join(NAME)).unwrap(), b"old");
            folder.replace(&mut temp, NAME.as_ref()).unwrap();
            assert!(!temp.has_name());
            drop(temp);
            assert_eq!(fs::read(real.path().join(NAME)).unwrap(), b"new");
            assert_eq!(names(&real), [NAME]);
        }
    }

    #[test]
    fn only_an_abandoned_temp_is_removed() {
        let (real, folder) = folder();
        let held = folder.named_temp(NAME.as_ref(), false).unwrap();
        folder.remove_abandoned(NAME.as_ref()).unwrap();
        assert_eq!(names(&real), [TEMP]);
        let error = folder.named_temp(NAME.as_ref(), false).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Locked);
        assert!(error.to_string().ends_with("; new versions are written here"), "{error}");
        drop(held);
        fs::write(real.path().join(TEMP), b"left by a dead process").unwrap();
        folder.remove_abandoned(NAME.as_ref()).unwrap();
        folder.remove_abandoned(NAME.as_ref()).unwrap();
        symlink("nowhere", real.path().join(TEMP)).unwrap();
        let error = folder.named_temp(NAME.as_ref(), false).err().unwrap();
        assert!(error.to_string().contains("found a symlink: remove it"), "{error}");
    }

    #[test]
    fn a_temp_is_its_makers_while_others_make_and_tidy() {
        let (real, folder) = folder();
        let make = || {
            for _ in 0..500 {
                let mut temp = folder.named_temp(NAME.as_ref(), false).unwrap();
                thread::sleep(Duration::from_micros(20));
                let ours = temp.storage().identity().unwrap();
                assert_eq!(sys::identity_at(&real.path().join(TEMP)).unwrap(), ours);
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| (0..5000).for_each(|_| folder.remove_abandoned(NAME.as_ref()).unwrap()));
            scope.spawn(make);
            scope.spawn(make);
        });
        assert!(names(&real).is_empty());
    }

    #[test]
    fn a_new_file_has_the_usual_mode_or_that_of_the_old() {
        let (real, folder) = folder();
        let old = real.path().join("old");
        fs::write(&old, b"").unwrap();
        let usual = fs::metadata(&old).unwrap().mode();
        for make in temps(&folder) {
            let mut temp = make(&folder).unwrap();
            assert_eq!(File::behind(temp.storage()).unwrap().metadata().unwrap().mode(), usual);
        }
        fs::set_permissions(&old, fs::Permissions::from_mode(0o642)).unwrap();
        let like = folder.open("old".as_ref(), false).unwrap().unwrap();
        let mut temp = folder.create_temp(NAME.as_ref(), Some(&*like)).unwrap();
        assert_eq!(File::behind(temp.storage()).unwrap().metadata().unwrap().mode() & 0o7777, 0o642);
    }

    #[test]
    fn long_names_have_temps_too() {
        let (_real, folder) = folder();
        for name in ["x".repeat(255), "ä".repeat(127), "x".repeat(3) + &"€".repeat(84)] {
            assert!(beside(name.as_ref(), "npygrow").len() <= 255);
            let mut temp = folder.named_temp(name.as_ref(), false).unwrap();
            assert!(folder.link_noreplace(&mut temp, name.as_ref()).unwrap());
        }
    }

    #[test]
    fn symlinks_lead_to_the_file_that_is_or_will_be() {
        let (real, _) = folder();
        let inside = |name: &str| real.path().join(name);
        fs::create_dir(inside("sub")).unwrap();
        symlink("sub/next", inside("first")).unwrap();
        symlink("../rows.npy", inside("sub/next")).unwrap();
        symlink(inside("nowhere/rows.npy"), inside("astray")).unwrap();
        symlink("round", inside("round")).unwrap();
        for _ in ["dangling", "there"] {
            let (folder, name) = Directory::resolve(&inside("first")).unwrap();
            assert_eq!(folder.path(&name), inside("sub/../rows.npy"));
            fs::write(inside(NAME), b"").unwrap();
            assert!(folder.open(&name, true).unwrap().is_some());
        }
        let error = Directory::resolve(&inside("astray")).unwrap_err().to_string();
        assert!(error.contains("nowhere: make it first"), "{error}");
        let error = Directory::resolve(&inside("round")).unwrap_err().to_string();
        assert!(error.ends_with("followed 40 symlinks and found no file: do they go round?"), "{error}");
    }

    #[test]
    fn says_what_is_wrong_with_a_path() {
        let (real, _) = folder();
        fs::write(real.path().join(NAME), b"").unwrap();
        let error = |path: &Path| Directory::resolve(path).unwrap_err().to_string();
        let shown = real.path().display();
        assert_eq!(error(Path::new("")), "expected the path of a file, found an empty one");
        assert_eq!(error(Path::new("new/")), "new/: expected the path of a file, found the path of a folder");
        assert_eq!(error(Path::new("..")), "..: expected the path of a file, found the path of a folder");
        assert_eq!(error(real.path()), format!("{shown}: expected a regular file, found a folder"));
        let text = format!("{shown}/x/y.npy: no folder {shown}/x: make it first: No such file or directory");
        assert!(error(&real.path().join("x/y.npy")).starts_with(&text));
        assert!(error(&real.path().join(NAME).join("y")).contains("cannot look up: Not a directory"));
    }

    #[test]
    fn a_relative_path_stays_so_in_messages_only() {
        let (folder, name) = Directory::resolve(Path::new("rows.npy")).unwrap();
        assert_eq!(folder.path(&name), Path::new("rows.npy"));
        assert!(folder.at.is_absolute());
    }
}
