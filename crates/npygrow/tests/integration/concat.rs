//! Joining files: what comes out, what is refused, and that nothing half-made is left.

use crate::support::{fails, foreign, le, names, no_room, numpy, on_disk, ours, values};
use npygrow::{
    Appender, ConcatOptions, Error, ErrorKind, Joined, MAX_HEADER_SIZE, OnExists, Order, Reader, Result, concat,
    concat_with,
};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, Vec<u8>)]) -> Self {
        let this = Folder(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, bytes)| fs::write(this.path(name), bytes).unwrap());
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn join(&self, inputs: &[&str], options: &ConcatOptions) -> Result<Joined> {
        let inputs: Vec<_> = inputs.iter().map(|name| self.path(name)).collect();
        concat_with(&inputs, self.path("rows.npy"), options, &mut |_, _| Ok(()))
    }

    fn names(&self) -> Vec<String> {
        names(self.0.path())
    }

    fn values(&self) -> Vec<u32> {
        values(&self.path("rows.npy"))
    }

    /// Refused with this text, in which `/` stands for the folder, and nothing has changed.
    #[track_caller]
    fn refuses(&self, inputs: &[&str], options: &ConcatOptions, expected: &str) {
        let before: Vec<_> = self.names().into_iter().map(|name| (fs::read(self.path(&name)).unwrap(), name)).collect();
        let error = self.join(inputs, options).unwrap_err();
        let text = error.to_string().replace(&format!("{}/", self.0.path().display()), "/");
        assert_eq!(format!("{:?}: {text}", error.kind()), expected);
        let after: Vec<_> = self.names().into_iter().map(|name| (fs::read(self.path(&name)).unwrap(), name)).collect();
        assert!(before == after, "something changed");
    }
}

fn options() -> ConcatOptions {
    ConcatOptions::default()
}

fn append() -> ConcatOptions {
    options().on_exists(OnExists::Append)
}

fn three_kinds() -> Folder {
    Folder::new(&[
        ("a.npy", ours(&[0, 1])),
        ("b.npy", numpy(&[2])),
        ("none.npy", ours(&[])),
        ("c.npy", no_room(&[3, 4])),
    ])
}

/// A file of any dtype and shape, with NumPy's header and these bytes.
fn file(dtype: &str, shape: &str, fortran: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': {dtype}, 'fortran_order': {fortran}, 'shape': {shape}, }}");
    let mut bytes = foreign(&text, 128, &[]);
    bytes.extend(data);
    bytes
}

#[test]
fn joins_files_of_all_makes_into_a_new_one() {
    let folder = three_kinds();
    let mut told = Vec::new();
    let inputs = ["a.npy", "b.npy", "none.npy", "c.npy", "a.npy"].map(|name| folder.path(name));
    let joined = concat_with(&inputs, folder.path("rows.npy"), &options(), &mut |done, all| {
        told.push((done, all));
        Ok(())
    });
    let Joined { shape, rows, rows_before, inputs, inputs_before, shared, tails, .. } = joined.unwrap();
    assert_eq!((shape, rows, rows_before, inputs, inputs_before, shared, tails), (vec![7], 7, 0, 5, 0, 0, vec![]));
    assert_eq!(told, [(8, 28), (12, 28), (20, 28), (28, 28)]);
    assert_eq!(folder.values(), [0, 1, 2, 3, 4, 0, 1]);
    assert_eq!(Appender::open(folder.path("rows.npy")).unwrap().append(&[9_u32]).unwrap(), Some(7..8));
    assert_eq!(folder.names(), ["a.npy", "b.npy", "c.npy", "none.npy", "rows.npy"]);
}

