use crate::append::Appender;
use crate::create::exists;
use crate::element::{self, Element};
use crate::error::{Error, Result, error};
use crate::format::{Dtype, Order};
use crate::group::{Column, ColumnPart, Group, OFFSETS, VALUES, check_offsets, check_values, file_options};
use crate::open::Spec;
use crate::options::{Mode, Options};
use crate::storage::{Directory, Folder};
use crate::tail::Dropped;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use core::ops::Range;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Appends items of different length to a folder of two plain files, `values.npy` and `offsets.npy`.
///
/// An append is whole or not there, as with [`Appender`], whose options, durabilities and guarantees these are.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("words");
/// let mut words = npygrow::RaggedAppender::open(&path)?;
/// assert_eq!(words.append(b"npy")?, Some(0..1));
/// assert_eq!(words.append(b"grow")?, Some(1..2));
/// words.close()?;
///
/// let words = npygrow::Ragged::open(&path, npygrow::MAX_HEADER_SIZE)?;
/// assert_eq!(words.item::<u8>(1)?, b"grow");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RaggedAppender {
    /// One column.
    group: Group,
}

impl RaggedAppender {
    /// Opens the folder `path` for appending with the default options, or makes it.
    ///
    /// # Errors
    ///
    /// As [`Options::open_ragged`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::default().open_ragged(path)
    }

    /// How many items there are, those in the buffer included.
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

    /// How many values there are in all items, those in the buffer included.
    #[must_use]
    pub fn values_len(&self) -> u64 {
        self.column().end()
    }

    /// How many of them readers see: all but those in the buffer.
    #[must_use]
    pub fn committed_values(&self) -> u64 {
        self.column().committed_end()
    }

    /// The dtype of the values, once it is known.
    #[must_use]
    pub fn dtype(&self) -> Option<&Dtype> {
        self.values().dtype()
    }

    /// The shape of one value, once it is known: `[]` for plain numbers.
    #[must_use]
    pub fn row_shape(&self) -> Option<&[u64]> {
        self.values().row_shape()
    }

    /// The bytes of one value, once they are known.
    #[must_use]
    pub fn row_size(&self) -> Option<u64> {
        self.values().row_size()
    }

    /// What was cut from the folder when it was opened, and in every turn: items, and bytes of both files.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.group.dropped()
    }

    /// Settles what the values of a new folder are, as [`Appender::define`] does.
    ///
    /// # Errors
    ///
    /// `Mismatch` when something else was settled before.
    pub fn define(&mut self, dtype: &Dtype, row_shape: &[u64]) -> Result<()> {
        self.values_mut().define(dtype, row_shape)
    }

    /// Appends one item, and says its number; `None` when it waits in the buffer of an appender that takes turns.
    ///
    /// # Errors
    ///
    /// As [`extend_bytes`](RaggedAppender::extend_bytes), and `Mismatch` when `T` is not the values' dtype.
    pub fn append<T: Element>(&mut self, item: &[T]) -> Result<Option<Range<u64>>> {
        self.values_mut().accept::<T>(T::shape)?;
        self.append_bytes(item.len() as u64, element::bytes_of(item))
    }

    /// Appends one item of `len` values as they lie in the file.
    ///
    /// # Errors
    ///
    /// As [`extend_bytes`](RaggedAppender::extend_bytes).
    pub fn append_bytes(&mut self, len: u64, values: &[u8]) -> Result<Option<Range<u64>>> {
        self.extend_bytes(&[len], values)
    }

    /// Appends as many items as there are `lengths`, all of them or none; `values` are theirs, one after the other.
    ///
    /// # Errors
    ///
    /// `Mismatch` when the lengths are not those of the values; else as [`Appender::append_bytes`].
    pub fn extend_bytes(&mut self, lengths: &[u64], values: &[u8]) -> Result<Option<Range<u64>>> {
        self.group.append(lengths.len() as u64, &[ColumnPart::Items { lengths, values }])
    }

    /// Publishes what is buffered, and says which items that were.
    ///
    /// # Errors
    ///
    /// As [`Appender::commit`].
    pub fn commit(&mut self) -> Result<Range<u64>> {
        self.group.commit()
    }

    /// Publishes what is buffered, and makes every item survive a power cut.
    ///
    /// # Errors
    ///
    /// As [`Appender::sync`].
    pub fn sync(&mut self) -> Result<()> {
        self.group.sync()
    }

    /// Cuts the folder to its first `items` items.
    ///
    /// # Errors
    ///
    /// `Mismatch` when there are fewer; else as [`Appender::truncate`].
    pub fn truncate(&mut self, items: u64) -> Result<()> {
        self.group.truncate(items)
    }

    /// What grows.
    pub(crate) fn group(&mut self) -> &mut Group {
        &mut self.group
    }

    /// Publishes what is buffered and gives the locks back.
    ///
    /// # Errors
    ///
    /// As [`Appender::close`].
    pub fn close(self) -> Result<()> {
        self.group.close()
    }

    fn column(&self) -> &Column {
        &self.group.columns()[0]
    }

    fn values(&self) -> &Appender {
        &self.column().values
    }

    fn values_mut(&mut self) -> &mut Appender {
        &mut self.group.columns_mut()[0].values
    }
}

