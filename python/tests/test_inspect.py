"""`inspect`: what a file is, whether it is whole, what to call."""

import dataclasses

import numpy as np
import npygrow as ng
import pytest
from support import add, npy, refused, same, says

ROWS = np.arange(12, dtype="<i4").reshape(4, 3)


def test_a_file_of_ours(path):
    with ng.Appender(path) as rows:
        rows.append(ROWS)
        report = ng.inspect(path)
    assert (report.dtype, report.order, report.shape) == (np.dtype("<i4"), "C", (4, 3))
    assert (report.version, report.header_len, report.file_size) == (1, 128, 128 + 48)
    assert (report.rows, report.rows_on_disk, report.ours) == (4, 4, True)
    assert report.room >= 10**15
    says(report.health, "clean")
    assert not report.notes and report.advice is None
    assert path.stat().st_size == 128 + 48


@pytest.mark.parametrize("pad, version", [(0, 1), (180, 1), (40, 2), (40, 3)])
def test_a_foreign_file(path, pad, version):
    path.write_bytes(npy(np.asfortranarray(ROWS), pad=pad, version=version))
    report = ng.inspect(path)
    length = path.stat().st_size - 48
    assert (report.dtype, report.order, report.shape, report.ours) == (np.dtype("<i4"), "F", (4, 3), False)
    assert (report.version, report.header_len, report.rows) == (version, length, 3)
    assert ng.is_appendable(path) == (pad > 0)
    if pad == 0:
        says(report.advice, "ensure_appendable")


@pytest.mark.parametrize(
    "text, word",
    [
        ("{'descr': '<i4', 'fortran_order': False, 'shape': (np.int64(4), 3), }", r"np\.int64|np\.load"),
        ("{'descr': '<i4', 'fortran_order': False, 'shape': (4L, 3L), }", "Python 2"),
    ],
)
def test_odd_spellings_load_and_are_noted(path, text, word):
    path.write_bytes(npy(ROWS, text=text, pad=40))
    report = ng.inspect(path)
    assert report.shape == (4, 3)
    says(" ".join(map(str, report.notes)), word)
    same(np.asarray(ng.open(path)), ROWS)


MALFORMED = {
    "a number as shape": ("{'descr': '<i4', 'fortran_order': False, 'shape': 12, }", "shape"),
    "a list as shape": ("{'descr': '<i4', 'fortran_order': False, 'shape': [4, 3], }", "shape"),
    "a number in brackets": ("{'descr': '<i4', 'fortran_order': False, 'shape': (12), }", "shape"),
    "an array in the shape": ("{'descr': '<i4', 'fortran_order': False, 'shape': (4, array(3)), }", "shape|array"),
    "a negative count": ("{'descr': '<i4', 'fortran_order': False, 'shape': (-4, 3), }", "shape"),
    "a huge count": ("{'descr': '<i4', 'fortran_order': False, 'shape': (99999999999999999999999, 3), }", "shape"),
    "lower-case false": ("{'descr': '<i4', 'fortran_order': false, 'shape': (4, 3), }", "fortran_order|false"),
    "a number as order": ("{'descr': '<i4', 'fortran_order': 0, 'shape': (4, 3), }", "fortran_order"),
    "no shape": ("{'descr': '<i4', 'fortran_order': False, }", "shape"),
    "no descr": ("{'fortran_order': False, 'shape': (4, 3), }", "descr"),
    "a key twice": ("{'descr': '<i4', 'descr': '<i4', 'fortran_order': False, 'shape': (4, 3), }", "descr"),
    "one more key": ("{'descr': '<i4', 'fortran_order': False, 'shape': (4, 3), 'extra': 1, }", "extra"),
    "objects": ("{'descr': '|O', 'fortran_order': False, 'shape': (4, 3), }", "object"),
    "objects deep inside": ("{'descr': [('a', [('b', '|O')])], 'fortran_order': False, 'shape': (4, 3), }", "object"),
    "a class": ("{'descr': <class 'bytes'>, 'fortran_order': False, 'shape': (4, 3), }", "class|descr"),
    "a call": ("{'descr': dtype('<i4'), 'fortran_order': False, 'shape': (4, 3), }", "dtype|descr"),
    "a control character": ("{'descr': '|\x16', 'fortran_order': False, 'shape': (4, 3), }", "descr|x16|u.16"),
    "a dtype that is none": ("{'descr': '<i3', 'fortran_order': False, 'shape': (4, 3), }", "<i3"),
    "a name twice": ("{'descr': [('a', '<i4'), ('a', '<i4')], 'fortran_order': False, 'shape': (4, 3), }", "'a'|\"a\""),
    "text after the dict": ("{'descr': '<i4', 'fortran_order': False, 'shape': (4, 3), } and more", "after|end|and"),
    "code": ("__import__('os').system('true')", ""),
    "no end": ("{'descr': '<i4', 'fortran_order': False, 'shape': (4, 3", ""),
    "an open string": ("{'descr': '<i4, 'fortran_order': False, 'shape': (4, 3), }", ""),
    "nothing": ("", ""),
    "nested without end": ("[" * 5000, "deep|nest|limit|level"),
    "over 10,000 characters": (
        "{'descr': '<i4', 'fortran_order': False, 'shape': (4, 3), }" + " " * 10_000,
        "max_header_size",
    ),
    "more than 64 bits": ("{'descr': '<i4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4), }", ""),
}


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("verb", ["inspect", "open", "Appender", "recover"])
def test_headers_that_break_the_format(path, name, verb):
    text, word = MALFORMED[name]
    path.write_bytes(npy(ROWS, text=text))
    with refused(ng.FormatError, path, word):
        getattr(ng, verb)(path)


@pytest.mark.parametrize(
    "first",
    [
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        b"\x93NUMPY\x01\x00\xff\xff",
        b"\x93NUMPY\x04\x00\x10\x00\x00\x00",
        b"\x93NUMPY\x00\x00\x10\x00",
    ],
)
def test_prefixes_that_lie(path, first):
    path.write_bytes(first)
    with refused(ng.FormatError, path):
        ng.inspect(path)


def test_reports_are_frozen_and_print_well(path):
    np.save(path, ROWS)
    add(path, b"tail")
    report = ng.inspect(path)
    assert dataclasses.is_dataclass(report)
    with pytest.raises(AttributeError):
        report.rows = 5
    text = str(report)
    says(text, r"\(4, 3\)", "i4|int32", r"\b4\b")
    assert len(text.splitlines()) > 3 and max(map(len, text.splitlines())) < 121


@pytest.mark.parametrize(
    "array", [np.float64(3), np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(0)], ids=lambda a: str(a.shape)
)
def test_shapes_without_data(path, array):
    np.save(path, array)
    report = ng.inspect(path)
    assert report.shape == array.shape and report.file_size == 128 + array.nbytes
    says(report.health, "clean")
    assert not ng.needs_recovery(path)
