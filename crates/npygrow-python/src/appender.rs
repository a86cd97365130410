//! `npygrow.Appender`.

use npygrow::{Durability, Mode, OnTail};
use numpy::{PyArrayDescr, PyArrayDescrMethods, PyReadonlyArray1};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyOverflowError, PyResourceWarning, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyIterator, PyRange, PyTuple};
use std::ffi::CString;
use std::mem;
use std::ops::Range;
use std::time::Duration;

use crate::convert::range;
use crate::dtype::{FsPath, ORDERS, order_name, to_stored, word};
use crate::guard::Guarded;
use crate::state::{Facts, Interrupt, Open, State};

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
    exact: bool,
    interrupt: Interrupt,
}

/// The words of the constructor's parameters.
pub(crate) const MODES: [(&str, Mode); 3] = [("a", Mode::Append), ("w", Mode::Write), ("x", Mode::New)];
pub(crate) const DURABILITIES: [(&str, Durability); 3] =
    [("process", Durability::Process), ("ordered", Durability::Ordered), ("power", Durability::Power)];
pub(crate) const ON_TAIL: [(&str, OnTail); 4] =
    [("auto", OnTail::Auto), ("keep", OnTail::Keep), ("drop", OnTail::Drop), ("error", OnTail::Error)];
const CASTING: [(&str, bool); 2] = [("checked", false), ("exact", true)];

