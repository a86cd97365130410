//! Where NumPy's memory becomes bytes, a mapping becomes NumPy's memory and row numbers a range: with `arrow/c_data.rs` the
//! only file with `unsafe`.
#![allow(unsafe_code)]

use npygrow::{Block, Order, View};
use numpy::npyffi::{self, PY_ARRAY_API, PyArrayObject, npy_intp};
use numpy::{PyArrayDescr, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyRange, PyTuple};
use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;

use crate::dtype::order_name;

/// The rows that are already the file's bytes: an exact ndarray of its dtype, row shape and order.
pub(crate) struct Fit {
    dtype: Py<PyArrayDescr>,
    /// The last dtype object found to be equivalent: kept alive, so that its address stays its own.
    seen: Py<PyArrayDescr>,
    row_shape: Vec<npy_intp>,
    row_size: usize,
    order: Order,
}

impl Fit {
    pub(crate) fn new(
        dtype: &Bound<'_, PyArrayDescr>,
        row_shape: &[u64],
        row_size: u64,
        order: Order,
    ) -> PyResult<Self> {
        Ok(Self {
            seen: dtype.clone().unbind(),
            dtype: dtype.clone().unbind(),
            row_shape: row_shape.iter().map(|&size| npy_intp::try_from(size)).collect::<Result<_, _>>()?,
            row_size: usize::try_from(row_size)?,
            order,
        })
    }

    /// The file's dtype.
    pub(crate) fn dtype<'py>(&self, py: Python<'py>) -> Bound<'py, PyArrayDescr> {
        self.dtype.bind(py).clone()
    }

    pub(crate) fn row_size(&self) -> u64 {
        self.row_size as u64
    }

    /// How many rows `rows` are, and their bytes, if they can be written as they are.
    #[inline]
    pub(crate) fn bytes<'a>(&mut self, rows: &'a Bound<'_, PyAny>) -> Option<(u64, &'a [u8])> {
        let py = rows.py();
        // SAFETY: attached. A subclass may mean other things by its memory (a mask, for one), so only ndarray itself
        // passes, whose instances start with these fields in every NumPy since 1.7.
        let array = unsafe {
            if npyffi::PyArray_CheckExact(py, rows.as_ptr()) == 0 {
                return None;
            }
            &(*rows.as_ptr().cast::<PyArrayObject>()).fields
        };
        let descr = array.descr.cast();
        // SAFETY: an array's descr is never null, is a dtype, and lives as long as the array; attached.
        let descr = unsafe { Bound::ref_from_ptr(py, &descr).cast_unchecked::<PyArrayDescr>() };
        if !descr.is(&self.seen) {
            if !descr.is_equiv_to(self.dtype.bind(py)) {
                return None;
            }
            self.seen = descr.clone().unbind();
        }
        let ndim = usize::try_from(array.nd).ok()?;
        // SAFETY: `dimensions` holds `nd` sizes; it may be null without any.
        let shape = if ndim == 0 { return None } else { unsafe { slice::from_raw_parts(array.dimensions, ndim) } };
        let (contiguous, (rows, row_shape)) = match self.order {
            Order::C => (npyffi::NPY_ARRAY_C_CONTIGUOUS, shape.split_first()?),
            Order::F => (npyffi::NPY_ARRAY_F_CONTIGUOUS, shape.split_last()?),
        };
        if array.flags & contiguous == 0 || row_shape != self.row_shape {
            return None;
        }
        let count = usize::try_from(*rows).ok()?;
        let len = count.checked_mul(self.row_size)?;
        let data = NonNull::new(array.data.cast::<u8>())?;
        // SAFETY: a contiguous array of these dimensions and this item size owns `len` bytes from `data` on, and the
        // caller's reference keeps it: NumPy resizes no array that has another reference. Another thread may write
        // into it meanwhile, as during any call that lets go of the interpreter: these bytes are only ever copied,
        // to a file or a buffer, and nothing is concluded from their values.
        Some((count as u64, unsafe { slice::from_raw_parts(data.as_ptr(), len) }))
    }
}

/// What every array over a mapping keeps alive: the buffer protocol's owner of the bytes.
#[pyclass(frozen, module = "npygrow._native")]
pub(crate) struct Mapping(pub(crate) View);

#[pymethods]
impl Mapping {
    /// Hands out the mapped bytes, to be written to as far as the view may.
    ///
    /// # Safety
    ///
    /// Called by the interpreter alone, with a `view` to fill.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let mapped = &slf.get().0;
        let (bytes, len) = (mapped.bytes().as_ptr(), isize::try_from(mapped.bytes().len())?);
        let (data, read_only) = match mapped.as_mut_ptr() {
            Some(data) => (data, 0),
            None => (bytes.cast_mut(), 1),
        };
        // SAFETY: `view` is the interpreter's to fill. The bytes lie where they are as long as this object lives, to
        // which the call takes a reference; where they must not be written to, it refuses whoever asks for that.
        let done = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), data.cast(), len, read_only, flags) };
        if done == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// A batch that arrays were made over; its memory serves another when the last of them is gone.
