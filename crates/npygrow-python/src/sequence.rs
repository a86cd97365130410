//! `npygrow.open_sequence` and `npygrow.Sequence`.

use npygrow::{Bookmark, Sequence as Arrays, Torn};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyIndexError, PyOverflowError, PyTypeError, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyRange, PySlice, PyTuple};
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::arguments::header_size;
use crate::array::{Array, MODES, mode_name};
use crate::convert::range;
use crate::dtype::{FsPath, word};
use crate::errors::raise;
use crate::guard::Guarded;

/// Opens a file of several arrays, as several calls of `numpy.save` on one open file make it.
///
/// Nothing is loaded: arrays are found when they are asked for, and mapped one by one. They may differ in dtype, shape and
/// order. A file of one array is a sequence of one, an empty file of none.
///
/// Parameters
/// ----------
/// path : str, bytes or os.PathLike
///     The file.
/// mode : {"r", "r+", "c"}
///     As for `open`, for every array.
/// on_torn : {"warn", "error", "skip"}
///     What to do once its length or its end is asked for, and the file does not end with a whole array: the last one is
///     cut off (`numpy.save` is writing it, or was interrupted), or something else follows. The arrays before can be read
///     with "warn", which says it once, and with "skip"; `Sequence.torn` tells of it.
/// max_header_size : int
///     Refuse longer headers, as `numpy.load` does.
///
/// Returns
/// -------
/// Sequence
///
/// Raises
/// ------
/// FormatError
///     It does not begin with an array, or with one of Python objects.
///
/// Examples
/// --------
/// >>> import os, tempfile
/// >>> import numpy as np, npygrow as ng
/// >>> path = os.path.join(tempfile.mkdtemp(), "runs.npy")
/// >>> with open(path, "wb") as file:
/// ...     np.save(file, np.arange(3))
/// ...     np.save(file, np.ones((2, 2), "f4"))
/// >>> runs = ng.open_sequence(path)
/// >>> len(runs), runs[0][:].tolist(), runs[-1].shape
/// (2, [0, 1, 2], (2, 2))
#[pyfunction]
#[pyo3(signature = (path, mode="r", *, on_torn="warn", max_header_size=10_000))]
pub(crate) fn open_sequence(
    py: Python<'_>,
    path: FsPath,
    mode: &str,
    on_torn: &str,
    #[pyo3(from_py_with = header_size)] max_header_size: u64,
) -> PyResult<Sequence> {
    let (access, on_torn) = (word("mode", mode, &MODES)?, word("on_torn", on_torn, &ON_TORN)?);
    let arrays = py.detach(|| Arrays::open_with(&path.0, access, max_header_size)).map_err(raise)?;
    Ok(Sequence::of(arrays, on_torn))
}

/// What a pickle of a `Sequence` calls: the same arrays of the same file, or an error.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "a bookmark's fields")]
#[pyo3(signature = (path, file, made, part, rows, mode, max_header_size, on_torn))]
pub(crate) fn _reopen_sequence(
    py: Python<'_>,
    path: FsPath,
    file: Option<u64>,
    made: Option<u64>,
    part: (u64, Option<u64>),
    rows: u64,
    mode: &str,
    max_header_size: u64,
    on_torn: &str,
) -> PyResult<Sequence> {
    let (access, on_torn) = (word("mode", mode, &MODES)?, word("on_torn", on_torn, &ON_TORN)?);
    let bookmark = Bookmark { path: path.0, file, made, what: None, part, rows, access, max_header_size };
    Ok(Sequence::of(py.detach(|| Arrays::at(&bookmark)).map_err(raise)?, on_torn))
}

/// The arguments of `_reopen_sequence`.
type Reopened = (PathBuf, Option<u64>, Option<u64>, (u64, Option<u64>), u64, &'static str, u64, &'static str);

#[derive(Clone, Copy, PartialEq, Eq)]
enum OnTorn {
    Warn,
    Error,
    Skip,
}

