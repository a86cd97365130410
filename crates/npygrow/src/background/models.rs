//! Calls and the writer in one order of events after the other.
#![allow(clippy::unwrap_used)]

use super::{Background, Limits};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::Storage;
use crate::sync::{Condvar, Mutex, explore, is_caught, thread};
use crate::{Appender, MAX_HEADER_SIZE, Reader};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Bytes in memory that can be looked at while they are written; others go on before each write.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Bytes>>);

#[derive(Default)]
struct Bytes {
    bytes: Vec<u8>,
    writes: u32,
    /// The writes that fail.
    fails: Range<u32>,
}

impl Disk {
    fn values(&self) -> Vec<u64> {
        let reader = Reader::on(Box::new(self.clone()), MAX_HEADER_SIZE).unwrap();
        reader.rows(0..reader.len()).unwrap()
    }

    /// Of the writes from now on, some one of the first few fails, and `more` after it.
    fn fail(&self, more: u32) {
        let first = shuttle::rand::Rng::gen_range(&mut shuttle::rand::thread_rng(), 0..8);
        let mut disk = self.0.lock().unwrap();
        let first = disk.writes + first;
        disk.fails = first..first.saturating_add(more + 1);
    }
}

impl Storage for Disk {
    fn len(&self) -> Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let bytes = &self.0.lock().unwrap().bytes;
        let there = bytes.get(offset as usize..).unwrap_or_default();
        let len = there.len().min(buf.len());
        buf[..len].copy_from_slice(&there[..len]);
        Ok(len)
    }
    fn write_at(&mut self, offset: u64, new: &[u8]) -> Result<usize> {
        thread::yield_now();
        let mut disk = self.0.lock().unwrap();
        disk.writes += 1;
        if disk.fails.contains(&(disk.writes - 1)) {
            return Err(Error::new(ErrorKind::Io, "no space"));
        }
        let (start, end) = (offset as usize, offset as usize + new.len());
        let len = disk.bytes.len().max(end);
        disk.bytes.resize(len, 0);
        disk.bytes[start..end].copy_from_slice(new);
        Ok(new.len())
    }
    fn commit_at(&mut self, offset: u64, bytes: &[u8], _: bool) -> Result<()> {
        self.write_all_at(offset, bytes)
    }
    fn set_len(&mut self, len: u64) -> Result<()> {
        self.0.lock().unwrap().bytes.resize(len as usize, 0);
        Ok(())
    }
    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}

/// With a queue of two rows.
fn start(disk: &Disk, buffering: usize) -> Arc<Background> {
    let options = Appender::options().dtype("<u8".parse().unwrap()).row_shape([]).buffering(buffering);
    let appender = options.on(Box::new(disk.clone())).unwrap();
    Arc::new(Background::start(appender, Limits { max_queue: Some(16), max_delay: None }).unwrap())
}

/// What an appender in the background is, as far as a model calls it.
trait Calls: Send + Sync + 'static {
    fn append(&self, value: u64) -> Result<u64>;
    fn commit(&self) -> Result<Range<u64>>;
}

impl Calls for Background {
    fn append(&self, value: u64) -> Result<u64> {
        Background::append(self, &[value]).map(|rows| rows.start)
    }
    fn commit(&self) -> Result<Range<u64>> {
        Background::commit(self)
    }
}

/// Rows by their numbers, as calls told them.
type Told = BTreeMap<u64, u64>;

/// Appends three rows, each until it is taken; a commit after the second. How many calls failed.
fn append_some(calls: &impl Calls, who: u64, values: &dyn Fn() -> Vec<u64>) -> (Told, u32) {
    let (mut told, mut failures) = (Told::new(), 0);
    for value in who..who + 3 {
        loop {
            match calls.append(value) {
                Ok(row) => {
                    told.insert(row, value);
                    break;
                }
                Err(_) => failures += 1,
            }
        }
        if value == who + 1 {
            while calls.commit().is_err() {
                failures += 1;
            }
            let there = values();
            told.iter().for_each(|(row, value)| assert_eq!(there.get(*row as usize), Some(value), "{there:?}"));
        }
    }
    (told, failures)
}

/// Two threads append; what they were told must be what is there.
fn two_threads<C: Calls>(calls: Arc<C>, values: impl Fn() -> Vec<u64> + Clone + Send + 'static) -> u32 {
    let threads = [10, 20].map(|who| {
        let (calls, values) = (calls.clone(), values.clone());
        thread::spawn(move || append_some(&*calls, who, &values))
    });
    let (mut told, mut failures) = (Told::new(), 0);
    for thread in threads {
        let (rows, failed) = thread.join().unwrap();
        told.extend(rows);
        failures += failed;
    }
    while calls.commit().is_err() {
        failures += 1;
    }
    assert_eq!(told.len(), 6);
    assert!(told.into_iter().eq((0..).zip(values())), "{:?}", values());
    failures
}

