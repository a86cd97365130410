//! Many pieces of a file at once, in parallel: what is in memory is copied, what is not is asked for all together, then read.

mod fetch;
mod pieces;

pub(crate) use pieces::{Even, Pieces};

use crate::error::{Error, Result, error};
use crate::storage::{File, Mapped, Storage, read_cached, watch_for_faults};
use alloc::vec::Vec;
use core::ops::Range;
use core::{iter, mem};
use fetch::{Missing, fetch};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What pieces are copied from: a file and, where it is mapped, memory.
pub(crate) struct Source<'a> {
    pub(crate) file: &'a File,
    /// Where in the file the mapping begins.
    pub(crate) start: u64,
    /// All from there on, or nothing.
    pub(crate) map: &'a [u8],
    /// Whether the mapping holds changes that the file does not.
    pub(crate) is_private: bool,
    /// Whether it may be written through.
    pub(crate) is_writable: bool,
}

/// What the first touch of a huge page may take, which is not the disk's doing: the result is new memory.
const HUGE_PAGE: Duration = Duration::from_micros(400);

/// Work that is worth a thread: starting one takes a twentieth of it, but on a busy machine it comes late, and is waited for.
const SHARE: Duration = Duration::from_millis(1);

/// What one thread does before it is known how long the rest would take it: pieces cost between 2 ns, where they are in the
/// processor's cache, and some microseconds, where their pages were never touched.
const PILOT: Duration = Duration::from_micros(200);

/// Less than this is tried as it is.
const SAMPLED: usize = 64 << 10;

/// Copies out of the mapping, before pieces are read that fault in it.
const TRIES: usize = 3;

/// One piece of so many is looked at first, up to 16: whether they are in memory.
const SAMPLE: usize = 1024;

/// Copies pieces, which all lie within the mapping where there is one, to `out`, one after the other.
///
/// # Errors
///
/// `Mismatch` when the file is shorter than the mapping; `Io` when reading fails.
pub(crate) fn gather(source: &Source<'_>, pieces: &(impl Pieces + ?Sized), out: &mut [u8]) -> Result<()> {
    let all = 0..pieces.count();
    debug_assert_eq!(pieces.bytes(all.clone()), out.len());
    if out.is_empty() {
        return Ok(());
    }
    if !source.is_private && !source.map.is_empty() {
        watch_for_faults();
    }
    let missing = if source.is_private || source.seems_cached(pieces, out.len())? {
        copy_in_parallel(source, pieces, out)?
    } else {
        pieces.each(all, out).map(|(start, to)| (source.start + start, to)).collect()
    };
    fetch(source, missing)
}

impl Source<'_> {
    /// Whether a sample of a large request is in memory. Others are tried piece by piece: nothing is gained by sorting them.
    fn seems_cached(&self, pieces: &(impl Pieces + ?Sized), bytes: usize) -> Result<bool> {
        if bytes < SAMPLED {
            return Ok(true);
        }
        let count = pieces.count();
        for piece in (SAMPLE / 2..count).step_by(SAMPLE.max(count / 16)) {
            let size = pieces.bytes(piece..piece + 1).min(1);
            if !self.copy_cached(self.start + pieces.start(piece), &mut [0][..size])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Copies the bytes at an offset in the file by a system call that does not wait; `false` when they are not in memory.
    fn copy_cached(&self, offset: u64, to: &mut [u8]) -> Result<bool> {
        let got = read_cached(self.file.as_std(), to, offset);
        // Less than all of it may as well be the file's new end: reading again tells.
        got.map(|got| got == Some(to.len())).map_err(|why| Error::io("cannot read", &why))
    }

    /// Copies pieces out of the mapping. A file that is cut meanwhile is an error; one that is whole again is read again.
    fn copy_mapped(&self, pieces: &(impl Pieces + ?Sized), range: Range<usize>, out: &mut [u8]) -> Result<()> {
        if self.is_private {
            // The pages that were changed cannot be mapped again: a cut during the copy faults here.
            self.check_whole()?;
            pieces.copy(self.map, range, out);
            return Ok(());
        }
        let (bytes, offset, is_writable) = (self.map, self.start, self.is_writable);
        let mapped = Mapped { file: self.file.as_std(), bytes, offset, is_writable };
        for _ in 0..TRIES {
            if mapped.guarded(|| pieces.copy(self.map, range.clone(), out)) {
                return Ok(());
            }
            self.check_whole()?;
        }
        // A disk that fails faults too, each time; read(2) says so.
        pieces.each(range, out).try_for_each(|(start, to)| self.read(self.start + start, to))
    }

    /// Refuses where the file is shorter than the mapping.
    fn check_whole(&self) -> Result<()> {
        let (expected, found) = (self.start + self.map.len() as u64, self.file.len()?);
        if found < expected { Err(cut(expected, found)) } else { Ok(()) }
    }

    /// Reads the bytes at an offset in the file, waiting for them.
    fn read(&self, offset: u64, to: &mut [u8]) -> Result<()> {
        let got = self.file.read_up_to(offset, to)?;
        if got == to.len() { Ok(()) } else { Err(cut(offset + to.len() as u64, offset + got as u64)) }
    }
}

fn cut(expected: u64, found: u64) -> Error {
    error!(
        Mismatch,
        "the file was cut while it was read: expected at least {expected} bytes, found {found}: open it again"
    )
}

/// Copies what is in memory, and says what is not: by more threads than this one where what it did at first shows that the
/// rest is worth it.
fn copy_in_parallel<'o>(
    source: &Source<'_>,
    pieces: &(impl Pieces + ?Sized),
    out: &'o mut [u8],
) -> Result<Vec<Missing<'o>>> {
    let all = 0..pieces.count();
    if source.is_private {
        return copy_private(source, pieces, out);
    }
    // A touched page pays off later, and a fault touches its neighbours too: with small pieces, or many of the file's, so soon
    // that there are none.
    let pays_off = out.len() / all.len().max(1) < 2048 || source.map.len() / 64 < out.len();
    let mut left = Left { pieces, range: all, out, pays_off };
    let (began, whole) = (Instant::now(), left.work());
    let mut missing = copy(source, &mut left, PILOT)?;
    if left.range.is_empty() {
        return Ok(missing);
    }
    let rest = left.work();
    let threads = threads_for(began.elapsed().mul_f64(rest / (whole - rest)));
    let others = in_parallel(threads, left.shares(threads), |mut share| copy(source, &mut share, Duration::MAX))?;
    missing.extend(others.into_iter().flatten());
    Ok(missing)
}

