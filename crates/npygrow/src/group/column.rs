use crate::append::Appender;
use crate::error::{Error, Result, count, error};
use crate::format::{Dtype, Order};
use crate::open::Spec;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// All items, one after the other.
pub(crate) const VALUES: &str = "values.npy";
/// Where each item begins, and where the last ends: one more than there are items.
pub(crate) const OFFSETS: &str = "offsets.npy";

/// What one column gets of an append.
#[derive(Clone, Copy, Debug)]
pub enum ColumnPart<'a> {
    /// Rows of one size, as they lie in the file.
    Rows(&'a [u8]),
    /// Items of different length.
    Items {
        /// How many values each has.
        lengths: &'a [u64],
        /// The values of all, one after the other, as they lie in the file.
        values: &'a [u8],
    },
}

/// A column: rows of one size, or items of different length.
pub(crate) struct Column {
    pub(crate) name: String,
    /// The rows, or the values of the items.
    pub(crate) values: Appender,
    /// Where items end, in a ragged column.
    pub(crate) offsets: Option<Appender>,
    /// Where the last item ends, those in memory included.
    pub(super) end: u64,
    /// Where it ends once the append under way is in.
    next_end: u64,
    /// Where it ends in the file.
    pub(super) base: u64,
}

impl Column {
    pub(crate) fn new(name: String, values: Appender, offsets: Option<Appender>) -> Self {
        Column { name, values, offsets, end: 0, next_end: 0, base: 0 }
    }

    /// Where the last item ends.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Where it ends in the file, for every reader.
    pub(crate) fn committed_end(&self) -> u64 {
        self.base
    }

    pub(super) fn files(&mut self) -> impl DoubleEndedIterator<Item = &mut Appender> {
        [Some(&mut self.values), self.offsets.as_mut()].into_iter().flatten()
    }

    pub(super) fn into_files(self) -> impl Iterator<Item = Appender> {
        [Some(self.values), self.offsets].into_iter().flatten()
    }

    /// Of two files that one is made before the other, one alone is all there is, without a row; with rows it is half.
    pub(super) fn check_missing(&self) -> Result<()> {
        let Some(offsets) = &self.offsets else { return Ok(()) };
        if !offsets.is_made() && !self.values.is_empty() {
            return Err(error!(
                NeedsRecovery,
                "{OFFSETS} is missing beside {VALUES}: without it nothing says where an item begins: put it back"
            ));
        }
        if !self.values.is_made() && offsets.len() > 1 {
            let items = count(offsets.len() - 1, "item");
            return Err(error!(
                NeedsRecovery,
                "{VALUES} is missing beside {OFFSETS}, which counts {items}: put it back"
            ));
        }
        Ok(())
    }

    /// Makes the files that are not there, with no row.
    pub(super) fn make(&mut self) -> Result<()> {
        if !self.values.is_made() {
            if self.values.row_size().is_none() {
                return Err(error!(
                    Mismatch,
                    "a new file needs a dtype and a row shape: give them as options, or append typed values"
                ));
            }
            self.values.commit()?;
        }
        if let Some(offsets) = &mut self.offsets
            && !offsets.is_made()
        {
            offsets.define(&offsets_dtype()?, &[])?;
            offsets.commit()?;
        }
        Ok(())
    }

    /// Refuses a part that does not fit, and says how many bytes it takes in the files.
    pub(super) fn check(&self, rows: u64, part: &ColumnPart<'_>) -> Result<u64> {
        let row_size = self.values.row_size();
        let of = |what: &str| {
            if self.name.is_empty() { String::new() } else { alloc::format!("column {}: {what}", self.name) }
        };
        let (wanted, bytes, more) = match (part, &self.offsets) {
            (ColumnPart::Rows(bytes), None) => (rows, *bytes, 0),
            (ColumnPart::Items { lengths, values }, Some(_)) => {
                if lengths.len() as u64 != rows {
                    let (rows, found) = (count(rows, "item"), lengths.len());
                    return Err(error!(Mismatch, "{}expected the lengths of {rows}, found {found}", of("")));
                }
                let all = lengths.iter().try_fold(self.end, |end, &len| end.checked_add(len));
                let Some(all) = all.filter(|&end| i64::try_from(end).is_ok()) else {
                    return Err(error!(OverLimit, "{}{} values and more: offsets are of 63 bits", of(""), self.end));
                };
                (all - self.end, *values, rows.saturating_mul(8))
            }
            (ColumnPart::Rows(_), Some(_)) => {
                return Err(error!(Mismatch, "{}expected items of different length, found rows of one", of("")));
            }
            (ColumnPart::Items { .. }, None) => {
                return Err(error!(Mismatch, "{}expected rows of one size, found items of different length", of("")));
            }
        };
        let size = row_size.map(|row_size| (row_size, row_size.checked_mul(wanted)));
        match size {
            Some((row_size, size)) if size != Some(bytes.len() as u64) => {
                let what = if self.offsets.is_some() { "value" } else { "row" };
                let given = count(bytes.len() as u64, "byte");
                Err(error!(Mismatch, "{}expected {} of {row_size} bytes, found {given}", of(""), count(wanted, what)))
            }
            _ => Ok((bytes.len() as u64).saturating_add(more)),
        }
    }

