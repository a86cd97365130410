"""The slow path of `Appender.append`: whatever is not already the file's own bytes.

Everything is checked before a byte is written, and nothing holds more than one block beside the input.
"""

from __future__ import annotations

import ast
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .errors import FormatError, MismatchError

_Array = np.ndarray[Any, Any]
_Dtype = np.dtype[Any]
_Check = Callable[[_Array, _Dtype], Any]
_Rule = tuple[tuple[str, ...], _Dtype, _Check]
"""Which values of a field do not survive the cast to its dtype in the file."""

BLOCK = 4 << 20
"""Bytes handed over at a time."""

_CHECKED = 256 << 10
"""Bytes checked at a time: a check makes copies, which then stay in the processor's cache."""


def prepare(
    rows: Any, path: str, dtype: _Dtype | None, row_shape: tuple[int, ...] | None, order: str, exact: bool
) -> tuple[int, str, tuple[int, ...], Iterator[_Array]]:
    """Checks `rows` against a file, of which `dtype` and `row_shape` may not be settled yet.

    Returns the number of rows, the file's descr where this settles it, the row shape and the blocks to write:
    one-dimensional uint8 arrays, each valid until the next is asked for.
    """
    array, target, descr, shape = fitting(as_array(rows, path, dtype), path, dtype, row_shape, order, exact, stacklevel=3)
    return len(array), descr, shape, _blocks(array, target)


def fitting(
    array: _Array,
    path: str,
    dtype: _Dtype | None,
    row_shape: tuple[int, ...] | None,
    order: str,
    exact: bool,
    stacklevel: int,
) -> tuple[_Array, _Dtype, str, tuple[int, ...]]:
    """`array`, the growth axis first, whose every value survives the cast to the dtype given beside it; then as `prepare`."""
    shape = shape_of_row(array.shape, path, row_shape, order)
    descr = ""
    if dtype is None:
        descr, dtype = settle(array.dtype, path, stacklevel=stacklevel)
    if _is_stored_as(array.dtype, dtype):
        array = array.view(dtype)
    # From here on the growth axis is the first, and the file's bytes are the array's in C order.
    array = array if order == "C" else array.T
    _check(array, dtype, checks(array.dtype, dtype, path, exact), path)
    return array, dtype, descr, shape


def shape_of_row(shape: tuple[int, ...], path: str, expected: tuple[int, ...] | None, order: str) -> tuple[int, ...]:
    """The shape of a row in an array of `shape`; refused unless it is the `expected` one."""
    if not shape:
        raise MismatchError(f"{path}: expected one or more rows, found a single value (0-d): append [value]")
    found = shape[1:] if order == "C" else shape[:-1]
    if expected is None or found == expected:
        return found
    text = f"{path}: expected rows of shape {expected}, found an array of shape {shape}"
    if shape == expected:
        raise MismatchError(f"{text}, which is one row: append {'row[None]' if order == 'C' else 'row[..., None]'}")
    raise MismatchError(f"{text}, whose rows have shape {found}")


def checks(source: _Dtype, target: _Dtype, path: str, exact: bool) -> list[_Rule]:
    """What the values of a cast must be held to; refused where no value would do."""
    if source == target or _is_stored_as(source, target):
        return []
    if exact:
        raise MismatchError(
            f"{path}: casting='exact' takes rows of dtype {target} only, found {source}: "
            f"cast them first, or open with casting='checked'"
        )
    return list(_checks(source, target, (), path))


def as_array(rows: Any, path: str, dtype: _Dtype | None) -> _Array:
    """`rows` as NumPy's own array, of a dtype that .npy holds; `dtype` is the file's, where it is settled."""
    is_dask = hasattr(rows, "__dask_graph__")
    if is_dask:
        rows = rows.compute()  # NumPy would forget the mask.
    # A list's arrays lose theirs alike.
    if any(map(_is_masked, rows if isinstance(rows, list | tuple) else [rows])):
        filled = "dask.array.ma.filled(rows, value)" if is_dask else "rows.filled(value)"
        raise MismatchError(f"{path}: a masked array has values that .npy cannot hold: append {filled}")
    if isinstance(rows, np.ma.MaskedArray):
        rows = rows.data
    try:
        array = np.asarray(rows)
    except ValueError as error:
        raise MismatchError(f"{path}: expected an array or what makes one, found {type(rows).__name__}: {error}") from error
    refuse_pickles(array.dtype, path)
    if array.size == 0 and dtype is not None and isinstance(rows, list | tuple):
        return array.astype(dtype)  # An empty list has no type of its own.
    return array


