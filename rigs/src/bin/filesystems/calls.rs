//! What is done to files while the disk is recorded: every call that writes.

use crate::mounts::{Result, cannot};
use crate::rows::{Handle, Kind, ROW, State, bytes, options};
use crate::run::{Inputs, Promise, Run, Subjected};
use npygrow::{
    ConcatOptions, Durability, MAX_HEADER_SIZE, Mode, OnExists, RecoverOptions, Room, concat_with, ensure_appendable,
    recover,
};
use std::fs;

type Call = fn(&mut Run) -> Result<()>;

/// Some of these make one recording.
pub(crate) const CALLS: [(&str, Call); 8] = [
    ("grow", |run| grow(run, "rows.npy", Kind::File)),
    ("consume", consume),
    ("make room", |run| make_room(run, "room.npy", Room::Compact)),
    ("ragged", |run| grow(run, "items", Kind::Ragged)),
    ("replace", replace),
    ("make room in place", |run| make_room(run, "moved.npy", Room::InPlace)),
    ("dataset", |run| grow(run, "table", Kind::Dataset)),
    ("join and mend", |run| join(run).and_then(|()| mend(run))),
];

fn failed(error: npygrow::Error) -> String {
    format!("a call failed: {error:?}")
}

/// Appends small, large, buffered and in turns, with syncs, truncations and new handles between.
fn grow(run: &mut Run, name: &str, kind: Kind) -> Result<()> {
    let (state, file) = if kind == Kind::File { (State::Missing, 1) } else { (State::Rows(0), 0) };
    let mut rows = run.begin(name, kind, state, file).map_err(cannot("begin"))?;
    for _ in 0..4 {
        let buffering = [0, 0, 4000][run.random.below(3) as usize];
        let turns = run.random.below(4) == 0;
        let options = run.options().buffering(buffering).turns(turns);
        let mut handles = vec![rows.open(run, options.clone()).map_err(failed)?];
        if turns {
            handles.push(rows.open(run, options).map_err(failed)?);
        }
        let promise = if buffering == 0 { Promise::Counted } else { Promise::Nothing };
        for round in 0..run.random.below(6) as usize {
            let turn = round % handles.len();
            some_call(run, &mut rows, &mut handles[turn], promise, turns).map_err(failed)?;
        }
        for handle in handles {
            run.step(&rows, Promise::Counted, || handle.close()).map_err(failed)?;
        }
    }
    Ok(())
}

fn some_call(
    run: &mut Run,
    rows: &mut Subjected,
    handle: &mut Handle,
    promise: Promise,
    turns: bool,
) -> npygrow::Result<()> {
    match run.random.below(8) {
        0 => run.step(rows, Promise::Durable, || handle.sync())?,
        // Rows that wait are not a beginning of the file when another handle takes its turn.
        1 if promise == Promise::Counted && !turns => {
            let left = run.random.below(rows.rows + 1);
            rows.truncate(run, handle, left)?;
        }
        _ => {
            let most = [3, 100, 1000, if rows.kind == Kind::File { 9000 } else { 300 }][run.random.below(4) as usize];
            let count = 1 + run.random.below(most);
            rows.append(run, handle, count, promise)?;
        }
    }
    if turns && promise == Promise::Nothing { run.step(rows, Promise::Counted, || handle.commit()) } else { Ok(()) }
}

/// Makes a file by its first append, then puts others in its place.
fn replace(run: &mut Run) -> Result<()> {
    let mut rows = run.begin("made.npy", Kind::File, State::Missing, 1).map_err(cannot("begin"))?;
    for file in 1..4 {
        (rows.file, rows.rows) = (file, 0);
        let options = run.options().mode(Mode::Write);
        // A file that is there stays until the first append.
        let opened =
            if file == 1 { rows.open(run, options) } else { Handle::open(Kind::File, file, &rows.path, options) };
        let mut handle = opened.map_err(failed)?;
        for (at, most) in [2000, 3, 4000].into_iter().enumerate() {
            let count = 1 + run.random.below(most);
            let promise = if at == 0 && file > 1 { Promise::Named } else { Promise::Counted };
            rows.append(run, &mut handle, count, promise).map_err(failed)?;
        }
        run.step(&rows, Promise::Counted, || handle.close()).map_err(failed)?;
    }
    Ok(())
}

/// A file as another tool writes it, with no room to grow.
pub(crate) fn without_room(file: u32, rows: u64) -> Vec<u8> {
    let text = format!("{{'descr':'<u4','fortran_order':False,'shape':({rows},3)}}\n");
    let mut whole = b"\x93NUMPY\x01\x00".to_vec();
    whole.extend((text.len() as u16).to_le_bytes());
    whole.extend(text.as_bytes());
    whole.extend(bytes(file, 0..rows));
    whole
}

