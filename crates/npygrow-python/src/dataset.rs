//! What `npygrow.Dataset` maps: the columns of a folder.

use npygrow::{Column, ColumnBookmark, Dataset, DatasetBookmark};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyRange};
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::arguments::header_size;
use crate::array::Array;
use crate::arrow::Arrow;
use crate::batches::{Batches, Given, batches_of};
use crate::convert::range;
use crate::dtype::FsPath;
use crate::errors::raise;
use crate::guard::Guarded;
use crate::ragged::{Items, Marked, MarkedItems, Waiter, marked, marked_items, unmarked, unmarked_items};

/// The columns of a mapped folder, all with as many rows: what `npygrow.Dataset` shows.
#[pyclass(frozen, module = "npygrow._native")]
pub(crate) struct Columns {
    mapped: Guarded<Option<Mapped>>,
}

struct Mapped {
    dataset: Dataset,
    /// Made once for all reads. Nobody else gets them, who could refresh or close them.
    columns: Py<PyDict>,
}

/// The arguments of `_reopen_columns`: a `DatasetBookmark`.
type Reopened = (PathBuf, BTreeMap<String, Marked>, BTreeMap<String, MarkedItems>, u64, u64);

/// What a pickle of `Columns` calls: the same rows of the same folder, or an error.
#[pyfunction]
pub(crate) fn _reopen_columns(
    py: Python<'_>,
    path: FsPath,
    plain: BTreeMap<String, Marked>,
    ragged: BTreeMap<String, MarkedItems>,
    rows: u64,
    max_header_size: u64,
) -> PyResult<Columns> {
    let plain = plain.into_iter().map(|(name, column)| (name, ColumnBookmark::Plain(unmarked(column))));
    let ragged = ragged.into_iter().map(|(name, column)| (name, ColumnBookmark::Ragged(unmarked_items(column))));
    let bookmark = DatasetBookmark { path: path.0, columns: plain.chain(ragged).collect(), rows, max_header_size };
    Columns::of(py, py.detach(|| bookmark.open()).map_err(raise)?)
}

#[pymethods]
impl Columns {
    #[new]
    fn new(py: Python<'_>, path: FsPath, #[pyo3(from_py_with = header_size)] max_header_size: u64) -> PyResult<Self> {
        Columns::of(py, py.detach(|| Dataset::open(&path.0, max_header_size)).map_err(raise)?)
    }

    /// Looks for rows that every column has by now, and says which are new.
    fn refresh<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyRange>> {
        let rows = self.with(py, |mapped| {
            let mut dataset = mapped.dataset.clone();
            let rows = py.detach(|| dataset.refresh()).map_err(raise)?;
            *mapped = Mapped::of(py, dataset)?;
            Ok(rows)
        })?;
        range(py, rows)
    }

