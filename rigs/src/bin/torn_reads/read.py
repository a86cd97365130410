"""np.load(mmap_mode="r") of files while they grow: prints how often, how often wrongly, and what was wrong first."""

import os
import sys
from pathlib import Path

import numpy as np

folder, desk = map(Path, sys.argv[1:])
words = np.memmap(desk / "words", "u8", "r+")
BEGUN, DONE, STOP, READY = range(4)


def step(word, file, appends):
    now = int(words[word])
    return now & 0xFFFFFFFF if now >> 32 == file else appends - 1


def along(file):
    path = folder / f"{file}.npy"
    try:
        walk = np.fromfile(desk / f"{file}.walk", "u8")
    except FileNotFoundError:
        return
    seen, over = 0, False
    while not over:
        over = bool(words[STOP]) or int(words[BEGUN]) >> 32 != file
        done = step(DONE, file, len(walk))
        try:
            rows = np.load(path, mmap_mode="r")
            begun = step(BEGUN, file, len(walk))
            at = int(np.searchsorted(walk, len(rows)))
            assert at < len(walk) and walk[at] == len(rows), f"{len(rows)} rows, which never were"
            assert max(done, seen) <= at <= begun, f"append {at}, expected {max(done, seen)} to {begun}"
            if rows.ndim == 1:
                last = len(rows) - 1
                assert int(rows[last]) == last * 0x9E3779B97F4A7C15 % 2**64, f"row {last} is {rows[last]}"
            seen, what = at, None
        except FileNotFoundError:
            return
        except Exception as error:
            if not path.exists():
                return
            what = f"{type(error).__name__}: {error}".replace("\n", " ")
        yield what


reads = torn = 0
first = ""
last = None
words[READY] = 1
while not words[STOP]:
    file = int(words[DONE]) >> 32
    if file == last:
        os.sched_yield()
        continue
    last = file
    for what in along(file):
        reads += 1
        if what:
            torn += 1
            first = first or what
print(reads, torn, first)
