//! Every call of every operation goes wrong once, in every way, under every durability; then the promises must hold.

use crate::support::{Disk, NAME, foreign, no_room, numpy, ours, state, u32s};
use npygrow::{
    Appender, ConcatOptions, Durability, ErrorKind, MAX_HEADER_SIZE, Mode, OnExists, OnTail, Options, RecoverOptions,
    Result, Room,
};
use npygrow_testkit::faulty::{Call, Fault, Record};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const FAULTS: [Fault; 5] =
    [Fault::Fails(EIO), Fault::FailsLate(EIO), Fault::FailsTorn(ENOSPC), Fault::Short, Fault::Dies];
const DURABILITIES: [Durability; 3] = [Durability::Process, Durability::Ordered, Durability::Power];

/// What a reader sees.
#[derive(Clone, Debug, PartialEq)]
enum State {
    Missing,
    Broken,
    Rows(Vec<u32>),
}

type Step = fn(&Disk, Options, &mut Option<Appender>) -> Result<()>;

/// An operation on a file.
struct Case {
    name: &'static str,
    file: Option<Vec<u8>>,
    options: fn(Options) -> Options,
    /// What comes before, on a disk without faults.
    prepare: Step,
    /// What a fault hits, and what can be done again after it.
    run: Step,
    /// The rows when it returns.
    new: Vec<u32>,
}

fn open(disk: &Disk, options: Options, appender: &mut Option<Appender>) -> Result<()> {
    *appender = Some(disk.open(options)?);
    Ok(())
}

fn nothing(_: &Disk, _: Options, _: &mut Option<Appender>) -> Result<()> {
    Ok(())
}

/// Appends a range of values.
macro_rules! append {
    ($range:expr) => {
        |_, _, appender| appender.as_mut().unwrap().append(&Vec::from_iter($range)).map(drop)
    };
}

fn same(options: Options) -> Options {
    options
}

fn three() -> Vec<u32> {
    vec![0, 1, 2]
}

/// What is done to a file that is open.
fn on_open_files() -> Vec<Case> {
    let case = |name, run, new| Case { name, file: Some(ours(&three())), options: same, prepare: open, run, new };
    let buffer = |size: fn(Options) -> Options, case: Case| Case {
        options: size,
        prepare: |disk, options, appender| {
            open(disk, options, appender)?;
            appender.as_mut().unwrap().append(&[3_u32, 4]).map(drop)
        },
        ..case
    };
    let batch: Step = |_, _, appender| {
        let mut batch = appender.as_mut().unwrap().begin(2)?;
        batch.write(&[3, 0, 0, 0, 4])?;
        batch.write(&[0, 0, 0])?;
        batch.commit().map(drop)
    };
    vec![
        case("append", append!(3_u32..5), (0..5).collect()),
        case("append much", append!(3_u32..20_000), (0..20_000).collect()),
        case("batch", batch, (0..5).collect()),
        case("truncate", |_, _, appender| appender.as_mut().unwrap().truncate(1), vec![0]),
        case("sync", |_, _, appender| appender.as_mut().unwrap().sync(), three()),
        Case { options: |options| options.turns(true), ..case("turn", append!(3_u32..5), (0..5).collect()) },
        buffer(
            |options| options.buffering(99),
            case("commit", |_, _, appender| appender.as_mut().unwrap().commit().map(drop), (0..5).collect()),
        ),
        buffer(
            |options| options.buffering(99).turns(true),
            case("sync in turn", |_, _, appender| appender.as_mut().unwrap().sync(), (0..5).collect()),
        ),
        buffer(|options| options.buffering(16), case("full buffer", append!(5_u32..7), (0..7).collect())),
        Case { file: Some(numpy(&three())), ..case("adopt", append!(3_u32..5), (0..5).collect()) },
        Case { file: Some(long()), ..case("adopt a long header", append!(3_u32..5), (0..5).collect()) },
        Case { file: None, ..case("create", append!(0_u32..3), three()) },
        Case { file: Some(Vec::new()), ..case("create over an empty file", append!(0_u32..3), three()) },
        Case {
            file: Some(ours(&[9, 9])),
            options: |options| options.mode(Mode::Write),
            ..case("replace", append!(0_u32..3), three())
        },
        buffer(
            |options| options.buffering(99).mode(Mode::Write),
            case("replace from the buffer", |_, _, appender| appender.as_mut().unwrap().commit().map(drop), vec![3, 4]),
        ),
    ]
}

