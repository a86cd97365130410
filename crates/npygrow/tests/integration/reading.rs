//! Reading row ranges, by copy and by mapping, from files that grow, shrink and lie.

use crate::support::{fails, foreign, numpy, on_disk, ours, values};
use npygrow::{Access, Appender, MAX_HEADER_SIZE, Options, Order, Reader, View};
use std::fs;

#[test]
fn ranges() {
    let (_folder, path) = on_disk();
    for file in [ours(&[0, 1, 2, 3]), numpy(&[0, 1, 2, 3])] {
        fs::write(&path, file).unwrap();
        let reader = Reader::open(&path).unwrap();
        let view = View::open(&path, MAX_HEADER_SIZE).unwrap();
        for start in 0..=4 {
            for end in start..=4 {
                let expected: Vec<u32> = (start as u32..end as u32).collect();
                assert_eq!(reader.rows::<u32>(start..end).unwrap(), expected);
                assert_eq!(view.values::<u32>().unwrap()[start as usize..end as usize], expected);
            }
        }
        let text = |result: npygrow::Result<Vec<u32>>| result.unwrap_err().detail();
        assert_eq!(text(reader.rows(3..5)), "expected rows in 0..4, found 3..5");
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = 3..2;
        assert_eq!(text(reader.rows(reversed)), "expected rows in 0..4, found 3..2");
        assert_eq!(
            reader.read_into(0..2, &mut [0; 7]).unwrap_err().to_string(),
            format!("{}: expected a buffer of 8 bytes, found 7", path.display())
        );
        assert_eq!(
            reader.rows::<f32>(0..1).unwrap_err().detail(),
            "expected values of dtype <u4, found <f4 (f32): convert them first"
        );
        assert_eq!(view.values::<i32>(), None);
    }
}

#[test]
fn rows_of_other_shapes() {
    let (_folder, path) = on_disk();
    let options = Options::default().dtype("|u1".parse().unwrap()).row_shape([2, 3]).order(Order::F);
    options.open(&path).unwrap().append_bytes(&Vec::from_iter(0..12)).unwrap();
    let reader = Reader::open(&path).unwrap();
    assert_eq!((reader.shape(), reader.row_size(), reader.len()), (&[2, 3, 2][..], 6, 2));
    assert_eq!(reader.rows::<[u8; 6]>(1..2).unwrap(), [[6, 7, 8, 9, 10, 11]]);
    assert_eq!(reader.rows::<[u8; 3]>(1..2).unwrap(), [[6, 7, 8], [9, 10, 11]]);
    let error = reader.rows::<[u8; 4]>(1..2).unwrap_err();
    assert_eq!(error.detail(), "6 bytes of rows are no whole number of [u8; 4]");

    fs::write(&path, foreign("{'descr': '|b1', 'fortran_order': False, 'shape': (4,), }", 128, &[0x0201_0001]))
        .unwrap();
    let error = Reader::open(&path).unwrap().rows::<bool>(0..4).unwrap_err();
    assert_eq!(error.detail(), "the file holds bytes that are no bool");
    assert_eq!(View::open(&path, MAX_HEADER_SIZE).unwrap().values::<bool>(), None);
}

#[test]
fn what_is_not_whole_is_not_read() {
    let (_folder, path) = on_disk();
    let whole = ours(&[1, 2, 3]);
    for (held, bytes) in [(2, 139), (0, 128)] {
        fs::write(&path, &whole[..bytes]).unwrap();
        let expected = format!(
            "NeedsRecovery: the header counts 3 rows, the file holds {held}: call recover(path) to go on with what is left"
        );
        fails(Reader::open(&path).map(drop), &expected);
        fails(View::open(&path, MAX_HEADER_SIZE).map(drop), &expected);
        assert_eq!(fs::read(&path).unwrap(), whole[..bytes], "reading repairs nothing");
    }
    for tail in [&[9, 9][..], &numpy(&[4])] {
        fs::write(&path, [&whole[..], tail].concat()).unwrap();
        assert_eq!(values(&path), [1, 2, 3], "what is not counted is not read");
        assert_eq!(View::open(&path, MAX_HEADER_SIZE).unwrap().values::<u32>(), Some(&[1, 2, 3][..]));
    }
    fs::remove_file(&path).unwrap();
    let missing = "Io: cannot open: No such file or directory (os error 2)";
    fails(Reader::open(&path).map(drop), missing);
    fails(View::open(&path, MAX_HEADER_SIZE).map(drop), missing);
}

