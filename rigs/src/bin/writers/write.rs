//! A process of writers: threads that append batches until they are told to stop, or killed.

use crate::batch::{Row, UNTOLD, What, items, note, note_len, rows};
use crate::{ARRESTED, STOP, WRITER_WORDS, WRITERS};
use npygrow::{Appender, ColumnPart, DatasetAppender, ErrorKind, Options, RaggedAppender};
use npygrow_rigs::Random;
use npygrow_rigs::shared::Words;
use std::error::Error;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// How writers see to it that they do not meet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// Each append is a turn.
    Turns,
    /// One has the file for some batches.
    Alone,
    /// Not at all: wrong on purpose.
    None,
}

type Told = npygrow::Result<Option<Range<u64>>>;

/// Runs two threads, of the writers `first` and `first + 1`.
pub(crate) fn write(what: What, manners: Manners, path: &Path, words: &Path, first: u64) -> Result<(), Box<dyn Error>> {
    let words = Words::open(words)?;
    let results: Vec<Result<(), String>> = thread::scope(|scope| {
        let start = |writer: u64| {
            let words = &words;
            move || {
                let random = Random(writer << 20 | u64::from(std::process::id()));
                let mut writer = Writer { what, path, words, writer, random, batch: 0, told: 0 };
                let done = match manners {
                    Manners::None => writer.without_manners().map_err(|error| error.to_string()),
                    _ => writer.run(manners).map_err(|error| error.to_string()),
                };
                done.map_err(|error| format!("writer {}: {error}", writer.writer))
            }
        };
        let threads = [first, first + 1].map(|writer| scope.spawn(start(writer)));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a panic".into()))).collect()
    });
    results.into_iter().collect::<Result<(), String>>().map_err(Into::into)
}

/// An appender of either kind.
enum Target {
    File(Appender),
    Ragged(RaggedAppender),
    Dataset(DatasetAppender),
}

impl Target {
    fn open(what: What, options: Options, path: &Path) -> npygrow::Result<Target> {
        let dtype = "<u8".parse()?;
        Ok(match what {
            What::File => Target::File(options.dtype(dtype).row_shape([4]).open(path)?),
            What::Ragged => Target::Ragged(options.dtype(dtype).row_shape([4]).open_ragged(path)?),
            What::Dataset => {
                let mut target = options.open_dataset(path)?;
                target.define("rows", &dtype, &[4])?;
                target.define_ragged("notes", &dtype, &[])?;
                Target::Dataset(target)
            }
        })
    }

    /// Appends a batch; of the rows' numbers it gives those of whole batches.
    fn append(&mut self, batch: u64, rows: &[Row]) -> Told {
        let bytes: Vec<u8> = rows.as_flattened().iter().flat_map(|value| value.to_ne_bytes()).collect();
        match self {
            Target::File(appender) => appender.append_rows(rows.len() as u64, &bytes),
            Target::Ragged(appender) => {
                let lengths = items(batch, rows.len() as u64);
                // Items' numbers say nothing of the values'.
                let told = appender.extend_bytes(&lengths, &bytes)?;
                Ok(told.map(|_| UNTOLD..UNTOLD))
            }
            Target::Dataset(appender) => {
                let lengths: Vec<u64> = rows.iter().map(note_len).collect();
                let notes = rows.iter().flat_map(|row| (0..note_len(row)).flat_map(|_| note(row).to_ne_bytes()));
                let notes = ColumnPart::Items { lengths: &lengths, values: &notes.collect::<Vec<u8>>() };
                appender.append(rows.len() as u64, &[("notes", notes), ("rows", ColumnPart::Rows(&bytes))])
            }
        }
    }

    fn commit(&mut self) -> npygrow::Result<()> {
        match self {
            Target::File(appender) => appender.commit().map(drop),
            Target::Ragged(appender) => appender.commit().map(drop),
            Target::Dataset(appender) => appender.commit().map(drop),
        }
    }

    fn close(self) -> npygrow::Result<()> {
        match self {
            Target::File(appender) => appender.close(),
            Target::Ragged(appender) => appender.close(),
            Target::Dataset(appender) => appender.close(),
        }
    }
}

struct Writer<'a> {
    what: What,
    path: &'a Path,
    words: &'a Words,
    writer: u64,
    random: Random,
    /// The next batch.
    batch: u64,
    /// How many are acknowledged.
    told: u64,
}

