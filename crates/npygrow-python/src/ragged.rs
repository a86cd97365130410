//! What `npygrow.Ragged` and `npygrow.Dataset` map: the items of a folder, and the waiting for more.

use npygrow::{Access, Bookmark, Health, Order, Ragged, RaggedBookmark, Reader, View};
use numpy::{PyArray1, PyArrayDescr, PyReadonlyArray1, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyRange, PySlice, PyTuple};
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::arguments::header_size;
use crate::array::array_over;
use crate::arrow::Arrow;
use crate::batches::{Batches, Given, batches_of};
use crate::convert::{fill, range, split};
use crate::dtype::FsPath;
use crate::errors::{MismatchError, raise};
use crate::guard::Guarded;

/// The items of a mapped folder: what `npygrow.Ragged` shows.
#[pyclass(frozen, module = "npygrow._native")]
pub(crate) struct Items {
    mapped: Guarded<Option<Mapped>>,
}

struct Mapped {
    ragged: Ragged,
    /// All that the file counts.
    values: Py<PyAny>,
    /// One more than there are items.
    offsets: Py<PyAny>,
    /// Where the last item ends.
    end: u64,
}

/// A `Bookmark`, as a pickle has it.
pub(crate) type Marked = (PathBuf, Option<u64>, Option<u64>, Option<String>, (u64, Option<u64>), u64, u64);

pub(crate) fn marked(bookmark: Bookmark) -> Marked {
    let Bookmark { path, file, made, what, part, rows, max_header_size, .. } = bookmark;
    (path, file, made, what, part, rows, max_header_size)
}

pub(crate) fn unmarked((path, file, made, what, part, rows, max_header_size): Marked) -> Bookmark {
    Bookmark { path, file, made, what, part, rows, access: Access::Read, max_header_size }
}

/// The arguments of `_reopen_items`: a `RaggedBookmark`.
pub(crate) type MarkedItems = (PathBuf, Marked, Marked, u64);

pub(crate) fn marked_items(bookmark: RaggedBookmark) -> MarkedItems {
    let RaggedBookmark { path, values, offsets, items } = bookmark;
    (path, marked(values), marked(offsets), items)
}

pub(crate) fn unmarked_items((path, values, offsets, items): MarkedItems) -> RaggedBookmark {
    RaggedBookmark { path, values: unmarked(values), offsets: unmarked(offsets), items }
}

/// What a pickle of `Items` calls: the same items of the same folder, or an error.
#[pyfunction]
pub(crate) fn _reopen_items(
    py: Python<'_>,
    path: FsPath,
    values: Marked,
    offsets: Marked,
    items: u64,
) -> PyResult<Items> {
    let bookmark = unmarked_items((path.0, values, offsets, items));
    Items::of(py, py.detach(|| bookmark.open()).map_err(raise)?)
}

/// Copies items that lie one after the other in `values`, where each ends at one of `ends`, to the beginnings of the parts of
/// `out`, as far as they fit: parts of `size` bytes, for values of `row_size` each. Both arrays are fresh.
#[pyfunction]
pub(crate) fn _spread(
    py: Python<'_>,
    values: &Bound<'_, PyAny>,
    ends: PyReadonlyArray1<'_, i64>,
    row_size: usize,
    out: &Bound<'_, PyAny>,
    size: usize,
) -> PyResult<()> {
    if size == 0 {
        return Ok(());
    }
    let ends = ends.as_slice()?;
    let spread = |from: &[u8], to: &mut [u8]| {
        let mut start = 0;
        for (&end, part) in ends.iter().zip(to.chunks_exact_mut(size)) {
            let end = end as usize * row_size;
            let item = from.get(start..end).unwrap_or_default();
            let fits = item.len().min(size);
            part[..fits].copy_from_slice(&item[..fits]);
            start = end;
        }
    };
    fill(values, Order::C, |from| fill(out, Order::C, |to| py.detach(|| spread(from, to))))?
}

/// The items that lie one after the other in `values`, where each ends at one of `ends`.
#[pyfunction]
pub(crate) fn _split<'py>(
    values: &Bound<'py, PyAny>,
    ends: PyReadonlyArray1<'py, i64>,
) -> PyResult<Bound<'py, PyList>> {
    split(values, ends.as_slice()?)
}

