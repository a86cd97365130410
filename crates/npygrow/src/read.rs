//! Copies of row ranges, out of any storage.

#[cfg(feature = "std")]
use crate::create::Place;
use crate::element::{self, Element};
#[cfg(feature = "std")]
use crate::error::Error;
use crate::error::{Result, error};
#[cfg(feature = "std")]
use crate::format::MAX_HEADER_SIZE;
use crate::format::{Dtype, Order};
use crate::rows::Rows;
use crate::storage::Storage;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

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
}

impl Reader {
    /// Opens `path`; symlinks are followed.
    ///
    /// # Errors
    ///
    /// `NeedsRecovery` when it holds fewer rows than it counts; `NotNpy`, `Malformed`, `Unsupported`, `OverLimit` when it
    /// is no file for us; `Io` for the rest.
    #[cfg(feature = "std")]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let path = path.as_ref();
        let open = || {
            let place = Place::resolve(path)?;
            let storage = place.folder.open(&place.name, false)?.ok_or_else(crate::create::missing)?;
            let rows = Rows::find(&*storage, Some(path.to_string_lossy().into()), MAX_HEADER_SIZE)?;
            Ok(Reader { storage, rows })
        };
        open().map_err(|error: Error| error.at(path.display()))
    }

    /// Reads from `storage`, whose header is at most `max_header_size` bytes long.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`].
    pub fn on(storage: Box<dyn Storage>, max_header_size: u64) -> Result<Self> {
        let rows = Rows::find(&*storage, None, max_header_size)?;
        Ok(Reader { storage, rows })
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
}
