//! `npy tail`: the last rows, and those that come.

use crate::follow::follow;
use crate::index::Steps;
use crate::print::Printing;
use std::io::{self, Write};

const EXAMPLES: &str = "\
Examples:
  npy tail pose.npy
  npy tail -f pose.npy              and the rows that come, until Ctrl-C
  npy tail -n 1 --json pose.npy | jq .

Exit status: 0 done, 2 failure, also when a file that is followed is replaced or cut.";

/// Print the last rows
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Tail {
    #[command(flatten)]
    printing: Printing,

    /// How many rows
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    rows: u64,

    /// Go on with the rows that are appended
    #[arg(short, long)]
    follow: bool,
}

impl Tail {
    pub(crate) fn run(self, out: &mut dyn Write, err: &mut dyn Write, width: Option<usize>) -> io::Result<i32> {
        let (rows, is_followed) = (self.rows, self.follow);
        self.printing.run(out, err, width, |source| {
            let end = source.len();
            source.print(Steps::range(end.saturating_sub(rows), end))?;
            if is_followed { follow(source, None) } else { Ok(()) }
        })
    }
}
