//! Where rows are: offsets and counts, in checked arithmetic.

use super::Dtype;
use crate::error::{Result, error};
use alloc::vec::Vec;
use core::fmt;

/// Which axis grows: the first in C order, the last in Fortran order. Either way a row is one run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Axis 0 grows.
    C,
    /// The last axis grows.
    F,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Order::C => "C",
            Order::F => "F",
        })
    }
}

/// Offsets and lengths are signed 64-bit numbers in every file system and in NumPy.
const MAX_BYTES: u64 = i64::MAX as u64;

/// Where rows lie in a file, in bytes.
///
/// ```
/// let layout = npygrow::format::Layout::new(128, &"<f4".parse()?, &[2, 3])?;
/// assert_eq!((layout.data_start, layout.row_size), (128, 24));
/// assert_eq!(layout.end(10)?, 368);
/// assert_eq!(layout.rows_in(50), (2, 2));
/// # Ok::<(), npygrow::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// The first data byte: the header's length.
    pub data_start: u64,
    /// The bytes of one row; 0 where an axis or the dtype has no bytes.
    pub row_size: u64,
}

impl Layout {
    /// The layout behind a header of `header_len` bytes. [`OverLimit`](crate::ErrorKind::OverLimit) for rows that no
    /// file can hold.
    ///
    /// As in NumPy, an axis of 0 does not excuse the others: their product must stay in bounds too.
    pub fn new(header_len: u64, dtype: &Dtype, row_shape: &[u64]) -> Result<Layout> {
        let axes = row_shape.iter().filter(|&&n| n != 0);
        let full = axes.clone().try_fold(dtype.itemsize(), |size, &n| size.checked_mul(n).filter(|&n| n <= MAX_BYTES));
        match full {
            Some(size) if header_len <= MAX_BYTES => {
                let row_size = if axes.count() == row_shape.len() { size } else { 0 };
                Ok(Layout { data_start: header_len, row_size })
            }
            _ => Err(error!(OverLimit, "a row of shape {row_shape:?} and dtype {dtype} passes {MAX_BYTES} bytes")),
        }
    }

    /// The first byte after `rows` rows. [`OverLimit`](crate::ErrorKind::OverLimit) where no file reaches.
    pub fn end(&self, rows: u64) -> Result<u64> {
        let end = self.row_size.checked_mul(rows).and_then(|size| size.checked_add(self.data_start));
        end.filter(|&end| end <= MAX_BYTES)
            .ok_or_else(|| error!(OverLimit, "{rows} rows of {} bytes pass {MAX_BYTES} bytes", self.row_size))
    }

    /// How many whole rows `bytes` of data hold, and the bytes left over. Rows of 0 bytes cannot be counted so: then no
    /// row, and all bytes are left over.
    #[must_use]
    pub fn rows_in(&self, bytes: u64) -> (u64, u64) {
        let rows = bytes.checked_div(self.row_size).unwrap_or(0);
        (rows, bytes - rows * self.row_size)
    }
}

/// A shape as (rows, row shape); `None` for a 0-d one, which has no axis to grow.
#[must_use]
pub fn split_shape(shape: &[u64], order: Order) -> Option<(u64, Vec<u64>)> {
    let (&rows, row_shape) = match order {
        Order::C => shape.split_first()?,
        Order::F => shape.split_last()?,
    };
    Some((rows, row_shape.to_vec()))
}

/// The shape of `rows` rows: the inverse of [`split_shape`].
#[must_use]
pub fn join_shape(rows: u64, row_shape: &[u64], order: Order) -> Vec<u64> {
    match order {
        Order::C => [&[rows], row_shape].concat(),
        Order::F => [row_shape, &[rows]].concat(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::ErrorKind;
    use alloc::string::ToString;

    const MAX: u64 = i64::MAX as u64;

    fn row_size(dtype: &str, row_shape: &[u64]) -> Option<u64> {
        match Layout::new(128, &dtype.parse().unwrap(), row_shape) {
            Ok(layout) => Some(layout.row_size),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::OverLimit, "{error}");
                None
            }
        }
    }

    #[test]
    fn row_sizes() {
        assert_eq!(row_size("<f8", &[]), Some(8));
        assert_eq!(row_size("<c16", &[2, 3]), Some(96));
        assert_eq!(row_size("<f8", &[5, 0]), Some(0));
        assert_eq!(row_size("|S0", &[MAX, MAX]), Some(0));
        assert_eq!(row_size("|u1", &[MAX]), Some(MAX));
        assert_eq!(row_size("<u2", &[1 << 62]), None);
        assert_eq!(row_size("|u1", &[1 << 32, 1 << 32]), None);
        assert_eq!(row_size("|u1", &[0, 1 << 40, 1 << 40]), None);
        assert!(Layout::new(MAX + 1, &"|u1".parse().unwrap(), &[]).is_err());
    }

    #[test]
    fn ends_and_counts() {
        let layout = Layout { data_start: 128, row_size: 24 };
        assert_eq!(layout.end(0).unwrap(), 128);
        assert_eq!(layout.end(2).unwrap(), 176);
        assert_eq!(layout.rows_in(49), (2, 1));
        assert_eq!(layout.end((MAX - 128) / 24).unwrap(), MAX - (MAX - 128) % 24);
        let error = layout.end((MAX - 128) / 24 + 1).unwrap_err();
        assert_eq!(error.to_string(), "384307168202282320 rows of 24 bytes pass 9223372036854775807 bytes");
        assert!(layout.end(u64::MAX).is_err());
        let empty = Layout { data_start: 128, row_size: 0 };
        assert_eq!(empty.end(u64::MAX).unwrap(), 128);
        assert_eq!(empty.rows_in(40), (0, 40));
    }

    #[test]
    fn shapes_split_and_join() {
        for (order, shape, rows, row_shape) in [
            (Order::C, &[7, 2, 3][..], 7, &[2, 3][..]),
            (Order::F, &[2, 3, 7], 7, &[2, 3]),
            (Order::C, &[7], 7, &[]),
            (Order::F, &[7], 7, &[]),
        ] {
            assert_eq!(split_shape(shape, order), Some((rows, row_shape.to_vec())), "{order} {shape:?}");
            assert_eq!(join_shape(rows, row_shape, order), shape, "{order} {shape:?}");
        }
        assert_eq!(split_shape(&[], Order::C), None);
        assert_eq!(split_shape(&[], Order::F), None);
    }
}
