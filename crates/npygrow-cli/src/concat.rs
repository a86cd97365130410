//! `npy concat`: joins files.

mod glob;

use crate::append::{durability, seconds};
use crate::bar::Bar;
use crate::folder;
use crate::input::{Common, advised, complain_of, object, write_json};
use crate::text::{GOOD, ODD, STRONG, count, grouped, paint, plain, size};
use crate::{DONE, FAILED};
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use npygrow::{ConcatOptions, Durability, Error, ErrorKind, Joined, OnExists, Result, concat_folders, concat_with};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  npy concat all.npy part-1.npy part-2.npy
  npy concat all.npy 'part-*.npy'              sorted as people count: 2 before 10
  npy concat --append all.npy new.npy
  npy concat --consume all.npy 'part-*.npy'    on a disk too full for both
  npy concat --axis 2 wide.npy a.npy b.npy     as np.concatenate does

Files are joined along the axis that grows, in the order given. A shell sorts what
it expands part-10 before part-2: quote a pattern (*, ?, [abc], ** for folders) and
npy expands it, and sorts by the numbers in the names.

Every file is looked at before a byte is written, and all that do not fit are
named. OUT is there whole or not at all. Blocks are shared where the file system
can (XFS, btrfs) and they lie alike, else they are copied.

Folders of the same columns, or of items, are joined to a folder in the same way; without
--consume and --axis.

With --consume each file is deleted once its rows are on the disk in OUT. After a
crash the same command finishes; until then nobody can append to OUT.

Exit status: 0 done; 2 failure.";

/// Join .npy files into one that can grow
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Concat {
    /// The file to make, or the folder
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// .npy files, or patterns of their names, or folders
    #[arg(required = true, value_name = "IN")]
    inputs: Vec<PathBuf>,

    /// Append to OUT where it exists
    #[arg(long, group = "on_exists")]
    append: bool,

    /// Replace OUT where it exists
    #[arg(long, group = "on_exists")]
    replace: bool,

    /// Delete each IN as soon as its rows are in OUT
    #[arg(long, conflicts_with = "axis")]
    consume: bool,

    /// Join along this axis, which need not be the one that grows
    #[arg(long, allow_negative_numbers = true)]
    axis: Option<i64>,

    /// What the rows survive
    #[arg(long, value_name = "process|ordered|power", hide_possible_values = true, default_value = "process")]
    #[arg(value_parser = PossibleValuesParser::new(["process", "ordered", "power"]).map(durability))]
    durability: Durability,

    /// Wait so long for an appender
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    lock_timeout: Option<Duration>,

    #[command(flatten)]
    common: Common,
}

impl Concat {
    /// `is_watched`: `err` is a terminal, where somebody may wonder how long it takes.
    pub(crate) fn run(self, out: &mut dyn Write, err: &mut dyn Write, is_watched: bool) -> io::Result<i32> {
        if self.inputs.iter().any(|input| input.is_dir()) {
            return self.folders(out, err, is_watched);
        }
        let done = self.join(is_watched.then_some(&mut *err)).map_err(|error| self.advised(error));
        match &done {
            _ if self.common.json => {
                let path = done.as_ref().map_or_else(|error| self.failed(error), |_| &*self.output);
                write_json(out, vec![object(path, &done, facts)])?;
            }
            Ok(done) => writeln!(out, "{}: {}", paint(STRONG, plain(self.output.display())), words(done))?,
            Err(error) => complain_of(err, self.failed(error), error)?,
        }
        Ok(if done.is_ok() { DONE } else { FAILED })
    }

    fn join(&self, watched: Option<&mut dyn Write>) -> Result<Joined> {
        // What a call that was interrupted consumed is there no more: its pattern may match nothing now.
        let inputs = glob::expand(&self.inputs, !self.consume)?;
        let mut bar = Bar::new(watched);
        concat_with(&inputs, &self.output, &self.options(), &mut |done, all| {
            bar.at(done, all);
            Ok(())
        })
    }

