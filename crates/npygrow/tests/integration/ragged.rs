//! Items of different length, in two files that no third one describes.

use crate::support::foreign;
use npygrow::storage::Directory;
use npygrow::{
    Appender, Durability, ErrorKind, MAX_HEADER_SIZE, OnTail, Options, Ragged, RaggedAppender, Reader, RecoverOptions,
    Tail, recover_folder,
};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

fn items(path: &Path) -> Vec<Vec<u16>> {
    let words = Ragged::open(path, MAX_HEADER_SIZE).unwrap();
    (0..words.len()).map(|item| words.item(item).unwrap().to_vec()).collect()
}

fn text<T>(result: npygrow::Result<T>, kind: ErrorKind) -> String {
    let error = result.err().unwrap();
    assert_eq!(error.kind(), kind, "{error}");
    error.detail()
}

/// What NumPy alone makes of the folder.
fn plain(path: &Path) -> (Vec<i64>, Vec<u16>) {
    let offsets = Reader::open(path.join("offsets.npy")).unwrap();
    let values = Reader::open(path.join("values.npy")).unwrap();
    (offsets.rows(0..offsets.len()).unwrap(), values.rows(0..values.len()).unwrap())
}

/// How to cut what can be read.
fn dropping() -> RecoverOptions {
    RecoverOptions { tail: Tail::Drop, ..RecoverOptions::default() }
}

#[test]
fn items_go_in_and_come_out() {
    let folder = tempfile::tempdir().unwrap();
    for (name, buffering) in [("none", 0), ("some", 20), ("all", 1 << 20)] {
        for durability in [Durability::Process, Durability::Ordered, Durability::Power] {
            let path = folder.path().join(format!("{name} {durability:?}"));
            let open = || Appender::options().buffering(buffering).durability(durability).open_ragged(&path).unwrap();
            let mut words = open();
            let mut model: Vec<Vec<u16>> = Vec::new();
            for item in 0..40_u16 {
                let values: Vec<u16> = (0..item * 7 % 11).map(|value| item * 100 + value).collect();
                assert_eq!(words.append(&values).unwrap(), Some(u64::from(item)..u64::from(item) + 1));
                model.push(values);
                assert_eq!(words.len(), model.len() as u64);
                if buffering == 0 {
                    assert_eq!(items(&path), model);
                }
                if item % 17 == 16 {
                    words.close().unwrap();
                    assert_eq!(items(&path), model);
                    words = open();
                    assert_eq!((words.len(), words.dropped().bytes), (model.len() as u64, 0));
                }
            }
            assert_eq!(words.extend_bytes(&[1, 0, 2], &[1, 0, 2, 0, 3, 0]).unwrap(), Some(40..43));
            model.extend([vec![1], vec![], vec![2, 3]]);
            words.truncate(42).unwrap();
            model.pop();
            words.sync().unwrap();
            assert_eq!(items(&path), model);
            let (offsets, values) = plain(&path);
            let mut ends = vec![0];
            ends.extend(model.iter().scan(0, |end, item| {
                *end += item.len() as i64;
                Some(*end)
            }));
            assert_eq!((offsets, values), (ends, model.concat()));
        }
    }
}

#[test]
fn an_append_that_fails_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    let mut words = RaggedAppender::open(&path).unwrap();
    words.append(&[1_u16, 2]).unwrap();
    assert_eq!(
        text(words.append_bytes(2, &[0; 3]), ErrorKind::Mismatch),
        "expected 2 values of 2 bytes, found 3 bytes"
    );
    assert_eq!(
        text(words.append(&[1.0_f32]), ErrorKind::Mismatch),
        "expected values of dtype <u2, found <f4 (f32): convert them first"
    );
    assert_eq!(
        text(words.extend_bytes(&[1, u64::MAX], &[0; 2]), ErrorKind::OverLimit),
        "2 values and more: offsets are of 63 bits"
    );
    assert_eq!(text(words.truncate(2), ErrorKind::Mismatch), "cannot truncate to 2 items: there are 1");
    assert_eq!(items(&path), [[1, 2]]);
    words.append(&[3_u16]).unwrap();
    assert_eq!(items(&path), [vec![1, 2], vec![3]]);
}

