//! Inputs that are deleted as they are joined: whatever stops it, no row is lost or doubled, and the same call finishes.

use crate::power;
use crate::support::{fails, le, no_room, numpy, ours};
use npygrow::storage::Folder;
use npygrow::{
    Appender, ConcatOptions, ErrorKind, Joined, MAX_HEADER_SIZE, OnExists, Reader, RecoverOptions, Result, Room,
    concat_in, ensure_appendable_in, inspect_in, recover_in,
};
use npygrow_testkit::faulty::{Call, Fault, Faults, FaultyFolder};
use npygrow_testkit::powercut::{Disk, Image, PowerFolder, Random, Walk};
use npygrow_testkit::shared::SharedFolder;
use std::env;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

const OUT: &str = "rows.npy";
const JOURNAL: &str = ".rows.npy.npygrow-concat";

#[derive(Clone)]
struct Case {
    out: Option<Vec<u8>>,
    /// The rows that the output had, and has in the end before those of the inputs.
    base: Vec<u32>,
    inputs: Vec<(String, Vec<u8>)>,
    ends: Vec<usize>,
    all: Vec<u32>,
    on_exists: OnExists,
}

impl Case {
    fn new(out: Option<Vec<u8>>, base: &[u32], on_exists: OnExists, counts: &[u32]) -> Self {
        let mut all = base.to_vec();
        let (mut inputs, mut ends) = (Vec::new(), Vec::new());
        for (at, &count) in counts.iter().enumerate() {
            // All differ, and none is 0.
            let values: Vec<u32> = (0..count).map(|i| (1 << 20) * (at as u32 + 1) + i).collect();
            let file = [ours, numpy, no_room][at % 3](&values);
            inputs.push((format!("part-{at}.npy"), file));
            all.extend(values);
            ends.push(all.len());
        }
        Case { out, base: base.to_vec(), inputs, ends, all, on_exists }
    }

    fn image(&self) -> Image {
        let inputs = self.inputs.iter().map(|(name, bytes)| (name.as_str(), bytes));
        let files = self.out.iter().map(|bytes| (OUT, bytes)).chain(inputs);
        files.enumerate().map(|(number, (name, bytes))| (name.into(), (number, bytes.clone()))).collect()
    }

    fn options(&self) -> ConcatOptions {
        ConcatOptions::default().on_exists(self.on_exists).consume(true)
    }

    /// The call, with all its inputs or with those that are there.
    fn run(&self, folder: Arc<dyn Folder>, all: bool) -> Result<Joined> {
        let there = |name: &&str| all || folder.identity(name.as_ref()).unwrap().is_some();
        let names: Vec<_> = self.inputs.iter().map(|(name, _)| name.as_str()).filter(there).collect();
        concat_in(folder, &names, OUT.as_ref(), &self.options(), &mut |_, _| Ok(()))
    }

    /// A prefix of the rows, and every input that is not in it.
    fn judge(&self, folder: &dyn Folder) -> std::result::Result<(), String> {
        let rows = match folder.open(OUT.as_ref(), false).unwrap() {
            None => Vec::new(),
            Some(storage) => {
                let reader = Reader::on(storage, MAX_HEADER_SIZE).map_err(|error| format!("the output: {error}"))?;
                reader.rows::<u32>(0..reader.len()).unwrap()
            }
        };
        let old = self.out.is_some() && self.on_exists == OnExists::Replace && rows == [7];
        check(old || self.all.starts_with(&rows) && rows.len() >= self.base.len(), || format!("{} rows", rows.len()))?;
        for ((name, bytes), &end) in self.inputs.iter().zip(&self.ends) {
            match content(folder, name) {
                Some(found) => check(found == *bytes, || format!("{name} was changed"))?,
                None => check(!old && rows.len() >= end, || format!("{name} is gone, {} rows are there", rows.len()))?,
            }
        }
        Ok(())
    }

    /// The same call again finishes, or has nothing left to do.
    fn finish(&self, folder: Arc<dyn Folder>, all: bool) -> std::result::Result<(), String> {
        let done = self.run(folder.clone(), all);
        self.judge(&*folder)?;
        let names = self.inputs.iter().filter(|(name, _)| content(&*folder, name).is_some()).count();
        let out = folder.open(OUT.as_ref(), false).unwrap().ok_or_else(|| format!("no output, {done:?}"))?;
        let rows = Reader::on(out, MAX_HEADER_SIZE).unwrap().len();
        let journal = content(&*folder, JOURNAL).is_some();
        check(rows == self.all.len() as u64 && names == 0 && !journal, || {
            format!("{rows} rows, {names} inputs, journal {journal}, {done:?}")
        })
    }
}

