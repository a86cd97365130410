"""`Appender.append_from`: rows of whatever can be sliced, a block at a time, each an append of its own."""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from typing import Any

import numpy as np

from ._native import Appender
from ._rows import BLOCK, as_array, checks, refuse_pickles, shape_of_row, stored
from .errors import MismatchError

_Rows = tuple[tuple[int, ...], np.dtype[Any]]
"""The shape and the dtype of rows."""

Progress = Callable[[int, int | None], object]


def append_from(appender: Appender, source: Any, exact: bool, start: int, progress: Progress | None) -> range | None:
    """Appends what `source` holds from row `start` on; `exact` is the appender's casting."""
    work = Work(appender, source, exact, start)
    try:
        for done in work:
            if progress is not None:
                progress(done, work.total)
    except BaseException as error:
        if work.total is None:
            text = f"{len(work.written)} items of the iterator, {work.done} rows, are appended"
        else:
            text = f"{work.done} of the source's {work.total} rows are appended: start={work.done} goes on"
        error.add_note(f"{appender.path}: {text}")
        if work.done and isinstance(error, MismatchError):
            error.add_note(f"row 0 of that array is row {work.done} of the source")
        raise
    return _joined(work.written, len(appender))


class Work:
    """Checks a source against an appender's file; iterating appends a block at a time and gives the rows done.

    A file that is still to be made will be what `first` makes it, the work that comes before.
    """

    def __init__(
        self, appender: Appender, source: Any, exact: bool, start: int, first: Work | None = None
    ) -> None:
        self.appender = appender
        self.written: list[range | None] = []
        self.total: int | None = None
        """The source's rows; None for an iterator, which cannot be started again."""
        self.row_size = 0
        self.rows: _Rows | None = None
        """What the file's rows are, by then; None for an iterator."""
        self._ends = [start]
        if isinstance(source, Iterator):
            if start:
                raise ValueError("start is for sources that can be sliced: take so many rows out of the iterator first")
            self._blocks: Iterator[Any] = (as_array(item, appender.path, appender.dtype) for item in source)
            return
        source = _sliceable(source, appender)
        total, self.rows = _check(source, appender, exact, None if first is None else first.rows)
        self.total = total
        if not 0 <= start <= total:
            raise ValueError(f"start must be a row of the source or its end, 0 to {total}, not {start}")
        self.row_size = _dtype(source).itemsize * math.prod(source.shape) // max(1, total)
        self._blocks = _blocks(source, appender, start, total, self.row_size)

    @property
    def done(self) -> int:
        """Rows of the source that are appended or were left out."""
        return self._ends[len(self.written)]

    def __iter__(self) -> Iterator[int]:
        # An interruption raises between two steps of Python's: before an append or after its count, never between them.
        for _ in map(self.written.append, map(self.appender.append, self._sized())):
            yield self.done

    def _sized(self) -> Iterator[Any]:
        axis = 0 if self.appender.order == "C" else -1
        for block in self._blocks:
            self._ends.append(self._ends[-1] + (block.shape[axis] if block.ndim else 0))
            yield block


def _joined(written: Sequence[range | None], end: int) -> range | None:
    """The ranges as one; None where they are not known yet, or others' rows lie between."""
    whole = range(end, end)
    for i, rows in enumerate(written):
        if rows is None or (i and rows.start != whole.stop):
            return None
        whole = range(whole.start if i else rows.start, rows.stop)
    return whole


def _sliceable(source: Any, appender: Appender) -> Any:
    """`source` itself, or the array that a list or another array-like makes."""
    path = appender.path
    if isinstance(source, str | bytes | os.PathLike):
        raise MismatchError(
            f"{path}: expected an array, found a path: open it with npygrow.open, h5py.File or zarr.open first"
        )
    if hasattr(source, "keys") and not hasattr(source, "__array__"):
        names = ", ".join(repr(name) for name in islice(source.keys(), 5))
        raise MismatchError(f"{path}: expected an array, found a {type(source).__name__} of several ({names}): pick one")
    is_masked = isinstance(source, np.ma.MaskedArray)
    if is_masked or not all(hasattr(source, name) for name in ("shape", "dtype", "__getitem__")):
        return as_array(source, path, appender.dtype)
    return source


# What is known of a source before it is read.


