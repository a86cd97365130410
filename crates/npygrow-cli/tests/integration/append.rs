//! `npy append`.

use super::{Folder, said};
use npygrow::{Appender, Reader};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

const HELP: &str = "\
Append rows from .npy files, standard input or CSV

Usage: npy append [OPTIONS] <OUT> <IN>...

Arguments:
  <OUT>    The file or the folder that grows; made where there is none
  <IN>...  .npy files; with --csv text; - is standard input, raw rows without --csv; NAME=FILE for a folder

Options:
      --csv                                 Take lines of CSV, one row a line
      --header                              The first line names the columns: fields go by name
      --dtype <DTYPE>                       The dtype of a new file, or that OUT must have
      --row-shape <SHAPE>                   The same for the shape of a row: 3, or 2,3
      --durability <process|ordered|power>  What published rows survive [default: process]
      --buffering <BYTES>                   Publish when so many bytes wait [default: 1048576]
      --turns                               Hold the lock only while writing: several can append
      --lock-timeout <SECONDS>              Wait so long for another appender
      --on-tail <auto|keep|drop|error>      What to do with bytes after the last row [default: auto]
      --json                                Print JSON, a list of objects for several files
      --max-header-size <BYTES>             Refuse longer headers, as np.load does [default: 10000]
  -h, --help                                Print help

Examples:
  npy append all.npy day1.npy day2.npy
  recorder | npy append audio.npy - --dtype '<i2' --row-shape 2
  sensors | npy append log.npy - --csv --dtype \"[('t', '<f8'), ('v', '<f4')]\"
  npy append table.npy table.csv --csv --header --dtype '<f4' --row-shape 3
  npy append run image=images.npy label=labels.npy text=texts

Files in .npy are appended all or none. From - (standard input) and from CSV rows
are published as they come, so that readers follow: when the input pauses, when
--buffering bytes wait, and every second. A CSV line that is no row is named and
left out. A complex number takes two columns, a field of several values one for
each: xyz[0], xyz[1].

Where OUT is a folder, or a new name without .npy, NAME=FILE gives each column its
rows, as many for all: an .npy file, or a folder of items of different length. Or
IN are folders like OUT. Each goes in whole or not at all, in every column.

Rows survive the end of npy (--durability process), also a power cut but perhaps
for the last ones (ordered), or every published row does (power).

Exit status: 0 done; 2 failure, also when lines or a torn last row were left out.
";

const SCALAR: &str = "{'descr': '<f8', 'fortran_order': False, 'shape': (), }";
const TIGHT: &str = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }";

#[track_caller]
fn assert_rows(folder: &Folder, name: &str, expected: &[[f32; 3]]) {
    assert_eq!(Reader::open(folder.path(name)).unwrap().rows::<[f32; 3]>(0..expected.len() as u64).unwrap(), expected);
    assert_eq!(Reader::open(folder.path(name)).unwrap().len(), expected.len() as u64);
}

#[test]
fn help() {
    Folder::new().check(&["append", "--help"], 0, HELP, "");
}

#[test]
fn files() {
    let folder = Folder::new();
    folder.grown("a.npy", 2, b"");
    folder.header("b.npy", 128, TIGHT, &[0; 12]);
    folder.check(&["append", "new.npy", "a.npy", "b.npy"], 0, "new.npy: 3 rows appended, 3 in all\n", "");
    folder.check(&["append", "new.npy", "b.npy"], 0, "new.npy: 1 row appended, 4 in all\n", "");
    folder.check(&["append", "new.npy", "new.npy"], 0, "new.npy: 4 rows appended, 8 in all\n", "");
    let (half, zero) = ([0.5; 3], [0.0; 3]);
    assert_rows(&folder, "new.npy", &[half, half, zero, zero, half, half, zero, zero]);

    folder.write("empty.npy", b"");
    folder.check(&["append", "empty.npy", "b.npy"], 0, "empty.npy: 1 row appended, 1 in all\n", "");
    let expected = concat!(
        r#"{"path":"new.npy","appended":2,"rows":10,"dropped_bytes":0,"lines_left_out":0,"unended_line":false,"errors":[]}"#,
        "\n"
    );
    folder.check(&["append", "--json", "new.npy", "a.npy"], 0, expected, "");
}

