//! The end: what waits is published, or said to be lost.

use super::Background;
use super::work::{Held, IN_DOUBT, LOST, Last};
use crate::error::Result;
use crate::sync::thread::JoinHandle;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

impl Background {
    pub(super) fn finish(&self, last: Last) -> Result<()> {
        if !self.shared.owner.is_here() {
            return Ok(());
        }
        let mut queue = self.shared.lock();
        if queue.closed {
            return Ok(());
        }
        queue.closing = true;
        self.shared.wake_calls(&queue);
        let done = self.last_turn(queue, last)?;
        let mut queue = self.shared.lock();
        let done = match done {
            Err(error) if !queue.broken => {
                let fate = if queue.latched { IN_DOUBT } else { LOST };
                Err(self.shared.named(queue.with_facts(error, self.len(), fate)))
            }
            done => done,
        };
        queue.closed = true;
        queue.waiting = Default::default();
        self.shared.rows.store(queue.committed, Ordering::Release);
        self.shared.wake_calls(&queue);
        self.shared.wake_writer(&mut queue);
        drop(queue);
        let writer = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It has no result, and what it may have panicked with was told.
        let _ = writer.map(JoinHandle::join);
        done
    }

    /// Publishes and closes the appender. The outer error is that of a wait: it is open as before.
    fn last_turn(&self, queue: Held<'_>, last: Last) -> Result<Result<()>> {
        let mut turn = match self.shared.turn(queue, true, last) {
            Ok(turn) => turn,
            Err(error) => {
                let mut queue = self.shared.lock();
                if queue.closed {
                    return Ok(Ok(())); // by another thread
                }
                queue.closing = queue.broken;
                return if queue.broken { Ok(Err(error)) } else { Err(error) };
            }
        };
        let published = turn.publish();
        let closed = match turn.take() {
            Some(appender) => {
                self.shared.lock().committed = appender.committed();
                appender.close()
            }
            None => Ok(()),
        };
        Ok(published.and(closed))
    }
}
