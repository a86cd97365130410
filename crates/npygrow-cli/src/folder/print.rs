//! Rows of a folder, as `head`, `tail`, `slice` and `follow` print them.

use super::{Folder, Part};
use crate::cells::{Cells, MAX_ROW, too_long};
use crate::index::{Index, Steps};
use crate::print::{Lines, Printing, Rows, Stop};
use crate::text::{plain, word};
use crate::value::{Form, Line, named};
use npygrow::{Error, ErrorKind};
use std::io::Write;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How soon to look again where offsets were counted before their values.
const SOON: Duration = Duration::from_millis(5);

/// Prints rows of one folder: an item as a list, a row of columns as a record.
pub(crate) struct FolderPrinter<'a> {
    folder: Folder,
    lines: Lines<'a>,
    columns: Vec<Column>,
    /// The names of CSV's columns are still to be printed.
    header: bool,
}

/// A column, and what it has of the row that is printed.
struct Column {
    name: String,
    is_ragged: bool,
    cells: Cells,
    bytes: Vec<u8>,
    /// Values of an item.
    count: u64,
}

impl<'a> FolderPrinter<'a> {
    pub(crate) fn open(how: &Printing, lines: Lines<'a>) -> Result<Self, Stop> {
        let folder = Folder::open(&how.file, how.max_header_size)?;
        let parts = folder.parts();
        if how.raw {
            let file = parts.first().map_or(how.file.as_path(), |(_, part)| part.values().path());
            let file = word(file);
            return Err(refused(format!("--raw prints the bytes of one file: name one in the folder, such as {file}")));
        }
        let mut printer = FolderPrinter { folder, lines, columns: Vec::new(), header: how.header };
        printer.look()?;
        Ok(printer)
    }

    /// Takes the columns as they are now: before the first row there may be more of them.
    fn look(&mut self) -> Result<(), Stop> {
        let parts = self.folder.parts();
        let ragged = parts.iter().find(|(_, part)| matches!(part, Part::Items(_)));
        if let Some((name, _)) = ragged.filter(|_| self.lines.line.form == Form::Csv) {
            let column = if name.is_empty() { String::new() } else { format!("column {}: ", plain(name)) };
            return Err(refused(format!("{column}items of different length make no CSV: --json prints them")));
        }
        let columns = parts.iter().map(|(name, part)| {
            let view = part.values();
            let cells = Cells::new(view.dtype(), view.order(), view.shape(), view.row_size())?;
            let is_ragged = matches!(part, Part::Items(_));
            Ok(Column { name: String::from(*name), is_ragged, cells, bytes: Vec::new(), count: 0 })
        });
        self.columns = columns.collect::<Result<_, Error>>()?;
        Ok(())
    }

    /// Prints the names of CSV's columns, once it is sure which there are.
    fn head(&mut self) -> Result<(), Stop> {
        if std::mem::take(&mut self.header) {
            let mut names = Vec::new();
            self.columns.iter().try_for_each(|column| column.cells.columns(&column.name, &mut names))?;
            self.lines.header(&names)?;
        }
        Ok(())
    }

    fn print_row(&mut self, row: u64) -> Result<(), Stop> {
        for ((_, part), column) in self.folder.parts().into_iter().zip(&mut self.columns) {
            column.read(part, row)?;
        }
        match (&self.folder, &self.columns[..]) {
            (Folder::Items(_), [items]) => items.write(&mut self.lines.line),
            (_, columns) => named(columns, |column| &column.name, &mut self.lines.line, Column::write),
        }
        self.lines.end("look at one column alone")
    }
}

impl Rows for FolderPrinter<'_> {
    fn len(&self) -> u64 {
        self.folder.len()
    }

    fn index(&mut self, index: &Index) -> Result<Steps, Stop> {
        let mismatch = |detail: String| Error::new(ErrorKind::Mismatch, detail);
        let Index(parts) = index;
        match &parts[..] {
            [rows] => Ok(rows.steps(self.len(), "rows").map_err(mismatch)?),
            _ => {
                let found = parts.len();
                let text = format!("expected a slice of the rows alone, as a folder is no array, found {found} parts");
                Err(mismatch(text).into())
            }
        }
    }

    fn print(&mut self, rows: Steps) -> Result<(), Stop> {
        self.head()?;
        (0..rows.count).try_for_each(|i| self.print_row(rows.at(i)))
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<Range<u64>, Stop> {
        let (start, mut is_skipped) = (Instant::now(), false);
        loop {
            let new = match &mut self.folder {
                Folder::Items(items) => items.refresh()?,
                Folder::Columns(columns) => columns.refresh()?,
            };
            if !new.is_empty() {
                if new.start == 0 {
                    self.look()?;
                }
                return Ok(new);
            }
            if is_skipped {
                sleep(SOON);
            }
            is_skipped = false;
            // A row is there once every column has it: each is waited for in turn.
            for (_, part) in self.folder.parts() {
                let view = match part {
                    Part::Rows(view) => view,
                    Part::Items(items) if items.offsets().len() <= items.len() + 1 => items.offsets(),
                    // Counted before what it counts, which is another program's way; or another column is late.
                    Part::Items(_) => {
                        is_skipped = true;
                        continue;
                    }
                };
                let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
                if view.reader()?.wait(left)?.is_empty() {
                    return Ok(new);
                }
            }
            if timeout.is_some_and(|timeout| start.elapsed() >= timeout) {
                return Ok(new);
            }
        }
    }

    fn flush(&mut self) -> Result<(), Stop> {
        Ok(self.lines.out.flush()?)
    }
}

impl Column {
    fn read(&mut self, part: Part<'_>, row: u64) -> Result<(), Stop> {
        let (view, range) = match part {
            Part::Rows(view) => (view, row..row + 1),
            Part::Items(items) => (items.values(), items.range(row)?),
        };
        self.count = range.end - range.start;
        let size = self.count.saturating_mul(view.row_size());
        if size > MAX_ROW {
            return Err(too_long("row", size).into());
        }
        self.bytes.resize(size as usize, 0);
        // Copied, not mapped: a file that is cut meanwhile gives an error.
        Ok(view.read_into(range, &mut self.bytes)?)
    }

    fn write(&self, line: &mut Line) {
        if !self.is_ragged {
            return self.cells.write(&self.bytes, line);
        }
        let size = self.bytes.len().checked_div(self.count as usize).unwrap_or(0);
        line.list(self.count as usize, |line, i| self.cells.write(&self.bytes[i * size..(i + 1) * size], line));
    }
}

fn refused(text: String) -> Stop {
    Error::new(ErrorKind::Unsupported, text).into()
}
