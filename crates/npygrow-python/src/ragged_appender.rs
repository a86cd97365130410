//! `npygrow.RaggedAppender`.

use npygrow::Order;
use numpy::{PyArrayDescr, PyArrayDescrMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyRange, PyString, PyTuple};
use std::ops::Range;

use crate::arguments::{header_size, size, sizes};
use crate::convert::{Fit, range};
use crate::dtype::{FsPath, to_numpy, to_stored};
use crate::folder::{Given, Growing, Keeps, Open};

/// Appends items of different length to a folder of two .npy files: `values.npy` holds all of them, joined along axis 0,
/// and `offsets.npy` where each begins and the last ends.
///
/// Item ``i`` is ``values[offsets[i]:offsets[i + 1]]``. An append is there whole or not at all, also after a crash, with the
/// guarantees of `Appender`. One appender holds a folder at a time. It is thread-safe, and a context manager that publishes
/// what it holds on the way out, also when an exception leaves it.
///
/// Parameters
/// ----------
/// path : str, bytes or os.PathLike
///     The folder, which is made if need be.
/// mode : {"a", "x"}
///     Continue the files or make them; make them, and refuse to find any.
/// dtype : numpy.dtype, optional
///     The dtype of the values; by default the first item's.
/// row_shape : int or tuple of int, optional
///     The axes of an item other than the first; by default the first item's. With `dtype` the files are there at once, so
///     that others can follow them.
/// durability : {"process", "ordered", "power"}
///     What every acknowledged item survives: the end of the process; a power cut, as a valid prefix; a power cut.
/// buffering : int
///     Gather up to this many bytes of both files in memory before they are published; 0 publishes with every append.
/// turns : bool
///     Share the folder with other appenders: the locks are held for each append alone.
/// on_tail : {"auto", "drop", "error"}
///     What to do with what one file has more than the other. "auto" cuts what an append left unfinished, and nothing that
///     no append of ours can have left.
/// casting : {"checked", "exact"}
///     Which dtypes items may have: those whose every value survives the cast (floats may round), or the files' alone.
/// lock_timeout : float, optional
///     Seconds to wait for another appender. By default it is refused at once; with `turns`, waited for.
/// max_header_size : int
///     Refuse longer headers, as `numpy.load` does.
///
/// Raises
/// ------
/// LockedError
///     Another appender holds the folder.
/// NeedsRecoveryError, NotAppendableError, FormatError
///     The files cannot be appended to as they are; the text says what to call.
/// MismatchError
///     The values have another dtype or row shape than asked for.
///
/// Examples
/// --------
/// >>> import os, tempfile
/// >>> import numpy as np, npygrow as ng
/// >>> path = os.path.join(tempfile.mkdtemp(), "tokens")
/// >>> with ng.RaggedAppender(path, dtype="i4") as tokens:
/// ...     tokens.append([15496, 995])
/// ...     tokens.extend([[318], [], [257, 1332, 13]])
/// range(0, 1)
/// range(1, 4)
/// >>> np.load(os.path.join(path, "values.npy"))
/// array([15496,   995,   318,   257,  1332,    13], dtype=int32)
/// >>> np.load(os.path.join(path, "offsets.npy"))
/// array([0, 2, 3, 3, 6])
#[pyclass(frozen, weakref, module = "npygrow")]
pub(crate) struct RaggedAppender(Growing<npygrow::RaggedAppender, Known>);

/// What is known of the values.
#[derive(Default)]
pub(crate) struct Known {
    dtype: Option<Py<PyArrayDescr>>,
    row_shape: Option<Vec<u64>>,
    /// What passes without a check in Python; `None` until dtype and row shape are settled.
    fit: Option<Fit>,
    values_len: u64,
    committed_values: u64,
}

impl Known {
    fn look(py: Python<'_>, appender: &npygrow::RaggedAppender, path: &str) -> PyResult<Self> {
        let dtype = appender.dtype().map(|dtype| to_numpy(py, dtype, path)).transpose()?;
        let row_shape = appender.row_shape().map(<[u64]>::to_vec);
        let fit = match (&dtype, &row_shape, appender.row_size()) {
            (Some(dtype), Some(row_shape), Some(size)) => Some(Fit::new(dtype, row_shape, size, Order::C)?),
            _ => None,
        };
        let mut known = Self { dtype: dtype.map(Bound::unbind), row_shape, fit, ..Self::default() };
        known.keep(appender);
        Ok(known)
    }
}

impl Keeps<npygrow::RaggedAppender> for Known {
    fn keep(&mut self, appender: &npygrow::RaggedAppender) {
        (self.values_len, self.committed_values) = (appender.values_len(), appender.committed_values());
    }

    fn lose_buffer(&mut self) {
        self.values_len = self.committed_values;
    }
}