#[test]
fn appends_replaces_or_refuses() {
    let folder = three_kinds();
    fs::write(folder.path("rows.npy"), ours(&[7])).unwrap();
    folder.refuses(
        &["a.npy"],
        &options(),
        "Io: /rows.npy: cannot join into a new file (on_exists: error; append adds to it, replace replaces it): File exists \
         (os error 17)",
    );
    let joined = folder.join(&["a.npy", "c.npy"], &append()).unwrap();
    assert_eq!((joined.rows_before, joined.rows), (1, 5));
    assert_eq!(folder.values(), [7, 0, 1, 3, 4]);
    let joined = folder.join(&["b.npy"], &options().on_exists(OnExists::Replace)).unwrap();
    assert_eq!((joined.rows_before, joined.rows), (0, 1));
    assert_eq!(folder.values(), [2]);
    for way in [OnExists::Error, OnExists::Append, OnExists::Replace] {
        fs::write(folder.path("rows.npy"), b"").unwrap();
        folder.join(&["none.npy"], &options().on_exists(way)).unwrap();
        assert!(folder.values().is_empty());
        fs::remove_file(folder.path("rows.npy")).unwrap();
        folder.join(&["b.npy"], &options().on_exists(way)).unwrap();
        assert_eq!(folder.values(), [2]);
    }
    folder.0.close().unwrap();
}

#[test]
fn a_foreign_output_is_adopted_or_named() {
    let folder = three_kinds();
    fs::write(folder.path("rows.npy"), numpy(&[7])).unwrap();
    folder.join(&["a.npy"], &append()).unwrap();
    assert_eq!(folder.values(), [7, 0, 1]);
    fs::write(folder.path("rows.npy"), no_room(&[7])).unwrap();
    folder.refuses(
        &["a.npy"],
        &append(),
        "NotAppendable: /rows.npy: the header has no room for a growing count: call ensure_appendable(path)",
    );
}

#[test]
fn every_input_that_does_not_fit_is_named_before_a_byte_is_written() {
    let mut files = vec![
        ("a.npy", ours(&[0, 1])),
        ("dtype.npy", file("'<f8'", "(1,)", "False", &[0; 8])),
        ("shape.npy", file("'<u4'", "(1, 2)", "True", &[0; 8])),
        ("scalar.npy", file("'<u4'", "()", "False", &[0; 4])),
        ("cut.npy", ours(&[1, 2, 3])[..136].to_vec()),
        ("sequence.npy", [numpy(&[1]), file("'<u4'", "()", "False", &[0; 4])].concat()),
        ("moving.npy", [b"\x93NPYGROW".as_slice(), &[0; 200]].concat()),
        ("text.npy", b"a,b\n".to_vec()),
    ];
    let folder = Folder::new(&files);
    let all = ["a.npy", "dtype.npy", "shape.npy", "scalar.npy", "cut.npy", "sequence.npy", "moving.npy", "no.npy"];
    folder.refuses(
        &all,
        &options(),
        "Mismatch: /rows.npy: 7 of 8 inputs cannot be joined: /scalar.npy: the array has no axes: expected at least one axis \
         to grow along, found shape (); /cut.npy: the header counts 3 rows, the file holds 2: call recover(path) to go on \
         with what is left; /sequence.npy: array 1: the array has no axes: expected at least one axis to grow along, found \
         shape (); /moving.npy: a move of its rows in place is under way or was interrupted: open it with Appender, or call \
         recover(path), to finish it; /no.npy: cannot open: No such file or directory (os error 2); /dtype.npy: expected \
         dtype <u4 as in /a.npy, found dtype <f8; /shape.npy: expected rows of shape () as in /a.npy, found rows of \
         shape (2,)",
    );
    let text = "Mismatch: /dtype.npy: expected dtype <u4 as in /a.npy, found dtype <f8";
    folder.refuses(&["a.npy", "dtype.npy", "a.npy"], &options(), text);
    folder.refuses(&["no.npy"], &options(), "Io: /no.npy: cannot open: No such file or directory (os error 2)");
    folder.refuses(&[], &options(), "Mismatch: /rows.npy: expected at least one input, found none");
    let gone = "cannot open: No such file or directory (os error 2)";
    let text = format!("Io: /rows.npy: 2 of 3 inputs cannot be joined: /no.npy: {gone}; /nor.npy: {gone}");
    folder.refuses(&["no.npy", "a.npy", "nor.npy"], &options(), &text);

    let many: Vec<_> = (0..14).map(|n| format!("f{n}.npy")).collect();
    files.extend(many.iter().map(|name| (&**name, file("'<f8'", "(0,)", "False", &[]))));
    let folder = Folder::new(&files);
    let inputs: Vec<_> = ["a.npy"].into_iter().chain(many.iter().map(|name| &**name)).collect();
    let error = folder.join(&inputs, &options()).unwrap_err().to_string();
    assert!(error.contains("14 of 15 inputs"), "{error}");
    assert!(error.ends_with("found dtype <f8; and 4 more"), "{error}");
    assert_eq!(error.matches("expected dtype").count(), 10);
}

