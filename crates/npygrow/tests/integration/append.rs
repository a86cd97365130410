//! Appends in every shape of use, and the calls they make.

use crate::support::{Disk, NAME, fails, le, names, on_disk, ours, u32s, values};
use npygrow::storage::{Memory, Storage};
use npygrow::{Appender, Dtype, Durability, Element, Mode, Options, Order, Reader};
use npygrow_testkit::faulty::{Call, Fault};
use std::fs;

fn dtype(text: &str) -> Dtype {
    text.parse().unwrap()
}

#[test]
fn typed_values_are_rows() {
    #[track_caller]
    fn check<T: Element + PartialEq + std::fmt::Debug>(rows: &[T], descr: &str, shape: &[u64]) {
        let disk = Disk::new(None);
        let mut appender = disk.open(Options::default()).unwrap();
        assert_eq!(appender.append(&rows[..1]).unwrap(), Some(0..1));
        assert_eq!(appender.append(&rows[1..]).unwrap(), Some(1..rows.len() as u64));
        assert_eq!(appender.append::<T>(&[]).unwrap(), Some(rows.len() as u64..rows.len() as u64));
        let reader = Reader::on(disk.folder().open(NAME.as_ref(), false).unwrap().unwrap(), 10_000).unwrap();
        assert_eq!((reader.dtype(), reader.shape()), (&dtype(descr), shape));
        assert_eq!(appender.shape().as_deref(), Some(shape));
        assert_eq!(reader.rows::<T>(0..reader.len()).unwrap(), rows);
    }
    check(&[1_u8, 2, 3], "|u1", &[3]);
    check(&[-1_i8, 2], "|i1", &[2]);
    check(&[1_u16, 2], "u2", &[2]);
    check(&[-1_i32, 2], "i4", &[2]);
    check(&[i64::MIN, 2], "i8", &[2]);
    check(&[u64::MAX, 2], "u8", &[2]);
    check(&[0.5_f32, -0.0], "f4", &[2]);
    check(&[0.5_f64, f64::MAX], "f8", &[2]);
    check(&[true, false, true], "?", &[3]);
    check(&[[1_i16, 2, 3], [4, 5, 6]], "i2", &[2, 3]);
    check(&[[[1_u8, 2], [3, 4], [5, 6]], [[7, 8], [9, 10], [11, 12]]], "|u1", &[2, 3, 2]);
}

#[test]
fn c_and_fortran_files_hold_the_same_rows() {
    for (order, row_shape, shape) in [
        (Order::C, &[2, 3][..], vec![2, 2, 3]),
        (Order::F, &[2, 3], vec![2, 3, 2]),
        (Order::C, &[], vec![12]),
        (Order::F, &[], vec![12]),
    ] {
        let disk = Disk::new(None);
        let mut appender = disk.open(Options::default().dtype(dtype("<u4")).row_shape(row_shape).order(order)).unwrap();
        let rows: Vec<u8> = (0..48).collect();
        appender.append_bytes(&rows[..24]).unwrap();
        appender.append_bytes(&rows[24..]).unwrap();
        assert_eq!((appender.order(), appender.shape(), appender.row_shape()), (order, Some(shape), Some(row_shape)));
        assert_eq!(disk.bytes()[128..], rows);
        drop(appender);
        let other = if order == Order::C { Order::F } else { Order::C };
        fails(
            disk.open(Options::default().order(other)).map(drop),
            &format!("Mismatch: expected a file with {other} order, found {order} order"),
        );
    }
}

#[test]
fn rows_without_bytes_are_counted() {
    for (descr, row_shape) in [("|S0", &[][..]), ("<f8", &[3, 0])] {
        for buffering in [0, 10] {
            let disk = Disk::new(None);
            let options = Options::default().dtype(dtype(descr)).row_shape(row_shape).buffering(buffering);
            let mut appender = disk.open(options.clone()).unwrap();
            assert_eq!(appender.append_rows(3, &[]).unwrap(), Some(0..3));
            assert_eq!(appender.append_rows(2, &[]).unwrap(), Some(3..5));
            let shown = if row_shape.is_empty() { "()" } else { "(3, 0)" };
            fails(
                appender.append_bytes(&[]),
                &format!("Mismatch: rows of shape {shown} take no bytes: call append_rows with their number"),
            );
            fails(
                appender.append_rows(1, &[0]),
                "Mismatch: expected the bytes of 1 rows, found another number of bytes",
            );
            appender.close().unwrap();
            assert_eq!((disk.open(options).unwrap().len(), disk.bytes().len()), (5, 128));
        }
    }
}