#[test]
fn files_of_many_blocks() {
    let folder = Folder::new();
    folder.grown("big.npy", 1_000_000, b"");
    let expected = "all.npy: 2,000,000 rows appended, 2,000,000 in all\n";
    folder.check(&["append", "all.npy", "big.npy", "big.npy"], 0, expected, "");
    assert!(fs::read(folder.path("all.npy")).unwrap()[128..].chunks(4).all(|item| item == 0.5_f32.to_le_bytes()));
}

#[test]
fn a_mismatch_is_named_before_a_byte_is_written() {
    let folder = Folder::new();
    folder.grown("a.npy", 2, b"");
    folder.header("one.npy", 128, SCALAR, &[0; 8]);
    let fortran = "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3, 1), }";
    folder.header("b.npy", 128, fortran, &[0; 24]);
    folder.grown("cut.npy", 4, b"");
    folder.cut("cut.npy", 128 + 17);
    folder.write("page.npy", b"<!doctype html>");
    let err = "\
error: b.npy: expected dtype <f4, rows of shape (3,), C order as in a.npy, found dtype <i4, rows of shape (2, 3), F order
error: one.npy: expected rows, found an array without axes
error: cut.npy: truncated: 1 of 4 rows left, and 5 bytes of a torn one: npy recover cut.npy goes on with the 1 row left, \
npy recover --zerofill-incomplete cut.npy completes the torn row with zeros
error: page.npy: not an .npy file: expected it to begin with \\x93NUMPY, found an HTML or XML page, such as a download's error
error: none.npy: cannot open: No such file or directory (os error 2)
";
    let inputs = ["a.npy", "b.npy", "one.npy", "cut.npy", "page.npy", "none.npy"];
    folder.check(&[&["append", "new.npy"], &inputs[..]].concat(), 2, "", err);
    assert!(!folder.path("new.npy").exists());
    let expected = "error: a.npy: expected dtype <i4, rows of shape (2, 3), F order as in b.npy, found dtype <f4, rows of shape (3,), C order\n";
    folder.check(&["append", "b.npy", "a.npy"], 2, "", expected);
    let expected = concat!(
        r#"{"path":"a.npy","appended":0,"rows":null,"dropped_bytes":0,"lines_left_out":0,"unended_line":false,"#,
        r#""errors":[{"path":"one.npy","error":"expected rows, found an array without axes"}]}"#,
        "\n"
    );
    folder.check(&["append", "--json", "a.npy", "one.npy"], 2, expected, "");
}

#[test]
fn files_that_cannot_grow_as_they_are() {
    let folder = Folder::new();
    folder.grown("a.npy", 2, b"");
    folder.header("tight.npy", 74, TIGHT, &[0; 12]);
    folder.grown("cut.npy", 4, b"");
    folder.cut("cut.npy", 128 + 12);
    folder.header("foreign.npy", 128, TIGHT, &[7; 29]);
    folder.header("one.npy", 128, SCALAR, &[0; 8]);
    for (out, expected) in [
        ("tight.npy", "the header has no room for more rows: npy ensure-appendable tight.npy makes room"),
        ("cut.npy", "truncated: 1 of 4 rows left: npy recover cut.npy goes on with the 1 row left"),
        (
            "foreign.npy",
            "tail: 17 bytes after the last row, 1 whole row among them: npy recover foreign.npy keeps the 1 whole row, \
             unverified, npy recover --tail drop foreign.npy cuts the 17 bytes",
        ),
        ("one.npy", "expected rows, found an array without axes"),
    ] {
        folder.check(&["append", out, "a.npy"], 2, "", &format!("error: {out}: {expected}\n"));
    }
}

#[test]
fn tails() {
    let folder = Folder::new();
    folder.grown("a.npy", 1, b"");
    for (on_tail, expected) in [
        ("auto", "t.npy: 1 row appended, 2 in all; 29 bytes of an unfinished append cut\n"),
        ("drop", "t.npy: 1 row appended, 2 in all; 29 bytes of an unfinished append cut\n"),
        ("keep", "t.npy: 1 row appended, 4 in all; 5 bytes of an unfinished append cut\n"),
    ] {
        fs::remove_file(folder.path("t.npy")).unwrap_or_default();
        folder.grown("t.npy", 1, &[7; 29]);
        folder.check(&["append", "--on-tail", on_tail, "t.npy", "a.npy"], 0, expected, "");
    }
    folder.grown("e.npy", 1, &[7; 29]);
    let expected = "error: e.npy: tail: 29 bytes after the last row, 2 whole rows among them: npy recover e.npy keeps the 2 whole \
                    rows, unverified, npy recover --tail drop e.npy cuts the 29 bytes\n";
    folder.check(&["append", "--on-tail", "error", "e.npy", "a.npy"], 2, "", expected);
}

