"""`Ragged`: rows of different length."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._elsewhere import awkward, awkward_items
from ._folder import Folder, Path, sizes_of
from ._index import many, one
from ._native import Arrow, Batches, Items, _split, _spread

_Item = NDArray[Any]


class Ragged(Folder[list[_Item]]):
    """The items of a folder, which differ in length: mapped, nothing is loaded until it is read.

    ``values.npy`` has all items joined along axis 0, and ``offsets.npy`` where each begins: item i is
    ``values[offsets[i]:offsets[i + 1]]``. An item is there once its end is counted and the values reach it.

    An item is a read-only ndarray over the mapping, a slice is a `Ragged` of the same items, which does not grow; a
    list, an array or a mask of indices gives what `take` does. What was taken from it stays when this object is
    refreshed or closed. Libraries that take Arrow's data take it as lists. It is a context manager; a pickle of it names
    the folder and the items, and holds none.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The folder.
    max_header_size : int
        Refuse longer headers, as `numpy.load` does.

    Raises
    ------
    FormatError, MismatchError
        The files are none of ours, or do not go together.
    NeedsRecoveryError
        One holds fewer rows than its header counts.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, npygrow as ng
    >>> path = tempfile.mkdtemp()
    >>> np.save(os.path.join(path, "values.npy"), np.array([7, 8, 9, 5]))
    >>> np.save(os.path.join(path, "offsets.npy"), np.array([0, 3, 3, 4]))
    >>> words = ng.Ragged(path)
    >>> len(words), words[0].tolist(), words[-1].tolist()
    (3, [7, 8, 9], [5])
    >>> words.lengths
    array([3, 0, 1])
    >>> words.padded(fill=-1)
    array([[ 7,  8,  9],
           [-1, -1, -1],
           [ 5, -1, -1]])
    """

    __slots__ = ("_items", "_numbers")
    __module__ = "npygrow"

    _items: Items
    _numbers: range | None  # of a slice: which items it shows

    def __init__(self, path: Path, *, max_header_size: int = 10_000) -> None:
        self._items = Items(path, max_header_size)
        self._numbers = None

    @classmethod
    def _of(cls, items: Items, numbers: range | None = None) -> Ragged:
        self = cls.__new__(cls)
        self._items, self._numbers = items, numbers
        return self

    @property
    def _mapped(self) -> Items:
        return self._items

    def refresh(self) -> range:
        self._check_grows("refresh")
        return super().refresh()

    def follow(self, timeout: float | None = None, *, start: int | None = None) -> Iterator[list[_Item]]:
        self._check_grows("follow")
        return super().follow(timeout, start=start)

    refresh.__doc__, follow.__doc__ = Folder.refresh.__doc__, Folder.follow.__doc__

    def _check_grows(self, verb: str) -> None:
        if self._numbers is not None:
            raise ValueError(f"{self.path}: a slice does not grow: {verb} what it was taken of")

    def take(self, indices: ArrayLike) -> list[NDArray[Any]]:
        """Copies items by their numbers: in any order, several times, from the end where they are negative.

        What is in memory is copied in parallel, the rest is asked of the disk all at once; other threads of Python run
        meanwhile.

        Parameters
        ----------
        indices : array_like of int
            The items.

        Returns
        -------
        list of ndarray
            The items, which lie one after the other in one fresh buffer: their ``base``.

        Raises
        ------
        IndexError
            An item is not there.
        FormatError
            Its offsets go down, or past the values.

        Examples
        --------
        >>> import os, tempfile
        >>> import numpy as np, npygrow as ng
        >>> path = tempfile.mkdtemp()
        >>> np.save(os.path.join(path, "values.npy"), np.array([7, 8, 9, 5]))
        >>> np.save(os.path.join(path, "offsets.npy"), np.array([0, 3, 3, 4]))
        >>> [item.tolist() for item in ng.Ragged(path).take([-1, 0])]
        [[5], [7, 8, 9]]
        """
        return _split(*self._items.gather(self._many(indices, masks=False)))

    def padded(
        self, indices: ArrayLike | None = None, length: int | None = None, fill: Any = 0, *, clip: bool = False
    ) -> NDArray[Any]:
        """Copies items into one array, each filled up at its end to the same length.

        Parameters
        ----------
        indices : array_like of int, optional
            The items, as for `take`, or a mask. By default all.
        length : int, optional
            How long they get. By default as the longest of them.
        fill : scalar
            What fills them up, a value of the dtype.
        clip : bool
            Cut off what is longer than `length`, which is refused otherwise.

        Returns
        -------
        ndarray
            Of shape ``(n, length, *row_shape)``.

        Raises
        ------
        ValueError
            An item is longer than `length`, or `fill` is no value of the dtype.
        """
        numbers = self._all() if indices is None else self._many(indices, masks=True)
        values, ends = self._items.gather(numbers)
        lengths = np.diff(ends, prepend=0)
        longest = int(lengths.max(initial=0))
        if length is None:
            length = longest
        elif length < 0:
            raise ValueError(f"{self.path}: expected a length of 0 or more, found {length}")
        elif length < longest and not clip:
            at = int(np.argmax(lengths > length))
            raise ValueError(
                f"{self.path}: item {numbers[at]} has {lengths[at]} values, more than the length {length}: "
                "give a larger one, or clip=True"
            )
        out = np.zeros((len(numbers), length, *self.row_shape), self.dtype)
        if not (isinstance(fill, int) and fill == 0):
            out[...] = _scalar(fill, self.dtype, self.path)
        row_size = self.dtype.itemsize * prod(self.row_shape)
        _spread(values, ends, row_size, out, length * row_size)
        return out

    def batches(
        self,
        size: int,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        drop_last: bool = False,
        bucket: int | None = None,
    ) -> Batches[list[NDArray[Any]]]:
        """Iterates over the items as counted now, in batches, the next of which is read while you work on the last.

        Parameters
        ----------
        size : int
            The items of a batch; the last one may have fewer.
        shuffle : bool
            Take all items in a random order.
        seed : int, optional
            The same order for the same seed, from 0 to 2**64 - 1, as that of as many rows of an `Array` or a `Dataset`; by
            default another each time.
        drop_last : bool
            Leave out the items at the end of the order that fill no batch.
        bucket : int, optional
            Put items of like length together: of every so many batches in turn, the items are sorted by their lengths
            and cut into batches anew. These come shortest first, with `shuffle` in a random order.

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
        >>> np.save(os.path.join(path, "values.npy"), np.arange(10))
        >>> np.save(os.path.join(path, "offsets.npy"), np.array([0, 1, 5, 6, 10]))
        >>> [[len(item) for item in batch] for batch in ng.Ragged(path).batches(2, bucket=2)]
        [[1, 1], [4, 4]]
        """
        some = self._numbers
        # One without items may begin at -1.
        numbers = None if some is None else (max(0, some.start), some.step, len(some))
        return self._items.batches(size, shuffle, seed, drop_last, bucket, numbers)

    def to_arrow(self, *, text: bool = False) -> Arrow:
        """The items for libraries that take Arrow's data, over the mapping: lists, or text.

        pyarrow, polars and others take this object itself; this is for items that are text, and for a second reader of
        the same items. The offsets are checked, and the text, before a library sees them. What it made of them stays when
        this object is refreshed or closed.

        Parameters
        ----------
        text : bool
            The items are text in UTF-8, as `RaggedAppender.append_text` writes it: strings (large_string) rather than
            lists (large_list) of uint8.

        Returns
        -------
        Arrow
            An object for others alone, by Arrow's PyCapsule interface.

        Raises
        ------
        MismatchError
            The items are no text, or of a dtype that Arrow has otherwise. Nothing is copied but booleans, which are bits
            there, and the bits that say which dates are missing.
        FormatError
            The offsets go down, or past the values.
        ValueError
            It is a slice with a step, whose items lie apart.

        Examples
        --------
        >>> import os, tempfile
        >>> import npygrow as ng
        >>> path = os.path.join(tempfile.mkdtemp(), "words")
        >>> with ng.RaggedAppender(path) as words:
        ...     words.append_text("grow")
        range(0, 1)
        >>> words = ng.Ragged(path).to_arrow(text=True)
        >>> hasattr(words, "__arrow_c_array__")              # pyarrow.array(words), polars.Series(words)
        True
        """
        numbers = range(len(self._items)) if self._numbers is None else self._numbers
        if len(numbers) > 1 and numbers.step != 1:
            raise ValueError(f"{self.path}: items that lie apart take a copy: give the library take({numbers})")
        return self._items.arrow(numbers.start, numbers.start + len(numbers), text)

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        return self.to_arrow().__arrow_c_array__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self._items.arrow(0, 0, False).__arrow_c_schema__()

    def to_awkward(self, *, text: bool = False) -> Any:
        """An awkward array over the mapping, which it keeps: nothing is copied.

        Parameters
        ----------
        text : bool
            The items are text in UTF-8: strings rather than lists of uint8.

        Returns
        -------
        awkward.Array

        Raises
        ------
        ImportError
            The library awkward is not installed.
        FormatError
            The offsets go down, or past the values.
        MismatchError
            The items are no bytes.
        """
        return awkward().Array(self._awkward(text))

    def _awkward(self, text: bool = False) -> Any:
        items = self._items.copy()
        numbers = range(len(items)) if self._numbers is None else self._numbers
        offsets = items.offsets
        first, last = (min(numbers[0], numbers[-1]), max(numbers[0], numbers[-1])) if numbers else (0, 0)
        falls = offsets[first + 1 : last + 2] < offsets[first : last + 1]
        if falls.any():
            items.item(first + int(np.argmax(falls)))  # says what is wrong with it
        return awkward_items(items.values, offsets, numbers, text, self.path)

    def __dask_tokenize__(self) -> tuple[object, ...]:
        return "npygrow.Ragged", self._items.__reduce__()[1], self._numbers

    @property
    def values(self) -> NDArray[Any]:
        """The values of all items, one after the other: over the mapping, unless a slice leaves items out between."""
        values, numbers = self._items.values, self._numbers
        if numbers is None:
            return values
        if numbers.step == 1:
            offsets = self._items.offsets
            return values[offsets[numbers.start] : offsets[numbers.stop]]
        return self._items.gather(self._all())[0]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where each item begins in `values`, and where the last one ends."""
        if self._numbers is None:
            return self._items.offsets
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths)])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many values each item has."""
        offsets, numbers = self._items.offsets, self._all()
        lengths = offsets[1:][numbers] - offsets[:-1][numbers]
        if (lengths < 0).any():
            self._items.item(int(numbers[np.argmax(lengths < 0)]))  # says what is wrong with it
        return lengths

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values."""
        return self._items.dtype

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one value."""
        return self._items.values.shape[1:]

    @property
    def health(self) -> str:
        """"clean", or "tail" where a file holds more than the items."""
        return self._items.health

    def __len__(self) -> int:
        return len(self._items) if self._numbers is None else len(self._numbers)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        items = self._items.copy()
        return map(items.item, range(len(items)) if self._numbers is None else self._numbers)

    @overload
    def __getitem__(self, index: slice, /) -> Ragged: ...
    @overload
    def __getitem__(self, index: Any, /) -> Any: ...
    def __getitem__(self, index: Any, /) -> Any:
        if isinstance(index, slice):
            items = self._items.copy()
            return self._of(items, (range(len(items)) if self._numbers is None else self._numbers)[index])
        if isinstance(index, (list, range)) or isinstance(index, np.ndarray) and index.ndim:
            return _split(*self._items.gather(self._many(index, masks=True)))
        number = one(self, index, "item", "an integer")
        return self._items.item(number if self._numbers is None else self._numbers[number])

    def __getitems__(self, indices: ArrayLike, /) -> list[NDArray[Any]]:
        """One batch of samples, as torch's `DataLoader` asks for it: what `take` gives."""
        return self.take(indices)

    def __repr__(self) -> str:
        if self.closed:
            return f"<npygrow.Ragged {self.path!r}, closed>"
        count, held = len(self), int(self.lengths.sum()) if self._numbers else len(self.values)
        counts = f"{count} item{'' if count == 1 else 's'} of {held} value{'' if held == 1 else 's'}"
        return (
            f"<npygrow.Ragged {self.path!r}, {counts}, row_shape={self.row_shape}, dtype={self.dtype!r}, {self.health}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return self._of, (self._items, self._numbers)

    def _all(self) -> NDArray[np.int64]:
        numbers = range(len(self._items)) if self._numbers is None else self._numbers
        return np.arange(numbers.start, numbers.stop, numbers.step, dtype=np.int64)

    def _many(self, indices: ArrayLike, *, masks: bool) -> NDArray[np.int64]:
        numbers = many(self.path, indices, len(self), "item", masks=masks)
        return numbers if self._numbers is None else self._numbers.start + self._numbers.step * numbers

    def _sizes(self, rows: range) -> NDArray[np.int64]:
        return sizes_of(self._items, rows)




def _scalar(fill: Any, dtype: np.dtype[Any], path: str) -> NDArray[Any]:
    """`fill` as a value of the dtype, if it is one."""
    given, value = np.asarray(fill), np.empty((), dtype)
    try:
        value[...] = given
        same = given.ndim == 0 and bool((value == given) | ((value != value) & (given != given)))
    except (TypeError, ValueError, OverflowError):
        same = False
    if not same:
        raise ValueError(f"{path}: expected a fill of dtype {dtype}, found {fill!r}")
    return value
