//! Many rows at once, in parallel: what is in memory is copied, what is not is asked for all together, then read.

use crate::error::{Error, Result, error};
use crate::storage::{File, Mapped, READS_AHEAD, Storage, read_cached, read_soon, watch_for_faults};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What rows are copied from: all of one size, in a file and, where it is mapped, in memory.
pub(crate) struct Source<'a> {
    pub(crate) file: &'a File,
    /// The offset of row 0 in the file.
    pub(crate) start: u64,
    /// From one row to the next: more than `row_size` where only a part of each is copied.
    pub(crate) stride: usize,
    /// All from row 0 on, or nothing.
    pub(crate) map: &'a [u8],
    /// Whether the mapping holds changes that the file does not.
    pub(crate) is_private: bool,
    /// Whether it may be written through.
    pub(crate) is_writable: bool,
    pub(crate) row_size: usize,
}

/// A row that is not in memory, and where it goes.
type Missing<'o> = (u64, &'o mut [u8]);

/// Bytes that lie in memory before a thread reads them: enough for the disk to choose from, too few to be evicted again.
pub(crate) const AHEAD: usize = 4 << 20;

/// The most bytes that are read at once to be dealt out.
const SPAN: usize = 256 << 10;

/// Rows whose pages touch are read at once.
const PAGE: u64 = 4096;

/// Threads that read what is not in memory. The disk is busy with one already, where it can be asked ahead; the others
/// submit, copy, and stand in where it cannot.
pub(crate) const READERS: usize = 8;

/// What the first touch of a huge page may take, which is not the disk's doing: the result is new memory.
const HUGE_PAGE: Duration = Duration::from_micros(400);

/// Work that is worth a thread: starting one takes a twentieth of it, but on a busy machine it comes late, and is waited for.
const SHARE: Duration = Duration::from_millis(1);

/// What one thread does before it is known how long the rest would take it: rows cost between 2 ns, where they are in the
/// processor's cache, and some microseconds, where their pages were never touched.
const PILOT: Duration = Duration::from_micros(200);

/// Less than this is tried as it is.
const SAMPLED: usize = 64 << 10;

/// Copies out of the mapping, before rows are read that fault in it.
const TRIES: usize = 3;

/// One row of so many is looked at first, up to 16: whether they are in memory.
const SAMPLE: usize = 1024;

/// Copies `rows`, each below the count, to `out`, in this order.
///
/// # Errors
///
/// `Mismatch` when the file is shorter than the mapping; `Io` when reading fails.
pub(crate) fn gather(source: &Source<'_>, rows: &[u64], out: &mut [u8]) -> Result<()> {
    debug_assert_eq!(rows.len().checked_mul(source.row_size), Some(out.len()));
    if out.is_empty() {
        return Ok(());
    }
    if !source.is_private && !source.map.is_empty() {
        watch_for_faults();
    }
    let missing = if source.is_private || source.seems_cached(rows)? {
        copy_in_parallel(source, rows, out)?
    } else {
        rows.iter().copied().zip(out.chunks_exact_mut(source.row_size)).collect()
    };
    fetch(source, missing)
}

