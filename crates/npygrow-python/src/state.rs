//! What a Python appender is made of: the crate's appender at work, or what stays known of it.

use npygrow::ErrorKind;
use numpy::PyArrayDescr;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::{Arc, Mutex, PoisonError};

use crate::convert::Fit;
use crate::dtype::{order_name, to_numpy};
use crate::errors::raise;
use crate::writer::Writer;

/// What an appender holds.
pub(crate) enum State {
    Open(Box<Open>),
    Closed(Facts),
}

impl Default for State {
    fn default() -> Self {
        Self::Closed(Facts::default())
    }
}

/// An appender at work.
pub(crate) struct Open {
    pub(crate) writer: Writer,
    /// Bytes that may gather in memory.
    pub(crate) buffering: u64,
    /// What passes without a check in Python; `None` until dtype and row shape are settled.
    pub(crate) fit: Option<Fit>,
}

/// What stays known of a closed appender.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) rows: u64,
    row_shape: Option<Vec<u64>>,
    pub(crate) dtype: Option<Py<PyArrayDescr>>,
    pub(crate) order: &'static str,
    pub(crate) dropped: npygrow::Dropped,
}

/// The exception that ended a wait or long work, on its way around the crate's own error.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<Mutex<Option<PyErr>>>);

const INTERRUPTED: &str = "interrupted";

impl Interrupt {
    pub(crate) fn poll(&self) -> npygrow::Result<()> {
        self.call(|_| Ok(()))
    }

    /// Lets signal handlers run, then `work`.
    pub(crate) fn call(&self, work: impl FnOnce(Python<'_>) -> PyResult<()>) -> npygrow::Result<()> {
        let called = Python::try_attach(|py| py.check_signals().and_then(|()| work(py)));
        called.unwrap_or(Ok(())).map_err(|error| {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            npygrow::Error::new(ErrorKind::Io, INTERRUPTED)
        })
    }

    pub(crate) fn raise(&self, error: npygrow::Error) -> PyErr {
        // Another thread's error is its own. What the work had to undo may be told after it.
        let waited = error.kind() == ErrorKind::Io && error.detail().starts_with(INTERRUPTED);
        let interrupted = || self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        waited.then(interrupted).flatten().unwrap_or_else(|| raise(error))
    }
}

impl Open {
    pub(crate) fn fit(&mut self, py: Python<'_>, path: &str) -> PyResult<Option<&mut Fit>> {
        if self.fit.is_none()
            && let (Some(dtype), Some(row_shape), Some(row_size)) =
                (self.writer.dtype(), self.writer.row_shape(), self.writer.row_size())
        {
            let dtype = to_numpy(py, dtype, path)?;
            self.fit = Some(Fit::new(&dtype, row_shape, row_size, self.writer.order())?);
        }
        Ok(self.fit.as_mut())
    }

    pub(crate) fn dtype<'py>(&mut self, py: Python<'py>, path: &str) -> PyResult<Option<Bound<'py, PyArrayDescr>>> {
        if let Some(fit) = self.fit(py, path)? {
            return Ok(Some(fit.dtype(py)));
        }
        self.writer.dtype().map(|dtype| to_numpy(py, dtype, path)).transpose()
    }

    pub(crate) fn facts(&mut self, py: Python<'_>, path: &str) -> PyResult<Facts> {
        Ok(Facts {
            dtype: self.dtype(py, path)?.map(Bound::unbind),
            rows: self.writer.len(),
            row_shape: self.writer.row_shape().map(<[u64]>::to_vec),
            order: order_name(self.writer.order()),
            dropped: self.writer.dropped(),
        })
    }
}

impl Facts {
    pub(crate) fn shape<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let Some(mut shape) = self.row_shape.clone() else { return Ok(None) };
        shape.insert(if self.order == "C" { 0 } else { shape.len() }, self.rows);
        PyTuple::new(py, shape).map(Some)
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        let dtype = self.dtype.as_ref().map(|dtype| dtype.clone_ref(py));
        Self { row_shape: self.row_shape.clone(), dtype, ..*self }
    }
}
