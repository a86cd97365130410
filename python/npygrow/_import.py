"""What `npy import` does for HDF5 and Zarr: the command is not Python, the libraries that read these are."""

from __future__ import annotations

import importlib
import shlex
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from operator import itemgetter
from typing import Any

from ._native import Appender
from ._source import Work
from .errors import NpyError

NAMED = 20
"""Arrays that a message lists."""


class Import:
    """Iterating does the work, and gives the bytes done and those in all; what came of it is in the attributes.

    `sources` are the name that the user gave, the path, the array's name in it or None, and "hdf5" or "zarr".
    """

    def __init__(
        self, output: str, sources: list[tuple[str, str, str | None, str]], start: int, options: dict[str, Any]
    ) -> None:
        self.output, self.sources, self.start, self.options = output, sources, start, options
        self.failures: list[tuple[str, str, str]] = []
        """The path, the kind of error, the text."""
        self._appender: Appender | None = None
        self._work: list[Work] = []

    @property
    def appended(self) -> int:
        """Rows that went in, also where it failed in the end."""
        return sum(work.done - (0 if i else self.start) for i, work in enumerate(self._work))

    @property
    def rows(self) -> int | None:
        """Rows of the file in all; None where it did not come to appending."""
        return len(self._appender) if self._appender is not None and self._work else None

    @property
    def dropped(self) -> tuple[int, int]:
        """Rows and bytes that opening cut from the file's tail."""
        found = self._appender and self._appender.dropped
        return (found.rows, found.bytes) if found else (0, 0)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        # The command leaves Ctrl-C to the system, which would end it without a word.
        is_main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, signal.default_int_handler) if is_main else None
        try:
            with ExitStack() as stack:
                arrays = [self._found(stack, *source) for source in self.sources]
                if not self.failures:
                    yield from self._append(arrays)
        except KeyboardInterrupt:
            self._failed(self.output, None, f"interrupted; {self.appended} rows are in")
        except (OSError, NpyError, ValueError) as error:
            self._failed(self.output, error)
        finally:
            if is_main:
                signal.signal(signal.SIGINT, before)

    def _found(self, stack: ExitStack, name: str, path: str, array: str | None, kind: str) -> Any:
        """The array of a source; None where there is no such one, which is told."""
        opened = _hdf5 if kind == "hdf5" else _zarr
        try:
            return opened(stack, path, array)
        except (OSError, LookupError, ValueError, ImportError) as error:
            self._failed(name, error)

    def _append(self, arrays: list[Any]) -> Iterator[tuple[int, int]]:
        with warnings.catch_warnings(action="ignore"):  # of a tail that was cut: the command says it
            self._appender = Appender(self.output, **self.options)
        with self._appender:
            work: list[Work] = []
            whose = ""
            for i, (name, array) in enumerate(zip(self._names(), arrays, strict=True)):
                try:
                    work.append(Work(self._appender, array, False, 0 if i else self.start, work[0] if work else None))
                    if self._appender.dtype is None:
                        whose = whose or f"the new file is to hold rows like those of {name}"
                except (NpyError, ValueError) as error:
                    self._failed(name, error, whose)
            if not self.failures:
                self._work = work
                yield from self._blocks()

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Appends all, and names the source that fails or is interrupted, and how to go on."""
        size, sizes = 0, sum((work.total or 0) * work.row_size for work in self._work)
        for i, work in enumerate(self._work):
            try:
                for done in work:
                    yield size + done * work.row_size, sizes
            except (KeyboardInterrupt, Exception) as error:
                rest = shlex.join(["npy", "import", self.output, *self._names()[i:], "--start", str(work.done)])
                self._failed(self._names()[i], error, f"{work.done} of {work.total} rows are in: {rest} goes on")
                return
            size += work.done * work.row_size

    def _names(self) -> list[str]:
        return [name for name, *_ in self.sources]

    def _failed(self, path: str, error: BaseException | None, more: str = "") -> None:
        words = "interrupted" if isinstance(error, KeyboardInterrupt) else _words(error, self.output) if error else ""
        self.failures.append((path, type(error).__name__, "; ".join(filter(None, (words, more)))))


def _words(error: BaseException, output: str) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return str(text).removeprefix(f"{output}: ")


def _library(name: str, reads: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{reads} needs {name}, which does not load ({error}): pip install {name}") from error


def _hdf5(stack: ExitStack, path: str, name: str | None) -> Any:
    h5py = _library("h5py", "HDF5")
    file = stack.enter_context(h5py.File(path, "r"))
    found = file if name is None else file.get(name)

    def arrays(group: Any) -> Iterator[Any]:
        for member in group.values():
            if isinstance(member, h5py.Dataset):
                yield member
            elif isinstance(member, h5py.Group):
                yield from arrays(member)

    if isinstance(found, h5py.Dataset):
        return found
    return _only(path, arrays(file if found is None else found), found is not None)


def _zarr(stack: ExitStack, path: str, name: str | None) -> Any:
    zarr = _library("zarr", "Zarr")
    store: Any = path
    if path.lower().endswith(".zip"):
        store = stack.enter_context(zarr.storage.ZipStore(path, mode="r"))
    root = zarr.open(store, mode="r")
    if isinstance(root, zarr.Array):
        if name not in (None, "/"):
            raise KeyError(f"one array, and none of the name {name}: leave that out")
        return root
    name = name and name.strip("/")
    found = root if not name else root[name] if name in root else None

    def arrays(group: Any) -> Iterator[Any]:
        for _, array in sorted(group.arrays(), key=itemgetter(0)):
            yield array
        for _, member in sorted(group.groups(), key=itemgetter(0)):
            yield from arrays(member)

    if isinstance(found, zarr.Array):
        return found
    return _only(path, arrays(root if found is None else found), found is not None)


def _only(path: str, arrays: Iterator[Any], is_there: bool) -> Any:
    """The only one of several arrays; else an error that lists them."""
    some = list(islice(arrays, NAMED + 1))
    if is_there and len(some) == 1:
        return some[0]
    if not some:
        raise LookupError("no array in it")
    names = [f"{path}:/{array.name.lstrip('/')} {array.shape} {array.dtype}" for array in some[:NAMED]]
    more = ["..."] if len(some) > NAMED else []
    said = "several arrays, name one" if is_there else "no such array; there are"
    raise LookupError(f"{said}: {', '.join(names + more)}")
