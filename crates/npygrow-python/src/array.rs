//! `npygrow.open` and `npygrow.Array`.

use npygrow::{Access, Bookmark, Health, Order, View};
use numpy::PyArrayDescr;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::types::{PyCapsule, PyIterator, PyRange, PyTuple};
use pyo3::{IntoPyObjectExt, intern};
use std::path::PathBuf;

use crate::arguments::{header_size, position};
use crate::arrow::{Arrow, Capsules};
use crate::batches::{self, Batches};
use crate::convert::{Mapping, ndarray, range};
use crate::dtype::{FsPath, order_name, to_numpy, word};
use crate::errors::raise;
use crate::follow::Follower;
use crate::gather;
use crate::guard::Guarded;

/// Maps an .npy file, or a folder of them: nothing is loaded until it is read.
///
/// Parameters
/// ----------
/// path : str, bytes or os.PathLike
///     The file; or the folder of a `Ragged`, which has a values.npy or an offsets.npy, or else of a `Dataset`.
/// mode : {"r", "r+", "c"}
///     Read the values; change them in the file; change a copy of them that nobody else sees. As `numpy.load` has them.
///     Folders are opened for reading alone.
/// max_header_size : int
///     Refuse longer headers, as `numpy.load` does.
///
/// Returns
/// -------
/// Array, Ragged or Dataset
///
/// Raises
/// ------
/// FormatError
///     It is no .npy file, or one of Python objects.
/// NeedsRecoveryError
///     It holds fewer rows than its header counts.
///
/// Examples
/// --------
/// >>> import os, tempfile
/// >>> import numpy as np, npygrow as ng
/// >>> path = os.path.join(tempfile.mkdtemp(), "pose.npy")
/// >>> ng.append(path, np.arange(6, dtype="i4").reshape(2, 3))
/// range(0, 2)
/// >>> pose = ng.open(path)
/// >>> pose.shape, pose[1:].tolist()
/// ((2, 3), [[3, 4, 5]])
/// >>> ng.append(path, np.ones((1, 3), "i4"))
/// range(2, 3)
/// >>> pose.refresh()
/// range(2, 3)
#[pyfunction]
#[pyo3(signature = (path, mode="r", *, max_header_size=10_000))]
pub(crate) fn open<'py>(
    py: Python<'py>,
    path: FsPath,
    mode: &str,
    #[pyo3(from_py_with = header_size)] max_header_size: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let access = word("mode", mode, &MODES)?;
    match py.detach(|| View::open_with(&path.0, access, max_header_size)) {
        Ok(view) => Ok(Bound::new(py, Array::of(py, view)?)?.into_any()),
        Err(_) if path.0.is_dir() => {
            py.import("npygrow._dataset")?.call_method1("open_folder", (path.0, mode, max_header_size))
        }
        Err(error) => Err(raise(error)),
    }
}

/// The words of `open`'s parameter `mode`, and of `open_sequence`'s.
pub(crate) const MODES: [(&str, Access); 3] = [("r", Access::Read), ("r+", Access::Write), ("c", Access::Copy)];

/// What a pickle of an `Array` calls: the same rows of the same file, or an error.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "a bookmark's fields")]
#[pyo3(signature = (path, file, made, what, part, rows, mode, max_header_size))]
pub(crate) fn _reopen(
    py: Python<'_>,
    path: FsPath,
    file: Option<u64>,
    made: Option<u64>,
    what: Option<String>,
    part: (u64, Option<u64>),
    rows: u64,
    mode: &str,
    max_header_size: u64,
) -> PyResult<Array> {
    let access = word("mode", mode, &MODES)?;
    let bookmark = Bookmark { path: path.0, file, made, what, part, rows, access, max_header_size };
    Array::of(py, py.detach(|| bookmark.open()).map_err(raise)?)
}

/// What a block of rows may take.
const CHUNK: u64 = 4 << 20;

