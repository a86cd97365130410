use super::{Column, Dataset};
use crate::batches::{Batches, Source};
use crate::error::{Error, Result, error};
use alloc::boxed::Box;
use alloc::vec::Vec;

impl Dataset {
    /// The rows as they are counted now, in batches of `size`, as [`View::batches`](crate::View::batches) has them; each with a
    /// [part](crate::Block::parts) for every column. `bucket` is as in [`Ragged::batches`](crate::Ragged::batches), by the
    /// lengths of a ragged column.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("run");
    /// # use npygrow::{ColumnPart, Dataset, DatasetAppender};
    /// let mut run = DatasetAppender::open(&path)?;
    /// run.define_ragged("text", &"|u1".parse()?, &[])?;
    /// run.append(2, &[("text", ColumnPart::Items { lengths: &[4, 3], values: b"grownpy" })])?;
    /// let run = Dataset::open(&path, npygrow::MAX_HEADER_SIZE)?;
    /// let batch = run.batches(2, None, false, Some(("text", 1)))?.next().unwrap()?;
    /// let Some(ColumnPart::Items { lengths, values }) = batch.parts().next() else { panic!() };
    /// assert_eq!((lengths, values), (&[3, 4][..], &b"npygrow"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`View::batches`](crate::View::batches) and [`Ragged::batches`](crate::Ragged::batches); `Mismatch` where there is no
    /// such ragged column.
    pub fn batches(
        &self,
        size: u64,
        shuffle: Option<u64>,
        drop_last: bool,
        bucket: Option<(&str, u64)>,
    ) -> Result<Batches> {
        let bucket = bucket.map(|(by, batches)| Ok((self.ragged(by)?, batches)));
        let bucket = bucket.transpose().map_err(|error: Error| error.at(self.path.display()))?;
        let mut columns: Vec<Box<dyn Source>> = Vec::with_capacity(self.columns.len());
        for column in self.columns.values() {
            columns.push(match column {
                Column::Plain(view) => {
                    view.check_batch(size.min(self.len()))?;
                    Box::new(view.clone())
                }
                Column::Ragged(items) => Box::new(items.clone()),
            });
        }
        Batches::new(self.path.clone(), columns, self.len(), size, shuffle, drop_last, bucket)
    }

    /// Which of the columns the ragged one `name` is.
    fn ragged(&self, name: &str) -> Result<usize> {
        let is_ragged = |column: &Column| matches!(column, Column::Ragged(_));
        let at = self.columns.iter().position(|(other, column)| other == name && is_ragged(column));
        at.ok_or_else(|| {
            let ragged: Vec<_> =
                self.columns.iter().filter(|(_, column)| is_ragged(column)).map(|(name, _)| name.as_str()).collect();
            let ragged = if ragged.is_empty() { "none".into() } else { ragged.join(", ") };
            error!(Mismatch, "expected a ragged column to sort by, found {name:?}: the ragged columns are {ragged}")
        })
    }
}
