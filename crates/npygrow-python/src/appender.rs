//! `npygrow.Appender`.

use npygrow::{Background, ErrorKind, Limits};
use numpy::{PyArrayDescr, PyArrayDescrMethods};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyResourceWarning, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyRange, PyTuple};
use std::ffi::CString;
use std::mem;

use crate::arguments::{CASTING, DURABILITIES, MODES, ON_TAIL, header_size, size, sizes, start, time};
use crate::convert::range;
use crate::dtype::{FsPath, ORDERS, to_stored, word};
use crate::guard::Guarded;
use crate::state::{Facts, Interrupt, Open, State};
use crate::writer::{Behind, Taken, Writer};

/// Appends rows to one .npy file, which every reader of .npy can open at any time.
///
/// The file is made at the first append, or at once when `dtype` and `row_shape` are given; an existing one is
/// continued. One appender holds a file at a time. It is thread-safe, and a context manager that publishes what it holds
/// on the way out, also when an exception leaves it.
///
/// Parameters
/// ----------
/// path : str, bytes or os.PathLike
///     The file. Symbolic links are followed.
/// mode : {"a", "w", "x"}
///     Continue the file or make it; replace it, at the first append; make it, and refuse to find one.
/// dtype : numpy.dtype, optional
///     The file's dtype; by default the first array's.
/// row_shape : int or tuple of int, optional
///     The axes other than the growth axis; by default the first array's.
/// order : {"C", "F"}, optional
///     "C": axis 0 grows; "F": the last axis grows, in Fortran order. By default the file's own, "C" for a new file.
/// durability : {"process", "ordered", "power"}
///     What every acknowledged row survives: the end of the process; a power cut, as a valid prefix; a power cut.
/// buffering : int
///     Gather up to this many bytes of rows in memory before they are published; 0 publishes with every append.
/// turns : bool
///     Share the file with other appenders: the lock is held for each append alone.
/// on_tail : {"auto", "keep", "drop", "error"}
///     What to do with bytes after the last counted row. "auto" cuts what one of our own appends left unfinished.
/// casting : {"checked", "exact"}
///     Which dtypes rows may have: those whose every value survives the cast (floats may round), or the file's alone.
/// lock_timeout : float, optional
///     Seconds to wait for another appender. By default it is refused at once; with `turns`, waited for.
/// max_header_size : int
///     Refuse longer headers, as `numpy.load` does.
/// background : bool
///     Copy rows into a queue and return: a thread of the library's own writes them, all that wait in one commit. What went
///     wrong is told by the next call. Rows that `commit` or `close` did not wait for are lost with the process.
/// max_delay : float, optional
///     In the background, seconds that rows gather at most where `buffering` gathers them. By default until it is full.
/// max_queue : int, optional
///     In the background, bytes of rows that may wait before `append` does. By default 64 MiB, or twice `buffering` where
///     that is more.
///
/// Raises
/// ------
/// LockedError
///     Another appender holds the file.
/// NeedsRecoveryError, NotAppendableError, FormatError
///     The file cannot be appended to as it is; the text says what to call.
/// MismatchError
///     The file has another dtype, row shape or order than asked for.
///
/// Examples
/// --------
/// >>> import os, tempfile
/// >>> import numpy as np, npygrow as ng
/// >>> path = os.path.join(tempfile.mkdtemp(), "pose.npy")
/// >>> with ng.Appender(path) as pose:
/// ...     pose.append(np.zeros((2, 3), "f4"))
/// ...     pose.append(np.ones((1, 3), "f4"))
/// range(0, 2)
/// range(2, 3)
/// >>> np.load(path).shape
/// (3, 3)
#[pyclass(frozen, weakref, module = "npygrow")]
pub(crate) struct Appender {
    state: Guarded<State>,
    pub(crate) exact: bool,
    pub(crate) interrupt: Interrupt,
}

