//! Reading a header: magic, version, length, dict.

use super::literal::{self, Literal, Note, Value};
use super::{Dtype, Order, split_shape};
use crate::error::{Result, error};
use alloc::string::String;
use alloc::vec::Vec;

/// The first bytes of every `.npy` file.
pub const MAGIC: [u8; 6] = *b"\x93NUMPY";

/// The most bytes needed to learn a header's length: magic, two of version, and a length of two or four.
pub const PREFIX: usize = 12;

/// `np.load`'s default for the parameter of this name, in bytes of the dict and its padding. (NumPy counts characters,
/// which differ only for names outside ASCII in version 3.)
pub const MAX_HEADER_SIZE: u64 = 10_000;

/// The highest count of rows that a header of ours holds: sixteen digits, one aligned block.
pub const MAX_ROWS: u64 = 9_999_999_999_999_999;

/// The most axes a shape may have: NumPy 2's limit.
pub const MAX_NDIM: usize = 64;

/// What a file says it is.
///
/// ```
/// use npygrow::format::{Growable, Header, MAX_HEADER_SIZE, Order};
///
/// let file = Growable::new(&"<f8".parse()?, Order::C, &[3], 12, MAX_HEADER_SIZE)?.bytes;
/// assert_eq!(Header::len_from(&file[..12], MAX_HEADER_SIZE)?, 128);
/// assert_eq!(Header::parse(&file)?.shape, [12, 3]);
/// # Ok::<(), npygrow::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 1, 2 or 3.
    pub version: u8,
    /// What one element is.
    pub dtype: Dtype,
    /// `fortran_order`.
    pub order: Order,
    /// All axes, the growth axis among them.
    pub shape: Vec<u64>,
    /// The bytes up to the first data byte.
    pub len: u64,
    /// Spellings that not every reader takes, each once.
    pub notes: Vec<Note>,
}

impl Header {
    /// The length of the header that begins with `prefix`: a file's first [`PREFIX`] bytes or more, or all that it has.
    /// Nothing is allocated for a header before this has said how long it is.
    ///
    /// # Errors
    /// `NotNpy` with [what it looks like](looks_like), `Malformed` when the file ends too soon, `Unsupported` for an
    /// unknown version, `OverLimit` for a dict of more than `max_header_size` bytes.
    pub fn len_from(prefix: &[u8], max_header_size: u64) -> Result<u64> {
        let Some(after) = prefix.strip_prefix(&MAGIC) else {
            return Err(error!(NotNpy, "expected an .npy file, found {}", looks_like(prefix)));
        };
        let (version, size) = match *after {
            [1, 0, a, b, ..] => (1, u64::from(u16::from_le_bytes([a, b]))),
            [version @ 2..=3, 0, a, b, c, d, ..] => (version, u64::from(u32::from_le_bytes([a, b, c, d]))),
            [] | [_] | [1..=3, 0, ..] => {
                return Err(error!(Malformed, "the file ends within its header, after {} bytes", prefix.len()));
            }
            [major, minor, ..] => {
                return Err(error!(
                    Unsupported,
                    "expected .npy version 1.0, 2.0 or 3.0, found {major}.{minor}: newer than this program, or damaged"
                ));
            }
        };
        if size > max_header_size {
            return Err(error!(
                OverLimit,
                "the header takes {size} bytes, more than max_header_size={max_header_size}: \
                 raise it if you trust its source"
            ));
        }
        Ok(text_start(version) as u64 + size)
    }

