"""`Dataset`: several columns of one length."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._elsewhere import awkward, awkward_rows, texts
from ._folder import Folder, Path, sizes_of
from ._index import many, one
from ._native import Array, Arrow, Batches, Columns, Items
from ._ragged import Ragged
from .errors import MismatchError


class Dataset(Folder[dict[str, Any]]):
    """The columns of a folder, mapped: all with the rows that every one of them has.

    A column is a file ``NAME.npy`` of rows of one size, or a folder ``NAME`` of a `Ragged`. A row is there once every
    column has it, so that all have one length at any time.

    `len` is the number of rows and iterating yields them, as torch and others expect of a dataset; the mapping of names
    to columns is `columns`. An index gives a dict with each column's part: of an integer one row, of a slice arrays
    over the mapping (a `Ragged` for a ragged column), of a list, an array or a mask of indices what `take` gives. Rows
    lie along the first axis, whatever the order of the file. A name gives a column. Libraries that take Arrow's data
    take it as a table. It is a context manager; a pickle of it names the folder and the rows, and holds none.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The folder.
    max_header_size : int
        Refuse longer headers, as `numpy.load` does.

    Raises
    ------
    MismatchError
        There is no column.
    FormatError, NeedsRecoveryError
        As `open`, for any column.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, npygrow as ng
    >>> path = tempfile.mkdtemp()
    >>> ng.save(os.path.join(path, "image.npy"), np.zeros((3, 8, 8), "u1"))
    >>> ng.save(os.path.join(path, "label.npy"), np.array([4, 5, 6, 7]))
    >>> run = ng.Dataset(path)
    >>> len(run), list(run.columns), run["label"][:].tolist()
    (3, ['image', 'label'], [4, 5, 6])
    >>> row = run[1]
    >>> row["image"].shape, row["label"].item()
    ((8, 8), 5)
    """

    __slots__ = ("_columns",)
    __module__ = "npygrow"

    _columns: Columns

    def __init__(self, path: Path, *, max_header_size: int = 10_000) -> None:
        self._columns = Columns(path, max_header_size)

    @classmethod
    def _of(cls, columns: Columns) -> Dataset:
        self = cls.__new__(cls)
        self._columns = columns
        return self

    @property
    def _mapped(self) -> Columns:
        return self._columns

    def take(self, indices: ArrayLike) -> dict[str, Any]:
        """Copies rows by their numbers: in any order, several times, from the end where they are negative.

        Parameters
        ----------
        indices : array_like of int
            The rows.

        Returns
        -------
        dict
            By column: an ndarray of shape ``(n, *row_shape)``; of a ragged column what `Ragged.take` gives.

        Raises
        ------
        IndexError
            A row is not there.
        """
        return self._take(indices, masks=False)

    def batches(
        self,
        size: int,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        drop_last: bool = False,
        bucket: int | None = None,
        by: str | None = None,
    ) -> Batches[dict[str, Any]]:
        """Iterates over the rows as counted now, in batches, the next of which is read while you work on the last.

        Parameters
        ----------
        size : int
            The rows of a batch; the last one may have fewer.
        shuffle : bool
            Take all rows in a random order.
        seed : int, optional
            The same order for the same seed, from 0 to 2**64 - 1, as that of as many rows of an `Array` or a `Ragged`; by
            default another each time.
        drop_last : bool
            Leave out the rows at the end of the order that fill no batch.
        bucket : int, optional
            Put rows together whose items are of like length, as in `Ragged.batches`.
        by : str, optional
            The ragged column by whose lengths; it may be left out where there is one alone.

        Returns
        -------
        Batches
            An iterator of what `take` gives; its `len` is the number of batches left, its `close` ends it.

        Raises
        ------
        MismatchError, FormatError
            A file was cut while it was read; offsets go down, or past the values. It ends the iteration.

        Examples
        --------
        >>> import os, tempfile
        >>> import numpy as np, npygrow as ng
        >>> path = tempfile.mkdtemp()
        >>> ng.save(os.path.join(path, "label.npy"), np.array([4, 5, 6]))
        >>> [batch["label"].tolist() for batch in ng.Dataset(path).batches(2)]
        [[4, 5], [6]]
        """
        return self._columns.batches(size, shuffle, seed, drop_last, bucket, by)

    def to_arrow(self, *, text: str | Iterable[str] = ()) -> Arrow:
        """The columns for libraries that take Arrow's tables, over the mapping.

        pyarrow, polars, DuckDB and others take this object itself; this is for columns of text, and for a second reader of
        the same rows. See `Ragged.to_arrow` for what is checked and what is refused.

        Parameters
        ----------
        text : str or iterable of str
            The ragged columns that are text in UTF-8.

        Returns
        -------
        Arrow
            An object for others alone, by Arrow's PyCapsule interface.

        Raises
        ------
        KeyError
            There is no such column.
        FormatError, MismatchError
            As `Ragged.to_arrow`.

        Examples
        --------
        >>> import os, tempfile
        >>> import numpy as np, npygrow as ng
        >>> path = tempfile.mkdtemp()
        >>> ng.save(os.path.join(path, "label.npy"), np.array([4, 5, 6]))
        >>> hasattr(ng.Dataset(path), "__arrow_c_stream__")  # pyarrow.table(run), polars.DataFrame(run)
        True
        """
        return self._columns.arrow(texts(self.path, self._columns.shared()[1], text), True)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self._columns.arrow([], False).__arrow_c_schema__()

    def to_awkward(self, *, text: str | Iterable[str] = ()) -> Any:
        """An awkward array of records over the mapping, which it keeps: nothing is copied.

        Parameters
        ----------
        text : str or iterable of str
            The ragged columns that are text in UTF-8.

        Returns
        -------
        awkward.Array

        Raises
        ------
        KeyError
            There is no such column.
        ImportError, FormatError, MismatchError
            As `Ragged.to_awkward`.
        """
        rows, columns = self._columns.shared()
        names = texts(self.path, columns, text)
        layouts = [_awkward(column, name in names) for name, column in columns.items()]
        return awkward().Array(awkward().contents.RecordArray(layouts, list(columns), length=rows))

    def __dask_tokenize__(self) -> tuple[object, ...]:
        return "npygrow.Dataset", self._columns.__reduce__()[1]

    @property
    def columns(self) -> Mapping[str, Array | Ragged]:
        """The columns as they are now, by name. They are the caller's: a refresh of this object changes none."""
        return MappingProxyType({name: _shown(column) for name, column in self._columns.columns().items()})

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rows, columns = self._columns.shared()
        return ({name: _basic(column, row) for name, column in columns.items()} for row in range(rows))

    def __contains__(self, name: object) -> bool:
        """Whether there is a column of this name."""
        return name in self._columns.shared()[1]

    @overload
    def __getitem__(self, index: str, /) -> Array | Ragged: ...
    @overload
    def __getitem__(self, index: Any, /) -> dict[str, Any]: ...
    def __getitem__(self, index: Any, /) -> Any:
        if isinstance(index, str):
            columns = self.columns
            if index not in columns:
                raise KeyError(f"{self.path}: no column {index!r} among {', '.join(columns)}")
            return columns[index]
        if isinstance(index, (list, range)) or isinstance(index, np.ndarray) and index.ndim:
            return self._take(index, masks=True)
        if not isinstance(index, slice):
            index = one(self, index, "row", "a column's name, an integer")
        return {name: _basic(column, index) for name, column in self._columns.shared()[1].items()}

    def __getitems__(self, indices: ArrayLike, /) -> list[dict[str, Any]]:
        """One batch of samples, as torch's `DataLoader` asks for it: a dict for each row, read all at once."""
        taken = self.take(indices)
        return [dict(zip(taken, row, strict=True)) for row in zip(*taken.values(), strict=True)]

    def __repr__(self) -> str:
        if self.closed:
            return f"<npygrow.Dataset {self.path!r}, closed>"
        rows, columns = self._columns.shared()
        told = ", ".join(f"{name}: {_told(column)}" for name, column in columns.items())
        return f"<npygrow.Dataset {self.path!r}, {rows} row{'' if rows == 1 else 's'}, {told}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return self._of, (self._columns,)

    def _take(self, indices: ArrayLike, *, masks: bool) -> dict[str, Any]:
        rows, columns = self._columns.shared()
        return _gather(columns, many(self.path, indices, rows, "row", masks=masks))

    def _sizes(self, rows: range) -> NDArray[np.int64]:
        total = np.zeros(len(rows), np.int64)
        for column in self._columns.shared()[1].values():
            total += sizes_of(column, rows) if isinstance(column, Items) else column.nbytes // max(1, _count(column))
        return total


