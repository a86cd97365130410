//! Batches of rows, the next of which is read while the last is worked on.

mod desk;
#[cfg(all(test, shuttle))]
mod models;
mod order;

pub use desk::Block;
pub(crate) use order::Wanted;

use crate::error::{Error, Result, error};
use crate::sync::thread;
use crate::view::View;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use desk::{Desk, Leave};
use order::Order;
use std::path::Path;
use std::time::Duration;

/// Rows batch by batch: those of a [`View`], of a [`Ragged`](crate::Ragged) or of a [`Dataset`](crate::Dataset), made by their
/// `batches`.
///
/// A thread reads ahead by one batch, into the memory of the last one dropped, so that two are in memory: the one that is
/// worked on, and the next. Rows are read from the file, not through its mapping: a scan adds nothing else to what the
/// process holds, and a file that was cut is an error.
pub struct Batches {
    path: Arc<Path>,
    columns: Arc<[Box<dyn Source>]>,
    order: Order,
    /// By whose lengths rows are put into buckets.
    by: usize,
    next: u64,
    batches: u64,
    /// Once the first was asked for.
    desk: Option<Arc<Desk>>,
}

/// A column that rows are read from.
pub(crate) trait Source: Send + Sync {
    /// How many bytes these rows take, and how long each is where they differ.
    fn measure(&self, rows: &Wanted<'_>) -> Result<(u64, Option<Vec<u64>>)>;

    /// Reads these rows, which take as many bytes as `out` has.
    fn read(&self, rows: &Wanted<'_>, out: &mut [u8]) -> Result<()>;

    /// How long a row is, where they differ.
    fn length(&self, row: u64) -> Result<u64>;
}

/// What a batch is read into: all its columns in one piece.
#[derive(Default)]
pub(crate) struct Memory {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

/// A column's part.
struct Span {
    at: Range<usize>,
    lengths: Option<Vec<u64>>,
}

/// Every column begins at a multiple of this, as in a file.
const ALIGN: usize = 64;

impl View {
    /// The rows as they are counted now, in batches of `size`, the last one perhaps smaller: left out with `drop_last`.
    /// `shuffle` is the seed of a random order of all rows, which takes no memory; without it they come in their own. As many
    /// rows come in the same order for the same seed, here and in [`Ragged::batches`](crate::Ragged::batches) and
    /// [`Dataset::batches`](crate::Dataset::batches).
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("ids.npy");
    /// npygrow::save(&path, &[1u8, 2, 3, 4, 5])?;
    /// let ids = npygrow::View::open(&path, npygrow::MAX_HEADER_SIZE)?;
    /// let mut total = 0;
    /// for batch in ids.batches(2, None, false)? {
    ///     total += batch?.iter().map(|&id| u32::from(id)).sum::<u32>();
    /// }
    /// assert_eq!(total, 15);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Mismatch` for batches of no rows; `OverLimit` when one does not fit into memory. The iterator gives those of reading,
    /// and ends with the first.
    pub fn batches(&self, size: u64, shuffle: Option<u64>, drop_last: bool) -> Result<Batches> {
        self.check_batch(size.min(self.len()))?;
        Batches::new(self.path().into(), vec![Box::new(self.clone())], self.len(), size, shuffle, drop_last, None)
    }

    /// Refuses batches that no memory holds.
    pub(crate) fn check_batch(&self, rows: u64) -> Result<()> {
        let bytes = rows.checked_mul(self.row_size()).and_then(|bytes| isize::try_from(bytes).ok());
        bytes.map(drop).ok_or_else(|| {
            let row_size = self.row_size();
            let text =
                error!(OverLimit, "{rows} rows of {row_size} bytes do not fit into memory: ask for smaller batches");
            self.rows().named(text)
        })
    }
}

impl Source for View {
    fn measure(&self, rows: &Wanted<'_>) -> Result<(u64, Option<Vec<u64>>)> {
        Ok((rows.len().saturating_mul(self.row_size()), None))
    }

    fn read(&self, rows: &Wanted<'_>, out: &mut [u8]) -> Result<()> {
        match rows.range() {
            // Rows of no bytes may be any number: a list of them is more than memory holds.
            _ if out.is_empty() => Ok(()),
            Some(range) => self.read_into(range, out),
            None => rows.list().and_then(|rows| self.gather_unmapped(rows, out)),
        }
        .map_err(|error| self.rows().named(error))
    }

    fn length(&self, _row: u64) -> Result<u64> {
        Ok(1)
    }
}

impl Batches {
    /// `bucket`: how many batches are sorted by their lengths at a time, and by those of which column.
    pub(crate) fn new(
        path: Arc<Path>,
        columns: Vec<Box<dyn Source>>,
        rows: u64,
        size: u64,
        shuffle: Option<u64>,
        drop_last: bool,
        bucket: Option<(usize, u64)>,
    ) -> Result<Self> {
        let order = Order::new(rows, size, shuffle, drop_last, bucket.map(|(_, batches)| batches));
        let order = order.map_err(|error| error.at(path.display()))?;
        let (columns, batches, by) = (columns.into(), order.batches(), bucket.map_or(0, |(by, _)| by));
        Ok(Batches { path, columns, order, by, next: 0, batches, desk: None })
    }

    /// The same of `count` rows alone: of `first` and every `step`-th from there on. To be called before the first batch.
    #[must_use]
    pub fn pick(mut self, first: u64, step: i64, count: u64) -> Self {
        self.order.pick(first, step, count);
        self.batches = self.order.batches();
        self
    }

    /// How many batches are left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.batches - self.next
    }

    /// Waits until the next batch, the end or an error is there, so that [`next`](Iterator::next) does not: `false` when it
    /// is not in time. For who has to look at something else meanwhile.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("ids.npy");
    /// # npygrow::save(&path, &[1u8, 2, 3, 4, 5])?;
    /// # let ids = npygrow::View::open(&path, npygrow::MAX_HEADER_SIZE)?;
    /// let mut batches = ids.batches(5, None, false)?;
    /// while !batches.wait(std::time::Duration::from_millis(50)) {
    ///     println!("still reading");
    /// }
    /// assert_eq!(batches.next().unwrap()?.rows(), 5);
    /// assert!(batches.wait(std::time::Duration::ZERO), "the end is there");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&mut self, timeout: Duration) -> bool {
        // What hinders is told by `next`.
        self.left() == 0 || self.desk().map_or(true, |desk| desk.wait(timeout))
    }

    fn desk(&mut self) -> Result<&Desk> {
        let desk = match self.desk.take() {
            Some(desk) => desk,
            None => {
                let (columns, order) = (self.columns.clone(), self.order.clone());
                Reading { columns, order, by: self.by, batches: self.batches }.begin()?
            }
        };
        let desk = self.desk.insert(desk);
        desk.owner.check()?;
        Ok(desk)
    }
}

impl Iterator for Batches {
    type Item = Result<Block>;

