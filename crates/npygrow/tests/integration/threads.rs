//! Readers beside a writer that never waits for them.

use crate::support::on_disk;
use npygrow::{Appender, Header, MAX_HEADER_SIZE, Reader, View};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// A disk and memory: whether a count is stored in a mapping or written is up to the file system.
fn folders() -> Vec<tempfile::TempDir> {
    let mut folders = vec![tempfile::tempdir().unwrap()];
    folders.extend(tempfile::tempdir_in("/dev/shm"));
    folders
}

/// Rows of 64 bytes: the first pages are full, and the count mapped, after a thousand.
fn row(number: u64) -> [u64; 8] {
    [number, 1, 2, 3, 4, 5, 6, !number]
}

const ROWS: u64 = 12_000;

#[test]
fn every_small_append_is_seen_at_once_through_other_handles() {
    for folder in folders() {
        let path = folder.path().join("rows.npy");
        let mut appender = Appender::open(&path).unwrap();
        appender.append(&[row(0)]).unwrap();
        let file = fs::File::open(&path).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        let mut view = View::open(&path, MAX_HEADER_SIZE).unwrap();
        for number in 1..ROWS {
            assert_eq!(appender.append(&[row(number)]).unwrap(), Some(number..number + 1));
            let mut header = [0; 128];
            file.read_exact_at(&mut header, 0).unwrap();
            assert_eq!(Header::parse(&header).unwrap().shape, [number + 1, 8]);
            assert_eq!(reader.refresh().unwrap(), number..number + 1);
            assert_eq!(reader.rows::<[u64; 8]>(number..number + 1).unwrap(), [row(number)]);
            assert_eq!(view.refresh().unwrap(), number..number + 1);
            assert_eq!(view.values::<[u64; 8]>().unwrap()[number as usize], row(number));
        }
        appender.sync().unwrap();
        appender.truncate(10).unwrap();
        for number in 10..200 {
            appender.append(&[row(number)]).unwrap();
        }
        appender.close().unwrap();
        let rows = Reader::open(&path).unwrap().rows::<[u64; 8]>(0..200).unwrap();
        assert!(rows.into_iter().eq((0..200).map(row)));
    }
}

/// Without a pause between them, across all carries from 9 to 10,000.
#[test]
fn a_reader_never_sees_a_count_that_was_not_or_a_row_that_is_not() {
    for folder in folders() {
        let path: PathBuf = folder.path().join("rows.npy");
        let mut appender = Appender::open(&path).unwrap();
        appender.append(&[row(0)]).unwrap();
        let (begun, done) = (&AtomicU64::new(1), &AtomicU64::new(1));
        let reads: u64 = thread::scope(|scope| {
            let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| read_along(&path, begun, done))).collect();
            for number in 1..ROWS {
                begun.store(number + 1, Ordering::SeqCst);
                appender.append(&[row(number)]).unwrap();
                done.store(number + 1, Ordering::SeqCst);
            }
            readers.into_iter().map(|reader| reader.join().unwrap()).sum()
        });
        assert!(reads > 100, "only {reads} reads met the writer");
    }
}

fn read_along(path: &PathBuf, begun: &AtomicU64, done: &AtomicU64) -> u64 {
    let file = fs::File::open(path).unwrap();
    let (mut reads, mut count) = (0, 0);
    while count < ROWS {
        let least = done.load(Ordering::SeqCst).max(count);
        let mut header = [0; 128];
        file.read_exact_at(&mut header, 0).unwrap();
        count = Header::parse(&header).unwrap().shape[0];
        let most = begun.load(Ordering::SeqCst);
        assert!((least..=most).contains(&count), "{count} rows, between {least} and {most}");
        let mut last = [0; 64];
        file.read_exact_at(&mut last, 128 + 64 * (count - 1)).unwrap();
        assert_eq!(last[..8], (count - 1).to_le_bytes());
        assert_eq!(last[56..], (!(count - 1)).to_le_bytes());
        reads += 1;
    }
    reads
}

#[test]
fn a_handle_moves_between_threads() {
    let (_folder, path) = on_disk();
    let mut appender = Appender::open(&path).unwrap();
    for number in 0..8_u32 {
        appender = thread::spawn(move || {
            appender.append(&[number]).unwrap();
            appender
        })
        .join()
        .unwrap();
    }
    appender.close().unwrap();
    assert_eq!(crate::support::values(&path), Vec::from_iter(0..8));
}
