//! What the verbs that take files have in common.

use crate::text::{complain, plain};
use npygrow::{Error, MAX_HEADER_SIZE, Result};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Input {
    /// The files; one that fails does not stop the others
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Print JSON, a list of objects for several files
    #[arg(long)]
    pub(crate) json: bool,

    /// Refuse longer headers, as np.load does
    #[arg(long, value_name = "BYTES", default_value_t = MAX_HEADER_SIZE)]
    pub(crate) max_header_size: u64,
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
