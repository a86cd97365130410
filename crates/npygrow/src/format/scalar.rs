//! Types without fields, as NumPy spells them: `<f8`, `|S5`, `>U3`, `<M8[25s]`.

use super::literal::Excerpt;
use crate::error::{Error, Result, error};
use core::fmt;

/// Byte order, kind, size and unit, in NumPy's normal form: one value for all spellings of a type.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Scalar {
    /// `<`, `>`, or `|` where bytes have no order.
    pub(super) byte_order: char,
    /// NumPy's letter: one of `biufcSUVMm`.
    pub(super) kind: char,
    /// The number in the spelling: bytes, or characters of four bytes for `U`.
    size: u64,
    /// Steps of so many units; `None` for dates and times without one, and for all else.
    unit: Option<(u32, &'static str)>,
}

const UNITS: [&str; 13] = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"];

impl Scalar {
    /// Bytes that mean nothing: padding.
    pub(super) const fn void(size: u64) -> Scalar {
        Scalar { byte_order: '|', kind: 'V', size, unit: None }
    }

    /// A number in this machine's byte order.
    pub(super) const fn native(kind: char, size: u64) -> Scalar {
        let byte_order = match size {
            1 => '|',
            _ if cfg!(target_endian = "big") => '>',
            _ => '<',
        };
        Scalar { byte_order, kind, size, unit: None }
    }

    /// Reads a spelling. No mark, `=` and `|` mean little-endian where bytes have an order: NumPy resolves `=` before it
    /// writes, on big-endian machines too. `f12` and `c24` (32-bit x86) are taken: they are only bytes here.
    pub(super) fn parse(text: &str) -> Result<Scalar> {
        let bare = text.strip_prefix(['<', '>', '|', '=']).unwrap_or(text);
        let mut chars = bare.chars();
        let kind = match chars.next() {
            Some('?') => return if bare == "?" { Scalar::parse("|b1") } else { Err(unknown(text)) },
            Some('O') => return Err(object(text)),
            Some('a') => 'S',
            Some(kind) => kind,
            None => return Err(unknown(text)),
        };
        let (size, unit) = match chars.as_str().split_once('[') {
            Some((size, unit)) if matches!(kind, 'M' | 'm') => (size, parse_unit(unit).ok_or_else(|| unknown(text))?),
            _ => (chars.as_str(), None),
        };
        let size = match size {
            "" if matches!(kind, 'S' | 'U' | 'V') => 0,
            digits if digits.bytes().all(|c| c.is_ascii_digit()) => digits.parse().map_err(|_| unknown(text))?,
            _ => return Err(unknown(text)),
        };
        let byte_order = match (kind, size) {
            ('b', 1) | ('i' | 'u', 1) | ('S' | 'V', _) => '|',
            ('i' | 'u', 2 | 4 | 8)
            | ('f', 2 | 4 | 8 | 12 | 16)
            | ('c', 8 | 16 | 24 | 32)
            | ('U', _)
            | ('M' | 'm', 8) => {
                if text.starts_with('>') {
                    '>'
                } else {
                    '<'
                }
            }
            _ => return Err(unknown(text)),
        };
        Ok(Scalar { byte_order, kind, size, unit })
    }

    /// In bytes, as yet without a limit.
    pub(super) fn itemsize(&self) -> u64 {
        self.size.saturating_mul(if self.kind == 'U' { 4 } else { 1 })
    }
}

/// What stands between the brackets of `M8[25s]`, with the closing one.
fn parse_unit(text: &str) -> Option<Option<(u32, &'static str)>> {
    let text = text.strip_suffix(']')?;
    let name = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let steps = match text.strip_suffix(name)? {
        "" => 1,
        // NumPy's own limit: a C int.
        digits => digits.parse().ok().filter(|&n| i32::try_from(n).is_ok())?,
    };
    if name == "generic" {
        return Some(None);
    }
    UNITS.iter().find(|&&unit| unit == name).map(|&unit| Some((steps, unit)))
}

fn unknown(text: &str) -> Error {
    error!(Malformed, "descr: expected a NumPy type such as `<f8` or `|S5`, found {}", Excerpt(text))
}

fn object(text: &str) -> Error {
    error!(
        Unsupported,
        "descr: {} is an array of Python objects, a pickle and no rows of bytes; read it with \
         np.load(allow_pickle=True), if you trust it, and save it with a plain dtype",
        Excerpt(text)
    )
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.byte_order, self.kind, self.size)?;
        match self.unit {
            None => Ok(()),
            Some((1, unit)) => write!(f, "[{unit}]"),
            Some((steps, unit)) => write!(f, "[{steps}{unit}]"),
        }
    }
}
