//! What is done to a file while the power may fail.

use super::judge::{Promise, ROW, Row, Run, State, bytes_of};
use crate::support::{NAME, foreign};
use npygrow::storage::{Folder, Memory};
use npygrow::{
    Appender, Background, ConcatOptions, Limits, Mode, OnExists, OnTail, RecoverOptions, Room, Tail, concat_in,
};
use npygrow_testkit::powercut::Random;

pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) file: Option<Vec<u8>>,
    pub(crate) state: State,
    pub(crate) run: Box<dyn Fn(&mut Run)>,
}

/// The rows of a file that was there before.
fn old(count: u32) -> Vec<Row> {
    (0..count).map(|i| [3 * i + 1, 3 * i + 2, 3 * i + 3]).collect()
}

pub(crate) fn ours(rows: &[Row]) -> Vec<u8> {
    let options = Appender::options().dtype("<u4".parse().unwrap()).row_shape([3]);
    let mut appender = options.on(Box::new(Memory::new())).unwrap();
    appender.append(rows).unwrap();
    let storage = appender.into_storage().unwrap();
    let mut bytes = vec![0; storage.len().unwrap() as usize];
    storage.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

/// As NumPy writes it, with `blanks` more before the shape.
fn numpy(rows: &[Row], blanks: usize) -> Vec<u8> {
    let text = format!("{{'descr': '<u4', 'fortran_order': False, {:blanks$}'shape': ({}, 3), }}", "", rows.len());
    foreign(&text, (11 + text.len() + 20).next_multiple_of(64), rows.as_flattened())
}

/// Where our header and this one differ, a sector ends.
fn tearing(rows: &[Row]) -> Vec<u8> {
    numpy(rows, 450)
}

fn no_room(rows: &[Row]) -> Vec<u8> {
    let text = format!("{{'descr':'<u4','fortran_order':False,'shape':({},3)}}", rows.len());
    foreign(&text, 11 + text.len(), rows.as_flattened())
}

fn with_tail(mut file: Vec<u8>, rows: usize, torn: usize) -> Vec<u8> {
    file.extend(bytes_of(&tail(rows)));
    file.extend(&[7; ROW][..torn]);
    file
}

fn tail(rows: usize) -> Vec<Row> {
    vec![[7, 8, 9]; rows]
}

fn cut(mut file: Vec<u8>, bytes: usize) -> Vec<u8> {
    file.truncate(file.len() - bytes);
    file
}

fn on(name: &str, file: Vec<u8>, rows: u32, run: impl Fn(&mut Run) + 'static) -> Scenario {
    let state = State::Rows(bytes_of(&old(rows)));
    Scenario { name: name.into(), file: Some(file), state, run: Box::new(run) }
}

fn from_nothing(name: &str, run: impl Fn(&mut Run) + 'static) -> Scenario {
    Scenario { name: name.into(), file: None, state: State::Missing, run: Box::new(run) }
}

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = appends();
    all.extend(new_files());
    all.extend(foreign_headers_and_tails());
    all.extend(mended());
    all.extend(joined());
    all.extend((0..8).map(random));
    all
}

