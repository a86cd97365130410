//! Helps, wrong usage, and streams that nobody reads.

use super::{Folder, said};
use std::fs;

const HELP: &str = "\
NumPy files that grow: look at them, append to them, mend them

Usage: npy <COMMAND>

Commands:
  info               Say what files hold, whether they are well, and what to call if not
  head               Print the first rows
  tail               Print the last rows
  slice              Print a slice of the rows
  follow             Print rows as they are appended
  append             Append rows from .npy files, standard input or CSV
  import             Append rows from CSV, HDF5 or Zarr
  concat             Join .npy files into one that can grow
  ensure-appendable  Make room in headers, so that rows can be appended
  truncate           Cut a file to its first rows
  recover            Mend files after a crash or a cut download
  completions        Print the completions for a shell
  man                Print the man page

Options:
  -h, --help     Print help
  -V, --version  Print version

Examples:
  npy info pose.npy                what it holds and how it is
  npy tail -f pose.npy             its last rows, and those that come
  npy append all.npy day*.npy      rows of other files
  npy import all.npy old.h5:/run1  rows of CSV, HDF5 or Zarr
  sensors | npy append log.npy - --csv --dtype '<f4' --row-shape 3
  npy concat all.npy 'part-*.npy'  one file of many
  npy recover pose.npy             after a crash or a cut download

Exit status: 0 done, 1 something found (--check), 2 wrong usage or failure.
";

const INFO_HELP: &str = "\
Say what files hold, whether they are well, and what to call if not

Usage: npy info [OPTIONS] <FILE>...

Arguments:
  <FILE>...  The files; one that fails does not stop the others

Options:
      --json                     Print JSON, a list of objects for several files
      --max-header-size <BYTES>  Refuse longer headers, as np.load does [default: 10000]
      --check                    Exit with status 1 when a file needs mending
  -h, --help                     Print help

Examples:
  npy info pose.npy
  npy info run                           a folder, a column a line
  npy info *.npy                         several files as a table
  npy info --check *.npy || echo broken  for scripts
  npy info --json pose.npy | jq .shape

A tail is what follows the last row that the header counts. While a program
appends there can be one for a moment: nothing is wrong then.

A folder holds columns, NAME.npy or a folder NAME of items, or it holds items itself:
values.npy, all of them joined, and offsets.npy, where each begins and the last ends.
It is uneven where its files hold more than the rows that all of them have.

A sequence is a file of several arrays; the first 20 of them are listed, with
--json the first 1,000.

Exit status: 0 done, 1 a file needs mending (--check), 2 one cannot be read.
";

const RECOVER_HELP: &str = "\
Mend files after a crash or a cut download

Usage: npy recover [OPTIONS] <FILE>...

Arguments:
  <FILE>...  The files; one that fails does not stop the others

Options:
      --json                     Print JSON, a list of objects for several files
      --max-header-size <BYTES>  Refuse longer headers, as np.load does [default: 10000]
      --zerofill-incomplete      Complete a torn last row with zeros
      --tail <keep|drop>         Make rows of the tail, or cut it [default: keep]
  -h, --help                     Print help

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

Exit status: 0 done, also when there was nothing to do; 2 failure.
";

#[test]
fn helps() {
    let folder = Folder::new();
    folder.check(&["--help"], 0, HELP, "");
    folder.check(&[], 2, "", HELP);
    folder.check(&["info", "--help"], 0, INFO_HELP, "");
    folder.check(&["recover", "-h"], 0, RECOVER_HELP, "");
    folder.check(&["--version"], 0, concat!("npy ", env!("CARGO_PKG_VERSION"), "\n"), "");
}

#[test]
fn wrong_usage() {
    let folder = Folder::new();
    for (args, expected) in [
        (
            &["inf", "a.npy"][..],
            "\
error: unrecognized subcommand 'inf'

  tip: a similar subcommand exists: 'info'

Usage: npy <COMMAND>

For more information, try '--help'.
",
        ),
        (
            &["info"],
            "\
error: the following required arguments were not provided:
  <FILE>...

Usage: npy info <FILE>...

For more information, try '--help'.
",
        ),
        (
            &["info", "--chek", "a.npy"],
            "\
error: unexpected argument '--chek' found

  tip: a similar argument exists: '--check'

Usage: npy info --check <FILE>...

For more information, try '--help'.
",
        ),
        (
            &["recover", "--tail", "cut", "a.npy"],
            "\
error: invalid value 'cut' for '--tail <keep|drop>'
  [possible values: keep, drop]

For more information, try '--help'.
",
        ),
        (
            &["info", "--max-header-size", "lots", "a.npy"],
            "\
error: invalid value 'lots' for '--max-header-size <BYTES>': invalid digit found in string

For more information, try '--help'.
",
        ),
    ] {
        folder.check(args, 2, "", expected);
    }
}

#[test]
fn colours_are_asked_for() {
    let folder = Folder::new();
    folder.grown("a.npy", 1, b"");
    let out = |name: &str| said(&folder.command(&["info", "a.npy"]).env(name, "1").output().unwrap()).0;
    assert!(out("CLICOLOR_FORCE").contains("\x1b[32mclean\x1b[0m"), "{:?}", out("CLICOLOR_FORCE"));
    assert!(!out("NO_COLOR").contains('\x1b'));
    let both = folder.command(&["info", "a.npy"]).env("NO_COLOR", "1").env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(!said(&both).0.contains('\x1b'));
}

/// The work goes on, and the status is that of the work.
#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = Folder::new();
    folder.grown("a.npy", 2, b"torn");
    folder.grown("b.npy", 2, b"torn");
    let closed = |args: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = folder.command(args).stdout(writer).output().unwrap();
        said(&output)
    };
    assert_eq!(closed(&["info", "--check", "a.npy", "b.npy"]), (String::new(), String::new(), Some(1)));
    assert_eq!(closed(&["--help"]), (String::new(), String::new(), Some(0)));
    assert_eq!(closed(&["recover", "a.npy", "b.npy"]), (String::new(), String::new(), Some(0)));
    assert_eq!(fs::metadata(folder.path("b.npy")).unwrap().len(), 128 + 24);

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = folder.command(&["info", "none.npy"]).stderr(writer).output().unwrap();
    assert_eq!(said(&output), (String::new(), String::new(), Some(2)));
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_is_a_failure() {
    let folder = Folder::new();
    folder.grown("a.npy", 1, b"");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = folder.command(&["info", "a.npy"]).stdout(full).output().unwrap();
    let expected = "error: cannot write the output: No space left on device (os error 28)\n";
    assert_eq!(said(&output), (String::new(), expected.into(), Some(2)));
}
