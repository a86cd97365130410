//! Which bytes of a file are gathered: rows of one size, or items of any.

use core::mem;
use core::ops::Range;

/// Pieces of a file, which go one after the other into a buffer that is as long as they are.
pub(crate) trait Pieces: Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// Where a piece begins, from where the mapping does.
    fn start(&self, piece: usize) -> u64;

    /// The bytes of some pieces together.
    fn bytes(&self, pieces: Range<usize>) -> usize;

    /// Copies pieces out of the mapping.
    fn copy(&self, map: &[u8], pieces: Range<usize>, out: &mut [u8]) {
        for (start, to) in self.each(pieces, out) {
            let start = start as usize;
            to.copy_from_slice(&map[start..start + to.len()]);
        }
    }

    /// Where each of some pieces begins, and where it goes.
    fn each<'o>(&self, pieces: Range<usize>, mut out: &'o mut [u8]) -> impl Iterator<Item = (u64, &'o mut [u8])> {
        pieces.map(move |piece| {
            let (to, rest) = mem::take(&mut out).split_at_mut(self.bytes(piece..piece + 1));
            out = rest;
            (self.start(piece), to)
        })
    }
}

/// Rows of one size, by their numbers.
pub(crate) struct Even<'a> {
    pub(crate) rows: &'a [u64],
    /// From one row to the next: more than `size` where only a part of each is copied.
    pub(crate) stride: usize,
    pub(crate) size: usize,
}

impl Pieces for Even<'_> {
    fn count(&self) -> usize {
        self.rows.len()
    }

    fn start(&self, piece: usize) -> u64 {
        self.rows[piece] * self.stride as u64
    }

    fn bytes(&self, pieces: Range<usize>) -> usize {
        pieces.len() * self.size
    }

    fn copy(&self, map: &[u8], pieces: Range<usize>, out: &mut [u8]) {
        let rows = &self.rows[pieces];
        match self.size {
            1 if self.stride == 1 => copy_sized::<1>(map, rows, out),
            2 if self.stride == 2 => copy_sized::<2>(map, rows, out),
            4 if self.stride == 4 => copy_sized::<4>(map, rows, out),
            8 if self.stride == 8 => copy_sized::<8>(map, rows, out),
            16 if self.stride == 16 => copy_sized::<16>(map, rows, out),
            size => {
                for (&row, to) in rows.iter().zip(out.chunks_exact_mut(size)) {
                    let at = row as usize * self.stride;
                    to.copy_from_slice(&map[at..at + size]);
                }
            }
        }
    }
}

/// For a size that the compiler knows: a move instead of a call.
fn copy_sized<const N: usize>(map: &[u8], rows: &[u64], out: &mut [u8]) {
    let (from, _) = map.as_chunks::<N>();
    for (&row, to) in rows.iter().zip(out.as_chunks_mut::<N>().0) {
        *to = from[row as usize];
    }
}

/// Where each piece begins, and its bytes.
impl Pieces for [(u64, usize)] {
    fn count(&self) -> usize {
        self.len()
    }

    fn start(&self, piece: usize) -> u64 {
        self[piece].0
    }

    fn bytes(&self, pieces: Range<usize>) -> usize {
        self[pieces].iter().map(|(_, size)| size).sum()
    }
}
