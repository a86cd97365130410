//! The verbs that work on a path.

use npygrow::{Health, RecoverOptions, Recovery, Report, Room, Tail};
use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyTuple};
use std::ffi::OsString;
use std::path::PathBuf;

use crate::arguments::header_size;
use crate::dtype::{FsPath, order_name, to_numpy, word};
use crate::errors::raise;
use crate::import::import;

const TAILS: [(&str, Tail); 2] = [("keep", Tail::Keep), ("drop", Tail::Drop)];
const LAYOUTS: [(&str, Room); 3] = [("auto", Room::Auto), ("compact", Room::Compact), ("fast", Room::Fast)];

/// Says what a file is and whether it is well. Changes nothing and takes no lock.
///
/// Parameters
/// ----------
/// path : str, bytes or os.PathLike
///     The file, or the folder of a `Ragged` or a `Dataset`.
/// max_header_size : int
///     Refuse longer headers, as `numpy.load` does.
///
/// Returns
/// -------
/// Report or FolderReport
///
/// Raises
/// ------
/// FormatError
///     Its header cannot be read.
/// NeedsRecoveryError
///     Its rows are half moved: ``ensure_appendable(filename, inplace=True)`` is at work or was interrupted.
///
/// Examples
/// --------
/// >>> import os, tempfile
/// >>> import numpy as np, npygrow as ng
/// >>> path = os.path.join(tempfile.mkdtemp(), "pose.npy")
/// >>> np.save(path, np.zeros((2, 3)))
/// >>> report = ng.inspect(path)
/// >>> report.rows, report.health
/// (2, 'clean')
#[pyfunction]
#[pyo3(signature = (path, *, max_header_size=10_000))]
pub(crate) fn inspect(
    py: Python<'_>,
    path: FsPath,
    #[pyo3(from_py_with = header_size)] max_header_size: u64,
) -> PyResult<Bound<'_, PyAny>> {
    match py.detach(|| npygrow::inspect(&path.0, max_header_size)) {
        Ok(found) => report(py, &path.text(), found),
        Err(_) if path.0.is_dir() => inspect_folder(py, &path, max_header_size),
        Err(error) => Err(raise(error)),
    }
}

fn report<'py>(py: Python<'py>, path: &str, report: Report) -> PyResult<Bound<'py, PyAny>> {
    let (health, tail, torn_bytes) = match report.health {
        Health::Clean => ("clean", (0, 0), 0),
        Health::Tail { rows, bytes } => ("tail", (rows, bytes), 0),
        Health::Truncated { torn, .. } => ("truncated", (0, 0), torn),
        Health::Sequence => ("sequence", (0, 0), 0),
        other => return Err(PyNotImplementedError::new_err(format!("{path}: {other:?}"))),
    };
    let fields = PyDict::new(py);
    fields.set_item("path", path)?;
    fields.set_item("dtype", to_numpy(py, &report.dtype, path)?)?;
    fields.set_item("order", order_name(report.order))?;
    fields.set_item("shape", PyTuple::new(py, report.shape)?)?;
    fields.set_item("version", report.version)?;
    fields.set_item("header_len", report.header_len)?;
    fields.set_item("room", report.room)?;
    fields.set_item("ours", report.ours)?;
    fields.set_item("rows", report.rows)?;
    fields.set_item("rows_on_disk", report.rows_on_disk)?;
    fields.set_item("row_size", report.row_size)?;
    fields.set_item("file_size", report.file_size)?;
    fields.set_item("health", health)?;
    fields.set_item("tail_rows", tail.0)?;
    fields.set_item("tail_bytes", tail.1)?;
    fields.set_item("torn_bytes", torn_bytes)?;
    fields.set_item("notes", PyTuple::new(py, report.notes)?)?;
    fields.set_item("advice", report.advice)?;
    py.import("npygrow.reports")?.getattr("Report")?.call((), Some(&fields))
}

fn inspect_folder<'py>(py: Python<'py>, path: &FsPath, max_header_size: u64) -> PyResult<Bound<'py, PyAny>> {
    let found = py.detach(|| npygrow::inspect_folder(&path.0, max_header_size)).map_err(raise)?;
    let reports = py.import("npygrow.reports")?;
    let columns = found.columns.into_iter().map(|column| {
        let (values, offsets) = files(path, &column.name, column.offsets.is_some());
        let offsets = column.offsets.map(|found| report(py, &offsets, found)).transpose()?;
        let fields = (column.name, column.rows, report(py, &values, column.values)?, offsets);
        reports.getattr("ColumnReport")?.call1(fields)
    });
    let columns = PyTuple::new(py, columns.collect::<PyResult<Vec<_>>>()?)?;
    reports.getattr("FolderReport")?.call1((path.text(), found.rows, columns, found.advice))
}

