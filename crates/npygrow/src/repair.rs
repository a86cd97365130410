//! Mending files: counting what is there, and making room to grow.

use crate::create::{Place, Room, missing, wait};
use crate::error::{Error, Result, error};
use crate::format::{Growable, Layout, MAX_HEADER_SIZE, MAX_ROWS, plain_header};
use crate::grow::{Durability, no_room, tears};
use crate::open::{Found, Growth, Health, find, truncated};
use crate::options::Options;
use crate::storage::{BLOCK, Folder, Hold, Latched, Storage};
use crate::tail::sequence;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use std::ffi::OsStr;
use std::path::Path;

/// What [`recover`] does with bytes after the last committed row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tail {
    /// Whole rows become rows, a torn row is cut.
    #[default]
    Keep,
    /// They are cut.
    Drop,
}

/// How [`recover`] mends a file.
#[derive(Clone, Copy, Debug)]
pub struct RecoverOptions {
    /// Completes a torn last row with zero bytes instead of cutting it.
    pub zerofill_incomplete: bool,
    /// What to do with bytes after the last committed row.
    pub tail: Tail,
    /// The longest header to read, in bytes as `np.load` counts them.
    pub max_header_size: u64,
}

impl Default for RecoverOptions {
    fn default() -> Self {
        RecoverOptions { zerofill_incomplete: false, tail: Tail::Keep, max_header_size: MAX_HEADER_SIZE }
    }
}

/// What [`recover`] did. A file that was well is left alone: then `rows` is `rows_before` and the rest is 0, but for `zero_run`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// The rows that the header counted.
    pub rows_before: u64,
    /// The rows that it counts now.
    pub rows: u64,
    /// How many of them come from the tail: nobody acknowledged them, their contents are unverified.
    pub from_tail: u64,
    /// How many of those are all zero bytes.
    pub zero_rows: u64,
    /// How many rows at the end of the file, from the tail or not, are all zero bytes, as a power cut leaves them.
    pub zero_run: u64,
    /// How many rows the header promised that are gone.
    pub lost: u64,
    /// How many bytes were cut: of a torn row, or of a tail that was dropped.
    pub cut: u64,
    /// How many zero bytes complete a torn row.
    pub filled: u64,
}

/// Makes the header count what the file at `path` holds, so that every reader can read it and rows can be appended.
///
/// Works on every file whose header can be read: with fewer rows than it promises, with more, with a torn last row.
/// What it changed is on the disk when it returns.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("pose.npy");
/// # npygrow::Appender::open(&path)?.append(&[[0u16, 1], [2, 3]])?;
/// std::fs::File::options().write(true).open(&path)?.set_len(128 + 5)?; // a download that was cut
/// let recovery = npygrow::recover(&path, npygrow::RecoverOptions::default())?;
/// assert_eq!((recovery.rows_before, recovery.rows, recovery.lost, recovery.cut), (2, 1, 1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// `Locked` when an appender holds the file; `Unsupported` for several arrays in one file; `NotNpy`, `Malformed`,
/// `OverLimit` when the header cannot be read, for then nothing says what a row is; `Io` for the rest.
pub fn recover(path: impl AsRef<Path>, options: RecoverOptions) -> Result<Recovery> {
    let path = path.as_ref();
    let place = Place::resolve(path);
    place.and_then(|place| recover_at(&place, options)).map_err(|error| error.at(path.display()))
}

/// As [`recover`], in any [`Folder`].
///
/// # Errors
///
/// As [`recover`].
pub fn recover_in(folder: Arc<dyn Folder>, name: &OsStr, options: RecoverOptions) -> Result<Recovery> {
    let place = Place::new(folder, name);
    recover_at(&place, options).map_err(|error| error.at(place.path().display()))
}

fn recover_at(place: &Place, options: RecoverOptions) -> Result<Recovery> {
    let mut storage = lock(place)?;
    let found = place.find(&mut *storage, options.max_header_size)?;
    let plan = Plan::new(&found, options)?;
    let recovery = plan.report(&*storage, &found)?;
    plan.carry_out(place, storage, found, options.max_header_size)?;
    Ok(recovery)
}

/// What [`recover_in`] would do. Changes nothing and takes no lock.
pub(crate) fn plan_in(folder: &Arc<dyn Folder>, name: &OsStr, options: RecoverOptions) -> Result<Recovery> {
    let plan = || {
        let storage = folder.open(name, false)?.ok_or_else(missing)?;
        let found = find(&*storage, options.max_header_size)?;
        Plan::new(&found, options)?.report(&*storage, &found)
    };
    plan().map_err(|error: Error| error.at(folder.path(name).display()))
}

