//! NumPy files that grow: append arrays to one plain `.npy` at any time, from any process, lose nothing in a crash, and
//! read it while it grows.
//!
//! A file is an ordinary `.npy` at every instant, for every reader. An append writes its rows at the end, then counts them
//! in the header by one aligned write: the moment they exist for readers.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("pose.npy");
//! use npygrow::{Appender, Reader};
//!
//! let mut pose = Appender::open(&path)?; // made at the first append, or continued
//! assert_eq!(pose.append(&[[0.0f32, 0.5, 1.0], [1.0, 1.5, 2.0]])?, Some(0..2));
//!
//! let reader = Reader::open(&path)?; // any time, also while it grows
//! assert_eq!(reader.shape(), [2, 3]);
//! assert_eq!(reader.rows::<[f32; 3]>(1..2)?, [[1.0, 1.5, 2.0]]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | to | use |
//! |---|---|
//! | append | [`Appender`] |
//! | append without waiting for the disk | [`Background`] |
//! | read row ranges | [`Reader`] |
//! | wait for new rows | [`Reader::wait`] |
//! | map a file | [`View`] |
//! | fetch many rows, in any order | [`View::gather`] |
//! | go through all rows, in order or shuffled | [`View::batches`] |
//! | show another process the same rows | [`Bookmark`] |
//! | map a file of several arrays | [`Sequence`] |
//! | see what a file is | [`inspect`] |
//! | mend a broken one | [`recover`] |
//! | make room in a header | [`ensure_appendable`] |
//! | join files, folders | [`concat()`], [`concat_folders`] |
//! | append items of different length | [`RaggedAppender`] |
//! | append to several columns at once | [`DatasetAppender`] |
//! | read them | [`Ragged`], [`Dataset`] |
//! | see, mend a folder of these | [`inspect_folder`], [`recover_folder`] |
//!
//! Without the `std` feature the crate needs `alloc` alone, and appends to a caller's own [`storage::Storage`].
#![cfg_attr(not(feature = "std"), no_std)]
// What only files need is unused without them; sorting it out by `cfg` would cost more to read than it saves.
#![cfg_attr(not(feature = "std"), allow(dead_code))]

extern crate alloc;

mod error;
pub mod format;
pub mod storage;

mod element;
mod grow;
mod open;
mod options;
mod parts;
mod rows;
mod tail;
mod transfer;

mod append;
mod read;

#[cfg(feature = "std")]
mod background;
#[cfg(feature = "std")]
mod batches;
#[cfg(feature = "std")]
mod bookmark;
#[cfg(feature = "std")]
mod concat;
#[cfg(feature = "std")]
mod create;
#[cfg(feature = "std")]
mod dataset;
#[cfg(feature = "std")]
mod follow;
#[cfg(feature = "std")]
mod gather;
#[cfg(feature = "std")]
mod group;
#[cfg(feature = "std")]
mod inplace;
#[cfg(feature = "std")]
mod inspect;
#[cfg(feature = "std")]
mod joining;
#[cfg(feature = "std")]
mod ragged;
#[cfg(feature = "std")]
mod repair;
#[cfg(feature = "std")]
mod sequence;
#[cfg(feature = "std")]
mod shuffle;
#[cfg(feature = "std")]
mod sync;
#[cfg(feature = "std")]
mod view;

pub use append::{Appender, Batch};
pub use element::Element;
pub use error::{Error, ErrorKind, Result};
pub use format::{Dtype, Field, Header, MAX_HEADER_SIZE, MAX_ROWS, Order};
pub use grow::Durability;
pub use open::Health;
pub use options::{Mode, Options};
pub use parts::{Part, Parts, Torn};
pub use read::Reader;
pub use tail::{Dropped, OnTail};

#[cfg(feature = "std")]
pub use append::save;
#[cfg(feature = "std")]
pub use background::{Background, Limits};
#[cfg(feature = "std")]
pub use batches::{Batches, Block};
#[cfg(feature = "std")]
pub use bookmark::Bookmark;
#[cfg(feature = "std")]
pub use concat::{ConcatOptions, Joined, OnExists, concat, concat_in, concat_with};
#[cfg(feature = "std")]
pub use create::Room;
#[cfg(feature = "std")]
pub use dataset::{
    Column, ColumnBookmark, ColumnRecovery, ColumnReport, ColumnSpec, Dataset, DatasetAppender, DatasetBookmark,
    FolderJoined, FolderRecovery, FolderReport, concat_folders, concat_folders_in, ensure_folder_appendable,
    folder_needs_recovery, inspect_folder, is_folder_appendable, recover_folder, recover_folder_in,
};
#[cfg(feature = "std")]
pub use group::ColumnPart;
#[cfg(feature = "std")]
pub use inspect::{Report, inspect, inspect_in, is_appendable, needs_recovery};
#[cfg(feature = "std")]
pub use ragged::{Ragged, RaggedAppender, RaggedBookmark};
#[cfg(feature = "std")]
pub use repair::{
    RecoverOptions, Recovery, Tail, ensure_appendable, ensure_appendable_in, ensure_appendable_with, recover,
    recover_in,
};
#[cfg(feature = "std")]
pub use sequence::Sequence;
#[cfg(feature = "std")]
pub use view::{Access, View};

/// The README's examples are tests too.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