#[pyclass(frozen, module = "npygrow._native")]
pub(crate) struct Owned(UnsafeCell<Block>);

// SAFETY: nothing here touches the bytes but `__getbuffer__`, which hands out where they are. What is done through the arrays
// is between the threads that share these, as with any array.
unsafe impl Sync for Owned {}

impl Owned {
    pub(crate) fn new(block: Block) -> Self {
        Self(block.into())
    }
}

#[pymethods]
impl Owned {
    /// Hands out the bytes, to be written to.
    ///
    /// # Safety
    ///
    /// Called by the interpreter alone, with a `view` to fill.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: attached, so that no other call of this makes a second reference.
        let bytes: &mut [u8] = unsafe { &mut *slf.get().0.get() };
        // SAFETY: `view` is the interpreter's to fill. The bytes lie where they are as long as this object lives, to which
        // the call takes a reference.
        let done = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                bytes.as_mut_ptr().cast(),
                isize::try_from(bytes.len())?,
                0,
                flags,
            )
        };
        if done == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// Has `work` write the memory of `array`: an ndarray itself that may be written to, contiguous in `order`.
pub(crate) fn fill<R>(array: &Bound<'_, PyAny>, order: Order, work: impl FnOnce(&mut [u8]) -> R) -> PyResult<R> {
    let py = array.py();
    let contiguous = match order {
        Order::C => npyffi::NPY_ARRAY_C_CONTIGUOUS,
        Order::F => npyffi::NPY_ARRAY_F_CONTIGUOUS,
    };
    let needed = contiguous | npyffi::NPY_ARRAY_WRITEABLE;
    // SAFETY: attached; instances of ndarray and its subclasses start with these fields in every NumPy since 1.7.
    let fields = unsafe {
        if npyffi::PyArray_Check(py, array.as_ptr()) == 0 {
            return Err(PyTypeError::new_err("expected an ndarray to write to"));
        }
        &(*array.as_ptr().cast::<PyArrayObject>()).fields
    };
    // SAFETY: it is an ndarray, as was just seen.
    let len = unsafe { array.cast_unchecked::<PyUntypedArray>() };
    let len = len.len() * len.dtype().itemsize();
    let Some(data) = NonNull::new(fields.data.cast::<u8>()).filter(|_| fields.flags & needed == needed) else {
        let order = order_name(order);
        return Err(PyValueError::new_err(format!(
            "expected an array that can be written to, contiguous in order {order}"
        )));
    };
    // SAFETY: a contiguous array owns `nbytes` bytes from `data` on, and the caller's reference keeps it: NumPy resizes no
    // array that has another reference. `work` only writes them. A fresh array is ours alone; another thread that touches
    // one it handed to us as `out` meanwhile finds old or new bytes there, as with any of NumPy's calls that release the
    // interpreter, and nothing here is concluded from them.
    Ok(work(unsafe { slice::from_raw_parts_mut(data.as_ptr(), len) }))
}

