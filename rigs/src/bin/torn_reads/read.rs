//! The readers: each looks at a file in its own way, and all are judged alike.

use crate::walk::value;
use crate::write::FOREIGN;
use crate::{BEGUN, DONE, READY, STOP, file_name, walk_name};
use npygrow::{MAX_HEADER_SIZE, Reader, View};
use npygrow_rigs::shared::{HEADER, Header, Words};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// What can look at a file. What it cannot make sense of is an error, in words.
trait Look {
    /// The count.
    fn count(&mut self) -> Result<u64, String>;
    /// The value of a row that is counted.
    fn row(&mut self, row: u64) -> Result<u64, String>;
}

/// Every way of looking that is in Rust.
pub(crate) const KINDS: [&str; 7] =
    ["pread", "mmap, memcpy", "mmap, by words", "as NumPy reads", "View::refresh", "Reader::refresh", BY_BYTES];

/// The one that docs/format.md asks nobody to be: text that changes between two bytes.
pub(crate) const BY_BYTES: &str = "mmap, byte by byte";

fn look(kind: &str, path: &Path) -> Result<Box<dyn Look>, String> {
    let file = || File::open(path).map_err(said);
    Ok(match kind {
        "pread" => Box::new(Pread(file()?)),
        "mmap, memcpy" => Box::new(Copied(Header::map(&file()?).map_err(said)?, file()?)),
        "mmap, by words" => Box::new(ByWords(Header::map(&file()?).map_err(said)?, file()?)),
        BY_BYTES => Box::new(ByBytes(Header::map(&file()?).map_err(said)?, file()?)),
        "as NumPy reads" => Box::new(AsNumpy { path: path.to_path_buf(), file: file()? }),
        "View::refresh" => Box::new(View::open(path, MAX_HEADER_SIZE).map_err(said)?),
        "Reader::refresh" => Box::new(Reader::open(path).map_err(said)?),
        _ => return Err(format!("there is no reader {kind}")),
    })
}

fn said(error: impl ToString) -> String {
    error.to_string()
}

/// What is before the count and after the shape, in a header of the appender.
const OURS: [&[u8]; 2] = [b"\x93NUMPY\x01\x00\x76\x00{'descr': '<u8', 'fortran_order': False, 'shape': (", b"), }"];

/// The count in a header, all of whose bytes must be as a writer of the rig leaves them.
fn parse(header: &[u8]) -> Result<u64, String> {
    let count = [OURS, FOREIGN].iter().find_map(|[before, after]| {
        let text = header.strip_prefix(*before)?.strip_suffix(b"\n")?.trim_ascii_end().strip_suffix(*after)?;
        let text = text.strip_suffix(b", 0").or_else(|| text.strip_suffix(b","))?;
        let digits = str::from_utf8(text).ok()?.trim_start_matches(' ');
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    });
    count.ok_or_else(|| format!("unreadable: {}", header.escape_ascii()))
}

fn row_of(file: &File, row: u64) -> Result<u64, String> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, HEADER as u64 + row * 8).map_err(said)?;
    Ok(u64::from_le_bytes(bytes))
}

struct Pread(File);

impl Look for Pread {
    fn count(&mut self) -> Result<u64, String> {
        let mut header = [0; HEADER];
        self.0.read_exact_at(&mut header, 0).map_err(said)?;
        parse(&header)
    }
    fn row(&mut self, row: u64) -> Result<u64, String> {
        row_of(&self.0, row)
    }
}

struct Copied(Header, File);

impl Look for Copied {
    fn count(&mut self) -> Result<u64, String> {
        parse(&self.0.copy())
    }
    fn row(&mut self, row: u64) -> Result<u64, String> {
        row_of(&self.1, row)
    }
}

/// As docs/format.md tells those to read who map a file: the digits above the low eight before and after these.
struct ByWords(Header, File);

impl Look for ByWords {
    fn count(&mut self) -> Result<u64, String> {
        loop {
            let words: [_; HEADER / 8] = std::array::from_fn(|at| self.0.word(at));
            if self.0.word(8) == words[8] {
                return parse(words.as_flattened());
            }
        }
    }
    fn row(&mut self, row: u64) -> Result<u64, String> {
        row_of(&self.1, row)
    }
}

struct ByBytes(Header, File);

impl Look for ByBytes {
    fn count(&mut self) -> Result<u64, String> {
        parse(&std::array::from_fn::<_, HEADER, _>(|at| self.0.byte(at)))
    }
    fn row(&mut self, row: u64) -> Result<u64, String> {
        row_of(&self.1, row)
    }
}

/// The file is opened anew, read into a buffer, and must be as long as its count says.
struct AsNumpy {
    path: PathBuf,
    file: File,
}

