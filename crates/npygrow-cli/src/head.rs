//! `npy head`: the first rows.

use crate::index::Steps;
use crate::print::Printing;
use std::io::{self, Write};

const EXAMPLES: &str = "\
Examples:
  npy head pose.npy
  npy head -n 1 --json pose.npy
  npy head -n 1000 --raw audio.npy | aplay -f cd

A row is a line: a number as NumPy prints it alone, a record with the names of its
fields. On a terminal long lines are cut. In JSON a record is an object, a complex
number a list of two, a date a string, a time the number of its units, and what is
no number \"NaN\", \"Infinity\" or \"-Infinity\".

Exit status: 0 done, 2 failure.";

/// Print the first rows
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Head {
    #[command(flatten)]
    printing: Printing,

    /// How many rows
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    rows: u64,
}

impl Head {
    pub(crate) fn run(self, out: &mut dyn Write, err: &mut dyn Write, width: Option<usize>) -> io::Result<i32> {
        let rows = self.rows;
        self.printing.run(out, err, width, |source| source.print(Steps::range(0, rows.min(source.len()))))
    }
}
