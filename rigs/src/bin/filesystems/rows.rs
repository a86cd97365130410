//! Rows that say which they are, so that a wrong one is seen; and what a reader finds of them.

use npygrow::{
    Appender, Column, ColumnPart, Dataset, DatasetAppender, Dtype, Element, ErrorKind, Health, MAX_HEADER_SIZE,
    Options, Ragged, RaggedAppender, Report, inspect,
};
use std::fs;
use std::ops::Range;
use std::path::Path;

/// Three numbers, so that rows lie across sectors.
pub(crate) const ROW: usize = 12;

/// Row `row` of a file, which differs from that of another `file`.
pub(crate) fn row(file: u32, row: u64) -> [u32; 3] {
    // Odd times a number from 1 on: none is 0.
    let mixed = (row as u32 + 1).wrapping_mul(0x9E37_79B1) ^ (file << 24);
    [row as u32, file, mixed.max(1)]
}

pub(crate) fn bytes(file: u32, rows: Range<u64>) -> Vec<u8> {
    rows.flat_map(|at| row(file, at)).flat_map(u32::to_le_bytes).collect()
}

/// How many of these bytes' rows are right, from the first on.
fn right(file: u32, bytes: &[u8]) -> u64 {
    let is_right = |(at, found): &(usize, &[u8])| {
        row(file, *at as u64).iter().flat_map(|v| v.to_le_bytes()).eq(found.iter().copied())
    };
    bytes.chunks_exact(ROW).enumerate().take_while(is_right).count() as u64
}

/// How many values item `item` has.
fn length(item: u64) -> u64 {
    item * 7 % 40
}

/// The values of some items: each its number, over and over.
fn items(items: Range<u64>) -> (Vec<u64>, Vec<u8>) {
    let values = items.clone().flat_map(|item| vec![item as u32 + 1; length(item) as usize]);
    (items.map(length).collect(), values.flat_map(u32::to_le_bytes).collect())
}

fn u4() -> Dtype {
    <u32 as Element>::dtype()
}

/// Options for the rows of a file.
pub(crate) fn options() -> Options {
    Appender::options().dtype(u4()).row_shape([3])
}

/// What grows as one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    File,
    Ragged,
    Dataset,
}

/// An appender of any kind.
pub(crate) enum Handle {
    File(Box<Appender>, u32),
    Ragged(Box<RaggedAppender>),
    Dataset(Box<DatasetAppender>),
}

macro_rules! on_each {
    ($handle:expr, $inner:ident => $call:expr) => {
        match $handle {
            Handle::File($inner, _) => $call,
            Handle::Ragged($inner) => $call,
            Handle::Dataset($inner) => $call,
        }
    };
}

impl Handle {
    pub(crate) fn open(kind: Kind, file: u32, path: &Path, options: Options) -> npygrow::Result<Self> {
        match kind {
            Kind::File => Ok(Handle::File(Box::new(options.dtype(u4()).row_shape([3]).open(path)?), file)),
            Kind::Ragged => {
                let mut items = options.open_ragged(path)?;
                items.define(&u4(), &[])?;
                Ok(Handle::Ragged(Box::new(items)))
            }
            Kind::Dataset => {
                let mut table = options.open_dataset(path)?;
                table.define("rows", &u4(), &[3])?;
                table.define_ragged("text", &u4(), &[])?;
                Ok(Handle::Dataset(Box::new(table)))
            }
        }
    }

    /// Appends these rows, of which the first is the next.
    pub(crate) fn append(&mut self, fresh: Range<u64>) -> npygrow::Result<()> {
        let count = fresh.end - fresh.start;
        match self {
            Handle::File(rows, file) => rows.append_bytes(&bytes(*file, fresh)).map(drop),
            Handle::Ragged(ragged) => {
                let (lengths, values) = items(fresh);
                ragged.extend_bytes(&lengths, &values).map(drop)
            }
            Handle::Dataset(table) => {
                let rows = bytes(0, fresh.clone());
                let (lengths, values) = items(fresh);
                let text = ColumnPart::Items { lengths: &lengths, values: &values };
                table.append(count, &[("rows", ColumnPart::Rows(&rows)), ("text", text)]).map(drop)
            }
        }
    }

    pub(crate) fn len(&self) -> u64 {
        on_each!(self, inner => inner.len())
    }

    pub(crate) fn commit(&mut self) -> npygrow::Result<()> {
        on_each!(self, inner => inner.commit().map(drop))
    }

    pub(crate) fn sync(&mut self) -> npygrow::Result<()> {
        on_each!(self, inner => inner.sync())
    }

