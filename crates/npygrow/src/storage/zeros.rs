//! Pages of zeros that stand where a mapping has lost its file's, as all threads count them.

use crate::sync::AtomicU64;
use core::sync::atomic::Ordering::SeqCst;

/// How many there ever were, and how many stand now.
pub(super) struct Zeros {
    ever: AtomicU64,
    standing: AtomicU64,
}

impl Zeros {
    pub(super) const fn new() -> Self {
        Zeros { ever: AtomicU64::new(0), standing: AtomicU64::new(0) }
    }

    /// Before a copy: what [`were_met`](Zeros::were_met) is to be asked with, once none stand. `None` when that takes too long.
    pub(super) fn none_stand(&self) -> Option<u64> {
        // Looked at first: of zeros that come after, the copy may meet some; of those before, `standing` tells.
        let before = self.ever.load(SeqCst);
        // Not waited for for ever: a fork may have copied the number and not the thread.
        let tries = if cfg!(shuttle) { 3 } else { 1_000_000 };
        let stand = || {
            let stand = self.standing.load(SeqCst) > 0;
            if stand {
                core::hint::spin_loop();
            }
            stand
        };
        (!(0..tries).all(|_| stand())).then_some(before)
    }

    /// After a copy: whether it may have met any, of whichever thread.
    pub(super) fn were_met(&self, before: u64) -> bool {
        self.ever.load(SeqCst) != before
    }

    /// Before a page of zeros is put anywhere, so that no thread takes it for rows. Safe in a signal handler.
    pub(super) fn come(&self) {
        self.standing.fetch_add(1, SeqCst);
        self.ever.fetch_add(1, SeqCst);
    }

    /// After the file's pages are back.
    pub(super) fn go(&self, pages: u64) {
        self.standing.fetch_sub(pages, SeqCst);
    }
}

#[cfg(all(test, shuttle))]
mod models {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::sync::{explore, is_caught, thread};
    use std::sync::Arc;

    const ROWS: u64 = 7;

    /// One thread's copy meets a page that is gone, and gets zeros; the file grows again, and its pages come back. Another
    /// thread copies from the same page.
    fn two_copies(come: fn(&Zeros, &AtomicU64)) {
        let shared = Arc::new((Zeros::new(), AtomicU64::new(ROWS)));
        let (zeros, page) = &*shared;
        let other = thread::spawn({
            let shared = shared.clone();
            move || {
                let (zeros, page) = &*shared;
                let Some(before) = zeros.none_stand() else { return };
                let copied = page.load(SeqCst);
                assert!(copied == ROWS || zeros.were_met(before), "zeros passed for rows");
            }
        });
        if let Some(before) = zeros.none_stand() {
            come(zeros, page);
            assert!(zeros.were_met(before));
            page.store(ROWS, SeqCst);
            zeros.go(1);
        }
        other.join().unwrap();
    }

    #[test]
    fn no_copy_takes_zeros_for_rows() {
        explore(|| {
            two_copies(|zeros, page| {
                zeros.come();
                page.store(0, SeqCst);
            });
        });
    }

    #[test]
    fn zeros_that_are_told_of_too_late_are_caught() {
        assert!(is_caught(|| {
            two_copies(|zeros, page| {
                page.store(0, SeqCst);
                zeros.come();
            });
        }));
    }
}
