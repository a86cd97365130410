//! `npy recover`.

use super::Folder;
use npygrow::{Appender, Health, MAX_HEADER_SIZE, inspect};

const SCALAR: &str = "{'descr': '<f8', 'fortran_order': False, 'shape': (), }";

#[track_caller]
fn assert_clean(folder: &Folder, name: &str, rows: u64) {
    let report = inspect(folder.path(name), MAX_HEADER_SIZE).unwrap();
    assert_eq!((report.rows, report.health), (rows, Health::Clean), "{name}");
}

#[test]
fn tails() {
    let folder = Folder::new();
    for name in ["keep.npy", "drop.npy", "fill.npy"] {
        // A row of zeros, one of sevens, and a torn one.
        folder.grown(name, 2, &[&[0; 12][..], &[7; 17]].concat());
    }
    for (args, expected, rows) in [
        (
            &["recover", "keep.npy"][..],
            "keep.npy: 4 rows kept; 2 of them from the tail, unverified; 1 of these all zero bytes; 5 bytes of a torn row cut\n",
            4,
        ),
        (&["recover", "--tail", "drop", "drop.npy"], "drop.npy: 2 rows kept; 29 bytes of the tail cut\n", 2),
        (
            &["recover", "--zerofill-incomplete", "--tail=keep", "fill.npy"],
            "fill.npy: 5 rows kept; 3 of them from the tail, unverified; 1 of these all zero bytes; the last row completed with 7 zero bytes\n",
            5,
        ),
        (&["recover", "keep.npy"], "keep.npy: 4 rows, nothing to mend\n", 4),
    ] {
        folder.check(args, 0, expected, "");
        assert_clean(&folder, args.last().unwrap(), rows);
    }
}

#[test]
fn truncated_files() {
    let folder = Folder::new();
    for (name, len) in [("cut.npy", 12 + 5), ("drop.npy", 12 + 1), ("fill.npy", 36 + 5), ("none.npy", 0)] {
        folder.grown(name, 4, b"");
        folder.cut(name, 128 + len);
    }
    for (args, expected, rows) in [
        (&["recover", "cut.npy"][..], "cut.npy: 1 row kept; 3 rows lost; 5 bytes of a torn row cut\n", 1),
        (
            &["recover", "--tail", "drop", "drop.npy"],
            "drop.npy: 1 row kept; 3 rows lost; 1 byte of a torn row cut\n",
            1,
        ),
        (
            &["recover", "--zerofill-incomplete", "fill.npy"],
            "fill.npy: 4 rows kept; the last row completed with 7 zero bytes\n",
            4,
        ),
        (&["recover", "none.npy"], "none.npy: 0 rows kept; 4 rows lost\n", 0),
    ] {
        folder.check(args, 0, expected, "");
        assert_clean(&folder, args.last().unwrap(), rows);
    }
}

#[test]
fn zeros_at_the_end() {
    let folder = Folder::new();
    folder.grown("tail.npy", 2, &[&[7; 12][..], &[0; 12]].concat());
    let said_once = "tail.npy: 4 rows kept; 2 of them from the tail, unverified; 1 of these all zero bytes\n";
    folder.check(&["recover", "tail.npy"], 0, said_once, "");
    Appender::open(folder.path("zeros.npy")).unwrap().append(&[1_u8, 0, 0]).unwrap();
    let expected = "zeros.npy: 3 rows, nothing to mend; 2 rows at the end all zero bytes, as a power cut leaves them\n";
    folder.check(&["recover", "zeros.npy"], 0, expected, "");
}

#[test]
fn failures_do_not_stop_the_others() {
    let folder = Folder::new();
    folder.grown("a.npy", 2, b"");
    folder.header("one.npy", 128, SCALAR, &[1; 9]);
    folder.grown("seq.npy", 1, b"\x93NUMPY\x01\0");
    folder.write("page.npy", b"<!doctype html>");
    folder.grown("cut.npy", 4, b"");
    folder.cut("cut.npy", 128 + 12);
    let out = "\
a.npy: 2 rows, nothing to mend
one.npy: 1 row kept; 1 byte of the tail cut
cut.npy: 1 row kept; 3 rows lost
";
    let err = "\
error: seq.npy: sequence: another array begins after the last row: npygrow.open_sequence(path) maps each of them in \
Python, npy concat OUT seq.npy makes them one array that can grow
error: page.npy: not an .npy file: expected it to begin with \\x93NUMPY, found an HTML or XML page, such as a download's error
error: none.npy: cannot open: No such file or directory (os error 2)
";
    folder.check(&["recover", "a.npy", "one.npy", "seq.npy", "page.npy", "none.npy", "cut.npy"], 2, out, err);
    assert_clean(&folder, "cut.npy", 1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_that_grows_is_left_alone() {
    let folder = Folder::new();
    let mut appender = Appender::open(folder.path("live.npy")).unwrap();
    appender.append(&[1_u8]).unwrap();
    let expected = format!(
        "error: live.npy: locked by an appender of process {}, or by a worker forked from it: close it, wait longer \
         with `lock_timeout`, or open both with `turns`\n",
        std::process::id()
    );
    folder.check(&["recover", "live.npy"], 2, "", &expected);
}

#[test]
fn long_headers() {
    let folder = Folder::new();
    folder.header("long.npy", 256, "{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }", &[1; 3]);
    let refused = "error: long.npy: the header takes 246 bytes, more than max_header_size=245: raise it if you trust its source\n";
    folder.check(&["recover", "--max-header-size", "245", "long.npy"], 2, "", refused);
    let done = "long.npy: 3 rows kept; 1 row lost\n";
    folder.check(&["recover", "--max-header-size", "246", "long.npy"], 0, done, "");
}

#[test]
fn json() {
    let folder = Folder::new();
    folder.grown("cut.npy", 4, b"");
    folder.cut("cut.npy", 128 + 17);
    let cut = r#"{"path":"cut.npy","rows_before":4,"rows":1,"from_tail":0,"zero_rows":0,"zero_run":0,"lost":3,"cut":5,"filled":0}"#;
    folder.check(&["recover", "--json", "cut.npy"], 0, &format!("{cut}\n"), "");
    folder.grown("tail.npy", 2, &[0; 29]);
    let expected = concat!(
        r#"[{"path":"tail.npy","rows_before":2,"rows":5,"from_tail":3,"zero_rows":3,"zero_run":2,"lost":0,"cut":0,"filled":7},"#,
        r#"{"path":"none.npy","error":"cannot open: No such file or directory (os error 2)"}]"#,
        "\n"
    );
    folder.check(&["recover", "--json", "--zerofill-incomplete", "tail.npy", "none.npy"], 2, expected, "");
}
