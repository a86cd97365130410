"""Plain files: the limit that all others are held against, and NumPy's own ways."""

import os
from contextlib import contextmanager

import numpy as np

from . import Peer


@contextmanager
def raw(path, rows, total):
    """An unbuffered file, its write as it is: what it costs to hand over bytes that are ready."""
    with open(path, "wb", buffering=0) as file:
        if rows.payload is not rows.stored:
            write = write_all(file)
            yield lambda payload: write(np.asarray(payload, dtype=rows.dtype, order=rows.order)), None
        elif rows.order == "F" or rows.payload.nbytes > 1 << 20:
            yield write_all(file), None
        else:
            yield file.write, None


@contextmanager
def raw_buffered(path, rows, total, buffering):
    with open(path, "wb", buffering=buffering) as file:
        yield file.write, file.flush


@contextmanager
def raw_reserved(path, rows, total):
    """As NumPy writes 16 MiB and more: the blocks are reserved first."""
    with open(path, "wb", buffering=0) as file:
        write, end = write_all(file), 0

        def append(payload):
            nonlocal end
            os.posix_fallocate(file.fileno(), end, payload.nbytes)
            write(payload)
            end += payload.nbytes

        yield append, None


def write_all(file):
    """A write of gigabytes may be short."""

    def write(payload):
        # The bytes as they lie in memory, in either order.
        view = memoryview(payload.ravel(order="A")).cast("B")
        while len(view):
            view = view[file.write(view) :]

    return write


def raw_once(path, payload):
    with open(path, "ab", buffering=0) as file:
        file.write(payload)


@contextmanager
def list_and_save(path, rows, total):
    """The rows in a list, joined and saved at the end."""
    blocks = []

    def finish():
        np.save(path, np.asarray(np.concatenate(blocks, axis=rows.axis, dtype=rows.dtype), order=rows.order))

    # A copy, as whoever fills one array again and again needs.
    yield lambda payload: blocks.append(payload.copy()), finish


@contextmanager
def memmap(path, rows, total):
    """A mapping of the final shape, which has to be known."""
    mapped = np.lib.format.open_memmap(path, "w+", rows.dtype, rows.shape(total), fortran_order=rows.order == "F")
    done, axis, where = 0, rows.axis, rows.where

    def append(payload):
        nonlocal done
        stop = done + payload.shape[axis]
        mapped[where(done, stop)] = payload
        done = stop

    yield append, None


@contextmanager
def save_on_end(path, rows, total):
    """`np.save` again and again on one open file: a sequence of arrays, to be loaded one by one."""
    with open(path, "wb") as file:

        def append(payload):
            np.save(file, payload.astype(rows.dtype, copy=False))
            file.flush()

        yield append, None


def save_once(path, payload):
    with open(path, "ab") as file:
        np.save(file, payload)


def load_sequence(path):
    """Every array of the sequence, joined."""
    arrays, size = [], path.stat().st_size
    with open(path, "rb") as file:
        while file.tell() < size:
            arrays.append(np.load(file))
    return np.concatenate(arrays, axis=-1 if np.isfortran(arrays[0]) else 0)


def mapped(path):
    return np.load(path, mmap_mode="r")


RAW = Peer("write", raw, None, "at once", once=raw_once)
RESERVED = Peer("write, blocks reserved", raw_reserved, None, "at once")
PEERS = [
    Peer("list, np.save", list_and_save, mapped, "at the end", warms=False),
    Peer("open_memmap", memmap, mapped, "at once; its final length is fixed at the start"),
    Peer("np.save on end", save_on_end, load_sequence, "at once, as one more array", 0.25, once=save_once),
]
