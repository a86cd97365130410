"""Rows out of whatever can be sliced: where it is cut, what is refused, and what an interruption leaves."""

import re
import signal
import time

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from support import example, holds, refused, same, says

import npygrow as ng
from npygrow import _source

MIB = 1 << 20


class Sliced:
    """The least that a source has to be; keeps account of what was read."""

    def __init__(self, array, chunks=None, fails_at=None, error=None):
        self.array, self.shape, self.dtype, self.chunks = array, array.shape, array.dtype, chunks
        self.reads, self.fails_at, self.error = [], fails_at, error or OSError(5, "the drive is gone")

    def __getitem__(self, key):
        rows = key[-1] if isinstance(key, tuple) else key
        if self.fails_at is not None and rows.stop > self.fails_at:
            raise self.error
        self.reads.append((rows.start, rows.stop))
        return self.array[key]


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(_source, "BLOCK", 64)


def notes(error):
    return "\n".join(getattr(error, "__notes__", []))


# Where it is cut ----------------------------------------------------------------------------------------------------

rows = st.integers(0, 50)
orders = st.sampled_from("CF")


@given(total=rows, data=st.data(), order=orders, block=st.integers(1, 400), is_even=st.booleans())
def test_no_chunk_is_read_twice_and_blocks_are_small(tmp_path_factory, total, data, order, block, is_even):
    path = tmp_path_factory.mktemp("cuts") / "rows.npy"
    start = data.draw(st.integers(0, total))
    if is_even:
        along = data.draw(st.integers(1, 60))
        ends = [*range(along, total + along, along)]
    else:
        along = tuple(data.draw(st.lists(st.integers(0, 9), max_size=12)))
        along += (max(0, total - sum(along)),)
        total = sum(along)
        ends = list(np.cumsum(along))
    array = example("f8", (total, 2) if order == "C" else (2, total))
    source = Sliced(array, (along, 2) if order == "C" else (2, along))
    before, _source.BLOCK = _source.BLOCK, block
    try:
        with ng.Appender(path, order=order) as appender:
            assert appender.append_from(source, start=start) == range(total - start)
    finally:
        _source.BLOCK = before
    same(np.load(path), array[start:] if order == "C" else array[:, start:])
    assert source.reads[0][0] == start and source.reads[-1][1] == total
    for (_, end), (first, _) in zip(source.reads, source.reads[1:], strict=False):
        assert end == first and end in ends
    for first, end in source.reads:
        assert (end - first) * 16 <= block or not any(first < cut < end for cut in ends)
    for (first, _), (_, end) in zip(source.reads, source.reads[1:], strict=False):  # no block is smaller than it could be
        assert (end - first) * 16 > block or first == start


# What is in it ------------------------------------------------------------------------------------------------------


def test_masks(path, small_blocks):
    array = np.arange(100.0)
    masked = np.ma.array(array, mask=array == 90)
    with refused(ng.MismatchError, path, r"append rows\.filled\(value\)"):
        ng.append_from(path, masked)
    ng.append_from(path, np.ma.array(array))
    holds(path, array)


def test_a_dtype_that_numpy_does_not_know(path, small_blocks):
    """As tensors have."""

    class Part:
        def __init__(self, array):
            self.array, self.shape, self.dtype = array, array.shape, "tensor.of_numbers"

        def __getitem__(self, key):
            return Part(self.array[key])

        def __array__(self, dtype=None, copy=None):
            return self.array

    ng.append_from(path, Part(example("i2", (70, 3))))
    holds(path, example("i2", (70, 3)))


@pytest.mark.parametrize("source", [[[1, 2], [3, 4]], ((1, 2), (3, 4))], ids=["list", "tuple"])
def test_array_likes(path, source):
    assert ng.append_from(path, source) == range(2)
    assert ng.append_from(path, source, start=1) == range(2, 3)
    holds(path, np.array([[1, 2], [3, 4], [3, 4]]))


