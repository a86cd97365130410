//! Publishing: the turn, the file or the one that is made, and the count.

use super::batch::Target;
use super::{Appender, State, unknown_dtype};
#[cfg(feature = "std")]
use crate::create::{Creation, Made, Standing, wait};
use crate::error::{Result, error};
use crate::grow::Dropped;
#[cfg(feature = "std")]
use crate::grow::Growing;
use crate::open::Spec;
#[cfg(feature = "std")]
use crate::open::find;
#[cfg(feature = "std")]
use crate::storage::{Hold, Storage as _, acquire};
#[cfg(feature = "std")]
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

impl Appender {
    /// From here on the options name what the rows are, and nothing else passes their check.
    pub(super) fn settle(&mut self, spec: &Spec) {
        self.options.dtype = Some(spec.dtype.clone());
        self.options.order = Some(spec.order);
        self.options.row_shape = Some(spec.row_shape.clone());
    }

    pub(super) fn drop_also(&mut self, more: Dropped) {
        self.dropped.rows += more.rows;
        self.dropped.bytes += more.bytes;
    }

    /// Gets ready to write: takes the turn, and puts the buffer where its rows will be.
    pub(super) fn start(&mut self, rows: u64, bytes: u64) -> Result<Target> {
        self.take_turn()?;
        let started = self.start_in_turn(rows, bytes);
        if started.is_err() {
            self.unlock()?;
        }
        started
    }

    fn start_in_turn(&mut self, rows: u64, bytes: u64) -> Result<Target> {
        let rows = rows + self.buffered;
        let buffered = self.buffer.len() as u64;
        match &mut self.state {
            State::Growing(growing) => {
                growing.prepare(buffered + bytes)?;
                growing.rows_after(rows)?;
                let end = growing.end();
                if buffered > 0 {
                    growing.write(end, &self.buffer)?;
                }
                Ok(Target::File { offset: end + buffered })
            }
            #[cfg(feature = "std")]
            State::Pending { replaces } => {
                let (Some(spec), Some(place)) = (self.options.spec(), &self.place) else { return Err(unknown_dtype()) };
                place.check_owner()?;
                let limit = self.options.header_limit();
                let mut creation = Creation::begin(place, spec, rows, replaces.as_deref(), limit)?;
                creation.write(&self.buffer)?;
                Ok(Target::New(creation))
            }
            State::Closed => Err(error!(Latched, "the appender is closed: open the file again")),
        }
    }

    /// Counts `rows` rows and those of the buffer: all that became visible.
    pub(super) fn complete(&mut self, target: Target, rows: u64) -> Result<Range<u64>> {
        let published = match target {
            #[cfg(feature = "std")]
            Target::New(creation) => self.place_new(creation)?,
            _ => match &mut self.state {
                State::Growing(growing) => growing.commit(growing.rows_after(rows + self.buffered)?)?,
                _ => 0..0,
            },
        };
        self.buffer.clear();
        self.buffered = 0;
        Ok(published)
    }

    /// Gives a new file its name; where another appender was faster, appends to that one's file.
    #[cfg(feature = "std")]
    fn place_new(&mut self, creation: Creation) -> Result<Range<u64>> {
        let Some(place) = self.place.clone() else { return Err(unknown_dtype()) };
        let replaces = matches!(self.state, State::Pending { replaces: Some(_) });
        let mut late = match creation.finish(&place, replaces, self.options.durability)? {
            Made::Growing(growing) => return Ok(self.made(growing)),
            Made::Late(creation) => creation,
        };
        self.stand(place.look(&self.options)?)?;
        match &mut self.state {
            State::Growing(growing) => {
                let count = late.count();
                let (from, start, len) = late.rows();
                growing.prepare(len)?;
                let rows = growing.rows_after(count)?;
                growing.copy_from(from, start, len)?;
                growing.commit(rows)
            }
            _ => match late.finish(&place, true, self.options.durability)? {
                Made::Growing(growing) => Ok(self.made(growing)),
                Made::Late(_) => Err(error!(Io, "the file appears and disappears: another program is renaming it")),
            },
        }
    }