/// What is done to a file that is not open.
fn on_files() -> Vec<Case> {
    let case =
        |name, file: Vec<u8>, run, new| Case { name, file: Some(file), options: same, prepare: nothing, run, new };
    let recover: Step = |disk, _, _| disk.recover(RecoverOptions::default()).map(drop);
    let fill: Step =
        |disk, _, _| disk.recover(RecoverOptions { zerofill_incomplete: true, ..Default::default() }).map(drop);
    let ensure: Step =
        |disk, _, _| npygrow::ensure_appendable_in(disk.folder(), NAME.as_ref(), Room::Fast, MAX_HEADER_SIZE).map(drop);
    let with = |mut bytes: Vec<u8>, tail: &[u8]| {
        bytes.extend(tail);
        bytes
    };
    let cut = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() - 3);
        bytes
    };
    let keep: fn(Options) -> Options = |options| options.on_tail(OnTail::Keep);
    vec![
        Case {
            file: None,
            ..case("create at once", Vec::new(), |disk, _, appender| open(disk, u32s(), appender), vec![])
        },
        case("open a tail", with(ours(&three()), &[7; 9]), open, three()),
        Case {
            options: keep,
            ..case("keep a tail", with(ours(&three()), &[3, 0, 0, 0, 4, 0, 0, 0, 9]), open, (0..5).collect())
        },
        Case {
            options: keep,
            ..case("keep NumPy's tail", with(numpy(&three()), &[3, 0, 0, 0]), open, (0..4).collect())
        },
        case("open what tears", tearing(), open, three()),
        Case {
            options: keep,
            ..case("keep a tail of what tears", with(tearing(), &[3, 0, 0, 0, 4]), open, (0..4).collect())
        },
        case("recover a tail", with(ours(&three()), &[3, 0, 0, 0, 4]), recover, (0..4).collect()),
        case("fill a torn row", with(ours(&three()), &[3, 0, 0, 0, 4]), fill, (0..5).collect()),
        case("recover a cut", cut(ours(&three())), recover, vec![0, 1]),
        case("recover a cut of NumPy's", cut(numpy(&three())), recover, vec![0, 1]),
        case("recover what tears", cut(tearing()), recover, vec![0, 1]),
        case("make room", no_room(&three()), ensure, three()),
    ]
}

/// Joins two files.
macro_rules! join {
    ($on_exists:ident, $durability:ident) => {
        |disk, _, _| {
            let options = ConcatOptions::default().on_exists(OnExists::$on_exists).durability(Durability::$durability);
            let inputs = ["part-0.npy", "part-1.npy"];
            npygrow::concat_in(disk.folder(), &inputs, NAME.as_ref(), &options, &mut |_, _| Ok(())).map(drop)
        }
    };
}

/// What makes one file of others, which stay.
fn on_inputs() -> Vec<Case> {
    let parts: Step = |disk, _, _| {
        disk.shared.put("part-0.npy", &ours(&[3]));
        disk.shared.put("part-1.npy", &no_room(&[4, 5]));
        Ok(())
    };
    let case =
        |name, file, run, new: &[u32]| Case { name, file, options: same, prepare: parts, run, new: new.to_vec() };
    let there = || Some(ours(&three()));
    vec![
        case("join", None, join!(Error, Process), &[3, 4, 5]),
        case("join durably", None, join!(Error, Power), &[3, 4, 5]),
        case("join to a file", there(), join!(Append, Process), &[0, 1, 2, 3, 4, 5]),
        case("join to a file durably", there(), join!(Append, Power), &[0, 1, 2, 3, 4, 5]),
        case("join to NumPy's", Some(numpy(&three())), join!(Append, Ordered), &[0, 1, 2, 3, 4, 5]),
        case("join in the place of a file", there(), join!(Replace, Process), &[3, 4, 5]),
        case("join in the place of a file durably", there(), join!(Replace, Power), &[3, 4, 5]),
    ]
}

