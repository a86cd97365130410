//! The one integration binary of the library: one link for all of its modules.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod power;
mod support;

mod adopt;
mod append;
mod architecture;
mod background;
mod concat;
mod concat_folders;
mod consume;
mod create;
mod dataset;
mod edges;
mod faults;
mod faults_joins;
mod faults_together;
mod follow;
mod gather;
mod headers;
mod inplace;
mod locks;
mod model;
mod model_together;
#[cfg(feature = "ndarray")]
mod ndarray;
mod powercut;
mod ragged;
mod reading;
mod recover;
mod room;
mod sequence;
mod threads;
mod turns;
