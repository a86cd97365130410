"""`Appender.append`: which rows it wrote, what readers see, what it refuses."""

import os
import warnings

import numpy as np
import npygrow as ng
import pytest
from support import NUMPY2, either, holds, refused, run, same, skip

ROWS = np.arange(12.0).reshape(4, 3)
VERBS = {
    "append": lambda a: a.append(ROWS),
    "commit": lambda a: a.commit(),
    "sync": lambda a: a.sync(),
    "truncate": lambda a: a.truncate(0),
    "with": lambda a: a.__enter__(),
}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("row_shape", [(), (3,), (2, 1, 3), (0,)])
def test_each_append_says_which_rows_it_wrote_and_readers_see_them(path, row_shape, order):
    parts, start = [], 0
    with ng.Appender(path, order=order) as rows:
        for count in (2, 0, 1, 5):
            shape = (count, *row_shape) if order == "C" else (*row_shape, count)
            part = np.arange(start, start + np.prod(shape), dtype="i4").reshape(shape)
            wrote = rows.append(part)
            assert wrote == range(start, start + count) and type(wrote) is range
            start += count
            parts.append(part)
            whole = np.concatenate(parts, axis=0 if order == "C" else -1)
            holds(path, whole)
            assert np.load(path).flags.fnc == (order == "F" and whole.ndim > 1 and whole.size > 1)
            assert (len(rows), rows.shape, rows.dtype) == (start, whole.shape, np.dtype("i4"))
    same(np.load(path, mmap_mode="r"), whole)


def test_a_later_run_continues(path):
    for earlier in range(4):
        with ng.Appender(path) as rows:
            assert len(rows) == 4 * earlier
            assert rows.append(ROWS) == range(4 * earlier, 4 * earlier + 4)
    holds(path, *[ROWS] * 4)


def test_counts_of_more_digits_move_no_text(path):
    with ng.Appender(path, dtype="u1", row_shape=()) as rows:
        for count in (9, 1, 89, 1, 99_999_900 - 10, 10, 100):
            before = path.read_bytes()[:128]
            rows.append(np.broadcast_to(np.uint8(7), (count,)))
            after = path.read_bytes()[:128]
            changed = [i for i in range(128) if before[i] != after[i]]
            assert changed[0] // 16 == changed[-1] // 16, "a commit stays inside one aligned block of 16 bytes"
    assert np.load(path, mmap_mode="r").shape == (100_000_100,)
    path.unlink()


def test_what_it_tells(path):
    rows = ng.Appender(path)
    assert rows.shape is None and rows.dtype is None and len(rows) == 0 and not rows.closed
    assert not path.exists()
    rows.append(ROWS.astype("f4"))
    assert rows.shape == (4, 3) and rows.dtype == np.dtype("f4") and rows.order == "C"
    assert os.fspath(rows.path) == os.fspath(path)
    for word in (str(path), "(4, 3)", "f"):
        assert word in repr(rows)
    rows.close()
    assert rows.closed and "closed" in repr(rows)


@pytest.mark.parametrize("spell", [os.fspath, os.fsencode, lambda path: path], ids=["str", "bytes", "Path"])
def test_any_path_is_taken(tmp_path, spell):
    path = tmp_path / "наука ☃.npy"
    with ng.Appender(spell(path)) as rows:
        rows.append(ROWS)
    holds(path, ROWS)


@pytest.mark.parametrize("verb", VERBS)
def test_closed_is_closed(path, verb):
    rows = ng.Appender(path)
    rows.append(ROWS)
    rows.close()
    rows.close()
    with refused(ValueError, path, "is closed"):
        VERBS[verb](rows)


def test_leaving_with_by_an_exception_publishes_and_closes(path):
    with pytest.raises(KeyError):
        with ng.Appender(path, buffering=1 << 20) as rows:
            rows.append(ROWS)
            raise KeyError
    assert rows.closed
    holds(path, ROWS)


