//! Files that grow together: appended to in one call, and counted one after the other.
//!
//! Invariants: between two calls all files hold the same appends, those in memory included. Files are counted in the order
//! in which they are listed, so that of two files the later one never counts an append that the earlier one does not, but
//! for a power cut under `Durability::Process`. What readers make of a group in the middle of that is up to who owns it.

use crate::append::{Appender, Batch};
use crate::error::{Error, Result, error};
use alloc::string::String;
use alloc::vec::Vec;

/// Appenders that are one to their owner.
pub(crate) struct Group {
    files: Vec<Appender>,
    buffering: u64,
    /// Bytes in the files' buffers.
    waiting: u64,
    /// Why the files do not hold the same appends any more.
    latched: Option<String>,
}

/// What one file gets of an append.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) count: u64,
    pub(crate) bytes: &'a [u8],
}

impl Group {
    /// `files` gather up to `buffering` bytes each, and are told so by their options.
    pub(crate) fn new(files: Vec<Appender>, buffering: usize) -> Self {
        Group { files, buffering: buffering as u64, waiting: 0, latched: None }
    }

    pub(crate) fn files(&mut self) -> &mut [Appender] {
        &mut self.files
    }

    pub(crate) fn file(&self, at: usize) -> &Appender {
        &self.files[at]
    }

    /// Appends one part to each file, or none to any.
    ///
    /// # Errors
    ///
    /// As `Appender::append_rows`; `Latched` when what one file got could not be taken from it again.
    pub(crate) fn append(&mut self, parts: &[Part<'_>]) -> Result<()> {
        debug_assert_eq!(parts.len(), self.files.len());
        self.check()?;
        let bytes: u64 = parts.iter().map(|part| part.bytes.len() as u64).sum();
        // All at once, so that no file publishes its buffer before those ahead of it.
        if self.waiting > 0 && self.waiting.saturating_add(bytes) >= self.buffering {
            self.commit()?;
        }
        let mut batches: Vec<Batch<'_>> = Vec::with_capacity(parts.len());
        // A failure drops the batches, which undoes them: nothing is counted yet.
        for (file, part) in self.files.iter_mut().zip(parts) {
            let mut batch = file.begin(part.count)?;
            batch.write(part.bytes)?;
            batches.push(batch);
        }
        let mut counted = 0;
        let mut failed = None;
        for batch in batches {
            // The rest is dropped, undone.
            if failed.is_none() {
                match batch.commit() {
                    Ok(_) => counted += 1,
                    Err(error) => failed = Some(error),
                }
            }
        }
        if let Some(error) = failed {
            return Err(self.take_back(&parts[..counted], error));
        }
        if bytes < self.buffering {
            self.waiting += bytes;
        } else if self.buffering > 0 {
            // Large parts went past the buffers, small ones of the same append did not.
            self.commit()?;
        }
        Ok(())
    }

    /// Takes the last append from the files that counted it.
    fn take_back(&mut self, parts: &[Part<'_>], error: Error) -> Error {
        for (file, part) in self.files.iter_mut().zip(parts) {
            if let Err(why) = file.truncate(file.len() - part.count) {
                self.latched = Some(why.detail());
                return error.and("what other files have of it could not be taken back: open them again");
            }
        }
        error
    }

    fn check(&self) -> Result<()> {
        match &self.latched {
            None => Ok(()),
            Some(why) => {
                Err(error!(Latched, "an append reached some of the files only, and stays there ({why}): open it again"))
            }
        }
    }

    /// Publishes what is buffered, file after file.
    ///
    /// # Errors
    ///
    /// As `Appender::commit`; the call can be repeated, and goes on where it failed.
    pub(crate) fn commit(&mut self) -> Result<()> {
        self.check()?;
        self.files.iter_mut().try_for_each(|file| file.commit().map(drop))?;
        self.waiting = 0;
        Ok(())
    }

    /// As [`commit`](Group::commit), and makes every row survive a power cut.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.commit()?;
        self.files.iter_mut().try_for_each(Appender::sync)
    }

    /// Publishes what is buffered and gives the locks back. Of several failures the first is told.
    pub(crate) fn close(mut self) -> Result<()> {
        let mut done = self.check();
        for file in core::mem::take(&mut self.files) {
            // After a failure the files behind it keep to what they counted: theirs would be of no use.
            let closed = file.close();
            done = done.and(closed);
        }
        done
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // In the files' order; `Appender`'s own drop would do the same, had `Vec` not to promise it.
        for file in core::mem::take(&mut self.files) {
            let _ = file.close();
        }
    }
}
