//! Publishing: the turn, the file or the one that is made, and the count.

use super::batch::Target;
use super::{Appender, State};
#[cfg(feature = "std")]
use crate::create::{Creation, Place};
use crate::error::{Result, count, error};
use crate::open::Spec;
use crate::storage::Storage as _;
use crate::tail::Dropped;
use alloc::vec::Vec;
use core::ops::Range;

impl Appender {
    /// From here on the options name what the rows are, and nothing else passes their check.
    pub(super) fn remember(&mut self, spec: &Spec) {
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
        let rows = rows.saturating_add(self.buffered);
        let buffered = self.buffer.len() as u64;
        match &mut self.state {
            State::Growing(growing) => {
                growing.prepare(buffered.saturating_add(bytes))?;
                growing.rows_after(rows)?;
                let end = growing.end();
                if buffered > 0 {
                    growing.write(end, &self.buffer)?;
                }
                Ok(Target::File { offset: end + buffered })
            }
            #[cfg(feature = "std")]
            State::Pending { replaces } => {
                let (Some(spec), Some(place)) = (self.options.spec(), &self.place) else {
                    return Err(super::unknown_dtype());
                };
                place.check_owner()?;
                let limit = self.options.header_limit();
                let mut creation = Creation::begin(place, spec, rows, replaces.as_deref(), limit)?;
                creation.write(&self.buffer)?;
                Ok(Target::New(creation.into()))
            }
            State::Closed => Err(error!(Latched, "the appender is closed: open the file again")),
        }
    }

    /// Counts `rows` rows and those of the buffer: all that became visible.
    pub(super) fn complete(&mut self, target: Target, rows: u64) -> Result<Range<u64>> {
        let published = match target {
            #[cfg(feature = "std")]
            Target::New(creation) => self.place_new(*creation)?,
            _ => match &mut self.state {
                State::Growing(growing) => growing.commit(growing.rows_after(rows + self.buffered)?)?,
                _ => 0..0,
            },
        };
        self.buffer.clear();
        self.buffered = 0;
        Ok(published)
    }

    pub(super) fn publish(&mut self) -> Result<Range<u64>> {
        if let State::Growing(growing) = &mut self.state {
            // Whoever takes turns looks at the file in each.
            if !self.options.turns {
                growing.storage().check_owner()?;
                growing.check()?;
            }
            if self.buffered == 0 {
                return Ok(growing.rows()..growing.rows());
            }
        }
        if matches!(self.state, State::Closed) || !self.options.is_settled() {
            return Ok(0..0);
        }
        let target = self.start(0, 0)?;
        let published = self.complete(target, 0);
        self.end_turn(published)
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
            _ if !self.options.turns || self.keeps_turn => Ok(()),
            State::Growing(growing) => growing.storage().unlock(),
            #[cfg(feature = "std")]
            State::Pending { replaces } => {
                *replaces = None;
                Ok(())
            }
            State::Closed => Ok(()),
        }
    }

    /// Refuses in a forked child. A buffered append asks too: a child never publishes, so its rows would be lost unsaid.
    pub(super) fn check_owner(&self) -> Result<()> {
        match &self.state {
            State::Growing(growing) => growing.check_owner(),
            #[cfg(feature = "std")]
            State::Pending { .. } => self.place.as_ref().map_or(Ok(()), Place::check_owner),
            State::Closed => Ok(()),
        }
    }

    /// The last publish. Not in a forked child, where the rows are the parent's to publish; not where an earlier failure
    /// was told and nothing is buffered; and no file is made, or replaced, for want of rows.
    pub(super) fn finish(&mut self) -> Result<()> {
        let ours = self.check_owner().is_ok();
        let untold = match &mut self.state {
            State::Growing(growing) => self.buffered > 0 || growing.is_usable(),
            #[cfg(feature = "std")]
            State::Pending { .. } => self.buffered > 0,
            State::Closed => false,
        };
        let published = if ours && untold { self.publish().map(drop) } else { Ok(()) };
        let lost = core::mem::take(&mut self.buffered);
        self.buffer = Vec::new();
        published.map_err(|error| {
            let error =
                if lost > 0 { error.and(alloc::format!("{} lost", count(lost, "buffered row"))) } else { error };
            self.named(error)
        })
    }
}
