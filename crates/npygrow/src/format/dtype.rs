//! NumPy's dtypes: read from a header's `descr`, and written back exactly as NumPy writes them.

use super::MAX_NDIM;
use super::literal::{self, Literal, Value};
use super::scalar::Scalar;
use crate::error::{Error, Result, error};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::str::FromStr;

/// NumPy's own limit: it keeps the size of one element in a C int.
const MAX_ITEMSIZE: u64 = i32::MAX as u64;

/// What one element of an array is: a plain type such as `<f8`, or a record with fields.
///
/// It parses from what NumPy writes in a header, and prints the same. Types that NumPy holds equal are equal, whatever their spelling.
///
/// ```
/// use npygrow::Dtype;
///
/// let plain: Dtype = "f8".parse()?;
/// assert_eq!((plain.to_string(), plain.descr(), plain.itemsize()), ("<f8".into(), "'<f8'".into(), 8));
///
/// let pose: Dtype = "[('id', '<u4'), ('xyz', '<f8', (3,))]".parse()?;
/// assert_eq!(pose.itemsize(), 28);
/// assert_eq!(pose.fields().unwrap()[1].dtype().subarray(), Some((&plain, &[3][..])));
/// # Ok::<(), npygrow::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Dtype {
    kind: Kind,
    itemsize: u64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    Scalar(Scalar),
    /// Padding included, as fields without a name.
    Record(Vec<Field>),
    /// Only ever inside a record.
    Subarray(Box<Dtype>, Vec<u64>),
}

/// One field of a record, or the padding between two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    name: String,
    title: Option<String>,
    dtype: Dtype,
    offset: u64,
}

impl Dtype {
    /// The Python literal that stands for it in a header: `'<f8'`, `[('a', '<i4'), ('b', '<f8', (2, 3))]`.
    #[must_use]
    pub fn descr(&self) -> String {
        Descr(self).to_string()
    }

    /// The bytes of one element.
    #[must_use]
    pub fn itemsize(&self) -> u64 {
        self.itemsize
    }

    /// NumPy's letter for the kind: one of `biufcSUVMm`; `V` for records and subarrays.
    #[must_use]
    pub fn kind(&self) -> char {
        if let Kind::Scalar(scalar) = &self.kind { scalar.kind } else { 'V' }
    }

    /// `<` little-endian, `>` big-endian, `|` where bytes have no order of their own.
    #[must_use]
    pub fn byte_order(&self) -> char {
        if let Kind::Scalar(scalar) = &self.kind { scalar.byte_order } else { '|' }
    }

    /// The fields of a record and its padding, by offset; they cover all its bytes.
    #[must_use]
    pub fn fields(&self) -> Option<&[Field]> {
        if let Kind::Record(fields) = &self.kind { Some(fields) } else { None }
    }

    /// The base and the shape of a subarray, which only a field can be.
    #[must_use]
    pub fn subarray(&self) -> Option<(&Dtype, &[u64])> {
        if let Kind::Subarray(base, shape) = &self.kind { Some((base, shape)) } else { None }
    }

    /// The dtype of a file. NumPy neither writes nor loads a subarray there.
    pub(super) fn from_literal(literal: &Literal<'_>) -> Result<Dtype> {
        let dtype = Dtype::from_nested(literal)?;
        if dtype.subarray().is_some() { Err(unknown(literal)) } else { Ok(dtype) }
    }

    fn from_nested(literal: &Literal<'_>) -> Result<Dtype> {
        match &literal.value {
            Value::Str(text) => Dtype::scalar(Scalar::parse(text)?),
            Value::List(fields) => Dtype::record(fields),
            Value::Tuple(parts) => match &parts[..] {
                [base, shape] => Dtype::repeated(Dtype::from_nested(base)?, shape),
                _ => Err(unknown(literal)),
            },
            _ => Err(unknown(literal)),
        }
    }

    /// A number of `size` bytes in this machine's byte order; `kind` is NumPy's letter.
    pub(crate) fn native(kind: char, size: u64) -> Dtype {
        Dtype { kind: Kind::Scalar(Scalar::native(kind, size)), itemsize: size }
    }

    fn scalar(scalar: Scalar) -> Result<Dtype> {
        Ok(Dtype { kind: Kind::Scalar(scalar), itemsize: within_limit(Some(scalar.itemsize()))? })
    }