    /// Gives the files back, once no array over them is left.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        *self.mapped.lock(py)? = None;
        Ok(())
    }

    /// How many rows there are, and the columns to read them from: not to be handed out.
    fn shared<'py>(&self, py: Python<'py>) -> PyResult<(u64, Bound<'py, PyDict>)> {
        self.with(py, |mapped| Ok((mapped.dataset.len(), mapped.columns.bind(py).clone())))
    }

    /// The columns as they are now, made for whoever asks.
    fn columns<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        columns(py, &self.dataset(py)?)
    }

    /// The rows in batches, in buckets by the lengths of the column `by`.
    #[pyo3(signature = (size, shuffle, seed, drop_last, bucket, by))]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn batches(
        &self,
        py: Python<'_>,
        size: &Bound<'_, PyAny>,
        shuffle: bool,
        seed: Option<&Bound<'_, PyAny>>,
        drop_last: bool,
        bucket: Option<&Bound<'_, PyAny>>,
        by: Option<&str>,
    ) -> PyResult<Batches> {
        let dataset = self.dataset(py)?;
        let given = Given::new(self.path(), size, shuffle, seed, drop_last)?;
        let bucket = match (bucket, by) {
            (None, None) => None,
            (None, Some(_)) => {
                let text = format!(
                    "{}: by names the column whose lengths a bucket is sorted by: give bucket too",
                    self.path()
                );
                return Err(PyValueError::new_err(text));
            }
            (Some(bucket), by) => Some((
                by.map_or_else(|| self.only_ragged(&dataset), |by| Ok(by.into()))?,
                batches_of(self.path(), bucket)?,
            )),
        };
        let bucket = bucket.as_ref().map(|(by, batches)| (by.as_str(), *batches));
        Batches::of_dataset(py, &dataset, &given, bucket)
    }

    /// The columns as Arrow has them; the named ones are text. Without any rows: for their types alone.
    fn arrow(&self, py: Python<'_>, text: Vec<String>, rows: bool) -> PyResult<Arrow> {
        let dataset = self.dataset(py)?;
        let dataset = if rows { dataset } else { dataset.first(0).map_err(raise)? };
        Arrow::of_columns(py, &dataset, &text)
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

    /// Waits for more in the last column, which an appender counts last.
    fn waiter(&self, py: Python<'_>) -> PyResult<Option<Waiter>> {
        let dataset = self.dataset(py)?;
        let last = dataset.columns().last().map(|(_, column)| match column {
            Column::Plain(view) => view,
            Column::Ragged(ragged) => ragged.offsets(),
        });
        last.map(Waiter::of).transpose()
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |mapped| Ok(usize::try_from(mapped.dataset.len())?))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Reopened)> {
        let DatasetBookmark { path, columns, rows, max_header_size } = self.dataset(py)?.bookmark().map_err(raise)?;
        let (mut plain, mut ragged) = (BTreeMap::new(), BTreeMap::new());
        for (name, column) in columns {
            match column {
                ColumnBookmark::Plain(column) => drop(plain.insert(name, marked(column))),
                ColumnBookmark::Ragged(column) => drop(ragged.insert(name, marked_items(column))),
            }
        }
        let reopen = py.import("npygrow._native")?.getattr("_reopen_columns")?;
        Ok((reopen, (path, plain, ragged, rows, max_header_size)))
    }
}

impl Columns {
    fn of(py: Python<'_>, dataset: Dataset) -> PyResult<Self> {
        let path = dataset.path().to_string_lossy().into_owned();
        Ok(Columns { mapped: Guarded::new(path, Some(Mapped::of(py, dataset)?)) })
    }

    /// The ragged column, where there is one.
    fn only_ragged(&self, dataset: &Dataset) -> PyResult<String> {
        let ragged = dataset.columns().filter(|(_, column)| matches!(column, Column::Ragged(_)));
        let ragged: Vec<_> = ragged.map(|(name, _)| name).collect();
        match ragged[..] {
            [only] => Ok(only.into()),
            [] => Err(PyValueError::new_err(format!(
                "{}: a bucket is sorted by the lengths of a ragged column, found none",
                self.path()
            ))),
            _ => Err(PyValueError::new_err(format!(
                "{}: a bucket is sorted by the lengths of one ragged column: name it, by={:?} for one of {}",
                self.path(),
                ragged[0],
                ragged.join(", ")
            ))),
        }
    }

    /// The columns as they are now, for work without the lock.
    fn dataset(&self, py: Python<'_>) -> PyResult<Dataset> {
        self.with(py, |mapped| Ok(mapped.dataset.clone()))
    }

    fn with<R>(&self, py: Python<'_>, verb: impl FnOnce(&mut Mapped) -> PyResult<R>) -> PyResult<R> {
        match &mut *self.mapped.lock(py)? {
            Some(mapped) => verb(mapped),
            None => {
                let text = format!("{}: the dataset is closed: open it again with npygrow.open", self.path());
                Err(PyValueError::new_err(text))
            }
        }
    }
}

impl Mapped {
    fn of(py: Python<'_>, dataset: Dataset) -> PyResult<Self> {
        Ok(Mapped { columns: columns(py, &dataset)?.unbind(), dataset })
    }
}

fn columns<'py>(py: Python<'py>, dataset: &Dataset) -> PyResult<Bound<'py, PyDict>> {
    let columns = PyDict::new(py);
    for (name, column) in dataset.columns() {
        match column {
            Column::Plain(view) => columns.set_item(name, Bound::new(py, Array::of(py, view.clone())?)?)?,
            Column::Ragged(ragged) => columns.set_item(name, Bound::new(py, Items::of(py, ragged.clone())?)?)?,
        }
    }
    Ok(columns)
}
