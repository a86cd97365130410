//! The appender: rows go in, row numbers come out.

mod accept;
#[cfg(feature = "ndarray")]
mod array;
mod batch;
mod open;
#[cfg(feature = "std")]
mod place;
mod publish;
#[cfg(feature = "std")]
mod together;

use accept::row_size;
pub(crate) use accept::{not_whole_rows, unknown_dtype};
pub use batch::Batch;
use batch::Target;
#[cfg(feature = "std")]
pub use place::save;
#[cfg(feature = "std")]
pub(crate) use together::Times;

#[cfg(feature = "std")]
use crate::create::Place;
use crate::element::{self, Element};
use crate::error::{Result, error};
use crate::format::{Dtype, Order};
use crate::grow::Growing;
use crate::open::Spec;
use crate::options::Options;
use crate::storage::Storage;
use crate::tail::Dropped;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::any::TypeId;
use core::ops::Range;

/// A `.npy` file open for appending.
///
/// Every append writes its rows, then counts them: they exist for readers when it returns, or, with
/// [`buffering`](Options::buffering), after [`commit`](Appender::commit). A failed append leaves the file as it was.
/// Dropping an appender publishes what is buffered if it can; [`close`](Appender::close) says if it could not.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("pose.npy");
/// use npygrow::Appender;
///
/// let mut pose = Appender::open(&path)?;
/// assert_eq!(pose.append(&[[0.0f32, 0.5, 1.0], [1.0, 1.5, 2.0]])?, Some(0..2));
/// pose.close()?;
///
/// let mut pose = Appender::open(&path)?; // any time later, in any process
/// assert_eq!(pose.append(&[[2.0f32, 2.5, 3.0]])?, Some(2..3));
/// assert_eq!(pose.shape(), Some(vec![3, 3]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Appender {
    state: State,
    /// Rows that are not published yet, and how many (rows may take no bytes).
    buffer: Vec<u8>,
    buffered: u64,
    /// Once something is known of the rows, the options ask for it.
    options: Options,
    /// What the caller asked for.
    asked: Options,
    dropped: Dropped,
    /// The last element type that fitted: spares the next append of it the comparison.
    accepted: Option<TypeId>,
    /// Whether the turn goes on after this call: a group ends it.
    keeps_turn: bool,
    #[cfg(feature = "std")]
    place: Option<Place>,
}

enum State {
    /// No file of ours yet: the first publish makes one, in the place of the file held here.
    #[cfg(feature = "std")]
    Pending { replaces: Option<Box<dyn Storage>> },
    /// Boxed, so that an appender is cheap to move.
    Growing(Box<Growing>),
    /// Closed: only `drop` sees it.
    Closed,
}

