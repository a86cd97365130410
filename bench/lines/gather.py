"""Random rows out of a large file: from the disk, from memory, and in requests of every shape.

A mapping is fresh when this process has not read through it yet, though its pages are in memory: each costs a fault.
"""

import gc
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns

import npygrow
import numpy as np

from measure import median_and_interval

SIZE, QUICK_SIZE = 4 << 30, 1 << 30
"""Bytes of the file of the bars; those of the table of shapes have a quarter."""

SHAPES = [8, 64, 512, 4096, 64 << 10, 1 << 20]
COUNTS = [32, 4096, 100_000]
MOST = 256 << 20
"""The most bytes of one request in the table."""

THREADS = 8


def make(path, row_size, size):
    """Real bytes, and on the disk, so that the system can forget them."""
    block = np.random.default_rng(1).integers(0, 256, 16 << 20, "u1")
    with open(path, "wb") as file:
        shape = (size // row_size, row_size // 8)
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
        for _ in range(size // block.nbytes):
            block.tofile(file)
        file.flush()
        os.fsync(file.fileno())


def forget(path):
    """Takes the file out of the page cache. A page that is mapped stays there, so no mapping may be left."""
    gc.collect()
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def preadv(path, rows, row_size, start):
    """What a few threads reach that do nothing but read."""
    out = np.empty((len(rows), row_size), "u1")
    number = os.open(path, os.O_RDONLY)

    def work(part):
        for at in part:
            os.preadv(number, [out[at]], start + int(rows[at]) * row_size)

    threads = [threading.Thread(target=work, args=(part,)) for part in np.array_split(np.arange(len(rows)), THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(number)
    return out


def timed(call):
    began = perf_counter_ns()
    result = call()
    return perf_counter_ns() - began, result


@dataclass
class Work:
    """One kind of request: everyone's times, round by round."""

    name: str
    bar: float | None
    times: dict[str, list[int]]
    read: dict[str, int]

    def ratio(self, to):
        pairs = zip(self.times["npygrow"], self.times[to], strict=False)  # the slowest did fewer rounds
        return median_and_interval([ours / theirs for ours, theirs in pairs])


def disk_bytes():
    text = Path("/proc/self/io").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("read_bytes"))


def cold(path, rounds, count=4096):
    """4,096 rows that are not in memory."""
    rng, row_size = np.random.default_rng(2), 4096
    work = Work(f"{count:,} random rows of 4 KiB, cold", 1 / 0.9, {}, {})
    start = os.path.getsize(path) % row_size
    contenders = {
        "npygrow": lambda rows: npygrow.open(path)[rows],
        "8 threads of preadv": lambda rows: preadv(path, rows, row_size, start),
        "np.memmap": lambda rows: np.load(path, mmap_mode="r")[rows],
    }
    names = list(contenders)
    for number in range(rounds):
        for name in names if number % 2 else names[::-1]:
            # A mapping reads far ahead here: the rounds that an interval takes are enough.
            if name == "np.memmap" and number >= 7:
                continue
            rows = rng.integers(0, (os.path.getsize(path) - start) // row_size, count)
            forget(path)
            before = disk_bytes()
            spent, got = timed(lambda: contenders[name](rows))
            work.read[name] = disk_bytes() - before
            work.times.setdefault(name, []).append(spent)
            assert len(got) == count
            del got
    return work


def requests(rng, count, number):
    yield "random", rng.integers(0, count, number)
    yield "sorted", np.sort(rng.integers(0, count, number))
    yield "duplicates", rng.choice(rng.integers(0, count, max(1, number // 16)), number)
    mask = np.zeros(count, bool)
    mask[rng.integers(0, count, number)] = True
    yield "mask", mask


def warm(path, row_size, number, rounds):
    """(kind, mapping) -> Work: the same request to both, in an order that changes."""
    rng = np.random.default_rng(3)
    with open(path, "rb") as file:
        while file.read(16 << 20):
            pass
    touched = npygrow.open(path), np.load(path, mmap_mode="r")
    count = len(touched[0])
    for array in touched:
        np.asarray(array).reshape(-1)[:: 4096 // 8].view("u8").max()
    for kind, rows in requests(rng, count, number):
        for mapping in ("touched", "fresh"):
            work = Work(f"{row_size} B x {number:,}, {kind}, {mapping}", 1.2 if mapping == "touched" else None, {}, {})
            for turn in range(-1, rounds):
                ours, theirs = touched if mapping == "touched" else (npygrow.open(path), np.load(path, mmap_mode="r"))
                pair = [("npygrow", ours), ("np.memmap", theirs)]
                results = []
                for name, array in pair if turn % 2 else pair[::-1]:
                    spent, got = timed(lambda: array[rows])
                    results.append(got)
                    if turn >= 0:
                        work.times.setdefault(name, []).append(spent)
                assert turn >= 0 or results[0].tobytes() == results[1].tobytes()
                del results, got
            yield work


def measured(folder, rounds, quick=False):
    """All of it, as `Work`, as it comes."""
    path, size = folder / "gather.npy", QUICK_SIZE if quick else SIZE
    make(path, 4096, size)
    yield cold(path, rounds)
    yield cold(path, rounds, 32)
    yield from warm(path, 4096, 4096, rounds)
    path.unlink()
    for row_size in SHAPES:
        make(path, row_size, size // 4)
        for number in COUNTS:
            if number * row_size <= MOST and not (quick and number > 4096):
                yield from warm(path, row_size, number, max(7, rounds // 3))
        path.unlink()
