//! What was done to a file, what a power cut may then leave of it, and whether the real code makes the right thing of it.

use crate::support::NAME;
use npygrow::storage::Folder;
use npygrow::{
    Appender, Durability, ErrorKind, Health, MAX_HEADER_SIZE, Options, RecoverOptions, Report, Result, Room, Tail,
    ensure_appendable_in, inspect_in, recover_in,
};
use npygrow_testkit::powercut::{Image, PowerFolder};
use std::ffi::OsStr;
use std::sync::Arc;

/// Three numbers, so that rows lie across sectors.
pub(crate) type Row = [u32; 3];
pub(crate) const ROW: usize = size_of::<Row>();

/// What a reader finds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    Missing,
    Empty,
    Unreadable,
    /// The bytes of the rows that the header counts.
    Rows(Vec<u8>),
    /// The whole rows that are left of more.
    Broken(Vec<u8>),
    /// These rows, half moved in place: every reader refuses them until the move is finished.
    Moving(Vec<u8>),
}

impl State {
    fn rows(&self) -> &[u8] {
        match self {
            State::Rows(rows) | State::Broken(rows) | State::Moving(rows) => rows,
            State::Missing | State::Empty | State::Unreadable => &[],
        }
    }

    fn is_moving(&self) -> bool {
        matches!(self, State::Moving(_))
    }

    fn has_rows(&self) -> bool {
        !matches!(self, State::Missing | State::Empty | State::Unreadable)
    }

    /// Its kind and its length: what a failure shows.
    fn brief(&self) -> String {
        match self {
            State::Rows(rows) => format!("{} rows", rows.len() / ROW),
            State::Broken(rows) => format!("{} rows left", rows.len() / ROW),
            State::Moving(rows) => format!("{} rows half moved", rows.len() / ROW),
            other => format!("{other:?}"),
        }
    }
}

/// What a call promises when it returns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Promise {
    /// Nothing: the rows are buffered.
    Nothing,
    /// That the rows count.
    Counted,
    /// That the new file has its name.
    Named,
    /// That everything is durable.
    Durable,
}

/// A call, between two points of the log.
struct Step {
    begun: usize,
    returned: usize,
    durable: bool,
    state: State,
}

/// What is done to one file.
pub(crate) struct Run {
    pub(crate) folder: Arc<PowerFolder>,
    pub(crate) durability: Durability,
    /// The rows when all is done so far.
    pub(crate) rows: Vec<u8>,
    /// From here on the power may fail.
    pub(crate) start: usize,
    steps: Vec<Step>,
    values: u32,
    /// Whether a power cut can tear the header: `process` rewrites a foreign one in place, over however many sectors it goes.
    tears: bool,
}

impl Run {
    pub(crate) fn new(image: &Image, state: State, durability: Durability) -> Self {
        let folder = Arc::new(PowerFolder::new(image));
        let (start, rows) = (folder.now(), state.rows().to_vec());
        let steps = vec![Step { begun: 0, returned: start, durable: true, state }];
        let tears = durability == Durability::Process && header_len(image) > 512;
        Run { folder, durability, rows, start, steps, values: 1 << 30, tears }
    }

    pub(crate) fn folder(&self) -> Arc<dyn Folder> {
        self.folder.clone()
    }

    pub(crate) fn options(&self) -> Options {
        Appender::options().dtype("<u4".parse().unwrap()).row_shape([3]).durability(self.durability)
    }

    /// Opens an appender, which makes the file if there is none.
    pub(crate) fn open(&mut self, options: Options) -> Appender {
        let missing = matches!(self.last(), State::Missing | State::Empty);
        let promise = if missing { Promise::Named } else { Promise::Nothing };
        let folder = self.folder();
        self.rows_step(promise, || options.open_in(folder, NAME.as_ref()))
    }

    /// An appender of the `process` durability writes `count` rows before the one that the run is about.
    pub(crate) fn append_before(&mut self, options: Options, count: usize) {
        let options = options.durability(Durability::Process);
        let folder = self.folder();
        let mut appender = self.rows_step(Promise::Nothing, || options.open_in(folder, NAME.as_ref()));
        self.append(&mut appender, count, Promise::Nothing);
    }

    /// The power does not fail before now.
    pub(crate) fn starts_now(&mut self) {
        self.start = self.folder.now();
    }

    fn last(&self) -> &State {
        &self.steps[self.steps.len() - 1].state
    }

    /// Rows that never were before.
    pub(crate) fn fresh(&mut self, count: usize) -> Vec<Row> {
        let mut value = || {
            self.values += 1;
            // Odd times a number from 1 on: all differ, and none is 0.
            self.values.wrapping_mul(0x9E37_79B1)
        };
        (0..count).map(|_| [value(), value(), value()]).collect()
    }

