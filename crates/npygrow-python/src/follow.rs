//! `Array.follow`: blocks of rows as they are committed.

use npygrow::{Access, Order, Reader};
use numpy::PyArrayDescr;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;
use std::time::{Duration, Instant};

use crate::array::Array;
use crate::convert::ndarray;
use crate::errors::{MismatchError, raise};
use crate::guard::Guarded;

/// The bytes of a block, unless one row takes more.
const BLOCK: u64 = 4 << 20;
/// How often a wait looks whether Ctrl-C was pressed, or the array closed.
const SLICE: Duration = Duration::from_millis(200);

/// The iterator of `Array.follow`.
#[pyclass(frozen, module = "npygrow._native")]
pub(crate) struct Follower {
    array: Py<Array>,
    timeout: Option<Duration>,
    /// `None` once it has ended: then the file is given back.
    following: Guarded<Option<Following>>,
}

struct Following {
    /// Has its own count of the rows, and never maps one.
    reader: Reader,
    /// The first row that is not yielded yet.
    next: u64,
    dtype: Py<PyArrayDescr>,
}

impl Follower {
    pub(crate) fn new(array: Bound<'_, Array>, timeout: Option<f64>, start: Option<i64>) -> PyResult<Self> {
        let path = array.get().path().to_owned();
        let seconds = |seconds| {
            if seconds == f64::INFINITY {
                return Ok(Duration::MAX);
            }
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| PyValueError::new_err(format!("timeout must be seconds, 0 or more, not {seconds}")))
        };
        let timeout = timeout.map(seconds).transpose()?;
        let view = array.get().view(array.py())?;
        if view.access() == Access::Copy {
            return Err(MismatchError::new_err(format!(
                "{path}: a private copy does not grow with its file: open it again"
            )));
        }
        if view.shape().is_empty() {
            return Err(PyValueError::new_err(format!("{path}: a single value (0-d) has no rows to follow")));
        }
        let next = match start {
            None => view.len(),
            Some(start @ 0..) => view.len().min(start.unsigned_abs()),
            Some(start) => view.len().saturating_sub(start.unsigned_abs()),
        };
        let reader = view.reader().map_err(raise)?;
        let following = Following { reader, next, dtype: array.get().dtype(array.py())?.unbind() };
        Ok(Follower { array: array.unbind(), timeout, following: Guarded::new(path, Some(following)) })
    }
}

#[pymethods]
impl Follower {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut held = self.following.lock(py)?;
        let Some(following) = &mut *held else { return Ok(None) };
        if self.waited(py, following)? {
            return following.block(py).map(Some);
        }
        *held = None;
        Ok(None)
    }
}

impl Follower {
    /// Waits for a row to yield; `false` when there is none in time, or the array is closed.
    fn waited(&self, py: Python<'_>, following: &mut Following) -> PyResult<bool> {
        let start = Instant::now();
        let array = self.array.get();
        loop {
            py.check_signals()?;
            if array.closed(py)? {
                return Ok(false);
            }
            if following.next < following.reader.len() {
                break;
            }
            let left = self.timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
            let slice = left.map_or(SLICE, |left| left.min(SLICE));
            let new = py.detach(|| following.reader.wait(Some(slice))).map_err(raise)?;
            if new.is_empty() && left.is_some_and(|left| left <= slice) {
                return Ok(false);
            }
        }
        match array.refresh(py) {
            // By another thread, just now.
            Err(_) if array.closed(py)? => Ok(false),
            done => done.map(|_| true),
        }
    }
}

impl Following {
    /// The next rows, read into memory of their own.
    fn block<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Following { reader, next, dtype } = self;
        let most = BLOCK.checked_div(reader.row_size()).map_or(u64::MAX, |rows| rows.max(1));
        let rows = *next..reader.len().min(next.saturating_add(most));
        let order = reader.order();
        let mut shape = reader.shape().to_vec();
        let growing = if order == Order::C { shape.first_mut() } else { shape.last_mut() };
        growing.into_iter().for_each(|axis| *axis = rows.end - rows.start);

        let size = usize::try_from((rows.end - rows.start) * reader.row_size())?;
        let range = rows.clone();
        let read = |bytes: &mut [u8]| py.detach(move || reader.read_into(range, bytes)).map_err(raise);
        let bytes = if size > 0 { Some(PyByteArray::new_with(py, size, read)?) } else { None };
        *next = rows.end;
        ndarray(py, &shape, dtype.bind(py), order, bytes.as_ref().map(|bytes| (bytes.as_any(), 0)))
    }
}
