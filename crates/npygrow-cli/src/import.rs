//! `npy import`: rows that other formats hold. Text is read here; HDF5 and Zarr by whoever runs the command and can.

use crate::append::{Append, Done, Failures, STDIN, Writing, conclude, mismatch};
use crate::bar::Bar;
use crate::input::Common;
use crate::text::word;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use npygrow::{Dropped, Dtype, Durability, Error, Mode, OnTail, Result};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What tells one format from another lies in so many first bytes; an HDF5 file may begin with other data.
const HEAD: u64 = 4 << 10;
const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";
const HDF5_OFFSETS: [usize; 4] = [0, 512, 1024, 2048];
const ZARR: [&str; 3] = ["zarr.json", ".zgroup", ".zarray"];

const EXAMPLES: &str = "\
Examples:
  npy import pose.npy run1.h5                 the only dataset of an HDF5 file
  npy import pose.npy run1.h5:/arm/pose run2.h5:/arm/pose
  npy import frames.npy store.zarr:/camera    also store.zip
  npy import table.npy table.csv --header --dtype '<f4' --row-shape 3

HDF5 needs h5py, Zarr needs zarr, both beside the Python package: pip install
npygrow h5py zarr. Rows go in along the source's own chunks, and stay when npy is
interrupted: it says how to go on. CSV is taken as npy append --csv takes it.

Exit status: 0 done; 2 failure, also when lines of CSV were left out.";

/// Append rows from CSV, HDF5 or Zarr
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Import {
    /// The file that grows; made where there is none
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// Text, or FILE.h5:/DATASET, or STORE.zarr:/ARRAY; - is text on standard input
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,

    /// Continue, replace or only make OUT
    #[arg(long, value_name = "append|write|new", hide_possible_values = true, default_value = "append")]
    #[arg(value_parser = PossibleValuesParser::new(["append", "write", "new"]).map(mode))]
    mode: Mode,

    /// Leave out rows of the first source (HDF5, Zarr)
    #[arg(long, value_name = "ROWS", default_value_t = 0)]
    start: u64,

    /// The first line of CSV names the columns
    #[arg(long)]
    header: bool,

    /// The dtype that CSV becomes, or OUT must have
    #[arg(long)]
    dtype: Option<Dtype>,

    /// The same for the shape of a row: 3, or 2,3
    #[arg(long, value_name = "SHAPE", value_delimiter = ',')]
    row_shape: Option<Vec<u64>>,

    #[command(flatten)]
    writing: Writing,

    #[command(flatten)]
    common: Common,
}

fn mode(name: String) -> Mode {
    match &*name {
        "write" => Mode::Write,
        "new" => Mode::New,
        _ => Mode::Append,
    }
}

/// Reads HDF5 and Zarr, and appends what they hold. Tells the bytes done, and those in all, to its second argument.
pub type Importer<'a> = dyn Fn(&Job<'_>, &mut dyn FnMut(u64, u64)) -> Imported + 'a;

/// What an [`Importer`] is to do.
#[derive(Debug)]
pub struct Job<'a> {
    /// The file that grows.
    pub output: &'a Path,
    /// What is appended to it, in this order.
    pub sources: &'a [Source],
    /// How many rows of the first source are left out.
    pub start: u64,
    /// What becomes of a file that is there.
    pub mode: Mode,
    /// What published rows survive.
    pub durability: Durability,
    /// Whether several append in turns.
    pub turns: bool,
    /// How long to wait for another appender.
    pub lock_timeout: Option<Duration>,
    /// What to do with bytes after the last row.
    pub on_tail: OnTail,
    /// The longest header that is taken.
    pub max_header_size: u64,
}

/// An array in a file of another format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As the user wrote it.
    pub name: PathBuf,
    /// The file or folder.
    pub path: PathBuf,
    /// The array in it, where the user named one.
    pub array: Option<String>,
    /// Its format.
    pub kind: Kind,
}

/// Which format a source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Lines of CSV, which the command reads itself.
    Csv,
    /// A file of HDF5, or of what is made of that: netCDF 4, MATLAB 7.3.
    Hdf5,
    /// A folder or zip archive of Zarr.
    Zarr,
}

/// What came of a [`Job`].
#[derive(Debug, Default)]
pub struct Imported {
    /// Rows that went in, also where it failed in the end.
    pub appended: u64,
    /// Rows of the file in all; `None` where it did not come to appending.
    pub rows: Option<u64>,
    /// What opening cut from the file's tail.
    pub dropped: Dropped,
    /// What failed, and why.
    pub failures: Vec<(PathBuf, Error)>,
}

impl Import {
    /// `is_watched`: `err` is a terminal, where somebody may wonder how long it takes.
    pub(crate) fn run(
        mut self,
        out: &mut dyn Write,
        err: &mut dyn Write,
        is_watched: bool,
        importer: Option<&Importer<'_>>,
    ) -> io::Result<i32> {
        self.writing.mode = self.mode;
        let mut done = Done::default();
        let finished = match self.look() {
            Err(failures) => Err(failures),
            Ok(sources) if sources.iter().all(|source| source.kind == Kind::Csv) => {
                return self.text().run(out, err, is_watched);
            }
            Ok(sources) => self.lend(&sources, &mut done, is_watched.then_some(&mut *err), importer),
        };
        conclude(&self.output, &self.common, &done, finished, out, err)
    }