@pytest.mark.parametrize(
    "given, words",
    [
        (ROWS[0], [r"row\[None\]", r"\(3,\)"]),
        (ROWS[:, :2], [r"\(3,\)", r"\(2,\)"]),
        (ROWS[None], [r"\(3,\)", r"\(4, 3\)"]),
        (ROWS.ravel(), [r"\(3,\)"]),
        (np.float64(1), []),
        (np.array(1.0), []),
        (np.ma.masked_greater(ROWS, 3), [r"\.filled\("]),
        ([[1.0, 2.0, "x"]], [either("f8")]),
        ([[1.0, 2.0], [3.0]], []),
        (ROWS.astype(object), ["object"]),
        (np.array([[{}, {}, {}]]), ["object"]),
    ],
    ids=["one row", "narrow", "deep", "flat", "scalar", "0-d", "masked", "strings", "ragged", "objects", "dicts"],
)
def test_rows_that_do_not_fit_change_nothing(path, given, words):
    with ng.Appender(path) as rows:
        rows.append(ROWS)
        with refused(ng.NpyError, path, *words):
            rows.append(given)
        assert rows.append(ROWS) == range(4, 8)
    holds(path, ROWS, ROWS)


def test_a_string_dtype_is_refused(path):
    if not NUMPY2:
        skip("this NumPy has no StringDType: its refusal is not tested")
    given = np.array(["a", "bc"], dtype=np.dtypes.StringDType())
    with ng.Appender(path) as rows, refused(ng.MismatchError, path) as caught:
        rows.append(given)
    assert str(caught.value) == (
        f"{path}: StringDType has no place in .npy: append numpy.array(rows.tolist()), "
        "or rows.astype('U20') with a number of characters that the longest does not exceed"
    )
    assert not path.exists()
    # What it advises is taken.
    ng.append(path, np.array(given.tolist()))
    ng.append(path, given.astype("U20"))
    same(np.load(path), np.array(["a", "bc"] * 2))


def test_a_mask_in_a_list_is_refused(path):
    whole, masked = np.ma.masked_greater(ROWS[0], 99), np.ma.masked_greater(ROWS[1], 3)
    with ng.Appender(path) as rows:
        for given in ([whole, masked], (ROWS[0], masked), [np.ma.masked]):
            with refused(ng.MismatchError, path) as caught:
                rows.append(given)
            text = "a masked array has values that .npy cannot hold: append rows.filled(value)"
            assert str(caught.value) == f"{path}: {text}"
        rows.append([whole, ROWS[1]])
    holds(path, ROWS[:2])


def test_lists_and_array_likes_are_taken(path):
    class Like:
        def __array__(self, dtype=None, copy=None):
            return ROWS

    with ng.Appender(path) as rows:
        for given in (ROWS.tolist(), Like(), tuple(map(tuple, ROWS.tolist())), np.ma.array(ROWS), memoryview(ROWS)):
            rows.append(given)
    holds(path, *[ROWS] * 5)


@pytest.mark.parametrize("size", [2, 9000], ids=["shorter", "longer"])
@pytest.mark.parametrize("verb", ["commit", "sync", "close", "a large append"])
def test_a_file_changed_underneath_is_left_alone(path, verb, size):
    rows = ng.Appender(path)
    rows.append(ROWS)
    theirs = np.arange(size, dtype="f4")
    np.save(path, theirs)
    with refused(ng.LatchedError, path):
        rows.append(np.zeros((64 << 10, 3))) if verb == "a large append" else getattr(rows, verb)()
    if verb != "close":
        with refused(ng.LatchedError, path, "open"):
            rows.append(ROWS)
        rows.close()  # It was told, and no row is lost by it.
    assert rows.closed
    holds(path, theirs)


@pytest.mark.parametrize("how", ["deleted", "replaced"])
@pytest.mark.parametrize("verb", ["commit", "sync", "close"])
def test_a_file_deleted_underneath_is_told(path, verb, how):
    rows = ng.Appender(path, buffering=1 << 16)
    rows.append(ROWS)
    rows.commit()
    rows.append(ROWS)
    if how == "deleted":
        path.unlink()
    else:
        np.save(path.with_name("other"), ROWS[:1])
        path.with_name("other.npy").rename(path)
    with refused(ng.LatchedError, path, "deleted", "open"):
        getattr(rows, verb)()
    if verb != "close":
        with refused(ng.LatchedError, path, f"{len(ROWS)} buffered rows lost"):
            rows.close()