const ON_TORN: [(&str, OnTorn); 3] = [("warn", OnTorn::Warn), ("error", OnTorn::Error), ("skip", OnTorn::Skip)];

/// The arrays of one file, made by `open_sequence`: an `Array` for each index.
///
/// It has no `index` and `count`, so it is no `collections.abc.Sequence`: arrays are equal item by item, not as a whole. Its length stays until `refresh`, also while `numpy.save` goes on. A slice is a list. Arrays stay valid when it is
/// closed. It is a context manager; a pickle of it names the file and the number of arrays, and holds none.
#[pyclass(frozen, weakref, module = "npygrow")]
pub(crate) struct Sequence {
    arrays: Guarded<Option<Arrays>>,
    on_torn: OnTorn,
    /// The offset that was warned of.
    told: AtomicU64,
}

#[pymethods]
impl Sequence {
    /// Looks for arrays that were saved since.
    ///
    /// Returns
    /// -------
    /// range
    ///     The numbers of the new arrays. One that is not whole yet is found by a later call.
    fn refresh<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyRange>> {
        let new = self.with(py, |arrays| py.detach(|| arrays.refresh()).map_err(raise))?;
        range(py, new)
    }

    /// Gives the file back, once no array of it is left. Closing twice is fine.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        *self.arrays.lock(py)? = None;
        Ok(())
    }

    fn __enter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<Self>> {
        slf.get().with(py, |_| Ok(()))?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    /// Where the arrays end before the file does, or None.
    #[getter]
    fn torn<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let torn = self.with(py, |arrays| py.detach(|| arrays.torn()).map_err(raise))?;
        let report = |torn: Torn| {
            let report = py.import("npygrow.reports")?.getattr("Torn")?;
            report.call1((torn.index, torn.offset, torn.bytes, torn.text))
        };
        torn.map(report).transpose()
    }

    /// "r", "r+" or "c", as it was opened.
    #[getter]
    fn mode(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.with(py, |arrays| Ok(mode_name(arrays.access())))
    }

    /// The path, as it was given.
    #[getter]
    fn path(&self) -> &str {
        self.arrays.path()
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.arrays.lock(py)?.is_none())
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let (len, torn) = self.end(py)?;
        self.tell(py, torn)?;
        Ok(usize::try_from(len)?)
    }

    fn __iter__(slf: Py<Self>, py: Python<'_>) -> PyResult<ArrayIterator> {
        slf.get().with(py, |_| Ok(()))?;
        Ok(ArrayIterator { sequence: slf, next: AtomicU64::new(0) })
    }

    fn __reversed__<'py>(slf: Py<Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("collections.abc")?.getattr("Sequence")?.call_method1("__reversed__", (slf,))
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        if let Ok(slice) = key.cast::<PySlice>() {
            let slice = slice.indices(self.__len__(py)?.try_into()?)?;
            let numbers = (0..slice.slicelength as i64).map(|i| slice.start as i64 + i * slice.step as i64);
            let arrays: Vec<_> = numbers.map(|i| self.at_index(py, i)).collect::<PyResult<_>>()?;
            return Ok(PyList::new(py, arrays)?.into_any());
        }
        match key.extract::<i64>() {
            Ok(index) => self.at_index(py, index)?.into_bound_py_any(py),
            Err(error) if error.is_instance_of::<PyOverflowError>(py) => Err(self.no_array(key)?),
            Err(_) => {
                let name = key.get_type().name()?;
                let text = format!("{}: expected an integer or a slice, found {name}", self.path());
                Err(PyTypeError::new_err(text))
            }
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let path = self.path().into_bound_py_any(py)?.repr()?;
        if self.closed(py)? {
            return Ok(format!("<npygrow.Sequence {path}, closed>"));
        }
        let (len, torn) = self.end(py)?;
        let (s, torn) = (if len == 1 { "" } else { "s" }, if torn.is_some() { ", torn" } else { "" });
        Ok(format!("<npygrow.Sequence {path}, {len} array{s}, mode='{}'{torn}>", self.mode(py)?))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Reopened)> {
        let bookmark = self.with(py, |arrays| py.detach(|| arrays.bookmark()).map_err(raise))?;
        let Bookmark { path, file, made, part, rows, access, max_header_size, .. } = bookmark;
        let on_torn = ON_TORN.iter().find(|(_, of)| *of == self.on_torn).map_or("", |(name, _)| name);
        let reopen = py.import("npygrow._native")?.getattr("_reopen_sequence")?;
        Ok((reopen, (path, file, made, part, rows, mode_name(access), max_header_size, on_torn)))
    }
}

