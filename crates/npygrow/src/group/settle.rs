//! What the files hold by now, and cutting all of them back to the rows that every column has.

use super::{Column, Group, OFFSETS, VALUES, covered, good_items, not_from_0};
use crate::append::{Appender, Times};
use crate::error::{Result, count, error};
use crate::tail::{Dropped, OnTail};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// A file, for the comparison with the others.
struct Standing {
    name: String,
    /// How many rows it has more than every column.
    excess: u64,
    times: Option<Times>,
}

impl Column {
    /// The rows that are whole: items whose end is counted, and which the values reach.
    fn whole(&self) -> Result<u64> {
        let Some(offsets) = &self.offsets else { return Ok(self.values.committed()) };
        let first = self.offset_at(0)?;
        if first != 0 {
            let error = not_from_0(first);
            return Err(match offsets.path() {
                Some(path) => error.at(path.display()),
                None => error,
            });
        }
        covered(offsets.committed().saturating_sub(1), self.values.committed(), |item| self.offset_at(item + 1))
    }

    /// What each of its files has more than `rows` rows, and how many bytes that are.
    fn excess(&self, rows: u64) -> Result<(u64, u64, u64)> {
        let Some(offsets) = &self.offsets else {
            let excess = self.values.committed() - rows;
            return Ok((excess, 0, excess.saturating_mul(self.values.row_size().unwrap_or(0))));
        };
        let (held, end) = (self.values.committed(), self.offset_at(rows)?);
        let Some(values) = held.checked_sub(end) else {
            let name = self.file_name(true);
            return Err(error!(
                NeedsRecovery,
                "{name}: expected offsets that go up, found {end} past all {held} values: call recover(path)"
            ));
        };
        let ends = offsets.committed().saturating_sub(rows + 1);
        let bytes = values.saturating_mul(self.values.row_size().unwrap_or(0)).saturating_add(ends * 8);
        Ok((values, ends, bytes))
    }

    /// What it is called in its folder.
    fn file_name(&self, offsets: bool) -> String {
        match (&self.offsets, self.name.as_str(), if offsets { OFFSETS } else { VALUES }) {
            (None, name, _) => format!("{name}.npy"),
            (Some(_), "", file) => file.into(),
            (Some(_), name, file) => format!("{name}/{file}"),
        }
    }

    fn cut(&mut self, rows: u64) -> Result<()> {
        let end = if self.offsets.is_some() { self.offset_at(rows)? } else { rows };
        // Offsets first: none is left that the values do not reach.
        if let Some(offsets) = self.offsets.as_mut().filter(|offsets| offsets.committed() > rows) {
            offsets.cut(rows + 1)?;
        }
        self.values.cut(end)
    }
}

/// What begins to say that files of a folder do not go together.
pub(crate) const GO_TOGETHER: &str = "expected files that go together, found ";

/// What to call to cut them all the same.
pub(crate) fn force(rows: u64, word: &str) -> String {
    format!(
        "call recover(path, tail=\"drop\") to go on with the {} that all have, and lose the others",
        count(rows, word)
    )
}

impl Group {
    /// Looks at what the files hold, and cuts them to the rows that every column has, where a crash of ours can have left them
    /// so. What is in memory goes after that.
    pub(super) fn settle(&mut self) -> Result<()> {
        let settled = self.settle_unnamed();
        settled.map_err(|error| self.named(error))
    }

    fn settle_unnamed(&mut self) -> Result<()> {
        let whole = self.columns.iter().map(Column::whole).collect::<Result<Vec<u64>>>()?;
        let rows = whole.iter().copied().min().unwrap_or(0);
        let mut bytes = 0;
        let mut standings = Vec::new();
        for column in &mut self.columns {
            let (values, ends, more) = column.excess(rows)?;
            bytes += more;
            standings.push((values, ends));
        }
        if standings.iter().any(|&excess| excess != (0, 0)) {
            self.refuse_foreign(rows, &standings)?;
            self.cut(rows)?;
            let most = whole.iter().copied().max().unwrap_or(0);
            self.dropped.rows += most - rows;
            self.dropped.bytes += bytes;
        }
        self.look(rows)
    }

    /// Refuses to cut where something says that no append of ours left the files so: a column that somebody replaced by a
    /// shorter one must not take the others with it.
    fn refuse_foreign(&mut self, rows: u64, excess: &[(u64, u64)]) -> Result<()> {
        let Some(why) = self.foreign(rows, excess)? else { return Ok(()) };
        let files = self.columns.iter().flat_map(|column| {
            let word = if column.offsets.is_some() { "value" } else { "row" };
            let values = format!("{} of {}", column.file_name(false), count(column.values.committed(), word));
            let offsets = column.offsets.as_ref();
            let offsets = offsets.map(|offsets| {
                format!("{} of {}", column.file_name(true), count(offsets.committed().saturating_sub(1), "item"))
            });
            [Some(values), offsets].into_iter().flatten()
        });
        Err(error!(
            NeedsRecovery,
            "{GO_TOGETHER}{}; {why}: {}",
            files.collect::<Vec<_>>().join(", "),
            force(rows, self.word())
        ))
    }