#[pymethods]
impl Appender {
    #[new]
    #[pyo3(signature = (path, *, mode="a", dtype=None, row_shape=None, order=None, durability="process", buffering=0,
        turns=false, on_tail="auto", casting="checked", lock_timeout=None, max_header_size=10_000))]
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
        max_header_size: u64,
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
            options = options.lock_timeout(timeout(seconds)?);
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
        let mut open = Open { appender, buffering: buffering as u64, fit: None };
        open.fit(py, &name)?; // A dtype that NumPy does not know is refused here.
        Ok(Self { state: Guarded::new(name, State::Open(Box::new(open))), exact, interrupt })
    }

    /// Appends rows: an array, or what makes one, with as many of them as its growth axis is long.
    ///
    /// Readers see them when it returns, or with `buffering` later. Nothing is written unless all of it fits the file; an
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
        let written = self.with(py, |open| {
            let fit = open.fit(py, self.path())?;
            let Some((row_size, (count, bytes))) = fit.and_then(|fit| Some((fit.row_size(), fit.bytes(rows)?))) else {
                return self.append_checked(open, rows);
            };
            let in_memory = open.is_buffered(row_size, bytes.len());
            let appender = &mut open.appender;
            let written = if in_memory {
                appender.append_rows(count, bytes)
            } else {
                py.detach(|| appender.append_rows(count, bytes))
            };
            written.map_err(|error| self.interrupt.raise(error))
        })?;
        written.map(|rows| range(py, rows)).transpose()
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
        start: i64,
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
    ///     The numbers of the rows it published.
    fn commit<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyRange>> {
        range(py, self.call(py, npygrow::Appender::commit)?)
    }

    /// Publishes what is buffered and makes every row survive a power cut.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, npygrow::Appender::sync)
    }

    /// Cuts the file to its first rows. An array mapped over the others must not be read any more.
    ///
    /// Parameters
    /// ----------
    /// rows : int
    ///     How many stay.
    #[pyo3(signature = (rows))]
    fn truncate(&self, py: Python<'_>, #[pyo3(from_py_with = size)] rows: usize) -> PyResult<()> {
        self.call(py, |appender| appender.truncate(rows as u64))
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
        let (facts, committed) = (open.facts(py, self.path())?, open.appender.committed());
        let State::Open(open) = mem::replace(&mut *state, State::Closed(facts)) else { return Ok(()) };
        let closed = py.detach(|| open.appender.close());
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
    fn path(&self) -> &str {
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
            State::Open(open) => open.appender.len(),
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
            State::Closed(_) => {
                let text = format!("{}: the appender is closed: make a new npygrow.Appender to go on", self.path());
                Err(PyValueError::new_err(text))
            }
        }
    }

    /// Runs a verb of the crate's, detached.
    fn call<R: Send>(
        &self,
        py: Python<'_>,
        verb: impl FnOnce(&mut npygrow::Appender) -> npygrow::Result<R> + Send,
    ) -> PyResult<R> {
        self.with(py, |open| py.detach(|| verb(&mut open.appender)).map_err(|error| self.interrupt.raise(error)))
    }

    fn facts(&self, py: Python<'_>) -> PyResult<Facts> {
        match &mut *self.state.lock(py)? {
            State::Open(open) => open.facts(py, self.path()),
            State::Closed(facts) => Ok(facts.clone_ref(py)),
        }
    }

    /// Rows that are not yet the file's own bytes: checked as a whole, then cast and written block by block.
    fn append_checked(&self, open: &mut Open, rows: &Bound<'_, PyAny>) -> PyResult<Option<Range<u64>>> {
        static PREPARE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = rows.py();
        let raise = |error| self.interrupt.raise(error);
        let dtype = open.dtype(py, self.path())?;
        let appender = &mut open.appender;
        let row_shape = appender.row_shape().map(|shape| PyTuple::new(py, shape)).transpose()?;
        let arguments = (rows, self.path(), dtype, row_shape, order_name(appender.order()), self.exact);
        let (count, descr, row_shape, blocks): (u64, String, Vec<u64>, Bound<'_, PyIterator>) =
            PREPARE.import(py, "npygrow._rows", "prepare")?.call1(arguments)?.extract()?;
        if open.fit.is_none() {
            let dtype = appender.dtype().map_or_else(|| descr.parse(), |dtype| Ok(dtype.clone())).map_err(raise)?;
            appender.define(&dtype, &row_shape).map_err(raise)?;
        }
        let mut batch = py.detach(|| appender.begin(count)).map_err(raise)?;
        for block in blocks {
            let block = block?.extract::<PyReadonlyArray1<'_, u8>>()?;
            let bytes = block.as_slice()?;
            py.detach(|| batch.write(bytes)).map_err(raise)?;
            py.check_signals()?;
        }
        py.detach(|| batch.commit()).map_err(raise)
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
            let closed = py.detach(|| open.appender.close()).map_err(|error| self.interrupt.raise(error));
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

fn sizes(shape: &Bound<'_, PyAny>) -> PyResult<Vec<u64>> {
    let sizes = shape.extract().map(|size| vec![size]).or_else(|_: PyErr| shape.extract());
    sizes.map_err(|_| PyValueError::new_err(format!("row_shape must be a size or a tuple of sizes, not {shape:?}")))
}

/// A number of bytes or rows. For one that is out of range Python's own words are of another language's types.
fn size(size: &Bound<'_, PyAny>) -> PyResult<usize> {
    size.extract().map_err(|error: PyErr| {
        if !error.is_instance_of::<PyOverflowError>(size.py()) {
            return error;
        }
        PyValueError::new_err(format!("expected a number of bytes or rows, 0 to {}, found {size}", usize::MAX))
    })
}

pub(crate) fn timeout(seconds: f64) -> PyResult<Duration> {
    if seconds == f64::INFINITY {
        return Ok(Duration::MAX);
    }
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err(format!("lock_timeout must be seconds, 0 or more, not {seconds}")))
}

fn repr<'py>(py: Python<'py>, value: impl IntoPyObjectExt<'py>) -> PyResult<String> {
    Ok(value.into_bound_py_any(py)?.repr()?.to_string())
}

fn warn(py: Python<'_>, category: &Bound<'_, PyAny>, text: String) -> PyResult<()> {
    PyErr::warn(py, category, &CString::new(text)?, 1)
}