fn content(folder: &dyn Folder, name: &str) -> Option<Vec<u8>> {
    let storage = folder.open(name.as_ref(), false).unwrap()?;
    let mut bytes = vec![0; storage.len().unwrap() as usize];
    storage.read_exact_at(0, &mut bytes).unwrap();
    Some(bytes)
}

fn check(right: bool, why: impl FnOnce() -> String) -> std::result::Result<(), String> {
    if right { Ok(()) } else { Err(why()) }
}

/// New outputs, ones that go on, one with a foreign header, one that is replaced; inputs of no rows among the others.
fn cases() -> [Case; 5] {
    use OnExists::{Append, Error, Replace};
    [
        Case::new(None, &[], Error, &[400, 0, 5]),
        Case::new(None, &[], Append, &[0, 300]),
        Case::new(Some(ours(&[1, 2, 3])), &[1, 2, 3], Append, &[5, 200, 0]),
        Case::new(Some(numpy(&[1, 2, 3])), &[1, 2, 3], Append, &[200, 3]),
        Case::new(Some(ours(&[7])), &[], Replace, &[200, 3]),
    ]
}

fn states() -> usize {
    env::var("NPYGROW_POWERCUT_STATES").map_or(60, |text| text.parse().unwrap())
}

/// Cuts the power after each event from `start` on, in many ways, and has `judge` look at what is left.
fn sweep(folder: &PowerFolder, start: usize, states: usize, judge: &mut dyn FnMut(usize, &Image)) {
    let (mut disk, mut random) = (Disk::default(), Random(1));
    let events = folder.events();
    for cut in 0..=events.len() {
        cut.checked_sub(1).into_iter().for_each(|last| disk.apply(&events[last]));
        if cut < start {
            continue;
        }
        judge(cut, &disk.cut(&mut |n| n - 1).0);
        let mut walk = Walk::default();
        for _ in 0..states / 2 {
            judge(cut, &disk.cut(&mut |n| walk.choose(n)).0);
            if !walk.next_set() {
                break;
            }
        }
        for _ in 0..states / 2 {
            let newest = [1, 4, 7][random.below(3)];
            judge(cut, &disk.cut(&mut |n| if random.below(8) < newest { n - 1 } else { random.below(n) }).0);
        }
    }
}

/// A kill leaves what was done last; a power cut any of what was not synced.
#[test]
fn kills_and_power_cuts_at_every_point_lose_and_double_nothing() {
    let mut all = 0;
    for (at, case) in cases().iter().enumerate() {
        let folder = Arc::new(PowerFolder::new(&case.image()));
        let start = folder.now();
        case.run(folder.clone(), true).unwrap();
        case.finish(folder.clone(), true).unwrap();
        sweep(&folder, start, states(), &mut |cut, image| {
            all += 1;
            let second = Arc::new(PowerFolder::new(image));
            let start = second.now();
            let judged = case.judge(&*second).and_then(|()| case.finish(second.clone(), all % 2 == 0));
            judged.unwrap_or_else(|why| panic!("case {at}, cut {cut}: {why}; {:?}", names(image)));
            if all % 16 == 0 {
                sweep(&second, start, 4, &mut |again, image| {
                    let third = Arc::new(PowerFolder::new(image));
                    let judged = case.judge(&*third).and_then(|()| case.finish(third.clone(), again % 2 == 0));
                    judged
                        .unwrap_or_else(|why| panic!("case {at}, cut {cut}, then {again}: {why}; {:?}", names(image)));
                });
            }
        });
    }
    println!("consume: {all} states");
    assert!(all > 30 * states(), "only {all} states");
}

