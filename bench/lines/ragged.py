"""Items of different length: appended one at a time, and in memory first."""

import os
from contextlib import contextmanager
from functools import partial

import npygrow
import numpy as np

from measure import Contender, Line, timed
from peers.hdf5 import h5py, tables
from peers.items import arrow_batch, arrow_schema, ipc, lance, ninja_ragged, pyarrow

MIB = 1 << 20
ITEM = np.arange(1024, dtype="u1")
WARM_UP = 256


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


@contextmanager
def pytables(path):
    with tables.open_file(path, "w") as held:
        items = held.create_vlarray("/", "items", tables.UInt8Atom())
        yield items.append, held.flush


@contextmanager
def arrow(path, buffering):
    """A batch for each item, or for as many as are gathered; readers find them when the file is closed."""
    with ipc.new_file(path, arrow_schema(pyarrow.uint8())) as held:
        with batched(held.write_batch, buffering) as both:
            yield both


@contextmanager
def lance_dataset(path, buffering):
    """Each append is a file, and a version of the whole."""

    def write(batch):
        lance.write_dataset(batch, os.fspath(path), schema=batch.schema, mode="append" if path.exists() else "create")

    with batched(write, buffering) as both:
        yield both


@contextmanager
def batched(write, buffering):
    """Items in a list until they are worth a batch."""
    held, most = [], max(1, buffering // ITEM.nbytes)

    def append(item):
        held.append(item)
        if len(held) == most:
            finish()

    def finish():
        if held:
            values, ends = np.concatenate(held), np.cumsum([0, *map(len, held)])
            held.clear()
            write(arrow_batch(values, ends))

    yield append, finish


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


def tables_held(path):
    with tables.open_file(path) as held:
        return len(held.root.items)


def arrow_held(path):
    with pyarrow.memory_map(os.fspath(path)) as held:
        return ipc.open_file(held).read_all().num_rows


def lance_held(path):
    return lance.dataset(os.fspath(path)).count_rows()


def others(buffering):
    """Where one gathers nothing itself, whoever wants to do so writes the few lines that it takes."""
    if ninja_ragged:
        yield appending("mmap_ninja RaggedMmap", ninja, ninja_held, "at once", 0.002 if buffering else 0.02)
    if h5py:
        yield appending("h5py, variable length", variable, variable_held, "after a flush", 0.05)
    if tables:
        yield appending("PyTables VLArray", pytables, tables_held, "after a flush", 0.05)
    if ipc:
        opened = partial(arrow, buffering=buffering)
        yield appending("Arrow IPC file", opened, arrow_held, "at the end", 0.2)
    if lance and pyarrow:
        opened = partial(lance_dataset, buffering=buffering)
        yield appending("Lance", opened, lance_held, "after a flush" if buffering else "at once", 0.2 if buffering else 0.002)


def lines():
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
        yield Line(key, what, count, [*contenders, *others(buffering)], bar)
