//! Where bytes live. Nothing here knows `.npy`: everything that writes, creates, copies or repairs goes through the two
//! traits, so that a fault-injecting or power-cut disk can stand in for a real one.

mod latched;
mod memory;

#[cfg(feature = "std")]
mod directory;
#[cfg(all(feature = "std", target_os = "linux", target_has_atomic = "64"))]
mod fault;
#[cfg(feature = "std")]
mod file;
#[cfg(feature = "std")]
mod folder;
#[cfg(feature = "std")]
mod lock;
#[cfg(feature = "std")]
mod owner;
#[cfg(feature = "std")]
mod sys;
#[cfg(feature = "std")]
mod watch;
#[cfg(feature = "std")]
mod window;
#[cfg(all(feature = "std", target_os = "linux", target_has_atomic = "64"))]
mod word;
#[cfg(all(feature = "std", target_os = "linux", target_has_atomic = "64"))]
mod zeros;

pub(crate) use latched::Latched;
pub use memory::Memory;

#[cfg(feature = "std")]
pub use directory::Directory;
#[cfg(feature = "std")]
pub use file::File;
#[cfg(feature = "std")]
pub(crate) use folder::beside;
#[cfg(feature = "std")]
pub use folder::{Folder, Temp};
#[cfg(feature = "std")]
pub(crate) use lock::{Hold, Wait, acquire};
#[cfg(feature = "std")]
pub(crate) use owner::Owner;
#[cfg(feature = "std")]
pub(crate) use sys::{Mapped, READS_AHEAD, read_cached, read_soon, watch_for_faults};
#[cfg(feature = "std")]
pub(crate) use watch::Watch;
#[cfg(feature = "std")]
pub(crate) use window::Window;

use crate::error::{Result, error};
use alloc::vec;
use core::any::Any;

/// Which file a handle holds, whatever its name is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The device, or any number that tells one storage from another.
    pub device: u64,
    /// The file on that device.
    pub file: u64,
}

/// A growable run of bytes with positional reads and writes: a file, memory, a flash device.
///
/// Offsets and lengths are bytes. What is written is seen by every later read; what is durable is said by
/// [`sync`](Storage::sync) and by [`commit_at`](Storage::commit_at) with `durable`.
pub trait Storage: Any + Send {
    /// The length in bytes.
    fn len(&self) -> Result<u64>;

    /// Whether it holds no bytes.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads into `buf` from `offset` and says how many bytes it got: fewer than asked only at the end, then 0.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;

    /// Writes some of `bytes` at `offset`, growing the storage as needed, and says how many: at least one unless
    /// `bytes` is empty. A short write is not an error; the caller goes on with the rest.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<usize>;

    /// Writes all of `bytes`, at most 16 and not across a 16-byte boundary, so that a reader sees all of them or
    /// none. With `durable` they survive a power cut when it returns.
    fn commit_at(&mut self, offset: u64, bytes: &[u8], durable: bool) -> Result<()>;

    /// Cuts the storage to `len` bytes, or grows it with zeros.
    fn set_len(&mut self, len: u64) -> Result<()>;

    /// Makes every byte written so far, and the length, survive a power cut. A failure is final: what is durable is then
    /// unknown, and a second try may succeed without cause.
    fn sync(&mut self) -> Result<()>;

    /// Reads into `buf` from `offset` until it is full or the storage ends, and says how many bytes that were.
    fn read_up_to(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.read_at(offset + done as u64, &mut buf[done..])? {
                0 => break,
                got => done += got,
            }
        }
        Ok(done)
    }

    /// Fills `buf` from `offset`, or says where the storage ended.
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let (wanted, got) = (buf.len(), self.read_up_to(offset, buf)?);
        if got == wanted {
            return Ok(());
        }
        Err(error!(Io, "expected {wanted} bytes at offset {offset}, found {got}: the file ends there"))
    }

    /// Writes all of `bytes` at `offset`, going on after every short write.
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match self.write_at(offset + done as u64, &bytes[done..])? {
                0 => {
                    return Err(error!(
                        Io,
                        "wrote {done} of {} bytes at offset {offset}, then nothing more",
                        bytes.len()
                    ));
                }
                written => done += written,
            }
        }
        Ok(())
    }

    /// Copies `len` bytes of `from` to `offset` and says how many it copied: fewer only where `from` ends.
    fn copy_from(&mut self, from: &dyn Storage, from_offset: u64, offset: u64, len: u64) -> Result<u64> {
        copy_through_memory(self, from, from_offset, offset, len)
    }

    /// Shares the blocks of `from` instead of copying them; `false`, and nothing done, where that is impossible.
    fn share_from(&mut self, from: &dyn Storage, from_offset: u64, offset: u64, len: u64) -> Result<bool> {
        let _ = (from, from_offset, offset, len);
        Ok(false)
    }

    /// Takes the mode, the owner and the times of `from`, as far as the two have such things.
    fn take_attributes(&mut self, from: &dyn Storage) -> Result<()> {
        let _ = from;
        Ok(())
    }

    /// Refuses when this handle must not write: a fork copied it into another process.
    fn check_owner(&self) -> Result<()> {
        Ok(())
    }

    /// Takes the lock of the one appender; `false` when another handle holds it, `true` also when this one already does.
    /// Storage that only one handle can reach needs none.
    fn try_lock(&mut self) -> Result<bool> {
        Ok(true)
    }

    /// As [`try_lock`](Storage::try_lock), but waits; `false` when a signal ended the wait.
    fn lock(&mut self) -> Result<bool> {
        self.try_lock()
    }

    /// Gives the lock back. A no-op without it, and in a fork: the lock is the process's that took it.
    fn unlock(&mut self) -> Result<()> {
        Ok(())
    }

    /// Whether no name leads here any more, so that what is written goes with this handle.
    fn is_deleted(&self) -> Result<bool> {
        Ok(false)
    }

    /// Which file this is, where there can be several handles on one.
    fn identity(&self) -> Result<Option<Identity>> {
        Ok(None)
    }
}

/// The largest block that any copy or conversion holds in memory, in bytes.
pub(crate) const BLOCK: usize = 4 << 20;

/// What a copy through memory reads and writes at once, in bytes: the fastest of 64 KiB to 4 MiB on ext4.
const COPIED: usize = 1 << 20;

fn copy_through_memory<S: Storage + ?Sized>(
    to: &mut S,
    from: &dyn Storage,
    from_offset: u64,
    offset: u64,
    len: u64,
) -> Result<u64> {
    let mut block = vec![0; usize::try_from(len).map_or(COPIED, |len| len.min(COPIED))];
    let mut done = 0;
    while done < len {
        // Writes that end with a page of the target fill whole pages.
        let whole = COPIED - ((offset + done) % COPIED as u64) as usize;
        let want = block.len().min(whole).min(usize::try_from(len - done).unwrap_or(usize::MAX));
        let got = from.read_at(from_offset + done, &mut block[..want])?;
        if got == 0 {
            break;
        }
        to.write_all_at(offset + done, &block[..got])?;
        done += got as u64;
    }
    Ok(done)
}