/// What a dead process left may be in memory alone: the next one must not rest on it.
#[test]
fn a_power_cut_after_a_kill_loses_and_doubles_nothing() {
    for (at, case) in cases().iter().enumerate() {
        for call in 0.. {
            let (folder, faults) = (Arc::new(PowerFolder::new(&case.image())), Faults::default());
            faults.arm(None, call, Fault::Dies);
            let killed = case.run(Arc::new(FaultyFolder::new(folder.clone(), faults.clone())), true);
            if faults.hit().is_none() {
                break;
            }
            let start = folder.now();
            case.finish(folder.clone(), call % 2 == 0).unwrap_or_else(|why| panic!("case {at}, call {call}: {why}"));
            sweep(&folder, start, 2, &mut |cut, image| {
                let next = Arc::new(PowerFolder::new(image));
                let judged = case.judge(&*next).and_then(|()| case.finish(next.clone(), cut % 2 == 0));
                judged.unwrap_or_else(|why| panic!("case {at}, killed in call {call} ({killed:?}), cut {cut}: {why}"));
            });
        }
    }
}

/// A failed sync leaves pages that pass for written: to sync them once more brings nothing to the disk.
#[test]
fn a_failed_sync_loses_and_doubles_nothing() {
    let mut failed = 0;
    for (at, case) in cases().iter().enumerate() {
        for call in 1.. {
            let disk = power::Disk::empty();
            case.image().iter().for_each(|(name, (_, bytes))| disk.add(name.to_str().unwrap(), bytes));
            disk.stop_at(call, power::Stop::SyncFails);
            let done = case.run(disk.folder(), true);
            if !disk.again(None) {
                break;
            }
            failed += usize::from(done.is_err());
            for again in 1.. {
                let disk = disk.copy();
                disk.world().random = (call * 100 + again) as u64;
                disk.stop_at(again, power::Stop::After);
                let _ = case.run(disk.folder(), again % 2 == 0);
                let stopped = disk.again(Some(again as u64 % 4));
                let judged = case.judge(&disk).and_then(|()| case.finish(disk.folder(), again % 2 == 0));
                judged.unwrap_or_else(|why| panic!("case {at}, sync {call} failed ({done:?}), cut at {again}: {why}"));
                if !stopped {
                    break;
                }
            }
        }
    }
    assert!(failed > 20, "only {failed} syncs failed");
}

fn names(image: &Image) -> Vec<&OsString> {
    image.keys().collect()
}

/// What the sweep above is worth: it sees inputs that go before their rows are on the disk.
#[test]
fn an_input_deleted_before_the_sync_is_caught() {
    for synced in [true, false] {
        let case = Case::new(Some(ours(&[1])), &[1], OnExists::Append, &[300]);
        let folder = Arc::new(PowerFolder::new(&case.image()));
        let start = folder.now();
        let mut out = Appender::options().open_in(folder.clone(), OUT.as_ref()).unwrap();
        out.append(&case.all[1..]).unwrap();
        if synced {
            out.sync().unwrap();
        }
        folder.remove("part-0.npy".as_ref()).unwrap();
        out.close().unwrap();
        let mut wrong = 0;
        sweep(&folder, start, 60, &mut |_, image| {
            wrong += usize::from(case.judge(&PowerFolder::new(image)).is_err());
        });
        // Counted before they are there, the rows are wrong in any case; gone without them, only one way.
        let lost = |image: &Image| {
            !image.contains_key(OsStr::new("part-0.npy")) && case.judge(&PowerFolder::new(image)).is_err()
        };
        let mut gone = 0;
        sweep(&folder, start, 60, &mut |_, image| gone += usize::from(lost(image)));
        assert!(wrong > 0 && (gone > 0) != synced, "synced {synced}: {wrong} wrong, {gone} lost");
    }
}

