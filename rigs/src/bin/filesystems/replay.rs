//! A file system is used and its disk recorded; then the power is cut, again and again, and what is left is mounted.

use crate::calls::CALLS;
use crate::controls::{self, CONTROLS};
use crate::disk::{Event, Image, SECTOR};
use crate::judge::{Verdict, judge};
use crate::mounts::{Device, Kind, Result, interrupted};
use crate::run::{Random, Run, Subject, checkpoints};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use npygrow::Durability;
use std::collections::HashSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What is run: npygrow with a durability, or one of the wrong protocols.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    Npygrow(Durability),
    Control(usize),
}

/// What came of it.
pub(crate) struct Tally {
    pub(crate) what: What,
    pub(crate) recordings: u64,
    pub(crate) points: u64,
    /// (recording, point, what was kept): what was tried before is not counted again.
    seen: HashSet<u64>,
    /// States that the file system would not mount.
    pub(crate) refused: u64,
    /// Under `process`, states with rows missing or wrong that no `sync()` made durable.
    pub(crate) short: u64,
    pub(crate) wrong: u64,
    pub(crate) first: Option<String>,
}

impl Tally {
    fn new(what: What) -> Self {
        let seen = HashSet::new();
        Tally { what, recordings: 0, points: 0, seen, refused: 0, short: 0, wrong: 0, first: None }
    }

    /// Whether it is a wrong protocol that was not caught, on a file system where it can be.
    pub(crate) fn is_missed(&self, kind: &Kind) -> bool {
        let What::Control(at) = self.what else { return false };
        self.wrong == 0 && !CONTROLS[at].hidden_by.contains(&kind.name)
    }

    fn note(&mut self, verdict: Verdict, events: usize) {
        match verdict {
            Verdict::Right => {}
            Verdict::Short => self.short += 1,
            Verdict::Wrong(why) => {
                self.wrong += 1;
                self.first.get_or_insert_with(|| format!("{why} (of {events})"));
            }
        }
    }

    pub(crate) fn states(&self) -> usize {
        self.seen.len()
    }
}

/// Everything that is run on one file system, for `time`.
pub(crate) fn all(device: &Device, number: usize, time: Duration) -> Result<Vec<Tally>> {
    let kind = device.kind;
    let mut tallies: Vec<_> = [Durability::Power, Durability::Ordered, Durability::Process]
        .map(What::Npygrow)
        .into_iter()
        .chain((0..CONTROLS.len()).map(What::Control))
        .map(Tally::new)
        .collect();
    let until = Instant::now() + time;
    let turn = (time / 24).clamp(Duration::from_millis(600), Duration::from_secs(5));
    let mut round = 0;
    while round == 0 || Instant::now() < until {
        for (place, tally) in tallies.iter_mut().enumerate() {
            // A wrong protocol is caught early.
            let turn = if let What::Control(_) = tally.what { turn / 3 } else { turn };
            let until = if round == 0 { Instant::now() + turn } else { until.min(Instant::now() + turn) };
            if interrupted() {
                return Err("interrupted".into());
            }
            let seed = (number * 16 + place) as u64 + (round << 8);
            one(device, tally, seed, until)?;
            let mut more = 0;
            while tally.is_missed(kind) && more < 20 {
                more += 1;
                one(device, tally, seed + (more << 32), Instant::now() + turn)?;
            }
        }
        round += 1;
    }
    Ok(tallies)
}

/// Records once, and cuts the power until it is time.
fn one(device: &Device, tally: &mut Tally, seed: u64, until: Instant) -> Result<()> {
    let Recording { durability, before, start, subjects, events } = record(device, tally.what, seed)?;
    let images = checkpoints(before, &events);
    let mut random = Random(seed);
    tally.recordings += 1;
    // A stride that has no common divisor with the number of points meets each of them.
    let points = (events.len() - start) as u64 + 1;
    let mut at = random.below(points);
    let stride = (points / 2..=points).find(|&stride| divisor(stride, points) == 1).unwrap_or(1);
    let mut met = HashSet::new();
    while Instant::now() < until && !interrupted() {
        at = (at + stride) % points;
        let cut = start + at as usize;
        tally.points += u64::from(met.insert(cut));
        for how in HOWS {
            let (image, kept) = cut_after(&images, &events, cut, how, &mut random);
            let mut hasher = DefaultHasher::new();
            (seed, cut, kept).hash(&mut hasher);
            if !tally.seen.insert(hasher.finish()) {
                continue;
            }
            device.disk.put(image);
            match device.mount() {
                Ok(mounted) => {
                    tally.note(judge(mounted.at(), &subjects, durability, cut), events.len());
                    mounted.unmount()?;
                }
                // Of its own blocks too some sectors may be old and some new, and not every file system mends that.
                Err(_) if matches!(how, How::Some { .. }) => tally.refused += 1,
                Err(why) => return Err(format!("not mounted, though no write was torn, after {cut} events: {why}")),
            }
        }
    }
    Ok(())
}

fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// What was done, and to what the disk held before.
struct Recording {
    durability: Durability,
    before: Image,
    start: usize,
    subjects: Vec<Subject>,
    events: Vec<Event>,
}

/// Uses the file system while a second thread makes it write at moments that nobody chose.
fn record(device: &Device, what: What, seed: u64) -> Result<Recording> {
    let mounted = device.mount_fresh()?;
    nix::unistd::syncfs(File::open(mounted.at()).map_err(|why| why.to_string())?).map_err(|why| why.to_string())?;
    let before = device.disk.record();
    let durability = match what {
        What::Npygrow(durability) => durability,
        What::Control(at) => CONTROLS[at].judged,
    };
    let mut run = Run::new(&device.disk, mounted.at(), durability, seed);
    let done = AtomicBool::new(false);
    let worked = thread::scope(|scope| {
        scope.spawn(|| disturb(mounted.at(), seed, &done));
        let worked = match what {
            What::Npygrow(_) => (0..2).try_for_each(|call| {
                let call = (seed ^ (seed >> 8)) + call * 5;
                CALLS[call as usize % CALLS.len()].1(&mut run)
            }),
            What::Control(at) => controls::append(&mut run, &CONTROLS[at]),
        };
        done.store(true, Ordering::Relaxed);
        worked
    });
    worked?;
    let start = run.start();
    let (subjects, events) = run.finish();
    mounted.unmount()?;
    Ok(Recording { durability, before, start, subjects, events })
}

/// The kernel may write any dirty page at any time: so it does, now one and now another.
fn disturb(root: &Path, seed: u64, done: &AtomicBool) {
    let mut random = Random(!seed);
    while !done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_micros(random.below(3000)));
        let names: Vec<_> = fs::read_dir(root).into_iter().flatten().flatten().collect();
        let Some(name) = names.get(random.below(names.len() as u64) as usize) else { continue };
        let Ok(file) = File::open(name.path()) else { continue };
        let (from, len) = (random.below(16) as i64 * 4096, 4096 << random.below(5));
        // To say that pages are not needed begins to write those that are dirty, and flushes nothing.
        let _ = posix_fadvise(&file, from, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        if random.below(32) == 0 {
            let _ = nix::unistd::syncfs(&file);
        }
    }
}

/// What is kept of the writes since the last flush.
#[derive(Clone, Copy)]
enum How {
    All,
    None,
    /// Sectors, or blocks of eight, each for itself: so many in eight.
    Some {
        sectors: usize,
        of_8: u64,
    },
}

const HOWS: [How; 6] = [
    How::All,
    How::None,
    How::Some { sectors: 8, of_8: 4 },
    How::Some { sectors: 1, of_8: 4 },
    How::Some { sectors: 8, of_8: 7 },
    How::Some { sectors: 1, of_8: 1 },
];

/// What a power cut after `cut` events may leave, and which writes it kept.
fn cut_after(
    images: &[(usize, Image)],
    events: &[Event],
    cut: usize,
    how: How,
    random: &mut Random,
) -> (Image, Vec<bool>) {
    let durable = images.partition_point(|(at, _)| *at <= cut).saturating_sub(1);
    let (at, mut image) = images[durable].clone();
    let mut kept = Vec::new();
    for event in &events[at..cut] {
        let Event::Write { offset, bytes } = event else { continue };
        let size = match how {
            How::Some { sectors, .. } => sectors * SECTOR,
            How::All | How::None => bytes.len().max(1),
        };
        for (piece, bytes) in bytes.chunks(size).enumerate() {
            let keep = match how {
                How::All => true,
                How::None => false,
                How::Some { of_8, .. } => random.below(8) < of_8,
            };
            if keep {
                image.write(offset + (piece * size) as u64, bytes);
            }
            kept.extend(vec![keep; bytes.len() / SECTOR]);
        }
    }
    (image, kept)
}
