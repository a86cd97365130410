//! Folders of items and of columns, by every verb that takes them.

use super::print::{line, start};
use super::{Folder, said};
use npygrow::{Appender, ColumnPart, Dataset, DatasetAppender, MAX_HEADER_SIZE, Ragged, RaggedAppender};
use std::thread::sleep;
use std::time::Duration;

const TEXTS: ColumnPart<'_> = ColumnPart::Items { lengths: &[3, 0, 4], values: b"npygrow" };

/// The columns of [`run`] as inputs.
fn inputs(folder: &Folder) {
    Appender::open(folder.path("img.npy")).unwrap().append(&[[0.0_f32, 0.5], [1.0, 1.5], [2.0, 2.5]]).unwrap();
    Appender::open(folder.path("lab.npy")).unwrap().append(&[7_u8, 8, 9]).unwrap();
    Appender::open(folder.path("two.npy")).unwrap().append(&[7_u8, 8]).unwrap();
    words(folder);
}

/// Three items: `npy`, an empty one, `grow`.
fn words(folder: &Folder) {
    let mut words = RaggedAppender::open(folder.path("words")).unwrap();
    words.define(&"|u1".parse().unwrap(), &[]).unwrap();
    words.extend_bytes(&[3, 0, 4], b"npygrow").unwrap();
}

/// Three rows of the columns `label` and `text`.
fn run(folder: &Folder) {
    let mut run = DatasetAppender::open(folder.path("run")).unwrap();
    run.define("label", &"|u1".parse().unwrap(), &[]).unwrap();
    run.define_ragged("text", &"|u1".parse().unwrap(), &[]).unwrap();
    run.append(3, &[("label", ColumnPart::Rows(&[7, 8, 9])), ("text", TEXTS)]).unwrap();
}

#[test]
fn rows_of_columns() {
    let folder = Folder::new();
    run(&folder);
    let rows = ["(label=7, text=[110 112 121])\n", "(label=8, text=[])\n", "(label=9, text=[103 114 111 119])\n"];
    folder.check(&["head", "run"], 0, &rows.concat(), "");
    folder.check(&["head", "-n", "1", "run/"], 0, rows[0], "");
    folder.check(&["tail", "-n", "2", "run"], 0, &rows[1..].concat(), "");
    folder.check(&["slice", "run", "::-2"], 0, &[rows[2], rows[0]].concat(), "");
    folder.check(&["slice", "run", "-1", "--json"], 0, "{\"label\":9,\"text\":[103,114,111,119]}\n", "");
    folder.check(&["follow", "--timeout", "0.05", "run"], 0, "", "");
}

#[test]
fn items() {
    let folder = Folder::new();
    words(&folder);
    folder.check(&["head", "words"], 0, "[110 112 121]\n[]\n[103 114 111 119]\n", "");
    folder.check(&["tail", "--json", "-n", "2", "words"], 0, "[]\n[103,114,111,119]\n", "");
    let mut boxes = RaggedAppender::open(folder.path("boxes")).unwrap();
    boxes.append(&[[0.5_f32, 1.0], [1.5, 2.0]]).unwrap();
    folder.check(&["slice", "boxes", "0"], 0, "[[0.5 1.0] [1.5 2.0]]\n", "");
}

#[test]
fn columns_of_one_size_make_csv() {
    let folder = Folder::new();
    inputs(&folder);
    folder.check(&["append", "run", "label=lab.npy", "image=img.npy"], 0, "run: 3 rows appended, 3 in all\n", "");
    let expected = "image[0],image[1],label\n0.0,0.5,7\n1.0,1.5,8\n";
    folder.check(&["head", "-n2", "--csv", "--header", "run"], 0, expected, "");
    folder.check(&["head", "-n1", "run"], 0, "(image=[0.0 0.5], label=7)\n", "");
}

#[test]
fn what_cannot_be_printed() {
    let folder = Folder::new();
    run(&folder);
    words(&folder);
    std::fs::create_dir(folder.path("empty")).unwrap();
    for (args, expected) in [
        (&["head", "--csv", "run"][..], "run: column text: items of different length make no CSV: --json prints them"),
        (&["head", "--csv", "words"], "words: items of different length make no CSV: --json prints them"),
        (
            &["slice", "--raw", "run", ":"],
            "run: --raw prints the bytes of one file: name one in the folder, such as run/label.npy",
        ),
        (&["slice", "run", ":,1"], "run: expected a slice of the rows alone, as a folder is no array, found 2 parts"),
        (&["slice", "words", "3"], "words: expected an index of the 3 rows, found 3"),
        (&["tail", "empty"], "empty: expected a folder of columns, found none: no NAME.npy, no folder of items"),
        (
            &["head", "--max-header-size", "9", "words"],
            "words: offsets.npy: the header takes 118 bytes, more than max_header_size=9: raise it if you trust its source",
        ),
    ] {
        folder.check(args, 2, "", &format!("error: {expected}\n"));
    }
}

