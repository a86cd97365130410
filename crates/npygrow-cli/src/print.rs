//! Rows on standard output: what `head`, `tail`, `slice` and `follow` have in common.

use crate::index::{Index, Steps};
use crate::input::{advised, complain_of};
use crate::text::size;
use crate::value::{Form, Line, Value};
use crate::{DONE, FAILED};
use npygrow::{Error, ErrorKind, MAX_HEADER_SIZE, Order, Reader};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use unicode_width::UnicodeWidthChar;

/// What one read asks for, unless one row takes more.
const BLOCK: u64 = 1 << 20;
/// Rows that lie further apart are read one by one, not with all that is between them.
const NEAR: u64 = 64 << 10;
/// A row is held in memory, and so is its text.
const MAX_ROW: u64 = 1 << 30;
const MAX_TEXT: usize = 256 << 20;
const MAX_COLUMNS: usize = 1 << 20;

#[derive(clap::Args)]
pub(crate) struct Printing {
    /// The file
    pub(crate) file: PathBuf,

    /// Print a JSON value for each row, on a line of its own
    #[arg(long, group = "form")]
    json: bool,

    /// Print CSV, as npy append --csv takes it
    #[arg(long, group = "form")]
    csv: bool,

    /// Name the columns of CSV first
    #[arg(long, requires = "csv")]
    header: bool,

    /// Write the bytes as they are in the file, without its header
    #[arg(long, group = "form")]
    raw: bool,