def _is_masked(rows: Any) -> bool:
    # Records have a mask for each field.
    return isinstance(rows, np.ma.MaskedArray) and bool(np.ascontiguousarray(np.ma.getmask(rows)).view(bool).any())


# Which dtype goes into a file.


def settle(dtype: _Dtype, path: str, stacklevel: int = 1) -> tuple[str, _Dtype]:
    """The descr that a file of `dtype` gets, and the dtype it is read back as."""
    refuse_pickles(dtype, path)
    known = stored(dtype)
    if known is None:
        raise MismatchError(
            f"{path}: the fields of dtype {dtype} overlap or are out of order, which .npy cannot say: "
            f"call numpy.lib.recfunctions.repack_fields(rows) first"
        )
    if known != dtype:
        view = "this dtype" if dtype.names is not None else repr(dtype.name)
        text = f"{path}: .npy has no name for dtype {dtype}: stored as {known.str}, to be read with .view({view})"
        warnings.warn(text, UserWarning, stacklevel=stacklevel + 1)
        return repr(known.str), known
    return repr(np.lib.format.dtype_to_descr(dtype)), dtype


def loaded(descr: str, path: str) -> _Dtype:
    """NumPy's dtype for a header's descr."""
    try:
        return _loaded(descr)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{path}: NumPy {np.__version__} on this machine has no dtype for {descr}: {error}") from error


def _load(descr: str) -> _Dtype:
    return np.lib.format.descr_to_dtype(ast.literal_eval(descr))


_loaded = functools.lru_cache(maxsize=256)(_load)


def stored(dtype: _Dtype) -> _Dtype | None:
    """`dtype` if NumPy reads it back from its own descr, else plain bytes; None for fields that no descr can say."""
    if dtype.isbuiltin == 1:
        return dtype
    try:
        if _loaded(repr(dtype.str if dtype.names is None else dtype.descr)) == dtype:
            return dtype
    except TypeError:
        pass
    except ValueError:
        return None
    return np.dtype((np.void, dtype.itemsize))


def _is_stored_as(source: _Dtype, target: _Dtype) -> bool:
    """Whether `target` is the plain bytes that stand for `source` in a file."""
    return target.kind == "V" and target.names is None and source != target and stored(source) == target


def refuse_pickles(dtype: _Dtype, path: str) -> None:
    if dtype.kind == "T":
        raise MismatchError(
            f"{path}: StringDType has no place in .npy: append numpy.array(rows.tolist()), "
            f"or rows.astype('U20') with a number of characters that the longest does not exceed"
        )
    if dtype.hasobject:
        raise MismatchError(
            f"{path}: expected numbers, strings or records, found Python objects (dtype {dtype}), "
            f"which .npy can only pickle: convert them with .astype first"
        )


# The checked casts: a rule for each pair of dtypes, which says which values do not survive.


