"""Appending, side by side with raw files and npy-append-array: times one against another, in one run.

Absolute times say little about another machine, so each line is a ratio. A round runs every contender of a line once,
on fresh files of one folder, in an order that changes; what is reported is the median of the rounds' ratios to the
reference, with the 95 % interval of that median from order statistics. A bar is missed only when the whole interval
lies beyond it.

    python bench/append.py [--dir FOLDER] [--rounds 31] [--write]
"""

import argparse
import gc
import math
import os
import platform
import statistics
import tempfile
import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from time import perf_counter_ns

import numpy as np
from npy_append_array import NpyAppendArray

from npygrow import Appender

ROW = np.arange(64, dtype="f8").reshape(1, 64)  # 512 bytes
BLOCK = np.resize(ROW, (32768, 64))  # 16 MiB
MIB = 1 << 20
WARM_UP = 256  # appends before the clock starts: caches, lazy imports, and what a handle sets up only once
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"


@dataclass
class Line:
    """One line of the table: what is done `count` times, by whom, and what is asked of us."""

    work: str
    count: int
    reference: str
    contenders: dict  # name -> function(path, count) -> ns for all of it
    bar: float
    faster_is_more: bool = False  # the ratio is of speeds, not of times
    times: dict = field(default_factory=dict)  # name -> ns for one, a round each

    def run(self, folder, rounds):
        names = list(self.contenders)
        self.times = {name: [] for name in names}
        for number in range(-1, rounds):  # round -1 warms up
            # Rotated, and every other round backwards, so that no contender always follows the same one.
            turn = number // 2 % len(names)
            for name in (names[turn:] + names[:turn])[:: -1 if number % 2 else 1]:
                path = folder / "rows.npy"
                spent = self.contenders[name](path, self.count)
                # Gone before write-back starts, so that no contender pays for another's dirty pages.
                path.unlink()
                if number >= 0:
                    self.times[name].append(spent / self.count)

    def ratio(self, name):
        """The median ratio to the reference, and its interval."""
        pairs = zip(self.times[name], self.times[self.reference], strict=True)
        return median_and_interval([theirs / ours if self.faster_is_more else ours / theirs for ours, theirs in pairs])

    def verdict(self, low, high):
        missed = high < self.bar if self.faster_is_more else low > self.bar
        return f"{'>=' if self.faster_is_more else '<='} {self.bar:.2f}: {'missed' if missed else 'met'}"


def median_and_interval(values):
    """The median, and the narrowest pair of order statistics that holds the true one in 95 % of runs.

    Distribution-free: the number of values below the true median is binomial(n, 1/2).
    """
    values = sorted(values)
    n, below, k = len(values), 0.0, 0
    while below + math.comb(n, k) / 2**n <= 0.025:
        below += math.comb(n, k) / 2**n
        k += 1
    return statistics.median(values), values[k - 1], values[n - k]


def timed(call, argument, count):
    """Nanoseconds for `count` calls; each contender's loop is this one."""
    began = perf_counter_ns()
    for _ in range(count):
        call(argument)
    return perf_counter_ns() - began


# --- Contenders: open, warm up, time, close ------------------------------------------------------------------------


def python_file(payload, buffering, finish=False):
    def run(path, count):
        with open(path, "wb", buffering=buffering) as file:
            return measure(file.write, payload, count, file.flush if finish else None)

    return run


def appender(payload, finish=False, **options):
    def run(path, count):
        with Appender(path, **options) as rows:
            spent = measure(rows.append, payload, count, rows.commit if finish else None)
        check(path, payload, count + warm_ups(payload))
        return spent

    return run


def predecessor(payload, finish=False, **options):
    def run(path, count):
        with NpyAppendArray(os.fspath(path), **options) as rows:
            spent = measure(rows.append, payload, count, rows.update_header if finish else None)
        check(path, payload, count + warm_ups(payload))
        return spent

    return run


def system_write(payload):
    def run(path, count):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        view = memoryview(payload).cast("B")

        def write_all(view):
            while len(view):
                view = view[os.write(file, view) :]

        try:
            return measure(write_all, view, count)
        finally:
            os.close(file)

    return run


def measure(call, payload, count, finish=None):
    """Warms up, then times `count` calls and, for buffered ones, the flush that ends them."""
    for _ in range(warm_ups(payload)):
        call(payload)
    if finish is None:
        return timed(call, payload, count)
    finish()
    began = perf_counter_ns()
    timed(call, payload, count)
    finish()
    return perf_counter_ns() - began


def warm_ups(payload):
    return WARM_UP if payload.nbytes <= 4096 else 0


def check(path, payload, count):
    """What was timed did happen: the file has the rows."""
    rows = np.load(path, mmap_mode="r")
    assert len(rows) == count * len(payload) and np.array_equal(rows[-1], payload[-1]), path


