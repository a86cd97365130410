use crate::bookmark::Bookmark;
use crate::element::{self, Element};
use crate::error::{Error, Result, error};
use crate::format::Dtype;
use crate::gather::{Source, gather};
use crate::group::{OFFSETS, VALUES, check_offsets, check_values, covered, not_from_0, offset};
use crate::view::View;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use std::path::{Path, PathBuf};

/// The items of a folder that a [`RaggedAppender`](crate::RaggedAppender) grows, mapped.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("words");
/// let mut words = npygrow::RaggedAppender::open(&path)?;
/// words.append(b"npy")?;
/// let mut reader = npygrow::Ragged::open(&path, npygrow::MAX_HEADER_SIZE)?;
/// words.append(b"grow")?;
/// assert_eq!(reader.refresh()?, 1..2);
/// assert_eq!(reader.range(1)?, 3..7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Ragged {
    pub(super) path: Arc<Path>,
    pub(super) values: View,
    offsets: View,
    items: u64,
}

impl Ragged {
    /// Maps the two files in the folder `path`, whose headers are at most `max_header_size` bytes long.
    ///
    /// # Errors
    ///
    /// As [`View::open`] for either file; `Mismatch` and `Malformed` when they are not what this is about.
    pub fn open(path: impl AsRef<Path>, max_header_size: u64) -> Result<Self> {
        let path = path.as_ref();
        // Offsets first: the values of what they count are counted before.
        let offsets = View::open(path.join(OFFSETS), max_header_size)?;
        let values = View::open(path.join(VALUES), max_header_size)?;
        Ragged::over(path, values, offsets)
    }

    fn over(path: &Path, values: View, offsets: View) -> Result<Self> {
        check_offsets(&offsets.rows().found.spec).map_err(|error| offsets.rows().named(error))?;
        check_values(&values.rows().found.spec).map_err(|error| values.rows().named(error))?;
        let mut this = Ragged { path: path.into(), values, offsets, items: 0 };
        this.items = this.count()?;
        Ok(this)
    }

    /// The same of its first `items` items alone, whatever there is by now; [`refresh`](Ragged::refresh) goes on from them.
    ///
    /// # Errors
    ///
    /// `Mismatch` when there are fewer.
    pub fn first(mut self, items: u64) -> Result<Self> {
        if items > self.items {
            let error = error!(Mismatch, "expected items in 0..{}, found 0..{items}", self.items);
            return Err(error.at(self.path.display()));
        }
        self.items = items;
        Ok(self)
    }

    /// How many values each of a range of items has.
    ///
    /// # Errors
    ///
    /// As [`range`](Ragged::range), for the first that is wrong; `OverLimit` when there is no memory for so many.
    pub fn lengths(&self, items: Range<u64>) -> Result<Vec<u64>> {
        let mut lengths = Vec::new();
        let count = items.end.saturating_sub(items.start);
        if !matches!(usize::try_from(count).map(|count| lengths.try_reserve_exact(count)), Ok(Ok(()))) {
            let error = error!(OverLimit, "no memory for the lengths of {count} items: ask for fewer");
            return Err(error.at(self.path.display()));
        }
        for item in items {
            let range = self.range(item)?;
            lengths.push(range.end - range.start);
        }
        Ok(lengths)
    }

    /// What another process needs to see the same items.
    ///
    /// # Errors
    ///
    /// As [`View::bookmark`].
    pub fn bookmark(&self) -> Result<RaggedBookmark> {
        let (values, offsets) = (self.values.bookmark()?, self.offsets.bookmark()?);
        let path = std::path::absolute(&self.path).map_err(|why| Error::io("cannot tell where it is", &why))?;
        Ok(RaggedBookmark { path, values, offsets, items: self.items })
    }

    /// The path, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.items
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// The dtype of the values.
    #[must_use]
    pub fn dtype(&self) -> &Dtype {
        self.values.dtype()
    }

    /// The values of all items, one after the other, and whatever follows them.
    #[must_use]
    pub fn values(&self) -> &View {
        &self.values
    }

    /// Where the items begin, and where the last ends.
    #[must_use]
    pub fn offsets(&self) -> &View {
        &self.offsets
    }

    /// Which values an item has.
    ///
    /// # Errors
    ///
    /// `Mismatch` when there are fewer items; `Malformed` when its offsets go down or past the values.
    pub fn range(&self, item: u64) -> Result<Range<u64>> {
        let range = || {
            if item >= self.items {
                return Err(error!(Mismatch, "expected an item in 0..{}, found {item}", self.items));
            }
            let (start, end, held) = (self.offset(item)?, self.offset(item + 1)?, self.values.len());
            if start > end || end > held {
                return Err(error!(
                    Malformed,
                    "item {item} goes from {start} to {end}: expected offsets that go up, to at most {held}"
                ));
            }
            Ok(start..end)
        };
        range().map_err(|error: Error| error.at(self.path.display()))
    }

    /// The bytes of an item.
    ///
    /// # Errors
    ///
    /// As [`range`](Ragged::range).
    pub fn bytes(&self, item: u64) -> Result<&[u8]> {
        let range = self.range(item)?;
        let at = |value: u64| usize::try_from(value * self.values.row_size()).unwrap_or(usize::MAX);
        Ok(self.values.bytes().get(at(range.start)..at(range.end)).unwrap_or(&[]))
    }