    fn record(literals: &[Literal<'_>]) -> Result<Dtype> {
        let mut fields: Vec<Field> = Vec::new();
        let mut taken = BTreeSet::new();
        let mut offset = 0;
        for literal in literals {
            let mut field = Field::from_literal(literal, offset)?;
            offset = within_limit(field.dtype.itemsize.checked_add(offset))?;
            if !field.is_padding() {
                for name in [Some(&field.name), field.title.as_ref()].into_iter().flatten() {
                    if !taken.insert(name.clone()) {
                        return Err(error!(Malformed, "descr: the field name or title {} comes twice", Repr(name)));
                    }
                }
            } else if field.dtype.itemsize == 0 {
                continue;
            } else {
                if let Some(before) = fields.pop_if(|before| before.is_padding()) {
                    field.offset = before.offset;
                }
                field.dtype = Dtype::scalar(Scalar::void(offset - field.offset))?;
            }
            fields.push(field);
        }
        Ok(Dtype { kind: Kind::Record(fields), itemsize: offset })
    }

    fn repeated(base: Dtype, literal: &Literal<'_>) -> Result<Dtype> {
        let shape = match &literal.value {
            Value::Int(n) => [*n].into_iter().collect(),
            Value::Tuple(axes) | Value::List(axes) => axes
                .iter()
                .map(|axis| if let Value::Int(n) = axis.value { n } else { None })
                .collect::<Option<Vec<u64>>>(),
            _ => None,
        };
        let shape = shape
            .filter(|shape| shape.iter().all(|&n| n <= MAX_ITEMSIZE) && shape.len() <= MAX_NDIM)
            .ok_or_else(|| error!(Malformed, "descr: expected a subarray's shape such as (2, 3), found {literal}"))?;
        if shape.is_empty() {
            return Ok(base);
        }
        let itemsize = within_limit(shape.iter().try_fold(base.itemsize, |size, &n| size.checked_mul(n)))?;
        Ok(Dtype { kind: Kind::Subarray(Box::new(base), shape), itemsize })
    }
}

fn within_limit(itemsize: Option<u64>) -> Result<u64> {
    itemsize
        .filter(|&size| size <= MAX_ITEMSIZE)
        .ok_or_else(|| error!(OverLimit, "descr: one element passes {MAX_ITEMSIZE} bytes, NumPy's limit"))
}

fn unknown(literal: &Literal<'_>) -> Error {
    error!(Malformed, "descr: expected a NumPy type such as '<f8' or a list of fields, found {literal}")
}

impl Field {
    /// Its name; empty for padding.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The second name that NumPy lets a field have.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// Its type, which may be a [subarray](Dtype::subarray).
    #[must_use]
    pub fn dtype(&self) -> &Dtype {
        &self.dtype
    }

    /// Its first byte in the record.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether it is no field but bytes between fields. NumPy's rule: no name, no title, and neither a plain type nor a record.
    #[must_use]
    pub fn is_padding(&self) -> bool {
        self.name.is_empty() && self.title.is_none() && self.dtype.fields().is_none() && self.dtype.kind() == 'V'
    }

    fn from_literal(literal: &Literal<'_>, offset: u64) -> Result<Field> {
        let wrong = || error!(Malformed, "descr: expected a field such as ('x', '<f8'), found {literal}");
        let (Value::Tuple(parts) | Value::List(parts)) = &literal.value else { return Err(wrong()) };
        let (name, base, shape) = match &parts[..] {
            [name, base] => (name, base, None),
            [name, base, shape] => (name, base, Some(shape)),
            _ => return Err(wrong()),
        };
        let (title, name) = match &name.value {
            Value::Tuple(pair) => match &pair[..] {
                [title, name] => (&title.value, &name.value),
                _ => return Err(wrong()),
            },
            name => (&Value::None, name),
        };
        let (title, name) = match (title, name) {
            (Value::None, Value::Str(name)) => (None, name.clone()),
            (Value::Str(title), Value::Str(name)) => (Some(title.clone()), name.clone()),
            _ => return Err(wrong()),
        };
        let base = Dtype::from_nested(base)?;
        let dtype = if let Some(shape) = shape { Dtype::repeated(base, shape)? } else { base };
        Ok(Field { name, title, dtype, offset })
    }
}

impl FromStr for Dtype {
    type Err = Error;

    /// Reads `<f8` and `'<f8'`, and lists of fields as NumPy writes them.
    fn from_str(text: &str) -> Result<Dtype> {
        let text = text.trim();
        if text.starts_with(['\'', '"', '[', '(']) {
            Dtype::from_literal(&literal::parse(text)?.0)
        } else {
            Dtype::scalar(Scalar::parse(text)?)
        }
    }
}

impl fmt::Display for Dtype {
    /// As in [`descr`](Dtype::descr), but plain types without quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Kind::Scalar(scalar) = &self.kind { scalar.fmt(f) } else { Descr(self).fmt(f) }
    }
}

impl fmt::Debug for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dtype({})", Descr(self))
    }
}

struct Descr<'a>(&'a Dtype);

impl fmt::Display for Descr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Scalar(scalar) => write!(f, "'{scalar}'"),
            Kind::Subarray(base, shape) => write!(f, "({}, {})", Descr(base), Tuple(shape)),
            Kind::Record(fields) => {
                for (i, field) in fields.iter().enumerate() {
                    f.write_str(if i == 0 { "[" } else { ", " })?;
                    match &field.title {
                        Some(title) => write!(f, "(({}, {}), ", Repr(title), Repr(&field.name))?,
                        None => write!(f, "({}, ", Repr(&field.name))?,
                    }
                    match field.dtype.subarray() {
                        Some((base, shape)) => write!(f, "{}, {})", Descr(base), Tuple(shape))?,
                        None => write!(f, "{})", Descr(&field.dtype))?,
                    }
                }
                f.write_str(if fields.is_empty() { "[]" } else { "]" })
            }
        }
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
struct Repr<'a>(&'a str);

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

/// Python's `str.isprintable`. Rust's escapes go by the same Unicode categories, and beside these escape quotes, backslashes and what would
/// combine with a quote before it: hence the space in front.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~') || String::from_iter([' ', c]).escape_debug().nth(1) == Some(c)
}
