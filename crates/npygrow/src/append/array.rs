//! Appending arrays of the ndarray crate.

use super::Appender;
use crate::element::{Element, bytes_of};
use crate::error::{Result, error};
use crate::format::{Order, Tuple};
use crate::storage::BLOCK;
use alloc::vec::Vec;
use core::ops::Range;
use ndarray::{ArrayRef, Dimension};

impl Appender {
    /// Appends an array of any layout: of shape (n, row shape), in Fortran order (row shape, n). A new file takes its row
    /// shape from it.
    ///
    /// An array that does not lie as the file does is written in blocks of at most 4 MiB.
    ///
    /// ```
    /// use ndarray::array;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("pose.npy");
    /// let mut pose = npygrow::Appender::open(&path)?;
    /// assert_eq!(pose.append_array(&array![[0.0f32, 0.5], [1.0, 1.5]])?, Some(0..2));
    /// assert_eq!(pose.append_array(&array![[2.0f32, 3.0], [2.5, 3.5]].t())?, Some(2..4));
    /// assert_eq!(npygrow::Reader::open(&path)?.rows::<[f32; 2]>(2..4)?, [[2.0, 2.5], [3.0, 3.5]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`append`](Appender::append), and `Mismatch` for an array without axes, or rows of another shape.
    pub fn append_array<T: Element, D: Dimension>(&mut self, rows: &ArrayRef<T, D>) -> Result<Option<Range<u64>>> {
        // In Fortran order the file's bytes are those of the transposed array in C order.
        let array = match self.order() {
            Order::C => rows.view(),
            Order::F => rows.t(),
        };
        let mut sizes = array.shape().iter().map(|&size| size as u64);
        let Some(count) = sizes.next() else {
            let error = error!(Mismatch, "expected rows, found an array without axes: append an array of one row");
            return Err(self.named(error));
        };
        let mut row_shape: Vec<u64> = sizes.chain(T::shape()).collect();
        if self.order() == Order::F {
            row_shape.reverse();
        }
        if let Some(expected) = self.row_shape().filter(|&expected| *expected != row_shape) {
            let (expected, found) = (Tuple(expected), Tuple(&row_shape));
            let error = error!(Mismatch, "expected rows of shape {expected}, found rows of shape {found}");
            return Err(self.named(error));
        }
        self.accept::<T>(|| row_shape)?;
        if let Some(values) = array.to_slice() {
            return self.append_rows(count, bytes_of(values));
        }
        let mut batch = self.begin(count)?;
        let mut block = Vec::with_capacity((BLOCK / size_of::<T>().max(1)).clamp(1, array.len().max(1)));
        for value in &array {
            block.push(*value);
            if block.len() == block.capacity() {
                batch.write(bytes_of(&block))?;
                block.clear();
            }
        }
        batch.write(bytes_of(&block))?;
        batch.commit()
    }
}
