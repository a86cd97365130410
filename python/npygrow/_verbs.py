"""Whole appends in one call."""

from __future__ import annotations

import os
from typing import Literal

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
