//! The append protocol on one open storage: write the rows, then count them; on any failure the file is as before.
//!
//! Invariants: `end` is where the committed rows end. Between two calls the storage ends there too, and its first bytes are
//! `header`, unless the handle is latched. Nothing before `end` is written but the count.

use crate::error::{Error, Result, error};
use crate::format::{CountField, Growable, Layout, MAX_ROWS};
use crate::open::{Found, Growth, Spec};
use crate::storage::{Latched, Storage};
use crate::tail::{Dropped, OnTail, Tail};
use crate::transfer::transfer;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Which event every acknowledged row survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, however it ends. Nothing is synced.
    #[default]
    Process,
    /// Also a power cut, as a valid prefix: rows are synced before they are counted, but the last counts may be lost.
    Ordered,
    /// Also a power cut, with every acknowledged row: the count is synced too.
    Power,
}

/// From this size on an append looks at the file first; smaller ones once in [`SMALL_APPENDS`].
const LARGE: u64 = 64 << 10;
const SMALL_APPENDS: u32 = 1024;

/// What a file is, and how far it has grown.
struct Standing {
    spec: Spec,
    layout: Layout,
    /// The header's bytes as this handle found or left them.
    header: Vec<u8>,
    count: CountField,
    /// The header that the first commit puts in the place of a foreign one.
    adopt: Option<Growable>,
    rows: u64,
    end: u64,
}

impl Standing {
    fn of(found: Found) -> Result<Self> {
        let (count, adopt) = match found.growth {
            Growth::Ours(count) => (count, None),
            Growth::Adoptable(header) => (header.count, Some(header)),
            Growth::NoRoom => return Err(no_room(&found)),
        };
        Ok(Standing {
            end: found.layout.end(found.rows)?,
            spec: found.spec,
            layout: found.layout,
            header: found.bytes,
            count,
            adopt,
            rows: found.rows,
        })
    }
}

/// A file open for appending, its lock held by whoever owns this.
pub(crate) struct Growing {
    storage: Latched,
    at: Standing,
    durability: Durability,
    unchecked: u32,
    /// Bytes behind the end, of an append that failed, which could not be cut off: a full btrfs cuts nothing.
    uncut: u64,
    /// Where a check reads the header to: kept, so that a check does not allocate.
    seen: Vec<u8>,
}

impl Growing {
    /// Goes on with a file that [`find`](crate::open::find) looked at, under its lock, and settles its tail.
    pub(crate) fn resume(
        storage: Box<dyn Storage>,
        found: Found,
        durability: Durability,
        on_tail: OnTail,
    ) -> Result<(Self, Dropped)> {
        let tail = Tail::of(&found, on_tail)?;
        let mut this = Growing::new(storage, Standing::of(found)?, durability);
        let dropped = this.settle(tail)?;
        Ok((this, dropped))
    }

    /// As [`resume`](Growing::resume), for a handle that gave its lock back and has it again.
    pub(crate) fn refresh(&mut self, found: Found, on_tail: OnTail) -> Result<Dropped> {
        let tail = Tail::of(&found, on_tail)?;
        (self.at, self.uncut) = (Standing::of(found)?, 0);
        self.seen.resize(self.at.header.len(), 0);
        self.settle(tail)
    }

    /// Goes on with a file that this process has just made with `header` and `rows`.
    pub(crate) fn made(
        storage: Box<dyn Storage>,
        spec: Spec,
        header: Growable,
        layout: Layout,
        rows: u64,
        durability: Durability,
    ) -> Result<Self> {
        let end = layout.end(rows)?;
        let at = Standing { spec, layout, header: header.bytes, count: header.count, adopt: None, rows, end };
        Ok(Growing::new(storage, at, durability))
    }

    fn new(storage: Box<dyn Storage>, at: Standing, durability: Durability) -> Self {
        let seen = vec![0; at.header.len()];
        Growing { storage: Latched::new(storage), at, durability, unchecked: 0, uncut: 0, seen }
    }

    /// Takes the tail's whole rows or cuts them, and cuts what is left.
    fn settle(&mut self, tail: Tail) -> Result<Dropped> {
        if tail.bytes == 0 {
            return Ok(Dropped::default());
        }
        if tail.keep > 0 {
            let rows = self.rows_after(tail.keep)?;
            self.commit(rows)?;
        }
        let dropped = tail.dropped(self.row_size());
        if dropped.bytes > 0 {
            self.storage.set_len(self.at.end)?;
        }
        Ok(dropped)
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.at.spec
    }

    pub(crate) fn rows(&self) -> u64 {
        self.at.rows
    }

    pub(crate) fn end(&self) -> u64 {
        self.at.end
    }

    pub(crate) fn row_size(&self) -> u64 {
        self.at.layout.row_size
    }

    /// Whether the header is still the one that another writer left.
    pub(crate) fn is_foreign(&self) -> bool {
        self.at.adopt.is_some()
    }

