//! Folders that are joined: a new one is there whole or not at all, one that is replaced is the old or the new, and one that goes
//! on has the rows of all inputs or of none. The inputs are never touched.

use super::*;
use npygrow::{ConcatOptions, OnExists, concat_folders_in};
use std::ffi::OsStr;

/// Rows of the output before, and of the two inputs.
const BEFORE: std::ops::Range<u32> = 0..12;
const INPUTS: [std::ops::Range<u32>; 2] = [12..40, 40..47];

pub(crate) fn ids(range: std::ops::Range<u32>) -> Vec<u32> {
    range.collect()
}

/// The folder `name` in `around`, with these rows, on the disk.
pub(crate) fn put(kind: Kind, around: &dyn Folder, name: &str, rows: std::ops::Range<u32>) {
    let folder = around.folder(name.as_ref(), true).unwrap().unwrap();
    let mut handle = Handle::open(kind, folder, Appender::options().durability(Durability::Power)).unwrap();
    handle.append(&ids(rows)).unwrap();
    handle.sync().unwrap();
    handle.close().unwrap();
    around.sync().unwrap();
}

pub(crate) fn join(around: Arc<dyn Folder>, on_exists: OnExists, durability: Durability) -> Result<u64> {
    let options = ConcatOptions::default().on_exists(on_exists).durability(durability);
    let joined = concat_folders_in(around, &["one", "two"], "all".as_ref(), &options, &mut |_, _| Ok(()))?;
    Ok(joined.rows)
}

/// The rows of a folder in another; `None` where it is not there.
pub(crate) fn rows_of(kind: Kind, around: &dyn Folder, name: &str) -> Result<Option<u32>> {
    let Some(folder) = around.folder(OsStr::new(name), false)? else { return Ok(None) };
    let found = look(kind, &*folder)?;
    let first = if name == "two" {
        INPUTS[1].start
    } else if name == "one" {
        INPUTS[0].start
    } else {
        0
    };
    let rows = found[0].len() as u32;
    let all = [ids(first..first + rows), ids(INPUTS[0].start..INPUTS[0].start + rows)];
    assert!(all.iter().any(|ids| expected(kind, ids) == found), "{name}: {rows} rows of other contents");
    Ok(Some(rows))
}

struct Join {
    kind: Kind,
    on_exists: OnExists,
    durability: Durability,
}

impl Join {
    fn before(&self) -> Option<u32> {
        (self.on_exists != OnExists::Error).then_some(BEFORE.end)
    }

    fn after(&self) -> u32 {
        let joined = INPUTS[1].end - INPUTS[0].start;
        if self.on_exists == OnExists::Append { BEFORE.end + joined } else { joined }
    }

    /// The folders as they are before.
    fn image(&self) -> Image {
        let folder = Arc::new(PowerFolder::new(&Image::new()));
        for (name, rows) in ["one", "two"].iter().zip(INPUTS) {
            put(self.kind, &*folder, name, rows);
        }
        if self.before().is_some() {
            put(self.kind, &*folder, "all", BEFORE);
        }
        folder.image()
    }

    /// Whether what a cut left is the output as it was, or all of it; `done`: it must be all.
    fn judge(&self, image: &Image, done: bool, again: bool) -> std::result::Result<(), String> {
        let text = |error: npygrow::Error| format!("{error:?}");
        let folder = Arc::new(PowerFolder::new(image));
        for (name, rows) in ["one", "two"].iter().zip(INPUTS) {
            let found = rows_of(self.kind, &*folder, name).map_err(text)?;
            if found != Some(rows.end - rows.start) {
                return Err(format!("the input {name} has {found:?} rows"));
            }
        }
        let mut found = rows_of(self.kind, &*folder, "all").map_err(text)?;
        if self.on_exists == OnExists::Append {
            // Rows that not every column has are nobody's: the next appender cuts them.
            let inside = folder.folder("all".as_ref(), false).map_err(text)?.ok_or("the output is gone")?;
            let handle = Handle::open(self.kind, inside, Appender::options()).map_err(text)?;
            found = Some(handle.len() as u32);
            handle.close().map_err(text)?;
        }
        if found != Some(self.after()) && (done || found != self.before()) {
            return Err(format!("{found:?} rows, {:?} before, {} after it", self.before(), self.after()));
        }
        if again && found == self.before() {
            let rows = join(folder.clone(), self.on_exists, self.durability).map_err(text)?;
            if rows != u64::from(self.after()) {
                return Err(format!("called again: {rows} rows"));
            }
            let names = Folder::names(&*folder).map_err(text)?;
            if names.len() != 3 {
                return Err(format!("called again, it leaves {names:?}"));
            }
        }
        Ok(())
    }
}

