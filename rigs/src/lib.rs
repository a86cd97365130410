//! What the rigs share: how a run is asked for, and how it says what it did.
//!
//! Each rig is a program of its own (`src/bin`). `--seconds N` says how long it goes on; it prints a table of what it
//! ran, a line `SKIPPED: reason` for each part that cannot run here, and ends with status 1 where a promise was broken,
//! or where a protocol that is wrong on purpose was not caught.

pub mod images;

use std::time::Duration;

/// How long the rig is to go on: `--seconds N`, or `default`.
///
/// # Errors
///
/// Says what it was called with, when that is anything else.
pub fn seconds(default: u64) -> Result<Duration, String> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let seconds = match given.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Some(default),
        ["--seconds", number] => number.parse().ok(),
        _ => None,
    };
    seconds.map(Duration::from_secs).ok_or_else(|| format!("expected --seconds N, found {}", given.join(" ")))
}