#[test]
fn rows_are_where_the_calls_told_and_there_after_a_commit() {
    for buffering in [0, 16] {
        explore(move || {
            let disk = Disk::default();
            let background = start(&disk, buffering);
            two_threads(background.clone(), {
                let disk = disk.clone();
                move || disk.values()
            });
            background.close().unwrap();
        });
    }
}

#[test]
fn a_failure_loses_no_row() {
    explore(|| {
        let disk = Disk::default();
        let background = start(&disk, 0);
        disk.fail(0);
        let failures = two_threads(background.clone(), {
            let disk = disk.clone();
            move || disk.values()
        });
        assert!(failures <= 1, "told {failures} times");
        background.close().unwrap();
    });
}

/// A full queue and a disk that stays full: whoever waits for room must hear of it, though another who heard of it gave up.
#[test]
fn a_failure_that_stays_is_told_to_everybody() {
    explore(|| {
        let disk = Disk::default();
        let background = start(&disk, 0);
        disk.fail(u32::MAX - 8);
        let threads = [10_u64, 20].map(|who| {
            let background = background.clone();
            thread::spawn(move || {
                let taken = (who..who + 10).map_while(|value| background.append(&[value]).ok()).count();
                assert!(taken < 10);
                taken
            })
        });
        let taken: usize = threads.map(|thread| thread.join().unwrap()).into_iter().sum();
        background.commit().unwrap_err();
        disk.0.lock().unwrap().fails = 0..0;
        background.commit().unwrap();
        assert_eq!((disk.values().len(), background.len()), (taken, taken as u64));
        background.close().unwrap();
    });
}

#[test]
fn closing_publishes_what_was_taken_and_ends_all_waits() {
    explore(|| {
        let disk = Disk::default();
        let background = start(&disk, 0);
        let other = thread::spawn({
            let background = background.clone();
            move || (0..4).map_while(|value| background.append(&[value]).ok()).count()
        });
        background.close().unwrap();
        let at_close = disk.values().len();
        let taken = other.join().unwrap();
        assert_eq!((at_close, disk.values()), (taken, Vec::from_iter(0..taken as u64)));
        assert!(background.append(&[9_u64]).is_err() && background.is_closed());
    });
}

#[test]
fn a_verb_has_the_appender_alone() {
    explore(|| {
        let disk = Disk::default();
        let background = start(&disk, 0);
        let other = thread::spawn({
            let background = background.clone();
            move || (0..3).map(|value| (background.append(&[value]).unwrap().start, value)).collect::<Told>()
        });
        let verb = |appender: &mut Appender| {
            let rows = appender.append(&[99_u64])?;
            thread::yield_now();
            assert_eq!(rows, Some(appender.len() - 1..appender.len()));
            Ok(appender.len() - 1)
        };
        let row = background.with_appender(verb).unwrap();
        let mut told = other.join().unwrap();
        told.insert(row, 99);
        drop(background);
        assert!(told.into_iter().eq((0..).zip(disk.values())), "dropped, it publishes");
    });
}

/// A queue whose commit looks at what waits, and forgets what the writer has in hand.
struct Forgetful {
    /// The next row, those that wait, and whether it is over.
    state: Mutex<(u64, Vec<u64>, bool)>,
    changed: Condvar,
    file: Mutex<Vec<u64>>,
}

impl Calls for Forgetful {
    fn append(&self, value: u64) -> Result<u64> {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        state.1.push(value);
        self.changed.notify_all();
        Ok(state.0 - 1)
    }
    fn commit(&self) -> Result<Range<u64>> {
        let state = self.changed.wait_while(self.state.lock().unwrap(), |state| !state.1.is_empty()).unwrap();
        Ok(0..state.0)
    }
}

impl Forgetful {
    fn write(&self) {
        let mut state = self.state.lock().unwrap();
        while !state.2 {
            if state.1.is_empty() {
                state = self.changed.wait(state).unwrap();
                continue;
            }
            let rows = std::mem::take(&mut state.1);
            self.changed.notify_all();
            drop(state);
            self.file.lock().unwrap().extend(rows);
            state = self.state.lock().unwrap();
        }
    }
}

#[test]
fn a_commit_that_does_not_wait_for_the_writer_is_caught() {
    assert!(is_caught(|| {
        let queue = Forgetful { state: Mutex::default(), changed: Condvar::new(), file: Mutex::default() };
        let queue = Arc::new(queue);
        let writer = thread::spawn({
            let queue = queue.clone();
            move || queue.write()
        });
        let values = {
            let queue = queue.clone();
            move || queue.file.lock().unwrap().clone()
        };
        two_threads(queue.clone(), values);
        queue.state.lock().unwrap().2 = true;
        queue.changed.notify_all();
        writer.join().unwrap();
    }));
}