impl Look for AsNumpy {
    fn count(&mut self) -> Result<u64, String> {
        self.file = File::open(&self.path).map_err(said)?;
        let mut buffered = BufReader::with_capacity(8192, &self.file);
        let mut magic = [0; 10];
        buffered.read_exact(&mut magic).map_err(said)?;
        let mut header = magic.to_vec();
        let mut text = vec![0; usize::from(u16::from_le_bytes([magic[8], magic[9]]))];
        buffered.read_exact(&mut text).map_err(said)?;
        header.extend(&text);
        let count = parse(&header)?;
        let row_size = if header.windows(3).any(|bytes| bytes == b", 0") { 0 } else { 8 };
        let (size, wanted) =
            (self.file.metadata().map_err(said)?.len(), HEADER as u64 + count.saturating_mul(row_size));
        if size < wanted { Err(format!("{count} rows are {wanted} bytes, found {size}")) } else { Ok(count) }
    }
    fn row(&mut self, row: u64) -> Result<u64, String> {
        row_of(&self.file, row)
    }
}

impl Look for View {
    fn count(&mut self) -> Result<u64, String> {
        self.refresh().map_err(said)?;
        Ok(self.len())
    }
    fn row(&mut self, row: u64) -> Result<u64, String> {
        let values = self.values::<u64>().ok_or("no values")?;
        values.get(row as usize).copied().ok_or_else(|| format!("row {row} is not mapped"))
    }
}

impl Look for Reader {
    fn count(&mut self) -> Result<u64, String> {
        self.refresh().map_err(said)?;
        Ok(self.len())
    }
    fn row(&mut self, row: u64) -> Result<u64, String> {
        self.rows::<u64>(row..row + 1).map(|values| values[0]).map_err(said)
    }
}

/// What came of one reader.
#[derive(Default)]
struct Tally {
    reads: u64,
    torn: u64,
    first: String,
}

/// Looks at each file while it grows, and prints how often, how often wrongly, and what was wrong first.
pub(crate) fn read(kind: &str, folder: &Path, desk: &Path) -> Result<(), Box<dyn Error>> {
    let words = Words::open(&desk.join("words"))?;
    let mut tally = Tally::default();
    words.at(READY).store(1, Ordering::SeqCst);
    let mut last = None;
    while words.at(STOP).load(Ordering::SeqCst) == 0 {
        let file = words.at(DONE).load(Ordering::SeqCst) >> 32;
        if last == Some(file) {
            std::hint::spin_loop();
            continue;
        }
        match along(kind, file, folder, desk, &words, &mut tally) {
            Ok(()) => last = Some(file),
            // It was slower to open than the writer to go on.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    println!("{} {} {}", tally.reads, tally.torn, tally.first);
    Ok(())
}

fn along(kind: &str, file: u64, folder: &Path, desk: &Path, words: &Words, tally: &mut Tally) -> io::Result<()> {
    let path = folder.join(file_name(file));
    let walk = fs::read(desk.join(walk_name(file)))?;
    let walk: Vec<u64> = walk.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let has_rows = fs::metadata(&path)?.len() > HEADER as u64;
    let mut seen = 0;
    let mut reader: Option<Box<dyn Look>> = None;
    let is_over = || words.at(STOP).load(Ordering::SeqCst) != 0 || words.at(BEGUN).load(Ordering::SeqCst) >> 32 != file;
    loop {
        // One look more, at what is left when the writer went on.
        let over = is_over();
        let done = index(words.at(DONE).load(Ordering::SeqCst), file, walk.len());
        let looked = match &mut reader {
            Some(reader) => reader.count(),
            None => look(kind, &path).and_then(|found| reader.insert(found).count()),
        };
        let begun = index(words.at(BEGUN).load(Ordering::SeqCst), file, walk.len());
        if looked.is_err() && !path.exists() {
            return Ok(());
        }
        let judged = looked.and_then(|count| {
            let at = walk.binary_search(&count).map_err(|_| format!("{count} rows, which never were"))?;
            let expected = done.max(seen)..=begun;
            if !expected.contains(&at) {
                return Err(format!("{count} rows (append {at}), expected those after append {expected:?}"));
            }
            let row = if has_rows { reader.as_mut().map(|reader| reader.row(count - 1)).transpose()? } else { None };
            match row {
                Some(found) if found != value(count - 1) => Err(format!("row {} is {found}", count - 1)),
                _ => Ok(at),
            }
        });
        tally.reads += 1;
        match judged {
            Ok(at) => seen = at,
            Err(what) => {
                tally.torn += 1;
                // It may believe what it saw.
                reader = None;
                if tally.first.is_empty() {
                    tally.first = what.replace('\n', " ");
                }
            }
        }
        if over {
            return Ok(());
        }
    }
}

/// Which append of this file a step is; the last one's when the writer went on.
fn index(step: u64, file: u64, appends: usize) -> usize {
    if step >> 32 == file { (step & u64::from(u32::MAX)) as usize } else { appends - 1 }
}
