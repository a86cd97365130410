use super::Ragged;
use crate::batches::{Batches, Source, Wanted};
use crate::error::{Error, Result, error};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

impl Ragged {
    /// The items as they are counted now, in batches of `size`, as [`View::batches`](crate::View::batches) has rows.
    ///
    /// `bucket` puts items of like length together: of every so many batches in turn the items are sorted by their lengths and
    /// cut into batches anew, which come shortest first, or with `shuffle` in a random order.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("words");
    /// let mut words = npygrow::RaggedAppender::open(&path)?;
    /// words.define(&"|u1".parse()?, &[])?;
    /// words.extend_bytes(&[5, 3, 5, 3], b"filesnpygrowsthe")?;
    /// let words = npygrow::Ragged::open(&path, npygrow::MAX_HEADER_SIZE)?;
    /// let batches = words.batches(2, None, false, Some(2))?;
    /// let texts = batches.map(|batch| Ok(String::from_utf8(batch?.to_vec())?));
    /// assert_eq!(texts.collect::<Result<Vec<_>, Box<dyn std::error::Error>>>()?, ["npythe", "filesgrows"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Mismatch` for batches of no items, and buckets of no batches. The iterator gives those of reading, and ends with the
    /// first: `Malformed` when offsets go down or past the values, `OverLimit` when a batch does not fit into memory.
    pub fn batches(&self, size: u64, shuffle: Option<u64>, drop_last: bool, bucket: Option<u64>) -> Result<Batches> {
        let bucket = bucket.map(|batches| (0, batches));
        Batches::new(self.path.clone(), vec![Box::new(self.clone())], self.len(), size, shuffle, drop_last, bucket)
    }
}

impl Source for Ragged {
    fn measure(&self, rows: &Wanted<'_>) -> Result<(u64, Option<Vec<u64>>)> {
        let lengths = match rows.range() {
            Some(items) => self.lengths(items)?,
            None => rows.list()?.iter().map(|&item| self.length(item)).collect::<Result<_>>()?,
        };
        let values = lengths.iter().try_fold(0_u64, |all, &len| all.checked_add(len));
        let size = values.and_then(|values| values.checked_mul(self.values.row_size()));
        let size = size.ok_or_else(|| {
            let items = rows.len();
            error!(OverLimit, "{items} items do not fit into memory: ask for smaller batches").at(self.path.display())
        })?;
        Ok((size, Some(lengths)))
    }

    fn read(&self, rows: &Wanted<'_>, out: &mut [u8]) -> Result<()> {
        match rows.range() {
            _ if out.is_empty() => Ok(()),
            Some(items) => {
                let (start, end) = (self.range(items.start)?.start, self.range(items.end - 1)?.end);
                self.values.read_into(start..end, out)
            }
            None => rows.list().and_then(|items| self.gather_unmapped(items, out)),
        }
        .map_err(|error: Error| error.at(self.path.display()))
    }

    fn length(&self, item: u64) -> Result<u64> {
        self.range(item).map(|range| range.end - range.start)
    }
}
