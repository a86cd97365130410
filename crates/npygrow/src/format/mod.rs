//! The bytes of an `.npy` header and the arithmetic of its rows. Pure: nothing here does I/O.

mod count;
mod descr;
mod dtype;
mod growable;
mod layout;
mod literal;
mod preamble;
mod scalar;

pub use count::{CountField, Patch};
pub(crate) use descr::Tuple;
pub use dtype::{Dtype, Field};
pub use growable::Growable;
#[cfg(feature = "std")]
pub(crate) use growable::plain_header;
pub use layout::{Layout, Order, join_shape, split_shape};
pub use literal::Note;
pub use preamble::{Header, MAGIC, MAX_HEADER_SIZE, MAX_NDIM, MAX_ROWS, PREFIX, looks_like};

#[cfg(test)]
#[track_caller]
fn assert_error<T>(result: crate::error::Result<T>, expected: &str) {
    assert_eq!(result.err().map(|error| alloc::format!("{error:?}")).as_deref(), Some(expected));
}