    /// Why the files cannot have been left so by a crash, or must not be cut all the same.
    fn foreign(&mut self, rows: u64, excess: &[(u64, u64)]) -> Result<Option<String>> {
        if matches!(self.on_tail, OnTail::Error | OnTail::Keep) {
            return Ok(Some("on_tail asks not to cut any".into()));
        }
        for (column, &excess) in self.columns.iter().zip(excess) {
            if let Some(offsets) = column.offsets.as_ref().filter(|_| excess != (0, 0)) {
                // Before any value is cut on their word: unsynced offsets of a power cut may be zeros.
                let read = |first, buf: &mut [u8]| offsets.read_rows(first, buf);
                let some = offsets.committed().min(rows + 1);
                if some > 0 && good_items(some, column.values.committed(), read)?.0 < rows {
                    return Ok(Some(format!("{} goes down", column.file_name(true))));
                }
            }
        }
        if self.on_tail == OnTail::Drop {
            return Ok(None);
        }
        let mut all = Vec::new();
        for (column, &(values, ends)) in self.columns.iter_mut().zip(excess) {
            let name = column.file_name(false);
            if let Some(offsets) = &column.offsets {
                // Every count of the values is where an item ends.
                let items = offsets.committed().saturating_sub(1);
                let (held, end) = (column.values.committed(), column.offset_at(items)?);
                let whole = column.whole()?;
                if held < end && column.offset_at(whole)? != held {
                    return Ok(Some(format!("{name} ends within an item")));
                }
            }
            let names = [name, column.file_name(true)];
            for ((file, name), excess) in column.files().zip(names).zip([values, ends]) {
                if file.committed() == 0 && !file.is_made() {
                    return Ok(Some(format!("{name} is missing")));
                }
                if file.is_foreign() {
                    return Ok(Some(format!("the header of {name} is another program's")));
                }
                all.push(Standing { name, excess, times: file.times() });
            }
            if column.offsets.as_ref().is_some_and(Appender::is_empty) {
                return Ok(Some(format!("{} is empty", column.file_name(true))));
            }
        }
        Ok(replaced(&all))
    }

    /// Cuts every column to `rows` rows, the last file first.
    pub(super) fn cut(&mut self, rows: u64) -> Result<()> {
        self.columns.iter_mut().rev().try_for_each(|column| column.cut(rows))
    }

    /// Every column has `rows` rows in its files.
    pub(super) fn look(&mut self, rows: u64) -> Result<()> {
        for column in &mut self.columns {
            let base = column.offset_at(rows)?;
            column.rebase(base)?;
        }
        self.rows = rows + self.buffered;
        Ok(())
    }
}

/// Files are made together, in one call, though it may have to sync each of them.
const TOGETHER: Duration = Duration::from_secs(60);

/// All files are made together, before the first row is in any: of two with different counts neither is younger than the
/// other's last write, nor much younger than the other. A column that was added later, and is short, is no crash's work.
fn replaced(all: &[Standing]) -> Option<String> {
    let stranger = |young: &Standing, old: &Standing| {
        let (its, other) = young.times.zip(old.times)?;
        let apart = its.made.duration_since(other.made).is_ok_and(|apart| apart > TOGETHER);
        match its.made > other.modified {
            true => Some(format!("{} was made after {} was last written", young.name, old.name)),
            false => apart.then(|| format!("{} was made long after {}", young.name, old.name)),
        }
    };
    for long in all.iter().filter(|file| file.excess > 0) {
        for short in all.iter().filter(|file| file.excess == 0) {
            let why = stranger(short, long).or_else(|| stranger(long, short));
            if why.is_some() {
                return why;
            }
        }
    }
    None
}

impl Group {
    /// What was cut from the files, rows of all columns and bytes, when they were opened and in every turn.
    pub(crate) fn dropped(&self) -> Dropped {
        let tails = self.columns.iter().flat_map(|column| [Some(&column.values), column.offsets.as_ref()]);
        let tails: u64 = tails.flatten().map(|file| file.dropped().bytes).sum();
        Dropped { rows: self.dropped.rows, bytes: self.dropped.bytes + tails }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn only_files_made_together_are_cut_to_each_other() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let file = |name: &str, excess, made, modified| Standing {
            name: name.into(),
            excess,
            times: Some(Times { made: at(made), modified: at(modified) }),
        };
        let long = file("long", 3, 100, 5000);
        assert_eq!(replaced(&[long, file("short", 0, 101, 4000)]), None);
        let of = |long, short| replaced(&[long, short]).unwrap_or_default();
        let long = || file("long", 3, 100, 5000);
        assert_eq!(of(long(), file("short", 0, 5001, 6000)), "short was made after long was last written");
        assert_eq!(of(long(), file("short", 0, 50, 99)), "long was made after short was last written");
        assert_eq!(of(long(), file("short", 0, 200, 4000)), "short was made long after long");
        assert_eq!(of(file("long", 3, 900, 5000), file("short", 0, 100, 4000)), "long was made long after short");
        assert_eq!(replaced(&[long(), file("other", 2, 900, 5000)]), None, "none of them is the shortest");
        assert_eq!(replaced(&[long(), Standing { name: "unknown".into(), excess: 0, times: None }]), None);
    }
}
