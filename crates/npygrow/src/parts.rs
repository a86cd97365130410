//! The arrays that lie one behind the other in a storage.
//!
//! No table says where they are: each header says where the next one begins. Finding an array is walking there, once.

use crate::error::{Error, ErrorKind, Result, error};
use crate::format::{Growable, Header, Layout, MAGIC, PREFIX, looks_like, split_shape};
use crate::storage::Storage;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// What one read takes where arrays are small, so that it meets many headers, and where they are not, in bytes.
const MANY: usize = 64 << 10;
const ONE: usize = 512;

/// One array among those of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// Where its header begins, in bytes.
    pub offset: u64,
    /// Its bytes, those of the header among them.
    pub size: u64,
    /// What it says it is.
    pub header: Header,
}

/// Where the arrays of a file end before the file does, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Torn {
    /// How many whole arrays come before it.
    pub index: u64,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// The bytes from there on.
    pub bytes: u64,
    /// What an [error](Torn::error) about it is: `NeedsRecovery` for an array that is not whole, which it may still become.
    pub kind: ErrorKind,
    /// What is wrong.
    pub text: String,
}

impl Torn {
    /// It as an error, which says what to do as well.
    #[must_use]
    pub fn error(&self) -> Error {
        let error = Error::new(self.kind, self.text.clone());
        match (self.kind, self.index) {
            (ErrorKind::NeedsRecovery, 0) => error.and("inspect(path) says what is left"),
            (ErrorKind::NeedsRecovery, _) => error.and(format!("os.truncate(path, {}) removes it", self.offset)),
            _ => error,
        }
    }
}

/// The whole arrays of a storage, one header after the other. Nothing is mapped, and no value read.
///
/// Where the storage does not end with a whole array, the last item is the error of a [`Torn`].
pub struct Parts<'a> {
    storage: &'a dyn Storage,
    walk: Walk,
    is_done: bool,
}

impl<'a> Parts<'a> {
    /// Those of `storage` that begin before its end as it is now, with headers of at most `max_header_size` bytes.
    ///
    /// # Errors
    ///
    /// `Io` when the storage cannot say how long it is.
    pub fn of(storage: &'a dyn Storage, max_header_size: u64) -> Result<Self> {
        Ok(Parts::until(storage.len()?, storage, max_header_size))
    }

    /// Those that begin before `limit`.
    pub(crate) fn until(limit: u64, storage: &'a dyn Storage, max_header_size: u64) -> Self {
        Parts { storage, walk: Walk::new(limit, max_header_size), is_done: false }
    }
}

impl Iterator for Parts<'_> {
    type Item = Result<Part>;

    fn next(&mut self) -> Option<Result<Part>> {
        if self.is_done {
            return None;
        }
        let step = self.walk.step(self.storage);
        self.is_done = !matches!(step, Ok(Step::Array));
        match step {
            Ok(Step::Array) => self.walk.met.clone().map(Ok),
            Ok(Step::End) => None,
            Ok(Step::Torn(torn)) => Some(Err(torn.error())),
            Err(error) => Some(Err(error)),
        }
    }
}

/// A way from header to header.
pub(crate) struct Walk {
    max_header_size: u64,
    /// How many arrays were met.
    pub(crate) index: u64,
    /// Where the next begins, if it does.
    pub(crate) next: u64,
    /// What begins here or later is not looked for: the storage's end when the walk began.
    pub(crate) limit: u64,
    /// The storage's size when it was last asked for.
    size: u64,
    /// What was read last, and from where.
    buffer: Vec<u8>,
    buffer_at: u64,
    /// The array whose header was read last, and that header's bytes: the next is likely to have the same.
    met: Option<Part>,
    bytes: Vec<u8>,
}

pub(crate) enum Step {
    /// Over one array: [`Walk::met`].
    Array,
    End,
    Torn(Torn),
}

impl Walk {
    pub(crate) fn new(limit: u64, max_header_size: u64) -> Self {
        let (buffer, bytes) = (Vec::new(), Vec::new());
        Walk { max_header_size, index: 0, next: 0, limit, size: limit, buffer, buffer_at: 0, met: None, bytes }
    }

