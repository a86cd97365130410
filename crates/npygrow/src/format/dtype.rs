//! NumPy's dtypes: read from a header's `descr`, and written back exactly as NumPy writes them.

use super::MAX_NDIM;
use super::descr::{Descr, Repr};
use super::literal::{self, Literal, Value};
use super::scalar::Scalar;
use crate::error::{Error, Result, error};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// NumPy's own limit: it keeps the size of one element in a C int.
const MAX_ITEMSIZE: u64 = i32::MAX as u64;

/// What one element of an array is: a plain type such as `<f8`, or a record with fields.
///
/// It parses from what NumPy writes in a header, and prints the same. Types that NumPy holds equal are equal, whatever
/// their spelling.
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
            let field = Field::from_literal(literal, offset)?;
            offset = within_limit(field.dtype.itemsize.checked_add(offset))?;
            if field.is_padding() {
                // One run of bytes, however it is spelt.
                let start = fields.pop_if(|before| before.is_padding()).map_or(field.offset, |before| before.offset);
                if start < offset {
                    let dtype = Dtype::scalar(Scalar::void(offset - start))?;
                    fields.push(Field { dtype, offset: start, ..field });
                }
                continue;
            }
            for name in [Some(&field.name), field.title.as_ref()].into_iter().flatten() {
                if !taken.insert(name.clone()) {
                    return Err(error!(Malformed, "descr: the field name or title {} comes twice", Repr(name)));
                }
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
        if base.itemsize == 0 && base.fields().is_none() {
            return Err(error!(
                Malformed,
                "descr: expected a subarray of a type with a size, found {base} of shape {literal}"
            ));
        }
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

    /// Whether it is no field but bytes between fields. NumPy's rule: void without a name or title; subarrays are void.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::assert_error;
    use super::*;
    use alloc::format;

    #[track_caller]
    fn check(text: &str, descr: &str, itemsize: u64) {
        let dtype: Dtype = text.parse().unwrap();
        assert_eq!((dtype.descr().as_str(), dtype.itemsize()), (descr, itemsize), "{text}");
        assert_eq!(dtype.to_string().parse::<Dtype>().unwrap(), dtype);
        assert_eq!(dtype.descr().parse::<Dtype>().unwrap(), dtype);
    }

    /// What NumPy makes of each.
    #[test]
    fn as_numpy_prints_them() {
        check("f8", "'<f8'", 8);
        check(" '>i4' ", "'>i4'", 4);
        check("('<f8', ())", "'<f8'", 8);
        check("[]", "[]", 0);
        for (same, itemsize) in [
            ("[('a', '<i4'), ('', '|V4'), ('b', '<f8', (2, 3))]", 56),
            ("[('a', [('b', '|u1'), ('', '|V1'), ('c', '>U2')], (3,)), ('d', '<M8[25s]')]", 38),
            ("[(('title', 'name'), '<i2'), (('', 'x'), '|S3', (1,))]", 5),
            ("[('a', ('<f4', (2,)), (3,))]", 24),
            ("[('a', '<f8', (0, 5)), ('z', '|S0')]", 0),
            ("[('', '|V4'), (('t', ''), '|V2')]", 6),
            ("[('', [('x', '|u1')])]", 1),
            ("[('}) ', '<i4')]", 4),
        ] {
            check(same, same, itemsize);
        }
        check(r#"[["a", u"i4", 2], ((None, 'b'), ('?', [3]), ())]"#, "[('a', '<i4', (2,)), ('b', '|b1', (3,))]", 11);
        // Void without a name is padding: one run of bytes, or nothing.
        check("[('', 'V1'), ('', 'V3'), ('a', 'u1'), ('', 'V0')]", "[('', '|V4'), ('a', '|u1')]", 5);
        check("[('', '<i4', (2,)), ('a', 'u1'), ('', 'V2')]", "[('', '|V8'), ('a', '|u1'), ('', '|V2')]", 11);
    }

    #[test]
    fn parts() {
        let dtype: Dtype = "[('', 'V4'), (('t', 'a'), '>f8'), ('b', '<i2', (2, 3))]".parse().unwrap();
        let fields = dtype.fields().unwrap();
        let shown: Vec<_> = fields.iter().map(|f| (f.name(), f.title(), f.offset(), f.is_padding())).collect();
        assert_eq!(shown, [("", None, 0, true), ("a", Some("t"), 4, false), ("b", None, 12, false)]);
        assert_eq!((fields[1].dtype().kind(), fields[1].dtype().byte_order()), ('f', '>'));
        assert_eq!(fields[2].dtype().subarray(), Some((&"<i2".parse().unwrap(), &[2, 3][..])));
        assert_eq!((dtype.kind(), dtype.byte_order(), dtype.subarray()), ('V', '|', None));
        assert_eq!(format!("{:?}", fields[2].dtype()), "Dtype(('<i2', (2, 3)))");
    }

    #[test]
    fn errors() {
        for (text, expected) in [
            (
                "('<f8', (2,))",
                "Malformed(descr: expected a NumPy type such as '<f8' or a list of fields, found `('<f8', (2,))`)",
            ),
            (
                "[('a', array(1))]",
                "Malformed(descr: expected a NumPy type such as '<f8' or a list of fields, found `array(1)`)",
            ),
            ("[('a', '<f3')]", "Malformed(descr: expected a NumPy type such as `<f8` or `|S5`, found `<f3`)"),
            ("['a']", "Malformed(descr: expected a field such as ('x', '<f8'), found `'a'`)"),
            ("[('a',)]", "Malformed(descr: expected a field such as ('x', '<f8'), found `('a',)`)"),
            ("[(1, '<f8')]", "Malformed(descr: expected a field such as ('x', '<f8'), found `(1, '<f8')`)"),
            ("[('a', 'u1', (-1,))]", "Malformed(descr: expected a subarray's shape such as (2, 3), found `(-1,)`)"),
            (
                "[('a', 'u1', (2147483648,))]",
                "Malformed(descr: expected a subarray's shape such as (2, 3), found `(2147483648,)`)",
            ),
            ("[('a', 'S0', 5)]", "Malformed(descr: expected a subarray of a type with a size, found |S0 of shape `5`)"),
            ("[('a', 'u1'), ('a', 'u2')]", "Malformed(descr: the field name or title 'a' comes twice)"),
            ("[(('b', 'a'), 'u1'), ('b', 'u2')]", "Malformed(descr: the field name or title 'b' comes twice)"),
            ("[(('a', 'a'), 'u1')]", "Malformed(descr: the field name or title 'a' comes twice)"),
            ("V2147483648", "OverLimit(descr: one element passes 2147483647 bytes, NumPy's limit)"),
            (
                "[('a', 'V2147483647'), ('b', 'u1')]",
                "OverLimit(descr: one element passes 2147483647 bytes, NumPy's limit)",
            ),
            ("[('a', 'f4', (65536, 65536))]", "OverLimit(descr: one element passes 2147483647 bytes, NumPy's limit)"),
        ] {
            assert_error(text.parse::<Dtype>(), expected);
        }
        let axes = |count| format!("[('a', 'u1', ({}))]", "1,".repeat(count)).parse::<Dtype>();
        assert!(axes(MAX_NDIM).is_ok() && axes(MAX_NDIM + 1).is_err());
    }
}
