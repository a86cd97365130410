"""`open`: an array that is mapped, not loaded, and follows the file."""

import copy
import gc
import multiprocessing
import os
import pickle
import re

import numpy as np
import npygrow as ng
import pytest
from support import NUMPY2, add, example, npy, refused, same

CUBE = np.arange(120, dtype="<f4").reshape(6, 4, 5)
INDICES = [
    *(0, -1, 5, np.int64(2), slice(None), slice(1, 3), slice(None, None, -2), slice(10, 20)),
    *((), ..., (..., 0), (1, ..., 2), (slice(1, 4), 2), (0, 1, 2), None, (None, 2), (slice(None), None, -1)),
    *(np.s_[::2, ::-1, 1:4], np.s_[5, -1], True, np.array(3)),
    *([5, 1, 2], [0], [-1, -6], np.array([2, 2, 2]), np.array([], int), np.arange(6) % 2 == 0),
    *(([0, 1], [1, 2]), (slice(None), [3, 0])),
]


@pytest.fixture(params=["C", "F"])
def cube(path, request):
    np.save(path, np.asarray(CUBE, order=request.param))
    return ng.open(path)


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_indexing_is_numpys(cube, index):
    expected = CUBE[index]
    got = cube[index]
    same(got, expected)
    assert type(got) is type(expected)


@pytest.mark.parametrize("index", [6, -7, (0, 4), (0, 0, 0, 0), [6], [-7], 1.5, "a"], ids=repr)
def test_indices_outside_are_index_errors(cube, index):
    with pytest.raises(IndexError) as expected:
        CUBE[index]
    with pytest.raises(type(expected.value)):
        cube[index]


def test_what_it_tells(cube, path):
    assert (cube.shape, cube.dtype, cube.ndim, cube.size, cube.nbytes, len(cube)) == (
        (6, 4, 5),
        np.dtype("<f4"),
        3,
        120,
        480,
        6,
    )
    assert os.fspath(cube.path) == os.fspath(path) and cube.order in ("C", "F")
    assert (cube.order == "F") == np.load(path).flags.fnc
    for word in (str(path), "(6, 4, 5)", "f"):
        assert word in repr(cube)
    for got, expected in zip(cube, CUBE, strict=True):
        same(got, expected)


def test_basic_indexing_copies_nothing_and_cannot_write(cube):
    whole = cube[:]
    assert np.shares_memory(whole, np.asarray(cube)) and np.shares_memory(whole, cube[2:4]) and whole.flags.aligned
    for view in (whole, cube[1], np.asarray(cube)):
        assert not view.flags.writeable
        with pytest.raises(ValueError):
            view[...] = 0
        with pytest.raises(ValueError):
            view.flags.writeable = True


def test_as_an_array(cube):
    copy = np.array(cube)
    assert copy.flags.writeable and not np.shares_memory(copy, np.asarray(cube))
    same(np.asarray(cube, dtype="f8"), CUBE.astype("f8"))
    assert (np.add(cube, 1) == CUBE + 1).all() and np.mean(cube) == CUBE.mean()
    if NUMPY2:
        assert np.shares_memory(np.asarray(cube, copy=False), cube[:])
        assert not np.shares_memory(np.asarray(cube, copy=True), cube[:])
        assert np.array(cube).strides == cube[:].strides
        with pytest.raises(ValueError):
            np.asarray(cube, dtype="f8", copy=False)


def test_refresh_follows_the_file(path):
    with ng.Appender(path) as rows:
        rows.append(CUBE[:2])
        array = ng.open(path)
        old = array[:]
        assert array.refresh() == range(2, 2)
        rows.append(CUBE[2:5])
        assert len(array) == 2 and array.shape == (2, 4, 5)
        assert array.refresh() == range(2, 5)
        same(array[:], CUBE[:5])
        same(old, CUBE[:2])
        rows.append(np.repeat(CUBE, 5000, axis=0))
        assert array.refresh() == range(5, 30005)
        same(array[-1], CUBE[-1])
    same(old, CUBE[:2])