fn all() -> impl Iterator<Item = Join> {
    use Durability::{Ordered, Power, Process};
    use OnExists::{Append, Error, Replace};
    // What is made anew is synced in any. Under `process` a folder that goes on promises nothing before a sync, like a file.
    let hows = [(Error, Process), (Replace, Process), (Append, Ordered), (Append, Power)];
    KINDS.into_iter().flat_map(move |kind| hows.map(|(on_exists, durability)| Join { kind, on_exists, durability }))
}

#[test]
fn an_output_is_there_whole_or_as_it_was() {
    let (states, seed) = settings();
    let states = states.div_ceil(4);
    let (mut tried, mut bad) = (0, Vec::new());
    for what in all() {
        let folder = Arc::new(PowerFolder::new(&what.image()));
        let start = folder.now();
        assert_eq!(join(folder.clone(), what.on_exists, what.durability).unwrap(), u64::from(what.after()));
        let (end, kept) = (folder.now(), what.durability != Durability::Ordered);
        let judge = |image: &Image, cut: usize| what.judge(image, cut >= end && kept, cut.is_multiple_of(5));
        let (first, wrong, seen) = sweep_folder(&folder, start, states, seed, &judge);
        tried += seen;
        let name = format!("{:?}, {:?}, {:?}", what.kind, what.on_exists, what.durability);
        bad.extend(first.map(|first| format!("{name}: {wrong} of {seen} wrong, {first}")));
    }
    println!("power cuts of joins: {tried} distinct states, {} wrong", bad.len());
    assert!(tried > 500, "only {tried} states");
    assert!(bad.is_empty(), "\n{}\n{}", bad.join("\n"), said(states * 4, seed));
}

/// A folder that gets its name before its files are on the disk is caught.
#[test]
fn a_name_that_comes_too_early_is_caught() {
    for kind in KINDS {
        let what = Join { kind, on_exists: OnExists::Error, durability: Durability::Power };
        let whole = Arc::new(PowerFolder::new(&what.image()));
        join(whole.clone(), what.on_exists, what.durability).unwrap();
        let folder = Arc::new(PowerFolder::new(&what.image()));
        let start = folder.now();
        for (name, (_, bytes)) in whole.image() {
            let name = name.to_string_lossy();
            let Some(inside) = name.strip_prefix("all/") else { continue };
            let (mut at, mut rest) = (folder.folder(".temp".as_ref(), true).unwrap().unwrap(), inside);
            while let Some((outer, more)) = rest.split_once('/') {
                (at, rest) = (at.folder(outer.as_ref(), true).unwrap().unwrap(), more);
            }
            let mut temp = at.create_temp(rest.as_ref(), None).unwrap();
            temp.storage().write_all_at(0, &bytes).unwrap();
            assert!(at.link_noreplace(&mut temp, rest.as_ref()).unwrap());
        }
        assert!(folder.place_folder(".temp".as_ref(), "all".as_ref()).unwrap());
        folder.sync().unwrap();
        let (first, wrong, seen) = sweep_folder(&folder, start, 40, 1, &|image, _| what.judge(image, false, false));
        println!("control of joins, {kind:?}: {wrong} of {seen} states are wrong: {first:?}");
        assert!(wrong > 0, "{seen} states");
    }
}
