//! Many rows of an `Array` at once: which indexes mean that, and the arrays that they give. All others are NumPy's.

use npygrow::{Access, Order, View};
use numpy::{PyArrayDescrMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyIndexError, PyOverflowError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyEllipsis, PyInt, PyList, PyRange, PySlice, PyTuple};
use std::cell::Cell;

use crate::convert::{empty, fill, numbers};
use crate::errors::raise;

thread_local! {
    /// Memory for the numbers of the next request: pages that are new each time cost as much as to copy short rows.
    static SPARE: Cell<Vec<u64>> = const { Cell::new(Vec::new()) };
}

/// The most numbers that a thread keeps memory for.
const SPARED: usize = 128 << 10;

/// Rows by their numbers, as an index array of some shape names them.
pub(crate) struct Index {
    rows: Vec<u64>,
    shape: Vec<usize>,
}

impl Index {
    /// The rows that `index` names out of `count`. `None` where it is anything but a list, a range or an array of whole
    /// numbers within bounds or, with `masks`, one bool for each row: then NumPy says what it means, or what is wrong with it.
    pub(crate) fn of(index: &Bound<'_, PyAny>, count: u64, masks: bool) -> PyResult<Option<Self>> {
        let py = index.py();
        let given = if let Ok(array) = index.cast::<PyUntypedArray>() {
            array.clone()
        } else if index.is_instance_of::<PyList>() || index.is_instance_of::<PyRange>() {
            let asarray = py.import(intern!(py, "numpy"))?.getattr(intern!(py, "asarray"))?;
            // What is no array (rows of different lengths, slices) is an error of NumPy's indexing too, in its own words.
            let Ok(array) = asarray.call1((index,)) else { return Ok(None) };
            array.cast_into::<PyUntypedArray>()?
        } else {
            return Ok(None);
        };
        let shape = given.shape().to_vec();
        let rows: Option<Vec<u64>> = match given.dtype().kind() {
            b'b' if masks && shape.len() == 1 && shape[0] as u64 == count => {
                let mask = contiguous(&given, "bool")?.extract::<PyReadonlyArrayDyn<'_, bool>>()?;
                let chosen = mask.as_slice()?.iter().zip(0..).filter(|(chosen, _)| **chosen);
                Some(chosen.map(|(_, row)| row).collect())
            }
            b'i' | b'u' if !shape.is_empty() => {
                let all = |given| numbers(given).and_then(|numbers| rows_of(numbers, count));
                if numbers(&given).is_some() { all(&given) } else { all(contiguous(&given, "int64")?.cast()?) }
            }
            _ => None,
        };
        Ok(rows.map(|rows| Self { shape: if shape.len() == 1 { vec![rows.len()] } else { shape }, rows }))
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if self.rows.capacity() <= SPARED {
            // Where the thread is at its end there is no next request.
            let _ = SPARE.try_with(|spare| spare.set(std::mem::take(&mut self.rows)));
        }
    }
}

fn rows_of(numbers: &[i64], count: u64) -> Option<Vec<u64>> {
    let last = i64::try_from(count).ok()? - 1;
    let (mut rows, mut signs) = (SPARE.take(), 0);
    rows.clear();
    rows.extend(numbers.iter().map(|&number| {
        signs |= number | last.wrapping_sub(number);
        number as u64
    }));
    // Most often all are rows, and none counts from the end: then no sign bit was set, nor one in the distance to the last.
    if signs >= 0 {
        return Some(rows);
    }
    numbers.iter().map(|&number| row(number, count)).collect()
}

/// The row that `number` means, from the end where it is negative.
fn row(number: i64, count: u64) -> Option<u64> {
    let row = if number < 0 { count.checked_sub(number.unsigned_abs())? } else { number as u64 };
    (row < count).then_some(row)
}

fn contiguous<'py>(array: &Bound<'py, PyUntypedArray>, dtype: &str) -> PyResult<Bound<'py, PyAny>> {
    let py = array.py();
    py.import(intern!(py, "numpy"))?.call_method1(intern!(py, "ascontiguousarray"), (array, dtype))
}

