//! `npy ensure-appendable`.

use super::Folder;

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
  -h, --help                     Print help

Examples:
  npy ensure-appendable *.npy
  npy ensure-appendable --fast huge.npy    share its blocks, where the disk can

A file that lacks room is replaced by one that has it: a copy, written beside it
first, so that a crash leaves the old file or the new one. Files of 256 MiB and
more share their blocks with the old one where the file system can (XFS, btrfs):
nothing is copied then, and the header grows by 4096 bytes.

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
    for name in ["auto.npy", "fast.npy", "compact.npy"] {
        folder.header(name, 74, TIGHT, &[0; 12]);
    }
    for args in [&["auto.npy"][..], &["--fast", "fast.npy"], &["--compact", "compact.npy"]] {
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
