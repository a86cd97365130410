//! Several appenders on one file: threads of this process and other processes, which are this very binary.

use crate::support::{NAME, fails, names, on_disk, values};
use npygrow::{Appender, Mode, Options, Result};
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What another process is to do, and with which file.
const TASK: &str = "NPYGROW_TEST_TASK";
const FILE: &str = "NPYGROW_TEST_FILE";

/// Runs the task of a process that [`spawn`] started; in any other there is none.
#[test]
fn other_process() {
    let (Ok(task), Ok(path)) = (env::var(TASK), env::var(FILE)) else { return };
    let (verb, number) = task.split_once(' ').unwrap();
    let number: u32 = number.parse().unwrap();
    let path = Path::new(&path);
    match verb {
        "turns" => in_turns(path, number, 0).unwrap(),
        "buffered" => in_turns(path, number, 40).unwrap(),
        "new" => match Appender::options().mode(Mode::New).open(path).and_then(|mut new| new.append(&[number])) {
            Ok(rows) => assert_eq!(rows, Some(0..1)),
            Err(error) => assert_eq!(error.detail(), "cannot make a new file (mode \"x\"): File exists (os error 17)"),
        },
        "hold" => {
            let mut appender = Appender::open(path).unwrap();
            appender.append(&[number]).unwrap();
            fs::write(path.with_extension("held"), "").unwrap();
            until(|| path.with_extension("free").exists());
            appender.close().unwrap();
        }
        _ => panic!("no such task: {task}"),
    }
}

fn spawn(path: &Path, verb: &str, number: u32) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "turns::other_process"]).env(TASK, format!("{verb} {number}")).env(FILE, path);
    command.stdout(Stdio::null()).spawn().unwrap()
}

fn until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain");
        thread::sleep(Duration::from_millis(1));
    }
}

const APPENDS: u32 = 200;

/// Pairs (who, how many before): of unequal size, so that torn turns show.
fn in_turns(path: &Path, who: u32, buffering: usize) -> Result<()> {
    let mut appender = Appender::options().turns(true).buffering(buffering).open(path)?;
    let mut i = 0;
    while i < APPENDS {
        let rows: Vec<[u32; 2]> = (i..APPENDS.min(i + 1 + i % 3)).map(|i| [who, i]).collect();
        let told = appender.append(&rows)?;
        assert!(buffering > 0 || told.is_some_and(|told| told.end - told.start == rows.len() as u64));
        i += rows.len() as u32;
    }
    appender.close()
}

#[track_caller]
fn check(path: &Path, writers: u32) {
    let reader = npygrow::Reader::open(path).unwrap();
    let rows = reader.rows::<[u32; 2]>(0..reader.len()).unwrap();
    assert_eq!(rows.len(), (writers * APPENDS) as usize);
    for who in 0..writers {
        let own: Vec<u32> = rows.iter().filter(|row| row[0] == who).map(|row| row[1]).collect();
        assert_eq!(own, Vec::from_iter(0..APPENDS), "the rows of {who}, in their order");
    }
}

#[test]
fn threads_take_turns() {
    let (_folder, path) = on_disk();
    thread::scope(|scope| {
        for who in 0..4 {
            let path = &path;
            scope.spawn(move || in_turns(path, who, if who % 2 == 0 { 0 } else { 40 }).unwrap());
        }
    });
    check(&path, 4);
}

/// The file is not there yet: all race to make it.
#[test]
fn processes_take_turns_and_race_to_create() {
    let (folder, path) = on_disk();
    for round in 0..3 {
        let children: Vec<_> =
            (0..4).map(|who| spawn(&path, if who % 2 == 0 { "turns" } else { "buffered" }, who)).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success(), "round {round}");
        }
        check(&path, 4);
        assert_eq!(names(folder.path()), [NAME]);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn of_processes_that_make_a_new_file_one_wins() {
    let (folder, path) = on_disk();
    for _ in 0..5 {
        let children: Vec<_> = (0..3).map(|who| spawn(&path, "new", who)).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        assert_eq!((values(&path).len(), names(folder.path())), (1, vec![NAME.to_string()]));
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn another_process_is_named_and_waited_for() {
    let (_folder, path) = on_disk();
    let mut holder = spawn(&path, "hold", 7);
    until(|| path.with_extension("held").exists());
    let expected = format!(
        "Locked: locked by an appender of process {}, or by a worker forked from it: close it, wait longer with \
         `lock_timeout`, or open both with `turns`",
        holder.id()
    );
    fails(Appender::open(&path).map(drop), &expected);
    fails(Options::default().turns(true).lock_timeout(Duration::ZERO).open(&path).map(drop), &expected);
    let waits = thread::spawn({
        let path = path.clone();
        move || Appender::options().turns(true).open(path).unwrap().append(&[8_u32]).unwrap()
    });
    thread::sleep(Duration::from_millis(50));
    assert!(!waits.is_finished());
    fs::write(path.with_extension("free"), "").unwrap();
    assert_eq!(waits.join().unwrap(), Some(1..2));
    assert!(holder.wait().unwrap().success());
    assert_eq!(values(&path), [7, 8]);
}

#[test]
fn turns_follow_the_file_that_has_the_name() {
    let (_folder, path) = on_disk();
    let open = || Appender::options().turns(true).open(&path).unwrap();
    let mut one = open();
    one.append(&[1_u32]).unwrap();
    let mut other = open();
    assert_eq!(other.append(&[2_u32]).unwrap(), Some(1..2));
    other.truncate(1).unwrap();
    assert_eq!(one.append(&[3_u32]).unwrap(), Some(1..2), "it counts what is there now");

    npygrow::save(&path, &[9_u32]).unwrap();
    assert_eq!(one.append(&[4_u32]).unwrap(), Some(1..2));
    assert_eq!(values(&path), [9, 4]);
    npygrow::save(&path, &[0.5_f64]).unwrap();
    fails(one.append(&[5_u32]), "Mismatch: expected a file with dtype <u4, found dtype <f8");
    fs::remove_file(&path).unwrap();
    fails(other.append(&[5_u32]), "Latched: the file was removed while appenders took turns: open it again");
    assert!(!path.exists());
}

/// A writer that died in its turn left bytes behind.
#[test]
fn a_turn_cuts_what_a_dead_writer_left() {
    let (_folder, path) = on_disk();
    let mut appender = Appender::options().turns(true).open(&path).unwrap();
    appender.append(&[1_u32]).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(139).unwrap();
    assert_eq!(appender.append(&[2_u32]).unwrap(), Some(1..2));
    assert_eq!((appender.dropped().rows, appender.dropped().bytes, values(&path)), (1, 7, vec![1, 2]));
}

#[test]
fn turns_do_not_replace() {
    let (_folder, path) = on_disk();
    fails(
        Appender::options().turns(true).mode(Mode::Write).open(&path).map(drop),
        "Mismatch: turns go with mode \"a\" or \"x\": replacing a file is one appender's work",
    );
}
