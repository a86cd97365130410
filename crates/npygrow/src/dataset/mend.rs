//! What a folder's columns are and whether they go together, and mending them.

use super::{Kind, columns_in, file_name, is_items};
use crate::create::missing;
use crate::error::{Error, Result, count, error};
use crate::group::{OFFSETS, VALUES, check_offsets, check_values, good_items};
use crate::inspect::{Report, inspect_in};
use crate::open::{Found, Health, find};
use crate::repair::{RecoverOptions, Recovery, cut_in, recover_in};
use crate::storage::{Directory, Folder, Storage};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What [`recover_folder`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolderRecovery {
    /// The rows that every column has now.
    pub rows: u64,
    /// What was done to each column, by name; a folder of items is one column without a name.
    pub columns: Vec<ColumnRecovery>,
}

/// What [`recover_folder`] did to one column.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ColumnRecovery {
    /// Its name.
    pub name: String,
    /// The rows, or the whole items, that it had once its files were mended.
    pub held: u64,
    /// How many of them were cut, because other columns do not have them.
    pub cut: u64,
    /// How its file, or that of its values, was mended before.
    pub values: Recovery,
    /// How that of its offsets was.
    pub offsets: Option<Recovery>,
}

/// What [`inspect_folder`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FolderReport {
    /// The rows that every column has.
    pub rows: u64,
    /// The columns, by name; a folder of items is one column without a name.
    pub columns: Vec<ColumnReport>,
    /// What to call, where there is something to mend.
    pub advice: Option<String>,
}

/// What [`inspect_folder`] found of one column.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ColumnReport {
    /// Its name.
    pub name: String,
    /// Its rows, or its whole items.
    pub rows: u64,
    /// Its file, or that of its values.
    pub values: Report,
    /// That of its offsets.
    pub offsets: Option<Report>,
}

/// A column by its files.
pub(super) struct Files {
    pub(super) name: String,
    pub(super) folder: Arc<dyn Folder>,
    pub(super) values: OsString,
    pub(super) offsets: Option<OsString>,
}

impl Files {
    /// Those of the columns in `folder`, or of the one that it is.
    pub(super) fn all(folder: &Arc<dyn Folder>) -> Result<Vec<Files>> {
        let ragged = |name: &str, folder: Arc<dyn Folder>| Files {
            name: name.into(),
            folder,
            values: VALUES.into(),
            offsets: Some(OFFSETS.into()),
        };
        if is_items(&**folder)? {
            return Ok(vec![ragged("", folder.clone())]);
        }
        let mut all = Vec::new();
        for (name, kind) in columns_in(&**folder)? {
            all.push(match kind {
                Kind::Plain => Files { values: file_name(&name), name, folder: folder.clone(), offsets: None },
                Kind::Ragged => ragged(&name, folder.folder(OsStr::new(&name), false)?.ok_or_else(missing)?),
            });
        }
        if all.is_empty() {
            return Err(error!(Mismatch, "expected a folder of columns, found none: no NAME.npy, no folder of items"));
        }
        Ok(all)
    }

    fn found(&self, name: &OsStr, max_header_size: u64) -> Result<(Box<dyn Storage>, Found)> {
        let look = || {
            let storage = self.folder.open(name, false)?.ok_or_else(missing)?;
            let found = find(&*storage, max_header_size)?;
            Ok((storage, found))
        };
        look().map_err(|error: Error| error.at(self.folder.path(name).display()))
    }

    /// Its rows, or its whole items and where the last of them ends.
    fn whole(&self, max_header_size: u64) -> Result<(u64, u64)> {
        let (_, values) = self.found(&self.values, max_header_size)?;
        let named = |name: &OsStr| {
            let path = self.folder.path(name);
            move |error: Error| error.at(path.display())
        };
        let held = held(&values);
        let Some(name) = &self.offsets else {
            if values.is_scalar() {
                let error = error!(Mismatch, "expected a column, found an array without axes");
                return Err(named(&self.values)(error));
            }
            return Ok((held, held));
        };
        check_values(&values.spec).map_err(named(&self.values))?;
        let (storage, offsets) = self.found(name, max_header_size)?;
        check_offsets(&offsets.spec).map_err(named(name))?;
        let read = |first, buf: &mut [u8]| storage.read_exact_at(offsets.layout.end(first)?, buf);
        good_items(self::held(&offsets), held, read).map_err(named(name))
    }

    fn recover(&self, options: RecoverOptions) -> Result<(Recovery, Option<Recovery>)> {
        let offsets = self.offsets.as_ref().map(|name| recover_in(self.folder.clone(), name, options)).transpose()?;
        Ok((recover_in(self.folder.clone(), &self.values, options)?, offsets))
    }

