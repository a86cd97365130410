//! `npygrow.concat`.

use npygrow::{ConcatOptions, OnExists};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use std::path::PathBuf;

use crate::arguments::{DURABILITIES, header_size, position, time};
use crate::dtype::{FsPath, word};
use crate::state::Interrupt;

const ON_EXISTS: [(&str, OnExists); 3] =
    [("error", OnExists::Error), ("append", OnExists::Append), ("replace", OnExists::Replace)];

/// Joins files into one to which rows can be appended, without their rows passing through memory; or folders into a folder.
///
/// Every input is looked at before a byte is written, and all that do not fit are named. The output is there whole or not
/// at all. Blocks are shared with an input where the file system can (XFS, btrfs) and the rows before it fill whole
/// blocks; else they are copied, in the memory of one block.
///
/// Folders, all of a `Ragged` or all of a `Dataset` with the same columns, are joined in the same way: offsets go on from where
/// those before end.
///
/// Parameters
/// ----------
/// inputs : iterable of str, bytes or os.PathLike
///     The files, in this order, or the folders; of a file of several arrays all of them. Bytes after the last row of one are left out, and told.
/// output : str, bytes or os.PathLike
///     The file to make, or the folder.
/// on_exists : {"error", "append", "replace"}
///     What to do with an output that exists. An empty file counts as none, and so does an empty folder. A folder is replaced
///     in one step, if there is nothing but columns in it and the system can.
/// consume : bool
///     For files: delete each input as soon as its rows are on the disk in the output, for disks that cannot hold both. A kill or a
///     power cut at any point loses no row and doubles none: the same call again, or one with the inputs that are left,
///     finishes. Until then the output can be read, and nobody can append to it. An output to be replaced is given up at
///     once.
/// axis : int, optional
///     For files: the axis to join along, by default the growth axis: the first in C order, the last in Fortran order. Along another
///     one the rows go through memory, in blocks of at most 4 MiB, into a new file.
/// durability : {"process", "ordered", "power"}
///     What the rows survive once it returns: the end of the process, or a power cut too.
/// progress : callable, optional
///     Called now and then as ``progress(done, total)``, in bytes. Its exception ends the work, as Ctrl-C does: nothing is
///     left behind, or, with `consume`, what the next call finishes.
/// lock_timeout : float, optional
///     Seconds to wait for an appender that holds the output, or an input to be consumed. By default it is refused at once.
/// max_header_size : int
///     Refuse longer headers, as `numpy.load` does.
///
/// Returns
/// -------
/// Joined or FolderJoined
///
/// Raises
/// ------
/// MismatchError
///     Inputs do not fit each other or the output, or the output is among them.
/// FileExistsError, FileNotFoundError
///     The output exists, an input does not.
/// NeedsRecoveryError, NotAppendableError, FormatError
///     A file cannot be read, or the output not be appended to; the text says what to call.
/// LockedError
///     An appender holds the output, or an input to be consumed.
///
/// Examples
/// --------
/// >>> import os, tempfile
/// >>> import numpy as np, npygrow as ng
/// >>> folder = tempfile.mkdtemp()
/// >>> parts = [os.path.join(folder, f"part-{i}.npy") for i in range(3)]
/// >>> for i, part in enumerate(parts):
/// ...     np.save(part, np.full((2, 3), i))
/// >>> joined = ng.concat(parts, os.path.join(folder, "all.npy"))
/// >>> joined.inputs, joined.shape
/// (3, (6, 3))
#[pyfunction]
#[pyo3(signature = (
    inputs, output, *, on_exists="error", consume=false, axis=None, durability="process", progress=None,
    lock_timeout=None, max_header_size=10_000
))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn concat<'py>(
    py: Python<'py>,
    inputs: &Bound<'py, PyAny>,
    output: FsPath,
    on_exists: &str,
    consume: bool,
    axis: Option<&Bound<'py, PyAny>>,
    durability: &str,
    progress: Option<Py<PyAny>>,
    lock_timeout: Option<f64>,
    #[pyo3(from_py_with = header_size)] max_header_size: u64,
) -> PyResult<Bound<'py, PyAny>> {
    if inputs.is_instance_of::<PyString>() || inputs.is_instance_of::<PyBytes>() {
        return Err(PyTypeError::new_err("inputs must be an iterable of paths, not one path: put it in a list"));
    }
    let path = |input: PyResult<Bound<'py, PyAny>>| Ok(input?.extract::<FsPath>()?.0);
    let inputs = inputs.try_iter()?.map(path).collect::<PyResult<Vec<PathBuf>>>()?;
    let interrupt = Interrupt::default();
    let poll = interrupt.clone();
    let mut options = ConcatOptions::default()
        .on_exists(word("on_exists", on_exists, &ON_EXISTS)?)
        .consume(consume)
        .durability(word("durability", durability, &DURABILITIES)?)
        .on_wait(move || poll.poll())
        .max_header_size(max_header_size);
    if let Some(axis) = axis {
        options = options.axis(position(axis)?);
    }
    if let Some(seconds) = lock_timeout {
        options = options.lock_timeout(time("lock_timeout", seconds)?);
    }
    let mut tell = |done: u64, total: u64| {
        interrupt.call(|py| progress.as_ref().map_or(Ok(()), |progress| progress.call1(py, (done, total)).map(drop)))
    };
    let reports = py.import("npygrow.reports")?;
    let told = |tails: &[(PathBuf, u64)]| {
        PyTuple::new(py, tails.iter().map(|(path, bytes)| (path.to_string_lossy().into_owned(), *bytes)))
    };
    if inputs.iter().any(|input| input.is_dir()) {
        let joined = py.detach(|| npygrow::concat_folders(&inputs, &output.0, &options, &mut tell));
        let joined = joined.map_err(|error| interrupt.raise(error))?;
        let fields =
            (output.text(), joined.rows, joined.rows_before, joined.inputs, joined.shared, told(&joined.tails)?);
        return reports.getattr("FolderJoined")?.call1(fields);
    }
    let joined = py.detach(|| npygrow::concat_with(&inputs, &output.0, &options, &mut tell));
    let joined = joined.map_err(|error| interrupt.raise(error))?;
    let fields = PyDict::new(py);
    fields.set_item("path", output.text())?;
    fields.set_item("shape", PyTuple::new(py, &joined.shape)?)?;
    fields.set_item("rows", joined.rows)?;
    fields.set_item("rows_before", joined.rows_before)?;
    fields.set_item("inputs", joined.inputs)?;
    fields.set_item("inputs_before", joined.inputs_before)?;
    fields.set_item("shared", joined.shared)?;
    fields.set_item("tails", told(&joined.tails)?)?;
    reports.getattr("Joined")?.call((), Some(&fields))
}
