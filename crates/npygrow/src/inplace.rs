//! Room within the file itself, for disks too full for a copy: the rows move up block by block, the last block first.
//!
//! The block under way is also in a journal beside the file, so that whoever next has the lock can finish. Invariants:
//!
//! - A journal has a name only once a whole record is on the disk in it. One without any is damaged, never new.
//! - The magic is [`MOVING`], which no reader takes, whenever a row may not be where the header says; and only once all
//!   the space is taken that a move needs.
//! - A block is written once its record is on the disk, and the next record once the block is. So only the block of the
//!   last whole record is in doubt, and to write it again does no harm.
//! - What a dead process left may be in memory alone: it is written and synced again before anything rests on it.

use crate::error::{Error, Result, error};
use crate::format::Growable;
use crate::grow::no_room;
use crate::open::{Found, MOVING};
use crate::storage::{BLOCK, Folder, Storage, beside};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;

/// Smaller blocks, for a disk with even less space, would sync longer than anyone waits.
const MIN_BLOCK: usize = 16 << 10;

/// What the next process is to do after a failure half-way.
const HALF_MOVED: &str =
    "its rows are half moved: once that is mended, open it with Appender, or call recover(path), to finish";

/// Moves the rows of `file`, which is `name` in `folder` and locked, up behind a header with room.
pub(crate) fn make_room(
    folder: &dyn Folder,
    name: &OsStr,
    file: &mut dyn Storage,
    found: &Found,
    max_header_size: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let header = header(found, max_header_size)?;
    let end = found.layout.end(found.rows)?;
    if found.size > end {
        file.set_len(end)?;
    }
    let mut journal = Journal::make(folder, name, file, found, &header)?;
    if let Err(error) = file.write_all_at(end, &vec![0; header.len() - found.bytes.len()]) {
        // Should this fail too, the next one that has the lock does it.
        let _ = journal.withdraw(file);
        return Err(error.and("the file is as it was"));
    }
    file.sync()?;
    journal.finish(file, progress)
}

/// Ends what a dead process began to move: to the end once the magic is broken, else back to where it was.
///
/// For the holder of the file's lock. A journal of another file is left alone, unless this one needs its own.
pub(crate) fn settle(folder: &dyn Folder, name: &OsStr, file: &mut dyn Storage, max_header_size: u64) -> Result<()> {
    let mut first = [0; MOVING.len()];
    file.read_up_to(0, &mut first)?;
    let moving = first == MOVING;
    if !moving && folder.identity(&journal_name(name))?.is_none() {
        return Ok(());
    }
    match Journal::open(folder, name, file, max_header_size) {
        Ok(mut journal) if moving => journal.finish(file, &mut |_, _| {}),
        Ok(mut journal) => journal.withdraw(file),
        Err(error) if moving => Err(error),
        Err(_) => Ok(()),
    }
}

fn journal_name(name: &OsStr) -> OsString {
    beside(name, "npygrow-move")
}

/// A new header, never shorter than the old one: rows move up or stay.
fn header(found: &Found, max_header_size: u64) -> Result<Vec<u8>> {
    let (header, layout) = found.spec.header(found.rows, max_header_size)?;
    layout.end(found.rows)?;
    if header.bytes.len() >= found.bytes.len() {
        return Ok(header.bytes);
    }
    let (spec, len) = (&found.spec, found.header.len);
    let within = |version| Growable::within(version, len, &spec.dtype, spec.order, &spec.row_shape, found.rows);
    (header.bytes[6]..=3).find_map(within).map(|header| header.bytes).ok_or_else(|| no_room(found))
}

/// The number by which a journal knows its file. Not the device's: that may be another one after the next boot, and the
/// two are in one folder.
pub(crate) fn number(file: &dyn Storage) -> Result<u64> {
    Ok(file.identity()?.map_or(0, |identity| identity.file))
}

/// Whether there was no space, of whatever kind.
fn is_full(error: &Error) -> bool {
    use ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.io_kind(), Some(StorageFull | QuotaExceeded | FileTooLarge))
}