#[pymethods]
impl Appender {
    #[new]
    #[pyo3(signature = (path, *, mode="a", dtype=None, row_shape=None, order=None, durability="process", buffering=0,
        turns=false, on_tail="auto", casting="checked", lock_timeout=None, max_header_size=10_000, background=false,
        max_delay=None, max_queue=None))]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn new(
        py: Python<'_>,
        path: FsPath,
        mode: &str,
        dtype: Option<&Bound<'_, PyAny>>,
        row_shape: Option<&Bound<'_, PyAny>>,
        order: Option<&str>,
        durability: &str,
        #[pyo3(from_py_with = size)] buffering: usize,
        turns: bool,
        on_tail: &str,
        casting: &str,
        lock_timeout: Option<f64>,
        #[pyo3(from_py_with = header_size)] max_header_size: u64,
        background: bool,
        max_delay: Option<f64>,
        max_queue: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let (name, interrupt) = (path.text(), Interrupt::default());
        let poll = interrupt.clone();
        let mut options = npygrow::Appender::options()
            .mode(word("mode", mode, &MODES)?)
            .durability(word("durability", durability, &DURABILITIES)?)
            .buffering(buffering)
            .turns(turns)
            .on_tail(word("on_tail", on_tail, &ON_TAIL)?)
            .on_wait(move || poll.poll())
            .max_header_size(max_header_size);
        let exact = word("casting", casting, &CASTING)?;
        if let Some(order) = order {
            options = options.order(word("order", order, &ORDERS)?);
        }
        let mut row_shape = row_shape.map(sizes).transpose()?;
        if let Some(dtype) = dtype {
            let dtype = PyArrayDescr::new(py, dtype)?;
            if dtype.has_subarray() {
                row_shape.get_or_insert_default().extend(dtype.shape().iter().map(|&size| size as u64));
            }
            options = options.dtype(to_stored(&dtype.base(), &name)?);
        }
        if let Some(row_shape) = row_shape {
            options = options.row_shape(row_shape);
        }
        if let Some(seconds) = lock_timeout {
            options = options.lock_timeout(time("lock_timeout", seconds)?);
        }
        let limits = Limits {
            max_delay: max_delay.map(|seconds| time("max_delay", seconds)).transpose()?,
            max_queue: max_queue.map(size).transpose()?,
        };
        if !background && limits != Limits::default() {
            let text =
                "max_delay and max_queue go with background=True: without its thread nothing happens between calls";
            return Err(PyValueError::new_err(text));
        }
        let appender = py.detach(|| options.open(&path.0)).map_err(|error| interrupt.raise(error))?;
        let dropped = appender.dropped();
        if dropped.bytes > 0 {
            let rows = if dropped.rows == 1 { "row" } else { "rows" };
            let text = format!(
                "{name}: cut {} bytes ({} whole {rows}) of an append that was never acknowledged",
                dropped.bytes, dropped.rows
            );
            warn(py, &py.get_type::<PyUserWarning>(), text)?;
        }
        let writer =
            if background { Writer::Behind(Behind::start(py, appender, limits)?) } else { Writer::Here(appender) };
        let mut open = Open { writer, buffering: buffering as u64, fit: None };
        open.fit(py, &name)?; // A dtype that NumPy does not know is refused here.
        Ok(Self { state: Guarded::new(name, State::Open(Box::new(open))), exact, interrupt })
    }

    /// Appends rows: an array, or what makes one, with as many of them as its growth axis is long.
    ///
    /// Readers see them when it returns, or with `buffering` and in the background later. Nothing is written unless all of it fits the file; an
    /// append that fails leaves the file as it was.
    ///
    /// Parameters
    /// ----------
    /// rows : array_like
    ///     Of shape ``(n, *row_shape)``, in Fortran order ``(*row_shape, n)``, for any n.
    ///
    /// Returns
    /// -------
    /// range or None
    ///     The numbers of the rows; None while they wait in the buffer of an appender that takes turns.
    ///
    /// Raises
    /// ------
    /// MismatchError
    ///     The rows' shape or dtype does not fit, or a value would not survive the cast.
    /// OSError
    ///     They could not be written; the call may be repeated.
    /// LatchedError
    ///     A sync failed before, another program changed the file, or this is a forked child.
    ///
    /// Examples
    /// --------
    /// >>> import os, tempfile
    /// >>> import numpy as np, npygrow as ng
    /// >>> with ng.Appender(os.path.join(tempfile.mkdtemp(), "ids.npy"), dtype="u2", row_shape=()) as ids:
    /// ...     ids.append([1, 2, 65_535])
    /// range(0, 3)
    #[pyo3(signature = (rows, /))]
    fn append<'py>(&self, rows: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyRange>>> {
        let py = rows.py();
        let taken = self.with(py, |open| {
            let fit = open.fit(py, self.path())?;
            let Some((row_size, (count, bytes))) = fit.and_then(|fit| Some((fit.row_size(), fit.bytes(rows)?))) else {
                return self.append_checked(open, rows);
            };
            let appender = match &mut open.writer {
                Writer::Here(appender) => appender,
                Writer::Behind(behind) => {
                    return behind.take(count, bytes.into()).map_err(|error| self.raise(&behind.background, error));
                }
            };
            // In memory, letting go of the interpreter would cost more than the copy.
            let waiting = (appender.len() - appender.committed()) * row_size;
            let written = if waiting + (bytes.len() as u64) < open.buffering {
                appender.append_rows(count, bytes)
            } else {
                py.detach(|| appender.append_rows(count, bytes))
            };
            written.map(Taken::Told).map_err(|error| self.interrupt.raise(error))
        })?;
        let told = match taken {
            Taken::Told(told) => told,
            Taken::Waits(background, count, bytes) => {
                let numbers = py.detach(|| background.append_rows(count, &bytes));
                Some(numbers.map_err(|error| self.raise(&background, error))?)
            }
        };
        told.map(|rows| range(py, rows)).transpose()
    }

    /// Appends what a source holds, a block at a time: a dataset of h5py, an array of zarr or dask, a memmap, an `Array`.
    ///
    /// Blocks are of 4 MiB at most, but end where the source's chunks do, so that none is read twice; one row of chunks
    /// is the least, and what it takes in memory. Each is an append of its own: those before an error or an interruption
    /// stay, and a note on the exception says with which `start` to go on.
    ///
    /// Parameters
    /// ----------
    /// source : array_like or iterator
    ///     What has `shape`, `dtype` and slices along the growth axis; what makes an array; or an iterator of arrays of
    ///     rows.
    /// start : int
    ///     Leave out so many rows of the source; not for an iterator.
    /// progress : callable, optional
    ///     Called after each block with the rows done and those in all, None for an iterator.
    ///
    /// Returns
    /// -------
    /// range or None
    ///     The numbers of the rows; None while they wait in the buffer of an appender that takes turns, and where rows of
    ///     others lie between.
    ///
    /// Raises
    /// ------
    /// MismatchError
    ///     The rows' shape or dtype does not fit, before the first block; or a value would not survive the cast.
    /// OSError, LatchedError
    ///     As `append`.
    ///
    /// Examples
    /// --------
    /// >>> import os, tempfile
    /// >>> import numpy as np, npygrow as ng
    /// >>> frames = np.lib.format.open_memmap(os.path.join(tempfile.mkdtemp(), "old.npy"), "w+", "u1", (100, 64, 64))
    /// >>> with ng.Appender(os.path.join(tempfile.mkdtemp(), "frames.npy")) as appender:
    /// ...     appender.append_from(frames)
    /// range(0, 100)
    #[pyo3(signature = (source, *, start=0, progress=None))]
    fn append_from<'py>(
        slf: &Bound<'py, Self>,
        source: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = start)] start: i64,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        this.with(py, |_| Ok(()))?;
        py.import("npygrow._source")?.getattr("append_from")?.call1((slf, source, this.exact, start, progress))
    }

    /// Publishes what is buffered.
    ///
    /// Returns
    /// -------
    /// range
    ///     The numbers of the rows it published; in the background, of those published since the last commit.
    fn commit<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyRange>> {
        range(py, self.call(py, npygrow::Appender::commit, Background::commit)?)
    }

    /// Publishes what is buffered and makes every row survive a power cut.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, npygrow::Appender::sync, Background::sync)
    }

    /// Cuts the file to its first rows. An array mapped over the others must not be read any more.
    ///
    /// Parameters
    /// ----------
    /// rows : int
    ///     How many stay.
    #[pyo3(signature = (rows))]
    fn truncate(&self, py: Python<'_>, #[pyo3(from_py_with = size)] rows: usize) -> PyResult<()> {
        let rows = rows as u64;
        self.call(py, |appender| appender.truncate(rows), |background| background.truncate(rows))
    }

    /// Publishes what is buffered and gives the file back. Closing twice is fine.
    ///
    /// Raises
    /// ------
    /// OSError, LatchedError
    ///     The buffered rows could not be published: the error says how many are lost, and the appender is closed.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let mut state = self.state.lock(py)?;
        let State::Open(open) = &mut *state else { return Ok(()) };
        let facts = open.facts(py, self.path())?;
        let appender = match &open.writer {
            Writer::Here(appender) => appender,
            Writer::Behind(behind) => {
                let background = behind.background.clone();
                drop(state);
                return self.close_behind(py, &background);
            }
        };
        let committed = appender.committed();
        let State::Open(open) = mem::replace(&mut *state, State::Closed(facts)) else { return Ok(()) };
        let Writer::Here(appender) = open.writer else { return Ok(()) };
        let closed = py.detach(|| appender.close());
        if closed.is_err()
            && let State::Closed(facts) = &mut *state
        {
            facts.rows = committed;
        }
        closed.map_err(|error| self.interrupt.raise(error))
    }

    fn __enter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<Self>> {
        slf.get().with(py, |_| Ok(()))?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    /// The shape, buffered rows included; None while a new file's is not known.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.facts(py)?.shape(py)
    }

    /// The dtype; None while a new file's is not known.
    #[getter]
    fn dtype(&self, py: Python<'_>) -> PyResult<Option<Py<PyArrayDescr>>> {
        Ok(self.facts(py)?.dtype)
    }

    /// "C": axis 0 grows; "F": the last axis grows.
    #[getter]
    fn order(&self, py: Python<'_>) -> PyResult<&'static str> {
        Ok(self.facts(py)?.order)
    }

    /// The path, as it was given.
    #[getter]
    pub(crate) fn path(&self) -> &str {
        self.state.path()
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(matches!(*self.state.lock(py)?, State::Closed(_)))
    }

    /// What opening cut from the file's tail; false when there was nothing to cut.
    #[getter]
    fn dropped<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let dropped = self.facts(py)?.dropped;
        py.import("npygrow.reports")?.getattr("Dropped")?.call1((dropped.rows, dropped.bytes))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let rows = match &*self.state.lock(py)? {
            State::Open(open) => open.writer.len(),
            State::Closed(facts) => facts.rows,
        };
        Ok(usize::try_from(rows)?)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let facts = self.facts(py)?;
        let (path, shape) = (repr(py, self.path())?, repr(py, facts.shape(py)?)?);
        let (dtype, order) = (repr(py, facts.dtype)?, facts.order);
        let closed = if self.closed(py)? { ", closed" } else { "" };
        Ok(format!("<npygrow.Appender {path}, shape={shape}, dtype={dtype}, order='{order}'{closed}>"))
    }
}

