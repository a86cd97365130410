"""One array of rows of 4 KiB, stored as each of those keeps it who are compared in reading it."""

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import npygrow
import numpy as np

from . import CHUNK
from .chunked import zarr
from .hdf5 import h5py

WIDTH = 512
ROW = WIDTH * 8
CHUNKS = (CHUNK // ROW, WIDTH)
THREADS = 8


def is_right(got, rows):
    return got.shape == (len(rows), WIDTH) and np.array_equal(got[:, 0], rows)


def forget_all(path, rows):
    for one in files(path):
        forget(one)


@dataclass(frozen=True)
class Reader:
    """One contender: the file it reads, and how."""

    name: str
    file: str
    open: Callable[[Path], AbstractContextManager[Callable[[np.ndarray], np.ndarray]]]
    """path -> what copies the rows of these numbers."""
    share: float = 1
    """How many of the rows of a large request it reads: fewer where it is slow."""
    is_right: Callable[[Any, np.ndarray], bool] = is_right
    """Whether what was read are the rows of these numbers."""
    forget: Callable[[Path, np.ndarray], None] = forget_all
    """Takes what holds these rows out of the page cache."""


# --- The files -----------------------------------------------------------------------------------------------------


def make(folder, size):
    """Every file that a reader wants, written back, so that the system can forget it. Row n begins with n."""
    folder.mkdir()
    made = {reader.file for reader in READERS}
    if "rows.npy" in made:
        make_npy(folder / "rows.npy", size)
    for name, chunks in (("chunks.h5", CHUNKS), ("contiguous.h5", None)):
        if name in made:
            with h5py.File(folder / name, "w", libver="latest") as file:
                shape, grows = (size // ROW, WIDTH), {"maxshape": (None, WIDTH)} if chunks else {}
                fill(file.create_dataset("rows", shape, "<i8", chunks=chunks, **grows), size)
    if "rows.zarr" in made:
        shape = (size // ROW, WIDTH)
        fill(zarr.create_array(folder / "rows.zarr", shape=shape, chunks=CHUNKS, dtype="<i8", compressors=None), size)
    for path in files(folder):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        forget(path)


def make_npy(path, size):
    with npygrow.Appender(path) as rows:
        for _, block in blocks(size):
            rows.append(block)


def fill(data, size):
    for start, block in blocks(size):
        data[start : start + len(block)] = block


def blocks(size):
    block = np.random.default_rng(1).integers(0, 1 << 62, (4096, WIDTH))
    for start in range(0, size // ROW, len(block)):
        block[:, 0] = np.arange(start, start + len(block))
        yield start, block[: size // ROW - start]


def files(path):
    return [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]


def forget(path):
    """Takes a file out of the page cache. A page that is mapped stays there, so no mapping may be left."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def forget_chunks(path, rows):
    """Of a folder with a file for each chunk only what holds these rows: there are too many to look at all of them."""
    for chunk in np.unique(rows // CHUNKS[0]):
        forget(path / "c" / str(chunk) / "0")


# --- The readers ---------------------------------------------------------------------------------------------------


@contextmanager
def preadv(path):
    """What a few threads reach that do nothing but read."""
    number, start = os.open(path, os.O_RDONLY), path.stat().st_size % ROW

    def take(rows):
        out = np.empty((len(rows), WIDTH), "<i8")

        def work(part):
            for at in part:
                os.preadv(number, [out[at]], start + int(rows[at]) * ROW)

        threads = [threading.Thread(target=work, args=(part,)) for part in np.array_split(np.arange(len(rows)), THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return out

    try:
        yield take
    finally:
        os.close(number)


@contextmanager
def memmap(path):
    yield np.load(path, mmap_mode="r").__getitem__


@contextmanager
def ours(path):
    with npygrow.open(path) as rows:
        yield rows.__getitem__


@contextmanager
def hdf5(path):
    """It takes numbers that rise, each of them once."""
    with h5py.File(path) as file:
        data = file["rows"]

        def take(rows):
            once, places = np.unique(rows, return_inverse=True)
            return data[once][places]

        yield take


@contextmanager
def zarr_array(path):
    yield zarr.open_array(path, mode="r").oindex.__getitem__


RAW = Reader("8 threads of preadv", "rows.npy", preadv)
MAPPED = Reader("np.memmap", "rows.npy", memmap)
OURS = Reader("npygrow", "rows.npy", ours)
FIXED = Reader("npygrow, rows of 4 KiB", "rows.npy", ours)
OTHERS = []
if h5py:
    OTHERS += [Reader("h5py", "chunks.h5", hdf5, 1 / 16), Reader("h5py, contiguous", "contiguous.h5", hdf5, 1 / 16)]
if zarr:
    OTHERS.append(Reader("zarr", "rows.zarr", zarr_array, 1 / 16, forget=forget_chunks))
READERS = [RAW, MAPPED, OURS, *OTHERS]
