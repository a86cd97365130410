//! Columns that grow as one, in a folder that no other file describes.

#[cfg(unix)]
use npygrow::storage::{Directory, Folder};
use npygrow::{
    Appender, Column, ColumnPart, Dataset, DatasetAppender, Durability, ErrorKind, MAX_HEADER_SIZE, Options, Reader,
    RecoverOptions, Tail, inspect_folder, recover_folder,
};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// A label and a text: (u16, bytes).
type Row = (u16, Vec<u8>);

fn open(path: &Path, options: Options) -> DatasetAppender {
    let mut run = options.open_dataset(path).unwrap();
    define(&mut run);
    run
}

fn define(run: &mut DatasetAppender) {
    run.define("label", &"<u2".parse().unwrap(), &[]).unwrap();
    run.define_ragged("text", &"|u1".parse().unwrap(), &[]).unwrap();
}

fn append(run: &mut DatasetAppender, rows: &[Row]) -> npygrow::Result<Option<std::ops::Range<u64>>> {
    let labels: Vec<u8> = rows.iter().flat_map(|row| row.0.to_le_bytes()).collect();
    let lengths: Vec<u64> = rows.iter().map(|row| row.1.len() as u64).collect();
    let values = rows.iter().flat_map(|row| row.1.clone()).collect::<Vec<u8>>();
    let text = ColumnPart::Items { lengths: &lengths, values: &values };
    run.append(rows.len() as u64, &[("text", text), ("label", ColumnPart::Rows(&labels))])
}

fn rows(run: &Dataset) -> Vec<Row> {
    let (Some(Column::Plain(label)), Some(Column::Ragged(text))) = (run.get("label"), run.get("text")) else {
        panic!()
    };
    assert_eq!((label.len(), text.len()), (run.len(), run.len()));
    let labels = label.values::<u16>().unwrap();
    (0..run.len()).map(|row| (labels[row as usize], text.item(row).unwrap().to_vec())).collect()
}

fn read(path: &Path) -> Vec<Row> {
    rows(&Dataset::open(path, MAX_HEADER_SIZE).unwrap())
}

fn some(from: u16, count: u16) -> Vec<Row> {
    (from..from + count).map(|row| (row, vec![row as u8; usize::from(row % 4)])).collect()
}

#[track_caller]
fn text<T>(result: npygrow::Result<T>, kind: ErrorKind) -> String {
    let error = result.err().unwrap();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.path().is_some(), "no path: {error}");
    error.detail()
}

#[test]
fn rows_go_in_and_come_out() {
    let folder = tempfile::tempdir().unwrap();
    for (name, buffering) in [("none", 0), ("some", 40), ("all", 1 << 20)] {
        for durability in [Durability::Process, Durability::Ordered, Durability::Power] {
            for turns in [false, true] {
                let path = folder.path().join(format!("{name} {durability:?} {turns}"));
                let options = Appender::options().buffering(buffering).durability(durability).turns(turns);
                let mut run = open(&path, options.clone());
                for count in 0..12_u16 {
                    let from = run.len() as u16;
                    let told = append(&mut run, &some(from, count)).unwrap();
                    assert!(told.is_none_or(|told| told == (u64::from(from)..run.len())));
                    if buffering == 0 {
                        assert_eq!(read(&path), some(0, from + count));
                    }
                    if count == 7 {
                        run.close().unwrap();
                        run = open(&path, options.clone());
                        assert_eq!((run.dropped().rows, run.dropped().bytes), (0, 0));
                    }
                }
                run.truncate(60).unwrap();
                run.sync().unwrap();
                assert_eq!(read(&path), some(0, 60));
                let names: Vec<_> = run.columns().into_iter().map(|column| (column.name, column.is_ragged)).collect();
                assert_eq!(names, [("label".to_string(), false), ("text".to_string(), true)]);
            }
        }
    }
}

