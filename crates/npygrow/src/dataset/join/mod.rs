//! Folders one after the other: what was the end of one is where the offsets of the next go on from.
//!
//! Invariants:
//!
//! - Every input is looked at before a byte is written, and no row is counted before all of them are written.
//! - A new folder gets its name when all of it is on the disk. One that goes on is a group: rows are in all of its columns, or
//!   are cut from those that have them.

mod inputs;
mod output;

use super::Kind;
use crate::concat::{ConcatOptions, no_inputs};
use crate::create::missing;
use crate::error::{Error, Result, error};
use crate::group::{Group, Stream};
use crate::storage::{Directory, Folder};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use inputs::{Input, Look, Wants};
use output::{Output, Standing};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What [`concat_folders`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolderJoined {
    /// The rows, or items, of the output now.
    pub rows: u64,
    /// Those before.
    pub rows_before: u64,
    /// How many inputs were joined.
    pub inputs: u64,
    /// Bytes whose blocks the output shares with an input.
    pub shared: u64,
    /// Bytes of an input that were left out: after the last row that every column has.
    pub tails: Vec<(PathBuf, u64)>,
}

/// Joins the folders `inputs`, all of the same columns or all of items, one after the other into the folder `output`, as
/// [`concat`](crate::concat()) joins files; offsets go on from where those before end.
///
/// Every input is looked at before a byte is written, and the error names all that do not fit. A new folder is there whole or
/// not at all, also after a power cut. One that is [appended](crate::OnExists::Append) to is as it was after a failure.
/// [`OnExists::Replace`](crate::OnExists::Replace) takes a folder of nothing but columns, and swaps the two at once, where the system can. `progress` hears
/// now and then of the bytes done so far and all there are; an error of its own ends the call.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = |name: &str| folder.path().join(name);
/// for name in ["one", "two"] {
///     npygrow::RaggedAppender::open(path(name))?.append(name.as_bytes())?;
/// }
/// let inputs = [path("one"), path("two")];
/// let options = npygrow::ConcatOptions::default();
/// assert_eq!(npygrow::concat_folders(&inputs, path("all"), &options, &mut |_, _| Ok(()))?.rows, 2);
/// assert_eq!(npygrow::Ragged::open(path("all"), npygrow::MAX_HEADER_SIZE)?.item::<u8>(1)?, b"two");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`concat_with`](crate::concat_with); `Malformed` when an input's offsets go down; `Mismatch` for what [`ConcatOptions`] has
/// for files alone: an axis, inputs that are consumed.
pub fn concat_folders(
    inputs: &[impl AsRef<Path>],
    output: impl AsRef<Path>,
    options: &ConcatOptions,
    progress: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<FolderJoined> {
    let output = output.as_ref();
    let mut join = || {
        let (around, name) = Directory::around(output)?;
        let input = |path: &Path| {
            let folder = Directory::at(path).map(|folder| Arc::new(folder) as Arc<dyn Folder>);
            (PathBuf::from(path), folder)
        };
        let inputs = inputs.iter().map(|path| input(path.as_ref())).collect();
        run(inputs, &Output { around: Arc::new(around), name, options: options.clone() }, progress)
    };
    join().map_err(|error: Error| error.at(output.display()))
}

/// As [`concat_folders`], for folders in any [`Folder`].
///
/// # Errors
///
/// As [`concat_folders`].
pub fn concat_folders_in(
    folder: Arc<dyn Folder>,
    inputs: &[impl AsRef<OsStr>],
    output: &OsStr,
    options: &ConcatOptions,
    progress: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<FolderJoined> {
    let shown = folder.path(output);
    let input = |name: &OsStr| {
        let inside = folder.folder(name, false);
        (folder.path(name), inside.and_then(|inside| inside.ok_or_else(missing)))
    };
    let inputs = inputs.iter().map(|name| input(name.as_ref())).collect();
    let output = Output { around: folder.clone(), name: output.into(), options: options.clone() };
    run(inputs, &output, progress).map_err(|error| error.at(shown.display()))
}

fn run(
    inputs: Vec<(PathBuf, Result<Arc<dyn Folder>>)>,
    output: &Output,
    progress: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<FolderJoined> {
    let options = &output.options;
    for (asked, what) in [(options.consume, "consume"), (options.axis.is_some(), "axis")] {
        if asked {
            return Err(error!(Mismatch, "{what} is for files: folders are joined whole, row after row"));
        }
    }
    let standing = output.look()?;
    let (inputs, wants) = inputs::look(inputs, output, &standing)?;
    if inputs.is_empty() {
        return Err(no_inputs());
    }
    let mut work = Work { inputs: &inputs, wants: &wants, limit: options.appender.header_limit(), progress };
    match &standing {
        Standing::Rows(folder, _) => {
            let mut joined = wants.open(folder.clone(), options.appender.clone())?;
            let done = work.fill(joined.group())?;
            joined.close()?;
            Ok(done)
        }
        Standing::New | Standing::Old(..) => output.make(&standing, &wants, |joined| work.fill(joined.group())),
    }
}

/// All that is to be written.
struct Work<'a> {
    inputs: &'a [Input],
    wants: &'a Wants,
    limit: u64,
    progress: &'a mut dyn FnMut(u64, u64) -> Result<()>,
}

impl Work<'_> {
    /// Appends all rows of all inputs, to every column or to none.
    fn fill(&mut self, group: &mut Group) -> Result<FolderJoined> {
        let Work { inputs, wants, limit, progress } = self;
        let (inputs, limit) = (*inputs, *limit);
        let rows = inputs.iter().try_fold(0, |sum: u64, input| sum.checked_add(input.rows));
        let rows = rows.ok_or_else(|| error!(OverLimit, "joined, the inputs pass {} rows", u64::MAX))?;
        let total: u64 =
            inputs.iter().flat_map(|input| input.columns.values()).map(Look::bytes).fold(0, u64::saturating_add);
        let (shared, done, progress) = (Cell::new(0), Cell::new(0), RefCell::new(progress));
        let step = |bytes: u64| {
            done.set(done.get() + bytes);
            (progress.borrow_mut())(done.get(), total)
        };
        let step = &step;
        let shared = &shared;
        let mut streams = Vec::new();
        for name in wants.columns.keys() {
            let looks: Vec<&Look> = inputs.iter().filter_map(|input| input.columns.get(name)).collect();
            let ends = group.columns().iter().find(|column| column.name == *name).map_or(0, |column| column.end());
            let count = looks.iter().try_fold(0_u64, |count, look| count.checked_add(look.values.rows));
            let count = count.ok_or_else(|| error!(OverLimit, "the values together are too many to count"))?;
            let parts = looks.clone();
            streams.push(Stream {
                count,
                write: Box::new(move |batch| {
                    for Look { values, .. } in parts {
                        let storage = values.open(limit)?;
                        let copied = batch.copy_from(&*storage, values.offset, values.len, &mut |bytes| step(bytes))?;
                        shared.set(shared.get() + copied);
                    }
                    Ok(())
                }),
            });
            if wants.columns.get(name).is_some_and(|(kind, _)| *kind == Kind::Ragged) {
                if ends.checked_add(count).is_none_or(|all| i64::try_from(all).is_err()) {
                    return Err(error!(OverLimit, "{ends} values and {count} more: offsets are of 63 bits"));
                }
                streams.push(Stream {
                    count: rows,
                    write: Box::new(move |batch| {
                        let mut base = ends;
                        for look in looks {
                            look.write_offsets(base, limit, batch, step)?;
                            base += look.values.rows;
                        }
                        Ok(())
                    }),
                });
            }
        }
        let rows_before = group.len();
        group.append_streams(rows, streams)?;
        let tails = inputs.iter().filter(|input| input.left_out > 0);
        Ok(FolderJoined {
            rows: group.len(),
            rows_before,
            inputs: inputs.len() as u64,
            shared: shared.get(),
            tails: tails.map(|input| (input.shown.clone(), input.left_out)).collect(),
        })
    }
}