def open_folder(path: str, mode: Literal["r", "r+", "c"], max_header_size: int) -> Ragged | Dataset:
    """What `open` gives for a folder."""
    if mode != "r":
        reading = 'a folder is opened for reading alone, mode="r"'
        raise ValueError(f"{path}: {reading}, not {mode!r}: open its files one by one")
    if any(os.path.exists(os.path.join(path, name)) for name in ("values.npy", "offsets.npy")):
        return Ragged(path, max_header_size=max_header_size)
    return Dataset(path, max_header_size=max_header_size)


def _shown(column: Array | Items) -> Array | Ragged:
    return Ragged._of(column) if isinstance(column, Items) else column


def _awkward(column: Array | Items, text: bool) -> Any:
    if isinstance(column, Items):
        return Ragged._of(column)._awkward(text)
    if text:
        raise MismatchError(f"{column.path}: expected items of bytes (|u1) as text, found rows of dtype {column.dtype}")
    return awkward_rows(_basic(column, slice(None)), column.path)


def _count(column: Array) -> int:
    return column.shape[0 if column.order == "C" else -1]


def _basic(column: Array | Items, index: int | slice) -> Any:
    """One row, or those of a slice, over the mapping."""
    if isinstance(column, Items):
        return column.item(index) if isinstance(index, int) else Ragged._of(column)[index]
    return column[index] if column.order == "C" else np.moveaxis(np.asarray(column), -1, 0)[index]


def _gather(columns: Mapping[str, Array | Items], numbers: NDArray[np.int64]) -> dict[str, Any]:
    """Copies of rows."""

    def gathered(column: Array | Items) -> NDArray[Any] | list[NDArray[Any]]:
        if isinstance(column, Items):
            return Ragged._of(column).take(numbers)
        rows = column.take(numbers)
        return rows if column.order == "C" else np.moveaxis(rows, -1, 0)

    return {name: gathered(column) for name, column in columns.items()}


def _told(column: Array | Items) -> str:
    if isinstance(column, Items):
        return f"ragged {column.values.shape[1:]} {column.dtype}"
    shape = column.shape[1:] if column.order == "C" else column.shape[:-1]
    return f"{shape} {column.dtype}"
