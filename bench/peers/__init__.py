"""Who is compared: each module here wraps one kind of peer, as its own documentation says to append with it."""

import importlib
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CHUNK = 64 << 10
"""Bytes in a chunk where an append is smaller; `lines/chunks.py` shows what other sizes give."""

LARGEST_CHUNK = 16 << 20

PACKAGES = {"lance": "pylance"}
"""What a module is called where it is installed from, if by another name."""

missing: dict[str, str] = {}
"""Who could not be imported, and why."""


@dataclass(frozen=True)
class Rows:
    """What one append of a line hands over, and the file that it goes into."""

    payload: np.ndarray
    dtype: np.dtype
    order: str = "C"
    chunk: int = CHUNK

    @property
    def axis(self):
        """The growth axis."""
        return 0 if self.order == "C" else self.payload.ndim - 1

    @property
    def count(self):
        return self.payload.shape[self.axis]

    @property
    def stored(self):
        """The payload as it lies in the file."""
        return np.asarray(self.payload, dtype=self.dtype, order=self.order)

    def shape(self, count):
        """The shape of `count` rows."""
        shape = list(self.payload.shape)
        shape[self.axis] = count
        return tuple(shape)

    def chunks(self):
        """One append, but between `chunk` and `LARGEST_CHUNK`."""
        row = self.stored.nbytes // self.count
        return self.shape(max(1, min(max(self.count, self.chunk // row), LARGEST_CHUNK // row)))

    def where(self, start, stop):
        """The index of rows `start` to `stop`."""
        return (slice(None),) * self.axis + (slice(start, stop),)


@dataclass(frozen=True)
class Peer:
    """One contender: how it opens a new file, and how what it wrote is read back."""

    name: str
    open: Callable[[Path, Rows, int], AbstractContextManager[tuple[Callable, Callable | None]]]
    """path, rows and their final number -> what appends once, and what ends a run of appends, or None."""
    load: Callable[[Path], Any]
    seen: str
    """When a reader that opens the file sees the rows."""
    share: float = 1
    """How much of a line's small appends it does in a round: less where it is slow."""
    orders: str = "CF"
    warms: bool = True
    """Whether appends before the clock starts are apart from the timed ones."""
    once: Callable[[Path, np.ndarray], None] | None = None
    """Opens a file that is there, appends and closes."""


def imported(module):
    """The module, or None and the reason in `missing`."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # a broken wheel raises what it likes
        package = PACKAGES.get(module, module.split(".")[0].replace("_", "-"))
        log = Path(sys.prefix) / f"pip-{package}.log"
        words = [line for line in log.read_text().splitlines() if "ERROR" in line] if log.exists() else []
        missing[module] = " ".join([f"{type(error).__name__}: {error}", *words[-1:]])
        return None


def remove(path):
    """A file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
