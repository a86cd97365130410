use super::{OFFSETS, VALUES, covered, offset};
use crate::append::Appender;
use crate::element::{self, Element};
use crate::error::{Error, Result, count, error};
use crate::format::{Dtype, Order};
use crate::group::{Group, Part};
use crate::options::{Mode, Options};
use crate::storage::{Directory, Folder};
use crate::tail::{Dropped, OnTail};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use std::ffi::OsStr;
use std::path::Path;

/// Appends items of different length to a folder of two plain files, `values.npy` and `offsets.npy`.
///
/// An append is whole or not there, as with [`Appender`], whose options, durabilities and guarantees these are.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("words");
/// let mut words = npygrow::RaggedAppender::open(&path)?;
/// assert_eq!(words.append(b"npy")?, 0..1);
/// assert_eq!(words.append(b"grow")?, 1..2);
/// words.close()?;
///
/// let words = npygrow::Ragged::open(&path, npygrow::MAX_HEADER_SIZE)?;
/// assert_eq!(words.item::<u8>(1)?, b"grow");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RaggedAppender {
    /// The values, then the offsets.
    group: Group,
    /// Items appended, those in memory included.
    items: u64,
    /// Where the last of them ends.
    end: u64,
    dropped: Dropped,
}

impl RaggedAppender {
    /// Opens the folder `path` for appending with the default options, or makes it.
    ///
    /// # Errors
    ///
    /// As [`Options::open_ragged`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::default().open_ragged(path)
    }

    /// How many items there are, those in the buffer included.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.items
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// How many values there are in all items.
    #[must_use]
    pub fn values_len(&self) -> u64 {
        self.end
    }

    /// The dtype of the values, once it is known.
    #[must_use]
    pub fn dtype(&self) -> Option<&Dtype> {
        self.values().dtype()
    }

    /// The shape of one value, once it is known: `[]` for plain numbers.
    #[must_use]
    pub fn row_shape(&self) -> Option<&[u64]> {
        self.values().row_shape()
    }

    /// The bytes of one value, once they are known.
    #[must_use]
    pub fn row_size(&self) -> Option<u64> {
        self.values().row_size()
    }

    /// What was cut from the folder when it was opened: items, and bytes.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Settles what the values of a new folder are, as [`Appender::define`] does.
    ///
    /// # Errors
    ///
    /// `Mismatch` when something else was settled before.
    pub fn define(&mut self, dtype: &Dtype, row_shape: &[u64]) -> Result<()> {
        self.group.files()[0].define(dtype, row_shape)
    }

    /// Appends one item, and says its number.
    ///
    /// # Errors
    ///
    /// As [`extend_bytes`](RaggedAppender::extend_bytes), and `Mismatch` when `T` is not the values' dtype.
    pub fn append<T: Element>(&mut self, item: &[T]) -> Result<Range<u64>> {
        self.group.files()[0].accept::<T>(T::shape)?;
        self.append_bytes(item.len() as u64, element::bytes_of(item))
    }

    /// Appends one item of `len` values as they lie in the file.
    ///
    /// # Errors
    ///
    /// As [`extend_bytes`](RaggedAppender::extend_bytes).
    pub fn append_bytes(&mut self, len: u64, values: &[u8]) -> Result<Range<u64>> {
        let end =
            self.end.checked_add(len).and_then(|end| i64::try_from(end).ok()).ok_or_else(|| self.too_many(len))?;
        self.put(1, len, values, &end.to_le_bytes())
    }

    /// Appends as many items as there are `lengths`, all of them or none; `values` are theirs, one after the other.
    ///
    /// # Errors
    ///
    /// `Mismatch` when the lengths are not those of the values; else as [`Appender::append_bytes`].
    pub fn extend_bytes(&mut self, lengths: &[u64], values: &[u8]) -> Result<Range<u64>> {
        let mut ends = Vec::new();
        ends.try_reserve_exact(lengths.len() * 8)
            .map_err(|_| error!(OverLimit, "no memory for the offsets of {} items", lengths.len()))?;
        let mut end = self.end;
        for &len in lengths {
            end = end.checked_add(len).filter(|&end| i64::try_from(end).is_ok()).ok_or_else(|| self.too_many(len))?;
            ends.extend(end.to_le_bytes());
        }
        self.put(lengths.len() as u64, end - self.end, values, &ends)
    }

    fn put(&mut self, items: u64, len: u64, values: &[u8], ends: &[u8]) -> Result<Range<u64>> {
        let size = self.row_size().and_then(|row_size| row_size.checked_mul(len));
        if size.is_some_and(|size| size != values.len() as u64) {
            let (row_size, given) = (self.row_size().unwrap_or(0), count(values.len() as u64, "byte"));
            let error = error!(Mismatch, "expected {} of {row_size} bytes, found {given}", count(len, "value"));
            return Err(self.named(error));
        }
        self.group.append(&[Part { count: len, bytes: values }, Part { count: items, bytes: ends }])?;
        (self.items, self.end) = (self.items + items, self.end + len);
        Ok(self.items - items..self.items)
    }

    /// Cuts the values of an append whose offsets were never counted. Whatever else does not fit together was not left so by
    /// an appender.
    fn settle(&mut self, on_tail: OnTail) -> Result<()> {
        let [values, offsets] = self.group.files() else { return Ok(()) };
        let first = offset_at(offsets, 0)?;
        if first != 0 {
            return Err(error!(Malformed, "expected offsets that go up from 0, found {first} first"));
        }
        let (held, items) = (values.len(), self.items);
        if held < self.end {
            let kept = covered(items, held, |item| offset_at(offsets, item + 1))?;
            return Err(error!(
                NeedsRecovery,
                "{OFFSETS} counts {}, {VALUES} holds the first {kept} of them: call recover(path) to go on with these",
                count(items, "item")
            ));
        }
        let excess = held - self.end;
        if excess == 0 {
            return Ok(());
        }
        let ours = !values.is_foreign() && !offsets.is_foreign() && !younger(offsets, values);
        if !ours && on_tail != OnTail::Drop || matches!(on_tail, OnTail::Error | OnTail::Keep) {
            return Err(error!(
                NeedsRecovery,
                "{VALUES} holds {} after the last of {}: call recover(path) to cut them off",
                count(excess, "value"),
                count(items, "item")
            ));
        }
        let bytes = excess * values.row_size().unwrap_or(0);
        values.truncate(self.end)?;
        self.dropped = Dropped { rows: 0, bytes };
        Ok(())
    }

    /// Publishes what is buffered.
    ///
    /// # Errors
    ///
    /// As [`Appender::commit`].
    pub fn commit(&mut self) -> Result<()> {
        self.group.commit()
    }

    /// Publishes what is buffered, and makes every item survive a power cut.
    ///
    /// # Errors
    ///
    /// As [`Appender::sync`].
    pub fn sync(&mut self) -> Result<()> {
        self.group.sync()
    }

    /// Cuts the folder to its first `items` items.
    ///
    /// # Errors
    ///
    /// `Mismatch` when there are fewer; else as [`Appender::truncate`].
    pub fn truncate(&mut self, items: u64) -> Result<()> {
        self.commit()?;
        if items > self.items {
            return Err(self.named(error!(Mismatch, "cannot truncate to {items} items: there are {}", self.items)));
        }
        if items < self.items {
            self.cut(items)?;
        }
        Ok(())
    }

    /// Offsets first: no offset is left that the values do not reach.
    fn cut(&mut self, items: u64) -> Result<()> {
        let [values, offsets] = self.group.files() else { return Ok(()) };
        let end = offset_at(offsets, items)?;
        offsets.truncate(items + 1)?;
        values.truncate(end)?;
        (self.items, self.end) = (items, end);
        Ok(())
    }

    /// Publishes what is buffered and gives the locks back.
    ///
    /// # Errors
    ///
    /// As [`Appender::close`].
    pub fn close(self) -> Result<()> {
        self.group.close()
    }

    fn values(&self) -> &Appender {
        self.group.file(0)
    }

    fn named(&self, error: Error) -> Error {
        match self.values().path() {
            Some(path) => error.at(path.parent().unwrap_or(&path).display()),
            None => error,
        }
    }

    fn too_many(&self, len: u64) -> Error {
        self.named(error!(OverLimit, "{} values and {len} more: offsets are of 63 bits", self.end))
    }
}

