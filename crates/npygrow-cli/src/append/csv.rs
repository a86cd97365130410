//! Lines of CSV as rows of a dtype: one line, one row.

use super::files::Rows;
use crate::text::{count, plain, shortened, size};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use npygrow::{Dtype, Order};

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
    pub(super) fn new(rows: &Rows, has_names: bool) -> Result<Csv, String> {
        let Rows { dtype, row_shape, order } = rows;
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
        let at = |i| itemsize * if *order == Order::C { i } else { transposed(i, row_shape, items) };
        let columns = (0..items).flat_map(|i| {
            item.iter().map(move |column| Column {
                name: if items == 1 { column.name.clone() } else { String::new() },
                offset: at(i) + column.offset,
                ..column.clone()
            })
        });
        let columns: Vec<_> = columns.collect();
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

/// Where item `i` of a row lies whose first axis runs fastest. A line has its items as NumPy prints them: the last axis does.
fn transposed(i: usize, row_shape: &[u64], items: usize) -> usize {
    let (mut rest, mut stride, mut at) = (i, items, 0);
    for axis in row_shape.iter().rev().map(|&axis| axis as usize) {
        stride /= axis;
        at += rest % axis * stride;
        rest /= axis;
    }
    at
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn csv(dtype: &str, row_shape: &[u64], order: Order) -> Result<Csv, String> {
        Csv::new(&Rows { dtype: dtype.parse().unwrap(), row_shape: row_shape.into(), order }, true)
    }

    #[track_caller]
    fn check(dtype: &str, line: &str, expected: &[u8]) {
        let mut rows = Vec::new();
        csv(dtype, &[], Order::C).unwrap().row(line.as_bytes(), &mut rows).unwrap();
        assert_eq!(rows, expected, "{dtype}: {line}");
    }

    #[track_caller]
    fn refused(dtype: &str, line: &str) {
        let mut rows = vec![1];
        let why = csv(dtype, &[], Order::C).unwrap().row(line.as_bytes(), &mut rows).unwrap_err();
        let found = if line.trim().is_empty() { "nothing".into() } else { format!("`{line}`") };
        assert_eq!(why, format!("column 1: expected a value of dtype {dtype}, found {found}"));
        assert_eq!(rows, [1]);
    }

    #[test]
    fn numbers() {
        check("<i2", " -2 ", &[0xfe, 0xff]);
        check(">i2", "-2", &[0xff, 0xfe]);
        check("|i1", "-128", &[0x80]);
        check("<u8", "18446744073709551615", &[0xff; 8]);
        check("<i8", "-9223372036854775808", &i64::MIN.to_le_bytes());
        check("|b1", "True", &[1]);
        check("|b1", "0", &[0]);
        check("<f4", "+.5e1", &5f32.to_le_bytes());
        check(">f8", "1e308", &1e308f64.to_be_bytes());
        check("<f4", "-inf", &f32::NEG_INFINITY.to_le_bytes());
        check("<f2", "NaN", &[0x00, 0x7e]);
        check("<c8", "1,-2", &[1f32.to_le_bytes(), (-2f32).to_le_bytes()].concat());
        for line in ["128", "-129", "1.0", " ", "x", "1_0", "0x1"] {
            refused("|i1", line);
        }
        for (dtype, line) in
            [("|u1", "-1"), ("<u8", "18446744073709551616"), ("|b1", "2"), ("<f4", "1e39"), ("<f8", "1e309")]
        {
            refused(dtype, line);
        }
    }

    #[test]
    fn halves() {
        for (value, bits) in [
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65504.0, 0x7bff),
            (65519.9, 0x7bff),
            (6.103_515_625e-5, 0x0400),
            (5.960_464_477_539_063e-8, 0x0001),
            (2.980_232_238_769_531_3e-8, 0x0000),
            (2.98e-8, 0x0000),
            (2.981e-8, 0x0001),
            (1.000_488_281_25, 0x3c00),
            (1.001_464_843_75, 0x3c02),
            (1.9999, 0x4000),
            (-0.0, 0x8000),
        ] {
            assert_eq!(half(value), bits, "{value}");
        }
        refused("<f2", "65520");
    }

    #[test]
    fn strings() {
        check("|S3", "\"a,\"", b"a,\0");
        check("<U2", "é", &[0xe9, 0, 0, 0, 0, 0, 0, 0]);
        check(">U1", "é", &[0, 0, 0, 0xe9]);
        refused("|S3", "four");
        refused("<U2", "two");
    }

    #[test]
    fn cells() {
        let mut three = csv("|u1", &[3], Order::C).unwrap();
        let mut rows = Vec::new();
        let mut row = |line: &str| three.row(line.as_bytes(), &mut rows);
        assert_eq!(row("1,2,3"), Ok(()));
        assert_eq!(row("4,5").unwrap_err(), "expected 3 columns, found 2");
        assert_eq!(row("4,5,6,7,8").unwrap_err(), "expected 3 columns, found more");
        assert_eq!(row("4,\"5,6").unwrap_err(), "a quote is not closed on this line");
        assert_eq!(row("4,5,").unwrap_err(), "column 3: expected a value of dtype |u1, found nothing");
        assert_eq!(row("4,\"5\",6"), Ok(()));
        assert_eq!(rows, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_line_has_the_last_axis_run_fastest_in_either_order() {
        for (order, expected) in [(Order::C, [1, 2, 3, 4, 5, 6]), (Order::F, [1, 4, 2, 5, 3, 6])] {
            let mut rows = Vec::new();
            csv("|u1", &[2, 3], order).unwrap().row(b"1,2,3,4,5,6", &mut rows).unwrap();
            assert_eq!(rows, expected, "{order}");
        }
    }

    #[test]
    fn columns_by_name() {
        let dtype = "[('t', '<u2'), ('', '|V1'), ('xy', '|u1', (2,)), ('in', [('z', '<c8')])]";
        let expected = "expected the columns t, xy[0], xy[1], in.z.real, in.z.imag, in any order, found ";
        for line in ["t,xy[0],xy[1],in.z.real", "t,t,xy[0],xy[1],in.z.real", "t,xy[0],xy[1],in.z.real,in.z.imag,more"] {
            let why = csv(dtype, &[], Order::C).unwrap().names(line.as_bytes()).unwrap_err();
            assert_eq!(why, format!("{expected}{}", line.replace(',', ", ")));
        }
        let mut records = csv(dtype, &[], Order::C).unwrap();
        records.names(b"in.z.imag, xy[1] ,t,in.z.real,xy[0]").unwrap();
        let mut rows = Vec::new();
        records.row(b"0,2,3,0,1", &mut rows).unwrap();
        assert_eq!(rows, [&[3, 0, 0, 1, 2][..], &[0; 8]].concat());
        let why = records.row(b"0,2,x,0,1", &mut rows).unwrap_err();
        assert_eq!(why, "column 3 (t): expected a value of dtype <u2, found `x`");

        let mut plain = csv("|u1", &[2], Order::C).unwrap();
        assert_eq!(plain.names(b"whatever"), Ok(()));
    }

    #[test]
    fn rows_that_no_text_has() {
        let why = |dtype: &str, row_shape: &[u64]| csv(dtype, row_shape, Order::C).err().unwrap();
        let large = "its rows are larger than lines of text can be: 1048576 values, 64.0 MiB";
        assert_eq!(why("|u1", &[1 << 20, 2]), large);
        assert_eq!(why("|u1", &[u64::MAX, 2]), large);
        assert_eq!(why("|S2000000000", &[]), large);
        assert_eq!(why("[('a', '|u1', (2000000000,))]", &[]), large);
        assert_eq!(why("[('a', [('', '|V1')], (2000000000,))]", &[]), large);
        assert_eq!(why("|u1", &[0]), "its rows hold no values");
        for dtype in ["<M8[s]", "|V3", "<f16", "<c32"] {
            assert_eq!(why(dtype, &[]), format!("text cannot become values of dtype {dtype}"));
        }
    }
}