/// The arguments of `_reopen`.
type Reopened = (PathBuf, Option<u64>, Option<u64>, Option<String>, (u64, Option<u64>), u64, &'static str, u64);

/// The rows of a mapped .npy file, made by `open`.
///
/// Indexing gives ndarrays over the mapping, read-only unless the mode says otherwise. They keep it, also when this object
/// is refreshed or closed. It is an array to NumPy's functions, and to those of dask and of libraries that take Arrow's data;
/// and a context manager. A pickle of it names the file and the rows, and holds none.
#[pyclass(frozen, weakref, module = "npygrow")]
pub(crate) struct Array {
    mapped: Guarded<Option<Mapped>>,
}

struct Mapped {
    view: View,
    array: Py<PyAny>,
}

#[pymethods]
impl Array {
    /// Looks for rows that were appended since, and maps them.
    ///
    /// Returns
    /// -------
    /// range
    ///     The numbers of the new rows.
    pub(crate) fn refresh<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyRange>> {
        let rows = self.with(py, |mapped| {
            let rows = py.detach(|| mapped.view.refresh()).map_err(raise)?;
            if !rows.is_empty() {
                mapped.array = array_over(py, &mapped.view, self.path())?.unbind();
            }
            Ok(rows)
        })?;
        range(py, rows)
    }

    /// Waits for new rows, and yields them in blocks as they are committed.
    ///
    /// The waiting costs next to nothing. This array is refreshed as rows are yielded. Every iterator has a place of its own:
    /// two of them yield all rows each. A writer that is closed and comes back is not noticed; `close` ends the iteration.
    ///
    /// Parameters
    /// ----------
    /// timeout : float, optional
    ///     End the iteration when there was no new row for so many seconds. By default it never ends.
    /// start : int, optional
    ///     The first row to yield, as in a slice: 0 for all, -10 for the last ten and what follows. By default
    ///     ``len(self)``: the rows that are new.
    ///
    /// Yields
    /// ------
    /// ndarray
    ///     One row or more along the growth axis, at most 4 MiB of them: a copy, which nothing that happens to the file
    ///     changes.
    ///
    /// Raises
    /// ------
    /// MismatchError
    ///     The file was replaced, renamed, deleted, overwritten or cut. Rows that were committed before a replacement come
    ///     first. Also for mode "c", which does not grow.
    ///
    /// Examples
    /// --------
    /// >>> import os, tempfile
    /// >>> import numpy as np, npygrow as ng
    /// >>> path = os.path.join(tempfile.mkdtemp(), "ids.npy")
    /// >>> ng.append(path, np.arange(3))
    /// range(0, 3)
    /// >>> ids = ng.open(path)
    /// >>> new = ids.follow(timeout=0.1)
    /// >>> ng.append(path, np.arange(3, 5))
    /// range(3, 5)
    /// >>> [rows.tolist() for rows in new]
    /// [[3, 4]]
    /// >>> len(ids)
    /// 5
    #[pyo3(signature = (timeout=None, *, start=None))]
    fn follow(slf: Bound<'_, Self>, timeout: Option<f64>, start: Option<&Bound<'_, PyAny>>) -> PyResult<Follower> {
        Follower::new(slf, timeout, start.map(position).transpose()?)
    }

    /// Iterates over the rows as they are counted now, in batches, the next of which is read while you work on the last.
    ///
    /// Two batches are in memory, however many there are. Each is a fresh ndarray, which may be changed and kept.
    ///
    /// Parameters
    /// ----------
    /// size : int
    ///     The rows of a batch; the last one may have fewer.
    /// shuffle : bool
    ///     Take all rows in a random order, which costs no memory.
    /// seed : int, optional
    ///     The same order for the same seed, from 0 to 2**64 - 1; by default another each time.
    /// drop_last : bool
    ///     Leave out a last batch that is not full.
    ///
    /// Returns
    /// -------
    /// Batches
    ///     An iterator of ndarrays of shape ``(n, *row_shape)``, in Fortran order ``(*row_shape, n)``; its `len` is the
    ///     number of batches left.
    ///
    /// Raises
    /// ------
    /// MismatchError
    ///     The file was cut or replaced by another's while it was read.
    ///
    /// Examples
    /// --------
    /// >>> import os, tempfile
    /// >>> import numpy as np, npygrow as ng
    /// >>> path = os.path.join(tempfile.mkdtemp(), "ids.npy")
    /// >>> ng.save(path, np.arange(5))
    /// >>> [batch.tolist() for batch in ng.open(path).batches(2)]
    /// [[0, 1], [2, 3], [4]]
    #[pyo3(signature = (size, *, shuffle=false, seed=None, drop_last=false))]
    fn batches(
        &self,
        py: Python<'_>,
        size: &Bound<'_, PyAny>,
        shuffle: bool,
        seed: Option<&Bound<'_, PyAny>>,
        drop_last: bool,
    ) -> PyResult<Batches> {
        let given = batches::Given::new(self.path(), size, shuffle, seed, drop_last)?;
        Batches::of_view(py, &self.view(py)?, &given)
    }

    /// Makes the values that were changed in mode "r+" survive a power cut.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let view = self.view(py)?;
        py.detach(|| view.flush()).map_err(raise)
    }

    /// Gives the file back, once no array over it is left. Closing twice is fine.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        *self.mapped.lock(py)? = None;
        Ok(())
    }

    fn __enter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<Self>> {
        slf.get().array(py)?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    /// The shape, the growth axis included.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        Ok(self.attribute(py, "shape")?.cast_into()?)
    }

    /// The dtype.
    #[getter]
    pub(crate) fn dtype<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDescr>> {
        Ok(self.attribute(py, "dtype")?.cast_into()?)
    }

    /// How many axes there are.
    #[getter]
    fn ndim(&self, py: Python<'_>) -> PyResult<usize> {
        self.attribute(py, "ndim")?.extract()
    }

    /// How many elements there are.
    #[getter]
    fn size(&self, py: Python<'_>) -> PyResult<usize> {
        self.attribute(py, "size")?.extract()
    }

    /// How many bytes the elements take.
    #[getter]
    fn nbytes(&self, py: Python<'_>) -> PyResult<usize> {
        self.attribute(py, "nbytes")?.extract()
    }

    /// The shape of a block of rows of at most 4 MiB, or of one row: by this dask and others divide what they read.
    #[getter]
    fn chunks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let view = self.view(py)?;
        let mut chunks = view.shape().to_vec();
        let growing = match view.order() {
            Order::C => chunks.first_mut(),
            Order::F => chunks.last_mut(),
        };
        if let Some(rows) = growing {
            *rows = (CHUNK / view.row_size().max(1)).clamp(1, (*rows).max(1));
        }
        PyTuple::new(py, chunks)
    }

    /// "C": axis 0 grows; "F": the last axis grows.
    #[getter]
    fn order(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.with(py, |mapped| Ok(order_name(mapped.view.order())))
    }

    /// "clean", or "tail" where bytes follow the last row, "sequence" where another array does.
    #[getter]
    fn health(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.with(py, |mapped| {
            Ok(match mapped.view.health() {
                Health::Clean => "clean",
                Health::Tail { .. } => "tail",
                Health::Sequence => "sequence",
                _ => "truncated",
            })
        })
    }

    /// "r", "r+" or "c", as it was opened.
    #[getter]
    fn mode(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.with(py, |mapped| Ok(mode_name(mapped.view.access())))
    }

    /// The path, as it was given.
    #[getter]
    pub(crate) fn path(&self) -> &str {
        self.mapped.path()
    }

    /// Whether it is closed.
    #[getter]
    pub(crate) fn closed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.mapped.lock(py)?.is_none())
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.array(py)?.len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.array(py)?.try_iter()
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (array, view) = self.both(key.py())?;
        match gather::get(&view, &array, key)? {
            Some(rows) => Ok(rows),
            None => array.get_item(key),
        }
    }

    /// Copies rows by their numbers: in any order, several times, from the end where they are negative.
    ///
    /// As ``a[indices]``, but always along the growth axis, as `numpy.take` with that axis. What is in memory is copied in
    /// parallel, the rest is asked of the disk all at once; other threads of Python run meanwhile.
    ///
    /// Parameters
    /// ----------
    /// indices : array_like of int
    ///     The rows.
    /// out : ndarray, optional
    ///     Where they go: an array of the result's shape and dtype, contiguous in the file's order.
    ///
    /// Returns
    /// -------
    /// ndarray
    ///     `out`, or a fresh array.
    ///
    /// Raises
    /// ------
    /// IndexError
    ///     A row is not there. Nothing has been read then.
    /// MismatchError
    ///     The file was cut since it was opened.
    ///
    /// Examples
    /// --------
    /// >>> import os, tempfile
    /// >>> import numpy as np, npygrow as ng
    /// >>> path = os.path.join(tempfile.mkdtemp(), "ids.npy")
    /// >>> ng.save(path, np.arange(5) * 10)
    /// >>> ng.open(path).take([3, -1, 3])
    /// array([30, 40, 30])
    #[pyo3(signature = (indices, out=None))]
    fn take<'py>(&self, indices: &Bound<'py, PyAny>, out: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let (array, view) = self.both(indices.py())?;
        gather::take(&view, &array, indices, out)
    }

    /// One batch of samples, as torch's `DataLoader` asks for it: `array[indices]`.
    ///
    /// `collate_fn=torch.as_tensor` makes it a tensor without a copy; the default collation stacks its rows once more.
    fn __getitems__<'py>(&self, indices: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (array, view) = self.both(indices.py())?;
        // As many samples as `len` says, also in Fortran order.
        match view.order() {
            Order::C => gather::take(&view, &array, indices, None),
            Order::F => array.get_item(indices),
        }
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let (array, mode) =
            self.with(key.py(), |mapped| Ok((mapped.array.clone_ref(key.py()), mapped.view.access())))?;
        if mode == Access::Read {
            let text = format!("{}: opened for reading: open it with mode=\"r+\" to change its values", self.path());
            return Err(PyValueError::new_err(text));
        }
        array.bind(key.py()).set_item(key, value)
    }

    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let array = self.array(py)?;
        let dtype = dtype.map(|dtype| PyArrayDescr::new(py, dtype)).transpose()?;
        let same = dtype.as_ref().map_or(Ok(true), |dtype| array.getattr(intern!(py, "dtype"))?.eq(dtype))?;
        match (same, copy) {
            // As it lies, not as `ndarray.copy` would have it: NumPy's own copies of arrays keep their order.
            (true, Some(true)) => array.call_method1(intern!(py, "copy"), ("K",)),
            (true, _) => Ok(array),
            (false, Some(false)) => Err(PyValueError::new_err(format!(
                "{}: another dtype takes a copy, and copy=False was asked",
                self.path()
            ))),
            (false, _) => array.call_method1(intern!(py, "astype"), (dtype,)),
        }
    }

    /// As an ndarray compares: element by element.
    fn __richcmp__<'py>(&self, other: &Bound<'py, PyAny>, how: CompareOp) -> PyResult<Bound<'py, PyAny>> {
        self.array(other.py())?.rich_compare(other, how)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let path = self.path().into_bound_py_any(py)?.repr()?;
        if self.closed(py)? {
            return Ok(format!("<npygrow.Array {path}, closed>"));
        }
        let (shape, dtype, order) = (self.shape(py)?, self.dtype(py)?.repr()?, self.order(py)?);
        let (mode, health) = (self.mode(py)?, self.health(py)?);
        Ok(format!("<npygrow.Array {path}, shape={shape}, dtype={dtype}, order='{order}', mode='{mode}', {health}>"))
    }

    /// One entry for each row, as it lies in the file.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Capsules<'py>> {
        let view = self.view(py)?;
        Arrow::of_rows(py, &view, view.len())?.__arrow_c_array__(py, requested_schema)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        Arrow::of_rows(py, &self.view(py)?, 0)?.__arrow_c_schema__(py)
    }

    /// Which rows of which file it has: the same for whoever opens them. What mode "c" changes nobody else sees.
    fn __dask_tokenize__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        if self.view(py)?.access() == Access::Copy {
            let unique = py.import("uuid")?.call_method0("uuid4")?.getattr("hex")?;
            return PyTuple::new(py, [unique]);
        }
        ("npygrow.Array", self.__reduce__(py)?.1).into_pyobject(py)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Reopened)> {
        let view = self.view(py)?;
        let Bookmark { path, file, made, what, part, rows, access, max_header_size } =
            view.bookmark().map_err(raise)?;
        let reopen = py.import("npygrow._native")?.getattr("_reopen")?;
        Ok((reopen, (path, file, made, what, part, rows, mode_name(access), max_header_size)))
    }
}