impl Sequence {
    fn of(arrays: Arrays, on_torn: OnTorn) -> Self {
        let path = arrays.path().to_string_lossy().into_owned();
        Sequence { arrays: Guarded::new(path, Some(arrays)), on_torn, told: AtomicU64::new(u64::MAX) }
    }

    fn with<R>(&self, py: Python<'_>, verb: impl FnOnce(&mut Arrays) -> PyResult<R>) -> PyResult<R> {
        match &mut *self.arrays.lock(py)? {
            Some(arrays) => verb(arrays),
            None => {
                let text = format!("{}: the sequence is closed: open it again with npygrow.open_sequence", self.path());
                Err(PyValueError::new_err(text))
            }
        }
    }

    /// How many arrays there are, and what follows them.
    fn end(&self, py: Python<'_>) -> PyResult<(u64, Option<Torn>)> {
        self.with(py, |arrays| py.detach(|| Ok((arrays.len()?, arrays.torn()?))).map_err(raise))
    }

    /// The array at `index`, from 0; `None`, after what `on_torn` says, where there is none.
    fn at(&self, py: Python<'_>, index: u64) -> PyResult<Option<Array>> {
        let error = match self.with(py, |arrays| Ok(py.detach(|| arrays.get(index))))? {
            Ok(view) => return Array::of(py, view).map(Some),
            Err(error) => error,
        };
        // Counted only now: the first array is there without a walk to the last.
        let (len, torn) = self.end(py)?;
        if index < len {
            return Err(raise(error));
        }
        self.tell(py, torn)?;
        Ok(None)
    }

    fn at_index(&self, py: Python<'_>, index: i64) -> PyResult<Array> {
        let from_start = match u64::try_from(index) {
            Ok(index) => Some(index),
            Err(_) => (self.__len__(py)? as u64).checked_sub(index.unsigned_abs()),
        };
        match from_start.map(|index| self.at(py, index)).transpose()?.flatten() {
            Some(array) => Ok(array),
            None => Err(self.no_array(&index.into_bound_py_any(py)?)?),
        }
    }

    fn no_array(&self, index: &Bound<'_, PyAny>) -> PyResult<PyErr> {
        let (len, torn) = self.end(index.py())?;
        let torn = torn.map(|torn| format!("; {}", torn.text)).unwrap_or_default();
        Ok(PyIndexError::new_err(format!("{}: no array {index} among {len}{torn}", self.path())))
    }

    /// Does what `on_torn` says. Without the lock: a warning runs Python code.
    fn tell(&self, py: Python<'_>, torn: Option<Torn>) -> PyResult<()> {
        let Some(torn) = torn else { return Ok(()) };
        let error = torn.error().at(self.path());
        match self.on_torn {
            OnTorn::Error => Err(raise(error)),
            OnTorn::Warn if self.told.swap(torn.offset, Relaxed) != torn.offset => {
                let text = CString::new(error.to_string().replace('\0', "\\0"))?;
                PyErr::warn(py, &py.get_type::<PyUserWarning>(), &text, 1)
            }
            _ => Ok(()),
        }
    }
}

/// The arrays of a sequence, in order.
#[pyclass(frozen, module = "npygrow._native")]
pub(crate) struct ArrayIterator {
    sequence: Py<Sequence>,
    next: AtomicU64,
}

#[pymethods]
impl ArrayIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Array>> {
        self.sequence.get().at(py, self.next.fetch_add(1, Relaxed))
    }
}
