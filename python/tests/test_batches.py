"""`Array.batches`: all rows once, in order or shuffled, read ahead by one batch, in the memory of two."""

import gc
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time

import hypothesis.strategies as st
import numpy as np
import npygrow as ng
import pytest
from hypothesis import given, settings
from support import finish, refused, run, same, skip

CUBE = np.arange(1200, dtype="<i4").reshape(60, 4, 5)


@pytest.fixture(params=["C", "F"])
def array(path, request):
    """60 rows; in Fortran order of shape (5, 4, 60)."""
    np.save(path, CUBE if request.param == "C" else CUBE.T)
    return ng.open(path)


def rows_of(batch, order):
    return batch if order == "C" else batch.T


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("size", [1, 7, 20, 59, 60, 61, 10**12])
def test_each_row_comes_once_and_in_order(array, size, drop_last):
    batches = array.batches(size, drop_last=drop_last)
    expected = [CUBE[at : at + size] for at in range(0, 60, min(size, 60))]
    if drop_last and len(expected[-1]) < size:
        expected.pop()
    assert len(batches) == len(expected)
    for left, (got, rows) in enumerate(zip(batches, expected, strict=True), -len(expected) + 1):
        assert len(batches) == -left
        same(rows_of(got, array.order), rows)
        assert got.flags.writeable and got.flags.fnc == (array.order == "F") and got.flags.aligned
    assert list(batches) == [] and len(batches) == 0


def test_shuffled_rows_come_once_each(array):
    def order(**options):
        batches = [rows_of(batch, array.order) for batch in array.batches(7, shuffle=True, **options)]
        assert [len(batch) for batch in batches] == [7] * 8 + [4]
        rows = np.concatenate(batches)
        numbers = rows[:, 0, 0] // 20
        same(rows, CUBE[numbers])
        assert sorted(numbers) == list(range(60))
        return numbers.tolist()

    assert order(seed=1) == order(seed=1) != order(seed=2) != list(range(60))
    assert order() != order()
    assert len(list(array.batches(7, shuffle=True, drop_last=True))) == 8


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(0, 50), width=st.integers(0, 3), size=st.integers(1, 60), seed=st.none() | st.integers(0, 2**64 - 1)
)
def test_any_sizes(tmp_path_factory, rows, width, size, seed):
    path = tmp_path_factory.mktemp("any") / "rows.npy"
    values = np.arange(rows * width, dtype="u2").reshape(rows, width)
    np.save(path, values)
    batches = list(ng.open(path).batches(size, shuffle=seed is not None, seed=seed))
    assert [len(batch) for batch in batches] == [min(size, rows - at) for at in range(0, rows, size)]
    together = np.concatenate([*batches, values[:0]])
    if seed is not None and width:
        together = together[np.argsort(together[:, 0])]
    same(together, values)


def test_the_rows_of_the_moment(path):
    """Rows that are appended during a scan belong to the next one; a refresh does not disturb it."""
    with ng.Appender(path) as rows:
        rows.append(CUBE[:10])
        array = ng.open(path)
        batches = array.batches(4)
        rows.append(CUBE[10:])
        first = next(batches)
        array.refresh()
        same(np.concatenate([first, *batches]), CUBE[:10])
        same(np.concatenate(list(array.batches(7))), CUBE)


def test_batches_are_kept_as_they_are(path):
    """Memory is used again only when nobody holds it."""
    np.save(path, CUBE)
    kept = [batch[1:] for batch in ng.open(path).batches(10)]
    gc.collect()
    for at, rows in enumerate(kept):
        same(rows, CUBE[at * 10 + 1 : at * 10 + 10])


def test_a_private_copy_gives_its_changes(path):
    np.save(path, CUBE)
    with ng.open(path, "c") as array:
        array[3] = -1
        for options in ({}, {"shuffle": True, "seed": 1}):
            together = np.concatenate(list(array.batches(7, **options)))
            assert (together == -1).sum() == 20


def test_a_file_that_is_cut_is_an_error_not_a_fault(path):
    for options in ({}, {"shuffle": True}):
        ng.save(path, np.zeros((1000, 1000)))
        batches = ng.open(path).batches(10, **options)
        next(batches)
        os.truncate(path, 1_000_000)
        with refused(ng.MismatchError, path, "cut while it was read.*: open it again"):
            for _ in batches:
                pass
        assert list(batches) == []