def _check(source: Any, appender: Appender, exact: bool, rows: _Rows | None) -> tuple[int, _Rows]:
    """Refuses other rows than the file has, or will have; returns how many there are, and what the file then has."""
    path, order, have, target = appender.path, appender.order, appender.shape, appender.dtype
    expected = have and (have[1:] if order == "C" else have[:-1])
    if rows is not None:
        expected, target = rows
    if source.shape is None:
        raise MismatchError(f"{path}: expected one or more rows, found a dataset without a shape (h5py.Empty)")
    if any(math.isnan(size) for size in source.shape):
        raise MismatchError(f"{path}: the source does not know its shape {source.shape}: call its compute_chunk_sizes()")
    dtype = _dtype(source)
    _refuse_objects(dtype, path)
    # An HDF5 array type adds axes when it is read.
    shape = (*source.shape, *dtype.shape)
    row_shape = shape_of_row(shape, path, expected, order)
    if dtype.shape and order == "F":
        raise MismatchError(f"{path}: in Fortran order the last axis grows, which is one of the source's dtype {dtype}")
    if target is not None:
        checks(dtype.base, target, path, exact)
    else:
        target = stored(dtype.base) or dtype.base
    return int(shape[0 if order == "C" else -1]), (row_shape, target)


def _dtype(source: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(source.dtype)
    except TypeError:  # torch has dtypes of its own.
        dtype = np.asarray(source[:0]).dtype
    return dtype


def _refuse_objects(dtype: np.dtype[Any], path: str) -> None:
    """Refuses what .npy does not hold; h5py says in the metadata what its Python objects are."""
    for leaf in _leaves(dtype):
        facts: Mapping[str, Any] = leaf.metadata or {}
        if leaf.kind == "T" or facts.get("vlen") in (str, bytes):
            raise MismatchError(
                f"{path}: expected strings of one size, found strings of any length (dtype {dtype}): open the Appender "
                f"with a dtype for the longest, such as 'S20' or 'U20', and append_from an iterator of arrays of strings"
            )
        if "vlen" in facts:
            raise MismatchError(
                f"{path}: expected rows of one shape, found rows of any length (of {facts['vlen']}), which .npy cannot "
                f"hold: append the values to one file and the lengths to another"
            )
        if "ref" in facts:
            raise MismatchError(
                f"{path}: expected values, found references (dtype {dtype}), which only their own HDF5 file knows"
            )
    refuse_pickles(dtype, path)


def _without_encodings(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """`dtype` without the encodings that h5py notes beside strings. The names of an enum are a loss, and NumPy says so."""
    has_names = any("enum" in (leaf.metadata or {}) for leaf in _leaves(dtype))
    return dtype if has_names else np.lib.format.drop_metadata(dtype)


def _leaves(dtype: np.dtype[Any]) -> Iterator[np.dtype[Any]]:
    if dtype.base.names is None:
        yield dtype.base
    else:
        for name in dtype.base.names:
            yield from _leaves(dtype.base[name])


# Where it is cut.


def _blocks(source: Any, appender: Appender, start: int, total: int, row_size: int) -> Iterator[Any]:
    """The source's rows in arrays that end where its chunks do, of `BLOCK` bytes at most or one row of chunks."""
    axis = 0 if appender.order == "C" else -1
    for first, end in _cuts(start, total, max(1, BLOCK // max(1, row_size)), _chunk_ends(source, axis, total)):
        block = source[first:end] if axis == 0 else source[..., first:end]
        block = as_array(block, appender.path, appender.dtype)
        block = block.view(_without_encodings(block.dtype))
        if block.shape[axis : axis + 1 or None] != (end - first,):
            raise MismatchError(
                f"{appender.path}: rows {first} to {end} of the source have shape {block.shape}: "
                f"it cannot be sliced by row numbers, so append an array made of it"
            )
        yield block


def _chunk_ends(source: Any, axis: int, total: int) -> Sequence[int]:
    """Where the source's chunks end along the growth axis; one size for all (h5py, zarr), or each its own (dask)."""
    chunks = getattr(source, "chunks", None)
    along = chunks[axis] if isinstance(chunks, tuple) and len(chunks) == len(source.shape) else 1
    if isinstance(along, Iterable):
        return list(accumulate(along))
    size = max(1, int(along))
    return range(size, total + size, size)


def _cuts(start: int, total: int, most: int, ends: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Cuts rows into ranges of at most `most`, each to the end of a chunk; one to the next such end is the least."""
    while True:
        end = total
        if total - start > most:
            end = min(total, ends[max(bisect_right(ends, start + most) - 1, bisect_right(ends, start))])
        yield start, end
        if end == total:
            return
        start = end
