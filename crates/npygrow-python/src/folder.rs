//! What the appenders of folders share: one lock, the options, the verbs without rows, and the end.

use npygrow::{Dropped, Options, Result};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyResourceWarning, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyRange;
use std::ffi::CString;
use std::mem;
use std::ops::Range;

use crate::arguments::{CASTING, DURABILITIES, time};
use crate::convert::range;
use crate::dtype::word;
use crate::guard::Guarded;
use crate::state::Interrupt;

// A folder is not replaced in one step, and a tail of one file alone is no row.
const MODES: [(&str, npygrow::Mode); 2] = [("a", npygrow::Mode::Append), ("x", npygrow::Mode::New)];
const ON_TAIL: [(&str, npygrow::OnTail); 3] =
    [("auto", npygrow::OnTail::Auto), ("drop", npygrow::OnTail::Drop), ("error", npygrow::OnTail::Error)];

/// A crate's appender of a folder.
pub(crate) trait Grows: Send {
    /// What Python calls it, and one of its rows.
    const NAMES: (&str, &str);
    fn rows(&self) -> u64;
    fn committed(&self) -> u64;
    fn dropped(&self) -> Dropped;
    fn commit(&mut self) -> Result<Range<u64>>;
    fn sync(&mut self) -> Result<()>;
    fn truncate(&mut self, rows: u64) -> Result<()>;
    fn close(self) -> Result<()>;
}

/// What an object keeps of its appender, which may be closed.
pub(crate) trait Keeps<A>: Default {
    /// Called after every verb.
    fn keep(&mut self, _appender: &A) {}

    /// Called where closing failed, and what was in the buffer is lost.
    fn lose_buffer(&mut self) {}
}

macro_rules! grows {
    ($appender:ident, $row:literal) => {
        impl Grows for npygrow::$appender {
            const NAMES: (&str, &str) = (stringify!($appender), $row);
            fn rows(&self) -> u64 {
                self.len()
            }
            fn committed(&self) -> u64 {
                self.committed()
            }
            fn dropped(&self) -> Dropped {
                self.dropped()
            }
            fn commit(&mut self) -> Result<Range<u64>> {
                self.commit()
            }
            fn sync(&mut self) -> Result<()> {
                self.sync()
            }
            fn truncate(&mut self, rows: u64) -> Result<()> {
                self.truncate(rows)
            }
            fn close(self) -> Result<()> {
                self.close()
            }
        }
    };
}
grows!(RaggedAppender, "item");
grows!(DatasetAppender, "row");

/// What the constructor is given for every folder.
pub(crate) struct Given<'a> {
    pub(crate) mode: &'a str,
    pub(crate) durability: &'a str,
    pub(crate) buffering: usize,
    pub(crate) turns: bool,
    pub(crate) on_tail: &'a str,
    pub(crate) casting: &'a str,
    pub(crate) lock_timeout: Option<f64>,
    pub(crate) max_header_size: u64,
}

/// An appender of a folder, or what stays known of it; `K` is what is known of its columns.
pub(crate) enum State<A, K> {
    Open(Open<A, K>),
    Closed { known: K, rows: u64, dropped: Dropped },
}

pub(crate) struct Open<A, K> {
    pub(crate) appender: A,
    pub(crate) known: K,
    /// Bytes that may gather in memory, and those that do.
    buffering: u64,
    waiting: u64,
}

// Not derived: `A` has no default.
impl<A, K: Default> Default for State<A, K> {
    fn default() -> Self {
        Self::Closed { known: K::default(), rows: 0, dropped: Dropped::default() }
    }
}

impl<A: Grows, K> Open<A, K> {
    /// Appends so many bytes; detached, unless they stay in memory, where that would cost more than the copy.
    pub(crate) fn append<R: Send>(
        &mut self,
        py: Python<'_>,
        bytes: u64,
        append: impl FnOnce(&mut A) -> Result<R> + Send,
    ) -> Result<R> {
        let waiting = self.waiting.saturating_add(bytes);
        let appender = &mut self.appender;
        let done = if waiting < self.buffering { append(appender) } else { py.detach(|| append(appender)) };
        if done.is_ok() {
            self.waiting = waiting;
        }
        done
    }
}

/// What Python's object of an appender of a folder is made of.
pub(crate) struct Growing<A: Grows, K: Keeps<A>> {
    state: Guarded<State<A, K>>,
    interrupt: Interrupt,
    pub(crate) exact: bool,
}

impl<A: Grows, K: Keeps<A>> Growing<A, K> {
    pub(crate) fn open(
        py: Python<'_>,
        path: String,
        given: &Given<'_>,
        open: impl FnOnce(Options) -> Result<A> + Send,
        look: impl FnOnce(&A) -> PyResult<K>,
    ) -> PyResult<Self> {
        let interrupt = Interrupt::default();
        let poll = interrupt.clone();
        let mut options = npygrow::Appender::options()
            .mode(word("mode", given.mode, &MODES)?)
            .durability(word("durability", given.durability, &DURABILITIES)?)
            .buffering(given.buffering)
            .turns(given.turns)
            .on_tail(word("on_tail", given.on_tail, &ON_TAIL)?)
            .on_wait(move || poll.poll())
            .max_header_size(given.max_header_size);
        let exact = word("casting", given.casting, &CASTING)?;
        if let Some(seconds) = given.lock_timeout {
            options = options.lock_timeout(time("lock_timeout", seconds)?);
        }
        let appender = py.detach(|| open(options)).map_err(|error| interrupt.raise(error))?;
        let dropped = appender.dropped();
        if dropped.bytes > 0 {
            let (bytes, rows, row) = (dropped.bytes, dropped.rows, A::NAMES.1);
            let s = if rows == 1 { "" } else { "s" };
            let text =
                format!("{path}: cut {bytes} bytes ({rows} whole {row}{s}) of an append that was never acknowledged");
            warn(py, &py.get_type::<PyUserWarning>(), text)?;
        }
        let known = look(&appender)?; // A dtype that NumPy does not know is refused here.
        let open = Open { appender, known, buffering: given.buffering as u64, waiting: 0 };
        Ok(Self { state: Guarded::new(path, State::Open(open)), interrupt, exact })
    }

