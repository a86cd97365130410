//! What a file is and whether it is well, without changing it.

use crate::create::{Place, missing};
use crate::error::{ErrorKind, Result, count};
use crate::format::{Dtype, Order};
use crate::joining;
use crate::open::{Found, Growth, Health, find};
use crate::storage::Folder;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::ffi::OsStr;
use std::path::Path;

/// What [`inspect`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The dtype of the items.
    pub dtype: Dtype,
    /// C or Fortran order: which axis grows.
    pub order: Order,
    /// The shape that the header gives.
    pub shape: Vec<u64>,
    /// The version of the format: 1, 2 or 3.
    pub version: u8,
    /// The bytes up to the first row.
    pub header_len: u64,
    /// The most rows that the header can count without being moved; `None` when it has no room at all.
    pub room: Option<u64>,
    /// Whether the header is byte for byte one that this crate writes.
    pub ours: bool,
    /// The rows that the header counts; 1 for a 0-d array.
    pub rows: u64,
    /// The whole rows that the file holds, those of a tail included.
    pub rows_on_disk: u64,
    /// The bytes of one row.
    pub row_size: u64,
    /// The bytes of the file.
    pub file_size: u64,
    /// Whether the file holds what the header promises.
    pub health: Health,
    /// What is odd about the header, though it can be read.
    pub notes: Vec<String>,
    /// What to call, where there is something to mend.
    pub advice: Option<String>,
}

impl Report {
    fn new(Look { found, joining }: Look) -> Self {
        let rows_on_disk = match found.health {
            Health::Clean | Health::Sequence => found.rows,
            Health::Tail { rows, .. } => found.rows.saturating_add(rows),
            Health::Truncated { rows, .. } => rows,
        };
        Report {
            advice: joining.or_else(|| advice(&found)),
            room: found.growth.max_rows(),
            ours: matches!(found.growth, Growth::Ours(_)),
            rows: found.rows,
            rows_on_disk,
            row_size: found.layout.row_size,
            file_size: found.size,
            health: found.health,
            notes: found.header.notes.iter().map(ToString::to_string).collect(),
            version: found.header.version,
            header_len: found.header.len,
            dtype: found.header.dtype,
            order: found.header.order,
            shape: found.header.shape,
        }
    }
}

fn advice(found: &Found) -> Option<String> {
    let advice = match found.health {
        Health::Truncated { .. } if found.is_scalar() => "its one item is not whole: nothing can be recovered".into(),
        Health::Truncated { rows: 0, .. } => "no whole row is left: recover(path) makes it a file of 0 rows".into(),
        Health::Truncated { rows, .. } => {
            format!("recover(path) goes on with what is left: {}", count(rows, "whole row"))
        }
        Health::Tail { rows: 0, bytes } => format!(
            "{} after the last row, no whole row: an append is under way or was cut short, or they are not ours; \
             recover(path, tail=\"drop\") cuts them",
            count(bytes, "byte")
        ),
        Health::Tail { rows, bytes } => format!(
            "{} after the last row: an append is under way or was cut short, or they are not ours; recover(path) makes \
             {} of them, unverified; recover(path, tail=\"drop\") cuts them",
            count(bytes, "byte"),
            count(rows, "row")
        ),
        Health::Sequence => "several arrays in one file: open_sequence(path) maps each of them".into(),
        Health::Clean if found.is_scalar() => "a 0-d array has no axis to grow along".into(),
        Health::Clean if matches!(found.growth, Growth::NoRoom) => {
            "ensure_appendable(path) makes room in the header, so that rows can be appended".into()
        }
        Health::Clean => return None,
    };
    Some(advice)
}

/// Says what the file at `path` is and whether it is well. Changes nothing and takes no lock.
///
/// While another process appends, the file may be seen with a tail: rows that are written but not counted yet.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("pose.npy");
/// # npygrow::Appender::open(&path)?.append(&[[0.0f32, 0.5], [1.0, 1.5]])?;
/// let report = npygrow::inspect(&path, npygrow::MAX_HEADER_SIZE)?;
/// assert_eq!((report.shape, report.health), (vec![2, 2], npygrow::Health::Clean));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// `NeedsRecovery` when its rows are half moved ([`Room::InPlace`](crate::Room::InPlace)); `NotNpy`, `Malformed`,
/// `Unsupported`, `OverLimit` when it is no file for us; `Io` when it cannot be read.
pub fn inspect(path: impl AsRef<Path>, max_header_size: u64) -> Result<Report> {
    look(path.as_ref(), max_header_size).map(Report::new)
}

/// As [`inspect`], in any [`Folder`].
///
/// # Errors
///
/// As [`inspect`].
pub fn inspect_in(folder: Arc<dyn Folder>, name: &OsStr, max_header_size: u64) -> Result<Report> {
    let place = Place::new(folder, name);
    look_at(&place, max_header_size).map(Report::new).map_err(|error| error.at(place.path().display()))
}

/// Whether rows can be appended to the file at `path` as it is. A tail that an append of ours left, or is writing just now,
/// is no hindrance: opening cuts it.
///
/// # Errors
///
/// As [`inspect`].
pub fn is_appendable(path: impl AsRef<Path>, max_header_size: u64) -> Result<bool> {
    let Some(look) = unless_moving(look(path.as_ref(), max_header_size))? else { return Ok(false) };
    let found = &look.found;
    let whole = match found.health {
        Health::Clean => true,
        Health::Tail { .. } => matches!(found.growth, Growth::Ours(_)),
        Health::Truncated { .. } | Health::Sequence => false,
    };
    Ok(whole && look.joining.is_none() && found.growth.max_rows().is_some_and(|max| max > found.rows))
}

/// Whether the file at `path` holds more or fewer bytes than its header counts, or its rows are half moved, or a concat that
/// consumes its inputs was interrupted here.
///
/// # Errors
///
/// As [`inspect`].
pub fn needs_recovery(path: impl AsRef<Path>, max_header_size: u64) -> Result<bool> {
    let look = unless_moving(look(path.as_ref(), max_header_size))?;
    Ok(look.is_none_or(|look| look.joining.is_some() || look.found.health != Health::Clean))
}

/// What there is at a path, and what to call where a concat that consumes its inputs was interrupted.
struct Look {
    found: Found,
    joining: Option<String>,
}

/// `None` for a file whose rows are being moved in place: all that [`find`] calls in need of recovery.
fn unless_moving(look: Result<Look>) -> Result<Option<Look>> {
    match look {
        Err(error) if error.kind() == ErrorKind::NeedsRecovery => Ok(None),
        look => look.map(Some),
    }
}

fn look(path: &Path, max_header_size: u64) -> Result<Look> {
    let place = Place::resolve(path);
    place.and_then(|place| look_at(&place, max_header_size)).map_err(|error| error.at(path.display()))
}

fn look_at(place: &Place, max_header_size: u64) -> Result<Look> {
    let storage = place.folder.open(&place.name, false)?.ok_or_else(missing)?;
    let found = find(&*storage, max_header_size)?;
    let joining = match joining::refuse(&*place.folder, &place.name, &*storage) {
        Err(error) if error.kind() == ErrorKind::NeedsRecovery => Some(error.detail().to_string()),
        done => done.map(|()| None)?,
    };
    Ok(Look { found, joining })
}
