"""What the tests share: files made by hand, refusals that must change nothing, limits, children, reasons to skip."""

import os
import re
import resource
import struct
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from math import prod

import numpy as np
import pytest

NUMPY2 = int(np.__version__.split(".")[0]) >= 2
BLOCK = 4 << 20


def skip(reason):
    """Skips the test that runs; conftest.py prints every reason at the end of the run."""
    pytest.skip(reason)


def optional(name, why):
    """The module `name`, or a skip that says what was not tested."""
    try:
        return __import__(name)
    except ModuleNotFoundError:
        skip(f"{name} is not installed: {why} not tested")
    except ImportError as error:
        skip(f"{name} cannot be imported here ({error}): {why} not tested")


# Files made by hand -------------------------------------------------------------------------------------------------


def npy(array, *, text=None, version=1, pad=0, end=b"\n"):
    """The bytes of a file whose header is `text` (NumPy's by default) and exactly `pad` spaces: no hidden room."""
    order = "F" if array.ndim and array.flags.fnc else "C"
    if text is None:
        descr = np.lib.format.dtype_to_descr(array.dtype)
        text = f"{{'descr': {descr!r}, 'fortran_order': {order == 'F'}, 'shape': {array.shape!r}, }}"
    body = text.encode("utf8" if version == 3 else "latin1") + b" " * pad + end
    size = struct.pack("<H" if version == 1 else "<I", len(body))
    return b"\x93NUMPY" + bytes([version, 0]) + size + body + array.tobytes(order)


def header_len(path):
    """The offset of the first data byte."""
    first = path.read_bytes()[:12]
    return 10 + struct.unpack_from("<H", first, 8)[0] if first[6] == 1 else 12 + struct.unpack_from("<I", first, 8)[0]


def header_text(path):
    """The header's text, up to its closing newline."""
    return path.read_bytes()[10 : header_len(path)].decode("latin1")


def add(path, data):
    """Puts bytes behind the file, as a killed append leaves them."""
    with open(path, "ab") as file:
        file.write(data)


def example(dtype, shape=(5,), start=0):
    """An array of `dtype` whose elements all differ where the dtype is wide enough, padding all zero, without a NaN."""
    dtype = np.dtype(dtype)
    array = np.zeros(shape, dtype)
    if dtype.names is not None:
        for i, name in enumerate(dtype.names):
            array[name] = example(array[name].dtype, array[name].shape, start + 10 * i)
        return array
    numbers = (np.arange(start, start + prod(shape)) % 100).reshape(shape)
    if dtype.kind in "SU":
        array[...] = numbers.astype("U2").astype(dtype)
    elif dtype.kind == "V":
        array.view("u1").reshape(*shape, dtype.itemsize)[...] = numbers[..., None]
    elif dtype.kind in "Mm":
        array[...] = numbers.astype("i8").astype(dtype)
    elif dtype.kind == "c":
        array[...] = numbers + 1j * (numbers + 1)
    else:
        array[...] = numbers
    return array


# What must hold -----------------------------------------------------------------------------------------------------


def same(actual, expected):
    """Same dtype, shape and values. (`assert_array_equal` alone would let a scalar stand for an array.)"""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype, f"{actual.dtype} != {expected.dtype}"
    assert actual.shape == expected.shape, f"{actual.shape} != {expected.shape}"
    np.testing.assert_array_equal(actual, expected)


def holds(path, *parts, axis=0):
    """`np.load` gives exactly these rows, in the dtype of the first part."""
    joined = np.concatenate(parts, axis=axis)
    expected = np.empty(joined.shape, parts[0].dtype)  # joining forgets byte order and padding
    expected[...] = joined
    same(np.load(path), expected)


def snapshot(path):
    """Every name beside `path`, and what the regular files hold."""
    folder = os.path.dirname(path)
    return {
        name: os.readlink(full) if os.path.islink(full) else os.path.isfile(full) and open(full, "rb").read()
        for name, full in ((name, os.path.join(folder, name)) for name in os.listdir(folder))
    }


def says(error, *words):
    """The error's text has each of the words (regular expressions, case aside)."""
    text = str(error)
    for word in words:
        assert re.search(word, text, re.I), f"no {word!r} in: {text}"


@contextmanager
def refused(kind, path, *words):
    """The block raises `kind`, the text names the path and the words, and no byte in the folder has changed."""
    before = snapshot(path)
    with pytest.raises(kind) as caught:
        yield caught
    assert os.fspath(path) in str(caught.value), f"no path in: {caught.value}"
    says(caught.value, *words)
    assert snapshot(path) == before


def either(dtype):
    """A regular expression for the ways in which a text may name a dtype."""
    dtype = np.dtype(dtype)
    return "|".join(re.escape(name) for name in {dtype.str, dtype.str.lstrip("<=|"), dtype.name, str(dtype)})


# Limits -------------------------------------------------------------------------------------------------------------


@contextmanager
def limited_files(size):
    """No file of this process can grow past `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def peak_of(work):
    """By how many bytes the resident memory rose at its highest during `work`."""

    def status(name):
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))

    if not os.path.exists("/proc/self/clear_refs"):
        skip("no /proc/self/clear_refs: the peak of memory is not measured")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = status("VmRSS")
    work()
    return status("VmHWM") - before


# Children -----------------------------------------------------------------------------------------------------------


def start(code, *args, flags=()):
    """A Python program in a process of its own, started; `np`, `ng`, `os`, `sys` and `args` are there."""
    prelude = "import os, sys\nimport numpy as np\nimport npygrow as ng\nargs = sys.argv[1:]\n"
    return subprocess.Popen(
        [sys.executable, *flags, "-c", prelude + textwrap.dedent(code), *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )


def finish(child, timeout=50):
    """What a child printed, once it has ended well."""
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        pytest.fail(f"the child still ran after {timeout} s\n{out}{err}")
    assert child.returncode == 0, f"the child ended with {child.returncode}\n{out}{err}"
    return out


def run(code, *args, flags=()):
    """What a Python program printed that had to end well."""
    return finish(start(code, *args, flags=flags))