impl Appender {
    /// Runs a verb on the open appender.
    fn with<R>(&self, py: Python<'_>, verb: impl FnOnce(&mut Open) -> PyResult<R>) -> PyResult<R> {
        match &mut *self.state.lock(py)? {
            State::Open(open) => verb(open),
            State::Closed(_) => Err(self.is_closed()),
        }
    }

    fn is_closed(&self) -> PyErr {
        let text = format!("{}: the appender is closed: make a new npygrow.Appender to go on", self.path());
        PyValueError::new_err(text)
    }

    /// Runs a verb of the crate's, detached; in the background without the object's lock, for it may wait for long.
    fn call<R: Send>(
        &self,
        py: Python<'_>,
        here: impl FnOnce(&mut npygrow::Appender) -> npygrow::Result<R> + Send,
        behind: impl FnOnce(&Background) -> npygrow::Result<R> + Send,
    ) -> PyResult<R> {
        let done = self.with(py, |open| match &mut open.writer {
            Writer::Here(appender) => {
                let done = py.detach(|| here(appender)).map_err(|error| self.interrupt.raise(error))?;
                Ok(Ok(done))
            }
            Writer::Behind(behind) => Ok(Err(behind.background.clone())),
        })?;
        done.or_else(|background| py.detach(|| behind(&background)).map_err(|error| self.raise(&background, error)))
    }