impl Source<'_> {
    fn offset(&self, row: u64) -> u64 {
        self.start + row * self.stride as u64
    }

    /// Whether a sample of a large request is in memory. Others are tried row by row: nothing is gained by sorting them.
    fn seems_cached(&self, rows: &[u64]) -> Result<bool> {
        if rows.len() * self.row_size < SAMPLED {
            return Ok(true);
        }
        for &row in rows.iter().skip(SAMPLE / 2).step_by(SAMPLE.max(rows.len() / 16)) {
            if !self.copy_cached(row, &mut [0])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Copies the first bytes of a row by a system call that does not wait; `false` when they are not in memory.
    fn copy_cached(&self, row: u64, to: &mut [u8]) -> Result<bool> {
        let got = read_cached(self.file.as_std(), to, self.offset(row));
        // Less than all of it may as well be the file's new end: reading again tells.
        got.map(|got| got == Some(to.len())).map_err(|why| Error::io("cannot read", &why))
    }

    /// Copies rows out of the mapping. A file that is cut meanwhile is an error; one that is whole again is read again.
    fn copy_mapped(&self, rows: &[u64], out: &mut [u8]) -> Result<()> {
        if self.is_private {
            // The pages that were changed cannot be mapped again: a cut during the copy faults here.
            self.check_whole()?;
            self.copy_pages(rows, out);
            return Ok(());
        }
        let (bytes, offset, is_writable) = (self.map, self.start, self.is_writable);
        let mapped = Mapped { file: self.file.as_std(), bytes, offset, is_writable };
        for _ in 0..TRIES {
            if mapped.guarded(|| self.copy_pages(rows, out)) {
                return Ok(());
            }
            self.check_whole()?;
        }
        // A disk that fails faults too, each time; read(2) says so.
        let mut each = rows.iter().zip(out.chunks_exact_mut(self.row_size));
        each.try_for_each(|(&row, to)| self.read(row, to))
    }

    fn copy_pages(&self, rows: &[u64], out: &mut [u8]) {
        match self.row_size {
            size if size < self.stride => {
                for (&row, to) in rows.iter().zip(out.chunks_exact_mut(size)) {
                    let at = row as usize * self.stride;
                    to.copy_from_slice(&self.map[at..at + size]);
                }
            }
            1 => self.copy_sized::<1>(rows, out),
            2 => self.copy_sized::<2>(rows, out),
            4 => self.copy_sized::<4>(rows, out),
            8 => self.copy_sized::<8>(rows, out),
            16 => self.copy_sized::<16>(rows, out),
            size => {
                for (&row, to) in rows.iter().zip(out.chunks_exact_mut(size)) {
                    let at = row as usize * size;
                    to.copy_from_slice(&self.map[at..at + size]);
                }
            }
        }
    }

    /// The same for a size that the compiler knows: a move instead of a call.
    fn copy_sized<const N: usize>(&self, rows: &[u64], out: &mut [u8]) {
        let (from, _) = self.map.as_chunks::<N>();
        for (&row, to) in rows.iter().zip(out.as_chunks_mut::<N>().0) {
            *to = from[row as usize];
        }
    }

    /// Refuses where the file is shorter than the mapping.
    fn check_whole(&self) -> Result<()> {
        let (expected, found) = (self.start + self.map.len() as u64, self.file.len()?);
        if found < expected { Err(cut(expected, found)) } else { Ok(()) }
    }

    /// Reads the bytes from a row on, waiting for them.
    fn read(&self, row: u64, to: &mut [u8]) -> Result<()> {
        let offset = self.offset(row);
        let got = self.file.read_up_to(offset, to)?;
        if got == to.len() { Ok(()) } else { Err(cut(offset + to.len() as u64, offset + got as u64)) }
    }
}

pub(crate) fn cut(expected: u64, found: u64) -> Error {
    error!(
        Mismatch,
        "the file was cut while it was read: expected at least {expected} bytes, found {found}: open it again"
    )
}

/// Copies what is in memory, and says what is not: by more threads than this one where what it did at first shows that the
/// rest is worth it.
fn copy_in_parallel<'o>(source: &Source<'_>, rows: &[u64], out: &'o mut [u8]) -> Result<Vec<Missing<'o>>> {
    if source.is_private {
        return copy_private(source, rows, out);
    }
    let (began, count, size) = (Instant::now(), rows.len(), source.row_size);
    // A touched page pays off later, and a fault touches its neighbours too: with small rows, or many of the file's, so soon
    // that there are none.
    let pays_off = size < 2048 || source.map.len() / 512 < out.len();
    let mut left = Left { rows, out, size, pays_off };
    let mut missing = copy(source, &mut left, PILOT)?;
    let rest = left.rows.len();
    if rest == 0 {
        return Ok(missing);
    }
    let threads = threads_for(began.elapsed().mul_f64(rest as f64 / (count - rest) as f64));
    let others = in_parallel(threads, left.shares(threads), |mut share| copy(source, &mut share, Duration::MAX))?;
    missing.extend(others.into_iter().flatten());
    Ok(missing)
}

/// The same where the mapping holds what the file does not: no system call could read it.
fn copy_private<'o>(source: &Source<'_>, rows: &[u64], out: &'o mut [u8]) -> Result<Vec<Missing<'o>>> {
    let threads = threads_for(estimate(rows.len(), out.len()));
    let shares = Left { rows, out, size: source.row_size, pays_off: true }.shares(threads);
    in_parallel(threads, shares, |share| source.copy_mapped(share.rows, share.out))?;
    Ok(Vec::new())
}

/// What copying so many pieces takes where their pages are touched: a cache miss for each, then 8 GB/s.
pub(crate) fn estimate(pieces: usize, bytes: usize) -> Duration {
    Duration::from_nanos(pieces as u64 * 30 + bytes as u64 / 8)
}

/// How many threads are worth it for what one would do in this time.
pub(crate) fn threads_for(work: Duration) -> usize {
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
/// now and then a few rows by the system call, which never waits, show whether those around are in memory and what a row
/// costs; the mapping goes on, for twice as long each time, while it costs less.
fn copy<'o>(source: &Source<'_>, left: &mut Left<'_, 'o>, limit: Duration) -> Result<Vec<Missing<'o>>> {
    const PROBE: usize = 1;
    const FIRST: usize = 64;
    const LAST: usize = 16 << 10;
    // Rows by the system call for each that touched a new page.
    let (direct_share, first_turn) = if left.pays_off { (0, 4096) } else { (2, FIRST) };
    let (mut missing, mut spent) = (Vec::new(), Duration::ZERO);
    let (mut turn, mut caution) = (first_turn, FIRST);
    while !left.rows.is_empty() && spent < limit {
        let began = Instant::now();
        let (rows, out) = left.take(PROBE);
        let missed = copy_directly(source, rows, out, &mut missing)?;
        let direct = began.elapsed() / rows.len() as u32;
        let pace = copy_turn(source, left, turn, direct, missed == 0, limit)?;
        let todo = match pace {
            Pace::Untouched(rows) if direct_share > 0 => rows * direct_share,
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
        let (rows, out) = left.take(todo);
        copy_directly(source, rows, out, &mut missing)?;
        spent += began.elapsed();
    }
    Ok(missing)
}

/// What the mapping's pages turned out to be.
enum Pace {
    Touched,
    /// In memory, but so many rows cost more than by the system call.
    Untouched(usize),
    /// Not in memory.
    Disk,
}

/// Copies up to `turn` rows from the mapping, if they seem to be in memory, and stops where one is not. `direct` is what a
/// row costs by the system call.
fn copy_turn(
    source: &Source<'_>,
    left: &mut Left<'_, '_>,
    turn: usize,
    direct: Duration,
    cached: bool,
    limit: Duration,
) -> Result<Pace> {
    if !cached || source.map.is_empty() {
        return Ok(Pace::Disk);
    }
    let last_step = (32 << 10) / source.row_size.clamp(32, 32 << 10);
    let (mut done, mut spent, mut step) = (0, Duration::ZERO, last_step.div_ceil(64));
    while done < turn && !left.rows.is_empty() && spent < limit {
        let began = Instant::now();
        let (rows, out) = left.take(step.min(turn - done));
        source.copy_mapped(rows, out)?;
        (done, spent, step) = (done + rows.len(), spent + began.elapsed(), last_step.min(4 * step));
        if spent > direct * 16 * done as u32 + HUGE_PAGE {
            source.check_whole()?;
            return Ok(Pace::Disk);
        }
    }
    // Afterwards: what was cut within a page read as zeros.
    source.check_whole()?;
    Ok(if spent <= direct * done as u32 { Pace::Touched } else { Pace::Untouched(done) })
}

/// The rows that are still to be copied, and where to.
struct Left<'r, 'o> {
    rows: &'r [u64],
    out: &'o mut [u8],
    size: usize,
    /// Whether to touch a page is worth what it costs.
    pays_off: bool,
}

impl<'r, 'o> Left<'r, 'o> {
    fn take(&mut self, count: usize) -> (&'r [u64], &'o mut [u8]) {
        let (rows, rest) = self.rows.split_at(count.min(self.rows.len()));
        self.rows = rest;
        let (out, rest) = std::mem::take(&mut self.out).split_at_mut(rows.len() * self.size);
        self.out = rest;
        (rows, out)
    }

    /// In several shares for each thread, so that one that is held up holds up nothing else.
    fn shares(self, threads: usize) -> impl Iterator<Item = Left<'r, 'o>> {
        let Left { rows, out, size, pays_off } = self;
        let share = if threads == 1 { rows.len() } else { rows.len().div_ceil(4 * threads) };
        let each = rows.chunks(share).zip(out.chunks_mut(share * size));
        each.map(move |(rows, out)| Left { rows, out, size, pays_off })
    }
}

/// Copies what is in memory by a system call for each row, and says how many rows were not.
fn copy_directly<'o>(
    source: &Source<'_>,
    rows: &[u64],
    out: &'o mut [u8],
    missing: &mut Vec<Missing<'o>>,
) -> Result<usize> {
    let before = missing.len();
    for (&row, to) in rows.iter().zip(out.chunks_exact_mut(source.row_size)) {
        if !source.copy_cached(row, to)? {
            missing.push((row, to));
        }
    }
    Ok(missing.len() - before)
}

