//! Counting: every file's bytes first, then every file's count, in the order of the files.

use super::{Column, ColumnPart, Group};
use crate::append::{Appender, Batch};
use crate::error::{Error, Result};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// What one file gets of an append.
pub(super) struct Piece<'a> {
    pub(super) file: &'a mut Appender,
    pub(super) count: u64,
    pub(super) bytes: &'a [u8],
    /// What writes its rows where they do not lie in memory.
    stream: Option<Write<'a>>,
}

type Write<'a> = Box<dyn FnOnce(&mut Batch<'_>) -> Result<()> + 'a>;

/// So many rows of one file, and what writes all of them.
pub(crate) struct Stream<'a> {
    pub(crate) count: u64,
    pub(crate) write: Write<'a>,
}

/// What each file gets, in the order of the files; without parts nothing.
pub(super) fn pieces<'a>(
    columns: &'a mut [Column],
    rows: u64,
    parts: &'a [ColumnPart<'a>],
    ends: &'a [u8],
) -> impl DoubleEndedIterator<Item = Piece<'a>> {
    let size = rows as usize * 8;
    let ragged_before = |at: usize| parts[..at].iter().filter(|part| matches!(part, ColumnPart::Items { .. })).count();
    columns.iter_mut().enumerate().flat_map(move |(at, column)| {
        let (count, bytes, ends) = match parts.get(at) {
            None => (0, &[][..], &[][..]),
            Some(ColumnPart::Rows(bytes)) => (rows, *bytes, &[][..]),
            Some(ColumnPart::Items { values, .. }) => {
                let start = ragged_before(at) * size;
                (column.added(), *values, ends.get(start..start + size).unwrap_or(&[]))
            }
        };
        let values = Piece { file: &mut column.values, count, bytes, stream: None };
        let ends_count = (ends.len() / 8) as u64;
        let offsets = column.offsets.as_mut().map(|file| Piece { file, count: ends_count, bytes: ends, stream: None });
        [Some(values), offsets].into_iter().flatten()
    })
}

/// Writes what each file gets, the last file's first, then counts it, the first file's first. A failure undoes what is not
/// counted yet; `counted` says how many files are.
fn write_then_count<'a>(
    files: &mut dyn Iterator<Item = Piece<'a>>,
    is_append: bool,
    counted: &mut usize,
) -> Result<()> {
    let Some(Piece { file, count, bytes, stream }) = files.next() else { return Ok(()) };
    if count == 0 && !file.has_buffered() {
        if !is_append {
            // Nothing to publish: it only looks whether another program changed the file.
            file.commit()?;
        }
        write_then_count(files, is_append, counted)?;
    } else {
        let mut batch = file.begin_publish(count)?;
        match stream {
            Some(write) => write(&mut batch)?,
            None => batch.write(bytes)?,
        }
        write_then_count(files, is_append, counted)?;
        batch.commit()?;
    }
    *counted += 1;
    Ok(())
}

impl Group {
    /// Publishes the buffers and, after them, `parts`.
    pub(super) fn publish(&mut self, rows: u64, parts: &[ColumnPart<'_>]) -> Result<()> {
        let mut counted = 0;
        let Group { columns, ends, .. } = self;
        let mut backwards = pieces(columns, rows, parts, ends).rev();
        let done = write_then_count(&mut backwards, !parts.is_empty(), &mut counted);
        drop(backwards);
        if let Err(error) = done {
            let Group { columns, ends, .. } = self;
            let counts: Vec<_> = pieces(columns, rows, parts, ends).map(|piece| piece.count).take(counted).collect();
            return Err(self.take_back(&counts, error));
        }
        for column in &mut self.columns {
            column.published(!parts.is_empty());
        }
        (self.rows, self.buffered, self.waiting) = (self.rows + rows, 0, 0);
        Ok(())
    }

    /// Appends rows that do not lie in memory: a stream for each file, in the order of the files. For who holds the locks.
    pub(crate) fn append_streams(&mut self, rows: u64, streams: Vec<Stream<'_>>) -> Result<()> {
        self.check()?;
        self.make()?;
        self.publish(0, &[])?;
        let counts: Vec<_> = streams.iter().map(|stream| stream.count).collect();
        let mut counted = 0;
        let files: Vec<_> = self.files().collect();
        debug_assert_eq!(files.len(), streams.len());
        let pieces = files.into_iter().zip(streams).map(|(file, Stream { count, write })| Piece {
            file,
            count,
            bytes: &[],
            stream: Some(write),
        });
        let done = write_then_count(&mut pieces.rev(), true, &mut counted);
        match done {
            Ok(()) => self.look(self.rows + rows),
            Err(error) => Err(self.take_back(counts.get(..counted).unwrap_or_default(), error)),
        }
    }

    /// Takes the append from the files that counted it: the first ones, so many rows from each. What they published of their
    /// buffers stays: the others still hold theirs. Between turns they would not: then another appender cuts all of it, and
    /// this one goes no further.
    fn take_back(&mut self, counts: &[u64], error: Error) -> Error {
        if counts.is_empty() {
            return error;
        }
        if self.files().any(Appender::is_latched) {
            // A count is in doubt: if it stands, the append does, unless the others lose it.
            self.latched = Some(error.detail());
            return error;
        }
        if self.turns {
            self.latched = Some(error.detail());
            return error.and("only some of the files have it, and the next turn cuts it from them: open it again");
        }
        let mut left = Ok(());
        for (file, count) in self.files().zip(counts) {
            left = left.and(file.cut(file.committed() - count));
        }
        match left {
            Ok(()) => error,
            Err(why) => {
                self.latched = Some(why.detail());
                error.and("what other files have of it could not be taken back: open it again")
            }
        }
    }

    /// Does `work` while every file's lock is held, the first one's taken first by everybody. Where appenders take turns, that
    /// begins with a look at what the files hold by now, and with cutting what a dead one left.
    pub(super) fn in_turn<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if !self.turns {
            return work(self);
        }
        let taken = self.files().try_for_each(Appender::keep_turn);
        let done = taken.and_then(|()| self.settle()).and_then(|()| work(self));
        let mut left = Ok(());
        for file in self.files().rev() {
            // Every one, whatever became of the one before.
            left = left.and(file.leave_turn());
        }
        let done = done?;
        left.map(|()| done)
    }
}
