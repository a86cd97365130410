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

h5py, ninja_ragged = imported("h5py"), imported("mmap_ninja.ragged")


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


@contextmanager
def ninja(path):
    """It appends to files that it made of a first item."""
    items = ninja_ragged.RaggedMmap.from_lists(path, [ITEM])
    yield items.append, lambda: None


@contextmanager
def variable(path):
    with h5py.File(path, "w") as held:
        items = held.create_dataset("items", (0,), h5py.vlen_dtype("u1"), maxshape=(None,), chunks=(1024,))

        def append(item):
            items.resize(len(items) + 1, axis=0)
            items[-1] = item

        yield append, held.flush


def appending(name, opened, held, seen, share=1.0):
    """`held` tells how many items the path holds: what was timed did happen."""
    warm_ups = round(WARM_UP * share) or 1

    def run(path, count):
        with opened(path) as (append, finish):
            timed(append, ITEM, warm_ups)
            finish()
            spent = timed(append, ITEM, count) + timed(lambda _: finish(), None, 1)
        assert held(path) == warm_ups + count, (name, held(path))
        return spent

    return Contender(name, run, share, seen)


def bytes_held(path):
    return path.stat().st_size // len(ITEM)


def ends_held(path):
    return len(np.load(path / "offsets.npy", mmap_mode="r")) - 1


def ninja_held(path):
    return len(ninja_ragged.RaggedMmap(path)) - 1


def variable_held(path):
    with h5py.File(path) as held:
        return len(held["items"])


def lines():
    others = []
    if ninja_ragged:
        others.append(appending("mmap_ninja RaggedMmap", ninja, ninja_held, "at once", 0.02))
    if h5py:
        others.append(appending("h5py, variable length", variable, variable_held, "after a flush", 0.05))
    for key, what, buffering, count, bar in [
        ("ragged", "append an item of 1 KiB", 0, 2000, None),
        ("ragged-buffered", "append an item of 1 KiB, gathered in memory (1 MiB)", MIB, 20000, 2.0),
    ]:
        seen = "after a flush" if buffering else "at once"
        # The bar is against a plain append of the same bytes, which says the same of the values and nothing of items.
        contenders = [
            appending("npygrow, plain rows", partial(plain, buffering=buffering), bytes_held, seen),
            appending("npygrow", partial(ours, buffering=buffering), ends_held, seen),
            appending("file.write, values alone", partial(file, buffering=buffering), bytes_held, seen),
        ]
        yield Line(key, what, count, [*contenders, *others], bar)
