//! Rows of different length: all items joined along axis 0 in `values.npy`, and where each begins in `offsets.npy`.
//!
//! Item `i` is `values[offsets[i]:offsets[i + 1]]`. It exists once `offsets[i + 1]` is committed and the values reach it: no
//! third file says so, and nothing can disagree. The values of an append are counted before its offsets.

mod appender;
mod batches;
mod reader;

pub use appender::RaggedAppender;
pub(crate) use appender::open_column;
pub use reader::{Ragged, RaggedBookmark};