impl Array {
    pub(crate) fn of(py: Python<'_>, view: View) -> PyResult<Self> {
        let name = view.path().to_string_lossy().into_owned();
        let array = array_over(py, &view, &name)?.unbind();
        Ok(Array { mapped: Guarded::new(name, Some(Mapped { view, array })) })
    }

    /// The view as it is now, for work without the lock.
    pub(crate) fn view(&self, py: Python<'_>) -> PyResult<View> {
        self.with(py, |mapped| Ok(mapped.view.clone()))
    }

    /// The ndarray over all rows, and what it is over.
    fn both<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, View)> {
        self.with(py, |mapped| Ok((mapped.array.bind(py).clone(), mapped.view.clone())))
    }

    fn with<R>(&self, py: Python<'_>, verb: impl FnOnce(&mut Mapped) -> PyResult<R>) -> PyResult<R> {
        match &mut *self.mapped.lock(py)? {
            Some(mapped) => verb(mapped),
            None => {
                let text = format!("{}: the array is closed: open it again with npygrow.open", self.path());
                Err(PyValueError::new_err(text))
            }
        }
    }

    /// The ndarray over all rows.
    pub(crate) fn array<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.with(py, |mapped| Ok(mapped.array.bind(py).clone()))
    }

    fn attribute<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.array(py)?.getattr(name)
    }
}

pub(crate) fn mode_name(access: Access) -> &'static str {
    MODES.iter().find(|(_, of)| *of == access).map_or("", |(name, _)| name)
}

/// An ndarray over the rows of `view`, which keeps the mapping as long as it lives.
pub(crate) fn array_over<'py>(py: Python<'py>, view: &View, path: &str) -> PyResult<Bound<'py, PyAny>> {
    let mapping = if view.bytes().is_empty() { None } else { Some(Bound::new(py, Mapping(view.clone()))?) };
    let dtype = to_numpy(py, view.dtype(), path)?;
    let array = ndarray(py, view.shape(), &dtype, view.order(), mapping.as_ref().map(|mapping| (mapping.as_any(), 0)))?;
    if view.access() == Access::Read {
        array.getattr("flags")?.setattr("writeable", false)?;
    }
    Ok(array)
}
