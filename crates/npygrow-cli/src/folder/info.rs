//! What `npy info` says of a folder.

use super::is_items;
use crate::info::{health, shape};
use crate::text::{
    BAD, CALL, GOOD, LABEL, ODD, STRONG, count, grouped, pad, paint, plain, shortened, size, widest, word,
};
use npygrow::{ColumnReport, FolderReport, Health, Report};
use serde_json::{Value, json};
use std::path::Path;

/// Whether its files hold more than the rows that all of them have, or are not well themselves.
pub(crate) fn is_uneven(report: &FolderReport) -> bool {
    report.advice.is_some()
}

/// One word for it, in its colour.
pub(crate) fn state(report: &FolderReport) -> String {
    if is_uneven(report) { paint(BAD, "uneven") } else { paint(GOOD, "clean") }
}

fn files(column: &ColumnReport) -> impl Iterator<Item = (&'static str, &Report)> {
    let values = if column.offsets.is_some() { "values" } else { "" };
    std::iter::once((values, &column.values)).chain(column.offsets.iter().map(|offsets| ("offsets", offsets)))
}

fn bytes(report: &FolderReport) -> u64 {
    report.columns.iter().flat_map(files).fold(0, |bytes: u64, (_, file)| bytes.saturating_add(file.file_size))
}

/// The shape of a plain column; of items, how many there are and the values that their file counts.
fn rows(column: &ColumnReport) -> String {
    if column.offsets.is_none() {
        return shape(&column.values.shape);
    }
    let row_shape = column.values.shape.get(1..).unwrap_or_default();
    let of = if row_shape.is_empty() { String::new() } else { format!(" of shape {}", shape(row_shape)) };
    format!("{} in {}{of}", count(column.values.rows, "value"), count(column.rows, "item"))
}

/// What is wrong with a column: its files, and what it has more than all have.
fn faults(report: &FolderReport, column: &ColumnReport) -> Vec<String> {
    let mut faults: Vec<_> = files(column)
        .filter(|(_, file)| file.health != Health::Clean)
        .map(|(name, file)| {
            let (word, words, style) = health(file);
            let name = if name.is_empty() { String::new() } else { format!("{name} ") };
            format!("{name}{}{words}", paint(style, word))
        })
        .collect();
    let items = column.offsets.as_ref().map_or(column.rows, |offsets| offsets.rows.saturating_sub(1));
    if items > column.rows {
        let whole = grouped(column.rows);
        faults.push(paint(BAD, format!("offsets of {}, {whole} of them whole", count(items, "item"))));
    }
    let more = column.rows - report.rows.min(column.rows);
    if more > 0 {
        faults.push(paint(ODD, format!("{} more than all columns have", count(more, "row"))));
    }
    faults
}

/// A fact a line, and a column a line.
pub(crate) fn page(path: &Path, report: &FolderReport) -> String {
    let is_items = is_items(path);
    let mut lines = vec![
        ("folder", format!("{}, {}", paint(STRONG, plain(path.display())), size(bytes(report)))),
        (if is_items { "items" } else { "rows" }, grouped(report.rows)),
    ];
    match &report.columns[..] {
        [items] if is_items => {
            lines.push(("values", rows(items)));
            lines.push(("dtype", items.values.dtype.to_string()));
        }
        columns => {
            let cells = columns.iter().map(|column| {
                let dtype = shortened(&column.values.dtype.to_string(), 24);
                [plain(&column.name), rows(column), dtype]
            });
            let cells: Vec<_> = cells.collect();
            let widths: [usize; 3] = std::array::from_fn(|at| widest(cells.iter().map(|cells| cells[at].as_str())));
            for (cells, column) in cells.iter().zip(columns) {
                let cells: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| pad(cell, width)).collect();
                let faults = faults(report, column);
                let faults = if faults.is_empty() { paint(GOOD, "clean") } else { faults.join("; ") };
                lines.push(("column", format!("{}  {faults}", cells.join("  "))));
            }
        }
    }
    lines.push(("health", state(report)));
    if is_uneven(report) {
        if let ([items], true) = (&report.columns[..], is_items) {
            let faults = faults(report, items);
            lines.push(("note", if faults.is_empty() { "values that no item has".into() } else { faults.join("; ") }));
        }
        lines.push(("note", "An append is under way or was cut short, or a file was changed alone.".into()));
        lines.push((
            "call",
            advice(path, report).map_or_else(String::new, |(call, gain)| format!("{}  {gain}", paint(CALL, call))),
        ));
    }
    lines.iter().map(|(label, text)| format!("{}  {text}\n", paint(LABEL, pad(label, 6)))).collect()
}

/// What to call, and what it gives.
fn advice(path: &Path, report: &FolderReport) -> Option<(String, String)> {
    let noun = super::noun(path);
    let gain = format!("goes on with the {} that all files have", count(report.rows, noun));
    is_uneven(report).then(|| (format!("npy recover {}", word(path)), gain))
}

/// Its part of a line in the table: names, not shapes, of which there are several.
pub(crate) fn cells(path: &Path, report: &FolderReport) -> [String; 5] {
    let names: Vec<_> = report.columns.iter().map(|column| plain(&column.name)).collect();
    let what = match &report.columns[..] {
        [items] if is_items(path) => items.values.dtype.to_string(),
        _ => names.join(", "),
    };
    let rows = count(report.rows, super::noun(path));
    [plain(path.display()), rows, shortened(&what, 24), "-".into(), size(bytes(report))]
}

/// Keys as in the library and in Python.
pub(crate) fn facts(path: &Path, report: &FolderReport) -> Value {
    let file = |file: &Report| {
        json!({
            "shape": file.shape,
            "dtype": file.dtype.to_string(),
            "order": file.order.to_string(),
            "rows": file.rows,
            "rows_on_disk": file.rows_on_disk,
            "file_size": file.file_size,
            "health": health(file).0,
            "notes": file.notes,
        })
    };
    let column = |column: &ColumnReport| {
        json!({
            "name": column.name,
            "rows": column.rows,
            "values": file(&column.values),
            "offsets": column.offsets.as_ref().map(file),
        })
    };
    json!({
        "rows": report.rows,
        "columns": report.columns.iter().map(column).collect::<Vec<_>>(),
        "health": if is_uneven(report) { "uneven" } else { "clean" },
        "advice": advice(path, report).map(|(call, gain)| format!("{call}: {gain}")).into_iter().collect::<Vec<_>>(),
    })
}
