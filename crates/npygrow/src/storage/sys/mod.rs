//! What the platforms do differently: the same functions in sibling files, with the plainest answer where a platform has no
//! better one.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;

#[cfg(all(target_os = "linux", target_has_atomic = "64"))]
mod linux;
#[cfg(all(target_os = "linux", target_has_atomic = "64"))]
pub(crate) use linux::*;

#[cfg(not(all(target_os = "linux", target_has_atomic = "64")))]
mod other;
#[cfg(not(all(target_os = "linux", target_has_atomic = "64")))]
pub(crate) use other::*;

use super::Identity;
use std::fs;
use std::io;
use std::path::Path;

/// A durable write in two steps. An interrupted write is begun again; a failed sync never is.
pub(crate) fn write_then_sync(file: &fs::File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match retry(|| write_at(file, bytes, offset))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
        }
    }
    file.sync_data()
}

/// The file that has the name `path`, where there is one and the platform tells.
pub(crate) fn identity_at(path: &Path) -> io::Result<Option<Identity>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => Ok(identity(&found?)),
    }
}

/// A rename that fails when something has the new name. Between the two steps the file has both names; if the second
/// fails it keeps them, and the old one counts as abandoned.
pub(crate) fn link_then_unlink(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    let _ = fs::remove_file(from);
    Ok(())
}

/// Calls again as long as a signal interrupts.
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_rename_by_link_does_not_clobber_either() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for taken in [false, true] {
            fs::write(&from, b"new").unwrap();
            let renamed = link_then_unlink(&from, &to);
            assert_eq!(
                renamed.map_err(|error| error.kind()),
                if taken { Err(io::ErrorKind::AlreadyExists) } else { Ok(()) }
            );
            assert_eq!(from.exists(), taken);
        }
    }
}