/// The paths of a column's files; the second only for ragged ones.
fn files(folder: &FsPath, column: &str, is_ragged: bool) -> (String, String) {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    match is_ragged {
        true => {
            let column = folder.0.join(column);
            (text(column.join("values.npy")), text(column.join("offsets.npy")))
        }
        false => (text(folder.0.join(format!("{column}.npy"))), String::new()),
    }
}

/// Makes the header count what the file holds, so that every reader can read it and rows can be appended.
///
/// Everything is on the disk when it returns. A file that is well is left alone. In a folder every file is mended, then all
/// columns are cut to the rows that every one of them has, items only as far as their offsets go up and the values reach. Where
/// rows would go that can be read, and no crash of an append can have left the files so, that has to be asked for:
/// ``tail="drop"``.
///
/// Parameters
/// ----------
/// filename : str, bytes or os.PathLike
///     The file, or the folder of a `Ragged` or a `Dataset`.
/// zerofill_incomplete : bool
///     Complete a torn last row with zero bytes instead of cutting it.
/// tail : {"keep", "drop"}
///     Make rows of what follows the last counted row, or cut it; in a folder, also what not every column has.
/// max_header_size : int
///     Refuse longer headers, as `numpy.load` does.
///
/// Returns
/// -------
/// Recovery or FolderRecovery
///
/// Raises
/// ------
/// LockedError
///     An appender holds the file.
/// NeedsRecoveryError
///     Columns of a folder hold rows that others do not: the text says what each holds, and how to cut them.
/// FormatError
///     Its header cannot be read, or it is several arrays in one file.
///
/// Examples
/// --------
/// >>> import os, tempfile
/// >>> import numpy as np, npygrow as ng
/// >>> path = os.path.join(tempfile.mkdtemp(), "ids.npy")
/// >>> np.save(path, np.arange(10, dtype="u2"))
/// >>> os.truncate(path, os.path.getsize(path) - 5)
/// >>> recovery = ng.recover(path)
/// >>> recovery.rows, recovery.lost, recovery.cut
/// (7, 3, 1)
#[pyfunction]
#[pyo3(signature = (filename, zerofill_incomplete=false, *, tail="keep", max_header_size=10_000))]
pub(crate) fn recover<'py>(
    py: Python<'py>,
    filename: FsPath,
    zerofill_incomplete: bool,
    tail: &str,
    #[pyo3(from_py_with = header_size)] max_header_size: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let options = RecoverOptions { zerofill_incomplete, tail: word("tail", tail, &TAILS)?, max_header_size };
    match py.detach(|| npygrow::recover(&filename.0, options)) {
        Ok(done) => recovery(py, &filename.text(), &done),
        Err(_) if filename.0.is_dir() => recover_folder(py, &filename, options),
        Err(error) => Err(raise(error)),
    }
}

fn recovery<'py>(py: Python<'py>, path: &str, done: &Recovery) -> PyResult<Bound<'py, PyAny>> {
    let fields = [
        ("rows_before", done.rows_before),
        ("rows", done.rows),
        ("from_tail", done.from_tail),
        ("zero_rows", done.zero_rows),
        ("zero_run", done.zero_run),
        ("lost", done.lost),
        ("cut", done.cut),
        ("filled", done.filled),
    ];
    py.import("npygrow.reports")?.getattr("Recovery")?.call((path,), Some(&fields.into_py_dict(py)?))
}

fn recover_folder<'py>(py: Python<'py>, path: &FsPath, options: RecoverOptions) -> PyResult<Bound<'py, PyAny>> {
    let done = py.detach(|| npygrow::recover_folder(&path.0, options)).map_err(raise)?;
    let reports = py.import("npygrow.reports")?;
    let columns = done.columns.into_iter().map(|column| {
        let (values, offsets) = files(path, &column.name, column.offsets.is_some());
        let offsets = column.offsets.map(|done| recovery(py, &offsets, &done)).transpose()?;
        let fields = (column.name, column.held, column.cut, recovery(py, &values, &column.values)?, offsets);
        reports.getattr("ColumnRecovery")?.call1(fields)
    });
    let columns = PyTuple::new(py, columns.collect::<PyResult<Vec<_>>>()?)?;
    reports.getattr("FolderRecovery")?.call1((path.text(), done.rows, columns))
}

