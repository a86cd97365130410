//! `npy import`, as cargo installs it: text, and a word on all that it does not read itself.

use super::Folder;
use npygrow::Reader;
use std::fs;

const HELP: &str = "\
Append rows from CSV, HDF5 or Zarr

Usage: npy import [OPTIONS] <OUT> <SOURCE>...

Arguments:
  <OUT>        The file that grows; made where there is none
  <SOURCE>...  Text, or FILE.h5:/DATASET, or STORE.zarr:/ARRAY; - is text on standard input

Options:
      --mode <append|write|new>
          Continue, replace or only make OUT [default: append]
      --start <ROWS>
          Leave out rows of the first source (HDF5, Zarr) [default: 0]
      --header
          The first line of CSV names the columns
      --dtype <DTYPE>
          The dtype that CSV becomes, or OUT must have
      --row-shape <SHAPE>
          The same for the shape of a row: 3, or 2,3
      --durability <process|ordered|power>
          What published rows survive [default: process]
      --buffering <BYTES>
          Publish when so many bytes wait [default: 1048576]
      --turns
          Hold the lock only while writing: several can append
      --lock-timeout <SECONDS>
          Wait so long for another appender
      --on-tail <auto|keep|drop|error>
          What to do with bytes after the last row [default: auto]
      --json
          Print JSON, a list of objects for several files
      --max-header-size <BYTES>
          Refuse longer headers, as np.load does [default: 10000]
  -h, --help
          Print help

Examples:
  npy import pose.npy run1.h5                 the only dataset of an HDF5 file
  npy import pose.npy run1.h5:/arm/pose run2.h5:/arm/pose
  npy import frames.npy store.zarr:/camera    also store.zip
  npy import table.npy table.csv --header --dtype '<f4' --row-shape 3

HDF5 needs h5py, Zarr needs zarr, both beside the Python package: pip install
npygrow h5py zarr. Rows go in along the source's own chunks, and stay when npy is
interrupted: it says how to go on. CSV is taken as npy append --csv takes it.

Exit status: 0 done; 2 failure, also when lines of CSV were left out.
";

const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";

#[test]
fn help() {
    Folder::new().check(&["import", "--help"], 0, HELP, "");
}

#[test]
fn text_goes_the_way_of_append() {
    let folder = Folder::new();
    folder.write("a.csv", b"v,t\n20.5,1\n20.75,2\n");
    folder.write("b.csv", b"1.5,3\noops,4\n");
    let dtype = "[('t', '<u4'), ('v', '<f4')]";
    let out = "log.npy: 2 rows appended, 2 in all\n";
    folder.check(&["import", "log.npy", "a.csv", "--header", "--dtype", dtype], 0, out, "");
    let err = "error: b.csv: line 1: column 1 (t): expected a value of dtype <u4, found `1.5`\n\
               error: b.csv: line 2: column 1 (t): expected a value of dtype <u4, found `oops`\n";
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
    let err = "error: a.npy: cannot make a new file (mode \"x\"): File exists (os error 17)\n";
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