impl Options {
    /// Opens the folder `path` of items of different length, or makes it. The dtype and the row shape are those of the
    /// values; the order is C.
    ///
    /// # Errors
    ///
    /// As [`open`](Options::open), for either file; `NeedsRecovery` when one is missing or does not fit the other.
    pub fn open_ragged(self, path: impl AsRef<Path>) -> Result<RaggedAppender> {
        let path = path.as_ref();
        let open = || {
            let folder = Directory::make(path)?;
            self.open_ragged_in(Arc::new(folder))
        };
        open().map_err(|error: Error| error.at(path.display()))
    }

    /// As [`open_ragged`](Options::open_ragged), for the two files in `folder`.
    ///
    /// # Errors
    ///
    /// As [`open_ragged`](Options::open_ragged).
    pub fn open_ragged_in(self, folder: Arc<dyn Folder>) -> Result<RaggedAppender> {
        if self.mode == Mode::Write || self.order == Some(Order::F) {
            return Err(error!(
                Unsupported,
                "items of different length: expected neither mode \"w\" nor Fortran order"
            ));
        }
        let path = folder.path(OsStr::new(VALUES));
        let path = path.parent().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let new = |name: &str| folder.identity(OsStr::new(name)).map(|found| found.is_none());
        match (new(VALUES)? && new(OFFSETS)?, self.mode) {
            (false, Mode::New) => return Err(exists().at(path)),
            (true, _) => refuse_columns(&*folder)?,
            _ => {}
        }
        let column = open_column(String::new(), &folder, &self)?;
        let (dtype, row_shape) = (self.dtype.clone(), self.row_shape.clone());
        let mut group = Group::open(vec![column], &self, path)?;
        if let (Some(dtype), Some(row_shape)) = (dtype, row_shape) {
            // Everything about them is known: others can follow them from now on.
            group.columns_mut()[0].values.define(&dtype, &row_shape)?;
            group.make()?;
        }
        Ok(RaggedAppender { group })
    }
}

/// Two files more would make items of a folder of columns.
fn refuse_columns(folder: &dyn Folder) -> Result<()> {
    let is_column =
        |name: &OsString| name.to_str().is_some_and(|name| name.ends_with(".npy") && !name.starts_with('.'));
    match folder.names()?.iter().find(|name| is_column(name)) {
        Some(name) => Err(error!(
            Mismatch,
            "expected an empty folder, or {VALUES} and {OFFSETS}, found {}: open it as a dataset",
            name.display()
        )),
        None => Ok(()),
    }
}

/// Opens the two files of items of different length in `folder`, which are made later where they are not there.
pub(crate) fn open_column(name: String, folder: &Arc<dyn Folder>, options: &Options) -> Result<Column> {
    let (dtype, row_shape) = (options.dtype.clone(), options.row_shape.clone());
    let mut values = file_options(options).open_in(folder.clone(), OsStr::new(VALUES))?;
    values.expect(dtype, row_shape)?;
    let offsets = file_options(options).open_in(folder.clone(), OsStr::new(OFFSETS))?;
    for (file, check) in [(&values, check_values as fn(&Spec) -> Result<()>), (&offsets, check_offsets)] {
        if let Some(spec) = file.spec() {
            check(&spec).map_err(|error| match file.path() {
                Some(path) => error.at(path.display()),
                None => error,
            })?;
        }
    }
    Ok(Column::new(name, values, Some(offsets)))
}
