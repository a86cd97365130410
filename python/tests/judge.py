"""What a killed program may leave: the judge of files, and that of folders."""

import os
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass

import numpy as np
import npygrow as ng
from folder_rows import batch, row
from kills import ENVIRONMENT, SYNCS
from support import same


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
        if self.is_python and point.call == "pwrite64" and point.fault in ("ENOSPC", "EIO"):
            assert ended, "the same again, which the program tried, did not work"
        found = self.found(folder, told, ended)
        self.holds_all(folder, found)
        if not ended and point.fault != "KILL":
            # After a failed sync nobody knows what is there: what appends is not simply done again.
            in_doubt = self.appends and (point.call in SYNCS or "in doubt" in done.stderr)
            if self.appends and not in_doubt and point.call != "ftruncate" and not point.fault.endswith("+"):
                self.undone(folder)
            if self.again is not None and not in_doubt:
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
        named = rf"(out|in\d*)\.npy|{self.out}|{re.escape(str(folder))}"
        assert re.search(named, done.stderr), f"no file is named: {done.stderr}"

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
        if not self.appends:
            same(rows, self.again)
        elif found is None:
            same(rows, self.states[-1])
        else:
            old = 0 if self.states[0] is None else len(self.states[0])
            same(rows, np.concatenate([found, self.states[-1][old:]]))
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
        if found is None and self.again is not None:
            found = self.once_more(folder, found)
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