def test_refresh_from_no_rows_at_all(path):
    with ng.Appender(path, dtype="f4", row_shape=(4, 5)) as rows:
        array = ng.open(path)
        assert array.shape == (0, 4, 5) and array[:].shape == (0, 4, 5)
        rows.append(CUBE)
        assert array.refresh() == range(0, 6)
        same(array[:], CUBE)


def test_in_fortran_order_the_last_axis_is_refreshed(path):
    with ng.Appender(path, order="F") as rows:
        rows.append(CUBE[..., :2])
        array = ng.open(path)
        rows.append(CUBE[..., 2:])
        assert array.shape == (6, 4, 2) and array.refresh() == range(2, 5)
        same(array[:], CUBE)


def test_views_outlive_everything(path):
    np.save(path, CUBE)
    with ng.open(path) as array:
        view = array[1:3]
    path.unlink()
    del array
    gc.collect()
    same(view, CUBE[1:3])


def test_closed_is_closed(path):
    np.save(path, CUBE)
    array = ng.open(path)
    array.close()
    array.close()
    for use in (lambda: array[0], lambda: np.asarray(array), lambda: array.refresh(), lambda: array.__enter__()):
        with refused(ValueError, path, "closed"):
            use()


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1,), (2, 1, 1, 1, 1, 1, 2)])
def test_shapes(path, shape):
    given = np.arange(np.prod(shape, dtype=int), dtype="i8").reshape(shape)
    np.save(path, given)
    array = ng.open(path)
    assert (array.shape, array.ndim, array.size, array.nbytes) == (shape, given.ndim, given.size, given.nbytes)
    same(array[...], given)
    if shape == ():
        with pytest.raises(TypeError):
            len(array)


@pytest.mark.parametrize(
    "dtype",
    ["?", ">f8", "<f2", "g", ">U3", "S2", "M8[ns]", "c16", "V3", [("a", "<i4"), (("t", "b"), "<f8", (2,))]],
    ids=str,
)
@pytest.mark.parametrize("pad", [40, 47], ids=["aligned as it comes", "unaligned"])
def test_dtypes_and_unaligned_data(path, dtype, pad):
    given = example(dtype, (3, 2))
    path.write_bytes(npy(given, pad=pad))
    array = ng.open(path)
    same(array[:], given)
    same(array[[2, 0]], given[[2, 0]])


def test_objects_are_refused(path):
    np.save(path, np.array([None, 1]), allow_pickle=True)
    with refused(ng.FormatError, path, "object"):
        ng.open(path)


def test_only_counted_rows_are_seen(path):
    np.save(path, CUBE)
    add(path, CUBE[0].tobytes())
    assert len(ng.open(path)) == 6


def test_a_file_cut_short_is_refused_not_mapped(path):
    np.save(path, CUBE)
    os.truncate(path, path.stat().st_size - 1)
    with refused(ng.NeedsRecoveryError, path, "6", "5", "recover"):
        ng.open(path)


def test_comparing_goes_element_by_element(path):
    ng.save(path, np.arange(4))
    with ng.open(path) as array:
        assert (array == 2).tolist() == [False, False, True, False]
        assert (array != np.arange(4)).any() == False  # noqa: E712
        assert (array < 2).sum() == 2 and (array >= array[:]).all()


def test_values_are_changed_in_the_file(path):
    ng.save(path, CUBE)
    with ng.open(path, "r+") as array:
        array[1, 2] = 7
        array[2:4][0] = 8
        np.asarray(array)[5] = 9
        array[[0, 4]] = -1
        assert array.mode == "r+" and "mode='r+'" in repr(array)
        with ng.Appender(path) as rows:
            rows.append(CUBE[:1])
        assert array.refresh() == range(6, 7)
        array[6] = 3
        array.flush()
    expected = CUBE.copy()
    expected[1, 2], expected[2], expected[5], expected[[0, 4]] = 7, 8, 9, -1
    same(np.load(path), np.concatenate([expected, np.full((1, 4, 5), 3, "f4")]))


