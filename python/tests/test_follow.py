"""`Array.follow`: rows as they are committed, whatever becomes of the writer and the file."""

import itertools
import os
import signal
import threading
import time

import numpy as np
import npygrow as ng
import pytest
from support import BLOCK, example, finish, same, says, start

SOON = 20  # seconds: longer than any pause between two looks


def later(work, *args, after=0.05):
    """Runs `work` in a thread, a little later."""
    timer = threading.Timer(after, work, args)
    timer.start()
    return timer


def test_rows_that_are_new(path):
    ng.append(path, np.arange(3))
    array = ng.open(path)
    ng.append(path, np.arange(3, 5))
    rows = array.follow(timeout=0)
    assert iter(rows) is rows
    same(next(rows), np.arange(3, 5))
    assert len(array) == 5
    assert list(rows) == []
    ng.append(path, np.arange(5, 6))
    assert list(rows) == [], "what has ended has ended"
    same(array[:], np.arange(5))


@pytest.mark.parametrize(
    ("first", "expected"), [(None, 3), (0, 0), (2, 2), (9, 3), (-1, 2), (-3, 0), (-9, 0), (np.int64(1), 1)]
)
def test_where_it_starts(path, first, expected):
    ng.append(path, np.arange(3))
    array = ng.open(path)
    rows = array.follow(0, start=first)
    ng.append(path, [3])
    same(np.concatenate(list(rows)), np.arange(expected, 4))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">i2", "S3", "<M8[s]", [("a", "<u4"), ("b", "<f8", (2,))], "<f2", "?"])
def test_blocks_are_rows_along_the_growth_axis(path, dtype, order):
    expected = example(dtype, (2, 3, 7))
    axis = 0 if order == "C" else 2
    with ng.Appender(path, dtype=dtype, order=order, row_shape=np.delete(expected.shape, axis)) as appender:
        rows = ng.open(path).follow(SOON)
        for part in np.split(expected, expected.shape[axis], axis):
            appender.append(part)
            block = next(rows)
            same(block, part)
            assert block.flags.writeable and block.flags.aligned and block.flags.forc


@pytest.mark.parametrize("shape", [(0,), (4, 0)])
def test_rows_without_bytes(path, shape):
    with ng.Appender(path, dtype="f8", row_shape=shape) as appender:
        rows = ng.open(path).follow(0)
        appender.append(np.zeros((10**9, *shape)))
        assert next(rows).shape == (10**9, *shape)
        assert list(rows) == []


def test_blocks_are_bounded(path):
    row = 1 << 20
    ng.append(path, np.arange(10 * row, dtype="u1").reshape(10, row))
    blocks = list(ng.open(path).follow(0, start=0))
    assert [block.shape for block in blocks] == [(4, row), (4, row), (2, row)]
    same(np.concatenate(blocks), np.load(path))
    large = path.with_name("large.npy")
    ng.append(large, np.zeros((2, 2 * BLOCK), "u1"))
    assert [block.shape for block in ng.open(large).follow(0, start=0)] == [(1, 2 * BLOCK)] * 2


def test_a_block_is_a_copy(path):
    ng.append(path, np.arange(3))
    array = ng.open(path, mode="r+")
    block = next(array.follow(start=0))
    array[:] = 7
    block[0] = 5
    same(block, np.array([5, 1, 2]))
    same(np.load(path), np.full(3, 7))


def test_a_timeout_is_of_silence(path):
    ng.append(path, [0])
    rows = ng.open(path).follow(timeout=0.2)
    for value in (1, 2, 3):
        later(ng.append, path, [value], after=0.1)
        same(next(rows), np.array([value]))
    before = time.monotonic()
    assert list(rows) == []
    assert 0.2 <= time.monotonic() - before < 5


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_that_is_none(path, timeout):
    ng.append(path, [0])
    with pytest.raises(ValueError, match="timeout must be seconds, 0 or more, not (-1|NaN)"):
        ng.open(path).follow(timeout)


def test_a_private_copy_is_not_followed(path):
    ng.append(path, [0])
    with pytest.raises(ng.MismatchError, match="a private copy does not grow"):
        ng.open(path, mode="c").follow()


def test_a_single_value_is_not_followed(path):
    np.save(path, np.float64(1))
    with pytest.raises(ValueError, match="0-d"):
        ng.open(path).follow()


def test_a_closed_array_is_not_followed(path):
    ng.append(path, [0])
    array = ng.open(path)
    array.close()
    with pytest.raises(ValueError, match="closed"):
        array.follow()


def test_close_ends_it(path):
    ng.append(path, [0])
    array = ng.open(path)
    later(array.close)
    before = time.monotonic()
    assert list(array.follow()) == []
    assert time.monotonic() - before < SOON


