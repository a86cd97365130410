//! Rows as they are committed: seen soon, once, whole and in order, whatever becomes of the writer and the file.

use crate::support::{fails, no_room, on_disk, ours, u32s};
use npygrow::storage::Memory;
use npygrow::{Appender, Durability, MAX_HEADER_SIZE, Reader, Result, Room, View, ensure_appendable};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

const AT_ONCE: Option<Duration> = Some(Duration::ZERO);
/// Longer than any pause between two looks.
const SOON: Option<Duration> = Some(Duration::from_secs(20));

/// What befalls a file that is followed.
type Change = fn(&PathBuf);

fn writer(path: &Path) -> Appender {
    u32s().open(path).unwrap()
}

fn append(path: &Path, value: u32) {
    writer(path).append(&[value]).unwrap();
}

fn followed(path: &Path) -> (Appender, Reader) {
    let mut writer = writer(path);
    writer.append(&[0_u32]).unwrap();
    (writer, Reader::open(path).unwrap())
}

/// What a reader that waits says to `change`, which happens meanwhile.
fn meanwhile(reader: &mut Reader, change: impl FnOnce() + Send) -> Result<Range<u64>> {
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(30));
            change();
        });
        let start = Instant::now();
        let waited = reader.wait(SOON);
        assert!(Some(start.elapsed()) < SOON);
        waited
    })
}

#[track_caller]
fn gone(result: Result<Range<u64>>) {
    fails(result, "Mismatch: the file was replaced, renamed or deleted while it was followed: open it again");
}

#[test]
fn a_timeout_ends_in_no_rows() {
    let (_folder, path) = on_disk();
    let (mut writer, mut reader) = followed(&path);
    let start = Instant::now();
    assert_eq!(reader.wait(Some(Duration::from_millis(40))).unwrap(), 1..1);
    assert!((40..5_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(reader.wait(AT_ONCE).unwrap(), 1..1);
    writer.append(&[1_u32, 2]).unwrap();
    assert_eq!(reader.wait(AT_ONCE).unwrap(), 1..3);
    assert_eq!(reader.wait(AT_ONCE).unwrap(), 3..3);
    assert_eq!(reader.rows::<u32>(0..3).unwrap(), [0, 1, 2]);
}

/// Commits by a write, from the 64th on by a mapped word, under every durability; the reader never lags for ever.
#[test]
fn every_row_is_seen_once_and_in_order() {
    for (durability, rows) in [(Durability::Process, 20_000), (Durability::Ordered, 1_000)] {
        let (_folder, path) = on_disk();
        let (writer, mut reader) = followed(&path);
        writer.close().unwrap();
        let mut writer = Appender::options().durability(durability).open(&path).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                for i in 1..=rows {
                    writer.append(&[i]).unwrap();
                    if i % (rows / 10) == 0 {
                        thread::sleep(Duration::from_millis(15));
                    }
                }
            });
            let mut seen = vec![0_u32];
            while seen.len() <= rows as usize {
                let new = reader.wait(SOON).unwrap();
                assert!(!new.is_empty() && new.start == seen.len() as u64, "{new:?} after {}", seen.len());
                seen.extend(reader.rows::<u32>(new).unwrap());
            }
            assert!(seen.into_iter().eq(0..=rows));
        });
    }
}

#[test]
fn rows_are_seen_as_soon_as_they_come() {
    let (_folder, path) = on_disk();
    let (mut writer, mut reader) = followed(&path);
    // Until commits are stores that nobody is told of.
    for i in 0..200_u32 {
        writer.append(&[i]).unwrap();
    }
    reader.refresh().unwrap();
    let mut late: Vec<_> = (0..9)
        .map(|_| {
            let mut done = Instant::now();
            meanwhile(&mut reader, || {
                writer.append(&[1_u32]).unwrap();
                done = Instant::now();
            })
            .unwrap();
            done.elapsed()
        })
        .collect();
    late.sort();
    // Some 0.1 ms; a machine at work may let some of them wait.
    assert!(late[4] < Duration::from_millis(40), "{late:?}");
}

