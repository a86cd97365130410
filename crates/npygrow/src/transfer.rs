//! Bytes from one storage to another: blocks shared where they can be, else copied.

use crate::error::{Result, error};
use crate::storage::Storage;

/// Copied between two calls of `progress`.
const STEP: u64 = 64 << 20;

/// Blocks can only be shared whole, and only from a block's start to a block's start.
const BLOCK_SIZE: u64 = 4096;

/// Fewer bytes are copied as fast as shared, and leave fewer pieces.
const SHARE_FROM: u64 = 1 << 20;

/// Moves `len` bytes of `from` to `offset`, where `to` ends, and says how many of them are shared. `progress` hears of each
/// step how many bytes it took; an error of its own ends the work.
pub(crate) fn transfer(
    to: &mut dyn Storage,
    from: &dyn Storage,
    from_offset: u64,
    offset: u64,
    len: u64,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let mut done = 0;
    let copy = |to: &mut dyn Storage, done: &mut u64, step: u64| {
        let copied = to.copy_from(from, from_offset + *done, offset + *done, step)?;
        *done += copied;
        if copied == step { Ok(()) } else { Err(error!(Io, "copied {done} of {len} bytes: the source ended")) }
    };
    let mut shared = 0;
    if let Some((head, middle)) = whole_blocks(from_offset, offset, len) {
        copy(to, &mut done, head)?;
        if to.share_from(from, from_offset + head, offset + head, middle)? {
            done += middle;
            shared = middle;
        }
        progress(done)?;
    }
    while done < len {
        let step = STEP.min(len - done);
        copy(to, &mut done, step)?;
        progress(step)?;
    }
    Ok(shared)
}

/// The bytes before the blocks that can be shared, and those in them.
fn whole_blocks(from_offset: u64, offset: u64, len: u64) -> Option<(u64, u64)> {
    let head = offset.next_multiple_of(BLOCK_SIZE) - offset;
    let middle = len.saturating_sub(head) / BLOCK_SIZE * BLOCK_SIZE;
    (from_offset % BLOCK_SIZE == offset % BLOCK_SIZE && middle >= SHARE_FROM).then_some((head, middle))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::Memory;
    use alloc::vec::Vec;

    #[test]
    fn only_blocks_that_lie_alike_are_shared() {
        let mib = 1 << 20;
        assert_eq!(whole_blocks(128, 128, mib + 8000), Some((3968, mib)));
        assert_eq!(whole_blocks(4096, 8192, mib), Some((0, mib)));
        assert_eq!(whole_blocks(128, 192, 2 * mib), None);
        assert_eq!(whole_blocks(128, 128, mib), None, "less than is worth it");
        assert_eq!(whole_blocks(128, 128, 5), None);
    }

    #[test]
    fn every_byte_is_copied_and_counted() {
        let len = (2 << 20) + 17;
        let bytes: Vec<u8> = (0..len as u32).map(|i| (i % 251) as u8).collect();
        let (from, mut to) = (Memory::from(bytes.clone()), Memory::from(Vec::from([9; 128])));
        for from_offset in [0, 128] {
            let len = len as u64 - from_offset;
            let mut told = 0;
            let shared = transfer(&mut to, &from, from_offset, 128, len, &mut |bytes| {
                told += bytes;
                Ok(())
            });
            assert_eq!((shared.unwrap(), told), (0, len));
            assert_eq!(to.bytes()[128..][..len as usize], bytes[from_offset as usize..]);
        }
        let error = transfer(&mut to, &from, 0, 128, len as u64 + 1, &mut |_| Ok(())).unwrap_err();
        assert_eq!(error.detail(), "copied 2097169 of 2097170 bytes: the source ended");
    }
}
