"""What the appenders of folders are given, as the bytes of their files: items of different length, and columns.

Everything is checked before a byte is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from ._rows import as_array, bytes_of, copy_rows, fitting, settle
from .errors import MismatchError

_Array = np.ndarray[Any, Any]
_Dtype = np.dtype[Any]
_Shape = tuple[int, ...]
_Items = tuple[_Array, _Array, str, _Shape]
"""Lengths (uint64), the values' bytes (uint8), the descr where this settles it, and the shape of a value."""

_Part = tuple[str, _Array | None, _Array, str, _Shape]
"""A column's name, the lengths of its items if it is ragged, the bytes, and as `_Items`."""

_USER = 4
"""How many calls a warning's line is away from where a dtype is settled."""


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """What a column of a `DatasetAppender` is.

    Attributes
    ----------
    dtype : numpy.dtype
        Of its rows, or of the values of its items.
    row_shape : tuple of int
        The shape of one row, or of one value of an item.
    ragged : bool
        Whether its rows are items of different length.
    """

    dtype: _Dtype
    row_shape: tuple[int, ...]
    ragged: bool


def one(item: Any, path: str, dtype: _Dtype | None, row_shape: _Shape | None, exact: bool) -> _Items:
    """One item for the files at `path`, of which `dtype` and `row_shape` may not be settled yet."""
    array = _item(item, path, dtype, row_shape)
    array, target, descr, shape = fitting(array, path, dtype, row_shape, "C", exact, stacklevel=_USER - 1)
    return np.array([len(array)], np.uint64), bytes_of(array, target), descr, shape


def many(items: Any, path: str, dtype: _Dtype | None, row_shape: _Shape | None, exact: bool) -> _Items:
    """As `one`, for all that `extend` takes."""
    return _many(items, path, dtype, row_shape, exact)


def columns(
    given: Any, path: str, known: Mapping[str, ColumnSpec], ragged: Iterable[str], has_rows: bool, exact: bool
) -> tuple[int, list[_Part]]:
    """Rows of every column. While there are none, columns may be new: those named in `ragged` are of items.

    Returns how many rows, and the parts by name.
    """
    names = _names(given, path, known, has_rows)
    counts: dict[str, int] = {}
    parts: list[_Part] = []
    for name in names:
        spec = known.get(name)
        dtype, shape = (spec.dtype, spec.row_shape) if spec else (None, None)
        where = f"{path}: column {name}"
        if spec.ragged if spec else name in ragged:
            lengths, values, descr, shape = _many(given[name], where, dtype, shape, exact)
            if dtype is None and not descr:
                raise MismatchError(f"{where}: no items, and so no dtype: give (numpy.zeros(0, dtype), [])")
            counts[name] = len(lengths)
            parts.append((name, lengths, values, descr, shape))
        else:
            array = _rows(given[name], where, spec)
            array, target, descr, shape = fitting(array, where, dtype, shape, "C", exact, stacklevel=_USER - 1)
            counts[name] = len(array)
            parts.append((name, None, bytes_of(array, target), descr, shape))
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise MismatchError(f"{path}: expected as many rows in every column, found {found}")
    return next(iter(counts.values())), parts


def _names(given: Any, path: str, known: Mapping[str, ColumnSpec], has_rows: bool) -> list[str]:
    if not isinstance(given, Mapping):
        raise MismatchError(f"{path}: expected a dict of columns and their rows, found {type(given).__name__}")
    if odd := [name for name in given if not isinstance(name, str)]:
        raise MismatchError(f"{path}: expected the columns' names, found {', '.join(map(repr, odd))}: a name is a str")
    faults = []
    if missing := sorted(set(known) - set(given)):
        faults.append(f"{', '.join(missing)} missing")
    if has_rows and (extra := sorted(set(given) - set(known))):
        faults.append(f"{', '.join(extra)} too many")
    if faults:
        raise MismatchError(f"{path}: expected the columns {', '.join(known)}: {'; '.join(faults)}")
    if not given:
        raise MismatchError(f"{path}: expected a dict of columns and their rows, found an empty one")
    return sorted(given)


