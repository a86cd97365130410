//! `npy append`: rows from other files, from a pipe, from text.

mod csv;
mod files;
mod folder;
mod stream;

use crate::input::{Common, advised, complain_of};
use crate::text::{BAD, GOOD, ODD, STRONG, count, grouped, paint, plain};
use crate::truncate::dropped;
use crate::{DONE, FAILED};
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use files::Rows;
use npygrow::{Appender, Dropped, Dtype, Durability, Error, ErrorKind, Mode, OnTail, Options, Result, inspect};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const STDIN: &str = "-";

const EXAMPLES: &str = "\
Examples:
  npy append all.npy day1.npy day2.npy
  recorder | npy append audio.npy - --dtype '<i2' --row-shape 2
  sensors | npy append log.npy - --csv --dtype \"[('t', '<f8'), ('v', '<f4')]\"
  npy append table.npy table.csv --csv --header --dtype '<f4' --row-shape 3
  npy append run image=images.npy label=labels.npy text=texts

Files in .npy are appended all or none. From - (standard input) and from CSV rows
are published as they come, so that readers follow: when the input pauses, when
--buffering bytes wait, and every second. A CSV line that is no row is named and
left out. A complex number takes two columns, a field of several values one for
each: xyz[0], xyz[1].

Where OUT is a folder, or a new name without .npy, NAME=FILE gives each column its
rows, as many for all: an .npy file, or a folder of items of different length. Or
IN are folders like OUT. Each goes in whole or not at all, in every column.

Rows survive the end of npy (--durability process), also a power cut but perhaps
for the last ones (ordered), or every published row does (power).

Exit status: 0 done; 2 failure, also when lines or a torn last row were left out.";

/// Append rows from .npy files, standard input or CSV
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Append {
    /// The file or the folder that grows; made where there is none
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// .npy files; with --csv text; - is standard input, raw rows without --csv; NAME=FILE for a folder
    #[arg(required = true, value_name = "IN")]
    pub(crate) inputs: Vec<PathBuf>,

    /// Take lines of CSV, one row a line
    #[arg(long)]
    pub(crate) csv: bool,

    /// The first line names the columns: fields go by name
    #[arg(long, requires = "csv")]
    pub(crate) header: bool,

    /// The dtype of a new file, or that OUT must have
    #[arg(long)]
    pub(crate) dtype: Option<Dtype>,

    /// The same for the shape of a row: 3, or 2,3
    #[arg(long, value_name = "SHAPE", value_delimiter = ',')]
    pub(crate) row_shape: Option<Vec<u64>>,

    #[command(flatten)]
    pub(crate) writing: Writing,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// How OUT is written.
#[derive(clap::Args)]
pub(crate) struct Writing {
    /// What published rows survive
    #[arg(long, value_name = "process|ordered|power", hide_possible_values = true, default_value = "process")]
    #[arg(value_parser = PossibleValuesParser::new(["process", "ordered", "power"]).map(durability))]
    pub(crate) durability: Durability,

    /// Publish when so many bytes wait
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    pub(crate) buffering: usize,

    /// Hold the lock only while writing: several can append
    #[arg(long)]
    pub(crate) turns: bool,

    /// Wait so long for another appender
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) lock_timeout: Option<Duration>,

    /// What to do with bytes after the last row
    #[arg(long, value_name = "auto|keep|drop|error", hide_possible_values = true, default_value = "auto")]
    #[arg(value_parser = PossibleValuesParser::new(["auto", "keep", "drop", "error"]).map(on_tail))]
    pub(crate) on_tail: OnTail,

    /// Not an argument here: what becomes of a file that is there.
    #[arg(skip)]
    pub(crate) mode: Mode,
}

pub(crate) fn durability(name: String) -> Durability {
    match &*name {
        "ordered" => Durability::Ordered,
        "power" => Durability::Power,
        _ => Durability::Process,
    }
}

