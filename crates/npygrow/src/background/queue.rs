//! The rows that wait, and who waits for whom. No I/O happens here.

use crate::append::Appender;
use crate::error::{Error, Result, error};
use alloc::collections::VecDeque;
use std::time::{Duration, Instant};

/// Rows lie in pieces of at least this many bytes: none is ever moved to make room for the next.
const PIECE: usize = 256 << 10;

/// Rows in their order.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) count: u64,
    pub(super) bytes: usize,
    pub(super) pieces: Vec<Vec<u8>>,
}

impl Rows {
    /// All of them, or an error and none.
    fn push(&mut self, count: u64, bytes: &[u8], most: usize) -> Result<()> {
        let room = self.pieces.last().map_or(0, |piece| piece.capacity() - piece.len());
        let (here, next) = bytes.split_at(room.min(bytes.len()));
        if !next.is_empty() {
            let (mut piece, size) = (Vec::new(), next.len().max(PIECE.min(most)));
            piece.try_reserve_exact(size).map_err(|_| error!(OverLimit, "no memory for {size} bytes of rows"))?;
            piece.extend_from_slice(next);
            if let Some(last) = self.pieces.last_mut() {
                last.extend_from_slice(here);
            }
            self.pieces.push(piece);
        } else if let Some(last) = self.pieces.last_mut() {
            last.extend_from_slice(here);
        }
        self.count += count;
        self.bytes += bytes.len();
        Ok(())
    }

    fn put_before(&mut self, mut first: Rows) {
        first.pieces.append(&mut self.pieces);
        *self = Rows { count: first.count + self.count, bytes: first.bytes + self.bytes, pieces: first.pieces };
    }
}

/// How much may gather, and for how long.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) most: usize,
    pub(super) gather: usize,
    pub(super) max_delay: Option<Duration>,
}

/// What the writer does next.
pub(super) enum Due {
    Now,
    In(Duration),
    /// Nothing, until it is woken.
    Never,
}

#[derive(Default)]
pub(super) struct Queue {
    /// Here, unless the writer or a call is at work with it.
    pub(super) appender: Option<Box<Appender>>,
    pub(super) waiting: Rows,
    /// Bytes of rows that the appender is at work with.
    pub(super) in_hand: usize,
    /// When the first of the waiting rows came.
    pub(super) since: Option<Instant>,
    /// As of when the appender was last here.
    pub(super) committed: u64,
    /// Up to where commits have said what they published.
    pub(super) told: u64,
    pub(super) max_rows: u64,
    /// What the writer met and no call has said yet.
    pub(super) failure: Option<Error>,
    /// The last try to publish failed: the writer waits for a call before the next.
    pub(super) stuck: bool,
    pub(super) latched: bool,
    /// Calls that wait for the appender: the writer lets them go first.
    pub(super) callers: usize,
    /// Appends that wait for room, the first to come first.
    pub(super) line: VecDeque<u64>,
    pub(super) next_in_line: u64,
    /// A call needs the row count to stay as it is.
    pub(super) alone: bool,
    /// The writer sleeps.
    pub(super) idle: bool,
    pub(super) closing: bool,
    pub(super) closed: bool,
    /// A panic took the appender.
    pub(super) broken: bool,
}

impl Queue {
    /// Refuses where no call can do anything any more.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.closing { Err(closed()) } else { self.check_whole() }
    }

    pub(super) fn check_whole(&self) -> Result<()> {
        match (self.closed, self.broken) {
            (true, _) => Err(closed()),
            (_, true) => Err(panicked()),
            _ => Ok(()),
        }
    }

    /// Refuses to take rows in: says what the writer met, once, and that the appender is latched, always.
    pub(super) fn check(&mut self) -> Result<()> {
        self.check_open()?;
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        if !self.latched {
            return Ok(());
        }
        self.appender.as_mut().map_or(Ok(()), |appender| appender.check_usable())?;
        Err(error!(Latched, "refused after an earlier failure: open the file again"))
    }

    pub(super) fn has_room(&self, size: usize, bounds: &Bounds) -> bool {
        !self.alone && self.waiting.bytes + self.in_hand + size <= bounds.most
    }

    pub(super) fn push(&mut self, count: u64, bytes: &[u8], bounds: &Bounds) -> Result<()> {
        if self.waiting.count == 0 && bounds.max_delay.is_some() {
            self.since = Some(Instant::now());
        }
        self.waiting.push(count, bytes, bounds.most)?;
        self.stuck = false;
        Ok(())
    }

    pub(super) fn put_back(&mut self, rows: Rows) {
        self.waiting.put_before(rows);
        self.since = Some(Instant::now());
    }

    pub(super) fn stand_in_line(&mut self) -> u64 {
        self.next_in_line += 1;
        self.line.push_back(self.next_in_line);
        // Without a new try there may never be room.
        self.stuck = false;
        self.next_in_line
    }

    pub(super) fn due(&self, bounds: &Bounds) -> Due {
        if self.appender.is_none() || self.callers > 0 || self.waiting.count == 0 || self.stuck || self.latched {
            return Due::Never;
        }
        if self.waiting.bytes >= bounds.gather || !self.line.is_empty() {
            return Due::Now;
        }
        match (bounds.max_delay, self.since) {
            (Some(delay), Some(since)) => match delay.checked_sub(since.elapsed()) {
                Some(left) if !left.is_zero() => Due::In(left),
                _ => Due::Now,
            },
            _ => Due::Never,
        }
    }

    /// The error, with what was and what was not written. `fate` is what became of the latter.
    pub(super) fn with_facts(&self, error: Error, rows: u64, fate: &str) -> Error {
        let (told, committed) = (self.told, self.committed);
        match (told < committed, committed < rows) {
            (_, false) => error,
            (false, true) => error.and(alloc::format!("rows {committed}..{rows} {fate}")),
            (true, true) => {
                error.and(alloc::format!("rows {told}..{committed} are written, rows {committed}..{rows} {fate}"))
            }
        }
    }
}

fn closed() -> Error {
    error!(Latched, "the appender is closed: open the file again")
}

pub(super) fn panicked() -> Error {
    error!(Latched, "an earlier append panicked: open the file again")
}
