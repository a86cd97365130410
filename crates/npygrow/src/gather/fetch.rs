//! What is not in memory: read in the order of the file, with the disk told ahead.

use super::{Source, in_parallel};
use crate::error::Result;
use crate::storage::{READS_AHEAD, read_soon};
use alloc::vec::Vec;

/// A piece that is not in memory: where it begins in the file, and where it goes.
pub(super) type Missing<'o> = (u64, &'o mut [u8]);

/// Bytes that lie in memory before a thread reads them: enough for the disk to choose from, too few to be evicted again.
const AHEAD: usize = 4 << 20;

/// The most bytes that are read at once to be dealt out.
const SPAN: usize = 256 << 10;

/// Pieces whose pages touch are read at once.
const PAGE: u64 = 4096;

/// Threads that read what is not in memory. The disk is busy with one already, where it can be asked ahead; the others
/// submit, copy, and stand in where it cannot.
const READERS: usize = 8;

/// Reads pieces, neighbours at once.
pub(super) fn fetch(source: &Source<'_>, mut missing: Vec<Missing<'_>>) -> Result<()> {
    missing.sort_unstable_by_key(|(offset, _)| *offset);
    let mut groups = grouped(&mut missing);
    // Where the system cannot be told ahead what will be read, only waiting for several at once keeps the disk busy.
    let worth = if READS_AHEAD { groups.len().div_ceil(64) } else { groups.len() };
    let threads = worth.clamp(1, READERS);
    let share = groups.len().div_ceil(threads).max(1);
    in_parallel(threads, groups.chunks_mut(share), |groups| fetch_share(source, groups))?;
    Ok(())
}

/// Pieces that are read at once.
struct Group<'g, 'o> {
    start: u64,
    len: usize,
    pieces: &'g mut [Missing<'o>],
}

/// Sorted pieces, cut where there are pages between them that nobody asked for, or a group gets large.
fn grouped<'g, 'o>(mut rest: &'g mut [Missing<'o>]) -> Vec<Group<'g, 'o>> {
    let mut groups = Vec::new();
    while let Some(((start, first), others)) = rest.split_first() {
        let (start, mut end) = (*start, *start + first.len() as u64);
        let joined = others.iter().take_while(|(begins, piece)| {
            let ends = begins + piece.len() as u64;
            let joins = ends <= end || *begins <= end.next_multiple_of(PAGE) && ends - start <= SPAN as u64;
            if joins {
                end = end.max(ends);
            }
            joins
        });
        let count = 1 + joined.count();
        let (pieces, after) = rest.split_at_mut(count);
        groups.push(Group { start, len: (end - start) as usize, pieces });
        rest = after;
    }
    groups
}

/// Reads groups one after the other, with the system told of those that follow.
fn fetch_share(source: &Source<'_>, groups: &mut [Group<'_, '_>]) -> Result<()> {
    let (mut told, mut ahead) = (0, 0);
    let mut span = Vec::new();
    for at in 0..groups.len() {
        while told < groups.len() && (told <= at || ahead < AHEAD) {
            let Group { start, len, .. } = groups[told];
            read_soon(source.file.as_std(), start, len.min(AHEAD));
            (told, ahead) = (told + 1, ahead + len);
        }
        read_group(source, &mut groups[at], &mut span)?;
        ahead -= groups[at].len;
    }
    Ok(())
}

/// Reads a group straight into its place if its first piece is all of it, else at once, and deals it out.
fn read_group(source: &Source<'_>, group: &mut Group<'_, '_>, span: &mut Vec<u8>) -> Result<()> {
    let Group { start, len, pieces } = group;
    let Some(((_, first), others)) = pieces.split_first_mut() else { return Ok(()) };
    let (from, all): (&[u8], _) = if first.len() == *len {
        source.read(*start, first)?;
        (first, others)
    } else {
        // More than one piece: `grouped` keeps these within `SPAN`.
        span.resize(SPAN, 0);
        source.read(*start, &mut span[..*len])?;
        (span, &mut **pieces)
    };
    for (offset, to) in all {
        let at = (*offset - *start) as usize;
        to.copy_from_slice(&from[at..at + to.len()]);
    }
    Ok(())
}