def _check(array: _Array, target: _Dtype, rules: list[_Rule], path: str) -> None:
    """Refuses the cast of `array` to `target` unless every value survives it."""
    if not rules:
        return
    done = 0
    for part in _pieces(array, max(1, _CHECKED // max(1, array.dtype.itemsize, target.itemsize))):
        for row, field, value in sorted(_misfits(part, rules), key=lambda found: found[0]):
            row = (done + row) // (array.size // len(array))
            raise MismatchError(
                f"{path}: row {row} of the array does not fit: {value}{_in(field)} would change "
                f"from dtype {array.dtype} to the file's {target}"
            )
        done += part.size


def _misfits(part: _Array, rules: list[_Rule]) -> Iterator[tuple[int, tuple[str, ...], str]]:
    for field, target, check in rules:
        values = functools.reduce(lambda record, name: record[name], field, part)
        with np.errstate(all="ignore"):
            bad = check(values, target)
        if bad.any():
            first = int(bad.argmax())
            value = values.flat[first]
            yield first * part.size // bad.size, field, repr(value.item()) if values.dtype.kind in "SU" else str(value)


def _checks(source: _Dtype, target: _Dtype, field: tuple[str, ...], path: str) -> Iterator[_Rule]:
    if source.names is not None and target.names is not None:
        if set(source.names) != set(target.names):
            missing = sorted(set(target.names) - set(source.names))
            extra = sorted(set(source.names) - set(target.names))
            raise MismatchError(
                f"{path}: expected rows of dtype {target}{_in(field)}, found {source}: "
                f"fields missing {missing}, fields too many {extra}"
            )
        for name in target.names:
            yield from _checks(source[name], target[name], (*field, name), path)
    elif source.shape or target.shape:
        if source.shape != target.shape:
            raise MismatchError(f"{path}: expected dtype {target}{_in(field)}, found {source}: the shapes differ")
        yield from _checks(source.base, target.base, field, path)
    elif not np.can_cast(source, target, "equiv"):
        check = _rule(source, target)
        if check is _never:
            text = f"{path}: expected rows of dtype {target}{_in(field)}, found {source}, which does not always fit"
            how = "to the type that its bytes stand for" if target.kind == "V" else f"with .astype({target.str!r})"
            raise MismatchError(f"{text}: cast them {how}")
        if check is not _always:
            yield field, target, check


def _in(field: tuple[str, ...]) -> str:
    return f" in field {'.'.join(field)!r}" if field else ""


def _rule(source: _Dtype, target: _Dtype) -> _Check:
    """Which values of `source` a cast to `target` would change; a table of the two kinds."""
    safe = np.can_cast(source, target)
    if source.isbuiltin == 2 and target.kind != "V":  # bfloat16 and its like know what they fit in.
        return _always if safe else _never
    match source.kind + target.kind:
        case "bi" | "bu" | "bf" | "bc":
            return _always
        case "ii" | "iu" | "ui" | "uu":
            return _always if safe else _outside
        case "if" | "uf" | "ic" | "uc":
            part = target.itemsize // (2 if target.kind == "c" else 1)
            return _always if source.itemsize < part else _inexact
        case "ff" | "cc" | "fc":
            return _always if safe else _infinite
        case "SS" | "UU":
            return _always if safe else _changed
        case "SU" if safe:
            return _not_ascii
        case "MM" | "mm" if safe:
            return _out_of_time
        case "VV" if safe and source.names is None and target.names is None:
            return _always
    return _never


def _always(values: _Array, target: _Dtype) -> Any:
    return np.zeros(values.shape, bool)


def _never(values: _Array, target: _Dtype) -> Any:
    return np.ones(values.shape, bool)


def _outside(values: _Array, target: _Dtype) -> Any:
    limits = np.iinfo(target)
    return (values < limits.min) | (values > limits.max)


def _inexact(values: _Array, target: _Dtype) -> Any:
    cast = values.astype(target).real
    # Processors disagree on what becomes of a float just past the integers' end.
    past = cast >= 2.0 ** (8 * values.itemsize - (values.dtype.kind == "i"))
    return past | (cast.astype(values.dtype) != values)


def _infinite(values: _Array, target: _Dtype) -> Any:
    return np.isfinite(values) & ~np.isfinite(values.astype(target))


def _changed(values: _Array, target: _Dtype) -> Any:
    return values.astype(target) != values


def _not_ascii(values: _Array, target: _Dtype) -> Any:
    return (np.ascontiguousarray(values)[..., None].view("u1") > 127).any(axis=-1)


def _out_of_time(values: _Array, target: _Dtype) -> Any:
    back = values.astype(target).astype(values.dtype)
    return (back != values) & ~np.isnat(values)


# From any layout to the file's bytes.


def _blocks(array: _Array, dtype: _Dtype) -> Iterator[_Array]:
    if array.size * dtype.itemsize == 0:
        return
    if array.dtype == dtype and array.flags.c_contiguous:
        raw = array.reshape(-1).view(np.uint8)
        for start in range(0, raw.size, BLOCK):
            yield raw[start : start + BLOCK]
        return
    items = min(array.size, max(1, BLOCK // dtype.itemsize))
    raw = np.zeros(items * dtype.itemsize, np.uint8)
    stage = raw.view(dtype)
    for part in _pieces(array, items):
        copy_rows(stage[: part.size].reshape(part.shape), part)
        yield raw[: part.size * dtype.itemsize]


def _pieces(array: _Array, limit: int) -> Iterator[_Array]:
    """Cuts `array` into parts of at most `limit` elements, in C order."""
    if array.size <= limit:
        yield array
    elif step := limit * len(array) // array.size:
        for start in range(0, len(array), step):
            yield array[start : start + step]
    else:
        for row in array:
            yield from _pieces(row, limit)


def bytes_of(array: _Array, dtype: _Dtype) -> _Array:
    """The file's bytes for `array`: its own where they are that, else of a copy."""
    if array.dtype != dtype or not array.flags.c_contiguous:
        copy = np.zeros(array.shape, dtype)  # zeros between the fields
        copy_rows(copy, array)
        array = copy
    return array.reshape(-1).view(np.uint8) if array.nbytes else np.zeros(0, np.uint8)


def copy_rows(out: _Array, part: _Array) -> None:
    """Copies by field name, where NumPy would go by position."""
    if out.dtype.names is None or out.dtype == part.dtype:
        np.copyto(out, part, casting="unsafe")
    else:
        for name in out.dtype.names:
            copy_rows(out[name], part[name])
