//! `npy truncate`: cuts rows off the end.

use crate::folder;
use crate::input::{Common, Input};
use crate::text::{GOOD, ODD, count, grouped, paint};
use npygrow::{Appender, Result, inspect};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  npy truncate pose.npy 1000    keep the first 1000 rows
  npy truncate pose.npy 0       keep dtype and row shape alone
  npy truncate run 1000         a folder: the same rows of all columns

What is left is on the disk when it returns. A program that has the rows that go
mapped may crash when it reads them.

Exit status: 0 done, also when there was nothing to cut; 2 failure.";

/// Cut a file to its first rows
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Truncate {
    /// The file or the folder
    file: PathBuf,

    /// How many rows to keep
    rows: u64,

    #[command(flatten)]
    common: Common,
}

struct Cut {
    noun: &'static str,
    rows: u64,
    rows_cut: u64,
    tail: u64,
}

impl Truncate {
    pub(crate) fn run(self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<i32> {
        let rows = self.rows;
        let cut = |path: &Path, max_header_size, _: &mut dyn Write| truncate(path, rows, max_header_size);
        Input { files: vec![self.file], common: self.common }.each(out, err, cut, words, facts)
    }
}

fn truncate(path: &Path, rows: u64, max_header_size: u64) -> Result<Cut> {
    if path.is_dir() {
        let (before, tail) = folder::truncate(path, rows, max_header_size)?;
        return Ok(Cut { noun: folder::noun(path), rows, rows_cut: before - rows, tail });
    }
    // An appender would make the file that is not there.
    inspect(path, max_header_size)?;
    let mut appender = Appender::options().max_header_size(max_header_size).open(path)?;
    let before = appender.len();
    appender.truncate(rows)?;
    let tail = appender.dropped().bytes;
    appender.close()?;
    Ok(Cut { noun: "row", rows, rows_cut: before - rows, tail })
}

fn words(cut: &Cut) -> String {
    let mut text = if cut.rows_cut == 0 {
        format!("{}, nothing to cut", count(cut.rows, cut.noun))
    } else {
        paint(GOOD, format!("{} cut, {} left", count(cut.rows_cut, cut.noun), grouped(cut.rows)))
    };
    text += &dropped(cut.tail);
    text
}

/// What opening a file to change it did away with.
pub(crate) fn dropped(tail: u64) -> String {
    if tail == 0 {
        return String::new();
    }
    format!("; {}", paint(ODD, format!("{} of an unfinished append cut", count(tail, "byte"))))
}

fn facts(cut: &Cut) -> Value {
    json!({ "rows": cut.rows, "rows_cut": cut.rows_cut, "dropped_bytes": cut.tail })
}
