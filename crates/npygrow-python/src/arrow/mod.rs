//! Arrays, items and datasets as Arrow has them: where they lie, never copied. What Arrow lays out otherwise is refused; only
//! what is a bit there is made: booleans, and which dates are missing.

mod c_data;

use npygrow::{Column as Part, Dataset, Dtype, Error, ErrorKind, Order, Ragged, Result, View};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::ffi::CString;
use std::ops::Range;
use std::sync::Arc;

use crate::errors::raise;

/// One array of Arrow's: its type, its buffers and what it is nested of.
///
/// Its buffers reach as far as its length and its format need, its children as far as its offsets or its length do.
struct Column {
    format: CString,
    name: CString,
    len: i64,
    nulls: i64,
    buffers: Vec<Option<Buffer>>,
    children: Vec<Arc<Column>>,
}

enum Buffer {
    /// The bytes of a view, from one of them on.
    Mapped(View, usize),
    /// Made for the export; in words, so that it is aligned for anything.
    Made(Vec<u64>),
}

/// A type and an array of it.
pub(crate) type Capsules<'py> = (Bound<'py, PyCapsule>, Bound<'py, PyCapsule>);

/// What `Array`, `Ragged` and `Dataset` are for libraries that take Arrow's data, by its PyCapsule interface.
#[pyclass(frozen, module = "npygrow._native")]
pub(crate) struct Arrow {
    column: Arc<Column>,
}

#[pymethods]
impl Arrow {
    /// How many entries there are. Some libraries take for a single value what does not say so.
    fn __len__(&self) -> PyResult<usize> {
        Ok(usize::try_from(self.column.len)?)
    }

    /// The type.
    pub(crate) fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        c_data::schema_capsule(py, &self.column)
    }

    /// The type and the data. Another type that is asked for is the library's to make.
    #[pyo3(signature = (requested_schema=None))]
    pub(crate) fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Capsules<'py>> {
        let _ = requested_schema;
        Ok((c_data::schema_capsule(py, &self.column)?, c_data::array_capsule(py, &self.column)?))
    }

    /// A stream of one array.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        c_data::stream_capsule(py, self.column.clone())
    }
}

impl Arrow {
    fn of(py: Python<'_>, column: impl Send + FnOnce() -> Result<Column>) -> PyResult<Self> {
        let column = py.detach(column).map_err(raise)?;
        // It is nobody's column: whoever takes it names it.
        Ok(Arrow { column: Column { name: CString::default(), ..column }.into() })
    }

    /// The first `len` rows of an array; for the type alone, none of them.
    pub(crate) fn of_rows(py: Python<'_>, view: &View, len: u64) -> PyResult<Self> {
        Arrow::of(py, || rows(view, len))
    }

    /// Some of the items of a folder.
    pub(crate) fn of_items(py: Python<'_>, ragged: &Ragged, numbers: Range<u64>, text: bool) -> PyResult<Self> {
        Arrow::of(py, || items(ragged, numbers, text))
    }

    /// The columns of a dataset; the named ones are text.
    pub(crate) fn of_columns(py: Python<'_>, dataset: &Dataset, text: &[String]) -> PyResult<Self> {
        Arrow::of(py, || table(dataset, text))
    }
}

impl Column {
    fn new(format: &str, len: u64, buffers: Vec<Option<Buffer>>, children: Vec<Column>) -> Result<Self> {
        let len = i64::try_from(len).map_err(|_| Error::new(ErrorKind::OverLimit, "too many for Arrow"))?;
        let children = children.into_iter().map(Arc::new).collect();
        Ok(Column { format: c_string(format)?, name: c"item".into(), len, nulls: 0, buffers, children })
    }
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(ErrorKind::Unsupported, "a name with a zero byte"))
}

/// The columns of a dataset as those of a table.
fn table(dataset: &Dataset, text: &[String]) -> Result<Column> {
    let mut columns = Vec::new();
    for (name, part) in dataset.columns() {
        let is_text = text.iter().any(|text| text == name);
        let column = match part {
            Part::Plain(view) if is_text => return Err(no_text(view.dtype(), "rows").at(view.path().display())),
            Part::Plain(view) => rows(view, view.len())?,
            Part::Ragged(ragged) => items(ragged, 0..ragged.len(), is_text)?,
        };
        columns.push(Column { name: c_string(name)?, ..column });
    }
    Column::new("+s", dataset.len(), vec![None], columns)
}

