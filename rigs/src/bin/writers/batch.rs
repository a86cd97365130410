//! What is appended, and what of it is found afterwards.

use npygrow::{Column, Dataset, MAX_HEADER_SIZE, Ragged};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

/// Who wrote it, the number of the batch, that of the row in it, and how many rows it has.
pub(crate) type Row = [u64; 4];

/// What writers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    File,
    Ragged,
    Dataset,
}

impl What {
    pub(crate) const ALL: [What; 3] = [What::File, What::Ragged, What::Dataset];

    pub(crate) fn name(self) -> &'static str {
        match self {
            What::File => "file",
            What::Ragged => "ragged",
            What::Dataset => "dataset",
        }
    }
}

/// The rows of a batch.
pub(crate) fn rows(writer: u64, batch: u64, len: u64) -> Vec<Row> {
    (0..len).map(|at| [writer, batch, at, len]).collect()
}

/// How many rows each item of a ragged folder has, where the batch is in several.
pub(crate) fn items(batch: u64, len: u64) -> Vec<u64> {
    let items = (1 + batch % 3).min(len);
    let mut lengths = vec![1; items as usize];
    lengths[0] = len - (items - 1);
    lengths
}

/// How many values the item of a dataset's second column has beside this row, all of them [`note`].
pub(crate) fn note_len(row: &Row) -> u64 {
    (row[0] + row[1] + row[2]) % 4
}

pub(crate) fn note(row: &Row) -> u64 {
    row[0] << 40 | row[1] << 8 | row[2]
}

/// All rows, in their order. What does not go together is an error.
pub(crate) fn read(what: What, path: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    match what {
        What::File => read_file(path),
        What::Ragged => {
            let ragged = Ragged::open(path, MAX_HEADER_SIZE)?;
            let mut all = Vec::new();
            let mut left = Vec::new();
            for item in 0..ragged.len() {
                let rows = ragged.item::<Row>(item)?;
                if left.is_empty()
                    && let Some([_, batch, _, len]) = rows.first()
                {
                    left = items(*batch, *len);
                }
                if left.is_empty() || left.remove(0) != rows.len() as u64 {
                    return Err(format!("item {item} has {} rows", rows.len()).into());
                }
                all.extend_from_slice(rows);
            }
            Ok(all)
        }
        What::Dataset => {
            let dataset = Dataset::open(path, MAX_HEADER_SIZE)?;
            let (Some(Column::Plain(rows)), Some(Column::Ragged(notes))) = (dataset.get("rows"), dataset.get("notes"))
            else {
                return Err("there are other columns".into());
            };
            let rows = rows.values::<Row>().ok_or("another dtype")?;
            for (at, row) in rows.iter().enumerate() {
                let found = notes.item::<u64>(at as u64)?;
                if found.len() as u64 != note_len(row) || found.iter().any(|found| *found != note(row)) {
                    return Err(format!("row {at} is {row:?}, beside it are {found:?}").into());
                }
            }
            Ok(rows.to_vec())
        }
    }
}

/// By no code of the library: the count is at its place, and rows are after 128 bytes.
fn read_file(path: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let count = bytes.get(61..80).and_then(|text| str::from_utf8(text).ok()).ok_or("no header")?;
    let count: usize = count.trim_start().parse()?;
    let (values, _) = bytes[128..].as_chunks::<8>();
    let rows: Vec<u64> = values.iter().map(|value| u64::from_le_bytes(*value)).collect();
    let (rows, _) = rows.as_chunks::<4>();
    rows.get(..count).map(<[Row]>::to_vec).ok_or_else(|| format!("{count} rows counted, {} there", rows.len()).into())
}

/// What is wrong with rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) interleaved: u64,
}

/// What a writer was told: how many batches are there, and for each of the last two where it begins.
pub(crate) type Told = (u64, [u64; 2]);

/// Compares rows with what the writers were told.
pub(crate) fn judge(rows: &[Row], told: &BTreeMap<u64, Told>) -> Wrong {
    let mut wrong = Wrong::default();
    let mut found: BTreeMap<u64, BTreeMap<u64, u64>> = BTreeMap::new();
    let mut at = 0;
    while let Some(first @ [writer, batch, _, len]) = rows.get(at) {
        let whole = rows.get(at..at.saturating_add(*len as usize));
        if first[2] != 0 || *len == 0 || whole != Some(&self::rows(*writer, *batch, (*len).min(1 << 20))) {
            wrong.interleaved += 1;
            at += 1;
            continue;
        }
        let batches = found.entry(*writer).or_default();
        // A writer's batches are in its order.
        wrong.interleaved += u64::from(batches.last_key_value().is_some_and(|(last, _)| last > batch));
        wrong.doubled += u64::from(batches.insert(*batch, at as u64).is_some());
        at += *len as usize;
    }
    for (writer, (acknowledged, starts)) in told {
        let batches = found.remove(writer).unwrap_or_default();
        // None is there without those before it.
        let end = batches.last_key_value().map_or(0, |(last, _)| last + 1).max(*acknowledged);
        wrong.lost += end - batches.len() as u64;
        let misplaced = |batch: &u64| {
            let start = starts[*batch as usize % 2];
            start != UNTOLD && batches.get(batch).is_some_and(|found| *found != start)
        };
        wrong.interleaved += (acknowledged.saturating_sub(1)..*acknowledged).filter(misplaced).count() as u64;
    }
    wrong.interleaved += found.len() as u64;
    wrong
}

/// In the place of a row number that the writer was not told.
pub(crate) const UNTOLD: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_seen() {
        let told = BTreeMap::from([(1, (2, [0, 2])), (2, (1, [UNTOLD; 2]))]);
        let good = [rows(1, 0, 2), rows(1, 1, 3), rows(2, 0, 1), rows(2, 1, 1)].concat();
        let judged = |rows: &[Row]| {
            let Wrong { lost, doubled, interleaved } = judge(rows, &told);
            [lost, doubled, interleaved]
        };
        assert_eq!(judged(&good), [0; 3]);
        assert_eq!(judged(&good[..6]), [0; 3], "what was not acknowledged may be missing");
        assert_eq!(judged(&good[..5]), [1, 0, 0]);
        assert_eq!(judged(&[&good[..], &good[5..6]].concat()), [0, 1, 1], "and it is out of order");
        assert_eq!(judged(&good[..4])[2], 2, "a torn batch");
        assert_eq!(
            judged(&[&good[2..5], &good[..2], &good[5..]].concat())[2],
            2,
            "out of order, and not where it was told"
        );
        assert_eq!(judged(&[&good[..], &rows(3, 0, 1)[..]].concat()), [0, 0, 1], "nobody's");
    }
}
