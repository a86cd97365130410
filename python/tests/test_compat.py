"""Programs written for npy-append-array 0.9.19: they run when only the import is changed."""

import os
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from npygrow import NpyAppendArray, ensure_appendable, is_appendable, needs_recovery, recover
from support import holds, npy, same


def fortran(order):
    return order == "F"


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_making_a_file_appendable(path, order, inplace):
    given = np.arange(3 * 1000 * 7, dtype="u8").reshape((-1, 3, 7) if order == "C" else (7, 3, -1), order=order)
    path.write_bytes(npy(given))
    assert not is_appendable(path)
    assert ensure_appendable(path, inplace=inplace)
    assert is_appendable(path)
    same(np.load(path), given)
    assert ensure_appendable(path), "also when there is nothing to do"


@pytest.mark.parametrize("zerofill", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_recovering_half_a_file(path, order, zerofill):
    given = np.arange(1, 11 * 21 * 100 + 1, dtype="u8").reshape(
        (-1, 11, 21) if order == "C" else (21, 11, -1), order=order
    )
    np.save(path, given)
    half = 11 * 21 * 50 + 100
    os.truncate(path, 128 + 8 * half)
    assert needs_recovery(path)
    assert recover(path, zerofill)
    assert not needs_recovery(path)
    flat = np.load(path).ravel(order=order)
    assert flat.size == 11 * 21 * (51 if zerofill else 50)
    expected = given.ravel(order=order)[: flat.size].copy()
    expected[half:] = 0
    same(flat, expected)
    assert recover(path), "also when there is nothing to do"


def test_the_functions_take_their_arguments_by_name(path):
    np.save(path, np.zeros(3))
    assert is_appendable(filename=path) and not needs_recovery(filename=path)
    recover(filename=path, zerofill_incomplete=True)
    ensure_appendable(filename=path, inplace=False)


def test_threads_that_append_the_first_array(tmp_path):
    """The Fortran order of a first array is settled by opening the file again, which no other thread may see."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for attempt in range(100):
            path, given = tmp_path / f"{attempt}.npy", np.asfortranarray(np.ones((3, 2)))
            with ThreadPoolExecutor(4) as threads, NpyAppendArray(path) as array:
                begin = threading.Barrier(4)
                list(threads.map(lambda _: begin.wait() + 1 and array.append(given), range(4)))
            assert np.load(path).shape == (3, 8)
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize(
    "saved, rewrite, delete, first, second", list(product([False, True], [False, True], [False, True], "CF", "CF"))
)
def test_threads_that_append(path, saved, rewrite, delete, first, second):
    one = np.arange(24).reshape((2, 3, 4), order=first)
    two = np.arange(24, 24 + (30 if fortran(first) else 60)).reshape(
        (2, 3, 5) if fortran(first) else (5, 3, 4), order=second
    )
    if saved:
        np.save(path, one)
    with NpyAppendArray(path, delete_if_exists=delete, rewrite_header_on_append=rewrite) as array:
        if delete or not saved:
            array.append(one)
        threads = [threading.Thread(target=array.append, args=(two,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert array.fortran_order == fortran(first)
    holds(path, one, *[two] * 6, axis=-1 if fortran(first) else 0)


def test_one_append_a_run(path):
    for _ in range(20):
        with NpyAppendArray(path) as array:
            array.append(np.zeros((50, 7, 3)))
    same(np.load(path), np.zeros((1000, 7, 3)))


def test_the_readme(path):
    one, two = np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4], [5, 6]])
    for _ in range(2):
        with NpyAppendArray(str(path), delete_if_exists=True) as array:
            array.append(one)
            array.append(two)
            array.append(two)
    same(np.load(path, mmap_mode="r"), np.concatenate([one, two, two]))


def test_attributes(path):
    array = NpyAppendArray(path)
    assert array.filename == path
    array.append(np.ones((2, 3), "f4"))
    array.append(np.ones((1, 3), "f4"))
    assert (array.shape, array.dtype, array.fortran_order) == ((3, 3), np.dtype("f4"), False)
    array.close()
    array = NpyAppendArray(path)
    assert (array.shape, array.dtype, array.fortran_order) == ((3, 3), np.dtype("f4"), False)
    array.close()
    array.close()


def test_without_with_and_with_the_header_written_late(path):
    array = NpyAppendArray(path, False, False)
    array.append(np.arange(3))
    array.append(np.arange(2))
    array.update_header()
    array.update_header()
    holds(path, np.arange(3), np.arange(2))
    array.append(np.arange(4))
    assert array.shape == (9,)
    array.close()
    holds(path, np.arange(3), np.arange(2), np.arange(4))


def test_update_header_is_allowed_when_nothing_is_late(path):
    with NpyAppendArray(path) as array:
        array.append(np.arange(3))
        array.update_header()
    holds(path, np.arange(3))


def test_dropping_the_object_closes_the_file(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array = NpyAppendArray(path, rewrite_header_on_append=False)
        array.append(np.arange(3))
        array.append(np.arange(3))
        del array
    holds(path, np.arange(3), np.arange(3))


def test_never_appended_never_made(path):
    with NpyAppendArray(path):
        pass
    with NpyAppendArray(path, delete_if_exists=True):
        pass
    assert not path.exists()


@pytest.mark.parametrize(
    "first, second", [((2, 3), (2, 4)), ((2, 3), (3,)), ((2, 3), (2, 3, 1)), ((4,), (4, 1))], ids=str
)
def test_other_shapes_are_value_errors(path, first, second):
    with NpyAppendArray(path) as array:
        array.append(np.zeros(first))
        with pytest.raises(ValueError):
            array.append(np.zeros(second))
        array.append(np.zeros(first))
    assert len(np.load(path)) == 2 * first[0]


@pytest.mark.parametrize("dtype", ["f4", "i2", ">f8", "?"])
def test_safe_casts_happen(path, dtype):
    with NpyAppendArray(path) as array:
        array.append(np.zeros(2))
        array.append(np.ones(2, dtype))
    same(np.load(path), np.array([0.0, 0, 1, 1]))


def test_strided_transposed_and_mapped_arrays(path):
    given = np.arange(24).reshape(4, 6)
    with NpyAppendArray(path) as array:
        array.append(given)
        array.append(given[::2])
        array.append(np.ascontiguousarray(given.T).T)
    with NpyAppendArray(path) as array:
        array.append(np.load(path, mmap_mode="r"))
    holds(path, *[given, given[::2], given] * 2)


def test_errors_are_value_errors_that_name_what_to_call(path):
    path.write_bytes(npy(np.arange(6)))
    with pytest.raises(ValueError, match="ensure_appendable"):
        with NpyAppendArray(path) as array:
            array.append(np.arange(6))
    np.save(path, np.arange(6))
    os.truncate(path, 128 + 44)
    with pytest.raises(ValueError, match="recover"):
        NpyAppendArray(path)
    np.save(path, np.array([None]), allow_pickle=True)
    with pytest.raises(ValueError, match="(?i)object"):
        NpyAppendArray(path)


@pytest.mark.parametrize("spell", [str, os.fsencode, lambda path: path], ids=["str", "bytes", "Path"])
def test_file_names(tmp_path, spell):
    path = tmp_path / "größe.npy"
    with NpyAppendArray(spell(path)) as array:
        array.append(np.arange(3))
    assert is_appendable(spell(path)) and not needs_recovery(spell(path))
    holds(path, np.arange(3))


def test_what_was_fine_there(path):
    for given in (
        np.ones(2, [(("title", "name"), "<i2"), ("größe", "<f4")]),
        np.ones((2, *[1] * 17)),
        np.zeros((0, 3)),
        np.array(["ab", "c"]),
        np.array([1, 2], "M8[s]"),
    ):
        with NpyAppendArray(path, delete_if_exists=True) as array:
            array.append(given)
            array.append(given[:0])
            array.append(given)
        holds(path, given, given)


def test_a_broken_file_without_room_is_recovered_first(path):
    path.write_bytes(npy(np.arange(10.0), pad=1)[:-11])
    assert not is_appendable(path) and needs_recovery(path)
    with pytest.raises(ValueError, match=r"call recover\(path\)"):
        ensure_appendable(path)
    assert recover(path) and ensure_appendable(path) and is_appendable(path)
    with NpyAppendArray(path) as array:
        array.append(np.ones(1))
    holds(path, np.arange(8.0), np.ones(1))
