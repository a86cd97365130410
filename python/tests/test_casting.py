"""The checked rule: never silently lossy. One table of what passes, one of what is refused and where."""

import numpy as np
import npygrow as ng
import pytest
from support import either, holds, refused, same

INF, NAN = np.inf, np.nan

PASSES = [  # (the file's dtype, the rows)
    ("i8", np.array([1, -2], "i4")),
    ("f8", np.array([1, -2], "i4")),
    ("f8", np.array([0.1, INF, -INF, NAN], "f4")),
    ("c16", np.array([0.1, INF], "f8")),
    ("i4", np.array([True, False])),
    (">i4", np.array([1, 2], "<i4")),
    ("<f8", np.array([0.1, 2], ">f8")),
    ("f4", np.array([0.1, 1e-60, 3.4e38, INF, NAN])),
    ("f2", np.array([0.1, 65504.0, -INF])),
    ("f8", np.array([0.1, 2], np.longdouble)),
    ("c8", np.array([0.1 + 2j, complex(INF, NAN)])),
    ("i1", np.array([-128, 127])),
    ("u1", np.array([0, 255], "i8")),
    ("i8", np.array([0, 2**63 - 1], "u8")),
    ("u8", np.array([0, 2**63 - 1], "i8")),
    ("u2", np.array([0, 65535], ">i4")),
    ("S5", np.array([b"ab", b""], "S2")),
    ("S2", np.array([b"ab", b"c"], "S9")),
    ("U5", np.array(["ab", ""], "U2")),
    ("U2", np.array(["ab", "ñ"], ">U9")),
    ("U3", np.array([b"abc", b"d"], "S3")),
    ("M8[ns]", np.array(["2020-01-01", "NaT"], "M8[D]")),
    ("m8[ms]", np.array([1, 90], "m8[s]")),
    ([("a", "f4"), ("b", "i1")], np.array([(100, 0.5)], [("b", "i8"), ("a", "f8")])),
    (np.dtype([("a", "i1"), ("b", "f8")], align=True), np.array([(1, 0.5)], [("a", "i1"), ("b", "f8")])),
    ([("a", [("x", "i2"), ("y", "S2")])], np.array([((b"z", 5),)], [("a", [("y", "S5"), ("x", "i8")])])),
    ([("a", "i2", (2,))], np.array([([1, 2],)], [("a", "i8", (2,))])),
]
REFUSED = [  # (the file's dtype, the rows, the first row at fault or None where the dtypes alone decide)
    ("i1", np.array([0.0, 300.7, NAN]), None),
    ("i8", np.array([1.0, 2.0]), None),
    ("f8", np.array([1 + 0j]), None),
    ("f4", np.array([1.0, 2.0, 1e300, 1e301]), 2),
    ("f2", np.array([1.0, 65520.0], "f4"), 1),
    ("c8", np.array([1.0, complex(0, 1e300)]), 1),
    ("i1", np.array([0, 1, -129]), 2),
    ("u8", np.array([-1]), 0),
    ("i8", np.array([0, 2**63], "u8"), 1),
    ("u1", np.array([0, 256, 3], ">i4"), 1),
    ("U2", np.array(["ab", "abcdef"]), 1),
    ("S2", np.array([b"abc", b"ab"]), 0),
    ("M8[D]", np.array(["2020-01-01T01"], "M8[s]"), None),
    ("m8[D]", np.array([90], "m8[s]"), None),
    ("M8[s]", np.array([90], "m8[s]"), None),
    ("U32", np.array([1, 2]), None),
    ("U32", np.array([1.5]), None),
    ("S32", np.array([1, 2]), None),
    ("f8", np.array(["1.5"]), None),
    ([("a", "f8"), ("b", "f8")], np.array([(1, 2)], [("c", "f8"), ("d", "f8")]), None),
    ([("a", "f8"), ("b", "f8")], np.array([(1,)], [("a", "f8")]), None),
    ([("a", "f8")], np.array([(1, 2)], [("a", "f8"), ("b", "f8")]), None),
    ([("a", "i1"), ("b", "f8")], np.array([(1, 2), (300, 2)], [("a", "i8"), ("b", "f8")]), 1),
    ([("a", "f8")], np.array([1.0]), None),
    ("f8", np.array([(1.0,)], [("a", "f8")]), None),
]


