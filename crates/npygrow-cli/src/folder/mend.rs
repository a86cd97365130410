//! Folders that are mended, cut or joined, all files together.

use super::{is_items, noun};
use crate::text::{GOOD, ODD, count, grouped, paint, plain, size};
use npygrow::{
    Appender, FolderJoined, FolderRecovery, RecoverOptions, Recovery, Result, inspect_folder, recover_folder,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What [`recover`] did, and what a row is called there.
pub(crate) struct Mended {
    done: FolderRecovery,
    /// How long the values are by now, by column.
    values: Vec<u64>,
    noun: &'static str,
}

pub(crate) fn recover(path: &Path, options: RecoverOptions) -> Result<Mended> {
    let done = recover_folder(path, options)?;
    let left = inspect_folder(path, options.max_header_size)?;
    let values = left.columns.iter().map(|column| column.values.rows).collect();
    Ok(Mended { done, values, noun: noun(path) })
}

impl Mended {
    /// The rows that are left, then what became of each file and column of which there is something to say.
    pub(crate) fn words(&self) -> String {
        let Mended { done, values, noun } = self;
        let mut lines = Vec::new();
        let mut say = |name: String, text: String| lines.push(format!("\n  {}: {text}", plain(name)));
        let cut = |n, what: &str, why: &str| paint(ODD, format!("{} cut {why}", count(n, what)));
        for (column, &left) in done.columns.iter().zip(values) {
            let name = &column.name;
            let file = |file: &str| if name.is_empty() { file.into() } else { format!("{name}/{file}") };
            let Some(offsets) = &column.offsets else {
                mended(&format!("{name}.npy"), &column.values, &mut say);
                if column.cut > 0 {
                    say(name.clone(), cut(column.cut, "row", "that other columns do not have"));
                }
                continue;
            };
            mended(&file("values.npy"), &column.values, &mut say);
            mended(&file("offsets.npy"), offsets, &mut say);
            let astray = offsets.rows.saturating_sub(1 + column.held);
            if astray > 0 {
                say(
                    file("offsets.npy"),
                    cut(astray, "item", "that the values do not reach, or after one that goes down"),
                );
            }
            if column.cut > 0 {
                say(name.clone(), cut(column.cut, "row", "that other columns do not have"));
            }
            if astray == 0 && column.cut == 0 && column.values.rows > left {
                say(file("values.npy"), cut(column.values.rows - left, "value", "that no item has"));
            }
        }
        let kept = count(done.rows, noun);
        let first =
            if lines.is_empty() { format!("{kept}, nothing to mend") } else { paint(GOOD, format!("{kept} kept")) };
        first + &lines.concat()
    }

    pub(crate) fn facts(&self) -> Value {
        let column = |column: &npygrow::ColumnRecovery| {
            json!({
                "name": column.name,
                "held": column.held,
                "cut": column.cut,
                "values": crate::recover::counts(&column.values),
                "offsets": column.offsets.as_ref().map(crate::recover::counts),
            })
        };
        json!({ "rows": self.done.rows, "columns": self.done.columns.iter().map(column).collect::<Vec<_>>() })
    }
}

/// Says how one file was mended, if it was.
fn mended(name: &str, recovery: &Recovery, say: &mut dyn FnMut(String, String)) {
    if !crate::recover::is_untouched(recovery) {
        say(name.into(), crate::recover::words(recovery));
    }
}

/// Cuts all columns; gives the rows there were, and the bytes of an unfinished append.
pub(crate) fn truncate(path: &Path, rows: u64, max_header_size: u64) -> Result<(u64, u64)> {
    // An appender would make what is not there.
    inspect_folder(path, max_header_size)?;
    let options = Appender::options().max_header_size(max_header_size);
    if is_items(path) {
        let mut items = options.open_ragged(path)?;
        let (before, tail) = (items.len(), items.dropped().bytes);
        items.truncate(rows)?;
        items.close()?;
        return Ok((before, tail));
    }
    let mut columns = options.open_dataset(path)?;
    let (before, tail) = (columns.len(), columns.dropped().bytes);
    columns.truncate(rows)?;
    columns.close()?;
    Ok((before, tail))
}

/// Keys as in the library and in Python.
pub(crate) fn joined_facts(done: &FolderJoined) -> Value {
    let tail = |(path, bytes): &(PathBuf, u64)| json!({ "path": path.to_string_lossy(), "bytes": bytes });
    json!({
        "rows": done.rows,
        "rows_before": done.rows_before,
        "inputs": done.inputs,
        "shared": done.shared,
        "tails": done.tails.iter().map(tail).collect::<Vec<_>>(),
    })
}

/// What was joined to the folder at `path`.
pub(crate) fn joined(done: &FolderJoined, path: &Path) -> String {
    let added = count(done.rows - done.rows_before, noun(path));
    let mut text =
        paint(GOOD, format!("{added} of {} joined, {} in all", count(done.inputs, "folder"), grouped(done.rows)));
    let mut say = |style, more: String| text += &format!("; {}", paint(style, more));
    if done.shared > 0 {
        say(GOOD, format!("{} shared, not copied", size(done.shared)));
    }
    for (path, bytes) in &done.tails {
        let bytes = count(*bytes, "byte");
        say(ODD, format!("{bytes} of {} left out, after the last row that every column has", plain(path.display())));
    }
    text
}
