//! The appender and its path: what is found there, the turn, and a new file's name.

use super::{Appender, State, unknown_dtype};
use crate::create::{Creation, Made, Place, Room, Standing, hold, wait};
use crate::element::{self, Element};
use crate::error::{Result, error};
use crate::grow::{Durability, Growing, tears};
use crate::open::{Growth, find};
use crate::options::{Mode, Options};
use crate::storage::{Folder, Hold, Storage as _, acquire};
use crate::tail::{Dropped, Tail};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::Range;
use std::ffi::OsStr;
use std::path::Path;

impl Options {
    /// Opens `path` for appending; symlinks are followed. A path where nothing is, or an empty file, becomes a file at the
    /// first append, or at once when dtype and row shape are given.
    ///
    /// # Errors
    ///
    /// `Locked` when another appender holds the file; `NeedsRecovery` when it is broken; `NotAppendable` when its header
    /// has no room; `Mismatch` when it is not what the options ask for; `NotNpy`, `Malformed`, `Unsupported`, `OverLimit`
    /// when it is no file for us; `Io` for the rest.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Appender> {
        let path = path.as_ref();
        let open = || Appender::at(self, Place::resolve(path)?);
        open().map_err(|error| error.at(path.display()))
    }

    /// As [`open`](Options::open), in any [`Folder`](crate::storage::Folder).
    ///
    /// # Errors
    ///
    /// As [`open`](Options::open).
    pub fn open_in(self, folder: Arc<dyn Folder>, name: &OsStr) -> Result<Appender> {
        let path = folder.path(name);
        Appender::at(self, Place::new(folder, name)).map_err(|error| error.at(path.display()))
    }
}

impl Appender {
    pub(crate) fn at(options: Options, place: Place) -> Result<Self> {
        if options.turns && options.mode == Mode::Write {
            return Err(error!(Mismatch, "turns go with mode \"a\" or \"x\": replacing a file is one appender's work"));
        }
        let standing = place.look(&options)?;
        let replaces = matches!(standing, Standing::Replaceable(_));
        let keeps_old = replaces && options.mode == Mode::Write;
        let mut this = Appender::new(options, State::Pending { replaces: None }, Dropped::default());
        this.place = Some(place);
        this.stand(standing)?;
        if this.options.is_settled() && matches!(this.state, State::Pending { .. }) && !keeps_old {
            let target = this.start(0, 0)?;
            this.complete(target, 0)?;
        }
        this.unlock()?;
        Ok(this)
    }

    /// Goes on with what was found at the place.
    pub(super) fn stand(&mut self, standing: Standing) -> Result<()> {
        match standing {
            Standing::Missing => self.state = State::Pending { replaces: None },
            Standing::Replaceable(old) => self.state = State::Pending { replaces: Some(old) },
            Standing::Whole(mut storage, mut found) => {
                self.options.check(&found.spec)?;
                let torn = |ours: &[u8]| tears(&found.bytes, ours, self.options.durability);
                let syncs = self.options.durability != Durability::Process;
                let tears = matches!(&found.growth, Growth::Adoptable(ours) if torn(&ours.bytes));
                if let Some(place) = self.place.as_ref().filter(|_| tears) {
                    let tail = Tail::of(&found, self.options.on_tail)?;
                    found.rows += tail.keep;
                    storage =
                        place.give_room(storage, &found, Room::Auto, self.options.header_limit(), &mut |_, _| {})?;
                    let dropped = tail.dropped(found.layout.row_size);
                    self.drop_also(dropped);
                    acquire(&mut *storage, &wait(&self.options), hold(&self.options))?;
                    *found = find(&*storage, self.options.header_limit())?;
                } else if let Some(place) = self.place.as_ref().filter(|_| syncs) {
                    // Who made the file may not have made its name durable, and the rows would go with the name.
                    place.folder.sync()?;
                }
                let spec = found.spec.clone();
                let (growing, dropped) =
                    Growing::resume(storage, *found, self.options.durability, self.options.on_tail)?;
                self.state = State::Growing(Box::new(growing));
                self.drop_also(dropped);
                self.remember(&spec);
            }
        }
        Ok(())
    }

    /// Takes the lock and looks at the file again, where appenders take turns.
    pub(super) fn take_turn(&mut self) -> Result<()> {
        if !self.options.turns || self.keeps_turn {
            return Ok(());
        }
        let taken = self.take_lock();
        if taken.is_err() {
            self.unlock()?;
        }
        taken
    }

