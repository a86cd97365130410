//! Appending without waiting for the disk: rows are copied into a queue, and one thread writes them.
//!
//! Invariants: whoever is at work with the appender has it alone, and with it all rows that waited, so that rows are
//! written in the order in which they were numbered. The queue's lock is never held while something is written. Rows leave
//! memory when they are published, and no sooner.

mod close;
#[cfg(all(test, shuttle))]
mod models;
mod queue;
mod work;

use crate::append::{Appender, not_whole_rows};
use crate::element::{self, Element};
use crate::error::{Error, Result, error};
use crate::format::{Dtype, Order};
use crate::tail::Dropped;
use queue::{Bounds, Queue};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, TryLockError};
use std::time::Duration;
use work::{HELD, Held, IN_DOUBT, Last, Shared};

/// How much a [`Background`] keeps, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of rows that wait. By default 64 MiB, or twice the appender's
    /// [`buffering`](crate::Options::buffering) where that is more.
    pub max_queue: Option<usize>,
    /// How long rows gather at most where the appender has [`buffering`](crate::Options::buffering); without it they
    /// are written as soon as can be. By default until the buffer is full.
    pub max_delay: Option<Duration>,
}

const MAX_QUEUE: usize = 64 << 20;

/// An appender whose rows are written by a thread of its own: [`append`](Background::append) copies them and returns.
///
/// What waits is published in one commit. Rows that were appended and not committed yet are lost with the process:
/// [`commit`](Background::commit) waits until all are published. It is shared between threads by reference. Dropping it
/// publishes what waits, if it can; [`close`](Background::close) says if it could not.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("pose.npy");
/// use npygrow::{Appender, Background, Limits};
///
/// let pose = Background::start(Appender::open(&path)?, Limits::default())?;
/// assert_eq!(pose.append(&[[0.0f32, 0.5, 1.0], [1.0, 1.5, 2.0]])?, 0..2); // no disk is waited for
/// assert_eq!(pose.commit()?, 0..2); // from here on readers see them
/// pose.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Background {
    shared: Arc<Shared>,
    order: Order,
    dropped: Dropped,
}

impl Background {
    /// Starts the thread. The appender's `buffering` says how many bytes gather before they are published.
    ///
    /// A call that has to wait asks the appender's [`on_wait`](crate::Options::on_wait) from time to time, and its error
    /// ends the wait.
    ///
    /// # Errors
    ///
    /// `Mismatch` for an appender that takes turns; `Io` when there can be no thread; as [`Appender::commit`].
    pub fn start(mut appender: Appender, limits: Limits) -> Result<Background> {
        let (buffering, on_wait) = appender.hand_over()?;
        let most = limits.max_queue.unwrap_or(MAX_QUEUE.max(buffering.saturating_mul(2)));
        let bounds = Bounds { most, gather: buffering.min(most), max_delay: limits.max_delay };
        let settled = OnceLock::new();
        settle(&settled, &appender);
        let (order, dropped, path, committed) =
            (appender.order(), appender.dropped(), appender.path(), appender.committed());
        let max_rows = appender.max_rows();
        let appender = Some(Box::new(appender));
        let queue = Queue { appender, committed, told: committed, max_rows, ..Queue::default() };
        let shared = Arc::new(Shared::new(queue, bounds, settled, path, on_wait));
        shared.start()?;
        Ok(Background { shared, order, dropped })
    }

    /// The dtype, once it is known.
    #[must_use]
    pub fn dtype(&self) -> Option<&Dtype> {
        self.shared.settled.get().map(|(spec, _)| &spec.dtype)
    }

    /// C or Fortran order: which axis grows.
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// The shape of one row, once it is known.
    #[must_use]
    pub fn row_shape(&self) -> Option<&[u64]> {
        self.shared.settled.get().map(|(spec, _)| &*spec.row_shape)
    }

    /// The shape with every row appended so far, once it is known.
    #[must_use]
    pub fn shape(&self) -> Option<Vec<u64>> {
        self.shared.settled.get().map(|(spec, _)| spec.shape(self.len()))
    }

    /// The bytes of one row, once they are known.
    #[must_use]
    pub fn row_size(&self) -> Option<u64> {
        self.shared.settled.get().map(|(_, size)| *size)
    }