fn appends() -> Vec<Scenario> {
    vec![
        on("append", ours(&old(7)), 7, |run| {
            let mut appender = run.open(run.options());
            for count in [1, 2, 50, 1] {
                run.append(&mut appender, count, Promise::Counted);
            }
            run.close(appender);
        }),
        on("append much", ours(&old(3)), 3, |run| {
            let mut appender = run.open(run.options());
            run.append(&mut appender, 1700, Promise::Counted);
            run.sync(&mut appender);
            run.append(&mut appender, 900, Promise::Counted);
        }),
        on("append often", ours(&old(90)), 90, |run| {
            let mut appender = run.open(run.options());
            for round in 0..24 {
                run.append(&mut appender, 1, Promise::Counted);
                if round % 9 == 8 {
                    run.sync(&mut appender);
                }
            }
        }),
        on("append in pieces", ours(&old(3)), 3, |run| {
            let mut appender = run.open(run.options());
            let rows = run.fresh(100);
            run.rows.extend(bytes_of(&rows));
            run.rows_step(Promise::Counted, || {
                let mut batch = appender.begin(100)?;
                for piece in bytes_of(&rows).chunks(250) {
                    batch.write(piece)?;
                }
                batch.commit()
            });
            run.append(&mut appender, 3, Promise::Counted);
        }),
        on("buffer", ours(&old(3)), 3, buffer),
        on("append in the background", ours(&old(3)), 3, in_the_background),
        on("take turns", ours(&old(3)), 3, |run| {
            let mut appenders = [0, 1].map(|_| run.open(run.options().turns(true)));
            for round in 0..6 {
                run.append(&mut appenders[round % 2], 20, Promise::Counted);
            }
        }),
        on("truncate", ours(&old(100)), 100, |run| {
            let mut appender = run.open(run.options());
            run.truncate(&mut appender, 40);
            run.append(&mut appender, 70, Promise::Counted);
            run.truncate(&mut appender, 9);
            run.append(&mut appender, 3, Promise::Counted);
            run.truncate(&mut appender, 0);
            run.append(&mut appender, 50, Promise::Counted);
        }),
        on("open again", ours(&old(30)), 30, |run| {
            run.append_before(run.options(), 40);
            let mut appender = run.open(run.options());
            run.append(&mut appender, 40, Promise::Counted);
            run.starts_now();
            run.append(&mut appender, 40, Promise::Counted);
        }),
    ]
}

/// Rows wait, and are published when the buffer is full, by `commit`, and by `close`.
fn buffer(run: &mut Run) {
    let mut appender = run.open(run.options().buffering(700));
    for _ in 0..9 {
        run.append(&mut appender, 13, Promise::Nothing);
    }
    run.rows_step(Promise::Counted, || appender.commit());
    run.append(&mut appender, 13, Promise::Nothing);
    run.sync(&mut appender);
    run.append(&mut appender, 13, Promise::Nothing);
    run.close(appender);
}

/// One thread writes while the next rows come: of what was not committed any beginning may be there.
fn in_the_background(run: &mut Run) {
    let rows = Background::start(run.open(run.options()), Limits::default()).unwrap();
    for round in 0..5 {
        for count in [1, 40, 3] {
            let fresh = run.fresh(count);
            run.rows.extend(bytes_of(&fresh));
            run.rows_step(Promise::Nothing, || rows.append(&fresh));
        }
        if round == 2 {
            run.rows_step(Promise::Durable, || rows.sync());
        } else {
            run.rows_step(Promise::Counted, || rows.commit());
        }
    }
    run.rows_step(Promise::Counted, || rows.close());
}

fn new_files() -> Vec<Scenario> {
    let untyped = |run: &Run| Appender::options().durability(run.durability);
    /// Makes the file by the first append, or puts it in the place of another.
    fn first(run: &mut Run, appender: &mut Appender, count: usize) {
        run.rows.clear();
        run.append(appender, count, Promise::Named);
    }
    vec![
        from_nothing("create at once", |run| {
            let mut appender = run.open(run.options());
            run.append(&mut appender, 60, Promise::Counted);
            run.append(&mut appender, 2, Promise::Counted);
        }),
        from_nothing("create by an append", move |run| {
            let mut appender = untyped(run).open_in(run.folder(), NAME.as_ref()).unwrap();
            first(run, &mut appender, 100);
            run.append(&mut appender, 2, Promise::Counted);
        }),
        from_nothing("create, then open again", |run| {
            run.append_before(run.options(), 9);
            let mut appender = run.open(run.options());
            run.append(&mut appender, 60, Promise::Counted);
            run.starts_now();
            run.append(&mut appender, 60, Promise::Counted);
        }),
        Scenario {
            file: Some(Vec::new()),
            state: State::Empty,
            ..from_nothing("fill an empty file", |run| {
                let mut appender = run.open(run.options());
                run.append(&mut appender, 60, Promise::Counted);
            })
        },
        on("replace", ours(&old(100)), 100, |run| {
            let options = run.options().mode(Mode::Write);
            let mut appender = options.open_in(run.folder(), NAME.as_ref()).unwrap();
            first(run, &mut appender, 60);
            run.append(&mut appender, 70, Promise::Counted);
            run.sync(&mut appender);
        }),
        on("replace, then open again", ours(&old(100)), 100, |run| {
            run.rows.clear();
            run.append_before(run.options().mode(Mode::Write), 9);
            let mut appender = run.open(run.options());
            run.append(&mut appender, 60, Promise::Counted);
            run.starts_now();
            run.append(&mut appender, 60, Promise::Counted);
        }),
        on("replace from a buffer", ours(&old(10)), 10, move |run| {
            let options = untyped(run).mode(Mode::Write).buffering(2000);
            let mut appender = options.open_in(run.folder(), NAME.as_ref()).unwrap();
            let rows = run.fresh(100);
            appender.append(&rows).unwrap();
            run.rows = bytes_of(&rows);
            run.rows_step(Promise::Named, || appender.commit());
            run.append(&mut appender, 5, Promise::Nothing);
            run.close(appender);
        }),
    ]
}

