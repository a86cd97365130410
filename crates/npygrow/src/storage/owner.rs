//! The process that a handle belongs to: a fork copies handles, but not the right to write.

use super::sys;
use crate::error::{Result, error};

/// The process that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(u32);

impl Owner {
    pub(crate) fn new() -> Self {
        Owner(sys::process_id())
    }

    #[cfg(test)]
    pub(super) fn of(process: u32) -> Self {
        Owner(process)
    }

    /// Whether this is still that process, not a fork of it.
    pub(crate) fn is_here(self) -> bool {
        self.0 == sys::process_id()
    }

    /// Refuses in a forked child.
    pub(crate) fn check(self) -> Result<()> {
        if self.is_here() {
            return Ok(());
        }
        let (owner, this) = (self.0, sys::process_id());
        Err(error!(Latched, "opened by process {owner}, this is process {this} (a fork): open the file again here"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn another_process_is_refused() {
        let here = sys::process_id();
        assert_eq!(here, std::process::id());
        assert!(Owner::new().is_here());
        assert_eq!(
            Owner::of(here + 1).check().unwrap_err().to_string(),
            format!("opened by process {}, this is process {here} (a fork): open the file again here", here + 1)
        );
    }
}