#[pymethods]
impl Items {
    #[new]
    fn new(py: Python<'_>, path: FsPath, #[pyo3(from_py_with = header_size)] max_header_size: u64) -> PyResult<Self> {
        Items::of(py, py.detach(|| Ragged::open(&path.0, max_header_size)).map_err(raise)?)
    }

    /// Looks for items that were appended since, and says which they are.
    fn refresh<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyRange>> {
        let items = self.with(py, |mapped| {
            let mut ragged = mapped.ragged.clone();
            let items = py.detach(|| ragged.refresh()).map_err(raise)?;
            *mapped = Mapped::of(py, ragged)?;
            Ok(items)
        })?;
        range(py, items)
    }

    /// The same items, which neither a refresh nor closing takes away.
    fn copy(&self, py: Python<'_>) -> PyResult<Self> {
        Items::of(py, self.ragged(py)?)
    }

    /// Gives the files back, once no array over them is left.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        *self.mapped.lock(py)? = None;
        Ok(())
    }

    /// One item: an ndarray over the mapping.
    fn item<'py>(&self, py: Python<'py>, number: u64) -> PyResult<Bound<'py, PyAny>> {
        let (values, range) =
            self.with(py, |mapped| Ok((mapped.values.bind(py).clone(), mapped.ragged.range(number).map_err(raise)?)))?;
        part(&values, range)
    }

    /// Copies items, each below the count, one after the other: an ndarray, and where in it each ends.
    fn gather<'py>(
        &self,
        py: Python<'py>,
        numbers: PyReadonlyArray1<'py, i64>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyArray1<i64>>)> {
        let (values, ragged) = self.with(py, |mapped| Ok((mapped.values.bind(py).clone(), mapped.ragged.clone())))?;
        // A number below 0 is past every count.
        let numbers: Vec<u64> = numbers.as_slice()?.iter().map(|&number| number as u64).collect();
        let (mut ends, mut end) = (Vec::with_capacity(numbers.len()), 0_u64);
        for &number in &numbers {
            let range = ragged.range(number).map_err(raise)?;
            end = end.saturating_add(range.end - range.start);
            ends.push(i64::try_from(end)?);
        }
        let values = values.cast::<PyUntypedArray>()?;
        let mut shape: Vec<u64> = values.shape().iter().map(|&size| size as u64).collect();
        shape.iter_mut().take(1).for_each(|size| *size = end);
        let out = py.import("numpy")?.call_method1("empty", (PyTuple::new(py, shape)?, values.dtype()))?;
        fill(&out, Order::C, |bytes| py.detach(|| ragged.gather_into(&numbers, bytes)))?.map_err(raise)?;
        Ok((out, PyArray1::from_vec(py, ends)))
    }

    /// The items in batches; of a slice, by the first of its numbers, their step and how many there are.
    #[pyo3(signature = (size, shuffle, seed, drop_last, bucket, numbers))]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn batches(
        &self,
        py: Python<'_>,
        size: &Bound<'_, PyAny>,
        shuffle: bool,
        seed: Option<&Bound<'_, PyAny>>,
        drop_last: bool,
        bucket: Option<&Bound<'_, PyAny>>,
        numbers: Option<(u64, i64, u64)>,
    ) -> PyResult<Batches> {
        let given = Given::new(self.path(), size, shuffle, seed, drop_last)?;
        let bucket = bucket.map(|bucket| batches_of(self.path(), bucket)).transpose()?;
        Batches::of_ragged(py, &self.ragged(py)?, &given, bucket, numbers)
    }

    /// The values of all items: an ndarray over the mapping.
    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (values, end) = self.with(py, |mapped| Ok((mapped.values.bind(py).clone(), mapped.end)))?;
        part(&values, 0..end)
    }

    /// Where the items begin, and where the last ends: an ndarray over the mapping.
    #[getter]
    fn offsets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.with(py, |mapped| Ok(mapped.offsets.bind(py).clone()))
    }

    /// The dtype of the values.
    #[getter]
    fn dtype<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDescr>> {
        Ok(self.values(py)?.getattr("dtype")?.cast_into()?)
    }

    /// "clean", or "tail" where a file holds more than the items, counted or not.
    #[getter]
    fn health(&self, py: Python<'_>) -> PyResult<&'static str> {
        let (ragged, end) = self.with(py, |mapped| Ok((mapped.ragged.clone(), mapped.end)))?;
        let (values, offsets) = (ragged.values(), ragged.offsets());
        let whole = values.len() == end && offsets.len() <= ragged.len() + 1;
        let clean = [values, offsets].iter().all(|file| file.health() == Health::Clean);
        Ok(if whole && clean { "clean" } else { "tail" })
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

    /// The items from one to another, as Arrow has them.
    fn arrow(&self, py: Python<'_>, start: u64, stop: u64, text: bool) -> PyResult<Arrow> {
        Arrow::of_items(py, &self.ragged(py)?, start..stop, text)
    }

    /// Waits for more.
    fn waiter(&self, py: Python<'_>) -> PyResult<Waiter> {
        Waiter::of(self.ragged(py)?.offsets())
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |mapped| Ok(usize::try_from(mapped.ragged.len())?))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, MarkedItems)> {
        let bookmark = self.ragged(py)?.bookmark().map_err(raise)?;
        Ok((py.import("npygrow._native")?.getattr("_reopen_items")?, marked_items(bookmark)))
    }
}

