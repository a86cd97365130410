//! Moving rows within their file: whatever stops it, the file is the old one, the new one, or refused until it is finished.

use crate::power::{Disk, Stop};
use crate::support::{NAME, fails, foreign, no_room, on_disk};
use npygrow::storage::Folder;
use npygrow::{Appender, ErrorKind, MAX_HEADER_SIZE, Reader, RecoverOptions, Result, Room, View};
use npygrow_testkit::faulty::{Call, Fault, Faults, FaultyFolder};
use std::fs;
use std::sync::Arc;

const JOURNAL: &str = ".rows.npy.npygrow-move";

fn ensure(disk: &Disk, room: Room) -> Result<bool> {
    npygrow::ensure_appendable_in(disk.folder(), NAME.as_ref(), room, MAX_HEADER_SIZE)
}

/// What users can do about a file that is half moved.
fn finish(disk: &Disk, way: usize) -> Result<()> {
    match way % 4 {
        0 => Appender::options().open_in(disk.folder(), NAME.as_ref()).map(drop),
        1 => npygrow::recover_in(disk.folder(), NAME.as_ref(), RecoverOptions::default()).map(drop),
        2 => ensure(disk, Room::Compact).map(drop),
        _ => ensure(disk, Room::InPlace).map(drop),
    }
}

/// A file without room, the one that a copy makes of it, and the space beside it.
struct Case {
    old: Vec<u8>,
    new: Vec<u8>,
    data: usize,
    free: usize,
}

impl Case {
    fn new(count: u32, free: usize, file: impl FnOnce(&[u32]) -> Vec<u8>) -> Self {
        let old = file(&Vec::from_iter(0..count));
        let copied = Disk::new(&old, old.len() + 4096);
        ensure(&copied, Room::Compact).unwrap();
        Case { new: copied.bytes(NAME), data: 4 * count as usize, old, free }
    }

    fn disk(&self) -> Disk {
        Disk::new(&self.old, self.free)
    }
}

/// So much space is free that blocks must be shorter than the data.
fn three_blocks() -> Case {
    Case::new(10_000, 36_000, no_room)
}

/// No rows, less than rows move, one block, three, and headers that take more than a sector.
fn cases() -> [Case; 5] {
    let text = format!("{{'descr':[('{:x<600}','<u4')],'fortran_order':False,'shape':(700,)}}", "");
    let long = |values: &[u32]| foreign(&text, 11 + text.len(), values);
    let [none, few, one] = [0, 5, 4_000].map(|count| Case::new(count, 100_000, no_room));
    [none, few, one, three_blocks(), Case::new(700, 100_000, long)]
}

/// What a reader sees.
fn rows(disk: &Disk) -> Result<Vec<u8>> {
    let storage = disk.open(NAME.as_ref(), false)?.expect("the file is there");
    let reader = Reader::on(storage, MAX_HEADER_SIZE)?;
    let mut rows = vec![0; 4 * reader.len() as usize];
    reader.read_into(0..reader.len(), &mut rows).map(|()| rows)
}

/// Readers see the right rows or say what to do; and then it can be done.
#[track_caller]
fn mended(disk: &Disk, case: &Case, way: usize, when: &str) {
    match rows(disk) {
        Ok(rows) => assert!(rows.len() == case.data && case.new.ends_with(&rows), "{when}: wrong rows"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NeedsRecovery, "{when}: {error}"),
    }
    match finish(disk, way) {
        Ok(()) => {}
        // Stopped before the magic was broken: the old file, for which an appender asks for room, and a copy for space.
        Err(error) if disk.bytes(NAME) == case.old => {
            let expected = if way.is_multiple_of(4) { ErrorKind::NotAppendable } else { ErrorKind::Io };
            assert!(error.kind() == expected && way % 4 != 3, "{when}: {error}");
        }
        Err(error) => panic!("{when}: {error}"),
    }
    let found = disk.bytes(NAME);
    assert!(found == case.new || way % 4 != 3 && found == case.old, "{when}: neither the old file nor the new one");
    assert_eq!(disk.names(), [NAME], "{when}");
}

