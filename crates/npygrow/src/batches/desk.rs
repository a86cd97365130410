//! What the thread that reads ahead and those who ask hand each other.

use super::Memory;
use crate::error::{Result, error};
use crate::group::ColumnPart;
use crate::storage::Owner;
use crate::sync::{Condvar, Mutex, MutexGuard};
use core::ops::{Deref, DerefMut};
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// One batch. Dropped, its memory serves another.
pub struct Block {
    pub(super) rows: u64,
    pub(super) memory: Memory,
    pub(super) desk: Arc<Desk>,
}

pub(super) struct Desk {
    /// The thread lives in this process only. In a fork its lock may be held for ever.
    pub(super) owner: Owner,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    /// Read, and not yet asked for.
    pub(super) ready: Option<Result<Block>>,
    spare: Option<Memory>,
    /// Blocks that somebody holds, the ready one included.
    held: u64,
    /// Somebody waits for a block, and may hold all others.
    wanted: bool,
    /// The thread is gone, or is to go.
    pub(super) closed: bool,
}

impl State {
    fn is_pending(&mut self) -> bool {
        self.ready.is_none() && !self.closed
    }
}

/// Blocks that are made without being waited for: the one that is worked on, and the next.
const AHEAD: u64 = 2;

impl Block {
    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What it has of each column, in the order of their names; a [`View`](crate::View) and a [`Ragged`](crate::Ragged) are
    /// one column. It is what an append of the same rows is given.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = ColumnPart<'_>> {
        self.memory.spans.iter().map(|span| {
            let values = self.memory.bytes.get(span.at.clone()).unwrap_or_default();
            match &span.lengths {
                None => ColumnPart::Rows(values),
                Some(lengths) => ColumnPart::Items { lengths, values },
            }
        })
    }

    /// Where the bytes of each part begin.
    pub fn starts(&self) -> impl ExactSizeIterator<Item = usize> {
        self.memory.spans.iter().map(|span| span.at.start)
    }
}

/// The bytes of all its parts.
impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory.bytes
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let memory = mem::take(&mut self.memory);
        self.desk.change(|state| {
            state.held -= 1;
            state.spare = Some(memory);
        });
    }
}

impl Desk {
    pub(super) fn new() -> Self {
        Desk { owner: Owner::new(), state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does nothing in a fork.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        if self.owner.is_here() {
            change(&mut self.state());
            self.changed.notify_all();
        }
    }

    /// Puts a block there to be asked for; one that nobody will ask for any more is dropped.
    pub(super) fn put(&self, block: Result<Block>) {
        // Dropped after the lock, which a block that is dropped takes.
        let mut block = Some(block);
        self.change(|state| {
            if !state.closed {
                state.ready = block.take();
            }
        });
    }

    /// Ends the reading. A block that stays here would hold the desk that holds it.
    pub(super) fn close(&self) {
        let mut left = None;
        self.change(|state| (state.closed, left) = (true, state.ready.take()));
    }

    /// Waits for the next block; `false` when it is not there in time.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        self.change(|state| state.wanted = state.ready.is_none());
        let waited = self.changed.wait_timeout_while(self.state(), timeout, State::is_pending);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The next block, waited for.
    pub(super) fn take(&self) -> Result<Block> {
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
    pub(super) fn room(&self) -> Option<Memory> {
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
pub(super) struct Leave(pub(super) Arc<Desk>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.change(|state| state.closed = true);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::thread;

    /// The disk stands still here: there is no thread that reads.
    #[test]
    fn a_wait_ends_in_time() {
        let desk = Arc::new(Desk::new());
        assert!(!desk.wait(Duration::from_millis(1)));
        assert!(desk.state().wanted, "all others may be held");
        let block = Block { rows: 3, memory: Memory::default(), desk: desk.clone() };
        desk.change(|state| (state.held, state.ready) = (1, Some(Ok(block))));
        assert!(desk.wait(Duration::ZERO));
        assert_eq!(desk.take().unwrap().rows(), 3);
        assert!(!desk.wait(Duration::ZERO));
    }

    #[test]
    fn what_nobody_asks_for_goes_with_the_desk() {
        let desk = Arc::new(Desk::new());
        let block = || Ok(Block { rows: 3, memory: Memory::default(), desk: desk.clone() });
        desk.change(|state| state.held = 2);
        desk.put(block());
        desk.close();
        desk.put(block());
        assert_eq!((Arc::strong_count(&desk), desk.state().held), (1, 0));
    }

    #[test]
    fn a_thread_that_is_gone_is_not_waited_for() {
        let desk = Arc::new(Desk::new());
        let waiting = thread::spawn({
            let desk = desk.clone();
            move || desk.wait(Duration::from_secs(60))
        });
        drop(Leave(desk.clone()));
        assert!(waiting.join().unwrap());
        assert_eq!(desk.take().err().unwrap().to_string(), "the thread that reads ahead is gone");
    }
}
