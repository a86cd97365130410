"""What `Ragged` and `Dataset` share: a mapped folder that can be followed, closed and sent to another process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import monotonic
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._native import Columns, Items, Waiter

Block = TypeVar("Block")
Self = TypeVar("Self", bound="Folder[Any]")

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

BLOCK = 4 << 20  # the bytes that following yields at once, unless one row takes more
PAUSE = 0.2  # how often a wait looks whether the other files are further, or all is closed


class Folder(Generic[Block]):
    """The rows of a mapped folder: items, or rows of columns."""

    __slots__ = ("__weakref__",)

    @property
    def _mapped(self) -> Items | Columns:
        raise NotImplementedError

    def _sizes(self, rows: range) -> NDArray[np.int64]:
        """The bytes of each of a range of rows."""
        raise NotImplementedError

    def take(self, indices: Any) -> Block:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._mapped)

    def refresh(self) -> range:
        """Looks for rows that were appended since, and maps them.

        Returns
        -------
        range
            The numbers of the new rows.
        """
        return self._mapped.refresh()

    def follow(self, timeout: float | None = None, *, start: int | None = None) -> Iterator[Block]:
        """Waits for new rows, and yields them in blocks as they are committed.

        As `Array.follow`: this object is refreshed as rows are yielded, and `close` ends the iteration.

        Parameters
        ----------
        timeout : float, optional
            End the iteration when there was no new row for so many seconds. By default it never ends.
        start : int, optional
            The first row to yield, as in a slice. By default ``len(self)``: the rows that are new.

        Yields
        ------
        what `take` gives
            One row or more, at most 4 MiB of them: copies.

        Raises
        ------
        MismatchError
            A file was replaced or cut.
        """
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout must be seconds, 0 or more, not {timeout}")
        count = len(self)
        first = count if start is None else min(count, start) if start >= 0 else max(0, count + start)
        return self._following(self._mapped.waiter(), timeout, first)

    def _following(self, waiter: Waiter | None, timeout: float | None, first: int) -> Iterator[Block]:
        began = monotonic()
        while not self.closed:
            try:
                self.refresh()
                count = len(self)
                if first < count:
                    last = first + _block(self._sizes(range(first, min(count, first + BLOCK // 64))))
                    block = self.take(range(first, last))
            except ValueError:
                if self.closed:  # by another thread, just now
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
            waiter = waiter or self._mapped.waiter()
            if waiter is not None:
                waiter.wait(min(left, PAUSE))

    def close(self) -> None:
        """Gives the files back, once no array over them is left. Closing twice is fine."""
        self._mapped.close()

    def __enter__(self: Self) -> Self:
        len(self._mapped)
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def path(self) -> str:
        """The path, as it was given."""
        return self._mapped.path

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._mapped.closed


def _block(sizes: NDArray[np.int64]) -> int:
    """How many rows of these sizes are yielded at once."""
    return max(1, int(np.searchsorted(np.cumsum(sizes), BLOCK, "right")))


def sizes_of(items: Items, rows: range) -> NDArray[np.int64]:
    """The bytes of each of a range of items. Offsets that go down are told when they are read."""
    values = items.values
    size = values.itemsize * int(np.prod(values.shape[1:], dtype=np.int64))
    return np.maximum(np.diff(items.offsets[rows.start : rows.stop + 1]), 0) * size
