"""What `Ragged` and `Dataset` share: which rows an index names, batches of them read ahead, and following."""

from __future__ import annotations

import operator
import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._native import Items, Waiter
from .errors import LatchedError

T = TypeVar("T")
Block = TypeVar("Block", covariant=True)

BLOCK = 4 << 20  # the bytes that following yields at once, unless one row takes more
PAUSE = 0.2  # how often a wait looks whether the other files are further, or all is closed


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
    if given.dtype.kind not in "iu":
        raise IndexError(f"{path}: expected integers as {what} numbers, found {given.dtype}")
    wrong = (given < -count) | (given >= count)
    if wrong.any():
        raise IndexError(f"{path}: no {what} {given[wrong][0]} among {count}")
    numbers = given.astype(np.int64)
    numbers[numbers < 0] += count
    return numbers


class Batches(Generic[T]):
    """The rows of a `Ragged` or a `Dataset`, batch by batch: an iterator, made by their `batches`.

    A thread reads the next batch while the last is worked on.
    """

    def __init__(self, path: str, batches: list[NDArray[np.int64]], read: Callable[[NDArray[np.int64]], T]) -> None:
        self._path = path
        self._read = read
        self._left = iter(batches)
        self._count = len(batches)
        self._ahead: Future[T] | None = None
        self._reader: ThreadPoolExecutor | None = None
        self._turn = threading.RLock()
        self._pid = os.getpid()

    def __iter__(self) -> Batches[T]:
        return self

    def __next__(self) -> T:
        if self._pid != os.getpid():
            if self._reader is not None:
                here = f"this is process {os.getpid()} (a fork): begin anew here"
                raise LatchedError(f"{self._path}: begun by process {self._pid}, {here}")
            self._pid, self._turn = os.getpid(), threading.RLock()
        with self._turn:
            if not self._count:
                raise StopIteration
            ahead = self._ahead or self._ask()
            self._count -= 1
            try:
                self._ahead = self._ask() if self._count else None
                return ahead.result()
            except BaseException:
                self.close()
                raise
            finally:
                if not self._count:
                    self.close()

    def _ask(self) -> Future[T]:
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, "npygrow batches")
        return self._reader.submit(self._read, next(self._left))

    def __len__(self) -> int:
        """How many batches are left."""
        return self._count

    def close(self) -> None:
        """Ends the iteration, and the reading ahead."""
        self._count, self._ahead = 0, None
        if self._reader is not None and self._pid == os.getpid():
            self._reader.shutdown(wait=False, cancel_futures=True)

    def __reduce__(self) -> Any:
        raise TypeError("batches cannot be pickled: send what they are made of")


def batches_of(
    path: str, count: int, size: int, shuffle: bool, seed: int | None, drop_last: bool
) -> tuple[NDArray[np.int64], int, np.random.Generator]:
    """All rows in the order of their batches, the size of a batch, and what else is left to chance."""
    size = operator.index(size)
    if size < 1:
        raise ValueError(f"{path}: expected batches of one row or more, found {size}")
    if seed is not None and not shuffle:
        raise ValueError(f"{path}: a seed is for shuffle=True")
    if seed is not None and not 0 <= seed < 2**64:
        raise ValueError(f"{path}: expected a seed from 0 to 2**64 - 1, found {seed}")
    chance = np.random.Generator(np.random.PCG64(random.SystemRandom().getrandbits(64) if seed is None else seed))
    order = chance.permutation(count) if shuffle else np.arange(count)
    return order[: count - count % size if drop_last else count].astype(np.int64, copy=False), size, chance


def cut(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """The order in batches."""
    return [order[at : at + size] for at in range(0, len(order), size)]


class Followed(Protocol[Block]):
    """What can be followed."""

    @property
    def closed(self) -> bool: ...
    def __len__(self) -> int: ...
    def refresh(self) -> range: ...
    def _waiter(self) -> Waiter | None: ...
    def _sizes(self, rows: range) -> NDArray[np.int64]: ...
    def take(self, indices: Any) -> Block: ...


def follow(rows: Followed[T], timeout: float | None, start: int | None) -> Iterator[T]:
    """Blocks of new rows as they are committed."""
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout must be seconds, 0 or more, not {timeout}")
    count = len(rows)
    first = count if start is None else min(count, start) if start >= 0 else max(0, count + start)
    return _following(rows, rows._waiter(), timeout, first)


def _following(rows: Followed[T], waiter: Waiter | None, timeout: float | None, first: int) -> Iterator[T]:
    began = monotonic()
    while not rows.closed:
        try:
            rows.refresh()
            count = len(rows)
            if first < count:
                last = first + _block(rows._sizes(range(first, min(count, first + BLOCK // 64))))
                block = rows.take(range(first, last))
        except ValueError:
            if rows.closed:  # by another thread, just now
                return
            raise
        if first < count:
            first = last
            yield block
            began = monotonic()
            continue
        left = PAUSE if timeout is None else timeout - (monotonic() - began)
        if left <= 0:
            return
        waiter = waiter or rows._waiter()
        if waiter is not None:
            waiter.wait(min(left, PAUSE))


def _block(sizes: NDArray[np.int64]) -> int:
    """How many rows of these sizes are yielded at once."""
    return max(1, int(np.searchsorted(np.cumsum(sizes), BLOCK, "right")))


def sizes_of(items: Items, rows: range) -> NDArray[np.int64]:
    """The bytes of each of a range of items. Offsets that go down are told when they are read."""
    values = items.values
    size = values.itemsize * int(np.prod(values.shape[1:], dtype=np.int64))
    return np.maximum(np.diff(items.offsets[rows.start : rows.stop + 1]), 0) * size
