//! What an append must be to be accepted, and what becomes of one that is not.

use super::{Appender, State};
use crate::element::{self, Element};
use crate::error::{Error, Result, error};
use crate::format::{Layout, MAX_ROWS, Tuple};
use crate::open::Spec;
#[cfg(feature = "std")]
use crate::options::Poll;
use alloc::vec::Vec;
use core::any::TypeId;

impl Appender {
    pub(super) fn named(&self, error: Error) -> Error {
        #[cfg(feature = "std")]
        if let Some(place) = &self.place {
            return error.at(place.path().display());
        }
        error
    }

    /// After an append that came to nothing: what it settled of a file that is not there yet is open again.
    pub(super) fn forget(&mut self) {
        if self.buffered == 0 && !matches!(self.state, State::Growing(_)) {
            self.options = self.asked.clone();
            self.accepted = None;
        }
    }

    /// Refuses values that are not of the file's dtype; a new file takes its dtype and its row shape from them.
    pub(crate) fn accept<T: Element>(&mut self, row_shape: impl FnOnce() -> Vec<u64>) -> Result<()> {
        let id = TypeId::of::<T>();
        if self.accepted == Some(id) {
            return Ok(());
        }
        match &self.options.dtype {
            Some(dtype) => element::check::<T>(dtype).map_err(|error| self.named(error))?,
            None => self.options.dtype = Some(T::dtype()),
        }
        self.options.row_shape.get_or_insert_with(row_shape);
        self.accepted = Some(id);
        Ok(())
    }

    pub(super) fn failed(&mut self, error: Error) -> Error {
        self.forget();
        self.named(error)
    }

    pub(super) fn known_row_size(&mut self) -> Result<u64> {
        if let State::Growing(growing) = &self.state {
            return Ok(growing.row_size());
        }
        // From here on bytes are laid out in this order: a file that another makes meanwhile must have it too.
        self.options.order = Some(self.order());
        let spec = self.options.spec().ok_or_else(unknown_dtype);
        spec.and_then(|spec| row_size(&spec)).map_err(|error| self.failed(error))
    }

    /// The bytes of `count` rows, which the file must be able to hold and to count. With turns only a look under the lock
    /// tells what it can: another may have made room.
    pub(super) fn check_count(&mut self, count: u64, row_size: u64) -> Result<u64> {
        self.check_owner()?;
        let rows = count.saturating_add(self.buffered);
        if let State::Growing(growing) = &mut self.state {
            growing.storage().check()?;
            if !self.options.turns {
                growing.rows_after(rows)?;
            }
        }
        if rows > MAX_ROWS {
            return Err(error!(OverLimit, "{rows} rows: a file counts at most {MAX_ROWS} rows"));
        }
        count.checked_mul(row_size).ok_or_else(|| error!(OverLimit, "{count} rows of {row_size} bytes are too many"))
    }

    /// Makes room for the buffer: whole at the first append, so that a small append neither grows nor moves it.
    pub(super) fn reserve(&mut self) -> Result<()> {
        if self.buffer.capacity() < self.options.buffering {
            let more = self.options.buffering - self.buffer.len();
            let full = |_| error!(OverLimit, "no memory for a buffer of {} bytes", self.options.buffering);
            self.buffer.try_reserve_exact(more).map_err(full)?;
        }
        Ok(())
    }

    /// Publishes what is buffered; from here on who drives this appender gathers and waits, as `buffering` and `on_wait` ask.
    #[cfg(feature = "std")]
    pub(crate) fn hand_over(&mut self) -> Result<(usize, Option<Poll>)> {
        if self.options.turns {
            let why = "the numbers that append gives hold for the one appender of a file";
            return Err(self.named(error!(Mismatch, "no turns in the background: {why}; gather with `buffering`")));
        }
        if self.buffered > 0 {
            self.commit()?;
        }
        self.asked.buffering = 0;
        Ok((core::mem::take(&mut self.options.buffering), self.options.on_wait.clone()))
    }

    /// What the rows are, once it is known.
    #[cfg(feature = "std")]
    pub(crate) fn spec(&self) -> Option<Spec> {
        self.options.spec()
    }

    /// The most rows that the header can count.
    #[cfg(feature = "std")]
    pub(crate) fn max_rows(&self) -> u64 {
        match &self.state {
            State::Growing(growing) => growing.max_rows(),
            _ => MAX_ROWS,
        }
    }

    /// Refuses, for good, when another program has changed the file.
    #[cfg(feature = "std")]
    pub(crate) fn check_unchanged(&mut self) -> Result<()> {
        match &mut self.state {
            State::Growing(growing) => growing.check().map_err(|error| self.named(error)),
            _ => Ok(()),
        }
    }

    /// Refuses when it is latched.
    #[cfg(feature = "std")]
    pub(crate) fn check_usable(&mut self) -> Result<()> {
        match &mut self.state {
            State::Growing(growing) => growing.storage().check(),
            _ => Ok(()),
        }
    }
}

pub(crate) fn not_whole_rows(row_shape: &[u64], row_size: u64, size: u64) -> Error {
    let shape = Tuple(row_shape);
    if row_size == 0 {
        return error!(Mismatch, "rows of shape {shape} take no bytes: call append_rows with their number");
    }
    error!(Mismatch, "expected whole rows of shape {shape}, {row_size} bytes each, found {size} bytes")
}

pub(super) fn row_size(spec: &Spec) -> Result<u64> {
    Ok(Layout::new(0, &spec.dtype, &spec.row_shape)?.row_size)
}

pub(crate) fn unknown_dtype() -> Error {
    error!(Mismatch, "a new file needs a dtype and a row shape: give them as options, or append typed values")
}
