//! `npy follow`: rows as they are committed.

use crate::append::seconds;
use crate::index::Steps;
use crate::print::{Printing, Rows, Stop};
use std::io::{self, Write};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  npy follow pose.npy
  npy follow --json log.npy | jq --unbuffered .v
  npy follow --timeout 60 log.npy || echo the file was replaced

Prints the rows that are new from now on: npy tail -f begins with older ones. A
writer that ends and comes back is not noticed. The waiting costs next to nothing.

Exit status: 0 no row came for --timeout seconds, or nobody reads the output any
more; 2 failure, also when the file is replaced, renamed, deleted or cut.";

/// Print rows as they are appended
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Follow {
    #[command(flatten)]
    printing: Printing,

    /// End when no row came for so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

impl Follow {
    pub(crate) fn run(self, out: &mut dyn Write, err: &mut dyn Write, width: Option<usize>) -> io::Result<i32> {
        let timeout = self.timeout;
        self.printing.run(out, err, width, |source| follow(source, timeout))
    }
}

/// Prints what comes, until nothing does for `timeout`.
pub(crate) fn follow(source: &mut dyn Rows, timeout: Option<Duration>) -> Result<(), Stop> {
    loop {
        source.flush()?;
        let new = source.wait(timeout)?;
        if new.is_empty() {
            return Ok(());
        }
        source.print(Steps::range(new.start, new.end))?;
    }
}