#[test]
fn a_move_in_place_gives_the_file_that_a_copy_gives() {
    for case in cases() {
        let disk = case.disk();
        assert!(ensure(&disk, Room::InPlace).unwrap());
        assert!(!ensure(&disk, Room::InPlace).unwrap());
        assert!(disk.bytes(NAME) == case.new && disk.names() == [NAME]);
    }
}

/// Stopped at every call, in every way, and once more while that is mended.
#[test]
fn a_move_in_place_survives_kills_power_cuts_and_failed_syncs() {
    let mut stops = 0;
    for (at, case) in cases().iter().enumerate() {
        for first in [Stop::Before, Stop::Within, Stop::After, Stop::SyncFails] {
            for (turn, power) in [None, Some(0), Some(2), Some(4)].into_iter().enumerate() {
                for call in 1.. {
                    let disk = case.disk();
                    disk.world().random = call as u64;
                    disk.stop_at(call, first);
                    let done = ensure(&disk, Room::InPlace);
                    if !disk.again(power) {
                        break;
                    }
                    let when = format!("case {at}, {first:?} call {call}, power cut {power:?}");
                    assert!(done.is_err() || first == Stop::SyncFails, "{when}: returned");
                    for second in [1, 4, 8, 14, 22] {
                        let (disk, second) = (disk.copy(), second + call % 4);
                        let when = format!("{when}, then power cut at call {second}");
                        disk.stop_at(second, [Stop::Within, Stop::After, Stop::SyncFails][(call + turn) % 3]);
                        let _ = finish(&disk, call + turn);
                        disk.again(Some(second as u64 % 5));
                        mended(&disk, case, call + turn + second, &when);
                    }
                    mended(&disk, case, call + turn, &when);
                    stops += 1;
                }
            }
        }
    }
    assert!(stops > 1_000, "only {stops} stops");
}

#[test]
fn a_call_that_fails_leaves_a_file_to_be_finished() {
    for case in cases() {
        for fault in [Fault::Fails(5), Fault::FailsLate(5), Fault::FailsTorn(28), Fault::Short] {
            for skip in 0.. {
                let (disk, faults) = (case.disk(), Faults::default());
                let folder = Arc::new(FaultyFolder::new(disk.folder(), faults.clone()));
                faults.arm(None, skip, fault);
                let done = npygrow::ensure_appendable_in(folder, NAME.as_ref(), Room::InPlace, MAX_HEADER_SIZE);
                let Some(hit) = faults.hit() else { break };
                let when = format!("{hit:?} (call {skip}) {fault:?}: {done:?}");
                let told = done.as_ref().is_err_and(|error| error.raw_os_error().is_some() && error.path().is_some());
                assert!(told || disk.bytes(NAME) == case.new, "{when}");
                assert!(fault != Fault::Short || done.is_ok(), "{when}");
                let calls = faults.take_calls();
                let sync =
                    calls.iter().position(|call| call.failed && matches!(call.call, Call::Sync | Call::CommitDurably));
                let mut later = sync.map_or(&[][..], |sync| &calls[sync + 1..]).iter();
                assert!(
                    later.all(|call| call.handle != calls[sync.unwrap()].handle || !call.changes()),
                    "{when}, goes on"
                );
                mended(&disk, &case, 3, &when);
            }
        }
    }
}

/// A disk on which a process was killed after it moved the first of three blocks.
fn half_moved() -> Disk {
    let disk = three_blocks().disk();
    disk.stop_at(24, Stop::After);
    ensure(&disk, Room::InPlace).unwrap_err();
    disk.again(None);
    disk
}

const HALF_MOVED: &str = "Malformed: its rows are half moved, and the journal .rows.npy.npygrow-move";

