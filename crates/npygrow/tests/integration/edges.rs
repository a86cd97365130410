//! Where two things meet: a file changed by others at a bad moment, a batch that goes on after its failure, numbers at
//! their ends.

use crate::support::{Disk, NAME, fails, names, no_room, numpy, on_disk, ours, u32s, values};
use npygrow::storage::{Folder, Memory, Storage};
use npygrow::{
    Appender, ErrorKind, MAX_HEADER_SIZE, Mode, Options, Order, Reader, Room, ensure_appendable, is_appendable, save,
};
use npygrow_testkit::faulty::{Call, Fault};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[test]
fn a_batch_that_failed_counts_nothing() {
    for file in [None, Some(ours(&[1]))] {
        let disk = Disk::new(file.as_deref());
        let mut appender = disk.open(Options::default()).unwrap();
        appender.define(&"<u4".parse().unwrap(), &[]).unwrap();
        let mut batch = appender.begin(1).unwrap();
        disk.faults.arm(Some(Call::Write), 0, Fault::Fails(28));
        batch.write(&[2, 0, 0, 0]).unwrap_err();
        fails(batch.commit(), "Mismatch: this append failed before: begin a new one");
        assert_eq!(disk.shared.get(NAME), file);
    }
}

/// A full btrfs cuts nothing off.
#[test]
fn what_cannot_be_cut_off_is_cut_by_the_next_call() {
    let disk = Disk::new(Some(&ours(&[1])));
    let mut rows = disk.open(u32s()).unwrap();
    let leave_bytes = |rows: &mut Appender| {
        disk.faults.arm(Some(Call::SetLen), 0, Fault::Fails(28));
        rows.begin(2).unwrap().write(&[9; 8]).unwrap();
        assert_eq!(disk.faults.hit(), Some(Call::SetLen));
    };
    leave_bytes(&mut rows);
    assert_eq!(disk.bytes(), [ours(&[1]), vec![9; 8]].concat());
    disk.faults.arm(Some(Call::SetLen), 0, Fault::Fails(28));
    let error = rows.append(&[2_u32]).unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Io, Some(28)));
    rows.append(&[3_u32]).unwrap();
    assert_eq!(disk.bytes(), ours(&[1, 3]));
    drop(rows);
    // It was told: closing tries again, and says nothing.
    for (again, left) in [(true, 8), (false, 0)] {
        let mut rows = disk.open(u32s()).unwrap();
        leave_bytes(&mut rows);
        if again {
            disk.faults.arm(Some(Call::SetLen), 0, Fault::Fails(28));
        }
        rows.close().unwrap();
        assert_eq!(disk.bytes(), [ours(&[1, 3]), vec![9; left]].concat());
    }
    let mut rows = disk.open(u32s()).unwrap();
    // What another program wrote since is not cut.
    leave_bytes(&mut rows);
    let theirs = [disk.bytes(), vec![7; 4]].concat();
    let mut file = disk.shared.open(NAME.as_ref(), true).unwrap().unwrap();
    file.write_all_at(theirs.len() as u64 - 4, &[7; 4]).unwrap();
    assert_eq!(rows.append(&[4_u32]).unwrap_err().kind(), ErrorKind::Latched);
    assert_eq!(disk.bytes(), theirs);
}

#[test]
fn a_small_buffer_is_not_published_into_a_file_that_others_changed() {
    for publish in [|mut a: Appender| a.commit().map(drop), |mut a: Appender| a.sync(), Appender::close] {
        let (_folder, path) = on_disk();
        let mut appender = u32s().buffering(1000).open(&path).unwrap();
        appender.append(&[1_u32, 2]).unwrap();
        let theirs = ours(&[7, 8, 9]);
        fs::write(&path, &theirs).unwrap();
        let text = publish(appender).unwrap_err().to_string();
        assert!(text.contains("another program changed the file under this appender"), "{text}");
        assert_eq!(fs::read(&path).unwrap(), theirs);
    }
}

