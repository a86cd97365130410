//! The Python literals that headers are made of, read under limits. What no `.npy` writer was seen to write is left
//! out: hex, floats, raw, byte and joined strings, comments.

use crate::error::{Error, Result, error};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::Chars;

/// How deep brackets may nest. CPython's tokenizer stops at 200, and `np.load` with it.
const MAX_NESTING: usize = 200;

/// How many values a text may hold; with it the fields of a dtype.
const MAX_VALUES: usize = 1 << 18;

/// A spelling in a header that not every reader takes; its `Display` is a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Note {
    /// `np.int64(3)` for 3: some writers under NumPy 2 leave it, open_memmap among them.
    Wrapped,
    /// `3L` for 3: Python 2.
    Long,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Note::Wrapped => "The header spells a number as np.int64(3) does, which np.load cannot read.",
            Note::Long => "The header spells a number as 3L, as Python 2 did; np.load reads it with a warning.",
        })
    }
}

/// A value and the text it was read from, which is what errors show.
pub(super) struct Literal<'a> {
    text: &'a str,
    pub(super) value: Value<'a>,
}

pub(super) enum Value<'a> {
    /// `None`: negative, or past 64 bits. No number in a header may be either.
    Int(Option<u64>),
    Bool(bool),
    None,
    Str(String),
    Tuple(Vec<Literal<'a>>),
    List(Vec<Literal<'a>>),
    Dict(Vec<(Literal<'a>, Literal<'a>)>),
    /// A name or a call: `false`, `array(100)`. No literal, but the reader of the value can say what it wanted there.
    Other,
}

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Excerpt(self.text).fmt(f)
    }
}

/// Text of a file as errors show it: short, and without control characters.
pub(super) struct Excerpt<'a>(pub(super) &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 60;
        f.write_str("`")?;
        for c in self.0.chars().take(LONGEST) {
            match c {
                '\'' | '"' | '\\' => write!(f, "{c}")?,
                c => write!(f, "{}", c.escape_debug())?,
            }
        }
        f.write_str(if self.0.chars().nth(LONGEST).is_some() { "...`" } else { "`" })
    }
}

/// Reads one literal, and nothing but whitespace around it.
pub(super) fn parse(text: &str) -> Result<(Literal<'_>, Vec<Note>)> {
    let mut parser = Parser { text, rest: text, depth: 0, values: 0, notes: Vec::new() };
    let literal = parser.value()?;
    parser.space();
    if parser.rest.is_empty() { Ok((literal, parser.notes)) } else { Err(parser.expected("nothing more")) }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    depth: usize,
    values: usize,
    notes: Vec<Note>,
}

