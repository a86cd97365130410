//! Files of several arrays: which are found, where they end, and what grows.

use crate::support::{Disk, NAME, fails, foreign, le, no_room, numpy, on_disk, ours};
use npygrow::storage::Memory;
use npygrow::{
    Access, Appender, ErrorKind, Header, Health, MAX_HEADER_SIZE, Part, Parts, Result, Sequence, Torn, View,
};
use npygrow_testkit::faulty::{Call, Fault};
use npygrow_testkit::golden;
use std::fs;
use std::io::Write;
use std::path::Path;

fn open(path: &Path) -> Result<Sequence> {
    Sequence::open(path, MAX_HEADER_SIZE)
}

/// A sequence over these files, one behind the other.
fn over(path: &Path, files: &[Vec<u8>]) -> Sequence {
    fs::write(path, files.concat()).unwrap();
    open(path).unwrap()
}

fn add(path: &Path, bytes: &[u8]) {
    fs::File::options().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn values(sequence: &Sequence) -> Vec<Vec<u32>> {
    let count = sequence.len().unwrap();
    (0..count).map(|index| sequence.get(index).unwrap().values::<u32>().unwrap().to_vec()).collect()
}

/// `kind: text` of what the arrays of `file` end with, from the path, from any storage, and as the last item of each iterator.
#[track_caller]
fn torn(file: &[u8]) -> Option<String> {
    let (_folder, path) = on_disk();
    let sequence = over(&path, &[file.to_vec()]);
    let torn = sequence.torn().unwrap();
    let text = torn.as_ref().map(|torn| format!("{:?}: {}", torn.kind, torn.error().detail()));
    for part in [Parts::of(&Memory::from(file.to_vec()), MAX_HEADER_SIZE).unwrap().last(), sequence.parts().last()] {
        match (part, &torn) {
            (Some(Err(error)), Some(torn)) => assert_eq!(error.detail(), torn.error().detail()),
            (part, torn) => assert!(torn.is_none() && part.is_none_or(|part| part.is_ok()), "{torn:?}"),
        }
    }
    if let Some(Torn { index, offset, bytes, .. }) = torn {
        assert_eq!((index, offset + bytes), (sequence.len().unwrap(), file.len() as u64));
        fails(sequence.get(index).map(drop), text.as_deref().unwrap());
        let mut views = sequence.iter();
        assert!(views.by_ref().take(index as usize).all(|view| view.is_ok()));
        fails(views.next().unwrap().map(drop), text.as_deref().unwrap());
        assert!(views.next().is_none());
    }
    text
}

#[test]
fn arrays_of_all_kinds_lie_behind_each_other() {
    let (_folder, path) = on_disk();
    let scalar = foreign("{'descr': '<u4', 'fortran_order': False, 'shape': (), }", 80, &[7]);
    let fortran = foreign("{'descr': '>u2', 'fortran_order': True, 'shape': (2, 3), }", 97, &[1, 2, 3]);
    let no_rows = foreign("{'descr': '<u4', 'fortran_order': False, 'shape': (0, 5), }", 128, &[]);
    let files = [numpy(&[1, 2]), scalar, fortran, no_rows, no_room(&[3]), ours(&[4, 5])];
    let sequence = over(&path, &files);
    let shapes: Vec<_> = sequence.iter().map(|view| view.unwrap().shape().to_vec()).collect();
    assert_eq!(shapes, [&[2][..], &[], &[2, 3], &[0, 5], &[1], &[2]]);
    assert_eq!((sequence.len().unwrap(), sequence.torn().unwrap()), (6, None));
    assert_eq!(sequence.get(1).unwrap().bytes(), le(&[7]));
    assert_eq!(sequence.get(2).unwrap().bytes(), le(&[1, 2, 3]));
    let fresh = open(&path).unwrap();
    assert!(fresh.iter().all(|view| view.unwrap().health() == Health::Clean));
    assert_eq!(sequence.get(5).unwrap().bytes(), le(&[4, 5]));
    fails(sequence.get(6).map(drop), "Mismatch: expected an array in 0..6, found 6");
    fails(sequence.get(u64::MAX).map(drop), "Mismatch: expected an array in 0..6, found 18446744073709551615");

    let mut offset = 0;
    for (part, file) in sequence.parts().zip(&files) {
        let Part { offset: found, size, header, .. } = part.unwrap();
        let expected = Header::parse(&file[..header.len as usize]).unwrap();
        assert_eq!((found, size, header), (offset, file.len() as u64, expected));
        offset += size;
    }
}

#[test]
fn one_array_is_a_sequence_of_one_and_grows() {
    let (_folder, path) = on_disk();
    let mut appender = Appender::open(&path).unwrap();
    appender.append(&[1_u32]).unwrap();
    let sequence = open(&path).unwrap();
    appender.append(&[2_u32]).unwrap();
    assert_eq!(values(&sequence), [[1, 2]]);
    let mut view = sequence.get(0).unwrap();
    // Past what one page holds, so that an index that kept the old end would take rows for junk.
    appender.append(&[3_u32; 5000]).unwrap();
    assert_eq!((view.refresh().unwrap(), sequence.refresh().unwrap()), (2..5002, 1..1));
    assert_eq!((sequence.len().unwrap(), sequence.torn().unwrap()), (1, None));
    drop(appender);
    add(&path, &[7; 6]);
    assert_eq!((sequence.refresh().unwrap(), sequence.torn().unwrap()), (1..1, None));
    assert_eq!(sequence.get(0).unwrap().health(), Health::Tail { rows: 1, bytes: 6 });
    let grown = fs::read(&path).unwrap();
    assert_eq!(torn(&grown), None);
    assert!(torn(&[numpy(&[1]), grown].concat()).is_some(), "what grows is alone in its file");
}

#[test]
fn refresh_tells_of_what_was_saved_since() {
    let (_folder, path) = on_disk();
    let sequence = over(&path, &[]);
    assert_eq!((sequence.len().unwrap(), sequence.is_empty().unwrap()), (0, true));
    for array in [[1], [2], [3]] {
        add(&path, &numpy(&array));
    }
    assert_eq!(sequence.len().unwrap(), 0);
    assert_eq!((sequence.refresh().unwrap(), sequence.refresh().unwrap()), (0..3, 3..3));
    assert_eq!(values(&sequence), [[1], [2], [3]]);

    // What was there when it was opened is old, though nobody asked for it.
    let sequence = open(&path).unwrap();
    add(&path, &numpy(&[4]));
    assert_eq!((sequence.refresh().unwrap(), sequence.len().unwrap()), (3..4, 4));

    // An array on its way is there once it is whole.
    let next = numpy(&[5, 6]);
    let mut seen = Vec::new();
    for (at, byte) in next.iter().enumerate() {
        add(&path, &[*byte]);
        seen.extend(sequence.refresh().unwrap());
        let torn = sequence.torn().unwrap();
        assert_eq!(torn.map(|torn| (torn.index, torn.bytes)), (at + 1 < next.len()).then_some((4, at as u64 + 1)));
    }
    assert_eq!((seen, values(&sequence).last().unwrap()), (vec![4], &vec![5, 6]));
}

#[test]
fn a_file_replaced_or_cut_is_named() {
    let (_folder, path) = on_disk();
    let replaced = "Mismatch: the file was replaced or cut while it was read: open it again";
    for changed in [numpy(&[1]), vec![0; 1000], [numpy(&[1]), vec![b' '; 1000]].concat(), Vec::new()] {
        let sequence = over(&path, &[numpy(&[1]), numpy(&[2])]);
        assert_eq!(sequence.len().unwrap(), 2);
        fs::write(&path, &changed).unwrap();
        fails(sequence.refresh(), replaced);
        assert_eq!(sequence.len().unwrap(), 2);
        assert!(sequence.get(1).is_err());
        fs::write(&path, [numpy(&[1]), numpy(&[2]), numpy(&[3])].concat()).unwrap();
        assert_eq!(sequence.refresh().unwrap(), 2..3);
    }
}

#[test]
fn rows_cut_from_the_last_array_are_named() {
    let (_folder, path) = on_disk();
    let sequence = over(&path, &[ours(&[1, 2])]);
    assert_eq!(sequence.len().unwrap(), 1);
    Appender::open(&path).unwrap().truncate(1).unwrap();
    fails(sequence.refresh(), "Mismatch: the file was replaced or cut while it was read: open it again");
}

#[test]
fn iterating_ends_with_the_first_error() {
    let (_folder, path) = on_disk();
    let sequence = over(&path, &[numpy(&[1]), numpy(&[2]), numpy(&[3])]);
    assert_eq!(sequence.len().unwrap(), 3);
    fs::write(&path, numpy(&[1])).unwrap();
    let views: Vec<_> = sequence.iter().map(|view| view.is_ok()).collect();
    assert_eq!(views, [true, false]);
    let error = sequence.get(1).map(drop).unwrap_err();
    assert!(error.to_string().ends_with("; array 1, at offset 132"), "{error}");
}

#[test]
fn an_array_cut_off_anywhere_leaves_those_before_it() {
    let (_folder, path) = on_disk();
    let (first, second) = (numpy(&[1]), numpy(&[2, 3]));
    for held in 1..second.len() {
        let sequence = over(&path, &[first.clone(), second[..held].to_vec()]);
        assert_eq!(values(&sequence), [[1]], "{held} bytes");
        let torn = sequence.torn().unwrap().unwrap();
        assert_eq!((torn.kind, torn.index, torn.offset, torn.bytes), (ErrorKind::NeedsRecovery, 1, 132, held as u64));
        let sequence = over(&path, &[second[..held].to_vec()]);
        assert_eq!((sequence.len().unwrap(), sequence.torn().unwrap().unwrap().kind), (0, ErrorKind::NeedsRecovery));
    }
}

#[test]
fn what_ends_the_arrays_is_told() {
    let save = "an np.save is under way, or was interrupted";
    let lost = "arrays after it cannot be found";
    let after = |rest: &[u8]| torn(&[numpy(&[1]), rest.to_vec()].concat()).unwrap();
    let header = |text: &str| foreign(text, 128, &[1, 2]);
    let cut = |place: &str| {
        format!("NeedsRecovery: array 1, at offset 132: cut off {place}: {save}; os.truncate(path, 132) removes it")
    };
    assert_eq!(after(&numpy(&[1])[..3]), cut("within its header"));
    assert_eq!(after(&numpy(&[1])[..100]), cut("within its header"));
    assert_eq!(after(&numpy(&[1, 2, 3])[..137]), cut("after 137 of its 140 bytes"));
    assert_eq!(
        torn(&numpy(&[1, 2, 3])[..137]).unwrap(),
        format!(
            "NeedsRecovery: array 0, at offset 0: cut off after 137 of its 140 bytes: {save}; inspect(path) says what is left"
        )
    );
    for (junk, name) in [
        (&[0; 60][..], "zeros"),
        (b"\x80\x04\x95\x01", "a Python pickle"),
        (b"PK\x03\x04", "an .npz or zip archive"),
        (b"\n", "text"),
        (&[7; 5000], "unknown binary data"),
    ] {
        let expected =
            format!("NotNpy: array 1, at offset 132: expected it, or the end of the file, found {name}; {lost}");
        assert_eq!(after(junk), expected);
    }
    assert_eq!(after(&[&[0; 60], &numpy(&[2])[..]].concat()), after(&[0; 60]));
    assert_eq!(
        after(&header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }")),
        format!(
            "Unsupported: array 1, at offset 132: descr: `|O` holds Python objects, whose data is a pickle, not rows of \
             bytes: if you trust it, read it with np.load(allow_pickle=True) and save it with a plain dtype; {lost}"
        )
    );
    for (shape, text) in [
        (
            "(9223372036854775807,)",
            "OverLimit: array 1, at offset 132: 9223372036854775807 rows of 4 bytes pass 9223372036854775807 bytes",
        ),
        (
            "[1]",
            "Malformed: array 1, at offset 132: shape: expected a tuple of counts below 2**63, such as (3, 4), found `[1]`",
        ),
    ] {
        let text = format!("{text}; {lost}");
        assert_eq!(after(&header(&format!("{{'descr': '<u4', 'fortran_order': False, 'shape': {shape}, }}"))), text);
    }
    let far = header("{'descr': '|u1', 'fortran_order': False, 'shape': (9223372036854775600,), }");
    assert_eq!(after(&far), cut("after 136 of its 9223372036854775728 bytes"));
    assert_eq!(
        after(b"\x93NUMPY\x02\x00\xff\xff\xff\xff"),
        format!(
            "OverLimit: array 1, at offset 132: the header takes 4294967295 bytes, more than max_header_size=10000: raise it if \
             you trust its source; {lost}"
        )
    );
}

#[test]
fn a_file_that_does_not_begin_with_an_array_is_refused() {
    let (_folder, path) = on_disk();
    for (bytes, expected) in [
        (
            &b"PK\x03\x04"[..],
            "NotNpy: not an .npy file: expected it to begin with \\x93NUMPY, found an .npz or zip archive",
        ),
        (
            b"\x93NPYGROW",
            "NeedsRecovery: a move of its rows in place is under way or was interrupted: open it with Appender, or call \
             recover(path), to finish it",
        ),
    ] {
        fs::write(&path, bytes).unwrap();
        fails(open(&path).map(drop), expected);
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(open(&path).map(drop).unwrap_err().io_kind(), Some(std::io::ErrorKind::NotFound));
}

#[test]
fn values_can_be_written_and_copied() {
    let (_folder, path) = on_disk();
    let files = [no_room(&[1]), no_room(&[2])].concat();
    fs::write(&path, &files).unwrap();
    let write = |access: Access| {
        let view = Sequence::open_with(&path, access, MAX_HEADER_SIZE).unwrap().get(1).unwrap();
        (view.access(), view.as_mut_ptr().is_some())
    };
    assert_eq!(write(Access::Read), (Access::Read, false));
    assert_eq!(write(Access::Write), (Access::Write, true));
    assert_eq!(write(Access::Copy), (Access::Copy, true));
}

#[test]
fn a_bookmark_names_the_same_arrays() {
    let (_folder, path) = on_disk();
    let sequence = over(&path, &[numpy(&[1]), numpy(&[2]), numpy(&[3])[..131].to_vec()]);
    let bookmark = sequence.bookmark().unwrap();
    add(&path, &[&[0], &numpy(&[4])[..]].concat());
    let there = Sequence::at(&bookmark).unwrap();
    assert_eq!((values(&there), there.torn().unwrap()), (vec![vec![1], vec![2]], None));
    assert_eq!((there.refresh().unwrap(), there.len().unwrap()), (2..4, 4));

    let copy = Sequence::open_with(&path, Access::Copy, MAX_HEADER_SIZE).unwrap();
    fails(copy.bookmark(), "Mismatch: a private copy cannot be sent to another process: send its values");
    fs::write(&path, numpy(&[1])).unwrap();
    fails(Sequence::at(&bookmark).map(drop), "Mismatch: the file was replaced or cut while it was read: open it again");
    fs::rename(&path, path.with_extension("old")).unwrap();
    fs::write(&path, [numpy(&[1]), numpy(&[2])].concat()).unwrap();
    fails(
        Sequence::at(&bookmark).map(drop),
        "Mismatch: the file was replaced since its array was sent here: open it again",
    );
}

#[test]
fn many_small_arrays() {
    let (_folder, path) = on_disk();
    let one = ours(&[7, 8]);
    fs::write(&path, one.repeat(100_000)).unwrap();
    let sequence = open(&path).unwrap();
    std::thread::scope(|scope| {
        for index in [5, 99_999, 50_000] {
            let sequence = &sequence;
            scope.spawn(move || assert_eq!(sequence.get(index).unwrap().values::<u32>(), Some(&[7, 8][..])));
        }
    });
    assert_eq!(sequence.len().unwrap(), 100_000);
    assert_eq!(sequence.parts().last().unwrap().unwrap().offset, 99_999 * one.len() as u64);
}

/// Every read that a walk makes of this file, as its offset and length, and how many arrays it met.
fn reads(file: &[u8], max_header_size: u64) -> (Vec<(u64, u64)>, usize) {
    let disk = Disk::new(Some(file));
    let storage = disk.folder().open(NAME.as_ref(), false).unwrap().unwrap();
    let met = Parts::of(&*storage, max_header_size).unwrap().filter(Result::is_ok).count();
    let calls = disk.faults.take_calls();
    (calls.iter().filter(|record| record.call == Call::Read).map(|record| (record.offset, record.len)).collect(), met)
}

#[test]
fn reads_are_few_where_arrays_are_small_and_small_where_they_are_large() {
    let (found, met) = reads(&ours(&[1]).repeat(5_000), MAX_HEADER_SIZE);
    assert!(met == 5_000 && found.len() < 20, "{met} arrays, {} reads", found.len());
    let (found, met) = reads(&ours(&[1; 50_000]).repeat(5), MAX_HEADER_SIZE);
    assert_eq!((met, found.len()), (5, 5));
    assert!(found.iter().all(|&(_, len)| len <= 512), "{found:?}");
    // A header that says it is long is not believed before it is there.
    let (found, met) =
        reads(&[&numpy(&[1])[..], b"\x93NUMPY\x02\x00\xff\xff\xff\xff", &[b' '; 600]].concat(), u64::MAX);
    assert!(met == 1 && found.iter().all(|&(_, len)| len <= 64 << 10), "{found:?}");
}

#[test]
fn a_read_that_fails_is_no_end() {
    let disk = Disk::new(Some(&numpy(&[1; 20_000]).repeat(3)));
    for skip in 0..4 {
        let storage = disk.folder().open(NAME.as_ref(), false).unwrap().unwrap();
        disk.faults.arm(Some(Call::Read), skip, Fault::Fails(5));
        let parts: Vec<_> = Parts::of(&*storage, MAX_HEADER_SIZE).unwrap().collect();
        let error = parts.last().unwrap().as_ref().err().map(|error| error.raw_os_error());
        assert_eq!((parts.len(), error), if skip < 3 { (skip + 1, Some(Some(5))) } else { (3, None) });
        disk.faults.calm();
    }
}

#[test]
fn files_of_all_kinds_are_sequences() {
    for file in golden::golden() {
        let (sequence, expected) = (Sequence::open(&file.path, u64::MAX).unwrap(), &file.expected);
        let first = sequence.get(0).unwrap();
        assert_eq!(golden::sha256(first.bytes()), expected.sha256, "{}", file.name);
        let is_sequence = file.name.contains("/sequence_");
        let arrays = if file.name.ends_with("/sequence_after_no_rows.npy") { 2 } else { 3 };
        assert_eq!(sequence.len().unwrap(), if is_sequence { arrays } else { 1 }, "{}", file.name);
        assert_eq!(sequence.torn().unwrap().is_some(), !is_sequence && expected.after > 0, "{}", file.name);
    }
    for file in golden::hostile() {
        let refused = View::open(&file.path, MAX_HEADER_SIZE).err();
        match (open(&file.path), refused) {
            (Ok(sequence), refused) => {
                let whole = sequence.iter().take_while(Result::is_ok).count();
                assert_eq!((whole > 0, whole as u64), (refused.is_none(), sequence.len().unwrap()), "{}", file.name);
            }
            (Err(error), refused) => assert_eq!(error.to_string(), refused.unwrap().to_string()),
        }
    }
}