/// The same where the mapping holds what the file does not: no system call could read it.
fn copy_private<'o>(
    source: &Source<'_>,
    pieces: &(impl Pieces + ?Sized),
    out: &'o mut [u8],
) -> Result<Vec<Missing<'o>>> {
    // Where the pages are touched: a cache miss for each, then 8 GB/s.
    let threads = threads_for(Duration::from_nanos(pieces.count() as u64 * 30 + out.len() as u64 / 8));
    let shares = Left { pieces, range: 0..pieces.count(), out, pays_off: true }.shares(threads);
    in_parallel(threads, shares, |share| source.copy_mapped(share.pieces, share.range, share.out))?;
    Ok(Vec::new())
}

/// How many threads are worth it for what one would do in this time.
fn threads_for(work: Duration) -> usize {
    if work < 2 * SHARE {
        return 1;
    }
    let worth = usize::try_from(work.as_nanos() / SHARE.as_nanos()).unwrap_or(usize::MAX);
    worth.min(thread::available_parallelism().map_or(1, NonZero::get))
}

/// Copies what is in memory, in whichever of two ways is the faster here, and says what is not; leaves the rest when `limit`
/// is over.
///
/// The mapping costs least once its pages are touched. A page that is not costs a fault, several times a system call that
/// copies it; one that is not in memory costs the disk's read-ahead too. No system tells cheaply which pages are which. So
/// now and then a piece by the system call, which never waits, shows whether those around are in memory and what they
/// cost; the mapping goes on, for twice as long each time, while it costs less.
fn copy<'o, P: Pieces + ?Sized>(
    source: &Source<'_>,
    left: &mut Left<'_, 'o, P>,
    limit: Duration,
) -> Result<Vec<Missing<'o>>> {
    const FIRST: usize = 64;
    const LAST: usize = 16 << 10;
    // Pieces by the system call for each that touched a new page.
    let (direct_share, first_turn) = if left.pays_off { (0, 4096) } else { (2, FIRST) };
    let (mut missing, mut spent) = (Vec::new(), Duration::ZERO);
    let (mut turn, mut caution) = (first_turn, FIRST);
    while !left.range.is_empty() && spent < limit {
        let began = Instant::now();
        let (probe, out) = left.take(1);
        let (work, missed) = (work(out.len(), 1), copy_directly(source, left.pieces, probe, out, &mut missing)?);
        let direct = began.elapsed().as_secs_f64() / work;
        let todo = match copy_turn(source, left, turn, direct, missed == 0, limit)? {
            Pace::Untouched(pieces) if direct_share > 0 => pieces * direct_share,
            Pace::Touched | Pace::Untouched(_) => {
                (turn, caution) = (LAST.min(2 * turn), FIRST.max(caution / 2));
                spent += began.elapsed();
                continue;
            }
            Pace::Disk => {
                caution = LAST.min(4 * caution);
                caution / 4
            }
        };
        turn = FIRST;
        let (range, out) = left.take(todo);
        copy_directly(source, left.pieces, range, out, &mut missing)?;
        spent += began.elapsed();
    }
    Ok(missing)
}

