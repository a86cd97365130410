//! Every call of a join of folders goes wrong once, in every way: the output is as it was or whole, and the next call makes it.

use crate::powercut::together::joins::{join, put, rows_of};
use crate::powercut::together::{KINDS, Kind};
use npygrow::storage::Folder;
use npygrow::{Durability, ErrorKind, OnExists};
use npygrow_testkit::faulty::{Call, Fault, Faults, FaultyFolder};
use npygrow_testkit::shared::SharedFolder;
use std::sync::Arc;

const FAULTS: [Fault; 5] = [Fault::Fails(5), Fault::FailsLate(5), Fault::FailsTorn(28), Fault::Short, Fault::Dies];

/// The folders as they are before: their files, by name.
type Files = Vec<(String, Vec<u8>)>;

fn files(kind: Kind, on_exists: OnExists) -> Files {
    let shared = SharedFolder::default();
    put(kind, &shared, "one", 12..40);
    put(kind, &shared, "two", 40..47);
    if on_exists != OnExists::Error {
        put(kind, &shared, "all", 0..12);
    }
    shared.names().into_iter().map(|name| (name.clone(), shared.get(&name).unwrap())).collect()
}

/// Says whether the fault was met.
fn one(
    files: &Files,
    kind: Kind,
    on_exists: OnExists,
    durability: Durability,
    fault: Fault,
    skip: usize,
) -> std::result::Result<bool, String> {
    let (shared, faults) = (Arc::new(SharedFolder::default()), Faults::default());
    files.iter().for_each(|(name, bytes)| shared.put(name, bytes));
    let before = (on_exists != OnExists::Error).then_some(12);
    let after = if on_exists == OnExists::Append { 47 } else { 35 };
    let say = |what: &str, error: npygrow::Error| format!("{what}: {error:?}");
    let rows = || rows_of(kind, &*shared, "all").map_err(|error| say("look", error));
    let faulty = || Arc::new(FaultyFolder::new(shared.clone(), faults.clone()));
    faults.arm(None, skip, fault);
    let done = join(faulty(), on_exists, durability);
    let Some(hit) = faults.hit() else {
        faults.calm();
        done.map_err(|error| say("without a fault", error))?;
        return if rows()? == Some(after) { Ok(false) } else { Err("no fault, other rows".into()) };
    };
    let died = fault == Fault::Dies;
    faults.calm();
    let found = rows()?;
    match &done {
        Ok(joined) if found != Some(after) || *joined != u64::from(after) => {
            return Err(format!("{hit:?}: done, but {found:?} rows"));
        }
        Err(_) if found != before && found != Some(after) => return Err(format!("{hit:?}: {found:?} rows")),
        Err(error)
            if found == Some(after)
                && !died
                && hit != Call::SyncFolder
                && error.kind() != ErrorKind::Latched
                && !error.detail().contains("in doubt")
                // What is there is told only where it was to be told that it cannot be undone.
                && on_exists != OnExists::Append =>
        {
            return Err(format!("{hit:?}: failed ({error:?}), but it is there"));
        }
        _ => {}
    }
    let names = Folder::names(&*shared).map_err(|error| say("names", error))?;
    let tidy = names.iter().all(|name| !name.to_string_lossy().starts_with('.'));
    // A swap that may not last keeps the folder that was replaced.
    let keeps = hit == Call::RemoveFolder || hit == Call::SyncFolder && on_exists == OnExists::Replace;
    if !died && !tidy && !keeps {
        return Err(format!("{hit:?}: leaves {names:?}"));
    }
    if found == before {
        let again = join(faulty(), on_exists, durability).map_err(|error| say(&format!("{hit:?}: again"), error))?;
        if again != u64::from(after) || rows()? != Some(after) {
            return Err(format!("{hit:?}: again: {again} rows"));
        }
    }
    for (name, count) in [("one", 28), ("two", 7)] {
        let found = rows_of(kind, &*shared, name).map_err(|error| say(name, error))?;
        if found != Some(count) {
            return Err(format!("{hit:?}: the input {name} has {found:?} rows"));
        }
    }
    Ok(true)
}

#[test]
fn a_join_is_whole_or_not_there() {
    let (mut tried, mut bad) = (0, Vec::new());
    for kind in KINDS {
        for on_exists in [OnExists::Error, OnExists::Replace, OnExists::Append] {
            let files = files(kind, on_exists);
            for durability in [Durability::Process, Durability::Power] {
                // What is made anew is synced in either.
                if on_exists != OnExists::Append && durability == Durability::Process {
                    continue;
                }
                for fault in FAULTS {
                    for skip in 0.. {
                        match one(&files, kind, on_exists, durability, fault, skip) {
                            Ok(true) => tried += 1,
                            Ok(false) => break,
                            Err(why) => {
                                tried += 1;
                                bad.push(format!(
                                    "{kind:?}, {on_exists:?}, {durability:?}, {fault:?} after {skip}: {why}"
                                ));
                                if skip > 900 || bad.len() > 200 {
                                    break;
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    println!("faults of joins: {tried} calls");
    assert!(tried > 3000, "only {tried}");
    let some: Vec<_> = bad.iter().take(40).cloned().collect();
    assert!(bad.is_empty(), "{} of {tried}:\n{}", bad.len(), some.join("\n"));
}
