//! Values as text, from their bytes: for people, as JSON, as CSV.

use crate::number::{Unit, bits, complex, float, signed};
use npygrow::Dtype;
use std::io::Write;

/// What the text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Human,
    Json,
    Csv,
}

/// A line being written.
pub(crate) struct Line {
    pub(crate) form: Form,
    pub(crate) text: Vec<u8>,
    /// More bytes than this are not looked at.
    pub(crate) enough: usize,
}

impl Line {
    pub(crate) fn is_full(&self) -> bool {
        self.text.len() > self.enough
    }

    fn put(&mut self, text: impl AsRef<[u8]>) {
        self.text.extend_from_slice(text.as_ref());
    }

    fn put_fmt(&mut self, text: std::fmt::Arguments<'_>) {
        // Memory takes everything.
        let _ = self.text.write_fmt(text);
    }

    /// `count` things with what the form has around and between them.
    pub(crate) fn list(&mut self, count: usize, mut each: impl FnMut(&mut Line, usize)) {
        let [open, between, close] = match self.form {
            Form::Human => ["[", " ", "]"],
            Form::Json => ["[", ",", "]"],
            Form::Csv => ["", ",", ""],
        };
        self.put(open);
        for i in 0..count {
            if self.is_full() {
                break;
            }
            if i > 0 {
                self.put(between);
            }
            each(self, i);
        }
        self.put(close);
    }
}

/// How the bytes of one value of a dtype become text.
pub(crate) struct Value {
    pub(crate) size: usize,
    is_big: bool,
    kind: Kind,
}

enum Kind {
    Bool,
    Signed,
    Unsigned,
    Float,
    Complex,
    Bytes,
    Text,
    Void,
    Date(Option<Unit>),
    Time(Option<Unit>),
    /// Name, offset and value of each field; padding left out.
    Record(Vec<(String, usize, Value)>),
    /// A subarray, C order.
    Repeated(Box<Value>, Vec<usize>),
}

impl Value {
    /// `None` where one takes more bytes than this machine can address.
    pub(crate) fn of(dtype: &Dtype) -> Option<Value> {
        let kind = match (dtype.kind(), dtype.fields(), dtype.subarray()) {
            (_, Some(fields), _) => {
                let fields = fields.iter().filter(|field| !field.is_padding()).map(|field| {
                    Some((field.name().into(), usize::try_from(field.offset()).ok()?, Value::of(field.dtype())?))
                });
                Kind::Record(fields.collect::<Option<_>>()?)
            }
            (_, _, Some((base, shape))) => {
                let shape = shape.iter().map(|&axis| usize::try_from(axis).ok()).collect::<Option<_>>()?;
                Kind::Repeated(Box::new(Value::of(base)?), shape)
            }
            ('b', ..) => Kind::Bool,
            ('i', ..) => Kind::Signed,
            ('u', ..) => Kind::Unsigned,
            ('f', ..) => Kind::Float,
            ('c', ..) => Kind::Complex,
            ('S', ..) => Kind::Bytes,
            ('U', ..) => Kind::Text,
            ('M', ..) => Kind::Date(Unit::of(&dtype.to_string())),
            ('m', ..) => Kind::Time(Unit::of(&dtype.to_string())),
            _ => Kind::Void,
        };
        Some(Value { size: usize::try_from(dtype.itemsize()).ok()?, is_big: dtype.byte_order() == '>', kind })
    }

    /// The columns of CSV that one takes, by the names that `npy append --header` knows.
    pub(crate) fn columns(&self, name: &str, columns: &mut Vec<String>) {
        match &self.kind {
            Kind::Record(fields) => {
                for (field, _, value) in fields {
                    value.columns(&if name.is_empty() { field.clone() } else { format!("{name}.{field}") }, columns);
                }
            }
            Kind::Repeated(base, shape) => {
                (0..shape.iter().product()).for_each(|i: usize| base.columns(&format!("{name}[{i}]"), columns));
            }
            Kind::Complex => columns.extend([format!("{name}.real"), format!("{name}.imag")]),
            _ => columns.push(name.into()),
        }
    }

