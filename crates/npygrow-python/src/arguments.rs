//! What the constructor is given: words, sizes, seconds.

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

/// A number of bytes or rows. For one that is out of range Python's own words are of another language's types.
pub(crate) fn size(size: &Bound<'_, PyAny>) -> PyResult<usize> {
    size.extract().map_err(|error: PyErr| {
        if !error.is_instance_of::<PyOverflowError>(size.py()) {
            return error;
        }
        PyValueError::new_err(format!("expected a number of bytes or rows, 0 to {}, found {size}", usize::MAX))
    })
}

pub(crate) fn time(parameter: &str, seconds: f64) -> PyResult<Duration> {
    if seconds == f64::INFINITY {
        return Ok(Duration::MAX);
    }
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err(format!("{parameter} must be seconds, 0 or more, not {seconds}")))
}
