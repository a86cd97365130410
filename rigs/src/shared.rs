//! Memory that processes share, through mappings of one file.
#![allow(unsafe_code)]

use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{self, AtomicU64, Ordering};

/// Words that several processes read and write, 0 at first.
#[derive(Debug)]
pub struct Words {
    map: MmapRaw,
}

impl Words {
    /// Makes the file that holds them.
    ///
    /// # Errors
    ///
    /// As making and mapping a file.
    pub fn make(path: &Path, words: u64) -> io::Result<Words> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        file.set_len(words * 8)?;
        Ok(Words { map: MmapOptions::new().map_raw(&file)? })
    }

    /// Opens those of another process.
    ///
    /// # Errors
    ///
    /// As opening and mapping a file.
    pub fn open(path: &Path) -> io::Result<Words> {
        Ok(Words { map: MmapOptions::new().map_raw(&File::options().read(true).write(true).open(path)?)? })
    }

    /// The word at `index`.
    #[must_use]
    pub fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.map.len() / 8, "there is no word {index}");
        // SAFETY: within the mapping, which lives as long as `self`, starts at a page and is writable; nothing makes other
        // references to it.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().cast::<u64>().add(index)) }
    }
}

/// The first bytes of a file, mapped.
#[derive(Debug)]
pub struct Header {
    map: MmapRaw,
}

/// How many bytes a [`Header`] has.
pub const HEADER: usize = 128;

impl Header {
    /// Maps them; the file is never shortened.
    ///
    /// # Errors
    ///
    /// As mapping a file.
    pub fn map(file: &File) -> io::Result<Header> {
        Ok(Header { map: MmapOptions::new().len(HEADER).map_raw_read_only(file)? })
    }

    /// Copies them, as `memcpy` does: in blocks of 16 bytes and more.
    #[must_use]
    pub fn copy(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        // SAFETY: 128 readable bytes. That others change them meanwhile is what a rig is about; for the compiler the file is
        // anything, before the fence and after it.
        unsafe {
            atomic::compiler_fence(Ordering::SeqCst);
            ptr::copy_nonoverlapping(black_box(self.map.as_ptr()), bytes.as_mut_ptr(), HEADER);
            atomic::compiler_fence(Ordering::SeqCst);
        }
        black_box(bytes)
    }

    /// One of its bytes.
    #[must_use]
    pub fn byte(&self, index: usize) -> u8 {
        assert!(index < HEADER, "there is no byte {index}");
        // SAFETY: within the mapping.
        unsafe { ptr::read_volatile(self.map.as_ptr().add(index)) }
    }

    /// One of its words, read whole.
    #[must_use]
    pub fn word(&self, index: usize) -> [u8; 8] {
        assert!(index < HEADER / 8, "there is no word {index}");
        // SAFETY: an aligned word within the mapping.
        unsafe { ptr::read_volatile(self.map.as_ptr().cast::<u64>().add(index)) }.to_ne_bytes()
    }
}
