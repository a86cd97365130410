//! A row, or any part of it, as text or bytes.

use crate::index::Steps;
use crate::print::Stop;
use crate::text::size;
use crate::value::{Line, Value};
use npygrow::{Dtype, Error, ErrorKind, Order};
use std::io::{self, Write};

/// A row is held in memory, and so is its text.
pub(crate) const MAX_ROW: u64 = 1 << 30;
const MAX_COLUMNS: usize = 1 << 20;

/// One axis of what is printed of a row: so many items, `stride` bytes apart.
#[derive(Clone, Copy)]
struct Axis {
    start: usize,
    stride: isize,
    count: usize,
    is_one: bool,
}

/// What is printed of the rows of one file.
pub(crate) struct Cells {
    value: Value,
    order: Order,
    /// Items in a row, by axis.
    pub(crate) row_shape: Vec<u64>,
    /// In the order of the shape.
    axes: Vec<Axis>,
}

impl Cells {
    /// Whole rows of `row_size` bytes.
    pub(crate) fn new(dtype: &Dtype, order: Order, shape: &[u64], row_size: u64) -> Result<Self, Error> {
        let mut row_shape = shape.to_vec();
        match order {
            Order::C => drop(row_shape.drain(..row_shape.len().min(1))),
            Order::F => drop(row_shape.pop()),
        }
        let value = Value::of(dtype).filter(|_| row_size <= MAX_ROW).ok_or_else(|| too_long("row", row_size))?;
        let mut cells = Cells { value, order, row_shape, axes: Vec::new() };
        let whole: Vec<_> = cells.row_shape.iter().map(|&len| Steps::range(0, len)).collect();
        cells.select(&whole);
        Ok(cells)
    }

    /// So much of each axis.
    pub(crate) fn select(&mut self, steps: &[Steps]) {
        let mut stride = self.value.size;
        let mut axes: Vec<_> = (0..self.row_shape.len()).collect();
        // The axis whose items are next to each other comes first.
        if self.order == Order::C {
            axes.reverse();
        }
        self.axes = vec![Axis { start: 0, stride: 0, count: 0, is_one: false }; axes.len()];
        for axis in axes {
            let Steps { start, step, count, is_one } = steps[axis];
            // All of it inside of a row, whose size fits; where an axis has no items, nothing is read.
            self.axes[axis] = Axis {
                start: (start as usize).wrapping_mul(stride),
                stride: (step as isize).wrapping_mul(stride as isize),
                count: count as usize,
                is_one,
            };
            stride = stride.wrapping_mul(self.row_shape[axis] as usize);
        }
    }

    /// The columns of CSV that a row takes, each name after `prefix`.
    pub(crate) fn columns(&self, prefix: &str, names: &mut Vec<String>) -> Result<(), Stop> {
        let items = self.row_shape.iter().try_fold(1, |items: usize, &n| items.checked_mul(usize::try_from(n).ok()?));
        for i in 0..items.unwrap_or(usize::MAX) {
            self.value.columns(&if items == Some(1) { prefix.into() } else { format!("{prefix}[{i}]") }, names);
            if names.len() > MAX_COLUMNS {
                let text = format!("a row has more than the {MAX_COLUMNS} columns that are named");
                return Err(Error::new(ErrorKind::OverLimit, text).into());
            }
        }
        Ok(())
    }

    /// Writes the row that `bytes` are.
    pub(crate) fn write(&self, bytes: &[u8], line: &mut Line) {
        written(&self.axes, bytes, 0, &self.value, line);
    }

    /// The same, as bytes in the order of the file.
    pub(crate) fn write_raw(&self, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let mut axes = self.axes.clone();
        if self.order == Order::F {
            axes.reverse();
        }
        raw(&axes, bytes, 0, self.value.size, out)
    }
}

/// The refusal of what does not go into memory.
pub(crate) fn too_long(what: &str, bytes: u64) -> Error {
    let (found, most) = (size(bytes), size(MAX_ROW));
    Error::new(ErrorKind::OverLimit, format!("a {what} takes {found}, more than the {most} that are printed"))
}

/// The items that `axes` choose, from the byte `at` on, as nested lists.
fn written(axes: &[Axis], bytes: &[u8], at: usize, value: &Value, line: &mut Line) {
    match axes.split_first() {
        None => value.write(&bytes[at..at + value.size], line),
        Some((axis, axes)) if axis.is_one => written(axes, bytes, at + axis.start, value, line),
        Some((axis, axes)) => line.list(axis.count, |line, i| {
            written(
                axes,
                bytes,
                at.wrapping_add(axis.start).wrapping_add_signed(axis.stride.wrapping_mul(i as isize)),
                value,
                line,
            );
        }),
    }
}

/// The same, as bytes in the order of the file.
fn raw(axes: &[Axis], bytes: &[u8], at: usize, size: usize, out: &mut dyn Write) -> io::Result<()> {
    match axes.split_first() {
        None => out.write_all(&bytes[at..at + size]),
        Some((axis, axes)) => (0..axis.count).try_for_each(|i| {
            raw(
                axes,
                bytes,
                at.wrapping_add(axis.start).wrapping_add_signed(axis.stride.wrapping_mul(i as isize)),
                size,
                out,
            )
        }),
    }
}