#[test]
fn a_writer_comes_back() {
    let (_folder, path) = on_disk();
    let (first, mut reader) = followed(&path);
    first.close().unwrap();
    assert_eq!(reader.wait(AT_ONCE).unwrap(), 1..1);
    assert_eq!(meanwhile(&mut reader, || append(&path, 1)).unwrap(), 1..2);
    assert_eq!(meanwhile(&mut reader, || append(&path, 2)).unwrap(), 2..3);
}

#[test]
fn a_file_that_is_replaced() {
    let changes: [(&str, Change); 4] = [
        ("another file over it", |path| {
            fs::copy(path, path.with_extension("new")).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("renamed", |path| fs::rename(path, path.with_extension("old")).unwrap()),
        ("deleted", |path| fs::remove_file(path).unwrap()),
        ("more room", |path| assert!(ensure_appendable(path, Room::Compact, MAX_HEADER_SIZE).unwrap())),
    ];
    for (what, change) in changes {
        let (_folder, path) = on_disk();
        fs::write(&path, no_room(&[0])).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        println!("{what}");
        gone(meanwhile(&mut reader, || change(&path)));
        gone(reader.wait(None));
        assert_eq!(reader.rows::<u32>(0..1).unwrap(), [0], "{what}");
    }
}

#[test]
fn rows_before_a_replacement_come_first() {
    let (_folder, path) = on_disk();
    let (mut writer, mut reader) = followed(&path);
    assert_eq!(reader.wait(AT_ONCE).unwrap(), 1..1);
    writer.append(&[7_u32, 8]).unwrap();
    fs::rename(&path, path.with_extension("old")).unwrap();
    assert_eq!(reader.wait(None).unwrap(), 1..3);
    assert_eq!(reader.rows::<u32>(1..3).unwrap(), [7, 8]);
    gone(reader.wait(None));
}

#[test]
fn a_file_that_is_overwritten_or_cut() {
    let changes: [Change; 4] = [
        |path| fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap(),
        |path| fs::File::options().write(true).open(path).unwrap().set_len(129).unwrap(),
        |path| fs::write(path, [7; 200]).unwrap(),
        |path| Appender::open(path).unwrap().truncate(0).unwrap(),
    ];
    for change in changes {
        let (_folder, path) = on_disk();
        let (writer, mut reader) = followed(&path);
        writer.close().unwrap();
        let text = "Mismatch: the file was replaced or cut while it was read: open it again";
        fails(meanwhile(&mut reader, || change(&path)), text);
    }
}

#[cfg(unix)]
#[test]
fn a_symlink_is_followed_and_seen_to_change() {
    let (_folder, path) = on_disk();
    let (mut writer, _) = followed(&path);
    let (_other_folder, link) = on_disk();
    let other = link.with_extension("other");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let mut reader = Reader::open(&link).unwrap();
    writer.append(&[1_u32]).unwrap();
    assert_eq!(reader.wait(None).unwrap(), 1..2);
    std::os::unix::fs::symlink(path.with_extension("nowhere"), &other).unwrap();
    fs::rename(&other, &link).unwrap();
    gone(reader.wait(None));
}

#[test]
fn a_view_is_followed_from_its_rows_on() {
    let (_folder, path) = on_disk();
    let (mut writer, _) = followed(&path);
    let view = View::open(&path, MAX_HEADER_SIZE).unwrap();
    writer.append(&[1_u32, 2]).unwrap();
    let mut readers = [view.reader().unwrap(), view.clone().first(0).unwrap().reader().unwrap()];
    assert_eq!(readers.each_mut().map(|reader| reader.wait(None).unwrap()), [1..3, 0..3]);
    assert_eq!(readers[1].rows::<u32>(0..3).unwrap(), [0, 1, 2]);
    assert_eq!(view.len(), 1);
    fs::remove_file(&path).unwrap();
    gone(readers[0].wait(None));
}

/// Storage of any kind is polled.
#[test]
fn memory_waits_too() {
    let mut reader = Reader::on(Box::new(Memory::from(ours(&[0]))), MAX_HEADER_SIZE).unwrap();
    assert_eq!(reader.wait(Some(Duration::from_millis(5))).unwrap(), 1..1);
}
