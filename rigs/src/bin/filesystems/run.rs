//! What was done to files, between which points of the disk's log, and what may be there after a cut.

use crate::disk::{Disk, Event, Image};
use crate::rows::{Found, Handle, Kind, State};
use npygrow::{Durability, Options};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// The same numbers for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit.max(1)
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
    file: u32,
}

/// Inputs that are deleted as they are joined, and how many rows they have.
pub(crate) struct Inputs {
    pub(crate) names: Vec<String>,
    pub(crate) rows: u64,
}

/// A file or a folder, and what was done to it.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) inputs: Option<Inputs>,
    steps: Vec<Step>,
}

impl Subject {
    /// What may be there when the power fails after `cut` events: from the last durable state on, up to the one under way.
    /// `None` while nothing was promised.
    pub(crate) fn allowed(&self, cut: usize) -> Option<Allowed> {
        let floor = self.steps.iter().rposition(|step| step.durable && step.returned <= cut)?;
        let begun = |step: &&Step| step.begun < cut || step.returned <= cut;
        Some(Allowed(self.steps[floor..].iter().take_while(begun).map(|step| (step.state, step.file)).collect()))
    }
}

/// What may be there: a state, and of which file its rows are.
pub(crate) struct Allowed(pub(crate) Vec<(State, u32)>);

impl Allowed {
    pub(crate) fn has(&self, found: &Found) -> bool {
        let is = |&(state, file): &(State, u32)| match state {
            State::Rows(0) => found.state == state,
            State::Rows(_) => found.state == state && found.is_whole() && found.file == file,
            _ => found.state == state,
        };
        self.0.iter().any(is)
    }

    /// How many rows all of the states begin with, if all have rows: a sync made them durable, nothing changed them since.
    pub(crate) fn synced(&self) -> Option<u64> {
        let rows = self.0.iter().map(|&(state, file)| match state {
            State::Rows(rows) => Some((rows, file)),
            _ => None,
        });
        let rows: Vec<_> = rows.collect::<Option<_>>()?;
        let same = rows.iter().all(|(_, file)| *file == rows[0].1);
        rows.iter().map(|(rows, _)| *rows).min().filter(|_| same)
    }

    pub(crate) fn brief(&self) -> String {
        let mut states: Vec<_> = self.0.iter().map(|(state, file)| format!("{state:?} of file {file}")).collect();
        states.dedup();
        states.join(" or ")
    }
}

/// What happens to the files of one file system while its disk is recorded.
pub(crate) struct Run {
    pub(crate) durability: Durability,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) random: Random,
    disk: Disk,
    root: PathBuf,
}

impl Run {
    pub(crate) fn new(disk: &Disk, root: &Path, durability: Durability, seed: u64) -> Self {
        Run { durability, subjects: Vec::new(), random: Random(seed), disk: disk.clone(), root: root.into() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn options(&self) -> Options {
        npygrow::Appender::options().durability(self.durability)
    }

    /// From here on `name` is looked after, with rows of `file` (0 in a folder). What was done before is durable.
    pub(crate) fn begin(&mut self, name: &str, kind: Kind, state: State, file: u32) -> std::io::Result<Subjected> {
        if state != State::Missing {
            let folder = std::fs::File::open(&self.root)?;
            nix::unistd::syncfs(&folder)?;
        }
        let step = Step { begun: 0, returned: self.disk.now(), durable: true, state, file };
        self.subjects.push(Subject { name: name.into(), kind, inputs: None, steps: vec![step] });
        let rows = if let State::Rows(rows) = state { rows } else { 0 };
        Ok(Subjected { subject: self.subjects.len() - 1, file, rows, path: self.path(name), kind })
    }

    /// From here on something is promised.
    pub(crate) fn start(&self) -> usize {
        self.subjects.iter().map(|subject| subject.steps[0].returned).min().unwrap_or(0)
    }

    pub(crate) fn finish(self) -> (Vec<Subject>, Vec<Event>) {
        (self.subjects, self.disk.recorded())
    }

    /// Does `work`, after which the subject has the rows that are noted.
    pub(crate) fn step<T>(
        &mut self,
        on: &Subjected,
        promise: Promise,
        work: impl FnOnce() -> npygrow::Result<T>,
    ) -> npygrow::Result<T> {
        let begun = self.disk.now();
        let done = work()?;
        let durable = match promise {
            Promise::Nothing => false,
            Promise::Counted => self.durability == Durability::Power,
            Promise::Named => self.durability != Durability::Process,
            Promise::Durable => true,
        };
        let (returned, state) = (self.disk.now(), State::Rows(on.rows));
        self.subjects[on.subject].steps.push(Step { begun, returned, durable, state, file: on.file });
        // Time for the kernel to write by itself.
        thread::sleep(Duration::from_micros(self.random.below(600)));
        Ok(done)
    }

    /// A state on the way of the last step.
    pub(crate) fn on_the_way(&mut self, on: &Subjected, state: State) {
        let steps = &mut self.subjects[on.subject].steps;
        if let Some(last) = steps.pop() {
            steps.push(Step { durable: false, state, ..last });
            steps.push(last);
        }
    }
}

/// A subject as its run goes on.
pub(crate) struct Subjected {
    subject: usize,
    pub(crate) file: u32,
    pub(crate) rows: u64,
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
}

impl Subjected {
    pub(crate) fn open(&self, run: &mut Run, options: Options) -> npygrow::Result<Handle> {
        let missing = run.subjects[self.subject].steps.last().is_some_and(|step| step.state == State::Missing);
        let promise = if missing && self.kind == Kind::File { Promise::Named } else { Promise::Nothing };
        run.step(self, promise, || Handle::open(self.kind, self.file, &self.path, options))
    }

    pub(crate) fn append(
        &mut self,
        run: &mut Run,
        to: &mut Handle,
        count: u64,
        promise: Promise,
    ) -> npygrow::Result<()> {
        let fresh = self.rows..self.rows + count;
        self.rows = fresh.end;
        run.step(self, promise, || to.append(fresh))
    }

    pub(crate) fn truncate(&mut self, run: &mut Run, handle: &mut Handle, rows: u64) -> npygrow::Result<()> {
        self.rows = rows;
        run.step(self, Promise::Counted, || handle.truncate(rows))
    }

    /// The rows of `inputs` will be taken from them.
    pub(crate) fn consumes(&self, run: &mut Run, inputs: Inputs) {
        run.subjects[self.subject].inputs = Some(inputs);
    }
}

/// The image that each flush made durable, with the number of events it holds; the first is that from `before` them.
pub(crate) fn checkpoints(before: Image, events: &[Event]) -> Vec<(usize, Image)> {
    let (mut image, mut all) = (before.clone(), vec![(0, before)]);
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Write { offset, bytes } => image.write(*offset, bytes),
            Event::Flush => all.push((at + 1, image.clone())),
        }
    }
    all
}
