//! `npy info`.

use super::Folder;

const PLAIN: &str = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }";
const SCALAR: &str = "{'descr': '<f8', 'fortran_order': False, 'shape': (), }";

#[test]
fn a_clean_file() {
    let folder = Folder::new();
    folder.grown("pose.npy", 1_000, b"");
    let expected = "\
file    pose.npy, 11.8 KiB
shape   (1000, 3)
dtype   <f4
order   C, the first axis grows
rows    1,000, 12 bytes each
header  128 bytes, version 1.0, room to count 9,999,999,999,999,999 rows
health  clean
";
    folder.check(&["info", "pose.npy"], 0, expected, "");
    folder.check(&["info", "--check", "pose.npy"], 0, expected, "");
}

#[test]
fn a_tail() {
    let folder = Folder::new();
    folder.grown("my pose.npy", 2, &[7; 29]);
    let expected = "\
file    my pose.npy, 181 B
shape   (2, 3)
dtype   <f4
order   C, the first axis grows
rows    2 counted, 4 on disk, 12 bytes each
header  128 bytes, version 1.0, room to count 9,999,999,999,999,999 rows
health  tail: 29 bytes after the last row, 2 whole rows among them
note    An append is under way, or was cut short.
call    npy recover 'my pose.npy'              keeps the 2 whole rows, unverified
call    npy recover --tail drop 'my pose.npy'  cuts the 29 bytes
";
    folder.check(&["info", "my pose.npy"], 0, expected, "");
    folder.check(&["info", "--check", "my pose.npy"], 1, expected, "");
}

#[test]
fn a_tail_that_cannot_be_rows() {
    let folder = Folder::new();
    folder.header("one.npy", 128, SCALAR, &[1; 9]);
    let expected = "\
file    one.npy, 137 B
shape   ()
dtype   <f8
order   C
rows    none: one item of 8 bytes
header  128 bytes, version 1.0, no axis to grow along
health  tail: 1 byte after the last row, no whole row among them
note    An append is under way, or was cut short.
call    npy recover --tail drop one.npy  cuts the 1 byte
";
    folder.check(&["info", "one.npy"], 0, expected, "");
}

#[test]
fn truncated_files() {
    let folder = Folder::new();
    folder.grown("cut.npy", 4, b"");
    folder.cut("cut.npy", 128 + 17);
    let expected = "\
file    cut.npy, 145 B
shape   (4, 3)
dtype   <f4
order   C, the first axis grows
rows    4 counted, 1 on disk, 12 bytes each
header  128 bytes, version 1.0, room to count 9,999,999,999,999,999 rows
health  truncated: 1 of 4 rows left, and 5 bytes of a torn one
call    npy recover cut.npy                        goes on with the 1 row left
call    npy recover --zerofill-incomplete cut.npy  completes the torn row with zeros
";
    folder.check(&["info", "cut.npy"], 0, expected, "");

    folder.header("one.npy", 128, SCALAR, b"half");
    let expected = "\
file    one.npy, 132 B
shape   ()
dtype   <f8
order   C
rows    none: one item of 8 bytes
header  128 bytes, version 1.0, no axis to grow along
health  truncated: its one item is not whole, nothing can be recovered
";
    folder.check(&["info", "--check", "one.npy"], 1, expected, "");
}

#[test]
fn headers_of_others() {
    let folder = Folder::new();
    folder.header("tight.npy", 74, PLAIN, &[0; 48]);
    let expected = "\
file    tight.npy, 122 B
shape   (2, 3)
dtype   <f8
order   C, the first axis grows
rows    2, 24 bytes each
header  74 bytes, version 1.0, no room to grow
health  clean
call    npy ensure-appendable tight.npy  makes room to grow
";
    folder.check(&["info", "--check", "tight.npy"], 0, expected, "");

    folder.header("old.npy", 128, "{'descr': '>i2', 'fortran_order': True, 'shape': (3L, 1L), }", b"abcdef");
    let expected = "\
file    old.npy, 134 B
shape   (3, 1)
dtype   >i2
order   F, the last axis grows
rows    1, 6 bytes each
header  128 bytes, version 1.0, room to count 9,999,999,999,999,999 rows
health  clean
note    The header spells a number as 3L, as Python 2 did; np.load reads it with a warning.
";
    folder.check(&["info", "old.npy"], 0, expected, "");
}