#[test]
fn a_reader_sees_whole_items() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    let mut words = RaggedAppender::open(&path).unwrap();
    words.append(&[1_u16, 2]).unwrap();
    let mut reader = Ragged::open(&path, MAX_HEADER_SIZE).unwrap();
    assert_eq!(reader.refresh().unwrap(), 1..1);
    words.append(&[3_u16]).unwrap();
    words.append::<u16>(&[]).unwrap();
    assert_eq!((reader.len(), reader.refresh().unwrap()), (1, 1..3));
    assert_eq!((reader.range(1).unwrap(), reader.range(2).unwrap()), (2..3, 3..3));
    assert_eq!(text(reader.range(3), ErrorKind::Mismatch), "expected an item in 0..3, found 3");
    words.truncate(1).unwrap();
    assert!(reader.refresh().is_err());
}

/// Between the two counts, which a kill leaves as they are.
#[test]
fn values_without_offsets_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    let mut words = RaggedAppender::open(&path).unwrap();
    words.append(&[1_u16, 2]).unwrap();
    words.close().unwrap();
    let add = |value: u16| Appender::open(path.join("values.npy")).unwrap().append(&[value]).unwrap();
    add(7);
    assert_eq!(items(&path), [[1, 2]], "readers do not see them");
    let found = "expected files that go together, found values.npy of 3 values, offsets.npy of 1 item; ";
    let advice = ": call recover(path, tail=\"drop\") to go on with the 1 item that all have, and lose the others";
    let asked = |on_tail| text(Appender::options().on_tail(on_tail).open_ragged(&path), ErrorKind::NeedsRecovery);
    for on_tail in [OnTail::Error, OnTail::Keep] {
        assert_eq!(asked(on_tail), format!("{found}on_tail asks not to cut any{advice}"));
    }
    let words = RaggedAppender::open(&path).unwrap();
    assert_eq!((words.len(), words.dropped().bytes), (1, 2));
    drop(words);
    assert_eq!(plain(&path), (vec![0, 2], vec![1, 2]));

    // Somebody put other offsets there. (Clocks of file systems tick every few milliseconds.)
    add(7);
    thread::sleep(Duration::from_millis(30));
    fs::copy(path.join("offsets.npy"), path.join("copy")).unwrap();
    fs::rename(path.join("copy"), path.join("offsets.npy")).unwrap();
    assert_eq!(
        text(RaggedAppender::open(&path), ErrorKind::NeedsRecovery),
        format!("{found}offsets.npy was made after values.npy was last written{advice}")
    );
    assert_eq!(plain(&path), (vec![0, 2], vec![1, 2, 7]), "nothing is lost");
    assert_eq!(
        text(recover_folder(&path, RecoverOptions::default()), ErrorKind::NeedsRecovery),
        format!("{found}offsets.npy was made after values.npy was last written{advice}")
    );
    let recovery = recover_folder(&path, dropping()).unwrap();
    assert_eq!((recovery.rows, recovery.columns[0].held, recovery.columns[0].cut), (1, 1, 0));
    assert_eq!(plain(&path), (vec![0, 2], vec![1, 2]));
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    let (values, offsets) = (path.join("values.npy"), path.join("offsets.npy"));
    let make = |ends: &[i64]| {
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        npygrow::save(&offsets, ends).unwrap();
        thread::sleep(Duration::from_millis(30));
        npygrow::save(&values, &[1_u16, 2, 3]).unwrap();
    };
    let appending = |kind| text(RaggedAppender::open(&path), kind);
    let reading = |kind| text(Ragged::open(&path, MAX_HEADER_SIZE), kind);

    let found = "expected files that go together, found values.npy of 3 values, offsets.npy of 4 items; values.npy ";
    make(&[0, 1, 3, 4, 9]);
    assert_eq!(
        appending(ErrorKind::NeedsRecovery),
        format!(
            "{found}was made after offsets.npy was last written: call recover(path, tail=\"drop\") to go on with the 2 items \
             that all have, and lose the others"
        )
    );
    assert_eq!(items(&path), [vec![1], vec![2, 3]]);
    text(recover_folder(&path, RecoverOptions::default()), ErrorKind::NeedsRecovery);
    let recovery = recover_folder(&path, dropping()).unwrap();
    assert_eq!((recovery.rows, items(&path)), (2, vec![vec![1], vec![2, 3]]));
    assert_eq!(RaggedAppender::open(&path).unwrap().len(), 2);
    make(&[0, 2, 4, 5, 9]);
    assert_eq!(
        appending(ErrorKind::NeedsRecovery),
        format!(
            "{found}ends within an item: call recover(path, tail=\"drop\") to go on with the 1 item that all have, and lose \
             the others"
        )
    );
    make(&[0, 1, 3, 2, 3]);
    text(recover_folder(&path, RecoverOptions::default()), ErrorKind::NeedsRecovery);
    let recovery = recover_folder(&path, dropping()).unwrap();
    assert_eq!((recovery.rows, plain(&path)), (2, (vec![0, 1, 3], vec![1, 2, 3])), "down again");
    make(&[1, 3]);
    let first = "expected offsets that go up from 0, found 1 first: nothing says where items begin";
    assert_eq!((appending(ErrorKind::Malformed), reading(ErrorKind::Malformed)), (first.into(), first.into()));
    make(&[0, 2, 1, 3]);
    let words = Ragged::open(&path, MAX_HEADER_SIZE).unwrap();
    assert_eq!(
        text(words.range(1), ErrorKind::Malformed),
        "item 1 goes from 2 to 1: expected offsets that go up, to at most 3"
    );
    make(&[0, -1]);
    assert_eq!(appending(ErrorKind::Malformed), "expected offsets that go up from 0, found -1");
    make(&[0, 3]);
    fs::remove_file(&offsets).unwrap();
    assert_eq!(
        appending(ErrorKind::NeedsRecovery),
        "offsets.npy is missing beside values.npy: without it nothing says where an item begins: put it back"
    );
    make(&[0, 3]);
    fs::remove_file(&values).unwrap();
    assert_eq!(
        appending(ErrorKind::NeedsRecovery),
        "values.npy is missing beside offsets.npy, which counts 1 item: put it back"
    );
    make(&[0, 3]);
    npygrow::save(&offsets, &[0_u64, 3]).unwrap();
    let other = "expected offsets: dtype <i8, one axis; found dtype <u8, 1 axes: the file is another's";
    assert_eq!((appending(ErrorKind::Mismatch), reading(ErrorKind::Mismatch)), (other.into(), other.into()));
    make(&[0, 3]);
    let header = "{'descr': '<u2', 'fortran_order': True, 'shape': (1, 3), }";
    fs::write(&values, [&foreign(header, 128, &[])[..], &[0; 6]].concat()).unwrap();
    let other = "expected values in C order, found Fortran order: items are joined along axis 0";
    assert_eq!((appending(ErrorKind::Mismatch), reading(ErrorKind::Mismatch)), (other.into(), other.into()));
}