    fn next(&mut self) -> Option<Result<Block>> {
        if self.left() == 0 {
            return None;
        }
        let block = self.desk().and_then(Desk::take).map_err(|error| error.at(self.path.display()));
        match block {
            Ok(_) => self.next += 1,
            Err(_) => self.batches = self.next,
        }
        Some(block)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left()).ok();
        (left.unwrap_or(usize::MAX), left)
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        if let Some(desk) = &self.desk {
            desk.close();
        }
    }
}

/// What the thread has.
struct Reading {
    columns: Arc<[Box<dyn Source>]>,
    order: Order,
    by: usize,
    batches: u64,
}

impl Reading {
    /// Starts the thread.
    fn begin(mut self) -> Result<Arc<Desk>> {
        let desk = Arc::new(Desk::new());
        let leave = Leave(desk.clone());
        thread::Builder::new()
            .name("npygrow batches".into())
            .spawn(move || self.read_all(&leave.0))
            .map_err(|why| Error::io("cannot start a thread to read ahead", &why))?;
        Ok(desk)
    }

    fn read_all(&mut self, desk: &Arc<Desk>) {
        for batch in 0..self.batches {
            let Some(memory) = desk.room() else { return };
            // Made before it is read, so that also a failure gives it back.
            let mut block = Block { rows: 0, memory, desk: desk.clone() };
            // Not under the lock: a block that is dropped takes it.
            let read = self.read(batch, &mut block).map(|()| block);
            let failed = read.is_err();
            desk.put(read);
            if failed {
                return;
            }
        }
    }

    fn read(&mut self, batch: u64, block: &mut Block) -> Result<()> {
        let by = self.columns.get(self.by);
        let rows = self.order.batch(batch, &|row| by.map_or(Ok(0), |column| column.length(row)))?;
        let Memory { bytes, spans } = &mut block.memory;
        block.rows = rows.len();
        spans.clear();
        let mut end = 0_usize;
        for column in &*self.columns {
            let (size, lengths) = column.measure(&rows)?;
            let start = end.next_multiple_of(ALIGN);
            let past = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
            end = past.ok_or_else(|| no_memory(size))?;
            spans.push(Span { at: start..end, lengths });
        }
        bytes.truncate(end);
        if bytes.try_reserve_exact(end - bytes.len()).is_err() {
            return Err(no_memory(end as u64));
        }
        bytes.resize(end, 0);
        for (column, span) in self.columns.iter().zip(spans) {
            column.read(&rows, bytes.get_mut(span.at.clone()).unwrap_or_default())?;
        }
        Ok(())
    }
}

fn no_memory(bytes: u64) -> Error {
    error!(OverLimit, "no memory for a batch of {bytes} bytes: ask for smaller batches")
}