    /// Cuts it to its first `rows` rows, offsets first.
    fn cut(&self, rows: u64, max_header_size: u64) -> Result<()> {
        let mut end = rows;
        if let Some(name) = &self.offsets {
            let (storage, offsets) = self.found(name, max_header_size)?;
            end = if held(&offsets) == 0 { 0 } else { offset_at(&*storage, &offsets, rows)? };
            cut_in(self.folder.clone(), name, rows + 1, max_header_size)?;
        }
        cut_in(self.folder.clone(), &self.values, end, max_header_size)
    }
}

/// The rows that a file counts and holds.
fn held(found: &Found) -> u64 {
    match found.health {
        Health::Truncated { rows, .. } => rows.min(found.rows),
        _ => found.rows,
    }
}

fn offset_at(storage: &dyn Storage, found: &Found, at: u64) -> Result<u64> {
    let mut bytes = [0; 8];
    storage.read_exact_at(found.layout.end(at)?, &mut bytes)?;
    crate::group::offset(bytes)
}

/// Mends every file of the folder at `path` as [`recover`](crate::recover) does, then cuts all columns to the rows that every
/// one of them has; items only as far as their offsets go up and the values reach. A folder of items is one column.
///
/// What it changed is on the disk when it returns. A crash leaves columns of different counts, which the next call cuts.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("words");
/// let mut words = npygrow::RaggedAppender::open(&path)?;
/// words.append(b"npy")?;
/// words.append(b"grow")?;
/// words.close()?;
/// npygrow::Appender::open(path.join("values.npy"))?.truncate(5)?; // by another program
/// let recovery = npygrow::recover_folder(&path, npygrow::RecoverOptions::default())?;
/// assert_eq!((recovery.rows, recovery.columns[0].held), (1, 1));
/// assert_eq!(npygrow::Ragged::open(&path, npygrow::MAX_HEADER_SIZE)?.item::<u8>(0)?, b"npy");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`recover`](crate::recover), for any file, of which then some may be mended; `Malformed` when the offsets do not begin
/// with 0, for then nothing says where items begin; `Mismatch` where there is no column.
pub fn recover_folder(path: impl AsRef<Path>, options: RecoverOptions) -> Result<FolderRecovery> {
    let path = path.as_ref();
    let recover = || recover_folder_in(Arc::new(Directory::at(path)?), options);
    recover().map_err(|error: Error| error.at(path.display()))
}

/// As [`recover_folder`], in any [`Folder`].
///
/// # Errors
///
/// As [`recover_folder`].
pub fn recover_folder_in(folder: Arc<dyn Folder>, options: RecoverOptions) -> Result<FolderRecovery> {
    let limit = options.max_header_size;
    let mut all = Vec::new();
    for files in Files::all(&folder)? {
        // Before anything is changed: what has no beginning is not to be cut.
        files.whole(limit)?;
        all.push(files);
    }
    let mut columns = Vec::new();
    for files in &all {
        let (values, offsets) = files.recover(options)?;
        let (held, _) = files.whole(limit)?;
        columns.push(ColumnRecovery { name: files.name.clone(), held, cut: 0, values, offsets });
    }
    let rows = columns.iter().map(|column| column.held).min().unwrap_or(0);
    for (files, column) in all.iter().zip(&mut columns).rev() {
        files.cut(rows, limit)?;
        column.cut = column.held - rows;
    }
    Ok(FolderRecovery { rows, columns })
}

/// Says what the columns of the folder at `path` are and whether they go together. Changes nothing and takes no lock.
///
/// While another process appends, columns may be seen with different counts, and files with tails.
///
/// # Errors
///
/// As [`inspect`](crate::inspect), for any file; `Mismatch` where there is no column.
pub fn inspect_folder(path: impl AsRef<Path>, max_header_size: u64) -> Result<FolderReport> {
    let path = path.as_ref();
    let inspect = || {
        let folder: Arc<dyn Folder> = Arc::new(Directory::at(path)?);
        let mut columns = Vec::new();
        let mut well = true;
        for files in Files::all(&folder)? {
            // Offsets first: the values of what they count are counted before.
            let look = |name: &OsString| inspect_in(files.folder.clone(), name, max_header_size);
            let offsets = files.offsets.as_ref().map(look).transpose()?;
            let values = look(&files.values)?;
            let (rows, end) = files.whole(max_header_size)?;
            well &= values.rows == end && offsets.as_ref().is_none_or(|offsets| offsets.rows.saturating_sub(1) == rows);
            well &= [Some(&values), offsets.as_ref()].into_iter().flatten().all(|file| file.health == Health::Clean);
            columns.push(ColumnReport { name: files.name.clone(), rows, values, offsets });
        }
        let rows = columns.iter().map(|column| column.rows).min().unwrap_or(0);
        well &= columns.iter().all(|column| column.rows == rows);
        let kept = count(rows, "row");
        let advice = alloc::format!(
            "its files hold more than the {kept} that all of them have: an append is under way or was cut short, or one is not \
             ours; opening it to append cuts what an append left, recover(path) whatever it is"
        );
        Ok(FolderReport { rows, columns, advice: (!well).then_some(advice) })
    };
    inspect().map_err(|error: Error| error.at(path.display()))
}
