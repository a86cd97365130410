//! Whether what a power cut left of a file is what was promised, and whether the real code goes on with it.

use crate::rows::{Found, Handle, Kind, State, look, options};
use crate::run::{Allowed, Subject};
use npygrow::{
    ConcatOptions, Durability, ErrorKind, Health, MAX_HEADER_SIZE, RecoverOptions, Room, Tail, concat_with,
    ensure_appendable, recover, recover_folder,
};
use std::fmt::Debug;
use std::fs;
use std::path::Path;

/// What came of one state.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Right,
    /// Under `process`: rows that no `sync()` made durable are missing or wrong.
    Short,
    Wrong(String),
}

/// Looks at everything that was done before `cut`, and goes on with it.
pub(crate) fn judge(root: &Path, subjects: &[Subject], durability: Durability, cut: usize) -> Verdict {
    let mut verdict = Verdict::Right;
    for subject in subjects {
        let Some(allowed) = subject.allowed(cut) else { continue };
        match judge_one(root, subject, durability, &allowed) {
            Err(why) => return Verdict::Wrong(format!("{}, cut after {cut} events: {why}", subject.name)),
            Ok(true) => {}
            Ok(false) => verdict = Verdict::Short,
        }
    }
    match left_behind(root) {
        Some(name) => Verdict::Wrong(format!("cut after {cut} events: {name} was left behind")),
        None => verdict,
    }
}

fn left_behind(root: &Path) -> Option<String> {
    let names = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.map(|name| name.to_string_lossy().into_owned()).find(|name| name.starts_with('.'))
}

fn text(error: impl Debug) -> String {
    format!("{error:?}")
}

/// Whether it is what `ordered` would promise; an error where it is not even what was promised.
fn judge_one(root: &Path, subject: &Subject, durability: Durability, allowed: &Allowed) -> Result<bool, String> {
    let path = root.join(&subject.name);
    let mut found = look(subject.kind, &path)?;
    if found.state == State::Moving && allowed.0.iter().any(|(state, _)| *state == State::Moving) {
        // What a reader refuses it cannot show; it must be there once the move is finished.
        Handle::open(subject.kind, 0, &path, options()).and_then(Handle::close).map_err(text)?;
        found = look(subject.kind, &path)?;
    }
    let is_allowed = allowed.has(&found);
    let expected = || {
        let right = if found.is_whole() { String::new() } else { format!(", of which {} are right", found.right) };
        format!("expected {}, found {:?} of file {}{right}", allowed.brief(), found.state, found.file)
    };
    let synced = allowed.synced().unwrap_or(0);
    let kept = match durability {
        // Of a folder whose files were torn each by itself nothing is read before it is mended.
        Durability::Process if found.state == State::Unreadable && subject.kind != Kind::File => true,
        Durability::Process => found.right >= synced,
        _ => is_allowed,
    };
    if !kept {
        return Err(expected());
    }
    if let Some(inputs) = &subject.inputs {
        let missing = inputs.names.iter().all(|name| !root.join(name).exists());
        if !missing || left_behind(root).is_some() {
            let names: Vec<_> = inputs.names.iter().map(|name| root.join(name)).collect();
            let options = ConcatOptions::default().consume(true);
            concat_with(&names, &path, &options, &mut |_, _| Ok(())).map_err(text)?;
        }
        found = look(subject.kind, &path)?;
        if (found.state, found.right) != (State::Rows(inputs.rows), inputs.rows) {
            return Err(format!("joined again: expected {} rows, found {:?}", inputs.rows, found.state));
        }
    }
    let went_on =
        if subject.kind == Kind::File { go_on(&path, &found) } else { go_on_in_folder(subject.kind, &path, allowed) };
    went_on.map_err(|why| format!("{why} ({:?})", found.state))?;
    let right = look(subject.kind, &path)?.right;
    if right < synced {
        return Err(format!("of {synced} rows {right} are right after it went on"));
    }
    Ok(is_allowed)
}

/// Does what `inspect` advises, then appends a row as the next process would.
fn go_on(path: &Path, found: &Found) -> Result<(), String> {
    let report = found.report.as_ref();
    let foreign_tail = report.is_some_and(|report| !report.ours && matches!(report.health, Health::Tail { .. }));
    let mut rows = 0;
    match found.state {
        State::Unreadable | State::Moving => {
            let mended = recover(path, RecoverOptions::default()).is_ok();
            let opened = options().open(path).is_ok();
            return if mended || opened { Err("what cannot be read was opened".into()) } else { Ok(()) };
        }
        State::Broken(left) => {
            rows = left;
            let recovery = recover(path, RecoverOptions::default()).map_err(text)?;
            if recovery.rows != left {
                return Err(format!("{left} rows were left, recovered {recovery:?}"));
            }
        }
        State::Rows(counted) => rows = counted,
        State::Missing | State::Empty => {}
    }
    if foreign_tail {
        recover(path, RecoverOptions { tail: Tail::Drop, ..Default::default() }).map_err(text)?;
    }
    if report.is_some_and(|report| report.room.is_none()) {
        ensure_appendable(path, Room::Compact, MAX_HEADER_SIZE).map_err(text)?;
    }
    let handle = Handle::open(Kind::File, found.file, path, options()).map_err(text)?;
    append_a_row(handle, Kind::File, path, rows, found.right)
}

fn go_on_in_folder(kind: Kind, path: &Path, allowed: &Allowed) -> Result<(), String> {
    // A name that came before its bytes, where no row was synced yet.
    let is_hollow = |kind: ErrorKind| kind == ErrorKind::NotNpy && allowed.synced().is_none_or(|synced| synced == 0);
    let open = || Handle::open(kind, 0, path, npygrow::Appender::options());
    let right = look(kind, path)?.right;
    let handle = match open() {
        Err(error) if is_hollow(error.kind()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NeedsRecovery => {
            let recover = |tail| recover_folder(path, RecoverOptions { tail, ..RecoverOptions::default() });
            match recover(Tail::Keep) {
                Err(error) if is_hollow(error.kind()) => return Ok(()),
                // It says what would go, and how to say so.
                Err(error) if error.detail().contains("tail=\"drop\"") => recover(Tail::Drop).map_err(text)?,
                recovered => recovered.map_err(text)?,
            };
            open().map_err(text)?
        }
        opened => opened.map_err(text)?,
    };
    let rows = handle.len();
    append_a_row(handle, kind, path, rows, right.min(rows))
}

/// Of `rows` rows `right` were right: all that were must still be, and so must be the new one if all were.
fn append_a_row(mut handle: Handle, kind: Kind, path: &Path, rows: u64, right: u64) -> Result<(), String> {
    if handle.len() != rows {
        return Err(format!("the next appender sees {} rows of {rows}", handle.len()));
    }
    handle.append(rows..rows + 1).map_err(text)?;
    handle.close().map_err(text)?;
    let found = look(kind, path)?;
    let clean = found.report.as_ref().is_none_or(|report| report.health == Health::Clean);
    let expected = if right == rows { rows + 1 } else { right };
    if found.state != State::Rows(rows + 1) || found.right < expected || !clean {
        return Err(format!(
            "after the next row: {:?}, {} are right of {expected}, clean: {clean}",
            found.state, found.right
        ));
    }
    Ok(())
}
