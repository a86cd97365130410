//! Random histories of one file against the plainest model of it.

use crate::NAME;
use npygrow::storage::Folder;
use npygrow::{
    Appender, Durability, ErrorKind, MAX_HEADER_SIZE, OnTail, Options, Order, Reader, RecoverOptions, Room, Tail,
};
use npygrow_testkit::model::Model;
use npygrow_testkit::shared::SharedFolder;
use std::ffi::OsStr;
use std::sync::Arc;

/// What one step may do; two bytes of the input each.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append(usize),
    Abandon(usize),
    Commit,
    Sync,
    Truncate(u64),
    Reopen,
    Tail(usize, Then),
    Room(Room),
}

/// Who looks at a tail.
#[derive(Clone, Copy, Debug)]
enum Then {
    Open(OnTail),
    Recover { fill: bool, tail: Tail },
}

fn step(&[what, n]: &[u8; 2]) -> Step {
    let tail = |then| Step::Tail(usize::from(n % 40) + 1, then);
    match what % 16 {
        0..=3 => Step::Append(usize::from(n % 12)),
        4 => Step::Append(usize::from(n) * 3),
        5 => Step::Abandon(usize::from(n % 12)),
        6 => Step::Commit,
        7 => Step::Sync,
        8 => Step::Truncate(u64::from(n)),
        9 => Step::Reopen,
        10 => tail(Then::Open(OnTail::Auto)),
        11 => tail(Then::Open(OnTail::Keep)),
        12 => tail(Then::Open(OnTail::Drop)),
        13 => tail(Then::Open(OnTail::Error)),
        14 => tail(Then::Recover { fill: n & 64 != 0, tail: if n & 128 != 0 { Tail::Keep } else { Tail::Drop } }),
        _ => Step::Room([Room::Auto, Room::InPlace][usize::from(n & 1)]),
    }
}

/// How a history looks at the rows of its file: one that is wrong must be caught.
pub type Read = fn(&dyn Folder, &OsStr) -> Vec<u8>;

/// Appends, truncates and reopens with every way to take a tail, as the bytes say. After each step the rows that readers
/// see, and the counts that the appender gives, are the model's.
pub fn operations(input: &[u8]) {
    operations_by(input, read);
}

/// As [`operations`], with another way to read.
pub fn operations_by(input: &[u8], read: Read) {
    let Some((&[setup, buffering], rest)) = input.split_first_chunk() else { return };
    let mut run = Run::new(setup, buffering, read);
    for pair in rest.as_chunks().0.iter().take(24) {
        run.step(step(pair));
        assert_eq!((run.read)(&*run.folder, NAME.as_ref()), run.model.committed, "after {:?}", step(pair));
        let (rows, committed) = (run.model.rows(), run.model.committed_rows());
        assert_eq!((run.appender().len(), run.appender().committed()), (rows, committed));
    }
    run.close();
    assert_eq!((run.read)(&*run.folder, NAME.as_ref()), run.model.committed);
    assert_eq!(run.folder.names(), [NAME]);
}

fn read(folder: &dyn Folder, name: &OsStr) -> Vec<u8> {
    let storage = folder.open(name, false).expect("memory").expect("the file");
    let reader = Reader::on(storage, MAX_HEADER_SIZE).expect("a whole file");
    let mut bytes = vec![0; (reader.len() * reader.row_size()) as usize];
    reader.read_into(0..reader.len(), &mut bytes).expect("the rows that are counted");
    bytes
}

struct Run {
    folder: Arc<SharedFolder>,
    row_size: usize,
    options: Options,
    model: Model,
    appender: Option<Appender>,
    next: u8,
    read: Read,
}

impl Run {
    fn new(setup: u8, buffering: u8, read: Read) -> Self {
        let row_size = [1, 3, 8, 16][usize::from(setup & 3)];
        let order = if setup & 4 == 0 { Order::C } else { Order::F };
        let durability =
            [Durability::Process, Durability::Ordered, Durability::Power][usize::from(setup >> 3 & 3).min(2)];
        let buffering = usize::from(buffering % 80);
        let folder = Arc::new(SharedFolder::default());
        let options = Appender::options()
            .dtype("|u1".parse().expect("a dtype"))
            .row_shape([row_size as u64])
            .order(order)
            .durability(durability)
            .buffering(buffering)
            .turns(setup & 32 != 0);
        if setup & 64 != 0 {
            folder.put(NAME, &foreign(row_size, order, setup & 128 != 0));
        }
        let model = Model::new(row_size, buffering);
        let mut this = Run { folder, row_size, options, model, appender: None, next: 0, read };
        this.open(OnTail::Error);
        this
    }

