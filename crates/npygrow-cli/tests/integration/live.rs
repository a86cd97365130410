//! `npy append` while rows come: readers see them as they come, and a kill leaves whole rows.

use super::{Folder, said};
use npygrow::{Health, MAX_HEADER_SIZE, Reader, inspect};
use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn start(folder: &Folder, args: &[&str]) -> (Child, ChildStdin) {
    let mut command =
        folder.command(&[&["append", "live.npy", "-", "--dtype", "<f4", "--row-shape", "2"], args].concat());
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

#[test]
fn raw_rows_too_and_ctrl_c_leaves_them() {
    let folder = Folder::new();
    let (mut npy, mut input) = start(&folder, &["--durability", "ordered"]);
    input.write_all(&[0; 12]).unwrap();
    see(&folder, &[[0.0; 2]]);
    let status = Command::new("kill").args(["-INT", &npy.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert_eq!(npy.wait().unwrap().code(), None);
    let report = inspect(folder.path("live.npy"), MAX_HEADER_SIZE).unwrap();
    assert_eq!((report.rows, report.health), (1, Health::Clean));
    // Nothing keeps the next one out.
    let (npy, mut input) = start(&folder, &[]);
    input.write_all(&[0; 8]).unwrap();
    drop(input);
    assert_eq!(said(&npy.wait_with_output().unwrap()).0, "live.npy: 1 row appended, 2 in all\n");
}
