//! Several columns of one length, in a folder: each a plain file `NAME.npy`, or a folder `NAME` of items of different length.
//!
//! A row exists once every column has it: the smallest count is the length, and no other file says so.

mod appender;
mod batches;
mod files;
mod join;
mod look;
mod mend;
mod reader;

pub use appender::{ColumnSpec, DatasetAppender};
pub use join::{FolderJoined, concat_folders, concat_folders_in};
pub use look::{
    ColumnReport, FolderReport, ensure_folder_appendable, folder_needs_recovery, inspect_folder, is_folder_appendable,
};
pub use mend::{ColumnRecovery, FolderRecovery, recover_folder, recover_folder_in};
pub use reader::{Column, ColumnBookmark, Dataset, DatasetBookmark};

use crate::error::{Result, error};
use crate::group::{OFFSETS, VALUES};
use crate::storage::Folder;
use alloc::collections::BTreeMap;
use alloc::string::String;
use std::ffi::{OsStr, OsString};

/// The end of a plain column's file name.
const NPY: &str = ".npy";

/// What a column's files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `NAME.npy`.
    Plain,
    /// A folder `NAME` of values and offsets.
    Ragged,
}

/// The file of a plain column.
pub(crate) fn file_name(name: &str) -> OsString {
    OsString::from(alloc::format!("{name}{NPY}"))
}

/// Which columns there are in `folder`. Hidden names are nobody's, and so are files of other kinds and folders without items.
pub(crate) fn columns_in(folder: &dyn Folder) -> Result<BTreeMap<String, Kind>> {
    let mut columns = BTreeMap::new();
    for name in folder.names()? {
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let inside = folder.folder(OsStr::new(name), false)?;
        let (name, kind) = match (inside, name.strip_suffix(NPY)) {
            (Some(inside), _) if is_items(&*inside)? => (name, Kind::Ragged),
            (None, Some(stem)) => (stem, Kind::Plain),
            _ => continue,
        };
        if columns.insert(String::from(name), kind).is_some() {
            return Err(error!(Mismatch, "expected one column {name}, found a file {name}.npy and a folder {name}"));
        }
    }
    Ok(columns)
}

/// Whether a folder holds items of different length and no columns. One of the two files says so: the other may be missing,
/// which is then said, or not made yet.
pub(crate) fn is_items(folder: &dyn Folder) -> Result<bool> {
    Ok(folder.identity(OsStr::new(VALUES))?.is_some() || folder.identity(OsStr::new(OFFSETS))?.is_some())
}

/// Refuses a name that no file can have, or that would be overlooked.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
        return Err(error!(
            Mismatch,
            "expected the name of a column, which becomes a file's, found {name:?}: it must not be empty, begin with a dot or \
             have slashes"
        ));
    }
    Ok(())
}