    /// What the sources are, and that they and the options go together.
    fn look(&self) -> Result<Vec<Source>, Failures> {
        let (mut sources, mut failures): (Vec<_>, Failures) = (Vec::new(), Vec::new());
        for name in &self.sources {
            match source(name) {
                Ok(source) => sources.push(source),
                Err(error) => failures.push((name.clone(), error)),
            }
        }
        let texts = sources.iter().filter(|source| source.kind == Kind::Csv).count();
        let is_shaped = self.header || self.dtype.is_some() || self.row_shape.is_some();
        let why = if texts > 0 && texts < sources.len() {
            "CSV cannot go together with HDF5 or Zarr: import the one, then the others"
        } else if texts > 0 && self.start > 0 {
            "--start is for HDF5 and Zarr: of CSV, tail -n +LINE leaves lines out"
        } else if texts == 0 && !sources.is_empty() && is_shaped {
            "--header, --dtype and --row-shape are for CSV: HDF5 and Zarr say what their rows are"
        } else {
            return if failures.is_empty() { Ok(sources) } else { Err(failures) };
        };
        failures.push((self.output.clone(), mismatch(why)));
        Err(failures)
    }

    /// The same work as that of `npy append --csv`.
    fn text(self) -> Append {
        let Import { output, sources, header, dtype, row_shape, writing, common, .. } = self;
        Append { output, inputs: sources, csv: true, header, dtype, row_shape, writing, common }
    }

    /// Has the sources read by `importer`.
    fn lend(
        &self,
        sources: &[Source],
        done: &mut Done,
        watched: Option<&mut dyn Write>,
        importer: Option<&Importer<'_>>,
    ) -> Result<(), Failures> {
        let Some(importer) = importer else {
            let refuse = |source: &Source| (source.name.clone(), mismatch(nobody(source.kind)));
            return Err(sources.iter().map(refuse).collect());
        };
        let Writing { durability, turns, lock_timeout, on_tail, mode, .. } = self.writing;
        let job = Job {
            output: &self.output,
            sources,
            start: self.start,
            mode,
            durability,
            turns,
            lock_timeout,
            on_tail,
            max_header_size: self.common.max_header_size,
        };
        let mut bar = Bar::new(watched);
        let Imported { appended, rows, dropped, failures } = importer(&job, &mut |done, total| bar.at(done, total));
        *done = Done { appended, rows, dropped, ..Done::default() };
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }
}

fn nobody(kind: Kind) -> String {
    let (format, package) = if kind == Kind::Zarr { ("Zarr", "zarr") } else { ("HDF5", "h5py") };
    format!("{format} is read by the npy of the Python package: pip install npygrow {package}")
}

/// What an argument names: a file that is there, or an array in one.
fn source(name: &Path) -> Result<Source> {
    let split = name.to_str().filter(|_| !name.exists()).and_then(|text| text.rsplit_once(":/"));
    let (path, array) = match split {
        Some((path, array)) => (path.into(), Some(format!("/{array}"))),
        None => (name.to_path_buf(), None),
    };
    let kind = kind(&path)?;
    if kind == Kind::Csv && array.is_some() {
        return Err(mismatch("text has no arrays with names: only HDF5 and Zarr have"));
    }
    Ok(Source { name: name.to_path_buf(), path, array, kind })
}

/// The format of a file or folder, by what is in it.
fn kind(path: &Path) -> Result<Kind> {
    if path.as_os_str() == STDIN {
        return Ok(Kind::Csv);
    }
    let cannot = |error: io::Error| Error::io("cannot open", &error);
    let facts = fs::metadata(path).map_err(cannot)?;
    if facts.is_dir() {
        let is_store = ZARR.iter().any(|name| path.join(name).exists());
        let why = "a folder, but no Zarr store: expected zarr.json, .zgroup or .zarray in it";
        return if is_store { Ok(Kind::Zarr) } else { Err(mismatch(why)) };
    }
    // What is read of a pipe is gone.
    if !facts.is_file() {
        return Ok(Kind::Csv);
    }
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head)).map_err(cannot)?;
    if HDF5_OFFSETS.iter().any(|&at| head.get(at..).is_some_and(|rest| rest.starts_with(HDF5))) {
        return Ok(Kind::Hdf5);
    }
    let has_end = |end| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(end));
    if head.starts_with(b"PK") && !has_end("npz") && (has_end("zip") || has_end("zarr")) {
        return Ok(Kind::Zarr);
    }
    refusal(&head, path).map_or(Ok(Kind::Csv), |why| Err(mismatch(why)))
}

/// Why a file that begins with `head` is none to import, and what to do with it instead.
fn refusal(head: &[u8], path: &Path) -> Option<String> {
    let path = word(path);
    let text = match head {
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => format!("an .npy file: npy append OUT {path} takes it"),
        [b'P', b'K', 3..=8, ..] => {
            "a zip archive: of an .npz, unzip it and npy append OUT its members; of others, open it \
                                    in Python and call npygrow.append_from(out, array)"
                .into()
        }
        [0x80, 2..=5, ..] => "a pickle, which runs code when it is read: if you trust it, load it in Python and call \
                              npygrow.append_from(out, array)"
            .into(),
        [0x1f, 0x8b, ..] => format!("compressed by gzip: zcat {path} | npy import OUT - takes text"),
        _ if head.contains(&0) || head.starts_with(b"PAR1") => {
            "neither text, HDF5 nor Zarr: open it in Python and call npygrow.append_from(out, array)".into()
        }
        _ => return None,
    };
    Some(text)
}
