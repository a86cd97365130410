//! `npy append` while rows come: readers see them as they come, and a kill leaves whole rows.

use super::{Folder, said};
use npygrow::{Appender, Health, MAX_HEADER_SIZE, Reader, inspect};
use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn start(folder: &Folder, args: &[&str]) -> (Child, ChildStdin) {
    // As from a terminal, also where the tests themselves run in the background.
    start_with(folder, "--default-signal=INT", args)
}

/// Starts `npy` with a word to `env` on its signals.
fn start_with(folder: &Folder, signals: &str, args: &[&str]) -> (Child, ChildStdin) {
    let npy = folder.command(&[&["append", "live.npy", "-", "--dtype", "<f4", "--row-shape", "2"], args].concat());
    let mut command = Command::new("env");
    command.arg(signals).arg(npy.get_program()).args(npy.get_args()).current_dir(npy.get_current_dir().unwrap());
    let mut npy = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let input = npy.stdin.take().unwrap();
    (npy, input)
}

/// Waits until a reader sees just these rows.
#[track_caller]
fn see(folder: &Folder, expected: &[[f32; 2]]) {
    let start = Instant::now();
    loop {
        let rows = Reader::open(folder.path("live.npy")).map(|file| file.rows::<[f32; 2]>(0..file.len()).unwrap());
        if rows.as_deref().is_ok_and(|rows| rows == expected) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "expected {expected:?}, found {rows:?}");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn lines_are_rows_as_soon_as_they_are_whole() {
    let folder = Folder::new();
    let (npy, mut input) = start(&folder, &["--csv"]);
    see(&folder, &[]);
    input.write_all(b"1,2\n3,").unwrap();
    see(&folder, &[[1.0, 2.0]]);
    input.write_all(b"4\n5,6\n").unwrap();
    see(&folder, &[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    input.write_all(b"7,8").unwrap();
    drop(input);
    let expected = (
        "live.npy: 4 rows appended, 4 in all; the last line has no newline, it may be torn\n".into(),
        String::new(),
        Some(0),
    );
    assert_eq!(said(&npy.wait_with_output().unwrap()), expected);
    see(&folder, &[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]);
}

fn interrupt(npy: &Child) {
    assert!(Command::new("kill").args(["-INT", &npy.id().to_string()]).status().unwrap().success());
}

#[test]
fn ctrl_c_is_told_what_went_in() {
    let folder = Folder::new();
    let csv = |expected: &str, more: &[&str]| {
        let (npy, mut input) = start(&folder, &[&["--csv"], more].concat());
        input.write_all(b"1,2\noops\n3,4\n5,").unwrap();
        let rows = if more.is_empty() { vec![[1.0, 2.0], [3.0, 4.0]] } else { [[1.0, 2.0], [3.0, 4.0]].repeat(2) };
        see(&folder, &rows);
        interrupt(&npy);
        // What is an end to others comes after it.
        let (out, err, status) = said(&npy.wait_with_output().unwrap());
        assert_eq!((&*out, status), (expected, Some(2)));
        drop(input);
        err
    };
    let line = "error: standard input: line 2: expected 2 columns, found 1\n";
    let err = csv("live.npy: 2 rows appended, 2 in all; 1 line left out\n", &[]);
    assert_eq!(err, format!("{line}error: standard input: interrupted after line 3\n"));
    let out = "{\"path\":\"live.npy\",\"appended\":2,\"rows\":4,\"dropped_bytes\":0,\"lines_left_out\":1,\
               \"unended_line\":false,\"errors\":[{\"path\":\"standard input\",\"error\":\"interrupted after line 3\"}]}\n";
    assert_eq!(csv(out, &["--json"]), line);
}

#[test]
fn a_second_ctrl_c_ends_what_cannot_heed_the_first() {
    let folder = Folder::new();
    let (mut npy, mut input) = start(&folder, &["--csv", "--turns", "--lock-timeout", "60"]);
    see(&folder, &[]);
    let other = Appender::open(folder.path("live.npy")).unwrap();
    input.write_all(b"1,2\n").unwrap();
    sleep(Duration::from_millis(200));
    interrupt(&npy);
    sleep(Duration::from_millis(200));
    assert_eq!(npy.try_wait().unwrap(), None);
    interrupt(&npy);
    assert_eq!(npy.wait().unwrap().code(), None);
    drop(other);
    see(&folder, &[]);
}

#[test]
fn ctrl_c_is_ignored_by_who_was_started_so() {
    let folder = Folder::new();
    let (npy, mut input) = start_with(&folder, "--ignore-signal=INT", &["--csv"]);
    see(&folder, &[]);
    interrupt(&npy);
    input.write_all(b"1,2\n").unwrap();
    see(&folder, &[[1.0, 2.0]]);
    drop(input);
    let expected = ("live.npy: 1 row appended, 1 in all\n".into(), String::new(), Some(0));
    assert_eq!(said(&npy.wait_with_output().unwrap()), expected);
}

#[test]
fn raw_rows_too_and_ctrl_c_leaves_them() {
    let folder = Folder::new();
    let (npy, mut input) = start(&folder, &["--durability", "ordered"]);
    input.write_all(&[0; 12]).unwrap();
    see(&folder, &[[0.0; 2]]);
    interrupt(&npy);
    let expected = "live.npy: 1 row appended, 1 in all\n".into();
    assert_eq!(
        said(&npy.wait_with_output().unwrap()),
        (expected, "error: standard input: interrupted\n".into(), Some(2))
    );
    let report = inspect(folder.path("live.npy"), MAX_HEADER_SIZE).unwrap();
    assert_eq!((report.rows, report.health), (1, Health::Clean));
    // Nothing keeps the next one out.
    let (npy, mut input) = start(&folder, &[]);
    input.write_all(&[0; 8]).unwrap();
    drop(input);
    assert_eq!(said(&npy.wait_with_output().unwrap()).0, "live.npy: 1 row appended, 2 in all\n");
}
