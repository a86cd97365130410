//! Which rows come in which batch: the same for the same seed and number of rows, whatever they are rows of.

use crate::error::{Result, error};
use crate::shuffle::Shuffle;
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::ops::Range;

/// The order of all rows, cut into batches. It takes no memory, but for a bucket.
#[derive(Clone)]
pub(super) struct Order {
    size: u64,
    seed: Option<u64>,
    drop_last: bool,
    /// Batches whose rows are sorted by their lengths, and cut into batches anew.
    bucket: Option<u64>,
    /// Rows that are taken at all, and what is between two of them.
    first: u64,
    step: i64,
    count: u64,
    shuffle: Option<Shuffle>,
    sorted: Sorted,
}

/// The rows of the bucket that it has come to, batch by batch.
#[derive(Clone, Default)]
struct Sorted {
    number: Option<u64>,
    rows: Vec<u64>,
}

/// The rows of one batch.
pub(crate) struct Wanted<'a> {
    order: &'a Order,
    /// Where in the order.
    places: Range<u64>,
    listed: OnceCell<Vec<u64>>,
}

impl Order {
    pub(super) fn new(count: u64, size: u64, seed: Option<u64>, drop_last: bool, bucket: Option<u64>) -> Result<Self> {
        if size == 0 {
            return Err(error!(Mismatch, "expected batches of one row or more, found 0"));
        }
        if bucket == Some(0) {
            return Err(error!(Mismatch, "expected buckets of one batch or more, found 0"));
        }
        let sorted = Sorted::default();
        let mut order = Order { size, seed, drop_last, bucket, first: 0, step: 1, count, shuffle: None, sorted };
        order.pick(0, 1, count);
        Ok(order)
    }

    /// The same of other rows.
    pub(super) fn pick(&mut self, first: u64, step: i64, count: u64) {
        (self.first, self.step, self.count) = (first, step, count);
        self.shuffle = self.seed.map(|seed| Shuffle::new(count, seed));
    }

    pub(super) fn batches(&self) -> u64 {
        self.taken().div_ceil(self.size)
    }

    /// How many rows come in batches.
    fn taken(&self) -> u64 {
        if self.drop_last { self.count - self.count % self.size } else { self.count }
    }

    fn row(&self, place: u64) -> u64 {
        let place = self.shuffle.map_or(place, |shuffle| shuffle.row(place));
        self.first.wrapping_add_signed(self.step.wrapping_mul(place as i64))
    }

    /// The rows of a batch; `length` says how long a row is, where that matters.
    pub(super) fn batch(&mut self, batch: u64, length: &dyn Fn(u64) -> Result<u64>) -> Result<Wanted<'_>> {
        let start = batch * self.size;
        let places = start..self.taken().min(start.saturating_add(self.size));
        let listed = OnceCell::new();
        if let Some(bucket) = self.bucket {
            let (number, batch) = (batch / bucket, batch % bucket);
            if self.sorted.number != Some(number) {
                self.sort(number, bucket, length)?;
            }
            let batches = (self.sorted.rows.len() as u64).div_ceil(self.size);
            // Shortest first, or in an order of chance.
            let seed = self.seed.map(|seed| seed.wrapping_add(number).wrapping_add(1));
            let batch = seed.map_or(batch, |seed| Shuffle::new(batches, seed).row(batch));
            let rows = self.sorted.rows.chunks(usize::try_from(self.size).unwrap_or(usize::MAX));
            let rows = usize::try_from(batch).ok().and_then(|batch| rows.into_iter().nth(batch));
            let _ = listed.set(rows.unwrap_or_default().to_vec());
        }
        Ok(Wanted { order: self, places, listed })
    }

    /// Sorts the rows of a bucket by their lengths, equal ones as they come.
    fn sort(&mut self, number: u64, bucket: u64, length: &dyn Fn(u64) -> Result<u64>) -> Result<()> {
        let places = self.size.saturating_mul(bucket);
        let start = places.saturating_mul(number);
        let places = start..self.taken().min(start.saturating_add(places));
        let mut rows = memory_for(places.end - places.start, "buckets")?;
        for place in places {
            let row = self.row(place);
            rows.push((length(row)?, row));
        }
        rows.sort_by_key(|(length, _)| *length);
        self.sorted = Sorted { number: Some(number), rows: rows.into_iter().map(|(_, row)| row).collect() };
        Ok(())
    }
}

impl Wanted<'_> {
    /// How many they are.
    pub(crate) fn len(&self) -> u64 {
        self.listed.get().map_or(self.places.end - self.places.start, |rows| rows.len() as u64)
    }

    /// Where they follow each other.
    pub(crate) fn range(&self) -> Option<Range<u64>> {
        let follow = self.order.shuffle.is_none() && self.order.bucket.is_none() && self.order.step == 1;
        let first = self.order.first;
        follow.then(|| first.saturating_add(self.places.start)..first.saturating_add(self.places.end))
    }

    /// All of them, in their order.
    pub(crate) fn list(&self) -> Result<&[u64]> {
        if let Some(rows) = self.listed.get() {
            return Ok(rows);
        }
        let mut rows = memory_for(self.places.end - self.places.start, "batches")?;
        rows.extend(self.places.clone().map(|place| self.order.row(place)));
        Ok(self.listed.get_or_init(|| rows))
    }
}

/// Memory for what is kept of each of `count` rows, which a file may claim without holding them.
fn memory_for<T>(count: u64, what: &str) -> Result<Vec<T>> {
    let mut memory = Vec::new();
    match usize::try_from(count).map(|count| memory.try_reserve_exact(count)) {
        Ok(Ok(())) => Ok(memory),
        _ => Err(error!(OverLimit, "no memory for the numbers of {count} rows: ask for smaller {what}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn more_rows_than_memory_has_numbers_for() {
        for bucket in [None, Some(1)] {
            let mut order = Order::new(1 << 61, u64::MAX, Some(7), false, bucket).unwrap();
            let batch = order.batch(0, &|_| Ok(1));
            let error = batch.and_then(|wanted| wanted.list().map(<[u64]>::to_vec)).unwrap_err();
            let what = if bucket.is_some() { "buckets" } else { "batches" };
            let expected = alloc::format!("no memory for the numbers of {} rows: ask for smaller {what}", 1_u64 << 61);
            assert_eq!(error.to_string(), expected);
        }
    }
}
