//! Types without fields, as NumPy spells them: `<f8`, `|S5`, `>U3`, `<M8[25s]`.

use super::literal::Excerpt;
use crate::error::{Result, error};
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

    /// Reads a spelling. No mark, `=` and `|` mean little-endian where bytes have an order: NumPy resolves `=` before
    /// it writes, on big-endian machines too. `f12` and `c24` (32-bit x86) are taken: they are only bytes here.
    pub(super) fn parse(text: &str) -> Result<Scalar> {
        let bare = text.strip_prefix(['<', '>', '|', '=']).unwrap_or(text);
        if bare.starts_with('O') {
            return Err(error!(
                Unsupported,
                "descr: {} holds Python objects, whose data is a pickle, not rows of bytes: if you trust it, read it \
                 with np.load(allow_pickle=True) and save it with a plain dtype",
                Excerpt(text)
            ));
        }
        Scalar::read(bare, if text.starts_with('>') { '>' } else { '<' }).ok_or_else(|| {
            error!(Malformed, "descr: expected a NumPy type such as `<f8` or `|S5`, found {}", Excerpt(text))
        })
    }

    fn read(bare: &str, mark: char) -> Option<Scalar> {
        let mut chars = if bare == "?" { "b1" } else { bare }.chars();
        let letter = chars.next()?;
        let kind = if letter == 'a' { 'S' } else { letter };
        let (size, unit) = match chars.as_str().split_once('[') {
            Some((size, unit)) if matches!(kind, 'M' | 'm') => (size, parse_unit(unit)?),
            _ => (chars.as_str(), None),
        };
        let size = match size {
            "" if matches!(letter, 'S' | 'U' | 'V') => 0,
            digits if digits.bytes().all(|c| c.is_ascii_digit()) => digits.parse().ok()?,
            _ => return None,
        };
        let byte_order = match (kind, size) {
            ('b' | 'i' | 'u', 1) | ('S' | 'V', _) => '|',
            ('i' | 'u', 2 | 4 | 8) | ('f', 2 | 4 | 8 | 12 | 16) | ('c', 8 | 16 | 24 | 32) => mark,
            ('U', _) | ('M' | 'm', 8) => mark,
            _ => return None,
        };
        Some(Scalar { byte_order, kind, size, unit })
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
        // NumPy's own limit: a C int. It takes 0 too, and then divides by it.
        digits => digits.parse().ok().filter(|&n| n > 0 && i32::try_from(n).is_ok())?,
    };
    if name == "generic" {
        // NumPy takes other steps too, tells the types apart, and writes one name for all.
        return (steps == 1).then_some(None);
    }
    UNITS.iter().find(|&&unit| unit == name).map(|&unit| Some((steps, unit)))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::assert_error;
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn normal_forms() {
        for (text, expected, itemsize) in [
            ("|u1 <u1 >u1 u1", "|u1", 1),
            ("i1", "|i1", 1),
            ("=f8 f8 |f8 <f8 <f08", "<f8", 8),
            (">f8", ">f8", 8),
            ("? |b1 <b1 >?", "|b1", 1),
            ("f2", "<f2", 2),
            (">c16", ">c16", 16),
            ("<f16", "<f16", 16),
            ("<f12", "<f12", 12),
            ("<c32", "<c32", 32),
            ("S5 |S5 a5 >S5", "|S5", 5),
            ("S |S0", "|S0", 0),
            ("<U12", "<U12", 48),
            (">U3", ">U3", 12),
            ("V7 <V7", "|V7", 7),
            ("M8 <M8[generic] |M8[1generic]", "<M8", 8),
            ("<M8[ns] M8[1ns]", "<M8[ns]", 8),
            (">m8[25s]", ">m8[25s]", 8),
            ("m8[2147483647as]", "<m8[2147483647as]", 8),
        ] {
            for text in text.split(' ') {
                let scalar = Scalar::parse(text).unwrap();
                assert_eq!((scalar.to_string().as_str(), scalar.itemsize()), (expected, itemsize), "{text}");
            }
        }
        let largest = Scalar::parse("U18446744073709551615").unwrap();
        assert_eq!(largest.itemsize(), u64::MAX);
    }

    #[test]
    fn unknown_spellings() {
        for text in [
            "",
            "<",
            "f",
            "f1",
            "i3",
            "u16",
            "c4",
            "b2",
            "?1",
            "<<f8",
            "S-1",
            "S+5",
            "S5x",
            "M4",
            "M8[]",
            "M8[25]",
            "M8[0s]",
            "m8[7generic]",
            "<a",
            "M8[B]",
            "M8[s",
            "M8[s]]",
            "M8[2147483648s]",
            "M8[D/7]",
            "f8[s]",
            "i4,i8",
            "3f8",
            "<class 'bytes'>",
            "dtype('<f8')",
            "ü8",
        ] {
            let expected = format!("Malformed(descr: expected a NumPy type such as `<f8` or `|S5`, found `{text}`)");
            assert_error(Scalar::parse(text), &expected);
        }
        // NumPy loads this one as a timedelta.
        let expected = "Malformed(descr: expected a NumPy type such as `<f8` or `|S5`, found `|\\u{16}`)";
        assert_error(Scalar::parse("|\x16"), expected);
    }

    #[test]
    fn objects() {
        for text in ["|O", "O", "|O8"] {
            let expected = format!(
                "Unsupported(descr: `{text}` holds Python objects, whose data is a pickle, not rows of bytes: if you \
                 trust it, read it with np.load(allow_pickle=True) and save it with a plain dtype)"
            );
            assert_error(Scalar::parse(text), &expected);
        }
    }
}