#[test]
fn the_output_is_no_input() {
    let folder = three_kinds();
    folder.join(&["a.npy"], &options()).unwrap();
    fs::hard_link(folder.path("rows.npy"), folder.path("hard.npy")).unwrap();
    std::os::unix::fs::symlink("rows.npy", folder.path("soft.npy")).unwrap();
    for way in [OnExists::Append, OnExists::Replace] {
        for name in ["rows.npy", "hard.npy", "soft.npy"] {
            let text = format!("Mismatch: /{name}: the output is among the inputs");
            folder.refuses(&["a.npy", name], &options().on_exists(way), &text);
        }
    }
}

#[test]
fn a_tail_is_left_out_and_told() {
    let folder = Folder::new(&[("a.npy", [ours(&[1]), le(&[2]), vec![7; 3]].concat()), ("b.npy", ours(&[3]))]);
    let joined = folder.join(&["a.npy", "b.npy"], &options()).unwrap();
    assert_eq!(joined.tails, [(folder.path("a.npy"), 7)]);
    assert_eq!(folder.values(), [1, 3]);
    folder.refuses(
        &["a.npy"],
        &append().consume(true),
        "NeedsRecovery: /a.npy: 7 bytes after the last row would be lost with the file: call recover(path) first, to keep or \
         to drop them",
    );
}

#[test]
fn a_progress_that_fails_leaves_nothing_behind() {
    let folder = three_kinds();
    let stop = |folder: &Folder, options: &ConcatOptions| {
        let inputs = ["a.npy", "b.npy"].map(|name| folder.path(name));
        concat_with(&inputs, folder.path("rows.npy"), options, &mut |done, _| {
            if done > 8 { Err(Error::new(ErrorKind::Io, "stopped")) } else { Ok(()) }
        })
    };
    fails(stop(&folder, &options()), "Io: stopped");
    assert_eq!(folder.names(), ["a.npy", "b.npy", "c.npy", "none.npy"]);
    fs::write(folder.path("rows.npy"), ours(&[7])).unwrap();
    let before = fs::read(folder.path("rows.npy")).unwrap();
    for way in [OnExists::Append, OnExists::Replace] {
        let error = stop(&folder, &options().on_exists(way)).unwrap_err();
        assert!(error.detail().starts_with("stopped"), "{error}");
        assert!(fs::read(folder.path("rows.npy")).unwrap() == before);
    }
}

#[test]
fn one_column_and_no_column_are_of_either_order() {
    let bytes = le(&[1, 2, 3]);
    let folder = Folder::new(&[
        ("one.npy", file("'<u4'", "(3, 1)", "False", &bytes)),
        ("none.npy", file("'<u4'", "(3, 0)", "False", &[])),
        ("two.npy", file("'<u4'", "(3, 2)", "True", &le(&[4, 5, 6, 7, 8, 9]))),
        ("c.npy", file("'<u4'", "(2, 3)", "False", &le(&[4, 5, 6, 7, 8, 9]))),
    ]);
    let joined = folder.join(&["one.npy", "none.npy", "two.npy", "one.npy"], &options()).unwrap();
    assert_eq!(joined.shape, [3, 4]);
    let reader = Reader::open(folder.path("rows.npy")).unwrap();
    assert_eq!(
        (reader.order(), reader.rows::<u32>(0..4).unwrap()),
        (Order::F, vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3])
    );
    folder.refuses(
        &["two.npy", "c.npy"],
        &options().on_exists(OnExists::Replace),
        "Mismatch: /c.npy: expected F order as in /two.npy, found C order",
    );
}