/// Where our header and this one differ, a sector ends.
fn tearing() -> Vec<u8> {
    foreign(&format!("{{'descr': '<u4', 'fortran_order': False, {:450}'shape': (3,), }}", ""), 640, &three())
}

/// A text that goes over the end of a page.
fn long() -> Vec<u8> {
    foreign(&format!("{{'descr': '<u4', 'fortran_order': False, {:8900}'shape': (3,), }}", ""), 9152, &three())
}

#[test]
fn an_append_creates_truncates_adopts_or_nothing_happened() {
    sweep(&on_open_files());
}

#[test]
fn a_close_publishes_or_says_what_is_lost() {
    let close: Step = |_, _, appender| appender.take().unwrap().close();
    let mut cases = on_open_files();
    cases.retain(|case| matches!(case.name, "commit" | "sync in turn" | "replace from the buffer"));
    for case in &mut cases {
        case.run = close;
    }
    sweep(&cases);
}

#[test]
fn opening_recovering_and_making_room_do_it_or_nothing() {
    sweep(&on_files());
}

#[test]
fn joining_does_it_or_nothing() {
    sweep(&on_inputs());
}

#[track_caller]
fn sweep(cases: &[Case]) {
    let (mut all, mut wrong) = (0, Vec::new());
    for case in cases {
        for durability in DURABILITIES {
            for fault in FAULTS {
                for skip in 0.. {
                    let disk = Disk::new(case.file.as_deref());
                    let Some((call, verdict)) = one(&disk, case, durability, skip, fault) else { break };
                    all += 1;
                    wrong.extend(
                        verdict.err().map(|why| {
                            format!("{}, {durability:?}, {call:?} (call {skip}) {fault:?}: {why}", case.name)
                        }),
                    );
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {all} faults:\n{}", wrong.len(), wrong.join("\n"));
    assert!(all > 50 * cases.len(), "only {all} faults were met");
}

fn look(disk: &Disk) -> State {
    match state(&*disk.shared) {
        None => State::Missing,
        Some(Err(_)) => State::Broken,
        Some(Ok(rows)) => State::Rows(rows),
    }
}

/// One fault in one run; `None` when it has fewer calls.
fn one(
    disk: &Disk,
    case: &Case,
    durability: Durability,
    skip: usize,
    fault: Fault,
) -> Option<(Call, Result<(), String>)> {
    let options = (case.options)(Appender::options().durability(durability));
    let mut appender = None;
    (case.prepare)(disk, options.clone(), &mut appender).expect("no fault yet");
    let (old, bytes) = (look(disk), disk.shared.get(NAME));
    disk.faults.arm(None, skip, fault);
    let done = (case.run)(disk, options.clone(), &mut appender);
    let hit = disk.faults.hit()?;
    let verdict = judge(disk, case, options, fault, &(old, bytes), done, appender);
    Some((hit, verdict))
}

fn judge(
    disk: &Disk,
    case: &Case,
    options: Options,
    fault: Fault,
    (old, bytes): &(State, Option<Vec<u8>>),
    done: Result<()>,
    mut appender: Option<Appender>,
) -> Result<(), String> {
    let new = State::Rows(case.new.clone());
    let seen = look(disk);
    let failed = done.is_err();
    check(failed || seen == new, || format!("returned, and the rows are {seen:?}"))?;
    check(seen == *old || seen == new, || format!("neither the old nor the new rows: {seen:?}"))?;
    check(fault != Fault::Short || !failed, || format!("a short write is an error: {done:?}"))?;
    if let (Err(error), Fault::Fails(errno) | Fault::FailsTorn(errno)) = (&done, fault) {
        let told = error.kind() == ErrorKind::Latched || error.raw_os_error() == Some(errno);
        check(told && error.path().is_some(), || format!("the error hides errno or path: {error:?}"))?;
    }
    if fault != Fault::Dies {
        disk.faults.calm();
        let undone = seen != *old || disk.shared.get(NAME) == *bytes;
        appender = again(disk, case, &options, failed, undone, appender)?;
    }
    drop(appender);
    never_retried(&disk.faults.take_calls())?;
    disk.faults.calm();
    let is_known = |name: &String| name == NAME || name.starts_with("part-");
    check(disk.shared.names().iter().all(is_known), || format!("left behind: {:?}", disk.shared.names()))?;
    reopen(disk, case)
}

/// The handle after a fault: as good as new, or latched and harmless.
fn again(
    disk: &Disk,
    case: &Case,
    options: &Options,
    failed: bool,
    undone: bool,
    mut appender: Option<Appender>,
) -> Result<Option<Appender>, String> {
    let before = look(disk);
    let had = appender.is_some();
    let mut rows = case.new.clone();
    if failed && had {
        match (case.run)(disk, options.clone(), &mut appender) {
            Err(error) => {
                check(error.kind() == ErrorKind::Latched, || format!("neither usable nor latched: {error:?}"))?;
                let handle = appender.as_mut().ok_or("gone")?;
                let second = handle.append(&[7_u32]).and_then(|_| handle.commit());
                let latched = second.as_ref().is_err_and(|error| error.kind() == ErrorKind::Latched);
                check(latched, || format!("latched, then {second:?}"))?;
                check(look(disk) == before, || "a latched handle writes".into())?;
                return Ok(appender);
            }
            Ok(()) if disk.faults.hit() == Some(Call::SyncFolder) => return Err("a failed sync was tried again".into()),
            Ok(()) if !undone => return Err("usable, but the file was not as before".into()),
            Ok(()) => check(look(disk) == State::Rows(rows.clone()), || format!("done again: {:?}", look(disk)))?,
        }
    }
    if let Some(handle) = &mut appender {
        handle.append(&[7_u32]).and_then(|_| handle.commit()).map_err(|error| format!("the next append: {error:?}"))?;
        rows.push(7);
        check(look(disk) == State::Rows(rows), || format!("after the next append: {:?}", look(disk)))?;
    }
    Ok(appender)
}

/// The file for the next process: what was acknowledged is there, and rows go on after it.
fn reopen(disk: &Disk, case: &Case) -> Result<(), String> {
    let mut appender = None;
    if look(disk) == State::Broken && !disk.bytes().is_empty() {
        (case.run)(disk, Appender::options(), &mut appender).map_err(|error| format!("not to be mended: {error:?}"))?;
    }
    drop(appender);
    let mut rows = if let State::Rows(rows) = look(disk) { rows } else { Vec::new() };
    // A foreign header keeps its tail until somebody says what it is.
    let foreign = case.file.as_ref().is_some_and(|file| !file.is_empty() && *file != ours(&three()));
    let on_tail = if foreign { OnTail::Drop } else { OnTail::Auto };
    if case.name != "make room" {
        let mut next = disk
            .open(u32s().on_tail(on_tail))
            .and_then(|mut next| next.append(&[8_u32]).map(|_| next))
            .map_err(|error| format!("the next process: {error:?}"))?;
        next.commit().map_err(|error| error.to_string())?;
        rows.push(8);
        check(look(disk) == State::Rows(rows), || format!("after the next process: {:?}", look(disk)))?;
    }
    Ok(())
}

/// No handle does anything to its file after a sync of it failed.
fn never_retried(calls: &[Record]) -> Result<(), String> {
    let failed = |call: &Record| call.failed && matches!(call.call, Call::Sync | Call::CommitDurably);
    let Some(at) = calls.iter().position(failed) else { return Ok(()) };
    let later = calls[at + 1..].iter().find(|call| call.handle == calls[at].handle && call.changes());
    check(later.is_none(), || format!("{} failed, then came {}", calls[at], later.unwrap_or(&calls[at])))
}

fn check(right: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if right { Ok(()) } else { Err(why()) }
}
