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
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import npygrow as ng
from support import same

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
    """The lines of the table that a run ends with."""
    total = Tally("all", sum(t.kills for t in FIGURES), sum(t.errors for t in FIGURES), [w for t in FIGURES for w in t.wrong])
    return ["| program | kills | errors | wrong |", "|---|---|---|---|", *map(str, FIGURES), str(total)] if FIGURES else []


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


# The judge ----------------------------------------------------------------------------------------------------------


@dataclass
class Work:
    """What a program does to `out.npy`, and the states that may be met on the way, each a beginning of nothing else."""

    name: str
    argv: list
    make: object  # makes in a folder what is there before
    states: list  # arrays, or None for no file; the last is what it ends with
    again: object = None  # what the same program ends with when it is run once more; "appends": this, behind what is there
    in_parts: bool = False  # any beginning of the last state may be met
    unreadable: bool = False  # np.load may refuse it half-way, if `inspect` says what to call
    consumes: tuple = ()  # input files, in order, that are deleted when their rows are in `out.npy`
    out: str = "out.npy"

    @property
    def is_python(self):
        return self.argv[0] == sys.executable

    def judge(self, folder, point, done):
        before = self.inputs(folder)
        told = max([int(rows) for rows in re.findall(r"^told (\d+)$", done.stdout, re.MULTILINE)], default=0)
        if point.fault == "KILL":
            assert done.returncode in (-9, 137, 0), f"ended with {done.returncode}"
        elif done.returncode != 0:
            self.says(folder, point, done)
        ended = done.returncode == 0
        found = self.found(folder, told, ended)
        self.holds_all(folder, found)
        if not ended and point.fault in ("ENOSPC", "EIO") and point.call != "ftruncate" and self.appends and not self.in_doubt(point, done):
            self.undone(folder)
        # After a failed sync nobody knows what is there: what appends is not simply done again.
        if not ended and point.fault != "KILL" and self.again is not None and not (self.appends and self.in_doubt(point, done)):
            found = self.once_more(folder, found)
        self.goes_on(folder, found, told, straight=point.time % 2)
        left = sorted(os.listdir(folder))
        assert set(left) <= {self.out, *(name.split("/")[0] for name in before)}, f"left beside it: {left}"
        after = self.inputs(folder)
        for name, data in before.items():
            assert after.get(name, data if name in self.consumes else None) == data, f"{name} was changed"

    @property
    def appends(self):
        return isinstance(self.again, str)

    def in_doubt(self, point, done):
        return point.call in SYNCS or "in doubt" in done.stderr

    def undone(self, folder):
        """An append that failed is taken back to the byte."""
        if (folder / self.out).exists():
            report = ng.inspect(folder / self.out)
            assert report.health == "clean", f"left after the error: {report.tail_bytes} bytes"

    def inputs(self, folder):
        """What the files hold that are only read, by name: in.npy, in1.npy ...; the folder `in`."""
        files = [path for path in folder.glob("in*/**/*") if path.is_file()] + list(folder.glob("in*.*"))
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    def says(self, folder, point, done):
        """A failure is told in words: which file, and what the system said."""
        assert done.returncode in ((1,) if self.is_python else (2,)), f"ended with {done.returncode}"
        assert "panicked" not in done.stderr
        assert os.strerror(point.errno) in done.stderr, f"the error is not named: {done.stderr}"
        assert re.search(rf"(out|in\d*)\.npy|{self.out}|{re.escape(str(folder))}", done.stderr), f"no file is named: {done.stderr}"

    def found(self, folder, told, ended=False):
        """What is in the file by NumPy, which must be one of the states; `inspect` says the same."""
        path = folder / self.out
        if not path.exists():
            assert any(state is None for state in self.states), "the file is gone"
            assert told == 0 and not ended, "the file is not there"
            return None
        try:
            rows = np.load(path)
        except (ValueError, EOFError) as error:
            assert self.unreadable, f"np.load: {error}"
            assert not ended, "unreadable at the end"
            try:
                assert ng.inspect(path).health == "truncated"
            except ng.NeedsRecoveryError as refusal:
                assert "recover" in str(refusal)  # noqa: PT017
            ng.recover(path)
            rows = np.load(path)
        states = self.states[-1:] if ended else [state for state in self.states if state is not None]
        assert len(rows) >= told, f"{told} rows were acknowledged, {len(rows)} are there"
        if self.in_parts and not ended:
            same(rows, self.states[-1][: len(rows)])
        else:
            assert any(equal(rows, state) for state in states), f"{rows.shape} is none of the states"
        assert ng.inspect(path).rows == len(rows)
        return rows

    def once_more(self, folder, found):
        if self.consumes and found is not None and sorted(os.listdir(folder)) == [self.out]:
            return found  # the last sync failed, when all was done
        done = subprocess.run(self.argv, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=50)
        assert done.returncode == 0, f"the same again: {done.stderr}"
        rows = np.load(folder / self.out)
        added = [self.states[-1][len(self.states[0] if self.states[0] is not None else ()) :]] if self.appends else []
        same(rows, np.concatenate([*([] if found is None else [found]), *added]) if added else self.again)
        return rows

    def goes_on(self, folder, found, told, straight):
        """What the next open or `inspect` says to do is done, and one more row goes in."""
        path = folder / self.out
        if path.exists() and not straight:
            found = self.mended(folder, found, ng.inspect(path).advice)
        more = (self.states[-1] if found is None else found)[:1]
        if more.size == 0:
            more = np.zeros((1, *more.shape[1:]), more.dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(3):
                try:
                    ng.append(path, more)
                    break
                except (ng.NeedsRecoveryError, ng.NotAppendableError) as error:
                    found = self.mended(folder, found, str(error))
            else:
                raise AssertionError("following the advice does not end")
        same(np.load(path), np.concatenate([more] if found is None else [found, more]))

    def mended(self, folder, found, advice):
        """What is there once the advice was followed: what was there, and perhaps rows of the tail, or all of them."""
        if advice is None:
            return found
        if "concat(" in advice:
            return self.once_more(folder, found)
        advised(folder / self.out, advice)
        rows = np.load(folder / self.out)
        if not equal(rows, found):
            same(rows, self.states[-1][: len(rows)])
            assert len(rows) >= len(found)
        return rows

    def holds_all(self, folder, found):
        """Where inputs are deleted, every row is in the output or in an input that is there."""
        there = sum(len(np.load(folder / name)) for name in self.consumes if (folder / name).exists())
        missing = any(not (folder / name).exists() for name in self.consumes)
        assert not missing or len(found) + there >= len(self.states[-1]), "rows are in no file"


def equal(rows, state):
    return state is not None and rows.dtype == state.dtype and rows.shape == state.shape and bool((rows == state).all())


def advised(path, advice):
    """Does what a report or an error says is to be done."""
    if advice is None:
        return
    if "recover(" in advice:
        ng.recover(path)
    elif "ensure_appendable(" in advice:
        ng.ensure_appendable(path)
    else:
        raise AssertionError(f"no call is named: {advice}")


# Folders ------------------------------------------------------------------------------------------------------------


def row(number):
    """A row of the dataset `run`: what is in column `x`, and the item in column `t`."""
    return np.arange(3 * number, 3 * number + 3), np.arange(number, number + number % 4, dtype="u1")


def batch(start, end, only_items=False):
    """What an appender of `run` takes for these rows."""
    items = [row(number)[1] for number in range(start, end)]
    values, lengths = np.concatenate([np.zeros(0, "u1"), *items]), [len(item) for item in items]
    if only_items:
        return values, lengths
    return {"x": np.array([row(number)[0] for number in range(start, end)]).reshape(-1, 3), "t": (values, lengths)}


@dataclass
class FolderWork(Work):
    """The same for a folder: `states` are numbers of rows, None for no folder or one without files."""

    items: bool = False  # a folder of items, not of columns
    out: str = "run"

    def undone(self, folder):
        """A folder is undone as a whole, when it is opened."""

    def holds_all(self, folder, found):
        pass

    def counts(self, folder):
        """How many rows each file has, whose rows are what they should be."""
        path, counts = folder / self.out, []
        ragged = path if self.items else path / "t"
        if (path / "x.npy").exists():
            x = np.load(path / "x.npy")
            same(x, np.arange(3 * len(x)).reshape(-1, 3))
            counts.append(len(x))
        if (ragged / "offsets.npy").exists() and (ragged / "values.npy").exists():
            values, offsets = np.load(ragged / "values.npy"), np.load(ragged / "offsets.npy")
            if not len(offsets):
                return []  # the folder is being made
            whole = int((offsets <= len(values)).sum()) - 1
            for number in range(whole):
                same(values[offsets[number] : offsets[number + 1]], row(number)[1])
            counts += [whole]
            self.spare = len(values) - offsets[-1]
        return counts

    def found(self, folder, told, ended=False):
        counts = self.counts(folder)
        if len(counts) < (1 if self.items else 2):
            assert None in self.states and told == 0 and not ended, f"the folder has lost a file: {os.listdir(folder)}"
            return None
        rows = min(counts)
        assert rows >= told, f"{told} rows were acknowledged, {rows} are there"
        allowed = self.states[-1:] if ended else self.states
        assert rows in allowed or (self.in_parts and rows <= max(self.states[1:])), f"{rows} rows"
        return rows

    def once_more(self, folder, found):
        done = subprocess.run(self.argv, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=50)
        assert done.returncode == 0, f"the same again: {done.stderr}"
        expected = self.again if not self.appends else found + self.states[-1] - self.states[0]
        assert set(self.counts(folder)) == {expected}
        return expected

    def goes_on(self, folder, found, told, straight):
        path = folder / self.out
        if found is not None and not straight:
            report = ng.inspect(path)
            assert report.rows == found
            advised(path, report.advice)
            # `recover` keeps whole rows of a tail, unverified; the judge verifies them.
            rows = min(self.counts(folder))
            assert found <= rows <= max(state or 0 for state in self.states), f"{rows} rows after {report.advice}"
            found = rows
        number = found or 0
        kind = ng.RaggedAppender if self.items else ng.DatasetAppender
        named = {"dtype": "u1", "row_shape": ()} if self.items else {"ragged": "t"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(3):
                try:
                    with kind(path, **named) as rows:
                        assert len(rows) == number
                        more = batch(number, number + 1, self.items)
                        rows.extend(more) if self.items else rows.append(more)
                    break
                except ng.NeedsRecoveryError as error:
                    advised(path, str(error))
            else:
                raise AssertionError("following the advice does not end")
        assert set(self.counts(folder)) == {number + 1} and self.spare == 0