#[test]
fn a_folder_has_one_appender() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    drop(RaggedAppender::open(&path).unwrap());
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "nothing is known of the values");
    let mut words = RaggedAppender::open(&path).unwrap();
    words.append(&[1_u8]).unwrap();
    assert_eq!(RaggedAppender::open(&path).err().unwrap().kind(), ErrorKind::Locked);
    for bad in [Options::default().order(npygrow::Order::F), Options::default().mode(npygrow::Mode::Write)] {
        assert_eq!(
            text(bad.open_ragged(&path), ErrorKind::Unsupported),
            "items of different length: expected neither mode \"w\" nor Fortran order"
        );
    }
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(text(RaggedAppender::open(&file), ErrorKind::Io), "expected a folder, found a file");
    let _ = Directory::make(&path).unwrap();
}

/// What a power cut leaves under `process` and `ordered`: the last counts of any file are gone.
#[test]
fn what_lost_counts_is_cut_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    for cut in ["values.npy", "offsets.npy"] {
        let _ = fs::remove_dir_all(&path);
        let mut words = RaggedAppender::open(&path).unwrap();
        for item in 0..5_u16 {
            words.append(&[item; 3]).unwrap();
        }
        words.close().unwrap();
        let mut short = Appender::open(path.join(cut)).unwrap();
        short.truncate(if cut == "values.npy" { 6 } else { 3 }).unwrap();
        short.close().unwrap();
        assert_eq!(items(&path), [[0; 3], [1; 3]]);
        let mut words = RaggedAppender::open(&path).unwrap();
        let dropped = if cut == "values.npy" { (0, 24) } else { (0, 18) };
        assert_eq!(
            (words.len(), words.values_len(), words.dropped().rows, words.dropped().bytes),
            (2, 6, dropped.0, dropped.1)
        );
        assert_eq!(words.append(&[9_u16]).unwrap(), Some(2..3));
        assert_eq!(items(&path), [vec![0; 3], vec![1; 3], vec![9]]);
    }
}

