"""Items of different length, stored as each keeps them who has a way to, and how each reads them."""

import os
import threading
from contextlib import contextmanager

import npygrow
import numpy as np

from . import imported, stored
from .hdf5 import h5py, tables
from .stored import Reader

ninja_ragged = imported("mmap_ninja.ragged")
pyarrow, ipc = imported("pyarrow"), imported("pyarrow.ipc")
lance = imported("lance")

BLOCK = 4096
"""Items that are written at once."""


# --- The files -----------------------------------------------------------------------------------------------------


def make(folder, offsets, readers):
    """Every file that a reader wants, written back, so that the system can forget it. Item n begins with n."""
    folder.mkdir()
    for name in dict.fromkeys(reader.file for reader in readers):
        MAKERS[name](folder / name, offsets)
    for path in stored.files(folder):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        stored.forget(path)


def blocks(offsets):
    """Values and the offsets among them, of some items at a time."""
    for first in range(0, len(offsets) - 1, BLOCK):
        some = offsets[first : first + BLOCK + 1]
        values = np.arange(some[0], some[-1])
        values[some[:-1] - some[0]] = np.arange(first, first + len(some) - 1)
        yield values, some - some[0]


def lists(offsets):
    """The same as arrays, one for each item."""
    for values, some in blocks(offsets):
        yield np.split(values, some[1:-1])


def make_folder(path, offsets):
    with npygrow.RaggedAppender(path) as items:
        for values, some in blocks(offsets):
            items.extend((values, np.diff(some)))


def make_rows(path, offsets):
    """As many bytes in rows of one size."""
    stored.make_npy(path, int(offsets[-1]) * 8)


def make_ninja(path, offsets):
    each = (item for items in lists(offsets) for item in items)
    ninja_ragged.RaggedMmap.from_generator(path, each, BLOCK)


def make_hdf5(path, offsets):
    with h5py.File(path, "w", libver="latest") as file:
        data = file.create_dataset("items", (len(offsets) - 1,), h5py.vlen_dtype("<i8"), maxshape=(None,), chunks=(1024,))
        for number, items in enumerate(lists(offsets)):
            data[number * BLOCK : number * BLOCK + len(items)] = np.fromiter(items, object, len(items))


def make_tables(path, offsets):
    with tables.open_file(path, "w") as file:
        data = file.create_vlarray("/", "items", tables.Int64Atom(), expectedrows=len(offsets) - 1)
        for items in lists(offsets):
            for item in items:
                data.append(item)


def arrow_schema(value_type):
    return pyarrow.schema([("items", pyarrow.large_list(value_type))])


def arrow_batch(values, offsets):
    column = pyarrow.LargeListArray.from_arrays(pyarrow.array(offsets), pyarrow.array(values))
    return pyarrow.record_batch([column], ["items"])


def make_arrow(path, offsets):
    with ipc.new_file(path, arrow_schema(pyarrow.int64())) as file:
        for values, some in blocks(offsets):
            file.write_batch(arrow_batch(values, some))


def make_lance(path, offsets):
    batches = (arrow_batch(values, some) for values, some in blocks(offsets))
    lance.write_dataset(pyarrow.RecordBatchReader.from_batches(arrow_schema(pyarrow.int64()), batches), os.fspath(path))


MAKERS = {
    "items": make_folder,
    "rows.npy": make_rows,
    "ninja": make_ninja,
    "hdf5.h5": make_hdf5,
    "tables.h5": make_tables,
    "items.arrow": make_arrow,
    "items.lance": make_lance,
}


# --- The readers ---------------------------------------------------------------------------------------------------


@contextmanager
def ours(path):
    with npygrow.open(path) as items:
        yield items.take


@contextmanager
def memmap(path):
    """What NumPy alone has to say of the two files."""
    values, offsets = (np.load(path / name, mmap_mode="r") for name in ("values.npy", "offsets.npy"))
    yield lambda numbers: [np.array(values[offsets[n] : offsets[n + 1]]) for n in numbers]


def preadv(offsets):
    """A few threads that do nothing but read, and are told where each item lies."""

    @contextmanager
    def opened(path):
        path = path / "values.npy"
        number, start = os.open(path, os.O_RDONLY), path.stat().st_size - int(offsets[-1]) * 8

        def take(numbers):
            starts, lengths = offsets[numbers], offsets[numbers + 1] - offsets[numbers]
            out = np.split(np.empty(lengths.sum(), "<i8"), np.cumsum(lengths)[:-1])

            def work(part):
                for at in part:
                    os.preadv(number, [out[at]], start + int(starts[at]) * 8)

            parts = np.array_split(np.arange(len(numbers)), stored.THREADS)
            threads = [threading.Thread(target=work, args=(part,)) for part in parts]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return out

        try:
            yield take
        finally:
            os.close(number)

    return opened


@contextmanager
def ninja(path):
    """Its items are parts of the mapping."""
    items = ninja_ragged.RaggedMmap(path)
    yield lambda numbers: [np.array(item) for item in items[numbers]]


@contextmanager
def hdf5(path):
    with h5py.File(path) as file:
        data = file["items"]
        yield lambda numbers: [data[n] for n in numbers.tolist()]


@contextmanager
def pytables(path):
    with tables.open_file(path) as file:
        data = file.root.items
        yield lambda numbers: [data[n] for n in numbers.tolist()]


@contextmanager
def arrow(path):
    """Its own `take` takes longer."""
    with pyarrow.memory_map(os.fspath(path)) as file:
        column = ipc.open_file(file).read_all()["items"]
        yield lambda numbers: [np.array(column[n].values) for n in numbers.tolist()]


@contextmanager
def lance_dataset(path):
    data = lance.dataset(os.fspath(path))

    def take(numbers):
        out = []
        for column in data.take(numbers)["items"].chunks:
            out += np.split(column.values.to_numpy(), column.offsets.to_numpy()[1:-1])
        return out

    yield take


def readers(offsets):
    """All of them, for the items that lie between these offsets."""

    def is_right(got, numbers):
        lengths = offsets[numbers + 1] - offsets[numbers]
        return len(got) == len(numbers) and all(
            len(item) == length and item[0] == number for item, length, number in zip(got, lengths, numbers)
        )

    found = [stored.FIXED]

    def add(name, file, opened, share=1.0):
        found.append(Reader(name, file, opened, share, is_right))

    add("npygrow", "items", ours)
    add("8 threads of preadv", "items", preadv(offsets))
    add("np.memmap, both files", "items", memmap)
    if ninja_ragged:
        add("mmap_ninja RaggedMmap", "ninja", ninja)
    if h5py:
        add("h5py, variable length", "hdf5.h5", hdf5, 1 / 16)
    if tables:
        add("PyTables VLArray", "tables.h5", pytables, 1 / 16)
    if ipc:
        add("Arrow IPC file", "items.arrow", arrow, 1 / 4)
    if lance and pyarrow:
        add("Lance", "items.lance", lance_dataset, 1 / 4)
    return found
