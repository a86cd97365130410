"""Which rows of a folder an index names."""

from __future__ import annotations

import operator
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Rows(Protocol):
    """What can be indexed."""

    @property
    def path(self) -> str: ...
    def __len__(self) -> int: ...


def one(rows: Rows, index: Any, what: str, expected: str) -> int:
    """The number that an index names, from the end where it is negative."""
    try:
        number = operator.index(index)
    except TypeError:
        found, others = type(index).__name__, "a slice, or a list or array of integers or a mask"
        raise TypeError(f"{rows.path}: expected {expected}, {others}, found {found}") from None
    count = len(rows)
    if not -count <= number < count:
        raise IndexError(f"{rows.path}: no {what} {number} among {count}")
    return number + count if number < 0 else number


def many(path: str, indices: ArrayLike, count: int, what: str, *, masks: bool) -> NDArray[np.int64]:
    """The numbers that a list or an array of indices names, or a mask: all of them are there."""
    given = np.asarray(indices)
    if given.ndim != 1:
        raise IndexError(f"{path}: expected {what}s along one axis, found an index of {given.ndim} axes")
    if given.dtype == bool and masks:
        if len(given) != count:
            raise IndexError(f"{path}: expected a mask of {count} {what}s, found one of {len(given)}")
        return np.flatnonzero(given).astype(np.int64, copy=False)
    if given.size == 0:
        return np.empty(0, np.int64)
    if given.dtype == bool:
        raise IndexError(f"{path}: expected integers as {what} numbers, found a mask: index with it, as in rows[mask]")
    if given.dtype.kind not in "iu":
        raise IndexError(f"{path}: expected integers as {what} numbers, found {given.dtype}")
    wrong = (given < -count) | (given >= count)
    if wrong.any():
        raise IndexError(f"{path}: no {what} {given[wrong][0]} among {count}")
    numbers = given.astype(np.int64)
    numbers[numbers < 0] += count
    return numbers
