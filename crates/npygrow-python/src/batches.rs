//! `npygrow.Array.batches`.

use npygrow::{Order, View};
use numpy::PyArrayDescr;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::time::Duration;

use crate::arguments::{Integer, integer};
use crate::convert::{Owned, ndarray};
use crate::dtype::to_numpy;
use crate::errors::{MismatchError, raise};
use crate::guard::Guarded;

/// How often a wait for the disk looks whether Ctrl-C was pressed.
const SLICE: Duration = Duration::from_millis(50);

/// The rows of an `Array`, batch by batch: an iterator of ndarrays, made by `Array.batches`.
#[pyclass(frozen, module = "npygrow")]
pub(crate) struct Batches {
    /// `None` when closed.
    batches: Guarded<Option<npygrow::Batches>>,
    dtype: Py<PyArrayDescr>,
    /// The row shape, with a place for the growth axis.
    shape: Vec<u64>,
    order: Order,
}

#[pymethods]
impl Batches {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut held = self.batches.lock(py)?;
        let Some(batches) = &mut *held else { return Ok(None) };
        while !py.detach(|| batches.wait(SLICE)) {
            py.check_signals()?;
        }
        let Some(block) = py.detach(|| batches.next()) else { return Ok(None) };
        let block = block.map_err(raise)?;
        let mut shape = self.shape.clone();
        let growth = match self.order {
            Order::C => shape.first_mut(),
            Order::F => shape.last_mut(),
        };
        if let Some(growth) = growth {
            *growth = block.rows();
        }
        ndarray(py, &shape, self.dtype.bind(py), self.order, Some(Bound::new(py, Owned::new(block))?.as_any()))
            .map(Some)
    }

    /// How many batches are left.
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(usize::try_from(self.batches.lock(py)?.as_ref().map_or(0, npygrow::Batches::left))?)
    }

    /// Ends the iteration, and the reading ahead.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        *self.batches.lock(py)? = None;
        Ok(())
    }
}

impl Batches {
    pub(crate) fn of(
        py: Python<'_>,
        view: &View,
        size: &Bound<'_, PyAny>,
        shuffle: bool,
        seed: Option<&Bound<'_, PyAny>>,
        drop_last: bool,
    ) -> PyResult<Self> {
        let path = view.path().to_string_lossy().into_owned();
        let size = match integer(size)? {
            Integer::Fits(size) => size,
            // One batch of all rows.
            Integer::Above => u64::MAX,
            Integer::Below => {
                let text = format!("{path}: expected batches of one row or more, found {size}");
                return Err(MismatchError::new_err(text));
            }
        };
        if view.shape().is_empty() {
            return Err(PyValueError::new_err(format!("{path}: a single value (0-d) has no rows to make batches of")));
        }
        if seed.is_some() && !shuffle {
            return Err(PyValueError::new_err(format!("{path}: a seed is for shuffle=True")));
        }
        let seed = match seed {
            None if shuffle => Some(
                py.import("random")?.getattr("SystemRandom")?.call0()?.call_method1("getrandbits", (64,))?.extract()?,
            ),
            None => None,
            Some(seed) => match integer(seed)? {
                Integer::Fits(seed) => Some(seed),
                _ => {
                    let text = format!("{path}: expected a seed from 0 to 2**64 - 1, found {seed}");
                    return Err(PyValueError::new_err(text));
                }
            },
        };
        let batches = view.batches(size, seed, drop_last).map_err(raise)?;
        Ok(Self {
            dtype: to_numpy(py, view.dtype(), &path)?.unbind(),
            batches: Guarded::new(path, Some(batches)),
            shape: view.shape().to_vec(),
            order: view.order(),
        })
    }
}
