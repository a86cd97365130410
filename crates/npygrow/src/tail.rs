//! Bytes after the last committed row: what opening a file to append makes of them.

use crate::error::{Error, Result, count, error};
use crate::open::{Found, Growth, Health, truncated};

/// What opening does with bytes after the last committed row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTail {
    /// Cuts what an append of ours left unacknowledged; refuses with `NeedsRecovery` where the header is not ours.
    #[default]
    Auto,
    /// Whole rows become rows, a torn row is cut.
    Keep,
    /// Cuts it.
    Drop,
    /// Refuses with `NeedsRecovery`.
    Error,
}

/// What was cut from the tail of a file when it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Whole rows among the bytes.
    pub rows: u64,
    /// All bytes that were cut.
    pub bytes: u64,
}

/// The bytes after the last committed row, and how many rows of them stay.
pub(crate) struct Tail {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) keep: u64,
}

impl Tail {
    /// What `on_tail` makes of it. An error where the file must not be appended to as it is.
    pub(crate) fn of(found: &Found, on_tail: OnTail) -> Result<Self> {
        let (rows, bytes) = match found.health {
            Health::Clean => (0, 0),
            Health::Tail { rows, bytes } => (rows, bytes),
            Health::Truncated { rows, .. } => return Err(truncated(found.rows, rows)),
            Health::Sequence => return Err(sequence()),
        };
        let ours = matches!(found.growth, Growth::Ours(_));
        let keep = match on_tail {
            _ if bytes == 0 => 0,
            OnTail::Keep => rows,
            OnTail::Drop => 0,
            OnTail::Auto if ours => 0,
            OnTail::Auto | OnTail::Error => {
                return Err(error!(
                    NeedsRecovery,
                    "expected the file to end after {}, found {} ({}): call recover(path) to keep them, or open with \
                     on_tail=\"keep\" or \"drop\"",
                    count(found.rows, "row"),
                    count(bytes, "more byte"),
                    count(rows, "whole row")
                ));
            }
        };
        Ok(Tail { rows, bytes, keep })
    }

    pub(crate) fn dropped(&self, row_size: u64) -> Dropped {
        Dropped { rows: self.rows - self.keep, bytes: self.bytes - self.keep * row_size }
    }
}

/// A file that goes on with a second `.npy`.
pub(crate) fn sequence() -> Error {
    error!(
        Unsupported,
        "a second array begins where the first ends (several np.save calls into one file): \
         open_sequence(path) reads them; concat([path], output) makes them one array that can grow"
    )
}