/// Two slots, written in turn: a torn record leaves the one before it whole.
struct Journal<'a> {
    folder: &'a dyn Folder,
    name: OsString,
    storage: Box<dyn Storage>,
    /// The last whole record, and the slot that it is in.
    record: Record,
    slot: u64,
}

impl<'a> Journal<'a> {
    /// A new journal with the record of the last block in both slots; of a smaller one where the disk has no space for more.
    fn make(folder: &'a dyn Folder, name: &OsStr, file: &dyn Storage, found: &Found, header: &[u8]) -> Result<Self> {
        let mut block = BLOCK;
        loop {
            let record = Record::new(file, found, header, block)?;
            match Self::try_make(folder, name, file, &record) {
                Ok(storage) => return Ok(Journal { folder, name: journal_name(name), storage, record, slot: 0 }),
                Err(error) if is_full(&error) && record.len > MIN_BLOCK => block = MIN_BLOCK.max(record.len / 2),
                Err(error) => return Err(error.and("no journal could be made beside the file, which is as it was")),
            }
        }
    }

    fn try_make(folder: &dyn Folder, name: &OsStr, file: &dyn Storage, record: &Record) -> Result<Box<dyn Storage>> {
        let mut temp = folder.create_temp(name, Some(file))?;
        let storage = temp.storage();
        storage.write_all_at(0, &record.bytes)?;
        storage.write_all_at(record.bytes.len() as u64, &record.bytes)?;
        storage.sync()?;
        let journal = journal_name(name);
        if !folder.link_noreplace(&mut temp, &journal)? {
            let journal = folder.path(&journal);
            return Err(error!(Io, "the journal of another file's move is in the way: remove {}", journal.display()));
        }
        folder.sync()?;
        Ok(temp.into_storage())
    }

    /// The journal of `file`, or why there is none.
    fn open(folder: &'a dyn Folder, name: &OsStr, file: &dyn Storage, max_header_size: u64) -> Result<Self> {
        let name = journal_name(name);
        let path = folder.path(&name);
        let path = path.display();
        let Some(storage) = folder.open(&name, true)? else {
            return Err(error!(
                Malformed,
                "its rows are half moved, and the journal {path} is missing: put it back under this name, or the file \
                 under its old one; without it nothing tells which rows have moved"
            ));
        };
        let size = storage.len()? / 2;
        let size = usize::try_from(size).ok().filter(|&size| size as u64 <= Record::limit(max_header_size));
        let size = size.ok_or_else(|| error!(OverLimit, "the journal {path} is longer than max_header_size allows"))?;
        let mut last: Option<(u64, Record)> = None;
        for slot in 0..2 {
            let mut bytes = vec![0; size];
            storage.read_exact_at(slot * size as u64, &mut bytes)?;
            // Blocks are moved from the end: the lower, the later.
            if let Some(record) = Record::parse(bytes)
                && last.as_ref().is_none_or(|(_, last)| record.at < last.at)
            {
                last = Some((slot, record));
            }
        }
        let Some((slot, record)) = last else {
            return Err(error!(
                Malformed,
                "its rows are half moved, and the journal {path} is damaged or of a newer version"
            ));
        };
        let here = number(file)?;
        if record.file != here {
            return Err(error!(
                Malformed,
                "its rows are half moved, and the journal {path} is another file's: expected that of file number {here}, \
                 found that of {}",
                record.file
            ));
        }
        Ok(Journal { folder, name, storage, record, slot })
    }

    /// Moves the rows from the last whole record on: the way of every move, from its first block or a later one.
    fn finish(&mut self, file: &mut dyn Storage, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        self.move_rows(file, progress).map_err(|error| error.and(HALF_MOVED))?;
        self.remove()
    }

    fn move_rows(&mut self, file: &mut dyn Storage, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let (expected, found) = (self.record.size + self.record.shift(), file.len()?);
        if found != expected {
            let path = self.folder.path(&self.name);
            let path = path.display();
            return Err(error!(Malformed, "expected {expected} bytes, as the journal {path} says, found {found}"));
        }
        file.commit_at(0, &MOVING, true)?;
        loop {
            let record = &mut self.record;
            self.storage.write_all_at(self.slot * record.bytes.len() as u64, &record.bytes)?;
            self.storage.sync()?;
            file.write_all_at(record.at + record.shift(), record.block())?;
            file.sync()?;
            progress(record.size - record.at, record.size - record.old as u64);
            if record.at == record.old as u64 {
                break;
            }
            record.go_on(file)?;
            self.slot = 1 - self.slot;
        }
        let (magic, rest) = self.record.new_header().split_at(MOVING.len());
        file.write_all_at(magic.len() as u64, rest)?;
        file.sync()?;
        file.commit_at(0, magic, true)
    }

