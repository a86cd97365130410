//! Where nothing is known that is better than the plain way.

use crate::storage::Identity;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use super::{link_then_unlink as rename_noreplace, write_then_sync as write_durably};

/// Commits always go through a write: only Linux is known to keep mappings and writes of one file the same.
#[derive(Default)]
pub(crate) struct Word;

impl Word {
    pub(crate) fn store(&mut self, _file: &fs::File, _offset: u64, _bytes: [u8; 8]) -> bool {
        false
    }

    pub(crate) fn forget(&mut self) {}
}

/// A part of a shared mapping, and where it lies in its file. Here nothing is known of faults: a file that is cut during a
/// copy is one.
#[derive(Clone, Copy)]
#[expect(dead_code, reason = "made as on the platform that needs them")]
pub(crate) struct Mapped<'a> {
    pub(crate) file: &'a fs::File,
    pub(crate) bytes: &'a [u8],
    pub(crate) offset: u64,
    pub(crate) is_writable: bool,
}

pub(crate) fn watch_for_faults() {}

impl Mapped<'_> {
    pub(crate) fn guarded(&self, copy: impl FnOnce()) -> bool {
        copy();
        true
    }
}

pub(crate) fn copy_range(_from: &fs::File, _from_offset: u64, _to: &fs::File, _offset: u64, _len: u64) -> u64 {
    0
}

pub(crate) fn share_range(_from: &fs::File, _from_offset: u64, _to: &fs::File, _offset: u64, len: u64) -> bool {
    len == 0
}

/// Whether [`read_soon`] does anything.
pub(crate) const READS_AHEAD: bool = false;

/// Waits, because nothing here tells whether it would have to.
pub(crate) fn read_cached(file: &fs::File, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
    super::retry(|| super::read_at(file, buf, offset)).map(Some)
}

pub(crate) fn read_soon(_file: &fs::File, _offset: u64, _len: usize) {}

pub(crate) fn create_unnamed(_folder: &Path, _private: bool) -> io::Result<(fs::File, PathBuf)> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn link_unnamed(_unnamed: &Path, _to: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Here no call is known that swaps names at once.
pub(crate) fn swap(_one: &Path, _other: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn process_id() -> u32 {
    std::process::id()
}

pub(crate) fn lock_holder(_of: Identity) -> Option<u32> {
    None
}

/// Files are looked at now and then.
pub(crate) struct Events;

impl Events {
    pub(crate) fn of(_file: &fs::File) -> Option<Self> {
        None
    }

    pub(crate) fn wait(&self, _timeout: Duration) -> bool {
        false
    }
}
