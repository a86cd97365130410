//! The count of rows, patched in place: the hot path of every append.

/// What one aligned write changes at once for every reader, in bytes: mostly a word, on a carry past it a block.
const WORD: usize = 8;
const BLOCK: usize = 16;

/// The columns of a header that hold the count of rows, right-aligned, up to an offset that is a multiple of 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountField {
    end: u64,
    width: u32,
    /// The block before `end` without the count: spaces, and before them the text left of a narrow field.
    blank: [u8; BLOCK],
}

impl CountField {
    /// The field in `header[start..end]`, which are spaces; `end` is a multiple of 16.
    pub(super) fn blank(header: &[u8], start: usize, end: usize) -> CountField {
        let mut blank = [b' '; BLOCK];
        blank.copy_from_slice(&header[end - BLOCK..end]);
        CountField { end: end as u64, width: (end - start).min(BLOCK) as u32, blank }
    }

    /// The highest count that fits.
    #[must_use]
    pub fn max_rows(&self) -> u64 {
        10_u64.pow(self.width) - 1
    }

    /// What to write so that a header that says `from` says `to`, which [`max_rows`](CountField::max_rows) allows.
    #[must_use]
    pub fn patch(&self, from: u64, to: u64) -> Patch {
        const LOW: u64 = 10_u64.pow(WORD as u32);
        let unchanged = if from / LOW == to / LOW { WORD } else { 0 };
        Patch { offset: self.end - (BLOCK - unchanged) as u64, block: self.block(to), unchanged }
    }

    /// The block before the field's end that says `rows`.
    pub(super) fn block(&self, rows: u64) -> [u8; BLOCK] {
        debug_assert!(rows <= self.max_rows(), "{rows} rows in {} columns", self.width);
        let mut block = self.blank;
        let mut rest = rows;
        for byte in block.iter_mut().rev() {
            *byte = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        block
    }
}

/// One aligned write of 8 or 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    offset: u64,
    block: [u8; BLOCK],
    unchanged: usize,
}

impl Patch {
    /// Where to write.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What to write: the low eight digits, or all sixteen when those above them change.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.block[self.unchanged..]
    }
}
