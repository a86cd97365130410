//! Folders one after the other: what was the end of one is where the offsets of the next go on from.

use super::{Column, ColumnSpec, Dataset, DatasetAppender, is_items};
use crate::error::{Error, Result, error};
use crate::format::{Order, Tuple};
use crate::group::ColumnPart;
use crate::options::{Mode, Options};
use crate::ragged::Ragged;
use crate::storage::Directory;
use crate::view::View;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;
use std::path::Path;

/// Rows that are appended at once.
const STEP: u64 = 16 << 10;

/// Writes the rows of the folders `inputs`, all datasets or all of items, one after the other to a new folder `out`; says how
/// many there are. Memory does not grow with them.
///
/// `options` says the durability; with the others there is nothing to choose. What was written before a failure stays, as whole
/// rows of all columns.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = |name: &str| folder.path().join(name);
/// for name in ["one", "two"] {
///     npygrow::RaggedAppender::open(path(name))?.append(name.as_bytes())?;
/// }
/// let inputs = [path("one"), path("two")];
/// assert_eq!(npygrow::concat_folders(&inputs, path("all"), npygrow::Appender::options())?, 2);
/// assert_eq!(npygrow::Ragged::open(path("all"), npygrow::MAX_HEADER_SIZE)?.item::<u8>(1)?, b"two");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// `Io` when `out` has columns already; `Mismatch` when the inputs' columns are not the same, before anything is written; else
/// as [`Dataset::open`], [`Ragged::open`] and [`DatasetAppender::append`](crate::DatasetAppender::append).
pub fn concat_folders(inputs: &[impl AsRef<Path>], out: impl AsRef<Path>, options: Options) -> Result<u64> {
    let (limit, out) = (options.header_limit(), out.as_ref());
    let mut all = Vec::new();
    for input in inputs {
        let input = input.as_ref();
        let ragged = Directory::at(input).and_then(|folder| is_items(&folder));
        all.push(match ragged.map_err(|error: Error| error.at(input.display()))? {
            true => Input::Items(Box::new(Ragged::open(input, limit)?)),
            false => Input::Columns(Dataset::open(input, limit)?),
        });
    }
    let Some((first, others)) = all.split_first() else {
        return Err(error!(Mismatch, "expected folders to join, found none"));
    };
    for other in others {
        first.check(other)?;
    }
    let options = options.mode(Mode::New);
    let rows = match first {
        Input::Items(items) => {
            let options = options.dtype(items.dtype().clone()).row_shape(row_shape(items.values()));
            let mut joined = options.open_ragged(out)?;
            for input in &all {
                let Input::Items(items) = input else { continue };
                for rows in steps(items.len()) {
                    let (lengths, values) = part(items, rows)?;
                    joined.extend_bytes(&lengths, values)?;
                }
            }
            let rows = joined.len();
            joined.close()?;
            rows
        }
        Input::Columns(columns) => {
            let mut joined = options.open_dataset(out)?;
            for (name, column) in columns.columns() {
                match column {
                    Column::Plain(view) => joined.define(name, view.dtype(), &row_shape(view))?,
                    Column::Ragged(items) => {
                        joined.define_ragged(name, items.dtype(), &row_shape(items.values()))?;
                    }
                }
            }
            // Also where no input has a row.
            append(&mut joined, columns, 0..0)?;
            for input in &all {
                let Input::Columns(columns) = input else { continue };
                steps(columns.len()).try_for_each(|rows| append(&mut joined, columns, rows))?;
            }
            let rows = joined.len();
            joined.close()?;
            rows
        }
    };
    Ok(rows)
}

enum Input {
    Items(Box<Ragged>),
    Columns(Dataset),
}

impl Input {
    fn path(&self) -> &Path {
        match self {
            Input::Items(items) => items.path(),
            Input::Columns(columns) => columns.path(),
        }
    }

    fn columns(&self) -> Vec<ColumnSpec> {
        fn of(name: &str, is_ragged: bool, view: &View) -> ColumnSpec {
            ColumnSpec { name: name.to_string(), is_ragged, dtype: view.dtype().clone(), row_shape: row_shape(view) }
        }
        match self {
            Input::Items(items) => alloc::vec![of("", true, items.values())],
            Input::Columns(columns) => columns
                .columns()
                .map(|(name, column)| match column {
                    Column::Plain(view) => of(name, false, view),
                    Column::Ragged(items) => of(name, true, items.values()),
                })
                .collect(),
        }
    }

    /// Refuses another input whose columns differ, and shows the first that does.
    fn check(&self, other: &Input) -> Result<()> {
        let (expected, found) = (self.columns(), other.columns());
        if expected == found {
            return Ok(());
        }
        let at = expected.iter().zip(&found).take_while(|(a, b)| a == b).count();
        let text = |columns: &[ColumnSpec]| match columns.get(at) {
            Some(ColumnSpec { name, is_ragged, dtype, row_shape }) => {
                let (rows, shape) = (if *is_ragged { "items" } else { "rows" }, Tuple(row_shape));
                alloc::format!("{name:?} with {rows} of dtype {dtype} and shape {shape}")
            }
            None => String::from("no more"),
        };
        let first = self.path().display();
        let error = error!(Mismatch, "expected the columns of {first}: {}, found {}", text(&expected), text(&found));
        Err(error.at(other.path().display()))
    }
}

fn row_shape(view: &View) -> Vec<u64> {
    match view.order() {
        Order::C => view.shape().get(1..),
        Order::F => view.shape().split_last().map(|(_, row)| row),
    }
    .unwrap_or_default()
    .to_vec()
}

fn steps(rows: u64) -> impl Iterator<Item = Range<u64>> {
    (0..rows.div_ceil(STEP)).map(move |step| step * STEP..rows.min((step + 1) * STEP))
}

/// The lengths of a range of items, and their values.
fn part(items: &Ragged, rows: Range<u64>) -> Result<(Vec<u64>, &[u8])> {
    let lengths = items.lengths(rows.clone())?;
    if rows.is_empty() {
        return Ok((lengths, &[]));
    }
    let (start, end) = (items.range(rows.start)?.start, items.range(rows.end - 1)?.end);
    Ok((lengths, bytes(items.values(), start..end)))
}

fn bytes(view: &View, rows: Range<u64>) -> &[u8] {
    let at = |row: u64| usize::try_from(row * view.row_size()).unwrap_or(usize::MAX);
    view.bytes().get(at(rows.start)..at(rows.end)).unwrap_or_default()
}

fn append(joined: &mut DatasetAppender, columns: &Dataset, rows: Range<u64>) -> Result<()> {
    let mut lengths = Vec::new();
    for (name, column) in columns.columns() {
        lengths.push(match column {
            Column::Plain(view) if view.order() == Order::F && view.shape().len() > 1 => {
                let error = error!(Mismatch, "column {name}: expected C order, found Fortran order");
                return Err(error.at(columns.path().display()));
            }
            Column::Plain(view) => (Vec::new(), bytes(view, rows.clone())),
            Column::Ragged(items) => part(items, rows.clone())?,
        });
    }
    let parts = columns.columns().zip(&lengths).map(|((name, column), (lengths, values))| match column {
        Column::Plain(_) => (name, ColumnPart::Rows(values)),
        Column::Ragged(_) => (name, ColumnPart::Items { lengths, values }),
    });
    joined.append(rows.end - rows.start, &parts.collect::<Vec<_>>()).map(drop)
}
