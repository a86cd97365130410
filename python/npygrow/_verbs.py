"""Whole appends in one call."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal

from numpy.typing import ArrayLike

from ._native import Appender


def append(path: str | bytes | os.PathLike[str] | os.PathLike[bytes], rows: ArrayLike) -> range:
    """Opens a file, appends rows to it, or makes it of them, and closes it.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The file.
    rows : array_like
        As for `Appender.append`.

    Returns
    -------
    range
        The numbers of the rows.

    Examples
    --------
    >>> import os, tempfile
    >>> import npygrow as ng
    >>> path = os.path.join(tempfile.mkdtemp(), "ids.npy")
    >>> ng.append(path, [1, 2]), ng.append(path, [3])
    (range(0, 2), range(2, 3))
    """
    with Appender(path) as appender:
        written = appender.append(rows)
    assert written is not None, "only appenders that take turns keep their row numbers back"
    return written


def append_from(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    source: Any,
    *,
    start: int = 0,
    progress: Callable[[int, int | None], object] | None = None,
) -> range:
    """Opens a file, appends what a source holds, a block at a time, or makes it of that, and closes it.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The file.
    source : array_like or iterator
        As for `Appender.append_from`: a dataset of h5py, an array of zarr or dask, whatever can be sliced.
    start : int
        Leave out so many rows of the source.
    progress : callable, optional
        Called after each block with the rows done and those in all, None for an iterator.

    Returns
    -------
    range
        The numbers of the rows.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, npygrow as ng
    >>> path = os.path.join(tempfile.mkdtemp(), "ids.npy")
    >>> ng.append_from(path, (np.arange(n) for n in (2, 3)))
    range(0, 5)
    """
    with Appender(path) as appender:
        written = appender.append_from(source, start=start, progress=progress)
    assert written is not None, "only appenders that take turns keep their row numbers back"
    return written


def save(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes], array: ArrayLike, *, order: Literal["C", "F"] = "C"
) -> None:
    """Saves an array as a file that can grow: all of it or nothing, and on the disk when it returns.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The file; one that is there is replaced.
    array : array_like
        With at least one axis.
    order : {"C", "F"}
        Which axis can grow later: "C", the first; "F", the last, in Fortran order.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, npygrow as ng
    >>> path = os.path.join(tempfile.mkdtemp(), "ids.npy")
    >>> ng.save(path, np.arange(3))
    >>> ng.append(path, [3, 4])
    range(3, 5)
    """
    with Appender(path, mode="w", order=order, durability="power") as appender:
        appender.append(array)
