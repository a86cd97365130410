//! `npy truncate`.

use super::Folder;
use std::fs;

const HELP: &str = "\
Cut a file to its first rows

Usage: npy truncate [OPTIONS] <FILE> <ROWS>

Arguments:
  <FILE>  The file or the folder
  <ROWS>  How many rows to keep

Options:
      --json                     Print JSON, a list of objects for several files
      --max-header-size <BYTES>  Refuse longer headers, as np.load does [default: 10000]
  -h, --help                     Print help

Examples:
  npy truncate pose.npy 1000    keep the first 1000 rows
  npy truncate pose.npy 0       keep dtype and row shape alone
  npy truncate run 1000         a folder: the same rows of all columns

What is left is on the disk when it returns. A program that has the rows that go
mapped may crash when it reads them.

Exit status: 0 done, also when there was nothing to cut; 2 failure.
";

#[test]
fn help() {
    Folder::new().check(&["truncate", "--help"], 0, HELP, "");
}

#[test]
fn cuts_rows() {
    let folder = Folder::new();
    folder.grown("a.npy", 1_005, b"");
    folder.check(&["truncate", "a.npy", "1001"], 0, "a.npy: 4 rows cut, 1,001 left\n", "");
    folder.check(&["truncate", "a.npy", "1000"], 0, "a.npy: 1 row cut, 1,000 left\n", "");
    folder.check(&["truncate", "a.npy", "1000"], 0, "a.npy: 1,000 rows, nothing to cut\n", "");
    assert_eq!(fs::metadata(folder.path("a.npy")).unwrap().len(), 128 + 12_000);
    let json = "{\"path\":\"a.npy\",\"rows\":0,\"rows_cut\":1000,\"dropped_bytes\":0}\n";
    folder.check(&["truncate", "--json", "a.npy", "0"], 0, json, "");

    folder.grown("tail.npy", 2, &[7; 29]);
    let expected = "tail.npy: 1 row cut, 1 left; 29 bytes of an unfinished append cut\n";
    folder.check(&["truncate", "tail.npy", "1"], 0, expected, "");
}

#[test]
fn refusals() {
    let folder = Folder::new();
    folder.grown("a.npy", 3, b"");
    folder.grown("cut.npy", 4, b"");
    folder.cut("cut.npy", 128 + 12);
    folder.header("tight.npy", 74, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }", &[0; 12]);
    for (file, rows, expected) in [
        ("a.npy", "4", "cannot truncate to 4 rows: the file has 3"),
        ("none.npy", "0", "cannot open: No such file or directory (os error 2)"),
        ("cut.npy", "0", "truncated: 1 of 4 rows left: npy recover cut.npy goes on with the 1 row left"),
        ("tight.npy", "0", "the header has no room for more rows: npy ensure-appendable tight.npy makes room"),
    ] {
        folder.check(&["truncate", file, rows], 2, "", &format!("error: {file}: {expected}\n"));
    }
    assert!(!folder.path("none.npy").exists());
    let expected = "\
error: invalid value 'few' for '<ROWS>': invalid digit found in string

For more information, try '--help'.
";
    folder.check(&["truncate", "a.npy", "few"], 2, "", expected);
}
