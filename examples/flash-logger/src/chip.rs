//! A simulated NOR flash of 1 MiB: what a driver for a real chip replaces.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use npygrow::{Error, ErrorKind, Result};

/// The bytes that are programmed at once.
pub const PAGE: usize = 256;
/// The pages that are erased at once.
pub const PAGES: usize = 16;
/// The bytes that are erased at once.
pub const BLOCK: usize = PAGE * PAGES;
/// The blocks of the chip.
pub const BLOCKS: usize = 256;

const ERASED: u8 = 0xFF;
const FOREVER: u32 = u32::MAX;

/// A chip. Clones are handles on the same cells, which outlive whoever wrote them.
///
/// It is stricter than a real one: a page that was programmed, even in part, must be erased before it is programmed again.
#[derive(Clone)]
pub struct Chip(Arc<Cells>);

struct Cells {
    pages: Box<[[AtomicU8; PAGE]]>,
    /// Whether a page was erased and not programmed since.
    blank: Box<[AtomicBool]>,
    /// How often each block was erased.
    wear: Box<[AtomicU32]>,
    programs: AtomicU32,
    /// How many more times it programs or erases before the power fails.
    power: AtomicU32,
}

impl Default for Chip {
    fn default() -> Self {
        Chip(Arc::new(Cells {
            // What a new chip holds is not promised.
            pages: (0..BLOCKS * PAGES).map(|_| [const { AtomicU8::new(0xA5) }; PAGE]).collect(),
            blank: (0..BLOCKS * PAGES).map(|_| AtomicBool::new(false)).collect(),
            wear: (0..BLOCKS).map(|_| AtomicU32::new(0)).collect(),
            programs: AtomicU32::new(0),
            power: AtomicU32::new(FOREVER),
        }))
    }
}

impl Chip {
    /// Fills `buf` from `at`.
    ///
    /// # Errors
    ///
    /// `Io` without power, or past the end of the chip.
    pub fn read(&self, at: usize, buf: &mut [u8]) -> Result<()> {
        if self.0.power.load(Relaxed) == 0 {
            return Err(no_power());
        }
        let cells = at.checked_add(buf.len()).and_then(|end| self.0.pages.as_flattened().get(at..end));
        let cells =
            cells.ok_or_else(|| io(format!("cannot read {} bytes at {at}: the chip ends before", buf.len())))?;
        for (byte, cell) in buf.iter_mut().zip(cells) {
            *byte = cell.load(Relaxed);
        }
        Ok(())
    }

    /// Programs page `page`, which must be erased.
    ///
    /// # Errors
    ///
    /// `Io` when it is not, or there is no such page; when the power fails, the page then holds some of `bytes`.
    pub fn program(&self, page: usize, bytes: &[u8; PAGE]) -> Result<()> {
        let whole = self.spend()?;
        match self.0.blank.get(page) {
            Some(blank) if blank.swap(false, Relaxed) => {}
            _ => return Err(io(format!("page {page} was programmed before: expected an erased one"))),
        }
        let size = if whole { PAGE } else { PAGE / 2 };
        for (cell, &byte) in self.0.pages[page].iter().zip(&bytes[..size]) {
            cell.store(byte, Relaxed);
        }
        self.0.programs.fetch_add(1, Relaxed);
        if whole { Ok(()) } else { Err(no_power()) }
    }

    /// Erases block `block`.
    ///
    /// # Errors
    ///
    /// `Io` when there is no such block; when the power fails, some of its bytes are erased.
    pub fn erase(&self, block: usize) -> Result<()> {
        let whole = self.spend()?;
        let wear = self.0.wear.get(block).ok_or_else(|| io(format!("there is no block {block}")))?;
        wear.fetch_add(1, Relaxed);
        let size = if whole { BLOCK } else { BLOCK / 2 };
        for cell in &self.0.pages.as_flattened()[block * BLOCK..][..size] {
            cell.store(ERASED, Relaxed);
        }
        for blank in &self.0.blank[block * PAGES..][..PAGES] {
            blank.store(whole, Relaxed);
        }
        if whole { Ok(()) } else { Err(no_power()) }
    }

    /// Lets the power fail in the middle of the `operation`-th program or erase from now, counted from 1.
    pub fn fail_at(&self, operation: u32) {
        self.0.power.store(operation, Relaxed);
    }

    /// Switches the power on again.
    pub fn switch_on(&self) {
        self.0.power.store(FOREVER, Relaxed);
    }

    /// How often a page was programmed.
    #[must_use]
    pub fn programs(&self) -> u32 {
        self.0.programs.load(Relaxed)
    }

    /// How often each block was erased.
    pub fn wear(&self) -> impl Iterator<Item = u32> {
        self.0.wear.iter().map(|wear| wear.load(Relaxed))
    }

    /// Whether the power lasts for all of the operation that begins.
    fn spend(&self) -> Result<bool> {
        match self.0.power.load(Relaxed) {
            0 => Err(no_power()),
            FOREVER => Ok(true),
            left => {
                self.0.power.store(left - 1, Relaxed);
                Ok(left > 1)
            }
        }
    }
}

fn no_power() -> Error {
    Error::new(ErrorKind::Io, "the power failed")
}

pub(crate) fn io(detail: alloc::string::String) -> Error {
    Error::new(ErrorKind::Io, detail)
}
