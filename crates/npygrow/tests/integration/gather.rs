//! Many rows at once: as if each had been read alone, wherever their bytes are just then.

use crate::support::{NAME, fails, on_disk};
use npygrow::{Access, MAX_HEADER_SIZE, Options, Order, View};
use proptest::prelude::*;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of `count` rows of `size` bytes, which all differ.
fn file(size: u64, count: u64) -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = on_disk();
    let mut appender = Options::default().dtype("|u1".parse().unwrap()).row_shape([size]).open(&path).unwrap();
    appender.append_rows(count, &contents(size, count)).unwrap();
    (folder, path)
}

/// Random bytes again and again, after a prime number of them, so that no row is like its neighbours.
fn contents(size: u64, count: u64) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let (block, len) = ((0..65_521).map(|_| next()).collect::<Vec<u8>>(), (size * count) as usize);
    let mut bytes = block.repeat(len / block.len() + 1);
    bytes.truncate(len);
    bytes
}

/// Writes the file back and has the system forget it, as far as it can; where not, the rows are merely in memory.
pub(crate) fn forget(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
    let file = format!("if={}", path.display());
    let _ = Command::new("dd").args([&file, "iflag=nocache", "count=0", "status=none"]).status();
}

/// The loop that `gather` stands for.
fn naive(path: &Path, rows: &[u64]) -> Vec<u8> {
    let view = View::open(path, MAX_HEADER_SIZE).unwrap();
    let size = view.row_size() as usize;
    rows.iter().map(|row| &view.bytes()[*row as usize * size..][..size]).collect::<Vec<_>>().concat()
}

#[track_caller]
fn check(path: &Path, rows: &[u64]) {
    let expected = naive(path, rows);
    forget(path);
    for access in [Access::Read, Access::Copy] {
        let view = View::open_with(path, access, MAX_HEADER_SIZE).unwrap();
        for state in ["cold", "warm", "touched"] {
            let mut out = vec![0; expected.len()];
            view.gather_into(rows, &mut out).unwrap();
            assert!(out == expected, "{access:?}, {state}: {} rows of {} bytes", rows.len(), view.row_size());
        }
    }
}

#[test]
fn every_shape_of_request() {
    // The two large ones are past what neighbours are read at once, and past what is asked of the disk ahead.
    for (size, count) in [(1, 9000), (8, 9000), (100, 9000), (512, 9000), (4096, 2000), (100_000, 30), (5 << 20, 3)] {
        let (_folder, path) = file(size, count);
        let scattered: Vec<u64> = (0..9000.min(count * 3)).map(|i| i * 7919 % count).collect();
        let mut sorted = scattered.clone();
        sorted.sort_unstable();
        check(&path, &[]);
        check(&path, &[count - 1]);
        check(&path, &[0, 0, count - 1, 0, count - 1]);
        check(&path, &(0..count).collect::<Vec<_>>());
        check(&path, &(0..count).rev().collect::<Vec<_>>());
        check(&path, &(0..count).step_by(5).collect::<Vec<_>>());
        check(&path, &scattered);
        check(&path, &sorted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_rows(
        (size, count, rows) in (0u64..9000, 1u64..60).prop_flat_map(|(size, count)| {
            (Just(size), Just(count), prop::collection::vec(0..count, 0..400))
        })
    ) {
        let (_folder, path) = file(size, count);
        check(&path, &rows);
    }
}

#[test]
fn values_and_rows_along_the_last_axis() {
    let (_folder, path) = on_disk();
    let mut appender =
        Options::default().dtype("<u2".parse().unwrap()).row_shape([2]).order(Order::F).open(&path).unwrap();
    appender.append_bytes(&[1, 0, 2, 0, 3, 0, 4, 0]).unwrap();
    let mut view = View::open(&path, MAX_HEADER_SIZE).unwrap();
    assert_eq!(view.gather::<u16>(&[1, 0, 1]).unwrap(), [3, 4, 1, 2, 3, 4]);
    assert_eq!(view.gather::<[u16; 2]>(&[1]).unwrap(), [[3, 4]]);
    appender.append_bytes(&[5, 0, 6, 0]).unwrap();
    fails(view.gather::<u16>(&[0, 2]), "Mismatch: expected rows in 0..2, found 2");
    view.refresh().unwrap();
    assert_eq!(view.gather::<u16>(&[2]).unwrap(), [5, 6]);
    fails(view.gather::<u16>(&[0, u64::MAX]), "Mismatch: expected rows in 0..3, found 18446744073709551615");
    fails(view.gather_into(&[0, 1], &mut [0; 7]), "Mismatch: expected a buffer for 2 rows of 4 bytes, found 7 bytes");
    fails(view.gather::<[u16; 3]>(&[0]), "Mismatch: rows of 4 bytes are no whole number of [u16; 3]");
    let error = view.gather::<i16>(&[0]).unwrap_err();
    assert_eq!(error.detail(), "expected values of dtype <u2, found <i2 (i16): convert them first");
}

#[test]
fn rows_without_bytes_and_files_without_rows() {
    for (size, count) in [(0, 5), (0, 0), (3, 0)] {
        let (_folder, path) = file(size, count);
        let view = View::open(&path, MAX_HEADER_SIZE).unwrap();
        view.gather_into(&vec![0; count as usize], &mut []).unwrap();
        fails(
            view.gather_into(&[count], &mut vec![0; size as usize]),
            &format!("Mismatch: expected rows in 0..{count}, found {count}"),
        );
    }
}

#[test]
fn a_private_copy_gives_its_own_values() {
    let (_folder, path) = file(8, 3000);
    let view = View::open_with(&path, Access::Copy, MAX_HEADER_SIZE).unwrap();
    let rows: Vec<u64> = (0..3000).rev().collect();
    let mut expected = naive(&path, &rows);
    // As NumPy writes through the mapping; row 7 is the eighth from the end.
    let to = view.as_mut_ptr().unwrap();
    write(to.wrapping_add(7 * 8), 0xAB);
    expected[(3000 - 8) * 8] = 0xAB;
    let mut out = vec![0; expected.len()];
    view.gather_into(&rows, &mut out).unwrap();
    assert!(out == expected);
}

#[allow(unsafe_code)]
fn write(to: *mut u8, byte: u8) {
    // SAFETY: the mapping is private, writable and alive, and no reference to its bytes is.
    unsafe { to.write(byte) }
}

#[test]
fn a_cut_file_is_an_error_not_a_fault() {
    for (size, count) in [(8, 20_000), (512, 3000), (4096, 500), (300_000, 9)] {
        for access in [Access::Read, Access::Copy] {
            for touched in [false, true] {
                let (_folder, path) = file(size, count);
                let view = View::open_with(&path, access, MAX_HEADER_SIZE).unwrap();
                let rows: Vec<u64> = (0..count).rev().collect();
                let mut out = vec![0; (size * count) as usize];
                if touched {
                    view.gather_into(&rows, &mut out).unwrap();
                }
                let (whole, cut) = (128 + size * count, 128 + size * count / 2);
                File::options().write(true).open(&path).unwrap().set_len(cut).unwrap();
                let error = view.gather_into(&rows, &mut out).unwrap_err();
                assert_eq!(error.kind(), npygrow::ErrorKind::Mismatch);
                let text = error.detail();
                assert!(text.starts_with("the file was cut while it was read: expected at least "), "{text}");
                assert!(text.ends_with(&format!(" bytes, found {cut}: open it again")), "{text}");
                assert!(whole > cut && error.path() == path.to_str(), "{error}");
            }
        }
    }
}

#[test]
fn threads_at_once() {
    let (_folder, path) = file(512, 9000);
    let view = View::open(&path, MAX_HEADER_SIZE).unwrap();
    let rows: Vec<u64> = (0..9000).map(|i| i * 7919 % 9000).collect();
    let expected = naive(&path, &rows);
    forget(&path);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut out = vec![0; expected.len()];
                view.gather_into(&rows, &mut out).unwrap();
                assert!(out == expected);
            });
        }
    });
}

