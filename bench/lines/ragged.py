"""Items of different length: appended one at a time, and in memory first."""

from contextlib import contextmanager
from functools import partial

import npygrow
import numpy as np

from measure import Contender, Line, timed
from peers import imported

MIB = 1 << 20
ITEM = np.arange(1024, dtype="u1")
WARM_UP = 256

h5py, mmap_ninja = imported("h5py"), imported("mmap_ninja")


@contextmanager
def plain(path, buffering):
    """The values alone: what it costs to write them anywhere."""
    with npygrow.Appender(path, dtype="u1", row_shape=(), buffering=buffering) as rows:
        yield rows.append, rows.commit


@contextmanager
def file(path, buffering):
    with open(path, "wb", buffering=buffering) as raw:
        yield raw.write, raw.flush


@contextmanager
def ours(path, buffering):
    with npygrow.RaggedAppender(path, dtype="u1", row_shape=(), buffering=buffering) as items:
        yield items.append, items.commit
    assert len(np.load(path / "offsets.npy", mmap_mode="r")) > WARM_UP


@contextmanager
def ninja(path):
    """It appends to files that it made of a first item."""
    items = mmap_ninja.ragged.RaggedMmap.from_lists(path, [ITEM])
    yield items.append, lambda: None


@contextmanager
def variable(path):
    with h5py.File(path, "w") as held:
        items = held.create_dataset("items", (0,), h5py.vlen_dtype("u1"), maxshape=(None,), chunks=(1024,))

        def append(item):
            items.resize(len(items) + 1, axis=0)
            items[-1] = item

        yield append, held.flush


def appending(name, opened, seen, share=1.0):
    def run(path, count):
        with opened(path) as (append, finish):
            timed(append, ITEM, round(WARM_UP * share) or 1)
            finish()
            return timed(append, ITEM, count) + timed(lambda _: finish(), None, 1)

    return Contender(name, run, share, seen)


def lines():
    others = []
    if mmap_ninja:
        mmap_ninja.ragged = imported("mmap_ninja.ragged")
        others.append(appending("mmap_ninja RaggedMmap", ninja, "at once", 0.02))
    if h5py:
        others.append(appending("h5py, variable length", variable, "after a flush", 0.05))
    for key, what, buffering, count, bar in [
        ("ragged", "append an item of 1 KiB", 0, 2000, None),
        ("ragged-buffered", "append an item of 1 KiB, gathered in memory (1 MiB)", MIB, 20000, 2.0),
    ]:
        seen = "after a flush" if buffering else "at once"
        # The bar is against a plain append of the same bytes, which says the same of the values and nothing of items.
        contenders = [
            appending("npygrow, plain rows", partial(plain, buffering=buffering), seen),
            appending("npygrow", partial(ours, buffering=buffering), seen),
            appending("file.write, values alone", partial(file, buffering=buffering), seen),
        ]
        yield Line(key, what, count, [*contenders, *others], bar)