def test_a_renamed_file_goes_on_growing(path):
    with ng.Appender(path) as rows:
        rows.append(ROWS)
        other = path.rename(path.with_name("other.npy"))
        rows.append(ROWS)
        rows.sync()
    holds(other, ROWS, ROWS)
    assert not path.exists()


def test_small_appends_notice_a_changed_file_too(path):
    rows = ng.Appender(path)
    rows.append(ROWS)
    np.save(path, np.arange(9000.0))
    with pytest.raises(ng.LatchedError):
        for _ in range(1025):
            rows.append(ROWS)
    rows.close()


def test_truncate_cuts_rows(path):
    with ng.Appender(path) as rows:
        rows.append(ROWS)
        rows.truncate(1)
        holds(path, ROWS[:1])
        assert len(rows) == 1 and path.stat().st_size == 128 + 24
        assert rows.append(ROWS) == range(1, 5)
        rows.truncate(5)
        with refused(ValueError, path, "5", "6"):
            rows.truncate(6)
        with pytest.raises((ValueError, OverflowError)):
            rows.truncate(-1)
        rows.truncate(0)
        holds(path, ROWS[:0])
        rows.append(ROWS)
    holds(path, ROWS)


def test_truncate_also_cuts_what_is_buffered(path):
    with ng.Appender(path, buffering=1 << 20) as rows:
        rows.append(ROWS)
        rows.truncate(3)
        assert len(rows) == 3
        rows.append(ROWS)
    holds(path, ROWS[:3], ROWS)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_interrupted_append_did_not_happen(path, order):
    # 1 GiB of rows that no fast path takes; the alarm goes off between two blocks.
    interrupted, cut_back = run(
        """
        import signal
        def alarm(*_): raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, alarm)
        path, order = args
        def ones(count):
            return np.broadcast_to(np.float32(1), (count, 1024) if order == "C" else (1024, count))
        with ng.Appender(path, order=order) as rows:
            rows.append(ones(2))
            size = os.path.getsize(path)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            try:
                rows.append(ones(1 << 18))
                print(False)
            except KeyboardInterrupt:
                print(True)
            print(os.path.getsize(path) == size)
            rows.append(ones(3))
        """,
        path,
        order,
    ).split()
    assert (interrupted, cut_back) == ("True", "True")
    same(np.load(path), np.ones((5, 1024) if order == "C" else (1024, 5), "f4"))


def test_append_as_a_function(path):
    assert ng.append(path, ROWS) == range(0, 4)
    assert ng.append(path, ROWS) == range(4, 8)
    holds(path, ROWS, ROWS)


@pytest.mark.parametrize(
    "option", [{"mode": "r"}, {"order": "A"}, {"durability": "disk"}, {"on_tail": "cut"}, {"casting": "unsafe"}]
)
def test_a_wrong_option_is_refused_with_the_right_ones(path, option):
    right = {
        "mode": ["a", "w", "x"],
        "order": ["C", "F"],
        "durability": ["process", "ordered", "power"],
        "on_tail": ["auto", "keep", "drop", "error"],
        "casting": ["checked", "exact"],
    }
    ((name, value),) = option.items()
    with pytest.raises(ValueError) as caught:
        ng.Appender(path, **option)
    for word in (name, repr(value), *map(repr, right[name])):
        assert word.replace('"', "'") in str(caught.value).replace('"', "'")


@pytest.mark.parametrize("number", [-1, 1 << 70])
def test_a_size_out_of_range_is_refused(path, number):
    with pytest.raises(ValueError, match=f"expected .* 0 to .*, found {number}"):
        ng.Appender(path, buffering=number)
    with ng.Appender(path) as rows:
        rows.append(ROWS)
        with pytest.raises(ValueError, match=f"expected .* 0 to .*, found {number}"):
            rows.truncate(number)
    holds(path, ROWS)


def test_a_dropped_appender_publishes_and_warns(path):
    rows = ng.Appender(path, buffering=1 << 20)
    rows.append(ROWS)
    with pytest.warns(ResourceWarning, match="rows.npy"):
        del rows
    holds(path, ROWS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = ng.Appender(path)
        rows.close()
        del rows
