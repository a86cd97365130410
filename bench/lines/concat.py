"""concat: files into one, all of them in the page cache."""

import os
import subprocess
from time import perf_counter_ns

import npygrow
import numpy as np

from measure import Contender, Line
from peers.npy import npy_append_array

FILES = 8
SIZE, QUICK_SIZE = 512 << 20, 64 << 20
"""Bytes of rows, in all."""


def inputs(folder, shape):
    """The files, made once for a folder and written back, with the header that NumPy gives them."""
    folder = folder / "concat-inputs"
    paths = [folder / f"part-{i}.npy" for i in range(FILES)]
    if not folder.exists():
        folder.mkdir()
        for i, path in enumerate(paths):
            with open(path, "wb") as file:
                np.save(file, np.full(shape, float(i)))
                file.flush()
                os.fsync(file.fileno())
    return paths


def cat(paths, output):
    with open(output, "wb") as file:
        subprocess.run(["cat", *paths], check=True, stdout=file)


def concatenate(paths, output):
    np.save(output, np.concatenate([np.load(path) for path in paths]))


def append_each(paths, output):
    with npy_append_array.NpyAppendArray(output) as file:
        for path in paths:
            file.append(np.load(path, mmap_mode="r"))


def joining(name, call, shape, seen="a kill"):
    def run(path, count):
        paths = inputs(path.parent, shape)
        spent = 0
        for _ in range(count):
            path.unlink(missing_ok=True)
            began = perf_counter_ns()
            call(paths, path)
            spent += perf_counter_ns() - began
            if call is not cat:
                rows = np.load(path, mmap_mode="r")
                assert rows.shape == (shape[0] * FILES, 64) and rows[-1, -1] == FILES - 1, name
        return spent

    return Contender(name, run, seen=seen)


def lines(size):
    shape = (size // FILES // 512, 64)
    contenders = [
        joining("cat", cat, shape, "nothing; each file's header stays in it"),
        joining("npygrow", npygrow.concat, shape),
        joining("np.concatenate, np.save", concatenate, shape, "nothing: a kill leaves a part"),
    ]
    if npy_append_array:
        contenders.append(joining("npy-append-array", append_each, shape, "nothing: a kill leaves a part"))
    yield Line("concat", f"join {FILES} files, {size >> 20} MiB in all", 1, contenders, bar=1.05)
