//! Appending without waiting. Nothing here measures time: a gate holds the disk until the test opens it.

mod full;

use crate::support::{Disk, NAME, fails, on_disk, ours, u32s, values};
use npygrow::{Appender, Background, Durability, ErrorKind, Limits, Options, Reader, Result};
use npygrow_testkit::faulty::{Call, Fault};
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

const ENOSPC: i32 = 28;

/// Holds the next call of a kind.
struct Gate {
    reached: Receiver<()>,
    open: Sender<()>,
}

impl Gate {
    fn at(disk: &Disk, call: Call) -> Self {
        let ((tell, reached), (open, opened)) = (channel(), channel());
        disk.faults.before(call, move || {
            tell.send(()).unwrap();
            // A test that failed opens it by ending.
            let _ = opened.recv();
        });
        Gate { reached, open }
    }

    /// Waits until the call is there.
    fn reached(&self) {
        self.reached.recv().unwrap();
    }

    fn open(self) {
        self.open.send(()).unwrap();
    }
}

fn until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain");
        thread::sleep(Duration::from_millis(1));
    }
}

fn start(disk: &Disk, options: Options, limits: Limits) -> Background {
    Background::start(disk.open(options).unwrap(), limits).unwrap()
}

/// On a file with the rows 7, 8.
fn disk() -> Disk {
    Disk::new(Some(&ours(&[7, 8])))
}

fn queue(bytes: usize) -> Limits {
    Limits { max_queue: Some(bytes), ..Limits::default() }
}

fn commits(disk: &Disk) -> usize {
    disk.faults.take_calls().iter().filter(|record| record.call == Call::Commit).count()
}

#[test]
fn no_append_waits_for_the_disk_and_what_waits_is_one_commit() {
    let disk = disk();
    let rows = start(&disk, u32s(), Limits::default());
    let gate = Gate::at(&disk, Call::Write);
    assert_eq!(rows.append(&[1_u32]).unwrap(), 2..3);
    gate.reached();
    let _ = disk.faults.take_calls();
    for value in 2..100_u32 {
        assert_eq!(rows.append(&[value]).unwrap(), u64::from(value) + 1..u64::from(value) + 2);
    }
    assert_eq!((rows.len(), rows.committed(), rows.shape()), (101, 2, Some(vec![101])));
    assert_eq!(disk.values(), [7, 8]);
    gate.open();
    assert_eq!(rows.commit().unwrap(), 2..101);
    assert_eq!((rows.committed(), rows.commit().unwrap(), commits(&disk)), (101, 101..101, 2));
    rows.close().unwrap();
    assert_eq!(disk.values(), [7, 8].into_iter().chain(1..100).collect::<Vec<_>>());
}

#[test]
fn rows_are_published_without_another_call() {
    let disk = disk();
    let rows = start(&disk, u32s(), Limits::default());
    rows.append(&[1_u32, 2]).unwrap();
    until(|| rows.committed() == 4);
    rows.append(&[3_u32]).unwrap();
    until(|| rows.committed() == 5);
    assert_eq!((disk.values(), rows.commit().unwrap()), (vec![7, 8, 1, 2, 3], 2..5));
}

