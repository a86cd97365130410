//! Folders into one: whole or not at all, and every input that does not fit is named before a byte is written.

use npygrow::{
    Appender, Column, ColumnPart, ConcatOptions, Dataset, DatasetAppender, ErrorKind, FolderJoined, MAX_HEADER_SIZE,
    OnExists, Options, Ragged, RaggedAppender, concat_folders, inspect_folder,
};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Rows of a label and a text each: those from `from` on.
fn write(path: &Path, from: u16, count: u16) {
    let mut run = DatasetAppender::open(path).unwrap();
    run.define("label", &"<u2".parse().unwrap(), &[]).unwrap();
    run.define_ragged("text", &"|u1".parse().unwrap(), &[]).unwrap();
    let labels: Vec<u8> = (from..from + count).flat_map(u16::to_le_bytes).collect();
    let lengths: Vec<u64> = (from..from + count).map(|row| u64::from(row % 5)).collect();
    let values: Vec<u8> = (from..from + count).flat_map(|row| vec![row as u8; usize::from(row % 5)]).collect();
    let text = ColumnPart::Items { lengths: &lengths, values: &values };
    run.append(u64::from(count), &[("label", ColumnPart::Rows(&labels)), ("text", text)]).unwrap();
    run.close().unwrap();
}

#[track_caller]
fn check(path: &Path, count: u16) {
    let run = Dataset::open(path, MAX_HEADER_SIZE).unwrap();
    let (Some(Column::Plain(label)), Some(Column::Ragged(text))) = (run.get("label"), run.get("text")) else {
        panic!("other columns")
    };
    assert_eq!(label.values::<u16>().unwrap(), Vec::from_iter(0..count));
    assert!((0..count).all(|row| text.item::<u8>(u64::from(row)).unwrap() == vec![row as u8; usize::from(row % 5)]));
    assert_eq!((run.len(), text.len()), (u64::from(count), u64::from(count)));
    assert!(inspect_folder(path, MAX_HEADER_SIZE).unwrap().advice.is_none());
}

fn join(inputs: &[PathBuf], output: &Path, on_exists: OnExists) -> npygrow::Result<FolderJoined> {
    concat_folders(inputs, output, &ConcatOptions::default().on_exists(on_exists), &mut |_, _| Ok(()))
}

/// The names in the folder, hidden ones too.
fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn refused(inputs: &[PathBuf], output: &Path, on_exists: OnExists, kind: ErrorKind, about: &Path, text: &str) {
    let error = join(inputs, output, on_exists).unwrap_err();
    assert_eq!((error.to_string(), error.kind()), (format!("{}: {text}", about.display()), kind));
}

#[test]
fn columns_are_joined_to_a_new_folder_and_to_one_that_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, from, count) in [("one", 0, 5), ("none", 5, 0), ("two", 5, 20_000)] {
        write(&path(name), from, count);
    }
    let (inputs, all) = ([path("one"), path("none"), path("two")], path("all"));
    let mut told = Vec::new();
    let joined = concat_folders(&inputs, &all, &ConcatOptions::default(), &mut |done, of| {
        told.push((done, of));
        Ok(())
    });
    let joined = joined.unwrap();
    assert_eq!((joined.rows, joined.rows_before, joined.inputs, joined.tails), (20_005, 0, 3, vec![]));
    check(&all, 20_005);
    // Labels, values, offsets.
    let bytes = 20_005 * 2 + 20_005 * 2 + 20_005 * 8;
    assert_eq!(told.last(), Some(&(bytes, bytes)));
    assert!(told.is_sorted());
    assert_eq!(names(&folder), ["all", "none", "one", "two"]);

    let text = "cannot join into a new folder (on_exists: error; append adds to it, replace replaces it): File exists (os \
                error 17)";
    refused(&inputs, &all, OnExists::Error, ErrorKind::Io, &all, text);
    write(&path("more"), 20_005, 7);
    let joined = join(&[path("more"), path("none")], &all, OnExists::Append).unwrap();
    assert_eq!((joined.rows, joined.rows_before), (20_012, 20_005));
    check(&all, 20_012);
    let joined = join(&[path("one")], &path("new"), OnExists::Append).unwrap();
    assert_eq!((joined.rows, joined.rows_before), (5, 0));
    // An empty folder counts as none, and appending goes on.
    fs::create_dir(path("empty")).unwrap();
    join(&[path("one"), path("none")], &path("empty"), OnExists::Error).unwrap();
    check(&path("empty"), 5);
    assert_eq!(DatasetAppender::open(path("empty")).unwrap().len(), 5);
    // No row at all.
    join(&[path("none")], &path("no rows"), OnExists::Error).unwrap();
    check(&path("no rows"), 0);
}

