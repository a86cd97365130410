//! What Python lends the command: the libraries that read HDF5 and Zarr.

use npygrow::{Dropped, Error, ErrorKind};
use npygrow_cli::{Imported, Job, Kind};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::PathBuf;

use crate::arguments::{DURABILITIES, MODES, ON_TAIL};

/// Does a job of `npy import`; `progress` is told of the bytes done and those in all.
pub(crate) fn import(job: &Job<'_>, progress: &mut dyn FnMut(u64, u64)) -> Imported {
    Python::attach(|py| run(py, job, progress)).unwrap_or_else(|error| Imported {
        failures: vec![(job.output.into(), Error::new(ErrorKind::Unsupported, error.to_string()))],
        ..Imported::default()
    })
}

fn run(py: Python<'_>, job: &Job<'_>, progress: &mut dyn FnMut(u64, u64)) -> PyResult<Imported> {
    let options = PyDict::new(py);
    options.set_item("mode", name(&MODES, job.mode))?;
    options.set_item("durability", name(&DURABILITIES, job.durability))?;
    options.set_item("turns", job.turns)?;
    options.set_item("lock_timeout", job.lock_timeout.map(|timeout| timeout.as_secs_f64()))?;
    options.set_item("on_tail", name(&ON_TAIL, job.on_tail))?;
    options.set_item("max_header_size", job.max_header_size)?;
    let kind = |kind| if kind == Kind::Zarr { "zarr" } else { "hdf5" };
    let sources = job.sources.iter().map(|source| {
        let (name, path) = (source.name.to_string_lossy(), source.path.to_string_lossy());
        (name, path, source.array.as_deref(), kind(source.kind))
    });
    let sources: Vec<_> = sources.collect();
    let output = job.output.to_string_lossy();
    let work = py.import("npygrow._import")?.getattr("Import")?.call1((output, sources, job.start, options))?;
    for done in work.try_iter()? {
        let (done, total) = done?.extract()?;
        progress(done, total);
    }
    let (rows, bytes) = work.getattr("dropped")?.extract()?;
    let failures: Vec<(PathBuf, String, String)> = work.getattr("failures")?.extract()?;
    Ok(Imported {
        appended: work.getattr("appended")?.extract()?,
        rows: work.getattr("rows")?.extract()?,
        dropped: Dropped { rows, bytes },
        failures: failures.into_iter().map(|(path, class, text)| (path, failure(&class, text))).collect(),
    })
}

/// The word that the constructor of `Appender` has for a value.
fn name<T: PartialEq>(words: &[(&'static str, T)], value: T) -> Option<&'static str> {
    words.iter().find(|(_, of)| *of == value).map(|(name, _)| *name)
}

/// The crate's error for an exception: the command advises on some kinds in words of its own.
fn failure(class: &str, text: String) -> Error {
    let kind = match class {
        "NeedsRecoveryError" => ErrorKind::NeedsRecovery,
        "NotAppendableError" => ErrorKind::NotAppendable,
        "LockedError" => ErrorKind::Locked,
        "MismatchError" => ErrorKind::Mismatch,
        _ => ErrorKind::Unsupported,
    };
    Error::new(kind, text)
}