    /// Does `work`, after which the file holds `state`.
    pub(crate) fn step<T>(&mut self, promise: Promise, state: State, work: impl FnOnce() -> T) -> T {
        let begun = self.folder.now();
        let done = work();
        let durable = match promise {
            Promise::Nothing => false,
            Promise::Counted => self.durability == Durability::Power,
            Promise::Named => self.durability != Durability::Process,
            Promise::Durable => true,
        };
        self.steps.push(Step { begun, returned: self.folder.now(), durable, state });
        done
    }

    /// As [`step`](Run::step), with the rows as they are noted.
    pub(crate) fn rows_step<T>(&mut self, promise: Promise, work: impl FnOnce() -> Result<T>) -> T {
        let state = State::Rows(self.rows.clone());
        self.step(promise, state, work).unwrap()
    }

    pub(crate) fn append(&mut self, appender: &mut Appender, count: usize, promise: Promise) {
        let rows = self.fresh(count);
        self.rows.extend(bytes_of(&rows));
        self.rows_step(promise, || appender.append(&rows));
    }

    pub(crate) fn truncate(&mut self, appender: &mut Appender, count: usize) {
        self.rows.truncate(count * ROW);
        self.rows_step(Promise::Counted, || appender.truncate(count as u64));
    }

    pub(crate) fn sync(&mut self, appender: &mut Appender) {
        self.rows_step(Promise::Durable, || appender.sync());
    }

    pub(crate) fn close(&mut self, appender: Appender) {
        self.rows_step(Promise::Counted, || appender.close());
    }

    pub(crate) fn recover(&mut self, options: RecoverOptions) {
        let folder = self.folder();
        self.rows_step(Promise::Durable, || recover_in(folder, NAME.as_ref(), options));
    }

    pub(crate) fn ensure_appendable(&mut self, room: Room) {
        let folder = self.folder();
        self.rows_step(Promise::Durable, || ensure_appendable_in(folder, NAME.as_ref(), room, MAX_HEADER_SIZE));
    }

    /// A state on the way of the last step, after which the next one begins.
    pub(crate) fn on_the_way(&mut self, state: State) {
        let last = &self.steps[self.steps.len() - 1];
        let (begun, returned) = (last.begun, last.returned);
        let at = self.steps.len() - 1;
        self.steps.insert(at, Step { begun, returned, durable: false, state });
    }

    /// What may be there when the power fails after `cut` events: from the last durable state on, up to the one under way.
    pub(crate) fn allowed(&self, cut: usize) -> Allowed<'_> {
        let floor = self.steps.iter().rposition(|step| step.durable && step.returned <= cut).unwrap_or(0);
        let begun = |step: &&Step| step.begun < cut || step.returned <= cut;
        let states: Vec<_> = self.steps[floor..].iter().take_while(begun).map(|step| &step.state).collect();
        let all_have_rows = !self.tears && states.iter().all(|state| state.has_rows());
        let common = states.iter().map(|state| state.rows()).reduce(common_rows).unwrap_or_default();
        Allowed { durability: self.durability, synced: all_have_rows.then_some(common), states }
    }
}

fn common_rows<'a>(a: &'a [u8], b: &'a [u8]) -> &'a [u8] {
    if b.starts_with(a) {
        return a;
    }
    let same = a.chunks(ROW).zip(b.chunks(ROW)).take_while(|(a, b)| a == b).count();
    &a[..a.len().min(same * ROW)]
}

/// What may be there after a cut.
pub(crate) struct Allowed<'a> {
    durability: Durability,
    states: Vec<&'a State>,
    /// The rows that all of the states begin with, if all have rows: a sync made them durable, nothing changed them since.
    synced: Option<&'a [u8]>,
}

impl Allowed<'_> {
    /// `process` promises what was synced, the others one of the states.
    fn has(&self, state: &State) -> bool {
        let holds = |synced| state.has_rows() && state.rows().starts_with(synced);
        match self.durability {
            Durability::Process => self.synced.is_none_or(holds),
            _ => self.states.contains(&state),
        }
    }
}

/// Of a version 1 header; all that are written here are.
fn header_len(image: &Image) -> usize {
    match image.get(OsStr::new(NAME)).and_then(|(_, bytes)| bytes.get(8..10)) {
        Some(&[low, high]) => 10 + usize::from(u16::from_le_bytes([low, high])),
        _ => 0,
    }
}