#[test]
fn items_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["npy", "grow", ""] {
        let mut items = Appender::options().open_ragged(path(&format!("of {name}"))).unwrap();
        items.append(name.as_bytes()).unwrap();
        items.append(b"s").unwrap();
    }
    let inputs = ["of npy", "of ", "of grow"].map(path);
    let joined = join(&inputs, &path("all"), OnExists::Error).unwrap();
    assert_eq!(joined.rows, 6);
    join(&inputs[..1], &path("all"), OnExists::Append).unwrap();
    let all = Ragged::open(path("all"), MAX_HEADER_SIZE).unwrap();
    let texts: Vec<_> =
        (0..all.len()).map(|item| String::from_utf8_lossy(all.bytes(item).unwrap()).into_owned()).collect();
    assert_eq!(texts, ["npy", "s", "", "s", "grow", "s", "npy", "s"]);
    assert_eq!(all.values().len(), 14);
}

#[test]
#[cfg(target_os = "linux")]
fn a_folder_of_nothing_but_columns_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let inputs = [path("one")];
    write(&path("one"), 0, 5);
    write(&path("old"), 700, 3);
    let old = Dataset::open(path("old"), MAX_HEADER_SIZE).unwrap();
    fs::write(path("old/text/notes.txt"), "mine").unwrap();
    let text = "expected nothing but columns in the folder that is to be replaced, found text/notes.txt";
    refused(&inputs, &path("old"), OnExists::Replace, ErrorKind::Mismatch, &path("old"), text);
    fs::rename(path("old/text/notes.txt"), path("old/notes.txt")).unwrap();
    let text = "expected nothing but columns in the folder that is to be replaced, found notes.txt";
    refused(&inputs, &path("old"), OnExists::Replace, ErrorKind::Mismatch, &path("old"), text);
    fs::remove_file(path("old/notes.txt")).unwrap();
    let held = DatasetAppender::open(path("old")).unwrap();
    let error = join(&inputs, &path("old"), OnExists::Replace).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert_eq!(names(&folder), ["old", "one"]);
    drop(held);
    let joined = join(&inputs, &path("old"), OnExists::Replace).unwrap();
    assert_eq!((joined.rows, joined.rows_before), (5, 0));
    check(&path("old"), 5);
    assert_eq!(names(&folder), ["old", "one"]);
    assert_eq!(old.len(), 3, "who reads the old one goes on");
    // Also one that nobody can read.
    fs::write(path("old/label.npy"), "no array").unwrap();
    join(&inputs, &path("old"), OnExists::Replace).unwrap();
    check(&path("old"), 5);
}

