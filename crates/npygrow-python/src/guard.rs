//! One lock for what a Python object holds: never waited for while attached to the interpreter, and never taken twice
//! by one thread.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::{mem, process};

use crate::errors::LatchedError;

/// A value that calls take in turns.
pub(crate) struct Guarded<T> {
    /// The file it is about, for messages.
    path: String,
    value: Mutex<T>,
    /// The thread inside a call, as [`this_thread`] names it; 0: none.
    holder: AtomicUsize,
    pid: u32,
}

/// The value, while a call holds it.
pub(crate) struct Held<'a, T> {
    value: MutexGuard<'a, T>,
    holder: &'a AtomicUsize,
}

impl<T> Guarded<T> {
    pub(crate) fn new(path: String, value: T) -> Self {
        Self { path, value: Mutex::new(value), holder: AtomicUsize::new(0), pid: process::id() }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Takes the value, after any other thread's call.
    pub(crate) fn lock(&self, py: Python<'_>) -> PyResult<Held<'_, T>> {
        let me = this_thread();
        if self.holder.load(Relaxed) == me {
            return Err(PyRuntimeError::new_err(format!(
                "{}: called from within a call on the same object, by a finaliser, a signal handler or a cast",
                self.path
            )));
        }
        let value = match self.value.try_lock() {
            Ok(value) => value,
            // The thread that holds it exists in the parent only, and will never give it back here.
            Err(TryLockError::WouldBlock) if self.is_forked() => return Err(self.forked()),
            Err(TryLockError::WouldBlock) => self.value.lock_py_attached(py).map_err(|_| self.poisoned())?,
            Err(TryLockError::Poisoned(_)) => return Err(self.poisoned()),
        };
        self.holder.store(me, Relaxed);
        Ok(Held { value, holder: &self.holder })
    }

    /// Takes the value out, for the last owner. `None` where a call broke off inside it, by a panic or a fork: nothing
    /// in it can be relied on then, so it is left as it is.
    pub(crate) fn last(&mut self) -> Option<T>
    where
        T: Default,
    {
        let whole = self.value.try_lock().is_ok();
        let value = mem::take(self.value.get_mut().unwrap_or_else(PoisonError::into_inner));
        if whole {
            return Some(value);
        }
        mem::forget(value);
        None
    }

    /// Whether a fork copied this object into another process.
    pub(crate) fn is_forked(&self) -> bool {
        self.pid != process::id()
    }

    fn forked(&self) -> PyErr {
        LatchedError::new_err(format!(
            "{}: opened by process {}, this is process {} (a fork): open the file again here",
            self.path,
            self.pid,
            process::id()
        ))
    }

    fn poisoned(&self) -> PyErr {
        LatchedError::new_err(format!("{}: an earlier call panicked: open the file again", self.path))
    }
}

/// A number no other live thread has: the address of a thread's own byte.
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        self.holder.store(0, Relaxed);
    }
}
