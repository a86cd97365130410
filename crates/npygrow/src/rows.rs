//! The rows that a reader knows of: how many, where they lie, and which are new.

use crate::error::{Error, Result, error};
use crate::open::Health;
use crate::open::{Found, find, truncated};
use crate::storage::Storage;
use alloc::sync::Arc;
use core::ops::Range;

/// The committed rows of a file, as they were found last.
#[derive(Clone)]
pub(crate) struct Rows {
    pub(crate) found: Arc<Found>,
    /// 1 for a 0-d array.
    pub(crate) len: u64,
    /// Shared: a view is cloned for each gather.
    pub(crate) shape: Arc<[u64]>,
    /// For messages.
    path: Option<Arc<str>>,
    pub(crate) max_header_size: u64,
}

impl Rows {
    /// What is in `storage`, which must hold every row that it counts.
    pub(crate) fn find(storage: &dyn Storage, path: Option<Arc<str>>, max_header_size: u64) -> Result<Self> {
        let found = find(storage, max_header_size)?;
        if let Health::Truncated { rows, .. } = found.health {
            return Err(truncated(found.rows, rows));
        }
        Ok(Rows {
            len: found.rows,
            shape: found.header.shape.as_slice().into(),
            found: Arc::new(found),
            path,
            max_header_size,
        })
    }

    /// The first `rows` of them alone.
    pub(crate) fn first(mut self, rows: u64) -> Result<Self> {
        if rows != self.len {
            self.offset(&(0..rows))?;
            self.shape = self.found.spec.shape(rows).into();
            self.len = rows;
        }
        Ok(self)
    }

    /// Looks for new rows, and says which they are.
    pub(crate) fn refresh(&mut self, storage: &dyn Storage) -> Result<Range<u64>> {
        let was = self.len;
        let fresh = Rows::find_grown(storage, self).map_err(|error| self.named(error))?;
        if let Some(fresh) = fresh {
            *self = fresh;
        }
        Ok(was..self.len)
    }

    /// `None` where the file holds fewer rows than it counts by now: then the count is not to be believed yet.
    fn find_grown(storage: &dyn Storage, old: &Rows) -> Result<Option<Self>> {
        let found = find(storage, old.max_header_size)?;
        let held = match found.health {
            Health::Truncated { rows, .. } => rows,
            _ => found.rows,
        };
        if found.spec != old.found.spec
            || found.header.len != old.found.header.len
            || found.rows < old.len
            || held < old.len
        {
            return Err(replaced());
        }
        Ok((held == found.rows).then(|| Rows {
            len: found.rows,
            shape: found.header.shape.as_slice().into(),
            found: Arc::new(found),
            ..old.clone()
        }))
    }

    /// Where a range of rows lies: offset and size in bytes.
    pub(crate) fn offset(&self, rows: &Range<u64>) -> Result<(u64, u64)> {
        if rows.start > rows.end || rows.end > self.len {
            let (start, end) = (rows.start, rows.end);
            return Err(self.named(error!(Mismatch, "expected rows in 0..{}, found {start}..{end}", self.len)));
        }
        let start = self.found.layout.end(rows.start)?;
        Ok((start, self.found.layout.end(rows.end)? - start))
    }

    /// Reads the bytes of a range of rows, as they lie in the file.
    pub(crate) fn read_into(&self, storage: &dyn Storage, rows: Range<u64>, buf: &mut [u8]) -> Result<()> {
        let (offset, size) = self.offset(&rows)?;
        if size != buf.len() as u64 {
            return Err(self.wrong_len(size, buf.len()));
        }
        match storage.read_up_to(offset, buf) {
            Ok(got) if got == buf.len() => Ok(()),
            Ok(_) => Err(self.named(replaced())),
            Err(error) => Err(self.named(error)),
        }
    }

    /// Rows of `size` bytes are asked for in another number of them.
    pub(crate) fn wrong_len(&self, size: u64, len: usize) -> Error {
        self.named(error!(Mismatch, "expected a buffer of {size} bytes, found {len}"))
    }

    pub(crate) fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    pub(crate) fn named(&self, error: Error) -> Error {
        match self.path() {
            Some(path) => error.at(path),
            None => error,
        }
    }
}

/// The file is not the one that was opened, or not all of it is left.
pub(crate) fn replaced() -> Error {
    error!(Mismatch, "the file was replaced or cut while it was read: open it again")
}
