"""Random sequences of operations against a model of a few lines; after each step np.load must agree with it."""

import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import npygrow as ng
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import holds, same

LAYOUTS = [
    np.ascontiguousarray,
    np.asfortranarray,
    lambda a: a[::-1, :].copy()[::-1, :],
    lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    lambda a: a.astype(">i8"),
    lambda a: a.tolist() if a.size else a,
    lambda a: np.broadcast_to(a, a.shape),
]
COUNTS = st.one_of(st.integers(0, 6), st.sampled_from([100, 1023, 5000]))
APPEND = st.tuples(st.just("append"), COUNTS, st.sampled_from(range(len(LAYOUTS))))
REFUSE = st.tuples(
    st.just("refuse"), st.sampled_from([np.zeros((2, 5), "i8"), np.zeros((3, 3)), np.zeros(3, "i8"), np.int64(1)])
)
TRUNCATE = st.tuples(st.just("truncate"), st.floats(0, 1))
PLAIN = st.sampled_from([("commit",), ("sync",), ("reopen",), ("kill",), ("save",)])
STEPS = st.lists(st.one_of(APPEND, APPEND, REFUSE, TRUNCATE, PLAIN), max_size=14)
OPTIONS = st.fixed_dictionaries(
    {
        "order": st.sampled_from(["C", "F"]),
        "buffering": st.sampled_from([0, 1, 100, 1 << 16]),
        "durability": st.sampled_from(["process", "ordered"]),
        "turns": st.booleans(),
    }
)


class Model:
    """What the rows must be: `rows` that were appended, of which `seen` are sure to be visible."""

    def __init__(self, folder, options):
        self.folder, self.options, self.generation = Path(folder), options, 0
        self.path = self.folder / "0.npy"
        self.rows, self.seen, self.next = np.zeros((0, 3), "i8"), 0, 0
        self.open()

    def open(self):
        self.file = ng.Appender(self.path, dtype="i8", row_shape=3, **self.options)

    def turned(self, rows):
        return rows if self.options["order"] == "C" else rows.T

    def append(self, count, layout):
        batch = np.arange(self.next, self.next + 3 * count).reshape(count, 3)
        wrote = self.file.append(LAYOUTS[layout](self.turned(batch)))
        expected = range(len(self.rows), len(self.rows) + count)
        assert wrote == expected or (wrote is None and self.options["turns"] and self.options["buffering"])
        self.next += 3 * count
        self.rows = np.concatenate([self.rows, batch])
        if not self.options["buffering"]:
            self.seen = len(self.rows)

    def refuse(self, rows):
        with pytest.raises(ng.NpyError):
            self.file.append(self.turned(rows) if rows.ndim == 2 else rows)

    def commit(self):
        published = self.file.commit()
        assert published.stop == len(self.rows) and published.start >= self.seen
        self.seen = len(self.rows)

    def sync(self):
        self.file.sync()
        self.seen = len(self.rows)

    def truncate(self, share):
        count = int(share * len(self.rows))
        self.file.truncate(count)
        self.rows = self.rows[:count]
        self.seen = min(self.seen, count)

    def reopen(self):
        self.file.close()
        self.seen = len(self.rows)
        self.check()
        self.open()

    def save(self):
        """Another writer, np.save, puts the same rows into a header of its own."""
        self.file.close()
        self.seen = len(self.rows)
        if len(self.rows) > 1:  # fewer are C and F at once, and np.save would choose C
            np.save(self.path, np.load(self.path))
        self.open()

    def kill(self):
        """A kill leaves what is on disk now; the copy is such a file, with half an append behind it."""
        self.generation += 1
        copy = self.folder / f"{self.generation}.npy"
        shutil.copyfile(self.path, copy)
        self.file.close()
        self.path.unlink()
        with open(copy, "ab") as file:
            file.write(b"torn row"[: self.generation % 8])
        self.path = copy
        self.rows = self.turned(np.load(copy))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self.open()
            except ng.NeedsRecoveryError:  # a header of np.save and a tail
                ng.recover(copy, tail="drop")
                self.open()
        self.seen = len(self.rows)

    def check(self):
        visible = self.turned(np.load(self.path))
        assert self.seen <= len(visible) <= len(self.rows)
        same(visible, self.rows[: len(visible)])
        assert self.file.closed or self.options["turns"] or len(self.file) == len(self.rows)
        same(self.turned(np.asarray(ng.open(self.path))), visible)


@settings(max_examples=120)
@given(OPTIONS, STEPS)
def test_random_operations(options, steps):
    with tempfile.TemporaryDirectory() as folder:
        model = Model(folder, options)
        try:
            for name, *arguments in steps:
                getattr(model, name)(*arguments)
                model.check()
        finally:
            model.file.close()
        model.seen = len(model.rows)
        model.check()
        assert [entry.name for entry in Path(folder).iterdir()] == [model.path.name]


DTYPES = st.sampled_from(["?", "i1", "<u2", ">i4", "<f4", "f8", "c8", "S3", "U2", "M8[ns]", "V5"])


@settings(max_examples=60)
@given(
    DTYPES,
    st.lists(st.integers(0, 3), max_size=3),
    st.lists(st.integers(0, 9), min_size=1, max_size=4),
    st.sampled_from("CF"),
)
def test_any_dtype_and_shape(dtype, row_shape, counts, order):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.npy")
        rng = np.random.default_rng(len(counts))
        parts = []
        for count in counts:
            shape = (count, *row_shape) if order == "C" else (*row_shape, count)
            text = rng.integers(0, 99, shape).astype("U2")
            numbers = text if dtype[0] in "SU" else text.astype("S2") if dtype[0] == "V" else text.astype("i8")
            parts.append(numbers.astype(dtype))
        with ng.Appender(path, order=order) as rows:
            for part in parts:
                rows.append(part)
        holds(path, *parts, axis=0 if order == "C" else -1)
