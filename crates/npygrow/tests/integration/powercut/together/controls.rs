//! Protocols that are wrong on purpose, for two columns: what catches nothing proves nothing.

use super::*;
use npygrow::storage::{Memory, Storage};

/// What is done to a file of the two, to append rows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Rows(usize),
    Count(usize),
    Sync(usize),
    /// It says that the rows are there.
    Acknowledge,
}
use Act::{Acknowledge, Count, Rows, Sync};

/// The files of the two, as ours, whole.
fn whole(kind: Kind, ids: &[u32]) -> [(&'static str, Vec<u8>); 2] {
    let file = |dtype: &str, row_shape: &[u64], bytes: &[u8]| {
        let options = Appender::options().dtype(dtype.parse().unwrap()).row_shape(row_shape);
        let mut appender = options.on(Box::new(Memory::new())).unwrap();
        appender.append_bytes(bytes).unwrap();
        let storage = appender.into_storage().unwrap();
        let mut bytes = vec![0; storage.len().unwrap() as usize];
        storage.read_exact_at(0, &mut bytes).unwrap();
        bytes
    };
    let rows = |ragged| ids.iter().map(move |&id| row(id, ragged)).collect::<Vec<_>>();
    if kind == Kind::Plain {
        return ["a.npy", "b.npy"].map(|name| (name, file("<u4", &[3], &bytes(&rows(false).concat()))));
    }
    let ends = rows(true).into_iter().scan(0, |end, item| {
        *end += item.len() as i64;
        Some(*end)
    });
    let ends: Vec<u8> = [0].into_iter().chain(ends).flat_map(i64::to_le_bytes).collect();
    [("values.npy", file("<u4", &[], &bytes(&rows(true).concat()))), ("offsets.npy", file("<i8", &[], &ends))]
}

fn count_end(file: &[u8]) -> usize {
    let shape = file.windows(9).position(|text| text == b"'shape': ").unwrap();
    shape + file[shape..].iter().position(|&byte| byte == b',').unwrap()
}

/// Appends three times by `protocol`, and sweeps the run that did.
fn wrong(kind: Kind, protocol: &[Act], durability: Durability) -> usize {
    const BATCH: u32 = 150;
    let mut ids = vec![500];
    let image = whole(kind, &ids).into_iter().enumerate().map(|(at, (name, bytes))| (name.into(), (at, bytes)));
    let mut run = Run::new(kind, durability, &image.collect(), ids.clone());
    let mut files = whole(kind, &ids).map(|(name, _)| run.folder.open(name.as_ref(), true).unwrap().unwrap());
    for _ in 0..3 {
        let before = whole(kind, &ids);
        ids.extend(run.fresh(BATCH));
        run.ids.clone_from(&ids);
        let after = whole(kind, &ids);
        let act = |act: &Act, files: &mut [Box<dyn Storage>; 2]| match *act {
            Rows(file) => {
                let (start, bytes) = (before[file].1.len(), &after[file].1);
                files[file].write_all_at(start as u64, &bytes[start..])
            }
            Count(file) => {
                let (end, bytes) = (count_end(&after[file].1), &after[file].1);
                files[file].commit_at(end as u64 - 16, &bytes[end - 16..end], false)
            }
            Sync(file) => files[file].sync(),
            Acknowledge => Ok(()),
        };
        let at = protocol.iter().position(|act| *act == Acknowledge).unwrap();
        run.step(Promise::Counted, || protocol[..at].iter().try_for_each(|one| act(one, &mut files))).unwrap();
        protocol[at..].iter().try_for_each(|one| act(one, &mut files)).unwrap();
    }
    let (first, wrong, seen) = sweep(&run, 40, 1);
    println!("control {kind:?}, {protocol:?}, {durability:?}: {wrong} of {seen} states are wrong: {first:?}");
    assert!(seen > 50, "only {seen} states");
    wrong
}

#[test]
fn right_protocols_pass() {
    for kind in [Kind::Ragged, Kind::Plain] {
        let power = [Rows(0), Rows(1), Sync(0), Count(0), Sync(0), Sync(1), Count(1), Sync(1), Acknowledge];
        assert_eq!(wrong(kind, &power, Durability::Power), 0);
        let ordered = [Rows(0), Rows(1), Sync(0), Count(0), Sync(1), Count(1), Acknowledge];
        assert_eq!(wrong(kind, &ordered, Durability::Ordered), 0);
        // Which file is counted first matters to nobody: a row is what all files count.
        let backwards = [Rows(0), Rows(1), Sync(1), Count(1), Sync(0), Count(0), Acknowledge];
        assert_eq!(wrong(kind, &backwards, Durability::Ordered), 0);
    }
}

#[test]
fn wrong_protocols_are_caught() {
    for kind in [Kind::Ragged, Kind::Plain] {
        // The offsets, or the second column, before the values are durable.
        let one_sync = [Rows(0), Rows(1), Count(0), Sync(1), Count(1), Acknowledge];
        assert!(wrong(kind, &one_sync, Durability::Ordered) > 0);
        let counts_first = [Count(0), Count(1), Rows(0), Rows(1), Sync(0), Sync(1), Acknowledge];
        assert!(wrong(kind, &counts_first, Durability::Ordered) > 0);
        let too_early = [Rows(0), Rows(1), Sync(0), Count(0), Sync(0), Acknowledge, Sync(1), Count(1), Sync(1)];
        assert!(wrong(kind, &too_early, Durability::Power) > 0);
    }
}

/// Offsets alone say nothing: a reader that believes them without the values finds items that are not there.
#[test]
fn a_reader_of_offsets_alone_is_wrong() {
    let (one, two) = (whole(Kind::Ragged, &[500]), whole(Kind::Ragged, &[500, 501]));
    let image: Image = [("values.npy", 0, &one[0].1), ("offsets.npy", 1, &two[1].1)]
        .map(|(name, file, bytes)| (name.into(), (file, bytes.clone())))
        .into();
    let folder = PowerFolder::new(&image);
    let offsets = Reader::on(folder.open("offsets.npy".as_ref(), false).unwrap().unwrap(), MAX_HEADER_SIZE).unwrap();
    assert_eq!(offsets.len() - 1, 2);
    assert_eq!(look(Kind::Ragged, &folder).unwrap(), expected(Kind::Ragged, &[500]));
}
