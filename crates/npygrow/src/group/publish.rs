//! Counting: every file's bytes first, then every file's count, in the order of the files.

use super::{Column, ColumnPart, Group};
use crate::append::Appender;
use crate::error::{Error, Result};

/// What one file gets of an append.
pub(super) struct Piece<'a> {
    pub(super) file: &'a mut Appender,
    pub(super) count: u64,
    pub(super) bytes: &'a [u8],
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
        let values = Piece { file: &mut column.values, count, bytes };
        let ends_count = (ends.len() / 8) as u64;
        let offsets = column.offsets.as_mut().map(|file| Piece { file, count: ends_count, bytes: ends });
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
    let Some(Piece { file, count, bytes }) = files.next() else { return Ok(()) };
    if count == 0 && !file.has_buffered() {
        if !is_append {
            // Nothing to publish: it only looks whether another program changed the file.
            file.commit()?;
        }
        write_then_count(files, is_append, counted)?;
    } else {
        let mut batch = file.begin_publish(count)?;
        batch.write(bytes)?;
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
            return Err(if counted > 0 { self.take_back(rows, parts, counted, error) } else { error });
        }
        for column in &mut self.columns {
            column.published(!parts.is_empty());
        }
        (self.rows, self.buffered, self.waiting) = (self.rows + rows, 0, 0);
        Ok(())
    }

    /// Takes the append from the files that counted it. What they published of their buffers stays: the others still hold
    /// theirs. Between turns they would not: then another appender cuts all of it, and this one goes no further.
    fn take_back(&mut self, rows: u64, parts: &[ColumnPart<'_>], counted: usize, error: Error) -> Error {
        if self.files().any(Appender::is_latched) {
            // A count is in doubt: if it stands, the append does, unless the others lose it.
            self.latched = Some(error.detail());
            return error;
        }
        if self.turns {
            self.latched = Some(error.detail());
            return error.and("only some of the files have it, and the next turn cuts it from them: open it again");
        }
        let Group { columns, ends, .. } = self;
        for Piece { file, count, .. } in pieces(columns, rows, parts, ends).take(counted) {
            if let Err(why) = file.cut(file.committed() - count) {
                self.latched = Some(why.detail());
                return error.and("what other files have of it could not be taken back: open it again");
            }
        }
        error
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
