//! Headers with room: one layout for new files and for adopted ones.

use super::count::CountField;
#[cfg(feature = "std")]
use super::descr::Tuple;
use super::preamble::{MAGIC, MAX_NDIM, MAX_ROWS, text_start};
use super::{Dtype, Order};
use crate::error::{Result, error};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// A header with room to grow, to be written at offset 0.
///
/// ```text
/// \x93NUMPY 1 0 len {'descr': '<f8', 'fortran_order': False, 'shape': (                 12, 3), }          \n data
/// 0                10                                                 61                 E=80             127 128
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growable {
    /// All of it, up to the first data byte.
    pub bytes: Vec<u8>,
    /// Where its count of rows is.
    pub count: CountField,
}

/// The least columns of the count in a header of ours, which 64-bit counts fit, and in one that was adopted.
const COLUMNS: usize = 19;
const ADOPTED_COLUMNS: usize = 8;

/// Data starts at multiples of the first, as NumPy's; and not before the second, so that plain types all start there.
const ALIGNMENT: usize = 64;
const MIN_LEN: usize = 128;

impl Growable {
    /// The header of a new file: the oldest version that can hold it, padded to the next multiple of 64.
    ///
    /// # Errors
    /// `OverLimit` for more than [`MAX_ROWS`] rows, [`MAX_NDIM`] axes or `max_header_size` bytes.
    pub fn new(dtype: &Dtype, order: Order, row_shape: &[u64], rows: u64, max_header_size: u64) -> Result<Growable> {
        if rows > MAX_ROWS {
            return Err(error!(OverLimit, "expected at most {MAX_ROWS} rows, found {rows}"));
        }
        if row_shape.len() >= MAX_NDIM {
            return Err(error!(OverLimit, "expected at most {MAX_NDIM} axes, found {}", row_shape.len() + 1));
        }
        let header = (1..=3)
            .find_map(|version| lay_out(version, None, dtype, order, row_shape, rows))
            .ok_or_else(|| error!(OverLimit, "expected a header of at most 4 GiB, found a longer one"))?;
        let size = (header.bytes.len() - text_start(header.bytes[6])) as u64;
        if size > max_header_size {
            return Err(error!(
                OverLimit,
                "the header would take {size} bytes, more than max_header_size={max_header_size}, which np.load refuses: shorten \
                 the names of the fields, or give a larger max_header_size here and to every reader"
            ));
        }
        Ok(header)
    }

    /// The same in exactly `len` bytes, as `version`; `None` when no field of 8 columns or more fits that holds `rows`.
    ///
    /// A file whose header is byte for byte this one was laid out here.
    #[must_use]
    pub fn within(
        version: u8,
        len: u64,
        dtype: &Dtype,
        order: Order,
        row_shape: &[u64],
        rows: u64,
    ) -> Option<Growable> {
        lay_out(version, Some(len), dtype, order, row_shape, rows)
    }
}

/// The one layout: the count ends at the first multiple of 16 that leaves it [`COLUMNS`], or, where `len` has no place
/// for that, at the last that fits.
fn lay_out(
    version: u8,
    len: Option<u64>,
    dtype: &Dtype,
    order: Order,
    row_shape: &[u64],
    rows: u64,
) -> Option<Growable> {
    let axes = |form: fn(&u64) -> String| row_shape.iter().map(form).collect::<String>();
    let (before, after) = match order {
        _ if row_shape.is_empty() => (String::new(), ",".into()),
        Order::C => (String::new(), axes(|n| format!(", {n}"))),
        Order::F => (axes(|n| format!("{n}, ")), String::new()),
    };
    let fortran_order = if order == Order::F { "True" } else { "False" };
    let left = format!("{{'descr': {}, 'fortran_order': {fortran_order}, 'shape': ({before}", dtype.descr());
    let left = encode(version, &left)?;
    let right = format!("{after}), }}");

    let start = text_start(version) + left.len();
    let rest = right.len() + 1;
    let mut end = (start + COLUMNS).next_multiple_of(16);
    let len = match len {
        Some(len) => usize::try_from(len).ok()?,
        None => (end + rest).next_multiple_of(ALIGNMENT).max(MIN_LEN),
    };
    if end + rest > len {
        end = len.checked_sub(rest)? / 16 * 16;
    }
    if end < start + ADOPTED_COLUMNS {
        return None;
    }

    let mut bytes = blank(version, len)?;
    bytes[text_start(version)..start].copy_from_slice(&left);
    bytes[end..end + right.len()].copy_from_slice(right.as_bytes());
    let count = CountField::blank(&bytes, start, end);
    if rows > count.max_rows() {
        return None;
    }
    bytes[end - 16..end].copy_from_slice(&count.block(rows));
    Some(Growable { bytes, count })
}

