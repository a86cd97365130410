//! The wait for the one appender's lock, and the words when it ends in vain.

use super::{Identity, Storage, sys};
use crate::error::{Error, Result, error};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long to wait for a lock.
#[derive(Clone)]
pub(crate) struct Wait {
    /// Zero: one try. `None`: as long as it takes.
    pub(crate) timeout: Option<Duration>,
    /// Called between tries and after signals; an error ends the wait.
    pub(crate) poll: Option<Arc<dyn Fn() -> Result<()> + Send + Sync>>,
}

/// Who holds a lock, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Until it is closed: an endless wait for it in the same process would never end.
    Open,
    /// For one turn.
    Turn,
}

/// The files that appenders of this process hold while they are open. With the process's number, so that a fork does not
/// take its parent's for its own.
static HELD: Mutex<Vec<(Identity, u32)>> = Mutex::new(Vec::new());

fn held() -> MutexGuard<'static, Vec<(Identity, u32)>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn held_here(file: Identity) -> bool {
    held().contains(&(file, process::id()))
}

/// Strikes `file` off the list, before its lock is given back: the next holder may come at once.
pub(super) fn leave(file: Identity) {
    held().retain(|entry| *entry != (file, process::id()));
}

/// Takes the lock of `storage`. A file that was locked as it was made comes here too: to be on the list.
pub(crate) fn acquire(storage: &mut dyn Storage, wait: &Wait, hold: Hold) -> Result<()> {
    let start = Instant::now();
    let file = storage.identity()?;
    let mut pause = Duration::from_millis(1);
    let mut locked = storage.try_lock()?;
    while !locked {
        let left = wait.timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        let in_vain = match left {
            Some(left) => left.is_zero(),
            None => file.is_some_and(held_here),
        };
        if in_vain {
            return Err(refusal(file, wait.timeout));
        }
        if let Some(poll) = &wait.poll {
            poll()?;
        }
        locked = match left {
            None => storage.lock()?,
            Some(left) => {
                sleep(pause.min(left));
                storage.try_lock()?
            }
        };
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    if let (Some(file), Hold::Open) = (file, hold)
        && !held_here(file)
    {
        held().push((file, process::id()));
    }
    Ok(())
}

/// The error for a lock that others keep.
pub(super) fn refusal(file: Option<Identity>, waited: Option<Duration>) -> Error {
    let this = process::id();
    let holder = file.and_then(|file| if held_here(file) { Some(this) } else { sys::lock_holder(file) });
    let waited = match waited {
        Some(time) if !time.is_zero() => format!(" after {} s", time.as_secs_f64()),
        _ => String::new(),
    };
    match holder {
        Some(pid) if pid == this => error!(
            Locked,
            "still locked{waited} by another appender of this very process ({pid}): close it first, or open both with `turns`"
        ),
        _ => {
            let by = holder.map_or("another appender".into(), |pid| format!("an appender of process {pid}"));
            error!(
                Locked,
                "still locked{waited} by {by}, or by a worker forked from it: close it, wait longer with `lock_timeout`, or open \
                 both with `turns`"
            )
        }
    }
}