/// The parts of an array that lie one after the other along its first axis, where each ends at one of `ends`: arrays over its
/// memory, a list of them. `array` is an ndarray itself, contiguous in C order. Slicing it again and again takes twice the time.
pub(crate) fn split<'py>(array: &Bound<'py, PyAny>, ends: &[i64]) -> PyResult<Bound<'py, PyList>> {
    let py = array.py();
    // SAFETY: attached; instances of ndarray itself start with these fields in every NumPy since 1.7.
    let fields = unsafe {
        if npyffi::PyArray_CheckExact(py, array.as_ptr()) == 0 {
            return Err(PyTypeError::new_err("expected an ndarray to split"));
        }
        &(*array.as_ptr().cast::<PyArrayObject>()).fields
    };
    if fields.nd < 1 || fields.flags & npyffi::NPY_ARRAY_C_CONTIGUOUS == 0 {
        return Err(PyValueError::new_err("expected an array with a first axis, contiguous in order C"));
    }
    // SAFETY: `dimensions` and `strides` hold `nd` numbers each, and there is one at least.
    let (mut shape, stride) = unsafe {
        (slice::from_raw_parts(fields.dimensions, fields.nd as usize).to_vec(), (*fields.strides).unsigned_abs())
    };
    let (count, flags) = (shape[0], fields.flags & (npyffi::NPY_ARRAY_ALIGNED | npyffi::NPY_ARRAY_WRITEABLE));
    let (mut parts, mut start) = (Vec::with_capacity(ends.len()), 0);
    for &end in ends {
        let end = npy_intp::try_from(end)?;
        if end < start || end > count {
            let text = format!("expected parts that end in order, at {count} at most, found {start} to {end}");
            return Err(PyValueError::new_err(text));
        }
        shape[0] = end - start;
        // SAFETY: attached. The part lies within the array's memory, which the reference keeps that becomes its base; so does
        // every step of `stride` bytes from the first value on. The call takes over the reference to the dtype, the other one
        // that to the array, and both do so also when they fail. Without strides the part is contiguous, as the array is.
        let part = unsafe {
            let (api, descr, data) = (&PY_ARRAY_API, fields.descr, fields.data.add(start as usize * stride));
            ffi::Py_INCREF(descr.cast());
            let (kind, dims) = (array.get_type_ptr(), shape.as_mut_ptr());
            let (strides, like) = (ptr::null_mut(), ptr::null_mut());
            let part = api.PyArray_NewFromDescr(py, kind, descr, fields.nd, dims, strides, data.cast(), flags, like);
            let part = Bound::from_owned_ptr_or_err(py, part)?;
            if api.PyArray_SetBaseObject(py, part.as_ptr().cast(), array.clone().into_ptr()) < 0 {
                return Err(PyErr::fetch(py));
            }
            part
        };
        parts.push(part);
        start = end;
    }
    PyList::new(py, parts)
}

/// A fresh ndarray, whose values are still to be written: `numpy.empty`, a fifth of a small gather's time through Python.
pub(crate) fn empty<'py>(
    py: Python<'py>,
    shape: &[usize],
    dtype: Bound<'py, PyArrayDescr>,
    order: Order,
) -> PyResult<Bound<'py, PyAny>> {
    let mut shape: Vec<npy_intp> = shape.iter().map(|&len| npy_intp::try_from(len)).collect::<Result<_, _>>()?;
    let (ndim, is_fortran) = (c_int::try_from(shape.len())?, c_int::from(order == Order::F));
    // SAFETY: attached; `shape` holds `ndim` sizes, and the call takes over the reference to the dtype. It gives a new
    // reference to an ndarray, or null and an exception.
    unsafe {
        let dtype = dtype.into_ptr().cast();
        let array = PY_ARRAY_API.PyArray_Empty(py, ndim, shape.as_mut_ptr(), dtype, is_fortran);
        Bound::from_owned_ptr_or_err(py, array)
    }
}

/// The numbers of an array of `int64`, where they lie one after the other.
pub(crate) fn numbers<'a>(array: &'a Bound<'_, PyUntypedArray>) -> Option<&'a [i64]> {
    let numbers = array.cast::<PyArrayDyn<i64>>().ok()?;
    // SAFETY: the caller's reference keeps the array, and NumPy resizes none that has another reference. Whoever holds the
    // interpreter reads it before another thread of Python can write to it.
    unsafe { numbers.as_slice() }.ok()
}

/// An ndarray over the memory of a buffer from a byte on, or of no bytes.
pub(crate) fn ndarray<'py>(
    py: Python<'py>,
    shape: &[u64],
    dtype: &Bound<'py, PyArrayDescr>,
    order: Order,
    buffer: Option<(&Bound<'py, PyAny>, usize)>,
) -> PyResult<Bound<'py, PyAny>> {
    let arguments = PyDict::new(py);
    arguments.set_item("shape", PyTuple::new(py, shape)?)?;
    arguments.set_item("dtype", dtype)?;
    arguments.set_item("order", order_name(order))?;
    if let Some((buffer, offset)) = buffer {
        arguments.set_item("buffer", buffer)?;
        arguments.set_item("offset", offset)?;
    }
    py.import("numpy")?.getattr("ndarray")?.call((), Some(&arguments))
}

/// Row numbers as Python's range: a third of a buffered append's time through `PyRange::new`, which makes a tuple first.
pub(crate) fn range(py: Python<'_>, rows: Range<u64>) -> PyResult<Bound<'_, PyRange>> {
    let (start, stop) = (rows.start.into_pyobject(py)?, rows.end.into_pyobject(py)?);
    // SAFETY: attached; a call of the type `range` with two live objects and the null that ends them gives a new
    // reference to a range, or null and an exception.
    unsafe {
        let range = ffi::PyObject_CallFunctionObjArgs(
            (&raw mut ffi::PyRange_Type).cast(),
            start.as_ptr(),
            stop.as_ptr(),
            ptr::null_mut::<ffi::PyObject>(),
        );
        Ok(Bound::from_owned_ptr_or_err(py, range)?.cast_into_unchecked())
    }
}