/// Cuts a file that is well to its first `rows` rows, on the disk.
pub(crate) fn cut_in(folder: Arc<dyn Folder>, name: &OsStr, rows: u64, max_header_size: u64) -> Result<()> {
    let place = Place::new(folder, name);
    let cut = || {
        let mut storage = lock(&place)?;
        let found = place.find(&mut *storage, max_header_size)?;
        let plan = Plan { rows: rows.min(found.rows), size: found.layout.end(rows.min(found.rows))?, from_tail: 0 };
        plan.carry_out(&place, storage, found, max_header_size)
    };
    cut().map_err(|error| error.at(place.path().display()))
}

fn lock(place: &Place) -> Result<Box<dyn Storage>> {
    place.lock(&wait(&Options::default()), Hold::Turn)?.ok_or_else(missing)
}

/// What is to be done: the rows to count, and the file's new size.
struct Plan {
    rows: u64,
    size: u64,
    from_tail: u64,
}

impl Plan {
    fn new(found: &Found, options: RecoverOptions) -> Result<Self> {
        let row_size = found.layout.row_size;
        // What the file ends with after its last whole row.
        let (whole, torn, from_tail) = match found.health {
            Health::Clean => (found.rows, 0, 0),
            Health::Sequence => return Err(sequence()),
            Health::Truncated { rows, torn } if !found.is_scalar() => (rows, torn, 0),
            Health::Truncated { .. } => {
                return Err(error!(Malformed, "the one item of this 0-d array is not whole: nothing can be recovered"));
            }
            // A 0-d array has no rows to take, and rows of no bytes cannot be found among any.
            Health::Tail { .. } if options.tail == Tail::Drop || found.is_scalar() || row_size == 0 => {
                (found.rows, 0, 0)
            }
            Health::Tail { rows, bytes } => (found.rows.saturating_add(rows), bytes - rows * row_size, rows),
        };
        let fill = u64::from(options.zerofill_incomplete && torn > 0);
        let rows = whole + fill;
        if rows > MAX_ROWS {
            return Err(error!(OverLimit, "the file holds {rows} rows: a header counts at most {MAX_ROWS}"));
        }
        let from_tail = if from_tail > 0 || rows > found.rows { from_tail + fill } else { 0 };
        Ok(Plan { rows, size: found.layout.end(rows)?, from_tail })
    }

    fn report(&self, storage: &dyn Storage, found: &Found) -> Result<Recovery> {
        let held = self.size.min(found.size);
        Ok(Recovery {
            rows_before: found.rows,
            rows: self.rows,
            from_tail: self.from_tail,
            zero_rows: zero_rows(storage, &found.layout, self.rows - self.from_tail, held)?,
            zero_run: zero_run(storage, &found.layout, held)?,
            lost: found.rows.saturating_sub(self.rows),
            cut: found.size.saturating_sub(self.size),
            filled: self.size.saturating_sub(found.size),
        })
    }

    /// In an order that leaves a whole file wherever it is cut short: never more rows counted than there are.
    fn carry_out(
        &self,
        place: &Place,
        storage: Box<dyn Storage>,
        mut found: Found,
        max_header_size: u64,
    ) -> Result<()> {
        if self.rows == found.rows && self.size == found.size {
            return Ok(());
        }
        let mut storage = Latched::new(storage);
        if self.size > found.size {
            storage.set_len(self.size)?;
        }
        storage.sync()?;
        if self.rows != found.rows && !recount(&mut storage, &found, self.rows)? {
            found.rows = self.rows;
            place.give_room(storage.into_inner(), &found, Room::Auto, max_header_size, &mut |_, _| {})?;
            return Ok(());
        }
        if self.size < found.size {
            storage.set_len(self.size)?;
        }
        storage.sync()?;
        // Who made the file may not have made its name durable.
        place.folder.sync()
    }
}

