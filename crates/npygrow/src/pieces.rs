//! Many pieces of a file at once, of any length: those in memory first, by as many threads as are worth it, then the others in
//! the order of the file, with the disk told ahead.

use crate::error::{Error, Result};
use crate::gather::{AHEAD, READERS, cut, estimate, in_parallel, threads_for};
use crate::storage::{File, Mapped, READS_AHEAD, Storage, read_cached, read_soon};
use alloc::vec::Vec;
use std::time::{Duration, Instant};

/// Where a piece lies, in the mapping or, once it is known to be missing there, in the file; and where it goes.
type Piece<'o> = (u64, &'o mut [u8]);

/// How much longer copying a piece from the mapping may take before the disk must be behind it.
const SLOW: Duration = Duration::from_micros(20);

/// Pieces between two looks whether those around are in memory: at first, and at most.
const FIRST: usize = 8;
const LAST: usize = 512;

/// Copies pieces, each given by its offset in `mapped` and its length, to `out`, one after the other; without a byte mapped all
/// are read.
///
/// # Errors
///
/// `Mismatch` when the file ends before one of them does; `Io` when reading fails.
pub(crate) fn gather_pieces(file: &File, mapped: &Mapped<'_>, pieces: &[(u64, usize)], out: &mut [u8]) -> Result<()> {
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
    let threads = threads_for(estimate(wanted.len(), bytes));
    // Several shares for each, so that a thread that is held up holds up nothing else.
    let mut shares = Vec::new();
    let share = wanted.len().div_ceil(4 * threads).max(1);
    while !wanted.is_empty() {
        shares.push(wanted.split_off(wanted.len().saturating_sub(share)));
    }
    let missing = in_parallel(threads, shares.into_iter(), |share| copy(file, mapped, share))?;
    let mut missing: Vec<Piece<'_>> = missing.into_iter().flatten().collect();
    missing.sort_unstable_by_key(|(offset, _)| *offset);
    let worth = if READS_AHEAD { missing.len().div_ceil(64) } else { missing.len() };
    let threads = worth.clamp(1, READERS);
    let share = missing.len().div_ceil(threads).max(1);
    in_parallel(threads, missing.chunks_mut(share), |share| fetch(file, share))?;
    Ok(())
}

/// Copies what is in memory, and says what is not. The mapping costs least, but waits for the disk where a page is not there: a
/// piece by a system call that never waits shows whether those around are, and a turn that was slow is the last for long.
fn copy<'o>(file: &File, mapped: &Mapped<'_>, mut share: Vec<Piece<'o>>) -> Result<Vec<Piece<'o>>> {
    let mut missing = Vec::new();
    let (mut turn, mut direct) = (FIRST, if mapped.bytes.is_empty() { usize::MAX } else { 0 });
    while let Some((offset, piece)) = share.pop() {
        let got =
            read_cached(file.as_std(), piece, mapped.offset + offset).map_err(|why| Error::io("cannot read", &why))?;
        if got != Some(piece.len()) {
            missing.push((mapped.offset + offset, piece));
            (turn, direct) = (FIRST, direct.max(FIRST));
            continue;
        }
        if direct > 0 {
            direct -= 1;
            continue;
        }
        let mut pieces = share.split_off(share.len().saturating_sub(turn));
        let began = Instant::now();
        copy_mapped(file, mapped, &mut pieces)?;
        let slow = began.elapsed() > SLOW * pieces.len() as u32;
        (turn, direct) = if slow { (FIRST, LAST) } else { (LAST.min(2 * turn), 0) };
    }
    Ok(missing)
}

/// Copies pieces out of the mapping. A file that is cut meanwhile is an error; one that is whole again is read again.
fn copy_mapped(file: &File, mapped: &Mapped<'_>, pieces: &mut [Piece<'_>]) -> Result<()> {
    let check = || {
        let (expected, found) = (mapped.offset + mapped.bytes.len() as u64, file.len()?);
        if found < expected { Err(cut(expected, found)) } else { Ok(()) }
    };
    loop {
        let whole = mapped.guarded(|| {
            for (offset, piece) in &mut *pieces {
                let start = *offset as usize;
                if let Some(bytes) = mapped.bytes.get(start..start + piece.len()) {
                    piece.copy_from_slice(bytes);
                }
            }
        });
        // Also after a whole copy: what was cut within a page read as zeros.
        check()?;
        if whole {
            return Ok(());
        }
    }
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
