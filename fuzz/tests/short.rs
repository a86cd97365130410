//! The short run: every target over all of its seeds and some thousand mutations of them, the same each time.
//!
//! `NPYGROW_FUZZ_MUTATIONS` says how many of each; what a failure prints can be given to the target by cargo-fuzz.

use npygrow::format::Header;
use npygrow::storage::Folder;
use npygrow::{MAX_HEADER_SIZE, Reader, RecoverOptions, Recovery, Result, inspect_in, recover_in};
use npygrow_fuzz::seeds::{self, Random};
use npygrow_fuzz::{TARGETS, header_by, operations_by, recover_by};
use std::cell::Cell;
use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Miri is a thousand times slower: it takes every so many of the seeds, and a few mutations.
const SEEDS_UNDER_MIRI: usize = 40;

fn mutations() -> usize {
    if cfg!(miri) {
        return SEEDS_UNDER_MIRI / 2;
    }
    std::env::var("NPYGROW_FUZZ_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(20_000)
}

/// Seeds, then mutations; how many there were before the first that panics, and that one.
fn first_fault(target: &str, run: impl Fn(&[u8])) -> std::result::Result<usize, (usize, Vec<u8>)> {
    let mut seeds = seeds::of(target);
    if cfg!(miri) {
        let step = seeds.len() / SEEDS_UNDER_MIRI + 1;
        seeds = seeds.into_iter().step_by(step).collect();
    }
    assert!(!seeds.is_empty());
    let mut random = Random(7);
    let mut mutated = std::iter::repeat_with(|| random.mutated(&seeds));
    let count = seeds.len() + mutations();
    for number in 0..count {
        let input = seeds.get(number).cloned().or_else(|| mutated.next()).unwrap_or_default();
        if catch_unwind(AssertUnwindSafe(|| run(&input))).is_err() {
            return Err((number, input));
        }
    }
    Ok(count)
}

#[track_caller]
fn short(target: &str) {
    let (_, run) = TARGETS.into_iter().find(|(name, _)| *name == target).expect("a target");
    match first_fault(target, run) {
        Ok(count) => println!("{target}: {count} executions"),
        Err((number, input)) => panic!("{target}, execution {number}: {}", input.escape_ascii()),
    }
}

macro_rules! short {
    ($($target:ident)*) => { $(#[test] fn $target() { short(stringify!($target)); })* };
}
short!(literal dtype header inspect recover sequence ragged operations bookmark);

#[test]
fn every_target_has_a_short_run_and_a_binary() {
    let manifest = include_str!("../Cargo.toml");
    let here = include_str!("short.rs");
    let list = here.split_once("short!(literal").and_then(|(_, rest)| rest.split_once(')')).expect("the list").0;
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        assert!(format!("literal{list}").split_whitespace().any(|word| word == name), "{name}");
    }
}

/// A fault planted in what a target tests must be found by the same run. The panic it causes is not printed.
#[track_caller]
fn caught(target: &str, run: impl Fn(&[u8])) {
    thread_local!(static IS_QUIET: Cell<bool> = const { Cell::new(false) });
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !IS_QUIET.get() {
            hook(info)
        }
    }));
    IS_QUIET.set(true);
    let found = first_fault(target, run);
    IS_QUIET.set(false);
    let (number, _) = found.expect_err("a planted fault is not caught");
    println!("{target}: the planted fault is caught at execution {number}");
}

#[test]
fn a_parser_that_wraps_counts_is_caught() {
    fn wraps(bytes: &[u8]) -> Result<Header> {
        let mut header = Header::parse(bytes)?;
        header.shape.iter_mut().for_each(|axis| *axis &= u64::from(u32::MAX));
        Ok(header)
    }
    caught("header", |input| header_by(input, wraps));
}

#[test]
fn a_parser_that_panics_is_caught() {
    fn panics(bytes: &[u8]) -> Result<Header> {
        Header::parse(bytes).inspect(|header| assert_ne!(header.shape, [3, 2]))
    }
    caught("header", |input| header_by(input, panics));
}

#[test]
fn a_recovery_that_loses_a_row_is_caught() {
    fn loses(folder: Arc<dyn Folder>, name: &OsStr, options: RecoverOptions) -> Result<Recovery> {
        let before = inspect_in(folder.clone(), name, MAX_HEADER_SIZE)?;
        let done = recover_in(folder.clone(), name, options)?;
        // The last row that was counted, where a torn one followed it.
        if done.cut > 0 && done.rows > 0 && before.row_size > 0 {
            let mut file = folder.open(name, true)?.expect("the file");
            file.write_all_at(file.len()? - 1, b"\xEE")?;
        }
        Ok(done)
    }
    caught("recover", |input| recover_by(input, loses));
}

#[test]
fn a_reader_that_takes_zeros_for_no_rows_is_caught() {
    fn trims(folder: &dyn Folder, name: &OsStr) -> Vec<u8> {
        let file = folder.open(name, false).expect("memory").expect("the file");
        let reader = Reader::on(file, MAX_HEADER_SIZE).expect("a whole file");
        let mut rows = vec![0; (reader.len() * reader.row_size()) as usize];
        reader.read_into(0..reader.len(), &mut rows).expect("the rows that are counted");
        rows.truncate(rows.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
        rows
    }
    caught("operations", |input| operations_by(input, trims));
}
