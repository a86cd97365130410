//! Columns that grow together: appended to in one call, and counted one file after the other.
//!
//! Invariants: between two calls all columns hold the same rows, those in memory included. Files are counted in the order of
//! the columns, a column's values before its offsets, so that of two files the later never counts an append that the earlier
//! does not, but for a power cut that takes counts away. A row exists when every column has it.

mod column;
mod publish;
mod settle;

pub use column::ColumnPart;
pub(crate) use column::{
    Column, OFFSETS, VALUES, check_offsets, check_values, covered, good_items, not_from_0, offset,
};
pub(crate) use publish::Stream;
pub(crate) use settle::{GO_TOGETHER, force};

use crate::append::Appender;
use crate::error::{Error, Result, count, error};
use crate::format::MAX_ROWS;
use crate::options::Options;
use crate::tail::{Dropped, OnTail};
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// The columns, which are one to their owner.
pub(crate) struct Group {
    /// By name.
    columns: Vec<Column>,
    /// Rows of each column, those in memory included.
    rows: u64,
    buffered: u64,
    /// Bytes in the files' buffers.
    waiting: u64,
    buffering: u64,
    turns: bool,
    on_tail: OnTail,
    dropped: Dropped,
    /// Whether every file is there.
    made: bool,
    /// The offsets of an append, one ragged column after the other: kept, so that an append does not allocate.
    ends: Vec<u8>,
    /// Why the files do not hold the same rows any more.
    latched: Option<String>,
    /// For messages.
    path: String,
}

impl Group {
    /// Goes on with `columns`, whose files are open by [`file_options`].
    pub(crate) fn open(columns: Vec<Column>, options: &Options, path: String) -> Result<Self> {
        let mut this = Group {
            columns: Vec::new(),
            rows: 0,
            buffered: 0,
            waiting: 0,
            buffering: options.buffering as u64,
            turns: options.turns,
            on_tail: options.on_tail,
            dropped: Dropped::default(),
            made: false,
            ends: Vec::new(),
            latched: None,
            path,
        };
        for column in &columns {
            column.check_missing().map_err(|error| this.named(error))?;
        }
        this.columns = columns;
        this.made = this.is_made();
        if this.turns {
            this.in_turn(|_| Ok(()))?
        } else {
            this.settle()?
        }
        Ok(this)
    }

    /// A column more, while there is no row: its file is made with the first.
    pub(crate) fn add(&mut self, column: Column) {
        debug_assert_eq!(self.rows, 0);
        self.columns.push(column);
        self.columns.sort_by(|a, b| a.name.cmp(&b.name));
        self.made = false;
    }

    /// Whether all files are there.
    pub(crate) fn has_files(&self) -> bool {
        self.made
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub(crate) fn columns_mut(&mut self) -> &mut [Column] {
        &mut self.columns
    }

    /// Rows of each column, those in memory included.
    pub(crate) fn len(&self) -> u64 {
        self.rows
    }

    /// Rows that every file counts.
    pub(crate) fn committed(&self) -> u64 {
        self.rows - self.buffered
    }

    pub(crate) fn named(&self, error: Error) -> Error {
        error.at(&self.path)
    }

    /// What a row is called.
    fn word(&self) -> &'static str {
        if matches!(&self.columns[..], [only] if only.name.is_empty()) { "item" } else { "row" }
    }

    fn files(&mut self) -> impl DoubleEndedIterator<Item = &mut Appender> {
        self.columns.iter_mut().flat_map(Column::files)
    }

    fn is_made(&self) -> bool {
        self.columns
            .iter()
            .all(|column| column.values.is_made() && column.offsets.as_ref().is_none_or(|offsets| !offsets.is_empty()))
    }

    fn check(&self) -> Result<()> {
        match &self.latched {
            None => Ok(()),
            Some(why) => {
                Err(self
                    .named(error!(Latched, "an earlier call reached some of the files only ({why}): open it again")))
            }
        }
    }

    /// Makes every file that is not there yet, with no row, then makes that durable under every durability: a file with rows
    /// beside one that a power cut took would say nothing of what there was.
    ///
    /// # Errors
    ///
    /// As `Appender::commit`; what was made stays, with no row, and the call can be repeated.
    pub(crate) fn make(&mut self) -> Result<()> {
        if self.made {
            return Ok(());
        }
        for column in &mut self.columns {
            column.make()?;
        }
        self.in_turn(|this| {
            for column in &mut this.columns {
                // Under the lock of the values, so that no two appenders write it.
                if let Some(offsets) = column.offsets.as_mut().filter(|offsets| offsets.is_empty()) {
                    offsets.append(&[0_i64])?;
                    offsets.commit()?;
                }
            }
            this.files().try_for_each(Appender::sync)?;
            // Another appender may have made them first, and rows.
            this.settle()
        })?;
        self.made = true;
        Ok(())
    }

