//! Headers as NumPy, other tools and bad luck write them. What is expected comes from NumPy (`testdata/golden`) and from
//! the format (`testdata/hostile`), never from this crate.

use npygrow::{ErrorKind, Health, Order, Reader, inspect};
use npygrow_testkit::golden::{self, Answer, Golden, MAX_HEADER_SIZE};
use std::fs;

/// The limit that lets `file` in: the default wherever that is enough.
fn limit(file: &Golden) -> u64 {
    file.expected.text_len().max(MAX_HEADER_SIZE)
}

/// Collects what fails for each file, so that one run names them all.
#[track_caller]
fn check<T>(files: impl IntoIterator<Item = T>, test: impl Fn(&T) -> Result<(), String>) {
    let (mut all, mut wrong) = (0, Vec::new());
    for file in files {
        all += 1;
        wrong.extend(test(&file).err());
    }
    assert!(all > 0, "no files to check");
    assert!(wrong.is_empty(), "{} of {all} files:\n{}", wrong.len(), wrong.join("\n"));
}

fn same<T: PartialEq + std::fmt::Debug>(name: &str, what: &str, found: &T, wanted: &T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{name}: {what}: {found:?}, NumPy says {wanted:?}")) }
}

#[test]
fn every_file_is_listed() {
    let golden: Vec<_> = golden::golden().into_iter().map(|file| file.name).collect();
    let hostile: Vec<_> = golden::hostile().into_iter().map(|file| file.name).collect();
    assert_eq!(golden::names_on_disk("golden"), golden);
    assert_eq!(golden::names_on_disk("hostile"), hostile);
}

#[test]
fn inspect_says_what_numpy_reads() {
    check(golden::golden(), |file| {
        let (name, expected) = (&file.name, &file.expected);
        let report = inspect(&file.path, limit(file)).map_err(|error| error.to_string())?;
        let order = if expected.fortran_order { Order::F } else { Order::C };
        same(name, "descr", &report.dtype.descr(), &expected.descr)?;
        same(name, "itemsize", &report.dtype.itemsize(), &expected.itemsize)?;
        same(name, "order", &report.order, &order)?;
        same(name, "shape", &report.shape, &expected.shape)?;
        same(name, "header", &report.header_len, &expected.header_len)?;
        same(name, "version", &report.version, &expected.version)?;
        same(name, "size", &report.file_size, &(expected.header_len + expected.data_len() + expected.after))?;
        same(name, "rows", &report.rows, &expected.rows())
    });
}

#[test]
fn inspect_tells_whole_files_from_sequences_and_tails() {
    check(golden::golden(), |file| {
        let report = inspect(&file.path, limit(file)).map_err(|error| error.to_string())?;
        let right = match (file.expected.after, file.name.contains("/sequence_")) {
            (0, _) => matches!(report.health, Health::Clean),
            (_, true) => matches!(report.health, Health::Sequence),
            (_, false) => matches!(report.health, Health::Tail { .. }),
        };
        if right { Ok(()) } else { Err(format!("{}: {:?}", file.name, report.health)) }
    });
}

#[test]
fn spellings_that_numpy_cannot_load_are_noted() {
    check(golden::golden().into_iter().filter(|file| file.expected.read_by == "python"), |file| {
        let report = inspect(&file.path, limit(file)).map_err(|error| error.to_string())?;
        if report.notes.is_empty() { Err(format!("{}: no note", file.name)) } else { Ok(()) }
    });
}

#[test]
fn own_headers_are_known_from_foreign_ones() {
    check(golden::golden(), |file| {
        let report = inspect(&file.path, limit(file)).map_err(|error| error.to_string())?;
        let ours = file.name.starts_with("by-hand/npygrow_");
        if report.ours == ours { Ok(()) } else { Err(format!("{}: ours is {}", file.name, report.ours)) }
    });
}

#[test]
fn headers_over_the_default_limit_are_refused_as_numpy_does() {
    let long = |file: &Golden| file.expected.text_len() > MAX_HEADER_SIZE;
    check(golden::golden().into_iter().filter(long), |file| {
        assert!(!file.expected.loads, "{}: NumPy loads it", file.name);
        match inspect(&file.path, MAX_HEADER_SIZE) {
            Err(error) if error.kind() == ErrorKind::OverLimit && error.to_string().contains("max_header_size") => {
                Ok(())
            }
            other => Err(format!("{}: {other:?}", file.name)),
        }
    });
}

#[test]
fn reader_gives_the_bytes_that_numpy_wrote() {
    // `Reader::open` keeps the default limit.
    let readable = |file: &Golden| limit(file) == MAX_HEADER_SIZE;
    check(golden::golden().into_iter().filter(readable), |file| {
        let reader = Reader::open(&file.path).map_err(|error| error.to_string())?;
        let size = usize::try_from(file.expected.data_len()).unwrap();
        let mut bytes = vec![0; size];
        reader.read_into(0..file.expected.rows(), &mut bytes).map_err(|error| error.to_string())?;
        same(&file.name, "data", &golden::sha256(&bytes), &file.expected.sha256)
    });
}

#[test]
fn hostile_files_get_a_kind_they_deserve() {
    check(golden::hostile(), |file| {
        let answer = Answer::of(file);
        if file.deserves.contains(&answer.kind) {
            return Ok(());
        }
        Err(format!("{}\n    deserves {}", answer.line(), file.deserves.join(" or ")))
    });
}

#[test]
fn hostile_files_get_the_reviewed_text() {
    let found: String = golden::hostile().iter().map(|file| Answer::of(file).line() + "\n").collect();
    let diff = golden::line_diff(&golden::reviewed_answers(), &found);
    assert!(diff.is_empty(), "errors.txt (-) and the library (+) differ:\n{diff}{}", golden::REGENERATE);
}

#[test]
fn readers_refuse_what_inspect_refuses() {
    check(golden::hostile(), |file| match (inspect(&file.path, MAX_HEADER_SIZE), Reader::open(&file.path)) {
        (Err(_), Ok(_)) => Err(format!("{}: Reader opens it", file.name)),
        (Err(a), Err(b)) if a.kind() != b.kind() => {
            Err(format!("{}: {:?}, Reader {:?}", file.name, a.kind(), b.kind()))
        }
        _ => Ok(()),
    });
}

#[test]
fn every_cut_and_every_changed_byte_of_a_header_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    for name in
        ["np1.26.4-py3.11/struct_titles.npy", "np1.19.5-py3.6/name_utf_8.npy", "np2.0.2-py3.9/shape_np_int64.npy"]
    {
        let whole = fs::read(golden::testdata().join("golden").join(name)).unwrap();
        let header = usize::try_from(inspect_bytes(&path, &whole).unwrap().header_len).unwrap();
        for cut in 0..header {
            assert!(inspect_bytes(&path, &whole[..cut]).is_err(), "{name}: {cut} bytes pass for a header");
        }
        // Some changes give another valid header; none may panic or ask for memory without end.
        for at in 0..header {
            for byte in [0, b'(', b'\'', b'9', whole[at] ^ 0x80] {
                let mut changed = whole.clone();
                changed[at] = byte;
                let _ = inspect_bytes(&path, &changed);
            }
        }
    }
}

fn inspect_bytes(path: &std::path::Path, bytes: &[u8]) -> npygrow::Result<npygrow::Report> {
    fs::write(path, bytes).unwrap();
    inspect(path, MAX_HEADER_SIZE)
}
