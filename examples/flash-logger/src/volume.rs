//! A growable run of bytes on a [`Chip`].
//!
//! An `.npy` that grows changes in two places: its first page, where the count is, and its last. Both are in memory; every
//! page between them is programmed once, when it is full. [`sync`](Storage::sync) seals: one record of the two pages, the
//! length, and where the blocks are, in a ring of blocks of its own. The newest whole record is the file. So a power cut at
//! any point leaves what the last seal left.
//!
//! ```text
//! blocks 0..16     the ring: 5 records a block, each of three pages: first page, last page, seal
//! blocks 16..256   the pages between, in blocks that the seal's map puts in order
//! ```

use crate::chip::{BLOCK, BLOCKS, Chip, PAGE, PAGES, io};
use alloc::format;
use npygrow::storage::Storage;
use npygrow::{Error, Result};

/// The blocks of the ring: two would do, more wear less.
const RING: usize = 16;
const RECORD: usize = 3;
const RECORDS_A_BLOCK: usize = PAGES / RECORD;
const RECORDS: usize = RING * RECORDS_A_BLOCK;

/// The blocks for rows. One byte numbers them all, and the map fits behind the seal's four numbers.
const ROOM: usize = BLOCKS - RING;
const NOWHERE: u8 = u8::MAX;
/// The bytes that the map can place.
const CAPACITY: usize = ROOM * BLOCK;
const _: () = assert!(ROOM < NOWHERE as usize && MAP + ROOM == PAGE && RING >= 2 && CAPACITY <= u32::MAX as usize);

/// For each block of the file the block of the chip, from the ring's end on.
type Map = [u8; ROOM];

/// A seal: magic, checksum, number, length, map.
const MAGIC: [u8; 4] = *b"SEAL";
const MAP: usize = 16;

/// A growable run of bytes on a chip; see the [module](self).
pub struct Volume {
    chip: Chip,
    first: [u8; PAGE],
    /// The page that the end is in, unless that is the first. Past the end its bytes mean nothing.
    last: [u8; PAGE],
    len: usize,
    map: Map,
    /// The map of the newest record: its blocks must stay as they are.
    sealed: Map,
    /// The one page that is erased where the map puts it. Every other takes a fresh block.
    ready: Option<usize>,
    /// Where the search for a fresh block begins, so that all wear alike.
    cursor: usize,
    number: u32,
    /// Where the next record goes.
    slot: usize,
}

impl Volume {
    /// What the newest record on `chip` says; without one, an empty volume.
    ///
    /// # Errors
    ///
    /// `Io` from the chip.
    pub fn mount(chip: Chip) -> Result<Volume> {
        let nowhere = [NOWHERE; ROOM];
        let mut this = Volume {
            chip,
            first: [0; PAGE],
            last: [0; PAGE],
            len: 0,
            map: nowhere,
            sealed: nowhere,
            ready: None,
            cursor: 0,
            number: 0,
            slot: 0,
        };
        // Backwards, so that few of the older ones are read whole.
        for slot in (0..RECORDS).rev() {
            this.load_newer(slot)?;
        }
        this.sealed = this.map;
        this.cursor = this.number as usize % ROOM;
        Ok(this)
    }

    /// Takes the record in `slot`, if it is whole and newer than the one taken before.
    fn load_newer(&mut self, slot: usize) -> Result<()> {
        let page = page_of(slot);
        let mut seal = [0; PAGE];
        self.chip.read((page + 2) * PAGE, &mut seal)?;
        let word = |at: usize| u32::from_le_bytes([seal[at], seal[at + 1], seal[at + 2], seal[at + 3]]);
        if !seal.starts_with(&MAGIC) || word(8) <= self.number {
            return Ok(());
        }
        let (mut first, mut last) = ([0; PAGE], [0; PAGE]);
        self.chip.read(page * PAGE, &mut first)?;
        self.chip.read((page + 1) * PAGE, &mut last)?;
        let len = word(12) as usize;
        if word(4) != checksum(&[&first, &last, &seal[8..]]) || len > CAPACITY {
            return Ok(());
        }
        (self.first, self.last, self.len, self.number) = (first, last, len, word(8));
        self.map.copy_from_slice(&seal[MAP..]);
        // What follows the record in its block may be torn.
        self.slot = (slot / RECORDS_A_BLOCK + 1) % RING * RECORDS_A_BLOCK;
        Ok(())
    }

    /// Writes a record. Until its last page is whole, the one before it counts.
    fn seal(&mut self) -> Result<()> {
        let page = page_of(self.slot);
        if self.slot.is_multiple_of(RECORDS_A_BLOCK) {
            self.chip.erase(page / PAGES)?;
        }
        let mut seal = [0; PAGE];
        seal[..4].copy_from_slice(&MAGIC);
        seal[8..12].copy_from_slice(&(self.number + 1).to_le_bytes());
        seal[12..16].copy_from_slice(&(self.len as u32).to_le_bytes());
        seal[MAP..].copy_from_slice(&self.map);
        let sum = checksum(&[&self.first, &self.last, &seal[8..]]);
        seal[4..8].copy_from_slice(&sum.to_le_bytes());
        for (at, bytes) in [&self.first, &self.last, &seal].into_iter().enumerate() {
            self.chip.program(page + at, bytes)?;
        }
        self.number += 1;
        self.slot = (self.slot + 1) % RECORDS;
        self.sealed = self.map;
        Ok(())
    }

