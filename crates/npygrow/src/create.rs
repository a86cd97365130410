//! Where a path leads, and making files: rows go into a private temp, which gets the name only when it is whole.

use crate::error::{Error, Result};
use crate::format::{Growable, Layout};
use crate::grow::{Durability, Growing};
use crate::inplace;
use crate::joining;
use crate::open::{Found, Spec, find};
use crate::options::{Mode, Options};
use crate::storage::{Directory, Folder, Hold, Owner, Storage, Temp, Wait, acquire};
use crate::transfer::transfer;
use alloc::boxed::Box;
use alloc::sync::Arc;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A name in a folder, and the process that may write there.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) folder: Arc<dyn Folder>,
    pub(crate) name: OsString,
    owner: Owner,
    /// Whether a concat that was interrupted here may go on: only another one may.
    joins: bool,
}

/// What there is at a place, under its lock.
pub(crate) enum Standing {
    /// Nothing.
    Missing,
    /// A file to be replaced: an empty one, or any in mode `Write`.
    Replaceable(Box<dyn Storage>),
    /// A file to go on with.
    Whole(Box<dyn Storage>, Box<Found>),
}

impl Place {
    /// Where `path` leads, symlinks followed.
    pub(crate) fn resolve(path: &Path) -> Result<Self> {
        let (folder, name) = Directory::resolve(path)?;
        Ok(Place::new(Arc::new(folder), &name))
    }

    pub(crate) fn new(folder: Arc<dyn Folder>, name: &OsStr) -> Self {
        Place { folder, name: name.to_os_string(), owner: Owner::new(), joins: false }
    }

    /// The same place, for a concat.
    pub(crate) fn for_joining(self) -> Self {
        Place { joins: true, ..self }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path(&self.name)
    }

    /// Refuses in a forked child.
    pub(crate) fn check_owner(&self) -> Result<()> {
        self.owner.check()
    }

    /// Opens what is there and takes its lock.
    pub(crate) fn lock(&self, wait: &Wait, hold: Hold) -> Result<Option<Box<dyn Storage>>> {
        loop {
            let Some(mut storage) = self.folder.open(&self.name, true)? else { return Ok(None) };
            acquire(&mut *storage, wait, hold)?;
            // Whoever held the lock may have put another file here meanwhile.
            if self.folder.identity(&self.name)? == storage.identity()? {
                // Tidying up is a courtesy: a leftover that is another user's, say, must not keep anybody from the file.
                let _ = self.folder.remove_abandoned(&self.name);
                return Ok(Some(storage));
            }
        }
    }

    /// What is in the file of this place, under its lock: a move in place that was interrupted is finished first, and a
    /// file that inputs are still to be joined to is nobody else's.
    pub(crate) fn find(&self, storage: &mut dyn Storage, max_header_size: u64) -> Result<Found> {
        inplace::settle(&*self.folder, &self.name, storage, max_header_size)?;
        if !self.joins {
            joining::refuse(&*self.folder, &self.name, storage)?;
        }
        find(storage, max_header_size)
    }

    /// Looks at what is there, as `options` ask.
    pub(crate) fn look(&self, options: &Options) -> Result<Standing> {
        if options.mode == Mode::New && self.folder.identity(&self.name)?.is_some() {
            return Err(exists());
        }
        let Some(mut storage) = self.lock(&wait(options), hold(options))? else { return Ok(Standing::Missing) };
        match options.mode {
            Mode::New => Err(exists()),
            Mode::Write => Ok(Standing::Replaceable(storage)),
            Mode::Append if storage.len()? == 0 => Ok(Standing::Replaceable(storage)),
            Mode::Append => {
                let found = self.find(&mut *storage, options.header_limit())?;
                Ok(Standing::Whole(storage, Box::new(found)))
            }
        }
    }
}

/// How `options` wait for another appender.
pub(crate) fn wait(options: &Options) -> Wait {
    let timeout = match options.lock_timeout {
        None if options.turns => None,
        other => Some(other.unwrap_or(Duration::ZERO)),
    };
    Wait { timeout, poll: options.on_wait.clone() }
}

/// For how long an appender opened with `options` holds the lock.
pub(crate) fn hold(options: &Options) -> Hold {
    if options.turns { Hold::Turn } else { Hold::Open }
}

pub(crate) fn exists() -> Error {
    const EEXIST: i32 = if cfg!(windows) { 80 } else { 17 };
    Error::io("cannot make a new file (mode \"x\")", &std::io::Error::from_raw_os_error(EEXIST))
}

pub(crate) fn missing() -> Error {
    const ENOENT: i32 = 2;
    Error::io("cannot open", &std::io::Error::from_raw_os_error(ENOENT))
}

/// A file being made, which nobody sees yet. Dropping it leaves nothing behind.
pub(crate) struct Creation {
    temp: Temp,
    spec: Spec,
    header: Growable,
    layout: Layout,
    rows: u64,
    end: u64,
}

/// How a [`Creation`] ended.
pub(crate) enum Made {
    /// The file has its name.
    Growing(Box<Growing>),
    /// Somebody else made a file of that name first.
    Late(Box<Creation>),
}

