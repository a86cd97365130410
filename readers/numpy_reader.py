# -*- coding: utf-8 -*-
"""`numpy_reader.py FILE...`, for Python 2.7 and later: prints what src/main.rs prints, as NumPy reads it.

Every file is loaded and mapped, and both must give the same.
"""

from __future__ import print_function

import binascii
import sys

import numpy as np


def plain(array):
    """The bytes of the items, their fields one behind the other, numbers in little-endian."""
    if array.dtype.names is None:
        width = array.dtype.itemsize
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
        data = little.tobytes()
        return [data[at * width : (at + 1) * width] for at in range(array.size)]
    return [b"".join(fields) for fields in zip(*[plain(array[name]) for name in array.dtype.names])]


def read(path):
    loaded, mapped = np.load(path, allow_pickle=False), None
    if loaded.size:  # NumPy maps no file of no bytes
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        assert loaded.shape == mapped.shape and plain(loaded) == plain(mapped), "loaded and mapped differ"
    shape = ",".join(str(axis) for axis in loaded.shape)
    return shape, binascii.hexlify(b"".join(plain(loaded))).decode("ascii")


if __name__ == "__main__":
    for path in sys.argv[1:]:
        try:
            print(path, *read(path), sep="\t")
        except Exception as error:
            print(path, "refused", type(error).__name__ + ": " + " ".join(str(error).split()), sep="\t")
