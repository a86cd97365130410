//! Inputs that go as they are joined, for disks that cannot hold both.
//!
//! Invariants:
//!
//! - An input is deleted once its rows are counted in the output and on the disk there, under the locks of both, and only
//!   while it is the file that was joined. After an interruption its bytes are compared first.
//! - The journal is on the disk before the first of its inputs' rows are counted, and goes when the inputs are gone for good.
//! - While the journal stands nobody appends to the output but this module. So its count says which inputs are in it.

use super::inputs::{Input, Part, Want};
use super::{Job, Joined, OnExists, Standing, counted, joined, no_inputs};
use crate::append::Appender;
use crate::create::{Place, missing, wait};
use crate::error::{Error, ErrorKind, Result, count, error};
use crate::grow::Durability;
use crate::inplace::number;
use crate::joining::{Journal, Moved};
use crate::open::{Health, find};
use crate::options::Options;
use crate::storage::{BLOCK, Hold, Storage};
use crate::tail::OnTail;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// An input that will be deleted: nobody may be appending to it, and nothing in it may be lost.
pub(super) fn part(input: &Input, place: &Place, options: &Options) -> Result<Part> {
    let mut storage = place.lock(&wait(options), Hold::Turn)?.ok_or_else(missing)?;
    let found = place.find(&mut *storage, options.header_limit())?;
    let part = Part::of(input, place, &*storage, found)?;
    if part.tail > 0 {
        return Err(error!(
            NeedsRecovery,
            "{} after the last row would be lost with the file: call recover(path) first, to keep or to drop them",
            count(part.tail, "byte")
        ));
    }
    Ok(part)
}

pub(super) fn run(mut job: Job<'_>, progress: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<Joined> {
    job.output = job.output.clone().for_joining();
    job.options.appender = job.options.appender.clone().durability(Durability::Power);
    let left = Left::find(&job)?;
    let standing = look(&mut job, left.as_ref())?;
    let gone = |input: &Input| left.as_ref().is_some_and(|left| left.has(&job, input));
    let (parts, want) = job.parts(&standing, &gone)?;
    let Some(want) = want.filter(|_| left.is_some() || !parts.is_empty()) else { return Err(no_inputs()) };
    let mut work = Work::begin(&job, &standing, &want)?;
    let before = match journal(&job, &work.appender, left, &parts) {
        Ok(before) => before,
        Err(error) => {
            if let Ok(None) = Journal::read(&*job.output.folder, &job.output.name) {
                work.unmake(&job)?;
            }
            return Err(error);
        }
    };
    let joining = work.join(&job, &parts, progress);
    joining.map_err(|error| {
        if before == 0 { work.withdraw(&job, error, &parts) } else { error.and(again(work.done, &parts)) }
    })?;
    sync_folders(parts.iter().map(|part| &part.place))
        .and_then(|()| Journal::remove(&*job.output.folder, &job.output.name))
        .map_err(|error| error.and("every input is joined and gone"))?;
    let joined = joined(&work.appender, work.rows_before, &parts, work.shared);
    work.appender.close()?;
    Ok(Joined { inputs_before: before as u64, ..joined })
}

/// What the output is.
fn look(job: &mut Job<'_>, left: Option<&Left>) -> Result<Standing> {
    if left.is_some() {
        // What follows the last row is of the call that was interrupted.
        job.options.appender = job.options.appender.clone().on_tail(OnTail::Drop);
        job.options.on_exists = OnExists::Append;
    } else if job.options.on_exists == OnExists::Error && has_no_rows(job)? {
        job.options.on_exists = OnExists::Append;
    }
    job.look()
}

/// Whether the output is as good as none: it is what a kill leaves just before the journal is made.
fn has_no_rows(job: &Job<'_>) -> Result<bool> {
    let Some(storage) = job.output.folder.open(&job.output.name, false)? else { return Ok(false) };
    match find(&*storage, job.options.appender.header_limit()) {
        Ok(found) => Ok(found.rows == 0),
        Err(error) if error.kind() == ErrorKind::Io => Err(error),
        Err(_) => Ok(false),
    }
}

/// What an earlier call left: the journal of those inputs that are in the output.
struct Left {
    journal: Journal,
    rows: u64,
}