    fn options(&self) -> ConcatOptions {
        let mut options = ConcatOptions::default()
            .on_exists(match (self.append, self.replace) {
                (true, _) => OnExists::Append,
                (_, true) => OnExists::Replace,
                _ => OnExists::Error,
            })
            .consume(self.consume)
            .durability(self.durability)
            .max_header_size(self.common.max_header_size);
        if let Some(axis) = self.axis {
            options = options.axis(axis);
        }
        if let Some(timeout) = self.lock_timeout {
            options = options.lock_timeout(timeout);
        }
        options
    }

    fn folders(&self, out: &mut dyn Write, err: &mut dyn Write, is_watched: bool) -> io::Result<i32> {
        let asked = [(self.consume, "--consume"), (self.axis.is_some(), "--axis")];
        let joined = match asked.iter().find(|(is_asked, _)| *is_asked) {
            Some((_, option)) => {
                let text = format!("{option} is for files: folders are joined whole, row after row");
                Err(Error::new(ErrorKind::Mismatch, text))
            }
            None => {
                let mut bar = Bar::new(is_watched.then_some(&mut *err));
                concat_folders(&self.inputs, &self.output, &self.options(), &mut |done, all| {
                    bar.at(done, all);
                    Ok(())
                })
            }
        };
        // Of an input that fails, the folder; what is wrong in it says the error.
        let about = |error: &Error| {
            let inside = |input: &&PathBuf| error.path().is_some_and(|path| Path::new(path).starts_with(input));
            self.inputs.iter().find(inside).unwrap_or(&self.output).clone()
        };
        let joined = joined.map_err(|error| (about(&error), error));
        let joined = joined.map_err(|(path, error)| folder::advised(&path, error).at(path.display()));
        match &joined {
            _ if self.common.json => {
                let path = joined.as_ref().map_or_else(|error| self.failed(error), |_| &*self.output);
                write_json(out, vec![object(path, &joined, folder::joined_facts)])?;
            }
            Ok(done) => {
                writeln!(
                    out,
                    "{}: {}",
                    paint(STRONG, plain(self.output.display())),
                    folder::joined(done, &self.output)
                )?;
            }
            Err(error) => complain_of(err, self.failed(error), error)?,
        }
        Ok(if joined.is_ok() { DONE } else { FAILED })
    }

    /// The file that an error is about.
    fn failed<'a>(&'a self, error: &'a Error) -> &'a Path {
        error.path().map_or(&self.output, Path::new)
    }

    fn advised(&self, error: Error) -> Error {
        let path = self.failed(&error).to_path_buf();
        if let (Some(io::ErrorKind::AlreadyExists), Some(errno)) = (error.io_kind(), error.raw_os_error()) {
            let action = "cannot join into a new file (--append adds to it, --replace replaces it)";
            return Error::io(action, &io::Error::from_raw_os_error(errno)).at(path.display());
        }
        advised(&path, error, self.common.max_header_size).at(path.display())
    }
}

/// Keys as in the library and in Python.
fn facts(done: &Joined) -> Value {
    let tail = |(path, bytes): &(PathBuf, u64)| json!({ "path": path.to_string_lossy(), "bytes": bytes });
    json!({
        "shape": done.shape,
        "rows": done.rows,
        "rows_before": done.rows_before,
        "inputs": done.inputs,
        "inputs_before": done.inputs_before,
        "shared": done.shared,
        "tails": done.tails.iter().map(tail).collect::<Vec<_>>(),
    })
}

fn words(done: &Joined) -> String {
    let added = count(done.rows - done.rows_before, "row");
    let mut text =
        paint(GOOD, format!("{added} of {} joined, {} in all", count(done.inputs, "file"), grouped(done.rows)));
    let mut say = |style, more: String| text += &format!("; {}", paint(style, more));
    if done.inputs_before > 0 {
        say(ODD, format!("{} joined before the interruption", count(done.inputs_before, "file")));
    }
    if done.shared > 0 {
        say(GOOD, format!("{} shared, not copied", size(done.shared)));
    }
    for (path, bytes) in &done.tails {
        say(ODD, format!("{} after the last row of {} left out", count(*bytes, "byte"), plain(path.display())));
    }
    text
}
