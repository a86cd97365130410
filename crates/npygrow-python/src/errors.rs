//! The crate's errors as Python's exceptions.

use npygrow::{Error, ErrorKind};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use std::io;

macro_rules! exceptions {
    ($($name:ident),+) => { $(pyo3::import_exception!(npygrow.errors, $name);)+ };
}
exceptions!(NpyError, FormatError, MismatchError, NotAppendableError, NeedsRecoveryError, LockedError, LatchedError);

/// The exception for an error.
///
/// A function rather than `From`: neither type is this crate's.
pub(crate) fn raise(error: Error) -> PyErr {
    match error.kind() {
        ErrorKind::Io => os_error(&error),
        ErrorKind::NotNpy | ErrorKind::Malformed | ErrorKind::Unsupported | ErrorKind::OverLimit => {
            FormatError::new_err(error.to_string())
        }
        ErrorKind::Mismatch => MismatchError::new_err(error.to_string()),
        ErrorKind::NotAppendable => NotAppendableError::new_err(error.to_string()),
        ErrorKind::NeedsRecovery => NeedsRecoveryError::new_err(error.to_string()),
        ErrorKind::Locked => LockedError::new_err((libc::EAGAIN, error.detail(), error.path().map(str::to_owned))),
        ErrorKind::Latched => LatchedError::new_err(error.to_string()),
        _ => NpyError::new_err(error.to_string()),
    }
}

/// Python picks the subclass of `OSError` by errno, so an error that has a kind alone is given one.
fn os_error(error: &Error) -> PyErr {
    let number = error.raw_os_error().or_else(|| match error.io_kind()? {
        io::ErrorKind::NotFound => Some(libc::ENOENT),
        io::ErrorKind::PermissionDenied => Some(libc::EACCES),
        io::ErrorKind::AlreadyExists => Some(libc::EEXIST),
        io::ErrorKind::NotADirectory => Some(libc::ENOTDIR),
        io::ErrorKind::IsADirectory => Some(libc::EISDIR),
        io::ErrorKind::InvalidInput => Some(libc::EINVAL),
        _ => None,
    });
    match number {
        Some(number) => PyOSError::new_err((number, error.detail(), error.path().map(str::to_owned))),
        None => PyOSError::new_err(error.to_string()),
    }
}