    /// The rows of the file, with those that wait.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.shared.rows()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows that readers see; more since the look, maybe.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.shared.lock().committed
    }

    /// The most bytes of rows that wait. An array of more than these is written by the call that appends it.
    #[must_use]
    pub fn max_queue(&self) -> usize {
        self.shared.bounds.most
    }

    /// What was cut from the file's tail when it was opened.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Where the file is, symlinks followed; `None` for a caller's own storage.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.shared.path.as_deref()
    }

    /// Settles what the rows of a new file are, as far as the options left it open. Writes nothing.
    ///
    /// # Errors
    ///
    /// `Mismatch` when something else was settled before.
    pub fn define(&self, dtype: &Dtype, row_shape: &[u64]) -> Result<()> {
        self.shared.at_work(true, |appender| {
            appender.define(dtype, row_shape)?;
            settle(&self.shared.settled, appender);
            Ok(())
        })
    }

    /// Copies values, a whole number of rows, and gives the rows' numbers. `[T; N]` is `N` values; a new file takes its
    /// row shape from it.
    ///
    /// # Errors
    ///
    /// As [`append_rows`](Background::append_rows), and `Mismatch` when `T` is not the file's dtype.
    pub fn append<T: Element>(&self, values: &[T]) -> Result<Range<u64>> {
        match self.dtype() {
            Some(dtype) => element::check::<T>(dtype).map_err(|error| self.shared.named(error))?,
            None => self.define(&T::dtype(), &T::shape())?,
        }
        self.append_bytes(element::bytes_of(values))
    }

    /// Copies whole rows as they lie in the file: of its dtype, one row after the other.
    ///
    /// # Errors
    ///
    /// As [`append_rows`](Background::append_rows).
    pub fn append_bytes(&self, rows: &[u8]) -> Result<Range<u64>> {
        let size = rows.len() as u64;
        let row_size = self.row_size().unwrap_or(0);
        if row_size == 0 || !size.is_multiple_of(row_size) {
            let error = not_whole_rows(self.row_shape().unwrap_or_default(), row_size, size);
            return Err(self.shared.named(error));
        }
        self.append_rows(size / row_size, rows)
    }

    /// As [`append_bytes`](Background::append_bytes), for `count` rows. Waits only while the queue is full; an array that
    /// is larger than the queue is written at once, after all that waited, and the call waits for that.
    ///
    /// # Errors
    ///
    /// `Mismatch` when the bytes are not those of `count` rows. What went wrong since the last call, with which rows were
    /// written and which are held in memory: these rows are not taken then; the next append, or `commit`, tries the others
    /// again. `Latched` when a sync failed, another program changed the file, or this is a forked child.
    pub fn append_rows(&self, count: u64, rows: &[u8]) -> Result<Range<u64>> {
        self.check(count, rows)?;
        let queue = self.shared.lock();
        if self.is_direct(&queue, count, rows) {
            drop(queue);
            return self.shared.at_work(true, |appender| {
                appender.append_rows(count, rows)?;
                Ok(appender.len() - count..appender.len())
            });
        }
        let mut queue = self.wait_for_room(queue, rows.len())?;
        self.push(&mut queue, count, rows)
    }

    /// As [`append_rows`](Background::append_rows), but `None`, and nothing done, where that would have to wait.
    ///
    /// # Errors
    ///
    /// As [`append_rows`](Background::append_rows).
    pub fn try_append_rows(&self, count: u64, rows: &[u8]) -> Result<Option<Range<u64>>> {
        self.check(count, rows)?;
        let mut queue = match self.shared.queue.try_lock() {
            Ok(queue) => queue,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        self.check_queue(&mut queue)?;
        let waits = !queue.line.is_empty() || !queue.has_room(rows.len(), &self.shared.bounds);
        if waits || self.is_direct(&queue, count, rows) {
            return Ok(None);
        }
        self.push(&mut queue, count, rows).map(Some)
    }

    /// Waits until all that was appended is published, and says which rows were since the last commit.
    ///
    /// # Errors
    ///
    /// As [`Appender::commit`], with which rows were written and which are held in memory. Unless latched, the call can
    /// be repeated.
    pub fn commit(&self) -> Result<Range<u64>> {
        self.shared.at_work(false, |appender| {
            appender.commit()?;
            let mut queue = self.shared.lock();
            Ok(std::mem::replace(&mut queue.told, appender.committed())..appender.committed())
        })
    }

    /// Waits until all that was appended is published, and survives a power cut.
    ///
    /// # Errors
    ///
    /// As [`commit`](Background::commit); a failed sync latches.
    pub fn sync(&self) -> Result<()> {
        self.shared.at_work(false, Appender::sync)
    }

    /// Cuts the file to its first `rows` rows, as [`Appender::truncate`].
    ///
    /// # Errors
    ///
    /// As [`Appender::truncate`].
    pub fn truncate(&self, rows: u64) -> Result<()> {
        self.shared.at_work(true, |appender| appender.truncate(rows))
    }

    /// Publishes all that was appended and runs `verb` on the appender itself; other calls wait until it is done, those that
    /// `verb` makes for ever.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("pose.npy");
    /// use npygrow::{Appender, Background, Limits};
    ///
    /// let pose = Background::start(Appender::open(&path)?, Limits::default())?;
    /// pose.append(&[1.0f32, 2.0])?;
    /// assert_eq!(pose.with_appender(|appender| appender.append(&[3.0f32]))?, Some(2..3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`commit`](Background::commit), and what `verb` gives.
    pub fn with_appender<R>(&self, verb: impl FnOnce(&mut Appender) -> Result<R>) -> Result<R> {
        self.shared.at_work(true, verb)
    }

    /// Publishes all that was appended, gives the lock back and ends the thread. Later calls refuse; closing twice is fine.
    ///
    /// # Errors
    ///
    /// As [`commit`](Background::commit); then the rows that wait are lost, and the error says which. An error of `on_wait`
    /// leaves it open.
    pub fn close(&self) -> Result<()> {
        self.finish(Last::Closed)
    }

    /// Whether it is closed, or being closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.owner.is_here() && self.shared.lock().closing
    }
}

