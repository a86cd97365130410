//! Windows: compiled, never run.
#![allow(unsafe_code)]

use crate::storage::Identity;
use std::ffi::c_void;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::windows::fs::FileExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::ptr;

pub(crate) fn open(path: &Path, write: bool) -> io::Result<fs::File> {
    fs::File::options().read(true).write(write).open(path)
}

pub(crate) fn create(path: &Path, _private: bool) -> io::Result<fs::File> {
    fs::File::options().read(true).write(true).create_new(true).open(path)
}

pub(crate) fn read_at(file: &fs::File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buf, offset)
}

pub(crate) fn write_at(file: &fs::File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.seek_write(bytes, offset)
}

/// The standard library does not tell it yet.
pub(crate) fn identity(_metadata: &Metadata) -> Option<Identity> {
    None
}

/// An open file is not deleted here.
pub(crate) fn len(file: &fs::File) -> io::Result<u64> {
    file.metadata().map(|metadata| metadata.len())
}

pub(crate) fn is_deleted(_metadata: &Metadata) -> bool {
    false
}

pub(crate) fn kind(of: FileType) -> &'static str {
    if of.is_dir() { "a folder" } else { "a device" }
}

pub(crate) fn take_owner(_file: &fs::File, _from: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Folders cannot be synced here: the file system journals their entries.
pub(crate) fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[repr(C)]
struct Overlapped {
    internal: [usize; 2],
    offset: [u32; 2],
    event: *mut c_void,
}

#[link(name = "kernel32")]
unsafe extern "system" {
    fn LockFileEx(file: *mut c_void, flags: u32, zero: u32, low: u32, high: u32, at: *mut Overlapped) -> i32;
    fn UnlockFileEx(file: *mut c_void, zero: u32, low: u32, high: u32, at: *mut Overlapped) -> i32;
}

const FAIL_IMMEDIATELY: u32 = 1;
const EXCLUSIVE: u32 = 2;
const ERROR_LOCK_VIOLATION: i32 = 33;

/// Locks keep others from reading here, so the one byte that stands for the file lies where no data ever is.
fn far_past_the_end() -> Overlapped {
    Overlapped { internal: [0; 2], offset: [0, 0x4000_0000], event: ptr::null_mut() }
}

fn lock_byte(file: &fs::File, flags: u32) -> io::Result<()> {
    // SAFETY: the handle is open for the length of the borrow; the structure has the layout of OVERLAPPED, and outlives the
    // call, which is synchronous because `File` opens no overlapped handles.
    let done = unsafe { LockFileEx(file.as_raw_handle(), EXCLUSIVE | flags, 0, 1, 0, &mut far_past_the_end()) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(crate) fn try_lock(file: &fs::File) -> io::Result<bool> {
    match lock_byte(file, FAIL_IMMEDIATELY) {
        Err(error) if error.raw_os_error() == Some(ERROR_LOCK_VIOLATION) => Ok(false),
        done => done.map(|()| true),
    }
}

pub(crate) fn lock(file: &fs::File) -> io::Result<bool> {
    lock_byte(file, 0).map(|()| true)
}

pub(crate) fn unlock(file: &fs::File) -> io::Result<()> {
    // SAFETY: as in `lock_byte`.
    let done = unsafe { UnlockFileEx(file.as_raw_handle(), 0, 1, 0, &mut far_past_the_end()) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