#[test]
fn what_is_no_row_of_the_file_is_refused_and_changes_nothing() {
    let disk = Disk::new(Some(&ours(&[1])));
    let before = disk.bytes();
    let open = |options: Options| disk.open(options).map(drop);
    fails(open(u32s().dtype(dtype("<i4"))), "Mismatch: expected a file with dtype <i4, found dtype <u4");
    fails(
        open(u32s().row_shape([2, 3])),
        "Mismatch: expected a file with rows of shape (2, 3), found rows of shape ()",
    );
    let mut appender = disk.open(Options::default()).unwrap();
    fails(appender.append(&[1.5_f32]), "Mismatch: expected values of dtype <u4, found <f4 (f32): convert them first");
    fails(appender.append_bytes(&[0; 6]), "Mismatch: expected whole rows of shape (), 4 bytes each, found 6 bytes");
    fails(appender.append_rows(2, &[0; 4]), "Mismatch: expected the bytes of 2 rows, found another number of bytes");
    fails(appender.append_rows(1, &[0; 8]), "Mismatch: expected the bytes of 1 rows, found another number of bytes");
    fails(
        appender.define(&dtype("<u4"), &[1]),
        "Mismatch: expected a file with rows of shape (), found rows of shape (1,)",
    );
    fails(appender.truncate(2), "Mismatch: cannot truncate to 2 rows: the file has 1");
    fails(
        appender.begin(9_999_999_999_999_999).map(drop),
        "OverLimit: 1 rows and 9999999999999999 more: a file counts at most 9999999999999999 rows",
    );
    assert_eq!(disk.bytes(), before);
    assert_eq!(appender.append(&[2_u32]).unwrap(), Some(1..2));
}

#[test]
fn a_new_file_is_defined_once() {
    let disk = Disk::new(None);
    let mut appender = disk.open(Options::default()).unwrap();
    fails(
        appender.append_bytes(&[0]),
        "Mismatch: a new file needs a dtype and a row shape: give them as options, or append typed values",
    );
    appender.define(&dtype("<u4"), &[2]).unwrap();
    appender.define(&dtype("<u4"), &[2]).unwrap();
    fails(appender.define(&dtype("<u2"), &[2]), "Mismatch: expected a file with dtype <u4, found dtype <u2");
    assert!(disk.shared.names().is_empty(), "nothing is made before the first append");
    appender.append(&[[1_u32, 2]]).unwrap();
    assert_eq!(appender.shape(), Some(vec![1, 2]));
}

#[test]
fn a_refused_first_append_settles_nothing() {
    let disk = Disk::new(None);
    let mut appender = disk.open(Options::default().row_shape([2])).unwrap();
    appender.append(&[1_u8]).unwrap_err();
    assert_eq!(appender.append(&[[1_u32, 2]]).unwrap(), Some(0..1));
}

#[test]
fn batches_are_one_append_or_none() {
    for buffering in [0, 9, 1000] {
        let disk = Disk::new(Some(&ours(&[1])));
        let mut appender = disk.open(Options::default().buffering(buffering)).unwrap();
        let mut batch = appender.begin(2).unwrap();
        batch.write(&[2, 0]).unwrap();
        batch.write(&[0, 0, 3, 0, 0]).unwrap();
        batch.write(&[0]).unwrap();
        assert_eq!(disk.values(), [1], "nobody sees it yet");
        assert_eq!(batch.commit().unwrap(), Some(1..3));

        let mut dropped = appender.begin(3).unwrap();
        dropped.write(&[9; 7]).unwrap();
        drop(dropped);
        let mut short = appender.begin(1).unwrap();
        short.write(&[9; 3]).unwrap();
        fails(short.commit(), "Mismatch: expected the bytes of 1 rows, found another number of bytes");
        let mut long = appender.begin(1).unwrap();
        fails(long.write(&[9; 5]), "Mismatch: expected the bytes of 1 rows, found another number of bytes");
        fails(long.write(&[9; 4]), "Mismatch: this append failed before: begin a new one");
        drop(long);

        assert_eq!(appender.append(&[4_u32]).unwrap(), Some(3..4));
        appender.close().unwrap();
        assert_eq!(disk.bytes(), ours(&[1, 2, 3, 4]), "buffering {buffering}");
    }
}

#[test]
fn a_dropped_batch_of_a_new_file_leaves_nothing() {
    let disk = Disk::new(None);
    let mut appender = disk.open(Options::default()).unwrap();
    appender.define(&dtype("<u4"), &[]).unwrap();
    let mut batch = appender.begin(1).unwrap();
    batch.write(&[1]).unwrap();
    drop(batch);
    assert!(disk.shared.names().is_empty());
    appender.append(&[5_u32]).unwrap();
    assert_eq!(disk.values(), [5]);
}

