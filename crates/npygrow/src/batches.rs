//! Batches of rows, the next of which is read while the last is worked on.

use crate::error::{Error, Result, error};
use crate::shuffle::Shuffle;
use crate::storage::Owner;
use crate::sync::{Condvar, Mutex, MutexGuard, thread};
use crate::view::View;
use core::ops::{Deref, DerefMut, Range};
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

#[cfg(all(test, shuttle))]
mod models;

/// The rows of a [`View`], batch by batch. Made by [`View::batches`].
///
/// A thread reads ahead by one batch, into the memory of the last one dropped, so that two are in memory: the one that is
/// worked on, and the next. Rows are read from the file, not through its mapping: a scan adds nothing else to what the
/// process holds, and a file that was cut is an error.
pub struct Batches {
    plan: Plan,
    next: u64,
    /// Once the first was asked for.
    desk: Option<Arc<Desk>>,
}

/// The bytes of one batch. Dropped, its memory serves another.
pub struct Block {
    rows: u64,
    bytes: Vec<u8>,
    desk: Arc<Desk>,
}

#[derive(Clone)]
struct Plan {
    view: View,
    size: u64,
    shuffle: Option<Shuffle>,
    batches: u64,
}

/// What the reading thread and the others hand each other.
struct Desk {
    /// The thread lives in this process only. In a fork its lock may be held for ever.
    owner: Owner,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Read, and not yet asked for.
    ready: Option<Result<Block>>,
    spare: Option<Vec<u8>>,
    /// Blocks that somebody holds, the ready one included.
    held: u64,
    /// Somebody waits for a block, and may hold all others.
    wanted: bool,
    /// The thread is gone, or is to go.
    closed: bool,
}

impl State {
    fn is_pending(&mut self) -> bool {
        self.ready.is_none() && !self.closed
    }
}

/// Blocks that are made without being waited for: the one that is worked on, and the next.
const AHEAD: u64 = 2;

impl View {
    /// The rows as they are counted now, in batches of `size`, the last one perhaps smaller: left out with `drop_last`.
    /// `shuffle` is the seed of a random order of all rows, which takes no memory; without it they come in their own.
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
        if size == 0 {
            return Err(self.rows().named(error!(Mismatch, "expected batches of one row or more, found 0")));
        }
        let bytes = size.min(self.len()).checked_mul(self.row_size()).and_then(|bytes| usize::try_from(bytes).ok());
        if bytes.is_none_or(|bytes| isize::try_from(bytes).is_err()) {
            let row_size = self.row_size();
            let text =
                error!(OverLimit, "{size} rows of {row_size} bytes do not fit into memory: ask for smaller batches");
            return Err(self.rows().named(text));
        }
        let batches = if drop_last { self.len() / size } else { self.len().div_ceil(size) };
        let shuffle = shuffle.map(|seed| Shuffle::new(self.len(), seed));
        let plan = Plan { view: self.clone(), size, shuffle, batches };
        Ok(Batches { plan, next: 0, desk: None })
    }
}

impl Batches {
    /// How many batches are left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.plan.batches - self.next
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

    fn take(&mut self) -> Result<Block> {
        self.desk()?.take()
    }

    fn desk(&mut self) -> Result<&Desk> {
        let desk = match self.desk.take() {
            Some(desk) => desk,
            None => self.plan.clone().begin()?,
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
        let block = self.take().map_err(|error| self.plan.view.rows().named(error));
        match block {
            Ok(_) => self.next += 1,
            Err(_) => self.plan.batches = self.next,
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
            desk.change(|state| state.closed = true);
        }
    }
}

impl Block {
    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let bytes = mem::take(&mut self.bytes);
        self.desk.change(|state| {
            state.held -= 1;
            state.spare = Some(bytes);
        });
    }
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does nothing in a fork.
    fn change(&self, change: impl FnOnce(&mut State)) {
        if self.owner.is_here() {
            change(&mut self.state());
            self.changed.notify_all();
        }
    }

