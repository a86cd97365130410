//! Rows of different length: all items joined along axis 0 in `values.npy`, and where each begins in `offsets.npy`.
//!
//! Item `i` is `values[offsets[i]:offsets[i + 1]]`. It exists once `offsets[i + 1]` is committed and the values reach it: no
//! third file says so, and nothing can disagree. The values of an append are counted before its offsets.

mod appender;
mod reader;

pub use appender::RaggedAppender;
pub use reader::Ragged;

use crate::error::{Result, error};
use crate::format::Order;
use crate::open::Spec;
use alloc::string::ToString;

/// All items, one after the other.
pub(crate) const VALUES: &str = "values.npy";
/// Where each item begins, and where the last ends: one more than there are items.
pub(crate) const OFFSETS: &str = "offsets.npy";

/// Refuses what cannot be the offsets.
fn check_offsets(spec: &Spec) -> Result<()> {
    if spec.dtype.to_string() == "<i8" && spec.row_shape.is_empty() {
        return Ok(());
    }
    let (dtype, ndim) = (&spec.dtype, spec.row_shape.len() + 1);
    Err(error!(
        Mismatch,
        "expected offsets: dtype <i8, one axis; found dtype {dtype}, {ndim} axes: the file is another's"
    ))
}

/// Refuses values whose items are not joined along axis 0.
fn check_values(spec: &Spec) -> Result<()> {
    if spec.order == Order::C || spec.row_shape.is_empty() {
        return Ok(());
    }
    Err(error!(Mismatch, "expected values in C order, found Fortran order: items are joined along axis 0"))
}

/// How many of the items whose ends `end` gives are covered by `values` rows. The ends do not go down.
fn covered(items: u64, values: u64, end: impl Fn(u64) -> Result<u64>) -> Result<u64> {
    let (mut covered, mut past) = (0, items);
    // Most often all are: the last is asked first.
    if items > 0 && end(items - 1)? <= values {
        return Ok(items);
    }
    while covered < past {
        let middle = covered + (past - covered) / 2;
        if end(middle)? <= values { covered = middle + 1 } else { past = middle }
    }
    Ok(covered)
}

/// The offset that eight bytes of the file are.
fn offset(bytes: [u8; 8]) -> Result<u64> {
    let offset = i64::from_le_bytes(bytes);
    u64::try_from(offset).map_err(|_| error!(Malformed, "expected offsets that go up from 0, found {offset}"))
}
