//! Many pieces of a file at once, of any length: those in memory first, by as many threads as are worth it, then the others in
//! the order of the file, with the disk told ahead.

use crate::error::{Error, Result};
use crate::gather::{AHEAD, READERS, cut, in_parallel, threads_for};
use crate::storage::{File, READS_AHEAD, Storage, read_cached, read_soon};
use alloc::vec::Vec;

/// Where a piece lies in the file, and where it goes.
type Piece<'o> = (u64, &'o mut [u8]);

/// Copies pieces, each given by its offset and its length, to `out`, one after the other.
///
/// # Errors
///
/// `Mismatch` when the file ends before one of them does; `Io` when reading fails.
pub(crate) fn gather_pieces(file: &File, pieces: &[(u64, usize)], out: &mut [u8]) -> Result<()> {
    debug_assert_eq!(pieces.iter().map(|piece| piece.1).sum::<usize>(), out.len());
    let (bytes, mut rest) = (out.len(), out);
    let mut wanted: Vec<Piece<'_>> = Vec::with_capacity(pieces.len());
    for &(offset, len) in pieces {
        let (piece, after) = rest.split_at_mut(len);
        rest = after;
        if !piece.is_empty() {
            wanted.push((offset, piece));
        }
    }
    let threads = threads_for(wanted.len(), bytes);
    // Several shares for each, so that a thread that is held up holds up nothing else.
    let mut shares = Vec::new();
    let share = wanted.len().div_ceil(4 * threads).max(1);
    while !wanted.is_empty() {
        shares.push(wanted.split_off(wanted.len().saturating_sub(share)));
    }
    let missing = in_parallel(threads, shares.into_iter(), |share| {
        let mut missing = Vec::new();
        for (offset, piece) in share {
            let got = read_cached(file.as_std(), piece, offset).map_err(|why| Error::io("cannot read", &why))?;
            if got != Some(piece.len()) {
                missing.push((offset, piece));
            }
        }
        Ok(missing)
    })?;
    let mut missing: Vec<Piece<'_>> = missing.into_iter().flatten().collect();
    missing.sort_unstable_by_key(|(offset, _)| *offset);
    let worth = if READS_AHEAD { missing.len().div_ceil(64) } else { missing.len() };
    let threads = worth.clamp(1, READERS);
    let share = missing.len().div_ceil(threads).max(1);
    in_parallel(threads, missing.chunks_mut(share), |share| fetch(file, share))?;
    Ok(())
}

/// Reads sorted pieces one after the other, with the system told of those that follow.
fn fetch(file: &File, pieces: &mut [Piece<'_>]) -> Result<()> {
    let (mut told, mut ahead) = (0, 0);
    for at in 0..pieces.len() {
        while told < pieces.len() && (told <= at || ahead < AHEAD) {
            let (offset, piece) = &pieces[told];
            read_soon(file.as_std(), *offset, piece.len().min(AHEAD));
            (told, ahead) = (told + 1, ahead + piece.len());
        }
        let (offset, piece) = &mut pieces[at];
        let got = file.read_up_to(*offset, piece)?;
        if got < piece.len() {
            return Err(cut(*offset + piece.len() as u64, *offset + got as u64));
        }
        ahead -= piece.len();
    }
    Ok(())
}
