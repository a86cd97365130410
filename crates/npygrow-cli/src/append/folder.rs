//! Rows for all columns of a folder, from a file or a folder of items for each.

use super::files::Rows;
use super::{Append, Done, Failures, STDIN, mismatch};
use crate::folder::{Folder, advised, is_items};
use crate::text::plain;
use npygrow::{Column, ColumnPart, Error, Order, Ragged, Result, View, inspect};
use std::fs;
use std::path::{Path, PathBuf};

/// Rows that go in together: a part of each column, by name; that of a folder of items has none.
type Batch = Vec<(String, Column)>;

/// `NAME=FILE`; a file of just that name is no such thing.
fn named(input: &Path) -> Option<(&str, &Path)> {
    let (name, file) = input.to_str()?.split_once('=')?;
    (!input.exists()).then_some((name, Path::new(file)))
}

impl Append {
    /// Whether OUT is a folder, or is to be one.
    pub(super) fn is_for_folder(&self) -> bool {
        let is_npy = self.output.extension().is_some_and(|extension| extension == "npy");
        let fits = |input: &PathBuf| input.is_dir() || named(input).is_some();
        self.output.is_dir() || !self.output.exists() && !is_npy && self.inputs.iter().all(fits)
    }

    /// Appends to a folder what its columns are given.
    pub(super) fn folder(&self, done: &mut Done) -> Result<(), Failures> {
        let batches = self.batches()?;
        let is_new = !self.output.exists();
        let appended = self.append_batches(&batches, done);
        if is_new && appended.is_err() {
            // What could not be begun leaves nothing; a folder that has something in it stays.
            let _ = fs::remove_dir(&self.output);
        }
        appended.map_err(|error| match error.path().map(PathBuf::from) {
            Some(path) if !path.starts_with(&self.output) => vec![(path, error)],
            _ => self.failed(error),
        })
    }

    /// The inputs, each of which was looked at.
    fn batches(&self) -> Result<Vec<Batch>, Failures> {
        if self.csv || self.dtype.is_some() || self.row_shape.is_some() {
            let text = "--csv, --dtype and --row-shape are for a file: a folder takes NAME=FILE for each column";
            return Err(self.failed(mismatch(text)));
        }
        let (mut batches, mut failures) = (Vec::new(), Vec::new());
        let mut together = Batch::new();
        let any_named = self.inputs.iter().any(|input| named(input).is_some());
        for input in &self.inputs {
            match named(input) {
                Some((name, file)) => match self.column(file) {
                    Ok(column) => together.push((name.into(), column)),
                    Err(error) => failures.push((file.to_path_buf(), advised(file, error))),
                },
                None => match self.whole(input, any_named) {
                    Ok(batch) => batches.push(batch),
                    Err(error) => failures.push((input.clone(), advised(input, error))),
                },
            }
        }
        if any_named {
            batches.push(together);
        }
        if failures.is_empty() { Ok(batches) } else { Err(failures) }
    }

    /// What `NAME=FILE` gives to a column.
    fn column(&self, file: &Path) -> Result<Column> {
        let limit = self.common.max_header_size;
        if file.is_dir() {
            return Ragged::open(file, limit).map(Column::Ragged);
        }
        let view = View::open(file, limit)?;
        Rows::of(view.dtype(), view.shape(), view.order())?;
        Ok(Column::Plain(view))
    }

    /// The columns of a folder that is given without a name.
    fn whole(&self, input: &Path, any_named: bool) -> Result<Batch> {
        if any_named || input.as_os_str() == STDIN || !input.is_dir() && input.exists() {
            return Err(mismatch("expected NAME=FILE, or folders like OUT alone"));
        }
        Ok(match Folder::open(input, self.common.max_header_size)? {
            Folder::Items(items) => vec![(String::new(), Column::Ragged(*items))],
            Folder::Columns(columns) => columns.columns().map(|(name, column)| (name.into(), column.clone())).collect(),
        })
    }