    pub(crate) fn step(&mut self, storage: &dyn Storage) -> Result<Step> {
        if self.next >= self.limit {
            return Ok(Step::End);
        }
        let Err(error) = self.meet(storage) else {
            return Ok(Step::Array);
        };
        let error = match error.kind() {
            ErrorKind::NeedsRecovery => error,
            ErrorKind::NotNpy if self.is_tail() => return Ok(Step::End),
            ErrorKind::NotNpy | ErrorKind::Malformed | ErrorKind::Unsupported | ErrorKind::OverLimit => {
                error.and("arrays after it cannot be found")
            }
            _ => return Err(error),
        };
        let (index, offset, kind) = (self.index, self.next, error.kind());
        let bytes = storage.len()?.saturating_sub(offset);
        let text = format!("array {index}, at offset {offset}: {}", error.detail());
        Ok(Step::Torn(Torn { index, offset, bytes, kind, text }))
    }

    /// Steps over the array that begins at `next`.
    fn meet(&mut self, storage: &dyn Storage) -> Result<()> {
        let len = self.header_len(storage)?;
        let range = self.read(storage, len)?;
        if range.len() < len {
            return Err(cut("within its header"));
        }
        let bytes = &self.buffer[range];
        let part = match self.met.take() {
            Some(met) if self.bytes == bytes => Part { offset: self.next, ..met },
            _ => {
                let header = Header::parse(bytes)?;
                let (rows, row_shape) = split_shape(&header.shape, header.order).unwrap_or((1, Vec::new()));
                let size = Layout::new(header.len, &header.dtype, &row_shape)?.end(rows)?;
                self.bytes = bytes.to_vec();
                Part { offset: self.next, size, header }
            }
        };
        let size = part.size;
        self.met = Some(part);
        let end = self.next.saturating_add(size);
        if !self.holds(storage, end)? {
            let held = self.size.saturating_sub(self.next);
            return Err(cut(&format!("after {held} of its {size} bytes")));
        }
        self.index += 1;
        self.next = end;
        Ok(())
    }

    /// How long the header at `next` is: no longer than the limit, nor than what is there.
    fn header_len(&mut self, storage: &dyn Storage) -> Result<usize> {
        let range = self.read(storage, PREFIX)?;
        let prefix = &self.buffer[range];
        if !prefix.starts_with(&MAGIC) && !MAGIC.starts_with(prefix) {
            let range = self.read(storage, ONE)?;
            let found = &self.buffer[range];
            let found = if found.iter().take(PREFIX).all(|&byte| byte == 0) { "zeros" } else { looks_like(found) };
            return Err(error!(NotNpy, "expected it, or the end of the file, found {found}"));
        }
        let len = match Header::len_from(prefix, self.max_header_size) {
            Err(_) if prefix.len() < PREFIX => return Err(cut("within its header")),
            len => len?,
        };
        if !self.holds(storage, self.next.saturating_add(len))? {
            return Err(cut("within its header"));
        }
        usize::try_from(len).map_err(|_| error!(OverLimit, "a header of {len} bytes"))
    }

    /// Where in `buffer` the `len` bytes from `next` are, or as many as there are.
    fn read(&mut self, storage: &dyn Storage, len: usize) -> Result<Range<usize>> {
        let skip = self.next.checked_sub(self.buffer_at).and_then(|skip| usize::try_from(skip).ok());
        if let Some(skip) = skip
            && let Some(end) = skip.checked_add(len)
            && end <= self.buffer.len()
        {
            return Ok(skip..end);
        }
        let are_small = self.met.as_ref().is_some_and(|met| met.size < MANY as u64 / 4);
        self.buffer.resize(len.max(if are_small { MANY } else { ONE }), 0);
        // Nothing is in it should this read fail.
        self.buffer_at = u64::MAX;
        let got = storage.read_up_to(self.next, &mut self.buffer)?;
        self.buffer.truncate(got);
        self.buffer_at = self.next;
        Ok(0..len.min(got))
    }

    fn holds(&mut self, storage: &dyn Storage, end: u64) -> Result<bool> {
        if end > self.size {
            self.size = storage.len()?;
        }
        Ok(end <= self.size)
    }

    /// Whether what follows is a tail of the last array: one that grows in place is the only one of its file.
    fn is_tail(&self) -> bool {
        let ours = |Part { header, .. }: &Part| {
            let (rows, row_shape) = header.split()?;
            Growable::within(header.version, header.len, &header.dtype, header.order, &row_shape, rows)
        };
        self.index == 1 && self.met.as_ref().and_then(ours).is_some_and(|ours| ours.bytes == self.bytes)
    }
}

fn cut(place: &str) -> Error {
    error!(NeedsRecovery, "cut off {place}: an np.save is under way, or was interrupted")
}
