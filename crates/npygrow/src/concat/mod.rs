//! Many files into one, without their rows passing through memory.

mod across;
mod consume;
pub(crate) mod inputs;
mod options;

pub use options::{ConcatOptions, OnExists};

use crate::append::Appender;
use crate::create::{Place, missing};
use crate::error::{Error, Result, error};
use crate::format::Order;
use crate::open::{Found, Health, find, truncated};
use crate::options::{Mode, Options};
use crate::storage::Folder;
use crate::tail::sequence;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use inputs::{Input, Part, Want, refusal};
use std::ffi::OsStr;
use std::path::{Path, PathBuf, absolute};

/// What [`concat()`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Joined {
    /// The shape of the output now.
    pub shape: Vec<u64>,
    /// Its rows now.
    pub rows: u64,
    /// Its rows before.
    pub rows_before: u64,
    /// How many inputs were joined by this call.
    pub inputs: u64,
    /// How many inputs were in the output already: an earlier call that consumes them was interrupted.
    pub inputs_before: u64,
    /// Bytes whose blocks the output shares with an input.
    pub shared: u64,
    /// Bytes after the last row of an input, which were left out: of an append that is under way or was cut short, or not
    /// ours at all.
    pub tails: Vec<(PathBuf, u64)>,
}

/// Joins the `.npy` files `inputs`, one after the other along the growth axis, into a new file `output`, to which rows can
/// be appended.
///
/// A file of several arrays (of several `np.save` calls) is joined array by array. Every input is looked at before a byte
/// is written: dtype, row shape and order must be the same, and the error names all that do not fit. The output is there
/// whole or not at all. Blocks are shared with an input where the file system can (XFS, btrfs) and the rows before it fill
/// whole blocks; else they are copied, in the memory of one block.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let [a, b, all] = ["a.npy", "b.npy", "all.npy"].map(|name| folder.path().join(name));
/// npygrow::save(&a, &[[0u16, 1], [2, 3]])?;
/// npygrow::save(&b, &[[4u16, 5]])?;
/// let joined = npygrow::concat(&[&a, &b], &all)?;
/// assert_eq!((joined.inputs, joined.shape), (2, vec![3, 2]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// `Mismatch` when the inputs do not fit each other, or the output is among them; `NeedsRecovery` when one is broken;
/// `Io` when the output is there already, and for the rest; what a file that is no input gives as it is opened. Several
/// inputs that cannot be joined for different reasons are one `Mismatch`.
pub fn concat(inputs: &[impl AsRef<Path>], output: impl AsRef<Path>) -> Result<Joined> {
    concat_with(inputs, output, &ConcatOptions::default(), &mut |_, _| Ok(()))
}