    /// What a call in the background met, another thread's `close` meanwhile included.
    pub(crate) fn raise(&self, background: &Background, error: npygrow::Error) -> PyErr {
        let closed = error.kind() == ErrorKind::Latched && !self.state.is_forked() && background.is_closed();
        if closed { self.is_closed() } else { self.interrupt.raise(error) }
    }

    /// An exception that ends the wait leaves it open.
    fn close_behind(&self, py: Python<'_>, background: &Background) -> PyResult<()> {
        let closed = py.detach(|| background.close());
        if closed.is_ok() || background.is_closed() {
            let mut state = self.state.lock(py)?;
            if let State::Open(open) = &mut *state {
                let facts = open.facts(py, self.path())?;
                if let Writer::Behind(behind) = &open.writer {
                    behind.forget_exit(py)?;
                }
                *state = State::Closed(facts);
            }
        }
        closed.map_err(|error| self.interrupt.raise(error))
    }

    fn facts(&self, py: Python<'_>) -> PyResult<Facts> {
        match &mut *self.state.lock(py)? {
            State::Open(open) => open.facts(py, self.path()),
            State::Closed(facts) => Ok(facts.clone_ref(py)),
        }
    }
}

impl Drop for Appender {
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
            let closed = match open.writer {
                Writer::Here(appender) => py.detach(|| appender.close()),
                Writer::Behind(behind) => {
                    // At the exit itself there may be no such module any more.
                    let _ = behind.forget_exit(py);
                    py.detach(|| behind.background.close())
                }
            };
            let closed = closed.map_err(|error| self.interrupt.raise(error));
            let text = format!("unclosed appender {:?}: close it, or use it in a with block", self.path());
            let warned = warn(py, &py.get_type::<PyResourceWarning>(), text);
            for error in [closed, warned].into_iter().filter_map(Result::err) {
                error.write_unraisable(py, path.as_ref());
            }
            if let Some(raised) = raised {
                raised.restore(py);
            }
        });
    }
}

fn repr<'py>(py: Python<'py>, value: impl IntoPyObjectExt<'py>) -> PyResult<String> {
    Ok(value.into_bound_py_any(py)?.repr()?.to_string())
}

fn warn(py: Python<'_>, category: &Bound<'_, PyAny>, text: String) -> PyResult<()> {
    PyErr::warn(py, category, &CString::new(text)?, 1)
}
