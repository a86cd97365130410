//! What the modules share: a folder to work in, files as others write them, and errors held to their whole text.

use npygrow::storage::{Folder, Memory};
use npygrow::{Appender, MAX_HEADER_SIZE, Options, Reader, RecoverOptions, Recovery, Result};
use npygrow_testkit::faulty::{Faults, FaultyFolder, Record};
use npygrow_testkit::shared::SharedFolder;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const NAME: &str = "rows.npy";

/// Asserts `Kind: text`, without the path, and that there is one.
#[track_caller]
pub(crate) fn fails<T: Debug>(result: Result<T>, expected: &str) {
    let error = result.expect_err(expected);
    assert_eq!(format!("{:?}: {}", error.kind(), error.detail()), expected);
    assert!(error.path().is_some_and(|path| path.ends_with(NAME)), "no path: {error}");
}

/// A folder in memory, behind faults.
pub(crate) struct Disk {
    pub(crate) shared: Arc<SharedFolder>,
    pub(crate) faults: Faults,
    faulty: Arc<dyn Folder>,
}

impl Disk {
    pub(crate) fn new(file: Option<&[u8]>) -> Self {
        let (shared, faults) = (Arc::new(SharedFolder::default()), Faults::default());
        if let Some(bytes) = file {
            shared.put(NAME, bytes);
        }
        let faulty = Arc::new(FaultyFolder::new(shared.clone(), faults.clone()));
        Disk { shared, faults, faulty }
    }

    pub(crate) fn folder(&self) -> Arc<dyn Folder> {
        self.faulty.clone()
    }

    pub(crate) fn open(&self, options: Options) -> Result<Appender> {
        options.open_in(self.folder(), NAME.as_ref())
    }

    pub(crate) fn recover(&self, options: RecoverOptions) -> Result<Recovery> {
        npygrow::recover_in(self.folder(), NAME.as_ref(), options)
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.shared.get(NAME).unwrap()
    }

    pub(crate) fn values(&self) -> Vec<u32> {
        state(&*self.shared).unwrap().unwrap()
    }

    /// The calls since the last time that change a file, a name, or what is durable.
    pub(crate) fn changes(&self) -> String {
        let folder = |record: &Record| record.handle == 0 && !["Open", "Identity"].contains(&&*record.to_string());
        let calls = self.faults.take_calls();
        let changes = calls.iter().filter(|&record| record.changes() || folder(record)).map(ToString::to_string);
        changes.collect::<Vec<_>>().join(", ")
    }
}

/// What a reader sees: no file, an error, or `u32` rows.
pub(crate) fn state(folder: &dyn Folder) -> Option<Result<Vec<u32>>> {
    let storage = folder.open(OsStr::new(NAME), false).unwrap()?;
    Some(Reader::on(storage, MAX_HEADER_SIZE).and_then(|reader| reader.rows(0..reader.len())))
}

/// A file of ours with these values.
pub(crate) fn ours(values: &[u32]) -> Vec<u8> {
    let mut appender = u32s().on(Box::new(Memory::new())).unwrap();
    appender.append(values).unwrap();
    let storage = appender.into_storage().unwrap();
    let mut bytes = vec![0; storage.len().unwrap() as usize];
    storage.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

/// A file as NumPy 1.23 and later write it: room for the growth axis after the dict, padded to 64.
pub(crate) fn numpy(values: &[u32]) -> Vec<u8> {
    let count = values.len().to_string();
    let text = format!("{{'descr': '<u4', 'fortran_order': False, 'shape': ({count},), }}{:1$}", "", 21 - count.len());
    foreign(&text, (11 + text.len()).next_multiple_of(64), values)
}

/// A file with any header text, in a version 1 header of `len` bytes.
pub(crate) fn foreign(text: &str, len: usize, values: &[u32]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(len - 10).unwrap().to_le_bytes());
    bytes.extend(text.as_bytes());
    assert!(bytes.len() < len, "the text is too long");
    bytes.resize(len - 1, b' ');
    bytes.push(b'\n');
    bytes.extend(le(values));
    bytes
}

/// A header as long as can be without room.
pub(crate) fn no_room(values: &[u32]) -> Vec<u8> {
    let text = format!("{{'descr':'<u4','fortran_order':False,'shape':({},)}}", values.len());
    foreign(&text, 11 + text.len(), values)
}

pub(crate) fn le(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(crate) fn u32s() -> Options {
    Appender::options().dtype("<u4".parse().unwrap()).row_shape([])
}

/// A folder on the disk and the path of the file in it.
pub(crate) fn on_disk() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    (folder, path)
}

pub(crate) fn values(path: &Path) -> Vec<u32> {
    let reader = Reader::open(path).unwrap();
    reader.rows(0..reader.len()).unwrap()
}

/// The names beside it: a temp left behind shows.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}