    /// Ends a move that had not broken the magic yet, or had restored it. What a file was given since then stays.
    fn withdraw(&mut self, file: &mut dyn Storage) -> Result<()> {
        let record = &self.record;
        let mut header = vec![0; record.old];
        let got = file.read_up_to(0, &mut header)?;
        let more = file.len()?.saturating_sub(record.size);
        if header == record.old_header() && (1..=record.shift()).contains(&more) {
            file.set_len(record.size)?;
        }
        // The magic that readers see may not be on the disk yet, and only the journal could bring it back.
        file.write_all_at(0, &header[..got.min(MOVING.len())])?;
        file.sync()?;
        self.remove()
    }

    fn remove(&self) -> Result<()> {
        self.folder.remove(&self.name)?;
        self.folder.sync()
    }
}

/// All that is needed to move one block and those before it. On the disk, with numbers in little-endian:
///
/// ```text
///  0  "NPYMOVE1"            8  checksum of all that follows
/// 16  number of the file   24  its size before
/// 32  where the block was  40  length of the old header, 48 of the new one, 56 of the block
/// 64  the old header, the new header, the block
/// ```
struct Record {
    /// As on the disk: a whole slot, of which a last, shorter block leaves some unused.
    bytes: Vec<u8>,
    file: u64,
    size: u64,
    at: u64,
    old: usize,
    new: usize,
    len: usize,
}

impl Record {
    const SIGNATURE: u64 = u64::from_le_bytes(*b"NPYMOVE1");
    const HEAD: usize = 64;
    /// What the checksum covers begins after it.
    const COVERED: usize = 16;

    /// The most that the slot of a move takes, in bytes.
    fn limit(max_header_size: u64) -> u64 {
        const PREAMBLE: u64 = 12;
        max_header_size.saturating_add(PREAMBLE).saturating_mul(2).saturating_add((Self::HEAD + BLOCK) as u64)
    }

    /// The record of the last block, of at most `block` bytes.
    fn new(file: &dyn Storage, found: &Found, header: &[u8], block: usize) -> Result<Self> {
        let (old, new, size) = (found.bytes.len(), header.len(), found.layout.end(found.rows)?);
        let len = usize::try_from(size - old as u64).map_or(block, |len| len.min(block));
        let mut bytes = vec![0; Self::HEAD + old + new + len];
        bytes[Self::HEAD..][..old].copy_from_slice(&found.bytes);
        bytes[Self::HEAD + old..][..new].copy_from_slice(header);
        let mut record = Record { bytes, file: number(file)?, size, at: size, old, new, len };
        record.go_on(file)?;
        Ok(record)
    }

    /// Makes it the record of the block before this one.
    fn go_on(&mut self, file: &dyn Storage) -> Result<()> {
        let start = self.data();
        let left = self.at - self.old as u64;
        self.len = usize::try_from(left).map_or(usize::MAX, |left| left).min(self.bytes.len() - start);
        self.at -= self.len as u64;
        file.read_exact_at(self.at, &mut self.bytes[start..start + self.len])?;
        self.seal();
        Ok(())
    }

