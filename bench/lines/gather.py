"""Reading an array of some GiB: opening it, random rows from the disk and from memory, and requests of every shape.

A mapping is fresh when this process has not read through it yet, though its pages are in memory: each costs a fault.
"""

import gc
import shutil
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter_ns

import npygrow
import numpy as np

from measure import Contender, Line, median_and_interval, timed
from peers import stored

SIZE, QUICK_SIZE = 4 << 30, 256 << 20
"""Bytes of the array; those of the table of shapes have a quarter."""

KEYS = ["open", "gather-cold", "gather-cold-32", "gather-fresh", "gather-touched"]

SLOWER = 1.2
"""The most times np.memmap's time that any shape of request may take on a touched mapping."""

ROWS = [8, 64, 512, 4096, 64 << 10, 1 << 20]
COUNTS = [32, 4096, 100_000]
MOST = 256 << 20
"""The most bytes of one request in the table of shapes."""


# --- Beside others -------------------------------------------------------------------------------------------------


def lines(folder, size):
    """They all read one array, which is gone afterwards."""
    folder, count = folder / "stored", size // stored.ROW
    stored.make(folder, size)
    plain = [stored.RAW, stored.OURS, stored.MAPPED]
    try:
        opens = [opening(reader, folder, count) for reader in [stored.MAPPED, stored.OURS, *stored.OTHERS]]
        yield Line("open", f"open an array of {size / 2**30:g} GiB, read its last row, close", 100, opens)
        for key, number in (("gather-cold", 4096), ("gather-cold-32", 32)):
            who = [cold(reader, folder, count, number) for reader in [*plain, *stored.OTHERS]]
            yield Line(key, f"{number:,} random rows of 4 KiB, from the disk: one of them", number, who, 1 / 0.9)
        who = [warm(reader, folder, count) for reader in [*plain, *stored.OTHERS]]
        yield Line("gather-fresh", "4,096 random rows of 4 KiB, in memory, the file just opened: one of them", 4096, who)
        with ExitStack() as kept:
            who = [warm(reader, folder, count, kept) for reader in [*plain[::-1], *stored.OTHERS]]
            work = "4,096 random rows of 4 KiB, in memory, each read before: one of them"
            yield Line("gather-touched", work, 4096, who, 1.0)
    finally:
        shutil.rmtree(folder)


def opening(reader, folder, count):
    last = np.array([count - 1])

    def once(path):
        with reader.open(path) as take:
            assert take(last)[0, 0] == count - 1, reader.name

    def run(path, times):
        path.touch()  # a round's file is removed after it
        return timed(once, folder / reader.file, times)

    return Contender(reader.name, run, 1 if reader.share == 1 else 0.2)


def cold(reader, folder, count, most):
    """Other rows each time, which nothing has read since they were forgotten."""
    rng, file = np.random.default_rng(2), folder / reader.file
    read = done = 0

    def run(path, number):
        nonlocal read, done
        path.touch()
        rows = rng.integers(0, count, number)
        before, began = disk_bytes(), perf_counter_ns()
        with reader.open(file) as take:
            got = take(rows)
        spent = perf_counter_ns() - began
        read, done = read + disk_bytes() - before, done + number
        one.seen = f"{read / done / 1024:.1f} KiB"
        assert reader.is_right(got, rows), reader.name
        del got, take  # a page that is mapped is not forgotten
        gc.collect()
        reader.forget(file, rows)
        return spent

    one = Contender(reader.name, run, reader.share if most > 1000 else 1)
    return one


def warm(reader, folder, count, kept=None):
    """The same rows each time: the first round brought them into memory. With `kept` the file is opened only once."""
    every, file = np.random.default_rng(3).integers(0, count, 4096), folder / reader.file
    take = None

    def run(path, number):
        nonlocal take
        path.touch()
        rows = every[:number]
        if kept and not take:
            take = kept.enter_context(reader.open(file))
        began = perf_counter_ns()
        if kept:
            got = take(rows)
        else:
            with reader.open(file) as fresh:
                got = fresh(rows)
        spent = perf_counter_ns() - began
        assert reader.is_right(got, rows), reader.name
        return spent

    return Contender(reader.name, run, reader.share)


def disk_bytes():
    """What this process had read from the disk."""
    text = Path("/proc/self/io").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("read_bytes"))


# --- Every shape ---------------------------------------------------------------------------------------------------


def shapes(folder, size, rounds, quick=False):
    """mapping -> (bytes of a row, rows) -> kind -> npygrow's time as a multiple of np.memmap's: middle, low, high."""
    path, found = folder / "shapes.npy", {"touched": {}, "fresh": {}}
    for row_size in ROWS:
        make(path, row_size, size)
        touched = npygrow.open(path), np.load(path, mmap_mode="r")
        for array in touched:
            np.asarray(array).reshape(-1)[:: 4096 // 8].max()
        for number in COUNTS:
            if number * row_size <= MOST and not (quick and number > 4096):
                for kind, rows in requests(len(touched[0]), number):
                    for mapping, cells in found.items():
                        cell = cells.setdefault((row_size, number), {})
                        cell[kind] = against_memmap(path, rows, rounds, touched if mapping == "touched" else None)
        del touched, array
        path.unlink()
    return found


def make(path, row_size, size):
    """In memory from now on, and on the disk already."""
    block = np.random.default_rng(1).integers(0, 1 << 62, 2 << 20).reshape(-1, row_size // 8)
    with npygrow.Appender(path) as rows:
        for _ in range(size // block.nbytes):
            rows.append(block)
        rows.sync()


def requests(count, number):
    rng = np.random.default_rng(3)
    yield "random", rng.integers(0, count, number)
    yield "sorted", np.sort(rng.integers(0, count, number))
    yield "duplicates", rng.choice(rng.integers(0, count, max(1, number // 16)), number)
    mask = np.zeros(count, bool)
    mask[rng.integers(0, count, number)] = True
    yield "mask", mask


def against_memmap(path, rows, rounds, touched):
    """The same request to both, in an order that changes; on two new mappings each time where there is no touched one."""
    ratios = []
    for turn in range(-1, rounds):
        ours, theirs = touched or (npygrow.open(path), np.load(path, mmap_mode="r"))
        spent, got = {}, {}
        for name, array in [("ours", ours), ("theirs", theirs)][:: 1 if turn % 2 else -1]:
            began = perf_counter_ns()
            got[name] = array[rows]
            spent[name] = perf_counter_ns() - began
        if turn < 0:
            assert np.array_equal(got["ours"], got["theirs"])
        else:
            ratios.append(spent["ours"] / spent["theirs"])
    return median_and_interval(ratios)
