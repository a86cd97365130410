use super::{Kind, columns_in, file_name, is_items};
use crate::bookmark::Bookmark;
use crate::error::{Error, Result, error};
use crate::ragged::{Ragged, RaggedBookmark};
use crate::storage::Directory;
use crate::view::View;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use core::ops::Range;
use std::path::{Path, PathBuf};

/// A column of a [`Dataset`].
#[derive(Clone)]
pub enum Column {
    /// Rows of one size.
    Plain(View),
    /// Items of different length.
    Ragged(Ragged),
}

impl Column {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Column::Plain(view) => view.len(),
            Column::Ragged(ragged) => ragged.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn open(path: &Path, name: &str, kind: Kind, max_header_size: u64) -> Result<Self> {
        Ok(match kind {
            Kind::Plain => {
                let view = View::open(path.join(file_name(name)), max_header_size)?;
                if view.shape().is_empty() {
                    let error = error!(Mismatch, "expected a column, found an array without axes");
                    return Err(error.at(view.path().display()));
                }
                Column::Plain(view)
            }
            Kind::Ragged => Column::Ragged(Ragged::open(path.join(name), max_header_size)?),
        })
    }

    fn first(self, rows: u64) -> Result<Self> {
        Ok(match self {
            Column::Plain(view) => Column::Plain(view.first(rows)?),
            Column::Ragged(ragged) => Column::Ragged(ragged.first(rows)?),
        })
    }

    fn refresh(&mut self) -> Result<()> {
        match self {
            Column::Plain(view) => view.refresh().map(drop),
            Column::Ragged(ragged) => ragged.refresh().map(drop),
        }
    }
}

/// The columns of a folder that a [`DatasetAppender`](crate::DatasetAppender) grows, mapped: all with the rows that every one
/// of them has.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("run");
/// use npygrow::{Column, Dataset, DatasetAppender, ColumnPart};
///
/// let mut run = DatasetAppender::open(&path)?;
/// run.define("label", &"|u1".parse()?, &[])?;
/// run.append(2, &[("label", ColumnPart::Rows(&[7, 8]))])?;
/// let mut reader = Dataset::open(&path, npygrow::MAX_HEADER_SIZE)?;
/// run.append(1, &[("label", ColumnPart::Rows(&[9]))])?;
/// assert_eq!(reader.refresh()?, 2..3);
/// let Some(Column::Plain(label)) = reader.get("label") else { panic!() };
/// assert_eq!(label.values::<u8>(), Some(&[7, 8, 9][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Dataset {
    pub(super) path: Arc<Path>,
    pub(super) columns: BTreeMap<String, Column>,
    len: u64,
    max_header_size: u64,
}

impl Dataset {
    /// Maps the columns of the folder `path`, whose headers are at most `max_header_size` bytes long.
    ///
    /// # Errors
    ///
    /// As [`View::open`] and [`Ragged::open`] for any column; `Mismatch` where there is none.
    pub fn open(path: impl AsRef<Path>, max_header_size: u64) -> Result<Self> {
        let path = path.as_ref();
        let open = || {
            let folder = Directory::at(path)?;
            if is_items(&folder)? {
                return Err(error!(
                    Mismatch,
                    "expected a folder of columns, found one of items of different length: open it as ragged"
                ));
            }
            let listed = columns_in(&folder)?;
            if listed.is_empty() {
                return Err(error!(
                    Mismatch,
                    "expected a folder of columns, found none: no NAME.npy, no folder of items"
                ));
            }
            let column = |(name, kind): (String, Kind)| {
                let column = Column::open(path, &name, kind, max_header_size)?;
                Ok((name, column))
            };
            let columns = listed.into_iter().map(column).collect::<Result<_>>()?;
            Dataset { path: path.into(), columns, len: 0, max_header_size }.even()
        };
        open().map_err(|error: Error| error.at(path.display()))
    }