/// A header without its text: spaces, closed by a newline. `None` when the version cannot say so great a length.
fn blank(version: u8, len: usize) -> Option<Vec<u8>> {
    let start = text_start(version);
    let size = u32::try_from(len.checked_sub(start)?).ok().filter(|&size| version > 1 || size <= u16::MAX.into())?;
    let mut bytes = vec![b' '; len];
    bytes[..6].copy_from_slice(&MAGIC);
    bytes[6..8].copy_from_slice(&[version, 0]);
    bytes[8..start].copy_from_slice(&size.to_le_bytes()[..start - 8]);
    *bytes.last_mut()? = b'\n';
    Some(bytes)
}

/// A header without room, in exactly `len` bytes; `None` when its text does not fit.
#[cfg(feature = "std")]
pub(crate) fn plain_header(version: u8, len: u64, dtype: &Dtype, order: Order, shape: &[u64]) -> Option<Vec<u8>> {
    let fortran_order = if order == Order::F { "True" } else { "False" };
    let shape = Tuple(shape);
    let text = format!("{{'descr': {}, 'fortran_order': {fortran_order}, 'shape': {shape}, }}", dtype.descr());
    let text = encode(version, &text)?;
    let mut bytes = blank(version, usize::try_from(len).ok()?)?;
    let room = bytes.len().checked_sub(1)?;
    bytes.get_mut(text_start(version)..room)?.get_mut(..text.len())?.copy_from_slice(&text);
    Some(bytes)
}

