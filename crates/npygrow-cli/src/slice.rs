//! `npy slice`: any rows, and any items of them.

use crate::index::Index;
use crate::print::Printing;
use std::io::{self, Write};

const EXAMPLES: &str = "\
Examples:
  npy slice pose.npy 100:200
  npy slice pose.npy ::1000            every thousandth row
  npy slice pose.npy -5:               the last five
  npy slice pose.npy 5                 row 5 alone
  npy slice pose.npy ::-1,0            item 0 of every row, the last row first
  npy slice --raw pose.npy :1000,:2 > part.bin

SLICE is Python's, its first part for the rows, the others for the axes of a row: in
C order as in a[SLICE]; in Fortran order the rows, which are along the last axis,
come first here too.

Exit status: 0 done, 2 failure.";

/// Print a slice of the rows
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Slice {
    #[command(flatten)]
    printing: Printing,

    /// Which rows, and which items of them: 100:200, ::10, -5:, 5 or 0:10,:,3
    #[arg(allow_hyphen_values = true)]
    slice: Index,
}

impl Slice {
    pub(crate) fn run(self, out: &mut dyn Write, err: &mut dyn Write, width: Option<usize>) -> io::Result<i32> {
        let index = self.slice;
        self.printing.run(out, err, width, |source| {
            let rows = source.index(&index)?;
            source.print(rows)
        })
    }
}
