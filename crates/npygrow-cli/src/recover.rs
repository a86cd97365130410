//! `npy recover`: makes headers count what their files hold.

use crate::folder;
use crate::input::Input;
use crate::text::{BAD, GOOD, ODD, count, grouped, paint};
use npygrow::{RecoverOptions, Recovery, Tail, recover};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  npy info pose.npy                   look first: this changes nothing
  npy recover pose.npy                keep every whole row
  npy recover --tail drop pose.npy    keep the rows that the header counts
  npy recover run                     a folder: the rows that all columns have

Makes the header count what the file holds. Rows of the tail, after the last one
counted, were written by an append that never returned: look at them before you
trust them. A file that is well is left alone. In a folder every file is mended, then
all are cut to the rows that every column has: what an append left by itself, rows that
can be read only with --tail drop.

Exit status: 0 done, also when there was nothing to do; 2 failure.";

/// Mend files after a crash or a cut download
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Recover {
    #[command(flatten)]
    input: Input,

    /// Complete a torn last row with zeros
    #[arg(long)]
    zerofill_incomplete: bool,

    /// Make rows of the tail, or cut it
    #[arg(long, value_name = "keep|drop", value_parser = ["keep", "drop"], hide_possible_values = true, default_value = "keep")]
    tail: String,
}

impl Recover {
    pub(crate) fn run(self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<i32> {
        let tail = if self.tail == "drop" { Tail::Drop } else { Tail::Keep };
        let zerofill_incomplete = self.zerofill_incomplete;
        let mend = |path: &Path, max_header_size, _: &mut dyn Write| {
            let options = RecoverOptions { zerofill_incomplete, tail, max_header_size };
            match path.is_dir() {
                true => folder::recover(path, options).map(Mended::Folder),
                false => recover(path, options).map(Mended::File),
            }
        };
        let words = |done: &Mended| match done {
            Mended::File(done) => words(done),
            Mended::Folder(done) => done.words(),
        };
        let facts = |done: &Mended| match done {
            Mended::File(done) => counts(done),
            Mended::Folder(done) => done.facts(),
        };
        self.input.each(out, err, mend, words, facts)
    }
}

enum Mended {
    File(Recovery),
    Folder(folder::Mended),
}

/// Keys as in the library and in Python.
pub(crate) fn counts(done: &Recovery) -> Value {
    json!({
        "rows_before": done.rows_before,
        "rows": done.rows,
        "from_tail": done.from_tail,
        "zero_rows": done.zero_rows,
        "zero_run": done.zero_run,
        "lost": done.lost,
        "cut": done.cut,
        "filled": done.filled,
    })
}

/// Whether there was nothing to mend.
pub(crate) fn is_untouched(done: &Recovery) -> bool {
    done.rows == done.rows_before && done.cut == 0 && done.filled == 0
}

/// What was kept, what is doubtful and what is gone: whatever is not said did not happen.
pub(crate) fn words(done: &Recovery) -> String {
    let Recovery { rows, from_tail, zero_rows, zero_run, lost, cut, filled, .. } = *done;
    let kept = count(rows, "row");
    let mut parts =
        vec![if is_untouched(done) { format!("{kept}, nothing to mend") } else { paint(GOOD, format!("{kept} kept")) }];
    let mut say = |when: bool, style, text: String| parts.extend(when.then(|| paint(style, text)));
    say(lost > 0, BAD, format!("{} lost", count(lost, "row")));
    say(from_tail > 0, ODD, format!("{} of them from the tail, unverified", grouped(from_tail)));
    say(zero_rows > 0, ODD, format!("{} of these all zero bytes", grouped(zero_rows)));
    say(
        zero_run > zero_rows,
        ODD,
        format!("{} at the end all zero bytes, as a power cut leaves them", count(zero_run, "row")),
    );
    say(filled > 0, ODD, format!("the last row completed with {}", count(filled, "zero byte")));
    let of = if lost == 0 && from_tail == 0 { "the tail" } else { "a torn row" };
    say(cut > 0, ODD, format!("{} of {of} cut", count(cut, "byte")));
    parts.join("; ")
}
