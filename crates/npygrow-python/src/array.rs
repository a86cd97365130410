//! `npygrow.open` and `npygrow.Array`.

use npygrow::View;
use numpy::PyArrayDescr;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::types::{PyDict, PyIterator, PyRange, PyTuple};
use pyo3::{IntoPyObjectExt, intern};

use crate::convert::{Mapping, range};
use crate::dtype::{FsPath, order_name, to_numpy};
use crate::errors::raise;
use crate::guard::Guarded;

/// Maps an .npy file: nothing is loaded until it is read.
///
/// Parameters
/// ----------
/// path : str, bytes or os.PathLike
///     The file.
/// max_header_size : int
///     Refuse longer headers, as `numpy.load` does.
///
/// Returns
/// -------
/// Array
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
#[pyo3(signature = (path, *, max_header_size=10_000))]
pub(crate) fn open(py: Python<'_>, path: FsPath, max_header_size: u64) -> PyResult<Array> {
    let view = py.detach(|| View::open(&path.0, max_header_size)).map_err(raise)?;
    let name = path.text();
    let array = array_over(py, &view, &name)?.unbind();
    Ok(Array { mapped: Guarded::new(name, Some(Mapped { view, array })) })
}

/// The rows of a mapped .npy file, made by `open`.
///
/// Indexing gives read-only ndarrays over the mapping. They keep it, also when this object is refreshed or closed.
/// It is an array to NumPy's functions, and a context manager.
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
    fn refresh<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyRange>> {
        let rows = self.with(py, |mapped| {
            let rows = py.detach(|| mapped.view.refresh()).map_err(|error| raise(error.at(self.path())))?;
            if !rows.is_empty() {
                mapped.array = array_over(py, &mapped.view, self.path())?.unbind();
            }
            Ok(rows)
        })?;
        range(py, rows)
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
    fn dtype<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDescr>> {
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

    /// "C": axis 0 grows; "F": the last axis grows.
    #[getter]
    fn order(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.with(py, |mapped| Ok(order_name(mapped.view.order())))
    }

    /// The path, as it was given.
    #[getter]
    fn path(&self) -> &str {
        self.mapped.path()
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.mapped.lock(py)?.is_none())
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.array(py)?.len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.array(py)?.try_iter()
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.array(key.py())?.get_item(key)
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
            (true, Some(true)) => array.call_method0(intern!(py, "copy")),
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
        let (shape, dtype) = (self.shape(py)?, self.dtype(py)?.repr()?);
        Ok(format!("<npygrow.Array {path}, shape={shape}, dtype={dtype}, order='{}'>", self.order(py)?))
    }
}

impl Array {
    fn with<R>(&self, py: Python<'_>, verb: impl FnOnce(&mut Mapped) -> PyResult<R>) -> PyResult<R> {
        match &mut *self.mapped.lock(py)? {
            Some(mapped) => verb(mapped),
            None => {
                let text = format!("{}: the array is closed: open it again with npygrow.open", self.path());
                Err(PyValueError::new_err(text))
            }
        }
    }

    fn array<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.with(py, |mapped| Ok(mapped.array.bind(py).clone()))
    }

    fn attribute<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.array(py)?.getattr(name)
    }
}

/// A read-only ndarray over the rows of `view`, which keeps the mapping as long as it lives.
fn array_over<'py>(py: Python<'py>, view: &View, path: &str) -> PyResult<Bound<'py, PyAny>> {
    let arguments = PyDict::new(py);
    arguments.set_item("shape", PyTuple::new(py, view.shape())?)?;
    arguments.set_item("dtype", to_numpy(py, view.dtype(), path)?)?;
    arguments.set_item("order", order_name(view.order()))?;
    if !view.bytes().is_empty() {
        arguments.set_item("buffer", Bound::new(py, Mapping(view.clone()))?)?;
    }
    let array = py.import("numpy")?.getattr("ndarray")?.call((), Some(&arguments))?;
    array.getattr("flags")?.setattr("writeable", false)?;
    Ok(array)
}
