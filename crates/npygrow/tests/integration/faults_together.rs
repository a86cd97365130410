//! Every call of every operation on columns that grow together goes wrong once, in every way: rows are in all columns or in
//! none, and the next one goes on with them.

use crate::powercut::together::{Handle, KINDS, Kind, expected, look};
use npygrow::{Appender, Durability, ErrorKind, Options, Result};
use npygrow_testkit::faulty::{Call, Fault, Faults, FaultyFolder};
use npygrow_testkit::shared::SharedFolder;
use std::sync::Arc;

const FAULTS: [Fault; 5] = [Fault::Fails(5), Fault::FailsLate(5), Fault::FailsTorn(28), Fault::Short, Fault::Dies];

/// What is done, with `OLD` rows there or in the buffer.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    options: fn(Options) -> Options,
    /// How many rows are published, and how many wait, before.
    old: u32,
    waiting: u32,
    /// How many rows there are after it.
    new: u32,
    run: fn(&mut Handle) -> Result<()>,
}

fn ids(range: std::ops::Range<u32>) -> Vec<u32> {
    range.collect()
}

const CASES: [Case; 9] = [
    Case { name: "append", options: same, old: 5, waiting: 0, new: 9, run: |handle| handle.append(&ids(5..9)) },
    Case {
        name: "append much",
        options: same,
        old: 5,
        waiting: 0,
        new: 905,
        run: |handle| handle.append(&ids(5..905)),
    },
    Case { name: "first append", options: same, old: 0, waiting: 0, new: 4, run: |handle| handle.append(&ids(0..4)) },
    Case { name: "turn", options: turns, old: 5, waiting: 0, new: 9, run: |handle| handle.append(&ids(5..9)) },
    Case { name: "commit", options: buffer, old: 5, waiting: 3, new: 8, run: Handle::commit },
    Case {
        name: "full buffer",
        options: buffer,
        old: 5,
        waiting: 3,
        new: 280,
        run: |handle| handle.append(&ids(8..280)),
    },
    Case {
        name: "commit in turn",
        options: |options| buffer(turns(options)),
        old: 5,
        waiting: 3,
        new: 8,
        run: Handle::commit,
    },
    Case { name: "sync", options: buffer, old: 5, waiting: 3, new: 8, run: Handle::sync },
    Case { name: "truncate", options: same, old: 5, waiting: 0, new: 2, run: |handle| handle.truncate(2) },
];

fn same(options: Options) -> Options {
    options
}

fn turns(options: Options) -> Options {
    options.turns(true)
}

fn buffer(options: Options) -> Options {
    options.buffering(2000)
}

struct Disk {
    kind: Kind,
    shared: Arc<SharedFolder>,
    faults: Faults,
}

impl Disk {
    fn open(&self, options: Options) -> Result<Handle> {
        Handle::open(self.kind, Arc::new(FaultyFolder::new(self.shared.clone(), self.faults.clone())), options)
    }

    /// How many of the rows 0, 1, 2 and so on there are in every column, and nothing else.
    fn rows(&self) -> std::result::Result<u32, String> {
        let found = look(self.kind, &*self.shared).map_err(|error| format!("not to be read: {error:?}"))?;
        let rows = found[0].len() as u32;
        if expected(self.kind, &ids(0..rows)) == found {
            Ok(rows)
        } else {
            Err(format!("{rows} rows of other contents"))
        }
    }
}

/// Says whether the fault was met.
fn one(
    kind: Kind,
    case: &Case,
    durability: Durability,
    fault: Fault,
    skip: usize,
) -> std::result::Result<bool, String> {
    let disk = Disk { kind, shared: Arc::default(), faults: Faults::default() };
    let options = || (case.options)(Appender::options().durability(durability));
    let say = |what: &str, error: npygrow::Error| format!("{what}: {error:?}");
    let mut handle = disk.open(options()).map_err(|error| say("open", error))?;
    if case.old > 0 {
        handle.append(&ids(0..case.old)).and_then(|()| handle.commit()).map_err(|error| say("prepare", error))?;
    }
    if case.waiting > 0 {
        handle.append(&ids(case.old..case.old + case.waiting)).map_err(|error| say("wait", error))?;
    }
    disk.faults.arm(None, skip, fault);
    let done = (case.run)(&mut handle);
    let Some(hit) = disk.faults.hit() else {
        disk.faults.calm();
        done.map_err(|error| say("without a fault", error))?;
        return if disk.rows()? == case.new { Ok(false) } else { Err("no fault, other rows".into()) };
    };
    let (rows, died) = (disk.rows()?, fault == Fault::Dies);
    // Between the two only what a full buffer had published stays.
    let possible = [case.old, case.old + case.waiting, case.new];
    if !possible.contains(&rows) {
        return Err(format!("{hit:?}: {rows} rows"));
    }
    match &done {
        Ok(()) if rows != case.new => return Err(format!("{hit:?}: done, but {rows} rows")),
        // A commit or a sync that failed in its last call may be done all the same; an append may not.
        Err(error)
            if rows == case.new
                && case.new != case.old
                && !died
                && error.kind() != ErrorKind::Latched
                && !error.detail().contains("in doubt")
                && (case.name.contains("append") || case.name == "turn") =>
        {
            return Err(format!("{hit:?}: failed ({error:?}), but {rows} rows are there"));
        }
        _ => {}
    }
    if !died {
        disk.faults.calm();
    }
    if let (Err(first), false) = (&done, died) {
        match (case.run)(&mut handle) {
            Ok(()) if disk.rows()? != case.new => {
                return Err(format!("{hit:?}: done again, but {} rows", disk.rows()?));
            }
            Err(error) if error.kind() != ErrorKind::Latched => {
                return Err(format!("{hit:?}, then {first:?}: again: {error:?}"));
            }
            _ => {}
        }
    }
    let before = disk.rows()?;
    drop(handle);
    disk.faults.calm();
    let rows = disk.rows()?;
    if !died && hit != Call::Sync && rows < before {
        return Err(format!("{hit:?}: dropping it took rows: {before}, then {rows}"));
    }
    let mut next = disk.open(Appender::options()).map_err(|error| say(&format!("{hit:?}: the next one"), error))?;
    if next.len() != u64::from(rows) {
        return Err(format!("{hit:?}: the next one sees {} rows of {rows}", next.len()));
    }
    next.append(&ids(rows..rows + 2)).and_then(|()| next.close()).map_err(|error| say("the next append", error))?;
    if disk.rows()? == rows + 2 { Ok(true) } else { Err(format!("{hit:?}: {} rows in the end", disk.rows()?)) }
}

#[test]
fn rows_are_in_all_columns_or_in_none() {
    let (mut tried, mut bad) = (0, Vec::new());
    for kind in KINDS {
        for case in &CASES {
            for durability in [Durability::Process, Durability::Ordered, Durability::Power] {
                for fault in FAULTS {
                    for skip in 0.. {
                        match one(kind, case, durability, fault, skip) {
                            Ok(true) => tried += 1,
                            Ok(false) => break,
                            Err(why) => {
                                tried += 1;
                                bad.push(format!(
                                    "{kind:?}, {}, {durability:?}, {fault:?} after {skip}: {why}",
                                    case.name
                                ));
                                if skip > 500 || bad.len() > 200 {
                                    break;
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(tried > 3000, "only {tried}");
    let some: Vec<_> = bad.iter().take(40).cloned().collect();
    assert!(bad.is_empty(), "{} of {tried}:\n{}", bad.len(), some.join("\n"));
}