impl Background {
    fn check(&self, count: u64, rows: &[u8]) -> Result<()> {
        let check = || {
            self.shared.owner.check()?;
            let Some(row_size) = self.row_size() else { return Err(crate::append::unknown_dtype()) };
            if count.checked_mul(row_size) == Some(rows.len() as u64) {
                return Ok(());
            }
            Err(error!(Mismatch, "expected the bytes of {count} rows, found another number of bytes"))
        };
        check().map_err(|error| self.shared.named(error))
    }

    /// Whether the appender itself takes these rows: those that the queue cannot hold, and those that it will refuse.
    fn is_direct(&self, queue: &Queue, count: u64, rows: &[u8]) -> bool {
        rows.len() > self.shared.bounds.most || self.len().saturating_add(count) > queue.max_rows
    }

    fn push(&self, queue: &mut Queue, count: u64, rows: &[u8]) -> Result<Range<u64>> {
        let start = self.len();
        queue.push(count, rows, &self.shared.bounds).map_err(|error| self.shared.named(error))?;
        self.shared.rows.store(start + count, Ordering::Release);
        self.shared.wake_writer(queue);
        Ok(start..start + count)
    }

    fn wait_for_room<'a>(&'a self, mut queue: Held<'a>, size: usize) -> Result<Held<'a>> {
        self.check_queue(&mut queue)?;
        if queue.line.is_empty() && queue.has_room(size, &self.shared.bounds) {
            return Ok(queue);
        }
        let place = queue.stand_in_line();
        self.shared.wake_writer(&mut queue);
        let waited = loop {
            let asked;
            (queue, asked) = self.shared.wait(queue, true);
            let checked = asked.and_then(|()| queue.check().map_err(|error| self.failed(&queue, error)));
            if checked.is_err() || queue.line.front() == Some(&place) && queue.has_room(size, &self.shared.bounds) {
                break checked;
            }
        };
        queue.line.retain(|other| *other != place);
        // The next in line may have room too.
        self.shared.wake_calls(&queue);
        self.go_on(&mut queue);
        waited.map(|()| queue)
    }

    /// Refuses to take rows in, and says what the writer met, once.
    fn check_queue(&self, queue: &mut Queue) -> Result<()> {
        queue.check().map_err(|error| {
            self.go_on(queue);
            self.failed(queue, error)
        })
    }

    /// For those in line: they wait for rows that are to be tried again, and who is told of the failure may do nothing more.
    fn go_on(&self, queue: &mut Queue) {
        queue.stuck &= queue.line.is_empty();
        self.shared.wake_writer(queue);
    }

    /// What the writer met, as a call tells it.
    fn failed(&self, queue: &Queue, error: Error) -> Error {
        let fate = if queue.latched || queue.broken { IN_DOUBT } else { HELD };
        self.shared.named(queue.with_facts(error, self.len(), fate))
    }
}

fn settle(settled: &OnceLock<(crate::open::Spec, u64)>, appender: &Appender) {
    if let (Some(spec), Some(row_size)) = (appender.spec(), appender.row_size()) {
        let _ = settled.set((spec, row_size));
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.shared.owner.is_here() {
            // Whoever wants to know whether it worked calls `close`.
            let _ = self.finish(Last::Dropped);
        } else {
            // A lock in it may be held by a thread that this process does not have; the file is the parent's.
            std::mem::forget(self.shared.clone());
        }
    }
}
