"""`npy head`, `tail`, `slice` and `follow`: rows as text, JSON, CSV and bytes, with NumPy as the judge."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from decimal import Decimal

import numpy as np
import npygrow as ng
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import example, same

NPY = [sys.executable, "-P", "-m", "npygrow"]


def started(*args):
    """The command, started."""
    return subprocess.Popen([*NPY, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ran(*args):
    """Status, output and errors of the command within this process: a hundred times as fast as one of its own."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        kept = os.dup(1), os.dup(2)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            status = ng._native.main(["npy", *map(str, args)])
        finally:
            for number, one in enumerate(kept, 1):
                os.dup2(one, number)
                os.close(one)
        out.seek(0)
        err.seek(0)
        return status, out.read(), err.read().decode()


def printed(*args):
    """What the command printed, as bytes; it had to end well, without a word on standard error."""
    status, out, err = ran(*args)
    assert (status, err) == (0, "")
    return out


def refused(*args):
    """What the command said when it failed, and printed nothing."""
    status, out, err = ran(*args)
    assert (status, out) == (2, b"")
    return err


def lines(*args):
    return printed(*args).decode().split("\n")[:-1]


# What is expected, from NumPy -----------------------------------------------------------------------------------------


def number(x):
    """NumPy's shortest digits. (`str` has other bounds for exponents in every few versions of NumPy.)"""
    if not np.isfinite(x):
        return str(x)
    if x == 0 or -4 <= Decimal(np.format_float_scientific(x, trim="-")).adjusted() < 16:
        return np.format_float_positional(x, unique=True, trim="0")
    return np.format_float_scientific(x, unique=True, trim="-", exp_digits=2)


def human(x):
    if isinstance(x, np.void) and x.dtype.names is not None:
        return f"({', '.join(f'{name}={human(x[name])}' for name in x.dtype.names)})"
    if isinstance(x, np.ndarray) and x.ndim:
        return f"[{' '.join(map(human, x))}]"
    x = x[()] if isinstance(x, np.ndarray) else x
    if isinstance(x, np.complexfloating):
        real, imag = (number(part).removesuffix(".0") for part in (x.real, x.imag))
        return f"{imag}j" if real == "0" else f"({real}{'' if imag.startswith('-') else '+'}{imag}j)"
    if isinstance(x, np.floating):
        return number(x)
    return repr(bytes(x)) if isinstance(x, np.bytes_) else repr(str(x)) if isinstance(x, np.str_) else str(x)


def as_json(x):
    if isinstance(x, np.void) and x.dtype.names is not None:
        return {name: as_json(x[name]) for name in x.dtype.names}
    if isinstance(x, np.ndarray) and x.ndim:
        return [as_json(part) for part in x]
    x = x[()] if isinstance(x, np.ndarray) else x
    if isinstance(x, np.complexfloating):
        return [as_json(x.real), as_json(x.imag)]
    if isinstance(x, np.floating):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(str(x), number(x))
    if isinstance(x, np.datetime64):
        return str(x)
    if isinstance(x, np.timedelta64):
        return "NaT" if np.isnat(x) else int(x.astype("i8")) * np.datetime_data(x.dtype)[1]
    if isinstance(x, np.void):
        return bytes(x).hex()
    return bytes(x).decode("latin1") if isinstance(x, np.bytes_) else x.item()


def read(line):
    return json.loads(line, parse_float=str)


DTYPES = [
    *("?", "i1", ">i2", "<i4", ">i8", "u1", "<u2", ">u4", "<u8", "<f2", ">f2", "<f4", ">f4", "<f8"),
    *(">f8", "<f16", ">f16"),
    *("<c8", ">c16", "<c32", "S3", "<U3", ">U2", "V3", "<M8[Y]", "<M8[M]", "<M8[W]", "<M8[D]", ">M8[h]", "<M8[m]"),
    *("<M8[s]", "<M8[25s]", "<M8[ms]", "<M8[us]", "<M8[ns]", "<M8[ps]", "<M8[fs]", "<M8[as]", "<m8[s]", ">m8[7D]"),
    *("<m8[ns]", "<m8[Y]"),
    np.dtype([("a", "<u4"), ("b", "<f8", (2, 3)), ("c", [("x", "S2"), ("y", "<c8")]), ("t", "<M8[s]")]),
    np.dtype({"names": ["p", "q"], "formats": ["i1", "<f8"], "offsets": [3, 8], "itemsize": 20}),
]


