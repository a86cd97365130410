//! The same for columns that grow together: ragged rows, and datasets of several columns. What a reader finds is the rows that
//! every column has.

mod controls;
pub(crate) mod joins;

use super::judge::Promise;
use super::{said, settings};
use npygrow::storage::Folder;
use npygrow::{
    Appender, ColumnPart, DatasetAppender, Durability, ErrorKind, MAX_HEADER_SIZE, Options, RaggedAppender, Reader,
    RecoverOptions, Result, Tail, recover_folder_in,
};
use npygrow_testkit::powercut::{Disk, Image, PowerFolder, Random, Walk, hash};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Items: values, then offsets.
    Ragged,
    /// Two columns of rows of one size.
    Plain,
    /// A column of each kind.
    Mixed,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Ragged, Kind::Plain, Kind::Mixed];

impl Kind {
    /// The columns: a name, and whether it is ragged.
    fn columns(self) -> &'static [(&'static str, bool)] {
        match self {
            Kind::Ragged => &[("", true)],
            Kind::Plain => &[("a", false), ("b", false)],
            Kind::Mixed => &[("a", false), ("text", true)],
        }
    }
}

/// What row `id` holds in a column: its number and some that follow from it.
fn row(id: u32, ragged: bool) -> Vec<u32> {
    let len = if ragged { id * 7 % 40 } else { 3 };
    (0..len).map(|at| id.wrapping_mul(0x9E37_79B1).wrapping_add(at).max(1)).collect()
}

