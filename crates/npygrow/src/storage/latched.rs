use super::{Identity, Storage};
use crate::error::{Error, Result, error};
use alloc::boxed::Box;
use alloc::string::String;

/// A storage that refuses to write once what is durable is unknown. A sync is never tried again: on ext4 and btrfs the
/// second one was seen to succeed while the data was not on the disk.
pub(crate) struct Latched {
    inner: Box<dyn Storage>,
    reason: Option<String>,
}

impl Latched {
    pub(crate) fn new(inner: Box<dyn Storage>) -> Self {
        Latched { inner, reason: None }
    }

    /// Refuses every later write because of `reason`, unless an earlier reason is there: the first failure explains the rest.
    pub(crate) fn latch(&mut self, reason: impl Into<String>) -> Error {
        let reason = reason.into();
        let error = error!(Latched, "{reason}: open the file again");
        self.reason.get_or_insert(reason);
        error
    }

    /// The storage itself: a copy out of it is only fast when it sees what kind it is.
    pub(crate) fn inner(&mut self) -> &mut dyn Storage {
        &mut *self.inner
    }

    pub(crate) fn into_inner(self) -> Box<dyn Storage> {
        self.inner
    }

    /// Refuses when it is latched.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.reason {
            Some(reason) => Err(error!(Latched, "refused after an earlier failure ({reason}): open the file again")),
            None => Ok(()),
        }
    }

    /// Syncs a commit that readers see already.
    pub(crate) fn sync_commit(&mut self) -> Result<()> {
        let result = self.usable()?.sync();
        self.latch_on(result, "commit in doubt")
    }

    fn usable(&mut self) -> Result<&mut dyn Storage> {
        self.check()?;
        Ok(&mut *self.inner)
    }

    /// Latches when `result`, of a call that was to make something durable, is an error.
    pub(crate) fn latch_on<T>(&mut self, result: Result<T>, doubt: &str) -> Result<T> {
        result.map_err(|error: Error| {
            let error = error.and(doubt);
            self.latch(error.detail());
            error.and("open the file again")
        })
    }
}

impl Storage for Latched {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.inner.read_at(offset, buf)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<usize> {
        self.usable()?.write_at(offset, bytes)
    }

    fn commit_at(&mut self, offset: u64, bytes: &[u8], durable: bool) -> Result<()> {
        let result = self.usable()?.commit_at(offset, bytes, durable);
        if durable { self.latch_on(result, "commit in doubt") } else { result }
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        self.usable()?.set_len(len)
    }

    fn sync(&mut self) -> Result<()> {
        let result = self.usable()?.sync();
        self.latch_on(result, "what is durable is unknown")
    }

    fn copy_from(&mut self, from: &dyn Storage, from_offset: u64, offset: u64, len: u64) -> Result<u64> {
        self.usable()?.copy_from(from, from_offset, offset, len)
    }

    fn share_from(&mut self, from: &dyn Storage, from_offset: u64, offset: u64, len: u64) -> Result<bool> {
        self.usable()?.share_from(from, from_offset, offset, len)
    }

    fn take_attributes(&mut self, from: &dyn Storage) -> Result<()> {
        self.usable()?.take_attributes(from)
    }

    fn check_owner(&self) -> Result<()> {
        self.inner.check_owner()
    }

    fn try_lock(&mut self) -> Result<bool> {
        self.inner.try_lock()
    }

    fn lock(&mut self) -> Result<bool> {
        self.inner.lock()
    }

    fn unlock(&mut self) -> Result<()> {
        self.inner.unlock()
    }

    fn is_deleted(&self) -> Result<bool> {
        self.inner.is_deleted()
    }

    fn identity(&self) -> Result<Option<Identity>> {
        self.inner.identity()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::ErrorKind;
    use crate::storage::Memory;

    /// Memory whose syncs and durable commits fail once: a second try would succeed.
    struct FailsOnce(Memory, bool);

    impl FailsOnce {
        fn fail(&mut self, here: bool) -> Result<()> {
            if here && core::mem::take(&mut self.1) { Err(error!(Io, "the disk is gone")) } else { Ok(()) }
        }
    }

    impl Storage for FailsOnce {
        fn len(&self) -> Result<u64> {
            self.0.len()
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
            self.0.read_at(offset, buf)
        }
        fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<usize> {
            self.0.write_at(offset, &bytes[..bytes.len().min(3)])
        }
        fn commit_at(&mut self, offset: u64, bytes: &[u8], durable: bool) -> Result<()> {
            self.fail(durable)?;
            self.0.commit_at(offset, bytes, durable)
        }
        fn set_len(&mut self, len: u64) -> Result<()> {
            self.0.set_len(len)
        }
        fn sync(&mut self) -> Result<()> {
            self.fail(true)
        }
    }

    fn fails_once() -> Latched {
        Latched::new(Box::new(FailsOnce(Memory::new(), true)))
    }

    #[track_caller]
    fn assert_refuses_all(latched: &mut Latched, reason: &str) {
        let text = format!("refused after an earlier failure ({reason}): open the file again");
        let source = Memory::from(vec![1]);
        let refused = [
            latched.write_at(0, b"x").map(drop),
            latched.commit_at(0, b"x", false),
            latched.set_len(0),
            latched.sync(),
            latched.copy_from(&source, 0, 0, 1).map(drop),
            latched.share_from(&source, 0, 0, 1).map(drop),
            latched.take_attributes(&source),
        ];
        for result in refused {
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::Latched, text.clone()));
        }
    }

    #[test]
    fn a_failed_sync_latches() {
        let mut latched = fails_once();
        latched.write_all_at(0, b"abcdefgh").unwrap();
        let error = latched.sync().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(error.to_string(), "the disk is gone; what is durable is unknown; open the file again");
        assert_refuses_all(&mut latched, "the disk is gone; what is durable is unknown");
        let mut buf = [0; 8];
        latched.read_exact_at(0, &mut buf).unwrap();
        assert_eq!(&buf, b"abcdefgh");
    }

    #[test]
    fn a_failed_durable_commit_is_in_doubt() {
        let mut latched = fails_once();
        latched.commit_at(0, b"12345678", false).unwrap();
        latched.commit_at(0, b"12345679", true).unwrap_err();
        assert_refuses_all(&mut latched, "the disk is gone; commit in doubt");
    }

    #[test]
    fn the_first_reason_stays() {
        let mut latched = fails_once();
        assert!(latched.check().is_ok());
        let error = latched.latch("the file was replaced");
        assert_eq!(error.to_string(), "the file was replaced: open the file again");
        latched.latch("later trouble");
        assert_refuses_all(&mut latched, "the file was replaced");
    }
}