#[test]
fn rows_are_printed_as_they_come() {
    let folder = Folder::new();
    run(&folder);
    let (mut npy, mut out) = start(&folder, &["tail", "-f", "-n", "1", "run"]);
    assert_eq!(line(&mut out), "(label=9, text=[103 114 111 119])\n");
    let mut writer = DatasetAppender::open(folder.path("run")).unwrap();
    let text = ColumnPart::Items { lengths: &[1], values: b"!" };
    writer.append(1, &[("label", ColumnPart::Rows(&[10])), ("text", text)]).unwrap();
    assert_eq!(line(&mut out), "(label=10, text=[33])\n");
    drop(writer);
    // By another program, and the file that is counted last first.
    Appender::open(folder.path("run/text/offsets.npy")).unwrap().append(&[10_i64]).unwrap();
    Appender::open(folder.path("run/label.npy")).unwrap().append(&[11_u8]).unwrap();
    sleep(Duration::from_millis(50));
    Appender::open(folder.path("run/text/values.npy")).unwrap().append(b"ab").unwrap();
    assert_eq!(line(&mut out), "(label=11, text=[97 98])\n");
    // One column that is ahead by a row after the other has come.
    let mut labels = Appender::open(folder.path("run/label.npy")).unwrap();
    labels.append(&[12_u8, 13]).unwrap();
    let mut text = RaggedAppender::open(folder.path("run/text")).unwrap();
    text.append(b"c").unwrap();
    assert_eq!(line(&mut out), "(label=12, text=[99])\n");
    text.append(b"d").unwrap();
    assert_eq!(line(&mut out), "(label=13, text=[100])\n");
    npy.kill().unwrap();
    npy.wait().unwrap();
}

#[test]
fn columns_that_come_with_the_first_row() {
    let folder = Folder::new();
    let mut first = Appender::open(folder.path("a.npy")).unwrap();
    first.define(&"|u1".parse().unwrap(), &[]).unwrap();
    first.append(&[0_u8; 0]).unwrap();
    let (mut npy, mut out) = start(&folder, &["follow", "--csv", "--header", "."]);
    // Time to see one column alone: what it prints does not depend on it.
    sleep(Duration::from_millis(50));
    Appender::open(folder.path("b.npy")).unwrap().append(&[2_u8]).unwrap();
    first.append(&[1_u8]).unwrap();
    assert_eq!([line(&mut out), line(&mut out)], ["a,b\n", "1,2\n"]);
    npy.kill().unwrap();
    npy.wait().unwrap();
}

#[test]
fn a_folder_that_is_replaced_ends_it() {
    let folder = Folder::new();
    words(&folder);
    let (npy, mut out) = start(&folder, &["tail", "-f", "-n1", "words"]);
    assert_eq!(line(&mut out), "[103 114 111 119]\n");
    std::fs::remove_file(folder.path("words/offsets.npy")).unwrap();
    let expected =
        "error: words: offsets.npy: the file was replaced, renamed or deleted while it was followed: open it again\n";
    assert_eq!(said(&npy.wait_with_output().unwrap()), (String::new(), expected.into(), Some(2)));
}

#[test]
fn columns_are_appended() {
    let folder = Folder::new();
    inputs(&folder);
    let args = ["append", "run", "image=img.npy", "text=words", "label=lab.npy"];
    folder.check(&args, 0, "run: 3 rows appended, 3 in all\n", "");
    let json = concat!(
        r#"{"path":"run","appended":3,"rows":6,"dropped_bytes":0,"lines_left_out":0,"unended_line":false,"errors":[]}"#,
        "\n"
    );
    folder.check(&[&args[..], &["--json", "--durability", "power"]].concat(), 0, json, "");
    folder.check(&["append", "run", "run", "run", "--turns"], 0, "run: 12 rows appended, 18 in all\n", "");
    folder.check(&["append", "more", "words", "words"], 0, "more: 6 items appended, 6 in all\n", "");
    folder.check(&["append", "more", "words"], 0, "more: 3 items appended, 9 in all\n", "");
    folder.check(&["slice", "run", "5"], 0, "(image=[2.0 2.5], label=9, text=[103 114 111 119])\n", "");
    assert_eq!(Ragged::open(folder.path("more"), MAX_HEADER_SIZE).unwrap().item::<u8>(8).unwrap(), b"grow");
    assert_eq!(Dataset::open(folder.path("run"), MAX_HEADER_SIZE).unwrap().len(), 18);
}