fn foreign_headers_and_tails() -> Vec<Scenario> {
    /// Opens, then appends twice; `kept` rows of the tail become rows by opening.
    fn open_and_append(on_tail: OnTail, kept: usize) -> impl Fn(&mut Run) {
        move |run| {
            run.rows.extend(bytes_of(&tail(kept)));
            let (options, folder) = (run.options().on_tail(on_tail), run.folder());
            let mut appender = run.rows_step(Promise::Counted, || options.open_in(folder, NAME.as_ref()));
            run.append(&mut appender, 60, Promise::Counted);
            run.append(&mut appender, 2, Promise::Counted);
        }
    }
    vec![
        on("cut a tail", with_tail(ours(&old(9)), 50, 5), 9, open_and_append(OnTail::Auto, 0)),
        on("keep a tail", with_tail(ours(&old(9)), 50, 5), 9, open_and_append(OnTail::Keep, 50)),
        on("adopt", numpy(&old(9), 0), 9, open_and_append(OnTail::Auto, 0)),
        on("adopt and drop a tail", with_tail(numpy(&old(9), 0), 50, 5), 9, open_and_append(OnTail::Drop, 0)),
        on("adopt and keep a tail", with_tail(numpy(&old(9), 0), 50, 5), 9, open_and_append(OnTail::Keep, 50)),
        on("adopt what tears", tearing(&old(9)), 9, open_and_append(OnTail::Auto, 0)),
        on("adopt what tears, keep a tail", with_tail(tearing(&old(9)), 50, 5), 9, open_and_append(OnTail::Keep, 50)),
    ]
}

fn mended() -> Vec<Scenario> {
    fn recover(keep: usize, options: RecoverOptions) -> impl Fn(&mut Run) {
        move |run| {
            run.rows.extend(bytes_of(&tail(keep)));
            run.recover(options);
            append_after(run);
        }
    }
    fn append_after(run: &mut Run) {
        let mut appender = run.open(run.options());
        run.append(&mut appender, 50, Promise::Counted);
    }
    let broken = |name: &str, file, left: u32| Scenario {
        state: State::Broken(bytes_of(&old(left))),
        ..on(name, file, left, recover(0, RecoverOptions::default()))
    };
    let fill = RecoverOptions { zerofill_incomplete: true, ..Default::default() };
    let drop_tail = RecoverOptions { tail: Tail::Drop, ..Default::default() };
    vec![
        on("recover a tail", with_tail(ours(&old(9)), 50, 5), 9, recover(50, RecoverOptions::default())),
        on("recover without the tail", with_tail(ours(&old(9)), 50, 5), 9, recover(0, drop_tail)),
        on("recover NumPy's tail", with_tail(numpy(&old(9), 0), 50, 5), 9, recover(50, RecoverOptions::default())),
        on("recover a tail behind what tears", with_tail(tearing(&old(9)), 50, 5), 9, recover(50, Default::default())),
        on("fill a torn row", with_tail(ours(&old(9)), 50, 5), 9, move |run| {
            run.rows.extend(bytes_of(&tail(50)));
            run.rows.extend([[7; 5].as_slice(), &[0; ROW - 5]].concat());
            run.recover(fill);
            append_after(run);
        }),
        Scenario {
            run: Box::new(move |run| {
                let shorter = run.rows.clone();
                run.rows.extend([&bytes_of(&old(100))[99 * ROW..][..5], &[0; ROW - 5]].concat());
                run.recover(fill);
                // The torn row is complete before the header counts it.
                run.on_the_way(State::Broken(run.rows.clone()));
                run.on_the_way(State::Broken(shorter));
                append_after(run);
            }),
            ..broken("fill the torn row of a short file", cut(ours(&[old(100), old(3)].concat()), 3 * ROW + 7), 99)
        },
        broken("recover a short file", cut(ours(&old(100)), 31 * ROW - 5), 69),
        broken("recover NumPy's short file", cut(numpy(&old(100), 0), 31 * ROW - 5), 69),
        broken("recover a short file that tears", cut(tearing(&old(100)), 31 * ROW - 5), 69),
        from_nothing("create, then recover", |run| {
            run.append_before(run.options(), 9);
            let mut file = run.folder.open(NAME.as_ref(), true).unwrap().unwrap();
            let end = file.len().unwrap();
            file.write_all_at(end, &bytes_of(&tail(50))).unwrap();
            drop(file);
            run.rows.extend(bytes_of(&tail(50)));
            run.recover(RecoverOptions::default());
            run.starts_now();
            append_after(run);
        }),
        on("make room", no_room(&old(100)), 100, |run| {
            run.ensure_appendable(Room::Compact);
            append_after(run);
        }),
        on("make room in place", no_room(&old(400)), 400, |run| {
            run.ensure_appendable(Room::InPlace);
            run.on_the_way(State::Moving(run.rows.clone()));
            append_after(run);
        }),
    ]
}

