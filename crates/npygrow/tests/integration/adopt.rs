//! Tails that are ours and others', and headers that others wrote.

use crate::support::{Disk, fails, foreign, no_room, numpy, ours};
use npygrow::{Appender, Durability, OnTail, Options};

const ON_TAIL: [OnTail; 4] = [OnTail::Auto, OnTail::Keep, OnTail::Drop, OnTail::Error];
const DURABILITIES: [Durability; 3] = [Durability::Process, Durability::Ordered, Durability::Power];

fn with(mut file: Vec<u8>, tail: &[u8]) -> Vec<u8> {
    file.extend(tail);
    file
}

#[test]
fn tails_are_kept_dropped_or_refused() {
    let whole = [2, 0, 0, 0, 3, 0, 0, 0];
    // The tail, its whole rows, and how many bytes of it are none.
    let tails: [(&[u8], usize, u64); 4] = [(&whole, 2, 0), (&whole[..6], 1, 2), (&[7; 3], 0, 3), (&[7; 40], 10, 0)];
    for (tail, rows, torn) in tails {
        for (foreign, file) in [(false, ours(&[0, 1])), (true, numpy(&[0, 1]))] {
            for on_tail in ON_TAIL {
                let bytes = with(file.clone(), tail);
                let disk = Disk::new(Some(&bytes));
                let opened = disk.open(Options::default().on_tail(on_tail));
                let kept: Vec<u32> =
                    tail.chunks_exact(4).map(|row| u32::from_le_bytes(row.try_into().unwrap())).collect();
                assert_eq!(kept.len(), rows);
                let (values, dropped) = match on_tail {
                    OnTail::Keep => ([vec![0, 1], kept].concat(), (0, torn)),
                    OnTail::Drop => (vec![0, 1], (rows as u64, tail.len() as u64)),
                    OnTail::Auto if !foreign => (vec![0, 1], (rows as u64, tail.len() as u64)),
                    _ => {
                        let expected = format!(
                            "NeedsRecovery: expected the file to end after 2 rows, found {} more byte{} ({rows} whole row{}): call \
                             recover(path) to keep them, or open with on_tail=\"keep\" or \"drop\"",
                            tail.len(),
                            if tail.len() == 1 { "" } else { "s" },
                            if rows == 1 { "" } else { "s" },
                        );
                        fails(opened.map(drop), &expected);
                        assert_eq!(disk.bytes(), bytes);
                        continue;
                    }
                };
                let mut appender = opened.unwrap();
                assert_eq!((appender.dropped().rows, appender.dropped().bytes), dropped);
                assert_eq!(appender.append(&[9_u32]).unwrap().unwrap().start, values.len() as u64);
                assert_eq!(disk.values(), [values, vec![9]].concat());
            }
        }
    }
}

#[test]
fn a_second_array_is_never_a_tail() {
    for file in [ours(&[0, 1]), numpy(&[0, 1])] {
        let bytes = with(file, &numpy(&[2]));
        for on_tail in ON_TAIL {
            let disk = Disk::new(Some(&bytes));
            fails(
                disk.open(Options::default().on_tail(on_tail)).map(drop),
                "Unsupported: a second array begins where the first ends (several np.save calls into one file): \
                 open_sequence(path) reads them; concat([path], output) makes them one array that can grow",
            );
            assert_eq!(disk.bytes(), bytes);
        }
    }
}

#[test]
fn a_file_with_missing_rows_is_refused() {
    let mut bytes = ours(&[0, 1, 2]);
    bytes.truncate(128 + 7);
    for on_tail in ON_TAIL {
        fails(
            Disk::new(Some(&bytes)).open(Options::default().on_tail(on_tail)).map(drop),
            "NeedsRecovery: the header counts 3 rows, the file holds 1: call recover(path) to go on with what is left",
        );
    }
}

#[test]
fn numpys_header_becomes_ours_at_the_first_commit() {
    for durability in DURABILITIES {
        let bytes = numpy(&[0, 1]);
        let disk = Disk::new(Some(&bytes));
        let open = || disk.open(Options::default().durability(durability)).unwrap();
        open().commit().unwrap();
        open().close().unwrap();
        assert_eq!(disk.bytes(), bytes, "nothing is rewritten before there are rows");
        let mut appender = open();
        appender.append(&[2_u32]).unwrap();
        assert_eq!(disk.bytes(), ours(&[0, 1, 2]));
        let _ = disk.faults.take_calls();
        appender.append(&[3_u32]).unwrap();
        assert!(disk.changes().contains(" 72+8"), "then only the count changes");
        assert_eq!(disk.bytes(), ours(&[0, 1, 2, 3]));
    }
}