    #[cfg(feature = "std")]
    fn made(&mut self, growing: Box<Growing>) -> Range<u64> {
        let rows = 0..growing.rows();
        self.settle(&growing.spec().clone());
        self.state = State::Growing(growing);
        rows
    }

    pub(super) fn publish(&mut self) -> Result<Range<u64>> {
        let known = self.options.spec().is_some();
        match &mut self.state {
            State::Growing(growing) if self.buffered == 0 => {
                if !self.options.turns {
                    growing.storage().check_owner()?;
                    growing.check()?;
                }
                return Ok(growing.rows()..growing.rows());
            }
            #[cfg(feature = "std")]
            State::Pending { .. } if !known => return Ok(0..0),
            State::Closed => return Ok(0..0),
            _ => {}
        }
        let target = self.start(0, 0)?;
        let published = self.complete(target, 0);
        self.end_turn(published)
    }

    /// Takes the lock and looks at the file again, where appenders take turns.
    #[cfg(feature = "std")]
    pub(super) fn take_turn(&mut self) -> Result<()> {
        if !self.options.turns {
            return Ok(());
        }
        let taken = self.take_lock();
        if taken.is_err() {
            self.unlock()?;
        }
        taken
    }

    #[cfg(feature = "std")]
    fn take_lock(&mut self) -> Result<()> {
        let Some(place) = self.place.clone() else { return Ok(()) };
        place.check_owner()?;
        let State::Growing(growing) = &mut self.state else { return self.stand(place.look(&self.options)?) };
        growing.storage().check()?;
        acquire(growing.storage().inner(), &wait(&self.options), Hold::Turn)?;
        if place.folder.identity(&place.name)? != growing.storage().identity()? {
            growing.storage().unlock()?;
            return match place.look(&self.options)? {
                Standing::Whole(storage, found) => self.stand(Standing::Whole(storage, found)),
                _ => Err(error!(Latched, "the file was removed while appenders took turns: open it again")),
            };
        }
        let found = find(growing.storage(), self.options.header_limit())?;
        self.options.check(&found.spec)?;
        let dropped = growing.refresh(found, self.options.on_tail)?;
        self.drop_also(dropped);
        Ok(())
    }

    #[cfg(not(feature = "std"))]
    pub(super) fn take_turn(&mut self) -> Result<()> {
        Ok(())
    }

    /// Gives the lock back where appenders take turns, and names the file in what went wrong.
    pub(super) fn end_turn<T>(&mut self, done: Result<T>) -> Result<T> {
        let unlocked = self.unlock();
        match done {
            Ok(done) => unlocked.map(|()| done).map_err(|error| self.named(error)),
            Err(error) => Err(self.named(error)),
        }
    }

    pub(super) fn unlock(&mut self) -> Result<()> {
        match &mut self.state {
            _ if !self.options.turns => Ok(()),
            State::Growing(growing) => growing.storage().unlock(),
            #[cfg(feature = "std")]
            State::Pending { replaces } => {
                *replaces = None;
                Ok(())
            }
            State::Closed => Ok(()),
        }
    }

    /// What `close` and `drop` do. In a forked child nothing: the rows are the parent's to publish.
    pub(super) fn finish(&mut self) -> Result<()> {
        let ours = match &self.state {
            State::Growing(growing) => growing.is_owner(),
            #[cfg(feature = "std")]
            State::Pending { .. } => self.place.as_ref().is_none_or(|place| place.check_owner().is_ok()),
            State::Closed => false,
        };
        if !ours {
            self.state = State::Closed;
            return Ok(());
        }
        let published = self.publish();
        let lost = core::mem::take(&mut self.buffered);
        self.buffer = Vec::new();
        if !matches!(self.state, State::Growing(_)) {
            self.state = State::Closed;
        }
        match published {
            Ok(_) => Ok(()),
            Err(error) if lost > 0 => Err(self.named(error.and(alloc::format!("{lost} buffered rows are lost")))),
            Err(error) => Err(self.named(error)),
        }
    }
}
