//! Runs the logger on a simulated chip, and prints the memory that it took. `flash-logger FILE` keeps the chip's `.npy`.

mod heap;

use flash_logger::chip::Chip;
use flash_logger::{ROW, Sample, dump, open};
use heap::Heap;
use std::fmt;
use std::fs::File;
use std::io::Write as _;

const SAMPLES: u32 = 20_000;
const SAMPLES_A_SYNC: u32 = 500;
const BUFFER: usize = 20 * ROW;

/// What the logger took from the heap, the simulated chip left out.
struct Figures {
    buffering: usize,
    /// To begin a log.
    begun: Heap,
    /// To begin it and to take the first sample, where the buffer comes from.
    first: Heap,
    /// With every sample and every sync.
    logged: Heap,
    /// To go on with the log after a restart.
    resumed: Heap,
    programs: u32,
    erases: u32,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let later = self.logged.allocations - self.first.allocations;
        writeln!(f, "a buffer of {} bytes, {SAMPLES} samples, a sync every {SAMPLES_A_SYNC}", self.buffering)?;
        writeln!(f, "  begin         {:5} bytes at most, {} allocations", self.begun.peak, self.begun.allocations)?;
        writeln!(f, "  log           {:5} bytes held, {later} allocations after the first sample", self.logged.held)?;
        writeln!(f, "  begin and log {:5} bytes at most", self.logged.peak)?;
        writeln!(f, "  go on later   {:5} bytes at most, {} allocations", self.resumed.peak, self.resumed.allocations)?;
        write!(f, "  chip          {:5} pages programmed, {} blocks erased", self.programs, self.erases)
    }
}

fn sample(number: u32) -> Sample {
    let wave = (number % 200) as i16;
    Sample { time: 10 * number, accel: [wave - 100, 100 - wave, 1000], temp: 2150 + wave / 10 }
}

fn run(chip: &Chip, buffering: usize) -> npygrow::Result<Figures> {
    heap::start();
    let mut log = open(chip.clone(), buffering)?;
    let begun = heap::now();
    log.append_bytes(&sample(0).to_row())?;
    let first = heap::now();
    for number in 1..SAMPLES {
        log.append_bytes(&sample(number).to_row())?;
        if (number + 1) % SAMPLES_A_SYNC == 0 {
            log.sync()?;
        }
    }
    let logged = heap::now();
    log.close()?;

    heap::start();
    let log = open(chip.clone(), buffering)?;
    let resumed = heap::now();
    assert_eq!(log.len(), SAMPLES.into());
    Ok(Figures { buffering, begun, first, logged, resumed, programs: chip.programs(), erases: chip.wear().sum() })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", run(&Chip::default(), 0)?);
    let chip = Chip::default();
    println!("{}", run(&chip, BUFFER)?);
    if let Some(path) = std::env::args_os().nth(1) {
        let mut file = File::create(path)?;
        let mut written = Ok(());
        dump(chip, |bytes| {
            if written.is_ok() {
                written = file.write_all(bytes);
            }
        })?;
        written?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::process::Command;

    /// What docs/guides/small-devices.md promises.
    const MOST_BYTES: isize = 5 << 10;

    #[test]
    fn memory_is_bounded_and_appends_take_none() {
        // With the last, rows are in the buffer when a sync comes.
        for buffering in [0, BUFFER, 1000] {
            let figures = run(&Chip::default(), buffering).unwrap();
            assert_eq!(figures.logged.allocations, figures.first.allocations, "{figures}");
            assert_eq!(figures.logged.held, figures.first.held, "{figures}");
            assert_eq!(figures.first.allocations - figures.begun.allocations, usize::from(buffering > 0), "{figures}");
            assert_eq!(figures.first.held - figures.begun.held, buffering as isize, "{figures}");
            let most = MOST_BYTES + buffering as isize;
            assert!(figures.logged.peak <= most && figures.resumed.peak <= most, "{figures}");
        }
    }

    #[test]
    fn the_allocator_counts() {
        heap::start();
        let mut bytes = Vec::<u8>::with_capacity(1000);
        bytes.reserve_exact(3000);
        let (held, peak, allocations) = (heap::now().held, heap::now().peak, heap::now().allocations);
        drop(bytes);
        assert_eq!((held, peak, allocations), (3000, 4000, 2));
        assert_eq!(heap::now().held, 0);
    }

    /// The bytes themselves are compared in `flash_logger::tests`; this asks NumPy, where there is one.
    #[test]
    fn numpy_reads_the_image() {
        let chip = Chip::default();
        run(&chip, BUFFER).unwrap();
        let path = std::env::temp_dir().join(format!("flash-logger-{}.npy", std::process::id()));
        let mut file = File::create(&path).unwrap();
        dump(chip, |bytes| file.write_all(bytes).unwrap()).unwrap();
        let code = "import sys, numpy as np
log = np.load(sys.argv[1])
wave = np.arange(20_000) % 200
assert log.shape == (20_000,) and log.dtype.names == ('time', 'accel', 'temp'), log.dtype
assert (log['time'] == 10 * np.arange(20_000)).all()
assert (log['accel'] == np.stack([wave - 100, 100 - wave, 0 * wave + 1000], axis=1)).all()
assert (log['temp'] == 2150 + wave // 10).all()";
        let venv = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.venv/bin/python");
        let has_numpy = |python: &&str| {
            let found = Command::new(python).args(["-c", "import numpy"]).output();
            found.is_ok_and(|found| found.status.success())
        };
        match [venv, "python3"].iter().find(|python| has_numpy(python)) {
            Some(python) => {
                let read = Command::new(python).args(["-c", code]).arg(&path).output().unwrap();
                assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
            }
            None => eprintln!("skipped: no python3 with NumPy, so that NumPy was not asked"),
        }
        std::fs::remove_file(path).unwrap();
    }
}
