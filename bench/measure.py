"""Rounds, ratios and their intervals."""

import gc
import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns

from peers import remove

ROUNDS = 21
QUICK_ROUNDS = 7


@dataclass
class Contender:
    name: str
    run: Callable[[Path, int], int]
    """path, count -> the nanoseconds of all of it."""
    share: float = 1
    """How much of the line's count it does, as it is slow; at least `LEAST` of it."""
    seen: str = ""


LEAST = 8


@dataclass
class Line:
    """One kind of work, done `count` times by everyone in every round. The first contender is the reference."""

    key: str
    work: str
    count: int
    contenders: list[Contender]
    bar: float | None = None
    """The most times the reference's time that is asked of npygrow."""
    cannot: dict[str, str] = field(default_factory=dict)
    """Who is left out, and why."""
    times: dict[str, list[float]] = field(default_factory=dict)
    """name -> nanoseconds for one, a round each."""

    @property
    def reference(self):
        return self.contenders[0].name

    def counts(self):
        return {one.name: min(self.count, max(LEAST, round(self.count * one.share))) for one in self.contenders}

    def run(self, folder, rounds):
        counts = self.counts()
        self.times = {one.name: [] for one in self.contenders}
        for number in range(-1, rounds):  # round -1 warms up
            # Rotated, and every other round backwards, so that no contender always follows the same one.
            turn = number // 2 % len(self.contenders)
            for one in (self.contenders[turn:] + self.contenders[:turn])[:: -1 if number % 2 else 1]:
                path = folder / "rows.npy"
                spent = one.run(path, counts[one.name])
                # Gone before write-back starts, so that no contender pays for another's dirty pages.
                remove(path)
                if number >= 0:
                    self.times[one.name].append(spent / counts[one.name])
            gc.collect()

    def ratio(self, name, to=None):
        """The median ratio of paired times to the reference's, and its interval."""
        pairs = zip(self.times[name], self.times[to or self.reference], strict=True)
        return median_and_interval([theirs / ours for theirs, ours in pairs])

    def time(self, name):
        return statistics.median(self.times[name])


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


def note(text):
    """What happens meanwhile, to whoever watches; the report is on standard output."""
    print(text, file=sys.stderr, flush=True)