impl<'a> Parser<'a> {
    fn value(&mut self) -> Result<Literal<'a>> {
        self.space();
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(error!(OverLimit, "expected at most {MAX_VALUES} values in a header, found more"));
        }
        let start = self.rest;
        let value = match start.chars().next() {
            Some('(') => self.tuple()?,
            Some('[') => Value::List(self.items(']', Self::value)?.0),
            Some('{') => Value::Dict(self.items('}', Self::entry)?.0),
            Some('\'' | '"') => self.string()?,
            Some('-' | '0'..='9') => self.int()?,
            Some('_' | 'a'..='z' | 'A'..='Z') => self.word()?,
            _ => return Err(self.expected("a value")),
        };
        let len = start.len() - self.rest.len();
        Ok(Literal { text: start.get(..len).unwrap_or_default(), value })
    }

    /// Items between brackets, and whether the last of them has a comma after it.
    fn items<T>(&mut self, close: char, item: fn(&mut Self) -> Result<T>) -> Result<(Vec<T>, bool)> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err(error!(OverLimit, "expected brackets at most {MAX_NESTING} deep in a header, found more"));
        }
        self.take(1);
        let (mut items, mut comma) = (Vec::new(), true);
        while !self.eat(close) {
            if !comma {
                return Err(self.expected(format_args!("`,` or `{close}`")));
            }
            items.push(item(self)?);
            comma = self.eat(',');
        }
        self.depth -= 1;
        Ok((items, comma))
    }

    /// `(6)` is 6, as in Python; `(6,)` is a tuple.
    fn tuple(&mut self) -> Result<Value<'a>> {
        let (mut items, comma) = self.items(')', Self::value)?;
        Ok(match items.pop() {
            Some(only) if items.is_empty() && !comma => only.value,
            last => {
                items.extend(last);
                Value::Tuple(items)
            }
        })
    }

    fn entry(&mut self) -> Result<(Literal<'a>, Literal<'a>)> {
        let key = self.value()?;
        if !self.eat(':') {
            return Err(self.expected("`:`"));
        }
        Ok((key, self.value()?))
    }

    /// Leading zeros are octal in Python 2 and refused by Python 3.
    fn int(&mut self) -> Result<Value<'a>> {
        let start = self.rest;
        let negative = self.rest.starts_with('-');
        self.take(negative.into());
        let digits = self.take_while(|c| c.is_ascii_digit());
        if digits.is_empty() || digits.len() > 1 && digits.starts_with('0') {
            self.rest = start;
            return Err(self.expected("a decimal number"));
        }
        if self.rest.starts_with('L') {
            self.take(1);
            self.note(Note::Long);
        }
        Ok(Value::Int(digits.parse().ok().filter(|_| !negative)))
    }

    fn word(&mut self) -> Result<Value<'a>> {
        match self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')) {
            "True" => Ok(Value::Bool(true)),
            "False" => Ok(Value::Bool(false)),
            "None" => Ok(Value::None),
            "u" | "U" if self.rest.starts_with(['\'', '"']) => self.string(),
            word if self.rest.starts_with('(') => {
                let (mut arguments, _) = self.items(')', Self::value)?;
                match arguments.pop().map(|last| last.value) {
                    Some(Value::Int(n)) if arguments.is_empty() && is_int_type(word) => {
                        self.note(Note::Wrapped);
                        Ok(Value::Int(n))
                    }
                    _ => Ok(Value::Other),
                }
            }
            _ => Ok(Value::Other),
        }
    }

    fn string(&mut self) -> Result<Value<'a>> {
        let mut chars = self.rest.chars();
        let quote = chars.next();
        let mut string = String::new();
        loop {
            self.rest = chars.as_str();
            match chars.next() {
                c if c == quote => break,
                None | Some('\n' | '\r' | '\0') => return Err(self.expected("the string's closing quote")),
                Some('\\') => string.push(escaped(&mut chars).ok_or_else(|| self.expected("a known escape"))?),
                Some(c) => string.push(c),
            }
        }
        self.rest = chars.as_str();
        Ok(Value::Str(string))
    }

    /// What Python takes as space inside brackets.
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
    }

    fn eat(&mut self, c: char) -> bool {
        self.space();
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Passes over `len` ASCII characters that were seen to be there.
    fn take(&mut self, len: usize) {
        self.rest = self.rest.get(len..).unwrap_or_default();
    }

    fn take_while(&mut self, is_in: fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !is_in(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn note(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn expected(&self, what: impl fmt::Display) -> Error {
        let at = self.text.chars().count() - self.rest.chars().count();
        match self.rest {
            "" => error!(Malformed, "expected {what} at character {at}, found the end"),
            rest => error!(Malformed, "expected {what} at character {at}, found {}", Excerpt(rest)),
        }
    }
}

/// The names under which integers print themselves.
fn is_int_type(word: &str) -> bool {
    let name = word.strip_prefix("np.").or(word.strip_prefix("numpy.")).unwrap_or(word);
    matches!(
        name.strip_prefix('u').unwrap_or(name),
        "int" | "int8" | "int16" | "int32" | "int64" | "intc" | "intp" | "long" | "longlong"
    )
}

/// The character after a backslash: the escapes of Python's `repr`, and octal ones. Lone surrogates are no characters.
fn escaped(chars: &mut Chars<'_>) -> Option<char> {
    let digits =
        |chars: &mut Chars<'_>, count| (0..count).try_fold(0, |code, _| Some(code << 4 | chars.next()?.to_digit(16)?));
    let code = match chars.next()? {
        'n' => '\n'.into(),
        'r' => '\r'.into(),
        't' => '\t'.into(),
        c @ ('\\' | '\'' | '"') => c.into(),
        'x' => digits(chars, 2)?,
        'u' => digits(chars, 4)?,
        'U' => digits(chars, 8)?,
        c => {
            let mut code = c.to_digit(8)?;
            for _ in 0..2 {
                let Some(digit) = chars.clone().next().and_then(|c| c.to_digit(8)) else { break };
                code = code << 3 | digit;
                chars.next();
            }
            code
        }
    };
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::assert_error;
    use super::*;
    use alloc::format;

    /// Plain again: one spelling for each value.
    fn shown(value: &Value<'_>) -> String {
        let list = |items: &[Literal<'_>]| items.iter().map(|item| shown(&item.value) + ",").collect::<String>();
        match value {
            Value::Int(n) => n.map_or("out".into(), |n| format!("{n}")),
            Value::Bool(b) => format!("{b}"),
            Value::None => "None".into(),
            Value::Str(text) => format!("{text:?}"),
            Value::Tuple(items) => format!("({})", list(items)),
            Value::List(items) => format!("[{}]", list(items)),
            Value::Dict(items) => {
                items.iter().map(|(key, value)| format!("{}:{};", shown(&key.value), shown(&value.value))).collect()
            }
            Value::Other => "other".into(),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str, expected_notes: &[Note]) {
        let (literal, notes) = parse(text).unwrap();
        assert_eq!((&*shown(&literal.value), &*notes), (expected, expected_notes), "{text}");
        assert_eq!(literal.text, text.trim());
    }

    #[test]
    fn values() {
        check(" ( 1 ,\t\n2\r,\x0c) ", "(1,2,)", &[]);
        check("(6)", "6", &[]);
        check("()", "()", &[]);
        check("[(), [0], None, True, False]", "[(),[0,],None,true,false,]", &[]);
        check("{'a': 1, \"b\":(2,), }", "\"a\":1;\"b\":(2,);", &[]);
        check("18446744073709551615", "18446744073709551615", &[]);
        check("[18446744073709551616, -1]", "[out,out,]", &[]);
        check("(3L, 32L)", "(3,32,)", &[Note::Long]);
        check("(np.int64(1), numpy.uint8( 2 ), int(3))", "(1,2,3,)", &[Note::Wrapped]);
        check(
            "(array(100), np.int64(), np.int64(1, 2), np.float64(1), false)",
            "(other,other,other,other,other,)",
            &[],
        );
    }

    #[test]
    fn strings() {
        check(r#"'a"b'"#, r#""a\"b""#, &[]);
        check(r#""a'b""#, r#""a'b""#, &[]);
        check(r"u'\\ \' \n \r \t'", r#""\\ ' \n \r \t""#, &[]);
        check(r"'\x41\u0416\U0001f600\1012\7'", "\"AЖ😀A2\\u{7}\"", &[]);
        check("'}) é Ж'", "\"}) é Ж\"", &[]);
    }

    #[test]
    fn errors() {
        for (text, expected) in [
            ("", "Malformed(expected a value at character 0, found the end)"),
            ("(,)", "Malformed(expected a value at character 1, found `,)`)"),
            ("(é 'b')", "Malformed(expected a value at character 1, found `é 'b')`)"),
            ("('é' 'b')", "Malformed(expected `,` or `)` at character 5, found `'b')`)"),
            ("[1, 2", "Malformed(expected `,` or `]` at character 5, found the end)"),
            ("{'a' 1}", "Malformed(expected `:` at character 5, found `1}`)"),
            ("(0x3,)", "Malformed(expected `,` or `)` at character 2, found `x3,)`)"),
            ("(03,)", "Malformed(expected a decimal number at character 1, found `03,)`)"),
            ("-", "Malformed(expected a decimal number at character 0, found `-`)"),
            ("b'a'", "Malformed(expected nothing more at character 1, found `'a'`)"),
            ("1\0", "Malformed(expected nothing more at character 1, found `\\0`)"),
            ("'a", "Malformed(expected the string's closing quote at character 2, found the end)"),
            ("'a\n'", "Malformed(expected the string's closing quote at character 2, found `\\n'`)"),
            (r"'\q'", r"Malformed(expected a known escape at character 1, found `\q'`)"),
            (r"'\ud800'", r"Malformed(expected a known escape at character 1, found `\ud800'`)"),
        ] {
            assert_error(parse(text), expected);
        }
        let long = "x".repeat(61);
        assert_error(
            parse(&format!("1 {long}")),
            &format!("Malformed(expected nothing more at character 2, found `{}...`)", &long[1..]),
        );
    }

    #[test]
    fn limits() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(&nested(MAX_NESTING)).is_ok());
        assert_error(
            parse(&nested(MAX_NESTING + 1)),
            "OverLimit(expected brackets at most 200 deep in a header, found more)",
        );
        let many = |count| format!("[{}]", "1,".repeat(count));
        assert!(parse(&many(MAX_VALUES - 1)).is_ok());
        assert_error(parse(&many(MAX_VALUES)), "OverLimit(expected at most 262144 values in a header, found more)");
    }
}