#[test]
fn several_appenders_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    thread::scope(|scope| {
        for who in 0..4_u16 {
            let path = &path;
            scope.spawn(move || {
                let buffering = if who % 2 == 0 { 0 } else { 100 };
                let mut words = Appender::options().turns(true).buffering(buffering).open_ragged(path).unwrap();
                for item in 0..60_u16 {
                    words.append(&vec![who * 100 + item; usize::from(item % 5)]).unwrap();
                }
                words.close().unwrap();
            });
        }
    });
    let all = items(&path);
    assert_eq!(all.len(), 240);
    for who in 0..4_u16 {
        let own: Vec<_> =
            all.iter().filter(|item| item.first().is_some_and(|value| value / 100 == who)).cloned().collect();
        let wrote =
            (0..60_u16).map(|item| vec![who * 100 + item; usize::from(item % 5)]).filter(|item| !item.is_empty());
        assert_eq!(own, Vec::from_iter(wrote), "the items of {who}, in their order");
    }
}

/// A writer that died in its turn: the next one cuts what it left, and goes on with what it holds in memory.
#[test]
fn a_turn_cuts_what_a_dead_one_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    let mut one = Appender::options().turns(true).buffering(1000).open_ragged(&path).unwrap();
    let mut other = Appender::options().turns(true).open_ragged(&path).unwrap();
    assert_eq!(one.append(&[1_u16, 2]).unwrap(), None, "it waits");
    assert_eq!(other.append(&[3_u16]).unwrap(), Some(0..1));
    Appender::options().turns(true).open(path.join("values.npy")).unwrap().append(&[7_u16]).unwrap();
    assert_eq!(one.commit().unwrap(), 1..2);
    assert_eq!((one.dropped().bytes, items(&path)), (2, vec![vec![3], vec![1, 2]]));
}

#[test]
fn items_are_gathered_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    let mut words = Appender::options().buffering(1 << 20).open_ragged(&path).unwrap();
    let item = |item: u64| vec![item as u16; (item * 31 % 5000) as usize];
    for number in 0..3000 {
        words.append(&item(number)).unwrap();
    }
    words.close().unwrap();
    let words = Ragged::open(&path, MAX_HEADER_SIZE).unwrap();
    let wanted: Vec<u64> = (0..4000).map(|at| at * 7919 % 3000).collect();
    let mut out = vec![0; words.sizes(&wanted).unwrap().iter().sum()];
    words.gather_into(&wanted, &mut out).unwrap();
    let expected: Vec<u8> = wanted.iter().flat_map(|&number| item(number)).flat_map(u16::to_le_bytes).collect();
    assert!(out == expected);
    assert_eq!(words.lengths(5..8).unwrap(), [155, 186, 217]);
    assert_eq!(text(words.gather_into(&[1], &mut [0]), ErrorKind::Mismatch), "expected a buffer of 62 bytes, found 1");
    assert_eq!(
        text(words.gather_into(&[3000], &mut []), ErrorKind::Mismatch),
        "expected an item in 0..3000, found 3000"
    );
    let values = fs::File::options().write(true).open(path.join("values.npy")).unwrap();
    values.set_len(1000).unwrap();
    assert!(text(words.gather_into(&wanted, &mut out), ErrorKind::Mismatch).contains("was cut while it was read"));
}

