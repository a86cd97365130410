//! Rows that come bit by bit: raw bytes or lines of CSV, from a program that may take its time.
//!
//! What has come is published before anybody waits for more, so that a reader follows live; while input comes without a
//! pause, once a second and whenever the buffer is full.

use super::csv::Csv;
use super::files::Rows;
use super::{Append, Done, Failures, STDIN, mismatch};
use crate::interrupt::CtrlC;
use crate::text::{complain, count, plain, size};
use npygrow::format::{Layout, Order};
use npygrow::{Appender, Error, ErrorKind, Result};
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// What one read asks for: as much as a pipe holds.
const BLOCK: usize = 64 << 10;
/// How many blocks are read ahead, while rows are written or synced.
const AHEAD: usize = 16;
/// Short lines can make long rows: so many bytes of them are enough at a time.
const ENOUGH: usize = 4 << 20;
/// A longer line is no row but something else.
const MAX_LINE: usize = 16 << 20;
const OFTEN: Duration = Duration::from_secs(1);
/// How often a wait looks whether Ctrl-C was pressed.
const SLICE: Duration = Duration::from_millis(100);

/// How bytes become rows.
enum Source {
    Raw { row_size: usize },
    Csv(Box<Csv>),
}

/// An input, the name that it has in messages, and what it gives.
type Input = (PathBuf, Box<dyn Read + Send>, Source);

impl Append {
    /// Appends what comes, as it comes.
    pub(super) fn stream(&self, done: &mut Done, err: &mut dyn Write) -> Result<(), Failures> {
        let (inputs, rows) = self.inputs()?;
        let options = self.options().dtype(rows.dtype).row_shape(rows.row_shape).order(rows.order);
        let mut appender = options.open(&self.output).map_err(|error| self.failed(error))?;
        let mut failures = Vec::new();
        // Not before: nothing is to be told of what waits for a lock.
        let ctrl_c = CtrlC::heed();
        for (path, input, source) in inputs {
            let mut refuse = |why| {
                // Where nobody can be told, the status still says it.
                let _ = complain(err, format_args!("{}: {why}", plain(path.display())));
            };
            let mut feed = Feed { appender: &mut appender, done, refuse: &mut refuse, ctrl_c: &ctrl_c };
            if let Err(error) = feed.follow(input, source) {
                // What is about OUT names it.
                let path = if error.path().is_some() { self.output.clone() } else { path };
                failures.push((path, error));
                break;
            }
        }
        let published = appender.commit();
        let (rows, waiting) = (appender.len(), appender.len() - appender.committed());
        done.dropped = appender.dropped();
        let closed = appender.close();
        let lost = if closed.is_err() { waiting } else { 0 };
        done.appended -= lost;
        done.rows = Some(rows - lost);
        if let Err(error) = closed.and(published.map(drop)) {
            // The same trouble again, with the rows that it lost.
            failures.retain(|(path, _)| *path != self.output);
            failures.extend(self.failed(error));
        }
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }

    /// All inputs, open, and what the rows are that come out of them: before a byte is written.
    fn inputs(&self) -> Result<(Vec<Input>, Rows), Failures> {
        let rows = self.rows().map_err(|error| self.failed(error))?;
        let (mut inputs, mut failures) = (Vec::new(), Vec::new());
        for path in &self.inputs {
            let source = self.source(&rows).map_err(|error| self.failed(error))?;
            match open(path) {
                Ok((path, input)) => inputs.push((path, input, source)),
                Err(error) => failures.push((path.clone(), Error::io("cannot open", &error))),
            }
        }
        if failures.is_empty() { Ok((inputs, rows)) } else { Err(failures) }
    }

    /// What is asked for, else what OUT has.
    fn rows(&self) -> Result<Rows> {
        let known = self.known()?;
        let order = known.as_ref().map_or(Order::C, |known| known.order);
        let (dtype, row_shape) = known.map(|known| (known.dtype, known.row_shape)).unzip();
        let dtype = self.dtype.clone().or(dtype).ok_or_else(|| {
            mismatch(
                "there is no such file yet: a new one needs --dtype, and --row-shape where a row is several values",
            )
        })?;
        Ok(Rows { dtype, row_shape: self.row_shape.clone().or(row_shape).unwrap_or_default(), order })
    }

    fn source(&self, rows: &Rows) -> Result<Source> {
        if self.csv {
            return Ok(Source::Csv(Csv::new(rows, self.header).map_err(mismatch)?.into()));
        }
        match usize::try_from(Layout::new(0, &rows.dtype, &rows.row_shape)?.row_size) {
            Ok(row_size @ 1..) => Ok(Source::Raw { row_size }),
            _ => Err(mismatch("its rows hold no bytes")),
        }
    }
}

/// Opens an input, and gives the name that it has in messages.
fn open(path: &Path) -> io::Result<(PathBuf, Box<dyn Read + Send>)> {
    if path.as_os_str() == STDIN {
        Ok(("standard input".into(), Box::new(io::stdin())))
    } else {
        Ok((path.into(), Box::new(File::open(path)?)))
    }
}

