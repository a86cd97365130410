//! A mapping of a file's rows: opened in an instant, nothing loaded.
#![allow(unsafe_code)]

use crate::create::{Place, missing};
use crate::element::{self, Element};
use crate::error::{Error, Result, error};
use crate::format::{Dtype, Order};
use crate::open::{Found, find_whole};
use crate::storage::File;
use alloc::sync::Arc;
use core::any::Any;
use core::ops::Range;
use memmap2::{Mmap, MmapOptions};
use std::path::Path;

/// The rows of a `.npy` file, mapped read-only. Clones share the mapping, and keep it when another is refreshed.
///
/// A file that another program cuts while it is mapped faults (SIGBUS) where its pages are gone; appending never does that.
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
    file: Arc<File>,
    found: Arc<Found>,
    /// `None` when there is no byte to map.
    map: Option<Arc<Mmap>>,
    max_header_size: u64,
}

impl View {
    /// Maps `path`, whose header is at most `max_header_size` bytes long; symlinks are followed.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`](crate::Reader::open).
    pub fn open(path: impl AsRef<Path>, max_header_size: u64) -> Result<Self> {
        let path = path.as_ref();
        let open = || {
            let place = Place::resolve(path)?;
            let storage: Box<dyn Any> = place.folder.open(&place.name, false)?.ok_or_else(missing)?;
            let file = storage.downcast::<File>().map_err(|_| error!(Unsupported, "only files can be mapped"))?;
            let found = find_whole(&*file, max_header_size)?;
            let map = map(&file, &found)?;
            Ok(View { file: file.into(), found: Arc::new(found), map, max_header_size })
        };
        open().map_err(|error: Error| error.at(path.display()))
    }

    /// The dtype of the items.
    #[must_use]
    pub fn dtype(&self) -> &Dtype {
        &self.found.header.dtype
    }

    /// C or Fortran order: which axis grows.
    #[must_use]
    pub fn order(&self) -> Order {
        self.found.header.order
    }

    /// The shape, the growth axis included; `[]` for a 0-d array.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.found.header.shape
    }

    /// How many rows are mapped; 1 for a 0-d array.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.found.rows
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the rows, as they lie in the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.map {
            Some(map) => map,
            None => &[],
        }
    }

    /// The values of all rows; `None` where `T` is not the file's dtype, or the rows are not aligned for it.
    #[must_use]
    pub fn values<T: Element>(&self) -> Option<&[T]> {
        element::check::<T>(self.dtype()).ok()?;
        element::cast(self.bytes())
    }

    /// Looks for new rows, maps them, and says which they are. Slices that were handed out stay as they are.
    ///
    /// # Errors
    ///
    /// As [`View::open`]; `Mismatch` when the file was overwritten by another, or is shorter. A file that was put in its
    /// place by a rename is not seen: the file is followed, not its name.
    pub fn refresh(&mut self) -> Result<Range<u64>> {
        let found = find_whole(&*self.file, self.max_header_size)?;
        let was = self.len();
        if found.spec != self.found.spec || found.rows < was || found.header.len != self.found.header.len {
            return Err(error!(Mismatch, "the file was replaced or cut while it was mapped: open it again"));
        }
        if found.rows > was {
            self.map = map(&self.file, &found)?;
            self.found = Arc::new(found);
        }
        Ok(was..self.len())
    }
}

fn map(file: &File, found: &Found) -> Result<Option<Arc<Mmap>>> {
    let start = found.layout.data_start;
    let size = found.layout.end(found.rows)? - start;
    if size == 0 {
        return Ok(None);
    }
    let len =
        usize::try_from(size).map_err(|_| error!(OverLimit, "{size} bytes are too many to map on this machine"))?;
    // SAFETY: the mapping is read-only and ends inside the file, which `find_whole` found long enough. It leaves the header
    // out, whose count changes. Memory that another program changes is outside of what Rust can promise; what this crate
    // promises is that it never changes a committed row in place, so that only foreign writers can, and `truncate`,
    // `recover` and a move in place, whose docs say so.
    let map = unsafe { MmapOptions::new().offset(start).len(len).map(file.as_std()) };
    map.map(|map| Some(Arc::new(map))).map_err(|why| Error::io("cannot map it", &why))
}
