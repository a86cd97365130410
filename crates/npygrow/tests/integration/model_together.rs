//! Random histories of columns that grow together, with crashes, against a list of numbers.

use crate::powercut::together::{Handle, Kind, expected, look};
use npygrow::{Appender, Durability, Options};
use npygrow_testkit::faulty::{Fault, Faults, FaultyFolder};
use npygrow_testkit::shared::SharedFolder;
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Op {
    Append(u32),
    Commit,
    Sync,
    /// To so many of 100 of the rows.
    Truncate(usize),
    CloseAndOpen,
    /// The process dies in the call after so many of the next append, and another one goes on.
    Die(usize, u32),
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (0..40_u32).prop_map(Op::Append),
        1 => Just(Op::Commit),
        1 => Just(Op::Sync),
        1 => (0..=100_usize).prop_map(Op::Truncate),
        1 => Just(Op::CloseAndOpen),
        2 => (0..60_usize, 0..40_u32).prop_map(|(skip, count)| Op::Die(skip, count)),
    ]
}

struct World {
    kind: Kind,
    shared: Arc<SharedFolder>,
    faults: Faults,
    options: Options,
    buffers: bool,
    /// All rows, those in memory too, and how many of them were published for sure.
    rows: Vec<u32>,
    published: usize,
    next: u32,
}

impl World {
    fn open(&self) -> Handle {
        let folder = FaultyFolder::new(self.shared.clone(), self.faults.clone());
        Handle::open(self.kind, Arc::new(folder), self.options.clone()).unwrap()
    }

    fn fresh(&mut self, count: u32) -> Vec<u32> {
        self.next += count;
        (self.next - count..self.next).collect()
    }

    /// How many rows readers see, which must be the first ones.
    fn seen(&self) -> usize {
        let found = look(self.kind, &*self.shared).unwrap();
        let seen = found[0].len();
        assert!(seen <= self.rows.len(), "{seen} rows of {}", self.rows.len());
        assert_eq!(found, expected(self.kind, &self.rows[..seen]));
        assert!(seen >= self.published, "{seen} rows, {} were published", self.published);
        seen
    }

    fn step(&mut self, mut handle: Handle, op: &Op) -> Handle {
        match *op {
            Op::Append(count) => {
                let fresh = self.fresh(count);
                self.rows.extend(&fresh);
                handle.append(&fresh).unwrap();
                assert!(handle.len() == self.rows.len() as u64);
            }
            Op::Commit => handle.commit().unwrap(),
            Op::Sync => handle.sync().unwrap(),
            Op::Truncate(part) => {
                let rows = self.rows.len() * part / 100;
                self.rows.truncate(rows);
                handle.truncate(rows as u64).unwrap();
                self.published = rows;
            }
            Op::CloseAndOpen => {
                handle.close().unwrap();
                handle = self.open();
            }
            Op::Die(skip, count) => {
                let fresh = self.fresh(count);
                self.rows.extend(&fresh);
                self.faults.arm(None, skip, Fault::Dies);
                if handle.append(&fresh).is_ok() && !self.buffers {
                    self.published = self.rows.len();
                }
                self.faults.die();
                drop(handle);
                self.faults.calm();
                let seen = self.seen();
                self.rows.truncate(seen);
                self.published = seen;
                handle = self.open();
                assert_eq!(handle.len(), seen as u64, "the next one sees what readers see");
            }
        }
        let published = matches!(op, Op::Commit | Op::Sync | Op::CloseAndOpen | Op::Truncate(_));
        if published || !self.buffers {
            self.published = self.rows.len();
        }
        self.published = self.seen();
        handle
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_history_of_columns_is_that_of_a_list(
        kind in prop_oneof![Just(Kind::Ragged), Just(Kind::Plain), Just(Kind::Mixed)],
        buffering in prop_oneof![Just(0_usize), Just(300), Just(100_000)],
        durability in prop_oneof![Just(Durability::Process), Just(Durability::Ordered), Just(Durability::Power)],
        history in prop::collection::vec(ops(), 1..25),
    ) {
        let options = Appender::options().buffering(buffering).durability(durability);
        let (shared, faults) = (Arc::default(), Faults::default());
        let mut world = World { kind, shared, faults, options, buffers: buffering > 0, rows: Vec::new(), published: 0, next: 1 };
        let mut handle = world.open();
        for op in &history {
            handle = world.step(handle, op);
        }
        handle.close().unwrap();
        world.published = world.rows.len();
        world.seen();
    }
}
