//! The files under `testdata/`, and what NumPy or the format says of each.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The longest header text that `np.load` takes unless told otherwise, in bytes.
pub const MAX_HEADER_SIZE: u64 = 10_000;

/// A whole file and what NumPy reads in it, from `testdata/golden/expected.json`.
#[derive(Debug)]
pub struct Golden {
    /// Folder and file name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What NumPy reads in it.
    pub expected: Expected,
}

/// One entry of `testdata/golden/expected.json`; its README says more.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// NumPy's descr of the dtype, as a Python literal.
    pub descr: String,
    /// Bytes of one element.
    pub itemsize: u64,
    /// Whether the last axis grows.
    pub fortran_order: bool,
    /// As in the header.
    pub shape: Vec<u64>,
    /// Bytes up to the first data byte.
    pub header_len: u64,
    /// Major version.
    pub version: u8,
    /// Digest of the data bytes, in hex.
    pub sha256: String,
    /// Bytes behind the data: another array, or another tool's tail.
    pub after: u64,
    /// `numpy`, or `python` where NumPy refuses the spelling.
    pub read_by: String,
    /// Whether `np.load` takes the file with its default limits.
    pub loads: bool,
}

impl Expected {
    /// Rows along the growth axis; 1 for 0-d.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let axis = if self.fortran_order { self.shape.last() } else { self.shape.first() };
        axis.copied().unwrap_or(1)
    }

    /// Bytes of all elements.
    #[must_use]
    pub fn data_len(&self) -> u64 {
        self.shape.iter().product::<u64>() * self.itemsize
    }

    /// Bytes of the header's text: what `max_header_size` counts.
    #[must_use]
    pub fn text_len(&self) -> u64 {
        self.header_len - if self.version == 1 { 10 } else { 12 }
    }
}

/// A file to be refused, or named rightly, from `testdata/hostile/expected.json`.
#[derive(Debug)]
pub struct Hostile {
    /// File name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// The kinds of answer that are right.
    pub deserves: Vec<String>,
    /// What NumPy says of it.
    pub np_load: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verdict {
    deserves: Vec<String>,
    #[serde(rename = "np.load")]
    np_load: String,
}

/// The answer of `npygrow::inspect` to a file: a line of `testdata/hostile/errors.txt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// File name.
    pub name: String,
    /// The kind of the error, or the health of a file that can be inspected.
    pub kind: String,
    /// The error's text without the path; or the health in figures, the notes and the advice.
    pub text: String,
}

impl Answer {
    /// What the library says of `file` now.
    #[must_use]
    pub fn of(file: &Hostile) -> Self {
        let (kind, text) = match npygrow::inspect(&file.path, MAX_HEADER_SIZE) {
            Err(error) => (format!("{:?}", error.kind()), error.detail()),
            Ok(report) => {
                let health = format!("{:?}", report.health);
                let (kind, figures) = health.split_once(' ').unwrap_or((&health, ""));
                let figures = figures.trim_matches(['{', ' ', '}']).to_owned();
                let notes = report.notes.iter().map(ToString::to_string);
                let parts = [figures].into_iter().chain(notes).chain(report.advice);
                (kind.to_owned(), parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; "))
            }
        };
        Answer { name: file.name.clone(), kind, text: one_line(&text) }
    }

    /// The line of `errors.txt`.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} | {} | {}", self.name, self.kind, self.text).trim_end().to_owned()
    }
}

/// Texts stay on a line of their own whatever bytes of the file they quote.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// The folder `testdata`.
#[must_use]
pub fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

/// Every golden file, in the order of names.
#[must_use]
pub fn golden() -> Vec<Golden> {
    let entries: BTreeMap<String, Expected> = read_json("golden/expected.json");
    let folder = testdata().join("golden");
    entries.into_iter().map(|(name, expected)| Golden { path: folder.join(&name), name, expected }).collect()
}

/// Every hostile file, in the order of names.
#[must_use]
pub fn hostile() -> Vec<Hostile> {
    let entries: BTreeMap<String, Verdict> = read_json("hostile/expected.json");
    let folder = testdata().join("hostile");
    let file = |(name, Verdict { deserves, np_load })| Hostile { path: folder.join(&name), name, deserves, np_load };
    entries.into_iter().map(file).collect()
}

/// Every `.npy` below a folder of `testdata`, by its name from there: what the lists above must not miss.
#[must_use]
pub fn names_on_disk(folder: &str) -> Vec<String> {
    let root = testdata().join(folder);
    let (mut names, mut left) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "npy") {
                let name = path.strip_prefix(&root).expect("it was found there");
                names.push(name.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    names.sort();
    names
}

/// The reviewed answers; a missing file says how to write it.
#[must_use]
pub fn reviewed_answers() -> String {
    let path = testdata().join("hostile/errors.txt");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; {REGENERATE}", path.display()))
}

/// What to call after a change of words.
pub const REGENERATE: &str = "to write it anew: \
    cargo run -q -p npygrow-testkit --example hostile_errors > testdata/hostile/errors.txt, then read the diff";

/// Lines of `wanted` and `found` that differ, `-` and `+` before them; empty when none does. Lines are matched by what
/// stands before their first ` | `.
#[must_use]
pub fn line_diff(wanted: &str, found: &str) -> String {
    let by_name = |text: &'_ str| -> BTreeMap<String, String> {
        let name = |line: &str| line.split(" | ").next().unwrap_or(line).to_owned();
        text.lines().map(|line| (name(line), line.to_owned())).collect()
    };
    let (wanted, found) = (by_name(wanted), by_name(found));
    let mut names: Vec<_> = wanted.keys().chain(found.keys()).collect();
    names.sort();
    names.dedup();
    let mut diff = String::new();
    for name in names {
        let (wanted, found) = (wanted.get(name), found.get(name));
        if wanted != found {
            for (sign, line) in [('-', wanted), ('+', found)] {
                line.map(|line| writeln!(diff, "{sign} {line}"));
            }
        }
    }
    diff
}

/// SHA-256 of `bytes`, in hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn read_json<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    let path = testdata().join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_diff_names_changed_missing_and_new_lines() {
        let wanted = "a | X | 1\nb | X | 2\nc | X | 3\n";
        assert_eq!(line_diff(wanted, wanted), "");
        assert_eq!(
            line_diff(wanted, "a | X | 1\nb | Y | 2\nd | X | 4\n"),
            "- b | X | 2\n+ b | Y | 2\n- c | X | 3\n+ d | X | 4\n"
        );
    }

    #[test]
    fn sha256_is_the_standards_example() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