    pub(crate) fn path(&self) -> &str {
        self.state.path()
    }

    pub(crate) fn is_closed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(matches!(*self.state.lock(py)?, State::Closed { .. }))
    }

    /// Runs a verb on the open appender.
    pub(crate) fn with<R>(&self, py: Python<'_>, verb: impl FnOnce(&mut Open<A, K>) -> PyResult<R>) -> PyResult<R> {
        match &mut *self.state.lock(py)? {
            State::Open(open) => {
                let done = verb(open);
                if open.appender.committed() == open.appender.rows() {
                    open.waiting = 0;
                }
                open.known.keep(&open.appender);
                done
            }
            State::Closed { .. } => Err(PyValueError::new_err(format!(
                "{}: the appender is closed: make a new npygrow.{} to go on",
                self.path(),
                A::NAMES.0
            ))),
        }
    }

    /// What is known of the columns, of a closed appender too.
    pub(crate) fn known<R>(&self, py: Python<'_>, look: impl FnOnce(&K) -> R) -> PyResult<R> {
        match &*self.state.lock(py)? {
            State::Open(Open { known, .. }) | State::Closed { known, .. } => Ok(look(known)),
        }
    }

    pub(crate) fn raise(&self, error: npygrow::Error) -> PyErr {
        self.interrupt.raise(error)
    }

    pub(crate) fn commit<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyRange>> {
        range(py, self.call(py, A::commit)?)
    }

    pub(crate) fn sync(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, A::sync)
    }

    pub(crate) fn truncate(&self, py: Python<'_>, rows: usize) -> PyResult<()> {
        self.call(py, |appender| appender.truncate(rows as u64))
    }

    /// Runs a verb of the crate's, detached.
    fn call<R: Send>(&self, py: Python<'_>, verb: impl FnOnce(&mut A) -> Result<R> + Send) -> PyResult<R> {
        self.with(py, |open| {
            let appender = &mut open.appender;
            py.detach(|| verb(appender)).map_err(|error| self.raise(error))
        })
    }

    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        let state = &mut *self.state.lock(py)?;
        let Open { appender, mut known, .. } = match mem::take(state) {
            State::Open(open) => open,
            closed @ State::Closed { .. } => {
                *state = closed;
                return Ok(());
            }
        };
        let (rows, committed, dropped) = (appender.rows(), appender.committed(), appender.dropped());
        let closed = py.detach(|| appender.close());
        if closed.is_err() {
            known.lose_buffer();
        }
        *state = State::Closed { known, rows: if closed.is_ok() { rows } else { committed }, dropped };
        closed.map_err(|error| self.raise(error))
    }

    pub(crate) fn rows(&self, py: Python<'_>) -> PyResult<usize> {
        let rows = match &*self.state.lock(py)? {
            State::Open(open) => open.appender.rows(),
            State::Closed { rows, .. } => *rows,
        };
        Ok(usize::try_from(rows)?)
    }

    pub(crate) fn dropped<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Dropped { rows, bytes, .. } = match &*self.state.lock(py)? {
            State::Open(open) => open.appender.dropped(),
            State::Closed { dropped, .. } => *dropped,
        };
        py.import("npygrow.reports")?.getattr("Dropped")?.call1((rows, bytes))
    }
}

impl<A: Grows, K: Keeps<A>> Drop for Growing<A, K> {
    /// Publishes what an unclosed appender holds, if it can, and warns. In a forked child it does neither.
    fn drop(&mut self) {
        let Some(State::Open(open)) = self.state.last() else { return };
        if self.state.is_forked() {
            return;
        }
        // Without an interpreter to warn in, dropping it publishes as well.
        Python::try_attach(|py| {
            let raised = PyErr::take(py);
            let path = self.path().into_bound_py_any(py).ok();
            let Open { appender, .. } = open;
            let closed = py.detach(|| appender.close()).map_err(|error| self.raise(error));
            let text = format!("unclosed appender {:?}: close it, or use it in a with block", self.path());
            let warned = warn(py, &py.get_type::<PyResourceWarning>(), text);
            for error in [closed, warned].into_iter().filter_map(PyResult::err) {
                error.write_unraisable(py, path.as_ref());
            }
            if let Some(raised) = raised {
                raised.restore(py);
            }
        });
    }
}

fn warn(py: Python<'_>, category: &Bound<'_, PyAny>, text: String) -> PyResult<()> {
    PyErr::warn(py, category, &CString::new(text)?, 1)
}