    pub(crate) fn truncate(&mut self, rows: u64) -> npygrow::Result<()> {
        on_each!(self, inner => inner.truncate(rows))
    }

    pub(crate) fn close(self) -> npygrow::Result<()> {
        on_each!(self, inner => inner.close())
    }
}

/// What is in the place of a file or a folder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    Missing,
    Empty,
    Unreadable,
    /// Every reader refuses it until somebody finished what was under way.
    Moving,
    /// So many rows are counted.
    Rows(u64),
    /// So many whole rows are left of more.
    Broken(u64),
}

/// What a reader finds.
pub(crate) struct Found {
    pub(crate) state: State,
    /// Of which file its first row is.
    pub(crate) file: u32,
    /// How many of its rows are right, from the first on.
    pub(crate) right: u64,
    pub(crate) report: Option<Report>,
}

impl Found {
    fn nothing(state: State) -> Self {
        Found { state, file: 0, right: 0, report: None }
    }

    /// Whether every row that counts is there, and right.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.state, State::Rows(rows) if rows == self.right)
    }
}

/// What a reader finds; an error where `inspect` says something else than the bytes.
pub(crate) fn look(kind: Kind, path: &Path) -> Result<Found, String> {
    match kind {
        Kind::File => look_at_file(path),
        Kind::Ragged => look_at_folder(path, &["values.npy", "offsets.npy"], |path| {
            let ragged = Ragged::open(path, MAX_HEADER_SIZE)?;
            Ok((ragged.len(), right_items(&ragged)))
        }),
        Kind::Dataset => look_at_folder(path, &["rows.npy", "text/values.npy", "text/offsets.npy"], |path| {
            let table = Dataset::open(path, MAX_HEADER_SIZE)?;
            let right = table.columns().map(|(_, column)| match column {
                Column::Plain(view) => right(0, view.bytes()),
                Column::Ragged(ragged) => right_items(ragged),
            });
            Ok((table.len(), right.min().unwrap_or(0).min(table.len())))
        }),
    }
}

fn right_items(ragged: &Ragged) -> u64 {
    let is_right = |&item: &u64| ragged.bytes(item).is_ok_and(|bytes| bytes == items(item..item + 1).1);
    (0..ragged.len()).take_while(is_right).count() as u64
}

fn look_at_file(path: &Path) -> Result<Found, String> {
    let bytes = match fs::read(path) {
        Ok(bytes) if bytes.is_empty() => return Ok(Found::nothing(State::Empty)),
        Ok(bytes) => bytes,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(Found::nothing(State::Missing)),
        Err(why) => return Err(format!("the file system cannot read it: {why}")),
    };
    let report = match inspect(path, MAX_HEADER_SIZE) {
        Ok(report) => report,
        Err(error) if error.kind() == ErrorKind::NeedsRecovery => return Ok(Found::nothing(State::Moving)),
        Err(_) => return Ok(Found::nothing(State::Unreadable)),
    };
    let start = report.header_len as usize;
    let (header, held) = bytes.split_at(start.min(bytes.len()));
    let counted = counted(header).ok_or("no count in the header")?;
    let whole = (held.len() / ROW) as u64;
    let health = match counted * ROW as u64 {
        end if end == held.len() as u64 => Health::Clean,
        end if end < held.len() as u64 => Health::Tail { rows: whole - counted, bytes: held.len() as u64 - end },
        _ => Health::Truncated { rows: whole, torn: (held.len() % ROW) as u64 },
    };
    if (report.file_size, report.rows, report.health) != (bytes.len() as u64, counted, health) {
        return Err(format!("inspect says {report:?}, the file has {} bytes, {counted} rows, {health:?}", bytes.len()));
    }
    let rows = counted.min(whole);
    let state = if counted > whole { State::Broken(rows) } else { State::Rows(rows) };
    let held = &held[..rows as usize * ROW];
    let file = held.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
    Ok(Found { state, file, right: right(file, held), report: Some(report) })
}

/// The first number of the shape.
fn counted(header: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(header);
    let digits = text.split("'shape'").nth(1)?.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// All files are made before a row goes into any: while one is missing there is no row.
fn look_at_folder(
    path: &Path,
    files: &[&str],
    open: impl FnOnce(&Path) -> npygrow::Result<(u64, u64)>,
) -> Result<Found, String> {
    if files.iter().any(|file| !path.join(file).exists()) {
        return Ok(Found::nothing(State::Rows(0)));
    }
    Ok(match open(path) {
        Ok((rows, right)) => Found { state: State::Rows(rows), file: 0, right, report: None },
        Err(_) => Found::nothing(State::Unreadable),
    })
}