#[test]
fn a_wrong_append_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut run = open(&path, Options::default());
    append(&mut run, &some(0, 3)).unwrap();
    let label = ("label", ColumnPart::Rows(&[1, 0]));
    let items = ("text", ColumnPart::Items { lengths: &[2], values: b"ab" });
    let wrong =
        |run: &mut DatasetAppender, parts: &[(&str, ColumnPart<'_>)]| text(run.append(1, parts), ErrorKind::Mismatch);
    assert_eq!(wrong(&mut run, &[label]), "expected every column, text missing");
    assert_eq!(
        wrong(&mut run, &[label, items, ("id", ColumnPart::Rows(&[1]))]),
        "expected the columns of the folder, found id too"
    );
    assert_eq!(
        wrong(&mut run, &[label, ("id", ColumnPart::Rows(&[1]))]),
        "expected every column, text missing; found id, which is none of them"
    );
    assert_eq!(wrong(&mut run, &[label, items, label]), "column label is given twice");
    assert_eq!(
        wrong(&mut run, &[("label", ColumnPart::Rows(&[1])), items]),
        "column label: expected 1 row of 2 bytes, found 1 byte"
    );
    assert_eq!(
        wrong(&mut run, &[label, ("text", ColumnPart::Items { lengths: &[3], values: b"ab" })]),
        "column text: expected 3 values of 1 bytes, found 2 bytes"
    );
    assert_eq!(
        wrong(&mut run, &[label, ("text", ColumnPart::Items { lengths: &[1, 1], values: b"ab" })]),
        "column text: expected the lengths of 1 item, found 2"
    );
    assert_eq!(
        wrong(&mut run, &[label, ("text", ColumnPart::Rows(b"ab"))]),
        "column text: expected items of different length, found rows of one"
    );
    assert_eq!(
        text(run.define("id", &"<i4".parse().unwrap(), &[]), ErrorKind::Mismatch),
        "there is no column id: the columns are settled by the first append, and are label, text"
    );
    assert_eq!(
        text(run.define("label", &"<i4".parse().unwrap(), &[]), ErrorKind::Mismatch),
        "expected a file with dtype <i4, found dtype <u2"
    );
    for name in ["", ".x", "a/b"] {
        text(run.define(name, &"<i4".parse().unwrap(), &[]), ErrorKind::Mismatch);
    }
    assert_eq!(text(run.truncate(4), ErrorKind::Mismatch), "cannot truncate to 4 rows: there are 3");
    assert_eq!(read(&path), some(0, 3));
    append(&mut run, &some(3, 1)).unwrap();
    assert_eq!(read(&path), some(0, 4));
    assert_eq!(text(DatasetAppender::open(&path), ErrorKind::Locked).split_once(" by").unwrap().0, "locked");
}

#[test]
fn a_reader_sees_what_every_column_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut run = open(&path, Options::default());
    append(&mut run, &some(0, 2)).unwrap();
    let mut reader = Dataset::open(&path, MAX_HEADER_SIZE).unwrap();
    let bookmark = reader.bookmark().unwrap();
    append(&mut run, &some(2, 3)).unwrap();
    assert_eq!((reader.len(), reader.refresh().unwrap()), (2, 2..5));
    assert_eq!(rows(&reader), some(0, 5));
    assert_eq!(rows(&bookmark.open().unwrap()), some(0, 2));
    assert_eq!(rows(&reader.clone().first(1).unwrap()), some(0, 1));
    run.close().unwrap();
    // One column is ahead, as between two counts.
    Appender::open(path.join("label.npy")).unwrap().append(&[9_u16]).unwrap();
    assert_eq!(reader.refresh().unwrap(), 5..5);
    assert_eq!((rows(&reader), read(&path)), (some(0, 5), some(0, 5)));
    let report = inspect_folder(&path, MAX_HEADER_SIZE).unwrap();
    assert_eq!((report.rows, report.columns[0].rows, report.advice.is_some()), (5, 6, true));
    let mut run = open(&path, Options::default());
    assert_eq!((run.dropped().rows, run.dropped().bytes), (1, 2));
    append(&mut run, &some(5, 1)).unwrap();
    assert_eq!(reader.refresh().unwrap(), 5..6);
    assert_eq!(rows(&reader), some(0, 6));
    assert!(inspect_folder(&path, MAX_HEADER_SIZE).unwrap().advice.is_none());
}

#[test]
fn a_column_that_was_replaced_cuts_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let fresh = || {
        let _ = fs::remove_dir_all(&path);
        let mut run = open(&path, Options::default());
        append(&mut run, &some(0, 5)).unwrap();
        run.close().unwrap();
        thread::sleep(Duration::from_millis(30));
    };
    let label = path.join("label.npy");
    let refused = |what: &str, rows: u64| {
        let why = text(DatasetAppender::open(&path), ErrorKind::NeedsRecovery);
        assert!(why.contains(what), "{why}");
        let before = Dataset::open(&path, MAX_HEADER_SIZE).unwrap();
        assert_eq!(text(recover_folder(&path, RecoverOptions::default()), ErrorKind::NeedsRecovery), why);
        assert_eq!(Reader::open(path.join("text/offsets.npy")).unwrap().len(), 6, "nothing is cut");
        let dropping = RecoverOptions { tail: Tail::Drop, ..RecoverOptions::default() };
        let recovery = recover_folder(&path, dropping).unwrap();
        assert_eq!((recovery.rows, before.len()), (rows, rows));
        assert_eq!(DatasetAppender::open(&path).unwrap().len(), rows);
    };
    fresh();
    npygrow::save(&label, &[7_u16, 8]).unwrap();
    refused(
        "label.npy of 2 rows, text/values.npy of 6 values, text/offsets.npy of 5 items; label.npy was made after",
        2,
    );
    fresh();
    npygrow::save(&label, &[7_u16; 9]).unwrap();
    refused("label.npy was made after", 5);
    fresh();
    fs::write(&label, crate::support::numpy(&[1, 2])).unwrap();
    refused("the header of label.npy is another program's", 2);
    fresh();
    fs::remove_file(path.join("text/offsets.npy")).unwrap();
    text(DatasetAppender::open(&path), ErrorKind::NeedsRecovery);
    fresh();
    fs::write(&label, b"no array").unwrap();
    text(DatasetAppender::open(&path), ErrorKind::NotNpy);
    text(recover_folder(&path, RecoverOptions::default()), ErrorKind::NotNpy);
    assert_eq!(Reader::open(path.join("text/offsets.npy")).unwrap().len(), 6, "nothing is cut for it");
}

