//! How an appender is opened.

use crate::error::{Result, error};
use crate::format::{Dtype, MAX_HEADER_SIZE, Order, Tuple};
use crate::grow::Durability;
use crate::open::Spec;
use crate::tail::OnTail;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// What opening does with a path that exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Continues the file, or makes it.
    #[default]
    Append,
    /// Replaces the file, at the first commit.
    Write,
    /// Refuses.
    New,
}

/// Asked by who waits whether to go on.
pub(crate) type Poll = Arc<dyn Fn() -> Result<()> + Send + Sync>;

/// How to open an [`Appender`](crate::Appender): a builder.
///
/// ```
/// use npygrow::{Appender, Durability};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("pose.npy");
/// let mut pose = Appender::options()
///     .dtype("<f4".parse()?)
///     .row_shape([3])
///     .durability(Durability::Power)
///     .open(&path)?;
/// pose.append(&[0.0f32, 1.0, 2.0])?;
/// pose.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "nothing happens until it is opened"]
pub struct Options {
    pub(crate) mode: Mode,
    pub(crate) dtype: Option<Dtype>,
    pub(crate) row_shape: Option<Vec<u64>>,
    pub(crate) order: Option<Order>,
    pub(crate) durability: Durability,
    pub(crate) buffering: usize,
    pub(crate) turns: bool,
    pub(crate) on_tail: OnTail,
    pub(crate) lock_timeout: Option<Duration>,
    pub(crate) on_wait: Option<Poll>,
    pub(crate) max_header_size: Option<u64>,
}

impl Options {
    /// What to do with a path that exists: continue it, unless told otherwise.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// The dtype of a new file, or the one an existing file must have.
    pub fn dtype(mut self, dtype: Dtype) -> Self {
        self.dtype = Some(dtype);
        self
    }

    /// The shape of one row of a new file, or the one an existing file must have. With a dtype and a row shape the
    /// new file is there at once, with 0 rows.
    pub fn row_shape(mut self, row_shape: impl Into<Vec<u64>>) -> Self {
        self.row_shape = Some(row_shape.into());
        self
    }

    /// The order of a new file, [`Order::C`] unless told otherwise, or the one an existing file must have.
    pub fn order(mut self, order: Order) -> Self {
        self.order = Some(order);
        self
    }

    /// Which event every acknowledged row survives.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Gathers rows in memory and publishes them when `bytes` are full, at `commit` and at `close`. 0: none.
    pub fn buffering(mut self, bytes: usize) -> Self {
        self.buffering = bytes;
        self
    }

    /// Holds the lock only while it writes, so that several appenders can take turns.
    pub fn turns(mut self, turns: bool) -> Self {
        self.turns = turns;
        self
    }

    /// What to do with bytes after the last committed row.
    pub fn on_tail(mut self, on_tail: OnTail) -> Self {
        self.on_tail = on_tail;
        self
    }

    /// How long to wait for another appender. Unset: not at all, and with [`turns`](Options::turns) as long as it takes.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = Some(timeout);
        self
    }

    /// What to call while waiting for another appender: before each try, and in a wait without a timeout, which sleeps in the
    /// kernel, only once and after every signal. Its error ends the wait.
    pub fn on_wait(mut self, poll: impl Fn() -> Result<()> + Send + Sync + 'static) -> Self {
        self.on_wait = Some(Arc::new(poll));
        self
    }

    /// The longest header to read or write, in bytes as `np.load` counts them: 10,000 unless told otherwise.
    pub fn max_header_size(mut self, bytes: u64) -> Self {
        self.max_header_size = Some(bytes);
        self
    }

    pub(crate) fn header_limit(&self) -> u64 {
        self.max_header_size.unwrap_or(MAX_HEADER_SIZE)
    }

    /// Whether the options say all of what the rows are.
    pub(crate) fn is_settled(&self) -> bool {
        self.dtype.is_some() && self.row_shape.is_some()
    }

    /// What the rows are, as far as the options say all of it.
    pub(crate) fn spec(&self) -> Option<Spec> {
        let (Some(dtype), Some(row_shape)) = (&self.dtype, &self.row_shape) else { return None };
        Some(Spec { dtype: dtype.clone(), order: self.order.unwrap_or(Order::C), row_shape: row_shape.clone() })
    }

    /// Refuses a file that is not what the options ask for, and says all that differs.
    pub(crate) fn check(&self, found: &Spec) -> Result<()> {
        let dtype = self.dtype.as_ref().unwrap_or(&found.dtype);
        let row_shape = self.row_shape.as_deref().unwrap_or(&found.row_shape);
        let order = self.order.unwrap_or(found.order);
        let (mut want, mut have) = (Vec::new(), Vec::new());
        let mut compare = |same: bool, wanted: String, held: String| {
            if !same {
                want.push(wanted);
                have.push(held);
            }
        };
        compare(*dtype == found.dtype, format!("dtype {dtype}"), format!("dtype {}", found.dtype));
        compare(
            row_shape == found.row_shape,
            format!("rows of shape {}", Tuple(row_shape)),
            format!("rows of shape {}", Tuple(&found.row_shape)),
        );
        compare(order == found.order, format!("{order} order"), format!("{} order", found.order));
        if want.is_empty() {
            return Ok(());
        }
        Err(error!(Mismatch, "expected a file with {}, found {}", want.join(", "), have.join(", ")))
    }
}