def shown(rows, axis=0):
    return [human(row) for row in np.moveaxis(rows, axis, 0)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_of_every_dtype(path, dtype):
    rows = example(dtype, (12, 2))
    np.save(path, rows)
    assert lines("head", "-n", 99, path) == shown(rows)
    assert [read(line) for line in lines("tail", "--json", "-n", 5, path)] == [as_json(row) for row in rows[-5:]]
    assert printed("head", "--raw", path) == rows[:10].tobytes()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", np.longdouble, "c8", "c16", np.clongdouble])
def test_floats_are_numpys_digits(path, dtype):
    kind = np.dtype(dtype)
    random = np.random.default_rng(0)
    if kind == np.dtype("f2"):
        values = np.arange(65536, dtype="u2").view("f2")
    elif np.finfo(kind).dtype == np.longdouble:
        info = np.finfo(kind)
        most = info.maxexp
        limits = [info.max, info.tiny, info.smallest_subnormal, np.nan, np.inf, -np.inf, -0.0]
        powers = np.ldexp(np.longdouble(1), random.integers(-most - 20, most, 200))
        mantissas = random.random(500).astype(np.longdouble) + random.random(500).astype(np.longdouble) / 2**40
        wide = np.ldexp(mantissas, random.integers(-most, most - 2, 500))
        near = mantissas * 10 ** random.integers(-6, 18, 500).astype(np.longdouble)
        halves = np.arange(-20, 21) / np.longdouble(2)
        values = np.concatenate([np.array(limits, np.longdouble), powers, wide, -near, halves])
    else:
        part = "u4" if kind in ("f4", "c8") else "u8"
        values = random.integers(0, np.iinfo(part).max, 4000, part, endpoint=True).view("f4" if part == "u4" else "f8")
        near = random.random(1000) * 10.0 ** random.integers(-6, 18, 1000)
        special = np.array([np.nan, np.inf, -np.inf, -0.0])
        values = np.concatenate([values, *(part.astype(values.dtype) for part in (near, special))])
    if kind.kind == "c":
        values = values[: len(values) // 2 * 2].copy().view(kind)
    values = values.astype(kind)
    np.save(path, values)
    assert lines("slice", path, ":") == shown(values)
    assert [read(line) for line in lines("slice", path, ":", "--json")] == [as_json(value) for value in values]


@pytest.mark.parametrize("unit", "Y M W D h m s ms us ns ps fs as 7D 25s 30m".split())
def test_dates_and_times(path, unit):
    random = np.random.default_rng(1)
    # As far as NumPy's own arithmetic goes.
    most = {"Y": 10**6, "M": 10**7, "W": 10**8, "D": 10**9, "7D": 10**8}.get(unit, 10**11)
    counts = np.concatenate([[0, 1, -1, -(2**63)], np.arange(-800, 800, 37), random.integers(-most, most, 500)])
    for kind in "Mm":
        values = counts.astype("i8").view(f"{kind}8[{unit}]")
        np.save(path, values)
        assert lines("slice", path, ":") == shown(values)
        assert [read(line) for line in lines("slice", "--json", path, ":")] == [as_json(value) for value in values]


def test_dates_and_times_without_a_unit_are_numbers(path):
    for kind in "Mm":
        np.save(path, np.array([5, -1, -(2**63)]).view(f"{kind}8"))
        assert lines("head", path) == ["5", "-1", "NaT"]


def test_strings_are_pythons(path):
    texts = ["", "a b", "it's", 'say "x"', "'\"", "\\", "\n\r\t\x00x", "\x1b[31m", "é数据", "a\u0301"]
    texts += ["\u200b\u2028\xa0\xad", "\x7f\x9b", "\U0001f600"]
    np.save(path, np.array(texts))
    assert lines("slice", path, ":") == [repr(text) for text in texts]
    assert [json.loads(line) for line in lines("slice", "--json", path, ":")] == texts
    octets = np.array([b"", b"it's", b"a\0b", bytes(range(1, 256))])
    np.save(path, octets)
    assert lines("head", path) == [repr(bytes(text)) for text in octets]
    assert [json.loads(line) for line in lines("head", "--json", path)] == [text.decode("latin1") for text in octets]
    np.save(path, np.array([0xD800, 0x110000], "<u4").view("<U1"))
    assert lines("head", path) == [r"'\ud800'", r"'\U00110000'"]
    assert [json.loads(line) for line in lines("head", "--json", path)] == ["\ufffd"] * 2


# Which rows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
def test_head_and_tail_are_along_the_growth_axis(path, order):
    cube = np.asarray(np.arange(105).reshape(3, 5, 7), order=order)
    np.save(path, cube)
    axis = 0 if order == "C" else 2
    rows = np.moveaxis(cube, axis, 0)
    for n in (0, 1, 2, 99):
        assert lines("head", "-n", n, path) == shown(rows[:n])
        assert lines("tail", "-n", n, path) == shown(rows[max(len(rows) - n, 0) :])
        assert printed("head", "--raw", "-n", n, path) == np.take(cube, range(min(n, len(rows))), axis).tobytes(order)


def sliced(rows, parts):
    """One line for a row: an index alone for the rows is one line, too."""
    first, *others = parts
    first = slice(first, first + 1 or None) if isinstance(first, int) else first
    return [row[tuple(others)] for row in rows[first]]


def spelt(part):
    if isinstance(part, int):
        return str(part)
    text = ":".join("" if n is None else str(n) for n in (part.start, part.stop))
    return text if part.step is None else f"{text}:{part.step}"


bound = st.none() | st.integers(-9, 9)
parts = st.slices(7) | st.builds(slice, bound, bound, st.none() | st.integers(-4, 4).filter(bool)) | st.integers(-3, 2)


@pytest.mark.parametrize("order", ["C", "F"])
def test_slices_are_numpys(tmp_path_factory, order):
    path = tmp_path_factory.mktemp("slices") / "cube.npy"
    cube = np.asarray(np.arange(105).reshape((7, 5, 3) if order == "C" else (5, 3, 7)), order=order)
    np.save(path, cube)
    rows = np.moveaxis(cube, 0 if order == "C" else 2, 0)

    @given(st.lists(parts, min_size=1, max_size=3))
    def check(parts):
        expected = sliced(rows, parts)
        text = ",".join(map(spelt, parts))
        assert lines("slice", path, text) == [human(np.asarray(row)) for row in expected]

    check()
    for text in (":,1", "::2,1:3,::-1", "-1", "::-1,:,0"):
        expected = sliced(rows, [eval(f"np.s_[{part}]") for part in text.split(",")])
        assert printed("slice", "--raw", path, text) == b"".join(np.asarray(row).tobytes(order) for row in expected)


@pytest.mark.parametrize("row", [1, 1000, 30_000, 100_000])
def test_slices_of_many_rows(path, row):
    rows = np.random.default_rng(2).integers(0, 256, (4 << 20) // row * row, "u1").reshape(-1, row)
    np.save(path, rows)
    for text in (":", "::3", "::-1", "5:-5:-7", "-3:2:-2", "::1000"):
        assert printed("slice", "--raw", path, text) == rows[eval(f"np.s_[{text}]")].tobytes()


def test_memory_is_bounded(path):
    with ng.Appender(path) as appender:
        for _ in range(4):
            appender.append(np.ones((1024, 4096)))
    code = "import sys, resource; from npygrow._native import main; main(['npy', *sys.argv[1:]])"
    code += "; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"

    def peak(*args):
        done = subprocess.run([sys.executable, "-P", "-c", code, *map(str, args)], capture_output=True, timeout=50)
        return len(done.stdout), int(done.stderr.split()[-1]) << 10

    (none, least), (size, most) = peak("head", "-n", 0, path), peak("slice", "--raw", path, ":")
    assert (none, size) == (0, 128 << 20)
    # One block, and what writing takes.
    assert most - least < 16 << 20


def test_arrays_without_rows_axes_or_bytes(path):
    np.save(path, np.float64(0.1))
    assert lines("head", path) == lines("tail", path) == ["0.1"]
    np.save(path, np.zeros((0, 3)))
    assert lines("head", path) == lines("slice", path, ":") == []
    np.save(path, np.zeros((3, 0)))
    assert lines("head", path) == ["[]"] * 3
    np.save(path, np.zeros((2, 0, 3)))
    assert lines("slice", path, ":,:,1") == ["[]"] * 2
    np.save(path, np.zeros((2, 3, 0)))
    assert lines("head", path) == ["[[] [] []]"] * 2


def test_slices_that_cannot_be(path):
    np.save(path, np.zeros((3, 2)))
    for text, said in {
        "3": "expected an index of the 3 rows, found 3",
        ":,-3": "expected an index of the 2 items of an axis, found -3",
        ":,:,:": "expected a slice of at most 2 parts, one for each axis, found 3",
    }.items():
        assert refused("slice", path, text) == f"error: {path}: {said}\n"
    np.save(path, np.float64(1))
    assert "at most 0 parts" in refused("slice", path, ":")
    assert "expected a slice such as" in refused("slice", path, "x")
    assert "cannot step by 0" in refused("slice", path, "::0")


# CSV ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    "dtype",
    ["?", "<i8", ">u2", "<f2", "<f4", "<f8", "<c16", "S3", "<U3", [("a", "<u4"), ("b", "<c8", (2,)), ("s", "S2")]],
)
def test_csv_is_what_append_takes(path, dtype, order):
    shape = (6,) if isinstance(dtype, list) else (6, 2, 3) if order == "C" else (2, 3, 6)
    with ng.Appender(path, order=order) as appender:
        appender.append(example(dtype, shape))
    copy = path.with_name("copy.npy")
    ng.Appender(copy, dtype=np.load(path).dtype, order=order, row_shape=() if len(shape) == 1 else (2, 3)).close()
    text = printed("slice", "--csv", "--header", path, ":")
    table = path.with_name("table.csv")
    table.write_bytes(text)
    printed("append", "--csv", "--header", copy, table)
    same(np.load(copy), np.load(path))


def test_csv(path):
    np.save(path, np.array([(1, 'a,"b"', 1 + 2j, [1, 2])], [("n", "i4"), ("s", "U9"), ("c", "c8"), ("v", "f4", (2,))]))
    assert lines("head", "--csv", "--header", path) == ["n,s,c.real,c.imag,v[0],v[1]", '1,"a,""b""",1.0,2.0,1.0,2.0']
    np.save(path, np.array([[np.nan, np.inf]]))
    assert lines("head", "--csv", "--header", path) == ["[0],[1]", "nan,inf"]
    np.save(path, np.array(["2020-01-01", "NaT"], "M8[D]"))
    assert lines("head", "--csv", "--header", path) == ["value", "2020-01-01", "NaT"]


# Pipes, and files that grow -------------------------------------------------------------------------------------------


def test_a_closed_pipe_ends_it_quietly(path):
    with ng.Appender(path) as appender:
        appender.append(np.zeros(10_000_000))
    npy = started("slice", path, ":")
    assert npy.stdout.readline() == b"0.0\n"
    npy.stdout.close()
    assert (npy.wait(20), npy.stderr.read()) == (0, b"")


def test_follow_prints_rows_as_they_come(path):
    ng.append(path, [[0, 1]])
    npy = started("tail", "-n", 1, "-f", path)
    assert npy.stdout.readline() == b"[0 1]\n"
    for i in range(3):
        ng.append(path, [[i, 7]])
        assert npy.stdout.readline() == f"[{i} 7]\n".encode()
    npy.send_signal(signal.SIGINT)
    assert (npy.wait(20), npy.stdout.read(), npy.stderr.read()) == (-signal.SIGINT, b"", b"")


def test_follow_ends_in_silence_or_with_the_file(path):
    ng.append(path, [1.5])
    before = time.monotonic()
    assert lines("follow", "--timeout", "0.3", path) == []
    assert 0.3 <= time.monotonic() - before < 20
    npy = started("follow", "--json", path)
    out = b""
    while not out:
        # Until it follows.
        ng.append(path, [2.5])
        time.sleep(0.1)
        os.set_blocking(npy.stdout.fileno(), False)
        out = npy.stdout.read() or b""
    os.set_blocking(npy.stdout.fileno(), True)
    ng.save(path, np.zeros(3))
    assert npy.wait(20) == 2
    assert set((out + npy.stdout.read()).splitlines()) == {b"2.5"}
    said = "the file was replaced, renamed or deleted while it was followed: open it again"
    assert npy.stderr.read().decode() == f"error: {path}: {said}\n"


def test_follow_ends_when_nobody_reads(path):
    ng.append(path, [1])
    npy = started("tail", "-f", path)
    assert npy.stdout.readline() == b"1\n"
    npy.stdout.close()
    ng.append(path, [2])
    assert (npy.wait(20), npy.stderr.read()) == (0, b"")