def test_values_are_changed_in_a_private_copy(path):
    np.save(path, CUBE)
    with ng.open(path, "c") as array:
        array[:] = 0
        assert array.mode == "c" and not array[:].any()
        with refused(ng.MismatchError, path, "a private copy does not grow with its file: open it again"):
            array.refresh()
        with refused(ng.MismatchError, path, "a private copy cannot be sent to another process: send its values"):
            pickle.dumps(array)
        array.flush()
    same(np.load(path), CUBE)


def test_values_are_not_changed_by_a_reader(path):
    np.save(path, CUBE)
    with ng.open(path) as array, refused(ValueError, path, 'opened for reading: open it with mode="r." to change its values'):
        array[0] = 1
    with pytest.raises(ValueError) as error:
        ng.open(path, "w")
    assert str(error.value) == 'mode must be one of "r" "r+" "c", not "w"'
    same(np.load(path), CUBE)


def test_a_pickle_holds_no_rows(cube, path):
    cube = ng.open(path)
    sent = pickle.dumps(cube)
    assert len(sent) < 600
    for other in (pickle.loads(sent), copy.copy(cube), copy.deepcopy(cube)):
        same(other[:], CUBE)
        assert repr(other) == repr(cube)


def test_a_pickle_shows_the_rows_of_its_time(path):
    with ng.Appender(path) as rows:
        rows.append(CUBE[:2])
        sent = pickle.dumps(ng.open(path))
        rows.append(CUBE[2:])
        array = pickle.loads(sent)
        assert len(array) == 2 and pickle.dumps(array) == sent
        same(array[:], CUBE[:2])
        assert array.refresh() == range(2, 6)
        rows.truncate(1)
        with refused(ng.MismatchError, path, "expected rows in 0..1, found 0..2"):
            pickle.loads(sent)
    os.rename(path, f"{path}.old")
    np.save(path, CUBE)
    with refused(ng.MismatchError, path, "the file was replaced since its array was sent here: open it again"):
        pickle.loads(sent)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(sent)


@pytest.mark.parametrize("other", [CUBE.astype("<f8"), CUBE[..., :2], np.asfortranarray(CUBE)])
def test_a_pickle_of_an_array_that_another_was_saved_over(path, other):
    """`numpy.save` keeps the file, so that nothing but its header tells."""
    np.save(path, CUBE)
    sent = pickle.dumps(ng.open(path))
    np.save(path, other)
    found = {"<f8": "(4, 5) and dtype <f8 in C", "<f4": "(4, 2) and dtype <f4 in C"}[other.dtype.str]
    found = "(6, 4) and dtype <f4 in F" if other.flags.fnc else found
    expected = f"expected rows of shape (4, 5) and dtype <f4 in C order, found rows of shape {found} order"
    with refused(ng.MismatchError, path, re.escape(f"{expected}: the file was overwritten: open it again")):
        pickle.loads(sent)


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_worker_gets_the_array(path, how):
    np.save(path, CUBE)
    array = ng.open(path)
    with multiprocessing.get_context(how).Pool(1) as pool:
        assert pool.apply(_total, (array,)) == CUBE.sum()


def _total(array):
    return float(np.sum(array))


def test_a_path_that_is_no_text_survives_a_pickle(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff\xfe.npy"
    ng.save(path, CUBE)
    same(pickle.loads(pickle.dumps(ng.open(path)))[:], CUBE)


def test_it_says_what_follows_the_rows(path):
    np.save(path, CUBE)
    add(path, b"tail")
    array = ng.open(path)
    assert array.health == "tail"
    assert repr(array) == (
        f"<npygrow.Array {str(path)!r}, shape=(6, 4, 5), dtype=dtype('float32'), order='C', mode='r', tail>"
    )
    with open(path, "ab") as file:
        file.truncate(path.stat().st_size - 4)
    array.refresh()
    assert array.health == "clean"