/// As [`concat()`], as `options` ask. `progress` hears now and then of the bytes done so far and all there are; an error of
/// its own ends the call, which leaves nothing behind.
///
/// # Errors
///
/// As [`concat()`]; also `Locked` when an appender holds the output, or an input to be consumed; `NotAppendable` and
/// `NeedsRecovery` when rows cannot be appended to the output.
pub fn concat_with(
    inputs: &[impl AsRef<Path>],
    output: impl AsRef<Path>,
    options: &ConcatOptions,
    progress: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<Joined> {
    let output = output.as_ref();
    let input = |path: &Path| Input {
        given: path.into(),
        shown: path.into(),
        path: absolute(path).unwrap_or(path.into()).into_os_string(),
    };
    let inputs = inputs.iter().map(|path| input(path.as_ref())).collect();
    let find = &|path: &OsStr| Place::resolve(path.as_ref());
    let run = |place| Job { inputs, output: place, shown: output.into(), options: options.clone(), find }.run(progress);
    Place::resolve(output).and_then(run).map_err(|error| error.at(output.display()))
}

/// As [`concat_with`], in any [`Folder`].
///
/// # Errors
///
/// As [`concat_with`].
pub fn concat_in(
    folder: Arc<dyn Folder>,
    inputs: &[impl AsRef<OsStr>],
    output: &OsStr,
    options: &ConcatOptions,
    progress: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<Joined> {
    let find = &|name: &OsStr| Ok(Place::new(folder.clone(), name));
    let input = |name: &OsStr| Input { given: name.into(), shown: folder.path(name), path: name.into() };
    let inputs = inputs.iter().map(|name| input(name.as_ref())).collect();
    let (place, shown) = (find(output)?, folder.path(output));
    let job = Job { inputs, output: place, shown: shown.clone(), options: options.clone(), find };
    job.run(progress).map_err(|error| error.at(shown.display()))
}

struct Job<'a> {
    inputs: Vec<Input>,
    output: Place,
    /// For messages.
    shown: PathBuf,
    options: ConcatOptions,
    /// Where a path leads.
    find: &'a dyn Fn(&OsStr) -> Result<Place>,
}

/// What is in the output's place.
enum Standing {
    /// Nothing, or an empty file.
    New,
    /// A file that will be replaced.
    Old,
    /// A file that goes on.
    Rows(Box<Found>),
}

impl Job<'_> {
    fn run(self, progress: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<Joined> {
        self.options.check()?;
        if self.options.consume {
            return consume::run(self, progress);
        }
        let standing = self.look()?;
        let (parts, want) = self.parts(&standing, &|_| false)?;
        let Some(want) = want else { return Err(no_inputs()) };
        let (spec, rows) = want.joined(&parts)?;
        let mut appender = self.open(&standing, spec.order)?;
        appender.define(&spec.dtype, &spec.row_shape)?;
        let rows_before = appender.committed();
        let mut batch = appender.begin(rows)?;
        let mut progress = counted(progress, &parts);
        let limit = self.options.appender.header_limit();
        let mut shared = 0;
        if want.is_along_rows() {
            for part in &parts {
                let storage = part.open(limit)?;
                shared += batch.copy_from(&*storage, part.offset, part.len, &mut progress)?;
            }
        } else {
            across::join(&mut batch, &parts, &want, limit, &mut progress)?;
        }
        batch.commit()?;
        let joined = joined(&appender, rows_before, &parts, shared);
        appender.close()?;
        Ok(joined)
    }

    /// What stands in the way or is gone on with.
    fn look(&self) -> Result<Standing> {
        let Some(storage) = self.output.folder.open(&self.output.name, false)? else { return Ok(Standing::New) };
        if storage.is_empty()? {
            return Ok(Standing::New);
        }
        match self.options.on_exists {
            OnExists::Error => Err(exists()),
            OnExists::Replace => Ok(Standing::Old),
            OnExists::Append => {
                let found = find(&*storage, self.options.appender.header_limit())?;
                match found.health {
                    Health::Truncated { rows, .. } => Err(truncated(found.rows, rows)),
                    Health::Sequence => Err(sequence()),
                    _ => Ok(Standing::Rows(found.into())),
                }
            }
        }
    }

    /// All inputs but those to `skip`, and what they have in common. Refuses with all that is amiss.
    fn parts(&self, standing: &Standing, skip: &dyn Fn(&Input) -> bool) -> Result<(Vec<Part>, Option<Want>)> {
        let output = self.output.folder.identity(&self.output.name)?;
        let (mut parts, mut faults, mut all) = (Vec::<Part>::new(), Vec::new(), 0);
        for input in self.inputs.iter().filter(|input| !skip(input)) {
            let found = self.parts_of(input).unwrap_or_else(|error| {
                faults.push((input.shown.clone(), error));
                all += 1;
                Vec::new()
            });
            for part in found {
                all += 1;
                let again = |other: &Part| other.identity == part.identity;
                if output.is_some() && part.identity == output {
                    faults.push((part.shown, error!(Mismatch, "the output is among the inputs")));
                } else if self.options.consume && part.identity.is_some() && parts.iter().any(again) {
                    faults.push((part.shown, error!(Mismatch, "the same file twice: it can be consumed once")));
                } else {
                    parts.push(part);
                }
            }
        }
        let mut want = match standing {
            Standing::Rows(found) => Some(Want::of(&found.spec, &found.header.shape, self.shown.clone())),
            _ => Want::first(&parts),
        };
        if let (Some(want), Some(axis)) = (&mut want, self.options.axis) {
            want.along(axis)?;
            if !want.is_along_rows() && matches!(standing, Standing::Rows(_)) {
                return Err(error!(Mismatch, "axis {axis} is not the one that grows: join into a new file"));
            }
        }
        if let Some(want) = &want {
            for part in &mut parts {
                match part.misfit(want) {
                    Some(error) => faults.push((part.shown.clone(), error)),
                    None => part.settle(want),
                }
            }
        }
        if faults.is_empty() { Ok((parts, want)) } else { Err(refusal(faults, all)) }
    }

    /// The rows of an input: of a file of several arrays, those of each.
    fn parts_of(&self, input: &Input) -> Result<Vec<Part>> {
        let limit = self.options.appender.header_limit();
        let place = (self.find)(&input.given)?;
        if self.options.consume {
            return Ok(vec![consume::part(input, &place, &self.options.appender)?]);
        }
        let storage = place.folder.open(&place.name, false)?.ok_or_else(missing)?;
        let found = find(&*storage, limit)?;
        match found.health {
            Health::Sequence => Part::all(input, &place, &*storage, limit),
            _ => Ok(vec![Part::of(input, &place, &*storage, found)?]),
        }
    }

    /// An appender on the output, which it makes or goes on with.
    fn open(&self, standing: &Standing, order: Order) -> Result<Appender> {
        let empty = self.output.folder.identity(&self.output.name)?.is_some();
        let mode = match (standing, self.options.on_exists) {
            (Standing::Old, _) => Mode::Write,
            // An empty file is a new one, but something.
            (Standing::New, OnExists::Error) if !empty => Mode::New,
            _ => Mode::Append,
        };
        let options: Options = self.options.appender.clone().mode(mode).order(order);
        let appender = Appender::at(options, self.output.clone())?;
        // Somebody else may have made it, or filled it, since it was looked at.
        if matches!(standing, Standing::New) && appender.committed() > 0 && self.options.on_exists != OnExists::Append {
            return Err(exists());
        }
        Ok(appender)
    }
}

fn exists() -> Error {
    stands("file")
}

/// What is to be made is there already.
pub(crate) fn stands(what: &str) -> Error {
    const EEXIST: i32 = if cfg!(windows) { 80 } else { 17 };
    let action = format!("cannot join into a new {what} (on_exists: error; append adds to it, replace replaces it)");
    Error::io(action, &std::io::Error::from_raw_os_error(EEXIST))
}

pub(crate) fn no_inputs() -> Error {
    error!(Mismatch, "expected at least one input, found none")
}

/// A `progress` of steps out of one of sums.
fn counted(progress: &mut dyn FnMut(u64, u64) -> Result<()>, parts: &[Part]) -> impl FnMut(u64) -> Result<()> {
    let total = parts.iter().map(|part| part.len).sum();
    let mut done = 0;
    move |step| {
        done += step;
        progress(done, total)
    }
}

fn joined(appender: &Appender, rows_before: u64, parts: &[Part], shared: u64) -> Joined {
    let tails = parts.iter().filter(|part| part.tail > 0).map(|part| (part.shown.clone(), part.tail));
    Joined {
        shape: appender.shape().unwrap_or_default(),
        rows: appender.committed(),
        rows_before,
        inputs: parts.len() as u64,
        inputs_before: 0,
        shared,
        tails: tails.collect(),
    }
}
