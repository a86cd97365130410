//! Random histories of a file against the plainest model of it, in memory and on the disk.

use crate::support::NAME;
use npygrow::storage::{Directory, Folder};
use npygrow::{Appender, Durability, ErrorKind, MAX_HEADER_SIZE, OnTail, Options, Order, Reader, RecoverOptions, Tail};
use npygrow_testkit::faulty::{Fault, Faults, FaultyFolder};
use npygrow_testkit::model::Model;
use npygrow_testkit::shared::SharedFolder;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult};
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Batch(usize, bool),
    Commit,
    Sync,
    Truncate(u64),
    Reopen,
    /// The process dies after so many calls of an append.
    Die(usize, usize),
    /// A call of an append fails.
    Fail(usize, usize, Fault),
    /// Someone adds bytes; then this.
    Tail(Vec<u8>, Then),
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Auto,
    Keep,
    Drop,
    RefuseThenDrop,
    Recover { fill: bool, keep: bool },
}

#[derive(Clone, Debug)]
struct Setup {
    row_size: usize,
    order: Order,
    durability: Durability,
    buffering: usize,
    turns: bool,
}

fn setups() -> impl Strategy<Value = Setup> {
    let durability = prop_oneof![Just(Durability::Process), Just(Durability::Ordered), Just(Durability::Power)];
    let order = prop_oneof![Just(Order::C), Just(Order::F)];
    let parts =
        (prop_oneof![Just(1), Just(3), Just(8)], order, durability, prop_oneof![Just(0), 1..80_usize], any::<bool>());
    parts.prop_map(|(row_size, order, durability, buffering, turns)| Setup {
        row_size,
        order,
        durability,
        buffering,
        turns,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fault =
        prop_oneof![Just(Fault::Fails(28)), Just(Fault::FailsTorn(28)), Just(Fault::FailsLate(5)), Just(Fault::Short)];
    let then = prop_oneof![
        Just(Then::Auto),
        Just(Then::Keep),
        Just(Then::Drop),
        Just(Then::RefuseThenDrop),
        any::<(bool, bool)>().prop_map(|(fill, keep)| Then::Recover { fill, keep }),
    ];
    let tail = prop_oneof![prop::collection::vec(any::<u8>(), 1..40), prop::collection::vec(Just(0), 1..40)];
    let step = prop_oneof![
        6 => (0..12_usize).prop_map(Step::Append),
        1 => (9_000..30_000_usize).prop_map(Step::Append),
        2 => (0..12_usize, any::<bool>()).prop_map(|(rows, keep)| Step::Batch(rows, keep)),
        2 => Just(Step::Commit),
        1 => Just(Step::Sync),
        2 => (0..100_u64).prop_map(Step::Truncate),
        2 => Just(Step::Reopen),
        2 => (0..12_usize, 0..6_usize).prop_map(|(rows, calls)| Step::Die(rows, calls)),
        2 => (0..12_usize, 0..6_usize, fault).prop_map(|(rows, calls, fault)| Step::Fail(rows, calls, fault)),
        2 => (tail, then).prop_map(|(tail, then)| Step::Tail(tail, then)),
    ];
    prop::collection::vec(step, 1..40)
}

struct Run {
    inner: Arc<dyn Folder>,
    faults: Faults,
    setup: Setup,
    model: Model,
    appender: Option<Appender>,
    next: u8,
}

impl Run {
    fn new(inner: Arc<dyn Folder>, setup: Setup) -> Self {
        let model = Model::new(setup.row_size, setup.buffering);
        let mut this = Run { inner, faults: Faults::default(), setup, model, appender: None, next: 0 };
        this.open(OnTail::Auto);
        this
    }

    fn folder(&self) -> Arc<dyn Folder> {
        Arc::new(FaultyFolder::new(self.inner.clone(), self.faults.clone()))
    }

    fn options(&self) -> Options {
        let Setup { row_size, order, durability, buffering, turns } = self.setup;
        let options = Appender::options().dtype("|u1".parse().unwrap()).row_shape([row_size as u64]).order(order);
        options.durability(durability).buffering(buffering).turns(turns)
    }

    fn open(&mut self, on_tail: OnTail) {
        self.appender = Some(self.options().on_tail(on_tail).open_in(self.folder(), NAME.as_ref()).unwrap());
    }

    fn appender(&mut self) -> &mut Appender {
        self.appender.as_mut().unwrap()
    }

    /// Rows that differ from those before, none of them zero.
    fn rows(&mut self, count: usize) -> Vec<u8> {
        let mut next = || {
            self.next = self.next % 251 + 1;
            self.next
        };
        (0..count * self.setup.row_size).map(|_| next()).collect()
    }

    fn seen(&self) -> Vec<u8> {
        let reader = Reader::on(self.inner.open(NAME.as_ref(), false).unwrap().unwrap(), MAX_HEADER_SIZE).unwrap();
        let mut bytes = vec![0; (reader.len() * reader.row_size()) as usize];
        reader.read_into(0..reader.len(), &mut bytes).unwrap();
        bytes
    }

    fn step(&mut self, step: Step) -> TestCaseResult {
        match step {
            Step::Append(count) => {
                let rows = self.rows(count);
                let before = self.model.rows();
                let told = self.appender().append_bytes(&rows).unwrap();
                let tells = self.model.append(&rows) || !self.setup.turns;
                prop_assert_eq!(told, tells.then_some(before..before + count as u64));
            }
            Step::Batch(count, commit) => {
                let rows = self.rows(count);
                let mut batch = self.appender().begin(count as u64).unwrap();
                for piece in rows.chunks(5) {
                    batch.write(piece).unwrap();
                }
                if commit {
                    batch.commit().unwrap();
                    self.model.append(&rows);
                } else {
                    drop(batch);
                }
            }
            Step::Commit => {
                let (from, to) = (self.model.committed_rows(), self.model.rows());
                prop_assert_eq!(self.appender().commit().unwrap(), from..to);
                self.model.publish();
            }
            Step::Sync => {
                self.appender().sync().unwrap();
                self.model.publish();
            }
            Step::Truncate(percent) => {
                let rows = self.model.rows() * percent / 100;
                self.appender().truncate(rows).unwrap();
                self.model.truncate(rows);
            }
            Step::Reopen => {
                self.close();
                self.open(OnTail::Error);
            }
            Step::Die(count, calls) => self.fault(count, calls, Fault::Dies)?,
            Step::Fail(count, calls, fault) => self.fault(count, calls, fault)?,
            Step::Tail(tail, then) => self.tail(&tail, then)?,
        }
        prop_assert!(self.seen() == self.model.committed, "the file's rows differ");
        let (rows, committed) = (self.model.rows(), self.model.committed_rows());
        prop_assert_eq!((self.appender().len(), self.appender().committed()), (rows, committed));
        Ok(())
    }

    fn close(&mut self) {
        self.appender.take().unwrap().close().unwrap();
        self.model.publish();
    }

    /// All or nothing; what was acknowledged stays.
    fn fault(&mut self, count: usize, calls: usize, fault: Fault) -> TestCaseResult {
        let rows = self.rows(count);
        let mut after = self.model.clone();
        after.append(&rows);
        self.faults.arm(None, calls, fault);
        let done = self.appender().append_bytes(&rows);
        let dies = fault == Fault::Dies;
        let seen = self.seen();
        if done.is_ok() {
            prop_assert!(seen == after.committed, "an append returned, and its rows are not there");
            self.model = after;
        } else {
            prop_assert!(seen == self.model.committed || seen == after.committed, "neither before nor after");
            let latched = self.appender().commit().is_err_and(|error| error.kind() == ErrorKind::Latched);
            prop_assert!(dies || latched || self.seen() == [&*self.model.committed, &self.model.buffered].concat());
            if !dies && !latched {
                self.model.publish();
                self.faults.calm();
                return Ok(());
            }
        }
        if dies {
            self.faults.die();
        }
        if dies || done.is_err() {
            drop(self.appender.take());
            self.model.die();
            self.model.committed = self.seen();
            self.faults.calm();
            self.open(OnTail::Auto);
        }
        self.faults.calm();
        Ok(())
    }

    fn tail(&mut self, tail: &[u8], then: Then) -> TestCaseResult {
        self.close();
        let mut file = self.inner.open(NAME.as_ref(), true).unwrap().unwrap();
        file.write_all_at(file.len().unwrap(), tail).unwrap();
        drop(file);
        let (whole, bytes) = ((tail.len() / self.setup.row_size) as u64, tail.len() as u64);
        let torn = bytes % self.setup.row_size as u64;
        let dropped = match then {
            Then::Auto | Then::Drop => {
                self.open(if matches!(then, Then::Auto) { OnTail::Auto } else { OnTail::Drop });
                (whole, bytes)
            }
            Then::Keep => {
                self.open(OnTail::Keep);
                self.model.keep(tail, false);
                (0, torn)
            }
            Then::RefuseThenDrop => {
                let refused = self.options().on_tail(OnTail::Error).open_in(self.folder(), NAME.as_ref());
                prop_assert_eq!(refused.map(drop).unwrap_err().kind(), ErrorKind::NeedsRecovery);
                self.open(OnTail::Drop);
                (whole, bytes)
            }
            Then::Recover { fill, keep } => {
                let options = RecoverOptions {
                    zerofill_incomplete: fill,
                    tail: if keep { Tail::Keep } else { Tail::Drop },
                    max_header_size: MAX_HEADER_SIZE,
                };
                let recovery = npygrow::recover_in(self.folder(), NAME.as_ref(), options).unwrap();
                let kept = if keep { self.model.keep(tail, fill) } else { 0 };
                prop_assert_eq!((recovery.from_tail, recovery.rows), (kept, self.model.committed_rows()));
                self.open(OnTail::Error);
                (0, 0)
            }
        };
        let told = self.appender().dropped();
        prop_assert_eq!((told.rows, told.bytes), dropped);
        Ok(())
    }
}

fn run(folder: Arc<dyn Folder>, setup: Setup, steps: Vec<Step>) -> TestCaseResult {
    let mut run = Run::new(folder, setup);
    steps.into_iter().try_for_each(|step| run.step(step))?;
    run.close();
    prop_assert!(run.seen() == run.model.committed);
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 400, failure_persistence: None, ..Config::default() })]
    #[test]
    fn in_memory(setup in setups(), steps in steps()) {
        let folder = Arc::new(SharedFolder::default());
        run(folder.clone(), setup, steps)?;
        prop_assert_eq!(folder.names(), [NAME]);
    }
}

proptest! {
    #![proptest_config(Config { cases: 24, failure_persistence: None, max_shrink_iters: 200, ..Config::default() })]
    #[test]
    fn on_the_disk(setup in setups(), steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let (directory, _) = Directory::resolve(&folder.path().join(NAME)).unwrap();
        run(Arc::new(directory), setup, steps)?;
        prop_assert_eq!(crate::support::names(folder.path()), [NAME]);
    }
}