impl Left {
    fn find(job: &Job<'_>) -> Result<Option<Self>> {
        let (folder, name) = (&*job.output.folder, &*job.output.name);
        let Some(mut journal) = Journal::read(folder, name)? else { return Ok(None) };
        let storage = folder.open(name, false)?;
        let Some(storage) = storage.filter(|storage| number(&**storage).is_ok_and(|file| file == journal.file)) else {
            return Err(Journal::in_the_way(folder, name));
        };
        let rows = find(&*storage, job.options.appender.header_limit())?.rows;
        let done = journal.done(rows).ok_or_else(|| {
            let rows = count(rows, "row");
            error!(Mismatch, "its {rows} are not what an interrupted concat left: another program changed it")
        })?;
        journal.inputs.truncate(done);
        Ok(Some(Left { journal, rows }))
    }

    /// Whether the rows of `input` are in the output, and it is gone or is to go.
    fn has(&self, job: &Job<'_>, input: &Input) -> bool {
        let Some(moved) = self.journal.inputs.iter().find(|moved| moved.path == input.path) else { return false };
        let there = (job.find)(&input.given).and_then(|place| place.folder.open(&place.name, false));
        match there {
            Ok(Some(storage)) => number(&*storage).is_ok_and(|file| file == moved.number),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Deletes what is still there of the inputs that are in the output, once their very bytes were seen in it.
    ///
    /// The rows were synced before they were counted. The count may be in memory alone after a kill, or pass for written
    /// after a sync that failed: it is written and synced again.
    fn settle(&self, job: &Job<'_>) -> Result<()> {
        let mut output = job.output.folder.open(&job.output.name, true)?.ok_or_else(missing)?;
        let found = find(&*output, job.options.appender.header_limit())?;
        output.write_all_at(0, &found.bytes)?;
        output.sync()?;
        let mut row = self.journal.base;
        let mut places = Vec::new();
        for moved in &self.journal.inputs {
            let bytes = found.layout.end(row)?..found.layout.end(row.saturating_add(moved.rows))?;
            row += moved.rows;
            // Where its folder is gone, it is.
            let Ok(place) = (job.find)(&moved.path) else { continue };
            let settled = settle(&place, moved, &*output, bytes, &job.options.appender);
            settled.map_err(|error| error.at(place.path().display()))?;
            places.push(place);
        }
        sync_folders(places.iter())
    }
}

/// Deletes an input whose rows are in `bytes` of the output, where it is still there.
fn settle(place: &Place, moved: &Moved, output: &dyn Storage, bytes: Range<u64>, options: &Options) -> Result<()> {
    let Some(mut storage) = place.lock(&wait(options), Hold::Turn)? else { return Ok(()) };
    if number(&*storage)? != moved.number {
        return Ok(()); // Another file has its name now.
    }
    let found = place.find(&mut *storage, options.header_limit())?;
    let start = found.layout.data_start;
    let whole = found.health == Health::Clean && found.size - start == bytes.end - bytes.start;
    if whole && same(&*storage, start, output, bytes)? {
        return place.folder.remove(&place.name);
    }
    Err(error!(
        Mismatch,
        "its {} are in the output, but they are not what it holds now: move it away, and call again",
        count(moved.rows, "row")
    ))
}

/// Whether `a` holds at `at` what `b` holds in `bytes`.
fn same(a: &dyn Storage, mut at: u64, b: &dyn Storage, bytes: Range<u64>) -> Result<bool> {
    const HALF: usize = BLOCK / 2;
    let mut left = bytes.end - bytes.start;
    let half = usize::try_from(left).map_or(HALF, |left| left.min(HALF));
    let (mut of_a, mut of_b) = (vec![0; half], vec![0; half]);
    while left > 0 {
        let now = usize::try_from(left).map_or(half, |left| left.min(half));
        a.read_exact_at(at, &mut of_a[..now])?;
        b.read_exact_at(bytes.end - left, &mut of_b[..now])?;
        if of_a[..now] != of_b[..now] {
            return Ok(false);
        }
        at += now as u64;
        left -= now as u64;
    }
    Ok(true)
}

/// Under the output's lock: ends what an earlier call began, and makes the journal of this one. Says how many inputs were in
/// the output already.
fn journal(job: &Job<'_>, appender: &Appender, left: Option<Left>, parts: &[Part]) -> Result<usize> {
    let (folder, name) = (&*job.output.folder, &*job.output.name);
    let follows = left.is_some();
    let output = folder.open(name, false)?.ok_or_else(missing)?;
    let mut journal = match left {
        None => Journal { file: number(&*output)?, base: appender.committed(), inputs: Vec::new() },
        Some(left) => {
            // Before the lock was taken another call may have gone on.
            let now = Journal::read(folder, name)?.filter(|now| now.inputs.starts_with(&left.journal.inputs));
            if now.is_none() || appender.committed() != left.rows {
                return Err(error!(Mismatch, "another concat into it went on meanwhile: call again"));
            }
            left.settle(job)?;
            left.journal
        }
    };
    let before = journal.inputs.len();
    let moved = |part: &Part| Moved {
        number: part.identity.map_or(0, |identity| identity.file),
        rows: part.rows,
        path: part.path.clone(),
    };
    journal.inputs.extend(parts.iter().map(moved));
    if !parts.is_empty() {
        journal.write(folder, name, &*output, follows)?;
    }
    Ok(before)
}

/// What to do after a failure on the way.
fn again(done: usize, parts: &[Part]) -> String {
    format!("{done} of {} are joined and gone: call again to finish", count(parts.len() as u64, "input"))
}

/// The output under way.
struct Work {
    appender: Appender,
    /// Whether this call made it: then it is there, empty, before the journal that names it.
    made: bool,
    rows_before: u64,
    /// Whether it has come to deleting an input, perhaps one of no rows.
    deletes: bool,
    /// Inputs that are joined and deleted.
    done: usize,
    shared: u64,
}

impl Work {
    fn begin(job: &Job<'_>, standing: &Standing, want: &Want) -> Result<Self> {
        let mut appender = job.open(standing, want.spec.order)?;
        appender.define(&want.spec.dtype, &want.spec.row_shape)?;
        let made = !matches!(standing, Standing::Rows(_));
        if made {
            appender.begin(0)?.commit()?;
        }
        Ok(Work { rows_before: appender.committed(), appender, made, deletes: false, done: 0, shared: 0 })
    }

    fn join(&mut self, job: &Job<'_>, parts: &[Part], progress: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<()> {
        let options = &job.options.appender;
        let mut progress = counted(progress, parts);
        for part in parts {
            let storage = part.lock(&wait(options), options.header_limit())?;
            let mut batch = self.appender.begin(part.rows)?;
            self.shared += batch.copy_from(&*storage, part.offset, part.len, &mut progress)?;
            batch.commit()?;
            self.deletes = true;
            part.delete()?;
            self.done += 1;
        }
        Ok(())
    }

    /// After a failure: as if nothing had happened, where that is certain.
    fn withdraw(&mut self, job: &Job<'_>, error: Error, parts: &[Part]) -> Error {
        let untouched = !self.deletes && self.appender.committed() == self.rows_before && self.appender.sync().is_ok();
        let undo = || Journal::remove(&*job.output.folder, &job.output.name).and_then(|()| self.unmake(job));
        if untouched && undo().is_ok() { error } else { error.and(again(self.done, parts)) }
    }

    fn unmake(&self, job: &Job<'_>) -> Result<()> {
        if self.made { job.output.folder.remove(&job.output.name) } else { Ok(()) }
    }
}

/// Makes sure that what was deleted stays so: with the journal gone nobody would know that its rows are in the output.
fn sync_folders<'a>(places: impl Iterator<Item = &'a Place>) -> Result<()> {
    let mut synced: Vec<&Place> = Vec::new();
    for place in places {
        let known = |other: &&Place| Arc::ptr_eq(&other.folder, &place.folder) || same_folder(other, place);
        if !synced.iter().any(known) {
            place.folder.sync()?;
            synced.push(place);
        }
    }
    Ok(())
}

fn same_folder(a: &Place, b: &Place) -> bool {
    a.path().parent() == b.path().parent()
}
