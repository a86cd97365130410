//! Power cuts under real file systems, and real disks that are full.
//!
//! A disk in memory is served as a file, put under a loop device, formatted and mounted. npygrow works on it, and every write
//! and every flush of the file system is noted. Then the disk is given what a power cut may have left (every write up to a
//! point, or of those since the last flush any sectors), the file system mends itself as it is mounted, and what npygrow
//! finds must be what the durability promises. Protocols that are wrong on purpose must be caught in the same way.

mod calls;
mod controls;
mod disk;
mod full;
mod judge;
mod mounts;
mod replay;
mod rows;
mod run;

use controls::CONTROLS;
use mounts::{Device, FULL, KINDS, is_there};
use replay::{Tally, What};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let time = match npygrow_rigs::seconds(45) {
        Ok(time) => time,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    if let Some(why) = missing() {
        println!("SKIPPED: {why}");
        return ExitCode::SUCCESS;
    }
    if let Err(why) = mounts::prepare() {
        println!("SKIPPED: {why}");
        return ExitCode::SUCCESS;
    }
    let mut broken = Vec::new();
    cuts(time * 3 / 4, &mut broken);
    if !mounts::interrupted() {
        fill(time / 5, &mut broken);
    }
    if mounts::interrupted() {
        println!("interrupted");
        return ExitCode::FAILURE;
    }
    for why in &broken {
        println!("WRONG: {why}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("mounting needs root".into());
    }
    let needed = ["/dev/fuse", "/dev/loop-control"];
    let missing = needed.into_iter().find(|path| !Path::new(path).exists());
    missing.or_else(|| (!is_there("losetup")).then_some("losetup")).map(|what| format!("there is no {what}"))
}

/// Disks with these file systems, as far as there can be.
fn devices(kinds: &[&'static mounts::Kind], broken: &mut Vec<String>) -> Vec<Device> {
    let mut devices = Vec::new();
    for kind in kinds {
        match kind.missing().map_or_else(
            || Device::new(kind).map(Some),
            |why| {
                println!("SKIPPED: {why}");
                Ok(None)
            },
        ) {
            Ok(device) => devices.extend(device),
            Err(why) => broken.push(format!("{}: {why}", kind.name)),
        }
    }
    devices
}

/// All file systems at once, each on its own disk.
fn cuts(time: Duration, broken: &mut Vec<String>) {
    let kinds: Vec<_> = KINDS.iter().collect();
    let start = |(number, device): (usize, Device)| {
        let kind = device.kind;
        (kind, thread::spawn(move || replay::all(&device, number, time)))
    };
    let running: Vec<_> = devices(&kinds, broken).into_iter().enumerate().map(start).collect();
    println!("| file system | what | recordings | points | states | not mounted | bad | broken promises |");
    println!("|---|---|---|---|---|---|---|---|");
    for (kind, thread) in running {
        match thread.join() {
            Ok(Ok(tallies)) => tallies.iter().for_each(|tally| tell(kind, tally, broken)),
            Ok(Err(why)) => broken.push(format!("{}: {why}", kind.name)),
            Err(_) => broken.push(format!("{}: it panics", kind.name)),
        }
    }
}

/// Disks at once; then the limit, which is the whole process's.
fn fill(time: Duration, broken: &mut Vec<String>) {
    let mut quota = Vec::new();
    let disks = devices(&FULL, broken);
    if is_there("btrfs") {
        quota = devices(&FULL[2..], broken);
    } else {
        println!("SKIPPED: a quota: there is no btrfs");
    }
    let until = Instant::now() + time;
    let mut running = vec![("tmpfs", thread::spawn(move || full::on_tmpfs(until)))];
    running.extend(disks.into_iter().map(|disk| (disk.kind.name, thread::spawn(move || full::on(&disk, until)))));
    running.extend(quota.into_iter().map(|disk| ("btrfs quota", thread::spawn(move || full::on_quota(&disk, until)))));
    println!("\n| full | calls that failed, left all as it was, and went on |");
    println!("|---|---|");
    let mut told = |name: &str, filled: mounts::Result<(String, u64)>| match filled {
        Ok((name, failed)) => println!("| {name} | {failed} |"),
        Err(why) => broken.push(format!("{name}: {why}")),
    };
    for (name, thread) in running {
        told(name, thread.join().unwrap_or_else(|_| Err("it panics".into())));
    }
    told("limit", full::on_limit(Instant::now() + time / 4));
}

fn tell(kind: &mounts::Kind, tally: &Tally, broken: &mut Vec<String>) {
    let (name, bad) = (kind.name, tally.short + tally.wrong);
    let what = match tally.what {
        What::Npygrow(durability) => format!("`{durability:?}`").to_lowercase(),
        What::Control(at) => format!("control: {}, as `{:?}`", CONTROLS[at].name, CONTROLS[at].judged).to_lowercase(),
    };
    let (recordings, points, states, refused) = (tally.recordings, tally.points, tally.states(), tally.refused);
    let promises = if let What::Npygrow(_) = tally.what { tally.wrong.to_string() } else { String::new() };
    println!("| {name} | {what} | {recordings} | {points} | {states} | {refused} | {bad} | {promises} |");
    match tally.what {
        What::Npygrow(_) if tally.wrong > 0 => {
            broken.push(format!("{name}, {what}: {}", tally.first.as_deref().unwrap_or_default()));
        }
        What::Control(_) if tally.is_missed(kind) => {
            broken.push(format!("{name}: not caught: {what}"));
        }
        _ => {}
    }
}