    /// Writes where each of so many items ends, and remembers where the last does.
    pub(super) fn push_ends(&mut self, lengths: &[u64], ends: &mut Vec<u8>) -> Result<()> {
        let mut end = self.end;
        for &len in lengths {
            end = end.checked_add(len).filter(|&end| i64::try_from(end).is_ok()).ok_or_else(|| too_many(self.end))?;
            ends.extend_from_slice(&end.to_le_bytes());
        }
        self.next_end = end;
        Ok(())
    }

    /// The items of the last append are in.
    pub(super) fn accept_ends(&mut self) {
        if self.offsets.is_some() {
            self.end = self.next_end;
        }
    }

    /// All items are in the file, those of an append too.
    pub(super) fn published(&mut self, appended: bool) {
        if appended {
            self.accept_ends();
        }
        self.base = self.end;
    }

    /// How many values the append under way brings.
    pub(super) fn added(&self) -> u64 {
        self.next_end - self.end
    }

    /// The last item in the file ends elsewhere than it did: those in memory go on from there.
    pub(super) fn rebase(&mut self, base: u64) -> Result<()> {
        let waiting = self.end - self.base;
        let (from, to) = (self.base, base);
        self.end = to.checked_add(waiting).filter(|&end| i64::try_from(end).is_ok()).ok_or_else(|| too_many(to))?;
        (self.base, self.next_end) = (to, self.end);
        if let Some(offsets) = self.offsets.as_mut().filter(|_| from != to) {
            for end in offsets.buffer().as_chunks_mut::<8>().0 {
                *end = (u64::from_le_bytes(*end) - from + to).to_le_bytes();
            }
        }
        Ok(())
    }

    /// Whether `rows` rows are what its last file counts.
    pub(super) fn counts(&self, rows: u64) -> bool {
        match &self.offsets {
            None => self.values.committed() == rows,
            Some(offsets) => offsets.committed() == rows + 1,
        }
    }

    /// The committed offset number `at`.
    pub(super) fn offset_at(&self, at: u64) -> Result<u64> {
        let Some(offsets) = self.offsets.as_ref().filter(|offsets| offsets.committed() > 0) else { return Ok(0) };
        let mut bytes = [0; 8];
        offsets.read_rows(at, &mut bytes)?;
        offset(bytes)
    }
}

fn too_many(values: u64) -> Error {
    error!(OverLimit, "{values} values and more: offsets are of 63 bits")
}

fn offsets_dtype() -> Result<Dtype> {
    "<i8".parse()
}

/// Refuses what cannot be the offsets.
pub(crate) fn check_offsets(spec: &Spec) -> Result<()> {
    if spec.dtype.to_string() == "<i8" && spec.row_shape.is_empty() {
        return Ok(());
    }
    let (dtype, ndim) = (&spec.dtype, spec.row_shape.len() + 1);
    Err(error!(
        Mismatch,
        "expected offsets: dtype <i8, one axis; found dtype {dtype}, {ndim} axes: the file is another's"
    ))
}

/// Refuses values whose items are not joined along axis 0.
pub(crate) fn check_values(spec: &Spec) -> Result<()> {
    if spec.order == Order::C || spec.row_shape.is_empty() {
        return Ok(());
    }
    Err(error!(Mismatch, "expected values in C order, found Fortran order: items are joined along axis 0"))
}

/// How many of the items whose ends `end` gives are covered by `values` rows. The ends do not go down.
pub(crate) fn covered(items: u64, values: u64, end: impl Fn(u64) -> Result<u64>) -> Result<u64> {
    let (mut covered, mut past) = (0, items);
    // Most often all are: the last is asked first.
    if items > 0 && end(items - 1)? <= values {
        return Ok(items);
    }
    while covered < past {
        let middle = covered + (past - covered) / 2;
        if end(middle)? <= values { covered = middle + 1 } else { past = middle }
    }
    Ok(covered)
}

/// How many items there are, of `offsets` offsets that `read` reads from the one asked for on, before the first whose end goes
/// down, or past `values`; and where the last of them ends.
pub(crate) fn good_items(offsets: u64, values: u64, read: impl Fn(u64, &mut [u8]) -> Result<()>) -> Result<(u64, u64)> {
    const BLOCK: usize = 64 << 10;
    let (mut at, mut end) = (0, 0);
    let mut block = alloc::vec![0; BLOCK];
    while at < offsets {
        let some = usize::try_from(offsets - at).map_or(BLOCK / 8, |left| left.min(BLOCK / 8));
        let bytes = &mut block[..some * 8];
        read(at, bytes)?;
        for bytes in bytes.as_chunks::<8>().0 {
            match u64::try_from(i64::from_le_bytes(*bytes)) {
                Ok(first) if at == 0 && first != 0 => return Err(not_from_0(first)),
                Ok(next) if next >= end && next <= values => (at, end) = (at + 1, next),
                _ => return Ok((at.saturating_sub(1), end)),
            }
        }
    }
    Ok((at.saturating_sub(1), end))
}

pub(crate) fn not_from_0(first: u64) -> Error {
    error!(Malformed, "expected offsets that go up from 0, found {first} first: nothing says where items begin")
}

/// The offset that eight bytes of the file are.
pub(crate) fn offset(bytes: [u8; 8]) -> Result<u64> {
    let offset = i64::from_le_bytes(bytes);
    u64::try_from(offset).map_err(|_| error!(Malformed, "expected offsets that go up from 0, found {offset}"))
}
