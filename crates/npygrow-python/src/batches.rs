//! What `batches` of `Array`, `Ragged` and `Dataset` gives.

use npygrow::{Block, Column, ColumnPart, Dataset, Order, Ragged, View};
use numpy::PyArrayDescr;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::time::Duration;

use crate::arguments::{Integer, integer};
use crate::convert::{Owned, ndarray, split};
use crate::dtype::to_numpy;
use crate::errors::{MismatchError, raise};
use crate::guard::Guarded;

/// How often a wait for the disk looks whether Ctrl-C was pressed.
const SLICE: Duration = Duration::from_millis(50);

/// Rows batch by batch: an iterator of what `take` gives, made by `batches` of `Array`, `Ragged` and `Dataset`.
///
/// A thread reads the next batch while you work on the last. What arrays lie over is used again once they are gone.
#[pyclass(frozen, module = "npygrow")]
pub(crate) struct Batches {
    /// `None` when closed.
    batches: Guarded<Option<npygrow::Batches>>,
    columns: Vec<Shown>,
    /// Whether a batch is a dict of the columns' parts, or the only one's.
    named: bool,
}

/// A column, and what its part of a batch becomes.
struct Shown {
    name: String,
    dtype: Py<PyArrayDescr>,
    /// The row shape, with a place for the growth axis.
    shape: Vec<u64>,
    order: Order,
}

impl Shown {
    fn of(py: Python<'_>, name: &str, view: &View) -> PyResult<Self> {
        let path = view.path().to_string_lossy();
        Ok(Self {
            name: name.into(),
            dtype: to_numpy(py, view.dtype(), &path)?.unbind(),
            shape: view.shape().to_vec(),
            order: view.order(),
        })
    }

    /// So many rows that begin at `start` in `owned`.
    fn rows<'py>(&self, rows: u64, owned: &Bound<'py, PyAny>, start: usize) -> PyResult<Bound<'py, PyAny>> {
        let mut shape = self.shape.clone();
        let growth = match self.order {
            Order::C => shape.first_mut(),
            Order::F => shape.last_mut(),
        };
        if let Some(growth) = growth {
            *growth = rows;
        }
        ndarray(owned.py(), &shape, self.dtype.bind(owned.py()), self.order, Some((owned, start)))
    }
}

/// What the constructor is given for every kind.
pub(crate) struct Given {
    pub(crate) size: u64,
    pub(crate) seed: Option<u64>,
    pub(crate) drop_last: bool,
}

impl Given {
    pub(crate) fn new(
        path: &str,
        size: &Bound<'_, PyAny>,
        shuffle: bool,
        seed: Option<&Bound<'_, PyAny>>,
        drop_last: bool,
    ) -> PyResult<Self> {
        let py = size.py();
        let size = match integer(size)? {
            Integer::Fits(0) | Integer::Below => {
                let text = format!("{path}: expected batches of one row or more, found {size}");
                return Err(MismatchError::new_err(text));
            }
            Integer::Fits(size) => size,
            // One batch of all rows.
            Integer::Above => u64::MAX,
        };
        let seed = match seed {
            Some(_) if !shuffle => return Err(PyValueError::new_err(format!("{path}: a seed is for shuffle=True"))),
            Some(seed) => {
                let Integer::Fits(seed) = integer(seed)? else {
                    let text = format!("{path}: expected a seed from 0 to 2**64 - 1, found {seed}");
                    return Err(PyValueError::new_err(text));
                };
                Some(seed)
            }
            None if shuffle => {
                let chance = py.import("random")?.getattr("SystemRandom")?.call0()?;
                Some(chance.call_method1("getrandbits", (64,))?.extract()?)
            }
            None => None,
        };
        Ok(Self { size, seed, drop_last })
    }
}