fn on_tail(name: String) -> OnTail {
    match &*name {
        "keep" => OnTail::Keep,
        "drop" => OnTail::Drop,
        "error" => OnTail::Error,
        _ => OnTail::Auto,
    }
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "expected a number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// What came of it, also where it failed in the end.
pub(crate) struct Done {
    /// What a row is called.
    pub(crate) noun: &'static str,
    pub(crate) appended: u64,
    /// In all; `None` where it did not come to appending.
    pub(crate) rows: Option<u64>,
    pub(crate) dropped: Dropped,
    /// Lines that are no rows.
    pub(crate) left_out: u64,
    /// The last line has no newline: its writer may have been killed half-way.
    pub(crate) is_unended: bool,
}

impl Default for Done {
    fn default() -> Self {
        let dropped = Dropped::default();
        Done { noun: "row", appended: 0, rows: None, dropped, left_out: 0, is_unended: false }
    }
}

/// The files that failed, and why.
pub(crate) type Failures = Vec<(PathBuf, Error)>;

impl Append {
    /// `is_watched`: `err` is a terminal, where somebody may wonder how long it takes.
    pub(crate) fn run(self, out: &mut dyn Write, err: &mut dyn Write, is_watched: bool) -> io::Result<i32> {
        let mut done = Done::default();
        let finished = if self.is_for_folder() {
            self.folder(&mut done)
        } else if self.csv || self.inputs.iter().all(|path| path.as_os_str() == STDIN) {
            self.stream(&mut done, err)
        } else {
            self.files(&mut done, is_watched.then_some(&mut *err))
        };
        conclude(&self.output, &self.common, &done, finished, out, err)
    }

    fn options(&self) -> Options {
        let writing = &self.writing;
        let options = Appender::options()
            .mode(writing.mode)
            .durability(writing.durability)
            .buffering(writing.buffering)
            .turns(writing.turns)
            .on_tail(writing.on_tail)
            .max_header_size(self.common.max_header_size);
        match writing.lock_timeout {
            Some(timeout) => options.lock_timeout(timeout),
            None => options,
        }
    }

    /// What the rows of OUT are; `None` where it is still to be made.
    fn known(&self) -> Result<Option<Rows>> {
        let is_empty = fs::metadata(&self.output).is_ok_and(|file| file.is_file() && file.len() == 0);
        if is_empty || self.writing.mode != Mode::Append {
            return Ok(None);
        }
        match inspect(&self.output, self.common.max_header_size) {
            Ok(report) => Rows::of(&report.dtype, &report.shape, report.order).map(Some),
            Err(error) if error.io_kind() == Some(io::ErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn failed(&self, error: Error) -> Failures {
        vec![(self.output.clone(), error)]
    }
}

/// Says what came of it, and returns the exit status.
pub(crate) fn conclude(
    output: &Path,
    common: &Common,
    done: &Done,
    finished: Result<(), Failures>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<i32> {
    let advise = |(path, error): (PathBuf, Error)| (path.clone(), advised(&path, error, common.max_header_size));
    let failures: Failures = finished.err().unwrap_or_default().into_iter().map(advise).collect();
    if common.json {
        writeln!(out, "{}", facts(output, done, &failures))?;
    } else {
        if let Some(rows) = done.rows {
            writeln!(out, "{}: {}", paint(STRONG, plain(output.display())), words(done, rows))?;
        }
        failures.iter().try_for_each(|(path, error)| complain_of(err, path, error))?;
    }
    Ok(if failures.is_empty() && done.left_out == 0 { DONE } else { FAILED })
}

pub(crate) fn mismatch(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::Mismatch, detail.into())
}

fn words(done: &Done, rows: u64) -> String {
    let mut text = paint(GOOD, format!("{} appended, {} in all", count(done.appended, done.noun), grouped(rows)));
    text += &dropped(done.dropped.bytes);
    if done.left_out > 0 {
        text += &format!("; {}", paint(BAD, format!("{} left out", count(done.left_out, "line"))));
    }
    if done.is_unended {
        text += &format!("; {}", paint(ODD, "the last line has no newline, it may be torn"));
    }
    text
}

fn facts(output: &Path, done: &Done, failures: &Failures) -> Value {
    let error = |(path, error): &(PathBuf, Error)| json!({ "path": path.to_string_lossy(), "error": error.detail() });
    json!({
        "path": output.to_string_lossy(),
        "appended": done.appended,
        "rows": done.rows,
        "dropped_bytes": done.dropped.bytes,
        "lines_left_out": done.left_out,
        "unended_line": done.is_unended,
        "errors": failures.iter().map(error).collect::<Vec<_>>(),
    })
}