#[test]
fn a_buffer_gathers_until_it_is_full_or_the_delay_is_over() {
    let disk = disk();
    let rows = start(&disk, u32s().buffering(12), Limits::default());
    let _ = disk.faults.take_calls();
    rows.append(&[1_u32]).unwrap();
    rows.append(&[2_u32]).unwrap();
    thread::sleep(Duration::from_millis(20));
    assert!(disk.faults.take_calls().is_empty());
    rows.append(&[3_u32]).unwrap();
    until(|| rows.committed() == 5);
    assert_eq!(commits(&disk), 1);
    rows.close().unwrap();

    let limits = Limits { max_delay: Some(Duration::from_millis(1)), ..Limits::default() };
    let rows = start(&disk, u32s().buffering(1 << 20), limits);
    for value in 4..9_u32 {
        rows.append(&[value]).unwrap();
        until(|| rows.committed() == u64::from(value) + 2);
    }
    assert_eq!(disk.values(), [7, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn threads_keep_their_order_and_get_the_numbers_of_their_rows() {
    for (max_queue, buffering) in [(1 << 20, 0), (64, 0), (300, 200)] {
        let (_folder, path) = on_disk();
        let appender = Appender::options().buffering(buffering).open(&path).unwrap();
        let rows = Background::start(appender, queue(max_queue)).unwrap();
        let work = |who: u32| -> Vec<(Range<u64>, u32)> {
            (0..300).map(|i| (rows.append(&vec![[who, i]; 1 + i as usize % 3]).unwrap(), i)).collect()
        };
        let wrote: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|who| scope.spawn(move || work(who))).collect();
            let mut committed = 0;
            while !threads.iter().all(|thread| thread.is_finished()) {
                let published = rows.commit().unwrap();
                assert_eq!(published.start, committed);
                committed = published.end;
            }
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        rows.close().unwrap();
        let reader = Reader::open(&path).unwrap();
        let found = reader.rows::<[u32; 2]>(0..reader.len()).unwrap();
        assert_eq!(found.len(), 4 * 600);
        for (who, wrote) in (0..).zip(wrote) {
            assert!(wrote.is_sorted_by_key(|(numbers, _)| numbers.start));
            for (numbers, i) in wrote {
                assert!(found[numbers.start as usize..numbers.end as usize].iter().all(|row| *row == [who, i]));
            }
        }
    }
}

/// One row is being written and one waits, in a queue of two; the write fails, and an append that waits is told.
fn failed_write(disk: &Disk, rows: &Background) -> Result<Range<u64>> {
    let gate = Gate::at(disk, Call::Write);
    rows.append(&[1_u32]).unwrap();
    gate.reached();
    rows.append(&[2_u32]).unwrap();
    disk.faults.arm(Some(Call::Write), 0, Fault::FailsTorn(ENOSPC));
    thread::scope(|scope| {
        let third = scope.spawn(|| rows.append(&[3_u32]));
        gate.open();
        third.join().unwrap()
    })
}

const FULL: &str =
    "Io: a fault was put here: No space left on device (os error 28); nothing was appended, the file is as before; ";

#[test]
fn a_full_disk_is_told_and_the_rows_are_kept() {
    let disk = disk();
    let rows = start(&disk, u32s(), queue(8));
    fails(failed_write(&disk, &rows), &format!("{FULL}rows 2..4 are held in memory: call commit() to try again"));
    assert_eq!((rows.len(), rows.committed(), disk.values()), (4, 2, vec![7, 8]));
    disk.faults.arm(Some(Call::Write), 0, Fault::Fails(ENOSPC));
    fails(rows.commit(), &format!("{FULL}rows 2..4 are held in memory: call commit() to try again"));
    assert_eq!(rows.commit().unwrap(), 2..4);
    assert_eq!(rows.append(&[5_u32]).unwrap(), 4..5);
    rows.close().unwrap();
    assert_eq!(disk.values(), [7, 8, 1, 2, 5]);
}

#[test]
fn the_next_append_tries_what_is_kept_again() {
    let disk = disk();
    let rows = start(&disk, u32s(), queue(8));
    failed_write(&disk, &rows).unwrap_err();
    // There is no room for it before the others are written.
    assert_eq!(rows.append(&[3_u32]).unwrap(), 4..5);
    until(|| rows.committed() == 5);
    assert_eq!(disk.values(), [7, 8, 1, 2, 3]);
}

#[test]
fn an_error_says_what_was_written_since_the_last_commit() {
    let disk = disk();
    let rows = start(&disk, u32s().buffering(100), Limits::default());
    rows.append(&[1_u32, 2]).unwrap();
    rows.sync().unwrap();
    rows.append(&[3_u32]).unwrap();
    disk.faults.arm(Some(Call::Commit), 0, Fault::Fails(ENOSPC));
    let facts = "rows 2..4 are written, rows 4..5 are held in memory: call commit() to try again";
    fails(rows.sync(), &format!("{FULL}{facts}"));
    disk.faults.arm(Some(Call::Write), 0, Fault::Fails(ENOSPC));
    fails(rows.close(), &format!("{FULL}rows 2..4 are written, rows 4..5 are lost"));
    assert_eq!((rows.is_closed(), rows.len(), disk.values()), (true, 4, vec![7, 8, 1, 2]));
    rows.close().unwrap();
    fails(rows.append(&[4_u32]), "Latched: the appender is closed: open the file again");
    fails(rows.commit(), "Latched: the appender is closed: open the file again");
    disk.open(u32s()).unwrap().append(&[9_u32]).unwrap();
}

#[test]
fn a_failed_sync_latches() {
    let disk = disk();
    let rows = start(&disk, u32s().durability(Durability::Ordered), queue(8));
    let gate = Gate::at(&disk, Call::Write);
    rows.append(&[1_u32]).unwrap();
    gate.reached();
    rows.append(&[2_u32]).unwrap();
    disk.faults.arm(Some(Call::Sync), 0, Fault::Fails(5));
    gate.open();
    let failure = "a fault was put here: Input/output error (os error 5); what is durable is unknown";
    let facts = "rows 2..4 are not, or in doubt";
    fails(rows.append(&[3_u32]), &format!("Io: {failure}; open the file again; {facts}"));
    let refused = format!("Latched: refused after an earlier failure ({failure}): open the file again; {facts}");
    fails(rows.append(&[3_u32]), &refused);
    fails(rows.commit(), &refused);
    fails(rows.truncate(0), &refused);
    fails(rows.close(), &refused);
    assert!(disk.faults.take_calls().iter().filter(|record| record.call == Call::Sync).count() == 1);
    assert_eq!(disk.values(), [7, 8]);
}

#[test]
fn a_panic_of_the_writer_is_told() {
    let disk = disk();
    let rows = start(&disk, u32s(), queue(4));
    disk.faults.before(Call::Write, || panic!("of a test"));
    rows.append(&[1_u32]).unwrap();
    let told = "Latched: an earlier append panicked: open the file again; rows 2..3 are not, or in doubt";
    fails(rows.append(&[2_u32]), told);
    fails(rows.try_append_rows(1, &[0; 4]), told);
    fails(rows.commit(), told);
    fails(rows.close(), told);
    rows.close().unwrap();
    assert_eq!(disk.values(), [7, 8]);
    disk.open(u32s()).unwrap().append(&[9_u32]).unwrap();
}

#[test]
fn what_does_not_fit_is_refused_at_once() {
    let disk = disk();
    let rows = start(&disk, u32s(), Limits::default());
    let gate = Gate::at(&disk, Call::Write);
    rows.append(&[1_u32]).unwrap();
    gate.reached();
    fails(rows.append(&[1.0_f32]), "Mismatch: expected values of dtype <u4, found <f4 (f32): convert them first");
    fails(rows.append_bytes(&[0; 6]), "Mismatch: expected whole rows of shape (), 4 bytes each, found 6 bytes");
    fails(rows.append_rows(2, &[0; 4]), "Mismatch: expected the bytes of 2 rows, found another number of bytes");
    gate.open();
    fails(rows.truncate(9), "Mismatch: cannot truncate to 9 rows: the file has 3");
    assert_eq!(rows.append(&[2_u32]).unwrap(), 3..4);
    assert_eq!(rows.commit().unwrap(), 2..4);
}

/// The rows that wait count too.
#[test]
fn more_rows_than_can_be_counted_are_refused_at_once() {
    let disk = Disk::new(None);
    let options = Appender::options().dtype("<u4".parse().unwrap()).row_shape([0]);
    let rows = start(&disk, options.buffering(100), Limits::default());
    assert_eq!(rows.append_rows(9_999_999_999_999_998, &[]).unwrap(), 0..9_999_999_999_999_998);
    assert_eq!(rows.append_rows(1, &[]).unwrap().end, 9_999_999_999_999_999);
    fails(
        rows.append_rows(1, &[]),
        "OverLimit: 9999999999999999 rows and 1 more: a file counts at most 9999999999999999 rows",
    );
    assert_eq!(rows.commit().unwrap(), 0..9_999_999_999_999_999);
}

#[test]
fn a_new_file_is_made_by_the_writer() {
    let disk = Disk::new(None);
    let rows = start(&disk, Appender::options(), Limits::default());
    assert_eq!((rows.dtype(), rows.shape(), rows.is_empty()), (None, None, true));
    fails(
        rows.append_rows(1, &[0; 4]),
        "Mismatch: a new file needs a dtype and a row shape: give them as options, or append typed values",
    );
    let gate = Gate::at(&disk, Call::CreateTemp);
    assert_eq!(rows.append(&[[1_u32, 2]]).unwrap(), 0..1);
    gate.reached();
    assert_eq!((rows.row_shape(), rows.row_size(), rows.len()), (Some(&[2][..]), Some(8), 1));
    disk.faults.arm(Some(Call::CreateTemp), 0, Fault::Fails(ENOSPC));
    gate.open();
    // Whoever meets the failure, it is the first try's, and what the file is to be is known to the second.
    let first = rows.commit();
    let again = if first.is_ok() { first } else { rows.commit() };
    assert_eq!(again.unwrap(), 0..1);
    rows.close().unwrap();
    let reader = Reader::on(disk.folder().open(NAME.as_ref(), false).unwrap().unwrap(), 10_000).unwrap();
    assert_eq!(reader.rows::<[u32; 2]>(0..1).unwrap(), [[1, 2]]);
}

/// Then the numbers that append gave are wrong, and those of commit are right.
#[test]
fn of_a_file_that_another_makes_meanwhile_commit_knows_the_numbers() {
    let disk = Disk::new(None);
    let rows = start(&disk, Appender::options().buffering(100), Limits::default());
    assert_eq!(rows.append(&[1_u32]).unwrap(), 0..1);
    let shared = disk.shared.clone();
    disk.faults.before(Call::Link, move || shared.put(NAME, &ours(&[7, 8, 9])));
    assert_eq!(rows.commit().unwrap(), 3..4);
    assert_eq!((rows.append(&[2_u32]).unwrap(), rows.commit().unwrap()), (4..5, 4..5));
    assert_eq!(disk.values(), [7, 8, 9, 1, 2]);
}

#[test]
fn cutting_and_the_appender_itself_come_after_what_waits() {
    let disk = disk();
    let rows = start(&disk, u32s().buffering(100), Limits::default());
    rows.append(&[1_u32, 2, 3]).unwrap();
    rows.truncate(4).unwrap();
    assert_eq!((rows.append(&[5_u32]).unwrap(), disk.values()), (4..5, vec![7, 8, 1, 2]));
    assert_eq!(rows.with_appender(|appender| appender.append(&[6_u32])).unwrap(), Some(5..6));
    assert_eq!((rows.len(), rows.commit().unwrap()), (6, 2..6));
    rows.truncate(1).unwrap();
    assert_eq!((rows.commit().unwrap(), disk.values()), (1..1, vec![7]));
}

#[test]
fn a_sync_holds_up_no_append() {
    let disk = disk();
    let rows = start(&disk, u32s(), Limits::default());
    let gate = Gate::at(&disk, Call::Sync);
    thread::scope(|scope| {
        let sync = scope.spawn(|| rows.sync());
        gate.reached();
        assert_eq!(rows.append(&[1_u32]).unwrap(), 2..3);
        gate.open();
        sync.join().unwrap().unwrap();
    });
    assert_eq!(rows.commit().unwrap(), 2..3);
}

#[test]
fn dropping_publishes_and_what_was_buffered_before_goes_first() {
    let (_folder, path) = on_disk();
    let mut appender = Appender::options().buffering(100).open(&path).unwrap();
    appender.append(&[1_u32]).unwrap();
    let rows = Background::start(appender, Limits::default()).unwrap();
    assert_eq!((rows.len(), values(&path)), (1, vec![1]));
    rows.append(&[2_u32]).unwrap();
    drop(rows);
    assert_eq!(values(&path), [1, 2]);
}

#[test]
fn turns_are_refused() {
    let (_folder, path) = on_disk();
    let appender = Appender::options().turns(true).open(&path).unwrap();
    fails(
        Background::start(appender, Limits::default()).map(drop),
        "Mismatch: no turns in the background: the numbers that append gives hold for the one appender of a file; \
         gather with `buffering`",
    );
}

#[test]
fn a_file_changed_by_another_program_is_left_alone() {
    let disk = disk();
    let rows = start(&disk, u32s().buffering(100), Limits::default());
    rows.append(&[1_u32]).unwrap();
    let other = ours(&[5; 9]);
    disk.shared.put(NAME, &other);
    let error = rows.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Latched, "{error}");
    rows.close().unwrap_err();
    assert_eq!(disk.bytes(), other);
}