#[test]
fn several_arrays_in_one_file() {
    let folder = Folder::new();
    folder.grown("seq.npy", 1, b"\x93NUMPY\x01\0");
    let expected = "\
file    seq.npy, 148 B
shape   (1, 3)
dtype   <f4
order   C, the first axis grows
rows    1, 12 bytes each
header  128 bytes, version 1.0, room to count 9,999,999,999,999,999 rows
health  sequence: another array begins after the last row
arrays  1
array   0  (1, 3)  <f4  C  at offset 0
torn    array 1, at offset 140: cut off within its header: an np.save is under way, or was interrupted
call    npygrow.open_sequence(path)  maps each of them in Python
call    npy concat OUT seq.npy       makes them one array that can grow
call    truncate -s 140 seq.npy      cuts the array that is not whole
";
    folder.check(&["info", "--check", "seq.npy"], 1, expected, "");
    folder.check(&["info", "seq.npy"], 0, expected, "");
    let json = concat!(
        r#"{"path":"seq.npy","shape":[1,3],"dtype":"<f4","order":"C","version":1,"header_len":128,"#,
        r#""room":9999999999999999,"ours":true,"rows":1,"rows_on_disk":1,"row_size":12,"file_size":148,"#,
        r#""health":"sequence","tail_rows":0,"tail_bytes":0,"torn_bytes":0,"notes":[],"#,
        r#""advice":["npygrow.open_sequence(path): maps each of them in Python","#,
        r#""npy concat OUT seq.npy: makes them one array that can grow"],"array_count":1,"#,
        r#""arrays":[{"shape":[1,3],"dtype":"<f4","order":"C","offset":0,"size":140}],"#,
        r#""torn":{"index":1,"offset":140,"bytes":8,"#,
        r#""text":"array 1, at offset 140: cut off within its header: an np.save is under way, or was interrupted"}}"#,
    );
    folder.check(&["info", "--json", "seq.npy"], 0, &format!("{json}\n"), "");
}

#[test]
fn very_many_arrays_in_one_file() {
    let folder = Folder::new();
    folder.header("fortran.npy", 128, "{'descr': '>i2', 'fortran_order': True, 'shape': (), }", b"ab");
    folder.grown("seq.npy", 12, b"");
    let one = std::fs::read(folder.path("seq.npy")).unwrap();
    let other = std::fs::read(folder.path("fortran.npy")).unwrap();
    folder.write("seq.npy", &[&other[..], &one.repeat(1_100), b"\n"].concat());
    let out = folder.command(&["info", "seq.npy"]).output().unwrap();
    let out = String::from_utf8(out.stdout).unwrap();
    let (_, out) = out.split_once("arrays  1,101\n").unwrap();
    assert!(
        out.starts_with("array   0   ()       >i2  F  at offset 0\narray   1   (12, 3)  <f4  C  at offset 130\n"),
        "{out}"
    );
    let end = "\
array   19  (12, 3)  <f4  C  at offset 5026
        and 1,081 more
torn    array 1101, at offset 299330: expected it, or the end of the file, found text; arrays after it cannot be found
call    npygrow.open_sequence(path)  maps each of them in Python
call    npy concat OUT seq.npy       makes them one array that can grow
";
    assert!(out.ends_with(end), "{out}");
    let out = folder.command(&["info", "--json", "seq.npy"]).output().unwrap();
    let facts: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((facts["arrays"].as_array().unwrap().len(), &facts["array_count"]), (1_000, &1_101.into()));
}

#[test]
fn files_that_cannot_be_read() {
    let folder = Folder::new();
    folder.write("page.npy", b"<!doctype html>");
    folder.header("long.npy", 256, PLAIN, &[0; 48]);
    std::fs::create_dir(folder.path("folder")).unwrap();
    for (args, expected) in [
        (
            &["info", "page.npy"][..],
            "error: page.npy: not an .npy file: expected it to begin with \\x93NUMPY, found an HTML or XML page, such as \
             a download's error\n",
        ),
        (&["info", "--check", "none.npy"], "error: none.npy: cannot open: No such file or directory (os error 2)\n"),
        (
            &["info", "folder"],
            "error: folder: expected a folder of columns, found none: no NAME.npy, no folder of items\n",
        ),
        (
            &["info", "--max-header-size", "245", "long.npy"],
            "error: long.npy: the header takes 246 bytes, more than max_header_size=245: raise it if you trust its \
             source\n",
        ),
        // A name must not drive the terminal.
        (&["info", "\x1b[2J\n"], "error: \\u{1b}[2J\\n: cannot open: No such file or directory (os error 2)\n"),
    ] {
        folder.check(args, 2, "", expected);
    }
}