    /// Copies the bytes of these items to `out`, one after the other, in this order; items may be there twice. As long as their
    /// [`sizes`](Ragged::sizes) together.
    ///
    /// What is in memory is copied by as many threads as are worth it; the rest is asked of the disk all at once, in the file's
    /// order. The threads end with the call.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("words");
    /// let mut words = npygrow::RaggedAppender::open(&path)?;
    /// words.append(b"npy")?;
    /// words.append(b"grow")?;
    /// let words = npygrow::Ragged::open(&path, npygrow::MAX_HEADER_SIZE)?;
    /// let mut out = vec![0; words.sizes(&[1, 0])?.iter().sum()];
    /// words.gather_into(&[1, 0], &mut out)?;
    /// assert_eq!(out, b"grownpy");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`range`](Ragged::range), for the first item that is wrong; `Mismatch` when `out` is not as long as they are, or the
    /// file was cut; `Io` when reading fails.
    pub fn gather_into(&self, items: &[u64], out: &mut [u8]) -> Result<()> {
        self.gather_from(self.values.bytes(), items, out)
    }

    /// As [`gather_into`](Ragged::gather_into), but never through the mapping, whose pages then are not this process's.
    pub(super) fn gather_unmapped(&self, items: &[u64], out: &mut [u8]) -> Result<()> {
        self.gather_from(&[], items, out)
    }

    fn gather_from(&self, map: &[u8], items: &[u64], out: &mut [u8]) -> Result<()> {
        let (row_size, window) = (self.values.row_size(), self.values.window());
        let start = window.start + self.values.rows().found.layout.data_start;
        let (mut pieces, mut all) = (Vec::with_capacity(items.len()), 0_usize);
        for &item in items {
            let range = self.range(item)?;
            let size = self.size(item, &range)?;
            pieces.push((range.start * row_size, size));
            all = all.saturating_add(size);
        }
        let gathered = if all == out.len() {
            let file = &window.file;
            gather(&Source { file, start, map, is_private: false, is_writable: false }, pieces.as_slice(), out)
        } else {
            Err(error!(Mismatch, "expected a buffer of {all} bytes, found {}", out.len()))
        };
        gathered.map_err(|error| error.at(self.path.display()))
    }

    /// How many bytes each of these items takes.
    ///
    /// # Errors
    ///
    /// As [`range`](Ragged::range), for the first that is wrong.
    pub fn sizes(&self, items: &[u64]) -> Result<Vec<usize>> {
        items.iter().map(|&item| self.size(item, &self.range(item)?)).collect()
    }

    fn size(&self, item: u64, range: &Range<u64>) -> Result<usize> {
        let size = (range.end - range.start).checked_mul(self.values.row_size());
        let size = size.and_then(|size| usize::try_from(size).ok());
        size.ok_or_else(|| error!(OverLimit, "item {item} does not fit into memory").at(self.path.display()))
    }

    /// The values of an item.
    ///
    /// # Errors
    ///
    /// As [`range`](Ragged::range); `Mismatch` where `T` is not the values' dtype, or they are not aligned for it.
    pub fn item<T: Element>(&self, item: u64) -> Result<&[T]> {
        element::check::<T>(self.dtype()).map_err(|error| error.at(self.path.display()))?;
        let bytes = self.bytes(item)?;
        if bytes.is_empty() {
            return Ok(&[]);
        }
        element::cast(bytes).ok_or_else(|| error!(Mismatch, "item {item} is not aligned").at(self.path.display()))
    }

    /// Looks for new items, and says which they are.
    ///
    /// # Errors
    ///
    /// As [`View::refresh`].
    pub fn refresh(&mut self) -> Result<Range<u64>> {
        let was = self.items;
        self.forget_uncounted()?;
        // Offsets first, as when it was opened.
        self.offsets.refresh()?;
        self.values.refresh()?;
        let items = self.count()?;
        if items < was {
            return Err(error!(Mismatch, "the folder was replaced or cut while it was read: open it again")
                .at(self.path.display()));
        }
        self.items = items;
        Ok(was..items)
    }

    /// Values and offsets of no item that is shown may be cut again, by the next appender after a crash, and are no loss then.
    fn forget_uncounted(&mut self) -> Result<()> {
        let offsets = if self.offsets.is_empty() { 0 } else { self.items + 1 };
        let values = if self.items == 0 { 0 } else { self.offset(self.items)? };
        for (view, rows) in [(&mut self.offsets, offsets), (&mut self.values, values)] {
            if view.len() > rows {
                *view = view.clone().first(rows)?;
            }
        }
        Ok(())
    }

    /// How many items there are in the files as they are mapped, shown or not.
    fn count(&self) -> Result<u64> {
        let count = || {
            if self.offsets.is_empty() {
                return Ok(0);
            }
            let first = self.offset(0)?;
            if first != 0 {
                return Err(not_from_0(first));
            }
            covered(self.offsets.len() - 1, self.values.len(), |item| self.offset(item + 1))
        };
        count().map_err(|error: Error| error.at(self.path.display()))
    }

    fn offset(&self, at: u64) -> Result<u64> {
        let bytes =
            usize::try_from(at).ok().and_then(|at| self.offsets.bytes().get(at.checked_mul(8)?..)?.first_chunk());
        bytes.copied().map_or_else(|| Err(error!(Mismatch, "there is no offset {at}")), offset)
    }
}

/// Which items of which folder a [`Ragged`] shows: small enough to be sent to every worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaggedBookmark {
    /// Where the folder is.
    pub path: PathBuf,
    /// Its values.
    pub values: Bookmark,
    /// Its offsets.
    pub offsets: Bookmark,
    /// How many items there are.
    pub items: u64,
}

impl RaggedBookmark {
    /// The same items of the same folder.
    ///
    /// # Errors
    ///
    /// As [`Bookmark::open`].
    pub fn open(&self) -> Result<Ragged> {
        Ragged::over(&self.path, self.values.open()?, self.offsets.open()?)?.first(self.items)
    }
}