/// What copying costs, by which pieces of different length compare: a system call, or a few faults, as so many bytes.
fn work(bytes: usize, pieces: usize) -> f64 {
    (bytes + 2048 * pieces) as f64
}

/// What the mapping's pages turned out to be.
enum Pace {
    Touched,
    /// In memory, but so many pieces cost more than by the system call.
    Untouched(usize),
    /// Not in memory.
    Disk,
}

/// Copies up to `turn` pieces from the mapping, if they seem to be in memory, and stops where one is not. `direct` is what
/// their work costs by the system call, in seconds.
fn copy_turn(
    source: &Source<'_>,
    left: &mut Left<'_, '_, impl Pieces + ?Sized>,
    turn: usize,
    direct: f64,
    cached: bool,
    limit: Duration,
) -> Result<Pace> {
    if !cached || source.map.is_empty() {
        return Ok(Pace::Disk);
    }
    let size = left.out.len() / left.range.len().max(1);
    let last_step = (32 << 10) / size.clamp(32, 32 << 10);
    let (mut done, mut allowed, mut spent, mut step) = (0, 0.0, Duration::ZERO, last_step.div_ceil(64));
    while done < turn && !left.range.is_empty() && spent < limit {
        let began = Instant::now();
        let (range, out) = left.take(step.min(turn - done));
        (done, allowed) = (done + range.len(), allowed + direct * work(out.len(), range.len()));
        source.copy_mapped(left.pieces, range, out)?;
        (spent, step) = (spent + began.elapsed(), last_step.min(4 * step));
        if spent.as_secs_f64() > 16.0 * allowed + HUGE_PAGE.as_secs_f64() {
            source.check_whole()?;
            return Ok(Pace::Disk);
        }
    }
    // Afterwards: what was cut within a page read as zeros.
    source.check_whole()?;
    Ok(if spent.as_secs_f64() <= allowed { Pace::Touched } else { Pace::Untouched(done) })
}

/// The pieces that are still to be copied, and where to.
struct Left<'p, 'o, P: ?Sized> {
    pieces: &'p P,
    range: Range<usize>,
    out: &'o mut [u8],
    /// Whether to touch a page is worth what it costs.
    pays_off: bool,
}

impl<'p, 'o, P: Pieces + ?Sized> Left<'p, 'o, P> {
    fn work(&self) -> f64 {
        work(self.out.len(), self.range.len())
    }

    /// In several shares for each thread, so that one that is held up holds up nothing else.
    fn shares(mut self, threads: usize) -> impl Iterator<Item = Left<'p, 'o, P>> {
        let share = if threads == 1 { self.range.len() } else { self.range.len().div_ceil(4 * threads) };
        iter::from_fn(move || {
            let (range, out) = self.take(share);
            (!range.is_empty()).then_some(Left { pieces: self.pieces, range, out, pays_off: self.pays_off })
        })
    }

    fn take(&mut self, count: usize) -> (Range<usize>, &'o mut [u8]) {
        let end = self.range.start + count.min(self.range.len());
        let range = mem::replace(&mut self.range.start, end)..end;
        let (out, rest) = mem::take(&mut self.out).split_at_mut(self.pieces.bytes(range.clone()));
        self.out = rest;
        (range, out)
    }
}

/// Copies pieces by a system call for each, and says how many were not in memory.
fn copy_directly<'o>(
    source: &Source<'_>,
    pieces: &(impl Pieces + ?Sized),
    range: Range<usize>,
    out: &'o mut [u8],
    missing: &mut Vec<Missing<'o>>,
) -> Result<usize> {
    let before = missing.len();
    for (start, to) in pieces.each(range, out) {
        let offset = source.start + start;
        if !source.copy_cached(offset, to)? {
            missing.push((offset, to));
        }
    }
    Ok(missing.len() - before)
}

/// Does `work` on all shares, on this thread and up to `threads - 1` others; the first error ends it.
///
/// The threads end with the call: nothing is left for a fork to miss, or for an exit to wait for.
fn in_parallel<S: Send, R: Send>(
    threads: usize,
    shares: impl Iterator<Item = S> + Send,
    work: impl Fn(S) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let (shares, done) = (Mutex::new(shares), Mutex::new(Ok(Vec::new())));
    let labour = || {
        loop {
            let share = shares.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(share) = share else { break };
            let result = work(share);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            match (&mut *done, result) {
                (Ok(all), Ok(result)) => all.push(result),
                (Ok(_), Err(error)) => *done = Err(error),
                (Err(_), _) => {}
            }
            if done.is_err() {
                break;
            }
        }
    };
    thread::scope(|scope| {
        // Where no more threads can be had, those that are there do it all.
        let more = (1..threads).map_while(|_| thread::Builder::new().spawn_scoped(scope, labour).ok());
        more.for_each(drop);
        labour();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}
