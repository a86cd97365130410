"""From an append in one process until another one has the row: followed, and by loading the file over and over.

    python follow.py        (the writer: reads lines of JSON, answers each)
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from time import perf_counter_ns

import numpy as np

GAP = 0.003
"""Seconds between two rows: the reader waits for each."""


def serve():
    """One job a line: appends rows that say when, some time apart."""
    import npygrow

    for line in sys.stdin:
        path, count = json.loads(line)
        with npygrow.Appender(path) as rows:
            for _ in range(count):
                time.sleep(GAP)
                rows.append(np.array([perf_counter_ns()]))


def followed(path):
    import npygrow

    rows = npygrow.open(path).follow(timeout=30)
    yield
    for block in rows:
        yield from block


def loaded(pause, path):
    """What people do: `np.load` every so often."""
    seen = 0
    yield
    while True:
        rows = np.load(path, mmap_mode="r")
        yield from rows[seen:]
        seen = len(rows)
        time.sleep(pause)


def lines():
    from functools import partial

    import npygrow
    from measure import Contender, Line

    writer = subprocess.Popen([sys.executable, os.fspath(Path(__file__).resolve())], stdin=subprocess.PIPE, text=True)

    def contender(name, reader):
        def run(path, count):
            npygrow.Appender(path, dtype="i8", row_shape=()).close()
            rows = reader(path)
            next(rows)
            writer.stdin.write(json.dumps([os.fspath(path), count]) + "\n")
            writer.stdin.flush()
            return sum(-int(next(rows)) + perf_counter_ns() for _ in range(count))

        return Contender(name, run)

    # A process that never sleeps between two looks takes a core.
    contenders = [contender("np.load, again and again", partial(loaded, 0))]
    contenders += [contender("npygrow", followed)]
    contenders += [contender(f"np.load every {pause} ms", partial(loaded, pause / 1000)) for pause in (1, 10)]
    work = f"from an append to the row at another process, one every {GAP * 1000:.0f} ms"
    try:
        yield Line("follow", work, 50, contenders)
    finally:
        writer.communicate()


if __name__ == "__main__":
    serve()