#[test]
fn all_that_does_not_fit_is_named_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["one", "broken", "other"] {
        write(&path(name), 0, 5);
    }
    let plain = |name: &str, dtype: &str| {
        let mut run = DatasetAppender::open(path(name)).unwrap();
        run.define("label", &dtype.parse().unwrap(), &[]).unwrap();
        run.define_ragged("text", &"<i4".parse().unwrap(), &[2]).unwrap();
        run.append(0, &[("label", ColumnPart::Rows(&[])), ("text", ColumnPart::Items { lengths: &[], values: &[] })])
            .unwrap();
    };
    plain("types", "<u4");
    RaggedAppender::open(path("items")).unwrap().append(b"x").unwrap();
    fs::rename(path("other/label.npy"), path("other/id.npy")).unwrap();
    // Offsets 0, 0, 1, 3, 6, 10: the third goes down.
    let mut offsets = fs::read(path("broken/text/offsets.npy")).unwrap();
    let at = offsets.len() - 3 * 8;
    offsets[at..at + 8].copy_from_slice(&0_i64.to_le_bytes());
    fs::write(path("broken/text/offsets.npy"), &offsets).unwrap();
    fs::write(path("file"), "").unwrap();
    let inputs = ["one", "broken", "types", "items", "other", "gone", "file"].map(path);
    let text = format!(
        "6 of 7 inputs cannot be joined: {d}/broken: text/offsets.npy: item 2 goes from 1 to 0: expected offsets that go up; \
         {d}/gone: cannot open the folder: No such file or directory (os error 2); \
         {d}/file: expected a folder, found a file; \
         {d}/types: label.npy: expected dtype <u2 as in {d}/one/label.npy, found dtype <u4; text/values.npy: expected dtype \
         |u1, rows of shape () as in {d}/one/text/values.npy, found dtype <i4, rows of shape (2,); \
         {d}/items: expected the columns label, text (ragged) as in {d}/one, found items of different length; \
         {d}/other: expected the columns label, text (ragged) as in {d}/one, found the columns id, text (ragged)",
        d = folder.path().display()
    );
    let all = path("all");
    refused(&inputs, &all, OnExists::Error, ErrorKind::Mismatch, &all, &text);
    assert!(!all.exists());
    let text = "text/offsets.npy: item 2 goes from 1 to 0: expected offsets that go up";
    refused(&inputs[..2], &all, OnExists::Error, ErrorKind::Malformed, &path("broken"), text);
    // Also what does not fit the folder that goes on, which is an input no more than itself.
    let text = format!(
        "expected the columns label, text (ragged) as in {d}/one, found the columns id, text (ragged)",
        d = folder.path().display()
    );
    refused(&[path("other")], &path("one"), OnExists::Append, ErrorKind::Mismatch, &path("other"), &text);
    refused(
        &[path("one")],
        &path("one"),
        OnExists::Append,
        ErrorKind::Mismatch,
        &path("one"),
        "the output is among the inputs",
    );
    check(&path("one"), 5);
    let none: [PathBuf; 0] = [];
    refused(&none, &all, OnExists::Error, ErrorKind::Mismatch, &all, "expected at least one input, found none");
    refused(
        &inputs[..1],
        &path("file"),
        OnExists::Error,
        ErrorKind::Io,
        &path("file"),
        "expected a folder, or none yet, found a file",
    );
    fs::create_dir(path("album")).unwrap();
    fs::write(path("album/a.jpg"), "").unwrap();
    let text = "expected a folder of columns, an empty one or none yet, found a.jpg in it";
    refused(&inputs[..1], &path("album"), OnExists::Append, ErrorKind::Mismatch, &path("album"), text);
    for (options, what) in
        [(ConcatOptions::default().consume(true), "consume"), (ConcatOptions::default().axis(0), "axis")]
    {
        let error = concat_folders(&inputs[..1], &all, &options, &mut |_, _| Ok(())).unwrap_err();
        assert_eq!(error.detail(), format!("{what} is for files: folders are joined whole, row after row"));
        assert_eq!(error.kind(), ErrorKind::Mismatch);
    }
    let names = names(&folder);
    assert!(names.iter().all(|name| !name.starts_with('.')) && !all.exists(), "{names:?}");
}

/// What one column has and the others do not is left out, and told.
#[test]
fn rows_that_not_every_column_has_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write(&path("one"), 0, 5);
    Appender::open(path("one/label.npy")).unwrap().append(&[9_u16, 9]).unwrap();
    Appender::open(path("one/text/values.npy")).unwrap().append(&[1_u8, 2, 3]).unwrap();
    write(&path("two"), 5, 5);
    let joined = join(&[path("one"), path("two")], &path("all"), OnExists::Error).unwrap();
    assert_eq!(joined.tails, [(path("one"), 7)]);
    check(&path("all"), 10);
}

#[test]
fn an_end_on_the_way_leaves_what_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write(&path("one"), 0, 5);
    write(&path("two"), 5, 5);
    write(&path("all"), 0, 5);
    let stop = |on_exists, output: &str| {
        let options = ConcatOptions::default().on_exists(on_exists);
        let error = concat_folders(&[path("one"), path("two")], path(output), &options, &mut |done, of| match done {
            n if 2 * n > of => Err(npygrow::Error::new(ErrorKind::Io, "enough")),
            _ => Ok(()),
        });
        assert!(error.unwrap_err().detail().starts_with("enough"));
    };
    stop(OnExists::Error, "new");
    assert_eq!(names(&folder), ["all", "one", "two"]);
    stop(OnExists::Append, "all");
    check(&path("all"), 5);
    stop(OnExists::Replace, "all");
    check(&path("all"), 5);
    assert_eq!(names(&folder), ["all", "one", "two"]);
    join(&[path("two")], &path("all"), OnExists::Append).unwrap();
    check(&path("all"), 10);
}

/// What a killed call left is removed by the next; what a living one makes is left alone.
#[test]
fn an_abandoned_folder_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write(&path("one"), 0, 5);
    let left = path(".all.npygrow-joining");
    write(&left, 0, 300);
    let held = Options::default().open_dataset(&left).unwrap();
    let text = "another concat into it is under way";
    refused(&[path("one")], &path("all"), OnExists::Error, ErrorKind::Locked, &path("all"), text);
    drop(held);
    join(&[path("one")], &path("all"), OnExists::Error).unwrap();
    check(&path("all"), 5);
    assert!(!left.exists());
}