#[test]
fn a_journal_that_is_not_the_files_own_moves_nothing() {
    let half = half_moved();
    let (file, journal) = (half.bytes(NAME), half.bytes(JOURNAL));
    assert!(file.starts_with(b"\x93NPYGROW") && file.len() == 40_128);

    let missing = half.copy();
    missing.remove(JOURNAL.as_ref()).unwrap();
    let text = "is missing: put it back under this name, or the file under its old one; without it nothing tells which rows \
                have moved";
    let damaged = half.copy();
    damaged.put(JOURNAL, &vec![7; journal.len()]);
    let others = half.copy();
    others.put(NAME, &file);
    let number = others.world().inodes.len() - 1;
    let other = format!("is another file's: expected that of file number {number}, found that of 0");
    for (disk, text) in [(missing, text), (damaged, "is damaged or of a newer version"), (others, &other)] {
        for way in 0..4 {
            fails(finish(&disk, way), &format!("{HALF_MOVED} {text}"));
            assert!(disk.bytes(NAME) == file);
        }
    }

    let longer = half.copy();
    longer.world().inodes[0].bytes.extend(b"more");
    fails(
        finish(&longer, 1),
        "Malformed: expected 40128 bytes, as the journal .rows.npy.npygrow-move says, found 40132; its rows are half moved: \
         once that is mended, open it with Appender, or call recover(path), to finish",
    );
    let huge = half.copy();
    huge.put(JOURNAL, &vec![0; 9 << 20]);
    fails(finish(&huge, 1), "OverLimit: the journal .rows.npy.npygrow-move is longer than max_header_size allows");
    mended(&half, &three_blocks(), 0, "with its own journal");
}

#[test]
fn a_journal_of_another_file_is_left_alone() {
    let half = half_moved();
    let journal = half.bytes(JOURNAL);
    for old in [no_room(&[1, 2]), Vec::new()] {
        half.put(NAME, &old);
        let _ = finish(&half, 0);
        assert!(half.bytes(NAME) == old && half.bytes(JOURNAL) == journal);
    }
    half.put(NAME, &no_room(&[1, 2]));
    fails(
        ensure(&half, Room::InPlace),
        "Io: the journal of another file's move is in the way: remove .rows.npy.npygrow-move; no journal could be made beside \
         the file, which is as it was",
    );
    assert!(ensure(&half, Room::Compact).unwrap());
}

#[test]
fn a_file_written_anew_over_a_half_moved_one_stays_as_it_is() {
    let anew = no_room(&[7; 10_000]);
    for len in [anew.len(), anew.len() - 8] {
        let half = half_moved();
        half.world().inodes[0].bytes = anew[..len].to_vec();
        let _ = finish(&half, 0);
        assert!(half.bytes(NAME) == anew[..len] && half.names() == [NAME]);
    }
}

/// A name that version 1 can only spell with an escape, in a header longer than the new one.
#[test]
fn a_longer_header_is_replaced_where_it_stands() {
    let text = "{'descr': [('\\u6e29', '<u4')], 'fortran_order': False, 'shape': (3,)}";
    let old = foreign(text, 4096, &[1, 2, 3]);
    let disk = Disk::new(&old, 1 << 20);
    assert!(ensure(&disk, Room::InPlace).unwrap());
    let new = disk.bytes(NAME);
    assert_eq!((&new[..8], &new[4096..]), (&b"\x93NUMPY\x03\0"[..], &old[4096..]));
    assert!(!ensure(&disk, Room::InPlace).unwrap());
}

#[test]
fn every_reader_refuses_a_half_moved_file() {
    let (_folder, path) = on_disk();
    fs::write(&path, half_moved().bytes(NAME)).unwrap();
    let text = "NeedsRecovery: a move of its rows in place is under way or was interrupted: open it with Appender, or call \
                recover(path), to finish it";
    fails(npygrow::inspect(&path, MAX_HEADER_SIZE), text);
    fails(Reader::open(&path).map(drop), text);
    fails(View::open(&path, MAX_HEADER_SIZE).map(drop), text);
    assert!(npygrow::needs_recovery(&path, MAX_HEADER_SIZE).unwrap());
    assert!(!npygrow::is_appendable(&path, MAX_HEADER_SIZE).unwrap());
}