/// Items as large lists, or as text. A library looks wherever the offsets say: all of them are checked, the text too.
fn items(ragged: &Ragged, numbers: Range<u64>, text: bool) -> Result<Column> {
    let named = |error: Error| error.at(ragged.path().display());
    let values = ragged.values();
    let len = numbers.end.saturating_sub(numbers.start);
    let (offsets, end) = match len {
        0 => (Buffer::Made(vec![0]), 0),
        _ => offsets(ragged, numbers.clone())?,
    };
    if !text {
        return Column::new("+L", len, vec![None, Some(offsets)], vec![rows(values, end)?]).map_err(named);
    }
    if (ragged.dtype().kind(), ragged.dtype().itemsize(), values.shape().len()) != ('u', 1, 1) {
        return Err(named(no_text(ragged.dtype(), "items")));
    }
    for item in numbers {
        if let Err(why) = std::str::from_utf8(ragged.bytes(item)?) {
            let text = format!("item {item} is no text in UTF-8: {why}");
            return Err(named(Error::new(ErrorKind::Mismatch, text)));
        }
    }
    Column::new("U", len, vec![None, Some(offsets), Some(Buffer::Mapped(values.clone(), 0))], vec![]).map_err(named)
}

fn no_text(dtype: &Dtype, what: &'static str) -> Error {
    let text = format!("expected items of bytes (|u1) as text, found {what} of dtype {dtype}");
    Error::new(ErrorKind::Mismatch, text)
}

/// The offsets of one item or more, and where in the values the last one ends.
fn offsets(ragged: &Ragged, numbers: Range<u64>) -> Result<(Buffer, u64)> {
    let view = ragged.offsets();
    let Some(all) = view.values::<i64>() else { return Err(unaligned(view)) };
    let (start, stop) = (usize::try_from(numbers.start).unwrap_or(usize::MAX), numbers.end.saturating_add(1));
    let these = all.get(start..usize::try_from(stop).unwrap_or(usize::MAX)).unwrap_or_default();
    // Sorted, they lie between the first item's start and the last one's end, which the reader checks.
    if !these.is_sorted() {
        for item in numbers.clone() {
            ragged.range(item)?;
        }
    }
    ragged.range(numbers.start)?;
    let end = ragged.range(numbers.end - 1)?.end;
    Ok((Buffer::Mapped(view.clone(), start.saturating_mul(8)), end))
}

/// The first `len` rows of a view, each a list of as many elements as it has, nested by its axes.
fn rows(view: &View, len: u64) -> Result<Column> {
    let named = |error: Error| error.at(view.path().display());
    let axes = match (view.order(), view.shape()) {
        (_, []) => return Err(named(Error::new(ErrorKind::Mismatch, "a single value (0-d) has no rows for Arrow"))),
        (Order::C, [_, axes @ ..]) => axes,
        (Order::F, [axes @ .., _]) if axes.len() <= 1 => axes,
        (Order::F, _) => {
            return Err(refused(
                view,
                "rows of several axes in Fortran order have them the other way round",
                "numpy.moveaxis(numpy.asarray(it), -1, 0).copy()",
            ));
        }
    };
    let mut lens = vec![len];
    for &axis in axes {
        let len = lens.last().and_then(|&len| len.checked_mul(axis)).filter(|_| i32::try_from(axis).is_ok());
        lens.push(len.ok_or_else(|| named(Error::new(ErrorKind::OverLimit, "too many for Arrow")))?);
    }
    let mut column = elements(view, lens.pop().unwrap_or(0))?;
    for (axis, len) in axes.iter().zip(lens).rev() {
        column = Column::new(&format!("+w:{axis}"), len, vec![None], vec![column]).map_err(named)?;
    }
    Ok(column)
}

/// The first `len` elements of a view.
fn elements(view: &View, len: u64) -> Result<Column> {
    let (dtype, bytes) = (view.dtype(), view.bytes());
    let (format, align) = format_of(view)?;
    let size = len.checked_mul(dtype.itemsize()).and_then(|size| bytes.get(..usize::try_from(size).ok()?));
    let Some(bytes) = size else {
        let text = format!("expected {len} elements, found {} bytes", bytes.len());
        return Err(Error::new(ErrorKind::Mismatch, text).at(view.path().display()));
    };
    if !bytes.is_empty() && !bytes.as_ptr().addr().is_multiple_of(align) {
        return Err(unaligned(view));
    }
    if dtype.kind() == 'b' {
        return Column::new(
            &format,
            len,
            vec![None, Some(Buffer::Made(bits(bytes, |byte: [u8; 1]| byte != [0])))],
            vec![],
        );
    }
    let mut column = Column::new(&format, len, vec![None, Some(Buffer::Mapped(view.clone(), 0))], vec![])?;
    if matches!(dtype.kind(), 'M' | 'm') {
        let missing = bytes.as_chunks().0.iter().filter(|&&value| is_missing(value)).count();
        if missing > 0 {
            column.nulls = missing as i64;
            column.buffers[0] = Some(Buffer::Made(bits(bytes, |value| !is_missing(value))));
        }
    }
    Ok(column)
}

