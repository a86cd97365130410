//! Who waits, for room or for the appender, and in which order.

use super::{ENOSPC, Gate, commits, disk, queue, start, until};
use crate::support::{fails, u32s};
use npygrow::{Background, Error, ErrorKind, Limits};
use npygrow_testkit::faulty::{Call, Fault};
use std::thread;
use std::time::Duration;

/// Rows of no bytes have room in any queue: they tell whether somebody stands in line.
fn in_line(rows: &Background) -> bool {
    rows.try_append_rows(0, &[]).unwrap().is_none()
}

#[test]
fn a_full_queue_makes_appends_wait_and_holds_no_more_than_it_may() {
    let disk = disk();
    let rows = start(&disk, u32s(), queue(16));
    let gate = Gate::at(&disk, Call::Write);
    rows.append(&[1_u32, 2, 3]).unwrap();
    gate.reached();
    assert_eq!(rows.try_append_rows(2, &[0; 8]).unwrap(), None);
    assert_eq!(rows.try_append_rows(1, &4_u32.to_le_bytes()).unwrap(), Some(5..6));
    assert_eq!(rows.try_append_rows(1, &[0; 4]).unwrap(), None);
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..8_u32)
            .map(|who| {
                scope.spawn({
                    let rows = &rows;
                    move || rows.append(&[who, who])
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(30));
        assert!(waiting.iter().all(|thread| !thread.is_finished()));
        assert_eq!((rows.len(), rows.committed()), (6, 2));
        gate.open();
        for (who, thread) in (0..).zip(waiting) {
            let numbers = thread.join().unwrap().unwrap();
            rows.commit().unwrap();
            assert_eq!(disk.values()[numbers.start as usize..numbers.end as usize], [who, who]);
        }
    });
    assert_eq!(disk.values().len(), 2 + 4 + 16);
}

#[test]
fn who_waits_for_much_room_is_not_overtaken_by_who_comes_later() {
    let disk = disk();
    let rows = start(&disk, u32s(), queue(8));
    let gate = Gate::at(&disk, Call::Write);
    rows.append(&[1_u32]).unwrap();
    gate.reached();
    thread::scope(|scope| {
        let much = scope.spawn(|| rows.append(&[3_u32, 3]));
        until(|| in_line(&rows));
        let little = scope.spawn(|| rows.append(&[4_u32]));
        thread::sleep(Duration::from_millis(20));
        gate.open();
        assert_eq!((much.join().unwrap().unwrap(), little.join().unwrap().unwrap()), (3..5, 5..6));
    });
}

#[test]
fn who_waits_for_much_room_is_not_overtaken_by_who_waits_for_little() {
    let disk = disk();
    let rows = start(&disk, u32s(), queue(8));
    let first = Gate::at(&disk, Call::Write);
    rows.append(&[1_u32]).unwrap();
    first.reached();
    rows.append(&[2_u32]).unwrap();
    thread::scope(|scope| {
        let much = scope.spawn(|| rows.append(&[3_u32, 3]));
        until(|| in_line(&rows));
        let little = scope.spawn(|| rows.append(&[4_u32]));
        thread::sleep(Duration::from_millis(20));
        let second = Gate::at(&disk, Call::Write);
        first.open();
        second.reached();
        thread::sleep(Duration::from_millis(20));
        assert_eq!(rows.len(), 4);
        second.open();
        assert_eq!((much.join().unwrap().unwrap(), little.join().unwrap().unwrap()), (4..6, 6..7));
    });
}

#[test]
fn of_those_that_wait_one_is_told_and_the_others_go_on() {
    let disk = disk();
    let rows = start(&disk, u32s(), queue(4));
    let gate = Gate::at(&disk, Call::Write);
    rows.append(&[1_u32]).unwrap();
    gate.reached();
    disk.faults.arm(Some(Call::Write), 0, Fault::Fails(ENOSPC));
    thread::scope(|scope| {
        let waiting = [2, 3, 4_u32].map(|value| {
            let rows = &rows;
            scope.spawn(move || rows.append(&[value]))
        });
        until(|| in_line(&rows));
        thread::sleep(Duration::from_millis(20));
        gate.open();
        let told = waiting.map(|thread| thread.join().unwrap().is_err());
        assert_eq!(told.into_iter().filter(|told| *told).count(), 1);
    });
    assert_eq!(rows.commit().unwrap(), 2..5);
}