fn encode(version: u8, text: &str) -> Option<Vec<u8>> {
    match version {
        3 => Some(text.into()),
        _ => text.chars().map(|c| u8::try_from(c).ok()).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::assert_error;
    use super::super::preamble::MAX_HEADER_SIZE;
    use super::*;
    use crate::format::Header;

    fn new(dtype: &str, order: Order, row_shape: &[u64], rows: u64) -> Growable {
        Growable::new(&dtype.parse().unwrap(), order, row_shape, rows, MAX_HEADER_SIZE).unwrap()
    }

    fn within(len: u64, rows: u64) -> Option<Growable> {
        Growable::within(1, len, &"<f8".parse().unwrap(), Order::C, &[3], rows)
    }

    #[test]
    fn new_headers() {
        for (dtype, order, row_shape, len, prefix, text) in [
            (
                "<f8",
                Order::C,
                &[3][..],
                128,
                "\x01\0v\0",
                "{'descr': '<f8', 'fortran_order': False, 'shape': (                 12, 3), }",
            ),
            (
                "<f8",
                Order::C,
                &[],
                128,
                "\x01\0v\0",
                "{'descr': '<f8', 'fortran_order': False, 'shape': (                 12,), }",
            ),
            (
                "<f8",
                Order::F,
                &[],
                128,
                "\x01\0v\0",
                "{'descr': '<f8', 'fortran_order': True, 'shape': (                  12,), }",
            ),
            (
                "|u1",
                Order::F,
                &[2, 3],
                128,
                "\x01\0v\0",
                "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3,                             12), }",
            ),
            (
                "[('Ж', '<f8')]",
                Order::C,
                &[],
                128,
                "\x03\0t\0\0\0",
                "{'descr': [('Ж', '<f8')], 'fortran_order': False, 'shape': (                     12,), }",
            ),
        ] {
            let header = new(dtype, order, row_shape, 12);
            let mut expected = [&MAGIC, prefix.as_bytes(), text.as_bytes()].concat();
            expected.resize(len - 1, b' ');
            expected.push(b'\n');
            assert_eq!(String::from_utf8_lossy(&header.bytes), String::from_utf8_lossy(&expected));
            assert_eq!(header.count.max_rows(), MAX_ROWS);
            let parsed = Header::parse(&header.bytes).unwrap();
            assert_eq!(parsed.split(), Some((12, row_shape.to_vec())));
            let same = Growable::within(parsed.version, parsed.len, &parsed.dtype, order, row_shape, 12);
            assert_eq!(same, Some(header));
        }
    }

    #[test]
    fn versions_and_limits() {
        let fields = |name: &str, count| {
            let fields: Vec<_> = (0..count).map(|i| format!("('{name}{i:04}', '<f8')")).collect();
            format!("[{}]", fields.join(", ")).parse::<Dtype>().unwrap()
        };
        let version = |dtype: &Dtype, limit| Ok(Growable::new(dtype, Order::C, &[], 0, limit)?.bytes[6]);
        assert_eq!(version(&fields("é", 3), MAX_HEADER_SIZE).unwrap(), 1);
        assert_eq!(version(&fields("Ж", 3), MAX_HEADER_SIZE).unwrap(), 3);
        assert_eq!(version(&fields("é", 4000), 100_000).unwrap(), 2);
        let expected = "OverLimit(the header would take 72116 bytes, more than max_header_size=10000, which np.load refuses: \
                        shorten the names of the fields, or give a larger max_header_size here and to every reader)";
        assert_error(version(&fields("é", 4000), MAX_HEADER_SIZE), expected);

        let plain = "<f8".parse().unwrap();
        let rows = |rows| Growable::new(&plain, Order::C, &[], rows, MAX_HEADER_SIZE);
        assert!(rows(MAX_ROWS).is_ok());
        assert_error(rows(MAX_ROWS + 1), "OverLimit(expected at most 9999999999999999 rows, found 10000000000000000)");
        let axes = |count| Growable::new(&plain, Order::C, &[1].repeat(count), 0, MAX_HEADER_SIZE);
        assert!(axes(MAX_NDIM - 1).is_ok());
        assert_error(axes(MAX_NDIM), "OverLimit(expected at most 64 axes, found 65)");
    }

    /// The text left of the count ends at 61 and that right of it, with the newline, takes 8.
    #[test]
    fn adopted_headers() {
        for (len, max_rows) in [(0, None), (80, None), (87, None), (88, Some(MAX_ROWS)), (4096 + 79, Some(MAX_ROWS))] {
            let header = within(len, 1);
            assert_eq!(header.as_ref().map(|header| header.count.max_rows()), max_rows, "{len}");
            if let Some(header) = header {
                assert_eq!(header.bytes.len() as u64, len);
                assert_eq!(Header::parse(&header.bytes).unwrap().shape, [1, 3]);
            }
        }
    }

    #[test]
    fn narrow_fields() {
        // 70 bytes before the count: 10 columns up to 80.
        let dtype = "[('a', '<f8')]".parse().unwrap();
        let within = |rows| Growable::within(1, 90, &dtype, Order::C, &[], rows);
        let header = within(0).unwrap();
        assert_eq!(header.count.max_rows(), 9_999_999_999);
        assert_eq!(&header.bytes[59..], b" 'shape': (         0,), }    \n");
        assert_eq!(within(10_000_000_000), None);
        assert_eq!(Growable::within(1, u64::MAX, &dtype, Order::C, &[], 0), None);
        // Three more before it leave 7, which is too few.
        let longer = "[('abcd', '<f8')]".parse().unwrap();
        assert_eq!(Growable::within(1, 90, &longer, Order::C, &[], 0), None);
        // A name that a version 1 header can only spell with an escape.
        assert_eq!(Growable::within(1, 128, &"[('Ж', '<f8')]".parse().unwrap(), Order::C, &[], 0), None);
    }
}
