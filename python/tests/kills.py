"""Programs that are killed at a system call, or told that it failed, and the judge of what they leave.

A kill comes before the call is made: the state between any two calls that change something is met once. The mapped
words of commits are no calls; what they leave is met at the call that comes next.
"""

import errno
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

ALL = os.environ.get("NPYGROW_KILLS") == "all"
SEED = int(os.environ.get("NPYGROW_KILLS_SEED", "1"))
SYNCS = ("fsync", "fdatasync")
CALLS = ["write", "pwrite64", "pwritev2", *SYNCS, "ftruncate", "fallocate", "copy_file_range", "linkat", "rename", "renameat2"]
CALLS += ["unlink", "unlinkat", "mkdir", "fchmod", "fchown", "utimensat", "openat", "ioctl"]
# Of the calls that are often made for other reasons, these change something.
CHANGES = {"openat": r"O_CREAT|O_TMPFILE|O_TRUNC", "ioctl": "FICLONE"}
# An error of `write` would be one of the terminal: files are written with `pwrite64`.
FAULTS = {call: ["EIO"] if call in SYNCS or "unlink" in call else ["ENOSPC", "EIO"] for call in CALLS if call != "write"}
ENVIRONMENT = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1", "NO_COLOR": "1", "RUST_BACKTRACE": "0"}


class Point(NamedTuple):
    """One system call of one run: the `time`-th call of a thread by that name, and what becomes of it."""

    call: str
    time: int
    fault: str = "KILL"  # or an error's name; with a "+" that and every later call fails

    def __str__(self):
        fault = "signal=KILL" if self.fault == "KILL" else f"error={self.fault.rstrip('+')}"
        return f"{self.call}:{fault}:when={self.time}{'+' if self.fault.endswith('+') else ''}"

    @property
    def errno(self):
        return getattr(errno, self.fault.rstrip("+"))


def program(code):
    """A Python program. `tried` does what the promises say after an error: it does the same once more."""
    return [sys.executable, "-P", "-c", PRELUDE + code]


PRELUDE = """
import os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np, npygrow as ng

def tried(verb, *given, **named):
    try:
        return verb(*given, **named)
    except OSError as error:
        if error.errno is None: raise
        return verb(*given, **named)

def told(rows):
    os.write(1, f"told {rows}\\n".encode())
"""


def traced(argv, folder, *options):
    # A signal is not delivered where a filter stopped the call (strace 6.1): then every call is stopped at.
    kills = any("signal=KILL" in option for option in options if isinstance(option, str))
    command = ["strace", "-f", "-qq", *([] if kills else ["--seccomp-bpf"]), *options, *map(str, argv)]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=50)


def cannot_trace():
    """Why strace cannot be used here, or None."""
    if shutil.which("strace") is None:
        return "it is not installed"
    done = traced(["true"], "/", "-o", os.devnull, "-e", "inject=sync:signal=KILL")
    return None if done.returncode == 0 else done.stderr.strip() or f"status {done.returncode}"


def kill_points(work, folder):
    """Every call that changes something, of a run that is left alone."""
    log = folder.with_name(f"{folder.name}.log")
    work.make(folder)
    done = traced(work.argv, folder, "-o", log, "-e", f"trace={','.join(CALLS)}")
    assert done.returncode == 0, f"{work.name}: {done.stderr}"
    counts, points = Counter(), {}
    for line in log.read_text(errors="replace").splitlines():
        if found := re.match(r"(\d+) +(\w+)\((.*)", line):
            thread, call, rest = found.groups()
            counts[thread, call] += 1  # strace counts each thread's calls by themselves
            if re.search(CHANGES.get(call, ""), rest) and not (call == "openat" and work.is_python):
                points[Point(call, counts[thread, call])] = None
    return list(points)


def fault_points(points):
    """Every such call failing: alone, and with all later ones."""
    return [
        Point(call, time, error + more)
        for call, time, _ in points
        for error in FAULTS.get(call, ())
        for more in ("", "+")
    ]


FIGURES = []  # the tallies of this run, for its summary


def figures():
    """The lines of the table that a run ends with: what the tallies of one verb come to, whatever its options, and all."""
    sums = {}
    for tally in FIGURES:
        for name in (re.split(", | --", tally.name)[0], "all"):
            total = sums.setdefault(name, Tally(name))
            total.kills += tally.kills
            total.errors += tally.errors
            total.wrong += tally.wrong
    everything = sums.pop("all", None)
    lines = [*map(str, sums.values()), str(everything)] if FIGURES else []
    return ["| program | kills | errors | wrong |", "|---|---|---|---|", *lines] if lines else []


@dataclass
class Tally:
    """What was run of one work, and what was wrong with it."""

    name: str
    kills: int = 0
    errors: int = 0
    wrong: list = field(default_factory=list)

    def __str__(self):
        return f"| {self.name} | {self.kills:,} | {self.errors:,} | {len(self.wrong)} |"


def sweep(work, folder, kills=None, errors=None):
    """Runs `work` again and again, each run with one fault, or so many of them by chance, and judges what each leaves."""
    chance, tally = random.Random(f"{SEED} {work.name}"), Tally(work.name)
    points = kill_points(work, fresh(folder / "whole"))
    faults = fault_points(points)
    if not ALL:
        points = points if kills is None else chance.sample(points, min(kills, len(points)))
        faults = faults if errors is None else chance.sample(faults, min(errors, len(faults)))

    def ran(numbered):
        number, point = numbered
        here = fresh(folder / str(number))
        work.make(here)
        return here, point, traced(work.argv, here, "-o", os.devnull, "-e", f"trace={point.call}", "-e", f"inject={point}")

    with ThreadPoolExecutor(2) as pool:
        for here, point, done in pool.map(ran, enumerate(points + faults)):
            # A kill of a call that the run did not come to (threads differ from run to run) is none.
            tally.kills += point.fault == "KILL" and done.returncode != 0
            tally.errors += point.fault != "KILL"
            try:
                work.judge(here, point, done)
            except Exception as error:  # noqa: BLE001
                tally.wrong.append(f"{work.name}, {point}: {type(error).__name__}: {error}\n{done.stdout}{done.stderr}")
            shutil.rmtree(here)
    FIGURES.append(tally)
    return tally


def fresh(folder):
    folder.mkdir()
    return folder