    fn seal(&mut self) {
        let lengths = [self.old, self.new, self.len].map(|length| length as u64);
        let numbers = [self.file, self.size, self.at].into_iter().chain(lengths);
        for (place, number) in self.bytes[Self::COVERED..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let end = self.data() + self.len;
        let sum = checksum(&self.bytes[Self::COVERED..end]);
        self.bytes[..8].copy_from_slice(&Self::SIGNATURE.to_le_bytes());
        self.bytes[8..Self::COVERED].copy_from_slice(&sum.to_le_bytes());
    }

    /// A record from a slot; `None` where it is not whole, or would write where no move does.
    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let numbers = bytes.first_chunk::<{ Self::HEAD }>()?.as_chunks::<8>().0;
        let [signature, sum, file, size, at, old, new, len] = *numbers.first_chunk()?;
        let [signature, sum, file, size, at] = [signature, sum, file, size, at].map(u64::from_le_bytes);
        let lengths = [old, new, len].map(|length| usize::try_from(u64::from_le_bytes(length)).ok());
        let [Some(old), Some(new), Some(len)] = lengths else { return None };
        let end = Self::HEAD.checked_add(old)?.checked_add(new)?.checked_add(len)?;
        let covered = bytes.get(Self::COVERED..end)?;
        let whole = signature == Self::SIGNATURE && checksum(covered) == sum;
        let moves_up = MOVING.len() <= old && old <= new && size.checked_add((new - old) as u64).is_some();
        let in_the_file = old as u64 <= at && at.checked_add(len as u64).is_some_and(|end| end <= size);
        // A block of no bytes would never get further.
        let goes_on = bytes.len() > end - len || at == old as u64;
        (whole && moves_up && in_the_file && goes_on).then_some(Record { bytes, file, size, at, old, new, len })
    }

    /// How far rows move up.
    fn shift(&self) -> u64 {
        (self.new - self.old) as u64
    }

    /// Where in the slot the block is.
    fn data(&self) -> usize {
        Self::HEAD + self.old + self.new
    }

    fn old_header(&self) -> &[u8] {
        &self.bytes[Self::HEAD..][..self.old]
    }

    fn new_header(&self) -> &[u8] {
        &self.bytes[Self::HEAD + self.old..][..self.new]
    }

    fn block(&self) -> &[u8] {
        &self.bytes[self.data()..][..self.len]
    }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): tells a torn record from a whole one.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The slot of a record whose checksum is right.
    fn slot(size: u64, at: u64, [old, new, len]: [u64; 3], bytes: usize) -> Vec<u8> {
        let mut slot = vec![0; Record::HEAD];
        for (place, number) in slot[16..].chunks_exact_mut(8).zip([1, size, at, old, new, len]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        slot.resize(bytes, 7);
        let end = (Record::HEAD as u64).saturating_add(old).saturating_add(new).saturating_add(len).min(bytes as u64);
        let sum = checksum(&slot[16..end as usize]);
        slot[..8].copy_from_slice(b"NPYMOVE1");
        slot[8..16].copy_from_slice(&sum.to_le_bytes());
        slot
    }

    #[test]
    fn only_records_of_a_move_pass() {
        let passes = |slot| Record::parse(slot).is_some();
        assert!(passes(slot(100, 80, [60, 128, 20], 300)));
        assert!(passes(slot(100, 60, [60, 60, 0], 184)), "a header that stays as long, and no rows");
        for (why, slot) in [
            ("cut in its numbers", vec![7; 63]),
            ("cut in its block", slot(100, 80, [60, 128, 20], 271)),
            ("a shorter header", slot(100, 80, [60, 59, 20], 300)),
            ("no header", slot(100, 80, [0, 0, 20], 300)),
            ("in the header", slot(100, 59, [60, 128, 20], 300)),
            ("past the end", slot(100, 81, [60, 128, 20], 300)),
            ("past all numbers", slot(u64::MAX, u64::MAX, [60, 128, 1], 300)),
            ("lengths past all numbers", slot(100, 80, [60, u64::MAX, 20], 300)),
            ("a file past all numbers", slot(u64::MAX - 9, 80, [60, 128, 20], 300)),
            ("no room for a block", slot(100, 80, [60, 128, 0], 252)),
        ] {
            assert!(!passes(slot), "{why}");
        }
        for at in 0..272 {
            let mut damaged = slot(100, 80, [60, 128, 20], 300);
            damaged[at] ^= 1;
            assert!(!passes(damaged), "byte {at}");
        }
    }

    /// From the authors' test vectors.
    #[test]
    fn checksums_are_fnv_1a() {
        assert_eq!(
            [&b""[..], b"a", b"foobar"].map(checksum),
            [0xCBF29CE484222325, 0xAF63DC4C8601EC8C, 0x85944171F73967E8]
        );
    }
}
