//! What a folder's columns are and whether they go together.

use super::files::Files;
use crate::create::Room;
use crate::error::{Error, ErrorKind, Result, count, error};
use crate::format::Order;
use crate::inspect::{Report, inspect_in};
use crate::open::Health;
use crate::repair::ensure_appendable_in;
use crate::storage::{Directory, Folder};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::ffi::OsString;
use std::path::Path;

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
             ours; recover(path) cuts what an append left, recover(path, tail=\"drop\") whatever it is"
        );
        Ok(FolderReport { rows, columns, advice: (!well).then_some(advice) })
    };
    inspect().map_err(|error: Error| error.at(path.display()))
}

/// Whether the files of the folder at `path` hold more or fewer bytes than they count, or do not go together: as
/// [`needs_recovery`](crate::needs_recovery).
///
/// # Errors
///
/// As [`inspect_folder`].
pub fn folder_needs_recovery(path: impl AsRef<Path>, max_header_size: u64) -> Result<bool> {
    match inspect_folder(path, max_header_size) {
        // Rows are half moved.
        Err(error) if error.kind() == ErrorKind::NeedsRecovery => Ok(true),
        report => {
            let clean = |column: &ColumnReport| {
                [Some(&column.values), column.offsets.as_ref()]
                    .into_iter()
                    .flatten()
                    .all(|file| file.health == Health::Clean)
            };
            report.map(|report| report.advice.is_some() || !report.columns.iter().all(clean))
        }
    }
}

/// Whether rows can be appended to the folder at `path` as it is: every file has room, is in C order, and holds what it counts.
/// What an append of ours left, or is writing just now, is no hindrance: opening cuts it.
///
/// # Errors
///
/// As [`inspect_folder`].
pub fn is_folder_appendable(path: impl AsRef<Path>, max_header_size: u64) -> Result<bool> {
    let report = match inspect_folder(path, max_header_size) {
        Err(error) if error.kind() == ErrorKind::NeedsRecovery => return Ok(false),
        report => report?,
    };
    let even = report.advice.is_none();
    let can_grow = |file: &Report| {
        let whole = match file.health {
            Health::Clean => even || file.ours,
            Health::Tail { .. } => file.ours,
            Health::Truncated { .. } | Health::Sequence => false,
        };
        let in_order = file.order == Order::C || file.shape.len() < 2;
        whole && in_order && file.room.is_some_and(|room| room > file.rows)
    };
    Ok(report.columns.iter().all(|column| {
        let reach = column.offsets.as_ref().is_none_or(|offsets| offsets.rows <= column.rows + 1 || !even);
        reach && [Some(&column.values), column.offsets.as_ref()].into_iter().flatten().all(can_grow)
    }))
}

/// Makes sure that rows can be appended to all files of the folder at `path`, as
/// [`ensure_appendable`](crate::ensure_appendable) does to one; says whether one had to be rewritten.
///
/// # Errors
///
/// As [`ensure_appendable`](crate::ensure_appendable), for any file; `NeedsRecovery` when they do not go together, before any is
/// changed.
pub fn ensure_folder_appendable(path: impl AsRef<Path>, room: Room, max_header_size: u64) -> Result<bool> {
    let path = path.as_ref();
    if let Some(advice) = inspect_folder(path, max_header_size)?.advice {
        return Err(error!(NeedsRecovery, "{advice}").at(path.display()));
    }
    let ensure = || {
        let folder: Arc<dyn Folder> = Arc::new(Directory::at(path)?);
        let mut rewritten = false;
        for files in Files::all(&folder)? {
            for name in [Some(&files.values), files.offsets.as_ref()].into_iter().flatten() {
                rewritten |= ensure_appendable_in(files.folder.clone(), name, room, max_header_size)?;
            }
        }
        Ok(rewritten)
    };
    ensure().map_err(|error: Error| error.at(path.display()))
}