    /// Writes the value that `bytes` are: `size` of them.
    pub(crate) fn write(&self, bytes: &[u8], line: &mut Line) {
        let bits = || bits(bytes, self.is_big);
        let is_text = line.form != Form::Json;
        match &self.kind {
            Kind::Bool if is_text => line.put(if bits() == 0 { "False" } else { "True" }),
            Kind::Bool => line.put(if bits() == 0 { "false" } else { "true" }),
            Kind::Signed => line.put_fmt(format_args!("{}", signed(bits(), self.size))),
            Kind::Unsigned => line.put_fmt(format_args!("{}", bits())),
            Kind::Float => number(&float(bits(), self.size), line),
            Kind::Complex => self.complex(bytes, line),
            Kind::Bytes => string(trimmed(bytes), line),
            Kind::Text => self.text(bytes, line),
            Kind::Void => void(bytes, line),
            Kind::Date(unit) | Kind::Time(unit) => self.time(unit.as_ref(), signed(bits(), self.size), line),
            Kind::Record(fields) => record(fields, bytes, line),
            Kind::Repeated(base, shape) => base.repeated(shape, bytes, line),
        }
    }

    fn repeated(&self, shape: &[usize], bytes: &[u8], line: &mut Line) {
        match shape.split_first() {
            None => self.write(bytes, line),
            Some((&count, shape)) => {
                let size = bytes.len().checked_div(count).unwrap_or(0);
                line.list(count, |line, i| self.repeated(shape, &bytes[i * size..(i + 1) * size], line));
            }
        }
    }

    fn complex(&self, bytes: &[u8], line: &mut Line) {
        let half = self.size / 2;
        let [real, imaginary] = [&bytes[..half], &bytes[half..]].map(|part| float(bits(part, self.is_big), half));
        match line.form {
            Form::Human => line.put(complex(&real, &imaginary)),
            _ => line.list(2, |line, i| number([&real, &imaginary][i], line)),
        }
    }

    fn text(&self, bytes: &[u8], line: &mut Line) {
        let codes = bytes.chunks_exact(4).map(|code| bits(code, self.is_big) as u32);
        let mut codes: Vec<_> = codes.collect();
        while codes.pop_if(|code| *code == 0).is_some() {}
        let text = || codes.iter().map(|&code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        match line.form {
            Form::Human => quoted(codes.iter().copied(), line),
            Form::Json => line.put(json_string(&text().collect::<String>())),
            Form::Csv => cell(text().collect::<String>().as_bytes(), line),
        }
    }

    fn time(&self, unit: Option<&Unit>, count: i128, line: &mut Line) {
        let quote = if line.form == Form::Json { "\"" } else { "" };
        match (&self.kind, unit, line.form) {
            _ if count == i128::from(i64::MIN) => line.put_fmt(format_args!("{quote}NaT{quote}")),
            (Kind::Date(_), Some(unit), _) => line.put_fmt(format_args!("{quote}{}{quote}", unit.date(count))),
            (_, Some(unit), Form::Human) => line.put(unit.time(count)),
            (_, unit, _) => line.put_fmt(format_args!("{}", count * unit.map_or(1, |unit| unit.steps))),
        }
    }
}

fn record(fields: &[(String, usize, Value)], bytes: &[u8], line: &mut Line) {
    let write = |(_, offset, value): &(_, usize, Value), line: &mut Line| {
        value.write(&bytes[*offset..offset + value.size], line);
    };
    named(fields, |(name, ..)| name, line, write);
}

/// Things with names, as one record.
pub(crate) fn named<T>(all: &[T], name: fn(&T) -> &str, line: &mut Line, mut each: impl FnMut(&T, &mut Line)) {
    let [open, between, close] = match line.form {
        Form::Human => ["(", ", ", ")"],
        Form::Json => ["{", ",", "}"],
        Form::Csv => ["", ",", ""],
    };
    line.put(open);
    for (i, one) in all.iter().enumerate() {
        if line.is_full() {
            break;
        }
        if i > 0 {
            line.put(between);
        }
        match line.form {
            Form::Human => line.put_fmt(format_args!("{}=", crate::text::plain(name(one)))),
            Form::Json => line.put_fmt(format_args!("{}:", json_string(name(one)))),
            Form::Csv => {}
        }
        each(one, line);
    }
    line.put(close);
}

/// JSON has no word for what is no number: it becomes a string.
fn number(text: &str, line: &mut Line) {
    match (text, line.form) {
        ("nan", Form::Json) => line.put("\"NaN\""),
        ("inf", Form::Json) => line.put("\"Infinity\""),
        ("-inf", Form::Json) => line.put("\"-Infinity\""),
        _ => line.put(text),
    }
}

/// With all control characters escaped, also those that JSON would let pass to the terminal.
fn json_string(text: &str) -> String {
    let escape = |c: char| if c.is_control() { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    serde_json::Value::from(text).to_string().chars().map(escape).collect()
}

/// Without the zeros that fill it up.
fn trimmed(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)]
}

