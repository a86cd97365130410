//! The power fails after every call of every operation, and of what was not synced anything is there or not. What is left
//! must be what the durability promises, and the real code must go on with it.
//!
//! `NPYGROW_POWERCUT_STATES` is how many states to try at each point (more for a soak), `NPYGROW_POWERCUT_SEED` which; both
//! are printed, with what came of it, under `--nocapture`, and when one fails.

mod controls;
mod judge;
mod scenarios;
pub(crate) mod together;

use crate::support::NAME;
use judge::{Allowed, Run, judge};
use npygrow::Durability;
use npygrow_testkit::powercut::{Disk, Event, Image, Random, Walk, hash};
use scenarios::{Scenario, all};
use std::collections::HashSet;
use std::env;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many states are tried at one point.
const STATES: usize = 600;
/// How many at one point of the run that goes on after a cut; and of how many such runs one has its own cuts.
const AGAIN_STATES: usize = 3;
const AGAIN: usize = 64;

const SEED: u64 = 1;

#[test]
fn power_keeps_every_acknowledged_row() {
    sweep_all(Durability::Power);
}

#[test]
fn ordered_keeps_a_valid_beginning() {
    sweep_all(Durability::Ordered);
}

#[test]
fn process_keeps_what_was_synced_and_inspect_tells_the_truth() {
    sweep_all(Durability::Process);
}

fn from_env(name: &str, default: u64) -> u64 {
    let given = env::var(name).ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// What a sweep is told and what it has done.
#[derive(Default)]
struct Sweep {
    name: String,
    states: usize,
    random: u64,
    /// (point, image): those seen before are not judged again.
    seen: HashSet<u64>,
    points: usize,
    /// Points where nothing else can be left.
    whole: usize,
    /// Cuts of runs that went on after a cut.
    again: usize,
    wrong: usize,
    first: Vec<String>,
}

fn sweep_all(durability: Durability) {
    let (states, seed) = settings();
    let mut total = Sweep::default();
    for (index, scenario) in all().into_iter().enumerate() {
        let random = hash(&(seed, index, durability as u8));
        let mut sweep = Sweep { name: scenario.name.clone(), states, random, ..Sweep::default() };
        sweep.over(&run(&scenario, durability));
        total.points += sweep.points;
        total.whole += sweep.whole;
        total.again += sweep.again;
        total.wrong += sweep.wrong;
        total.seen.extend(&sweep.seen);
        total.first.extend(sweep.first);
    }
    let (points, whole, again, distinct) = (total.points, total.whole, total.again, total.seen.len());
    let told =
        format!("{distinct} distinct states at {points} points, {again} after a second cut, all there are at {whole}");
    println!("power cuts, {durability:?}: {told}, {} wrong; {}", total.wrong, said(states, seed));
    assert!(distinct > points, "only {told}");
    let first = total.first.join("\n");
    assert!(
        first.is_empty(),
        "{} of {told} are wrong, the first of each run:\n{first}\n{}",
        total.wrong,
        said(states, seed)
    );
}

fn settings() -> (usize, u64) {
    (from_env("NPYGROW_POWERCUT_STATES", STATES as u64) as usize, from_env("NPYGROW_POWERCUT_SEED", SEED))
}

fn said(states: usize, seed: u64) -> impl Display {
    format!("NPYGROW_POWERCUT_STATES={states} NPYGROW_POWERCUT_SEED={seed}")
}

fn run(scenario: &Scenario, durability: Durability) -> Run {
    let file = scenario.file.iter().map(|bytes| (NAME.into(), (0, bytes.clone())));
    let mut run = Run::new(&file.collect(), scenario.state.clone(), durability);
    (scenario.run)(&mut run);
    run
}

impl Sweep {
    /// Cuts the power after each of the run's events.
    fn over(&mut self, run: &Run) {
        let mut random = Random(self.random);
        let events = run.folder.events();
        let mut disk = Disk::default();
        for cut in 0..=events.len() {
            if let Some(event) = cut.checked_sub(1).map(|last| &events[last]) {
                disk.apply(event);
            }
            if cut >= run.start {
                self.points += 1;
                let allowed = run.allowed(cut);
                self.at(&disk, &mut random, |sweep, image, random| {
                    sweep.one(run, &events, cut, image, &allowed, random);
                });
            }
        }
    }

    /// All that a cut may leave here if that is not much, else some of it.
    fn at(&mut self, disk: &Disk, random: &mut Random, mut each: impl FnMut(&mut Self, &(Image, u64), &mut Random)) {
        for newest in [true, false] {
            each(self, &disk.cut(&mut |n| if newest { n - 1 } else { 0 }), random);
        }
        let mut walk = Walk::default();
        for _ in 0..self.states / 4 {
            each(self, &disk.cut(&mut |n| walk.choose(n)), random);
            if !walk.next_set() {
                self.whole += 1;
                return;
            }
        }
        for _ in 0..self.states - self.states / 4 {
            // Mostly new, mostly old, or evenly mixed: torn in few places or in many.
            let newest_in_8 = [1, 4, 7][random.below(3)];
            let image = disk.cut(&mut |n| if random.below(8) < newest_in_8 { n - 1 } else { random.below(n) });
            each(self, &image, random);
        }
    }

    fn one(
        &mut self,
        run: &Run,
        events: &[Event],
        cut: usize,
        (image, image_hash): &(Image, u64),
        allowed: &Allowed<'_>,
        random: &mut Random,
    ) {
        if !self.seen.insert(hash(&(&self.name, run.durability as u8, cut, image_hash))) {
            return;
        }
        let judged = catch_unwind(AssertUnwindSafe(|| judge(image, allowed)));
        match judged.unwrap_or_else(|_| Err("it panics".into())) {
            Ok(next) if self.states > AGAIN_STATES && random.below(AGAIN) == 0 => {
                let name = format!("{}, cut {cut} of {}, then", self.name, events.len());
                let mut again = Sweep { name, states: AGAIN_STATES, random: self.random, ..Sweep::default() };
                again.over(&next);
                self.points += again.points;
                self.whole += again.whole;
                let before = self.seen.len();
                self.wrong += again.wrong;
                self.seen.extend(again.seen);
                self.again += self.seen.len() - before;
                self.first.extend(again.first);
            }
            Ok(_) => {}
            Err(why) => {
                self.wrong += 1;
                if self.first.is_empty() {
                    let last = last(&events[..cut]);
                    self.first.push(format!("{}, cut {cut} of {}, after {last:?}: {why}", self.name, events.len()));
                }
            }
        }
    }
}

/// The last events before a cut, their bytes as a number.
fn last(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| match event {
        Event::Write { file, offset, bytes } => format!("write {} at {offset} of file {file}", bytes.len()),
        other => format!("{other:?}"),
    };
    events[events.len().saturating_sub(4)..].iter().map(text).collect()
}