def name(value):
    return str(value.dtype if isinstance(value, np.ndarray) else value).replace("dtype", "")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype, rows", PASSES, ids=name)
def test_passes(path, dtype, rows, order):
    columns = np.stack([rows, rows], axis=1 if order == "C" else 0)
    with ng.Appender(path, dtype=dtype, row_shape=2, order=order) as file:
        file.append(columns)
        file.append(columns)
    with np.errstate(all="ignore"):
        expected = columns.astype(dtype) if columns.dtype.names is None else by_name(columns, np.dtype(dtype))
    holds(path, expected, expected, axis=0 if order == "C" else 1)


@pytest.mark.parametrize("dtype, rows, row", REFUSED, ids=name)
def test_refused(path, dtype, rows, row):
    with ng.Appender(path, dtype=dtype, row_shape=()) as file:
        both = [] if np.dtype(dtype).names or rows.dtype.names else [either(dtype), either(rows.dtype)]
        with refused(ng.MismatchError, path, *both, *([] if row is None else [rf"\brow {row}\b"])):
            file.append(rows)
        assert len(file) == 0
        file.append(np.zeros(1, dtype))
    same(np.load(path), np.zeros(1, dtype))


def test_the_fields_that_do_not_match_are_named(path):
    with ng.Appender(path, dtype=[("mass", "f8"), ("speed", "f8")], row_shape=()) as file:
        with refused(ng.MismatchError, path, "mass", "spin"):
            file.append(np.zeros(1, [("spin", "f8"), ("speed", "f8")]))
        with refused(ng.MismatchError, path, "mass", either("f8"), either("c16")):
            file.append(np.zeros(1, [("mass", "c16"), ("speed", "f8")]))


def test_a_fault_late_in_many_blocks_is_found_before_a_byte_is_written(path):
    many = np.zeros((3 << 20, 2), "i8")
    many[-1, 1] = 128
    with ng.Appender(path, dtype="i1", row_shape=2) as file:
        with refused(ng.MismatchError, path, rf"\brow {len(many) - 1}\b"):
            file.append(many)


@pytest.mark.parametrize(
    "dtype, rows, passes",
    [
        ("<f8", np.array([1.0]), True),
        ("<f8", np.array([1.0], ">f8"), False),
        ("<f8", np.array([1.0], "<f4"), False),
        ("<i8", np.array([1], "<i4"), False),
        ("S3", np.array([b"ab"], "S2"), False),
        ([("a", "f4")], np.zeros(1, [("a", "f4")]), True),
        ([("a", "f4"), ("b", "f4")], np.zeros(1, [("b", "f4"), ("a", "f4")]), False),
    ],
    ids=name,
)
def test_exact_takes_only_the_same_dtype(path, dtype, rows, passes):
    with ng.Appender(path, dtype=dtype, row_shape=(), casting="exact") as file:
        if passes:
            file.append(rows)
        else:
            with refused(ng.MismatchError, path, "exact"):
                file.append(rows)
    assert len(np.load(path)) == passes


def test_the_first_append_settles_the_dtype(path):
    with ng.Appender(path) as file:
        file.append(np.zeros(2, "f4"))
        file.append(np.ones(2))
        assert file.dtype == np.dtype("f4")
        with refused(ng.MismatchError, path, either("c16"), either("f4")):
            file.append(np.zeros(2, complex))
    holds(path, np.array([0, 0, 1, 1], "f4"))


def by_name(rows, dtype):
    """What a cast by name must give, by a naive loop over the fields."""
    if dtype.names is None:
        return rows.astype(dtype.base)
    out = np.zeros(rows.shape, dtype)
    for field in dtype.names:
        out[field] = by_name(rows[field], dtype[field])
    return out
