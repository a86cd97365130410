use super::Storage;
use crate::error::{Result, error};
use alloc::vec::Vec;

/// Storage in memory, for tests, for machines without files, and for building a file's bytes to send elsewhere.
///
/// ```
/// use npygrow::storage::{Memory, Storage};
///
/// let mut memory = Memory::from(b"abc".to_vec());
/// memory.write_all_at(2, b"CD")?;
/// assert_eq!(memory.bytes(), b"abCD");
/// # Ok::<(), npygrow::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Memory {
    bytes: Vec<u8>,
}

impl Memory {
    /// No bytes yet.
    #[must_use]
    pub const fn new() -> Self {
        Memory { bytes: Vec::new() }
    }

    /// What was written so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What was written, as its own.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Grows to `len` bytes with zeros; `len` comes from a file's header sometimes, so that failing is an ordinary thing.
    fn grow(&mut self, len: u64) -> Result<()> {
        let more = usize::try_from(len).ok().and_then(|len| {
            let more = len.saturating_sub(self.bytes.len());
            self.bytes.try_reserve(more).ok().map(|()| more)
        });
        let more = more.ok_or_else(|| error!(Io, "cannot hold {len} bytes in memory"))?;
        self.bytes.resize(self.bytes.len() + more, 0);
        Ok(())
    }
}

impl From<Vec<u8>> for Memory {
    fn from(bytes: Vec<u8>) -> Self {
        Memory { bytes }
    }
}

impl Storage for Memory {
    fn len(&self) -> Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.bytes.get(at..)).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let end = offset.saturating_add(bytes.len() as u64);
        self.grow(end)?;
        // `grow` has shown that the end, and so the offset, is a length of memory.
        let at = offset as usize;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn commit_at(&mut self, offset: u64, bytes: &[u8], _durable: bool) -> Result<()> {
        self.write_all_at(offset, bytes)
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        self.grow(len)?;
        self.bytes.truncate(len as usize);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn grows_with_zeros_and_is_cut() {
        let mut memory = Memory::new();
        memory.write_all_at(3, b"x").unwrap();
        assert_eq!(memory.bytes(), b"\0\0\0x");
        memory.set_len(6).unwrap();
        memory.set_len(5).unwrap();
        assert_eq!(memory.clone().into_bytes(), b"\0\0\0x\0");
        let mut buf = [7; 4];
        assert_eq!(memory.read_at(3, &mut buf).unwrap(), 2);
        assert_eq!(memory.read_at(5, &mut buf).unwrap(), 0);
        assert_eq!(memory.read_at(u64::MAX, &mut buf).unwrap(), 0);
        assert_eq!(buf, [b'x', 0, 7, 7]);
    }

    #[test]
    fn refuses_what_memory_cannot_hold() {
        let mut memory = Memory::from(vec![1]);
        for len in [isize::MAX as u64, isize::MAX as u64 + 1, u64::MAX] {
            assert_eq!(memory.set_len(len).unwrap_err().to_string(), format!("cannot hold {len} bytes in memory"));
            memory.write_at(len, b"ab").unwrap_err();
        }
        assert_eq!(memory.bytes(), [1]);
    }

    #[test]
    fn copies_up_to_the_end_of_the_source() {
        let mut memory = Memory::from(b"0123".to_vec());
        let from = Memory::from(b"abcdef".to_vec());
        assert_eq!(memory.copy_from(&from, 4, 2, 9).unwrap(), 2);
        assert_eq!(memory.bytes(), b"01ef");
        let error = from.read_exact_at(4, &mut [0; 5]).unwrap_err();
        assert_eq!(error.to_string(), "expected 5 bytes at offset 4, found 2: the file ends there");
    }
}