fn make_room(run: &mut Run, name: &str, room: Room) -> Result<()> {
    let count = 500 + run.random.below(6000);
    fs::write(run.path(name), without_room(3, count)).map_err(cannot("begin"))?;
    let mut rows = run.begin(name, Kind::File, State::Rows(count), 3).map_err(cannot("begin"))?;
    let path = rows.path.clone();
    let made = run.step(&rows, Promise::Durable, || ensure_appendable(&path, room, MAX_HEADER_SIZE));
    made.map_err(failed)?;
    if room == Room::InPlace {
        run.on_the_way(&rows, State::Moving);
    }
    let options = run.options();
    let mut handle = rows.open(run, options).map_err(failed)?;
    for count in [1, 700] {
        rows.append(run, &mut handle, count, Promise::Counted).map_err(failed)?;
    }
    run.step(&rows, Promise::Counted, || handle.close()).map_err(failed)
}

/// Writes rows `from..to` of `file` as a file of their own.
fn part(run: &Run, name: &str, file: u32, from: u64, to: u64) -> Result<()> {
    let mut part = options().durability(Durability::Power).open(run.path(name)).map_err(failed)?;
    part.append_bytes(&bytes(file, from..to)).map_err(failed)?;
    part.close().map_err(failed)
}

/// Joins files to one that is there.
fn join(run: &mut Run) -> Result<()> {
    let ends = [300, 1500, 1600, 4000];
    part(run, "joined.npy", 4, 0, ends[0])?;
    let names: Vec<_> = (1..ends.len()).map(|at| format!("join-{at}.npy")).collect();
    for (name, ends) in names.iter().zip(ends.windows(2)) {
        part(run, name, 4, ends[0], ends[1])?;
    }
    let mut rows = run.begin("joined.npy", Kind::File, State::Rows(ends[0]), 4).map_err(cannot("begin"))?;
    let paths: Vec<_> = names.iter().map(|name| run.path(name)).collect();
    let options = ConcatOptions::default().on_exists(OnExists::Append).durability(run.durability);
    rows.rows = ends[ends.len() - 1];
    let output = rows.path.clone();
    run.step(&rows, Promise::Counted, || concat_with(&paths, &output, &options, &mut |_, _| Ok(()))).map_err(failed)?;
    Ok(())
}

/// Joins files that are deleted as soon as their rows are in the output.
fn consume(run: &mut Run) -> Result<()> {
    let ends = [0, 1000, 1010, 4000];
    let names: Vec<_> = (1..ends.len()).map(|at| format!("consume-{at}.npy")).collect();
    for (name, ends) in names.iter().zip(ends.windows(2)) {
        part(run, name, 5, ends[0], ends[1])?;
    }
    let mut rows = run.begin("consumed.npy", Kind::File, State::Missing, 5).map_err(cannot("begin"))?;
    rows.rows = ends[ends.len() - 1];
    let paths: Vec<_> = names.iter().map(|name| run.path(name)).collect();
    rows.consumes(run, Inputs { names, rows: rows.rows });
    let options = ConcatOptions::default().consume(true).durability(run.durability);
    let output = rows.path.clone();
    run.step(&rows, Promise::Durable, || concat_with(&paths, &output, &options, &mut |_, _| Ok(()))).map_err(failed)?;
    for end in &ends[..ends.len() - 1] {
        run.on_the_way(&rows, State::Rows(*end));
    }
    Ok(())
}

/// Takes whole rows from a tail, and cuts a torn one.
fn mend(run: &mut Run) -> Result<()> {
    part(run, "mended.npy", 6, 0, 900)?;
    let path = run.path("mended.npy");
    let mut file = fs::read(&path).map_err(cannot("begin"))?;
    file.extend(bytes(6, 900..1800));
    file.extend(&[7; ROW - 5]);
    fs::write(&path, file).map_err(cannot("begin"))?;
    let mut rows = run.begin("mended.npy", Kind::File, State::Rows(900), 6).map_err(cannot("begin"))?;
    rows.rows = 1800;
    run.step(&rows, Promise::Durable, || recover(&path, RecoverOptions::default())).map_err(failed)?;
    let options = run.options();
    let mut handle = rows.open(run, options).map_err(failed)?;
    rows.append(run, &mut handle, 50, Promise::Counted).map_err(failed)?;
    run.step(&rows, Promise::Counted, || handle.close()).map_err(failed)
}
