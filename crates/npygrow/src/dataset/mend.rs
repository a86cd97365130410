//! Mending a folder's columns.

use super::files::{Files, Standing};
use super::is_items;
use crate::error::{Error, ErrorKind, Result, error};
use crate::group::{GO_TOGETHER, force};
use crate::options::Options;
use crate::repair::{RecoverOptions, Recovery, Tail};
use crate::storage::{Directory, Folder};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
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

/// Mends every file of the folder at `path` as [`recover`](crate::recover) does, then cuts all columns to the rows that every
/// one of them has; items only as far as their offsets go up and the values reach. A folder of items is one column.
///
/// With [`Tail::Keep`] no row is cut that can be read, nor a value, but for an append that a crash cut short: where a column was
/// replaced by a shorter one, say, the error tells what each holds. [`Tail::Drop`] cuts them all the same.
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
/// let options = npygrow::RecoverOptions { tail: npygrow::Tail::Drop, ..Default::default() };
/// let recovery = npygrow::recover_folder(&path, options)?;
/// assert_eq!((recovery.rows, recovery.columns[0].held), (1, 1));
/// assert_eq!(npygrow::Ragged::open(&path, npygrow::MAX_HEADER_SIZE)?.item::<u8>(0)?, b"npy");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`recover`](crate::recover), for any file, of which then some may be mended; `NeedsRecovery` when rows would go that can be
/// read; `Malformed` when the offsets do not begin
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
    let all = Files::all(&folder)?;
    // Before anything is changed: what has no beginning is not to be cut.
    let standings = all.iter().map(|files| files.standing(options)).collect::<Result<Vec<_>>>()?;
    let rows = standings.iter().map(|standing| standing.mended).min().unwrap_or(0);
    if options.tail == Tail::Keep {
        for (files, standing) in all.iter().zip(&standings) {
            if files.loses(standing, rows, limit)? {
                return settle(&folder, &all, &standings, rows, options);
            }
        }
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

/// Where rows that can be read would go: only an append that a crash cut short is cut, by the appender, which tells what is none.
fn settle(
    folder: &Arc<dyn Folder>,
    all: &[Files],
    standings: &[Standing],
    rows: u64,
    options: RecoverOptions,
) -> Result<FolderRecovery> {
    let cut = RecoverOptions { tail: Tail::Drop, zerofill_incomplete: false, ..options };
    let plans = all.iter().map(|files| files.plan(cut)).collect::<Result<Vec<_>>>()?;
    let appender = Options::default().max_header_size(options.max_header_size);
    let refusal = || {
        let told: Vec<_> = all.iter().zip(standings).map(|(files, standing)| files.told(standing)).collect();
        let word = if all.iter().any(|files| files.name.is_empty()) { "item" } else { "row" };
        error!(NeedsRecovery, "{GO_TOGETHER}{}: {}", told.join(", "), force(rows, word))
    };
    if standings.iter().any(|standing| standing.goes_down) {
        return Err(refusal());
    }
    let settled = match is_items(&**folder)? {
        true => appender.open_ragged_in(folder.clone()).and_then(|items| {
            let rows = items.len();
            items.close().map(|()| rows)
        }),
        false => appender.open_dataset_in(folder.clone()).and_then(|run| {
            let rows = run.len();
            run.close().map(|()| rows)
        }),
    };
    let rows = settled.map_err(|error| match error.kind() {
        ErrorKind::Io | ErrorKind::Locked | ErrorKind::Latched => error,
        _ if error.detail().starts_with(GO_TOGETHER) => error,
        _ => refusal(),
    })?;
    let column = |((files, standing), (values, offsets)): ((&Files, &Standing), _)| {
        let (name, held) = (files.name.clone(), standing.whole);
        ColumnRecovery { name, held, cut: held.saturating_sub(rows), values, offsets }
    };
    Ok(FolderRecovery { rows, columns: all.iter().zip(standings).zip(plans).map(column).collect() })
}
