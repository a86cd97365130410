//! Inputs to begin with: the files under `testdata`, in the form that each target takes; and a plain mutator for the short
//! run, which finds less than libFuzzer does, but the same every time.

use crate::folders::{FILES, input_of};
use npygrow::{Appender, Dtype};
use npygrow_testkit::golden;
use npygrow_testkit::shared::SharedFolder;
use std::fs;
use std::sync::Arc;

/// Longer files are left out: their headers are not.
const LONGEST: usize = 4096;

/// What `target` begins with.
///
/// # Panics
///
/// Where `testdata` cannot be read, or there is no such target.
#[must_use]
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "literal" => files().into_iter().filter_map(|file| Some(file.get(10..)?.to_vec())).collect(),
        "dtype" => descrs(),
        "header" | "inspect" | "sequence" => with(files(), &[0, 0x87]),
        "recover" => with(files(), &[0, 0x81, 2, 0x83]),
        "ragged" => folders(),
        "operations" => histories(),
        "bookmark" => vec![vec![0; 40], vec![1; 40], [vec![0; 24], vec![0xFF; 8]].concat()],
        other => panic!("no target {other}"),
    }
}

fn files() -> Vec<Vec<u8>> {
    let golden = golden::golden().into_iter().map(|file| file.path);
    let paths = golden.chain(golden::hostile().into_iter().map(|file| file.path));
    let files = paths.map(|path| fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    files.filter(|file| file.len() <= LONGEST).collect()
}

fn with(files: Vec<Vec<u8>>, controls: &[u8]) -> Vec<Vec<u8>> {
    let each = |file: Vec<u8>| controls.iter().map(move |&control| [&file[..], &[control]].concat());
    files.into_iter().flat_map(each).collect()
}

/// NumPy's own, and what stands in the hostile files after the key.
fn descrs() -> Vec<Vec<u8>> {
    let mut descrs: Vec<_> = golden::golden().into_iter().map(|file| file.expected.descr.into_bytes()).collect();
    for file in files() {
        let text = String::from_utf8_lossy(&file).into_owned();
        let after = text.split_once("'descr': ").and_then(|(_, after)| after.rsplit_once(", 'fortran_order'"));
        descrs.extend(after.map(|(descr, _)| descr.as_bytes().to_vec()));
    }
    descrs.sort();
    descrs.dedup();
    descrs.retain(|descr| descr.len() <= LONGEST);
    descrs
}

/// Folders of items that an appender made, and the same cut, with offsets that go down, and too far.
fn folders() -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for (dtype, row_shape, size) in [("|u1", &[][..], 1), ("<f4", &[3], 12)] {
        let folder = Arc::new(SharedFolder::default());
        let dtype: Dtype = dtype.parse().expect("a dtype");
        let options = Appender::options().dtype(dtype).row_shape(row_shape);
        let mut items = options.open_ragged_in(folder.clone()).expect("memory");
        for len in [3, 0, 1, 5] {
            items.append_bytes(len, &vec![len as u8; len as usize * size]).expect("memory");
        }
        items.close().expect("memory");
        let [values, offsets] = FILES.map(|name| folder.get(name).expect("it was made"));
        let mut down = offsets.clone();
        down[136] = 9;
        let mut far = offsets.clone();
        far[150] = 0x7F;
        for control in [0, 1, 0x80] {
            inputs.push(input_of(&values, &offsets, control));
            inputs.push(input_of(&values[..values.len() - 5], &offsets, control));
            inputs.push(input_of(&values, &offsets[..offsets.len() - 5], control));
            inputs.push(input_of(&values, &down, control));
            inputs.push(input_of(&values, &far, control));
        }
    }
    inputs
}

/// Every setup with every step once, in two orders.
fn histories() -> Vec<Vec<u8>> {
    let steps: Vec<u8> = (0..32).flat_map(|what| [what, what * 7 + 3]).collect();
    let back: Vec<u8> = (0..32).rev().flat_map(|what| [what, 255 - what * 5]).collect();
    (0..=255).flat_map(|setup| [[&[setup, 0], &steps[..]].concat(), [&[setup, 40], &back[..]].concat()]).collect()
}

/// A plain random number generator: splitmix64.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// One to four changes to a random seed.
    pub fn mutated(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        const WORDS: [&[u8]; 16] = [
            b"(",
            b")",
            b"[",
            b"]",
            b"{",
            b"}",
            b"'",
            b", ",
            b": ",
            b"18446744073709551616",
            b"9223372036854775807",
            b"0",
            b"-1",
            b"np.int64(3)",
            b"\x93NUMPY\x01\x00",
            b"\xFF\xFF\xFF\xFF",
        ];
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.next() as u8,
                2 => drop(bytes.drain(at..(at + 1 + self.below(8)).min(bytes.len()))),
                3 => {
                    let word = WORDS[self.below(WORDS.len())];
                    bytes.splice(at..at, word.iter().copied());
                }
                4 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len());
                    let piece = &other[from..(from + 1 + self.below(32)).min(other.len())];
                    bytes.splice(at..at, piece.iter().copied());
                }
                _ => {
                    let end = (at + self.below(16)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        bytes
    }
}
