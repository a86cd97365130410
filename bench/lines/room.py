"""ensure_appendable: making room in the header of a file that another tool made."""

import os
import shutil
from functools import partial
from time import perf_counter_ns

import npygrow
import numpy as np

from measure import Contender, Line
from peers.npy import npy_append_array

SIZE = 256 << 20
"""Bytes of rows. A gigabyte says no more, and leaves less of a shared machine to others."""


def make(path, size=SIZE):
    """A file as NumPy 1.13 laid it out: no room in the header."""
    shape = (size // 512, 64)
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    length = -(-(len(header) + 11) // 16) * 16
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + (length - 10).to_bytes(2, "little") + header.ljust(length - 11) + b"\n")
        np.ones(shape).tofile(file)
        file.flush()
        os.fsync(file.fileno())  # written back already when the clock starts
    assert not npygrow.is_appendable(path)


def copied(path, synced):
    """The copy alone: a file beside it, renamed over it."""
    beside = path.with_suffix(".copy")
    shutil.copyfile(path, beside)
    if synced:
        with open(beside, "r+b") as file:
            os.fsync(file.fileno())
    os.replace(beside, path)


def room(name, call, seen):
    def run(path, count):
        spent = 0
        for _ in range(count):
            make(path)
            began = perf_counter_ns()
            call(path)
            spent += perf_counter_ns() - began
            rows = np.load(path, mmap_mode="r")
            assert rows.shape == (SIZE // 512, 64) and rows[-1, -1] == 1, name
        return spent

    return Contender(name, run, seen=seen)


def lines():
    contenders = [
        room("copy, fsync, rename", partial(copied, synced=True), "a kill and a power cut"),
        room("copy, rename", partial(copied, synced=False), "a kill"),
        room("npygrow", npygrow.ensure_appendable, "a kill and a power cut"),
    ]
    cannot = {}
    in_place = partial(npygrow.ensure_appendable, inplace=True)
    if works(in_place, cannot):
        contenders.append(room("npygrow, inplace", in_place, "a kill and a power cut"))
    if npy_append_array:
        theirs = npy_append_array.ensure_appendable
        contenders += [
            room("npy-append-array", theirs, "a kill"),
            room("npy-append-array, inplace", partial(theirs, inplace=True), "neither: rows move in place"),
        ]
    yield Line("room", "make room in the header of a file of 256 MiB", 1, contenders, cannot=cannot)


def works(in_place, cannot):
    """Tries it on a small file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "small.npy")
        make(path, 1 << 20)
        try:
            in_place(path)
        except NotImplementedError:
            cannot["npygrow, inplace"] = "not there yet"
            return False
    return True
