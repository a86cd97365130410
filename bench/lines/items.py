"""Reading items of different length: opening many, random ones from the disk and from memory."""

import shutil
from contextlib import ExitStack

import numpy as np

from measure import Contender, Line, timed
from peers import items, stored

from . import gather

COUNT, QUICK_COUNT = 128 << 10, 16 << 10
"""Items of about 4 KiB."""

MANY, QUICK_MANY = 1_000_000, 100_000
"""Items where they are opened: a few values each."""

OPENS = {"ragged-open": "open {} items, close", "ragged-open-first": "open {} items, read the first, close"}
GATHERS = {
    "ragged-gather-cold": "from the disk",
    "ragged-gather-fresh": "in memory, the file just opened",
    "ragged-gather-touched": "in memory, each read before",
}

SLOWER = 1.3
"""The most times what rows of one size take that items may take."""


def lines(folder, count, many, wants):
    if any(map(wants, OPENS)):
        yield from opens(folder / "many", many)
    if any(map(wants, GATHERS)):
        yield from gathers(folder / "items", count)


def opens(folder, count):
    offsets = offsets_of(np.random.default_rng(4).integers(1, 4, count))
    readers = [reader for reader in items.readers(offsets) if reader.name not in ("8 threads of preadv", stored.FIXED.name)]
    readers.sort(key=lambda reader: reader.name != "np.memmap, both files")  # it is the reference
    items.make(folder, offsets, readers)
    try:
        for key, work in OPENS.items():
            who = [opening(reader, folder, key == "ragged-open-first") for reader in readers]
            yield Line(key, work.format(f"{count:,}"), 40, who)
    finally:
        shutil.rmtree(folder)


def gathers(folder, count):
    # From 1 to 8 KiB, 4 KiB on average.
    lengths = np.random.default_rng(4).triangular(128, 384, 1024, count).astype(int)
    offsets = offsets_of(lengths)
    readers = items.readers(offsets)
    items.make(folder, offsets, readers)
    rows = int(offsets[-1]) * 8 // stored.ROW  # both have as many, but for a few
    try:
        with ExitStack() as kept:
            for key, where in GATHERS.items():
                who = [reading(key, reader, folder, min(count, rows), kept) for reader in readers]
                yield Line(key, f"4,096 random items of about 4 KiB, {where}: one of them", 4096, who, SLOWER)
    finally:
        shutil.rmtree(folder)


def offsets_of(lengths):
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def opening(reader, folder, reads):
    first = np.array([0])

    def once(path):
        with reader.open(path) as take:
            if reads:
                assert take(first)[0][0] == 0, reader.name

    def run(path, times):
        path.touch()  # a round's file is removed after it
        return timed(once, folder / reader.file, times)

    return Contender(reader.name, run, 1 if reader.share == 1 else 0.2)


def reading(key, reader, folder, count, kept):
    if key == "ragged-gather-cold":
        return gather.cold(reader, folder, count, 4096)
    return gather.warm(reader, folder, count, kept if key == "ragged-gather-touched" else None)
