//! What npygrow's tests share. Unpublished; it sees npygrow through its public API only.
//!
//! A failure here is a failure of the test that asked, so these helpers panic instead of returning errors.

#![allow(clippy::expect_used, clippy::panic)]

pub mod faulty;
pub mod golden;
pub mod model;
pub mod powercut;
pub mod shared;