    /// All columns with as many rows as the shortest has.
    fn even(mut self) -> Result<Self> {
        self.len = self.columns.values().map(Column::len).min().unwrap_or(0);
        let columns = self.columns.into_iter().map(|(name, column)| Ok((name, column.first(self.len)?)));
        self.columns = columns.collect::<Result<_>>()?;
        Ok(self)
    }

    /// The same of its first `rows` rows alone, whatever there is by now.
    ///
    /// # Errors
    ///
    /// `Mismatch` when there are fewer.
    pub fn first(mut self, rows: u64) -> Result<Self> {
        if rows > self.len {
            return Err(error!(Mismatch, "expected rows in 0..{}, found 0..{rows}", self.len).at(self.path.display()));
        }
        let columns = self.columns.into_iter().map(|(name, column)| Ok((name, column.first(rows)?)));
        (self.columns, self.len) = (columns.collect::<Result<_>>()?, rows);
        Ok(self)
    }

    /// The path, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many rows every column has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The columns, by name.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = (&str, &Column)> {
        self.columns.iter().map(|(name, column)| (name.as_str(), column))
    }

    /// The column `name`, with [`len`](Dataset::len) rows.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Column> {
        self.columns.get(name)
    }

    /// Looks for new rows, and says which they are: those that every column has by now. While there is no row it looks for new
    /// columns too, which a first append may still be making.
    ///
    /// # Errors
    ///
    /// As [`View::refresh`]; the dataset is as before then.
    pub fn refresh(&mut self) -> Result<Range<u64>> {
        let was = self.len;
        let mut fresh = if was == 0 { Dataset::open(&self.path, self.max_header_size)? } else { self.clone() };
        for column in fresh.columns.values_mut() {
            column.refresh()?;
        }
        let fresh = fresh.even()?;
        if fresh.len < was {
            return Err(error!(Mismatch, "the folder was replaced or cut while it was read: open it again")
                .at(self.path.display()));
        }
        *self = fresh;
        Ok(was..self.len)
    }

    /// What another process needs to see the same rows of the same columns.
    ///
    /// # Errors
    ///
    /// As [`View::bookmark`].
    pub fn bookmark(&self) -> Result<DatasetBookmark> {
        let path = std::path::absolute(&self.path).map_err(|why| Error::io("cannot tell where it is", &why))?;
        let columns = self.columns.iter().map(|(name, column)| {
            let column = match column {
                Column::Plain(view) => ColumnBookmark::Plain(view.bookmark()?),
                Column::Ragged(ragged) => ColumnBookmark::Ragged(ragged.bookmark()?),
            };
            Ok((name.clone(), column))
        });
        let columns = columns.collect::<Result<_>>()?;
        Ok(DatasetBookmark { path, columns, rows: self.len, max_header_size: self.max_header_size })
    }
}

/// Which rows of which column a [`Column`] shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnBookmark {
    /// Of rows of one size.
    Plain(Bookmark),
    /// Of items of different length.
    Ragged(RaggedBookmark),
}

/// Which rows of which folder a [`Dataset`] shows: small enough to be sent to every worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetBookmark {
    /// Where the folder is.
    pub path: PathBuf,
    /// Its columns.
    pub columns: BTreeMap<String, ColumnBookmark>,
    /// How many rows there are.
    pub rows: u64,
    /// The longest header that is read.
    pub max_header_size: u64,
}

impl DatasetBookmark {
    /// The same rows of the same columns.
    ///
    /// # Errors
    ///
    /// As [`Bookmark::open`].
    pub fn open(&self) -> Result<Dataset> {
        let columns = self.columns.iter().map(|(name, column)| {
            let column = match column {
                ColumnBookmark::Plain(bookmark) => Column::Plain(bookmark.open()?),
                ColumnBookmark::Ragged(bookmark) => Column::Ragged(bookmark.open()?),
            };
            Ok((name.clone(), column))
        });
        let columns = columns.collect::<Result<_>>()?;
        let (path, max_header_size) = (self.path.as_path().into(), self.max_header_size);
        Ok(Dataset { path, columns, len: self.rows, max_header_size })
    }
}