pub(crate) fn bytes_of(rows: &[Row]) -> Vec<u8> {
    rows.as_flattened().iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Whether what a cut left is what was promised, and whether it can be gone on with. Gives the run that went on.
pub(crate) fn judge(image: &Image, allowed: &Allowed<'_>) -> Result<Run, String> {
    let (mut state, report) = look(image)?;
    if let (State::Moving(_), Some(moving)) = (&state, allowed.states.iter().find(|state| state.is_moving())) {
        // What a reader refuses it cannot show; it must be there once the move is finished.
        state = (*moving).clone();
    }
    if !allowed.has(&state) {
        let expected: Vec<_> = allowed.states.iter().map(|state| state.brief()).collect();
        return Err(format!("expected {}, found {}", expected.join(" or "), state.brief()));
    }
    let mut run = Run::new(image, state, allowed.durability);
    go_on(&mut run, report.as_ref()).map_err(|why| format!("{why} ({})", run.steps[0].state.brief()))?;
    Ok(run)
}

/// What a reader finds in `image`, and that `inspect` says the same.
pub(crate) fn look(image: &Image) -> Result<(State, Option<Report>), String> {
    let Some((_, bytes)) = image.get(OsStr::new(NAME)) else { return Ok((State::Missing, None)) };
    if bytes.is_empty() {
        return Ok((State::Empty, None));
    }
    let folder = Arc::new(PowerFolder::new(image));
    let report = match inspect_in(folder, NAME.as_ref(), MAX_HEADER_SIZE) {
        Ok(report) => report,
        Err(error) if error.kind() == ErrorKind::NeedsRecovery => return Ok((State::Moving(Vec::new()), None)),
        Err(_) => return Ok((State::Unreadable, None)),
    };
    let start = report.header_len as usize;
    let (held, counted) = (bytes.len() - start, counted(&bytes[..start]).ok_or("no count in the header")?);
    let (whole, torn) = (held / ROW, held % ROW);
    let health = match counted * ROW {
        end if end == held => Health::Clean,
        end if end < held => Health::Tail { rows: ((held - end) / ROW) as u64, bytes: (held - end) as u64 },
        _ => Health::Truncated { rows: whole as u64, torn: torn as u64 },
    };
    let found = (report.file_size, report.rows, report.rows_on_disk, report.health);
    let on_disk = if let Health::Clean = health { counted } else { whole };
    let truth = (bytes.len() as u64, counted as u64, on_disk as u64, health);
    if found != truth {
        return Err(format!("inspect says {found:?}, the file is {truth:?}"));
    }
    let rows = bytes[start..][..counted.min(whole) * ROW].to_vec();
    Ok((if counted > whole { State::Broken(rows) } else { State::Rows(rows) }, Some(report)))
}

/// The first number of the shape.
fn counted(header: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(header);
    let digits = text.split("'shape'").nth(1)?.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Does what `inspect` advises, then appends a row as the next process would.
fn go_on(run: &mut Run, report: Option<&Report>) -> Result<(), String> {
    let (folder, durability) = (run.folder(), run.durability);
    let foreign_tail = report.is_some_and(|report| !report.ours && matches!(report.health, Health::Tail { .. }));
    match run.last() {
        State::Unreadable => {
            let mended = recover_in(folder.clone(), NAME.as_ref(), RecoverOptions::default()).is_ok();
            let opened = run.options().open_in(folder, NAME.as_ref()).is_ok();
            return if mended || opened { Err("what cannot be read was opened".into()) } else { Ok(()) };
        }
        State::Broken(_) => {
            let options = RecoverOptions::default();
            let recovery = run.rows_try(Promise::Durable, || recover_in(folder.clone(), NAME.as_ref(), options))?;
            let left = run.rows.len() / ROW;
            if recovery.rows != left as u64 {
                return Err(format!("{left} rows were left, recovered {recovery:?}"));
            }
        }
        State::Rows(_) if foreign_tail => {
            let options = RecoverOptions { tail: Tail::Drop, ..Default::default() };
            run.rows_try(Promise::Durable, || recover_in(folder.clone(), NAME.as_ref(), options))?;
        }
        _ => {}
    }
    if report.is_some_and(|report| report.room.is_none()) {
        let room = || ensure_appendable_in(folder.clone(), NAME.as_ref(), Room::Compact, MAX_HEADER_SIZE);
        run.rows_try(Promise::Durable, room)?;
    }
    let options = run.options();
    let promise = if matches!(run.last(), State::Missing | State::Empty) { Promise::Named } else { Promise::Counted };
    let mut appender = run.rows_try(promise, || options.open_in(folder, NAME.as_ref()))?;
    if appender.len() != (run.rows.len() / ROW) as u64 {
        return Err(format!("the next appender sees {} rows", appender.len()));
    }
    let row = run.fresh(1);
    run.rows.extend(bytes_of(&row));
    run.rows_try(Promise::Counted, || appender.append(&row))?;
    run.rows_try(Promise::Counted, || appender.close())?;
    let image = run.folder.image();
    let (state, report) = look(&image)?;
    let clean = report.is_some_and(|report| report.health == Health::Clean);
    if state != State::Rows(run.rows.clone()) || !clean {
        return Err(format!("after the next row, {durability:?}: {}, clean: {clean}", state.brief()));
    }
    // Inputs of a concat stay.
    match image.keys().find(|name| *name != NAME && !name.to_string_lossy().starts_with("part-")) {
        Some(left) => Err(format!("{} was left behind", left.display())),
        None => Ok(()),
    }
}

impl Run {
    fn rows_try<T>(&mut self, promise: Promise, work: impl FnOnce() -> Result<T>) -> Result<T, String> {
        let state = State::Rows(self.rows.clone());
        self.step(promise, state, work).map_err(|error| format!("{error:?}"))
    }
}