#[test]
fn every_call_fails_once() {
    let mut all = 0;
    for (at, case) in cases().iter().enumerate() {
        for fault in [Fault::Fails(5), Fault::FailsLate(5), Fault::FailsTorn(28), Fault::Short, Fault::Dies] {
            for skip in 0.. {
                let shared = Arc::new(SharedFolder::default());
                case.image().iter().for_each(|(name, (_, bytes))| shared.put(name.to_str().unwrap(), bytes));
                let faults = Faults::default();
                let folder = Arc::new(FaultyFolder::new(shared.clone(), faults.clone()));
                faults.arm(None, skip, fault);
                let names: Vec<_> = case.inputs.iter().map(|(name, _)| name.as_str()).collect();
                let done = concat_in(folder, &names, OUT.as_ref(), &case.options(), &mut |_, _| Ok(()));
                let Some(hit) = faults.hit() else { break };
                all += 1;
                let when = format!("case {at}, {hit:?} (call {skip}) {fault:?}: {done:?}");
                faults.calm();
                let told = done.as_ref().is_err_and(|error| error.path().is_some());
                let forgiven = done.is_ok() && (fault == Fault::Short || hit == Call::RemoveAbandoned);
                assert!(told || forgiven, "{when}");
                let calls = faults.take_calls();
                let sync =
                    calls.iter().position(|call| call.failed && matches!(call.call, Call::Sync | Call::CommitDurably));
                let mut later = sync.map_or(&[][..], |sync| &calls[sync + 1..]).iter();
                assert!(
                    later.all(|call| call.handle != calls[sync.unwrap()].handle || !call.changes()),
                    "{when}: goes on"
                );
                let judged = case.judge(&*shared).and_then(|()| case.finish(shared.clone(), skip % 2 == 0));
                judged.unwrap_or_else(|why| panic!("{when}: {why}"));
            }
        }
    }
    assert!(all > 500, "only {all} faults were met");
}

/// With the journal gone nobody would know that the rows of an input that comes back are in the output.
#[test]
fn what_was_deleted_is_so_on_the_disk_before_the_journal_goes() {
    let case = Case::new(None, &[], OnExists::Error, &[4, 5]);
    let (inner, faults) = (Arc::new(PowerFolder::new(&case.image())), Faults::default());
    case.run(Arc::new(FaultyFolder::new(inner, faults.clone())), true).unwrap();
    let calls = faults.take_calls();
    let names = calls.iter().filter(|call| call.handle == 0).map(|call| call.call);
    let names: Vec<_> = names.filter(|call| matches!(call, Call::Remove | Call::SyncFolder)).collect();
    assert_eq!(
        names[names.len() - 5..],
        [Call::Remove, Call::Remove, Call::SyncFolder, Call::Remove, Call::SyncFolder]
    );
}

/// A folder where a process was killed once `inputs` of three inputs were gone.
fn interrupted(inputs: usize) -> (Arc<PowerFolder>, Case) {
    let case = Case::new(None, &[], OnExists::Error, &[4, 5, 6]);
    let folder = Arc::new(PowerFolder::new(&case.image()));
    case.run(folder.clone(), true).unwrap();
    let mut left = None;
    let (mut disk, events) = (Disk::default(), folder.events());
    for event in &events {
        disk.apply(event);
        let image = disk.cut(&mut |n| n - 1).0;
        let gone = case.inputs.iter().filter(|(name, _)| !image.contains_key(OsStr::new(name))).count();
        if gone == inputs && image.contains_key(OsStr::new(JOURNAL)) && image.contains_key(OsStr::new(OUT)) {
            left.get_or_insert(image);
        }
    }
    (Arc::new(PowerFolder::new(&left.unwrap())), case)
}

#[test]
fn nobody_else_changes_an_output_under_way() {
    let (folder, case) = interrupted(1);
    let text = "NeedsRecovery: a concat that consumes its inputs was interrupted: call concat(inputs, path, consume=True) \
                again to finish it, or remove shared/.rows.npy.npygrow-concat to keep the file as it is";
    let before = folder.image();
    let name = OUT.as_ref();
    let report = inspect_in(folder.clone(), name, MAX_HEADER_SIZE).unwrap();
    assert_eq!(report.advice.as_deref(), text.strip_prefix("NeedsRecovery: "));
    fails(Appender::options().open_in(folder.clone(), name).map(drop), text);
    fails(recover_in(folder.clone(), name, RecoverOptions::default()), text);
    fails(ensure_appendable_in(folder.clone(), name, Room::Compact, MAX_HEADER_SIZE), text);
    let plain = ConcatOptions::default().on_exists(OnExists::Append);
    fails(concat_in(folder.clone(), &["part-1.npy"], name, &plain, &mut |_, _| Ok(())), text);
    assert!(folder.image() == before);
    let joined = case.run(folder.clone(), true).unwrap();
    assert_eq!((joined.inputs, joined.inputs_before, joined.rows_before, joined.rows), (2, 1, 4, 15));
    case.finish(folder, true).unwrap();
}