def test_bad_arguments(path):
    np.save(path, CUBE)
    array = ng.open(path)
    with refused(ng.MismatchError, path, "expected batches of one row or more, found 0"):
        array.batches(0)
    with refused(ValueError, path, "a seed is for shuffle=True"):
        array.batches(1, seed=3)
    with pytest.raises(TypeError):
        array.batches(1.5)
    np.save(path, np.array(1))
    with refused(ValueError, path, "a single value .0-d. has no rows to make batches of"):
        ng.open(path).batches(1)
    array.close()
    with refused(ValueError, path, "closed"):
        array.batches(1)


def test_closing_ends_the_iteration(path):
    np.save(path, CUBE)
    batches = ng.open(path).batches(10)
    first = next(batches)
    batches.close()
    batches.close()
    assert list(batches) == [] and len(batches) == 0
    same(first, CUBE[:10])


def test_a_forked_child_begins_its_own(path):
    np.save(path, CUBE)
    out = run(
        """
        array = ng.open(args[0])
        fresh, begun = array.batches(10), array.batches(10)
        next(begun)
        if child := os.fork():
            os.waitpid(child, 0)
            print(len(list(begun)), len(list(fresh)))
        else:
            print(len(list(fresh)), sum(len(batch) for batch in array.batches(7)))
            try:
                next(begun)
            except ng.LatchedError as error:
                print("a fork" in str(error), flush=True)
            os._exit(0)
        """,
        path,
    )
    assert out.split() == ["6", "60", "True", "5", "6"]


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_scan_takes_the_memory_of_two_batches(path, shuffle):
    """What the process holds, mapped pages included, does not grow with the file: 16 MiB batches of 128 and of 512 MiB."""
    for blocks in (2, 8):
        with ng.Appender(path, mode="w", dtype="f4", row_shape=1 << 10) as rows:
            for _ in range(blocks):
                rows.append(np.ones((1 << 14, 1 << 10), "f4"))
        out = run(
            f"""
            sys.path.insert(0, args[1])
            from support import peak_of
            array = ng.open(args[0])
            def scan():
                total = 0
                for batch in array.batches(1 << 12, shuffle={shuffle}):
                    total += int(batch[:, 0].sum())
                assert total == len(array)
            print(peak_of(scan))
            """,
            path,
            __file__.rpartition("/")[0],
        )
        assert int(out) <= 40 << 20, f"{int(out) >> 20} MiB"
        path.unlink()


@pytest.mark.parametrize("shuffle", [False, True])
def test_rows_of_no_bytes_take_no_memory(path, shuffle):
    """A header of 128 bytes may count any number of them."""
    ng.save(path, np.empty((3, 0)))
    count = 1 << 40
    path.write_bytes(path.read_bytes().replace(b"(                  3, 0)", b"(%19d, 0)" % count))
    array = ng.open(path)
    assert array.shape == (count, 0)
    (batch,) = array.batches(count, shuffle=shuffle)
    assert batch.shape == (count, 0)


def test_batches_do_not_pickle(path):
    np.save(path, CUBE)
    with pytest.raises(TypeError):
        pickle.dumps(ng.open(path).batches(2))


STALLED = """
import os, sys, time, numpy as np, npygrow as ng
batches = ng.open(sys.argv[1]).batches(10, shuffle=True)
print(os.getpid(), flush=True)
began = time.monotonic()
try:
    next(batches)
except KeyboardInterrupt:
    print(time.monotonic() - began)
print(len(batches), next(batches).shape, len(batches))
"""


def test_ctrl_c_is_seen_while_the_disk_stalls(path):
    np.save(path, np.arange(30))
    # Only rows in another order are read by this call: the header comes at once.
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=preadv2"]
    command += ["-e", "inject=preadv2:delay_enter=4000000:when=1", sys.executable, "-P", "-c", STALLED, path]
    if shutil.which("strace") is None:
        skip("strace does not run here: a read that stalls is not tested")
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pid = child.stdout.readline()
    if not pid:
        skip(f"strace does not run here: a read that stalls is not tested ({child.communicate()[1].strip()})")
    time.sleep(0.5)
    os.kill(int(pid), signal.SIGINT)
    waited, went_on = finish(child).splitlines()
    assert 0.3 < float(waited) < 3
    assert went_on == "3 (10,) 2"


@pytest.mark.parametrize("number", [-1, -(2**70), 2**70, 2**64])
def test_numbers_out_of_range(array, number):
    if number < 0:
        with pytest.raises(ng.MismatchError) as caught:
            array.batches(number)
        assert str(caught.value) == f"{array.path}: expected batches of one row or more, found {number}"
    else:
        assert len(array.batches(number)) == 1
    with pytest.raises(ValueError) as caught:
        array.batches(2, shuffle=True, seed=number)
    assert str(caught.value) == f"{array.path}: expected a seed from 0 to 2**64 - 1, found {number}"