/// What `array[key]` is, where the key picks rows one by one and nothing unusual besides; `None` where NumPy is to say.
pub(crate) fn get<'py>(
    view: &View,
    array: &Bound<'py, PyAny>,
    key: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let (order, ndim) = (view.order(), view.shape().len());
    if ndim == 0 || view.row_size() == 0 {
        return Ok(None);
    }
    let (index, rest) = match key.cast::<PyTuple>() {
        Err(_) if order == Order::C || ndim == 1 => (key.clone(), Vec::new()),
        Err(_) => return Ok(None),
        Ok(key) => {
            let mut items: Vec<_> = key.iter().collect();
            let index = match order {
                _ if items.is_empty() => return Ok(None),
                Order::C => items.remove(0),
                Order::F => items.remove(items.len() - 1),
            };
            (index, items)
        }
    };
    if !picks(&index) || !rest.iter().all(|item| is_basic(item, order)) {
        return Ok(None);
    }
    let spans_all = rest.iter().any(|item| item.is_instance_of::<PyEllipsis>());
    if order == Order::F && rest.len() + 1 != ndim && !spans_all {
        return Ok(None);
    }
    let Some(index) = Index::of(&index, view.len(), true)? else { return Ok(None) };
    if index.rows.is_empty() {
        return Ok(None);
    }
    if rest.is_empty() {
        return rows(view, array, &index).map(Some);
    }
    parts(view, array, &index, rest)
}

/// The rows `indices` along the growth axis, in `out` where there is one.
pub(crate) fn take<'py>(
    view: &View,
    array: &Bound<'py, PyAny>,
    indices: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = array.py();
    if view.shape().is_empty() {
        let path = view.path().display();
        return Err(PyValueError::new_err(format!("{path}: a single value (0-d) has no rows to take")));
    }
    let axis = growth_axis(view);
    // To NumPy's `take` bools are numbers too.
    let is_numpys = view.row_size() == 0 || overlaps(view, array, out)?;
    let index = if is_numpys { None } else { Index::of(indices, view.len(), false)? };
    let Some(index) = index.filter(|index| !index.rows.is_empty()) else {
        let arguments = PyDict::new(py);
        arguments.set_item("axis", axis)?;
        arguments.set_item("out", out)?;
        return array.call_method(intern!(py, "take"), (indices,), Some(&arguments)).map_err(|error| {
            if !error.is_instance_of::<PyOverflowError>(py) {
                return error;
            }
            let (path, rows) = (view.path().display(), view.len());
            PyIndexError::new_err(format!(
                "{path}: expected numbers of its {rows} rows, found one of more than 64 bits"
            ))
        });
    };
    let Some(out) = out else { return rows(view, array, &index) };
    let given = out.cast::<PyUntypedArray>()?;
    let mapped = array.cast::<PyUntypedArray>()?;
    let mut shape = mapped.shape().to_vec();
    shape.splice(axis..=axis, index.shape.iter().copied());
    if given.shape() != shape || !given.dtype().is_equiv_to(&mapped.dtype()) {
        return Err(PyValueError::new_err(format!(
            "{}: expected out of shape {} and dtype {}, found shape {} and dtype {}",
            view.path().display(),
            PyTuple::new(py, shape)?,
            mapped.dtype(),
            PyTuple::new(py, given.shape())?,
            given.dtype()
        )));
    }
    into(view, &index, out)?;
    Ok(out.clone())
}

/// Whether rows would be written where others are still to be read.
fn overlaps(view: &View, array: &Bound<'_, PyAny>, out: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
    match out {
        Some(out) if view.access() != Access::Read => {
            let numpy = array.py().import(intern!(array.py(), "numpy"))?;
            numpy.call_method1(intern!(array.py(), "may_share_memory"), (array, out))?.extract()
        }
        _ => Ok(false),
    }
}

/// The axis that the rows lie along.
pub(crate) fn growth_axis(view: &View) -> usize {
    if view.order() == Order::C { 0 } else { view.shape().len() - 1 }
}

/// Whether `index` is of a kind that may pick rows: seen without a look at what is in it.
fn picks(index: &Bound<'_, PyAny>) -> bool {
    index.is_instance_of::<PyList>()
        || index.is_instance_of::<PyRange>()
        || index.cast::<PyUntypedArray>().is_ok_and(|array| array.ndim() > 0)
}

/// Whether beside an index array `item` means what it means in a row alone. A whole number before one moves its axes.
fn is_basic(item: &Bound<'_, PyAny>, order: Order) -> bool {
    item.is_instance_of::<PySlice>()
        || item.is_instance_of::<PyEllipsis>()
        || order == Order::C && (item.is_none() || item.is_exact_instance_of::<PyInt>())
}