/// Reads what is not in memory: in the order of the file, neighbours at once.
fn fetch(source: &Source<'_>, mut missing: Vec<Missing<'_>>) -> Result<()> {
    missing.sort_unstable_by_key(|(row, _)| *row);
    let mut groups = grouped(source, &mut missing);
    // Where the system cannot be told ahead what will be read, only waiting for several at once keeps the disk busy.
    let worth = if READS_AHEAD { groups.len().div_ceil(64) } else { groups.len() };
    let threads = worth.clamp(1, READERS);
    let share = groups.len().div_ceil(threads).max(1);
    in_parallel(threads, groups.chunks_mut(share), |groups| fetch_share(source, groups))?;
    Ok(())
}

/// Sorted rows, cut where there are pages between them that nobody asked for, or a group gets large.
fn grouped<'g, 'o>(source: &Source<'_>, mut rest: &'g mut [Missing<'o>]) -> Vec<&'g mut [Missing<'o>]> {
    let (mut groups, size) = (Vec::new(), source.row_size as u64);
    while let Some(((first, _), others)) = rest.split_first() {
        let (begin, mut last) = (source.offset(*first), *first);
        let joined = others.iter().take_while(|(row, _)| {
            let (begins, ended) = (source.offset(*row), source.offset(last) + size);
            let end = begins + size;
            let joins = *row == last || begins <= ended.next_multiple_of(PAGE) && end - begin <= SPAN as u64;
            last = *row;
            joins
        });
        let count = 1 + joined.count();
        let (group, after) = rest.split_at_mut(count);
        groups.push(group);
        rest = after;
    }
    groups
}

/// Reads groups one after the other, with the system told of those that follow.
fn fetch_share(source: &Source<'_>, groups: &mut [&mut [Missing<'_>]]) -> Result<()> {
    let (mut told, mut ahead) = (0, 0);
    let mut span = Vec::new();
    for at in 0..groups.len() {
        while told < groups.len() && (told <= at || ahead < AHEAD) {
            let (first, len) = extent(source, groups[told]);
            read_soon(source.file.as_std(), source.offset(first), len.min(AHEAD));
            (told, ahead) = (told + 1, ahead + len);
        }
        let (first, len) = extent(source, groups[at]);
        read_group(source, first, len, groups[at], &mut span)?;
        ahead -= len;
    }
    Ok(())
}

