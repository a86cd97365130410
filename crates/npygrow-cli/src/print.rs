//! Rows on standard output: what `head`, `tail`, `slice` and `follow` have in common.

use crate::cells::Cells;
use crate::folder::FolderPrinter;
use crate::index::{Index, Steps};
use crate::info::{JOINED, join};
use crate::input::{advised, complain_of};
use crate::text::{ODD, paint, plain, size, word};
use crate::value::{Form, Line};
use crate::{DONE, FAILED};
use npygrow::{Error, ErrorKind, Health, MAX_HEADER_SIZE, Reader, inspect};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use unicode_width::UnicodeWidthChar;

/// What one read asks for, unless one row takes more.
const BLOCK: u64 = 1 << 20;
/// Rows that lie further apart are read one by one, not with all that is between them.
const NEAR: u64 = 64 << 10;
/// The text of a row is held in memory.
const MAX_TEXT: usize = 256 << 20;

#[derive(clap::Args)]
pub(crate) struct Printing {
    /// The file, or a folder of columns or items
    pub(crate) file: PathBuf,

    /// Print a JSON value for each row, on a line of its own
    #[arg(long, group = "form")]
    json: bool,

    /// Print CSV, as npy append --csv takes it
    #[arg(long, group = "form")]
    csv: bool,

    /// Name the columns of CSV first
    #[arg(long, requires = "csv")]
    pub(crate) header: bool,

    /// Write the bytes as they are in the file, without its header
    #[arg(long, group = "form")]
    pub(crate) raw: bool,

    /// Refuse longer headers, as np.load does
    #[arg(long, value_name = "BYTES", default_value_t = MAX_HEADER_SIZE)]
    pub(crate) max_header_size: u64,
}

/// Why no more is printed.
pub(crate) enum Stop {
    File(Error),
    Output(io::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::File(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Output(error)
    }
}

/// What is printed row by row: a file, or a folder.
pub(crate) trait Rows {
    fn len(&self) -> u64;

    /// Takes the items of a row that `index` names alone; which rows it names is for the caller, who gets that.
    fn index(&mut self, index: &Index) -> Result<Steps, Stop>;

    /// Prints the rows that `rows` names, in its order.
    fn print(&mut self, rows: Steps) -> Result<(), Stop>;

    /// The rows that came, or none after `timeout`.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<Range<u64>, Stop>;

    /// Hands on what is printed, for who follows it live.
    fn flush(&mut self) -> Result<(), Stop>;
}

impl Printing {
    /// Opens the file and has `verb` print some of it, at most `width` columns of a line.
    pub(crate) fn run(
        self,
        out: &mut dyn Write,
        err: &mut dyn Write,
        width: Option<usize>,
        verb: impl FnOnce(&mut dyn Rows) -> Result<(), Stop>,
    ) -> io::Result<i32> {
        if is_sequence(&self) {
            let (file, list) = (plain(self.file.display()), format!("npy info {}", word(&self.file)));
            let note = paint(ODD, "note:");
            let first = "these are rows of the first of several arrays";
            writeln!(err, "{note} {file}: {first}: {list} lists them, {} {JOINED}", join(&self.file))?;
        }
        let lines = Lines::new(&self, out, width);
        let printed = if self.file.is_dir() {
            FolderPrinter::open(&self, lines).and_then(|mut rows| finish(&mut rows, verb))
        } else {
            Printer::open(&self, lines).and_then(|mut rows| finish(&mut rows, verb))
        };
        match printed {
            Ok(()) => Ok(DONE),
            Err(Stop::File(error)) => {
                complain_of(err, &self.file, &advised(&self.file, error, self.max_header_size))?;
                Ok(FAILED)
            }
            // Whoever read it has seen enough.
            Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(DONE),
            Err(Stop::Output(error)) => Err(error),
        }
    }
}

fn is_sequence(how: &Printing) -> bool {
    let report = || inspect(&how.file, how.max_header_size);
    !how.file.is_dir() && report().is_ok_and(|report| report.health == Health::Sequence)
}

fn finish(rows: &mut dyn Rows, verb: impl FnOnce(&mut dyn Rows) -> Result<(), Stop>) -> Result<(), Stop> {
    let done = verb(rows);
    // What was printed before an error is there all the same.
    rows.flush()?;
    done
}

/// Lines on their way to the output.
pub(crate) struct Lines<'a> {
    pub(crate) out: BufWriter<&'a mut dyn Write>,
    pub(crate) line: Line,
    width: Option<usize>,
}

impl<'a> Lines<'a> {
    fn new(how: &Printing, out: &'a mut dyn Write, width: Option<usize>) -> Self {
        let form = match how {
            Printing { json: true, .. } => Form::Json,
            Printing { csv: true, .. } => Form::Csv,
            _ => Form::Human,
        };
        let width = width.filter(|_| form == Form::Human);
        // A character takes at most four bytes, and what takes no column is rare.
        let enough = width.map_or(MAX_TEXT, |width| 8 * width + 64);
        let line = Line { form, text: Vec::new(), enough };
        Lines { out: BufWriter::with_capacity(64 << 10, out), line, width }
    }

