//! What the verbs have in common: arguments, and how they say what came of a file.

use crate::folder;
use crate::info::{advice, health};
use crate::text::{STRONG, complain, paint, plain, word};
use crate::{DONE, FAILED};
use npygrow::{Error, ErrorKind, Health, MAX_HEADER_SIZE, Result, inspect};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Input {
    /// The files; one that fails does not stop the others
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(clap::Args)]
pub(crate) struct Common {
    /// Print JSON, a list of objects for several files
    #[arg(long)]
    pub(crate) json: bool,

    /// Refuse longer headers, as np.load does
    #[arg(long, value_name = "BYTES", default_value_t = MAX_HEADER_SIZE)]
    pub(crate) max_header_size: u64,
}

impl Input {
    /// Does `verb` to each file, which may draw on `err` meanwhile, and says what came of it, in `words` or as JSON with `facts`.
    pub(crate) fn each<T>(
        self,
        out: &mut dyn Write,
        err: &mut dyn Write,
        mut verb: impl FnMut(&Path, u64, &mut dyn Write) -> Result<T>,
        words: impl Fn(&T) -> String,
        facts: impl Fn(&T) -> Value,
    ) -> io::Result<i32> {
        let Input { files, common: Common { json, max_header_size } } = self;
        let mut objects = Vec::new();
        let mut status = DONE;
        for path in &files {
            let done = verb(path, max_header_size, err).map_err(|error| advised(path, error, max_header_size));
            match &done {
                _ if json => objects.push(object(path, &done, &facts)),
                Ok(done) => writeln!(out, "{}: {}", paint(STRONG, plain(path.display())), words(done))?,
                Err(error) => complain_of(err, path, error)?,
            }
            status = if done.is_err() { FAILED } else { status };
        }
        if json {
            write_json(out, objects)?;
        }
        Ok(status)
    }
}

/// Writes an object, or a list of them for several files; that of a file that failed has the keys `path` and `error`.
pub(crate) fn write_json(out: &mut dyn Write, objects: Vec<Value>) -> io::Result<()> {
    match <[Value; 1]>::try_from(objects) {
        Ok([one]) => writeln!(out, "{one}"),
        Err(several) => writeln!(out, "{}", Value::from(several)),
    }
}

/// The JSON object of a file: its path, then what came of it.
pub(crate) fn object<T>(path: &Path, found: &Result<T>, facts: impl Fn(&T) -> Value) -> Value {
    let mut object = json!({ "path": path.to_string_lossy() });
    let facts = found.as_ref().map_or_else(|error| json!({ "error": error.detail() }), facts);
    if let (Value::Object(object), Value::Object(facts)) = (&mut object, facts) {
        object.extend(facts);
    }
    object
}

/// Says on `err` why a file failed.
pub(crate) fn complain_of(err: &mut dyn Write, path: &Path, error: &Error) -> io::Result<()> {
    complain(err, format_args!("{}: {}", plain(path.display()), plain(error.detail())))
}

/// The same error, naming what to call as this command has it: the library names its own functions.
pub(crate) fn advised(path: &Path, error: Error, max_header_size: u64) -> Error {
    if path.is_dir() {
        return folder::advised(path, error);
    }
    let kind = error.kind();
    if !matches!(kind, ErrorKind::NotAppendable | ErrorKind::NeedsRecovery | ErrorKind::Unsupported) {
        return error;
    }
    let report = match inspect(path, max_header_size) {
        Ok(report) => report,
        // Without a header there is nothing to tell of it: its rows are on the move.
        Err(found) if found.kind() == ErrorKind::NeedsRecovery => {
            let call = format!("npy recover {}", word(path));
            return Error::new(
                kind,
                format!("its rows are being moved in place, or were until a crash: {call} finishes it"),
            );
        }
        Err(_) => return error,
    };
    if kind == ErrorKind::Unsupported && report.health != Health::Sequence {
        return error;
    }
    if kind == ErrorKind::NotAppendable && !report.shape.is_empty() {
        let call = format!("npy ensure-appendable {}", word(path));
        return Error::new(kind, format!("the header has no room for more rows: {call} makes room"));
    }
    let calls: Vec<_> = advice(path, &report).iter().map(|(call, gain)| format!("{call} {gain}")).collect();
    if calls.is_empty() {
        return error;
    }
    let (word, words, _) = health(&report);
    Error::new(kind, format!("{word}{words}: {}", calls.join(", ")))
}
