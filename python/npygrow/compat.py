"""What code written for npy-append-array needs: change the import, nothing else."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ._native import Appender, ensure_appendable, is_appendable, needs_recovery, recover

__all__ = ["NpyAppendArray", "ensure_appendable", "is_appendable", "needs_recovery", "recover"]

_Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

_T = TypeVar("_T")

_DEFERRED = 1 << 20
"""Bytes that wait for the header where it is not rewritten with every append."""


class NpyAppendArray:
    """Appends arrays to an ``.npy`` file; new code has `Appender`.

    The first array decides which axis grows: the last one if it is Fortran-contiguous and not C-contiguous.

    Parameters
    ----------
    filename : str, bytes or os.PathLike
        The file.
    delete_if_exists : bool
        Replace a file that is there, at the first append.
    rewrite_header_on_append : bool
        Whether each append is seen by readers at once; if not, `update_header` and `close` publish.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from npygrow import NpyAppendArray
    >>> path = os.path.join(tempfile.mkdtemp(), "out.npy")
    >>> with NpyAppendArray(path) as npaa:
    ...     npaa.append(np.array([[1, 2], [3, 4]]))
    ...     npaa.append(np.array([[5, 6]]))
    >>> np.load(path).tolist()
    [[1, 2], [3, 4], [5, 6]]
    """

    def __init__(
        self, filename: _Path, delete_if_exists: bool = False, rewrite_header_on_append: bool = True
    ) -> None:
        self.filename = filename
        self._mode: Literal["a", "w"] = "w" if delete_if_exists else "a"
        self._buffering = 0 if rewrite_header_on_append else _DEFERRED
        self._first = threading.RLock()
        self._appender = self._open(None)

    def _open(self, order: Literal["F"] | None) -> Appender:
        return Appender(self.filename, mode=self._mode, buffering=self._buffering, order=order)

    def append(self, arr: ArrayLike) -> None:
        """Appends an array along the growth axis."""
        if self._appender.dtype is not None:
            self._appender.append(arr)
            return
        # Nothing is there yet: the file of the first array is opened anew, in its order. One thread's array is the first.
        with self._first:
            if self._appender.dtype is None and not self._appender.closed and _is_fortran(arr):
                self._appender.close()
                self._appender = self._open("F")
            self._appender.append(arr)

    def update_header(self) -> None:
        """Publishes what was appended."""
        self._appender.commit()

    def close(self) -> None:
        """Publishes what was appended and closes the file. Closing twice is fine."""
        self._appender.close()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, every append included."""
        return _known(self._appender.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype."""
        return _known(self._appender.dtype)

    @property
    def fortran_order(self) -> bool:
        """Whether the last axis grows."""
        _known(self._appender.dtype)
        return self._appender.order == "F"

    def __enter__(self) -> NpyAppendArray:
        self._appender.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _is_fortran(arr: Any) -> bool:
    return isinstance(arr, np.ndarray) and arr.flags.fnc


def _known(fact: _T | None) -> _T:
    if fact is None:
        raise AttributeError("known from the first append on")
    return fact
