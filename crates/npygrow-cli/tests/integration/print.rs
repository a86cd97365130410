//! `npy head`, `tail`, `slice` and `follow`. What values look like is held to NumPy by the Python tests.

use super::{Folder, said};
use npygrow::Appender;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};

fn numbered(folder: &Folder) {
    let rows: Vec<_> = (0..12).map(|i| [f32::from(i as u8), 0.5]).collect();
    Appender::open(folder.path("pose.npy")).unwrap().append(&rows).unwrap();
}

#[test]
fn the_first_and_the_last_ten() {
    let folder = Folder::new();
    numbered(&folder);
    let rows: Vec<_> = (0..12).map(|i| format!("[{i}.0 0.5]\n")).collect();
    folder.check(&["head", "pose.npy"], 0, &rows[..10].concat(), "");
    folder.check(&["tail", "pose.npy"], 0, &rows[2..].concat(), "");
    folder.check(&["head", "-n", "0", "pose.npy"], 0, "", "");
    folder.check(&["tail", "-n1", "pose.npy"], 0, &rows[11], "");
    folder.check(&["tail", "--rows", "99", "pose.npy"], 0, &rows.concat(), "");
}

#[test]
fn slices() {
    let folder = Folder::new();
    numbered(&folder);
    for (args, expected) in [
        (&["3"][..], "[3.0 0.5]\n"),
        (&["-1"], "[11.0 0.5]\n"),
        (&["-2:"], "[10.0 0.5]\n[11.0 0.5]\n"),
        (&["--json", "-1"], "[11.0,0.5]\n"),
        (&["-1", "--json"], "[11.0,0.5]\n"),
        (&["::-6,0"], "11.0\n5.0\n"),
        (&["1:3,::-1"], "[0.5 1.0]\n[0.5 2.0]\n"),
        (&["--csv", ":2"], "0.0,0.5\n1.0,0.5\n"),
        (&["--csv", "--header", ":1"], "[0],[1]\n0.0,0.5\n"),
    ] {
        folder.check(&[&["slice", "pose.npy"], args].concat(), 0, expected, "");
    }
    let raw = folder.command(&["slice", "--raw", "pose.npy", "7:9,0"]).output().unwrap();
    assert_eq!(raw.stdout, [7_f32.to_le_bytes(), 8_f32.to_le_bytes()].concat());
}

#[test]
fn of_several_arrays_the_first_is_printed_and_the_others_are_told() {
    let folder = Folder::new();
    Appender::open(folder.path("its.npy")).unwrap().append(&[1_u8, 2]).unwrap();
    let one = std::fs::read(folder.path("its.npy")).unwrap();
    folder.write("a b.npy", &one.repeat(3));
    let note = "note: a b.npy: these are rows of the first of several arrays: npy info 'a b.npy' lists them, npy concat \
                OUT 'a b.npy' makes them one array that can grow\n";
    for (args, expected) in [
        (&["head", "a b.npy"][..], "1\n2\n"),
        (&["head", "--json", "a b.npy"], "1\n2\n"),
        (&["tail", "-n1", "--csv", "a b.npy"], "2\n"),
        (&["slice", "--raw", "a b.npy", "-1"], "\u{2}"),
        (&["follow", "--timeout", "0", "a b.npy"], ""),
    ] {
        folder.check(args, 0, expected, note);
    }
    folder.check(&["head", "its.npy"], 0, "1\n2\n", "");
}

#[test]
fn bytes_that_look_like_colours_stay() {
    let folder = Folder::new();
    Appender::open(folder.path("bytes.npy")).unwrap().append(b"\x1b[31m\x7f\r\n").unwrap();
    assert_eq!(folder.command(&["head", "--raw", "bytes.npy"]).output().unwrap().stdout, b"\x1b[31m\x7f\r\n");
}

#[test]
fn what_cannot_be_printed() {
    let folder = Folder::new();
    numbered(&folder);
    folder.cut("pose.npy", 130);
    folder.header("wide.npy", 128, "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 2147483648), }", b"");
    folder.header("empty.npy", 128, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1073741824, 0), }", b"");
    for (args, expected) in [
        (
            &["head", "pose.npy"][..],
            "error: pose.npy: truncated: 0 of 12 rows left, and 2 bytes of a torn one: npy recover pose.npy goes on with \
             the 0 rows left, npy recover --zerofill-incomplete pose.npy completes the torn row with zeros\n",
        ),
        (&["tail", "none.npy"], "error: none.npy: cannot open: No such file or directory (os error 2)\n"),
        (&["head", "wide.npy"], "error: wide.npy: a row takes 2.0 GiB, more than the 1.0 GiB that are printed\n"),
        (&["slice", "empty.npy", "2"], "error: empty.npy: expected an index of the 2 rows, found 2\n"),
        (
            &["head", "--csv", "--header", "empty.npy", "--max-header-size", "9"],
            "error: empty.npy: the header takes 118 bytes, more than max_header_size=9: raise it if you trust its source\n",
        ),
        (
            &["slice", "empty.npy", "1:2:x"],
            "error: invalid value '1:2:x' for '<SLICE>': expected a slice such as 100:200, ::10, -5: or 0:10,:,3, found \
             `1:2:x`\n\nFor more information, try '--help'.\n",
        ),
        (
            &["head", "--json", "--raw", "empty.npy"],
            "error: the argument '--json' cannot be used with '--raw'\n\nUsage: npy head --json <FILE>\n\n\
             For more information, try '--help'.\n",
        ),
    ] {
        folder.check(args, 2, "", expected);
    }
}

/// Its first line that is printed, and what prints more.
pub(super) fn start(folder: &Folder, args: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut npy = folder.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(npy.stdout.take().unwrap());
    (npy, out)
}

pub(super) fn line(out: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line
}

#[test]
fn rows_are_printed_as_they_come() {
    let folder = Folder::new();
    let mut writer = Appender::open(folder.path("live.npy")).unwrap();
    writer.append(&[1_u8, 2]).unwrap();
    let (npy, mut out) = start(&folder, &["tail", "-f", "-n", "1", "live.npy"]);
    assert_eq!(line(&mut out), "2\n");
    writer.append(&[3_u8]).unwrap();
    assert_eq!(line(&mut out), "3\n");
    drop(writer);
    Appender::open(folder.path("live.npy")).unwrap().append(&[4_u8]).unwrap();
    assert_eq!(line(&mut out), "4\n");
    std::fs::remove_file(folder.path("live.npy")).unwrap();
    let expected = "error: live.npy: the file was replaced, renamed or deleted while it was followed: open it again\n";
    assert_eq!(said(&npy.wait_with_output().unwrap()), (String::new(), expected.into(), Some(2)));
    assert_eq!(out.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn following_ends_in_silence() {
    let folder = Folder::new();
    numbered(&folder);
    folder.check(&["follow", "--timeout", "0.05", "pose.npy"], 0, "", "");
    folder.check(&["follow", "--timeout", "0", "--csv", "--header", "pose.npy"], 0, "[0],[1]\n", "");
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let folder = Folder::new();
    Appender::open(folder.path("long.npy")).unwrap().append(&vec![7_u8; 1 << 22]).unwrap();
    let (npy, mut out) = start(&folder, &["slice", "long.npy", ":"]);
    assert_eq!(line(&mut out), "7\n");
    drop(out);
    assert_eq!(said(&npy.wait_with_output().unwrap()), (String::new(), String::new(), Some(0)));
}