    /// Reads a header from its bytes: exactly as many as [`len_from`](Header::len_from) said.
    ///
    /// # Errors
    /// As `len_from`, and: `Malformed` with what is wrong, `Unsupported` for Python objects, `OverLimit`.
    pub fn parse(bytes: &[u8]) -> Result<Header> {
        let len = Header::len_from(bytes, u64::MAX)?;
        let found = bytes.len() as u64;
        if found != len {
            return Err(error!(Malformed, "expected a header of {len} bytes, found {found}"));
        }
        let version = bytes[MAGIC.len()];
        let text = decode(version, &bytes[text_start(version)..])?;
        let (literal, notes) =
            literal::parse(&text).map_err(|error| error.and("characters count from the header's dict"))?;
        let [descr, fortran_order, shape] = values(&literal)?;
        let (dtype, order, shape) = (Dtype::from_literal(descr)?, parse_order(fortran_order)?, parse_shape(shape)?);
        Ok(Header { version, dtype, order, shape, len, notes })
    }

    /// The rows and the shape of one; `None` for a 0-d array.
    #[must_use]
    pub fn split(&self) -> Option<(u64, Vec<u64>)> {
        split_shape(&self.shape, self.order)
    }
}

pub(super) fn text_start(version: u8) -> usize {
    if version == 1 { 10 } else { 12 }
}

/// Version 3 is UTF-8, the older ones are latin-1.
fn decode(version: u8, text: &[u8]) -> Result<String> {
    match version {
        3 => match core::str::from_utf8(text) {
            Ok(text) => Ok(text.into()),
            Err(error) => Err(error!(Malformed, "expected UTF-8 in a version 3 header, found {error}")),
        },
        _ => Ok(text.iter().copied().map(char::from).collect()),
    }
}

const KEYS: [&str; 3] = ["descr", "fortran_order", "shape"];

/// The values of the three keys, which come once each, in any order, and alone.
fn values<'a, 't>(literal: &'a Literal<'t>) -> Result<[&'a Literal<'t>; 3]> {
    let Value::Dict(entries) = &literal.value else {
        return Err(error!(Malformed, "expected a header that is a dict, found {literal}"));
    };
    let mut values = [None; 3];
    for (key, value) in entries {
        let Some(i) = KEYS.iter().position(|known| matches!(&key.value, Value::Str(key) if key == known)) else {
            return Err(error!(Malformed, "expected the keys 'descr', 'fortran_order' and 'shape' alone, found {key}"));
        };
        if values[i].replace(value).is_some() {
            return Err(error!(Malformed, "expected the key {key} once, found it twice"));
        }
    }
    if let [Some(descr), Some(fortran_order), Some(shape)] = values {
        return Ok([descr, fortran_order, shape]);
    }
    let missing: Vec<_> =
        KEYS.into_iter().zip(values).filter_map(|(key, value)| value.is_none().then_some(key)).collect();
    Err(error!(Malformed, "the header lacks {}", missing.join(", ")))
}

fn parse_order(literal: &Literal<'_>) -> Result<Order> {
    match literal.value {
        Value::Bool(false) => Ok(Order::C),
        Value::Bool(true) => Ok(Order::F),
        _ => Err(error!(Malformed, "fortran_order: expected True or False, found {literal}")),
    }
}

fn parse_shape(literal: &Literal<'_>) -> Result<Vec<u64>> {
    let axis = |axis: &Literal<'_>| match axis.value {
        Value::Int(n) => n.filter(|&n| i64::try_from(n).is_ok()),
        _ => None,
    };
    let shape = match &literal.value {
        Value::Tuple(axes) => axes.iter().map(axis).collect::<Option<Vec<_>>>(),
        _ => None,
    };
    match shape {
        Some(shape) if shape.len() <= MAX_NDIM => Ok(shape),
        Some(shape) => Err(error!(OverLimit, "shape: expected at most {MAX_NDIM} axes, found {}", shape.len())),
        None => {
            Err(error!(Malformed, "shape: expected a tuple of counts below 2**63, such as (3, 4), found {literal}"))
        }
    }
}

