//! How files are joined.

use crate::error::{Result, error};
use crate::grow::Durability;
use crate::options::Options;
use core::time::Duration;

/// What [`concat`](crate::concat()) does with an output that exists. An empty file counts as none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExists {
    /// Refuses.
    #[default]
    Error,
    /// Appends to it.
    Append,
    /// Replaces it, once the new file is whole.
    Replace,
}

/// How to join files: a builder.
///
/// ```
/// use npygrow::{ConcatOptions, OnExists, concat_with};
/// # let folder = tempfile::tempdir()?;
/// # let [a, all] = ["a.npy", "all.npy"].map(|name| folder.path().join(name));
/// npygrow::save(&a, &[1u8, 2])?;
/// npygrow::save(&all, &[0u8])?;
/// let options = ConcatOptions::default().on_exists(OnExists::Append).consume(true);
/// let joined = concat_with(&[&a], &all, &options, &mut |_done, _of| Ok(()))?;
/// assert_eq!((joined.rows, a.exists()), (3, false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "nothing happens until files are joined"]
pub struct ConcatOptions {
    pub(crate) on_exists: OnExists,
    pub(crate) consume: bool,
    pub(crate) axis: Option<i64>,
    pub(crate) appender: Options,
}

impl ConcatOptions {
    /// What to do with an output that exists: refuse, unless told otherwise.
    pub fn on_exists(mut self, on_exists: OnExists) -> Self {
        self.on_exists = on_exists;
        self
    }

    /// Deletes each input as soon as its rows are on the disk in the output, for disks that cannot hold both. Along the
    /// growth axis only.
    ///
    /// A kill or a power cut at any point loses no row and doubles none: the same call again, or one with the inputs that
    /// are left, finishes. Until then a journal stands beside the output, which every reader can read and nobody can append
    /// to. An output that is to be replaced is given up at once.
    pub fn consume(mut self, consume: bool) -> Self {
        self.consume = consume;
        self
    }

    /// The axis to join along, from the end where it is negative; the growth axis unless told otherwise.
    pub fn axis(mut self, axis: i64) -> Self {
        self.axis = Some(axis);
        self
    }

    /// Which event the rows survive once it returns. Where inputs are consumed they survive a power cut in any case.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.appender = self.appender.durability(durability);
        self
    }

    /// How long to wait for an appender that holds the output, or an input to be consumed. Unset: not at all.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.appender = self.appender.lock_timeout(timeout);
        self
    }

    /// What to call while waiting for a lock; its error ends the wait.
    pub fn on_wait(mut self, poll: impl Fn() -> Result<()> + Send + Sync + 'static) -> Self {
        self.appender = self.appender.on_wait(poll);
        self
    }

    /// The longest header to read or write, in bytes as `np.load` counts them: 10,000 unless told otherwise.
    pub fn max_header_size(mut self, bytes: u64) -> Self {
        self.appender = self.appender.max_header_size(bytes);
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.consume && self.axis.is_some() {
            return Err(error!(Mismatch, "consume joins along the growth axis: expected no axis beside it"));
        }
        Ok(())
    }
}