#[test]
fn columns_that_do_not_fit() {
    let folder = Folder::new();
    inputs(&folder);
    run(&folder);
    folder.header("wide.npy", 128, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", &[0; 6]);
    for (args, expected) in [
        (
            &["run", "label=two.npy", "text=words"][..],
            "run: expected as many rows for every column, found label 2, text 3",
        ),
        (&["run", "label=lab.npy"], "run: expected every column, text missing"),
        (
            &["run", "label=lab.npy", "text=words", "id=lab.npy"],
            "run: there is no column id: the columns are settled by the first append, and are label, text",
        ),
        (
            &["run", "label=img.npy", "text=words"],
            "img.npy: expected dtype |u1, rows of shape () as in run/label.npy, found dtype <f4, rows of shape (2,)",
        ),
        (
            &["run", "label=words", "text=words"],
            "run: column label: expected items of different length, found rows of one size",
        ),
        (&["run", "label=none.npy", "text=words"], "none.npy: cannot open: No such file or directory (os error 2)"),
        (&["run", "lab.npy"], "lab.npy: expected NAME=FILE, or folders like OUT alone"),
        (
            &["run", "-", "--csv"],
            "run: --csv, --dtype and --row-shape are for a file: a folder takes NAME=FILE for each column",
        ),
        (&["run", "words"], "run: it is a folder of columns: say which the items are for, NAME=FOLDER"),
        (&["words", "run"], "words: it is a folder of items: expected folders of items, found columns"),
        (&["new", "a=lab.npy", "b=two.npy"], "new: expected as many rows for every column, found a 3, b 2"),
        (&["new", "a=wide.npy"], "wide.npy: expected C order, as a new column has, found Fortran order"),
        (&["new.npy", "a=lab.npy"], "a=lab.npy: cannot open: No such file or directory (os error 2)"),
        (
            &["new", "a/b=lab.npy"],
            "new: expected the name of a column, which becomes a file's, found \"a/b\": it must not be empty, begin with a \
             dot or have slashes",
        ),
    ] {
        folder.check(&[&["append"], args].concat(), 2, "", &format!("error: {expected}\n"));
    }
    assert!(!folder.path("new").exists() && !folder.path("new.npy").exists());
    folder.check(&["tail", "-n1", "run"], 0, "(label=9, text=[103 114 111 119])\n", "");
    folder.check(&["info", "--check", "run"], 0, INFO, "");
}

const INFO: &str = "\
folder  run, 426 B
rows    3
column  label  (3,)                 |u1  clean
column  text   7 values in 3 items  |u1  clean
health  clean
";

#[test]
fn what_folders_are() {
    let folder = Folder::new();
    run(&folder);
    words(&folder);
    folder.grown("a.npy", 2, b"");
    folder.check(&["info", "run"], 0, INFO, "");
    let items = "\
folder  words, 295 B
items   3
values  7 values in 3 items
dtype   |u1
health  clean
";
    folder.check(&["info", "words"], 0, items, "");
    let table = "\
file   shape    dtype        order  size   health
run    3 rows   label, text  -      426 B  clean
words  3 items  |u1          -      295 B  clean
a.npy  (2, 3)   <f4          C      152 B  clean
";
    folder.check(&["info", "run", "words", "a.npy"], 0, table, "");
    let json = concat!(
        r#"{"path":"words","rows":3,"columns":[{"name":"","rows":3,"values":{"shape":[7],"dtype":"|u1","order":"C","#,
        r#""rows":7,"rows_on_disk":7,"file_size":135,"health":"clean","notes":[]},"offsets":{"shape":[4],"dtype":"<i8","#,
        r#""order":"C","rows":4,"rows_on_disk":4,"file_size":160,"health":"clean","notes":[]}}],"health":"clean","#,
        r#""advice":[]}"#,
        "\n"
    );
    folder.check(&["info", "--json", "words"], 0, json, "");
}

#[test]
fn uneven_columns_are_mended() {
    let folder = Folder::new();
    run(&folder);
    folder.check(&["truncate", "run/label.npy", "2"], 0, "run/label.npy: 1 row cut, 2 left\n", "");
    folder.cut("run/text/values.npy", 128 + 6);
    let info = "\
folder  run, 424 B
rows    2
column  label  (2,)                 |u1  clean
column  text   7 values in 2 items  |u1  values truncated: 6 of 7 rows left; offsets of 3 items, 2 of them whole
health  uneven
note    An append is under way or was cut short, or a file was changed alone.
call    npy recover run  goes on with the 2 rows that all files have
";
    folder.check(&["info", "--check", "run"], 1, info, "");
    let call =
        "text/values.npy: the header counts 7 rows, the file holds 6: call npy recover run to go on with what is left";
    folder.check(&["head", "run"], 2, "", &format!("error: run: {call}\n"));
    folder.check(&["append", "run", "run"], 2, "", &format!("error: run: {call}\n"));
    let mended = "run: 2 rows kept\n  text/values.npy: 6 rows kept; 1 row lost\n  text/offsets.npy: 1 item cut that the values \
                  do not reach, or after one that goes down\n";
    folder.check(&["recover", "run"], 0, mended, "");
    folder.check(&["recover", "run"], 0, "run: 2 rows, nothing to mend\n", "");
    folder.check(&["tail", "run"], 0, "(label=7, text=[110 112 121])\n(label=8, text=[])\n", "");

    folder.check(&["truncate", "run/label.npy", "1"], 0, "run/label.npy: 1 row cut, 1 left\n", "");
    let mended = "run: 1 row kept\n  text: 1 row cut that other columns do not have\n";
    folder.check(&["recover", "run"], 0, mended, "");
    folder.check(&["recover", "run"], 0, "run: 1 row, nothing to mend\n", "");
    let untouched = |rows| {
        format!(
            r#"{{"rows_before":{rows},"rows":{rows},"from_tail":0,"zero_rows":0,"zero_run":0,"lost":0,"cut":0,"filled":0}}"#
        )
    };
    let json = format!(
        r#"{{"path":"run","rows":1,"columns":[{{"name":"label","held":1,"cut":0,"values":{0},"offsets":null}},{{"name":"text","held":1,"cut":0,"values":{1},"offsets":{2}}}]}}"#,
        untouched(1),
        untouched(3),
        untouched(2)
    );
    folder.check(&["recover", "--json", "run"], 0, &format!("{json}\n"), "");
}

#[test]
fn offsets_that_do_not_fit_the_values() {
    let folder = Folder::new();
    words(&folder);
    Appender::open(folder.path("words/values.npy")).unwrap().append(b"more").unwrap();
    let info = |size, items, values, note| {
        format!(
            "folder  words, {size} B\nitems   {items}\nvalues  {values} values in {items} items\ndtype   |u1\n\
             health  uneven\nnote    {note}\n\
             note    An append is under way or was cut short, or a file was changed alone.\n\
             call    npy recover words  goes on with the {items} items that all files have\n"
        )
    };
    folder.check(&["info", "words"], 0, &info(299, 3, 11, "values that no item has"), "");
    let mended = "words: 3 items kept\n  values.npy: 4 values cut that no item has\n";
    folder.check(&["recover", "words"], 0, mended, "");
    folder.check(&["recover", "words"], 0, "words: 3 items, nothing to mend\n", "");

    Appender::open(folder.path("words/offsets.npy")).unwrap().append(&[5_i64, 7]).unwrap();
    folder.check(&["info", "words"], 0, &info(311, 3, 7, "offsets of 5 items, 3 of them whole"), "");
    let found = "expected files that go together, found values.npy of 7 values, offsets.npy of 5 items: call npy recover --tail \
                 drop words to go on with the 3 items that all have, and lose the others";
    folder.check(&["recover", "words"], 2, "", &format!("error: words: {found}\n"));
    let mended =
        "words: 3 items kept\n  offsets.npy: 2 items cut that the values do not reach, or after one that goes down\n";
    folder.check(&["recover", "--tail", "drop", "words"], 0, mended, "");
    folder.check(&["info", "--check", "words", "words"], 0, TWICE, "");
}

const TWICE: &str = "\
file   shape    dtype  order  size   health
words  3 items  |u1    -      295 B  clean
words  3 items  |u1    -      295 B  clean
";

#[test]
fn rows_are_cut_from_every_column() {
    let folder = Folder::new();
    run(&folder);
    words(&folder);
    folder.check(&["truncate", "run", "1"], 0, "run: 2 rows cut, 1 left\n", "");
    folder.check(&["truncate", "run", "1"], 0, "run: 1 row, nothing to cut\n", "");
    folder.check(&["head", "run"], 0, "(label=7, text=[110 112 121])\n", "");
    let json = "{\"path\":\"words\",\"rows\":2,\"rows_cut\":1,\"dropped_bytes\":0}\n";
    folder.check(&["truncate", "--json", "words", "2"], 0, json, "");
    folder.check(&["truncate", "words", "3"], 2, "", "error: words: cannot truncate to 3 items: there are 2\n");
    folder.check(&["info", "--check", "run", "words"], 0, TRUNCATED, "");
    std::fs::create_dir(folder.path("empty")).unwrap();
    let expected = "error: empty: expected a folder of columns, found none: no NAME.npy, no folder of items\n";
    folder.check(&["truncate", "empty", "0"], 2, "", expected);
}

const TRUNCATED: &str = "\
file   shape    dtype        order  size   health
run    1 row    label, text  -      404 B  clean
words  2 items  |u1          -      283 B  clean
";

#[test]
fn folders_are_joined() {
    let folder = Folder::new();
    run(&folder);
    words(&folder);
    folder.check(&["concat", "all", "run", "run"], 0, "all: 6 rows of 2 folders joined, 6 in all\n", "");
    folder.check(&["slice", "all", "3"], 0, "(label=7, text=[110 112 121])\n", "");
    let json = "{\"path\":\"items\",\"rows\":6,\"rows_before\":0,\"inputs\":2,\"shared\":0,\"tails\":[]}\n";
    folder.check(&["concat", "--json", "items", "words", "words"], 0, json, "");
    folder.check(&["tail", "-n1", "items"], 0, "[103 114 111 119]\n", "");
    for (args, expected) in [
        (
            &["all", "words"][..],
            "all: cannot join into a new folder (on_exists: error; append adds to it, replace replaces it): File exists (os \
             error 17)",
        ),
        (
            &["--append", "all", "words"],
            "words: expected the columns label, text (ragged) as in all, found items of different length",
        ),
        (&["new", "none", "run"], "none: cannot open the folder: No such file or directory (os error 2)"),
        (&["new", "run", "--consume"], "new: --consume is for files: folders are joined whole, row after row"),
    ] {
        folder.check(&[&["concat"], args].concat(), 2, "", &format!("error: {expected}\n"));
    }
    assert!(!folder.path("new").exists());
    folder.check(&["head", "-n1", "all"], 0, "(label=7, text=[110 112 121])\n", "");
    folder.check(&["concat", "--append", "all", "run"], 0, "all: 3 rows of 1 folder joined, 9 in all\n", "");
    folder.check(&["concat", "--replace", "all", "run"], 0, "all: 3 rows of 1 folder joined, 3 in all\n", "");
}

#[test]
fn rows_that_can_be_read_are_cut_when_asked_to() {
    let folder = Folder::new();
    run(&folder);
    let offsets = folder.path("run/text/offsets.npy");
    std::fs::write(&offsets, foreign(&[0, 3])).unwrap();
    let found = "expected files that go together, found label.npy of 3 rows, text/values.npy of 7 values, text/offsets.npy of 1 \
                 item; the header of text/offsets.npy is another program's: call npy recover --tail drop run to go on with the \
                 1 row that all have, and lose the others";
    folder.check(&["recover", "run"], 2, "", &format!("error: run: {found}\n"));
    folder.check(&["tail", "-n1", "run/label.npy"], 0, "9\n", "");
    let mended = "run: 1 row kept\n  label: 2 rows cut that other columns do not have\n  text/values.npy: 4 values cut that no \
                  item has\n";
    folder.check(&["recover", "--tail", "drop", "run"], 0, mended, "");
}

/// A file as NumPy makes it, of these numbers.
fn foreign(numbers: &[i64]) -> Vec<u8> {
    let dict = format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({},), }}", numbers.len());
    let mut file = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    file.extend(format!("{dict:<117}\n").bytes());
    file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    file
}
