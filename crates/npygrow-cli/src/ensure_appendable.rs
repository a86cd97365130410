//! `npy ensure-appendable`: makes room in headers for a growing count.

use crate::bar::Bar;
use crate::input::Input;
use crate::text::{GOOD, paint};
use npygrow::{Room, ensure_appendable_with};
use serde_json::json;
use std::io::{self, Write};
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  npy ensure-appendable *.npy
  npy ensure-appendable --in-place huge.npy    on a disk too full for a copy

A file that lacks room is replaced by one that has it, written beside it first,
so that a crash leaves the old file or the new one. Files of 256 MiB and more
share their blocks with the old one where the file system can (XFS, btrfs):
nothing is copied then, and the header grows by 4096 bytes.

In place it takes at most 8 MiB beside the file, and longer. Until it is done no
reader takes the file; after a crash npy recover finishes it.

Exit status: 0 done, also when there was nothing to do; 2 failure.";

/// Make room in headers, so that rows can be appended
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EnsureAppendable {
    #[command(flatten)]
    input: Input,

    /// Share blocks also for small files, where the file system can
    #[arg(long, group = "room")]
    fast: bool,

    /// Copy also large files: the header stays as short as can be
    #[arg(long, group = "room")]
    compact: bool,

    /// Move the rows within the file
    #[arg(long, group = "room")]
    in_place: bool,
}

impl EnsureAppendable {
    /// `is_watched`: `err` is a terminal, where somebody may wonder how long it takes.
    pub(crate) fn run(self, out: &mut dyn Write, err: &mut dyn Write, is_watched: bool) -> io::Result<i32> {
        let room = match (self.fast, self.compact, self.in_place) {
            (true, ..) => Room::Fast,
            (_, true, _) => Room::Compact,
            (.., true) => Room::InPlace,
            _ => Room::Auto,
        };
        let make_room = |path: &Path, max_header_size, err: &mut dyn Write| {
            let mut bar = Bar::new(is_watched.then_some(err));
            ensure_appendable_with(path, room, max_header_size, &mut |done, all| bar.at(done, all))
        };
        self.input.each(out, err, make_room, words, |rewritten| json!({ "rewritten": rewritten }))
    }
}

fn words(&rewritten: &bool) -> String {
    if rewritten { paint(GOOD, "has room to grow now") } else { "has room to grow, nothing to do".into() }
}