    /// Appends one part to each column, or none to any. Gives the rows' numbers; `None` when they wait in the buffers of one
    /// who takes turns.
    ///
    /// # Errors
    ///
    /// As `Appender::append_rows`; `Latched` when what one file got could not be taken from it again.
    pub(crate) fn append(&mut self, rows: u64, parts: &[ColumnPart<'_>]) -> Result<Option<Range<u64>>> {
        debug_assert_eq!(parts.len(), self.columns.len());
        self.check()?;
        let bytes = self.check_parts(rows, parts)?;
        self.make()?;
        if rows == 0 {
            return Ok((!self.turns).then_some(self.rows..self.rows));
        }
        if self.waiting.saturating_add(bytes) < self.buffering {
            self.hold(rows, parts)?;
            self.waiting += bytes;
            return Ok((!self.turns).then_some(self.rows - rows..self.rows));
        }
        self.in_turn(|this| {
            this.set_ends(rows, parts)?;
            this.publish(rows, parts)
        })?;
        Ok(Some(self.rows - rows..self.rows))
    }

    /// Refuses parts that are not what the columns are, before a byte is written. Gives how many bytes they take in files.
    fn check_parts(&self, rows: u64, parts: &[ColumnPart<'_>]) -> Result<u64> {
        let checked = self.columns.iter().zip(parts).try_fold(0_u64, |all, (column, part)| {
            let bytes = column.check(rows, part)?;
            Ok(all.saturating_add(bytes))
        });
        let all = checked.map_err(|error| self.named(error))?;
        if rows > MAX_ROWS {
            return Err(self.named(error!(OverLimit, "{rows} rows: a file counts at most {MAX_ROWS} rows")));
        }
        Ok(all)
    }

    /// The offsets of an append, one ragged column after the other.
    fn set_ends(&mut self, rows: u64, parts: &[ColumnPart<'_>]) -> Result<()> {
        let Group { columns, ends, path, .. } = self;
        ends.clear();
        for (column, part) in columns.iter_mut().zip(parts) {
            if let ColumnPart::Items { lengths, .. } = part {
                let full = |_| error!(OverLimit, "no memory for the offsets of {rows} items").at(&*path);
                ends.try_reserve(lengths.len() * 8).map_err(full)?;
                column.push_ends(lengths, ends).map_err(|error| error.at(&*path))?;
            }
        }
        Ok(())
    }

    /// Keeps parts in memory: every column's, or none.
    fn hold(&mut self, rows: u64, parts: &[ColumnPart<'_>]) -> Result<()> {
        self.set_ends(rows, parts)?;
        let Group { columns, ends, .. } = self;
        let mut held = 0;
        let done = publish::pieces(columns, rows, parts, ends).try_for_each(|piece| {
            piece.file.hold(piece.count, piece.bytes)?;
            held += 1;
            Ok(())
        });
        if done.is_err() {
            for piece in publish::pieces(columns, rows, parts, ends).take(held) {
                piece.file.unhold(piece.count, piece.bytes.len());
            }
            return done;
        }
        self.columns.iter_mut().for_each(Column::accept_ends);
        self.rows += rows;
        self.buffered += rows;
        Ok(())
    }

    /// Publishes what is buffered, file after file, and says which rows that were.
    ///
    /// # Errors
    ///
    /// As `Appender::commit`; unless latched, the call can be repeated, and goes on where it failed.
    pub(crate) fn commit(&mut self) -> Result<Range<u64>> {
        self.check()?;
        if !self.made {
            return Ok(self.rows..self.rows);
        }
        let buffered = self.buffered;
        self.in_turn(|this| this.publish(0, &[]))?;
        Ok(self.rows - buffered..self.rows)
    }

    /// As [`commit`](Group::commit), and makes every row survive a power cut, those of others too.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.check()?;
        self.in_turn(|this| {
            // Another appender may have made them since.
            this.made |= this.is_made();
            if !this.made {
                return Ok(());
            }
            this.publish(0, &[])?;
            this.files().try_for_each(Appender::sync)
        })
    }

    /// Cuts every column to its first `rows` rows, last file first: those behind it never count more.
    pub(crate) fn truncate(&mut self, rows: u64) -> Result<()> {
        self.check()?;
        self.in_turn(|this| {
            this.publish(0, &[])?;
            if rows > this.rows {
                let (found, wanted) = (this.rows, count(rows, this.word()));
                return Err(this.named(error!(Mismatch, "cannot truncate to {wanted}: there are {found}")));
            }
            if rows == this.rows {
                return Ok(());
            }
            let before = this.rows;
            if let Err(error) = this.cut(rows) {
                if this.columns.iter().any(|column| !column.counts(before)) {
                    this.latched = Some(error.detail());
                    return Err(error.and("some of the files are cut, the others are when it is opened again"));
                }
                return Err(error);
            }
            this.look(rows)
        })
    }

    /// Publishes what is buffered and gives the locks back.
    pub(crate) fn close(mut self) -> Result<()> {
        self.finish()
    }

    fn finish(&mut self) -> Result<()> {
        let ours = self.files().all(|file| file.is_owned());
        let untold = self.buffered > 0 || self.latched.is_none() && self.files().all(|file| !file.is_latched());
        let published = if ours && untold { self.commit().map(drop) } else { Ok(()) };
        let (lost, word) = (core::mem::take(&mut self.buffered), self.word());
        let mut done = published.map_err(|error| match lost {
            0 => error,
            _ => error.and(alloc::format!("{} lost", count(lost, &alloc::format!("buffered {word}")))),
        });
        for column in core::mem::take(&mut self.columns) {
            for mut file in column.into_files() {
                // What could not be published together is not published alone.
                file.discard();
                let closed = file.close();
                done = done.and(closed);
            }
        }
        done
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

/// How the files of a group are opened: it alone says what they hold, buffers by all bytes together, and never makes a row of
/// one file's tail.
pub(crate) fn file_options(options: &Options) -> Options {
    let on_tail = if options.on_tail == OnTail::Keep { OnTail::Error } else { options.on_tail };
    Options {
        on_tail,
        mode: crate::options::Mode::Append,
        dtype: None,
        row_shape: None,
        order: None,
        ..options.clone()
    }
}
