//! `npygrow.DatasetAppender`.

use npygrow::{ColumnPart, Order};
use numpy::{PyArrayDescr, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyRange, PyString, PyTuple};
use std::ops::Range;

use crate::arguments::{header_size, size};
use crate::convert::{Fit, range};
use crate::dtype::{FsPath, to_numpy};
use crate::errors::MismatchError;
use crate::folder::{Given, Growing, Keeps, Open};

/// Appends to all columns of a folder at once: each a plain ``NAME.npy``, or a folder ``NAME`` of items of different length,
/// as `RaggedAppender` makes it.
///
/// A row exists once every column has it: an append is there in all of them or in none, also after a crash, with the
/// guarantees of `Appender`. Which columns there are is settled with the first rows. One appender holds a folder at a time.
/// It is thread-safe, and a context manager that publishes what it holds on the way out, also when an exception leaves it.
///
/// Parameters
/// ----------
/// path : str, bytes or os.PathLike
///     The folder, which is made if need be.
/// ragged : str or sequence of str
///     Which columns of a new folder have items of different length: it is said, never guessed from the first rows, whose
///     items may happen to be equally long. Of a folder with rows it may be left out.
/// mode : {"a", "x"}
///     Continue the columns or make them; make them, and refuse to find any.
/// durability : {"process", "ordered", "power"}
///     What every acknowledged row survives: the end of the process; a power cut, as a valid prefix; a power cut.
/// buffering : int
///     Gather up to this many bytes of all files in memory before they are published; 0 publishes with every append.
/// turns : bool
///     Share the folder with other appenders: the locks are held for each append alone.
/// on_tail : {"auto", "drop", "error"}
///     What to do with rows that not every column has. "auto" cuts what an append left unfinished, and nothing that no
///     append of ours can have left, as where a column was replaced by a shorter one.
/// casting : {"checked", "exact"}
///     Which dtypes rows may have: those whose every value survives the cast (floats may round), or the columns' alone.
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
///     The columns cannot be appended to as they are; the text says what to call.
/// MismatchError
///     A column of `ragged` is there and is something else.
///
/// Examples
/// --------
/// >>> import os, tempfile
/// >>> import numpy as np, npygrow as ng
/// >>> path = os.path.join(tempfile.mkdtemp(), "run")
/// >>> with ng.DatasetAppender(path, ragged="text") as run:
/// ...     run.append({"image": np.zeros((2, 8, 8), "u1"), "label": [3, 5], "text": [b"a cat", b"dog"]})
/// range(0, 2)
/// >>> sorted(os.listdir(path)), np.load(os.path.join(path, "label.npy"))
/// (['image.npy', 'label.npy', 'text'], array([3, 5]))
#[pyclass(frozen, weakref, module = "npygrow")]
pub(crate) struct DatasetAppender(Growing<npygrow::DatasetAppender, Known>);

/// What is known of the columns.
#[derive(Default)]
pub(crate) struct Known {
    columns: Vec<Column>,
    /// The columns that will have items, if they are new.
    ragged: Vec<String>,
}

struct Column {
    name: String,
    is_ragged: bool,
    dtype: Py<PyArrayDescr>,
    row_shape: Vec<u64>,
    /// What passes without a check in Python.
    fit: Fit,
}

impl Known {
    fn look(py: Python<'_>, appender: &npygrow::DatasetAppender, ragged: Vec<String>, path: &str) -> PyResult<Self> {
        let columns = appender.columns().into_iter().map(|spec| {
            let dtype = to_numpy(py, &spec.dtype, path)?;
            let sizes = spec.row_shape.iter();
            // Without an element the other sizes may be any.
            let size =
                if spec.row_shape.contains(&0) { Some(0) } else { sizes.copied().try_fold(1_u64, u64::checked_mul) };
            let size = size.and_then(|elements| elements.checked_mul(spec.dtype.itemsize())).unwrap_or(u64::MAX);
            let fit = Fit::new(&dtype, &spec.row_shape, size, Order::C)?;
            let dtype = dtype.unbind();
            Ok(Column { name: spec.name, is_ragged: spec.is_ragged, dtype, row_shape: spec.row_shape, fit })
        });
        Ok(Self { columns: columns.collect::<PyResult<_>>()?, ragged })
    }

    fn specs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        static SPEC: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let specs = PyDict::new(py);
        for column in &self.columns {
            let row_shape = PyTuple::new(py, &column.row_shape)?;
            let spec = SPEC.import(py, "npygrow._items", "ColumnSpec")?;
            specs.set_item(&column.name, spec.call1((&column.dtype, row_shape, column.is_ragged))?)?;
        }
        Ok(specs)
    }
}