/// Makes the header count `rows` where it stands, on the disk; `false` when that cannot be done in one piece.
fn recount(storage: &mut Latched, found: &Found, rows: u64) -> Result<bool> {
    if let Growth::Ours(count) = &found.growth
        && rows <= count.max_rows()
    {
        let patch = count.patch(found.rows, rows);
        storage.commit_at(patch.offset(), patch.bytes(), true)?;
        return Ok(true);
    }
    let (header, spec) = (&found.header, &found.spec);
    let roomy = Growable::within(header.version, header.len, &spec.dtype, spec.order, &spec.row_shape, rows);
    let new = roomy
        .map(|roomy| roomy.bytes)
        .or_else(|| plain_header(header.version, header.len, &spec.dtype, spec.order, &spec.shape(rows)));
    match new {
        Some(new) if !tears(&found.bytes, &new, Durability::Power) => {
            storage.write_all_at(0, &new)?;
            storage.sync()?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Memory for `len` bytes, one block at a time.
fn block_of(len: u64) -> Vec<u8> {
    vec![0; usize::try_from(len).map_or(BLOCK, |len| len.min(BLOCK))]
}

/// How many rows from `first` on, in a file of `size` bytes, are all zero bytes.
fn zero_rows(storage: &dyn Storage, layout: &Layout, first: u64, size: u64) -> Result<u64> {
    let row_size = layout.row_size;
    let mut at = layout.end(first)?;
    let (mut zeros, mut in_row, mut all_zero) = (0, 0, true);
    let mut block = block_of(size.saturating_sub(at));
    while row_size > 0 && at < size {
        let len = usize::try_from(size - at).map_or(block.len(), |left| left.min(block.len()));
        storage.read_exact_at(at, &mut block[..len])?;
        let mut rest = &block[..len];
        while !rest.is_empty() {
            let piece = usize::try_from(row_size - in_row).map_or(rest.len(), |left| left.min(rest.len()));
            let (now, later) = rest.split_at(piece);
            all_zero &= now.iter().all(|&byte| byte == 0);
            in_row += piece as u64;
            if in_row == row_size {
                zeros += u64::from(all_zero);
                (in_row, all_zero) = (0, true);
            }
            rest = later;
        }
        at += len as u64;
    }
    // A torn row that will be completed with zeros.
    Ok(zeros + u64::from(in_row > 0 && all_zero))
}

/// How many rows at the end of a file of `size` bytes are all zero bytes.
fn zero_run(storage: &dyn Storage, layout: &Layout, size: u64) -> Result<u64> {
    let mut end = size;
    let mut block = block_of(end.saturating_sub(layout.data_start));
    while end > layout.data_start {
        let len = usize::try_from(end - layout.data_start).map_or(block.len(), |left| left.min(block.len()));
        let start = end - len as u64;
        storage.read_exact_at(start, &mut block[..len])?;
        if let Some(last) = block[..len].iter().rposition(|&byte| byte != 0) {
            end = start + last as u64 + 1;
            break;
        }
        end = start;
    }
    let (before, torn) = layout.rows_in(end.saturating_sub(layout.data_start));
    let rows = layout.rows_in(size.saturating_sub(layout.data_start)).0;
    Ok(rows.saturating_sub(before + u64::from(torn > 0)))
}

/// Makes sure that rows can be appended to the file at `path` as long as it lives; says whether it had to be rewritten.
///
/// A file whose header lacks room is replaced by one with room: mode, owner and times are kept, symlinks are followed, and
/// a crash leaves the old file or the new one. [`Room::InPlace`] is for disks too full for that.
///
/// # Errors
///
/// `Locked` when an appender holds the file; `NeedsRecovery` when it is broken; `NotAppendable` for a 0-d array; `NotNpy`,
/// `Malformed`, `Unsupported`, `OverLimit` when it is no file for us; `Io` for the rest: then it is as it was, or, in place,
/// refused by all readers until the next call finishes.
pub fn ensure_appendable(path: impl AsRef<Path>, room: Room, max_header_size: u64) -> Result<bool> {
    ensure_appendable_with(path, room, max_header_size, &mut |_, _| {})
}

/// As [`ensure_appendable`], for large files: calls `progress` now and then with the bytes done so far and all there are.
///
/// # Errors
///
/// As [`ensure_appendable`].
pub fn ensure_appendable_with(
    path: impl AsRef<Path>,
    room: Room,
    max_header_size: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<bool> {
    let path = path.as_ref();
    let place = Place::resolve(path);
    place.and_then(|place| ensure_at(&place, room, max_header_size, progress)).map_err(|error| error.at(path.display()))
}

/// As [`ensure_appendable`], in any [`Folder`].
///
/// # Errors
///
/// As [`ensure_appendable`].
pub fn ensure_appendable_in(folder: Arc<dyn Folder>, name: &OsStr, room: Room, max_header_size: u64) -> Result<bool> {
    let place = Place::new(folder, name);
    ensure_at(&place, room, max_header_size, &mut |_, _| {}).map_err(|error| error.at(place.path().display()))
}

fn ensure_at(place: &Place, room: Room, max_header_size: u64, progress: &mut dyn FnMut(u64, u64)) -> Result<bool> {
    let mut storage = lock(place)?;
    let found = place.find(&mut *storage, max_header_size)?;
    match found.health {
        Health::Truncated { rows, .. } => return Err(truncated(found.rows, rows)),
        Health::Sequence => return Err(sequence()),
        Health::Tail { bytes, .. } if !matches!(found.growth, Growth::Ours(_)) => {
            return Err(error!(
                NeedsRecovery,
                "{bytes} bytes follow the last row: call recover(path) first, to keep or to drop them"
            ));
        }
        _ if found.is_scalar() => return Err(no_room(&found)),
        _ => {}
    }
    if found.growth.max_rows() == Some(MAX_ROWS) {
        return Ok(false);
    }
    place.give_room(storage, &found, room, max_header_size, progress)?;
    Ok(true)
}
