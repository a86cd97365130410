//! Folders: items of different length, or columns of one length.

mod info;
mod mend;
mod print;

pub(crate) use info::{cells, facts, is_uneven, page, state};
pub(crate) use mend::{Mended, joined, joined_facts, recover, truncate};
pub(crate) use print::FolderPrinter;

use crate::text::word;
use npygrow::{Column, Dataset, Error, ErrorKind, Ragged, Result, View};
use std::path::Path;

const VALUES: &str = "values.npy";
const OFFSETS: &str = "offsets.npy";

/// A folder as it is read.
pub(crate) enum Folder {
    Items(Box<Ragged>),
    Columns(Dataset),
}

/// One column of it.
#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    Rows(&'a View),
    Items(&'a Ragged),
}

impl Folder {
    pub(crate) fn open(path: &Path, max_header_size: u64) -> Result<Folder> {
        Ok(match is_items(path) {
            true => Folder::Items(Box::new(Ragged::open(path, max_header_size)?)),
            false => Folder::Columns(Dataset::open(path, max_header_size)?),
        })
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Folder::Items(items) => items.len(),
            Folder::Columns(columns) => columns.len(),
        }
    }

    /// By name; that of a folder of items is empty.
    pub(crate) fn parts(&self) -> Vec<(&str, Part<'_>)> {
        match self {
            Folder::Items(items) => vec![("", Part::Items(items))],
            Folder::Columns(columns) => columns
                .columns()
                .map(|(name, column)| match column {
                    Column::Plain(view) => (name, Part::Rows(view)),
                    Column::Ragged(items) => (name, Part::Items(items)),
                })
                .collect(),
        }
    }
}

impl<'a> Part<'a> {
    /// Its file, or that of its values.
    pub(crate) fn values(self) -> &'a View {
        match self {
            Part::Rows(view) => view,
            Part::Items(items) => items.values(),
        }
    }
}

/// Whether the folder holds items, and no columns: the library's own rule.
pub(crate) fn is_items(path: &Path) -> bool {
    path.join(VALUES).exists() || path.join(OFFSETS).exists()
}

/// What a row of the folder is called.
pub(crate) fn noun(path: &Path) -> &'static str {
    if is_items(path) { "item" } else { "row" }
}

/// The same error, naming the file in the folder that it is about, and what to call as this command has it: a file of a folder
/// is not mended alone, for the others go with it.
pub(crate) fn advised(folder: &Path, error: Error) -> Error {
    let about = error.path().map_or(folder, Path::new);
    let mut detail = error.detail();
    if matches!(error.kind(), ErrorKind::NeedsRecovery | ErrorKind::NotAppendable) {
        detail = detail
            .replace("recover(path, tail=\"drop\")", &format!("npy recover --tail drop {}", word(folder)))
            .replace("recover(path)", &format!("npy recover {}", word(folder)))
            .replace("ensure_appendable(path)", &format!("npy ensure-appendable {}", word(about)));
    }
    match about.strip_prefix(folder) {
        Ok(inside) if inside != Path::new("") => Error::new(error.kind(), format!("{}: {detail}", inside.display())),
        _ => Error::new(error.kind(), detail),
    }
}