def reopening(append_once):
    """Times open, append a row, close; the file exists before."""

    def run(path, count):
        append_once(path)
        return timed(append_once, path, count)

    return run


def once_raw(path):
    with open(path, "ab", buffering=0) as file:
        file.write(ROW)


def once_appender(path):
    with Appender(path) as rows:
        rows.append(ROW)


def once_predecessor(path):
    with NpyAppendArray(os.fspath(path)) as rows:
        rows.append(ROW)


def lines():
    """The lines of the table. Every contender gets the same rows: 512 bytes of float64, or 16 MiB of them."""
    rows_unbuffered, rows_buffered, ours, theirs = "file.write, unbuffered", "file.write, default buffer", "npygrow", "npy-append-array"
    return [
        Line(
            "append one 512-byte row, visible to readers when it returns",
            4000,
            rows_unbuffered,
            {rows_unbuffered: python_file(ROW, 0), ours: appender(ROW), theirs: predecessor(ROW)},
            bar=1.25,
        ),
        Line(
            "append one 512-byte row with buffering=1 MiB",
            40000,
            rows_buffered,
            {
                rows_buffered: python_file(ROW, -1, finish=True),
                "file.write, a buffer of 1 MiB": python_file(ROW, MIB, finish=True),
                ours: appender(ROW, finish=True, buffering=MIB),
                theirs + ", header at the end": predecessor(ROW, finish=True, rewrite_header_on_append=False),
            },
            bar=0.65,
        ),
        Line(
            "append blocks of 16 MiB (ratio of speeds)",
            4,
            "os.write",
            {"os.write": system_write(BLOCK), ours: appender(BLOCK), theirs: predecessor(BLOCK)},
            bar=0.97,
            faster_is_more=True,
        ),
        Line(
            "open, append a 512-byte row, close",
            500,
            "open, write, close",
            {
                "open, write, close": reopening(once_raw),
                ours: reopening(once_appender),
                theirs: reopening(once_predecessor),
            },
            bar=4.0,
        ),
    ]


# --- The report ----------------------------------------------------------------------------------------------------


def file_system(folder):
    """The type of the file system that holds `folder`, by the longest mount point above it in /proc/mounts."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "file system unknown"
    # Blanks in a mount point are written as octal escapes; of two mounts on one point the later one is on top.
    points = [(mount[1].replace("\\040", " "), mount[2]) for mount in mounts]
    above = [(len(point), number, kind) for number, (point, kind) in enumerate(points) if folder.is_relative_to(point)]
    return max(above)[2] if above else "file system unknown"


def setting(folder, rounds):
    return (
        f"npygrow {version('npygrow')}, npy-append-array {version('npy-append-array')}, NumPy {np.__version__}, "
        f"Python {platform.python_version()}, {platform.system()} {platform.release()} on {platform.machine()}, "
        f"{os.cpu_count()} cores, {file_system(folder)}; {rounds} interleaved rounds."
    )


def duration(ns):
    return f"{ns / 1e3:.2f} us" if ns < 1e6 else f"{ns / 1e6:.2f} ms"


def table(line):
    """The line as a Markdown table: a row for each contender."""
    rows = [("", "median time", "ratio", "95 % interval", "bar")]
    for name, times in line.times.items():
        ratio, low, high = line.ratio(name)
        row = (name, duration(statistics.median(times)))
        if name == line.reference:
            rows.append((*row, "1", "", ""))
        else:
            rows.append((*row, f"{ratio:.3f}", f"{low:.3f} to {high:.3f}", line.verdict(low, high) * (name == "npygrow")))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    body = "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows)
    return f"### {line.work[0].upper()}{line.work[1:]}\n\n{body}\n"


def page(heading, tables):
    method = __doc__.split("\n\n")[1].replace("\n", " ")
    return f"# Performance\n\n{method} Made by `make bench ARGS=--write`.\n\n{heading}\n\n" + "\n".join(tables)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where the files go (default: here)")
    parser.add_argument("--rounds", type=int, default=31, help="rounds of each line, 21 or more (default: 31)")
    parser.add_argument("--write", action="store_true", help=f"write docs/{PAGE.name} too")
    options = parser.parse_args()
    if options.rounds < 21:
        parser.error(f"--rounds is {options.rounds}: 21 or more make an interval worth the name")

    warnings.simplefilter("error")  # a warning in a loop would be timed
    gc.disable()
    with tempfile.TemporaryDirectory(prefix="npygrow-bench-", dir=options.dir) as folder:
        folder = Path(folder).resolve()
        heading = setting(folder, options.rounds)
        print(heading, "\n")
        tables = []
        for line in lines():
            line.run(folder, options.rounds)
            tables.append(table(line))
            print(tables[-1], flush=True)
    if options.write:
        PAGE.write_text(page(heading, tables))
        print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