    fn take_lock(&mut self) -> Result<()> {
        let Some(place) = self.place.clone() else { return Ok(()) };
        place.check_owner()?;
        let State::Growing(growing) = &mut self.state else {
            // An empty file that was found before is locked by this very appender: a second look would wait for it for ever.
            self.unlock()?;
            return self.stand(place.look(&self.options)?);
        };
        growing.storage().check()?;
        acquire(growing.storage().inner(), &wait(&self.options), Hold::Turn)?;
        if place.folder.identity(&place.name)? != growing.storage().identity()? {
            growing.storage().unlock()?;
            return match place.look(&self.options)? {
                Standing::Whole(storage, found) => self.stand(Standing::Whole(storage, found)),
                _ => Err(error!(Latched, "the file was removed while appenders took turns: open it again")),
            };
        }
        let found = place.find(growing.storage(), self.options.header_limit())?;
        self.options.check(&found.spec)?;
        let dropped = growing.refresh(found, self.options.on_tail)?;
        self.drop_also(dropped);
        Ok(())
    }

    /// Gives a new file its name; where another appender was faster, appends to that one's file.
    pub(super) fn place_new(&mut self, creation: Creation) -> Result<Range<u64>> {
        let Some(place) = self.place.clone() else { return Err(unknown_dtype()) };
        place.check_owner()?;
        let replaces = self.still_replaces(&place)?;
        if !replaces {
            // What was to be replaced became another's; its lock is in the way of looking at it again.
            self.state = State::Pending { replaces: None };
        }
        let mut late = match creation.finish(&place, replaces, self.options.durability)? {
            Made::Growing(growing) => return self.made(growing, &place),
            Made::Late(creation) => creation,
        };
        self.stand(place.look(&self.options)?)?;
        match &mut self.state {
            State::Growing(growing) => {
                let count = late.count();
                let (from, start, len) = late.rows();
                growing.prepare(len)?;
                let rows = growing.rows_after(count)?;
                let end = growing.end();
                growing.copy_from(from, start, end, len, &mut |_| Ok(()))?;
                growing.commit(rows)
            }
            _ => match late.finish(&place, true, self.options.durability)? {
                Made::Growing(growing) => self.made(growing, &place),
                Made::Late(_) => Err(error!(Io, "the file appears and disappears: another program is renaming it")),
            },
        }
    }

    /// Whether the new file takes the place of the one found before. An empty file that another program filled, or put
    /// its own in the place of, is no new file any more.
    fn still_replaces(&self, place: &Place) -> Result<bool> {
        Ok(match &self.state {
            State::Pending { replaces: Some(_) } if self.options.mode == Mode::Write => true,
            State::Pending { replaces: Some(empty) } => {
                empty.is_empty()? && place.folder.identity(&place.name)? == empty.identity()?
            }
            _ => false,
        })
    }

    fn made(&mut self, mut growing: Box<Growing>, place: &Place) -> Result<Range<u64>> {
        let rows = 0..growing.rows();
        // It was locked as it was made; this puts it on the list of what this process holds.
        acquire(growing.storage().inner(), &wait(&self.options), hold(&self.options))?;
        // The rows exist: a handle that did not latch would append them again when the call is repeated.
        let named = match self.options.durability {
            Durability::Process => Ok(()),
            _ => growing.storage().latch_on(place.folder.sync(), "commit in doubt"),
        };
        self.remember(&growing.spec().clone());
        self.options.mode = Mode::Append;
        self.state = State::Growing(growing);
        self.buffer.clear();
        self.buffered = 0;
        named.map(|()| rows)
    }
}

/// Writes `values` to `path` as a file that can grow: the whole of it, or what was there before stays.
///
/// `[T; N]` is one row of `N` values. Everything is on the disk when it returns.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("pose.npy");
/// npygrow::save(&path, &[[0.0f32, 0.5], [1.0, 1.5]])?;
/// assert_eq!(npygrow::Reader::open(&path)?.shape(), [2, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// `Locked` when an appender holds the file; `Io` for the rest.
pub fn save<T: Element>(path: impl AsRef<Path>, values: &[T]) -> Result<()> {
    // Without a dtype in the options nothing is made before the rows are there.
    let mut appender = Appender::options().mode(Mode::Write).durability(Durability::Power).open(path)?;
    appender.define(&T::dtype(), &T::shape())?;
    appender.append_rows(values.len() as u64, element::bytes_of(values))?;
    appender.close()
}