/// What a crash of ours leaves is cut without being asked: nobody was told of it.
#[test]
fn recover_cuts_an_append_that_was_cut_short() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    append(&mut open(&path, Options::default()), &some(0, 5)).unwrap();
    Appender::open(path.join("label.npy")).unwrap().append(&[9_u16, 9]).unwrap();
    let values = path.join("text/values.npy");
    fs::File::options().append(true).open(&values).unwrap().write_all(b"tail").unwrap();
    let recovery = recover_folder(&path, RecoverOptions::default()).unwrap();
    let told: Vec<_> =
        recovery.columns.iter().map(|column| (&*column.name, column.held, column.cut, column.values.cut)).collect();
    assert_eq!((recovery.rows, told), (5, vec![("label", 7, 2, 0), ("text", 5, 0, 4)]));
    assert_eq!(read(&path), some(0, 5));
    assert!(inspect_folder(&path, MAX_HEADER_SIZE).unwrap().advice.is_none());
}

/// A file that was cut short takes the rows of no other column with it, unless that is asked for.
#[test]
fn recover_asks_before_it_cuts_rows_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    append(&mut open(&path, Options::default()), &some(0, 5)).unwrap();
    let label = path.join("label.npy");
    let len = fs::metadata(&label).unwrap().len();
    fs::File::options().write(true).open(&label).unwrap().set_len(len - 5).unwrap();
    let kept = |rows: &str| {
        format!(
            "expected files that go together, found label.npy of {rows}, text/values.npy of 6 values, text/offsets.npy of 5 \
             items: call recover(path, tail=\"drop\") to go on with the {rows} that all have, and lose the others"
        )
    };
    assert_eq!(text(recover_folder(&path, RecoverOptions::default()), ErrorKind::NeedsRecovery), kept("2 rows"));
    fs::write(&label, crate::support::numpy(&[1, 2])).unwrap();
    let why = text(recover_folder(&path, RecoverOptions::default()), ErrorKind::NeedsRecovery);
    assert!(why.contains("the header of label.npy is another program's"), "{why}");
    npygrow::save(&label, &[0_u16; 0]).unwrap();
    let why = text(recover_folder(&path, RecoverOptions::default()), ErrorKind::NeedsRecovery);
    assert!(why.ends_with("to go on with the 0 rows that all have, and lose the others"), "{why}");
    // Values that are gone from the disk are not lost by it: nothing has to be asked.
    npygrow::save(&label, &[0_u16, 1]).unwrap();
    let values = path.join("text/values.npy");
    fs::File::options().write(true).open(&values).unwrap().set_len(128 + 1).unwrap();
    assert_eq!(recover_folder(&path, RecoverOptions::default()).unwrap().rows, 2);
    assert_eq!(read(&path), some(0, 2));
}

#[test]
fn a_column_that_would_read_as_items_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let dtype = "<i8".parse().unwrap();
    let mut run = DatasetAppender::open(&path).unwrap();
    for name in ["values", "offsets"] {
        assert_eq!(
            text(run.define(name, &dtype, &[]), ErrorKind::Mismatch),
            format!(
                "column {name}: values.npy and offsets.npy are the files of items of different length: give it another name"
            )
        );
    }
    run.define_ragged("offsets", &dtype, &[]).unwrap();
    run.append(1, &[("offsets", ColumnPart::Items { lengths: &[0], values: &[] })]).unwrap();
    assert_eq!(Dataset::open(&path, MAX_HEADER_SIZE).unwrap().len(), 1, "a folder of that name is none of its files");
}