    /// The bytes of as many committed rows from `first` on as `buf` has room for: whole rows.
    pub(crate) fn read_rows(&self, first: u64, buf: &mut [u8]) -> Result<()> {
        let (start, end) = (self.at.layout.end(first)?, self.at.end);
        if start.checked_add(buf.len() as u64).is_none_or(|wanted| wanted > end) {
            return Err(error!(Mismatch, "expected rows in 0..{}, found {first}", self.at.rows));
        }
        self.storage.read_exact_at(start, buf)
    }

    /// Refuses in a forked child.
    pub(crate) fn check_owner(&self) -> Result<()> {
        self.storage.check_owner()
    }

    pub(crate) fn storage(&mut self) -> &mut Latched {
        &mut self.storage
    }

    pub(crate) fn into_storage(self) -> Box<dyn Storage> {
        self.storage.into_inner()
    }

    /// The most rows that the header can count.
    pub(crate) fn max_rows(&self) -> u64 {
        self.at.count.max_rows().min(MAX_ROWS)
    }

    /// The count after `more` rows, if the header can hold it.
    pub(crate) fn rows_after(&self, more: u64) -> Result<u64> {
        let rows = self.at.rows.checked_add(more).filter(|&rows| rows <= MAX_ROWS);
        let rows = rows.ok_or_else(|| {
            error!(OverLimit, "{} rows and {more} more: a file counts at most {MAX_ROWS} rows", self.at.rows)
        })?;
        if rows > self.at.count.max_rows() {
            return Err(error!(
                NotAppendable,
                "the header has room to count {} rows, {rows} were asked for: call ensure_appendable(path)",
                self.at.count.max_rows()
            ));
        }
        self.at.layout.end(rows)?;
        Ok(rows)
    }

    /// A whole append in one call: the hot path of every unbuffered one. Says which rows are new.
    #[inline]
    pub(crate) fn append(&mut self, count: u64, bytes: &[u8]) -> Result<Range<u64>> {
        let rows = self.rows_after(count)?;
        self.prepare(bytes.len() as u64)?;
        self.write(self.at.end, bytes)?;
        self.commit(rows)
    }

    /// Before bytes of an append of `size` bytes are written: this process may write, and nobody changed the file.
    pub(crate) fn prepare(&mut self, size: u64) -> Result<()> {
        self.storage.check_owner()?;
        self.unchecked += 1;
        let is_due = size >= LARGE || self.unchecked >= SMALL_APPENDS || self.uncut > 0;
        if is_due { self.check() } else { self.storage.check() }
    }

