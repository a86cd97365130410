//! New files: never half-made, never clobbering.

use crate::support::{Disk, NAME, fails, names, numpy, on_disk, ours, u32s, values};
use npygrow::{Appender, Durability, Mode, Options};
use npygrow_testkit::faulty::Call;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn with_dtype_and_row_shape_the_file_is_there_at_once() {
    for (options, there) in [
        (u32s(), true),
        (u32s().buffering(100), true),
        (u32s().turns(true), true),
        (u32s().mode(Mode::New), true),
        (u32s().mode(Mode::Write), true),
        (Options::default().row_shape([]), false),
        (Options::default().dtype("<u4".parse().unwrap()), false),
    ] {
        let disk = Disk::new(None);
        let appender = disk.open(options).unwrap();
        assert_eq!(disk.shared.get(NAME).map(|bytes| bytes == ours(&[])), there.then_some(true));
        appender.close().unwrap();
    }
}

#[test]
fn an_empty_file_is_a_new_file() {
    for options in [Options::default(), u32s(), Options::default().durability(Durability::Power), u32s().turns(true)] {
        let disk = Disk::new(Some(&[]));
        let mut appender = disk.open(options).unwrap();
        assert_eq!(appender.append(&[1_u32, 2]).unwrap(), Some(0..2));
        assert_eq!((disk.bytes(), disk.shared.names()), (ours(&[1, 2]), vec![NAME.to_string()]));
    }
    fails(
        Disk::new(Some(&[])).open(u32s().mode(Mode::New)).map(drop),
        "Io: cannot make a new file (mode \"x\"): File exists (os error 17)",
    );
}

#[test]
fn an_appender_without_an_append_leaves_no_trace() {
    for file in [None, Some(&[][..])] {
        let disk = Disk::new(file);
        let mut appender = disk.open(Options::default().durability(Durability::Power)).unwrap();
        assert_eq!(appender.commit().unwrap(), 0..0);
        appender.sync().unwrap();
        appender.truncate(0).unwrap();
        appender.close().unwrap();
        assert_eq!(disk.shared.get(NAME).as_deref(), file);
    }
}

/// Another process makes the file between our look and our link.
#[test]
fn a_lost_race_appends_to_the_winners_file() {
    for durability in [Durability::Process, Durability::Ordered, Durability::Power] {
        for buffering in [0, 1000] {
            for (theirs, rows) in [(ours(&[8, 9]), 2), (numpy(&[8, 9]), 2), (ours(&[]), 0), (Vec::new(), 0)] {
                let disk = Disk::new(None);
                let mut appender = disk.open(Options::default().durability(durability).buffering(buffering)).unwrap();
                let (shared, file) = (disk.shared.clone(), theirs.clone());
                disk.faults.before(Call::Link, move || shared.put(NAME, &file));
                appender.append(&[1_u32, 2]).unwrap();
                if buffering > 0 {
                    assert_eq!(appender.commit().unwrap(), rows..rows + 2);
                }
                assert_eq!(appender.append(&[3_u32]).unwrap(), Some(rows + 2..rows + 3));
                appender.close().unwrap();
                assert_eq!(disk.values(), [&[8, 9][..rows as usize], &[1, 2, 3]].concat());
                assert_eq!(disk.shared.names(), [NAME]);
            }
        }
    }
}

#[test]
fn a_lost_race_for_another_kind_of_file_is_refused() {
    let floats = {
        let disk = Disk::new(None);
        disk.open(Options::default()).unwrap().append(&[0.5_f32]).unwrap();
        disk.bytes()
    };
    let exists = "Io: cannot make a new file (mode \"x\"): File exists (os error 17)";
    let kind = "Mismatch: expected a file with dtype <u4, found dtype <f4";
    for (options, theirs, expected) in
        [(Options::default(), floats, kind), (Options::default().mode(Mode::New), ours(&[8]), exists)]
    {
        let disk = Disk::new(None);
        let mut appender = disk.open(options).unwrap();
        let (shared, file) = (disk.shared.clone(), theirs.clone());
        disk.faults.before(Call::Link, move || shared.put(NAME, &file));
        fails(appender.append(&[1_u32]), expected);
        fails(appender.append(&[1_u32]), expected);
        drop(appender);
        assert_eq!((disk.bytes(), disk.shared.names()), (theirs, vec![NAME.to_string()]));
    }
}

#[test]
fn a_winner_that_has_the_file_open_keeps_it() {
    let disk = Disk::new(None);
    let mut late = disk.open(Options::default()).unwrap();
    let mut winner = disk.open(Options::default()).unwrap();
    winner.append(&[8_u32]).unwrap();
    assert_eq!(late.append(&[1_u32]).unwrap_err().kind(), npygrow::ErrorKind::Locked);
    winner.close().unwrap();
    assert_eq!(late.append(&[1_u32]).unwrap(), Some(1..2));
    assert_eq!(disk.values(), [8, 1]);
}

/// Another process replaces the file between our open and our lock.
#[test]
fn a_file_that_was_replaced_before_it_was_locked_is_opened_again() {
    let disk = Disk::new(Some(&ours(&[1])));
    let shared = disk.shared.clone();
    disk.faults.before(Call::TryLock, move || shared.swap(NAME, &ours(&[5, 6])));
    let mut appender = disk.open(Options::default()).unwrap();
    assert_eq!(appender.append(&[7_u32]).unwrap(), Some(2..3));
    assert_eq!(disk.values(), [5, 6, 7]);
}

#[test]
fn a_new_file_has_the_mode_of_any_other_and_a_replaced_one_keeps_its_own() {
    let (folder, path) = on_disk();
    let plain = folder.path().join("plain");
    fs::write(&plain, "").unwrap();
    u32s().open(&path).unwrap();
    assert_eq!(mode(&path), mode(&plain));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    u32s().mode(Mode::Write).open(&path).unwrap().append(&[1_u32]).unwrap();
    assert_eq!((mode(&path), values(&path)), (0o640, vec![1]));
    fs::write(&path, "").unwrap();
    Appender::open(&path).unwrap().append(&[2_u32]).unwrap();
    assert_eq!((mode(&path), values(&path)), (0o640, vec![2]));
}

#[test]
fn symlinks_are_followed_to_a_new_file_and_stay() {
    let (folder, path) = on_disk();
    let link = folder.path().join("link.npy");
    symlink(NAME, &link).unwrap();
    for (mode, expected) in [(Mode::Append, vec![1]), (Mode::Append, vec![1, 1]), (Mode::Write, vec![1])] {
        u32s().mode(mode).open(&link).unwrap().append(&[1_u32]).unwrap();
        assert_eq!(values(&path), expected);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
    assert_eq!(names(folder.path()), ["link.npy", NAME]);
}

#[test]
fn a_temp_that_a_dead_process_left_goes_with_the_next_open() {
    let (folder, path) = on_disk();
    fs::write(&path, ours(&[1])).unwrap();
    fs::write(folder.path().join(format!(".{NAME}.npygrow")), "half").unwrap();
    Appender::open(&path).unwrap();
    assert_eq!(names(folder.path()), [NAME]);
}

#[test]
fn a_missing_folder_is_named() {
    let (folder, _) = on_disk();
    let path = folder.path().join("none").join(NAME);
    let missing = folder.path().join("none").display().to_string();
    fails(
        Appender::open(&path).map(drop),
        &format!("Io: no folder {missing}: make it first: No such file or directory (os error 2)"),
    );
}
