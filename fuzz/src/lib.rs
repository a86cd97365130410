//! What each fuzz target does with its bytes: a panic is a fault.
//!
//! cargo-fuzz runs the targets for as long as it is told (`scripts/fuzz`); `tests/short.rs` runs the same functions on
//! stable Rust, over `testdata` and mutations of it.

mod files;
mod folders;
mod format;
mod operations;
pub mod seeds;

pub use files::{inspect, recover, recover_by, sequence};
pub use folders::{bookmark, ragged};
pub use format::{dtype, header, header_by, literal};
pub use operations::{operations, operations_by};

use npygrow::{Error, ErrorKind};

/// A target: bytes in, a panic for what is wrong.
pub type Target = fn(&[u8]);

/// All of them, by the names that cargo-fuzz gives them.
pub const TARGETS: [(&str, Target); 9] = [
    ("literal", literal),
    ("dtype", dtype),
    ("header", header),
    ("inspect", inspect),
    ("recover", recover),
    ("sequence", sequence),
    ("ragged", ragged),
    ("operations", operations),
    ("bookmark", bookmark),
];

/// The name of the file under test.
const NAME: &str = "a.npy";

/// The file that an input stands for, and its last byte, which says what to do with it.
///
/// With the highest bit of that byte the header's length is made to fit: to the first line break after the last brace.
/// So bytes that come and go within the dict do not always end in a header of the wrong length.
fn file(input: &[u8]) -> (u8, Vec<u8>) {
    let Some((&control, file)) = input.split_last() else { return (0, Vec::new()) };
    let mut file = file.to_vec();
    if control & 0x80 != 0
        && file.starts_with(&npygrow::format::MAGIC)
        && let Some(brace) = file.iter().take(20_000).rposition(|&byte| byte == b'}')
        && let Some(line) = file[brace..].iter().position(|&byte| byte == b'\n')
    {
        let start = if file[6] == 1 { 10 } else { 12 };
        if let Some(len) = (brace + line + 1).checked_sub(start) {
            file[8..start].copy_from_slice(&(len as u32).to_le_bytes()[..start - 8]);
        }
    }
    (control, file)
}

/// What is said of bytes that are no good: one of the kinds for that, in words that do nothing to a terminal.
#[track_caller]
fn check_error(error: &Error) {
    use ErrorKind::{Malformed, NotNpy, OverLimit, Unsupported};
    assert!(matches!(error.kind(), NotNpy | Malformed | Unsupported | OverLimit), "{error:?}");
    assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
}
