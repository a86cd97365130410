//! Threads, and what they share: the standard library's. With `--cfg shuttle` those of a checker that tries one order of
//! events after the other (`scripts/schedules`).

#[cfg(not(all(test, shuttle)))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, atomic::AtomicU64},
    thread,
};

#[cfg(all(test, shuttle))]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, atomic::AtomicU64},
    thread,
};

/// Runs `model` in many orders of events: of those chosen by chance, and of those with few changes from thread to thread at
/// places chosen by chance. What panics in one of them, or waits for ever, panics here.
#[cfg(all(test, shuttle))]
pub(crate) fn explore(model: impl Fn() + Clone + Send + Sync + 'static) {
    let orders = std::env::var("NPYGROW_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
    shuttle::check_random(model.clone(), orders);
    shuttle::check_pct(model, orders, 3);
}

/// Whether [`explore`] finds something wrong with `model`.
#[cfg(all(test, shuttle))]
pub(crate) fn is_caught(model: impl Fn() + Clone + Send + Sync + 'static) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| explore(model))).is_err()
}
