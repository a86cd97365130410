//! A mapping of a file's rows: opened in an instant, nothing loaded.
#![allow(unsafe_code)]

use crate::create::{Place, missing};
use crate::element::{self, Element};
use crate::error::{Error, Result, error};
use crate::format::{Dtype, Order};
use crate::gather::{Even, Source, gather};
use crate::open::Health;
use crate::rows::Rows;
use crate::storage::{File, Window};
use alloc::sync::Arc;
use core::any::Any;
use core::ops::Range;
use core::slice;
use memmap2::{MmapOptions, MmapRaw};
use std::path::Path;

/// What a [`View`] may do to the values it maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read them.
    Read,
    /// Change them in the file.
    Write,
    /// Change a copy of them that nobody else sees.
    Copy,
}

/// The rows of a `.npy` file, mapped. Clones share the mapping, and keep it when another is refreshed.
///
/// A file that another program cuts while it is mapped faults (SIGBUS) where its pages are gone, for whoever reads the slices
/// of [`bytes`](View::bytes) and [`values`](View::values); appending never does that. Calls that copy give an error.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("pose.npy");
/// let mut writer = npygrow::Appender::open(&path)?;
/// writer.append(&[[0.0f32, 0.5], [1.0, 1.5]])?;
/// let mut pose = npygrow::View::open(&path, npygrow::MAX_HEADER_SIZE)?;
/// assert_eq!(pose.values::<[f32; 2]>(), Some(&[[0.0, 0.5], [1.0, 1.5]][..]));
/// writer.append(&[[2.0f32, 2.5]])?;
/// assert_eq!(pose.refresh()?, 2..3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct View {
    path: Arc<Path>,
    window: Window,
    rows: Rows,
    access: Access,
    /// `None` when there is no byte to map.
    map: Option<Arc<MmapRaw>>,
}

impl View {
    /// Maps `path` for reading; its header is at most `max_header_size` bytes long. Symlinks are followed.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`](crate::Reader::open).
    pub fn open(path: impl AsRef<Path>, max_header_size: u64) -> Result<Self> {
        View::open_with(path, Access::Read, max_header_size)
    }

    /// As [`open`](View::open), with `access` to the values. No lock is taken: committed rows are no appender's any more.
    ///
    /// # Errors
    ///
    /// As [`open`](View::open).
    pub fn open_with(path: impl AsRef<Path>, access: Access, max_header_size: u64) -> Result<Self> {
        let path = path.as_ref();
        let open = || View::over(Window::all(open_file(path, access)?), path, access, max_header_size);
        open().map_err(|error: Error| error.at(path.display()))
    }

    /// The array in a part of the file at `path`.
    pub(crate) fn over(window: Window, path: &Path, access: Access, max_header_size: u64) -> Result<Self> {
        let rows = Rows::find(&window, Some(path.to_string_lossy().into()), max_header_size)?;
        let map = map(&window, &rows, access)?;
        Ok(View { path: path.into(), window, rows, access, map })
    }

    /// The same view of its first `rows` rows alone, whatever there is by now; [`refresh`](View::refresh) goes on from them.
    ///
    /// # Errors
    ///
    /// `Mismatch` when there are fewer.
    pub fn first(mut self, rows: u64) -> Result<Self> {
        self.rows = self.rows.first(rows)?;
        self.map = map(&self.window, &self.rows, self.access).map_err(|error| self.rows.named(error))?;
        Ok(self)
    }

    /// The path, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The dtype of the items.
    #[must_use]
    pub fn dtype(&self) -> &Dtype {
        &self.rows.found.header.dtype
    }

    /// C or Fortran order: which axis grows.
    #[must_use]
    pub fn order(&self) -> Order {
        self.rows.found.header.order
    }

