//! What the thread that reads ahead and those who ask hand each other.

use super::Memory;
use crate::error::{Result, error};
use crate::group::ColumnPart;
use crate::storage::Owner;
use core::ops::{Deref, DerefMut};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

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

    /// The next block, waited for.
    pub(super) fn take(&self) -> Result<Block> {
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