impl Writer<'_> {
    fn is_over(&self) -> bool {
        self.words.at(STOP).load(Ordering::SeqCst) != 0
    }

    fn word(&self, index: usize) -> &std::sync::atomic::AtomicU64 {
        self.words.at(WRITERS + self.writer as usize * WRITER_WORDS + index)
    }

    /// The batches so far are acknowledged; the last begins at `start`.
    fn tell(&mut self, start: u64) {
        self.told = self.batch;
        self.word(1 + (self.batch as usize + 1) % 2).store(start, Ordering::SeqCst);
        self.word(0).store(self.batch, Ordering::SeqCst);
    }

    fn run(&mut self, manners: Manners) -> npygrow::Result<()> {
        while !self.is_over() {
            let buffering = if self.random.below(3) == 0 { 4096 } else { 0 };
            let options = Appender::options().buffering(buffering);
            let options = match manners {
                Manners::Turns => options.turns(true),
                _ => options.lock_timeout(Duration::from_millis(self.random.below(100))),
            };
            let mut target = match Target::open(self.what, options, self.path) {
                Err(error) if manners == Manners::Alone && error.kind() == ErrorKind::Locked => continue,
                target => target?,
            };
            for _ in 0..1 + self.random.below(if manners == Manners::Turns { 200 } else { 20 }) {
                // Alone, it is told the rows' numbers before they are published.
                match self.append(&mut target, manners == Manners::Turns || buffering == 0) {
                    // The files were not there yet, and another was faster to make them.
                    Err(error) if manners == Manners::Alone && error.kind() == ErrorKind::Locked => break,
                    done => done?,
                }
                if self.is_over() {
                    break;
                }
            }
            target.close()?;
            if self.told < self.batch {
                self.tell(UNTOLD);
            }
        }
        Ok(())
    }

    fn append(&mut self, target: &mut Target, is_published: bool) -> npygrow::Result<()> {
        let len = 1 + self.random.below(40);
        let rows = rows(self.writer, self.batch, len);
        let told = match target {
            Target::File(appender) if self.random.below(60) == 0 => self.arrested(appender, &rows)?,
            _ => target.append(self.batch, &rows)?,
        };
        self.batch += 1;
        match told {
            Some(rows) if is_published => self.tell(rows.start),
            _ if self.random.below(5) == 0 => {
                target.commit()?;
                self.tell(UNTOLD);
            }
            _ => {}
        }
        if self.random.below(300) == 0 {
            // What is forked from a process has its locks until it runs something else.
            let _ = Command::new("true").status();
        }
        Ok(())
    }

    /// Half-way through an append, the lock in hand, it waits to be killed; nobody may come, and it goes on.
    fn arrested(&self, appender: &mut Appender, rows: &[Row]) -> Told {
        let bytes: Vec<u8> = rows.as_flattened().iter().flat_map(|value| value.to_ne_bytes()).collect();
        let mut batch = appender.begin(rows.len() as u64)?;
        let (first, second) = bytes.split_at(bytes.len() / 2 + 3);
        batch.write(first)?;
        let arrested = self.words.at(ARRESTED);
        let process = u64::from(std::process::id());
        if arrested.compare_exchange(0, process, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            let start = Instant::now();
            while !self.is_over() && start.elapsed() < Duration::from_millis(100) {
                thread::sleep(Duration::from_millis(1));
            }
            let _ = arrested.compare_exchange(process, 0, Ordering::SeqCst, Ordering::SeqCst);
        }
        batch.write(second)?;
        batch.commit()
    }

    /// The same steps as an appender's, without a lock.
    fn without_manners(&mut self) -> Result<(), Box<dyn Error>> {
        let file = File::options().read(true).write(true).open(self.path)?;
        while !self.is_over() {
            let mut field = [0; 19];
            file.read_exact_at(&mut field, 61)?;
            let count: u64 = str::from_utf8(&field)?.trim_start().parse()?;
            let len = 1 + self.random.below(40);
            let rows = rows(self.writer, self.batch, len);
            let bytes: Vec<u8> = rows.as_flattened().iter().flat_map(|value| value.to_ne_bytes()).collect();
            file.write_all_at(&bytes, 128 + count * size_of::<Row>() as u64)?;
            file.write_all_at(format!("{:8}", count + len).as_bytes(), 72)?;
            self.batch += 1;
            self.tell(count);
        }
        Ok(())
    }
}