#[test]
fn refresh_follows_one_file() {
    let (folder, path) = on_disk();
    let mut appender = Appender::open(&path).unwrap();
    appender.append(&[1_u32, 2]).unwrap();
    let mut reader = Reader::open(&path).unwrap();
    let mut view = View::open(&path, MAX_HEADER_SIZE).unwrap();
    let old = view.clone();
    assert_eq!((reader.refresh().unwrap(), view.refresh().unwrap()), (2..2, 2..2));
    appender.append(&[3_u32]).unwrap();
    assert_eq!((reader.refresh().unwrap(), view.refresh().unwrap()), (2..3, 2..3));
    assert_eq!((old.values::<u32>().unwrap(), view.values::<u32>().unwrap()), (&[1, 2][..], &[1, 2, 3][..]));

    fs::rename(&path, folder.path().join("old")).unwrap();
    fs::write(&path, ours(&[7])).unwrap();
    appender.append(&[4_u32]).unwrap();
    assert_eq!((reader.refresh().unwrap(), view.refresh().unwrap()), (3..4, 3..4), "the file, not the name");

    appender.truncate(1).unwrap();
    let shorter = format!("{}: the file was replaced or cut while it was read: open it again", path.display());
    assert_eq!(reader.refresh().unwrap_err().to_string(), shorter);
    assert_eq!(view.refresh().unwrap_err().to_string(), shorter);
    assert_eq!(reader.rows::<u32>(0..1).unwrap(), [1]);
}

#[test]
fn files_without_bytes_are_mapped_too() {
    let (_folder, path) = on_disk();
    for (descr, shape) in [("<f8", [0, 3]), ("<f8", [5, 0]), ("|S0", [4, 2])] {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}, {}), }}", shape[0], shape[1]);
        fs::write(&path, foreign(&header, 128, &[])).unwrap();
        let view = View::open(&path, MAX_HEADER_SIZE).unwrap();
        assert_eq!((view.shape(), view.bytes()), (&shape[..], &[][..]));
        assert_eq!(Reader::open(&path).unwrap().len(), shape[0]);
    }
}

#[test]
fn a_bookmark_shows_the_same_rows_of_the_same_file() {
    let (folder, path) = on_disk();
    let mut appender = Appender::open(&path).unwrap();
    appender.append(&[1_u32, 2]).unwrap();
    let bookmark = View::open(&path, MAX_HEADER_SIZE).unwrap().bookmark().unwrap();
    appender.append(&[3_u32]).unwrap();
    let mut view = bookmark.open().unwrap();
    assert_eq!((view.shape(), view.values::<u32>()), (&[2][..], Some(&[1, 2][..])));
    assert_eq!(view.bookmark().unwrap(), bookmark);
    assert_eq!(view.refresh().unwrap(), 2..3);
    assert_eq!(view.first(3).unwrap().first(1).unwrap().values::<u32>(), Some(&[1][..]));

    appender.truncate(1).unwrap();
    fails(bookmark.open().map(drop), "Mismatch: expected rows in 0..1, found 0..2");
    drop(appender);
    let copy = folder.path().join("copy");
    fs::copy(&path, &copy).unwrap();
    fs::rename(copy, &path).unwrap();
    fails(bookmark.open().map(drop), "Mismatch: the file was replaced since its array was sent here: open it again");
    fs::remove_file(&path).unwrap();
    fails(bookmark.open().map(drop), "Io: cannot open: No such file or directory (os error 2)");
}

#[test]
fn values_are_changed_in_the_file_or_in_a_copy() {
    let (_folder, path) = on_disk();
    fs::write(&path, ours(&[1, 2])).unwrap();
    let put = |view: &View| {
        let first = view.as_mut_ptr().unwrap();
        // SAFETY: the mapping holds eight bytes, and nothing borrows them.
        #[allow(unsafe_code)]
        unsafe {
            *first = 9;
        }
    };
    let mut private = View::open_with(&path, Access::Copy, MAX_HEADER_SIZE).unwrap();
    put(&private);
    private.flush().unwrap();
    assert_eq!((private.values::<u32>().unwrap(), values(&path)), (&[9, 2][..], vec![1, 2]));
    fails(private.refresh().map(drop), "Mismatch: a private copy does not grow with its file: open it again");
    fails(private.bookmark().map(drop), "Mismatch: a private copy cannot be sent to another process: send its values");
    let shared = View::open_with(&path, Access::Write, MAX_HEADER_SIZE).unwrap();
    put(&shared);
    shared.flush().unwrap();
    assert_eq!(values(&path), [9, 2]);
    assert_eq!(View::open(&path, MAX_HEADER_SIZE).unwrap().as_mut_ptr(), None);
}

#[test]
fn a_count_is_believed_once_the_file_holds_its_rows() {
    let (_folder, path) = on_disk();
    fs::write(&path, numpy(&[1, 2])).unwrap();
    let mut reader = Reader::open(&path).unwrap();
    let mut view = View::open(&path, MAX_HEADER_SIZE).unwrap();
    let more = numpy(&[1, 2, 3]);
    fs::write(&path, &more[..more.len() - 1]).unwrap();
    assert_eq!((reader.refresh().unwrap(), view.refresh().unwrap()), (2..2, 2..2));
    fs::write(&path, &more).unwrap();
    assert_eq!((reader.refresh().unwrap(), view.refresh().unwrap()), (2..3, 2..3));
    fs::write(&path, &more[..more.len() - 1]).unwrap();
    let cut = "Mismatch: the file was replaced or cut while it was read: open it again";
    fails(reader.refresh().map(drop), cut);
    fails(view.refresh().map(drop), cut);
}
