//! `npy ensure-appendable`.

use super::{Folder, said};

const HELP: &str = "\
Make room in headers, so that rows can be appended

Usage: npy ensure-appendable [OPTIONS] <FILE>...

Arguments:
  <FILE>...  The files; one that fails does not stop the others

Options:
      --json                     Print JSON, a list of objects for several files
      --max-header-size <BYTES>  Refuse longer headers, as np.load does [default: 10000]
      --fast                     Share blocks also for small files, where the file system can
      --compact                  Copy also large files: the header stays as short as can be
      --in-place                 Move the rows within the file
  -h, --help                     Print help

Examples:
  npy ensure-appendable *.npy
  npy ensure-appendable --in-place huge.npy    on a disk too full for a copy

A file that lacks room is replaced by one that has it, written beside it first,
so that a crash leaves the old file or the new one. Files of 256 MiB and more
share their blocks with the old one where the file system can (XFS, btrfs):
nothing is copied then, and the header grows by 4096 bytes.

In place it takes at most 8 MiB beside the file, and longer. Until it is done no
reader takes the file; after a crash npy recover finishes it.

Exit status: 0 done, also when there was nothing to do; 2 failure.
";

const TIGHT: &str = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }";
const SCALAR: &str = "{'descr': '<f8', 'fortran_order': False, 'shape': (), }";

#[test]
fn help() {
    Folder::new().check(&["ensure-appendable", "--help"], 0, HELP, "");
}

#[test]
fn makes_room() {
    let folder = Folder::new();
    for name in ["auto.npy", "fast.npy", "compact.npy", "within.npy"] {
        folder.header(name, 74, TIGHT, &[0; 12]);
    }
    for args in
        [&["auto.npy"][..], &["--fast", "fast.npy"], &["--compact", "compact.npy"], &["--in-place", "within.npy"]]
    {
        let name = args[args.len() - 1];
        let args = [&["ensure-appendable"], args].concat();
        folder.check(&args, 0, &format!("{name}: has room to grow now\n"), "");
        folder.check(&args, 0, &format!("{name}: has room to grow, nothing to do\n"), "");
        folder.check(&["append", name, name], 0, &format!("{name}: 1 row appended, 2 in all\n"), "");
    }
}

#[test]
fn failures_do_not_stop_the_others() {
    let folder = Folder::new();
    folder.header("tail.npy", 74, TIGHT, &[7; 29]);
    folder.grown("cut.npy", 4, b"");
    folder.cut("cut.npy", 128 + 12);
    folder.header("one.npy", 128, SCALAR, &[1; 8]);
    folder.header("a.npy", 74, TIGHT, &[0; 12]);
    let err = "\
error: tail.npy: tail: 17 bytes after the last row, 1 whole row among them: npy recover tail.npy keeps the 1 whole row, \
unverified, npy recover --tail drop tail.npy cuts the 17 bytes
error: cut.npy: truncated: 1 of 4 rows left: npy recover cut.npy goes on with the 1 row left
error: one.npy: the array has no axes: expected at least one axis to grow along, found shape ()
error: none.npy: cannot open: No such file or directory (os error 2)
";
    let files = ["tail.npy", "cut.npy", "one.npy", "none.npy", "a.npy"];
    folder.check(&[&["ensure-appendable"], &files[..]].concat(), 2, "a.npy: has room to grow now\n", err);
}

/// Half moved, and its journal gone astray.
#[test]
fn a_move_that_was_interrupted() {
    let folder = Folder::new();
    folder.write("half.npy", &[&b"\x93NPYGROW"[..], &[0; 120]].concat());
    let expected =
        "error: half.npy: its rows are being moved in place, or were until a crash: npy recover half.npy finishes it\n";
    folder.check(&["info", "half.npy"], 2, "", expected);
    folder.check(&["truncate", "half.npy", "0"], 2, "", expected);
    folder.check(&["append", "half.npy", "half.npy"], 2, "", expected);
    let output = folder.command(&["recover", "half.npy"]).output().unwrap();
    let (out, err, status) = said(&output);
    assert_eq!((&*out, status), ("", Some(2)));
    assert!(err.starts_with("error: half.npy: its rows are half moved, and the journal "), "{err}");
    assert!(err.contains(" is missing: put it back"), "{err}");
}

#[test]
fn json() {
    let folder = Folder::new();
    folder.header("a.npy", 74, TIGHT, &[0; 12]);
    let rewritten = |yes: bool| format!("{{\"path\":\"a.npy\",\"rewritten\":{yes}}}\n");
    folder.check(&["ensure-appendable", "--json", "a.npy"], 0, &rewritten(true), "");
    folder.check(&["ensure-appendable", "--json", "a.npy"], 0, &rewritten(false), "");
}

#[test]
fn fast_or_compact() {
    let expected = "\
error: the argument '--fast' cannot be used with '--compact'

Usage: npy ensure-appendable --fast <FILE>...

For more information, try '--help'.
";
    Folder::new().check(&["ensure-appendable", "--fast", "--compact", "a.npy"], 2, "", expected);
}