    /// The shape, the growth axis included; `[]` for a 0-d array.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.rows.shape
    }

    /// How many rows are mapped; 1 for a 0-d array.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.rows.len
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of one row.
    #[must_use]
    pub fn row_size(&self) -> u64 {
        self.rows.found.layout.row_size
    }

    /// Whether the file held just what it counts, when it was opened or refreshed.
    #[must_use]
    pub fn health(&self) -> Health {
        self.rows.found.health
    }

    /// What may be done to the values.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// The bytes of the rows, as they lie in the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.map {
            // SAFETY: the mapping is readable for its whole length, and lives as long as `self` does. What changes it is
            // said at `map`.
            Some(map) => unsafe { slice::from_raw_parts(map.as_ptr(), map.len()) },
            None => &[],
        }
    }

    /// Where the bytes may be written to; `None` with [`Access::Read`]. Who writes there is to hold nothing that
    /// [`bytes`](View::bytes) or [`values`](View::values) gave.
    #[must_use]
    pub fn as_mut_ptr(&self) -> Option<*mut u8> {
        match &self.map {
            _ if self.access == Access::Read => None,
            Some(map) => Some(map.as_mut_ptr()),
            None => Some(core::ptr::NonNull::dangling().as_ptr()),
        }
    }

    /// The values of all rows; `None` where `T` is not the file's dtype, or the rows are not aligned for it.
    #[must_use]
    pub fn values<T: Element>(&self) -> Option<&[T]> {
        element::check::<T>(self.dtype()).ok()?;
        // No bytes lie anywhere, aligned or not.
        if self.bytes().is_empty() { Some(&[]) } else { element::cast(self.bytes()) }
    }

    /// Reads the bytes of a range of rows from the file, not through the mapping: a file that was cut is an error here, never
    /// a fault. With [`Access::Copy`] what was changed is in the mapping alone, and read there.
    ///
    /// # Errors
    ///
    /// `Mismatch` when there are fewer rows, or `buf` is not as long as they are; `Io` when reading fails.
    pub fn read_into(&self, rows: Range<u64>, buf: &mut [u8]) -> Result<()> {
        if self.access == Access::Copy {
            return self.copy_into(rows, buf);
        }
        self.rows.read_into(&self.window, rows, buf)
    }

    fn copy_into(&self, rows: Range<u64>, buf: &mut [u8]) -> Result<()> {
        let (offset, size) = self.rows.offset(&rows)?;
        let start = usize::try_from(offset - self.rows.found.layout.data_start).unwrap_or(usize::MAX);
        let mapped = self.bytes().get(start..).and_then(|bytes| bytes.get(..usize::try_from(size).ok()?));
        match mapped {
            Some(mapped) if mapped.len() == buf.len() => buf.copy_from_slice(mapped),
            _ => return Err(self.rows.wrong_len(size, buf.len())),
        }
        Ok(())
    }

    /// The values of these rows, in this order, one row after the other; `[T; N]` is `N` of them. As
    /// [`gather_into`](View::gather_into).
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("pose.npy");
    /// # npygrow::Appender::open(&path)?.append(&[[0.0f32, 0.5], [1.0, 1.5], [2.0, 2.5]])?;
    /// let pose = npygrow::View::open(&path, npygrow::MAX_HEADER_SIZE)?;
    /// assert_eq!(pose.gather::<[f32; 2]>(&[2, 0, 2])?, [[2.0, 2.5], [0.0, 0.5], [2.0, 2.5]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`gather_into`](View::gather_into); `Mismatch` when `T` is not the file's dtype, or its values do not make whole
    /// rows.
    pub fn gather<T: Element>(&self, rows: &[u64]) -> Result<Vec<T>> {
        element::check::<T>(self.dtype())?;
        let item = size_of::<T>() as u64;
        if item == 0 || !self.row_size().is_multiple_of(item) {
            let name = core::any::type_name::<T>();
            let text = error!(Mismatch, "rows of {} bytes are no whole number of {name}", self.row_size());
            return Err(self.rows.named(text));
        }
        let len = (rows.len() as u64).checked_mul(self.row_size() / item).and_then(|len| usize::try_from(len).ok());
        let len = len.ok_or_else(|| error!(OverLimit, "{} rows do not fit into memory", rows.len()))?;
        element::values(len, |bytes| self.gather_into(rows, bytes))
    }

    /// Copies the bytes of these rows to `out`, in this order; any order will do, and rows may be there twice.
    ///
    /// What is in memory is copied by as many threads as there are cores; the rest is asked of the disk all at once, in the
    /// file's order and without read-ahead. The threads end with the call.
    ///
    /// # Errors
    ///
    /// `Mismatch` when there are fewer rows, `out` is not as long as they are, or the file was cut; `Io` when reading fails.
    /// With [`Access::Copy`], and on other systems than Linux, a file that is cut during the call may fault.
    pub fn gather_into(&self, rows: &[u64], out: &mut [u8]) -> Result<()> {
        self.gather_part_into(rows, 0..self.row_size(), out)
    }

    /// As [`gather_into`](View::gather_into), but only these bytes of each row.
    ///
    /// # Errors
    ///
    /// As [`gather_into`](View::gather_into); `Mismatch` when a row has fewer bytes.
    pub fn gather_part_into(&self, rows: &[u64], part: Range<u64>, out: &mut [u8]) -> Result<()> {
        self.gather_from(self.bytes(), rows, part, out)
    }

    /// As [`gather_into`](View::gather_into), but never through the mapping, whose pages then are not this process's.
    pub(crate) fn gather_unmapped(&self, rows: &[u64], out: &mut [u8]) -> Result<()> {
        let map = if self.access == Access::Copy { self.bytes() } else { &[] };
        self.gather_from(map, rows, 0..self.row_size(), out)
    }

    fn gather_from(&self, map: &[u8], rows: &[u64], part: Range<u64>, out: &mut [u8]) -> Result<()> {
        let (len, stride) = (self.len(), self.row_size());
        let refuse = |detail: Error| Err(self.rows.named(detail));
        // A sign bit is set by a row that is not there, and by no other: counts end long before 2^63.
        if rows.iter().fold(0, |signs, row| signs | row | len.wrapping_sub(1).wrapping_sub(*row)) > i64::MAX as u64 {
            let row = rows.iter().max().copied().unwrap_or_default();
            return refuse(error!(Mismatch, "expected rows in 0..{len}, found {row}"));
        }
        if part.start > part.end || part.end > stride {
            let (start, end) = (part.start, part.end);
            return refuse(error!(Mismatch, "expected bytes in 0..{stride} of each row, found {start}..{end}"));
        }
        let size = part.end - part.start;
        let (Ok(row_size), Ok(stride), Ok(skip), true) = (
            usize::try_from(size),
            usize::try_from(stride),
            usize::try_from(part.start),
            (rows.len() as u64).checked_mul(size) == Some(out.len() as u64),
        ) else {
            let (rows, found) = (rows.len(), out.len());
            return refuse(error!(Mismatch, "expected a buffer for {rows} rows of {size} bytes, found {found} bytes"));
        };
        let start = self.window.start + self.rows.found.layout.data_start + part.start;
        let map = map.get(skip..).unwrap_or_default();
        let (is_private, is_writable) = (self.access == Access::Copy, self.access == Access::Write);
        let source = Source { file: &self.window.file, start, map, is_private, is_writable };
        gather(&source, &Even { rows, stride, size: row_size }, out).map_err(|error| self.rows.named(error))
    }

    /// Looks for new rows, maps them, and says which they are. Slices that were handed out stay as they are.
    ///
    /// # Errors
    ///
    /// As [`View::open`]; `Mismatch` when the file was overwritten by another, or is shorter, and with [`Access::Copy`],
    /// whose changes would be lost. A file that was put in its place by a rename is not seen: the file is followed, not its
    /// name.
    pub fn refresh(&mut self) -> Result<Range<u64>> {
        if self.access == Access::Copy {
            return Err(self.rows.named(error!(Mismatch, "a private copy does not grow with its file: open it again")));
        }
        let mut rows = self.rows.clone();
        let new = rows.refresh(&self.window)?;
        if !new.is_empty() {
            self.map = map(&self.window, &rows, self.access).map_err(|error| rows.named(error))?;
        }
        self.rows = rows;
        Ok(new)
    }

    /// Makes the values that were changed through the mapping survive a power cut.
    ///
    /// # Errors
    ///
    /// `Io` when they could not be written.
    pub fn flush(&self) -> Result<()> {
        match &self.map {
            Some(map) if self.access == Access::Write => {
                map.flush().map_err(|why| self.rows.named(Error::io("cannot write what was changed", &why)))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    pub(crate) fn rows(&self) -> &Rows {
        &self.rows
    }
}

/// The regular file at `path`, opened as `access` needs it.
pub(crate) fn open_file(path: &Path, access: Access) -> Result<File> {
    let place = Place::resolve(path)?;
    let storage: Box<dyn Any> = place.folder.open(&place.name, access == Access::Write)?.ok_or_else(missing)?;
    storage.downcast::<File>().map(|file| *file).map_err(|_| error!(Unsupported, "only files can be mapped"))
}

fn map(window: &Window, rows: &Rows, access: Access) -> Result<Option<Arc<MmapRaw>>> {
    let layout = &rows.found.layout;
    let size = layout.end(rows.len)? - layout.data_start;
    if size == 0 {
        return Ok(None);
    }
    let len =
        usize::try_from(size).map_err(|_| error!(OverLimit, "{size} bytes are too many to map on this machine"))?;
    let mut options = MmapOptions::new();
    options.offset(window.start + layout.data_start).len(len);
    let file = window.file.as_std();
    let map = match access {
        Access::Read => options.map_raw_read_only(file),
        Access::Write => options.map_raw(file),
        // SAFETY: the mapping ends inside the file, which `Rows::find` found long enough, and leaves the header out, whose
        // count changes. Memory that another program changes is outside of what Rust can promise; what this crate promises
        // is that it never changes a committed row in place, so that only foreign writers can, and `truncate`, `recover` and
        // a move in place, whose docs say so. The same holds for the two above, which `View::bytes` reads.
        Access::Copy => unsafe { options.map_copy(file) }.map(MmapRaw::from),
    };
    map.map(|map| Some(Arc::new(map))).map_err(|why| Error::io("cannot map it", &why))
}