#[test]
fn raw_rows() {
    let folder = Folder::new();
    let new = ["append", "raw.npy", "-", "--dtype", "<f4", "--row-shape", "3"];
    let one = [1.0_f32; 3].map(f32::to_le_bytes).concat();
    folder.check_fed(&one, &new, 0, "raw.npy: 1 row appended, 1 in all\n", "");
    // What the file is need not be said again.
    let out = "raw.npy: 1 row appended, 2 in all\n";
    let err = "error: standard input: ends inside a row: 5 bytes of the 12 that a row takes are left out\n";
    folder.check_fed(&[&one[..], &[0; 5]].concat(), &["append", "raw.npy", "-", "--durability", "power"], 2, out, err);
    assert_rows(&folder, "raw.npy", &[[1.0; 3]; 2]);

    let many = one.repeat(100_000);
    let out = "raw.npy: 100,000 rows appended, 100,002 in all\n";
    folder.check_fed(&many, &["append", "raw.npy", "-", "--buffering", "0"], 0, out, "");
    assert_rows(&folder, "raw.npy", &[[1.0; 3]; 100_002]);
    folder.check_fed(b"", &["append", "raw.npy", "-"], 0, "raw.npy: 0 rows appended, 100,002 in all\n", "");
}

#[test]
fn what_standard_input_cannot_be() {
    let folder = Folder::new();
    folder.grown("a.npy", 1, b"");
    folder.header("none.npy", 128, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 0), }", b"");
    for (args, expected) in [
        (
            &["new.npy", "-"][..],
            "new.npy: there is no such file yet: a new one needs --dtype, and --row-shape where a row is several values",
        ),
        (&["none.npy", "-"], "none.npy: its rows hold no bytes"),
        (&["none.npy", "-", "--csv"], "none.npy: its rows hold no values"),
        (&["new.npy", "-", "--csv", "--dtype", "<M8[s]"], "new.npy: text cannot become values of dtype <M8[s]"),
        (
            &["a.npy", "-", "--dtype", "<f8", "--row-shape", "2"],
            "a.npy: expected a file with dtype <f8, rows of shape (2,), found dtype <f4, rows of shape (3,)",
        ),
        (
            &["a.npy", "a.npy", "-"],
            "a.npy: standard input cannot go together with .npy files: append the one, then the others",
        ),
        (
            &["a.npy", "a.npy", "--dtype", "<f4"],
            "a.npy: --dtype and --row-shape are for - and --csv: .npy files say what their rows are",
        ),
        (&["a.npy", "none.csv", "--csv"], "none.csv: cannot open: No such file or directory (os error 2)"),
        (&["a.npy", ".", "--csv"], ".: cannot read: Is a directory (os error 21)"),
    ] {
        let out = if args.contains(&".") { "a.npy: 0 rows appended, 1 in all\n" } else { "" };
        folder.check_fed(b"", &[&["append"], args].concat(), 2, out, &format!("error: {expected}\n"));
    }
    assert!(!folder.path("new.npy").exists());
}

