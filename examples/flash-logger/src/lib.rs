//! A logger for a device without an operating system: samples go into an `.npy` on a flash chip.
//!
//! [`chip`] simulates the chip; a driver takes its place. [`volume`] makes a growable run of bytes of it. What is here is the
//! logger: one call to open, one to append, one to read the file back.
#![no_std]

extern crate alloc;

pub mod chip;
pub mod volume;

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use chip::{Chip, PAGE};
use npygrow::storage::Storage as _;
use npygrow::{Appender, Result};
use volume::Volume;

/// What a row is, as NumPy spells it.
pub const DTYPE: &str = "[('time', '<u4'), ('accel', '<i2', (3,)), ('temp', '<i2')]";

/// The bytes of a row.
pub const ROW: usize = 12;

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Milliseconds since the device was switched on.
    pub time: u32,
    /// Acceleration along three axes, in mg.
    pub accel: [i16; 3],
    /// Hundredths of a degree Celsius.
    pub temp: i16,
}

impl Sample {
    /// The bytes of [`DTYPE`]: little-endian, one field after the other.
    #[must_use]
    pub fn to_row(self) -> [u8; ROW] {
        let [x, y, z] = self.accel.map(i16::to_le_bytes);
        let mut row = [0; ROW];
        row[..4].copy_from_slice(&self.time.to_le_bytes());
        for (at, bytes) in [x, y, z, self.temp.to_le_bytes()].into_iter().enumerate() {
            row[4 + 2 * at..6 + 2 * at].copy_from_slice(&bytes);
        }
        row
    }
}

/// Goes on with the log on `chip`, or begins one. Rows gather in a buffer of `buffering` bytes, which never grows.
///
/// Rows are safe from a power cut once `sync` returned: the volume seals rows and count in one step, so that the default
/// durability is all it needs.
///
/// # Errors
///
/// `Io` from the chip; `Mismatch` when it holds rows of another kind.
pub fn open(chip: Chip, buffering: usize) -> Result<Appender> {
    let volume = Volume::mount(chip)?;
    Appender::options().dtype(DTYPE.parse()?).row_shape([]).buffering(buffering).on(Box::new(volume))
}

/// Hands the last sealed file to `send`, a page at a time: it is an ordinary `.npy`.
///
/// # Errors
///
/// `Io` from the chip.
pub fn dump(chip: Chip, mut send: impl FnMut(&[u8])) -> Result<()> {
    let volume = Volume::mount(chip)?;
    let mut page = [0; PAGE];
    let mut offset = 0;
    loop {
        match volume.read_at(offset, &mut page)? {
            0 => return Ok(()),
            got => send(&page[..got]),
        }
        offset += PAGE as u64;
    }
}

/// The guide's code is a test too.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/small-devices.md")]
struct Guide;
