//! The wait for the one appender's lock, and the words when it ends in vain.

use super::{File, Identity, Storage, sys};
use crate::error::{Error, Result, error};
use core::any::Any;
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

/// The [`File`]s that appenders of this process hold while they are open. With the process's number, so that a fork does not
/// take its parent's for its own.
static HELD: Mutex<Vec<(Identity, u32)>> = Mutex::new(Vec::new());

fn held() -> MutexGuard<'static, Vec<(Identity, u32)>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn held_here(file: Identity) -> bool {
    held().contains(&(file, sys::process_id()))
}

/// Strikes `file` off the list, before its lock is given back: the next holder may come at once.
pub(super) fn leave(file: Identity) {
    held().retain(|entry| *entry != (file, sys::process_id()));
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
    // Another kind of storage would never strike itself off, and be taken for held long after.
    if let (Some(file), Hold::Open) = (file, hold)
        && (storage as &dyn Any).is::<File>()
        && !held_here(file)
    {
        held().push((file, sys::process_id()));
    }
    Ok(())
}

/// The error for a lock that others keep.
fn refusal(file: Option<Identity>, waited: Option<Duration>) -> Error {
    let this = sys::process_id();
    let holder = file.and_then(|file| if held_here(file) { Some(this) } else { sys::lock_holder(file) });
    let locked = match waited {
        Some(time) if !time.is_zero() => format!("still locked after {} s", time.as_secs_f64()),
        _ => "locked".into(),
    };
    match holder {
        Some(pid) if pid == this => error!(
            Locked,
            "{locked} by another appender of this very process ({pid}): close it first, or open both with `turns`"
        ),
        _ => {
            let by = holder.map_or("another appender".into(), |pid| format!("an appender of process {pid}"));
            error!(
                Locked,
                "{locked} by {by}, or by a worker forked from it: close it, wait longer with `lock_timeout`, or open \
                 both with `turns`"
            )
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::ErrorKind;
    use crate::storage::{File, Memory};
    use std::env;
    use std::fs;
    use std::io::{BufRead, BufReader, Read, stdin};
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use tempfile::TempDir;

    const ONE_TRY: Wait = wait(Some(Duration::ZERO));
    const ENDLESS: Wait = wait(None);

    const fn wait(timeout: Option<Duration>) -> Wait {
        Wait { timeout, poll: None }
    }

    fn a_file() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        fs::write(&path, b"").unwrap();
        (folder, path)
    }

    fn open(path: &Path) -> File {
        File::open(path, true).unwrap().unwrap()
    }

    #[track_caller]
    fn refused(path: &Path, wait: &Wait) -> String {
        let error = acquire(&mut open(path), wait, Hold::Open).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked);
        error.to_string()
    }

    #[test]
    fn one_appender_of_a_process_at_a_time() {
        let (_folder, path) = a_file();
        let mut first = open(&path);
        acquire(&mut first, &ONE_TRY, Hold::Open).unwrap();
        acquire(&mut first, &ONE_TRY, Hold::Open).unwrap();
        let rest = format!(
            "another appender of this very process ({}): close it first, or open both with `turns`",
            sys::process_id()
        );
        assert_eq!(refused(&path, &ONE_TRY), format!("locked by {rest}"));
        assert_eq!(refused(&path, &ENDLESS), format!("locked by {rest}"));
        assert_eq!(
            refused(&path, &wait(Some(Duration::from_millis(30)))),
            format!("still locked after 0.03 s by {rest}")
        );
        first.unlock().unwrap();
        let mut second = open(&path);
        acquire(&mut second, &ENDLESS, Hold::Open).unwrap();
        drop(second);
        acquire(&mut first, &ENDLESS, Hold::Open).unwrap();
    }

    #[test]
    fn an_endless_wait_sees_a_turn_through() {
        let (_folder, path) = a_file();
        let mut first = open(&path);
        acquire(&mut first, &ONE_TRY, Hold::Turn).unwrap();
        assert!(!held_here(first.identity().unwrap().unwrap()));
        thread::scope(|scope| {
            let second = scope.spawn(|| acquire(&mut open(&path), &ENDLESS, Hold::Turn));
            thread::sleep(Duration::from_millis(50));
            assert!(!second.is_finished());
            first.unlock().unwrap();
            second.join().unwrap().unwrap();
        });
    }

    /// Nothing by itself: the test below runs it in a process of its own.
    #[test]
    fn held_by_a_child() {
        if let Ok(path) = env::var("NPYGROW_TEST_HOLD") {
            let mut held = open(path.as_ref());
            acquire(&mut held, &ONE_TRY, Hold::Open).unwrap();
            println!("\nheld");
            let _ = stdin().read_to_end(&mut Vec::new());
        }
    }

    /// A process that holds the lock until its standard input ends.
    fn holder(path: &Path) -> Child {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "storage::lock::tests::held_by_a_child", "--nocapture"])
            .env("NPYGROW_TEST_HOLD", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "held"));
        child
    }

    #[test]
    fn another_process_is_named_and_waited_for() {
        let (_folder, path) = a_file();
        let mut child = holder(&path);
        let text = refused(&path, &ONE_TRY);
        assert!(text.contains("a worker forked from it") && text.contains("`lock_timeout`"), "{text}");
        // One look may miss it while other locks come and go.
        let named = format!("locked by an appender of process {}, or ", child.id());
        assert!(!cfg!(target_os = "linux") || (0..100).any(|_| refused(&path, &ONE_TRY).starts_with(&named)), "{text}");
        thread::scope(|scope| {
            let waits = [ENDLESS, wait(Some(Duration::from_secs(60)))].map(|wait| {
                scope.spawn({
                    let path = &path;
                    move || acquire(&mut open(path), &wait, Hold::Turn)
                })
            });
            thread::sleep(Duration::from_millis(50));
            assert!(waits.iter().all(|wait| !wait.is_finished()));
            drop(child.stdin.take());
            waits.into_iter().for_each(|wait| wait.join().unwrap().unwrap());
        });
        child.wait().unwrap();
    }

    #[test]
    fn an_error_of_the_poll_ends_the_wait() {
        let (_folder, path) = a_file();
        let mut first = open(&path);
        assert!(first.try_lock().unwrap());
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let poll: Arc<dyn Fn() -> Result<()> + Send + Sync> =
            Arc::new(move || match counted.fetch_add(1, Ordering::Relaxed) {
                0..3 => Ok(()),
                _ => Err(error!(Io, "interrupted")),
            });
        for timeout in [Some(Duration::from_secs(60)), None] {
            calls.store(0, Ordering::Relaxed);
            let mut second = Signalled(open(&path));
            let error = acquire(&mut second, &Wait { timeout, poll: Some(Arc::clone(&poll)) }, Hold::Open).unwrap_err();
            assert_eq!((error.to_string().as_str(), calls.load(Ordering::Relaxed)), ("interrupted", 4));
        }
        first.unlock().unwrap();
        acquire(&mut Memory::new(), &ONE_TRY, Hold::Open).unwrap();
    }

    /// A file that others hold, and whose every wait a signal ends.
    struct Signalled(File);

    impl Storage for Signalled {
        fn len(&self) -> Result<u64> {
            self.0.len()
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
            self.0.read_at(offset, buf)
        }
        fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<usize> {
            self.0.write_at(offset, bytes)
        }
        fn commit_at(&mut self, offset: u64, bytes: &[u8], durable: bool) -> Result<()> {
            self.0.commit_at(offset, bytes, durable)
        }
        fn set_len(&mut self, len: u64) -> Result<()> {
            self.0.set_len(len)
        }
        fn sync(&mut self) -> Result<()> {
            self.0.sync()
        }
        fn try_lock(&mut self) -> Result<bool> {
            self.0.try_lock()
        }
    }
}