#[test]
fn joins_along_any_axis() {
    // Shapes (2, n, 2) in both orders; the piece of an input in a turn is n * 2 values in C order.
    let c = |start: u32, n: u32| {
        file("'<u4'", &format!("(2, {n}, 2)"), "False", &le(&Vec::from_iter(start..start + 4 * n)))
    };
    let folder = Folder::new(&[
        ("a.npy", c(0, 1)),
        ("b.npy", c(100, 2)),
        ("none.npy", c(0, 0)),
        ("f.npy", file("'<u4'", "(2, 1)", "True", &le(&[1, 2]))),
    ]);
    let replace = options().on_exists(OnExists::Replace);
    for axis in [1, -2] {
        let joined = folder.join(&["a.npy", "none.npy", "b.npy"], &replace.clone().axis(axis)).unwrap();
        assert_eq!(joined.shape, [2, 3, 2]);
        let rows = Reader::open(folder.path("rows.npy")).unwrap().rows::<u32>(0..2).unwrap();
        assert_eq!(rows, [0, 1, 100, 101, 102, 103, 2, 3, 104, 105, 106, 107]);
    }
    for axis in [0, -3] {
        assert_eq!(folder.join(&["a.npy", "a.npy"], &replace.clone().axis(axis)).unwrap().shape, [4, 1, 2]);
    }
    let text = "Mismatch: /b.npy: expected shape (2, 1, 2) but for axis 2 as in /a.npy, found shape (2, 2, 2)";
    folder.refuses(&["a.npy", "b.npy"], &replace.clone().axis(2), text);
    for axis in [3, -4] {
        let text = format!("Mismatch: /rows.npy: axis {axis} is out of bounds: /a.npy has 3 axes");
        folder.refuses(&["a.npy"], &replace.clone().axis(axis), &text);
    }
    folder.refuses(
        &["a.npy"],
        &append().axis(1),
        "Mismatch: /rows.npy: axis 1 is not the one that grows: join into a new file",
    );
    folder.refuses(
        &["a.npy"],
        &replace.axis(1).consume(true),
        "Mismatch: /rows.npy: consume joins along the growth axis: expected no axis beside it",
    );
}

/// Turns of more than a block, of pieces large and small.
#[test]
fn long_turns_are_joined_piece_by_piece() {
    let numbers = |start: u32, n: u32| Vec::from_iter((0..2 * n).map(|i| start + i));
    let c = |start, n: u32| file("'<u4'", &format!("(2, {n})"), "False", &le(&numbers(start, n)));
    let folder = Folder::new(&[("a.npy", c(0, 600_000)), ("b.npy", c(5_000_000, 3)), ("d.npy", c(9_000_000, 60_000))]);
    let names = ["b.npy", "a.npy", "d.npy", "b.npy"];
    assert_eq!(folder.join(&names, &options().axis(1)).unwrap().shape, [2, 660_006]);
    let rows = Reader::open(folder.path("rows.npy")).unwrap().rows::<u32>(0..2).unwrap();
    let mut expected: Vec<u32> = Vec::new();
    for turn in 0..2 {
        for (start, n) in [(5_000_000, 3), (0, 600_000), (9_000_000, 60_000), (5_000_000, 3)] {
            expected.extend(&numbers(start, n)[(turn * n) as usize..((turn + 1) * n) as usize]);
        }
    }
    assert!(rows == expected);
}

#[test]
fn an_appender_holds_the_output_or_an_input_to_consume() {
    let folder = three_kinds();
    folder.join(&["a.npy"], &options()).unwrap();
    let held = Appender::open(folder.path("rows.npy")).unwrap();
    assert_eq!(folder.join(&["a.npy"], &append()).unwrap_err().kind(), ErrorKind::Locked);
    drop(held);
    let held = Appender::open(folder.path("b.npy")).unwrap();
    let error = folder.join(&["a.npy", "b.npy"], &append().consume(true)).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Locked, folder.path("b.npy").to_str()));
    assert_eq!(folder.names(), ["a.npy", "b.npy", "c.npy", "none.npy", "rows.npy"]);
    assert_eq!(folder.join(&["b.npy"], &append()).unwrap().rows, 3, "to read it no lock is needed");
    drop(held);
}

#[test]
fn consumes_its_inputs() {
    let folder = three_kinds();
    let joined = folder.join(&["a.npy", "none.npy", "c.npy"], &options().consume(true)).unwrap();
    assert_eq!((joined.rows, joined.inputs), (4, 3));
    assert_eq!((folder.names(), folder.values()), (vec!["b.npy".into(), "rows.npy".into()], vec![0, 1, 3, 4]));
    folder.refuses(
        &["b.npy", "b.npy"],
        &append().consume(true),
        "Mismatch: /b.npy: the same file twice: it can be consumed once",
    );
    assert_eq!(folder.join(&["b.npy"], &append().consume(true)).unwrap().rows, 5);
    assert_eq!((folder.names(), folder.values()), (vec!["rows.npy".into()], vec![0, 1, 3, 4, 2]));
    fs::write(folder.path("d.npy"), ours(&[8])).unwrap();
    folder.join(&["d.npy"], &options().consume(true).on_exists(OnExists::Replace)).unwrap();
    assert_eq!((folder.names(), folder.values()), (vec!["rows.npy".into()], vec![8]));
}