#[test]
fn a_buffer_is_published_when_full_at_commit_sync_close_and_drop() {
    let disk = Disk::new(Some(&ours(&[])));
    let open = || disk.open(Options::default().buffering(12)).unwrap();
    let mut appender = open();
    assert_eq!(appender.append(&[0_u32, 1]).unwrap(), Some(0..2));
    assert_eq!((appender.len(), appender.committed(), disk.values().len()), (2, 0, 0));
    assert_eq!(appender.append(&[2_u32]).unwrap(), Some(2..3), "the buffer is full");
    assert_eq!((appender.committed(), disk.values()), (3, vec![0, 1, 2]));
    appender.append(&[3_u32]).unwrap();
    assert_eq!(appender.commit().unwrap(), 3..4);
    assert_eq!(appender.commit().unwrap(), 4..4);
    appender.append(&[4_u32]).unwrap();
    appender.sync().unwrap();
    assert_eq!(disk.values(), [0, 1, 2, 3, 4]);
    appender.append(&[5_u32]).unwrap();
    appender.truncate(6).unwrap();
    appender.append(&[6_u32]).unwrap();
    appender.close().unwrap();
    let mut appender = open();
    appender.append(&[7_u32]).unwrap();
    drop(appender);
    let mut appender = open();
    appender.append(&(8..20).collect::<Vec<u32>>()).unwrap();
    assert_eq!(disk.values(), Vec::from_iter(0..20), "more than the buffer holds");
}

#[test]
fn a_failed_publish_keeps_what_waits_and_takes_nothing_new() {
    for new_file in [false, true] {
        let old = ours(&[]);
        let disk = Disk::new((!new_file).then_some(&*old));
        let mut appender = disk.open(Options::default().buffering(12)).unwrap();
        appender.append(&[1_u32, 2]).unwrap();
        disk.faults.arm(Some(Call::Write), 0, Fault::FailsTorn(28));
        let error = appender.append(&[3_u32]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(28));
        assert_eq!((appender.len(), appender.committed()), (2, 0));
        assert_eq!(disk.shared.get(NAME), (!new_file).then_some(old));
        disk.faults.arm(Some(Call::Write), 0, Fault::Fails(5));
        let again = if new_file {
            "Io: a fault was put here: Input/output error (os error 5)"
        } else {
            "Io: a fault was put here: Input/output error (os error 5); nothing was appended, the file is as before"
        };
        fails(appender.commit(), again);
        assert_eq!(appender.commit().unwrap(), 0..2);
        assert_eq!(disk.values(), [1, 2]);
        appender.append(&[3_u32]).unwrap();
        disk.faults.arm(Some(Call::Write), 0, Fault::Fails(5));
        fails(
            appender.close(),
            "Io: a fault was put here: Input/output error (os error 5); nothing was appended, the file is as before; 1 \
             buffered row lost",
        );
        assert_eq!(disk.values(), [1, 2]);
    }
}

#[test]
fn a_latched_handle_says_why() {
    let disk = Disk::new(Some(&ours(&[1])));
    let mut appender = disk.open(Options::default().durability(Durability::Ordered)).unwrap();
    disk.faults.arm(Some(Call::Sync), 0, Fault::Fails(5));
    let why = "a fault was put here: Input/output error (os error 5); what is durable is unknown";
    fails(appender.append(&[2_u32]), &format!("Io: {why}; open the file again"));
    let latched = format!("Latched: refused after an earlier failure ({why}): open the file again");
    fails(appender.append(&[2_u32]), &latched);
    fails(appender.commit(), &latched);
    fails(appender.sync(), &latched);
    fails(appender.truncate(0), &latched);
    appender.close().unwrap();
    assert_eq!(disk.values(), [1]);
}

