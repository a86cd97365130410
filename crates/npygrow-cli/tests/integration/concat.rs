//! `npy concat`.

use super::Folder;
use std::fs;

const HELP: &str = "\
Join .npy files into one that can grow

Usage: npy concat [OPTIONS] <OUT> <IN>...

Arguments:
  <OUT>    The file to make, or the folder
  <IN>...  .npy files, or patterns of their names, or folders

Options:
      --append
          Append to OUT where it exists
      --replace
          Replace OUT where it exists
      --consume
          Delete each IN as soon as its rows are in OUT
      --axis <AXIS>
          Join along this axis, which need not be the one that grows
      --durability <process|ordered|power>
          What the rows survive [default: process]
      --lock-timeout <SECONDS>
          Wait so long for an appender
      --json
          Print JSON, a list of objects for several files
      --max-header-size <BYTES>
          Refuse longer headers, as np.load does [default: 10000]
  -h, --help
          Print help

Examples:
  npy concat all.npy part-1.npy part-2.npy
  npy concat all.npy 'part-*.npy'              sorted as people count: 2 before 10
  npy concat --append all.npy new.npy
  npy concat --consume all.npy 'part-*.npy'    on a disk too full for both
  npy concat --axis 2 wide.npy a.npy b.npy     as np.concatenate does

Files are joined along the axis that grows, in the order given. A shell sorts what
it expands part-10 before part-2: quote a pattern (*, ?, [abc], ** for folders) and
npy expands it, and sorts by the numbers in the names.

Every file is looked at before a byte is written, and all that do not fit are
named. OUT is there whole or not at all. Blocks are shared where the file system
can (XFS, btrfs) and they lie alike, else they are copied.

Folders of the same columns, or of items, are joined to a folder in the same way; without
--consume and --axis.

With --consume each file is deleted once its rows are on the disk in OUT. After a
crash the same command finishes; until then nobody can append to OUT.

Exit status: 0 done; 2 failure.
";

const SCALAR: &str = "{'descr': '<f8', 'fortran_order': False, 'shape': (), }";

#[test]
fn help() {
    Folder::new().check(&["concat", "--help"], 0, HELP, "");
}

fn parts() -> Folder {
    let folder = Folder::new();
    for (name, rows) in [("part-2.npy", 2), ("part-10.npy", 10), ("part-1.npy", 1)] {
        folder.grown(name, rows, b"");
    }
    folder
}

#[test]
fn joins_in_the_order_of_the_numbers() {
    let folder = parts();
    let names = |folder: &Folder| fs::read_dir(folder.path("")).unwrap().count();
    folder.check(&["concat", "all.npy", "part-*.npy"], 0, "all.npy: 13 rows of 3 files joined, 13 in all\n", "");
    folder.check(
        &["concat", "all.npy", "part-*.npy"],
        2,
        "",
        "error: all.npy: cannot join into a new file (--append adds to it, --replace replaces it): File exists (os error 17)\n",
    );
    folder.check(
        &["concat", "--append", "all.npy", "part-1.npy"],
        0,
        "all.npy: 1 row of 1 file joined, 14 in all\n",
        "",
    );
    folder.check(
        &["concat", "--replace", "all.npy", "part-2.npy"],
        0,
        "all.npy: 2 rows of 1 file joined, 2 in all\n",
        "",
    );
    assert_eq!(names(&folder), 4);
    folder.check(
        &["concat", "--consume", "--append", "all.npy", "part-*.npy"],
        0,
        "all.npy: 13 rows of 3 files joined, 15 in all\n",
        "",
    );
    assert_eq!(names(&folder), 1);
}

/// The rows show the order: each file has its own number in all of them.
#[test]
fn two_comes_before_ten() {
    let folder = Folder::new();
    for number in [10_u8, 2, 1] {
        npygrow::save(folder.path(&format!("part-{number}.npy")), &[number]).unwrap();
    }
    folder.check(&["concat", "all.npy", "part-*.npy"], 0, "all.npy: 3 rows of 3 files joined, 3 in all\n", "");
    assert!(fs::read(folder.path("all.npy")).unwrap().ends_with(&[1, 2, 10]));
}

#[test]
fn what_does_not_fit_is_named() {
    let folder = parts();
    folder.header("one.npy", 128, SCALAR, &[1; 8]);
    folder.grown("cut.npy", 4, b"");
    folder.cut("cut.npy", 128 + 12);
    folder.grown("tail.npy", 1, &[7; 5]);
    let out = "all.npy: 2 rows of 2 files joined, 2 in all; 5 bytes after the last row of tail.npy left out\n";
    folder.check(&["concat", "all.npy", "part-1.npy", "tail.npy"], 0, out, "");
    let err = "error: cut.npy: truncated: 1 of 4 rows left: npy recover cut.npy goes on with the 1 row left\n";
    folder.check(&["concat", "new.npy", "part-1.npy", "cut.npy"], 2, "", err);
    let err = "error: no-*.npy: no file matches this pattern\n";
    folder.check(&["concat", "new.npy", "part-1.npy", "no-*.npy"], 2, "", err);
    let err = "error: new.npy: expected at least one input, found none\n";
    folder.check(&["concat", "--consume", "new.npy", "no-*.npy"], 2, "", err);
    let err = "\
error: new.npy: 2 of 3 inputs cannot be joined: cut.npy: the header counts 4 rows, the file holds 1: call recover(path) to go on \
with what is left; one.npy: the array has no axes: expected at least one axis to grow along, found shape ()
";
    folder.check(&["concat", "new.npy", "cut.npy", "one.npy", "part-1.npy"], 2, "", err);
}

#[test]
fn json() {
    let folder = parts();
    folder.grown("tail.npy", 1, &[7; 5]);
    let facts = "\"rows\":3,\"rows_before\":0,\"inputs\":2,\"inputs_before\":0,\"shared\":0";
    let out =
        format!("{{\"path\":\"all.npy\",\"shape\":[3,3],{facts},\"tails\":[{{\"path\":\"tail.npy\",\"bytes\":5}}]}}\n");
    folder.check(&["concat", "--json", "all.npy", "tail.npy", "part-2.npy"], 0, &out, "");
    let facts = "\"rows\":2,\"rows_before\":0,\"inputs\":2,\"inputs_before\":0,\"shared\":0,\"tails\":[]";
    let out = format!("{{\"path\":\"wide.npy\",\"shape\":[2,6],{facts}}}\n");
    folder.check(&["concat", "--json", "--axis", "-1", "wide.npy", "part-2.npy", "part-2.npy"], 0, &out, "");
    let out = "{\"path\":\"no.npy\",\"error\":\"cannot open: No such file or directory (os error 2)\"}\n";
    folder.check(&["concat", "--json", "new.npy", "no.npy"], 2, out, "");
}
