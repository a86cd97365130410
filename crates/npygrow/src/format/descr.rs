//! How dtypes print: exactly as NumPy writes them, which is as Python's `repr` does.

use super::Dtype;
use alloc::string::String;
use core::fmt::{self, Write};

/// A dtype as the literal of a header.
pub(super) struct Descr<'a>(pub(super) &'a Dtype);

impl fmt::Display for Descr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((base, shape)) = self.0.subarray() {
            return write!(f, "({}, {})", Descr(base), Tuple(shape));
        }
        let Some(fields) = self.0.fields() else { return write!(f, "'{}'", self.0) };
        f.write_char('[')?;
        for (i, field) in fields.iter().enumerate() {
            f.write_str(if i == 0 { "(" } else { ", (" })?;
            match field.title() {
                Some(title) => write!(f, "({}, {}), ", Repr(title), Repr(field.name()))?,
                None => write!(f, "{}, ", Repr(field.name()))?,
            }
            match field.dtype().subarray() {
                Some((base, shape)) => write!(f, "{}, {})", Descr(base), Tuple(shape))?,
                None => write!(f, "{})", Descr(field.dtype()))?,
            }
        }
        f.write_char(']')
    }
}

/// Numbers as Python prints a tuple of them.
pub(crate) struct Tuple<'a>(pub(crate) &'a [u64]);

impl fmt::Display for Tuple<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('(')?;
        for (i, n) in self.0.iter().enumerate() {
            write!(f, "{}{n}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str(if self.0.len() == 1 { ",)" } else { ")" })
    }
}

/// A string as Python's `repr` prints it.
pub(super) struct Repr<'a>(pub(super) &'a str);

impl fmt::Display for Repr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.0.contains('\'') && !self.0.contains('"') { '"' } else { '\'' };
        f.write_char(quote)?;
        for c in self.0.chars() {
            match (c, u32::from(c)) {
                ('\n', _) => f.write_str("\\n")?,
                ('\r', _) => f.write_str("\\r")?,
                ('\t', _) => f.write_str("\\t")?,
                ('\\', _) => f.write_str("\\\\")?,
                _ if c == quote => write!(f, "\\{c}")?,
                _ if is_printable(c) => f.write_char(c)?,
                (_, code @ ..=0xff) => write!(f, "\\x{code:02x}")?,
                (_, code @ ..=0xffff) => write!(f, "\\u{code:04x}")?,
                (_, code) => write!(f, "\\U{code:08x}")?,
            }
        }
        f.write_char(quote)
    }
}

/// Python's `str.isprintable`. Rust escapes by the same Unicode categories, and besides quotes, backslashes and what
/// combines with the character before it: the space in front spares the last.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~') || String::from_iter([' ', c]).escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use alloc::format;

    #[test]
    fn strings_as_python_prints_them() {
        for name in [
            r"'it\\s'",
            r#""it's""#,
            r#"'it\'s "it"'"#,
            r"'\n\r\t\x00\x7f\xa0\xad'",
            r"'\u200b\u2028\ue000\U000e0001'",
            "'éЖ中😀'",
            "'a\u{301}\u{301}'",
            "'\u{301}'",
        ] {
            let text = format!("[({name}, '|u1')]");
            assert_eq!(text.parse::<Dtype>().unwrap().descr(), text);
        }
    }
}
