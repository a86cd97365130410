//! Words, numbers and columns for people.

use anstyle::{AnsiColor, Style};
use std::fmt::Display;
#[cfg(not(unix))]
use std::io::IsTerminal as _;
use std::io::{self, Write};
use std::path::Path;
use unicode_width::UnicodeWidthStr;

pub(crate) const STRONG: Style = Style::new().bold();
pub(crate) const LABEL: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const ODD: Style = AnsiColor::Yellow.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const CALL: Style = AnsiColor::Cyan.on_default();

/// The columns of a terminal; `None` where `out` is none.
pub(crate) fn columns(out: &io::Stdout) -> Option<usize> {
    #[cfg(unix)]
    let width = rustix::termios::tcgetwinsize(out).ok().map(|size| usize::from(size.ws_col));
    #[cfg(not(unix))]
    let width = out.is_terminal().then_some(80);
    width.filter(|&width| width > 0)
}

/// Says on `err` what failed, as usage errors do.
pub(crate) fn complain(err: &mut dyn Write, what: impl Display) -> io::Result<()> {
    writeln!(err, "{} {what}", paint(BAD, "error:"))
}

pub(crate) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Names and errors may quote a hostile file: no control character of theirs reaches the terminal.
pub(crate) fn plain(text: impl Display) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.to_string().chars().map(escape).collect()
}

/// A path as one shell word, so that a command that names it can be pasted.
pub(crate) fn word(path: &Path) -> String {
    let path = plain(path.display());
    let path = if path.starts_with('-') { format!("./{path}") } else { path };
    let tame = |c: char| c.is_alphanumeric() || "/._-+,:@%=".contains(c);
    if path.chars().all(tame) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

/// `1 row`, `1,234 rows`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(n), if n == 1 { "" } else { "s" })
}

pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12 B`, `1.5 KiB`: three figures or so.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        // What would print as 1024.0 belongs to the next unit.
        if value < 1023.95 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// Pads `text` to `width` columns of a terminal.
pub(crate) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// The columns that the widest of `texts` takes.
pub(crate) fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(UnicodeWidthStr::width).max().unwrap_or(0)
}

/// At most `max` characters of `text`.
pub(crate) fn shortened(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.into(),
        Some(_) => text.chars().take(max - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!([0, 999, 1_000, 12_345_678].map(grouped), ["0", "999", "1,000", "12,345,678"]);
        assert_eq!([0, 1, 2_000].map(|n| count(n, "row")), ["0 rows", "1 row", "2,000 rows"]);
        assert_eq!(
            [0, 1_023, 1_024, 1_536, 1_048_524, u64::MAX].map(size),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1023.9 KiB", "16.0 EiB"]
        );
        assert_eq!(size((1 << 20) - 1), "1.0 MiB");
    }

    #[test]
    fn names() {
        let cases = [
            ("a/b-1.npy", "a/b-1.npy"),
            ("-x", "./-x"),
            ("it's", r"'it'\''s'"),
            ("a b", "'a b'"),
            ("\x1b[m", r"'\u{1b}[m'"),
        ];
        for (path, expected) in cases {
            assert_eq!(word(Path::new(path)), expected);
        }
    }

    #[test]
    fn columns() {
        assert_eq!(pad("数据", 6), "数据  ");
        assert_eq!(widest(["ab", "数据", "é"].into_iter()), 4);
        assert_eq!([shortened("数据数据", 4), shortened("数据数据", 3)], ["数据数据", "数据…"]);
    }
}