#[test]
fn each_durability_makes_its_calls_in_order() {
    let table: [(Durability, &[&str]); 3] = [
        (
            Durability::Process,
            &[
                "Write 132+8, Commit 72+8",
                "",
                "Sync, SyncFolder",
                "Commit 72+8, Sync, SetLen 132",
                "CreateTemp, Write 0+128, Write 128+4, Link",
            ],
        ),
        (
            Durability::Ordered,
            &[
                "Write 132+8, Sync, Commit 72+8",
                "",
                "Sync, SyncFolder",
                "Sync, Commit 72+8, Sync, SetLen 132, Sync",
                "CreateTemp, Write 0+128, Write 128+4, Sync, Link, SyncFolder",
            ],
        ),
        (
            Durability::Power,
            &[
                "Write 132+8, Sync, CommitDurably 72+8",
                "",
                "Sync, SyncFolder",
                "Sync, CommitDurably 72+8, Sync, SetLen 132, Sync",
                "CreateTemp, Write 0+128, Write 128+4, Sync, Link, SyncFolder",
            ],
        ),
    ];
    for (durability, expected) in table {
        let disk = Disk::new(Some(&ours(&[1])));
        let mut appender = disk.open(Options::default().durability(durability)).unwrap();
        let mut found = Vec::new();
        let _ = disk.faults.take_calls();
        appender.append(&[2_u32, 3]).unwrap();
        found.push(disk.changes());
        appender.commit().unwrap();
        found.push(disk.changes());
        appender.sync().unwrap();
        found.push(disk.changes());
        appender.truncate(1).unwrap();
        found.push(disk.changes());
        let disk = Disk::new(None);
        let mut appender = disk.open(Options::default().durability(durability)).unwrap();
        appender.append(&[2_u32]).unwrap();
        found.push(disk.changes());
        assert_eq!(found, expected, "{durability:?}");
    }
}

#[test]
fn a_count_over_eight_digits_is_one_block() {
    let disk = Disk::new(None);
    let mut appender = disk.open(Options::default().dtype(dtype("|S0")).row_shape([])).unwrap();
    appender.append_rows(99_999_998, &[]).unwrap();
    for (more, commit) in [(1, "Commit 64+8"), (1, "Commit 56+16"), (1, "Commit 64+8"), (900_000_000, "Commit 56+16")] {
        let _ = disk.faults.take_calls();
        appender.append_rows(more, &[]).unwrap();
        let offset = |text: &str| text.split_once('+').unwrap().1.to_string();
        assert_eq!(offset(&disk.changes()), offset(commit));
    }
    drop(appender);
    assert_eq!(disk.open(Options::default()).unwrap().len(), 1_000_000_001);
}

#[test]
fn modes_on_a_disk() {
    let (folder, path) = on_disk();
    let mode = |mode| u32s().mode(mode);
    mode(Mode::New).open(&path).unwrap().append(&[1_u32]).unwrap();
    fails(mode(Mode::New).open(&path).map(drop), "Io: cannot make a new file (mode \"x\"): File exists (os error 17)");
    mode(Mode::Append).open(&path).unwrap().append(&[2_u32]).unwrap();
    assert_eq!(values(&path), [1, 2]);

    let mut appender = mode(Mode::Write).open(&path).unwrap();
    assert_eq!(values(&path), [1, 2], "the old file stays until the first commit");
    drop(appender.begin(1).unwrap());
    assert_eq!(values(&path), [1, 2]);
    appender.append(&[7_u32]).unwrap();
    assert_eq!(values(&path), [7]);
    appender.append(&[8_u32]).unwrap();
    appender.close().unwrap();
    assert_eq!((values(&path), names(folder.path())), (vec![7, 8], vec![NAME.to_string()]));

    mode(Mode::Write).open(&path).unwrap().commit().unwrap();
    assert!(values(&path).is_empty(), "a commit without rows replaces too");
    fs::write(&path, b"not npy").unwrap();
    fails(
        Appender::open(&path).map(drop),
        "NotNpy: not an .npy file: expected it to begin with \\x93NUMPY, found text",
    );
    npygrow::save(&path, &[5_u32, 6]).unwrap();
    assert_eq!(values(&path), [5, 6]);
}

#[test]
fn truncated_rows_are_gone_and_rows_go_on() {
    for rows in [0, 1, 4, 5] {
        let disk = Disk::new(Some(&ours(&[0, 1, 2, 3, 4])));
        let mut appender = disk.open(Options::default()).unwrap();
        appender.truncate(rows).unwrap();
        assert_eq!(disk.bytes(), ours(&Vec::from_iter(0..rows as u32)));
        assert_eq!(appender.append(&[9_u32]).unwrap(), Some(rows..rows + 1));
    }
}

#[test]
fn a_callers_storage_grows_and_comes_back() {
    let mut storage: Box<dyn Storage> = Box::new(Memory::new());
    for value in 0..3_u32 {
        let mut appender = u32s().on(storage).unwrap();
        appender.append(&[value]).unwrap();
        assert_eq!(appender.path(), None);
        storage = appender.into_storage().unwrap();
    }
    let mut rows = [0; 12];
    storage.read_exact_at(128, &mut rows).unwrap();
    assert_eq!((storage.len().unwrap(), rows.to_vec()), (140, le(&[0, 1, 2])));
    let error = Options::default().on(Box::new(Memory::new())).map(drop).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a new file needs a dtype and a row shape: give them as options, or append typed values"
    );
}
