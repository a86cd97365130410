//! Whole files, in memory.

use crate::{NAME, check_error, file};
use npygrow::format::MAGIC;
use npygrow::storage::{Folder, Memory};
use npygrow::{
    ErrorKind, Health, MAX_HEADER_SIZE, MAX_ROWS, Parts, Reader, RecoverOptions, Recovery, Report, Result, Tail,
    inspect_in, recover_in,
};
use npygrow_testkit::shared::SharedFolder;
use std::ffi::OsStr;
use std::sync::Arc;

/// Any bytes as a file: what `inspect` says of it is true to the byte, and a reader gives exactly that.
pub fn inspect(input: &[u8]) {
    let (_, bytes) = file(input);
    let folder = Arc::new(SharedFolder::default());
    folder.put(NAME, &bytes);
    let reader = Reader::on(Box::new(Memory::from(bytes.clone())), MAX_HEADER_SIZE);
    match (inspect_in(folder, NAME.as_ref(), MAX_HEADER_SIZE), reader) {
        (Err(error), reader) if bytes.starts_with(b"\x93NPYGROW") => {
            assert_eq!(error.kind(), ErrorKind::NeedsRecovery);
            assert!(reader.is_err());
        }
        (Err(error), Err(reader)) => {
            check_error(&error);
            assert_eq!(error.kind(), reader.kind(), "{error}, {reader}");
        }
        (Ok(report), Err(error)) => {
            check_report(&report, &bytes);
            assert!(matches!(report.health, Health::Truncated { .. }), "{error}");
            assert_eq!(error.kind(), ErrorKind::NeedsRecovery);
        }
        (Ok(report), Ok(reader)) => {
            check_report(&report, &bytes);
            assert_eq!((reader.len(), reader.shape()), (report.rows, &report.shape[..]));
            let mut rows = vec![0; data(&report, report.rows).len()];
            reader.read_into(0..report.rows, &mut rows).expect("the rows that are counted");
            assert_eq!(rows, bytes[data(&report, report.rows)]);
        }
        (report, Ok(_)) => panic!("a reader takes what inspect refuses: {report:?}"),
    }
}

/// Where the first `rows` rows lie.
fn data(report: &Report, rows: u64) -> std::ops::Range<usize> {
    let start = report.header_len as usize;
    start..start + (rows * report.row_size) as usize
}