def _rows(rows: Any, path: str, spec: ColumnSpec | None) -> _Array:
    try:
        return as_array(rows, path, spec.dtype if spec else None)
    except MismatchError as error:
        if spec is None and isinstance(rows, list | tuple):
            raise MismatchError(f"{error}; for items of different length name the column in ragged") from error
        raise


# Items ---------------------------------------------------------------------------------------------------------------


def _item(item: Any, path: str, dtype: _Dtype | None, row_shape: _Shape | None) -> _Array:
    """An item as an array; an empty list has no type and no shape of its own."""
    if isinstance(item, str):
        raise MismatchError(f"{path}: expected an item, found a str: give text.encode()")
    if isinstance(item, bytes | bytearray):
        _refuse_bytes(type(item).__name__, path, dtype)
        return np.frombuffer(item, np.uint8)
    if isinstance(item, list | tuple) and not item:
        return np.zeros((0, *(row_shape or ())), dtype)
    return as_array(item, path, dtype)


def _refuse_bytes(found: str, path: str, dtype: _Dtype | None) -> None:
    if dtype is not None and dtype != np.uint8:
        raise MismatchError(f"{path}: expected values of dtype {dtype}, found {found}, which are uint8: give an array")


def _many(items: Any, path: str, dtype: _Dtype | None, row_shape: _Shape | None, exact: bool) -> _Items:
    pair = _pair(items, path, dtype)
    if pair is None:
        return _listed(items, path, dtype, row_shape, exact)
    values = as_array(pair[0], path, dtype)
    array, target, descr, shape = fitting(values, path, dtype, row_shape, "C", exact, stacklevel=_USER)
    return _lengths(pair[1], len(array), path), bytes_of(array, target), descr, shape


def _listed(items: Any, path: str, dtype: _Dtype | None, row_shape: _Shape | None, exact: bool) -> _Items:
    if isinstance(items, str | bytes | bytearray) or not isinstance(items, Iterable):
        raise MismatchError(f"{path}: expected items, found {type(items).__name__}: give a list of them, or append one")
    items = list(items)
    told = next((item for item in items if not (isinstance(item, list | tuple) and not item)), None)
    if told is None and dtype is None:
        # Nothing says what the values are: no item can be written, and for no item nothing need be.
        if items:
            raise MismatchError(f"{path}: the items are empty lists, which have no dtype: give numpy.zeros(0, dtype)")
        return np.zeros(0, np.uint64), np.zeros(0, np.uint8), "", row_shape or ()
    descr = ""
    if told is not None and (dtype is None or row_shape is None):
        array = _item(told, path, dtype, row_shape)
        if row_shape is None:
            row_shape = array.shape[1:]
        if dtype is None:
            descr, dtype = settle(array.dtype, path, stacklevel=_USER)
    assert dtype is not None
    row_shape = row_shape or ()
    arrays = []
    for number, item in enumerate(items):
        if not (type(item) is np.ndarray and item.dtype == dtype and item.ndim and item.shape[1:] == row_shape):
            where = f"{path}: item {number}"
            array = _item(item, where, dtype, row_shape)
            item = fitting(array, where, dtype, row_shape, "C", exact, stacklevel=_USER)[0]
        arrays.append(item)
    lengths = np.fromiter(map(len, arrays), np.uint64, len(arrays))
    values = np.zeros((int(lengths.sum()), *row_shape), dtype)
    start = 0
    for array in arrays:
        copy_rows(values[start : start + len(array)], array)
        start += len(array)
    return lengths, bytes_of(values, dtype), descr, row_shape


def _lengths(lengths: Any, values: int, path: str) -> _Array:
    """Lengths that are those of so many values."""
    array = np.asarray(lengths)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise MismatchError(
            f"{path}: expected (values, lengths), a length for each item, "
            f"found lengths of dtype {array.dtype} and shape {array.shape}: give items as a list"
        )
    if array.size and not (0 <= int(array.min()) and int(array.max()) <= values):
        odd = next(length for length in array.tolist() if not 0 <= length <= values)
        raise MismatchError(f"{path}: expected lengths of {values} values in all, found one of {odd}")
    found = int(array.sum(dtype=np.uint64))
    if found != values:
        raise MismatchError(f"{path}: expected lengths of {values} values in all, found {found}")
    return np.ascontiguousarray(array, np.uint64)