impl Items {
    pub(crate) fn of(py: Python<'_>, ragged: Ragged) -> PyResult<Self> {
        let path = ragged.path().to_string_lossy().into_owned();
        Ok(Items { mapped: Guarded::new(path, Some(Mapped::of(py, ragged)?)) })
    }

    /// The items as they are now, for work without the lock.
    fn ragged(&self, py: Python<'_>) -> PyResult<Ragged> {
        self.with(py, |mapped| Ok(mapped.ragged.clone()))
    }

    fn with<R>(&self, py: Python<'_>, verb: impl FnOnce(&mut Mapped) -> PyResult<R>) -> PyResult<R> {
        match &mut *self.mapped.lock(py)? {
            Some(mapped) => verb(mapped),
            None => {
                let text = format!("{}: the items are closed: open them again with npygrow.open", self.path());
                Err(PyValueError::new_err(text))
            }
        }
    }
}

impl Mapped {
    fn of(py: Python<'_>, ragged: Ragged) -> PyResult<Self> {
        let name = |view: &View| view.path().to_string_lossy().into_owned();
        let (values, offsets) = (ragged.values(), ragged.offsets());
        if values.shape().is_empty() {
            let text = "expected values along an axis, found a single value (0-d): it holds no items";
            return Err(MismatchError::new_err(format!("{}: {text}", name(values))));
        }
        let values = array_over(py, values, &name(values))?.unbind();
        let offsets = if offsets.is_empty() {
            let zero = py.import("numpy")?.call_method1("zeros", (1, "<i8"))?;
            zero.getattr("flags")?.setattr("writeable", false)?;
            zero
        } else {
            part(&array_over(py, offsets, &name(offsets))?, 0..ragged.len() + 1)?
        };
        let end = offsets.get_item(-1)?.extract()?;
        Ok(Mapped { ragged, values, offsets: offsets.unbind(), end })
    }
}

fn part<'py>(array: &Bound<'py, PyAny>, range: Range<u64>) -> PyResult<Bound<'py, PyAny>> {
    array.get_item(PySlice::new(array.py(), isize::try_from(range.start)?, isize::try_from(range.end)?, 1))
}

/// Waits for a file to count more.
#[pyclass(frozen, module = "npygrow._native")]
pub(crate) struct Waiter {
    reader: Guarded<Reader>,
}

impl Waiter {
    pub(crate) fn of(view: &View) -> PyResult<Self> {
        let path = view.path().to_string_lossy().into_owned();
        Ok(Waiter { reader: Guarded::new(path, view.reader().map_err(raise)?) })
    }
}

/// How often a wait looks whether Ctrl-C was pressed.
const SLICE: Duration = Duration::from_millis(200);

#[pymethods]
impl Waiter {
    /// Waits for at most so many seconds, and says whether there is more.
    fn wait(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let (began, most) = (Instant::now(), Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO));
        let mut held = self.reader.lock(py)?;
        let reader = &mut *held;
        loop {
            py.check_signals()?;
            let left = most.saturating_sub(began.elapsed());
            let new = py.detach(|| reader.wait(Some(left.min(SLICE)))).map_err(raise)?;
            if !new.is_empty() || left <= SLICE {
                return Ok(!new.is_empty());
            }
        }
    }
}