type Opened = Open<npygrow::RaggedAppender, Known>;

#[pymethods]
impl RaggedAppender {
    #[new]
    #[pyo3(signature = (path, *, mode="a", dtype=None, row_shape=None, durability="process", buffering=0, turns=false,
        on_tail="auto", casting="checked", lock_timeout=None, max_header_size=10_000))]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn new(
        py: Python<'_>,
        path: FsPath,
        mode: &str,
        dtype: Option<&Bound<'_, PyAny>>,
        row_shape: Option<&Bound<'_, PyAny>>,
        durability: &str,
        #[pyo3(from_py_with = size)] buffering: usize,
        turns: bool,
        on_tail: &str,
        casting: &str,
        lock_timeout: Option<f64>,
        #[pyo3(from_py_with = header_size)] max_header_size: u64,
    ) -> PyResult<Self> {
        let name = path.text();
        let mut row_shape = row_shape.map(sizes).transpose()?;
        let mut stored = None;
        if let Some(dtype) = dtype {
            let dtype = PyArrayDescr::new(py, dtype)?;
            if dtype.has_subarray() {
                row_shape.get_or_insert_default().extend(dtype.shape().iter().map(|&size| size as u64));
            }
            stored = Some(to_stored(&dtype.base(), &name)?);
        }
        let given = Given { mode, durability, buffering, turns, on_tail, casting, lock_timeout, max_header_size };
        let open = |mut options: npygrow::Options| {
            if let Some(dtype) = stored {
                options = options.dtype(dtype);
            }
            if let Some(row_shape) = row_shape {
                options = options.row_shape(row_shape);
            }
            options.open_ragged(&path.0)
        };
        let look = |appender: &_| Known::look(py, appender, &name);
        Growing::open(py, name.clone(), &given, open, look).map(Self)
    }

    /// Appends one item: an array, or what makes one; bytes are uint8.
    ///
    /// Nothing is written unless all of it fits; an append that fails leaves the folder as it was.
    ///
    /// Parameters
    /// ----------
    /// item : array_like or bytes-like
    ///     Of shape ``(k, *row_shape)``, for any k.
    ///
    /// Returns
    /// -------
    /// range or None
    ///     The item's number, as a range of one; None while it waits in the buffer of an appender that takes turns.
    ///
    /// Raises
    /// ------
    /// MismatchError
    ///     The item's shape or dtype does not fit, or a value would not survive the cast.
    /// OSError
    ///     It could not be written; the call may be repeated.
    /// LatchedError
    ///     A sync failed before, another program changed a file, or this is a forked child.
    #[pyo3(signature = (item, /))]
    fn append<'py>(&self, item: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyRange>>> {
        let py = item.py();
        let told = self.0.with(py, |open| {
            let Some((count, bytes)) = open.known.fit.as_mut().and_then(|fit| fit.bytes(item)) else {
                return self.append_prepared(open, item, &ONE, "one");
            };
            let told = open.append(py, bytes.len() as u64 + 8, |appender| appender.append_bytes(count, bytes));
            told.map_err(|error| self.0.raise(error))
        })?;
        told.map(|items| range(py, items)).transpose()
    }

    /// Appends items, all of them or none.
    ///
    /// Parameters
    /// ----------
    /// items : iterable of array_like, tuple, or array of lists
    ///     The items; or a tuple ``(values, lengths)``: all items joined along axis 0, and how long each is; or an array of
    ///     lists, strings or bytes of Arrow, polars or awkward, of which no value becomes a Python object. Strings are their
    ///     UTF-8 bytes.
    ///
    /// Returns
    /// -------
    /// range or None
    ///     The numbers of the items; None while they wait in the buffer of an appender that takes turns.
    ///
    /// Raises
    /// ------
    /// MismatchError, OSError, LatchedError
    ///     As `append`; the text names the item.
    ///
    /// Examples
    /// --------
    /// >>> import os, tempfile
    /// >>> import numpy as np, npygrow as ng
    /// >>> with ng.RaggedAppender(os.path.join(tempfile.mkdtemp(), "boxes"), dtype="f4", row_shape=4) as boxes:
    /// ...     boxes.extend([np.zeros((2, 4)), np.zeros((0, 4))])
    /// ...     boxes.extend((np.zeros((5, 4)), [3, 2]))
    /// range(0, 2)
    /// range(2, 4)
    #[pyo3(signature = (items, /))]
    fn extend<'py>(&self, items: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyRange>>> {
        let told = self.0.with(items.py(), |open| self.append_prepared(open, items, &MANY, "many"))?;
        told.map(|numbers| range(items.py(), numbers)).transpose()
    }

    /// Appends a text as one item: its bytes in UTF-8, of dtype uint8.
    ///
    /// Examples
    /// --------
    /// >>> import os, tempfile
    /// >>> import npygrow as ng
    /// >>> with ng.RaggedAppender(os.path.join(tempfile.mkdtemp(), "words")) as words:
    /// ...     words.append_text("wächst")
    /// ...     words.values_len
    /// range(0, 1)
    /// 7
    #[pyo3(signature = (text, /))]
    fn append_text<'py>(&self, text: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyRange>>> {
        self.append(text.encode_utf8()?.as_any())
    }

    /// Publishes what is buffered.
    ///
    /// Returns
    /// -------
    /// range
    ///     The numbers of the items it published.
    fn commit<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyRange>> {
        self.0.commit(py)
    }

    /// Publishes what is buffered and makes every item survive a power cut.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        self.0.sync(py)
    }

    /// Cuts the folder to its first items. An array mapped over the others must not be read any more.
    ///
    /// Parameters
    /// ----------
    /// items : int
    ///     How many stay.
    #[pyo3(signature = (items))]
    fn truncate(&self, py: Python<'_>, #[pyo3(from_py_with = size)] items: usize) -> PyResult<()> {
        self.0.truncate(py, items)
    }

    /// Publishes what is buffered and gives the folder back. Closing twice is fine.
    ///
    /// Raises
    /// ------
    /// OSError, LatchedError
    ///     The buffered items could not be published: the error says how many are lost, and the appender is closed.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.0.close(py)
    }

    fn __enter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<Self>> {
        slf.get().0.with(py, |_| Ok(()))?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    /// How many values all items have, those in the buffer included.
    #[getter]
    fn values_len(&self, py: Python<'_>) -> PyResult<u64> {
        self.0.known(py, |known| known.values_len)
    }

    /// The dtype of the values; None while a new folder's is not known.
    #[getter]
    fn dtype(&self, py: Python<'_>) -> PyResult<Option<Py<PyArrayDescr>>> {
        self.0.known(py, |known| known.dtype.as_ref().map(|dtype| dtype.clone_ref(py)))
    }

    /// The axes of an item other than the first; None while a new folder's are not known.
    #[getter]
    fn row_shape<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let row_shape = self.0.known(py, |known| known.row_shape.clone())?;
        row_shape.map(|shape| PyTuple::new(py, shape)).transpose()
    }

    /// The path, as it was given.
    #[getter]
    fn path(&self) -> &str {
        self.0.path()
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> PyResult<bool> {
        self.0.is_closed(py)
    }

    /// What opening cut from the files; false when there was nothing to cut.
    #[getter]
    fn dropped<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.dropped(py)
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.0.rows(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let path = PyString::new(py, self.path()).repr()?;
        let (items, values) = (self.0.rows(py)?, self.values_len(py)?);
        let dtype = self.dtype(py)?.into_pyobject(py)?.repr()?;
        let closed = if self.closed(py)? { ", closed" } else { "" };
        Ok(format!("<npygrow.RaggedAppender {path}, {items} items, {values} values, dtype={dtype}{closed}>"))
    }
}