fn string(bytes: &[u8], line: &mut Line) {
    match line.form {
        Form::Human => {
            line.put("b");
            // What is no ASCII is no letter.
            quoted(bytes.iter().map(|&byte| if byte < 0x80 { byte.into() } else { BYTE | u32::from(byte) }), line);
        }
        // Every byte a character, so that none is lost.
        Form::Json => {
            let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
            line.put(json_string(&text));
        }
        Form::Csv => cell(bytes, line),
    }
}

fn void(bytes: &[u8], line: &mut Line) {
    let [open, close] = match line.form {
        Form::Human => ["b'", "'"],
        Form::Json => ["\"", "\""],
        Form::Csv => ["", ""],
    };
    line.put(open);
    for byte in bytes {
        match line.form {
            Form::Human => line.put_fmt(format_args!("\\x{byte:02X}")),
            _ => line.put_fmt(format_args!("{byte:02x}")),
        }
    }
    line.put(close);
}

/// A cell of CSV, quoted where it must be.
pub(crate) fn cell(text: &[u8], line: &mut Line) {
    if !text.iter().any(|byte| b",\"\r\n".contains(byte)) {
        return line.put(text);
    }
    line.put("\"");
    for part in text.split_inclusive(|&byte| byte == b'"') {
        line.put(part);
        if part.ends_with(b"\"") {
            line.put("\"");
        }
    }
    line.put("\"");
}

/// Marks a byte that stands for no character.
const BYTE: u32 = 1 << 31;

/// As Python writes a string: what does not print is escaped, so that no text drives the terminal.
fn quoted(codes: impl Iterator<Item = u32> + Clone, line: &mut Line) {
    let has = |c: char| codes.clone().any(|code| code == u32::from(c));
    let quote = if has('\'') && !has('"') { '"' } else { '\'' };
    line.put_fmt(format_args!("{quote}"));
    for code in codes {
        match char::from_u32(code) {
            Some('\n') => line.put("\\n"),
            Some('\r') => line.put("\\r"),
            Some('\t') => line.put("\\t"),
            Some(c) if c == '\\' || c == quote => line.put_fmt(format_args!("\\{c}")),
            Some(c) if prints(c) => line.put_fmt(format_args!("{c}")),
            _ if code & BYTE != 0 || code < 0x100 => line.put_fmt(format_args!("\\x{:02x}", code & 0xff)),
            _ if code < 0x1_0000 => line.put_fmt(format_args!("\\u{code:04x}")),
            _ => line.put_fmt(format_args!("\\U{code:08x}")),
        }
    }
    line.put_fmt(format_args!("{quote}"));
}

/// Rust escapes what does not print, and at the start of a string also accents without a letter.
fn prints(c: char) -> bool {
    !matches!(c, '"' | '\'') && format!("a{c}").escape_debug().count() == 2 || matches!(c, '"' | '\'')
}