fn joined() -> Vec<Scenario> {
    fn join(on_exists: OnExists, promise: Promise) -> impl Fn(&mut Run) {
        move |run| {
            let rows = run.fresh(200);
            for (name, file) in [("part-0.npy", ours(&rows[..150])), ("part-1.npy", no_room(&rows[150..]))] {
                let mut temp = run.folder.create_temp(name.as_ref(), None).unwrap();
                temp.storage().write_all_at(0, &file).unwrap();
                temp.storage().sync().unwrap();
                assert!(run.folder.link_noreplace(&mut temp, name.as_ref()).unwrap());
                run.folder.sync().unwrap();
            }
            run.starts_now();
            if on_exists == OnExists::Replace {
                run.rows.clear();
            }
            run.rows.extend(bytes_of(&rows));
            let options = ConcatOptions::default().on_exists(on_exists).durability(run.durability);
            let (folder, inputs) = (run.folder(), ["part-0.npy", "part-1.npy"]);
            run.rows_step(promise, || concat_in(folder, &inputs, NAME.as_ref(), &options, &mut |_, _| Ok(())));
            let mut appender = run.open(run.options());
            run.append(&mut appender, 50, Promise::Counted);
        }
    }
    vec![
        from_nothing("join", join(OnExists::Error, Promise::Named)),
        on("join to a file", ours(&old(90)), 90, join(OnExists::Append, Promise::Counted)),
        on("join to what tears", tearing(&old(9)), 9, join(OnExists::Append, Promise::Counted)),
        on("join in the place of a file", ours(&old(90)), 90, join(OnExists::Replace, Promise::Named)),
    ]
}

/// Calls in an order that nobody thought of.
fn random(seed: u64) -> Scenario {
    on(&format!("random calls {seed}"), ours(&old(20)), 20, move |run| {
        let mut random = Random(seed);
        let buffering = [0, 0, 500][random.below(3)];
        let mut appender = run.open(run.options().buffering(buffering));
        for _ in 0..10 {
            let rows = run.rows.len() / ROW;
            match random.below(8) {
                0 => run.truncate(&mut appender, random.below(rows + 1)),
                1 => run.sync(&mut appender),
                2 => {
                    run.close(appender);
                    appender = run.open(run.options().buffering(buffering));
                }
                _ => {
                    let promise = if buffering == 0 { Promise::Counted } else { Promise::Nothing };
                    let most = [3, 30, 90][random.below(3)];
                    run.append(&mut appender, 1 + random.below(most), promise);
                }
            }
        }
    })
}
