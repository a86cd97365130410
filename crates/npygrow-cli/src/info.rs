//! `npy info`: what files are, whether they are well, and what to call if not.

use crate::folder;
use crate::input::{Common, Input, advised, complain_of, object, write_json};
use crate::text::{BAD, CALL, GOOD, LABEL, ODD, STRONG};
use crate::text::{count, grouped, pad, paint, plain, shortened, size, widest, word};
use crate::{DONE, FAILED, FOUND};
use anstyle::Style;
use npygrow::{
    Error, ErrorKind, FolderReport, Health, Order, Part, Report, Result, Sequence, Torn, inspect, inspect_folder,
};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  npy info pose.npy
  npy info run                           a folder, a column a line
  npy info *.npy                         several files as a table
  npy info --check *.npy || echo broken  for scripts
  npy info --json pose.npy | jq .shape

A tail is what follows the last row that the header counts. While a program
appends there can be one for a moment: nothing is wrong then.

A folder holds columns, NAME.npy or a folder NAME of items, or it holds items itself:
values.npy, all of them joined, and offsets.npy, where each begins and the last ends.
It is uneven where its files hold more than the rows that all of them have.

A sequence is a file of several arrays; the first 20 of them are listed, with
--json the first 1,000.

Exit status: 0 done, 1 a file needs mending (--check), 2 one cannot be read.";

/// Say what files hold, whether they are well, and what to call if not
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Info {
    #[command(flatten)]
    input: Input,

    /// Exit with status 1 when a file needs mending
    #[arg(long)]
    check: bool,
}

impl Info {
    pub(crate) fn run(self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<i32> {
        let Input { files, common: Common { json, max_header_size } } = self.input;
        let look = |path: &PathBuf| {
            let found = match path.is_dir() {
                true => inspect_folder(path, max_header_size).map(Found::Folder),
                false => inspect(path, max_header_size).map(|report| Found::File(Box::new(report))),
            };
            found.map_err(|error| advised(path, error, max_header_size))
        };
        let found: Vec<_> = files.iter().map(look).collect();
        match (&files[..], &found[..]) {
            _ if json => {
                let facts = |path: &Path, found: &Found| match found {
                    Found::File(report) => {
                        let arrays = Arrays::of(path, report, 1_000, max_header_size);
                        arrays.into_iter().fold(facts(path, report), |facts, arrays| arrays.add_to(facts))
                    }
                    Found::Folder(report) => folder::facts(path, report),
                };
                let objects = files.iter().zip(&found).map(|(path, found)| object(path, found, |of| facts(path, of)));
                write_json(out, objects.collect())?;
            }
            ([path], [Ok(Found::Folder(report))]) => write!(out, "{}", folder::page(path, report))?,
            ([path], [Ok(Found::File(report))]) => {
                let arrays = Arrays::of(path, report, 20, max_header_size);
                write!(out, "{}", page(path, report, arrays.as_ref()))?;
            }
            ([path], [Err(error)]) => complain_of(err, path, error)?,
            _ => write!(out, "{}", table(&files, &found))?,
        }
        let is_found = self.check && found.iter().flatten().any(is_broken);
        Ok(if found.iter().any(Result::is_err) {
            FAILED
        } else if is_found {
            FOUND
        } else {
            DONE
        })
    }
}

/// What there is at a path.
enum Found {
    File(Box<Report>),
    Folder(FolderReport),
}

fn is_broken(found: &Found) -> bool {
    match found {
        Found::File(report) => report.health != Health::Clean,
        Found::Folder(report) => folder::is_uneven(report),
    }
}

/// What is in a file of several arrays.
struct Arrays {
    count: u64,
    /// The first of them.
    listed: Vec<Part>,
    torn: Option<Torn>,
}

impl Arrays {
    /// `None` where there is one array, or the file was changed since.
    fn of(path: &Path, report: &Report, most: usize, max_header_size: u64) -> Option<Arrays> {
        let look = || {
            let sequence = Sequence::open(path, max_header_size)?;
            let listed = sequence.parts().flatten().take(most).collect();
            Ok::<_, Error>(Arrays { count: sequence.len()?, listed, torn: sequence.torn()? })
        };
        if report.health == Health::Sequence { look().ok() } else { None }
    }

    fn add_to(&self, mut facts: Value) -> Value {
        let array = |Part { offset, size, header, .. }: &Part| {
            json!({
                "shape": header.shape,
                "dtype": header.dtype.to_string(),
                "order": header.order.to_string(),
                "offset": offset,
                "size": size,
            })
        };
        let torn = |Torn { index, offset, bytes, text, .. }: &Torn| json!({ "index": index, "offset": offset, "bytes": bytes, "text": text });
        facts["array_count"] = self.count.into();
        facts["arrays"] = self.listed.iter().map(array).collect();
        facts["torn"] = self.torn.as_ref().map(torn).into();
        facts
    }

