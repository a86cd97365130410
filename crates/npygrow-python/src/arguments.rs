//! What constructors and calls are given: words, numbers, seconds.

use npygrow::{Durability, Mode, OnTail};
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use std::time::Duration;

pub(crate) const MODES: [(&str, Mode); 3] = [("a", Mode::Append), ("w", Mode::Write), ("x", Mode::New)];
pub(crate) const DURABILITIES: [(&str, Durability); 3] =
    [("process", Durability::Process), ("ordered", Durability::Ordered), ("power", Durability::Power)];
pub(crate) const ON_TAIL: [(&str, OnTail); 4] =
    [("auto", OnTail::Auto), ("keep", OnTail::Keep), ("drop", OnTail::Drop), ("error", OnTail::Error)];
pub(crate) const CASTING: [(&str, bool); 2] = [("checked", false), ("exact", true)];

pub(crate) fn sizes(shape: &Bound<'_, PyAny>) -> PyResult<Vec<u64>> {
    let sizes = shape.extract().map(|size| vec![size]).or_else(|_: PyErr| shape.extract());
    sizes.map_err(|_| PyValueError::new_err(format!("row_shape must be a size or a tuple of sizes, not {shape:?}")))
}

/// A whole number, held to one type's range: for one outside Python's own words are of another language's types.
pub(crate) enum Integer<T> {
    Below,
    Fits(T),
    Above,
}

pub(crate) fn integer<'py, T>(given: &Bound<'py, PyAny>) -> PyResult<Integer<T>>
where
    T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    match given.extract() {
        Ok(number) => Ok(Integer::Fits(number)),
        Err(error) if error.is_instance_of::<PyOverflowError>(given.py()) => {
            Ok(if given.lt(0)? { Integer::Below } else { Integer::Above })
        }
        Err(error) => Err(error),
    }
}

/// A number of bytes or rows.
pub(crate) fn size(size: &Bound<'_, PyAny>) -> PyResult<usize> {
    let Integer::Fits(size) = integer(size)? else {
        let text = format!("expected a number of bytes or rows, 0 to {}, found {size}", usize::MAX);
        return Err(PyValueError::new_err(text));
    };
    Ok(size)
}

/// The longest header that is taken, in bytes.
pub(crate) fn header_size(size: &Bound<'_, PyAny>) -> PyResult<u64> {
    let Integer::Fits(size) = integer(size)? else {
        return Err(PyValueError::new_err(format!("max_header_size must be bytes, 0 to 2**64 - 1, not {size}")));
    };
    Ok(size)
}

/// The first row of a source to append.
pub(crate) fn start(row: &Bound<'_, PyAny>) -> PyResult<i64> {
    let Integer::Fits(row) = integer(row)? else {
        return Err(PyValueError::new_err(format!("start must be a row of the source or its end, not {row}")));
    };
    Ok(row)
}

/// A position, from the end where it is negative: past either end is as far as a number goes.
pub(crate) fn position(position: &Bound<'_, PyAny>) -> PyResult<i64> {
    Ok(match integer(position)? {
        Integer::Below => i64::MIN,
        Integer::Fits(position) => position,
        Integer::Above => i64::MAX,
    })
}

pub(crate) fn time(parameter: &str, seconds: f64) -> PyResult<Duration> {
    if seconds == f64::INFINITY {
        return Ok(Duration::MAX);
    }
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err(format!("{parameter} must be seconds, 0 or more, not {seconds}")))
}