/// NumPy's `NaT`, which Arrow has as a null.
fn is_missing(value: [u8; 8]) -> bool {
    i64::from_ne_bytes(value) == i64::MIN
}

/// A bit for each value, the first one lowest.
fn bits<const N: usize>(bytes: &[u8], is_set: impl Fn([u8; N]) -> bool) -> Vec<u64> {
    let word = |values: &[[u8; N]]| {
        values.iter().enumerate().fold(0_u64, |word, (i, &value)| word | u64::from(is_set(value)) << i).to_le()
    };
    let words: Vec<u64> = bytes.as_chunks().0.chunks(64).map(word).collect();
    // A buffer of no bytes has an address too.
    if words.is_empty() { vec![0] } else { words }
}

/// Arrow's name for the dtype of a view, and what its elements are aligned to.
fn format_of(view: &View) -> Result<(String, usize)> {
    let dtype = view.dtype();
    let (kind, size) = (dtype.kind(), dtype.itemsize());
    if let Some(fields) = dtype.fields() {
        let name = fields.iter().find(|field| !field.is_padding()).map_or("name", |field| field.name());
        return Err(refused(
            view,
            "it has each field of a record apart",
            &format!("its fields, as numpy.asarray(it)[{name:?}]"),
        ));
    }
    let foreign = if cfg!(target_endian = "little") { '>' } else { '<' };
    if dtype.byte_order() == foreign {
        let native = dtype.to_string().replace(foreign, "=");
        let how = format!("numpy.asarray(it).astype({native:?})");
        return Err(refused(view, "its byte order is not this machine's", &how));
    }
    let number = |letters: &str| {
        let at = [1, 2, 4, 8].iter().position(|&bytes| bytes == size)?;
        letters.chars().nth(at).filter(|&letter| letter != '-')
    };
    let letter = match kind {
        'b' => Some('b'),
        'i' => number("csil"),
        'u' => number("CSIL"),
        'f' => number("-efg"),
        'S' | 'V' => return Ok((format!("w:{size}"), 1)),
        'M' | 'm' => return time(view).map(|format| (format, 8)),
        _ => None,
    };
    let how = match kind {
        'c' => "numpy.asarray(it).real and .imag".to_owned(),
        'f' => "numpy.asarray(it).astype('f8')".to_owned(),
        _ => "numpy.asarray(it)".to_owned(),
    };
    let letter = letter.ok_or_else(|| refused(view, &format!("it has no type for {dtype}"), &how))?;
    Ok((letter.to_string(), usize::try_from(size).unwrap_or(1)))
}

/// Arrow's name for dates and durations.
fn time(view: &View) -> Result<String> {
    let text = view.dtype().to_string();
    let unit = text.split_once('[').map_or("", |(_, unit)| unit.trim_end_matches(']'));
    let letter = match unit {
        "s" => 's',
        "ms" => 'm',
        "us" => 'u',
        "ns" => 'n',
        _ => {
            let why = format!("it counts time in s, ms, us or ns, not as {text}");
            return Err(refused(view, &why, &format!("numpy.asarray(it).astype(\"{}8[s]\")", view.dtype().kind())));
        }
    };
    Ok(if view.dtype().kind() == 'M' { format!("ts{letter}:") } else { format!("tD{letter}") })
}

/// Nothing is copied behind anyone's back.
fn refused(view: &View, why: &str, how: &str) -> Error {
    let text = format!("Arrow cannot have it as it lies there: {why}: give the library {how}");
    Error::new(ErrorKind::Mismatch, text).at(view.path().display())
}

fn unaligned(view: &View) -> Error {
    let size = view.dtype().itemsize();
    refused(view, &format!("its values of {size} bytes begin at no multiple of {size}"), "numpy.array(it), a copy")
}