#[test]
fn items_are_no_columns_also_where_a_file_of_them_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    let mut words = Options::default().dtype("|u1".parse().unwrap()).row_shape(vec![]).open_ragged(&path).unwrap();
    words.append(&[1_u8, 2]).unwrap();
    words.close().unwrap();
    for missing in [None, Some("offsets.npy")] {
        if let Some(name) = missing {
            fs::remove_file(path.join(name)).unwrap();
        }
        let expected = "expected a folder of columns, found one of items of different length: open it as ragged";
        assert_eq!(text(Dataset::open(&path, MAX_HEADER_SIZE).map(drop), ErrorKind::Mismatch), expected);
        assert_eq!(text(DatasetAppender::open(&path).map(drop), ErrorKind::Mismatch), expected);
    }
    let error = recover_folder(&path, RecoverOptions::default()).unwrap_err();
    assert!(error.to_string().contains("offsets.npy"), "{error}");
    assert!(path.join("values.npy").exists());
}

/// The first append was cut short while it made the files.
#[test]
fn a_first_append_makes_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut run = open(&path, Options::default());
    append(&mut run, &[]).unwrap();
    run.close().unwrap();
    let files = ["text/offsets.npy", "text/values.npy", "text", "label.npy"];
    for made in 0..=files.len() {
        for file in &files[..made] {
            let file = path.join(file);
            let _ = fs::remove_file(&file).or_else(|_| fs::remove_dir(&file));
        }
        assert!(Dataset::open(&path, MAX_HEADER_SIZE).is_ok_and(|run| run.is_empty()) || made == 1 || made == 4);
        let mut run = open(&path, Options::default());
        append(&mut run, &some(0, 3)).unwrap();
        assert_eq!(read(&path), some(0, 3));
        run.truncate(0).unwrap();
    }
}

#[test]
fn several_appenders_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    thread::scope(|scope| {
        for who in 0..4_u16 {
            let path = &path;
            scope.spawn(move || {
                let buffering = if who % 2 == 0 { 0 } else { 100 };
                let mut run = open(path, Appender::options().turns(true).buffering(buffering));
                for row in 0..40_u16 {
                    append(&mut run, &some(who * 1000 + row, 1)).unwrap();
                }
                run.close().unwrap();
            });
        }
    });
    let all = read(&path);
    assert_eq!(all.len(), 160);
    for who in 0..4_u16 {
        let own: Vec<Row> = all.iter().filter(|row| row.0 / 1000 == who).cloned().collect();
        assert_eq!(own, some(who * 1000, 40), "the rows of {who}, in their order");
    }
}

/// A first append makes its columns while it holds the folder's lock.
#[test]
#[cfg(unix)]
fn a_first_append_waits_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::make(folder.path()).unwrap();
    let lock = directory.lock().unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| append(&mut open(folder.path(), Options::default()), &some(0, 3)).unwrap());
        thread::sleep(Duration::from_millis(100));
        assert_eq!(directory.names().unwrap(), [""; 0]);
        drop(lock);
        assert_eq!(first.join().unwrap(), Some(0..3));
    });
}

/// Of two first appends at once one makes its columns, and the other none of its own.
#[test]
#[cfg(unix)]
fn two_first_appends_leave_the_columns_of_one() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..40 {
        let path = folder.path().join(round.to_string());
        let first = |names: [&'static str; 2]| {
            let path = path.clone();
            move || {
                let mut run = DatasetAppender::open(&path)?;
                for name in names {
                    run.define(name, &"|u1".parse()?, &[])?;
                }
                run.append(1, &[(names[0], ColumnPart::Rows(&[1])), (names[1], ColumnPart::Rows(&[1]))])?;
                run.close()
            }
        };
        let done = thread::scope(|scope| {
            let both = [scope.spawn(first(["a", "b"])), scope.spawn(first(["b", "c"]))];
            both.map(|one| one.join().unwrap().inspect_err(|error| eprintln!("{round}: {error}")).is_ok())
        });
        let names: Vec<_> = Dataset::open(&path, MAX_HEADER_SIZE)
            .unwrap()
            .columns()
            .map(|(name, column)| (name.to_string(), column.len()))
            .collect();
        let of = |names: [&str; 2]| names.map(|name| (name.to_string(), 1)).to_vec();
        match done {
            [true, false] => assert_eq!(names, of(["a", "b"]), "round {round}"),
            [false, true] => assert_eq!(names, of(["b", "c"]), "round {round}"),
            _ => panic!("round {round}: {done:?}"),
        }
    }
}

#[test]
fn a_folder_of_one_kind_is_not_taken_for_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    append(&mut open(&run, Options::default()), &some(0, 3)).unwrap();
    let error = Options::default().open_ragged(&run).err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: expected an empty folder, or values.npy and offsets.npy, found label.npy: open it as a dataset",
            run.display()
        )
    );
    assert_eq!(read(&run), some(0, 3));

    let text = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }";
    fs::write(run.join("wide.npy"), crate::support::foreign(text, 128, &[0, 0])).unwrap();
    let error = Options::default().open_dataset(&run).err().unwrap();
    assert_eq!(error.detail(), "expected a file with C order, found F order");
}