# Items that lie one after the other already --------------------------------------------------------------------------


def _pair(items: Any, path: str, dtype: _Dtype | None) -> tuple[Any, Any] | None:
    """(values, lengths) of what has them; None for a plain iterable."""
    if isinstance(items, tuple):
        if len(items) != 2:
            raise MismatchError(f"{path}: a tuple is (values, lengths), found one of {len(items)}: give items as a list")
        return items
    if type(items) is np.ndarray and items.ndim > 1:
        count, length = items.shape[:2]
        return items.reshape(count * length, *items.shape[2:]), np.full(count, length)
    if type(items).__module__.partition(".")[0] == "awkward":
        return _awkward(items, path)
    if hasattr(items, "__arrow_c_array__") or hasattr(items, "__arrow_c_stream__"):
        return _arrow(items, path, dtype)
    return None


def _awkward(items: Any, path: str) -> tuple[_Array, _Array]:
    awkward = import_module("awkward")
    layout = awkward.to_layout(awkward.to_packed(awkward.without_parameters(items)))
    if layout.is_numpy and layout.purelist_depth > 1:
        layout = layout.to_RegularArray()
    if not layout.is_list:
        raise MismatchError(f"{path}: expected an awkward array of lists, found {items.type}")
    layout = layout.to_ListOffsetArray64(True)
    offsets = np.asarray(layout.offsets)
    try:
        values = awkward.to_numpy(layout.content[: offsets[-1]], allow_missing=False)
    except ValueError as error:
        raise MismatchError(f"{path}: expected items of one row shape without missing values, found {items.type}") from error
    return values, np.diff(offsets)


def _arrow(items: Any, path: str, dtype: _Dtype | None) -> tuple[_Array, _Array]:
    try:
        pyarrow = import_module("pyarrow")
    except ImportError as error:
        text = f"{path}: {type(items).__name__} is read through pyarrow, which is not installed: give (values, lengths)"
        raise MismatchError(text) from error
    is_array = isinstance(items, pyarrow.Array) or hasattr(items, "__arrow_c_array__")
    array = pyarrow.array(items) if is_array else pyarrow.chunked_array(items).combine_chunks()
    types = pyarrow.types
    kind = array.type
    if array.null_count:
        raise MismatchError(f"{path}: expected items, found {array.null_count} nulls: call fill_null or drop_null first")
    for is_text in ("is_string", "is_large_string", "is_string_view", "is_binary", "is_binary_view", "is_fixed_size_binary"):
        if getattr(types, is_text, lambda _: False)(kind):
            array = array.cast(pyarrow.large_binary())
    if types.is_large_binary(array.type):
        _refuse_bytes(f"an Arrow array of {kind}", path, dtype)
        _, offsets, data = array.buffers()
        offsets = np.frombuffer(offsets or b"\0" * 8, np.int64)[array.offset : array.offset + len(array) + 1]
        values = np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]]
        return values, np.diff(offsets)
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        raise MismatchError(f"{path}: expected an Arrow array of lists, strings or bytes, found {kind}")
    lengths = array.value_lengths().to_numpy(zero_copy_only=False)
    values, shape = array.flatten(), []
    while types.is_fixed_size_list(values.type):
        shape.append(values.type.list_size)
        values = _whole(values, path).flatten()
    if types.is_nested(values.type):
        raise MismatchError(f"{path}: expected an Arrow array of lists of numbers, found {kind}")
    return _whole(values, path).to_numpy(zero_copy_only=False).reshape(-1, *shape), lengths


def _whole(values: Any, path: str) -> Any:
    if values.null_count:
        raise MismatchError(f"{path}: expected values, found {values.null_count} nulls among them: call fill_null first")
    return values
