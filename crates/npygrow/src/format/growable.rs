//! Headers with room: one layout for new files and for adopted ones.

use super::count::CountField;
#[cfg(feature = "std")]
use super::dtype::Tuple;
use super::preamble::{Header, MAGIC, MAX_NDIM, MAX_ROWS, text_start};
use super::{Dtype, Order};
use crate::error::{Result, error};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// A header with room to grow, to be written at offset 0.
///
/// ```text
/// \x93NUMPY 1 0 len {'descr': '<f8', 'fortran_order': False, 'shape': (                 12, 3), }          \n data
/// 0                10                                                 61                 E=80             127 128
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growable {
    /// All of it, up to the first data byte.
    pub bytes: Vec<u8>,
    /// Where its count of rows is.
    pub count: CountField,
}

/// The least columns of the count in a header of ours, which 64-bit counts fit, and in one that was adopted.
const COLUMNS: usize = 19;
const ADOPTED_COLUMNS: usize = 8;

/// Data starts at multiples of the first, as NumPy's; and not before the second, so that plain types all start there.
const ALIGNMENT: usize = 64;
const MIN_LEN: usize = 128;

impl Growable {
    /// The header of a new file: the oldest version that can hold it, padded to the next multiple of 64.
    ///
    /// # Errors
    /// `OverLimit` for more than [`MAX_ROWS`] rows, [`MAX_NDIM`] axes or `max_header_size` bytes.
    pub fn new(dtype: &Dtype, order: Order, row_shape: &[u64], rows: u64, max_header_size: u64) -> Result<Growable> {
        if rows > MAX_ROWS {
            return Err(error!(OverLimit, "expected at most {MAX_ROWS} rows, found {rows}"));
        }
        if row_shape.len() >= MAX_NDIM {
            return Err(error!(OverLimit, "expected at most {MAX_NDIM} axes, found {}", row_shape.len() + 1));
        }
        let header = (1..=3)
            .find_map(|version| lay_out(version, None, dtype, order, row_shape, rows))
            .ok_or_else(|| error!(OverLimit, "expected a header of at most 4 GiB, found a longer one"))?;
        Header::len_from(&header.bytes, max_header_size)?;
        Ok(header)
    }

    /// The same in exactly `len` bytes, as `version`; `None` when no field of 8 columns or more fits that holds `rows`.
    ///
    /// A file whose header is byte for byte this one was laid out here.
    #[must_use]
    pub fn within(
        version: u8,
        len: u64,
        dtype: &Dtype,
        order: Order,
        row_shape: &[u64],
        rows: u64,
    ) -> Option<Growable> {
        lay_out(version, Some(len), dtype, order, row_shape, rows)
    }
}

/// The one layout: the count ends at the first multiple of 16 that leaves it [`COLUMNS`], or, where `len` has no place
/// for that, at the last that fits.
fn lay_out(
    version: u8,
    len: Option<u64>,
    dtype: &Dtype,
    order: Order,
    row_shape: &[u64],
    rows: u64,
) -> Option<Growable> {
    let axes = |form: fn(&u64) -> String| row_shape.iter().map(form).collect::<String>();
    let (before, after) = match order {
        _ if row_shape.is_empty() => (String::new(), ",".into()),
        Order::C => (String::new(), axes(|n| format!(", {n}"))),
        Order::F => (axes(|n| format!("{n}, ")), String::new()),
    };
    let fortran_order = if order == Order::F { "True" } else { "False" };
    let left = format!("{{'descr': {}, 'fortran_order': {fortran_order}, 'shape': ({before}", dtype.descr());
    let left = encode(version, &left)?;
    let right = format!("{after}), }}");

    let text_start = text_start(version);
    let start = text_start + left.len();
    let rest = right.len() + 1;
    let mut end = (start + COLUMNS).next_multiple_of(16);
    let len = match len {
        Some(len) => usize::try_from(len).ok()?,
        None => (end + rest).next_multiple_of(ALIGNMENT).max(MIN_LEN),
    };
    if end + rest > len {
        end = len.checked_sub(rest)? / 16 * 16;
    }
    if end < start + ADOPTED_COLUMNS {
        return None;
    }

    let mut bytes = blank(version, len)?;
    bytes[text_start..start].copy_from_slice(&left);
    bytes[end..end + right.len()].copy_from_slice(right.as_bytes());
    let count = CountField::blank(&bytes, start, end);
    if rows > count.max_rows() {
        return None;
    }
    bytes[end - 16..end].copy_from_slice(&count.block(rows));
    Some(Growable { bytes, count })
}

/// A header without its text: spaces, closed by a newline.
fn blank(version: u8, len: usize) -> Option<Vec<u8>> {
    let start = text_start(version);
    let size = len.checked_sub(start)?;
    let mut bytes = vec![b' '; len];
    bytes[..6].copy_from_slice(&MAGIC);
    bytes[6..8].copy_from_slice(&[version, 0]);
    match version {
        1 => bytes[8..10].copy_from_slice(&u16::try_from(size).ok()?.to_le_bytes()),
        _ => bytes[8..12].copy_from_slice(&u32::try_from(size).ok()?.to_le_bytes()),
    }
    *bytes.last_mut()? = b'\n';
    Some(bytes)
}

/// A header without room, in exactly `len` bytes; `None` when its text does not fit.
#[cfg(feature = "std")]
pub(crate) fn plain_header(version: u8, len: u64, dtype: &Dtype, order: Order, shape: &[u64]) -> Option<Vec<u8>> {
    let fortran_order = if order == Order::F { "True" } else { "False" };
    let shape = Tuple(shape);
    let text = format!("{{'descr': {}, 'fortran_order': {fortran_order}, 'shape': {shape}, }}", dtype.descr());
    let text = encode(version, &text)?;
    let mut bytes = blank(version, usize::try_from(len).ok()?)?;
    let room = bytes.len().checked_sub(1)?;
    bytes.get_mut(text_start(version)..room)?.get_mut(..text.len())?.copy_from_slice(&text);
    Some(bytes)
}

fn encode(version: u8, text: &str) -> Option<Vec<u8>> {
    match version {
        3 => Some(text.into()),
        _ => text.chars().map(|c| u8::try_from(c).ok()).collect(),
    }
}