/// How many batches a bucket has.
pub(crate) fn batches_of(path: &str, bucket: &Bound<'_, PyAny>) -> PyResult<u64> {
    match integer(bucket)? {
        Integer::Fits(0) | Integer::Below => {
            Err(PyValueError::new_err(format!("{path}: expected buckets of one batch or more, found {bucket}")))
        }
        Integer::Fits(batches) => Ok(batches),
        Integer::Above => Ok(u64::MAX),
    }
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
        self.show(py, block.map_err(raise)?).map(Some)
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

    #[classmethod]
    fn __class_getitem__<'py>(
        cls: &Bound<'py, pyo3::types::PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        cls.py().import("types")?.call_method1("GenericAlias", (cls, item))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err("batches cannot be pickled: send what they are made of"))
    }
}

impl Batches {
    pub(crate) fn of_view(py: Python<'_>, view: &View, given: &Given) -> PyResult<Self> {
        let path = view.path().to_string_lossy().into_owned();
        if view.shape().is_empty() {
            return Err(PyValueError::new_err(format!("{path}: a single value (0-d) has no rows to make batches of")));
        }
        let batches = view.batches(given.size, given.seed, given.drop_last).map_err(raise)?;
        let columns = vec![Shown::of(py, "", view)?];
        Ok(Self { batches: Guarded::new(path, Some(batches)), columns, named: false })
    }

    /// `numbers`: of a slice the first item, the step and how many there are.
    pub(crate) fn of_ragged(
        py: Python<'_>,
        ragged: &Ragged,
        given: &Given,
        bucket: Option<u64>,
        numbers: Option<(u64, i64, u64)>,
    ) -> PyResult<Self> {
        let path = ragged.path().to_string_lossy().into_owned();
        let mut batches = ragged.batches(given.size, given.seed, given.drop_last, bucket).map_err(raise)?;
        if let Some((first, step, count)) = numbers {
            batches = batches.pick(first, step, count);
        }
        let columns = vec![Shown::of(py, "", ragged.values())?];
        Ok(Self { batches: Guarded::new(path, Some(batches)), columns, named: false })
    }

    pub(crate) fn of_dataset(
        py: Python<'_>,
        dataset: &Dataset,
        given: &Given,
        bucket: Option<(&str, u64)>,
    ) -> PyResult<Self> {
        let path = dataset.path().to_string_lossy().into_owned();
        let batches = dataset.batches(given.size, given.seed, given.drop_last, bucket).map_err(raise)?;
        let columns = dataset.columns().map(|(name, column)| match column {
            Column::Plain(view) => Shown::of(py, name, view),
            Column::Ragged(ragged) => Shown::of(py, name, ragged.values()),
        });
        let columns = columns.collect::<PyResult<_>>()?;
        Ok(Self { batches: Guarded::new(path, Some(batches)), columns, named: true })
    }

    fn show<'py>(&self, py: Python<'py>, block: Block) -> PyResult<Bound<'py, PyAny>> {
        let lengths = |part: ColumnPart<'_>| match part {
            ColumnPart::Rows(_) => None,
            ColumnPart::Items { lengths, .. } => Some(lengths.to_vec()),
        };
        let parts: Vec<_> = block.starts().zip(block.parts().map(lengths)).collect();
        let rows = block.rows();
        let owned = Bound::new(py, Owned::new(block))?.into_any();
        let dict = PyDict::new(py);
        for (column, (start, lengths)) in self.columns.iter().zip(parts) {
            let shown = match lengths {
                Some(lengths) => items(&column.rows(lengths.iter().sum(), &owned, start)?, &lengths)?.into_any(),
                None if self.named && column.order == Order::F => {
                    // Rows lie along the first axis in every column of a dataset.
                    py.import("numpy")?.call_method1("moveaxis", (column.rows(rows, &owned, start)?, -1, 0))?
                }
                None => column.rows(rows, &owned, start)?,
            };
            if !self.named {
                return Ok(shown);
            }
            dict.set_item(&column.name, shown)?;
        }
        Ok(dict.into_any())
    }
}

/// Items that lie one after the other in `values`.
fn items<'py>(values: &Bound<'py, PyAny>, lengths: &[u64]) -> PyResult<Bound<'py, PyList>> {
    let ends = lengths.iter().scan(0_i64, |end, &length| {
        *end = end.saturating_add_unsigned(length);
        Some(*end)
    });
    split(values, &ends.collect::<Vec<_>>())
}