def test_our_own_array_also_of_the_same_file(path, tmp_path, small_blocks):
    ng.save(tmp_path / "old.npy", example("f4", (50, 3)))
    assert ng.append_from(path, ng.open(tmp_path / "old.npy")) == range(50)
    assert ng.append_from(path, ng.open(path)) == range(50, 100)
    assert ng.append_from(path, np.load(path, mmap_mode="r")) == range(100, 200)
    holds(path, *[example("f4", (50, 3))] * 4)


def test_no_rows_make_a_file(path):
    assert ng.append_from(path, Sliced(np.zeros((0, 3), "i2"), (4, 3))) == range(0)
    same(np.load(path), np.zeros((0, 3), "i2"))
    assert ng.append_from(path, Sliced(np.zeros((5, 3), "i2")), start=5) == range(0)


# Refusals come before the first block -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((9, 2)), "expected rows of shape (3,), found an array of shape (9, 2), whose rows have shape (2,)"),
        (np.zeros(3), "expected rows of shape (3,), found an array of shape (3,), which is one row: append row[None]"),
        (
            np.zeros((9, 3), "M8[s]"),
            "expected rows of dtype float32, found datetime64[s], which does not always fit: cast them with .astype('<f4')",
        ),
    ],
)
def test_a_mismatch_is_said_as_by_append_and_nothing_is_read(path, array, text):
    ng.save(path, np.zeros((2, 3), "f4"))
    source = Sliced(array)
    with refused(ng.MismatchError, path) as caught:
        ng.append_from(path, source)
    assert str(caught.value) == f"{path}: {text}" and source.reads == []
    with refused(ng.MismatchError, path) as same_words:
        ng.append(path, array)
    assert str(same_words.value) == str(caught.value)


def test_exact_is_exact(path):
    ng.save(path, np.zeros(2, "f4"))
    source = Sliced(np.zeros(9, ">f4"))
    with ng.Appender(path, casting="exact") as appender, refused(ng.MismatchError, path, "casting='exact' takes"):
        appender.append_from(source)
    assert source.reads == []


def test_what_is_no_array(path):
    for source in ["data.h5", b"data.h5", path]:
        with refused(ng.MismatchError, path) as caught:
            ng.append_from(path, source)
        text = "expected an array, found a path: open it with npygrow.open, h5py.File or zarr.open first"
        assert str(caught.value) == f"{path}: {text}"
    with refused(ng.MismatchError, path, r"found a dict of several \('a', 'b'\): pick one"):
        ng.append_from(path, {"a": [1], "b": [2]})
    with refused(ng.MismatchError, path, "Python objects"):
        ng.append_from(path, object())


def test_labels_are_no_row_numbers(path, small_blocks):
    class Labelled(Sliced):
        def __getitem__(self, key):
            return self.array[key.start : key.stop + 1]

    words = (
        r"rows 0 to 8 of the source have shape \(9,\): it cannot be sliced by row numbers, so append an array made of it"
    )
    with refused(ng.MismatchError, path, words), ng.Appender(path) as appender:
        appender.append_from(Labelled(np.arange(20.0)))


@pytest.mark.parametrize("start", [-1, 4])
def test_start_must_be_there(path, start):
    with pytest.raises(ValueError) as caught:
        ng.append_from(path, np.arange(3), start=start)
    assert str(caught.value) == f"start must be a row of the source or its end, 0 to 3, not {start}"
    with pytest.raises(ValueError, match="start is for sources that can be sliced"):
        ng.append_from(path, iter([[1]]), start=1)
    assert not path.exists()


def test_a_closed_appender_takes_nothing(path):
    appender = ng.Appender(path)
    appender.close()
    items = iter([[1]])
    with pytest.raises(ValueError, match="the appender is closed"):
        appender.append_from(items)
    assert list(items) == [[1]]


# Iterators ----------------------------------------------------------------------------------------------------------


def test_each_item_of_an_iterator_is_appended(path):
    seen = []
    items = (np.full((n, 2), n) for n in (3, 0, 2))
    assert ng.append_from(path, items, progress=lambda *done: seen.append(done)) == range(5)
    assert seen == [(3, None), (3, None), (5, None)]
    assert ng.append_from(path, iter([])) == range(5, 5)
    assert ng.append_from(path, map(list, [[(7, 7)], [(8, 8)]])) == range(5, 7)
    holds(path, np.array([[3, 3]] * 3 + [[2, 2]] * 2 + [[7, 7], [8, 8]]))