static ONE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static MANY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

impl RaggedAppender {
    /// Items that are not yet the files' own bytes: checked and cast as a whole, by a function of `npygrow._items`.
    fn append_prepared(
        &self,
        open: &mut Opened,
        given: &Bound<'_, PyAny>,
        prepare: &PyOnceLock<Py<PyAny>>,
        name: &str,
    ) -> PyResult<Option<Range<u64>>> {
        let py = given.py();
        let raise = |error| self.0.raise(error);
        let dtype = open.known.dtype.as_ref().map(|dtype| dtype.bind(py));
        let row_shape = open.known.row_shape.as_ref().map(|shape| PyTuple::new(py, shape)).transpose()?;
        let prepared =
            prepare.import(py, "npygrow._items", name)?.call1((given, self.path(), dtype, row_shape, self.0.exact))?;
        type Prepared<'py> = (PyReadonlyArray1<'py, u64>, PyReadonlyArray1<'py, u8>, String, Vec<u64>);
        let (lengths, values, descr, row_shape): Prepared<'_> = prepared.extract()?;
        let (lengths, values) = (lengths.as_slice()?, values.as_slice()?);
        if open.known.fit.is_none() {
            if descr.is_empty() && dtype.is_none() {
                return Ok(Some(0..0)); // No item, and nothing to say what items will be.
            }
            let dtype =
                open.appender.dtype().map_or_else(|| descr.parse(), |dtype| Ok(dtype.clone())).map_err(raise)?;
            open.appender.define(&dtype, &row_shape).map_err(raise)?;
            open.known = Known::look(py, &open.appender, self.path())?;
        }
        let bytes = (values.len() + 8 * lengths.len()) as u64;
        let told = open.append(py, bytes, |appender| appender.extend_bytes(lengths, values));
        told.map_err(raise)
    }
}
