//! Copies of row ranges, out of any storage.

#[cfg(feature = "std")]
use crate::create::Place;
use crate::element::{self, Element};
#[cfg(feature = "std")]
use crate::error::{Error, ErrorKind};
use crate::error::{Result, error};
#[cfg(feature = "std")]
use crate::format::MAX_HEADER_SIZE;
use crate::format::{Dtype, Order};
use crate::rows::Rows;
#[cfg(feature = "std")]
use crate::rows::replaced;
use crate::storage::Storage;
#[cfg(feature = "std")]
use crate::storage::Watch;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;
#[cfg(feature = "std")]
use std::path::{Path, PathBuf};
#[cfg(feature = "std")]
use std::time::{Duration, Instant};

/// A `.npy` file open for reading row ranges into memory. It never writes and takes no lock.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("pose.npy");
/// # npygrow::Appender::open(&path)?.append(&[[0.0f32, 0.5], [1.0, 1.5], [2.0, 2.5]])?;
/// let pose = npygrow::Reader::open(&path)?;
/// assert_eq!(pose.shape(), [3, 2]);
/// assert_eq!(pose.rows::<[f32; 2]>(1..3)?, [[1.0, 1.5], [2.0, 2.5]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reader {
    storage: Box<dyn Storage>,
    rows: Rows,
    /// Where to see whether the file was replaced.
    #[cfg(feature = "std")]
    path: Option<PathBuf>,
    #[cfg(feature = "std")]
    watch: Option<Watch>,
}