def test_an_iterator_that_ends_badly(path):
    def items():
        yield np.zeros((4, 2))
        yield np.zeros((4, 3))

    with pytest.raises(ng.MismatchError, match=r"expected rows of shape \(2,\)") as caught:
        ng.append_from(path, items())
    assert notes(caught.value) == (
        f"{path}: 1 items of the iterator, 4 rows, are appended\nrow 0 of that array is row 4 of the source"
    )
    holds(path, np.zeros((4, 2)))


# Half-way -----------------------------------------------------------------------------------------------------------


def test_what_came_before_an_error_stays_and_the_rest_can_follow(path, small_blocks):
    array = example("f4", (50, 3))
    with pytest.raises(OSError) as caught:
        ng.append_from(path, Sliced(array, (4, 3), fails_at=30))
    assert str(caught.value) == "[Errno 5] the drive is gone"
    assert notes(caught.value) == f"{path}: 28 of the source's 50 rows are appended: start=28 goes on"
    assert ng.append_from(path, Sliced(array, (4, 3)), start=28) == range(28, 50)
    holds(path, array)


def test_a_value_that_does_not_fit_is_found_by_its_row(path, small_blocks):
    array = np.arange(100)
    array[77] = 1000
    with ng.Appender(path, dtype="u1", row_shape=()) as appender, pytest.raises(ng.MismatchError) as caught:
        appender.append_from(array)
    says(caught.value, r"row 5 of the array does not fit: 1000")
    text = (
        f"{path}: 72 of the source's 100 rows are appended: start=72 goes on\nrow 0 of that array is row 72 of the source"
    )
    assert notes(caught.value) == text
    holds(path, np.arange(72, dtype="u1"))


def test_a_progress_that_raises_stops_it(path, small_blocks):
    def stop(done, total):
        if done >= 16:
            raise InterruptedError("enough")

    with pytest.raises(InterruptedError) as caught:
        ng.append_from(path, np.arange(40.0), progress=stop)
    assert notes(caught.value) == f"{path}: 16 of the source's 40 rows are appended: start=16 goes on"
    holds(path, np.arange(16.0))


@pytest.mark.parametrize("dtype", ["f8", ">f8"], ids=["as it is", "cast"])
def test_an_interruption_at_any_moment_is_counted_right(path, monkeypatch, dtype):
    """The signal comes at random, most often inside an append: Python hears of it when that has returned."""
    monkeypatch.setattr(_source, "BLOCK", MIB)
    array = np.arange(4 * MIB, dtype=dtype)
    random, interrupted = np.random.default_rng(7), 0
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(40):
            with ng.Appender(path, mode="w", dtype="f8", row_shape=()) as appender:
                appender.commit()
                with pytest.raises(KeyboardInterrupt) as caught:
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 1e-2))
                    appender.append_from(array)
                    time.sleep(10)
            if text := notes(caught.value):  # else it came before the first block, or after the last
                done = int(re.fullmatch(r".*: (\d+) of the source's \d+ rows are appended: start=\1 goes on", text)[1])
                assert len(np.load(path, mmap_mode="r")) == done
                interrupted += done > 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted >= 10


# Turns and buffers --------------------------------------------------------------------------------------------------


def test_turns(path, small_blocks):
    with ng.Appender(path, turns=True) as one, ng.Appender(path, turns=True) as other:
        assert one.append_from(np.arange(20.0)) == range(20)
        assert one.append_from(np.arange(20.0), progress=lambda done, _: other.append([-1.0])) is None
    found = np.load(path)
    assert len(found) == 43 and (found[20:] == -1).sum() == 3
    same(found[20:][found[20:] >= 0], np.arange(20.0))


@pytest.mark.parametrize("turns", [False, True])
def test_a_buffer_is_filled_and_published(path, small_blocks, turns):
    with ng.Appender(path, buffering=1000, turns=turns) as appender:
        assert appender.append_from(np.arange(100.0)) == (None if turns else range(100))
        assert len(appender) == 100
    holds(path, np.arange(100.0))