impl Keeps<npygrow::DatasetAppender> for Known {}

type Opened = Open<npygrow::DatasetAppender, Known>;

#[pymethods]
impl DatasetAppender {
    #[new]
    #[pyo3(signature = (path, *, ragged=None, mode="a", durability="process", buffering=0, turns=false, on_tail="auto",
        casting="checked", lock_timeout=None, max_header_size=10_000))]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn new(
        py: Python<'_>,
        path: FsPath,
        ragged: Option<&Bound<'_, PyAny>>,
        mode: &str,
        durability: &str,
        #[pyo3(from_py_with = size)] buffering: usize,
        turns: bool,
        on_tail: &str,
        casting: &str,
        lock_timeout: Option<f64>,
        #[pyo3(from_py_with = header_size)] max_header_size: u64,
    ) -> PyResult<Self> {
        let name = path.text();
        let ragged = match ragged {
            None => Vec::new(),
            Some(ragged) => ragged.extract().map(|name| vec![name]).or_else(|_: PyErr| ragged.extract())?,
        };
        let given = Given { mode, durability, buffering, turns, on_tail, casting, lock_timeout, max_header_size };
        let look = |appender: &npygrow::DatasetAppender| {
            let known = Known::look(py, appender, ragged, &name)?;
            for name_of in &known.ragged {
                match known.columns.iter().find(|column| column.name == *name_of) {
                    Some(column) if !column.is_ragged => {
                        let text = "expected items of different length, found rows of one size";
                        return Err(MismatchError::new_err(format!("{name}: column {name_of}: {text}")));
                    }
                    None if !appender.is_empty() => {
                        let names: Vec<_> = known.columns.iter().map(|column| column.name.as_str()).collect();
                        let names = names.join(", ");
                        let text = format!("{name}: there is no column {name_of}: the columns are {names}");
                        return Err(MismatchError::new_err(text));
                    }
                    _ => {}
                }
            }
            Ok(known)
        };
        Growing::open(py, name.clone(), &given, |options| options.open_dataset(&path.0), look).map(Self)
    }

    /// Appends rows to every column, all of them or none.
    ///
    /// Readers see them when it returns, or with `buffering` later. Nothing is written unless all of it fits. An append of no
    /// rows makes the columns of a new folder, so that others can follow them.
    ///
    /// Parameters
    /// ----------
    /// columns : mapping of str to rows
    ///     For each column as many rows: an array or what makes one, of shape ``(n, *row_shape)``; where it is ragged, what
    ///     `RaggedAppender.extend` takes, as a list of n arrays or a tuple ``(values, lengths)``.
    ///
    /// Returns
    /// -------
    /// range or None
    ///     The numbers of the rows; None while they wait in the buffer of an appender that takes turns.
    ///
    /// Raises
    /// ------
    /// MismatchError
    ///     Columns are missing or too many, or have different numbers of rows; a shape or dtype does not fit, or a value
    ///     would not survive the cast.
    /// OSError
    ///     They could not be written; the call may be repeated.
    /// LatchedError
    ///     A sync failed before, another program changed a file, or this is a forked child.
    #[pyo3(signature = (columns, /))]
    fn append<'py>(&self, columns: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyRange>>> {
        let py = columns.py();
        let told = self.0.with(py, |open| {
            if let Some(told) = self.append_ready(open, columns)? {
                return Ok(told);
            }
            self.append_prepared(open, columns)
        })?;
        told.map(|rows| range(py, rows)).transpose()
    }

    /// Publishes what is buffered.
    ///
    /// Returns
    /// -------
    /// range
    ///     The numbers of the rows it published.
    fn commit<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyRange>> {
        self.0.commit(py)
    }

    /// Publishes what is buffered and makes every row survive a power cut.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        self.0.sync(py)
    }

    /// Cuts every column to its first rows. An array mapped over the others must not be read any more.
    ///
    /// Parameters
    /// ----------
    /// rows : int
    ///     How many stay.
    #[pyo3(signature = (rows))]
    fn truncate(&self, py: Python<'_>, #[pyo3(from_py_with = size)] rows: usize) -> PyResult<()> {
        self.0.truncate(py, rows)
    }

    /// Publishes what is buffered and gives the folder back. Closing twice is fine.
    ///
    /// Raises
    /// ------
    /// OSError, LatchedError
    ///     The buffered rows could not be published: the error says how many are lost, and the appender is closed.
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

    /// What the columns are: a dict of their names to `ColumnSpec`; empty while a new folder's are not known.
    #[getter]
    fn columns<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.0.known(py, |known| known.specs(py))?
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

    /// What opening cut from the columns; false when there was nothing to cut.
    #[getter]
    fn dropped<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.dropped(py)
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.0.rows(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let path = PyString::new(py, self.path()).repr()?;
        let rows = self.0.rows(py)?;
        let names = |known: &Known| known.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
        let columns = self.0.known(py, names)?.join(", ");
        let closed = if self.closed(py)? { ", closed" } else { "" };
        Ok(format!("<npygrow.DatasetAppender {path}, {rows} rows, columns: {columns}{closed}>"))
    }
}

