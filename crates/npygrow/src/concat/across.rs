//! Joining along another axis than the one that grows: every row of the output takes a piece of each input's.

use super::inputs::{Part, Want};
use crate::append::Batch;
use crate::error::{Result, error};
use crate::format::Order;
use crate::storage::{BLOCK, Storage};
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

/// Two of them are in memory: what was read, and what will be written.
const HALF: usize = BLOCK / 2;

/// From this size on a piece goes by itself.
const LARGE: u64 = 256 << 10;

/// Inputs that stay open: a process can hold only so many. The others are opened for each block again.
const OPEN: usize = 128;

/// An input and how much of it each turn takes.
struct Source<'a> {
    part: &'a Part,
    max_header_size: u64,
    kept: Option<Rc<dyn Storage>>,
    offset: u64,
    piece: u64,
}

impl Source<'_> {
    fn storage(&self) -> Result<Rc<dyn Storage>> {
        match &self.kept {
            Some(kept) => Ok(kept.clone()),
            None => self.part.open(self.max_header_size).map(Rc::from),
        }
    }
}

/// Writes the inputs of `parts`, taken in turns along `want.axis`.
pub(super) fn join(
    batch: &mut Batch<'_>,
    parts: &[Part],
    want: &Want,
    max_header_size: u64,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    let turns = turns(want)?;
    let mut sources = Vec::new();
    for part in parts.iter().filter(|part| part.len > 0) {
        let mut source = Source { part, max_header_size, kept: None, offset: part.offset, piece: part.len / turns };
        if sources.len() < OPEN {
            source.kept = Some(source.storage()?);
        }
        sources.push(source);
    }
    let turn: u64 = sources.iter().map(|source| source.piece).sum();
    if turn == 0 {
        return Ok(());
    }
    // As many turns at once as a block holds; where it does not hold one, piece by piece.
    let at_once = HALF as u64 / turn;
    let mut done = 0;
    while done < turns {
        let now = at_once.min(turns - done);
        if now == 0 {
            piece_by_piece(batch, &sources, done, progress)?;
            done += 1;
        } else {
            block(batch, &sources, done, now, turn)?;
            progress(now * turn)?;
            done += now;
        }
    }
    Ok(())
}

/// How many turns there are: one for each index along the axes before `want.axis`, in the order of the bytes.
fn turns(want: &Want) -> Result<u64> {
    let outer = match want.spec.order {
        Order::C => want.shape.get(..want.axis),
        Order::F => want.shape.get(want.axis + 1..),
    };
    let turns = outer.unwrap_or_default().iter().try_fold(1, |turns: u64, &n| turns.checked_mul(n));
    // An axis of 0 leaves nothing to take, and no turn to take it in.
    turns.map(|turns| turns.max(1)).ok_or_else(|| error!(OverLimit, "an array of shape {:?}", want.shape))
}

/// Reads `now` turns of each input in one piece, and weaves them.
fn block(batch: &mut Batch<'_>, sources: &[Source<'_>], done: u64, now: u64, turn: u64) -> Result<()> {
    let mut woven = vec![0; (now * turn) as usize];
    let mut read = Vec::new();
    let mut at = 0;
    for source in sources {
        let piece = source.piece as usize;
        read.resize(now as usize * piece, 0);
        source.storage()?.read_exact_at(source.offset + done * source.piece, &mut read)?;
        for (to, from) in woven.chunks_exact_mut(turn as usize).zip(read.chunks_exact(piece)) {
            to[at..at + piece].copy_from_slice(from);
        }
        at += piece;
    }
    batch.write(&woven)
}

/// One turn that is longer than a block.
fn piece_by_piece(
    batch: &mut Batch<'_>,
    sources: &[Source<'_>],
    done: u64,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    let mut small = Vec::new();
    for source in sources {
        let from = source.offset + done * source.piece;
        if source.piece >= LARGE {
            flush(batch, &mut small, progress)?;
            batch.copy_from(&*source.storage()?, from, source.piece, progress)?;
            continue;
        }
        let at = small.len();
        small.resize(at + source.piece as usize, 0);
        source.storage()?.read_exact_at(from, &mut small[at..])?;
        if small.len() >= HALF {
            flush(batch, &mut small, progress)?;
        }
    }
    flush(batch, &mut small, progress)
}

fn flush(batch: &mut Batch<'_>, small: &mut Vec<u8>, progress: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
    if !small.is_empty() {
        batch.write(small)?;
        progress(small.len() as u64)?;
        small.clear();
    }
    Ok(())
}
