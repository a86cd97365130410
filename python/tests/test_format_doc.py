"""The C program at the end of docs/format.md, compiled and run beside a writer."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support import npy, skip

import npygrow as ng

DOC = Path(__file__).parents[2] / "docs" / "format.md"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The program, compiled."""
    cc = shutil.which(os.environ.get("CC", "cc"))
    if cc is None:
        skip("no C compiler: the program of docs/format.md is neither compiled nor run")
    (source,) = re.findall(r"^```c\n(.*?)^```$", DOC.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    folder = tmp_path_factory.mktemp("c")
    (folder / "rows.c").write_text(source, encoding="utf-8")
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O2"]
    built = subprocess.run([cc, *flags, "-o", folder / "rows", folder / "rows.c"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder / "rows"


@pytest.fixture
def follow(rows, path):
    """Starts the program on `path`; a test that fails leaves it waiting for rows, and this ends it."""
    started = []

    def start(first, end):
        command = [rows, path, str(first), str(end)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for child in started:
        child.kill()
        child.communicate()


def lines(child, count):
    return [[float(value) for value in child.stdout.readline().split()] for _ in range(count)]


def ended(child):
    out, err = child.communicate(timeout=20)
    assert (child.returncode, out, err) == (0, "", "")


def test_follows_a_file_that_grows(follow, path):
    values = np.random.default_rng(7).normal(size=(3000, 3))
    with ng.Appender(path, dtype="f8", row_shape=(3,)) as pose:
        child = follow(0, 3000)
        # One by one past the commits that are written, and over 10 and 100; then past the pages mapped at first.
        for start, stop in [*((i, i + 1) for i in range(200)), (200, 1100), (1100, 3000)]:
            pose.append(values[start:stop])
            assert lines(child, stop - start) == values[start:stop].tolist()
    ended(child)


def test_follows_a_single_axis(follow, path):
    with ng.Appender(path) as log:
        log.append(np.array([0.5, -1e300]))
        child = follow(1, 4)
        assert lines(child, 1) == [[-1e300]]
        log.append(np.array([2.0, np.pi, 4.0]))
        assert lines(child, 2) == [[2.0], [np.pi]]
    ended(child)


def test_follows_past_eight_digits(follow, path):
    near = 10**8 - 2
    with ng.Appender(path, dtype="f8", row_shape=()):
        pass
    with open(path, "r+b") as file:
        file.seek(72)
        file.write(b"%8d" % near)
        file.truncate(128 + 8 * near)  # sparse: no block is taken
    with ng.Appender(path) as log:
        child = follow(near - 1, near + 5)
        assert lines(child, 1) == [[0.0]]
        for value in range(5):
            log.append(np.array([1.0 + value]))
            assert lines(child, 1) == [[1.0 + value]]
    ended(child)
    assert len(ng.open(path)) == near + 5


GROWING = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x89PNG" + bytes(200), "not an .npy of version 1.0"),
        (b"", "too short for a file that grows"),
        (npy(GROWING, version=2, pad=60), "not an .npy of version 1.0"),
        (npy(GROWING, pad=60)[:127] + b" " * 3000, "the count is not aligned"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b" " * 3000, "the header is cut off"),
        (npy(GROWING.astype("f4"), pad=60), "not doubles in C order"),
        (npy(np.asfortranarray(GROWING), pad=60), "not doubles in C order"),
    ],
)
def test_refuses_what_it_does_not_read(rows, path, data, why):
    path.write_bytes(data)
    refused(rows, path, why)


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ((0, 2, 2), "more than two axes"),
        ((0, 0), "no columns, or too many"),
        ((0, 1 << 21), "no columns, or too many"),
    ],
)
def test_refuses_other_rows(rows, path, shape, why):
    with ng.Appender(path, dtype="f8", row_shape=shape[1:]):
        pass
    refused(rows, path, why)


def test_refuses_a_truncated_file(rows, path):
    with ng.Appender(path) as log:
        log.append(np.zeros((5, 3)))
    os.truncate(path, 128 + 4 * 24)
    refused(rows, path, "truncated: the header counts rows that are not there")


def refused(rows, path, why):
    ran = subprocess.run([rows, path, "0", "1"], capture_output=True, text=True, timeout=20)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(f"rows: {why}")