    /// Prints the line as it is, and begins the next; `advice` says what to do about one that is too long.
    pub(crate) fn end(&mut self, advice: &str) -> Result<(), Stop> {
        if self.width.is_none() && self.line.is_full() {
            let text = format!("the text of a row takes more than {}: {advice}", size(MAX_TEXT as u64));
            return Err(Error::new(ErrorKind::OverLimit, text).into());
        }
        if let Some(width) = self.width {
            shorten(&mut self.line.text, width);
        }
        self.line.text.push(b'\n');
        self.out.write_all(&self.line.text)?;
        self.line.text.clear();
        Ok(())
    }

    /// Prints the names of CSV's columns.
    pub(crate) fn header(&mut self, names: &[String]) -> Result<(), Stop> {
        let name = |name: &String| if name.is_empty() { "value".into() } else { name.clone() };
        self.line.list(names.len(), |line, i| crate::value::cell(name(&names[i]).as_bytes(), line));
        self.end("leave --header out")
    }
}

/// Prints rows of one file.
struct Printer<'a> {
    reader: Reader,
    lines: Lines<'a>,
    cells: Cells,
    is_raw: bool,
    is_whole: bool,
    block: Vec<u8>,
}

impl<'a> Printer<'a> {
    fn open(how: &Printing, lines: Lines<'a>) -> Result<Self, Stop> {
        let reader = Reader::open_with(&how.file, how.max_header_size)?;
        let cells = Cells::new(reader.dtype(), reader.order(), reader.shape(), reader.row_size())?;
        let mut printer = Printer { reader, lines, cells, is_raw: how.raw, is_whole: true, block: Vec::new() };
        if how.header {
            let mut names = Vec::new();
            printer.cells.columns("", &mut names)?;
            printer.lines.header(&names)?;
        }
        Ok(printer)
    }

    fn row(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if self.is_raw && self.is_whole {
            return Ok(self.lines.out.write_all(bytes)?);
        }
        if self.is_raw {
            return Ok(self.cells.write_raw(bytes, &mut self.lines.out)?);
        }
        self.cells.write(bytes, &mut self.lines.line);
        self.lines.end("take a part of it, or --raw")
    }
}

impl Rows for Printer<'_> {
    fn len(&self) -> u64 {
        self.reader.len()
    }

    fn index(&mut self, index: &Index) -> Result<Steps, Stop> {
        let mismatch = |detail: String| Error::new(ErrorKind::Mismatch, detail);
        let Index(parts) = index;
        let axes = self.reader.shape().len();
        if parts.len() > axes {
            let found = parts.len();
            return Err(mismatch(format!(
                "expected a slice of at most {axes} parts, one for each axis, found {found}"
            ))
            .into());
        }
        let mut steps = vec![Steps::range(0, self.reader.len())];
        steps.extend(self.cells.row_shape.iter().map(|&len| Steps::range(0, len)));
        let names = std::iter::once("rows").chain(std::iter::repeat("items of an axis"));
        for ((steps, part), name) in steps.iter_mut().zip(parts).zip(names) {
            *steps = part.steps(steps.count, name).map_err(mismatch)?;
        }
        let rows = steps.remove(0);
        self.is_whole = parts.len() == 1;
        self.cells.select(&steps);
        Ok(rows)
    }

    fn print(&mut self, rows: Steps) -> Result<(), Stop> {
        let row_size = self.reader.row_size();
        let apart = rows.step.unsigned_abs().saturating_mul(row_size).max(1);
        let at_once = if apart <= NEAR { (BLOCK / apart).max(1) } else { 1 };
        let mut done = 0;
        while done < rows.count {
            let count = at_once.min(rows.count - done);
            let (first, last) = (rows.at(done), rows.at(done + count - 1));
            let (low, high) = (first.min(last), first.max(last) + 1);
            // At most a block, or a row.
            let mut block = std::mem::take(&mut self.block);
            block.resize(((high - low) * row_size) as usize, 0);
            self.reader.read_into(low..high, &mut block)?;
            for i in done..done + count {
                let at = ((rows.at(i) - low) * row_size) as usize;
                self.row(&block[at..at + row_size as usize])?;
            }
            self.block = block;
            done += count;
        }
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<Range<u64>, Stop> {
        Ok(self.reader.wait(timeout)?)
    }

    fn flush(&mut self) -> Result<(), Stop> {
        Ok(self.lines.out.flush()?)
    }
}

/// Cuts a line to so many columns of a terminal.
fn shorten(text: &mut Vec<u8>, width: usize) {
    let line = String::from_utf8_lossy(text);
    let mut columns = 0;
    let mut end = 0;
    for (at, c) in line.char_indices() {
        if columns < width {
            end = at;
        }
        columns += c.width().unwrap_or(0);
        if columns > width {
            let mut short = line[..end].to_string();
            short.push('…');
            *text = short.into_bytes();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_to_the_terminal() {
        for (text, width, expected) in [
            ("[1 2 3]", 7, "[1 2 3]"),
            ("[1 2 3]", 6, "[1 2 …"),
            ("'数据'", 6, "'数据'"),
            ("'数据'", 5, "'数…"),
            ("'数据'", 4, "'数…"),
            ("'数据'", 3, "'…"),
            ("ab", 1, "…"),
        ] {
            let mut line = text.as_bytes().to_vec();
            shorten(&mut line, width);
            assert_eq!(String::from_utf8_lossy(&line), expected, "{text} in {width}");
        }
    }
}