    fn open(&mut self, on_tail: OnTail) {
        let open = || self.options.clone().on_tail(on_tail).open_in(self.folder.clone(), NAME.as_ref());
        let opened = match open() {
            Err(error) if error.kind() == ErrorKind::NotAppendable => {
                self.make_room(Room::Auto);
                open()
            }
            opened => opened,
        };
        self.appender = Some(opened.unwrap_or_else(|error| panic!("{on_tail:?}: {error}")));
    }

    fn make_room(&self, room: Room) {
        npygrow::ensure_appendable_in(self.folder.clone(), NAME.as_ref(), room, MAX_HEADER_SIZE).expect("room");
    }

    fn appender(&mut self) -> &mut Appender {
        self.appender.as_mut().expect("it is open")
    }

    fn close(&mut self) {
        self.appender.take().expect("it is open").close().expect("memory");
        self.model.publish();
    }

    /// Rows that differ from those before, none of them zero.
    fn rows(&mut self, count: usize) -> Vec<u8> {
        let mut next = || {
            self.next = self.next % 251 + 1;
            self.next
        };
        (0..count * self.row_size).map(|_| next()).collect()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(count) => {
                let rows = self.rows(count);
                let before = self.model.rows();
                let told = self.appender().append_bytes(&rows).expect("memory");
                let is_told = self.model.append(&rows);
                assert!(told.is_none() || told == Some(before..before + count as u64));
                assert!(told.is_some() || !is_told);
            }
            Step::Abandon(count) => {
                let rows = self.rows(count);
                let mut batch = self.appender().begin(count as u64).expect("memory");
                batch.write(&rows[..rows.len() / 2]).expect("memory");
            }
            Step::Commit => {
                let (from, to) = (self.model.committed_rows(), self.model.rows());
                assert_eq!(self.appender().commit().expect("memory"), from..to);
                self.model.publish();
            }
            Step::Sync => {
                self.appender().sync().expect("memory");
                self.model.publish();
            }
            Step::Truncate(part) => {
                let rows = self.model.rows() * part / 255;
                self.appender().truncate(rows).expect("fewer rows");
                self.model.truncate(rows);
            }
            Step::Reopen => {
                self.close();
                self.open(OnTail::Error);
            }
            Step::Room(room) => {
                self.close();
                self.make_room(room);
                self.open(OnTail::Error);
            }
            Step::Tail(len, then) => self.tail(len, then),
        }
    }

    /// Someone adds bytes to the closed file; then it is opened, or recovered.
    fn tail(&mut self, len: usize, then: Then) {
        self.close();
        let tail = self.rows(len)[..len].to_vec();
        let mut file = self.folder.open(NAME.as_ref(), true).expect("memory").expect("the file");
        file.write_all_at(file.len().expect("memory"), &tail).expect("memory");
        drop(file);
        // Another writer's file is not cut unasked.
        let report = npygrow::inspect_in(self.folder.clone(), NAME.as_ref(), MAX_HEADER_SIZE).expect("a header");
        match then {
            Then::Open(on_tail @ (OnTail::Auto | OnTail::Error))
                if !report.ours || matches!(on_tail, OnTail::Error) =>
            {
                let refused = self.options.clone().on_tail(on_tail).open_in(self.folder.clone(), NAME.as_ref());
                assert_eq!(refused.map(drop).expect_err("a tail").kind(), ErrorKind::NeedsRecovery);
                self.open(OnTail::Drop);
            }
            Then::Open(on_tail) => {
                self.open(on_tail);
                if matches!(on_tail, OnTail::Keep) {
                    self.model.keep(&tail, false);
                } else {
                    assert_eq!(self.appender().dropped().bytes, len as u64);
                }
            }
            Then::Recover { fill, tail: what } => {
                let options =
                    RecoverOptions { zerofill_incomplete: fill, tail: what, max_header_size: MAX_HEADER_SIZE };
                let done = npygrow::recover_in(self.folder.clone(), NAME.as_ref(), options).expect("a tail");
                let kept = if what == Tail::Keep { self.model.keep(&tail, fill) } else { 0 };
                assert_eq!((done.from_tail, done.rows), (kept, self.model.committed_rows()));
                self.open(OnTail::Error);
            }
        }
    }
}

/// A file of no rows as NumPy writes it: its header has room for ours, or none.
fn foreign(row_size: usize, order: Order, is_tight: bool) -> Vec<u8> {
    let (name, shape) =
        if order == Order::F { ("True", format!("({row_size}, 0)")) } else { ("False", format!("(0, {row_size})")) };
    let text = format!("{{'descr': '|u1', 'fortran_order': {name}, 'shape': {shape}, }}");
    let text = if is_tight { text + "\n" } else { format!("{text:<117}\n") };
    [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat()
}
