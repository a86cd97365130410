//! What the crate and Python name differently: dtypes, orders, paths.

use npygrow::{Dtype, Order};
use numpy::PyArrayDescr;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::fmt::Write;
use std::path::PathBuf;

use crate::errors::raise;

/// A path as Python takes it: str, bytes or os.PathLike.
pub(crate) struct FsPath(pub(crate) PathBuf);

impl<'py> FromPyObject<'_, 'py> for FsPath {
    type Error = PyErr;

    fn extract(path: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        static FSDECODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        FSDECODE.import(path.py(), "os", "fsdecode")?.call1((path,))?.extract().map(Self)
    }
}

impl FsPath {
    /// For messages.
    pub(crate) fn text(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

/// The value that `name` stands for in a table of a parameter's words.
pub(crate) fn word<T: Copy>(parameter: &str, name: &str, words: &[(&str, T)]) -> PyResult<T> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == name) {
        return Ok(*value);
    }
    let mut text = format!("{parameter} must be one of");
    for (word, _) in words {
        let _ = write!(text, " {word:?}");
    }
    Err(PyValueError::new_err(format!("{text}, not {name:?}")))
}

pub(crate) const ORDERS: [(&str, Order); 2] = [("C", Order::C), ("F", Order::F)];

pub(crate) fn order_name(order: Order) -> &'static str {
    match order {
        Order::C => "C",
        Order::F => "F",
    }
}

/// NumPy's dtype for one of a file.
pub(crate) fn to_numpy<'py>(py: Python<'py>, dtype: &Dtype, path: &str) -> PyResult<Bound<'py, PyArrayDescr>> {
    static LOADED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let dtype = LOADED.import(py, "npygrow._rows", "loaded")?.call1((dtype.descr(), path))?;
    Ok(dtype.cast_into()?)
}

/// What a file stores for a dtype of NumPy's: the crate's name for it.
pub(crate) fn to_stored(dtype: &Bound<'_, PyArrayDescr>, path: &str) -> PyResult<Dtype> {
    static SETTLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let (descr, _): (String, Py<PyAny>) =
        SETTLE.import(dtype.py(), "npygrow._rows", "settle")?.call1((dtype, path))?.extract()?;
    descr.parse().map_err(raise)
}
