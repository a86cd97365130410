//! Files of several arrays, as several `np.save` calls into one open file make them.

use crate::bookmark::Bookmark;
use crate::error::{Error, ErrorKind, Result, error};
use crate::open::find;
use crate::parts::{Part, Parts, Step, Torn, Walk};
use crate::rows::replaced;
use crate::storage::{Storage, Window};
use crate::view::{Access, View, open_file};
use alloc::sync::Arc;
use core::ops::Range;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most arrays of one file that are looked for: their offsets take 8 bytes each.
const MAX_ARRAYS: usize = 100_000_000;

/// The arrays of a file that several `np.save` calls wrote, found when they are asked for. Each is a [`View`].
///
/// They may differ in dtype, shape and order. A file of one array is a sequence of one, an empty file of none. Its length
/// stays until [`refresh`](Sequence::refresh), also while `np.save` goes on.
///
/// ```
/// # use std::{fs, io::Write};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("runs.npy");
/// # for rows in [&[0.5f32, 1.5][..], &[2.5]] {
/// #     npygrow::save(folder.path().join("one.npy"), rows)?;
/// #     let one = fs::read(folder.path().join("one.npy"))?;
/// #     fs::File::options().create(true).append(true).open(&path)?.write_all(&one)?;
/// # }
/// let runs = npygrow::Sequence::open(&path, npygrow::MAX_HEADER_SIZE)?;
/// assert_eq!(runs.get(1)?.values::<f32>(), Some(&[2.5][..]));
/// assert_eq!(runs.len()?, 2);
/// for run in runs.iter() {
///     assert_eq!(run?.dtype().to_string(), "<f4");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sequence {
    path: Arc<Path>,
    window: Window,
    access: Access,
    max_header_size: u64,
    index: Mutex<Index>,
}

/// Where the arrays begin, as far as they were asked for.
struct Index {
    starts: Vec<u64>,
    walk: Walk,
    is_done: bool,
    torn: Option<Torn>,
}

impl Index {
    /// Looks for arrays until there are `wanted`, or no more.
    fn walk(&mut self, storage: &dyn Storage, wanted: u64) -> Result<()> {
        while !self.is_done && (self.starts.len() as u64) < wanted {
            if self.starts.len() == MAX_ARRAYS {
                return Err(error!(OverLimit, "more than {MAX_ARRAYS} arrays: np.load reads them one after the other"));
            }
            let start = self.walk.next;
            match self.walk.step(storage)? {
                Step::Array => self.starts.push(start),
                Step::End => self.is_done = true,
                Step::Torn(torn) => (self.is_done, self.torn) = (true, Some(torn)),
            }
        }
        Ok(())
    }
}

impl Sequence {
    /// Opens `path` for reading; headers are at most `max_header_size` bytes long. Symlinks are followed.
    ///
    /// # Errors
    ///
    /// As [`View::open`], but that a first array that is not whole is no error: it may be on its way.
    pub fn open(path: impl AsRef<Path>, max_header_size: u64) -> Result<Self> {
        Sequence::open_with(path, Access::Read, max_header_size)
    }

    /// As [`open`](Sequence::open), with `access` to the values.
    ///
    /// # Errors
    ///
    /// As [`open`](Sequence::open).
    pub fn open_with(path: impl AsRef<Path>, access: Access, max_header_size: u64) -> Result<Self> {
        let path = path.as_ref();
        let open = || {
            let window = Window::all(open_file(path, access)?);
            Sequence::over(window.len()?, window, path, access, max_header_size)
        };
        open().map_err(|error: Error| error.at(path.display()))
    }

    /// The arrays of `window` that begin before `limit`.
    fn over(limit: u64, window: Window, path: &Path, access: Access, max_header_size: u64) -> Result<Self> {
        let walk = Walk::new(limit, max_header_size);
        let mut index = Index { starts: Vec::new(), walk, is_done: false, torn: None };
        index.walk(&window, 1)?;
        if let (Some(torn), []) = (&index.torn, &index.starts[..])
            && torn.kind != ErrorKind::NeedsRecovery
        {
            // Of a file that does not even begin well there is more to say.
            find(&window, max_header_size)?;
            return Err(torn.error());
        }
        Ok(Sequence { path: path.into(), window, access, max_header_size, index: Mutex::new(index) })
    }

    /// What another process needs to see the same arrays: [`at`](Sequence::at) takes it.
    ///
    /// # Errors
    ///
    /// As [`View::bookmark`] and [`len`](Sequence::len).
    pub fn bookmark(&self) -> Result<Bookmark> {
        let (rows, end) = {
            let known = self.walked(u64::MAX)?;
            (known.starts.len() as u64, known.walk.next)
        };
        let all = Window { end: Some(end), ..self.window.clone() };
        Bookmark::of(&all, &self.path, rows, self.access, self.max_header_size).map_err(|error| self.named(error))
    }

    /// The arrays that a [`bookmark`](Sequence::bookmark) of a sequence names.
    ///
    /// # Errors
    ///
    /// `Mismatch` when another file has the path by now, or fewer arrays are left; as [`open`](Sequence::open).
    pub fn at(bookmark: &Bookmark) -> Result<Self> {
        let Bookmark { path, rows, access, max_header_size, .. } = bookmark;
        let open = || {
            let Window { file, start, end } = bookmark.window()?;
            let all = Window { file, start, end: None };
            let sequence = Sequence::over(end.unwrap_or(0), all, path, *access, *max_header_size)?;
            if sequence.len()? == *rows { Ok(sequence) } else { Err(replaced()) }
        };
        open().map_err(|error: Error| error.at(path.display()))
    }

