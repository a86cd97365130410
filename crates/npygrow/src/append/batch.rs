//! An append in pieces.

use super::{Appender, State};
#[cfg(feature = "std")]
use crate::create::Creation;
use crate::error::{Error, Result, error};
#[cfg(feature = "std")]
use crate::storage::Storage;
#[cfg(feature = "std")]
use alloc::boxed::Box;
use core::ops::Range;

/// An append whose rows come in pieces. Dropping it before [`commit`](Batch::commit) undoes it.
#[must_use = "an append that is not committed is undone"]
pub struct Batch<'a> {
    pub(super) appender: &'a mut Appender,
    pub(super) count: u64,
    /// Bytes still to come.
    pub(super) left: u64,
    pub(super) to: Target,
}

/// Where the bytes of a batch go.
pub(super) enum Target {
    /// Into the buffer, from `start` on.
    Buffer { start: usize },
    /// Into the file, at this offset; the buffer is there already, before it.
    File { offset: u64 },
    /// Into a new file, the buffer first.
    #[cfg(feature = "std")]
    New(Box<Creation>),
    /// Committed or undone.
    Done,
}

impl Batch<'_> {
    /// Writes the next bytes of the rows; any number of them.
    ///
    /// # Errors
    ///
    /// As [`Appender::append_bytes`]; after an error the batch is undone.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let done = self.put(bytes);
        done.map_err(|error| {
            self.undo();
            self.appender.named(error)
        })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let size = bytes.len() as u64;
        self.left = self.left.checked_sub(size).ok_or_else(|| self.wrong_size())?;
        let appender = &mut *self.appender;
        match (&mut self.to, &mut appender.state) {
            (Target::Buffer { .. }, _) => {
                appender.reserve()?;
                appender.buffer.extend_from_slice(bytes);
                Ok(())
            }
            (Target::File { offset }, State::Growing(growing)) => {
                growing.write(*offset, bytes)?;
                *offset += size;
                Ok(())
            }
            #[cfg(feature = "std")]
            (Target::New(creation), _) => creation.write(bytes),
            _ => Err(failed_before()),
        }
    }

    /// As [`write`](Batch::write), for `len` bytes of another storage, through no memory of ours where the system can; of an
    /// appender without a buffer. Says how many bytes are shared.
    #[cfg(feature = "std")]
    pub(crate) fn copy_from(
        &mut self,
        from: &dyn Storage,
        from_offset: u64,
        len: u64,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<u64> {
        let done = self.put_from(from, from_offset, len, progress);
        done.inspect_err(|_| self.undo())
    }

    #[cfg(feature = "std")]
    fn put_from(
        &mut self,
        from: &dyn Storage,
        from_offset: u64,
        len: u64,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<u64> {
        self.left = self.left.checked_sub(len).ok_or_else(|| self.wrong_size())?;
        match (&mut self.to, &mut self.appender.state) {
            (Target::File { offset }, State::Growing(growing)) => {
                let shared = growing.copy_from(from, from_offset, *offset, len, progress)?;
                *offset += len;
                Ok(shared)
            }
            (Target::New(creation), _) => creation.copy_from(from, from_offset, len, progress),
            _ => Err(failed_before()),
        }
    }

    /// Counts the rows: the moment they exist. Gives their numbers, as [`Appender::append`] does.
    ///
    /// # Errors
    ///
    /// As [`Appender::append_bytes`], and `Mismatch` when bytes are missing; the file is as before.
    pub fn commit(mut self) -> Result<Option<Range<u64>>> {
        if matches!(self.to, Target::Done) {
            return Err(self.appender.named(failed_before()));
        }
        if self.left > 0 {
            let error = self.wrong_size();
            self.undo();
            return Err(self.appender.named(error));
        }
        let count = self.count;
        match core::mem::replace(&mut self.to, Target::Done) {
            Target::Buffer { .. } => {
                self.appender.buffered += count;
                let end = self.appender.len();
                Ok((!self.appender.options.turns).then_some(end - count..end))
            }
            target => {
                let published = self.appender.complete(target, count);
                let published = self.appender.end_turn(published).map_err(|error| self.appender.failed(error))?;
                Ok(Some(published.end - count..published.end))
            }
        }
    }

    fn wrong_size(&self) -> Error {
        error!(Mismatch, "expected the bytes of {} rows, found another number of bytes", self.count)
    }

    fn undo(&mut self) {
        match core::mem::replace(&mut self.to, Target::Done) {
            Target::Done => return,
            Target::Buffer { start } => self.appender.buffer.truncate(start),
            Target::File { .. } => {
                if let State::Growing(growing) = &mut self.appender.state {
                    // Where that fails the next call tries again, and says so.
                    let _ = growing.cut_back(error!(Io, "undone"));
                }
            }
            #[cfg(feature = "std")]
            Target::New(_) => {}
        }
        self.appender.forget();
        let _ = self.appender.end_turn(Ok(()));
    }
}

fn failed_before() -> Error {
    error!(Mismatch, "this append failed before: begin a new one")
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.undo();
    }
}