#[test]
fn the_docs_example_in_one_folder() {
    let (folder, path) = on_disk();
    let input: &Path = &folder.path().join("a.npy");
    npygrow::save(input, &[[1_u16, 2]]).unwrap();
    assert_eq!(concat(&[input], &path).unwrap().shape, [1, 2]);
    assert_eq!(npygrow::inspect(&path, MAX_HEADER_SIZE).unwrap().room, Some(npygrow::MAX_ROWS));
}

/// As several `np.save` calls into one open file leave them.
#[test]
fn the_arrays_of_a_sequence_are_joined_in_order() {
    let arrays = [numpy(&[1, 2]), ours(&[]), numpy(&[3]), ours(&[4, 5])];
    let folder = Folder::new(&[("seq.npy", arrays.concat()), ("one.npy", ours(&[0]))]);
    let joined = folder.join(&["one.npy", "seq.npy", "one.npy"], &options()).unwrap();
    assert_eq!((joined.inputs, joined.rows, folder.values()), (6, 7, vec![0, 1, 2, 3, 4, 5, 0]));
    folder.join(&["seq.npy"], &append()).unwrap();
    assert_eq!(folder.values(), [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]);

    let wide = |shape, values: &[u8]| file("'|u1'", shape, "False", values);
    let folder = Folder::new(&[("seq.npy", [wide("(2, 1)", &[1, 4]), wide("(2, 2)", &[2, 3, 5, 6])].concat())]);
    folder.join(&["seq.npy"], &options().axis(1)).unwrap();
    let reader = Reader::open(folder.path("rows.npy")).unwrap();
    assert_eq!((reader.shape(), reader.rows::<[u8; 3]>(0..2).unwrap()), (&[2, 3][..], vec![[1, 2, 3], [4, 5, 6]]));
}

#[test]
fn a_sequence_that_does_not_fit_is_refused_array_by_array() {
    let torn = [numpy(&[1]), numpy(&[2])[..100].to_vec()].concat();
    let mixed =
        [numpy(&[1]), file("'<f8'", "(1,)", "False", &[0; 8]), numpy(&[2]), file("'<u4'", "()", "False", &[0; 4])];
    let typed = [&mixed[..3], &[file("'<f4'", "(1,)", "False", &[0; 4])]].concat();
    let junk = [numpy(&[1]), numpy(&[2]), b"junk and more junk".to_vec()].concat();
    let folder = Folder::new(&[
        ("torn.npy", torn),
        ("mixed.npy", mixed.concat()),
        ("typed.npy", typed.concat()),
        ("junk.npy", junk),
        ("ours.npy", [ours(&[1]), ours(&[2])].concat()),
    ]);
    folder.refuses(
        &["torn.npy"],
        &options(),
        "NeedsRecovery: /torn.npy: array 1, at offset 132: cut off within its header: an np.save is under way, or was \
         interrupted; os.truncate(path, 132) removes it",
    );
    folder.refuses(
        &["mixed.npy"],
        &options(),
        "NotAppendable: /mixed.npy: array 3: the array has no axes: expected at least one axis to grow along, found shape ()",
    );
    folder.refuses(
        &["typed.npy"],
        &options(),
        "Mismatch: /rows.npy: 2 of 4 inputs cannot be joined: /typed.npy: array 1: expected dtype <u4 as in /typed.npy, found \
         dtype <f8; /typed.npy: array 3: expected dtype <u4 as in /typed.npy, found dtype <f4",
    );
    folder.refuses(
        &["junk.npy"],
        &options(),
        "NotNpy: /junk.npy: array 2, at offset 264: expected it, or the end of the file, found text; arrays after it cannot \
         be found",
    );
    folder.refuses(
        &["ours.npy"],
        &options().consume(true),
        "Unsupported: /ours.npy: several arrays in one file can be joined, but not consumed: delete it afterwards",
    );
}
