//! Batches of rows, the next of which is read while the last is worked on.

use crate::error::{Error, Result, error};
use crate::shuffle::Shuffle;
use crate::storage::Owner;
use crate::sync::{Condvar, Mutex, MutexGuard, thread};
use crate::view::View;
use core::ops::{Deref, DerefMut, Range};
use std::mem;
use std::sync::{Arc, PoisonError};

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

    fn take(&mut self) -> Result<Block> {
        let desk = match &self.desk {
            Some(desk) => desk,
            None => self.desk.insert(self.plan.clone().begin()?),
        };
        desk.owner.check()?;
        desk.take()
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

    /// The next block, waited for.
    fn take(&self) -> Result<Block> {
        self.change(|state| state.wanted = state.ready.is_none());
        let waiting = |state: &mut State| state.ready.is_none() && !state.closed;
        let mut state = self.changed.wait_while(self.state(), waiting).unwrap_or_else(PoisonError::into_inner);
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

#[cfg(all(test, shuttle))]
mod models {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::sync::explore;

    const ROWS: u64 = 4;

    fn saved() -> (tempfile::TempDir, View) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.npy");
        let mut appender = crate::Appender::open(&path).unwrap();
        appender.append(&Vec::from_iter(0..ROWS)).unwrap();
        appender.close().unwrap();
        let view = View::open(&path, crate::MAX_HEADER_SIZE).unwrap();
        (folder, view)
    }

    fn value(block: &Block) -> u64 {
        u64::from_le_bytes(block[..].try_into().unwrap())
    }

    /// However many are held, and whoever drops them.
    #[test]
    fn every_batch_comes_in_its_place() {
        let (_folder, view) = saved();
        explore(move || {
            let (send, receive) = shuttle::sync::mpsc::channel::<Block>();
            let other = thread::spawn(move || receive.into_iter().for_each(drop));
            let mut held = Vec::new();
            for (expected, block) in view.batches(1, None, false).unwrap().enumerate() {
                let block = block.unwrap();
                assert_eq!(value(&block), expected as u64);
                if expected % 2 == 0 { held.push(block) } else { send.send(block).unwrap() }
            }
            assert!(held.iter().map(value).eq((0..ROWS).step_by(2)));
            drop(send);
            other.join().unwrap();
        });
    }

    #[test]
    fn giving_up_ends_the_thread() {
        let (_folder, view) = saved();
        explore(move || {
            let mut batches = view.batches(1, None, false).unwrap();
            let first = batches.next().unwrap().unwrap();
            drop(batches);
            assert_eq!(value(&first), 0);
        });
    }
}