impl Options {
    /// Opens the folder `path` of items of different length, or makes it. The dtype and the row shape are those of the
    /// values; the order is C.
    ///
    /// # Errors
    ///
    /// As [`open`](Options::open), for either file; `NeedsRecovery` when one is missing or does not fit the other.
    pub fn open_ragged(self, path: impl AsRef<Path>) -> Result<RaggedAppender> {
        let path = path.as_ref();
        let open = || {
            let folder = Directory::make(path)?;
            self.open_ragged_in(Arc::new(folder))
        };
        open().map_err(|error: Error| error.at(path.display()))
    }

    /// As [`open_ragged`](Options::open_ragged), for the two files in `folder`.
    ///
    /// # Errors
    ///
    /// As [`open_ragged`](Options::open_ragged).
    pub fn open_ragged_in(self, folder: Arc<dyn Folder>) -> Result<RaggedAppender> {
        self.check_ragged()?;
        let buffering = self.buffering;
        let there = |name: &str| Ok::<_, Error>(folder.identity(OsStr::new(name))?.is_some());
        let (has_values, has_offsets) = (there(VALUES)?, there(OFFSETS)?);
        if has_values && !has_offsets {
            return Err(error!(
                NeedsRecovery,
                "{OFFSETS} is missing beside {VALUES}: without it nothing says where an item begins"
            ));
        }
        let offsets = Options { dtype: Some("<i8".parse()?), row_shape: Some(Vec::new()), ..self.clone() };
        let mut offsets = offsets.open_in(folder.clone(), OsStr::new(OFFSETS))?;
        if !has_values && offsets.len() > 1 {
            let items = count(offsets.len() - 1, "item");
            return Err(error!(NeedsRecovery, "{VALUES} is missing beside {OFFSETS}, which counts {items}"));
        }
        if offsets.is_empty() {
            // Before the first value is there: values that nothing counts can then be told from those whose offsets are gone.
            offsets.append(&[0_i64])?;
            offsets.commit()?;
        }
        let on_tail = self.on_tail;
        let values = Options { order: Some(Order::C), ..self }.open_in(folder, OsStr::new(VALUES))?;
        let items = offsets.len() - 1;
        let end = offset_at(&offsets, items)?;
        let mut this = RaggedAppender {
            items,
            end,
            dropped: Dropped::default(),
            group: Group::new(alloc::vec![values, offsets], buffering),
        };
        this.settle(on_tail)?;
        Ok(this)
    }

    fn check_ragged(&self) -> Result<()> {
        if self.mode == Mode::Write || self.turns || self.order == Some(Order::F) {
            return Err(error!(
                Unsupported,
                "items of different length: expected neither mode \"w\", nor turns, nor Fortran order"
            ));
        }
        Ok(())
    }
}

/// The committed offset number `at`.
fn offset_at(offsets: &Appender, at: u64) -> Result<u64> {
    let mut bytes = [0; 8];
    offsets.read_row(at, &mut bytes)?;
    offset(bytes)
}

/// Whether `file` was made after `other`, as far as the file system tells.
fn younger(file: &Appender, other: &Appender) -> bool {
    let made = |file: &Appender| std::fs::metadata(file.path()?).ok()?.created().ok();
    made(file).zip(made(other)).is_some_and(|(file, other)| file > other)
}
