//! The journal beside a file that inputs are being moved into, each of which goes once its rows are there.
//!
//! Invariants:
//!
//! - It has a name only once all of it is on the disk, and before the first of its inputs' rows are counted.
//! - The rows of an input follow those of the one before it. So the file's own count says which inputs are in it.
//! - It goes when every one of its inputs is gone for good.

use crate::error::{Error, Result, error};
use crate::inplace::{checksum, number};
use crate::storage::{Folder, Storage, beside};
use alloc::vec;
use alloc::vec::Vec;
use std::ffi::{OsStr, OsString};

/// Which rows of a file are which input's. On the disk, with numbers in little-endian:
///
/// ```text
///  0  "NPYJOIN1"            8  checksum of all that follows
/// 16  number of the file   24  its rows before the first input's
/// for each input: its number, its rows, the length of its path, the path
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Journal {
    pub(crate) file: u64,
    pub(crate) base: u64,
    pub(crate) inputs: Vec<Moved>,
}

/// An input whose rows are in the file, or will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) number: u64,
    pub(crate) rows: u64,
    pub(crate) path: OsString,
}

const SIGNATURE: &[u8; 8] = b"NPYJOIN1";
const COVERED: usize = 16;
const HEAD: usize = 32;
/// The longest journal: some hundred thousand inputs.
const MAX_SIZE: u64 = 64 << 20;

fn journal_name(name: &OsStr) -> OsString {
    beside(name, "npygrow-concat")
}

/// Refuses a file that inputs are still to be moved into: with other rows in it nobody could tell which of them are there.
pub(crate) fn refuse(folder: &dyn Folder, name: &OsStr, file: &dyn Storage) -> Result<()> {
    let journal = journal_name(name);
    if folder.identity(&journal)?.is_none() {
        return Ok(());
    }
    match Journal::read(folder, name) {
        Ok(Some(found)) if found.file == number(file)? => Err(error!(
            NeedsRecovery,
            "a concat that consumes its inputs was interrupted: call concat(inputs, path, consume=True) again to finish \
             it, or remove {} to keep the file as it is",
            folder.path(&journal).display()
        )),
        _ => Ok(()),
    }
}

impl Journal {
    /// The journal beside `name`, whichever file's it is.
    pub(crate) fn read(folder: &dyn Folder, name: &OsStr) -> Result<Option<Self>> {
        let journal = journal_name(name);
        let Some(storage) = folder.open(&journal, false)? else { return Ok(None) };
        let path = folder.path(&journal);
        let len = storage.len()?;
        let size = usize::try_from(len).ok().filter(|_| len <= MAX_SIZE);
        let size = size.ok_or_else(|| error!(OverLimit, "the journal {} passes {MAX_SIZE} bytes", path.display()))?;
        let mut bytes = vec![0; size];
        storage.read_exact_at(0, &mut bytes)?;
        let damaged = || error!(Malformed, "the journal {} is damaged or of a newer version", path.display());
        Self::parse(&bytes).map(Some).ok_or_else(damaged)
    }

    /// Puts it beside `name`, on the disk, in the place of the one that is there where it `follows` that.
    pub(crate) fn write(&self, folder: &dyn Folder, name: &OsStr, like: &dyn Storage, follows: bool) -> Result<()> {
        let journal = journal_name(name);
        let bytes = self.bytes();
        if bytes.len() as u64 > MAX_SIZE {
            return Err(error!(
                OverLimit,
                "the journal of so many inputs passes {MAX_SIZE} bytes: join fewer at a time"
            ));
        }
        let mut temp = folder.create_temp(&journal, Some(like))?;
        temp.storage().write_all_at(0, &bytes)?;
        temp.storage().sync()?;
        if follows {
            folder.replace(&mut temp, &journal)?;
        } else if !folder.link_noreplace(&mut temp, &journal)? {
            return Err(Self::in_the_way(folder, name));
        }
        folder.sync()
    }