#[test]
fn lines() {
    let folder = Folder::new();
    let new = ["append", "csv.npy", "-", "--csv", "--dtype", "<f4", "--row-shape", "3"];
    let out = "csv.npy: 2 rows appended, 2 in all; 5 lines left out; the last line has no newline, it may be torn\n";
    let err = "\
error: standard input: line 2: column 2: expected a value of dtype <f4, found `x`
error: standard input: line 4: expected 3 columns, found 2
error: standard input: line 5: column 3: expected a value of dtype <f4, found `1e39`
error: standard input: line 6: a quote is not closed on this line
error: standard input: line 7: column 1: expected a value of dtype <f4, found `\\u{1b}[m`
";
    folder.check_fed(b"1,2,3\r\n4,x,6\n\n7,8\n7,8,1e39\n\"7,8,9\n\x1b[m,2,3\n10, 11 ,1.2e1", &new, 2, out, err);
    assert_rows(&folder, "csv.npy", &[[1.0, 2.0, 3.0], [10.0, 11.0, 12.0]]);

    folder.write("a.csv", b"x,y,z\n1,2,3\n");
    folder.write("b.csv", b"x,y,z\n4,5\n4,5,6\n");
    let args = ["append", "csv.npy", "a.csv", "b.csv", "-", "--csv", "--header"];
    let err = "error: b.csv: line 2: expected 3 columns, found 2\n";
    let out = "csv.npy: 3 rows appended, 5 in all; 1 line left out\n";
    folder.check_fed(b"x,y,z\n7,8,9\n", &args, 2, out, err);
    let json = concat!(
        r#"{"path":"csv.npy","appended":0,"rows":5,"dropped_bytes":0,"lines_left_out":1,"unended_line":true,"errors":[]}"#,
        "\n"
    );
    let err = "error: standard input: line 1: expected 3 columns, found 1\n";
    folder.check_fed(b"1", &["append", "--json", "csv.npy", "-", "--csv"], 2, json, err);
}

#[test]
fn columns_by_name() {
    let folder = Folder::new();
    let new = ["append", "log.npy", "-", "--csv", "--header", "--dtype", "[('t', '|u1'), ('v', '|u1')]"];
    folder.check_fed(b"v,t\n2,1\n", &new, 0, "log.npy: 1 row appended, 1 in all\n", "");
    assert!(fs::read(folder.path("log.npy")).unwrap().ends_with(&[1, 2]));
    let out = "log.npy: 0 rows appended, 1 in all\n";
    let err = "error: standard input: line 2: expected the columns t, v, in any order, found t, w\n";
    folder.check_fed(b"\nt,w\n1,2\n", &new, 2, out, err);
}

#[test]
fn an_endless_line() {
    let folder = Folder::new();
    let new = ["append", "csv.npy", "-", "--csv", "--dtype", "|u1"];
    let out = "csv.npy: 1 row appended, 1 in all\n";
    let err = "error: standard input: line 2: longer than 16.0 MiB, which is no row of text\n";
    folder.check_fed(&[b"1\n", &vec![b'2'; 17 << 20][..]].concat(), &new, 2, out, err);
}

#[test]
fn one_at_a_time_or_in_turns() {
    let folder = Folder::new();
    folder.grown("a.npy", 1, b"");
    let mut other = Appender::options().turns(true).open(folder.path("live.npy")).unwrap();
    other.append(&[[1.0_f32; 3]]).unwrap();
    folder.check(&["append", "--turns", "live.npy", "a.npy"], 0, "live.npy: 1 row appended, 2 in all\n", "");
    assert_eq!(other.append(&[[1.0_f32; 3]]).unwrap(), Some(2..3));

    let alone = Appender::open(folder.path("live.npy")).unwrap();
    let output = folder.command(&["append", "--lock-timeout", "0.03", "live.npy", "a.npy"]).output().unwrap();
    let (out, err, status) = said(&output);
    assert_eq!((&*out, status), ("", Some(2)));
    assert!(err.starts_with("error: live.npy: still locked after 0.03 s by an appender of process "), "{err}");
    drop(alone);
    folder.check(&["append", "live.npy", "a.npy"], 0, "live.npy: 1 row appended, 4 in all\n", "");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk() {
    let folder = Folder::new();
    // 512 or 1024 bytes, as the shell has it, stand for the disk.
    for (buffering, lost) in [("0", ""), ("1000000", "; 20 buffered rows lost")] {
        let npy = env!("CARGO_BIN_EXE_npy");
        let append = ["append", "full.npy", "-", "--dtype", "|u1", "--row-shape", "100", "--buffering", buffering];
        let mut shell = Command::new("sh");
        shell
            .current_dir(folder.path(""))
            .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh", npy])
            .args(append);
        let mut npy = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        npy.stdin.take().unwrap().write_all(&[7; 2_000]).unwrap();
        let err = format!(
            "error: full.npy: cannot write: File too large (os error 27); nothing was appended, the file is as before{lost}
"
        );
        let expected = (
            "full.npy: 0 rows appended, 0 in all
"
            .into(),
            err,
            Some(2),
        );
        assert_eq!(said(&npy.wait_with_output().unwrap()), expected);
    }
}
