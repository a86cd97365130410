//! An allocator that counts, for the thread that asks.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a thread has taken from the heap since [`start`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heap {
    /// Bytes that are taken now.
    pub(crate) held: isize,
    /// The most bytes that were.
    pub(crate) peak: isize,
    /// Calls that took memory.
    pub(crate) allocations: usize,
}

thread_local! {
    static HEAP: Cell<Heap> = const { Cell::new(Heap { held: 0, peak: 0, allocations: 0 }) };
}

/// Counts from zero on this thread.
pub(crate) fn start() {
    HEAP.set(Heap::default());
}

/// What this thread has taken.
pub(crate) fn now() -> Heap {
    HEAP.get()
}

fn note(allocations: usize, taken: usize, given: usize) {
    // A thread that ends frees memory when its counter is gone.
    let _ = HEAP.try_with(|cell| {
        let mut heap = cell.get();
        heap.allocations += allocations;
        heap.held += taken as isize - given as isize;
        heap.peak = heap.peak.max(heap.held);
        cell.set(heap);
    });
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to `System` with the caller's own arguments, so that its promises hold as they do there; counting
// touches a constant-initialised cell of the thread, which neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(0, 0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks may exist while one is copied to the other.
        note(1, size, 0);
        note(0, 0, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}
