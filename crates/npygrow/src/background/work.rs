//! Who is at work with the appender: the writer, or a call in its place.

use super::queue::{Bounds, Due, Queue, Rows, panicked};
use crate::append::Appender;
use crate::error::{Error, Result};
use crate::open::Spec;
use crate::options::Poll;
use crate::storage::Owner;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{AtomicU64, Condvar, Mutex, MutexGuard};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError};
use std::thread::panicking;
use std::time::Duration;

/// How often a call that waits asks whether to go on.
const POLL: Duration = Duration::from_millis(50);

/// What the calls and the writer share.
pub(super) struct Shared {
    pub(super) queue: Mutex<Queue>,
    /// Told to calls: the appender is back, there is room, or it ended.
    changed: Condvar,
    /// Told to the writer: there may be something to do.
    work: Condvar,
    pub(super) bounds: Bounds,
    /// All rows, changed under the lock of the queue and read without it.
    pub(super) rows: AtomicU64,
    /// What the rows are, and the bytes of one, once known.
    pub(super) settled: OnceLock<(Spec, u64)>,
    pub(super) owner: Owner,
    pub(super) path: Option<PathBuf>,
    pub(super) on_wait: Option<Poll>,
    pub(super) writer: Mutex<Option<JoinHandle<()>>>,
}

pub(super) type Held<'a> = MutexGuard<'a, Queue>;

impl Shared {
    pub(super) fn new(
        queue: Queue,
        bounds: Bounds,
        settled: OnceLock<(Spec, u64)>,
        path: Option<PathBuf>,
        on_wait: Option<Poll>,
    ) -> Self {
        Shared {
            rows: AtomicU64::new(queue.committed),
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            work: Condvar::new(),
            bounds,
            settled,
            owner: Owner::new(),
            path,
            on_wait,
            writer: Mutex::default(),
        }
    }

    pub(super) fn start(self: &Arc<Self>) -> Result<()> {
        let shared = self.clone();
        let started = thread::Builder::new().name("npygrow writer".into()).spawn(move || shared.write());
        let handle = started.map_err(|error| self.named(Error::io("cannot start the writer thread", &error)))?;
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        Ok(())
    }

    /// Whatever panics, the queue is whole: nothing is done under its lock but moving rows and counting them.
    pub(super) fn lock(&self) -> Held<'_> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn named(&self, error: Error) -> Error {
        match &self.path {
            Some(path) => error.at(path.display()),
            None => error,
        }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Acquire)
    }

    /// Waits for a change. An error of `on_wait` ends the wait.
    pub(super) fn wait<'a>(&'a self, queue: Held<'a>, poll: bool) -> (Held<'a>, Result<()>) {
        let Some(on_wait) = self.on_wait.as_ref().filter(|_| poll) else {
            return (self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner), Ok(()));
        };
        let (queue, waited) = self.changed.wait_timeout(queue, POLL).unwrap_or_else(PoisonError::into_inner);
        if !waited.timed_out() {
            return (queue, Ok(()));
        }
        // It may run anything, Python's signal handlers for one.
        drop(queue);
        let asked = on_wait().map_err(|error| self.named(error));
        (self.lock(), asked)
    }

    pub(super) fn wake_writer(&self, queue: &mut Queue) {
        if queue.idle && (queue.closed || !matches!(queue.due(&self.bounds), Due::Never)) {
            queue.idle = false;
            self.work.notify_one();
        }
    }

    pub(super) fn wake_calls(&self, queue: &Queue) {
        if queue.callers > 0 || !queue.line.is_empty() || queue.closing {
            self.changed.notify_all();
        }
    }

    /// Waits for the appender and takes it, with all rows that wait. With `alone` no more are taken in until it is back.
    pub(super) fn turn<'a>(&'a self, mut queue: Held<'a>, alone: bool, last: Last) -> Result<Turn<'a>> {
        queue.callers += 1;
        let appender = loop {
            let open = if last == Last::No { queue.check_open() } else { queue.check_whole() };
            if let Err(error) = open {
                break Err(self.named(queue.with_facts(error, self.rows(), IN_DOUBT)));
            }
            if let Some(appender) = queue.appender.take() {
                break Ok(appender);
            }
            let asked;
            (queue, asked) = self.wait(queue, last != Last::Dropped);
            if let Err(error) = asked {
                break Err(error);
            }
        };
        queue.callers -= 1;
        match appender {
            Ok(appender) => Ok(Turn::new(self, &mut queue, appender, alone)),
            Err(error) => {
                self.wake_writer(&mut queue);
                Err(error)
            }
        }
    }

    /// Publishes what waits, then runs `verb` on the appender.
    pub(super) fn at_work<R>(&self, alone: bool, verb: impl FnOnce(&mut Appender) -> Result<R>) -> Result<R> {
        self.owner.check().map_err(|error| self.named(error))?;
        let mut turn = self.turn(self.lock(), alone, Last::No)?;
        let published = turn.publish();
        let done = published.and_then(|()| turn.run(verb));
        drop(turn);
        done.map_err(|error| self.told(error))
    }

    /// The error of a call, with what it left undone.
    fn told(&self, error: Error) -> Error {
        let queue = self.lock();
        let fate = if queue.broken || queue.latched { IN_DOUBT } else { HELD };
        self.named(queue.with_facts(error, self.rows(), fate))
    }

    /// The writer thread.
    fn write(&self) {
        let mut queue = self.lock();
        while !queue.closed && !queue.broken {
            let due = queue.due(&self.bounds);
            let appender = if let Due::Now = due { queue.appender.take() } else { None };
            if let Some(appender) = appender {
                let mut turn = Turn::new(self, &mut queue, appender, false);
                drop(queue);
                turn.failure = turn.publish().err();
                drop(turn);
                queue = self.lock();
                continue;
            }
            queue.idle = true;
            queue = match due {
                Due::In(time) => self.work.wait_timeout(queue, time).unwrap_or_else(PoisonError::into_inner).0,
                _ => self.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
            queue.idle = false;
        }
    }
}