/// The first row of a sorted group, and the bytes up to the end of its last.
fn extent(source: &Source<'_>, group: &[Missing<'_>]) -> (u64, usize) {
    let (first, last) = (group[0].0, group[group.len() - 1].0);
    (first, (last - first) as usize * source.stride + source.row_size)
}

/// Reads a group straight into its place if it is one row, else at once, and deals it out.
fn read_group(
    source: &Source<'_>,
    first: u64,
    len: usize,
    group: &mut [Missing<'_>],
    span: &mut Vec<u8>,
) -> Result<()> {
    if len == source.row_size {
        let Some(((_, to), twins)) = group.split_first_mut() else { return Ok(()) };
        source.read(first, to)?;
        twins.iter_mut().for_each(|(_, twin)| twin.copy_from_slice(to));
        return Ok(());
    }
    // More than one row: `grouped` keeps these within `SPAN`.
    span.resize(SPAN, 0);
    source.read(first, &mut span[..len])?;
    for (row, to) in group {
        let at = (*row - first) as usize * source.stride;
        to.copy_from_slice(&span[at..at + source.row_size]);
    }
    Ok(())
}

/// Does `work` on all shares, on this thread and up to `threads - 1` others; the first error ends it.
///
/// The threads end with the call: nothing is left for a fork to miss, or for an exit to wait for.
pub(crate) fn in_parallel<S: Send, R: Send>(
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