    /// Of one array a line.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let cells: Vec<_> = self.listed.iter().enumerate().map(|(index, part)| cells(index, part)).collect();
        let widths: [usize; 4] = std::array::from_fn(|column| widest(cells.iter().map(|cells| cells[column].as_str())));
        let mut lines = vec![("arrays", grouped(self.count))];
        for (cells, Part { offset, .. }) in cells.iter().zip(&self.listed) {
            let cells: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| pad(cell, width)).collect();
            lines.push(("array", format!("{}  at offset {offset}", cells.join("  "))));
        }
        let more = self.count - self.listed.len() as u64;
        if more > 0 {
            lines.push(("", format!("and {} more", grouped(more))));
        }
        lines.extend(self.torn.as_ref().map(|torn| ("torn", paint(ODD, plain(&torn.text)))));
        lines
    }
}

fn cells(index: usize, Part { header, .. }: &Part) -> [String; 4] {
    let dtype = shortened(&header.dtype.to_string(), 24);
    [index.to_string(), shape(&header.shape), dtype, header.order.to_string()]
}

/// Keys as in the library and in Python, so that there is one set of words to learn.
fn facts(path: &Path, report: &Report) -> Value {
    let (tail_rows, tail_bytes, torn_bytes) = match report.health {
        Health::Tail { rows, bytes } => (rows, bytes, 0),
        Health::Truncated { torn, .. } => (0, 0, torn),
        _ => (0, 0, 0),
    };
    json!({
        "shape": report.shape,
        "dtype": report.dtype.to_string(),
        "order": report.order.to_string(),
        "version": report.version,
        "header_len": report.header_len,
        "room": report.room,
        "ours": report.ours,
        "rows": report.rows,
        "rows_on_disk": report.rows_on_disk,
        "row_size": report.row_size,
        "file_size": report.file_size,
        "health": health(report).0,
        "tail_rows": tail_rows,
        "tail_bytes": tail_bytes,
        "torn_bytes": torn_bytes,
        "notes": report.notes,
        "advice": advice(path, report).iter().map(|(call, gain)| format!("{call}: {gain}")).collect::<Vec<_>>(),
    })
}

/// One file: a fact a line.
fn page(path: &Path, report: &Report, arrays: Option<&Arrays>) -> String {
    let (state, words, style) = health(report);
    let mut lines = vec![
        ("file", format!("{}, {}", paint(STRONG, plain(path.display())), size(report.file_size))),
        ("shape", shape(&report.shape)),
        ("dtype", report.dtype.to_string()),
        ("order", order(report).to_string()),
        ("rows", rows(report)),
        ("header", header(report)),
        ("health", format!("{}{words}", paint(style, state))),
    ];
    if matches!(report.health, Health::Tail { .. }) {
        lines.push(("note", "An append is under way, or was cut short.".into()));
    }
    lines.extend(report.notes.iter().map(|note| ("note", note.clone())));
    lines.extend(arrays.into_iter().flat_map(Arrays::lines));

    let mut advice = advice(path, report);
    if let Some(Torn { kind: ErrorKind::NeedsRecovery, offset, .. }) = arrays.and_then(|arrays| arrays.torn.as_ref()) {
        advice.push((format!("truncate -s {offset} {}", word(path)), "cuts the array that is not whole".into()));
    }
    let width = widest(advice.iter().map(|(call, _)| call.as_str()));
    lines.extend(advice.iter().map(|(call, gain)| ("call", format!("{}  {gain}", paint(CALL, pad(call, width))))));
    lines.iter().map(|(label, text)| format!("{}  {text}\n", paint(LABEL, pad(label, 6)))).collect()
}

pub(crate) fn shape(shape: &[u64]) -> String {
    let axes: Vec<_> = shape.iter().map(u64::to_string).collect();
    format!("({}{})", axes.join(", "), if axes.len() == 1 { "," } else { "" })
}

fn order(report: &Report) -> &'static str {
    match report.order {
        Order::C if report.shape.len() < 2 => "C",
        Order::F if report.shape.len() < 2 => "F",
        Order::C => "C, the first axis grows",
        Order::F => "F, the last axis grows",
    }
}

fn rows(report: &Report) -> String {
    let Report { rows, rows_on_disk, .. } = report;
    let each = count(report.row_size, "byte");
    if report.shape.is_empty() {
        return format!("none: one item of {each}");
    }
    match grouped(*rows) {
        counted if rows == rows_on_disk => format!("{counted}, {each} each"),
        counted => format!("{counted} counted, {} on disk, {each} each", grouped(*rows_on_disk)),
    }
}

