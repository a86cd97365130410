use super::{Kind, check_name, columns_in, file_name, is_items};
use crate::create::exists;
use crate::error::{Error, Result, error};
use crate::format::{Dtype, Order};
use crate::group::{Column, ColumnPart, Group, OFFSETS, VALUES, file_options};
use crate::open::Spec;
use crate::options::{Mode, Options};
use crate::ragged::open_column;
use crate::storage::{Directory, Folder};
use crate::tail::Dropped;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::ops::Range;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Appends to all columns of a folder at once: each a plain `NAME.npy`, or a folder `NAME` of items of different length.
///
/// An append is there in every column or in none, as with [`Appender`](crate::Appender), whose options, durabilities and
/// guarantees these are. Which columns there are is settled by the first append.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("run");
/// use npygrow::{Dataset, DatasetAppender, ColumnPart};
///
/// let mut run = DatasetAppender::open(&path)?;
/// run.define("label", &"|u1".parse()?, &[])?;
/// run.define_ragged("text", &"|u1".parse()?, &[])?;
/// let text = ColumnPart::Items { lengths: &[3, 4], values: b"npygrow" };
/// assert_eq!(run.append(2, &[("label", ColumnPart::Rows(&[0, 1])), ("text", text)])?, Some(0..2));
/// run.close()?;
///
/// let run = Dataset::open(&path, npygrow::MAX_HEADER_SIZE)?;
/// assert_eq!(run.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DatasetAppender {
    group: Group,
    folder: Arc<dyn Folder>,
    options: Options,
    /// The columns of the folder, as they were found or made.
    listed: BTreeMap<String, Kind>,
    /// What the columns that are not there yet will be.
    defined: BTreeMap<String, (Kind, Dtype, Vec<u64>)>,
}

/// What a column of a [`DatasetAppender`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Its name.
    pub name: String,
    /// Whether its rows are items of different length.
    pub is_ragged: bool,
    /// The dtype of its rows, or of the values of its items.
    pub dtype: Dtype,
    /// The shape of one row, or of one value of an item.
    pub row_shape: Vec<u64>,
}

