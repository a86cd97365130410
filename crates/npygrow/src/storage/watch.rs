use super::{File, Identity, Storage, Window, sys};
use crate::error::{Error, Result};
use std::any::Any;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Pauses up to this one are slept through: events would cut them to nothing while a writer is busy.
const DEAF: Duration = Duration::from_micros(200);
const SHORTEST: Duration = Duration::from_micros(50);
/// With events, for the sake of those that get lost, and of writers on other hosts.
const LONGEST: Duration = Duration::from_millis(500);
const LONGEST_WITHOUT_EVENTS: Duration = Duration::from_millis(50);

/// Paces the looks at a file that somebody may be changing.
///
/// Events alone do not do: a store into a shared mapping gives none, and with that a writer of ours commits. The event comes
/// from the rows, which are written before. So after a sign of life the pauses grow with the time since then, by which
/// whatever follows is seen a quarter later than it could be.
pub(crate) struct Watch {
    events: Option<sys::Events>,
    alive: Instant,
    /// The path whose file it was, and which file that is.
    place: Option<(PathBuf, Identity)>,
}

impl Watch {
    /// Over `storage`, which `path` leads to.
    pub(crate) fn new(storage: &dyn Storage, path: Option<&Path>) -> Result<Self> {
        let place = path.map(Path::to_path_buf).zip(storage.identity()?);
        let any: &dyn Any = storage;
        let file = any.downcast_ref::<File>().or_else(|| any.downcast_ref::<Window>().map(|window| &*window.file));
        let events = file.and_then(|file| sys::Events::of(file.as_std()));
        Ok(Watch { events, alive: Instant::now(), place })
    }

    /// Something was found: more may follow at once.
    pub(crate) fn is_alive(&mut self) {
        self.alive = Instant::now();
    }

    /// Sleeps until the next look is due, at most for `left`.
    pub(crate) fn pause(&mut self, left: Option<Duration>) {
        let longest = if self.events.is_some() { LONGEST } else { LONGEST_WITHOUT_EVENTS };
        let pause = due_in(self.alive.elapsed(), longest).min(left.unwrap_or(longest));
        match &self.events {
            Some(events) if pause > DEAF => {
                if events.wait(pause) {
                    self.is_alive();
                }
            }
            _ => sleep(pause),
        }
    }

    /// Whether the path leads to another file by now, or to none.
    pub(crate) fn is_elsewhere(&self) -> Result<bool> {
        let Some((path, identity)) = &self.place else { return Ok(false) };
        let there = sys::identity_at(path).map_err(|error| Error::io("cannot look up", &error))?;
        Ok(there != Some(*identity))
    }
}

/// How long to wait after so much silence.
fn due_in(silence: Duration, longest: Duration) -> Duration {
    (silence / 4).clamp(SHORTEST, longest)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::fs;
    use std::thread;

    /// How long a pause took that `change` could have ended.
    fn paused(watch: &mut Watch, change: impl FnOnce() + Send) -> Duration {
        // So long ago that the pause is the longest.
        watch.alive = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let start = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                sleep(Duration::from_millis(20));
                change();
            });
            watch.pause(None);
        });
        start.elapsed()
    }

    #[test]
    fn a_change_ends_a_pause() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("rows"), folder.path().join("other"));
        fs::write(&path, b"rows").unwrap();
        fs::write(&other, b"other").unwrap();
        let file = File::open(&path, false).unwrap().unwrap();
        let mut watch = Watch::new(&file, Some(&path)).unwrap();
        assert!(paused(&mut watch, || ()) >= LONGEST);
        assert!(paused(&mut watch, || fs::write(&path, b"more").unwrap()) < LONGEST);
        assert!(!watch.is_elsewhere().unwrap());
        assert!(paused(&mut watch, || fs::rename(&other, &path).unwrap()) < LONGEST);
        assert!(watch.is_elsewhere().unwrap());
    }

    #[test]
    fn pauses_grow_with_the_silence() {
        let (mut silence, mut looks) = (Duration::ZERO, 0);
        while silence < Duration::from_millis(400) {
            let pause = due_in(silence, LONGEST_WITHOUT_EVENTS);
            assert!((SHORTEST..=LONGEST_WITHOUT_EVENTS).contains(&pause), "{pause:?}");
            (silence, looks) = (silence + pause, looks + 1);
        }
        assert!((10..60).contains(&looks), "{looks}");
    }

    #[test]
    fn no_pause_is_longer_than_what_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        fs::write(&path, b"rows").unwrap();
        let mut watch = Watch::new(&File::open(&path, false).unwrap().unwrap(), None).unwrap();
        watch.events = None;
        let start = Instant::now();
        watch.pause(Some(Duration::ZERO));
        assert!(start.elapsed() < LONGEST_WITHOUT_EVENTS);
    }
}