/// The rows' pages come from the disk, and nothing else does.
#[cfg(target_os = "linux")]
#[test]
fn no_read_ahead() {
    // Where the build lies, rather than in a folder for temporary files, which may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join(NAME);
    let (size, count) = (4096, 256 * 64);
    let mut appender = Options::default().dtype("|u1".parse().unwrap()).row_shape([size]).open(&path).unwrap();
    appender.append_bytes(&contents(size, count)).unwrap();
    for rows in [256, 8] {
        forget(&path);
        let Some(before) = in_memory(&path).filter(|bytes| *bytes < 1 << 20) else {
            return eprintln!("not tested: the system does not tell what it keeps in memory, or does not forget");
        };
        let rows: Vec<u64> = (0..rows).rev().map(|i| i * 64).collect();
        View::open(&path, MAX_HEADER_SIZE).unwrap().gather::<u8>(&rows).unwrap();
        // A row crosses into a second page. The header is read with what the system reads ahead at a file's start.
        let expected = before + rows.len() as u64 * 2 * 4096 + (256 << 10);
        let found = in_memory(&path).unwrap();
        assert!(found <= expected, "{found} bytes are in memory for {} rows, expected up to {expected}", rows.len());
    }
}

/// How many bytes of the file are in memory.
#[cfg(target_os = "linux")]
fn in_memory(path: &Path) -> Option<u64> {
    let told = Command::new("fincore").args(["--bytes", "--noheadings", "--output", "RES"]).arg(path).output().ok()?;
    String::from_utf8(told.stdout).ok()?.trim().parse().ok()
}

/// Rows so small that only the mapping is fast enough, gathered while another program cuts the file and puts it back.
#[test]
#[cfg(target_os = "linux")]
fn a_file_that_is_cut_during_the_call_is_an_error_not_a_fault() {
    let (size, count) = (64, 20_000);
    let (_folder, path) = file(size, count);
    let contents = contents(size, count);
    let view = View::open(&path, MAX_HEADER_SIZE).unwrap();
    let rows: Vec<u64> = (0..count).rev().collect();
    let mut expected = vec![0; contents.len()];
    view.gather_into(&rows, &mut expected).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::os::unix::fs::FileExt;
            let file = File::options().write(true).open(&path).unwrap();
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                file.set_len(1 << 20).unwrap();
                file.write_all_at(&contents[(1 << 20) - 128..], 1 << 20).unwrap();
            }
        });
        let (mut whole, mut cut) = (0, 0);
        let mut out = vec![0; expected.len()];
        for _ in 0..600 {
            match view.gather_into(&rows, &mut out) {
                Ok(()) => {
                    assert!(out == expected, "rows that are not the file's");
                    whole += 1;
                }
                Err(error) => {
                    assert!(error.detail().starts_with("the file was cut while it was read: "), "{error}");
                    cut += 1;
                }
            }
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(cut > 0, "{whole} whole");
    });
}
