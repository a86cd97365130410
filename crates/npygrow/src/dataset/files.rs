//! The files of a folder's columns, whatever state they are in.

use super::{Kind, columns_in, file_name, is_items};
use crate::create::missing;
use crate::error::{Error, Result, count, error};
use crate::group::{OFFSETS, VALUES, check_offsets, check_values, good_items};
use crate::open::{Found, Health, find};
use crate::repair::{RecoverOptions, Recovery, cut_in, plan_in, recover_in};
use crate::storage::{Folder, Storage};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use std::ffi::{OsStr, OsString};
use std::path::Path;

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

    /// What it holds, and would once it is mended.
    pub(super) fn standing(&self, options: RecoverOptions) -> Result<Standing> {
        let limit = options.max_header_size;
        let (_, values) = self.found(&self.values, limit)?;
        let (whole, _) = self.whole(limit)?;
        let mended = plan_in(&self.folder, &self.values, options)?.rows;
        let (is_cut_short, values) = (matches!(values.health, Health::Truncated { .. }), held(&values));
        let Some(name) = &self.offsets else {
            return Ok(Standing { whole, mended, values, offsets: None, is_cut_short, goes_down: false });
        };
        let (storage, offsets) = self.found(name, limit)?;
        // As far as they are there.
        let there = offsets.layout.rows_in(offsets.size.saturating_sub(offsets.layout.data_start)).0;
        let some = plan_in(&self.folder, name, options)?.rows.min(there);
        let read = |first, buf: &mut [u8]| storage.read_exact_at(offsets.layout.end(first)?, buf);
        let (mended, end) = good_items(some, mended, read)?;
        let goes_down = mended + 1 < some && offset_at(&*storage, &offsets, mended + 1).is_ok_and(|next| next < end);
        let offsets = Some(held(&offsets).saturating_sub(1));
        Ok(Standing { whole, mended, values, offsets, is_cut_short, goes_down })
    }

    /// Whether rows or values that can be read would go, were it cut to `rows` rows.
    pub(super) fn loses(&self, standing: &Standing, rows: u64, max_header_size: u64) -> Result<bool> {
        let Some(name) = &self.offsets else { return Ok(standing.values > rows) };
        if standing.whole > rows {
            return Ok(true);
        }
        let items = standing.offsets.unwrap_or(0);
        if standing.is_cut_short && items > rows {
            // What is left of an item that is torn is cut, as a torn row is; its offsets are worth nothing.
            return Ok(false);
        }
        let (storage, offsets) = self.found(name, max_header_size)?;
        let end = if held(&offsets) > rows { offset_at(&*storage, &offsets, rows)? } else { 0 };
        Ok(standing.values > end || items > rows)
    }

    /// What its files hold, for a message.
    pub(super) fn told(&self, standing: &Standing) -> String {
        let Some(items) = standing.offsets else {
            return format!("{} of {}", self.values.display(), count(standing.values, "row"));
        };
        let file = |name: &str| Path::new(&self.name).join(name).display().to_string();
        let (values, items) = (count(standing.values, "value"), count(items, "item"));
        format!("{} of {values}, {} of {items}", file(VALUES), file(OFFSETS))
    }

    /// What mending its files would do.
    pub(super) fn plan(&self, options: RecoverOptions) -> Result<(Recovery, Option<Recovery>)> {
        let offsets = self.offsets.as_ref().map(|name| plan_in(&self.folder, name, options)).transpose()?;
        Ok((plan_in(&self.folder, &self.values, options)?, offsets))
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
    pub(super) fn whole(&self, max_header_size: u64) -> Result<(u64, u64)> {
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

    pub(super) fn recover(&self, options: RecoverOptions) -> Result<(Recovery, Option<Recovery>)> {
        let offsets = self.offsets.as_ref().map(|name| recover_in(self.folder.clone(), name, options)).transpose()?;
        Ok((recover_in(self.folder.clone(), &self.values, options)?, offsets))
    }

    /// Cuts it to its first `rows` rows, offsets first. A file that has no more is left alone: who takes turns may be adding
    /// to it.
    pub(super) fn cut(&self, rows: u64, max_header_size: u64) -> Result<()> {
        let mut end = rows;
        if let Some(name) = &self.offsets {
            let (storage, offsets) = self.found(name, max_header_size)?;
            let held = held(&offsets);
            end = if held == 0 { 0 } else { offset_at(&*storage, &offsets, rows)? };
            if held > rows + 1 {
                cut_in(self.folder.clone(), name, rows + 1, max_header_size)?;
            }
        }
        let (_, values) = self.found(&self.values, max_header_size)?;
        if held(&values) > end { cut_in(self.folder.clone(), &self.values, end, max_header_size) } else { Ok(()) }
    }
}

/// What a column's files hold.
pub(super) struct Standing {
    /// Rows, or whole items.
    pub(super) whole: u64,
    /// Those once its files are mended, each for itself.
    pub(super) mended: u64,
    /// Rows, or values, that are counted and there.
    values: u64,
    /// Items that the offsets count.
    offsets: Option<u64>,
    /// Whether rows or values that are counted are not there.
    is_cut_short: bool,
    /// Whether the offsets do, which an appender does not look for.
    pub(super) goes_down: bool,
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
