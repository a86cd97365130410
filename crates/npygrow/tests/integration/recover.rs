//! Mending: whatever is left of a file, its whole rows can be read and appended to.

use crate::support::{Disk, fails, foreign, no_room, numpy, on_disk, ours, values};
use npygrow::{Health, Options, RecoverOptions, Recovery, Tail, inspect, needs_recovery, recover};
use std::fs;

const FILL: RecoverOptions = RecoverOptions { zerofill_incomplete: true, tail: Tail::Keep, max_header_size: 10_000 };
const DROP: RecoverOptions = RecoverOptions { zerofill_incomplete: false, tail: Tail::Drop, max_header_size: 10_000 };

/// rows before, now, from the tail, zero rows of those, zero rows at the end, lost, cut, filled.
fn told(recovery: Recovery) -> [u64; 8] {
    let Recovery { rows_before, rows, from_tail, zero_rows, zero_run, lost, cut, filled, .. } = recovery;
    [rows_before, rows, from_tail, zero_rows, zero_run, lost, cut, filled]
}

/// 3 rows of 4 bytes in each kind of header.
fn files() -> [(&'static str, Vec<u8>); 4] {
    let rows = [0x0101_0101, 0x0202_0202, 0x0303_0303];
    let tearing = foreign(&format!("{{'descr': '<u4', {:500}'fortran_order': False, 'shape': (3,)}}", ""), 640, &rows);
    [("ours", ours(&rows)), ("NumPy's", numpy(&rows)), ("without room", no_room(&rows)), ("tearing", tearing)]
}

#[test]
fn a_file_cut_at_any_byte_keeps_its_whole_rows() {
    for (name, whole) in files() {
        let header = whole.len() - 12;
        for len in 0..=whole.len() {
            for options in [RecoverOptions::default(), DROP, FILL] {
                let disk = Disk::new(Some(&whole[..len]));
                let recovered = disk.recover(options);
                let Some(held) = len.checked_sub(header) else {
                    recovered.unwrap_err();
                    assert_eq!(disk.bytes(), whole[..len], "{name}, {len} bytes: no header, nothing to change");
                    continue;
                };
                let (held, torn) = (held as u64 / 4, held as u64 % 4);
                let fill = options.zerofill_incomplete && torn > 0;
                let rows = held + u64::from(fill);
                let (cut, filled) = if fill { (0, 4 - torn) } else { (torn, 0) };
                assert_eq!(told(recovered.unwrap()), [3, rows, 0, 0, 0, 3 - rows, cut, filled], "{name}, {len}");
                let mut left = whole[header..len - cut as usize].to_vec();
                left.resize(rows as usize * 4, 0);
                let seen: Vec<u8> = disk.values().iter().flat_map(|value| value.to_le_bytes()).collect();
                assert_eq!(seen, left, "{name}, {len} bytes");
                assert_eq!(told(disk.recover(options).unwrap())[1..], [rows, 0, 0, 0, 0, 0, 0], "once is enough");
            }
        }
    }
}

#[test]
fn a_cut_at_any_byte_of_the_data_leaves_a_file_that_grows() {
    for (name, whole) in files().into_iter().filter(|(name, _)| *name != "without room") {
        for len in whole.len() - 12..=whole.len() {
            let disk = Disk::new(Some(&whole[..len]));
            disk.recover(RecoverOptions::default()).unwrap();
            let rows = disk.values();
            disk.open(Options::default()).unwrap().append(&[7_u32]).unwrap();
            assert_eq!(disk.values(), [rows, vec![7]].concat(), "{name}, {len} bytes");
        }
    }
}

#[test]
fn tails() {
    // tail, options, [before, rows, from tail, zero, zero run, lost, cut, filled]
    let table: [(&[u8], RecoverOptions, [u64; 8]); 8] = [
        (&[4, 0, 0, 0], RecoverOptions::default(), [3, 4, 1, 0, 0, 0, 0, 0]),
        (&[4, 0, 0, 0, 5, 0, 0], RecoverOptions::default(), [3, 4, 1, 0, 0, 0, 3, 0]),
        (&[4, 0, 0, 0, 5, 0, 0], FILL, [3, 5, 2, 0, 0, 0, 0, 1]),
        (&[4, 0, 0, 0, 5, 0, 0], DROP, [3, 3, 0, 0, 0, 0, 7, 0]),
        (&[5], RecoverOptions::default(), [3, 3, 0, 0, 0, 0, 1, 0]),
        (&[5], FILL, [3, 4, 1, 0, 0, 0, 0, 3]),
        (&[0; 12], RecoverOptions::default(), [3, 6, 3, 3, 3, 0, 0, 0]),
        (&[0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0], RecoverOptions::default(), [3, 6, 3, 2, 1, 0, 1, 0]),
    ];
    for (name, whole) in files() {
        for (tail, options, expected) in table {
            let disk = Disk::new(Some(&[&whole[..], tail].concat()));
            let recovery = disk.recover(options).unwrap();
            assert_eq!(told(recovery), expected, "{name}, {tail:?}");
            assert_eq!(disk.values().len() as u64, recovery.rows);
            let mut data = [&whole[whole.len() - 12..], tail].concat();
            data.resize(recovery.rows as usize * 4, 0);
            assert!(disk.bytes().ends_with(&data), "{name}, {tail:?}");
        }
    }
}

#[test]
fn zero_rows_at_the_end_are_told_and_left() {
    let disk = Disk::new(Some(&ours(&[1, 0, 2, 0, 0])));
    assert_eq!(told(disk.recover(RecoverOptions::default()).unwrap()), [5, 5, 0, 0, 2, 0, 0, 0]);
    let disk = Disk::new(Some(&ours(&[0; 4])));
    assert_eq!(told(disk.recover(RecoverOptions::default()).unwrap()), [4, 4, 0, 0, 4, 0, 0, 0]);
    // More than one block of 4 MiB, and a run that begins in the first.
    let mut rows = vec![7_u32; 3_000_000];
    rows[1_000_000..].fill(0);
    let mut bytes = ours(&rows);
    bytes.truncate(bytes.len() - 1);
    assert_eq!(told(Disk::new(Some(&bytes)).recover(RecoverOptions::default()).unwrap()), {
        [3_000_000, 2_999_999, 0, 0, 1_999_999, 1, 3, 0]
    });
}

#[test]
fn rows_without_bytes_and_arrays_without_axes() {
    let empty_rows = foreign("{'descr': '|S0', 'fortran_order': False, 'shape': (5,), }", 128, &[]);
    let scalar = foreign("{'descr': '<u4', 'fortran_order': False, 'shape': (), }", 128, &[7]);
    for (file, rows) in [(&empty_rows, 5), (&scalar, 1)] {
        let disk = Disk::new(Some(file));
        assert_eq!(told(disk.recover(RecoverOptions::default()).unwrap())[..3], [rows, rows, 0]);
        let disk = Disk::new(Some(&[&file[..], &[1, 2, 3]].concat()));
        assert_eq!(told(disk.recover(DROP).unwrap()), [rows, rows, 0, 0, 0, 0, 3, 0]);
        assert_eq!(disk.bytes(), *file);
        for keep in [RecoverOptions::default(), FILL] {
            let disk = Disk::new(Some(&[&file[..], &[1, 2, 3]].concat()));
            assert_eq!(told(disk.recover(keep).unwrap()), [rows, rows, 0, 0, 0, 0, 3, 0]);
            assert_eq!(disk.bytes(), *file);
        }
    }
    for len in 128..132 {
        fails(
            Disk::new(Some(&scalar[..len])).recover(FILL),
            "Malformed: the one item of this 0-d array is not whole: nothing can be recovered",
        );
    }
}

#[test]
fn what_cannot_be_mended_is_left_alone() {
    let sequence = [numpy(&[1]), numpy(&[2])].concat();
    let second = "Unsupported: a second array begins where the first ends (several np.save calls into one file): \
                  open_sequence(path) reads them; concat([path], output) makes them one array that can grow";
    let endless = foreign("{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999,), }", 128, &[]);
    for (file, options, expected) in [
        (&sequence, RecoverOptions::default(), second),
        (&sequence, DROP, second),
        (
            &vec![0; 200],
            FILL,
            "NotNpy: not an .npy file: expected it to begin with \\x93NUMPY, found a zero-filled file: its data was never written",
        ),
    ] {
        let disk = Disk::new(Some(file));
        fails(disk.recover(options), expected);
        assert_eq!(disk.bytes(), *file);
    }
    assert_eq!(told(Disk::new(Some(&endless)).recover(FILL).unwrap())[5], 99_999_999_999_999_999);
    fails(Disk::new(None).recover(FILL), "Io: cannot open: No such file or directory (os error 2)");
}

#[test]
fn an_open_file_is_not_mended() {
    let disk = Disk::new(Some(&ours(&[1])));
    let _appender = disk.open(Options::default()).unwrap();
    assert_eq!(disk.recover(FILL).unwrap_err().kind(), npygrow::ErrorKind::Locked);
}

#[test]
fn on_a_disk_with_advice() {
    let (folder, path) = on_disk();
    for file in [ours(&[1, 2, 3]), numpy(&[1, 2, 3]), no_room(&[1, 2, 3])] {
        fs::write(&path, &file[..file.len() - 5]).unwrap();
        let report = inspect(&path, 10_000).unwrap();
        assert_eq!((report.health, report.rows_on_disk), (Health::Truncated { rows: 1, torn: 3 }, 1));
        assert_eq!(report.advice.unwrap(), "recover(path) goes on with what is left: 1 whole row");
        assert!(needs_recovery(&path, 10_000).unwrap());
        recover(&path, FILL).unwrap();
        assert!(!needs_recovery(&path, 10_000).unwrap());
        assert_eq!(values(&path), [1, 2]);
        assert_eq!(crate::support::names(folder.path()).len(), 1);
    }
}