fn header(report: &Report) -> String {
    let room = match report.room {
        Some(room) => format!("room to count {}", count(room, "row")),
        None if report.shape.is_empty() => "no axis to grow along".into(),
        None => "no room to grow".into(),
    };
    format!("{}, version {}.0, {room}", count(report.header_len, "byte"), report.version)
}

/// One word for it, what to add to the word, and its colour.
pub(crate) fn health(report: &Report) -> (&'static str, String, Style) {
    match report.health {
        Health::Clean => ("clean", String::new(), GOOD),
        Health::Tail { rows, bytes } => {
            let held = if rows == 0 { "no whole row".into() } else { count(rows, "whole row") };
            ("tail", format!(": {} after the last row, {held} among them", count(bytes, "byte")), ODD)
        }
        Health::Truncated { .. } if report.shape.is_empty() => {
            ("truncated", ": its one item is not whole, nothing can be recovered".into(), BAD)
        }
        Health::Truncated { rows, torn } => {
            let torn = if torn == 0 { String::new() } else { format!(", and {} of a torn one", count(torn, "byte")) };
            ("truncated", format!(": {} of {} left{torn}", grouped(rows), count(report.rows, "row")), BAD)
        }
        Health::Sequence => ("sequence", ": another array begins after the last row".into(), ODD),
        _ => ("broken", String::new(), BAD),
    }
}

/// The call that makes one array of a sequence, and what it gives.
pub(crate) fn join(path: &Path) -> String {
    format!("npy concat OUT {}", word(path))
}

pub(crate) const JOINED: &str = "makes them one array that can grow";

/// What to call, and what it gives.
pub(crate) fn advice(path: &Path, report: &Report) -> Vec<(String, String)> {
    let recover = |options, gain| (format!("npy recover {options}{}", word(path)), gain);
    let is_scalar = report.shape.is_empty();
    match report.health {
        Health::Truncated { .. } if is_scalar => Vec::new(),
        Health::Truncated { rows, torn } => {
            let mut advice = vec![recover("", format!("goes on with the {} left", count(rows, "row")))];
            if torn > 0 {
                advice.push(recover("--zerofill-incomplete ", "completes the torn row with zeros".into()));
            }
            advice
        }
        Health::Tail { rows, bytes } => {
            let mut advice = vec![recover("--tail drop ", format!("cuts the {}", count(bytes, "byte")))];
            if rows > 0 {
                advice.insert(0, recover("", format!("keeps the {}, unverified", count(rows, "whole row"))));
            }
            advice
        }
        Health::Sequence => vec![
            ("npygrow.open_sequence(path)".into(), "maps each of them in Python".into()),
            (join(path), JOINED.into()),
        ],
        Health::Clean if report.room.is_none() && !is_scalar => {
            vec![(format!("npy ensure-appendable {}", word(path)), "makes room to grow".into())]
        }
        _ => Vec::new(),
    }
}

/// Several files: a line each.
fn table(files: &[PathBuf], found: &[Result<Found>]) -> String {
    let head = ["file", "shape", "dtype", "order", "size"].map(String::from);
    let mut rows = vec![(head, paint(LABEL, "health"))];
    for (path, found) in files.iter().zip(found) {
        let (name, path) = (plain(path.display()), path.as_path());
        rows.push(match found {
            Ok(Found::Folder(report)) => (folder::cells(path, report), folder::state(report)),
            Ok(Found::File(report)) => {
                let (word, words, style) = health(report);
                let dtype = shortened(&report.dtype.to_string(), 24);
                let cells = [name, shape(&report.shape), dtype, report.order.to_string(), size(report.file_size)];
                (cells, format!("{}{words}", paint(style, word)))
            }
            Err(error) => {
                let cells = [name, "-".into(), "-".into(), "-".into(), "-".into()];
                (cells, format!("{}: {}", paint(BAD, "error"), plain(error.detail())))
            }
        });
    }
    let widths: [usize; 5] = std::array::from_fn(|column| widest(rows.iter().map(|(cells, _)| cells[column].as_str())));
    let mut text = String::new();
    for (i, (cells, health)) in rows.iter().enumerate() {
        for (cell, width) in cells.iter().zip(widths) {
            let cell = pad(cell, width);
            text.push_str(&if i == 0 { paint(LABEL, cell) } else { cell });
            text.push_str("  ");
        }
        text.push_str(&format!("{health}\n"));
    }
    let broken = found.iter().flatten().filter(|&found| is_broken(found)).count();
    if broken > 0 {
        let call = paint(CALL, "npy info FILE");
        text.push_str(&format!("\n{broken} of {} to mend: {call} says how\n", count(found.len() as u64, "file")));
    }
    text
}