#[test]
fn an_input_that_is_in_the_output_is_compared_before_it_goes() {
    let (folder, case) = interrupted(1);
    // The deletion did not reach the disk; then the file was given other rows.
    let mut image = folder.image();
    let number = 1 + image.values().map(|(number, _)| *number).max().unwrap();
    let put = |image: &mut Image, number, bytes: &[u8]| image.insert("part-0.npy".into(), (number, bytes.to_vec()));
    put(&mut image, 0, &case.inputs[0].1);
    let again = Arc::new(PowerFolder::new(&image));
    assert_eq!(case.run(again.clone(), true).unwrap().inputs_before, 1);
    case.finish(again, true).unwrap();

    let other = ours(&[9, 9, 9, 9]);
    put(&mut image, 0, &other);
    let changed = Arc::new(PowerFolder::new(&image));
    let error = case.run(changed.clone(), true).unwrap_err();
    assert_eq!(
        error.to_string(),
        "shared/part-0.npy: its 4 rows are in the output, but they are not what it holds now: move it away, and call again"
    );
    assert!(content(&*changed, "part-0.npy").unwrap() == other);

    // Another file has its name: it is one more input.
    put(&mut image, number, &other);
    let new = Arc::new(PowerFolder::new(&image));
    let joined = case.run(new.clone(), true).unwrap();
    assert_eq!((joined.inputs, joined.rows), (3, 19));
}

#[test]
fn journals_that_are_not_the_outputs_own_are_named() {
    let (folder, case) = interrupted(1);
    let image = folder.image();
    let with = |change: &dyn Fn(&mut Image)| {
        let mut image = image.clone();
        change(&mut image);
        case.run(Arc::new(PowerFolder::new(&image)), false).map(drop)
    };
    let another = "Malformed: the journal shared/.rows.npy.npygrow-concat is of another file, which had this name: put that \
                   file back, or remove the journal";
    fails(with(&|image| drop(image.remove(OsStr::new(OUT)))), another);
    fails(with(&|image| image.get_mut(OsStr::new(OUT)).unwrap().0 = 77), another);
    let damaged = "Malformed: the journal shared/.rows.npy.npygrow-concat is damaged or of a newer version";
    fails(with(&|image| image.get_mut(OsStr::new(JOURNAL)).unwrap().1[20] ^= 1), damaged);
    let rows = "Mismatch: its 3 rows are not what an interrupted concat left: another program changed it";
    fails(
        with(&|image| image.get_mut(OsStr::new(OUT)).unwrap().1 = [ours(&[1, 2]), le(&[])].concat()),
        &rows.replace('3', "2"),
    );
    fails(with(&|image| image.get_mut(OsStr::new(OUT)).unwrap().1 = ours(&[1, 2, 3])), rows);
    // A journal of another file is nobody's concern but of those that need their own.
    let mut other = image.clone();
    other.get_mut(OsStr::new(OUT)).unwrap().0 = 77;
    Appender::options().open_in(Arc::new(PowerFolder::new(&other)), OUT.as_ref()).unwrap();
}

#[test]
fn a_call_that_is_stopped_says_how_far_it_got() {
    let case = Case::new(None, &[], OnExists::Error, &[4, 5, 6]);
    for (after, expected) in [
        (0, "Io: stopped"),
        (
            1,
            "Io: stopped; nothing was appended, the file is as before; 1 of 3 inputs are joined and gone: call again to finish",
        ),
    ] {
        let folder = Arc::new(PowerFolder::new(&case.image()));
        let names: Vec<_> = case.inputs.iter().map(|(name, _)| name.as_str()).collect();
        let mut steps = 0;
        let stopped = concat_in(folder.clone(), &names, OUT.as_ref(), &case.options(), &mut |_, _| {
            steps += 1;
            if steps > after { Err(npygrow::Error::new(ErrorKind::Io, "stopped")) } else { Ok(()) }
        });
        if after == 0 {
            let error = stopped.unwrap_err();
            assert!(error.detail().starts_with("stopped") && !error.detail().contains("joined"), "{error}");
            assert!(folder.image().keys().all(|name| name.to_string_lossy().starts_with("part")));
        } else {
            fails(stopped, expected);
        }
        case.finish(folder, true).unwrap();
    }
}
