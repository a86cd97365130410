use crate::storage::Identity;
use rustix::fs::OFlags;
use std::fs::{self, FileType, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

pub(crate) fn open(path: &Path, write: bool) -> io::Result<fs::File> {
    // Nothing here is regular until `fstat` says so: a FIFO put in its place must not block, nor a terminal adopt us.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    fs::File::options().read(true).write(write).custom_flags(flags.bits() as i32).open(path)
}

/// Makes the file at `path`, which must not be there; a `private` one is the owner's alone.
pub(crate) fn create(path: &Path, private: bool) -> io::Result<fs::File> {
    fs::File::options().read(true).write(true).create_new(true).mode(mode(private)).open(path)
}

pub(super) fn mode(private: bool) -> u32 {
    if private { 0o600 } else { 0o666 }
}

pub(crate) fn read_at(file: &fs::File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buf, offset)
}

pub(crate) fn write_at(file: &fs::File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(bytes, offset)
}

pub(crate) fn identity(metadata: &Metadata) -> Option<Identity> {
    Some(Identity { device: metadata.dev(), file: metadata.ino() })
}

/// By `fstat`: what `std` asks for besides takes as long again, and every gather asks.
pub(crate) fn len(file: &fs::File) -> io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
}

pub(crate) fn is_deleted(metadata: &Metadata) -> bool {
    metadata.nlink() == 0
}

/// What is there instead of a regular file.
pub(crate) fn kind(of: FileType) -> &'static str {
    if of.is_dir() {
        "a folder"
    } else if of.is_fifo() {
        "a FIFO"
    } else if of.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// Gives `file` the owner and group of `from`, as far as this process may.
pub(crate) fn take_owner(file: &fs::File, from: &Metadata) -> io::Result<()> {
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match fchown(file, Some(from.uid()), Some(from.gid())) {
        // Only root gives files away; a member of the group may still hand it on.
        Err(error) if refused(&error) => match fchown(file, None, Some(from.gid())) {
            Err(error) if refused(&error) => Ok(()),
            done => done,
        },
        done => done,
    }
}

pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

pub(crate) fn try_lock(file: &fs::File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Waits for the lock; `false` when a signal came first.
pub(crate) fn lock(file: &fs::File) -> io::Result<bool> {
    match file.lock() {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        done => done.map(|()| true),
    }
}

pub(crate) fn unlock(file: &fs::File) -> io::Result<()> {
    file.unlock()
}
