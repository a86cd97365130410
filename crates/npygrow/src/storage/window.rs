use super::{File, Identity, Storage};
use crate::error::{Error, Result, error};
use alloc::sync::Arc;

/// A part of a file, for reading: what follows `start`, up to `end` or, without one, wherever the file ends by then.
#[derive(Clone)]
pub(crate) struct Window {
    pub(crate) file: Arc<File>,
    pub(crate) start: u64,
    pub(crate) end: Option<u64>,
}

impl Window {
    /// All of `file`, also what is appended later.
    pub(crate) fn all(file: File) -> Self {
        Window { file: Arc::new(file), start: 0, end: None }
    }
}

impl Storage for Window {
    fn len(&self) -> Result<u64> {
        let len = self.file.len()?;
        Ok(self.end.map_or(len, |end| end.min(len)).saturating_sub(self.start))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let offset = self.start.saturating_add(offset);
        let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(offset));
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        self.file.read_at(offset, &mut buf[..len])
    }

    fn write_at(&mut self, _: u64, _: &[u8]) -> Result<usize> {
        Err(read_only())
    }

    fn commit_at(&mut self, _: u64, _: &[u8], _: bool) -> Result<()> {
        Err(read_only())
    }

    fn set_len(&mut self, _: u64) -> Result<()> {
        Err(read_only())
    }

    fn sync(&mut self) -> Result<()> {
        Err(read_only())
    }

    fn identity(&self) -> Result<Option<Identity>> {
        self.file.identity()
    }
}

fn read_only() -> Error {
    error!(Io, "a part of a file is for reading")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn is_a_part_of_a_file_that_may_grow_or_shrink() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"0123456789").unwrap();
        let file = || File::open(&path, false).unwrap().unwrap();
        let part = |start, end| Window { file: file().into(), start, end };
        let text = |window: &Window, offset| {
            let mut buf = [0; 16];
            let got = window.read_up_to(offset, &mut buf).unwrap();
            String::from_utf8(buf[..got].to_vec()).unwrap()
        };
        let (all, tail, middle) = (Window::all(file()), part(4, None), part(2, Some(6)));
        assert_eq!(
            (text(&all, 0), text(&tail, 1), text(&middle, 1)),
            ("0123456789".into(), "56789".into(), "345".into())
        );
        assert_eq!((text(&middle, 4), text(&middle, 99)), (String::new(), String::new()));
        for (size, lens) in [(10, [10, 6, 4]), (12, [12, 8, 4]), (5, [5, 1, 3]), (1, [1, 0, 0])] {
            std::fs::File::options().write(true).open(&path).unwrap().set_len(size).unwrap();
            assert_eq!([all.len().unwrap(), tail.len().unwrap(), middle.len().unwrap()], lens);
        }
        assert_eq!(part(0, None).write_at(0, b"x").unwrap_err().to_string(), "a part of a file is for reading");
    }
}