/// Whether no turn comes after this one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    No,
    Closed,
    /// Nobody is there to be asked whether to go on.
    Dropped,
}

pub(super) const HELD: &str = "are held in memory: call commit() to try again";
pub(super) const IN_DOUBT: &str = "are not, or in doubt";
pub(super) const LOST: &str = "are lost";

/// The appender and the rows it is to publish, out of the queue. Dropping it puts back what is left.
pub(super) struct Turn<'a> {
    shared: &'a Shared,
    appender: Option<Box<Appender>>,
    rows: Rows,
    /// What the queue counts as in hand.
    bytes: usize,
    failed: bool,
    failure: Option<Error>,
    /// A panic was under way already.
    panicking: bool,
}

impl<'a> Turn<'a> {
    fn new(shared: &'a Shared, queue: &mut Queue, appender: Box<Appender>, alone: bool) -> Self {
        let rows = std::mem::take(&mut queue.waiting);
        let bytes = rows.bytes;
        queue.in_hand = bytes;
        queue.alone = alone;
        Turn { shared, appender: Some(appender), rows, bytes, failed: false, failure: None, panicking: panicking() }
    }

    fn run<R>(&mut self, verb: impl FnOnce(&mut Appender) -> Result<R>) -> Result<R> {
        match &mut self.appender {
            Some(appender) => verb(appender),
            None => Err(panicked()),
        }
    }

    /// The appender, for good.
    pub(super) fn take(&mut self) -> Option<Box<Appender>> {
        self.appender.take()
    }

    /// All rows in one commit.
    pub(super) fn publish(&mut self) -> Result<()> {
        let (Some(appender), true) = (&mut self.appender, self.rows.count > 0) else { return Ok(()) };
        let committed = appender.committed();
        let published = write(appender, self.shared.settled.get(), &self.rows);
        let grown = appender.committed() - committed;
        // A new file whose name could not be made durable is there, and counts them: not once more.
        if published.is_ok() || grown > 0 {
            // Rows of another appender that was faster to make the file are before ours.
            self.shared.lock().told += grown.saturating_sub(self.rows.count);
            self.rows = Rows::default();
        }
        self.failed = published.is_err();
        published
    }
}

fn write(appender: &mut Appender, settled: Option<&(Spec, u64)>, rows: &Rows) -> Result<()> {
    if let (None, Some((spec, _))) = (appender.row_size(), settled) {
        // A failed try to make the file forgot it.
        appender.define(&spec.dtype, &spec.row_shape)?;
    }
    appender.check_unchanged()?;
    let mut batch = appender.begin(rows.count)?;
    for piece in &rows.pieces {
        batch.write(piece)?;
    }
    batch.commit().map(drop)
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        let queue = &mut *queue;
        queue.in_hand -= self.bytes;
        queue.alone = false;
        if panicking() && !self.panicking {
            queue.broken = true;
        } else if let Some(mut appender) = self.appender.take() {
            queue.latched = appender.check_usable().is_err();
            // Who stands in line hears of the writer's failures only: after a call's own, the writer tries once more.
            queue.stuck = self.failed && (self.failure.is_some() || queue.line.is_empty());
            queue.failure = self.failure.take();
            queue.committed = appender.committed();
            queue.told = queue.told.min(queue.committed);
            queue.appender = Some(appender);
            if self.rows.count > 0 {
                queue.put_back(std::mem::take(&mut self.rows));
            }
            self.shared.rows.store(queue.committed + queue.waiting.count, Ordering::Release);
        }
        self.shared.wake_calls(queue);
        self.shared.wake_writer(queue);
    }
}