/// What a file that is no `.npy` looks like, from its first bytes: 512 say more than [`PREFIX`].
#[must_use]
pub fn looks_like(first: &[u8]) -> &'static str {
    let lower = first.trim_ascii_start().to_ascii_lowercase();
    let starts = |signatures: &[&[u8]]| signatures.iter().any(|signature| first.starts_with(signature));
    match first {
        [] => "an empty file",
        _ if first.iter().all(|&byte| byte == 0) => "a zero-filled file: its data was never written",
        _ if MAGIC.starts_with(first) => "a file that ends within the npy magic",
        _ if starts(&[b"PK\x03\x04", b"PK\x05\x06"]) => "an .npz or zip archive",
        _ if starts(&[b"\x1f\x8b"]) => "a gzip file",
        _ if starts(&[b"\x89HDF\r\n\x1a\n"]) => "an HDF5 file",
        [0x80, 2..=5, ..] => "a Python pickle",
        _ if starts(&[b"version http"]) => "a git-LFS pointer: `git lfs pull` fetches the file",
        _ if [&b"<!doctype"[..], b"<html", b"<?xml", b"<head"].iter().any(|tag| lower.starts_with(tag)) => {
            "an HTML or XML page, such as a download's error"
        }
        _ if is_text(first) => "text",
        _ => "unknown binary data",
    }
}