/// Appends what it is given, and counts it.
struct Feed<'a> {
    appender: &'a mut Appender,
    done: &'a mut Done,
    /// Is told of every line that is no row.
    refuse: &'a mut dyn FnMut(String),
    ctrl_c: &'a CtrlC,
}

/// What comes of a read.
type Block = io::Result<Vec<u8>>;

impl Feed<'_> {
    /// Appends all that `input` gives, as it comes. After an error, all that came before it is appended.
    fn follow(&mut self, input: Box<dyn Read + Send>, mut source: Source) -> Result<()> {
        let blocks = read_ahead(input);
        let mut bytes = Vec::new();
        let mut published = Instant::now();
        loop {
            let block = self.next(&blocks, &mut published)?;
            if self.ctrl_c.is_pressed() {
                return Err(interrupted(&source));
            }
            let (is_end, old) = (block.is_none(), bytes.len());
            bytes.extend(block.transpose().map_err(|error| Error::io("cannot read", &error))?.unwrap_or_default());
            let used = match &mut source {
                Source::Raw { row_size } => self.raw(&bytes, *row_size, is_end)?,
                Source::Csv(csv) => self.csv(&bytes, old, csv, is_end)?,
            };
            if is_end {
                return Ok(());
            }
            bytes.drain(..used);
        }
    }

    /// The next block, `None` at the end or when Ctrl-C was pressed. All is published before anybody waits for it.
    fn next(&mut self, blocks: &Receiver<Block>, published: &mut Instant) -> Result<Option<Block>> {
        let ready = blocks.try_recv().ok();
        if ready.is_none() || published.elapsed() >= OFTEN {
            self.publish(published)?;
        }
        if ready.is_some() {
            return Ok(ready);
        }
        loop {
            match blocks.recv_timeout(SLICE) {
                Err(RecvTimeoutError::Timeout) if !self.ctrl_c.is_pressed() => {}
                block => return Ok(block.ok()),
            }
        }
    }

    fn publish(&mut self, published: &mut Instant) -> Result<()> {
        *published = Instant::now();
        self.appender.commit().map(drop)
    }

    /// Appends the whole rows of `bytes`, and says how many bytes that were.
    fn raw(&mut self, bytes: &[u8], row_size: usize, is_end: bool) -> Result<usize> {
        let torn = bytes.len() % row_size;
        let whole = bytes.len() - torn;
        self.append(&bytes[..whole], (whole / row_size) as u64)?;
        if is_end && torn > 0 {
            let torn = count(torn as u64, "byte");
            return Err(mismatch(format!("ends inside a row: {torn} of the {row_size} that a row takes are left out")));
        }
        Ok(whole)
    }

    /// Appends the whole lines of `bytes`, and says how many bytes that were. The last one may lack its end; the first `old`
    /// bytes hold none.
    fn csv(&mut self, bytes: &[u8], old: usize, csv: &mut Csv, is_end: bool) -> Result<usize> {
        let newline = bytes[old..].iter().rposition(|&byte| byte == b'\n');
        let whole = if is_end { bytes.len() } else { newline.map_or(0, |last| old + last + 1) };
        self.done.is_unended |= is_end && !bytes.is_empty();
        let (mut rows, mut count) = (Vec::new(), 0);
        for line in bytes[..whole].split_inclusive(|&byte| byte == b'\n') {
            csv.line += 1;
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.trim_ascii().is_empty() {
                continue;
            }
            if mem::take(&mut csv.has_names) {
                csv.names(line).map_err(|why| mismatch(format!("line {}: {why}", csv.line)))?;
                continue;
            }
            match csv.row(line, &mut rows) {
                Ok(()) => count += 1,
                Err(why) => {
                    self.done.left_out += 1;
                    (self.refuse)(format!("line {}: {why}", csv.line));
                }
            }
            if rows.len() >= ENOUGH {
                self.append(&rows, mem::take(&mut count))?;
                rows.clear();
            }
        }
        self.append(&rows, count)?;
        if bytes.len() - whole > MAX_LINE {
            return Err(mismatch(format!(
                "line {}: longer than {}, which is no row of text",
                csv.line + 1,
                size(MAX_LINE as u64)
            )));
        }
        Ok(whole)
    }

    fn append(&mut self, rows: &[u8], count: u64) -> Result<()> {
        if count > 0 {
            self.appender.append_rows(count, rows)?;
            self.done.appended += count;
        }
        Ok(())
    }
}

fn interrupted(source: &Source) -> Error {
    let text = match source {
        Source::Raw { .. } => "interrupted".into(),
        Source::Csv(csv) => format!("interrupted after line {}", csv.line),
    };
    Error::new(ErrorKind::Io, text)
}

/// Reads in a thread of its own: only so can a pause be told from the next bytes.
fn read_ahead(mut input: impl Read + Send + 'static) -> Receiver<Block> {
    let (sender, blocks) = sync_channel(AHEAD);
    thread::spawn(move || {
        loop {
            let mut block = vec![0; BLOCK];
            let read = match input.read(&mut block) {
                Ok(0) => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map(|len| {
                    block.truncate(len);
                    block
                }),
            };
            let is_last = read.is_err();
            if sender.send(read).is_err() || is_last {
                return;
            }
        }
    });
    blocks
}