impl Creation {
    /// Begins a file of `rows` rows that will stand at `place`, with the mode of the file that it replaces.
    pub(crate) fn begin(
        place: &Place,
        spec: Spec,
        rows: u64,
        replaces: Option<&dyn Storage>,
        max_header_size: u64,
    ) -> Result<Self> {
        let (header, layout) = spec.header(rows, max_header_size)?;
        layout.end(rows)?;
        let mut temp = place.folder.create_temp(&place.name, replaces)?;
        temp.storage().write_all_at(0, &header.bytes)?;
        Ok(Creation { temp, spec, header, layout, rows, end: layout.data_start })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.temp.storage().write_all_at(self.end, bytes)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// As [`transfer`], for the next bytes.
    pub(crate) fn copy_from(
        &mut self,
        from: &dyn Storage,
        from_offset: u64,
        len: u64,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<u64> {
        let shared = transfer(self.temp.storage(), from, from_offset, self.end, len, progress)?;
        self.end += len;
        Ok(shared)
    }

    pub(crate) fn count(&self) -> u64 {
        self.rows
    }

    /// Where its rows lie, for one who came late and copies them.
    pub(crate) fn rows(&mut self) -> (&dyn Storage, u64, u64) {
        let start = self.layout.data_start;
        (self.temp.storage(), start, self.end - start)
    }

    /// Gives the file its name: the moment its rows exist. `replace`: in the place of the file there. To make the name durable is
    /// left to the caller, who has a handle to latch.
    pub(crate) fn finish(mut self, place: &Place, replace: bool, durability: Durability) -> Result<Made> {
        // A rename over a file that is not on the disk yet can leave an empty one after a power cut.
        if replace || durability != Durability::Process {
            self.temp.storage().sync()?;
        }
        if replace {
            place.folder.replace(&mut self.temp, &place.name)?;
        } else if !place.folder.link_noreplace(&mut self.temp, &place.name)? {
            return Ok(Made::Late(Box::new(self)));
        }
        let storage = self.temp.into_storage();
        let growing = Growing::made(storage, self.spec, self.header, self.layout, self.rows, durability)?;
        Ok(Made::Growing(Box::new(growing)))
    }
}

/// How [`crate::ensure_appendable`] makes room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// By sharing blocks for files of 256 MiB and more where the file system can, else by a copy.
    #[default]
    Auto,
    /// By a copy, whose header is as short as can be.
    Compact,
    /// By sharing blocks where the file system can: nothing is copied, and the header grows by 4096 bytes.
    Fast,
    /// By moving the rows within the file, for a disk too full for a copy: beside the file it takes two blocks of at most
    /// 4 MiB, less where there is less. Slow, since every block is synced twice.
    ///
    /// Until it is done no reader takes the file, which survives a kill and a power cut at any point: whoever opens it
    /// next to append, `recover` and `ensure_appendable` finish the move. Readers and mappings from before see rows move
    /// under them: open them again. Mode and owner stay, the times are those of the move.
    InPlace,
}

/// Below this size a copy is as good as sharing blocks, and leaves a small header.
const SHARE_FROM: u64 = 256 << 20;

/// What sharing blocks adds to the header: they can only be shared at multiples of the file system's block size.
const BLOCK_SIZE: u64 = 4096;

impl Place {
    /// Gives the header of `old` room to grow, in a file that takes its place or in itself, and hands the file back, locked.
    pub(crate) fn give_room(
        &self,
        mut old: Box<dyn Storage>,
        found: &Found,
        room: Room,
        max_header_size: u64,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Box<dyn Storage>> {
        self.check_owner()?;
        if room == Room::InPlace {
            inplace::make_room(&*self.folder, &self.name, &mut *old, found, max_header_size, progress)?;
            return Ok(old);
        }
        let mut temp = self.folder.create_temp(&self.name, Some(&*old))?;
        let data = found.layout.end(found.rows)?;
        let share = room == Room::Fast || room == Room::Auto && data >= SHARE_FROM;
        if !(share && share_rows(&mut temp, &*old, found, data, max_header_size)?) {
            copy_rows(&mut temp, &*old, found, data, max_header_size, progress)?;
        }
        temp.storage().take_attributes(&*old)?;
        temp.storage().sync()?;
        self.folder.replace(&mut temp, &self.name)?;
        self.folder.sync()?;
        Ok(temp.into_storage())
    }
}

fn copy_rows(
    temp: &mut Temp,
    old: &dyn Storage,
    found: &Found,
    end: u64,
    max_header_size: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let (header, layout) = found.spec.header(found.rows, max_header_size)?;
    let (from, to) = (found.layout.data_start, layout.data_start);
    let (size, mut done) = (end - from, 0);
    temp.storage().write_all_at(0, &header.bytes)?;
    let mut told = |step| {
        done += step;
        progress(done, size);
        Ok(())
    };
    transfer(temp.storage(), old, from, to, size, &mut told).map_err(|error| error.and("the file is as it was"))?;
    Ok(())
}

/// The whole old file moves back by one block, and a longer header covers the old one.
fn share_rows(temp: &mut Temp, old: &dyn Storage, found: &Found, end: u64, max_header_size: u64) -> Result<bool> {
    let len = found.header.len + BLOCK_SIZE;
    let spec = &found.spec;
    let header = Growable::within(found.header.version, len, &spec.dtype, spec.order, &spec.row_shape, found.rows);
    let Some(header) = header.filter(|_| len <= max_header_size) else { return Ok(false) };
    if !temp.storage().share_from(old, 0, BLOCK_SIZE, end)? {
        return Ok(false);
    }
    temp.storage().write_all_at(0, &header.bytes)?;
    Ok(true)
}
