//! Protocols that are wrong on purpose, on the same disk: what catches nothing proves nothing.

use super::Sweep;
use super::judge::{Promise, Run, State, bytes_of};
use super::scenarios::ours;
use crate::support::NAME;
use npygrow::storage::{Folder, Storage};
use npygrow::{Background, Durability, Limits};

/// What a protocol does, step by step, to append rows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Rows,
    Count,
    CountDurably,
    Sync,
    /// It says that the rows are there.
    Acknowledge,
}
use Act::{Acknowledge, Count, CountDurably, Rows, Sync};

/// The rows of one append: 20 sectors and a little.
const BATCH: usize = 860;

/// Appends three times by `protocol` what is acknowledged with `promise`, and gives the run that did.
fn append(protocol: &[Act], promise: Promise, durability: Durability) -> Run {
    let mut rows = vec![[1, 2, 3]];
    let image = [(NAME.into(), (0, ours(&rows)))].into();
    let mut run = Run::new(&image, State::Rows(bytes_of(&rows)), durability);
    let mut file = run.folder.open(NAME.as_ref(), true).unwrap().unwrap();
    for _ in 0..3 {
        let fresh = run.fresh(BATCH);
        rows.extend(&fresh);
        run.rows.extend(bytes_of(&fresh));
        let at = protocol.iter().position(|act| *act == Acknowledge).unwrap();
        run.rows_step(promise, || protocol[..at].iter().try_for_each(|act| act.act(&mut *file, &rows)));
        protocol[at..].iter().try_for_each(|act| act.act(&mut *file, &rows)).unwrap();
    }
    run
}

impl Act {
    fn act(self, file: &mut dyn Storage, rows: &[[u32; 3]]) -> npygrow::Result<()> {
        let whole = ours(rows);
        let start = whole.len() - bytes_of(&rows[rows.len() - BATCH..]).len();
        let end = count_end(&whole);
        match self {
            Rows => file.write_all_at(start as u64, &whole[start..]),
            Count => file.commit_at(end as u64 - 16, &whole[end - 16..end], false),
            CountDurably => file.commit_at(end as u64 - 16, &whole[end - 16..end], true),
            Sync => file.sync(),
            Acknowledge => Ok(()),
        }
    }
}

fn count_end(file: &[u8]) -> usize {
    let shape = file.windows(9).position(|text| text == b"'shape': ").unwrap();
    shape + file[shape..].iter().position(|&byte| byte == b',').unwrap()
}

fn sweep(run: &Run) -> Sweep {
    let mut sweep = Sweep { name: "control".into(), states: 60, random: 1, ..Sweep::default() };
    sweep.over(run);
    assert!(sweep.seen.len() > 50, "only {} states", sweep.seen.len());
    sweep
}

#[track_caller]
fn right(protocol: &[Act], promise: Promise, durability: Durability) {
    let sweep = sweep(&append(protocol, promise, durability));
    assert!(sweep.first.is_empty(), "{protocol:?}: {:?}", sweep.first);
}

#[track_caller]
fn caught(protocol: &[Act], promise: Promise, durability: Durability) {
    let sweep = sweep(&append(protocol, promise, durability));
    println!("control {protocol:?}, {durability:?}: {} of {} states are wrong", sweep.wrong, sweep.seen.len());
    assert!(sweep.wrong > 0, "not caught: {protocol:?} as {durability:?}");
}

#[test]
fn the_right_protocols_pass() {
    right(&[Rows, Sync, Count, Sync, Acknowledge], Promise::Counted, Durability::Power);
    right(&[Rows, Sync, CountDurably, Acknowledge], Promise::Counted, Durability::Power);
    right(&[Rows, Sync, Count, Acknowledge], Promise::Counted, Durability::Ordered);
    right(&[Rows, Count, Sync, Acknowledge], Promise::Durable, Durability::Process);
}

#[test]
fn header_first_is_caught() {
    caught(&[Count, Sync, Rows, Sync, Acknowledge], Promise::Counted, Durability::Power);
    caught(&[Count, Sync, Rows, Sync, Acknowledge], Promise::Counted, Durability::Ordered);
}

#[test]
fn one_sync_at_the_end_is_caught() {
    caught(&[Rows, Count, Sync, Acknowledge], Promise::Counted, Durability::Power);
    caught(&[Rows, Count, Sync, Acknowledge], Promise::Counted, Durability::Ordered);
}

#[test]
fn no_sync_is_caught() {
    caught(&[Rows, Count, Acknowledge], Promise::Counted, Durability::Power);
    caught(&[Rows, Count, Acknowledge], Promise::Counted, Durability::Ordered);
    caught(&[Rows, Count, Acknowledge], Promise::Durable, Durability::Process);
}

#[test]
fn acknowledging_too_early_is_caught() {
    caught(&[Rows, Sync, Count, Acknowledge, Sync], Promise::Counted, Durability::Power);
    caught(&[Rows, Count, Acknowledge, Sync], Promise::Durable, Durability::Process);
}

#[test]
fn a_durable_count_alone_is_caught() {
    caught(&[Rows, CountDurably, Acknowledge], Promise::Counted, Durability::Power);
}

/// What only `commit` promises, promised by `append`: whatever `commit` did not publish is missing.
#[test]
fn promising_what_only_waits_is_caught() {
    for (promise, wrong) in [(Promise::Nothing, false), (Promise::Counted, true)] {
        let image = [(NAME.into(), (0, ours(&[[1, 2, 3]])))].into();
        let mut run = Run::new(&image, State::Rows(bytes_of(&[[1, 2, 3]])), Durability::Power);
        let appender = run.open(run.options().buffering(1 << 20));
        let rows = Background::start(appender, Limits::default()).unwrap();
        for _ in 0..3 {
            let fresh = run.fresh(BATCH);
            run.rows.extend(bytes_of(&fresh));
            run.rows_step(promise, || rows.append(&fresh));
            run.rows_step(Promise::Counted, || rows.commit());
        }
        let sweep = sweep(&run);
        assert_eq!(sweep.wrong > 0, wrong, "{promise:?}: {:?}", sweep.first);
    }
}

/// Makes a file: whether its bytes and its name are synced before it is acknowledged.
fn create(sync: bool, sync_folder: bool) -> Run {
    let mut run = Run::new(&[].into(), State::Missing, Durability::Power);
    let rows = run.fresh(BATCH);
    run.rows = bytes_of(&rows);
    let folder = run.folder.clone();
    run.rows_step(Promise::Named, || {
        let mut temp = folder.create_temp(NAME.as_ref(), None)?;
        temp.storage().write_all_at(0, &ours(&rows))?;
        if sync {
            temp.storage().sync()?;
        }
        folder.link_noreplace(&mut temp, NAME.as_ref())?;
        if sync_folder { folder.sync() } else { Ok(()) }
    });
    run
}

#[test]
fn a_name_before_the_bytes_or_without_a_sync_is_caught() {
    assert!(sweep(&create(true, true)).first.is_empty());
    for (sync, sync_folder) in [(false, true), (true, false)] {
        let sweep = sweep(&create(sync, sync_folder));
        println!("control create, synced {sync}, named {sync_folder}: {} of {} wrong", sweep.wrong, sweep.seen.len());
        assert!(sweep.wrong > 0, "not caught: synced {sync}, its name {sync_folder}");
    }
}