    fn append_batches(&self, batches: &[Batch], done: &mut Done) -> Result<()> {
        let is_fresh = fs::read_dir(&self.output).map_or(true, |mut entries| entries.next().is_none());
        let are_items = |batch: &Batch| matches!(&batch[..], [(name, _)] if name.is_empty());
        let to_items = is_items(&self.output) || is_fresh && batches.first().is_some_and(are_items);
        for batch in batches {
            self.check(batch)?;
            match (to_items, are_items(batch)) {
                (true, false) => {
                    return Err(mismatch("it is a folder of items: expected folders of items, found columns"));
                }
                (false, true) => {
                    return Err(mismatch("it is a folder of columns: say which the items are for, NAME=FOLDER"));
                }
                _ => {}
            }
        }
        if to_items { self.append_items(batches, done) } else { self.append_columns(batches, done) }
    }

    /// Refuses columns of different counts, and rows that lie otherwise than those of OUT.
    fn check(&self, batch: &Batch) -> Result<()> {
        let counts: Vec<_> = batch.iter().map(|(name, column)| format!("{} {}", plain(name), column.len())).collect();
        if batch.iter().any(|(_, column)| column.len() != batch[0].1.len()) {
            let text = format!("expected as many rows for every column, found {}", counts.join(", "));
            return Err(mismatch(text));
        }
        for (name, column) in batch {
            let Column::Plain(view) = column else { continue };
            let found = Rows::of(view.dtype(), view.shape(), view.order())?;
            let file = self.output.join(format!("{name}.npy"));
            if file.exists() {
                let report = inspect(&file, self.common.max_header_size)?;
                Rows::of(&report.dtype, &report.shape, report.order)?.check(&found, &file)
            } else if found.order == Order::F && !found.row_shape.is_empty() {
                Err(mismatch("expected C order, as a new column has, found Fortran order"))
            } else {
                Ok(())
            }
            .map_err(|error: Error| error.at(view.path().display()))?;
        }
        Ok(())
    }

    fn append_items(&self, batches: &[Batch], done: &mut Done) -> Result<()> {
        // Without a buffer, as in `copy`.
        let mut appender = self.options().buffering(0).open_ragged(&self.output)?;
        done.noun = "item";
        done.dropped = appender.dropped();
        for (_, column) in batches.iter().flatten() {
            let Column::Ragged(items) = column else { continue };
            appender.define(items.dtype(), row_shape(items.values()))?;
            let (lengths, values) = parts(items)?;
            appender.extend_bytes(&lengths, values)?;
            done.appended += items.len();
            done.rows = Some(appender.len());
        }
        appender.close()
    }

    fn append_columns(&self, batches: &[Batch], done: &mut Done) -> Result<()> {
        // Without a buffer, as in `copy`.
        let mut appender = self.options().buffering(0).open_dataset(&self.output)?;
        done.dropped = appender.dropped();
        for batch in batches {
            for (name, column) in batch {
                match column {
                    Column::Plain(view) => {
                        let rows = Rows::of(view.dtype(), view.shape(), view.order())?;
                        appender.define(name, view.dtype(), &rows.row_shape)?;
                    }
                    Column::Ragged(items) => appender.define_ragged(name, items.dtype(), row_shape(items.values()))?,
                }
            }
            let items = batch.iter().map(|(_, column)| match column {
                Column::Plain(view) => Ok((Vec::new(), view.bytes())),
                Column::Ragged(items) => parts(items),
            });
            let items = items.collect::<Result<Vec<_>>>()?;
            let given = batch.iter().zip(&items).map(|((name, column), (lengths, values))| match column {
                Column::Plain(_) => (name.as_str(), ColumnPart::Rows(values)),
                Column::Ragged(_) => (name.as_str(), ColumnPart::Items { lengths, values }),
            });
            let rows = batch.first().map_or(0, |(_, column)| column.len());
            appender.append(rows, &given.collect::<Vec<_>>())?;
            done.appended += rows;
            done.rows = Some(appender.len());
        }
        appender.close()
    }
}

/// That of values, whose order is C.
fn row_shape(values: &View) -> &[u64] {
    values.shape().get(1..).unwrap_or_default()
}

/// The lengths of all items, and their values.
fn parts(items: &Ragged) -> Result<(Vec<u64>, &[u8])> {
    let lengths = items.lengths(0..items.len())?;
    let end = if items.is_empty() { 0 } else { items.range(items.len() - 1)?.end };
    let size = usize::try_from(end.saturating_mul(items.values().row_size())).unwrap_or(usize::MAX);
    Ok((lengths, items.values().bytes().get(..size).unwrap_or_default()))
}
