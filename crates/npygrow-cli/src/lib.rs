//! The command `npy`, as a library: the Python package brings the same command.
//!
//! ```
//! let (mut out, mut err) = (Vec::new(), Vec::new());
//! let status = npygrow_cli::main_with(["npy", "--version"].map(Into::into), &mut out, &mut err);
//! assert_eq!((status, out.starts_with(b"npy "), err.is_empty()), (0, true, true));
//! ```

mod append;
mod bar;
mod cells;
mod concat;
mod ensure_appendable;
mod folder;
mod follow;
mod head;
mod import;
mod index;
mod info;
mod input;
mod interrupt;
mod number;
mod print;
mod recover;
mod shell;
mod shortest;
mod slice;
mod tail;
mod text;
mod truncate;
mod value;

use anstream::{AutoStream, ColorChoice};
use clap::{Parser, Subcommand};
pub use import::{Imported, Importer, Job, Kind, Source};
use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal as _, Write};

/// The exit statuses of every verb.
const DONE: i32 = 0;
const FOUND: i32 = 1;
const FAILED: i32 = 2;

const EXAMPLES: &str = "\
Examples:
  npy info pose.npy                what it holds and how it is
  npy tail -f pose.npy             its last rows, and those that come
  npy append all.npy day*.npy      rows of other files
  npy import all.npy old.h5:/run1  rows of CSV, HDF5 or Zarr
  sensors | npy append log.npy - --csv --dtype '<f4' --row-shape 3
  npy concat all.npy 'part-*.npy'  one file of many
  npy recover pose.npy             after a crash or a cut download

Exit status: 0 done, 1 something found (--check), 2 wrong usage or failure.";

/// NumPy files that grow: look at them, append to them, mend them
#[derive(Parser)]
#[command(name = "npy", bin_name = "npy", version, after_help = EXAMPLES)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
struct Npy {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Info(info::Info),
    Head(head::Head),
    Tail(tail::Tail),
    Slice(slice::Slice),
    Follow(follow::Follow),
    Append(append::Append),
    Import(import::Import),
    Concat(concat::Concat),
    EnsureAppendable(ensure_appendable::EnsureAppendable),
    Truncate(truncate::Truncate),
    Recover(recover::Recover),
    Completions(shell::Completions),
    Man(shell::Man),
}

impl Verb {
    /// Whether it prints what is in files, byte for byte: what looks like a colour there is none.
    fn prints_rows(&self) -> bool {
        matches!(self, Verb::Head(_) | Verb::Tail(_) | Verb::Slice(_) | Verb::Follow(_))
    }
}

/// What is known of the streams.
struct Screen {
    /// `err` is a terminal, on which progress can be drawn.
    is_watched: bool,
    /// The columns of `out`, if it is a terminal.
    width: Option<usize>,
}

/// Runs the command on the arguments of a process, its name first, and returns the exit status: 0 done, 1 something found,
/// 2 wrong usage or failure. Prints to the process's own streams, in colours where they are terminals that take them.
pub fn run(args: impl IntoIterator<Item = OsString>) -> i32 {
    run_with(args, None)
}

/// The same for a program that can read HDF5 and Zarr, and lends that to `npy import`.
pub fn run_with(args: impl IntoIterator<Item = OsString>, importer: Option<&Importer<'_>>) -> i32 {
    interrupt::own_the_process();
    let npy = Npy::try_parse_from(args);
    let out = io::stdout();
    let prints_rows = npy.as_ref().is_ok_and(|npy| npy.verb.prints_rows());
    let colours = if prints_rows { ColorChoice::AlwaysAnsi } else { AutoStream::choice(&out) };
    let screen = Screen { is_watched: io::stderr().is_terminal(), width: text::columns(&out) };
    main_on(npy, &mut AutoStream::new(out.lock(), colours), &mut anstream::stderr().lock(), screen, importer)
}

/// The same with streams of the caller's, who strips the ANSI colours where they are not wanted, as `anstream`'s do.
pub fn main_with(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    main_on(Npy::try_parse_from(args), out, err, Screen { is_watched: false, width: None }, None)
}

fn main_on(
    npy: Parsed,
    out: &mut dyn Write,
    err: &mut dyn Write,
    screen: Screen,
    importer: Option<&Importer<'_>>,
) -> i32 {
    let mut err = Forgiving(err);
    let done = dispatch(npy, out, &mut err, screen, importer);
    let done = done.and_then(|status| forgive(out.flush(), ()).map(|()| status));
    done.unwrap_or_else(|error| {
        // Nobody is left to tell when this fails too.
        let _ = text::complain(&mut err, format_args!("cannot write the output: {error}"));
        FAILED
    })
}

type Parsed = Result<Npy, clap::Error>;

fn dispatch(
    npy: Parsed,
    out: &mut dyn Write,
    err: &mut dyn Write,
    screen: Screen,
    importer: Option<&Importer<'_>>,
) -> io::Result<i32> {
    let Screen { is_watched, width } = screen;
    match npy {
        Ok(Npy { verb }) => match verb {
            // These end when nobody reads on; the others finish their work.
            Verb::Head(head) => head.run(out, err, width),
            Verb::Tail(tail) => tail.run(out, err, width),
            Verb::Slice(slice) => slice.run(out, err, width),
            Verb::Follow(follow) => follow.run(out, err, width),
            Verb::Info(info) => info.run(&mut Forgiving(out), err),
            Verb::Append(append) => append.run(&mut Forgiving(out), err, is_watched),
            Verb::Import(import) => import.run(&mut Forgiving(out), err, is_watched, importer),
            Verb::Concat(concat) => concat.run(&mut Forgiving(out), err, is_watched),
            Verb::EnsureAppendable(ensure_appendable) => ensure_appendable.run(&mut Forgiving(out), err, is_watched),
            Verb::Truncate(truncate) => truncate.run(&mut Forgiving(out), err),
            Verb::Recover(recover) => recover.run(&mut Forgiving(out), err),
            Verb::Completions(completions) => completions.run(&mut Forgiving(out)),
            Verb::Man(man) => man.run(&mut Forgiving(out)),
        },
        Err(answer) => {
            let text = answer.render().ansi().to_string();
            if answer.use_stderr() {
                err.write_all(text.as_bytes())?
            } else {
                Forgiving(out).write_all(text.as_bytes())?
            }
            Ok(answer.exit_code())
        }
    }
}

/// A pipe that nobody reads any more is no failure: the work goes on, and its own status is what counts.
struct Forgiving<'a>(&'a mut dyn Write);

impl Write for Forgiving<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        forgive(self.0.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        forgive(self.0.flush(), ())
    }
}

fn forgive<T>(result: io::Result<T>, done: T) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(done),
        other => other,
    }
}