#[test]
fn the_length_of_a_header_stays() {
    for len in [86, 96, 100, 256, 4096] {
        let disk = Disk::new(Some(&foreign("{'shape':(1,),'fortran_order':False,'descr':'<u4'}", len, &[5])));
        let mut appender = disk.open(Options::default()).unwrap();
        for value in 6..200_u32 {
            appender.append(&[value]).unwrap();
        }
        assert_eq!(disk.values(), Vec::from_iter(5..200));
        let bytes = disk.bytes();
        assert_eq!(usize::from(u16::from_le_bytes([bytes[8], bytes[9]])), len - 10);
        assert_eq!((bytes[len - 1], bytes.len()), (b'\n', len + 4 * 195));
    }
}

#[test]
fn a_narrow_field_is_outgrown_with_a_word_on_it() {
    // Of 83 bytes the field ends at 80 and begins after the 69 of magic, length and text before it.
    let text = "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1,)}";
    let disk = Disk::new(Some(&{
        let mut bytes = foreign(text, 90, &[]);
        bytes.push(1);
        bytes
    }));
    let mut appender = disk.open(Options::default()).unwrap();
    let max = npygrow::format::Growable::within(1, 90, appender.dtype().unwrap(), appender.order(), &[], 1)
        .unwrap()
        .count
        .max_rows();
    assert_eq!(max, 9_999_999_999);
    let before = disk.bytes();
    fails(
        appender.begin(max).map(drop),
        "NotAppendable: the header has room to count 9999999999 rows, 10000000000 were asked for: call \
         ensure_appendable(path)",
    );
    assert_eq!(disk.bytes(), before);
    appender.append_bytes(&[2]).unwrap();
}

#[test]
fn without_room_nothing_is_appended() {
    let no_axis = foreign("{'descr': '<u4', 'fortran_order': False, 'shape': ()}", 128, &[1]);
    for (file, expected) in [
        (no_room(&[1]), "NotAppendable: the header has no room for a growing count: call ensure_appendable(path)"),
        (no_axis, "NotAppendable: the array has no axes: expected at least one axis to grow along, found shape ()"),
    ] {
        let disk = Disk::new(Some(&file));
        fails(disk.open(Options::default()).map(drop), expected);
        assert_eq!(disk.bytes(), file);
    }
}

/// A text that ends behind `end`, where ours begins at the header's start.
fn reaching(end: usize) -> Vec<u8> {
    let text = format!("{{'descr': '<u4', 'fortran_order': False, {:1$}'shape': (2,), }}", "", end - 60);
    foreign(&text, (end + 128).next_multiple_of(64), &[0, 1])
}

#[test]
fn a_header_that_can_be_seen_torn_after_a_crash_is_replaced_not_rewritten() {
    // How far the text reaches, and what crash the change must survive.
    for (end, durability, replaced) in [
        (400, Durability::Power, false),
        (600, Durability::Process, false),
        (600, Durability::Ordered, true),
        (600, Durability::Power, true),
        (5000, Durability::Process, true),
    ] {
        for tail in [&[][..], &[2, 0, 0, 0, 9]] {
            let file = with(reaching(end), tail);
            let disk = Disk::new(Some(&file));
            let options = Appender::options().durability(durability).on_tail(OnTail::Keep);
            let mut appender = disk.open(options).unwrap();
            let opening = disk.changes();
            assert_eq!(opening.contains("Replace"), replaced, "{end} {durability:?}: {opening}");
            assert_eq!(appender.dropped().bytes, u64::from(!tail.is_empty()));
            let rows = appender.len() as u32;
            appender.append(&[rows]).unwrap();
            appender.append(&[rows + 1]).unwrap();
            assert_eq!(disk.values(), Vec::from_iter(0..rows + 2));
            assert_eq!(rows, if tail.is_empty() { 2 } else { 3 });
        }
    }
}
