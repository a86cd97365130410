//! Many writers of one file, one ragged folder, one dataset: no batch is lost, none is there twice, none is torn apart.
//!
//! Processes of two threads append batches whose rows say who wrote them, the how-manieth they are and of how many rows. Most
//! take turns, with and without a buffer; some want to be alone. All the while processes are killed, by preference those that
//! hold a lock, and others started in their place. In the end every batch that a writer was told of must be there once,
//! whole, in the writer's order, and where it was told. Writers without a lock must be seen to do worse.

mod batch;
mod write;

use batch::{What, Wrong, judge, read};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use npygrow::{Appender, Options};
use npygrow_rigs::shared::Words;
use npygrow_rigs::{Process, Random, Scratch, grouped, seconds};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};
use write::Manners;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

// The words that all processes share.
const STOP: usize = 0;
/// The process that waits for its end within an append.
const ARRESTED: usize = 1;
/// From here on of each writer: how many batches are acknowledged, and where the last two begin.
const WRITERS: usize = 2;
const WRITER_WORDS: usize = 3;
const MOST_WRITERS: u64 = 10_000;

fn main() -> ExitCode {
    let task: Vec<String> = std::env::args().skip(1).collect();
    let done = match task.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", what, manners, path, words, first] => child(what, manners, path, words, first),
        _ => seconds(20).map_err(Into::into).and_then(run),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("writers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn child(what: &str, manners: &str, path: &str, words: &str, first: &str) -> Result<bool> {
    let what = What::ALL.into_iter().find(|one| one.name() == what).ok_or("no such thing to write")?;
    let manners = match manners {
        "turns" => Manners::Turns,
        "alone" => Manners::Alone,
        _ => Manners::None,
    };
    write::write(what, manners, path.as_ref(), words.as_ref(), first.parse()?).map(|()| true)
}

/// What came of one run, or of several.
#[derive(Default)]
struct Sum {
    runs: u64,
    acknowledged: u64,
    kills: u64,
    /// Of these, how many held a lock.
    holders: u64,
    wrong: Wrong,
}

/// Whether all went as promised.
fn run(time: Duration) -> Result<bool> {
    let scratch = Scratch::new()?;
    println!("| what | runs | batches acknowledged | kills | of lock holders | lost | doubled | interleaved |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut well = true;
    let share = time * 3 / 10;
    let mut random = Random(std::process::id().into());
    for what in What::ALL {
        let (start, mut sum) = (Instant::now(), Sum::default());
        while sum.runs == 0 || start.elapsed() < share {
            let length = Duration::from_millis(300 + random.below(1200)).min(share);
            Crowd::new(&scratch, what, false)?.run(length, &mut random, &mut sum)?;
        }
        well &= sum.wrong == Wrong::default() && sum.acknowledged > 0 && sum.holders > 0;
        print(what.name(), &sum);
        if sum.holders == 0 {
            println!("BROKEN: no holder of a lock was killed");
        }
    }
    let mut control = Sum::default();
    let start = Instant::now();
    while control.wrong == Wrong::default() && start.elapsed() < Duration::from_secs(20) || control.runs == 0 {
        Crowd::new(&scratch, What::File, true)?.run(time / 20, &mut random, &mut control)?;
    }
    print("file, without a lock", &control);
    if control.wrong == Wrong::default() {
        println!("BROKEN: the control was not caught");
        well = false;
    }
    Ok(well)
}

fn print(name: &str, sum: &Sum) {
    let Wrong { lost, doubled, interleaved } = sum.wrong;
    let numbers = [sum.runs, sum.acknowledged, sum.kills, sum.holders, lost, doubled, interleaved].map(grouped);
    println!("| {name} | {} |", numbers.join(" | "));
}

/// The processes of one run.
struct Crowd<'a> {
    scratch: &'a Scratch,
    what: What,
    is_control: bool,
    words: Words,
    processes: Vec<Process>,
    writers: u64,
}

impl Crowd<'_> {
    fn new(scratch: &Scratch, what: What, is_control: bool) -> Result<Crowd<'_>> {
        fs::create_dir(scratch.path().join("run"))?;
        let words =
            Words::make(&scratch.path().join("run/words"), WRITERS as u64 + MOST_WRITERS * WRITER_WORDS as u64)?;
        Ok(Crowd { scratch, what, is_control, words, processes: Vec::new(), writers: 0 })
    }

    fn run(mut self, time: Duration, random: &mut Random, sum: &mut Sum) -> Result<()> {
        let folder = self.scratch.path().join("run");
        let path = folder.join("target");
        if self.is_control {
            Appender::options().dtype("<u8".parse()?).row_shape([4]).open(&path)?.close()?;
        }
        for _ in 0..3 {
            self.start(&path)?;
        }
        let start = Instant::now();
        while start.elapsed() < time {
            sleep(Duration::from_millis(2 + random.below(30)));
            if !self.is_control {
                self.kill_one(random, sum)?;
                self.start(&path)?;
            }
        }
        self.words.at(STOP).store(1, Ordering::SeqCst);
        for process in self.processes.drain(..) {
            process.output()?;
        }
        sum.runs += 1;
        self.check(&path, sum)?;
        fs::remove_dir_all(folder)?;
        Ok(())
    }

    fn start(&mut self, path: &Path) -> Result<()> {
        if self.writers + 2 > MOST_WRITERS {
            return Ok(());
        }
        let manners = match self.writers {
            _ if self.is_control => "none",
            writers if writers % 8 == 4 => "alone",
            _ => "turns",
        };
        let [path, words] = [path.to_path_buf(), self.scratch.path().join("run/words")];
        let [path, words] = [path, words].map(|path| path.to_string_lossy().into_owned());
        let first = self.writers.to_string();
        self.processes.push(Process::again(["write", self.what.name(), manners, &path, &words, &first])?);
        self.writers += 2;
        Ok(())
    }

    /// Kills one process. It is stopped first, so that it can be told whether it holds a lock; by preference one that does.
    fn kill_one(&mut self, random: &mut Random, sum: &mut Sum) -> Result<()> {
        let arrested = self.words.at(ARRESTED).swap(0, Ordering::SeqCst);
        let mut at = random.below(self.processes.len() as u64) as usize;
        at = self.processes.iter().position(|process| u64::from(process.id()) == arrested).unwrap_or(at);
        for _ in 0..4 {
            if self.processes[at].has_ended() {
                // Nobody asked it to.
                self.processes.remove(at).output()?;
                return Err("a process ended by itself".into());
            }
            let id = self.processes[at].id();
            let pid = Pid::from_raw(id.cast_signed());
            kill(pid, Signal::SIGSTOP)?;
            sleep(Duration::from_micros(200));
            let holds = holds_a_lock(id);
            if holds || random.below(3) == 0 {
                sum.holders += u64::from(holds);
                break;
            }
            kill(pid, Signal::SIGCONT)?;
            at = random.below(self.processes.len() as u64) as usize;
        }
        self.processes.remove(at).kill();
        sum.kills += 1;
        Ok(())
    }

    fn check(&self, path: &Path, sum: &mut Sum) -> Result<()> {
        let word =
            |writer: u64, index| self.words.at(WRITERS + writer as usize * WRITER_WORDS + index).load(Ordering::SeqCst);
        // A writer that was never told anything leaves zeros.
        let told: BTreeMap<u64, batch::Told> =
            (0..self.writers).map(|writer| (writer, (word(writer, 0), [word(writer, 1), word(writer, 2)]))).collect();
        sum.acknowledged += told.values().map(|(batches, _)| batches).sum::<u64>();
        let found = match read(self.what, path) {
            Ok(found) => found,
            Err(error) if self.is_control => {
                println!("caught: {error}");
                sum.wrong.interleaved += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let Wrong { lost, doubled, interleaved } = judge(&found, &told);
        sum.wrong.lost += lost;
        sum.wrong.doubled += doubled;
        sum.wrong.interleaved += interleaved;
        if self.is_control {
            return Ok(());
        }
        // The next appender cuts what a killed one left, and nothing else.
        match self.what {
            What::File => Options::default().open(path)?.close()?,
            What::Ragged => Options::default().open_ragged(path)?.close()?,
            What::Dataset => Options::default().open_dataset(path)?.close()?,
        }
        if read(self.what, path)? != found {
            return Err("opening it again changed what is there".into());
        }
        Ok(())
    }
}

/// Whether a process that is stopped holds a lock on a file.
fn holds_a_lock(process: u32) -> bool {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    // `1: FLOCK ADVISORY WRITE 1234 ...`; with an arrow after the number for those that wait.
    locks.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some("FLOCK") && words.nth(2).is_some_and(|word| word == process.to_string())
    })
}