#[test]
fn rows_past_the_highest_count_are_refused_before_they_wait() {
    let (_folder, path) = on_disk();
    let options = Options::default().dtype("|S0".parse().unwrap()).row_shape([]).buffering(10);
    options.clone().open(&path).unwrap();
    let mut appender = options.mode(Mode::Write).open(&path).unwrap();
    fails(
        appender.append_rows(u64::MAX, &[]),
        "OverLimit: 18446744073709551615 rows: a file counts at most 9999999999999999 rows",
    );
    appender.append_rows(9_999_999_999_999_999, &[]).unwrap();
    fails(
        appender.append_rows(1, &[]),
        "OverLimit: 10000000000000000 rows: a file counts at most 9999999999999999 rows",
    );
    assert_eq!(appender.len(), 9_999_999_999_999_999);
    appender.close().unwrap();
}

/// The rows of the two orders differ in their bytes.
#[test]
fn rows_meant_in_c_order_never_go_into_a_fortran_file_made_meanwhile() {
    for turns in [false, true] {
        for buffering in [0, 1000] {
            let (_folder, path) = on_disk();
            let mut appender = Options::default().turns(turns).buffering(buffering).open(&path).unwrap();
            appender.define(&"<u4".parse().unwrap(), &[2, 3]).unwrap();
            let row = [[[1_u32, 2, 3], [4, 5, 6]]];
            if buffering > 0 {
                appender.append(&row).unwrap();
            }
            u32s().row_shape([2, 3]).order(Order::F).open(&path).unwrap().close().unwrap();
            let done = if buffering > 0 { appender.commit().map(drop) } else { appender.append(&row).map(drop) };
            fails(done, "Mismatch: expected a file with C order, found F order");
            assert_eq!(Reader::open(&path).unwrap().len(), 0);
        }
    }
    // And without `define`: the first append settles it.
    let (_folder, path) = on_disk();
    let mut appender = Appender::open(&path).unwrap();
    u32s().row_shape([2, 3]).order(Order::F).open(&path).unwrap().close().unwrap();
    fails(appender.append(&[[[1_u32, 2, 3], [4, 5, 6]]]), "Mismatch: expected a file with C order, found F order");
}

#[test]
fn an_empty_file_that_others_filled_is_gone_on_with() {
    let (folder, path) = on_disk();
    for in_place in [true, false] {
        fs::write(&path, b"").unwrap();
        let mut appender = Appender::open(&path).unwrap();
        let made = folder.path().join("made");
        fs::write(if in_place { &path } else { &made }, ours(&[7, 8])).unwrap();
        if !in_place {
            fs::rename(&made, &path).unwrap();
        }
        assert_eq!(appender.append(&[9_u32]).unwrap(), Some(2..3));
        appender.close().unwrap();
        assert_eq!((values(&path), names(folder.path())), (vec![7, 8, 9], vec![NAME.to_string()]));
    }
    fs::write(&path, b"").unwrap();
    let mut appender = Appender::open(&path).unwrap();
    fs::write(&path, b"theirs").unwrap();
    appender.append(&[9_u32]).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
}

#[test]
fn takers_of_turns_see_that_room_was_made() {
    let (_folder, path) = on_disk();
    // A field of eight columns, full but for one row.
    let mut narrow = no_room(&[]);
    narrow.truncate(10);
    let text = "{'descr': [('abc', '|S0')], 'fortran_order': False, 'shape': (99999998,), }";
    narrow.extend(text.as_bytes());
    narrow.resize(92, b' ');
    narrow.push(b'\n');
    narrow[8..10].copy_from_slice(&83_u16.to_le_bytes());
    fs::write(&path, narrow).unwrap();
    let mut appender = Options::default().turns(true).open(&path).unwrap();
    appender.append_rows(1, &[]).unwrap();
    let error = appender.append_rows(1, &[]).unwrap_err();
    assert!(error.to_string().ends_with("call ensure_appendable(path)"), "{error}");
    assert!(ensure_appendable(&path, Room::Auto, MAX_HEADER_SIZE).unwrap());
    assert_eq!(appender.append_rows(1, &[]).unwrap(), Some(99_999_999..100_000_000));
}

