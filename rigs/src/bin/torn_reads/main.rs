//! Readers beside a writer at full speed: no count that never was, none that shrinks, and every counted row is there.
//!
//! A process appends: past 9/10, 99/100, ... and, every second commit, past a multiple of 10^8. Another one looks at the
//! same file all the time, and knows what it may see: no less than what was acknowledged before it looked, no more than what
//! was begun when it was done. The same readers then look at files whose count is written in the same way, by one write of
//! the digits that change, but ends at offset 68: on every file system some of them must be seen to read what never was.
//! One reader is not promised anything: who reads a mapping byte by byte sees text change between two bytes, whoever writes.

mod read;
mod walk;
mod write;

use npygrow_rigs::images::{Kind, Mounted, name_at};
use npygrow_rigs::shared::Words;
use npygrow_rigs::{Process, Scratch, grouped, python, seconds};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

// The words that all processes share. A step is the number of a file, then in 32 bits that of an append.
/// The step that the writer began last.
const BEGUN: usize = 0;
/// The step that was acknowledged last.
const DONE: usize = 1;
const STOP: usize = 2;
const READY: usize = 3;
/// How many appends there were.
const COMMITS: usize = 4;

fn file_name(file: u64) -> String {
    format!("{file}.npy")
}

fn walk_name(file: u64) -> String {
    format!("{file}.walk")
}

/// The reader that is a program of its own.
const NP_LOAD: &str = "np.load";

/// Large enough for blocks of 4 KiB on ext4, as on real disks: then commits go through a mapping.
const IMAGE: u64 = 1 << 30;

/// What one reader saw beside one writer.
struct Seen {
    commits: u64,
    reads: u64,
    torn: u64,
    first: String,
}

fn main() -> ExitCode {
    let task: Vec<String> = std::env::args().skip(1).collect();
    let done = match task.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", folder, desk, control] => {
            write::write(folder.as_ref(), desk.as_ref(), control == "control").map(|()| true)
        }
        ["read", kind, folder, desk] => read::read(kind, folder.as_ref(), desk.as_ref()).map(|()| true),
        _ => seconds(30).map_err(Into::into).and_then(run),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("torn_reads: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went as promised.
fn run(time: Duration) -> Result<bool> {
    let scratch = Scratch::new()?;
    let here = scratch.path().join("here");
    fs::create_dir(&here)?;
    let mut places = vec![(format!("{}, the current folder's", name_at(&here)), here)];
    let mut mounts = Vec::new();
    for kind in Kind::ALL {
        match Mounted::new(kind, IMAGE, scratch.path()) {
            Ok(mounted) => {
                let on = if kind == Kind::Tmpfs { "" } else { ", an image" };
                places.push((format!("{}{on}", kind.name()), mounted.path().into()));
                mounts.push(mounted);
            }
            Err(why) => println!("SKIPPED: {}: {why}", kind.name()),
        }
    }
    let well = compare(time, &scratch, &places);
    for mounted in mounts {
        mounted.unmount()?;
    }
    well
}

/// Runs every reader on every file system.
fn compare(time: Duration, scratch: &Scratch, places: &[(String, PathBuf)]) -> Result<bool> {
    let python = python();
    if python.is_none() {
        println!("SKIPPED: np.load: no Python with NumPy");
    }
    let readers: Vec<&str> = read::KINDS.into_iter().chain(python.is_some().then_some(NP_LOAD)).collect();
    let slice = time / (places.len() * readers.len()) as u32;
    println!("| file system | reader | appends | reads | torn | the control's torn of reads |");
    println!("|---|---|---|---|---|---|");
    let (mut all, mut well) = ([0; 3], true);
    for (name, folder) in places {
        let pair = |reader| Pair { folder, scratch: scratch.path(), reader, python: python.as_ref() };
        let mut caught = 0;
        for reader in &readers {
            let ours = pair(reader).run(slice * 2 / 3, false)?;
            let control = pair(reader).run(slice / 3, true)?;
            let [appends, reads, torn] = [ours.commits, ours.reads, ours.torn].map(grouped);
            let (wrong, of) = (grouped(control.torn), grouped(control.reads));
            caught += control.torn;
            if *reader == read::BY_BYTES {
                println!("| {name} | {reader} (nothing promised) | {appends} | {reads} | {torn} | {wrong} of {of} |");
                continue;
            }
            println!("| {name} | {reader} | {appends} | {reads} | {torn} | {wrong} of {of} |");
            if ours.torn > 0 {
                println!("BROKEN: {name}, {reader}: {}", ours.first);
            }
            if ours.reads == 0 || ours.commits == 0 {
                println!("BROKEN: {name}, {reader}: nothing was read, or nothing written");
            }
            well &= ours.torn == 0 && ours.reads > 0 && ours.commits > 0;
            all = [all[0] + ours.commits, all[1] + ours.reads, all[2] + ours.torn];
        }
        for _ in 0..20 {
            if caught == 0 {
                caught = pair("mmap, by words").run(Duration::from_secs(1), true)?.torn;
            }
        }
        if caught == 0 {
            println!("BROKEN: {name}: the control was not caught");
            well = false;
        }
    }
    println!("{} appends, {} reads, {} torn", grouped(all[0]), grouped(all[1]), grouped(all[2]));
    Ok(well)
}

/// A reader beside a writer.
struct Pair<'a> {
    folder: &'a Path,
    scratch: &'a Path,
    reader: &'a str,
    python: Option<&'a PathBuf>,
}

impl Pair<'_> {
    fn run(&self, time: Duration, is_control: bool) -> Result<Seen> {
        let desk = self.scratch.join("desk");
        fs::create_dir(&desk)?;
        let words = Words::make(&desk.join("words"), 5)?;
        // No file yet.
        words.at(BEGUN).store(u64::MAX, Ordering::SeqCst);
        words.at(DONE).store(u64::MAX, Ordering::SeqCst);
        let [folder, desk_text] = [self.folder, &desk].map(|path| path.to_string_lossy().into_owned());
        let mut reader = match self.python.filter(|_| self.reader == NP_LOAD) {
            Some(python) => {
                let script = include_str!("read.py");
                Process::start(Command::new(python).args(["-c", script, &folder, &desk_text]))?
            }
            None => Process::again(["read", self.reader, &folder, &desk_text])?,
        };
        let start = Instant::now();
        while words.at(READY).load(Ordering::SeqCst) == 0 {
            if reader.has_ended() || start.elapsed() > Duration::from_secs(60) {
                return Err(format!("the reader {} did not begin", self.reader).into());
            }
            sleep(Duration::from_millis(1));
        }
        let writer = Process::again(["write", &folder, &desk_text, if is_control { "control" } else { "ours" }])?;
        sleep(time);
        words.at(STOP).store(1, Ordering::SeqCst);
        writer.output()?;
        let said = reader.output()?;
        let commits = words.at(COMMITS).load(Ordering::SeqCst);
        for entry in fs::read_dir(self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|name| name == "npy") {
                fs::remove_file(path)?;
            }
        }
        fs::remove_dir_all(&desk)?;
        let mut said = said.trim_end().splitn(3, ' ');
        let mut number = || said.next().and_then(|text| text.parse().ok()).ok_or("the reader said nothing");
        let (reads, torn) = (number()?, number()?);
        Ok(Seen { commits, reads, torn, first: said.next().unwrap_or_default().into() })
    }
}
