//! `npy import`, as cargo installs it: text, and a word on all that it does not read itself.

use super::Folder;
use npygrow::Reader;
use std::fs;

const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";

#[test]
fn help() {
    let output = Folder::new().command(&["import", "--help"]).output().unwrap();
    let (text, _, status) = super::said(&output);
    assert_eq!(status, Some(0));
    assert_eq!(text, include_str!("import_help.txt"));
}

#[test]
fn text_goes_the_way_of_append() {
    let folder = Folder::new();
    folder.write("a.csv", b"v,t\n20.5,1\n20.75,2\n");
    folder.write("b.csv", b"1.5,3\noops,4\n");
    let dtype = "[('t', '<u4'), ('v', '<f4')]";
    let out = "log.npy: 2 rows appended, 2 in all\n";
    folder.check(&["import", "log.npy", "a.csv", "--header", "--dtype", dtype], 0, out, "");
    let err = "error: b.csv: line 1: column 1: expected a value of dtype <u4, found `1.5`\n\
               error: b.csv: line 2: column 1: expected a value of dtype <u4, found `oops`\n";
    let out = "log.npy: 0 rows appended, 2 in all; 2 lines left out\n";
    folder.check(&["import", "log.npy", "b.csv"], 2, out, err);
    let out = "new.npy: 2 rows appended, 2 in all\n";
    folder.check_fed(b"1,2\n3,4\n", &["import", "new.npy", "-", "--dtype", "<i2", "--row-shape", "2"], 0, out, "");
    let out = "{\"path\":\"new.npy\",\"appended\":1,\"rows\":3,\"dropped_bytes\":0,\"lines_left_out\":0,\
               \"unended_line\":true,\"errors\":[]}\n";
    folder.check_fed(b"5,6", &["import", "new.npy", "-", "--json"], 0, out, "");
    assert_eq!(Reader::open(folder.path("new.npy")).unwrap().rows::<[i16; 2]>(0..3).unwrap(), [[1, 2], [3, 4], [5, 6]]);
}

#[test]
fn modes() {
    let folder = Folder::new();
    folder.grown("a.npy", 3, b"");
    folder.write("a.csv", b"7\n8\n");
    let err = "error: a.npy: already exists: mode New makes a new file only\n";
    let output = folder.command(&["import", "a.npy", "a.csv", "--mode", "new", "--dtype", "|u1"]).output().unwrap();
    assert_eq!(super::said(&output), (String::new(), err.into(), Some(2)));
    let out = "a.npy: 2 rows appended, 2 in all\n";
    folder.check(&["import", "a.npy", "a.csv", "--mode", "write", "--dtype", "|u1"], 0, out, "");
    assert_eq!(Reader::open(folder.path("a.npy")).unwrap().rows::<u8>(0..2).unwrap(), [7, 8]);
}

#[test]
fn what_python_reads_is_said() {
    let folder = Folder::new();
    folder.write("a.h5", HDF5);
    folder.write("b.mat", &[&[b' '; 512], HDF5].concat());
    folder.write("c.zip", b"PK\x03\x04");
    fs::create_dir(folder.path("d.zarr")).unwrap();
    folder.write("d.zarr/.zgroup", b"{}");
    let err = "\
error: a.h5:/x: HDF5 is read by the npy of the Python package: pip install npygrow h5py
error: b.mat: HDF5 is read by the npy of the Python package: pip install npygrow h5py
error: c.zip: Zarr is read by the npy of the Python package: pip install npygrow zarr
error: d.zarr:/g/y: Zarr is read by the npy of the Python package: pip install npygrow zarr
";
    folder.check(&["import", "out.npy", "a.h5:/x", "b.mat", "c.zip", "d.zarr:/g/y"], 2, "", err);
    assert!(!folder.path("out.npy").exists());
}

#[test]
fn what_is_not_imported_is_said() {
    let folder = Folder::new();
    folder.grown("a.npy", 1, b"");
    folder.write("b.npz", b"PK\x03\x04");
    folder.write("c.pkl", b"\x80\x04\x95");
    folder.write("d.csv.gz", b"\x1f\x8b");
    folder.write("e.parquet", b"PAR1");
    folder.write("f.bin", b"1,2\0");
    folder.write("g.csv", b"1\n");
    fs::create_dir(folder.path("folder")).unwrap();
    let names = ["a.npy", "b.npz", "c.pkl", "d.csv.gz", "e.parquet", "f.bin", "g.csv:/x", "folder", "none.h5:/x"];
    let err = "\
error: a.npy: an .npy file: npy append OUT a.npy takes it
error: b.npz: a zip archive: of an .npz, unzip it and npy append OUT its members; of others, open it in Python and call npygrow.append_from(out, array)
error: c.pkl: a pickle, which runs code when it is read: if you trust it, load it in Python and call npygrow.append_from(out, array)
error: d.csv.gz: compressed by gzip: zcat d.csv.gz | npy import OUT - takes text
error: e.parquet: neither text, HDF5 nor Zarr: open it in Python and call npygrow.append_from(out, array)
error: f.bin: neither text, HDF5 nor Zarr: open it in Python and call npygrow.append_from(out, array)
error: g.csv:/x: text has no arrays with names: only HDF5 and Zarr have
error: folder: a folder, but no Zarr store: expected zarr.json, .zgroup or .zarray in it
error: none.h5:/x: cannot open: No such file or directory (os error 2)
";
    folder.check(&[&["import", "out.npy"], &names[..]].concat(), 2, "", err);
    assert!(!folder.path("out.npy").exists());
}

#[test]
fn what_does_not_go_together() {
    let folder = Folder::new();
    folder.write("a.csv", b"1\n");
    folder.write("b.h5", HDF5);
    let err = "error: o.npy: CSV cannot go together with HDF5 or Zarr: import the one, then the others\n";
    folder.check(&["import", "o.npy", "a.csv", "b.h5"], 2, "", err);
    let err = "error: o.npy: --start is for HDF5 and Zarr: of CSV, tail -n +LINE leaves lines out\n";
    folder.check(&["import", "o.npy", "a.csv", "--start", "1"], 2, "", err);
    let err = "error: o.npy: --header, --dtype and --row-shape are for CSV: HDF5 and Zarr say what their rows are\n";
    folder.check(&["import", "o.npy", "b.h5", "--header"], 2, "", err);
    let err = "error: o.npy: there is no such file yet: a new one needs --dtype, and --row-shape where a row is several values\n";
    folder.check(&["import", "o.npy", "a.csv"], 2, "", err);
}