fn bytes(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// An appender of any kind.
pub(crate) enum Handle {
    Ragged(RaggedAppender),
    Dataset(Kind, Box<DatasetAppender>),
}

macro_rules! on_either {
    ($handle:expr, $inner:ident => $call:expr) => {
        match $handle {
            Handle::Ragged($inner) => $call,
            Handle::Dataset(_, $inner) => $call,
        }
    };
}

impl Handle {
    pub(crate) fn open(kind: Kind, folder: Arc<dyn Folder>, options: Options) -> Result<Handle> {
        let (dtype, plain) = ("<u4".parse().unwrap(), [3]);
        if kind == Kind::Ragged {
            let mut items = options.open_ragged_in(folder)?;
            items.define(&dtype, &[])?;
            return Ok(Handle::Ragged(items));
        }
        let mut run = options.open_dataset_in(folder)?;
        for &(name, ragged) in kind.columns() {
            if ragged { run.define_ragged(name, &dtype, &[])? } else { run.define(name, &dtype, &plain)? }
        }
        Ok(Handle::Dataset(kind, Box::new(run)))
    }

    pub(crate) fn append(&mut self, ids: &[u32]) -> Result<()> {
        let of = |ragged| ids.iter().map(move |&id| row(id, ragged)).collect::<Vec<_>>();
        let lengths: Vec<u64> = of(true).iter().map(|item| item.len() as u64).collect();
        let (rows, values) = (bytes(&of(false).concat()), bytes(&of(true).concat()));
        match self {
            Handle::Ragged(items) => items.extend_bytes(&lengths, &values).map(drop),
            Handle::Dataset(kind, run) => {
                let part = |ragged| match ragged {
                    true => ColumnPart::Items { lengths: &lengths, values: &values },
                    false => ColumnPart::Rows(&rows),
                };
                let parts: Vec<_> = kind.columns().iter().map(|&(name, ragged)| (name, part(ragged))).collect();
                run.append(ids.len() as u64, &parts).map(drop)
            }
        }
    }

    pub(crate) fn commit(&mut self) -> Result<()> {
        on_either!(self, inner => inner.commit().map(drop))
    }

    pub(crate) fn sync(&mut self) -> Result<()> {
        on_either!(self, inner => inner.sync())
    }

    pub(crate) fn truncate(&mut self, rows: u64) -> Result<()> {
        on_either!(self, inner => inner.truncate(rows))
    }

    pub(crate) fn len(&self) -> u64 {
        on_either!(self, inner => inner.len())
    }

    pub(crate) fn close(self) -> Result<()> {
        on_either!(self, inner => inner.close())
    }
}

/// The rows of one column as a reader finds them, by what is in the files alone; `None` where a file is not there.
fn column(folder: &dyn Folder, name: &str, ragged: bool) -> Result<Option<Vec<Vec<u32>>>> {
    let reader = |folder: &dyn Folder, name: &str| {
        folder.open(name.as_ref(), false)?.map(|storage| Reader::on(storage, MAX_HEADER_SIZE)).transpose()
    };
    if !ragged {
        let Some(rows) = reader(folder, &format!("{name}.npy"))? else { return Ok(None) };
        return Ok(Some(rows.rows::<[u32; 3]>(0..rows.len())?.iter().map(|row| row.to_vec()).collect()));
    }
    let inside = if name.is_empty() { None } else { folder.folder(name.as_ref(), false)? };
    let folder = match &inside {
        Some(inside) => &**inside,
        None if name.is_empty() => folder,
        None => return Ok(None),
    };
    // Offsets first.
    let (Some(offsets), Some(values)) = (reader(folder, "offsets.npy")?, reader(folder, "values.npy")?) else {
        return Ok(None);
    };
    let (offsets, values) = (offsets.rows::<i64>(0..offsets.len())?, values.rows::<u32>(0..values.len())?);
    let items = offsets.windows(2).map_while(|ends| values.get(ends[0] as usize..ends[1] as usize));
    Ok(Some(items.map(<[u32]>::to_vec).collect()))
}

/// The rows that every column has; an error where they are none of those that were written, in their order.
pub(crate) fn look(kind: Kind, folder: &dyn Folder) -> Result<Vec<Vec<Vec<u32>>>> {
    let columns = kind.columns().iter().map(|&(name, ragged)| column(folder, name, ragged));
    let columns: Vec<_> = columns.map(|column| Ok(column?.unwrap_or_default())).collect::<Result<_>>()?;
    let rows = columns.iter().map(Vec::len).min().unwrap_or(0);
    Ok(columns
        .into_iter()
        .map(|mut column| {
            column.truncate(rows);
            column
        })
        .collect())
}

pub(crate) fn expected(kind: Kind, ids: &[u32]) -> Vec<Vec<Vec<u32>>> {
    kind.columns().iter().map(|&(_, ragged)| ids.iter().map(|&id| row(id, ragged)).collect()).collect()
}

/// A call, between two points of the log, and the rows after it.
struct Step {
    begun: usize,
    returned: usize,
    durable: bool,
    ids: Vec<u32>,
}

/// What is done to one folder.
pub(crate) struct Run {
    pub(crate) kind: Kind,
    pub(crate) folder: Arc<PowerFolder>,
    pub(crate) durability: Durability,
    pub(crate) ids: Vec<u32>,
    next: u32,
    start: usize,
    steps: Vec<Step>,
}

impl Run {
    pub(crate) fn new(kind: Kind, durability: Durability, image: &Image, ids: Vec<u32>) -> Self {
        let folder = Arc::new(PowerFolder::new(image));
        let start = folder.now();
        let steps = vec![Step { begun: 0, returned: start, durable: true, ids: ids.clone() }];
        Run { kind, folder, durability, ids, next: 1, start, steps }
    }

    fn options(&self) -> Options {
        Appender::options().durability(self.durability)
    }

    fn open(&mut self, options: Options) -> Handle {
        let (kind, folder) = (self.kind, self.folder.clone());
        self.step(Promise::Nothing, || Handle::open(kind, folder, options)).unwrap()
    }

    pub(crate) fn fresh(&mut self, count: u32) -> Vec<u32> {
        self.next += count;
        (self.next - count..self.next).collect()
    }

    pub(crate) fn step<T>(&mut self, promise: Promise, work: impl FnOnce() -> T) -> T {
        let begun = self.folder.now();
        let done = work();
        let durable = match promise {
            Promise::Nothing | Promise::Named => false,
            Promise::Counted => self.durability == Durability::Power,
            Promise::Durable => true,
        };
        self.steps.push(Step { begun, returned: self.folder.now(), durable, ids: self.ids.clone() });
        done
    }

    fn append(&mut self, handle: &mut Handle, count: u32, promise: Promise) {
        let fresh = self.fresh(count);
        self.ids.extend(&fresh);
        self.step(promise, || handle.append(&fresh)).unwrap();
    }

    fn truncate(&mut self, handle: &mut Handle, rows: usize) {
        self.ids.truncate(rows);
        self.step(Promise::Counted, || handle.truncate(rows as u64)).unwrap();
    }

    /// What may be there after `cut` events, and the rows that all of it begins with.
    fn allowed(&self, cut: usize) -> (Vec<&[u32]>, &[u32]) {
        let floor = self.steps.iter().rposition(|step| step.durable && step.returned <= cut).unwrap_or(0);
        let begun = |step: &&Step| step.begun < cut || step.returned <= cut;
        let states: Vec<&[u32]> = self.steps[floor..].iter().take_while(begun).map(|step| &step.ids[..]).collect();
        let common = |a: &'_ [u32], b: &[u32]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
        let first = states[0];
        let synced = states.iter().map(|state| common(first, state)).min().unwrap_or(0);
        (states, &first[..synced])
    }
}

/// Whether what a cut left is what was promised, and can be gone on with.
fn judge(run: &Run, image: &Image, cut: usize) -> std::result::Result<(), String> {
    let (states, synced) = run.allowed(cut);
    let folder = Arc::new(PowerFolder::new(image));
    let open = |folder: &Arc<PowerFolder>| Handle::open(run.kind, folder.clone(), run.options());
    let text = |error: npygrow::Error| format!("{error:?}");
    // As with one file, under `process`: a name that came before its bytes, where no row was synced yet.
    let is_hollow = |error: &npygrow::Error| {
        error.kind() == ErrorKind::NotNpy && run.durability == Durability::Process && synced.is_empty()
    };
    let found = look(run.kind, &*folder);
    let mut ids = None;
    if run.durability != Durability::Process {
        let found = found.map_err(text)?;
        let state = states.iter().find(|state| expected(run.kind, state) == found);
        let state = state.ok_or_else(|| {
            let lens: Vec<_> = states.iter().map(|state| state.len()).collect();
            format!("expected one of {lens:?} rows, found {} or other contents", found[0].len())
        })?;
        ids = Some(state.to_vec());
    }
    let mut handle = match open(&folder) {
        // Only what was never synced can be so broken that somebody has to say so.
        Err(error) if error.kind() == ErrorKind::NeedsRecovery && run.durability == Durability::Process => {
            let recover =
                |tail| recover_folder_in(folder.clone(), RecoverOptions { tail, ..RecoverOptions::default() });
            match recover(Tail::Keep) {
                Err(error) if is_hollow(&error) => return Ok(()),
                // It says what would go, and how to say so.
                Err(error) if error.detail().contains("tail=\"drop\"") => recover(Tail::Drop).map_err(text)?,
                recovered => recovered.map_err(text)?,
            };
            open(&folder).map_err(text)?
        }
        Err(error) if is_hollow(&error) => return Ok(()),
        handle => handle.map_err(text)?,
    };
    if ids.as_ref().is_some_and(|ids| ids.len() as u64 != handle.len()) {
        return Err(format!("the next appender sees {} rows of {}", handle.len(), ids.map_or(0, |ids| ids.len())));
    }
    let rows = handle.len() as usize;
    handle.append(&[77_777]).map_err(text)?;
    handle.close().map_err(text)?;
    let found = look(run.kind, &*folder).map_err(text)?;
    let mut begins = synced.to_vec();
    let after = expected(run.kind, &[77_777]);
    if let Some(ids) = ids {
        begins = ids;
    }
    let wanted = expected(run.kind, &begins);
    let starts = found.iter().zip(&wanted).all(|(found, wanted)| found.starts_with(wanted));
    // Of a ragged column that a power cut garbled, a reader by hand stops at the first item that is none.
    let ends = found[0].len() != rows + 1 || found.iter().zip(&after).all(|(found, after)| found[rows] == after[0]);
    let all = run.durability == Durability::Process || found[0].len() == rows + 1;
    if starts && ends && all {
        return Ok(());
    }
    Err(format!("after the next row: {} rows of {rows} and 1, begins with {}: {starts}", found[0].len(), begins.len()))
}

pub(crate) fn sweep(run: &Run, states: usize, seed: u64) -> (Option<String>, usize, usize) {
    sweep_folder(&run.folder, run.start, states, seed, &|image, cut| judge(run, image, cut))
}

/// What is wrong with what a cut after so many events left.
type Judge<'a> = &'a dyn Fn(&Image, usize) -> std::result::Result<(), String>;

/// Cuts the power after each of the events from `start` on; says what was wrong first, and how often of how many.
pub(crate) fn sweep_folder(
    folder: &PowerFolder,
    start: usize,
    states: usize,
    seed: u64,
    judge: Judge<'_>,
) -> (Option<String>, usize, usize) {
    let mut random = Random(seed);
    let events = folder.events();
    let (mut disk, mut seen) = (Disk::default(), HashSet::new());
    let (mut first, mut wrong) = (None, 0);
    for cut in 0..=events.len() {
        if let Some(last) = cut.checked_sub(1) {
            disk.apply(&events[last]);
        }
        if cut < start {
            continue;
        }
        let mut images = vec![disk.cut(&mut |n| n - 1), disk.cut(&mut |_| 0)];
        let mut walk = Walk::default();
        let mut more = true;
        for _ in 0..states / 4 {
            if more {
                images.push(disk.cut(&mut |n| walk.choose(n)));
                more = walk.next_set();
            }
        }
        for _ in 0..if more { states - states / 4 } else { 0 } {
            let newest_in_8 = [1, 4, 7][random.below(3)];
            images.push(disk.cut(&mut |n| if random.below(8) < newest_in_8 { n - 1 } else { random.below(n) }));
        }
        for (image, image_hash) in images {
            if !seen.insert(hash(&(cut, image_hash))) {
                continue;
            }
            let judged = catch_unwind(AssertUnwindSafe(|| judge(&image, cut)));
            if let Err(why) = judged.unwrap_or_else(|_| Err("it panics".into())) {
                wrong += 1;
                first.get_or_insert_with(|| format!("cut {cut} of {}: {why}", events.len()));
            }
        }
    }
    (first, wrong, seen.len())
}

type Scenario = (&'static str, fn(&mut Run));

const SCENARIOS: [Scenario; 5] = [
    ("create and append", |run| {
        let mut handle = run.open(run.options());
        for count in [1, 2, 60, 1] {
            run.append(&mut handle, count, Promise::Counted);
        }
        run.step(Promise::Durable, || handle.sync()).unwrap();
        run.append(&mut handle, 9, Promise::Counted);
        run.step(Promise::Counted, || handle.close()).unwrap();
    }),
    ("open again", |run| {
        let mut handle = run.open(run.options());
        run.append(&mut handle, 30, Promise::Counted);
        run.step(Promise::Durable, || handle.sync()).unwrap();
        run.append(&mut handle, 3, Promise::Counted);
        run.step(Promise::Counted, || handle.close()).unwrap();
        let mut handle = run.open(run.options());
        run.append(&mut handle, 5, Promise::Counted);
    }),
    ("buffer", |run| {
        let mut handle = run.open(run.options().buffering(900));
        for _ in 0..9 {
            run.append(&mut handle, 4, Promise::Nothing);
        }
        run.step(Promise::Counted, || handle.commit()).unwrap();
        run.append(&mut handle, 4, Promise::Nothing);
        run.step(Promise::Durable, || handle.sync()).unwrap();
        run.append(&mut handle, 4, Promise::Nothing);
        run.step(Promise::Counted, || handle.close()).unwrap();
    }),
    ("take turns", |run| {
        let mut handles = [0, 1].map(|_| run.open(run.options().turns(true)));
        run.append(&mut handles[0], 7, Promise::Counted);
        // By the one that has not seen the files yet.
        run.step(Promise::Durable, || handles[1].sync()).unwrap();
        for round in 0..4 {
            run.append(&mut handles[round % 2], 7, Promise::Counted);
        }
    }),
    ("truncate", |run| {
        let mut handle = run.open(run.options());
        run.append(&mut handle, 40, Promise::Counted);
        run.step(Promise::Durable, || handle.sync()).unwrap();
        run.truncate(&mut handle, 15);
        run.append(&mut handle, 20, Promise::Counted);
        run.truncate(&mut handle, 0);
        run.append(&mut handle, 2, Promise::Counted);
    }),
];

fn sweep_all(durability: Durability) {
    let (states, seed) = settings();
    // A group has several files, and so many more states than one file: fewer are tried at each point.
    let states = states.div_ceil(4);
    let (mut all, mut bad) = (0, Vec::new());
    for kind in KINDS {
        for (name, scenario) in SCENARIOS {
            let mut run = Run::new(kind, durability, &Image::new(), Vec::new());
            scenario(&mut run);
            let (first, wrong, seen) = sweep(&run, states, hash(&(seed, kind, name)));
            all += seen;
            bad.extend(first.map(|first| format!("{kind:?}, {name}: {wrong} of {seen} wrong, {first}")));
        }
    }
    println!("power cuts of groups, {durability:?}: {all} distinct states, {} runs wrong", bad.len());
    assert!(all > 500, "only {all} states");
    assert!(bad.is_empty(), "\n{}\n{}", bad.join("\n"), said(states * 4, seed));
}

#[test]
fn power_keeps_every_acknowledged_row_of_all_columns() {
    sweep_all(Durability::Power);
}

#[test]
fn ordered_keeps_a_valid_beginning_of_all_columns() {
    sweep_all(Durability::Ordered);
}

#[test]
fn process_keeps_what_was_synced_of_all_columns() {
    sweep_all(Durability::Process);
}