    /// Refuses, for good, when the size or the header is not as this handle left it, or the file is deleted. Then cuts what
    /// could not be cut off before.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.storage.check()?;
        self.unchecked = 0;
        let size = self.storage.len()?;
        let got = self.storage.read_up_to(0, &mut self.seen)?;
        let expected = self.at.end + self.uncut;
        let what = if size != expected {
            alloc::format!("it should be {expected} bytes long and is {size}")
        } else if self.seen[..got] != self.at.header {
            String::from("its header was rewritten")
        } else if self.storage.is_deleted()? {
            String::from("it was deleted, or replaced by another, and its rows with it")
        } else {
            return if self.uncut > 0 { self.cut_off() } else { Ok(()) };
        };
        Err(self.storage.latch(alloc::format!("another program changed the file under this appender: {what}")))
    }

    /// Whether a last check is anything to go by: after a failure that was told it is not.
    pub(crate) fn is_usable(&mut self) -> bool {
        self.storage.check().is_ok() && (self.uncut == 0 || self.check().is_ok())
    }

    /// Writes rows that nobody sees yet, at or after [`end`](Growing::end). A failure cuts the file back.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        debug_assert!(offset >= self.at.end);
        self.storage.write_all_at(offset, bytes).map_err(|error| self.cut_back(error))
    }

    /// As [`transfer`], for rows that nobody sees yet, at or after [`end`](Growing::end). A failure cuts the file back.
    pub(crate) fn copy_from(
        &mut self,
        from: &dyn Storage,
        from_offset: u64,
        offset: u64,
        len: u64,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<u64> {
        debug_assert!(offset >= self.at.end);
        let done = transfer(&mut self.storage, from, from_offset, offset, len, progress);
        done.map_err(|error| self.cut_back(error))
    }

    /// Makes the file what it was before an append that goes no further.
    pub(crate) fn cut_back(&mut self, error: Error) -> Error {
        match self.cut_off() {
            Ok(()) => error.and("nothing was appended, the file is as before"),
            Err(_) if self.storage.check().is_err() => error,
            Err(_) => error.and("nothing was appended, but its bytes stay behind the rows until the next call"),
        }
    }

    /// Cuts off what is behind the end, if anything is.
    fn cut_off(&mut self) -> Result<()> {
        self.uncut = self.storage.len()?.saturating_sub(self.at.end);
        if self.uncut > 0 {
            self.storage.set_len(self.at.end)?;
        }
        self.uncut = 0;
        Ok(())
    }

    /// Counts the rows written so far, `rows` in all: the moment they exist for readers. Says which are new.
    pub(crate) fn commit(&mut self, rows: u64) -> Result<Range<u64>> {
        let end = self.at.layout.end(rows)?;
        if self.durability != Durability::Process {
            self.storage.sync()?;
        }
        match self.at.adopt.take() {
            Some(header) => self.commit_adopting(header, rows)?,
            None => self.commit_count(rows)?,
        }
        let new = self.at.rows..rows;
        self.at.rows = rows;
        self.at.end = end;
        Ok(new)
    }

    fn commit_count(&mut self, rows: u64) -> Result<()> {
        let patch = self.at.count.patch(self.at.rows, rows);
        let durable = self.durability == Durability::Power;
        match self.storage.commit_at(patch.offset(), patch.bytes(), durable) {
            Ok(()) => {
                let at = patch.offset() as usize;
                self.at.header[at..at + patch.bytes().len()].copy_from_slice(patch.bytes());
                Ok(())
            }
            Err(error) => Err(self.uncommitted(error)),
        }
    }

    /// Rewrites a foreign header as ours, of the same length: the one commit that moves text.
    fn commit_adopting(&mut self, header: Growable, rows: u64) -> Result<()> {
        let mut new = header.bytes.clone();
        let patch = header.count.patch(self.at.rows, rows);
        let at = patch.offset() as usize;
        new[at..at + patch.bytes().len()].copy_from_slice(patch.bytes());
        let changed = changed(&self.at.header, &new);
        let offset = changed.start as u64;
        match self.storage.write_all_at(offset, &new[changed.clone()]) {
            Ok(()) => {}
            Err(error) => {
                // The old text goes back; if even that fails, `uncommitted` sees a header that is neither and latches.
                let _ = self.storage.write_all_at(offset, &self.at.header[changed]);
                self.at.adopt = Some(header);
                return Err(self.uncommitted(error));
            }
        }
        self.at.header = new;
        if self.durability == Durability::Power { self.storage.sync_commit() } else { Ok(()) }
    }

    /// After a commit that failed: if the old count still stands the rows are cut off, else nothing here is certain.
    fn uncommitted(&mut self, error: Error) -> Error {
        if self.storage.check().is_err() {
            return error;
        }
        let got = self.storage.read_up_to(0, &mut self.seen);
        if got.is_ok_and(|got| self.seen[..got] == self.at.header) {
            return self.cut_back(error);
        }
        let reason = alloc::format!("a commit failed and is in doubt ({})", error.detail());
        self.storage.latch(reason)
    }

    /// Makes every committed row survive a power cut.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.storage.check_owner()?;
        self.check()?;
        self.storage.sync()
    }

    /// Cuts the file to its first `rows` rows: count, sync, length, so that no crash leaves rows counted that are gone.
    pub(crate) fn truncate(&mut self, rows: u64) -> Result<()> {
        if rows > self.at.rows {
            return Err(error!(Mismatch, "cannot truncate to {rows} rows: the file has {}", self.at.rows));
        }
        self.storage.check_owner()?;
        self.check()?;
        if rows == self.at.rows {
            return Ok(());
        }
        let old_end = self.at.end;
        self.commit(rows)?;
        self.storage.sync()?;
        if let Err(why) = self.storage.set_len(self.at.end) {
            let left = old_end - self.at.end;
            let reason =
                alloc::format!("truncated to {rows} rows, but their {left} bytes stay behind ({})", why.detail());
            return Err(self.storage.latch(reason));
        }
        if self.durability == Durability::Process { Ok(()) } else { self.storage.sync() }
    }
}

/// The smallest unit that a disk writes as a whole, and that a write(2) does which is killed.
const SECTOR: usize = 512;
const PAGE: usize = 4096;

/// Whether a header of the same length cannot be put in the place of another in one piece: a power cut can leave any of the
/// sectors that they differ in, a kill any of the pages.
pub(crate) fn tears(old: &[u8], new: &[u8], durability: Durability) -> bool {
    let unit = if durability == Durability::Process { PAGE } else { SECTOR };
    let changed = changed(old, new);
    changed.start / unit != changed.end.saturating_sub(1) / unit
}

/// Where two headers of one length differ.
fn changed(old: &[u8], new: &[u8]) -> Range<usize> {
    let differ = |(a, b): (&u8, &u8)| a != b;
    let start = old.iter().zip(new).position(differ).unwrap_or(0);
    let end = old.len() - old.iter().rev().zip(new.iter().rev()).position(differ).unwrap_or(old.len());
    start..end.max(start)
}

/// A file whose count cannot grow in place.
pub(crate) fn no_room(found: &Found) -> Error {
    if found.is_scalar() {
        return no_axes();
    }
    error!(NotAppendable, "the header has no room for a growing count: call ensure_appendable(path)")
}

/// A 0-d array.
pub(crate) fn no_axes() -> Error {
    error!(NotAppendable, "the array has no axes: expected at least one axis to grow along, found shape ()")
}
