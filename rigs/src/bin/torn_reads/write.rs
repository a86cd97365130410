//! The writer: the real appender, or one that is wrong on purpose.

use crate::walk::{Walk, value};
use crate::{BEGUN, COMMITS, DONE, STOP, file_name, walk_name};
use npygrow::{Appender, Mode, OnTail};
use npygrow_rigs::shared::{HEADER, Words};
use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;

/// Lets files grow in `folder`, one after the other, until it is told to stop.
pub(crate) fn write(folder: &Path, desk: &Path, is_control: bool) -> Result<(), Box<dyn Error>> {
    let words = Words::open(&desk.join("words"))?;
    let mut file = 0;
    while words.at(STOP).load(Ordering::SeqCst) == 0 {
        let walk = Walk::of(file);
        let bytes: Vec<u8> = walk.counts.iter().flat_map(|count| count.to_le_bytes()).collect();
        fs::write(desk.join(walk_name(file)), bytes)?;
        let path = folder.join(file_name(file));
        if is_control {
            grow(&words, file, &walk, Foreign::make(&path, &walk)?)?;
        } else {
            grow(&words, file, &walk, make(&path, &walk)?)?;
        }
        if let Some(last) = file.checked_sub(1) {
            // Whoever reads by name may not have seen the new one yet: it has had time for that.
            fs::remove_file(folder.join(file_name(last)))?;
            fs::remove_file(desk.join(walk_name(last)))?;
        }
        file += 1;
    }
    Ok(())
}

trait Grow {
    fn append(&mut self, count: u64, rows: &[u8]) -> Result<(), Box<dyn Error>>;
}

fn grow(words: &Words, file: u64, walk: &Walk, mut growing: impl Grow) -> Result<(), Box<dyn Error>> {
    let step = file << 32;
    words.at(BEGUN).store(step, Ordering::SeqCst);
    words.at(DONE).store(step, Ordering::SeqCst);
    let mut rows = Vec::new();
    for (step, pair) in (step + 1..).zip(walk.counts.windows(2)) {
        rows.clear();
        if walk.row_size > 0 {
            rows.extend((pair[0]..pair[1]).flat_map(|row| value(row).to_le_bytes()));
        }
        words.at(BEGUN).store(step, Ordering::SeqCst);
        growing.append(pair[1] - pair[0], &rows)?;
        words.at(DONE).store(step, Ordering::SeqCst);
        if words.at(STOP).load(Ordering::Relaxed) != 0 {
            break;
        }
    }
    words.at(COMMITS).fetch_add(words.at(DONE).load(Ordering::SeqCst) - step, Ordering::SeqCst);
    Ok(())
}

impl Grow for Appender {
    fn append(&mut self, count: u64, rows: &[u8]) -> Result<(), Box<dyn Error>> {
        Ok(self.append_rows(count, rows).map(drop)?)
    }
}

/// A file of ours with the first rows, which are a hole.
fn make(path: &Path, walk: &Walk) -> Result<Appender, Box<dyn Error>> {
    let row_shape: &[u64] = if walk.row_size == 0 { &[0] } else { &[] };
    let new = Appender::options().mode(Mode::New).dtype("<u8".parse()?).row_shape(row_shape);
    let mut appender = new.open(path)?;
    if walk.row_size == 0 {
        appender.append_rows(walk.counts[0], &[])?;
        return Ok(appender);
    }
    appender.close()?;
    let file = File::options().write(true).open(path)?;
    file.set_len(HEADER as u64 + walk.counts[0] * walk.row_size)?;
    file.write_at(&value(walk.counts[0] - 1).to_le_bytes(), HEADER as u64 + (walk.counts[0] - 1) * walk.row_size)?;
    Ok(Appender::options().on_tail(OnTail::Keep).open(path)?)
}

/// What is before the count and after the shape, in a header whose count ends where it should not.
pub(crate) const FOREIGN: [&[u8]; 2] =
    [b"\x93NUMPY\x01\x00\x76\x00{'fortran_order': False, 'shape': (", b"), 'descr': '<u8', }"];
const FIELD_END: usize = 68;

/// As the appender does it, in a field that is not aligned: the count is written by one write of the digits that change.
struct Foreign {
    file: File,
    header: Vec<u8>,
    rows: u64,
    row_size: u64,
}

impl Foreign {
    fn make(path: &Path, walk: &Walk) -> Result<Foreign, Box<dyn Error>> {
        let mut file = File::options().read(true).write(true).create_new(true).open(path)?;
        let header = header(walk.counts[0], walk.row_size);
        file.write_all(&header)?;
        file.set_len(HEADER as u64 + walk.counts[0] * walk.row_size)?;
        if walk.row_size > 0 {
            file.write_at(
                &value(walk.counts[0] - 1).to_le_bytes(),
                HEADER as u64 + (walk.counts[0] - 1) * walk.row_size,
            )?;
        }
        Ok(Foreign { file, header, rows: walk.counts[0], row_size: walk.row_size })
    }
}

impl Grow for Foreign {
    fn append(&mut self, count: u64, rows: &[u8]) -> Result<(), Box<dyn Error>> {
        self.file.write_all_at(rows, HEADER as u64 + self.rows * self.row_size)?;
        self.rows += count;
        let header = header(self.rows, self.row_size);
        let differs = |(a, b): (&u8, &u8)| a != b;
        let start = header.iter().zip(&self.header).position(differs).unwrap_or(0);
        let end = header.len() - header.iter().rev().zip(self.header.iter().rev()).position(differs).unwrap_or(0);
        self.file.write_all_at(&header[start..end], start as u64)?;
        self.header = header;
        Ok(())
    }
}

fn header(rows: u64, row_size: u64) -> Vec<u8> {
    let [before, after] = FOREIGN;
    let mut header = before.to_vec();
    header.extend(format!("{rows:width$}", width = FIELD_END - before.len()).bytes());
    header.extend(if row_size == 0 { &b", 0"[..] } else { b"," });
    header.extend(after);
    header.resize(HEADER - 1, b' ');
    header.push(b'\n');
    header
}