#[test]
fn who_waits_for_room_goes_on_after_a_commit_that_failed() {
    let disk = disk();
    let rows = start(&disk, u32s(), queue(8));
    let first = Gate::at(&disk, Call::Write);
    rows.append(&[1_u32]).unwrap();
    first.reached();
    rows.append(&[2_u32]).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| rows.append(&[3_u32, 4]));
        until(|| in_line(&rows));
        let commit = scope.spawn(|| rows.commit());
        thread::sleep(Duration::from_millis(20));
        // Not the writer's own write, which is under way: the commit's.
        disk.faults.arm(Some(Call::Write), 1, Fault::Fails(ENOSPC));
        first.open();
        assert_eq!(commit.join().unwrap().unwrap_err().kind(), ErrorKind::Io);
        let goes_on = (0..2000).any(|_| {
            thread::sleep(Duration::from_millis(1));
            waiting.is_finished()
        });
        // Lets it end also where it would wait for ever.
        let _ = rows.commit();
        assert_eq!(waiting.join().unwrap().unwrap(), 4..6);
        assert!(goes_on);
    });
    rows.close().unwrap();
    assert_eq!(disk.values(), [7, 8, 1, 2, 3, 4]);
}

#[test]
fn while_the_file_is_cut_no_row_is_numbered() {
    let disk = disk();
    let rows = start(&disk, u32s(), Limits::default());
    let gate = Gate::at(&disk, Call::SetLen);
    thread::scope(|scope| {
        let cut = scope.spawn(|| rows.truncate(1));
        gate.reached();
        assert_eq!(rows.try_append_rows(1, &[0; 4]).unwrap(), None);
        let append = scope.spawn(|| rows.append(&[9_u32]));
        gate.open();
        cut.join().unwrap().unwrap();
        assert_eq!(append.join().unwrap().unwrap(), 1..2);
    });
    rows.close().unwrap();
    assert_eq!(disk.values(), [7, 9]);
}

#[test]
fn what_is_larger_than_the_queue_goes_in_whole_after_what_waits() {
    let disk = disk();
    let rows = start(&disk, u32s().buffering(100), queue(16));
    rows.append(&[1_u32]).unwrap();
    assert_eq!(rows.try_append_rows(5, &[0; 20]).unwrap(), None);
    let _ = disk.faults.take_calls();
    assert_eq!(rows.append(&[2_u32, 3, 4, 5, 6]).unwrap(), 3..8);
    assert_eq!((rows.committed(), commits(&disk)), (8, 2));
    disk.faults.arm(Some(Call::Write), 0, Fault::FailsTorn(ENOSPC));
    fails(
        rows.append(&[0_u32; 5]),
        "Io: a fault was put here: No space left on device (os error 28); nothing was appended, the file is as before",
    );
    assert_eq!((rows.append(&[9_u32]).unwrap(), rows.commit().unwrap()), (8..9, 2..9));
    assert_eq!(disk.values(), [7, 8, 1, 2, 3, 4, 5, 6, 9]);
}

#[test]
fn a_wait_can_be_ended() {
    let disk = disk();
    let asked = u32s().on_wait(|| Err(Error::new(ErrorKind::Io, "enough")));
    let rows = start(&disk, asked, queue(4));
    let gate = Gate::at(&disk, Call::Write);
    rows.append(&[1_u32]).unwrap();
    gate.reached();
    fails(rows.append(&[2_u32]), "Io: enough");
    fails(rows.commit(), "Io: enough");
    fails(rows.close(), "Io: enough");
    assert_eq!((rows.len(), rows.is_closed()), (3, false));
    gate.open();
    until(|| rows.committed() == 3);
    rows.append(&[3_u32]).unwrap();
    until(|| rows.committed() == 4);
    drop(rows);
    assert_eq!(disk.values(), [7, 8, 1, 3]);
}

#[test]
fn closing_refuses_who_waits_and_publishes_what_was_taken() {
    let disk = disk();
    let rows = start(&disk, u32s(), queue(4));
    let gate = Gate::at(&disk, Call::Write);
    rows.append(&[1_u32]).unwrap();
    gate.reached();
    thread::scope(|scope| {
        let waits = scope.spawn(|| rows.append(&[2_u32]));
        let closes = [(); 3].map(|()| scope.spawn(|| rows.close()));
        let told = waits.join().unwrap().unwrap_err();
        assert!(told.detail().starts_with("the appender is closed"), "{told}");
        gate.open();
        for close in closes {
            close.join().unwrap().unwrap();
        }
    });
    assert_eq!(disk.values(), [7, 8, 1]);
    disk.open(u32s()).unwrap();
}
