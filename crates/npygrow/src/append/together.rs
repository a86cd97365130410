//! What a group asks of its files, beyond what everybody may: to wait for each other, and to share one turn.

use super::{Appender, Batch, State};
use crate::error::{Result, error};
use crate::format::Dtype;
use crate::options::Options;
use crate::storage::File;
use alloc::vec::Vec;
use std::time::SystemTime;

/// When a file was made, and when it was last written to, as far as its file system tells.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) made: SystemTime,
    pub(crate) modified: SystemTime,
}

impl Appender {
    /// Whether there is a file.
    pub(crate) fn is_made(&self) -> bool {
        matches!(self.state, State::Growing(_))
    }

    /// Asks of the rows what the options left open, as `Options::dtype` and `Options::row_shape` do, but makes no file.
    pub(crate) fn expect(&mut self, dtype: Option<Dtype>, row_shape: Option<Vec<u64>>) -> Result<()> {
        if let Some(found) = self.spec() {
            let wanted = Options { dtype, row_shape, ..Options::default() };
            return wanted.check(&found).map_err(|error| self.named(error));
        }
        (self.options.dtype, self.options.row_shape) = (dtype, row_shape);
        self.asked = self.options.clone();
        Ok(())
    }

    /// Whether the header is still the one that another writer left.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(&self.state, State::Growing(growing) if growing.is_foreign())
    }

    pub(crate) fn times(&mut self) -> Option<Times> {
        let State::Growing(growing) = &mut self.state else { return None };
        let metadata = File::behind(growing.storage().inner())?.metadata().ok()?;
        Some(Times { made: metadata.created().ok()?, modified: metadata.modified().ok()? })
    }

    /// The bytes of as many committed rows from `first` on as `buf` has room for.
    pub(crate) fn read_rows(&self, first: u64, buf: &mut [u8]) -> Result<()> {
        match &self.state {
            State::Growing(growing) => growing.read_rows(first, buf),
            _ => Err(error!(Mismatch, "there is no row yet")),
        }
        .map_err(|error| self.named(error))
    }

    /// Whether this process may write.
    pub(crate) fn is_owned(&self) -> bool {
        self.check_owner().is_ok()
    }

    /// Whether an earlier failure, which was told, ended all writing.
    pub(crate) fn is_latched(&mut self) -> bool {
        match &mut self.state {
            State::Growing(growing) => growing.storage().check().is_err(),
            _ => false,
        }
    }

    pub(crate) fn has_buffered(&self) -> bool {
        self.buffered > 0
    }

    /// Puts whole rows into the buffer, however full it is.
    pub(crate) fn hold(&mut self, count: u64, bytes: &[u8]) -> Result<()> {
        let row_size = self.known_row_size()?;
        self.check_count(count, row_size).and_then(|_| self.reserve()).map_err(|error| self.named(error))?;
        self.buffer.extend_from_slice(bytes);
        self.buffered += count;
        Ok(())
    }

    /// Takes what was held last out of the buffer again.
    pub(crate) fn unhold(&mut self, count: u64, bytes: usize) {
        self.buffered -= count;
        self.buffer.truncate(self.buffer.len() - bytes);
    }

    /// Gives up the rows in the buffer.
    pub(crate) fn discard(&mut self) {
        self.buffer = Vec::new();
        self.buffered = 0;
    }

    /// The rows in the buffer, which nobody has seen.
    pub(crate) fn buffer(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Begins an append that publishes the buffer too, ahead of its own rows.
    pub(crate) fn begin_publish(&mut self, count: u64) -> Result<Batch<'_>> {
        let row_size = self.known_row_size()?;
        let left = self.check_count(count, row_size).map_err(|error| self.failed(error))?;
        let to = self.start(count, left).map_err(|error| self.failed(error))?;
        Ok(Batch { appender: self, count, left, to })
    }

    /// As [`truncate`](Appender::truncate), but leaves the buffer alone.
    pub(crate) fn cut(&mut self, rows: u64) -> Result<()> {
        match &mut self.state {
            State::Growing(growing) => growing.truncate(rows).map_err(|error| self.named(error)),
            _ => Ok(()),
        }
    }

    /// Takes a turn that lasts until [`leave_turn`](Appender::leave_turn), whatever is called in between.
    pub(crate) fn keep_turn(&mut self) -> Result<()> {
        self.take_turn().map_err(|error| self.named(error))?;
        self.keeps_turn = self.options.turns;
        Ok(())
    }

    pub(crate) fn leave_turn(&mut self) -> Result<()> {
        self.keeps_turn = false;
        self.unlock()
    }
}