impl Reader {
    /// Opens `path`, whose header is at most [`MAX_HEADER_SIZE`] bytes long; symlinks are followed.
    ///
    /// # Errors
    ///
    /// `NeedsRecovery` when it holds fewer rows than it counts; `NotNpy`, `Malformed`, `Unsupported`, `OverLimit` when it
    /// is no file for us; `Io` for the rest.
    #[cfg(feature = "std")]
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Reader::open_with(path, MAX_HEADER_SIZE)
    }

    /// As [`open`](Reader::open), with another limit for the header.
    ///
    /// # Errors
    ///
    /// As [`open`](Reader::open).
    #[cfg(feature = "std")]
    pub fn open_with(path: impl AsRef<Path>, max_header_size: u64) -> Result<Self> {
        let path = path.as_ref();
        let open = || {
            let place = Place::resolve(path)?;
            let storage = place.folder.open(&place.name, false)?.ok_or_else(crate::create::missing)?;
            let rows = Rows::find(&*storage, Some(path.to_string_lossy().into()), max_header_size)?;
            Reader::over(storage, rows, path)
        };
        open().map_err(|error: Error| error.at(path.display()))
    }

    /// Over what is known of the file at `path` already.
    #[cfg(feature = "std")]
    pub(crate) fn over(storage: Box<dyn Storage>, rows: Rows, path: &Path) -> Result<Self> {
        // Absolute: a reader outlives a change of the working directory. Through symlinks, which may lead elsewhere one day.
        let path = std::path::absolute(path).map_err(|error| Error::io("cannot tell the working folder", &error))?;
        Ok(Reader { storage, rows, path: Some(path), watch: None })
    }

    /// Reads from `storage`, whose header is at most `max_header_size` bytes long.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`].
    pub fn on(storage: Box<dyn Storage>, max_header_size: u64) -> Result<Self> {
        Ok(Reader {
            rows: Rows::find(&*storage, None, max_header_size)?,
            storage,
            #[cfg(feature = "std")]
            path: None,
            #[cfg(feature = "std")]
            watch: None,
        })
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

    /// The shape, the growth axis included.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.rows.shape
    }

    /// How many rows there were when the file was opened or refreshed.
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

    /// The values of a range of rows, one row after the other; `[T; N]` is `N` of them.
    ///
    /// # Errors
    ///
    /// `Mismatch` when `T` is not the file's dtype, its values do not make whole rows, or there are fewer rows; `Io` when
    /// reading fails.
    pub fn rows<T: Element>(&self, rows: Range<u64>) -> Result<Vec<T>> {
        element::check::<T>(self.dtype()).map_err(|error| self.rows.named(error))?;
        let (_, size) = self.rows.offset(&rows)?;
        let item = size_of::<T>() as u64;
        if item == 0 || !size.is_multiple_of(item) {
            let name = core::any::type_name::<T>();
            return Err(self.rows.named(error!(Mismatch, "{size} bytes of rows are no whole number of {name}")));
        }
        let len = usize::try_from(size / item).map_err(|_| error!(OverLimit, "{size} bytes do not fit into memory"))?;
        element::values(len, |bytes| self.read_into(rows, bytes)).map_err(|error| self.rows.named(error))
    }

    /// Reads the bytes of a range of rows, as they lie in the file.
    ///
    /// # Errors
    ///
    /// `Mismatch` when there are fewer rows, or `buf` is not as long as they are; `Io` when reading fails.
    pub fn read_into(&self, rows: Range<u64>, buf: &mut [u8]) -> Result<()> {
        self.rows.read_into(&*self.storage, rows, buf)
    }

    /// Looks for new rows, and says which they are.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`]; `Mismatch` when the file was overwritten by another, or is shorter. A file that was put in its
    /// place by a rename is not seen: the file is followed, not its name.
    pub fn refresh(&mut self) -> Result<Range<u64>> {
        self.rows.refresh(&*self.storage)
    }

    /// Waits until there are new rows, and says which they are; none after `timeout`, and `None` waits for ever.
    ///
    /// The waiting costs next to nothing, by inotify where there is one, else by looking now and then: on Linux rows are
    /// there some 100 microseconds after their commit, later on a busy machine. A writer that closes the file and goes on
    /// later is not noticed.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("pose.npy");
    /// use std::time::Duration;
    ///
    /// let mut writer = npygrow::Appender::open(&path)?;
    /// writer.append(&[[0.0f32, 0.5]])?;
    /// let mut pose = npygrow::Reader::open(&path)?;
    /// let late = std::thread::spawn(move || writer.append(&[[1.0f32, 1.5]]));
    /// let new = pose.wait(None)?;
    /// assert_eq!(pose.rows::<[f32; 2]>(new)?, [[1.0, 1.5]]);
    /// assert!(pose.wait(Some(Duration::from_millis(1)))?.is_empty());
    /// # late.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Mismatch` when the file was overwritten, replaced, renamed, deleted, or is shorter; rows that were committed before
    /// a replacement come first. `NeedsRecovery` while its rows are moved in place; `Io` when reading fails.
    #[cfg(feature = "std")]
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Range<u64>> {
        let watch = match self.watch.take() {
            Some(watch) => Ok(watch),
            None => Watch::new(&*self.storage, self.path.as_deref()),
        };
        let waited = watch.and_then(|mut watch| {
            let waited = self.wait_by(&mut watch, timeout);
            self.watch = Some(watch);
            waited
        });
        waited.map_err(|error| self.rows.named(error))
    }

    #[cfg(feature = "std")]
    fn wait_by(&mut self, watch: &mut Watch, timeout: Option<Duration>) -> Result<Range<u64>> {
        let start = Instant::now();
        loop {
            let new = self.look()?;
            if !new.is_empty() {
                watch.is_alive();
                return Ok(new);
            }
            if watch.is_elsewhere()? {
                // Rows may have come between the two.
                let last = self.look()?;
                return if last.is_empty() { Err(elsewhere()) } else { Ok(last) };
            }
            let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
            if left == Some(Duration::ZERO) {
                return Ok(new);
            }
            watch.pause(left);
        }
    }

    /// As [`refresh`](Reader::refresh); what is no array any more was overwritten.
    #[cfg(feature = "std")]
    fn look(&mut self) -> Result<Range<u64>> {
        self.refresh().map_err(|error| match error.kind() {
            ErrorKind::NotNpy | ErrorKind::Malformed => replaced(),
            _ => error,
        })
    }
}

#[cfg(feature = "std")]
fn elsewhere() -> Error {
    error!(Mismatch, "the file was replaced, renamed or deleted while it was followed: open it again")
}
