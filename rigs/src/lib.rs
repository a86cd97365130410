//! What the rigs share: how a run is asked for, and how it says what it did.
//!
//! Each rig is a program of its own (`src/bin`). `--seconds N` says how long it goes on; it prints a table of what it
//! ran, a line `SKIPPED: reason` for each part that cannot run here, and ends with status 1 where a promise was broken,
//! or where a protocol that is wrong on purpose was not caught.

pub mod images;
pub mod shared;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

/// How long the rig is to go on: `--seconds N`, or `default`.
///
/// # Errors
///
/// Says what it was called with, when that is anything else.
pub fn seconds(default: u64) -> Result<Duration, String> {
    let given: Vec<String> = env::args().skip(1).collect();
    let seconds = match given.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Some(default),
        ["--seconds", number] => number.parse().ok(),
        _ => None,
    };
    seconds.map(Duration::from_secs).ok_or_else(|| format!("expected --seconds N, found {}", given.join(" ")))
}

/// A folder of this run, in the current one; it goes with it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// As making a folder.
    pub fn new() -> io::Result<Scratch> {
        let path = env::current_dir()?.join(format!("npygrow-rig-{}", process::id()));
        fs::create_dir(&path)?;
        Ok(Scratch(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process of this run; it goes with it.
#[derive(Debug)]
pub struct Process(Option<Child>);

impl Process {
    /// Starts it, its standard output for [`output`](Process::output).
    ///
    /// # Errors
    ///
    /// As starting a process.
    pub fn start(command: &mut Command) -> io::Result<Process> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map(|child| Process(Some(child)))
    }

    /// This very program, with a task in place of `--seconds`.
    ///
    /// # Errors
    ///
    /// As starting a process.
    pub fn again<S: AsRef<OsStr>>(task: impl IntoIterator<Item = S>) -> io::Result<Process> {
        Process::start(Command::new(env::current_exe()?).args(task))
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.as_ref().map_or(0, Child::id)
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.0.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        let child = self.0.as_mut()?;
        let _ = child.kill();
        child.wait().ok()
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// As waiting for a process; one that failed.
    pub fn output(mut self) -> io::Result<String> {
        let child = self.0.take().ok_or(io::ErrorKind::NotFound)?;
        let Output { status, stdout, .. } = child.wait_with_output()?;
        if !status.success() {
            return Err(io::Error::other(format!("a process of the rig ended with {status}")));
        }
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A Python that has NumPy: `$PYTHON`, the repository's own environment, or the system's.
#[must_use]
pub fn python() -> Option<PathBuf> {
    let given = env::var_os("PYTHON").map(PathBuf::from);
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python");
    let has_numpy = |python: &PathBuf| {
        let import = Command::new(python).args(["-c", "import numpy"]).stderr(Stdio::null()).status();
        import.is_ok_and(|status| status.success())
    };
    [given, Some(own), Some("python3".into())].into_iter().flatten().find(has_numpy)
}

/// A number as the tables print it: 1234567 is `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Numbers that look random, the same for the same seed.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// One of `0..below`.
    pub fn below(&mut self, below: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below
    }
}