/// What a column gets, checked and cast: its name, the lengths of its items, the bytes, and what settles it if it is new.
type Prepared<'py> = (String, Option<PyReadonlyArray1<'py, u64>>, PyReadonlyArray1<'py, u8>, String, Vec<u64>);

impl DatasetAppender {
    /// Rows that are the files' own bytes in every column; `None` where one is not.
    #[expect(clippy::option_option, reason = "what an append tells may be nothing")]
    fn append_ready(&self, open: &mut Opened, columns: &Bound<'_, PyAny>) -> PyResult<Option<Option<Range<u64>>>> {
        let Ok(columns) = columns.cast_exact::<PyDict>() else { return Ok(None) };
        let known = &mut open.known.columns;
        if known.is_empty() || columns.len() != known.len() || known.iter().any(|column| column.is_ragged) {
            return Ok(None);
        }
        let py = columns.py();
        let mut rows = Vec::with_capacity(known.len());
        for column in known.iter() {
            let Some(given) = columns.get_item(&column.name)? else { return Ok(None) };
            rows.push(given);
        }
        let (mut parts, mut count, mut size) = (Vec::with_capacity(known.len()), None, 0);
        for (column, given) in known.iter_mut().zip(&rows) {
            match column.fit.bytes(given) {
                Some((found, bytes)) if *count.get_or_insert(found) == found => {
                    size += bytes.len() as u64;
                    parts.push((column.name.clone(), ColumnPart::Rows(bytes)));
                }
                _ => return Ok(None),
            }
        }
        let count = count.unwrap_or(0);
        self.write(py, open, count, size, &parts).map(Some)
    }

    fn append_prepared(&self, open: &mut Opened, columns: &Bound<'_, PyAny>) -> PyResult<Option<Range<u64>>> {
        static PREPARE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = columns.py();
        let raise = |error| self.0.raise(error);
        let has_rows = !open.appender.is_empty();
        let ragged = PyTuple::new(py, &open.known.ragged)?;
        let arguments = (columns, self.path(), open.known.specs(py)?, ragged, has_rows, self.0.exact);
        let prepared = PREPARE.import(py, "npygrow._items", "columns")?.call1(arguments)?;
        let (count, prepared): (u64, Vec<Prepared<'_>>) = prepared.extract()?;
        let mut size = 0;
        let mut parts = Vec::with_capacity(prepared.len());
        // Of an append that failed half-way nothing is settled.
        open.appender.undefine();
        for (name, lengths, bytes, descr, row_shape) in &prepared {
            if !descr.is_empty() {
                let dtype = descr.parse().map_err(raise)?;
                let define = if lengths.is_some() {
                    npygrow::DatasetAppender::define_ragged
                } else {
                    npygrow::DatasetAppender::define
                };
                define(&mut open.appender, name, &dtype, row_shape).map_err(raise)?;
            }
            let bytes = bytes.as_slice()?;
            size += bytes.len() as u64;
            let part = match lengths {
                None => ColumnPart::Rows(bytes),
                Some(lengths) => {
                    let lengths = lengths.as_slice()?;
                    size += 8 * lengths.len() as u64;
                    ColumnPart::Items { lengths, values: bytes }
                }
            };
            parts.push((name.clone(), part));
        }
        let told = self.write(py, open, count, size, &parts);
        if !has_rows {
            let ragged = open.known.ragged.clone();
            open.known = Known::look(py, &open.appender, ragged, self.path())?;
        }
        told
    }

    fn write(
        &self,
        py: Python<'_>,
        open: &mut Opened,
        rows: u64,
        size: u64,
        parts: &[(String, ColumnPart<'_>)],
    ) -> PyResult<Option<Range<u64>>> {
        let parts: Vec<_> = parts.iter().map(|(name, part)| (name.as_str(), *part)).collect();
        let told = open.append(py, size, |appender| appender.append(rows, &parts));
        told.map_err(|error| self.0.raise(error))
    }
}
