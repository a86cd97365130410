//! Lines of CSV as rows of a dtype: one line, one row.

use crate::text::{count, plain, shortened, size};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use npygrow::Dtype;

/// Limits for a file that asks for rows which no line of text has.
const MAX_COLUMNS: usize = 1 << 20;
const MAX_ROW_SIZE: usize = 64 << 20;

/// One value of a row: where it lies and how it is stored.
#[derive(Clone)]
struct Column {
    /// Of a record's field; empty where the columns have no names.
    name: String,
    offset: usize,
    size: usize,
    kind: char,
    is_big: bool,
    dtype: String,
}

/// Turns lines into rows.
pub(super) struct Csv {
    /// The number of the line at work.
    pub(super) line: u64,
    /// Whether the next line names the columns.
    pub(super) has_names: bool,
    parser: Reader,
    /// In the order of the lines.
    columns: Vec<Column>,
    row_size: usize,
    /// The cells of a line, and where each ends.
    cells: Vec<u8>,
    ends: Vec<usize>,
}

impl Csv {
    /// An error says why text cannot become such rows.
    pub(super) fn new(dtype: &Dtype, row_shape: &[u64], has_names: bool) -> Result<Csv, String> {
        let mut item = Vec::new();
        collect(&mut item, dtype, "", 0)?;
        let itemsize = usize::try_from(dtype.itemsize()).map_err(|_| too_large())?;
        let items = row_shape.iter().try_fold(1, |items: usize, &n| items.checked_mul(usize::try_from(n).ok()?));
        let fits = |&items: &usize| {
            items.saturating_mul(item.len()) <= MAX_COLUMNS && items.saturating_mul(itemsize) <= MAX_ROW_SIZE
        };
        let items = items.filter(fits).ok_or_else(too_large)?;
        if items == 0 || item.is_empty() {
            return Err("its rows hold no values".into());
        }
        let mut columns = Vec::with_capacity(items * item.len());
        for i in 0..items {
            columns
                .extend(item.iter().cloned().map(|column| Column { offset: i * itemsize + column.offset, ..column }));
        }
        if items > 1 {
            columns.iter_mut().for_each(|column| column.name.clear());
        }
        Ok(Csv {
            line: 0,
            has_names,
            parser: ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build(),
            ends: vec![0; columns.len() + 1],
            columns,
            row_size: items * itemsize,
            cells: Vec::new(),
        })
    }

    /// Takes the order of the columns from a line of names, where they have names.
    pub(super) fn names(&mut self, line: &[u8]) -> Result<(), String> {
        if self.columns.iter().all(|column| column.name.is_empty()) {
            return Ok(());
        }
        let found = self.split(line)?;
        let names: Vec<_> = (0..found).map(|i| String::from_utf8_lossy(self.cell(i)).trim().to_string()).collect();
        let is_there = |column: &Column| names.iter().filter(|name| **name == column.name).count() == 1;
        if found != self.columns.len() || !self.columns.iter().all(is_there) {
            let expected: Vec<_> = self.columns.iter().map(|column| &*column.name).collect();
            let (expected, found) = (expected.join(", "), names.join(", "));
            return Err(format!("expected the columns {}, in any order, found {}", plain(expected), plain(found)));
        }
        self.columns.sort_by_key(|column| names.iter().position(|name| *name == column.name));
        Ok(())
    }

    /// Adds the row of a line to `rows`; where that is impossible `rows` is as before, and the error says why.
    pub(super) fn row(&mut self, line: &[u8], rows: &mut Vec<u8>) -> Result<(), String> {
        let found = self.split(line)?;
        let wanted = self.columns.len();
        if found != wanted {
            let more = if found > wanted { "more".into() } else { found.to_string() };
            return Err(format!("expected {}, found {more}", count(wanted as u64, "column")));
        }
        let start = rows.len();
        rows.resize(start + self.row_size, 0);
        for (i, column) in self.columns.iter().enumerate() {
            let at = start + column.offset;
            if column.put(self.cell(i), &mut rows[at..at + column.size]).is_none() {
                rows.truncate(start);
                return Err(misfit(i, column, self.cell(i)));
            }
        }
        Ok(())
    }

    /// Cuts a line into cells and says how many: one too many stands for all of those.
    fn split(&mut self, line: &[u8]) -> Result<usize, String> {
        self.parser.reset();
        self.cells.resize(self.cells.len().max(line.len() + 1), 0);
        let (_, _, wrote, cells) = self.parser.read_record(line, &mut self.cells, &mut self.ends);
        let (end, _, _, last) = self.parser.read_record(b"\n", &mut self.cells[wrote..], &mut self.ends[cells..]);
        match end {
            ReadRecordResult::InputEmpty => Err("a quote is not closed on this line".into()),
            _ => Ok(cells + last),
        }
    }

    fn cell(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.cells[start..self.ends[i]]
    }
}

fn too_large() -> String {
    format!("its rows are larger than lines of text can be: {MAX_COLUMNS} values, {}", size(MAX_ROW_SIZE as u64))
}