    /// The path, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What may be done to the values.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// How many whole arrays there are: every header is read for it, once.
    ///
    /// # Errors
    ///
    /// `Io` when reading fails; `OverLimit` for more than 100,000,000.
    pub fn len(&self) -> Result<u64> {
        Ok(self.walked(u64::MAX)?.starts.len() as u64)
    }

    /// Whether there is no whole array.
    ///
    /// # Errors
    ///
    /// As [`len`](Sequence::len).
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.walked(1)?.starts.is_empty())
    }

    /// Maps the array at `index`, from 0. [`View::refresh`] of it finds rows that an appender adds to a file of one array.
    ///
    /// # Errors
    ///
    /// `Mismatch` when there are fewer arrays, or the file was replaced; that of [`torn`](Sequence::torn) for the array that
    /// is it; as [`len`](Sequence::len).
    pub fn get(&self, index: u64) -> Result<View> {
        match self.find(index)? {
            Some(at) => self.map(index, at),
            None => Err(self.named(error!(Mismatch, "expected an array in 0..{}, found {index}", self.len()?))),
        }
    }

    /// The arrays in order. Where the file does not end with a whole one, the last item is the error of
    /// [`torn`](Sequence::torn).
    pub fn iter(&self) -> impl Iterator<Item = Result<View>> {
        let mut next = Some(0);
        core::iter::from_fn(move || {
            let index = next.take()?;
            let view = self.find(index).transpose()?.and_then(|at| self.map(index, at));
            next = view.is_ok().then_some(index + 1);
            Some(view)
        })
    }

    /// What they are and where they lie, none of them mapped. It ends as [`iter`](Sequence::iter) does.
    pub fn parts(&self) -> impl Iterator<Item = Result<Part>> {
        let parts = Parts::until(self.index().walk.limit, &self.window, self.max_header_size);
        parts.map(|part| part.map_err(|error| self.named(error)))
    }

    /// Where the arrays end before the file does: at one that is not whole, at bytes that are no array, at one whose length
    /// cannot be told.
    ///
    /// # Errors
    ///
    /// As [`len`](Sequence::len).
    pub fn torn(&self) -> Result<Option<Torn>> {
        Ok(self.walked(u64::MAX)?.torn.clone())
    }

    /// Looks for arrays that were saved since, and says which they are.
    ///
    /// # Errors
    ///
    /// `Mismatch` when the file was overwritten by another, or is shorter; as [`len`](Sequence::len).
    pub fn refresh(&self) -> Result<Range<u64>> {
        let mut known = self.walked(u64::MAX)?;
        let was = known.starts.len();
        let grown = || {
            let size = self.window.len()?;
            // From the last array, which may have grown itself.
            let from = known.starts.last().copied().unwrap_or(0);
            if size < known.walk.next {
                return Err(replaced());
            }
            let index = known.walk.index - u64::from(was > 0);
            let mut walk = Walk::new(size, self.max_header_size);
            (walk.index, walk.next) = (index, from);
            let mut fresh = Index { starts: Vec::new(), walk, is_done: false, torn: None };
            fresh.walk(&self.window, u64::MAX)?;
            if was > 0 && fresh.starts.is_empty() { Err(replaced()) } else { Ok(fresh) }
        };
        let fresh = grown().map_err(|error| self.named(error))?;
        // Only now, so that after an error they are new to the next call.
        known.starts.truncate(was.saturating_sub(1));
        known.starts.extend(fresh.starts);
        (known.walk, known.torn) = (fresh.walk, fresh.torn);
        Ok(was as u64..known.starts.len() as u64)
    }

    /// Where the array at `index` begins and ends; the last has no end, since its file may grow.
    fn find(&self, index: u64) -> Result<Option<(u64, Option<u64>)>> {
        let known = self.walked(index.saturating_add(2))?;
        let start = |index: u64| usize::try_from(index).ok().and_then(|index| known.starts.get(index)).copied();
        match (start(index), &known.torn) {
            (Some(at), _) => Ok(Some((at, start(index + 1)))),
            (None, Some(torn)) if torn.index == index => Err(self.named(torn.error())),
            (None, _) => Ok(None),
        }
    }

    fn map(&self, index: u64, (start, end): (u64, Option<u64>)) -> Result<View> {
        let window = Window { file: self.window.file.clone(), start, end };
        View::over(window, &self.path, self.access, self.max_header_size).map_err(|error| {
            let is_full = error.io_kind() == Some(io::ErrorKind::OutOfMemory);
            let call = "a process can hold only so many mappings: let go of arrays, or copy the small ones";
            let error = error.and(format!("array {index}, at offset {start}"));
            self.named(if is_full { error.and(call) } else { error })
        })
    }

    /// The index, walked until it knows `wanted` arrays or all.
    fn walked(&self, wanted: u64) -> Result<MutexGuard<'_, Index>> {
        let mut index = self.index();
        index.walk(&self.window, wanted).map_err(|error| self.named(error))?;
        Ok(index)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // A step that panicked left the index as it was before it.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn named(&self, error: Error) -> Error {
        error.at(self.path.display())
    }
}