/// Whole rows.
pub(crate) fn rows<'py>(view: &View, array: &Bound<'py, PyAny>, index: &Index) -> PyResult<Bound<'py, PyAny>> {
    let py = array.py();
    let array = array.cast::<PyUntypedArray>()?;
    let mut shape = array.shape().to_vec();
    let axis = growth_axis(view);
    shape[axis] = index.rows.len();
    let out = empty(py, &shape, array.dtype(), view.order())?;
    into(view, index, &out)?;
    if index.shape.len() == 1 {
        return Ok(out);
    }
    shape.splice(axis..=axis, index.shape.iter().copied());
    out.call_method1(intern!(py, "reshape"), (PyTuple::new(py, shape)?,))
}

/// Copies whole rows into `out`, which is as long as they are and lies in memory as the file does.
pub(crate) fn into(view: &View, index: &Index, out: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = out.py();
    fill(out, view.order(), |bytes| py.detach(|| view.gather_into(&index.rows, bytes)))?.map_err(raise)
}

/// A part of each row: `rest` is what the key says of the other axes. `None` where NumPy reads less.
fn parts<'py>(
    view: &View,
    array: &Bound<'py, PyAny>,
    index: &Index,
    mut rest: Vec<Bound<'py, PyAny>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = array.py();
    let is_first = view.order() == Order::C;
    rest.insert(if is_first { 0 } else { rest.len() }, PySlice::full(py).into_any());
    // NumPy says what the rest means; what is wrong with it is said of the whole key.
    let Ok(part) = array.get_item(PyTuple::new(py, &rest)?) else { return Ok(None) };
    let part = part.cast_into::<PyUntypedArray>()?;
    let axis = if is_first { 0 } else { part.ndim() - 1 };
    let (mut shape, mut strides) = (part.shape().to_vec(), part.strides().to_vec());
    let (_, row_stride) = (shape.remove(axis), strides.remove(axis));
    debug_assert!(view.len() == 1 || row_stride as u64 == view.row_size());
    let Some(extent) = Extent::of(&shape, &strides, part.dtype().itemsize(), address(&part)? - address(array)?) else {
        return Ok(None);
    };
    if extent.is_sparse() {
        return Ok(None);
    }
    let numpy = py.import(intern!(py, "numpy"))?;
    let (rows, size) = (index.rows.len(), extent.end - extent.start);
    let bytes = numpy.call_method1(intern!(py, "empty"), ((rows, size), "u1"))?;
    let range = extent.start as u64..extent.end as u64;
    fill(&bytes, Order::C, |bytes| py.detach(|| view.gather_part_into(&index.rows, range, bytes)))?.map_err(raise)?;
    // The index's own axes stand where the growth axis stood.
    let mut stride = size;
    for &len in index.shape.iter().rev() {
        shape.insert(axis, len);
        strides.insert(axis, stride as isize);
        stride *= len;
    }
    let arguments = PyDict::new(py);
    arguments.set_item("shape", PyTuple::new(py, shape)?)?;
    arguments.set_item("dtype", part.dtype())?;
    arguments.set_item("buffer", bytes)?;
    arguments.set_item("offset", extent.first - extent.start)?;
    arguments.set_item("strides", PyTuple::new(py, strides)?)?;
    let out = numpy.getattr(intern!(py, "ndarray"))?.call((), Some(&arguments))?;
    // What lies apart would keep the bytes between alive.
    if extent.is_dense() { Ok(Some(out)) } else { out.call_method0(intern!(py, "copy")).map(Some) }
}

/// The bytes of a row from the first to the last that a part of it takes.
struct Extent {
    start: usize,
    end: usize,
    /// Where the part's own first item lies.
    first: usize,
    /// The bytes that it takes.
    taken: usize,
}

impl Extent {
    /// Of a part of this shape, whose first item lies at `first`. `None` where it takes nothing.
    fn of(shape: &[usize], strides: &[isize], item: usize, first: usize) -> Option<Self> {
        let (mut start, mut end, mut taken) = (first, first + item, item);
        for (&len, &stride) in shape.iter().zip(strides) {
            let reach = len.checked_sub(1)? * stride.unsigned_abs();
            if stride < 0 {
                start -= reach
            } else {
                end += reach
            }
            taken *= len;
        }
        Some(Self { start, end, first, taken })
    }

    fn is_dense(&self) -> bool {
        self.taken == self.end - self.start
    }

    /// Whether it takes so little of so much that most pages between need not be read.
    fn is_sparse(&self) -> bool {
        let size = self.end - self.start;
        size >= 64 << 10 && self.taken.saturating_mul(16) <= size
    }
}

fn address(array: &Bound<'_, PyAny>) -> PyResult<usize> {
    let py = array.py();
    array.getattr(intern!(py, "__array_interface__"))?.get_item("data")?.get_item(0)?.extract()
}