#[test]
fn a_table() {
    let folder = Folder::new();
    folder.grown("a.npy", 1_000, b"");
    folder.grown("数据.npy", 2, &[7; 13]);
    folder.header(
        "records.npy",
        128,
        "{'descr': [('id', '<u4'), ('xyz', '<f8', (3,))], 'fortran_order': False, 'shape': (3,), }",
        &[1; 56],
    );
    folder.write("empty.npy", b"");
    let head = "\
file         shape      dtype                     order  size      health
a.npy        (1000, 3)  <f4                       C      11.8 KiB  clean
数据.npy     (2, 3)     <f4                       C      165 B     tail: 13 bytes after the last row, 1 whole row among them
records.npy  (3,)       [('id', '<u4'), ('xyz',…  C      184 B     truncated: 2 of 3 rows left
";
    let tail = "\n2 of 3 files to mend: npy info FILE says how\n";
    folder.check(&["info", "--check", "a.npy", "数据.npy", "records.npy"], 1, &format!("{head}{tail}"), "");
    folder.check(&["info", "a.npy", "数据.npy", "records.npy"], 0, &format!("{head}{tail}"), "");

    let expected = "\
file       shape      dtype  order  size      health
a.npy      (1000, 3)  <f4    C      11.8 KiB  clean
empty.npy  -          -      -      -         error: not an .npy file: expected it to begin with \\x93NUMPY, found an empty file
";
    folder.check(&["info", "--check", "a.npy", "empty.npy"], 2, expected, "");
}

#[test]
fn json() {
    let folder = Folder::new();
    folder.grown("a \"b\".npy", 2, &[7; 29]);
    folder.header("tight.npy", 74, "{'descr': '<f8', 'fortran_order': True, 'shape': (3L, 2), }", &[0; 29]);
    let tail = concat!(
        r#"{"path":"a \"b\".npy","shape":[2,3],"dtype":"<f4","order":"C","version":1,"header_len":128,"#,
        r#""room":9999999999999999,"ours":true,"rows":2,"rows_on_disk":4,"row_size":12,"file_size":181,"#,
        r#""health":"tail","tail_rows":2,"tail_bytes":29,"torn_bytes":0,"notes":[],"#,
        r#""advice":["npy recover 'a \"b\".npy': keeps the 2 whole rows, unverified","#,
        r#""npy recover --tail drop 'a \"b\".npy': cuts the 29 bytes"]}"#,
    );
    let truncated = concat!(
        r#"{"path":"tight.npy","shape":[3,2],"dtype":"<f8","order":"F","version":1,"header_len":74,"#,
        r#""room":null,"ours":false,"rows":2,"rows_on_disk":1,"row_size":24,"file_size":103,"#,
        r#""health":"truncated","tail_rows":0,"tail_bytes":0,"torn_bytes":5,"#,
        r#""notes":["The header spells a number as 3L, as Python 2 did; np.load reads it with a warning."],"#,
        r#""advice":["npy recover tight.npy: goes on with the 1 row left","#,
        r#""npy recover --zerofill-incomplete tight.npy: completes the torn row with zeros"]}"#,
    );
    let missing = r#"{"path":"none.npy","error":"cannot open: No such file or directory (os error 2)"}"#;
    folder.check(&["info", "--json", "--check", "a \"b\".npy"], 1, &format!("{tail}\n"), "");
    folder.check(&["info", "--json", "tight.npy"], 0, &format!("{truncated}\n"), "");
    folder.check(&["info", "--json", "none.npy"], 2, &format!("{missing}\n"), "");
    let list = format!("[{tail},{missing}]\n");
    folder.check(&["info", "--json", "--check", "a \"b\".npy", "none.npy"], 2, &list, "");
}
