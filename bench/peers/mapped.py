"""mmap_ninja: a folder with the bytes and small files that say what they are."""

from contextlib import contextmanager

import numpy as np

from . import Peer, imported

mmap_ninja = imported("mmap_ninja.numpy")


@contextmanager
def opened(path, rows, total):
    """Each append opens the file, writes and closes: its only way."""

    def append(payload):
        if path.exists():
            mmap_ninja.extend_dir(path, payload)
        else:
            mmap_ninja.from_ndarray(path, np.asarray(payload, dtype=rows.dtype, order="C"))

    yield append, None


def load(path):
    return mmap_ninja.open_existing(path)


PEERS = []
if mmap_ninja:
    PEERS.append(Peer("mmap_ninja", opened, load, "at once", 0.02, orders="C", once=mmap_ninja.extend_dir))