def test_it_keeps_the_array_and_gives_the_file_back(path):
    ng.append(path, [0])
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else None
    rows = ng.open(path).follow(0, start=0)
    assert [block.tolist() for block in rows] == [[0]]
    if descriptors is not None:
        array = rows = None
        assert len(os.listdir("/proc/self/fd")) == descriptors


def test_two_followers_see_all_rows_each(path):
    ng.append(path, [0])
    array = ng.open(path)
    seen = [[], []]

    def follow(mine):
        for rows in array.follow(SOON):
            mine.extend(rows.tolist())
            if mine[-1] == 300:
                return

    threads = [threading.Thread(target=follow, args=(mine,)) for mine in seen]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    with ng.Appender(path) as appender:
        for value in range(1, 301):
            appender.append([value])
    for thread in threads:
        thread.join()
    # A thread may have begun late: it starts after the rows that the array counts by then.
    for mine in seen:
        assert mine == list(range(mine[0], 301))
    assert len(array) == 301


def test_other_threads_go_on(path):
    ng.append(path, [0])
    array = ng.open(path)
    waiting = later(lambda: list(array.follow(0.5)), after=0)
    before = time.monotonic()
    assert sum(range(100_000)) and array.shape == (1,) and array.refresh() == range(1, 1)
    assert time.monotonic() - before < 0.4
    waiting.join()


def test_a_writer_process_that_is_killed_and_comes_back(path):
    writer = """
        with ng.Appender(args[0], dtype="<i8", row_shape=()) as appender:
            for _ in range(int(args[1])):
                appender.append([len(appender)])
            print("done", flush=True)
            sys.stdin.read()
    """
    first = start(writer, path, 500)
    while not path.exists():
        time.sleep(0.01)
    rows = ng.open(path).follow(SOON, start=0)
    seen = []
    while len(seen) < 500:
        seen += next(rows).tolist()
    first.kill()
    first.communicate()
    second = start(writer, path, 500)
    while len(seen) < 1000:
        seen += next(rows).tolist()
    assert finish(second) == "done\n"
    assert seen == list(range(1000))


@pytest.mark.parametrize("change", ["replace", "delete", "rename", "save", "cut", "room"])
def test_the_file_goes(path, change):
    if change == "room":
        path.write_bytes(b"\x93NUMPY\1\0\x33\0{'descr':'<i8','fortran_order':False,'shape':(3,)}\n" + bytes(24))
    else:
        ng.save(path, np.arange(3))
    array = ng.open(path)
    other = path.with_name("other.npy")
    np.save(other, np.arange(9))
    work = {
        "replace": lambda: os.replace(other, path),
        "delete": lambda: os.remove(path),
        "rename": lambda: os.rename(path, other),
        "save": lambda: np.save(path, np.arange(2)),
        "cut": lambda: os.truncate(path, os.path.getsize(path) - 1),
        "room": lambda: ng.ensure_appendable(path),
    }[change]
    rows = array.follow(SOON)
    later(work)
    with pytest.raises(ng.MismatchError) as caught:
        list(rows)
    says(caught.value, str(path), "replaced", "open it again")


def test_rows_before_a_replacement_come_first(path):
    ng.append(path, [0])
    rows = ng.open(path).follow()
    ng.append(path, [1, 2])
    ng.save(path, np.arange(9))
    assert next(rows).tolist() == [1, 2]
    with pytest.raises(ng.MismatchError, match="replaced"):
        next(rows)


def test_ctrl_c_ends_the_wait(path):
    ng.append(path, [0])
    child = start(
        """
        import signal, time
        rows = ng.open(args[0]).follow()
        print("waits", flush=True)
        try:
            next(rows)
        except KeyboardInterrupt:
            print("interrupted")
        """,
        path,
    )
    assert child.stdout.readline() == "waits\n"
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    assert finish(child, SOON) == "interrupted\n"


def test_waiting_costs_next_to_nothing(path):
    ng.append(path, [0])
    array = ng.open(path)
    list(array.follow(0))
    before = time.process_time()
    assert list(array.follow(2)) == []
    assert time.process_time() - before < 0.2


@pytest.mark.parametrize("durability", ["process", "ordered"])
def test_rows_come_soon(path, durability):
    ng.append(path, np.zeros(1))
    rows = ng.open(path).follow(SOON)
    late = []
    with ng.Appender(path, durability=durability) as appender:
        # So many that commits are stores that nobody is told of.
        for _ in range(100):
            appender.append(np.zeros(1))
        for block in itertools.islice(rows, 20):
            late.append(time.monotonic() - block[-1])
            later(lambda: appender.append(np.array([time.monotonic()])), after=0.01).join()
    # Some 0.1 ms; a machine at work may let some of them wait.
    assert np.median(late[1:]) < 0.1
