//! A view in a few words, to be opened again by another process.

use crate::error::{Error, Result, error};
use crate::format::Tuple;
use crate::open::Spec;
use crate::rows::Rows;
use crate::storage::{Storage, Window};
use crate::view::{Access, View, open_file};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Which rows of which file a [`View`] shows, or which arrays a [`Sequence`](crate::Sequence): small enough to be sent to every worker, all of which then see the same.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("pose.npy");
/// let mut writer = npygrow::Appender::open(&path)?;
/// writer.append(&[1.0f32, 2.0])?;
/// let bookmark = npygrow::View::open(&path, npygrow::MAX_HEADER_SIZE)?.bookmark()?;
/// writer.append(&[3.0f32])?;
/// assert_eq!(bookmark.open()?.values::<f32>(), Some(&[1.0, 2.0][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bookmark {
    /// Where the file is.
    pub path: PathBuf,
    /// Its number on its file system, which it keeps when it is renamed, and nobody else has while it exists.
    pub file: Option<u64>,
    /// When it was made, in nanoseconds since 1970, where the file system knows: numbers are given again.
    pub made: Option<u64>,
    /// Its dtype, row shape and order, which an array that was saved over it need not have; `None` for a sequence.
    pub what: Option<String>,
    /// Where the array begins in the file, and, where it is one of several, where it ends; where all arrays of a sequence do.
    pub part: (u64, Option<u64>),
    /// How many rows, or arrays, there are.
    pub rows: u64,
    /// What may be done to the values.
    pub access: Access,
    /// The longest header that is read.
    pub max_header_size: u64,
}

impl View {
    /// What another process needs to see the same rows.
    ///
    /// # Errors
    ///
    /// `Mismatch` with [`Access::Copy`], whose changes nobody else can see; `Io` when the path cannot be made absolute.
    pub fn bookmark(&self) -> Result<Bookmark> {
        let rows = self.rows();
        let bookmark = Bookmark::of(self.window(), self.path(), self.len(), self.access(), rows.max_header_size);
        let bookmark = bookmark.map_err(|error| rows.named(error))?;
        Ok(Bookmark { what: Some(what(rows)), ..bookmark })
    }
}

impl Bookmark {
    pub(crate) fn of(window: &Window, path: &Path, rows: u64, access: Access, max_header_size: u64) -> Result<Self> {
        if access == Access::Copy {
            return Err(error!(Mismatch, "a private copy cannot be sent to another process: send its values"));
        }
        let path = std::path::absolute(path).map_err(|why| Error::io("cannot tell where it is", &why))?;
        let (file, made) = identity(window)?;
        Ok(Bookmark { path, file, made, what: None, part: (window.start, window.end), rows, access, max_header_size })
    }

    /// The same rows of the same file.
    ///
    /// # Errors
    ///
    /// `Mismatch` when another file has the path by now, another kind of array was saved over it, or fewer rows are left; as
    /// [`View::open`].
    pub fn open(&self) -> Result<View> {
        let open = || {
            let view = View::over(self.window()?, &self.path, self.access, self.max_header_size)?;
            let found = what(view.rows());
            if let Some(expected) = self.what.as_ref().filter(|expected| **expected != found) {
                return Err(error!(
                    Mismatch,
                    "expected {expected}, found {found}: the file was overwritten: open it again"
                ));
            }
            view.first(self.rows)
        };
        open().map_err(|error: Error| error.at(self.path.display()))
    }

    /// The part of the file, if it is the same file.
    pub(crate) fn window(&self) -> Result<Window> {
        let file = open_file(&self.path, self.access)?;
        let window = Window { file: file.into(), start: self.part.0, end: self.part.1 };
        if identity(&window)? != (self.file, self.made) {
            return Err(error!(Mismatch, "the file was replaced since its array was sent here: open it again"));
        }
        Ok(window)
    }
}

fn what(rows: &Rows) -> String {
    let Spec { dtype, order, row_shape } = &rows.found.spec;
    format!("rows of shape {} and dtype {dtype} in {order} order", Tuple(row_shape))
}

/// Not the device: another host, or another boot, numbers devices as it likes.
fn identity(window: &Window) -> Result<(Option<u64>, Option<u64>)> {
    let made = window.file.as_std().metadata().and_then(|metadata| metadata.created()).ok();
    let made = made.and_then(|made| made.duration_since(SystemTime::UNIX_EPOCH).ok());
    let made = made.and_then(|made| u64::try_from(made.as_nanos()).ok());
    Ok((window.identity()?.map(|identity| identity.file), made))
}