    pub(crate) fn remove(folder: &dyn Folder, name: &OsStr) -> Result<()> {
        let journal = journal_name(name);
        folder.remove(&journal)?;
        // A kill while one journal replaced another may have left a temp.
        let _ = folder.remove_abandoned(&journal);
        folder.sync()
    }

    /// A journal that is not this file's: the rows of inputs that are gone may be in the file that is.
    pub(crate) fn in_the_way(folder: &dyn Folder, name: &OsStr) -> Error {
        let journal = folder.path(&journal_name(name));
        error!(
            Malformed,
            "the journal {} is of another file, which had this name: put that file back, or remove the journal",
            journal.display()
        )
    }

    /// How many of the inputs are in a file of `rows` rows; `None` where it ends within one.
    pub(crate) fn done(&self, rows: u64) -> Option<usize> {
        let mut ends = vec![self.base];
        ends.extend(self.inputs.iter().scan(self.base, |end, input| {
            *end = end.saturating_add(input.rows);
            Some(*end)
        }));
        ends.iter().rposition(|&end| end == rows)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; COVERED];
        let mut put = |number: u64| bytes.extend(number.to_le_bytes());
        put(self.file);
        put(self.base);
        for input in &self.inputs {
            let path = input.path.as_encoded_bytes();
            [input.number, input.rows, path.len() as u64].iter().for_each(|n| bytes.extend(n.to_le_bytes()));
            bytes.extend(path);
        }
        let sum = checksum(&bytes[COVERED..]);
        bytes[..8].copy_from_slice(SIGNATURE);
        bytes[8..COVERED].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, mut rest) = bytes.split_at_checked(HEAD)?;
        let [signature, sum, file, base] = *head.as_chunks::<8>().0.first_chunk()?;
        if signature != *SIGNATURE || u64::from_le_bytes(sum) != checksum(&bytes[COVERED..]) {
            return None;
        }
        let mut inputs = Vec::new();
        while !rest.is_empty() {
            let (numbers, after) = rest.split_at_checked(24)?;
            let [number, rows, len] = numbers.as_chunks::<8>().0.first_chunk()?.map(u64::from_le_bytes);
            let (path, after) = after.split_at_checked(usize::try_from(len).ok()?)?;
            inputs.push(Moved { number, rows, path: path_of(path)? });
            rest = after;
        }
        Some(Journal { file: u64::from_le_bytes(file), base: u64::from_le_bytes(base), inputs })
    }
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> Option<OsString> {
    Some(std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec()))
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> Option<OsString> {
    std::str::from_utf8(bytes).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn journal() -> Journal {
        let input = |number, rows, path: &str| Moved { number, rows, path: path.into() };
        Journal { file: 7, base: 10, inputs: vec![input(1, 5, "/a"), input(2, 0, ""), input(3, 4, "/b c")] }
    }

    #[test]
    fn the_count_says_which_inputs_are_there() {
        let done = |rows| journal().done(rows);
        assert_eq!([10, 15, 19].map(done), [Some(0), Some(2), Some(3)]);
        assert_eq!([0, 9, 11, 16, 20].map(done), [None; 5]);
        let full = Journal { base: u64::MAX, ..journal() };
        assert_eq!(full.done(4), None);
    }

    #[test]
    fn only_a_whole_journal_is_read() {
        let bytes = journal().bytes();
        assert_eq!(Journal::parse(&bytes), Some(journal()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Journal::parse(&damaged), None, "byte {at}");
            assert_eq!(Journal::parse(&bytes[..at]), None, "cut at {at}");
        }
        // A right checksum over a wrong length.
        let mut lying = bytes;
        lying[48..56].fill(0xFF);
        let sum = checksum(&lying[COVERED..]).to_le_bytes();
        lying[8..COVERED].copy_from_slice(&sum);
        assert_eq!(Journal::parse(&lying), None);
    }
}