/// Makes sure that rows can be appended to a file as long as it lives.
///
/// A file whose header lacks room is replaced by a copy with room, or rewritten in place; mode, owner and, by a copy, times
/// are kept, symbolic links are followed, and a crash leaves the old file, the new one, or one that the next call finishes.
///
/// Parameters
/// ----------
/// filename : str, bytes or os.PathLike
///     The file, or the folder of a `Ragged` or a `Dataset`.
/// inplace : bool
///     Move the rows within the file, for a disk too full for a copy: slow, and takes at most 8 MiB beside the file. Until
///     it is done no reader takes the file. A kill or a power cut at any point loses nothing: the next `Appender`, `recover`
///     or `ensure_appendable` finishes. What was mapped before must be mapped again.
/// layout : {"auto", "compact", "fast"}
///     "compact" copies the rows; "fast" shares their blocks where the file system can, and makes the header 4096 bytes
///     longer; "auto" does that for files of 256 MiB and more. Of no account with `inplace`.
/// max_header_size : int
///     Refuse longer headers, as `numpy.load` does.
///
/// Returns
/// -------
/// bool
///     True: it is appendable now.
///
/// Raises
/// ------
/// LockedError
///     An appender holds the file.
/// NeedsRecoveryError, NotAppendableError, FormatError
///     It is broken, has no axis to grow along, or cannot be read.
///
/// Examples
/// --------
/// >>> import os, tempfile
/// >>> import numpy as np, npygrow as ng
/// >>> path = os.path.join(tempfile.mkdtemp(), "ids.npy")
/// >>> np.save(path, np.arange(10))
/// >>> ng.ensure_appendable(path)
/// True
#[pyfunction]
#[pyo3(signature = (filename, inplace=false, *, layout="auto", max_header_size=10_000))]
pub(crate) fn ensure_appendable(
    py: Python<'_>,
    filename: FsPath,
    inplace: bool,
    layout: &str,
    #[pyo3(from_py_with = header_size)] max_header_size: u64,
) -> PyResult<bool> {
    let layout = word("layout", layout, &LAYOUTS)?;
    let room = if inplace { Room::InPlace } else { layout };
    py.detach(|| match filename.0.is_dir() {
        true => npygrow::ensure_folder_appendable(&filename.0, room, max_header_size),
        false => npygrow::ensure_appendable(&filename.0, room, max_header_size),
    })
    .map_err(raise)?;
    Ok(true)
}

/// Whether rows can be appended to a file as it is, or to every file of a folder.
///
/// Parameters
/// ----------
/// filename : str, bytes or os.PathLike
///     The file, or the folder of a `Ragged` or a `Dataset`.
/// max_header_size : int
///     Refuse longer headers, as `numpy.load` does.
///
/// Returns
/// -------
/// bool
#[pyfunction]
#[pyo3(signature = (filename, *, max_header_size=10_000))]
pub(crate) fn is_appendable(
    py: Python<'_>,
    filename: FsPath,
    #[pyo3(from_py_with = header_size)] max_header_size: u64,
) -> PyResult<bool> {
    py.detach(|| match filename.0.is_dir() {
        true => npygrow::is_folder_appendable(&filename.0, max_header_size),
        false => npygrow::is_appendable(&filename.0, max_header_size),
    })
    .map_err(raise)
}

/// Whether a file holds more or fewer bytes than its header counts, or its rows are half moved; or a folder's files do not go
/// together.
///
/// Parameters
/// ----------
/// filename : str, bytes or os.PathLike
///     The file, or the folder of a `Ragged` or a `Dataset`.
/// max_header_size : int
///     Refuse longer headers, as `numpy.load` does.
///
/// Returns
/// -------
/// bool
#[pyfunction]
#[pyo3(signature = (filename, *, max_header_size=10_000))]
pub(crate) fn needs_recovery(
    py: Python<'_>,
    filename: FsPath,
    #[pyo3(from_py_with = header_size)] max_header_size: u64,
) -> PyResult<bool> {
    py.detach(|| match filename.0.is_dir() {
        true => npygrow::folder_needs_recovery(&filename.0, max_header_size),
        false => npygrow::needs_recovery(&filename.0, max_header_size),
    })
    .map_err(raise)
}

/// Runs the command `npy` with the arguments of a process, its name first, and returns the exit status.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, argv: Vec<OsString>) -> i32 {
    py.detach(|| npygrow_cli::run_with(argv, Some(&import)))
}
