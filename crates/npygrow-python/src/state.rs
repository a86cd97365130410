//! What a Python appender is made of: the crate's appender at work, or what stays known of it.

use npygrow::ErrorKind;
use numpy::PyArrayDescr;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::{Arc, Mutex, PoisonError};

use crate::convert::Fit;
use crate::dtype::{order_name, to_numpy};
use crate::errors::raise;

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
    pub(crate) appender: npygrow::Appender,
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

impl Interrupt {
    pub(crate) fn poll(&self) -> npygrow::Result<()> {
        self.call(|_| Ok(()))
    }

    /// Lets signal handlers run, then `work`.
    pub(crate) fn call(&self, work: impl FnOnce(Python<'_>) -> PyResult<()>) -> npygrow::Result<()> {
        let called = Python::try_attach(|py| py.check_signals().and_then(|()| work(py)));
        called.unwrap_or(Ok(())).map_err(|error| {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            npygrow::Error::new(ErrorKind::Io, "interrupted")
        })
    }

    pub(crate) fn raise(&self, error: npygrow::Error) -> PyErr {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_else(|| raise(error))
    }
}

impl Open {
    /// Whether this many bytes stay in memory, where letting go of the interpreter would cost more than the copy.
    pub(crate) fn is_buffered(&self, row_size: u64, bytes: usize) -> bool {
        let waiting = (self.appender.len() - self.appender.committed()) * row_size;
        waiting + (bytes as u64) < self.buffering
    }

    pub(crate) fn fit(&mut self, py: Python<'_>, path: &str) -> PyResult<Option<&mut Fit>> {
        if self.fit.is_none()
            && let (Some(dtype), Some(row_shape), Some(row_size)) =
                (self.appender.dtype(), self.appender.row_shape(), self.appender.row_size())
        {
            let dtype = to_numpy(py, dtype, path)?;
            self.fit = Some(Fit::new(&dtype, row_shape, row_size, self.appender.order())?);
        }
        Ok(self.fit.as_mut())
    }

    pub(crate) fn dtype<'py>(&mut self, py: Python<'py>, path: &str) -> PyResult<Option<Bound<'py, PyArrayDescr>>> {
        if let Some(fit) = self.fit(py, path)? {
            return Ok(Some(fit.dtype(py)));
        }
        self.appender.dtype().map(|dtype| to_numpy(py, dtype, path)).transpose()
    }

    pub(crate) fn facts(&mut self, py: Python<'_>, path: &str) -> PyResult<Facts> {
        Ok(Facts {
            dtype: self.dtype(py, path)?.map(Bound::unbind),
            rows: self.appender.len(),
            row_shape: self.appender.row_shape().map(<[u64]>::to_vec),
            order: order_name(self.appender.order()),
            dropped: self.appender.dropped(),
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