    /// Waits for the next block; `false` when it is not there in time.
    fn wait(&self, timeout: Duration) -> bool {
        self.change(|state| state.wanted = state.ready.is_none());
        let waited = self.changed.wait_timeout_while(self.state(), timeout, State::is_pending);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The next block, waited for.
    fn take(&self) -> Result<Block> {
        self.change(|state| state.wanted = state.ready.is_none());
        let waited = self.changed.wait_while(self.state(), State::is_pending);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let ready = state.ready.take();
        // Not before: what is wanted may have been under way.
        state.wanted = false;
        drop(state);
        self.changed.notify_all();
        ready.unwrap_or_else(|| Err(error!(Io, "the thread that reads ahead is gone")))
    }

    /// Memory for the next block, once there may be one; `None` when nobody wants it.
    fn room(&self) -> Option<Vec<u8>> {
        let waiting =
            |state: &mut State| (state.ready.is_some() || state.held >= AHEAD && !state.wanted) && !state.closed;
        let mut state = self.changed.wait_while(self.state(), waiting).unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return None;
        }
        state.held += 1;
        Some(state.spare.take().unwrap_or_default())
    }
}

/// Tells whoever waits that nothing comes any more, also after a panic.
struct Leave(Arc<Desk>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.change(|state| state.closed = true);
    }
}

impl Plan {
    /// Starts the thread that reads.
    fn begin(self) -> Result<Arc<Desk>> {
        let desk = Arc::new(Desk { owner: Owner::new(), state: Mutex::default(), changed: Condvar::new() });
        let leave = Leave(desk.clone());
        thread::Builder::new()
            .name("npygrow batches".into())
            .spawn(move || self.read_all(&leave.0))
            .map_err(|why| Error::io("cannot start a thread to read ahead", &why))?;
        Ok(desk)
    }

    fn read_all(&self, desk: &Arc<Desk>) {
        for batch in 0..self.batches {
            let Some(bytes) = desk.room() else { return };
            let rows = self.rows(batch);
            // Made before it is read, so that also a failure gives it back.
            let mut block = Block { rows: rows.end - rows.start, bytes, desk: desk.clone() };
            // Not under the lock: a block that is dropped takes it.
            let read = self.read(rows, &mut block.bytes).map(|()| block);
            let failed = read.is_err();
            desk.change(|state| state.ready = Some(read));
            if failed {
                return;
            }
        }
    }

    fn rows(&self, batch: u64) -> Range<u64> {
        let start = batch * self.size;
        start..self.view.len().min(start.saturating_add(self.size))
    }

    fn read(&self, rows: Range<u64>, bytes: &mut Vec<u8>) -> Result<()> {
        let len = usize::try_from((rows.end - rows.start) * self.view.row_size()).unwrap_or(usize::MAX);
        bytes.truncate(len);
        if bytes.try_reserve_exact(len - bytes.len()).is_err() {
            return Err(error!(OverLimit, "no memory for a batch of {len} bytes: ask for smaller batches"));
        }
        bytes.resize(len, 0);
        match self.shuffle {
            // Rows of no bytes may be any number: a list of them is more than memory holds.
            _ if len == 0 => Ok(()),
            None => self.view.read_into(rows, bytes),
            Some(shuffle) => {
                self.view.gather_unmapped(&rows.map(|place| shuffle.row(place)).collect::<Vec<_>>(), bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn desk() -> Arc<Desk> {
        Arc::new(Desk { owner: Owner::new(), state: Mutex::default(), changed: Condvar::new() })
    }

    /// The disk stands still here: there is no thread that reads.
    #[test]
    fn a_wait_ends_in_time() {
        let desk = desk();
        assert!(!desk.wait(Duration::from_millis(1)));
        assert!(desk.state().wanted, "all others may be held");
        let block = Block { rows: 3, bytes: vec![7], desk: desk.clone() };
        desk.change(|state| (state.held, state.ready) = (1, Some(Ok(block))));
        assert!(desk.wait(Duration::ZERO));
        assert_eq!(desk.take().unwrap().rows(), 3);
        assert!(!desk.wait(Duration::ZERO));
    }

    #[test]
    fn a_thread_that_is_gone_is_not_waited_for() {
        let desk = desk();
        let waiting = thread::spawn({
            let desk = desk.clone();
            move || desk.wait(Duration::from_secs(60))
        });
        drop(Leave(desk.clone()));
        assert!(waiting.join().unwrap());
        assert_eq!(desk.take().err().unwrap().to_string(), "the thread that reads ahead is gone");
    }
}