/// From the disk: empty items, twins, neighbours that are read at once, and one that is longer than what is.
#[test]
fn items_are_gathered_from_the_disk() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("words");
    let mut words = Appender::options().buffering(1 << 20).open_ragged(&path).unwrap();
    let item = |item: u64| vec![item as u16; if item == 700 { 300_000 } else { (item * 31 % 5000) as usize }];
    for number in 0..3000 {
        words.append(&item(number)).unwrap();
    }
    words.sync().unwrap();
    words.close().unwrap();
    let all: Vec<u64> = (0..4000).map(|at| at * 7919 % 3000).collect();
    for wanted in [&all[..], &all[..300], &[2999, 0, 700, 699, 700, 0, 701]] {
        crate::gather::forget(&path.join("values.npy"));
        let words = Ragged::open(&path, MAX_HEADER_SIZE).unwrap();
        let mut out = vec![0; words.sizes(wanted).unwrap().iter().sum()];
        words.gather_into(wanted, &mut out).unwrap();
        let expected: Vec<u8> = wanted.iter().flat_map(|&number| item(number)).flat_map(u16::to_le_bytes).collect();
        assert!(out == expected, "{} items", wanted.len());
    }
}

/// As a power cut leaves offsets that were never synced: no value is cut on their word.
#[test]
fn offsets_of_zeros_cut_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    let mut words = RaggedAppender::open(&path).unwrap();
    words.extend_bytes(&[1, 2, 1], &[1, 0, 2, 0, 3, 0, 4, 0]).unwrap_err();
    words.define(&"<u2".parse().unwrap(), &[]).unwrap();
    words.extend_bytes(&[1, 2, 1], &[1, 0, 2, 0, 3, 0, 4, 0]).unwrap();
    words.close().unwrap();
    let offsets = path.join("offsets.npy");
    let mut bytes = fs::read(&offsets).unwrap();
    let end = bytes.len();
    bytes[end - 8..].fill(0);
    fs::write(&offsets, bytes).unwrap();
    for on_tail in [OnTail::Auto, OnTail::Drop] {
        let why = text(Appender::options().on_tail(on_tail).open_ragged(&path), ErrorKind::NeedsRecovery);
        assert!(why.contains("; offsets.npy goes down: call recover(path, tail=\"drop\")"), "{why}");
    }
    assert_eq!(plain(&path), (vec![0, 1, 3, 0], vec![1, 2, 3, 4]));
    text(recover_folder(&path, RecoverOptions::default()), ErrorKind::NeedsRecovery);
    assert_eq!(plain(&path), (vec![0, 1, 3, 0], vec![1, 2, 3, 4]), "nothing is cut");
    assert_eq!(recover_folder(&path, dropping()).unwrap().rows, 2);
    assert_eq!(plain(&path), (vec![0, 1, 3], vec![1, 2, 3]));
}

#[test]
fn what_a_killed_writer_counted_of_no_item_may_be_cut_under_a_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    RaggedAppender::open(&path).unwrap().append(b"npy").unwrap();
    let mut reader = Ragged::open(&path, MAX_HEADER_SIZE).unwrap();
    // It died after the values of an item were counted, and before the item was.
    Appender::open(path.join("values.npy")).unwrap().append(b"torn").unwrap();
    assert_eq!(reader.refresh().unwrap(), 1..1);
    let mut words = RaggedAppender::open(&path).unwrap();
    assert_eq!(reader.refresh().unwrap(), 1..1);
    words.append(b"grow").unwrap();
    assert_eq!(reader.refresh().unwrap(), 1..2);
    assert_eq!(reader.bytes(1).unwrap(), b"grow");
}
