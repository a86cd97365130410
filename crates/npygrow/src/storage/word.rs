//! The count as one word of a shared mapping: a commit without a system call.
#![allow(unsafe_code)]

use super::sys;
use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

/// From this commit of a handle on the word is mapped, so that open, append, close does not pay for a mapping.
const FIRST: u32 = 64;

/// The aligned 8 bytes of a file that its commits change, mapped once that pays and is safe.
///
/// Readers see every store whole and after the row bytes: those went into the page cache by a write before, and Linux maps
/// that same cache. `fdatasync` writes a stored word too: it writes the file's dirty pages whoever dirtied them, and
/// msync(2) with `MS_SYNC` is in the kernel (mm/msync.c) nothing but that same sync of the file.
///
/// What can still fault (SIGBUS): another program cuts the file, or punches a hole at its start, between a row's write and
/// the store.
#[derive(Default)]
pub(crate) struct Word {
    mapped: Option<(u64, MmapRaw)>,
    commits: u32,
}

impl Word {
    /// Stores `bytes` at `offset`, or `false`: then they are to be written. The caller has just written beyond them.
    pub(crate) fn store(&mut self, file: &File, offset: u64, bytes: [u8; 8]) -> bool {
        match &self.mapped {
            Some((at, map)) if *at == offset => {
                // SAFETY: `AtomicU64::from_ptr` wants a pointer that is aligned, and valid for reads and writes as long as the
                // reference lives. The mapping starts at a multiple of the page size in memory and in the file, so `offset`,
                // a multiple of 8, is aligned in both; it is 8 bytes long, writable, and borrowed from `self`. No reference
                // to the bytes is ever made but atomic ones.
                let word = unsafe { AtomicU64::from_ptr(map.as_mut_ptr().cast()) };
                word.store(u64::from_ne_bytes(bytes), Ordering::Release);
                true
            }
            _ => {
                self.consider(file, offset);
                false
            }
        }
    }

    /// Forgets the mapping: the file is about to be cut.
    pub(crate) fn forget(&mut self) {
        *self = Word::default();
    }

    /// Maps the word if it is time; where the file is too short or the file system unfit, again after twice the commits.
    fn consider(&mut self, file: &File, offset: u64) {
        self.commits = self.commits.saturating_add(1);
        let due = self.commits >= FIRST && self.commits.is_power_of_two();
        if due && offset.is_multiple_of(8) && sys::overwrites_in_place(file, offset) {
            self.mapped = MmapOptions::new().offset(offset).len(8).map_raw(file).ok().map(|map| {
                // A locked page is never read back from the disk, where a read error would be a SIGBUS too. One page is
                // within every usual limit; without it all works as well.
                let _ = map.lock();
                (offset, map)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn stores_from_the_64th_commit_on_once_the_page_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("word");
        std::fs::write(&path, vec![7; 65_535]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut word = Word::default();
        let mut stored = |count: u64| (0..count).filter(|_| word.store(&file, 64, *b"12345678")).count();
        assert_eq!(stored(127), 0, "the page holds the end of the file");
        file.write_at(b"x", 65_535).unwrap();
        if sys::overwrites_in_place(&file, 64) {
            assert_eq!((stored(1), stored(3)), (0, 3));
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!((&bytes[60..64], &bytes[64..72], &bytes[72..76]), (&[7; 4][..], &b"12345678"[..], &[7; 4][..]));
            assert!(!word.store(&file, 72, *b"another "));
            word.forget();
            assert!(!word.store(&file, 64, *b"12345679"));
        }
    }

    #[test]
    fn a_page_with_a_hole_is_never_mapped() {
        let file = tempfile::tempfile().unwrap();
        file.write_at(&[1; 4096], 0).unwrap();
        file.write_at(&[1; 4096], 1 << 20).unwrap();
        assert!(!sys::overwrites_in_place(&file, 64));
        file.write_at(&[1; 65_536], 0).unwrap();
        let mut word = Word::default();
        assert!((0..1000).all(|_| !word.store(&file, 65_536 + 64, *b"12345678")));
        assert!((0..1000).all(|_| !word.store(&file, 68, *b"12345678")));
    }
}