/// Adds the columns of a dtype that lies at `offset`.
fn collect(columns: &mut Vec<Column>, dtype: &Dtype, name: &str, offset: u64) -> Result<(), String> {
    if let Some(fields) = dtype.fields() {
        for field in fields.iter().filter(|field| !field.is_padding()) {
            let name = if name.is_empty() { field.name().into() } else { format!("{name}.{}", field.name()) };
            collect(columns, field.dtype(), &name, offset + field.offset())?;
        }
        return Ok(());
    }
    if let Some((base, _)) = dtype.subarray() {
        for i in 0..dtype.itemsize().checked_div(base.itemsize()).unwrap_or(0) {
            let before = columns.len();
            collect(columns, base, &format!("{name}[{i}]"), offset + i * base.itemsize())?;
            // Padding, however often.
            if columns.len() == before {
                break;
            }
        }
        return Ok(());
    }
    let (kind, parts) = match (dtype.kind(), dtype.itemsize()) {
        ('b' | 'i' | 'u' | 'S' | 'U', _) | ('f', 2 | 4 | 8) => (dtype.kind(), &[""][..]),
        ('c', 8 | 16) => ('f', &[".real", ".imag"][..]),
        _ => return Err(format!("text cannot become values of dtype {dtype}")),
    };
    if columns.len() >= MAX_COLUMNS {
        return Err(too_large());
    }
    let size = usize::try_from(dtype.itemsize()).map_err(|_| too_large())? / parts.len();
    let offset = usize::try_from(offset).map_err(|_| too_large())?;
    columns.extend(parts.iter().enumerate().map(|(i, part)| Column {
        name: if name.is_empty() { String::new() } else { format!("{name}{part}") },
        offset: offset + i * size,
        size,
        kind,
        is_big: dtype.byte_order() == '>',
        dtype: dtype.to_string(),
    }));
    Ok(())
}

fn misfit(i: usize, column: &Column, cell: &[u8]) -> String {
    let name = if column.name.is_empty() { String::new() } else { format!(" ({})", plain(&column.name)) };
    let text = String::from_utf8_lossy(cell);
    let found = if text.trim().is_empty() { "nothing".into() } else { format!("`{}`", shortened(&plain(text), 40)) };
    format!("column {}{name}: expected a value of dtype {}, found {found}", i + 1, column.dtype)
}

impl Column {
    /// Writes the value of `cell` to `to`, all zero bytes before; `None` where the dtype does not hold it.
    fn put(&self, cell: &[u8], to: &mut [u8]) -> Option<()> {
        match self.kind {
            'S' => to.get_mut(..cell.len())?.copy_from_slice(cell),
            'U' => {
                for (i, c) in str::from_utf8(cell).ok()?.chars().enumerate() {
                    self.store(u32::from(c).into(), to.get_mut(4 * i..4 * i + 4)?);
                }
            }
            _ => self.store(self.bits(str::from_utf8(cell).ok()?.trim())?, to),
        }
        Some(())
    }

    fn store(&self, bits: u64, to: &mut [u8]) {
        to.copy_from_slice(&bits.to_le_bytes()[..to.len()]);
        if self.is_big {
            to.reverse();
        }
    }

    /// The bits of a number; `None` where they would stand for another one. Floats round, but what is finite stays finite.
    fn bits(&self, text: &str) -> Option<u64> {
        let unused = 64 - 8 * self.size as u32;
        match self.kind {
            'b' => match text {
                "1" | "true" | "True" | "TRUE" => Some(1),
                "0" | "false" | "False" | "FALSE" => Some(0),
                _ => None,
            },
            'i' => text.parse::<i64>().ok().filter(|&n| n << unused >> unused == n).map(|n| n as u64),
            'u' => text.parse::<u64>().ok().filter(|&n| n << unused >> unused == n),
            _ => {
                let value: f64 = text.parse().ok()?;
                let (is_infinite, bits) = match self.size {
                    2 => (half(value) & 0x7fff == 0x7c00, half(value).into()),
                    4 => text.parse::<f32>().map(|value| (value.is_infinite(), value.to_bits().into())).ok()?,
                    _ => (value.is_infinite(), value.to_bits()),
                };
                let is_meant = text.contains(['n', 'N']);
                (!is_infinite || is_meant).then_some(bits)
            }
        }
    }
}

/// The nearest 16-bit float, as its bits: IEEE 754's rounding, ties to even.
fn half(value: f64) -> u16 {
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    if value.is_nan() {
        return sign | 0x7e00;
    }
    if value.abs() >= 65520.0 {
        return sign | 0x7c00;
    }
    // Below the smallest normal number the step stays what it is there. A mantissa that rounds up to the next power of two
    // carries into the exponent, as it should.
    let exponent = ((value.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(-14);
    let mantissa = (value.abs() * 2f64.powi(10 - exponent)).round_ties_even() as u16;
    sign | ((((exponent + 14) as u16) << 10) + mantissa)
}