    /// Refuse longer headers, as np.load does
    #[arg(long, value_name = "BYTES", default_value_t = MAX_HEADER_SIZE)]
    max_header_size: u64,
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

impl Printing {
    /// Opens the file and has `verb` print some of it, at most `width` columns of a line.
    pub(crate) fn run(
        self,
        out: &mut dyn Write,
        err: &mut dyn Write,
        width: Option<usize>,
        verb: impl FnOnce(&mut Reader, &mut Printer<'_>) -> Result<(), Stop>,
    ) -> io::Result<i32> {
        let printed = Reader::open_with(&self.file, self.max_header_size).map_err(Stop::File).and_then(|mut reader| {
            let mut printer = Printer::new(&reader, &self, out, width)?;
            let done = verb(&mut reader, &mut printer);
            // What was printed before an error is there all the same.
            printer.out.flush()?;
            done
        });
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

/// One axis of what is printed of a row: so many items, `stride` bytes apart.
#[derive(Clone, Copy)]
struct Axis {
    start: usize,
    stride: isize,
    count: usize,
    is_one: bool,
}

/// Prints rows of one file.
pub(crate) struct Printer<'a> {
    out: BufWriter<&'a mut dyn Write>,
    line: Line,
    width: Option<usize>,
    is_raw: bool,
    value: Value,
    order: Order,
    /// Items in a row, by axis.
    row_shape: Vec<u64>,
    /// In the order of the shape.
    axes: Vec<Axis>,
    is_whole: bool,
    block: Vec<u8>,
}

impl<'a> Printer<'a> {
    fn new(reader: &Reader, how: &Printing, out: &'a mut dyn Write, width: Option<usize>) -> Result<Self, Stop> {
        let (order, mut row_shape) = (reader.order(), reader.shape().to_vec());
        match order {
            Order::C => drop(row_shape.drain(..row_shape.len().min(1))),
            Order::F => drop(row_shape.pop()),
        }
        let value = Value::of(reader.dtype()).filter(|_| reader.row_size() <= MAX_ROW);
        let value = value.ok_or_else(|| {
            let (row, most) = (size(reader.row_size()), size(MAX_ROW));
            Error::new(ErrorKind::OverLimit, format!("a row takes {row}, more than the {most} that are printed"))
        })?;
        let form = match how {
            Printing { json: true, .. } => Form::Json,
            Printing { csv: true, .. } => Form::Csv,
            _ => Form::Human,
        };
        let width = width.filter(|_| form == Form::Human);
        // A character takes at most four bytes, and what takes no column is rare.
        let enough = width.map_or(MAX_TEXT, |width| 8 * width + 64);
        let line = Line { form, text: Vec::new(), enough };
        let out = BufWriter::with_capacity(64 << 10, out);
        let (axes, block) = (Vec::new(), Vec::new());
        let mut printer =
            Printer { out, line, width, is_raw: how.raw, value, order, row_shape, axes, is_whole: true, block };
        let whole: Vec<_> = printer.row_shape.iter().map(|&len| Steps::range(0, len)).collect();
        printer.select(&whole);
        if how.header {
            printer.header()?;
        }
        Ok(printer)
    }

    /// Prints the items of a row that `index` names alone; which rows it names is for the caller, who gets that.
    pub(crate) fn index(&mut self, reader: &Reader, index: &Index) -> Result<Steps, Stop> {
        let mismatch = |detail: String| Error::new(ErrorKind::Mismatch, detail);
        let Index(parts) = index;
        let axes = reader.shape().len();
        if parts.len() > axes {
            let found = parts.len();
            return Err(mismatch(format!(
                "expected a slice of at most {axes} parts, one for each axis, found {found}"
            ))
            .into());
        }
        let mut steps = vec![Steps::range(0, reader.len())];
        steps.extend(self.row_shape.iter().map(|&len| Steps::range(0, len)));
        let names = std::iter::once("rows").chain(std::iter::repeat("items of an axis"));
        for ((steps, part), name) in steps.iter_mut().zip(parts).zip(names) {
            *steps = part.steps(steps.count, name).map_err(mismatch)?;
        }
        let rows = steps.remove(0);
        self.is_whole = parts.len() == 1;
        self.select(&steps);
        Ok(rows)
    }

    fn select(&mut self, steps: &[Steps]) {
        let mut stride = self.value.size;
        let mut axes: Vec<_> = (0..self.row_shape.len()).collect();
        // The axis whose items are next to each other comes first.
        if self.order == Order::C {
            axes.reverse();
        }
        self.axes = vec![Axis { start: 0, stride: 0, count: 0, is_one: false }; axes.len()];
        for axis in axes {
            let Steps { start, step, count, is_one } = steps[axis];
            // All of it inside of a row, whose size fits; where an axis has no items, nothing is read.
            self.axes[axis] = Axis {
                start: (start as usize).wrapping_mul(stride),
                stride: (step as isize).wrapping_mul(stride as isize),
                count: count as usize,
                is_one,
            };
            stride = stride.wrapping_mul(self.row_shape[axis] as usize);
        }
    }

    fn header(&mut self) -> Result<(), Stop> {
        let items = self.row_shape.iter().try_fold(1, |items: usize, &n| items.checked_mul(usize::try_from(n).ok()?));
        let mut names = Vec::new();
        for i in 0..items.unwrap_or(usize::MAX) {
            self.value.columns(&if items == Some(1) { String::new() } else { format!("[{i}]") }, &mut names);
            if names.len() > MAX_COLUMNS {
                let text = format!("a row has more than the {MAX_COLUMNS} columns that are named");
                return Err(Error::new(ErrorKind::OverLimit, text).into());
            }
        }
        let name = |name: &String| if name.is_empty() { "value".into() } else { name.clone() };
        self.line.text.clear();
        self.line.list(names.len(), |line, i| crate::value::cell(name(&names[i]).as_bytes(), line));
        self.line.text.push(b'\n');
        Ok(self.out.write_all(&self.line.text)?)
    }

    /// Prints the rows that `rows` names, in its order.
    pub(crate) fn print(&mut self, reader: &Reader, rows: Steps) -> Result<(), Stop> {
        let row_size = reader.row_size();
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
            reader.read_into(low..high, &mut block)?;
            for i in done..done + count {
                let at = ((rows.at(i) - low) * row_size) as usize;
                self.row(&block[at..at + row_size as usize])?;
            }
            self.block = block;
            done += count;
        }
        Ok(())
    }

    /// Hands on what is printed, for who follows it live.
    pub(crate) fn flush(&mut self) -> Result<(), Stop> {
        Ok(self.out.flush()?)
    }

    fn row(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if self.is_raw && self.is_whole {
            return Ok(self.out.write_all(bytes)?);
        }
        self.line.text.clear();
        if self.is_raw {
            let mut axes = self.axes.clone();
            if self.order == Order::F {
                axes.reverse();
            }
            raw(&axes, bytes, 0, self.value.size, &mut self.out)?;
            return Ok(());
        }
        written(&self.axes, bytes, 0, &self.value, &mut self.line);
        if self.width.is_none() && self.line.is_full() {
            let text =
                format!("the text of a row takes more than {}: take a part of it, or --raw", size(MAX_TEXT as u64));
            return Err(Error::new(ErrorKind::OverLimit, text).into());
        }
        if let Some(width) = self.width {
            shorten(&mut self.line.text, width);
        }
        self.line.text.push(b'\n');
        Ok(self.out.write_all(&self.line.text)?)
    }
}

/// The items that `axes` choose, from the byte `at` on, as nested lists.
fn written(axes: &[Axis], bytes: &[u8], at: usize, value: &Value, line: &mut Line) {
    match axes.split_first() {
        None => value.write(&bytes[at..at + value.size], line),
        Some((axis, axes)) if axis.is_one => written(axes, bytes, at + axis.start, value, line),
        Some((axis, axes)) => line.list(axis.count, |line, i| {
            written(
                axes,
                bytes,
                at.wrapping_add(axis.start).wrapping_add_signed(axis.stride.wrapping_mul(i as isize)),
                value,
                line,
            );
        }),
    }
}

/// The same, as bytes in the order of the file.
fn raw(axes: &[Axis], bytes: &[u8], at: usize, size: usize, out: &mut dyn Write) -> io::Result<()> {
    match axes.split_first() {
        None => out.write_all(&bytes[at..at + size]),
        Some((axis, axes)) => (0..axis.count).try_for_each(|i| {
            raw(
                axes,
                bytes,
                at.wrapping_add(axis.start).wrapping_add_signed(axis.stride.wrapping_mul(i as isize)),
                size,
                out,
            )
        }),
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
