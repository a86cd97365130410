"""Many rows at once: for every index the array that NumPy gives, or NumPy's own error."""

import os
import signal
import sys
import threading

import numpy as np
import npygrow as ng
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import example, header_len, npy, optional, run, same, start

DTYPES = [
    "u1",
    ">f8",
    "S3",
    "U2",
    "M8[s]",
    "f2",
    np.dtype([("a", "u1"), ("b", "<f4", (2,))]),
    np.dtype({"names": ["a"], "formats": ["i4"], "offsets": [4], "itemsize": 12}),
]


def forget(path):
    """Has the system forget the file, as far as it can."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def stored(path, array, order):
    path.write_bytes(npy(np.asarray(array, order=order)))
    return ng.open(path), np.load(path)


def outcome(array, key):
    try:
        return np.asarray(array[key])
    except (IndexError, TypeError, ValueError) as error:
        return type(error), str(error)


def agree(ours, theirs, key):
    expected = outcome(theirs, key)
    if isinstance(expected, tuple):
        assert outcome(ours, key) == expected, repr(key)
    else:
        same(ours[key], expected)


def rows_of(count):
    """Index arrays of every kind, now and then out of bounds."""
    number = st.integers(-count, count - 1) if count else st.nothing()
    loose = st.integers(-count - 1, count)
    numbers = st.lists(st.one_of(number, number, number, loose) if count else loose, max_size=12)
    small = st.lists(st.integers(0, max(count - 1, 0)), min_size=1, max_size=8)
    return st.one_of(
        numbers,
        numbers.map(lambda rows: np.array(rows, "i8")),
        numbers.map(lambda rows: np.array(rows, ">i4")[::-1]),
        st.tuples(small, st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "u8"])).map(lambda of: np.array(*of)),
        small.map(lambda rows: np.array([rows, rows])),
        small.map(lambda rows: [rows, rows]),
        st.builds(range, st.integers(0, count), st.integers(0, count), st.sampled_from([1, 2, -1])),
        st.lists(st.booleans(), min_size=count, max_size=count),
        st.lists(st.booleans(), min_size=count, max_size=count).map(lambda mask: np.array(mask, bool)),
        st.just(np.zeros((0, 3), int)),
        st.just(np.array(0)),
        st.sampled_from([[], [True], np.array([1.0]), [[0], [0, 0]], ["a"], [None], [slice(None)]]),
    )


BASIC = st.one_of(
    st.integers(-3, 2),
    st.builds(slice, *[st.one_of(st.none(), st.integers(-4, 4))] * 2, st.sampled_from([None, 1, 2, -1, -2])),
    st.just(None),
    st.just(Ellipsis),
    st.just([0, 1]),
    st.just(np.int64(1)),
    st.just(True),
)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_index_gives_what_numpy_gives(tmp_path, data):
    order = data.draw(st.sampled_from("CF"))
    count = data.draw(st.sampled_from([0, 1, 5, 40]))
    row_shape = data.draw(st.sampled_from([(), (3,), (0,), (2, 3)]))
    shape = (count, *row_shape) if order == "C" else (*row_shape, count)
    ours, theirs = stored(tmp_path / "a.npy", example(data.draw(st.sampled_from(DTYPES)), shape), order)
    rows = data.draw(rows_of(count))
    rest = data.draw(st.lists(BASIC, max_size=3))
    before = data.draw(st.sampled_from(["only", "first", "last"]))
    key = rows if before == "only" else (rows, *rest) if before == "first" else (*rest, rows)
    agree(ours, theirs, key)


@pytest.mark.parametrize("order", "CF")
def test_the_ways_to_name_rows(tmp_path, order):
    ours, theirs = stored(tmp_path / "a.npy", example("i4", (6, 4, 6)), order)
    idx, mask = np.array([[5, 0], [-1, 3]]), np.arange(6) % 2 == 0
    for rows in (idx, mask, list(mask), [1, 1, 4], range(0, 6, 2), idx.astype("u1") % 6):
        for rest in ((), (slice(1, 3),), (Ellipsis,), (Ellipsis, None), (0,), (slice(None), 0), (slice(None, None, -2), slice(4, 1, -1))):
            agree(ours, theirs, (rows, *rest))
            agree(ours, theirs, (*rest, rows))


def test_the_result_is_fresh(tmp_path):
    for order in "CF":
        ours, theirs = stored(tmp_path / "a.npy", example("f8", (8, 3, 8)), order)
        where = (lambda rows, *rest: (rows, *rest)) if order == "C" else (lambda rows, *rest: (*rest, Ellipsis, rows))
        for key in (where([1, 2]), where([1, 2], slice(0, 2)), where([[1, 2]], slice(None))):
            result = ours[key]
            assert result.flags.writeable and result.flags.aligned
            result[...] = 0
            same(ours, theirs)


def test_bounds_come_before_reading(tmp_path):
    ours, theirs = stored(tmp_path / "a.npy", example("i4", (6, 2)), "C")
    end = header_len(tmp_path / "a.npy")
    os.truncate(tmp_path / "a.npy", end)
    for rows in ([0, 6], [-7, 0], np.array([[1, 99]])):
        agree(ours, theirs, rows)
        with pytest.raises(IndexError, match="out of bounds"):
            ours.take(rows)
    with pytest.raises(ng.MismatchError, match=rf"a\.npy: the file was cut while it was read: .*, found {end}: open it again$"):
        ours[[0, 5]]


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_rows_may_be_taken_to_where_they_lie(tmp_path, mode):
    ours, theirs = stored(tmp_path / "a.npy", example("u2", (5, 5)), "C")
    theirs, ours = np.array(theirs), ng.open(tmp_path / "a.npy", mode)
    ours.take([1, 0, 4], out=ours[:3])
    theirs.take([1, 0, 4], 0, theirs[:3])
    same(ours[:], theirs)


@pytest.mark.skipif(sys.platform != "linux", reason="a file that is cut faults elsewhere")
def test_another_handler_of_faults_does_not_matter(path):
    """As torch puts its own in a worker, after the parent gathered."""
    np.save(path, np.arange(1 << 20))
    code = """
        import faulthandler
        array = ng.open(args[0])
        rows = np.arange(0, 1 << 20, 7)
        array[rows]
        faulthandler.enable()
        os.truncate(args[0], 1 << 20)
        for _ in range(2):
            try:
                array[rows]
            except ng.MismatchError as error:
                print("cut" in str(error))
        faulthandler.disable()
        try:
            array[rows]
        except ng.MismatchError as error:
            print("cut" in str(error), flush=True)
        array[:].sum()
    """
    child = start(code, path)
    out, _ = child.communicate(timeout=50)
    assert (out.split(), child.returncode) == (["True"] * 3, -signal.SIGBUS), "a view faults as ever"


def test_take(tmp_path):
    for order, axis in (("C", 0), ("F", 1)):
        ours, theirs = stored(tmp_path / "a.npy", example("u2", (5, 5)), order)
        for rows in ([3, -1, 3], [[0, 1], [2, 2]], 4, [], range(3), np.array([1], "u1")):
            same(ours.take(rows), np.take(theirs, rows, axis))
        out = np.empty_like(np.take(theirs, [1, 2], axis), order=order)
        assert ours.take([1, 2], out=out) is out
        same(out, np.take(theirs, [1, 2], axis))
    with pytest.raises(IndexError):
        ours.take([5])
    with pytest.raises(ValueError, match=r"a\.npy: expected out of shape \(5, 2\) and dtype uint16, found shape \(5, 3\)"):
        ours.take([1, 2], out=np.empty((5, 3), "u2"))
    with pytest.raises(ValueError, match="contiguous in order F"):
        ours.take([1, 2], out=np.empty((5, 2), "u2"))
    read_only = np.empty((5, 2), "u2", "F")
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="can be written to"):
        ours.take([1, 2], out=read_only)
    for numbers in (np.ones(5, bool), [True, False, True, True, False]):
        same(ours.take(numbers), np.take(theirs, numbers, 1))
    np.save(tmp_path / "b.npy", 3)
    with pytest.raises(ValueError, match=r"b\.npy: a single value \(0-d\) has no rows to take$"):
        ng.open(tmp_path / "b.npy").take([0])


def test_modes_and_growth(tmp_path):
    path = tmp_path / "a.npy"
    ng.append(path, np.arange(4))
    private, shared, array = ng.open(path, "c"), ng.open(path, "r+"), ng.open(path)
    private[1] = 70
    assert private[[1, 0]].tolist() == [70, 0] and array[[1, 0]].tolist() == [1, 0]
    shared[1] = 60
    assert array[[1, 0]].tolist() == [60, 0]
    ng.append(path, np.arange(4, 6))
    with pytest.raises(IndexError):
        array[[5]]
    array.refresh()
    assert array[[5, -1]].tolist() == [5, 5]
    array.close()
    for call in (lambda: array[[0]], lambda: array.take([0]), lambda: array.__getitems__([0])):
        with pytest.raises(ValueError, match="the array is closed"):
            call()


@pytest.mark.parametrize("size", [1, 12, 4096, 200_000])
def test_many_rows_cold_and_warm(tmp_path, size):
    path = tmp_path / "a.npy"
    count = min(20_000, (16 << 20) // size)
    rng = np.random.default_rng(1)
    np.save(path, rng.integers(0, 256, (count, size), "u1"))
    theirs = np.load(path)
    for number in (32, 5000 if size < 5000 else 60):
        rows = rng.integers(-count, count, number)
        for key in (rows, np.sort(rows), rng.random(count) < 0.3, (rows, slice(0, max(1, size // 9)))):
            forget(path)
            ours = ng.open(path)
            for _ in range(3):
                same(ours[key], theirs[key])


def test_one_column_of_large_rows(tmp_path):
    ours, theirs = stored(tmp_path / "a.npy", np.arange(40 * 9000).reshape(40, 90, 100), "C")
    rows = np.array([3, 39, -1, 0])
    for rest in ((0,), (5, 7), (slice(None), 3), (slice(10, 12), slice(50, 40, -3)), (slice(None, None, 45), 0), (Ellipsis, 99)):
        same(ours[(rows, *rest)], theirs[(rows, *rest)])


def test_threads_and_forks(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(1 << 20))
    array, rows = ng.open(path), np.random.default_rng(2).integers(0, 1 << 20, 60_000)
    wrong = []
    threads = [threading.Thread(target=lambda: wrong.append((array[rows] != rows).any())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [False] * 4
    code = """
        array = ng.open(args[0])
        rows = np.random.default_rng(2).integers(0, 1 << 20, 60_000)
        assert (array[rows] == rows).all()
        child = os.fork()
        if child == 0:
            os._exit(0 if (array[rows] == rows).all() else 1)
        print(os.waitpid(child, 0)[1])
    """
    if hasattr(os, "fork"):
        assert run(code, path) == "0\n"


def test_samples_for_a_data_loader(tmp_path):
    for order in "CF":
        ours, theirs = stored(tmp_path / "a.npy", example("f4", (5, 3, 7)), order)
        same(ours.__getitems__([4, 0, 4]), theirs[[4, 0, 4]])
    torch = optional("torch", "the data loader is")
    loader = torch.utils.data.DataLoader(ours, batch_size=4, collate_fn=torch.as_tensor)
    same(torch.cat(list(loader)).numpy(), theirs)