impl Appender {
    /// Opens `path` for appending with the default options.
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    #[cfg(feature = "std")]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Appender> {
        Options::default().open(path)
    }

    /// How to open an appender, from the defaults.
    pub fn options() -> Options {
        Options::default()
    }

    /// The dtype, once it is known.
    #[must_use]
    pub fn dtype(&self) -> Option<&Dtype> {
        self.options.dtype.as_ref()
    }

    /// C or Fortran order: which axis grows.
    #[must_use]
    pub fn order(&self) -> Order {
        self.options.order.unwrap_or(Order::C)
    }

    /// The shape of one row, once it is known.
    #[must_use]
    pub fn row_shape(&self) -> Option<&[u64]> {
        self.options.row_shape.as_deref()
    }

    /// The shape with every row appended so far, once it is known.
    #[must_use]
    pub fn shape(&self) -> Option<Vec<u64>> {
        Some(self.options.spec()?.shape(self.len()))
    }

    /// The bytes of one row, once they are known.
    #[must_use]
    pub fn row_size(&self) -> Option<u64> {
        match &self.state {
            State::Growing(growing) => Some(growing.row_size()),
            _ => self.options.spec().and_then(|spec| row_size(&spec).ok()),
        }
    }

    /// The rows of the file, with those that are still in the buffer. With turns: as of the last look.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.committed() + self.buffered
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows that readers see.
    #[must_use]
    pub fn committed(&self) -> u64 {
        match &self.state {
            State::Growing(growing) => growing.rows(),
            _ => 0,
        }
    }

    /// What was cut from the file's tail when it was opened.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Where the file is, symlinks followed; `None` for a caller's own storage.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn path(&self) -> Option<std::path::PathBuf> {
        self.place.as_ref().map(Place::path)
    }

    /// Settles what the rows of a new file are, as far as the options left it open. Writes nothing; a first append that
    /// fails undoes it.
    ///
    /// # Errors
    ///
    /// `Mismatch` when something else was settled before.
    pub fn define(&mut self, dtype: &Dtype, row_shape: &[u64]) -> Result<()> {
        let order = self.order();
        let spec = Spec { dtype: dtype.clone(), order, row_shape: row_shape.to_vec() };
        self.options.check(&spec).and_then(|()| row_size(&spec)).map_err(|error| self.named(error))?;
        self.remember(&spec);
        Ok(())
    }

    /// Appends values, a whole number of rows. `[T; N]` is `N` values; a new file takes its row shape from it.
    ///
    /// Gives the numbers of the rows; `None` when they wait in the buffer of an appender that takes turns, for then only
    /// [`commit`](Appender::commit) knows them.
    ///
    /// # Errors
    ///
    /// As [`append_bytes`](Appender::append_bytes), and `Mismatch` when `T` is not the file's dtype.
    pub fn append<T: Element>(&mut self, values: &[T]) -> Result<Option<Range<u64>>> {
        self.accept::<T>(T::shape)?;
        self.append_bytes(element::bytes_of(values))
    }

    /// Appends whole rows as they lie in the file: of its dtype, one row after the other.
    ///
    /// # Errors
    ///
    /// `Mismatch` when the bytes are no whole number of rows. `Io` when they could not be written: the file is as before,
    /// and the call can be repeated. `Latched` when a sync failed, now or before, or another program changed the file, or
    /// this is a forked child. `Locked` when another appender does not end its turn.
    pub fn append_bytes(&mut self, rows: &[u8]) -> Result<Option<Range<u64>>> {
        let row_size = self.known_row_size()?;
        let size = rows.len() as u64;
        if row_size == 0 || !size.is_multiple_of(row_size) {
            let error = not_whole_rows(self.row_shape().unwrap_or_default(), row_size, size);
            return Err(self.failed(error));
        }
        self.append_rows(size / row_size, rows)
    }

    /// As [`append_bytes`](Appender::append_bytes), for `count` rows: the way to append rows that take no bytes.
    ///
    /// # Errors
    ///
    /// As [`append_bytes`](Appender::append_bytes).
    pub fn append_rows(&mut self, count: u64, rows: &[u8]) -> Result<Option<Range<u64>>> {
        if let State::Growing(growing) = &mut self.state
            && self.options.buffering == 0
            && !self.options.turns
            && count.checked_mul(growing.row_size()) == Some(rows.len() as u64)
        {
            // What a batch of one piece does, without the detours.
            return growing.append(count, rows).map(Some).map_err(|error| self.named(error));
        }
        let mut batch = self.begin(count)?;
        batch.write(rows)?;
        batch.commit()
    }

    /// Begins an append of `count` rows whose bytes come in pieces. Until [`Batch::commit`] nothing has happened.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("pose.npy");
    /// let mut log = npygrow::Appender::options().dtype("|u1".parse()?).row_shape([4]).open(&path)?;
    /// let mut batch = log.begin(1)?;
    /// batch.write(&[1, 2])?;
    /// batch.write(&[3, 4])?;
    /// assert_eq!(batch.commit()?, Some(0..1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`append_bytes`](Appender::append_bytes).
    pub fn begin(&mut self, count: u64) -> Result<Batch<'_>> {
        let row_size = self.known_row_size()?;
        let left = self.check_count(count, row_size).map_err(|error| self.failed(error))?;
        let holds = (self.buffer.len() as u64).checked_add(left).is_some_and(|all| all < self.options.buffering as u64);
        let to = if holds {
            Target::Buffer { start: self.buffer.len() }
        } else {
            self.start(count, left).map_err(|error| self.failed(error))?
        };
        Ok(Batch { appender: self, count, left, to })
    }

    /// Publishes what is buffered and says which rows that were. Refuses, for good, when another program has changed the file.
    ///
    /// # Errors
    ///
    /// As [`append_bytes`](Appender::append_bytes). The buffered rows are kept; unless latched, the call can be repeated.
    pub fn commit(&mut self) -> Result<Range<u64>> {
        self.publish().map_err(|error| self.named(error))
    }

    /// Publishes what is buffered, and makes every row survive a power cut.
    ///
    /// # Errors
    ///
    /// As [`commit`](Appender::commit); a failed sync latches.
    pub fn sync(&mut self) -> Result<()> {
        let sync = |this: &mut Self| {
            this.publish()?;
            this.take_turn()?;
            if let State::Growing(growing) = &mut this.state {
                growing.sync()?;
                #[cfg(feature = "std")]
                if let Some(place) = &this.place {
                    growing.storage().latch_on(place.folder.sync(), "what is durable is unknown")?;
                }
            }
            Ok(())
        };
        let done = sync(self);
        self.end_turn(done)
    }

    /// Cuts the file to its first `rows` rows. A mapping of the rows that go faults when it is read.
    ///
    /// # Errors
    ///
    /// `Mismatch` when there are fewer rows; else as [`commit`](Appender::commit).
    pub fn truncate(&mut self, rows: u64) -> Result<()> {
        let truncate = |this: &mut Self| {
            this.publish()?;
            this.take_turn()?;
            match &mut this.state {
                State::Growing(growing) => growing.truncate(rows),
                _ if rows == 0 => Ok(()),
                _ => Err(error!(Mismatch, "cannot truncate to {rows} rows: the file has 0")),
            }
        };
        let done = truncate(self);
        self.end_turn(done)
    }

    /// Publishes what is buffered and gives the lock back.
    ///
    /// # Errors
    ///
    /// As [`commit`](Appender::commit); then the buffered rows are lost, and the error says how many.
    pub fn close(mut self) -> Result<()> {
        let done = self.finish();
        self.state = State::Closed;
        done
    }

    /// As [`close`](Appender::close), and hands the storage back.
    ///
    /// # Errors
    ///
    /// As [`close`](Appender::close); `Mismatch` when there is no file yet.
    pub fn into_storage(mut self) -> Result<Box<dyn Storage>> {
        self.finish()?;
        match core::mem::replace(&mut self.state, State::Closed) {
            State::Growing(growing) => Ok(growing.into_storage()),
            _ => Err(error!(Mismatch, "there is no file yet: expected an append before")),
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        if self.buffered > 0 {
            // Whoever wants to know whether it worked calls `close`.
            let _ = self.finish();
        }
    }
}
