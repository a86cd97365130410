//! The one integration binary of the library: one link for all of its modules.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod power;
mod support;

mod append;
mod architecture;
mod faults;
mod headers;
mod inplace;