    /// Programs the last page, which is full and is page `page` of the file.
    fn program(&mut self, page: usize) -> Result<()> {
        let block = page / PAGES;
        if page.is_multiple_of(PAGES) || self.ready != Some(page) {
            let fresh = self.fresh()?;
            self.chip.erase(RING + usize::from(fresh))?;
            let mut copy = [0; PAGE];
            for earlier in block * PAGES..page {
                self.read_page(earlier, 0, &mut copy)?;
                self.chip.program(chip_page(fresh, earlier), &copy)?;
            }
            self.map[block] = fresh;
        }
        // A page that failed half-way is not erased any more.
        self.ready = None;
        self.chip.program(chip_page(self.map[block], page), &self.last)?;
        self.ready = Some(page + 1);
        Ok(())
    }

    /// A block that neither the file nor its newest record needs.
    fn fresh(&mut self) -> Result<u8> {
        let used = |block: &u8| self.map.contains(block) || self.sealed.contains(block);
        let fresh = (0..ROOM).map(|step| ((self.cursor + step) % ROOM) as u8).find(|block| !used(block));
        let fresh = fresh.ok_or_else(|| self.full())?;
        self.cursor = usize::from(fresh) + 1;
        Ok(fresh)
    }

    fn full(&self) -> Error {
        io(format!("the chip is full: the file takes {} bytes", self.len))
    }

    /// Fills `buf` from byte `at` of a page before the end.
    fn read_page(&self, page: usize, at: usize, buf: &mut [u8]) -> Result<()> {
        let size = buf.len();
        match self.map.get(page / PAGES) {
            _ if page == 0 => buf.copy_from_slice(&self.first[at..at + size]),
            _ if page == self.len / PAGE => buf.copy_from_slice(&self.last[at..at + size]),
            Some(&block) if usize::from(block) < ROOM => self.chip.read(chip_page(block, page) * PAGE + at, buf)?,
            _ => return Err(io(format!("page {page} of the file is nowhere on the chip"))),
        }
        Ok(())
    }
}

impl Storage for Volume {
    fn len(&self) -> Result<u64> {
        Ok(self.len as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let offset = usize::try_from(offset).map_or(self.len, |offset| offset.min(self.len));
        let size = buf.len().min(self.len - offset);
        let mut done = 0;
        while done < size {
            let (page, at) = ((offset + done) / PAGE, (offset + done) % PAGE);
            let part = (size - done).min(PAGE - at);
            self.read_page(page, at, &mut buf[done..done + part])?;
            done += part;
        }
        Ok(size)
    }

    /// Takes what fits into the first or the last page. Any other page is programmed already, and refused.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<usize> {
        if offset > self.len as u64 {
            self.set_len(offset)?;
        }
        let offset = offset as usize;
        let (page, at) = (offset / PAGE, offset % PAGE);
        let size = bytes.len().min(PAGE - at);
        if offset + size > CAPACITY {
            return Err(self.full());
        }
        if page == 0 {
            self.first[at..at + size].copy_from_slice(&bytes[..size]);
        } else if page == self.len / PAGE {
            self.last[at..at + size].copy_from_slice(&bytes[..size]);
            if at + size == PAGE {
                self.program(page)?;
            }
        } else {
            return Err(io(format!(
                "cannot write at {offset}: only the first page and the end at {} change",
                self.len
            )));
        }
        self.len = self.len.max(offset + size);
        Ok(size)
    }

    fn commit_at(&mut self, offset: u64, bytes: &[u8], durable: bool) -> Result<()> {
        self.write_all_at(offset, bytes)?;
        if durable { self.seal() } else { Ok(()) }
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        while len > self.len as u64 {
            let zeros = (len - self.len as u64).min(PAGE as u64) as usize;
            self.write_at(self.len as u64, &[0; PAGE][..zeros])?;
        }
        let len = len as usize;
        let page = len / PAGE;
        if page > 0 && page != self.len / PAGE {
            let mut last = [0; PAGE];
            self.read_page(page, 0, &mut last)?;
            self.last = last;
        }
        self.map[page.div_ceil(PAGES)..].fill(NOWHERE);
        self.len = len;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.seal()
    }
}

/// The first page of the record in `slot`.
fn page_of(slot: usize) -> usize {
    slot / RECORDS_A_BLOCK * PAGES + slot % RECORDS_A_BLOCK * RECORD
}

/// Where page `page` of the file is when its block is `block`.
fn chip_page(block: u8, page: usize) -> usize {
    (RING + usize::from(block)) * PAGES + page % PAGES
}

/// CRC-32 as in Ethernet, bit by bit: records are rare and short.
fn checksum(parts: &[&[u8]]) -> u32 {
    let mut sum = u32::MAX;
    for &byte in parts.iter().copied().flatten() {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}