fn check_report(report: &Report, bytes: &[u8]) {
    let size = bytes.len() as u64;
    let end = |rows: u64| u128::from(report.header_len) + u128::from(report.row_size) * u128::from(rows);
    assert_eq!(report.file_size, size);
    assert!(report.advice.iter().chain(&report.notes).all(|text| !text.chars().any(char::is_control)));
    let (on_disk, held) = match report.health {
        Health::Clean => (report.rows, end(report.rows)),
        Health::Tail { rows, bytes } => {
            assert!(bytes > 0 && (report.row_size == 0 && rows == 0 || bytes / report.row_size == rows));
            (report.rows + rows, end(report.rows) + u128::from(bytes))
        }
        Health::Truncated { rows, torn } => {
            assert!(rows < report.rows && torn < report.row_size);
            (rows, end(rows) + u128::from(torn))
        }
        Health::Sequence => {
            assert!(bytes[data(report, report.rows).end..].starts_with(&MAGIC));
            (report.rows, u128::from(size))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!((report.rows_on_disk, u128::from(size)), (on_disk, held));
}

/// Any bytes as a broken file: mended, with every row that was counted and is there, or left as it is.
pub fn recover(input: &[u8]) {
    recover_by(input, recover_in);
}

/// As [`recover`], by another way to recover: one that is wrong must be caught.
pub fn recover_by(input: &[u8], recover: fn(Arc<dyn Folder>, &OsStr, RecoverOptions) -> Result<Recovery>) {
    let (control, bytes) = file(input);
    let folder = Arc::new(SharedFolder::default());
    folder.put(NAME, &bytes);
    let look = || inspect_in(folder.clone(), NAME.as_ref(), MAX_HEADER_SIZE);
    let before = look();
    // A row may take more memory than there is; on a disk what completes it is a hole.
    let is_small = before.as_ref().is_ok_and(|report| report.row_size < 1 << 16);
    let options = RecoverOptions {
        zerofill_incomplete: control & 1 != 0 && is_small,
        tail: if control & 2 == 0 { Tail::Keep } else { Tail::Drop },
        max_header_size: MAX_HEADER_SIZE,
    };
    let done = recover(folder.clone(), NAME.as_ref(), options);
    assert_eq!(folder.names(), [NAME], "something is left beside the file");
    let now = folder.get(NAME).expect("the file stays");
    match (before, done) {
        (Err(before), Err(error)) => {
            assert!(before.kind() == error.kind() || bytes.starts_with(b"\x93NPYGROW"), "{before}, {error}");
            assert_eq!(now, bytes, "refused, and changed");
        }
        (Ok(before), Err(error)) => {
            let is_due = match error.kind() {
                ErrorKind::Unsupported => before.health == Health::Sequence,
                ErrorKind::Malformed => before.shape.is_empty(),
                ErrorKind::OverLimit => before.rows_on_disk >= MAX_ROWS,
                _ => false,
            };
            assert!(is_due, "{error}, {before:?}");
            assert_eq!(now, bytes, "refused, and changed");
        }
        (Ok(before), Ok(done)) => {
            let after = look().expect("what was mended can be read");
            assert_eq!(after.health, Health::Clean);
            check_recovery(&before, &bytes, &after, &now, done, options);
            let again = recover(folder.clone(), NAME.as_ref(), options).expect("nothing is to be done any more");
            assert_eq!((again.rows_before, again.rows), (done.rows, done.rows));
            assert_eq!(folder.get(NAME), Some(now), "a file that is well is changed");
        }
        (Err(before), Ok(_)) => panic!("recovered what cannot be read: {before}"),
    }
}

fn check_recovery(before: &Report, old: &[u8], after: &Report, new: &[u8], done: Recovery, options: RecoverOptions) {
    assert_eq!((&after.dtype, after.order, after.row_size), (&before.dtype, before.order, before.row_size));
    assert_eq!((done.rows_before, done.rows), (before.rows, after.rows));
    let size = |report: &Report, rows: u64| (rows * report.row_size) as usize;
    let is_kept = options.tail == Tail::Keep && !before.shape.is_empty() && before.row_size > 0;
    let held = if is_kept { before.rows_on_disk } else { before.rows.min(before.rows_on_disk) };
    assert!(after.rows == held || after.rows == held + 1 && options.zerofill_incomplete, "{held}: {done:?}");
    assert_eq!(old[data(before, held)], new[data(after, held)], "rows changed");
    // What completes a torn row.
    let torn = &new[data(after, held).end..];
    let left = &old[data(before, held).end..];
    let (begun, filled) = torn.split_at(torn.len().min(left.len()));
    assert!(left.starts_with(begun) && filled.iter().all(|&byte| byte == 0));
    assert_eq!(done.lost, before.rows.saturating_sub(after.rows));
    assert_eq!(done.filled, filled.len() as u64);
    assert_eq!(done.from_tail, after.rows.saturating_sub(before.rows));
    let tail = &new[data(after, after.rows - done.from_tail).end..];
    let zeros = tail.chunks(size(after, 1).max(1)).filter(|row| row.iter().all(|&byte| byte == 0)).count();
    assert_eq!(done.zero_rows, zeros as u64);
}

/// Any bytes as a file of several arrays: each part is what its own header says, and they lie one behind the other.
pub fn sequence(input: &[u8]) {
    let (_, bytes) = file(input);
    let memory = Memory::from(bytes.clone());
    let mut end = 0;
    let mut is_over = false;
    for part in Parts::of(&memory, MAX_HEADER_SIZE).expect("memory has a length") {
        assert!(!is_over, "an array after the end");
        match part {
            Ok(part) => {
                assert!(part.offset == end && part.size >= part.header.len);
                let at = part.offset as usize;
                let header = npygrow::Header::parse(&bytes[at..at + part.header.len as usize]);
                assert_eq!(header.as_ref().ok(), Some(&part.header));
                end += part.size;
                assert!(end <= bytes.len() as u64);
            }
            Err(error) => {
                is_over = true;
                assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
                assert!(
                    error.kind() == ErrorKind::NeedsRecovery || {
                        check_error(&error);
                        true
                    }
                );
            }
        }
    }
}