impl DatasetAppender {
    /// Opens the folder `path` for appending with the default options, or makes it.
    ///
    /// # Errors
    ///
    /// As [`Options::open_dataset`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::default().open_dataset(path)
    }

    /// How many rows there are, those in the buffer included.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.group.len()
    }

    /// How many of them readers see: all but those in the buffer.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.group.committed()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The columns that there are, or that are [defined](DatasetAppender::define), by name.
    #[must_use]
    pub fn columns(&self) -> Vec<ColumnSpec> {
        let there = self.group.columns().iter().filter_map(|column| {
            let Spec { dtype, row_shape, .. } = column.values.spec()?;
            Some(ColumnSpec { name: column.name.clone(), is_ragged: column.offsets.is_some(), dtype, row_shape })
        });
        let defined = self.defined.iter().map(|(name, (kind, dtype, row_shape))| ColumnSpec {
            name: name.clone(),
            is_ragged: *kind == Kind::Ragged,
            dtype: dtype.clone(),
            row_shape: row_shape.clone(),
        });
        let mut all: Vec<ColumnSpec> = there.chain(defined).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.dedup_by(|a, b| a.name == b.name);
        all
    }

    /// What was cut from the columns when they were opened, and in every turn: rows, and bytes of all files.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.group.dropped()
    }

    /// Settles what the rows of a new column are, or asks it of one that is there. Writes nothing.
    ///
    /// # Errors
    ///
    /// `Mismatch` when the column is there and is something else, or there are rows without it.
    pub fn define(&mut self, name: &str, dtype: &Dtype, row_shape: &[u64]) -> Result<()> {
        self.define_as(name, Kind::Plain, dtype, row_shape)
    }

    /// As [`define`](DatasetAppender::define), for the values of items of different length.
    ///
    /// # Errors
    ///
    /// As [`define`](DatasetAppender::define).
    pub fn define_ragged(&mut self, name: &str, dtype: &Dtype, row_shape: &[u64]) -> Result<()> {
        self.define_as(name, Kind::Ragged, dtype, row_shape)
    }

    /// Forgets what is defined and not there yet, as where the first append is refused.
    pub fn undefine(&mut self) {
        self.defined.clear();
    }

    fn define_as(&mut self, name: &str, kind: Kind, dtype: &Dtype, row_shape: &[u64]) -> Result<()> {
        check_name(name).map_err(|error| self.group.named(error))?;
        let Some(column) = self.group.columns_mut().iter_mut().find(|column| column.name == name) else {
            if !self.is_empty() {
                return Err(self.group.named(error!(
                    Mismatch,
                    "there is no column {name}: the columns are settled by the first append, and are {}",
                    self.names()
                )));
            }
            self.check_file(name, kind)?;
            // What cannot be a file's header is refused now.
            Spec { dtype: dtype.clone(), order: Order::C, row_shape: row_shape.to_vec() }
                .header(0, self.options.header_limit())
                .map_err(|error| self.group.named(error))?;
            self.defined.insert(name.to_string(), (kind, dtype.clone(), row_shape.to_vec()));
            return Ok(());
        };
        let is_ragged = column.offsets.is_some();
        if is_ragged != (kind == Kind::Ragged) {
            let text = |ragged| if ragged { "items of different length" } else { "rows of one size" };
            let (found, wanted) = (text(is_ragged), text(!is_ragged));
            return Err(self.group.named(error!(Mismatch, "column {name}: expected {wanted}, found {found}")));
        }
        column.values.expect(Some(dtype.clone()), Some(row_shape.to_vec()))
    }

    /// Refuses a file that would be taken for one of items.
    fn check_file(&self, name: &str, kind: Kind) -> Result<()> {
        if kind == Kind::Plain && [VALUES, OFFSETS].map(OsString::from).contains(&file_name(name)) {
            return Err(self.group.named(error!(
                Mismatch,
                "column {name}: {VALUES} and {OFFSETS} are the files of items of different length: give it another name"
            )));
        }
        Ok(())
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.group.columns().iter().map(|column| column.name.as_str()).collect();
        names.join(", ")
    }

    /// Appends `rows` rows: one part for each column, all of them or none. Gives their numbers; `None` when they wait in the
    /// buffer of an appender that takes turns.
    ///
    /// # Errors
    ///
    /// `Mismatch` when columns are missing or unknown, or a part is not of so many whole rows: nothing is written then. Else
    /// as [`Appender::append_bytes`](crate::Appender::append_bytes), and nothing is appended to any column; `Latched` when
    /// that could not be seen to.
    pub fn append(&mut self, rows: u64, parts: &[(&str, ColumnPart<'_>)]) -> Result<Option<Range<u64>>> {
        let in_order = parts.len() == self.group.columns().len()
            && self.group.columns().iter().zip(parts).all(|(column, (name, _))| column.name == *name);
        // As long as there is no row, what is defined may have to become a column first.
        if in_order && self.defined.is_empty() && self.group.has_files() {
            return match parts {
                [(_, only)] => self.group.append(rows, &[*only]),
                [(_, one), (_, two)] => self.group.append(rows, &[*one, *two]),
                _ => self.group.append(rows, &parts.iter().map(|(_, part)| *part).collect::<Vec<_>>()),
            };
        }
        // Held until the files are made.
        let _alone = self.settle_columns(parts).map_err(|error| self.group.named(error))?;
        let mut sorted: Vec<_> = parts.to_vec();
        sorted.sort_by_key(|(name, _)| *name);
        self.group.append(rows, &sorted.iter().map(|(_, part)| *part).collect::<Vec<_>>())
    }

    /// Refuses names that are not the columns', and opens those that are only defined. Gives the folder's lock, where files
    /// are still to be made: two first appends at once, with different columns, would leave one that never gets a row.
    fn settle_columns(&mut self, parts: &[(&str, ColumnPart<'_>)]) -> Result<Option<Box<dyn Any>>> {
        let there = |name: &str| self.group.columns().iter().any(|column| column.name == name);
        let given = |name: &str| parts.iter().any(|(part, _)| *part == name);
        let quoted = |names: Vec<&str>| names.join(", ");
        let all = self
            .group
            .columns()
            .iter()
            .map(|column| column.name.as_str())
            .chain(self.defined.keys().map(String::as_str));
        let missing = quoted(all.filter(|name| !given(name)).collect());
        let extra = quoted(
            parts
                .iter()
                .map(|(name, _)| *name)
                .filter(|name| !there(name) && !self.defined.contains_key(*name))
                .collect(),
        );
        let twice =
            parts.iter().enumerate().find(|(at, (name, _))| parts[..*at].iter().any(|(other, _)| other == name));
        match (missing.as_str(), extra.as_str(), twice) {
            ("", "", None) if parts.is_empty() => Err(error!(Mismatch, "expected columns, found none")),
            ("", "", None) => Ok(()),
            (_, _, Some((_, (name, _)))) => Err(error!(Mismatch, "column {name} is given twice")),
            (missing, "", None) => Err(error!(Mismatch, "expected every column, {missing} missing")),
            ("", extra, None) => Err(error!(Mismatch, "expected the columns of the folder, found {extra} too")),
            (missing, extra, None) => {
                Err(error!(Mismatch, "expected every column, {missing} missing; found {extra}, which is none of them"))
            }
        }?;
        if self.defined.is_empty() && self.group.has_files() {
            return Ok(None);
        }
        let alone = self.folder.lock()?;
        self.open_defined()?;
        Ok(alone)
    }

    /// Opens the columns that are only defined, under the folder's lock.
    fn open_defined(&mut self) -> Result<()> {
        self.check_listed()?;
        while let Some((name, (kind, dtype, row_shape))) = self.defined.first_key_value() {
            let (name, dtype, row_shape) = (name.clone(), Some(dtype.clone()), Some(row_shape.clone()));
            let options = Options { dtype, row_shape, ..self.options.clone() };
            let column = open_one(&name, *kind, &self.folder, &options, true)?;
            self.group.add(column);
            self.listed.insert(name.clone(), *kind);
            self.defined.remove(&name);
        }
        Ok(())
    }

    /// The same where another appender, in its turn, made all of them since.
    fn open_made(&mut self) -> Result<()> {
        if !self.options.turns || self.defined.is_empty() {
            return Ok(());
        }
        let _alone = self.folder.lock()?;
        let there = columns_in(&*self.folder)?;
        if self.defined.keys().all(|name| there.contains_key(name)) { self.open_defined() } else { Ok(()) }
    }

    /// Refuses where another appender made columns that this one does not know of: one of the two is wrong about them.
    fn check_listed(&self) -> Result<()> {
        let there = columns_in(&*self.folder)?;
        let known = |name: &String, kind: &Kind| {
            self.listed.contains_key(name) || self.defined.get(name).is_some_and(|(defined, ..)| defined == kind)
        };
        match there.iter().find(|(name, kind)| !known(name, kind)) {
            Some((name, _)) => Err(error!(Mismatch, "another program made a column {name} meanwhile: open it again")),
            None => Ok(()),
        }
    }

    /// Publishes what is buffered, and says which rows that were.
    ///
    /// # Errors
    ///
    /// As [`Appender::commit`](crate::Appender::commit).
    pub fn commit(&mut self) -> Result<Range<u64>> {
        self.group.commit()
    }

    /// Publishes what is buffered, and makes every row survive a power cut.
    ///
    /// # Errors
    ///
    /// As [`Appender::sync`](crate::Appender::sync).
    pub fn sync(&mut self) -> Result<()> {
        self.open_made().map_err(|error| self.group.named(error))?;
        self.group.sync()
    }

    /// Cuts every column to its first `rows` rows.
    ///
    /// # Errors
    ///
    /// `Mismatch` when there are fewer; else as [`Appender::truncate`](crate::Appender::truncate).
    pub fn truncate(&mut self, rows: u64) -> Result<()> {
        self.group.truncate(rows)
    }

    /// What grows.
    pub(crate) fn group(&mut self) -> &mut Group {
        &mut self.group
    }

    /// Publishes what is buffered and gives the locks back.
    ///
    /// # Errors
    ///
    /// As [`Appender::close`](crate::Appender::close).
    pub fn close(self) -> Result<()> {
        self.group.close()
    }
}

/// Opens the files of one column, which are made later where they are not there; `make`: their folder now.
fn open_one(name: &str, kind: Kind, folder: &Arc<dyn Folder>, options: &Options, make: bool) -> Result<Column> {
    match kind {
        Kind::Plain => {
            // Parts come row by row.
            let mut values = file_options(options).order(Order::C).open_in(folder.clone(), &file_name(name))?;
            values.expect(options.dtype.clone(), options.row_shape.clone())?;
            Ok(Column::new(name.to_string(), values, None))
        }
        Kind::Ragged => {
            let inside = folder.folder(OsStr::new(name), make)?;
            let inside = inside.ok_or_else(|| error!(Io, "the folder of column {name} is gone"))?;
            if make {
                // Before a row is in any column, so that a power cut takes no column with rows.
                folder.sync()?;
            }
            open_column(name.to_string(), &inside, options)
        }
    }
}

impl Options {
    /// Opens the folder `path` of columns, or makes it. Dtypes and row shapes are the columns' own.
    ///
    /// # Errors
    ///
    /// As [`open`](Options::open), for any file; `NeedsRecovery` when the columns do not hold the same rows and no crash of an
    /// appender can have left them so.
    pub fn open_dataset(self, path: impl AsRef<Path>) -> Result<DatasetAppender> {
        let path = path.as_ref();
        let open = || self.open_dataset_at(Arc::new(Directory::make(path)?), path.to_string_lossy().into_owned());
        open().map_err(|error: Error| error.at(path.display()))
    }

    /// As [`open_dataset`](Options::open_dataset), for the columns in `folder`.
    ///
    /// # Errors
    ///
    /// As [`open_dataset`](Options::open_dataset).
    pub fn open_dataset_in(self, folder: Arc<dyn Folder>) -> Result<DatasetAppender> {
        let path = folder.path(OsStr::new("_"));
        let path = path.parent().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        self.open_dataset_at(folder, path)
    }

    fn open_dataset_at(self, folder: Arc<dyn Folder>, path: String) -> Result<DatasetAppender> {
        if self.mode == Mode::Write || self.dtype.is_some() || self.row_shape.is_some() || self.order.is_some() {
            return Err(error!(
                Unsupported,
                "a folder of columns: expected neither mode \"w\", nor a dtype, a row shape or an order for all of them"
            ));
        }
        if is_items(&*folder)? {
            return Err(error!(
                Mismatch,
                "expected a folder of columns, found one of items of different length: open it as ragged"
            ));
        }
        let listed = columns_in(&*folder)?;
        if self.mode == Mode::New && !listed.is_empty() {
            return Err(exists());
        }
        let mut columns = Vec::new();
        for (name, kind) in &listed {
            columns.push(open_one(name, *kind, &folder, &self, false)?);
        }
        let group = Group::open(columns, &self, path)?;
        Ok(DatasetAppender { group, folder, options: self, listed, defined: BTreeMap::new() })
    }
}
