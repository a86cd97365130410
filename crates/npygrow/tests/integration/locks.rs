//! One appender at a time, and what becomes of it when someone does not ask for the lock.

use crate::support::{Disk, NAME, fails, numpy, on_disk, ours, values};
use npygrow::{Error, ErrorKind, MAX_HEADER_SIZE, Mode, Options, RecoverOptions, Room};
use std::fs;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn by_this_process(locked: &str) -> String {
    format!(
        "Locked: {locked} by another appender of this very process ({}): close it first, or open both with `turns`",
        process::id()
    )
}

#[test]
fn a_second_appender_is_refused_whatever_it_wants() {
    let (_folder, path) = on_disk();
    let mut first = Options::default().open(&path).unwrap();
    first.append(&[1_u32]).unwrap();
    for mode in [Mode::Append, Mode::Write] {
        fails(Options::default().mode(mode).open(&path).map(drop), &by_this_process("locked"));
    }
    fails(Options::default().turns(true).open(&path).map(drop), &by_this_process("locked"));
    fails(npygrow::recover(&path, RecoverOptions::default()), &by_this_process("locked"));
    fails(npygrow::ensure_appendable(&path, Room::Auto, MAX_HEADER_SIZE), &by_this_process("locked"));
    fails(npygrow::save(&path, &[1_u32]), &by_this_process("locked"));
    assert_eq!(values(&path), [1], "reading takes no lock");
    assert_eq!(npygrow::inspect(&path, MAX_HEADER_SIZE).unwrap().rows, 1);
    first.append(&[2_u32]).unwrap();
    first.close().unwrap();
    let mut next = Options::default().open(&path).unwrap();
    next.append(&[3_u32]).unwrap();
    drop(next);
    Options::default().open(&path).unwrap();
    assert_eq!(values(&path), [1, 2, 3]);
}

#[test]
fn the_wait_ends_in_time_or_with_the_lock() {
    let (_folder, path) = on_disk();
    let mut first = Options::default().open(&path).unwrap();
    first.append(&[1_u32]).unwrap();
    let start = Instant::now();
    let timeout = Duration::from_millis(50);
    fails(
        Options::default().lock_timeout(timeout).open(&path).map(drop),
        &by_this_process("still locked after 0.05 s"),
    );
    assert!(start.elapsed() >= timeout);

    let other = thread::spawn({
        let path = path.clone();
        move || Options::default().lock_timeout(Duration::from_secs(60)).open(path).map(|next| next.len())
    });
    thread::sleep(Duration::from_millis(20));
    first.append(&[2_u32]).unwrap();
    first.close().unwrap();
    assert_eq!(other.join().unwrap().unwrap(), 2, "it sees what was appended meanwhile");
}

#[test]
fn a_poll_ends_the_wait() {
    let (_folder, path) = on_disk();
    let mut first = Options::default().open(&path).unwrap();
    first.append(&[1_u32]).unwrap();
    let polls = Arc::new(AtomicU32::new(0));
    let count = polls.clone();
    let options = Options::default().lock_timeout(Duration::from_secs(60)).on_wait(move || {
        if count.fetch_add(1, Ordering::Relaxed) < 2 { Ok(()) } else { Err(Error::new(ErrorKind::Io, "interrupted")) }
    });
    fails(options.open(&path).map(drop), "Io: interrupted");
    assert_eq!(polls.load(Ordering::Relaxed), 3);
}

#[test]
fn a_refused_open_holds_nothing() {
    let (_folder, path) = on_disk();
    fs::write(&path, ours(&[1])).unwrap();
    Options::default().dtype("<f8".parse().unwrap()).open(&path).map(drop).unwrap_err();
    fs::write(&path, numpy(&[1, 2, 3])).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(135).unwrap();
    Options::default().open(&path).map(drop).unwrap_err();
    npygrow::recover(&path, RecoverOptions::default()).unwrap();
    Options::default().open(&path).unwrap();
}

/// Someone writes the file that an appender has open: then nothing of ours may touch it.
#[test]
fn a_file_changed_under_the_appender_is_left_to_who_changed_it() {
    let size = |size: u64| {
        format!("another program changed the file under this appender: it should be 140 bytes long and is {size}")
    };
    let header = "another program changed the file under this appender: its header was rewritten".to_string();
    let mut recounted = ours(&[1, 2, 3]);
    recounted[79] = b'2';
    let changes = [
        (numpy(&[7]), size(132)),
        (numpy(&[7, 8, 9]), header.clone()),
        (recounted, header),
        (ours(&[1, 2, 3])[..139].to_vec(), size(139)),
        (ours(&[1, 2, 3, 4]), size(144)),
        (Vec::new(), size(0)),
    ];
    for (theirs, why) in changes {
        for buffering in [0, 1000] {
            for call in ["commit", "sync", "append", "truncate", "close"] {
                let disk = Disk::new(Some(&ours(&[1, 2])));
                let mut appender = disk.open(Options::default().buffering(buffering)).unwrap();
                appender.append(&[3_u32]).unwrap();
                if buffering > 0 {
                    appender.commit().unwrap();
                    appender.append(&[4_u32]).unwrap();
                }
                disk.shared.put(NAME, &theirs);
                let expected = format!("Latched: {why}: open the file again");
                match call {
                    "commit" => fails(appender.commit(), &expected),
                    "sync" => fails(appender.sync(), &expected),
                    "append" => fails(appender.append(&vec![5_u32; 1 << 14]), &expected),
                    "truncate" => fails(appender.truncate(1), &expected),
                    _ => {
                        let lost = if buffering > 0 { "; 1 buffered row lost" } else { "" };
                        fails(appender.close(), &(expected + lost));
                        assert_eq!(disk.bytes(), theirs, "{call}, buffering {buffering}");
                        continue;
                    }
                }
                let after = format!("Latched: refused after an earlier failure ({why}): open the file again");
                fails(appender.append(&[4_u32]), &after);
                fails(appender.commit(), &after);
                fails(appender.truncate(0), &after);
                drop(appender);
                assert_eq!(disk.bytes(), theirs, "{call}, buffering {buffering}");
            }
        }
    }
}

#[test]
fn small_appends_look_once_in_1024() {
    let disk = Disk::new(Some(&ours(&[])));
    let mut appender = disk.open(Options::default()).unwrap();
    for _ in 0..1023 {
        appender.append(&[1_u32]).unwrap();
    }
    let theirs = numpy(&[7]);
    disk.shared.put(NAME, &theirs);
    let error = appender.append(&[1_u32]).unwrap_err();
    assert_eq!((error.kind(), disk.bytes()), (ErrorKind::Latched, theirs));
}