/// A storage that a second handle has locked.
struct Held(Memory);

impl Storage for Held {
    fn len(&self) -> npygrow::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> npygrow::Result<usize> {
        self.0.read_at(offset, buf)
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> npygrow::Result<usize> {
        self.0.write_at(offset, bytes)
    }
    fn commit_at(&mut self, offset: u64, bytes: &[u8], durable: bool) -> npygrow::Result<()> {
        self.0.commit_at(offset, bytes, durable)
    }
    fn set_len(&mut self, len: u64) -> npygrow::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&mut self) -> npygrow::Result<()> {
        self.0.sync()
    }
    fn try_lock(&mut self) -> npygrow::Result<bool> {
        Ok(false)
    }
}

#[test]
fn a_callers_own_storage_is_locked_and_looked_at_before_it_is_changed() {
    let error = |result: npygrow::Result<Appender>| result.map(drop).unwrap_err().to_string();
    let held = u32s().on(Box::new(Held(Memory::new())));
    assert!(error(held).starts_with("locked by another appender"));
    for options in [u32s().turns(true), u32s().mode(Mode::Write), u32s().mode(Mode::New)] {
        let text = "a caller's own storage is continued, by one appender: expected neither turns nor a mode";
        assert_eq!(error(options.on(Box::new(Memory::new()))), text);
    }
    // With a tail, which opening cuts: not for options that do not fit.
    let disk = Disk::new(Some(&[ours(&[1]), vec![0; 3]].concat()));
    let before = disk.bytes();
    let storage = disk.folder().open(NAME.as_ref(), true).unwrap().unwrap();
    assert!(error(Options::default().dtype("<f8".parse().unwrap()).on(storage)).contains("expected a file with dtype"));
    assert_eq!(disk.bytes(), before);
    // The storage gives its lock back with the appender.
    let storage = disk.folder().open(NAME.as_ref(), true).unwrap().unwrap();
    let first = u32s().on(storage).unwrap();
    let storage = disk.folder().open(NAME.as_ref(), true).unwrap().unwrap();
    assert!(error(u32s().on(storage)).contains("locked by another appender"));
    drop(first);
    u32s().on(disk.folder().open(NAME.as_ref(), true).unwrap().unwrap()).unwrap();
}

#[test]
fn a_saved_file_is_whole_or_not_there() {
    let (_folder, path) = on_disk();
    let saved = AtomicBool::new(false);
    thread::scope(|scope| {
        let seen = scope.spawn(|| {
            let mut seen = Vec::new();
            while !saved.load(Ordering::Relaxed) {
                seen.extend(Reader::open(&path).map(|reader| reader.len()));
            }
            seen
        });
        for _ in 0..20 {
            save(&path, &[1_u32, 2, 3]).unwrap();
            fs::remove_file(&path).unwrap();
        }
        saved.store(true, Ordering::Relaxed);
        assert!(seen.join().unwrap().iter().all(|&rows| rows == 3));
    });
    save(&path, &[[0_u8; 0]; 2]).unwrap();
    assert_eq!(Reader::open(&path).unwrap().shape(), [2, 0]);
}

#[test]
fn appendable_is_what_opens() {
    let (_folder, path) = on_disk();
    let tail = |file: Vec<u8>| [file, vec![0; 5]].concat();
    let whole = ours(&[1]);
    let cut = whole[..whole.len() - 1].to_vec();
    let sequence = [whole.clone(), whole.clone()].concat();
    for (file, expected) in [
        (whole.clone(), true),
        (tail(whole), true),
        (numpy(&[1]), true),
        (tail(numpy(&[1])), false),
        (no_room(&[1]), false),
        (cut, false),
        (sequence, false),
    ] {
        fs::write(&path, file).unwrap();
        assert_eq!(is_appendable(&path, MAX_HEADER_SIZE).unwrap(), expected);
        assert_eq!(Appender::open(&path).is_ok(), expected);
    }
}