/// UTF-8, perhaps cut within a character, and no control characters but whitespace.
fn is_text(first: &[u8]) -> bool {
    let whole = match core::str::from_utf8(first) {
        Ok(text) => text,
        Err(error) if error.error_len().is_some() => return false,
        Err(error) => core::str::from_utf8(&first[..error.valid_up_to()]).unwrap_or_default(),
    };
    whole.chars().all(|c| !c.is_control() || c.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::assert_error;
    use super::*;
    use alloc::format;

    fn file(version: u8, text: &[u8]) -> Vec<u8> {
        let len = u32::try_from(text.len()).unwrap().to_le_bytes();
        [&MAGIC[..], &[version, 0], &len[..if version == 1 { 2 } else { 4 }], text].concat()
    }

    fn parse(text: &str) -> Result<Header> {
        Header::parse(&file(1, text.as_bytes()))
    }

    #[test]
    fn lengths() {
        let v1 = file(1, &[b' '; 118]);
        assert_eq!(Header::len_from(&v1[..10], 118).unwrap(), 128);
        assert_eq!(Header::len_from(&file(2, &[b' '; 70_000])[..12], 70_000).unwrap(), 70_012);
        for (prefix, expected) in [
            (&v1[..6], "Malformed(the file ends within its header, after 6 bytes)"),
            (&v1[..9], "Malformed(the file ends within its header, after 9 bytes)"),
            (b"\x93NUMPY\x03\0\0\0\0", "Malformed(the file ends within its header, after 11 bytes)"),
            (
                b"\x93NUMPY\x01\x01\0\0",
                "Unsupported(expected .npy version 1.0, 2.0 or 3.0, found 1.1: newer than this program, or damaged)",
            ),
            (
                b"\x93NUMPY\x04\0",
                "Unsupported(expected .npy version 1.0, 2.0 or 3.0, found 4.0: newer than this program, or damaged)",
            ),
            (
                b"\x93NUMPY\x02\0\xff\xff\xff\xff",
                "OverLimit(the header takes 4294967295 bytes, more than max_header_size=117: \
                 raise it if you trust its source)",
            ),
            (
                &v1[..12],
                "OverLimit(the header takes 118 bytes, more than max_header_size=117: \
                 raise it if you trust its source)",
            ),
            (b"", "NotNpy(expected an .npy file, found an empty file)"),
        ] {
            assert_error(Header::len_from(prefix, 117), expected);
        }
    }

    #[test]
    fn looks() {
        for (first, expected) in [
            (&b""[..], "an empty file"),
            (&[0; 12], "a zero-filled file: its data was never written"),
            (b"\x93NUM", "a file that ends within the npy magic"),
            (b"PK\x03\x04\x14\0\0\0", "an .npz or zip archive"),
            (b"\x1f\x8b\x08\0", "a gzip file"),
            (b"\x89HDF\r\n\x1a\n\0\0", "an HDF5 file"),
            (b"\x80\x04\x95\0\0", "a Python pickle"),
            (b"version https://git-lfs.github.com/spec/v1", "a git-LFS pointer: `git lfs pull` fetches the file"),
            (b"\r\n <!DOCTYPE html>", "an HTML or XML page, such as a download's error"),
            (b"1.5, 2.5\n", "text"),
            ("naïve é".as_bytes().split_last().unwrap().1, "text"),
            (b"text\0", "unknown binary data"),
            (b"\xff\xfe", "unknown binary data"),
        ] {
            assert_eq!(looks_like(first), expected, "{first:?}");
        }
    }

    #[test]
    fn headers() {
        let header = parse("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }  \n").unwrap();
        let dtype = "<f8".parse().unwrap();
        assert_eq!(
            header,
            Header { version: 1, dtype, order: Order::C, shape: [3, 4].into(), len: 72, notes: [].into() }
        );
        assert_eq!(header.split(), Some((3, [4].into())));

        let header = parse("\n{ \"shape\":(3L,np.int64(5)),'fortran_order' :True,'descr':u'>f8'}").unwrap();
        assert_eq!((header.order, header.split()), (Order::F, Some((5, [3].into()))));
        assert_eq!(header.notes, [Note::Long, Note::Wrapped]);
        assert_eq!(parse("{'descr': '<f8', 'fortran_order': False, 'shape': ()}").unwrap().split(), None);

        let named = |version, name: &[u8]| {
            let text = [b"{'descr': [('", name, b"', '<f8')], 'fortran_order': False, 'shape': (3,)}"].concat();
            Ok(Header::parse(&file(version, &text))?.dtype.descr())
        };
        assert_eq!(named(1, b"\xe9").unwrap(), "[('é', '<f8')]");
        assert_eq!(named(3, "Ж".as_bytes()).unwrap(), "[('Ж', '<f8')]");
        let expected =
            "Malformed(expected UTF-8 in a version 3 header, found invalid utf-8 sequence of 1 bytes from index 13)";
        assert_error(named(3, b"\xe9"), expected);
    }

    #[test]
    fn errors() {
        let whole = file(1, b"{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}");
        assert_error(Header::parse(&whole[..64]), "Malformed(expected a header of 65 bytes, found 64)");
        for (text, expected) in [
            ("[]", "Malformed(expected a header that is a dict, found `[]`)"),
            ("{'descr': '<f8', 'shape': (3,)}", "Malformed(the header lacks fortran_order)"),
            ("{}", "Malformed(the header lacks descr, fortran_order, shape)"),
            (
                "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), 'x': 1}",
                "Malformed(expected the keys 'descr', 'fortran_order' and 'shape' alone, found `'x'`)",
            ),
            ("{'descr': '<f8', 'descr': '<f8'}", "Malformed(expected the key `'descr'` once, found it twice)"),
            (
                "{'descr': <class 'bytes'>}",
                "Malformed(expected a value at character 10, found `<class 'bytes'>}`; \
                 characters count from the header's dict)",
            ),
            (
                "{'descr': '<f8', 'fortran_order': false, 'shape': (3,)}",
                "Malformed(fortran_order: expected True or False, found `false`)",
            ),
        ] {
            assert_error(parse(text), expected);
        }
        for shape in ["10", "[6]", "(6)", "(100, array(100))", "(-1,)", "(True,)", "(9223372036854775808,)", "((3,),)"]
        {
            let expected =
                format!("Malformed(shape: expected a tuple of counts below 2**63, such as (3, 4), found `{shape}`)");
            assert_error(parse(&format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}")), &expected);
        }
        let axes =
            |count| parse(&format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({})}}", "1,".repeat(count)));
        assert!(axes(MAX_NDIM).is_ok());
        assert_error(axes(MAX_NDIM + 1), "OverLimit(shape: expected at most 64 axes, found 65)");
    }
}
