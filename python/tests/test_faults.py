"""The 24 faults of npy-append-array 0.9.19, in the order of the table, each test named after what is right."""

import gc
import io
import os
import stat
import threading
import time

import numpy as np
import npygrow as ng
import pytest
from support import add, finish, holds, limited_files, npy, peak_of, refused, run, same, skip, start

ROWS = np.arange(6.0).reshape(3, 2)


def test_01_closed_is_closed_and_a_reopened_path_continues(path):
    array = ng.NpyAppendArray(path)
    with array:
        array.append(ROWS)
    with refused(ValueError, path, "is closed"):
        array.append(ROWS)
    with refused(ValueError, path, "is closed"):
        with array:
            array.append(ROWS)
    with ng.NpyAppendArray(path) as array:
        array.append(ROWS)
    holds(path, ROWS, ROWS)


@pytest.mark.parametrize("version, pad", [(1, 180), (2, 44), (3, 44), (2, 180), (1, 4000)])
def test_02_the_true_header_length_is_kept(path, version, pad):
    path.write_bytes(npy(ROWS, version=version, pad=pad))
    start = path.stat().st_size - ROWS.nbytes
    with ng.NpyAppendArray(path) as array:
        array.append(ROWS)
    assert path.stat().st_size == start + 2 * ROWS.nbytes
    holds(path, ROWS, ROWS)


def test_03_a_lock_per_file(tmp_path):
    slow, quick = ng.NpyAppendArray(tmp_path / "slow.npy"), ng.NpyAppendArray(tmp_path / "quick.npy")
    slow.append(np.zeros((1, 1024), "f4"))
    quick.append(ROWS)
    done = []
    many = np.broadcast_to(np.float32(1), (1 << 16, 1024))  # 256 MiB, block by block
    thread = threading.Thread(target=lambda: done.append(slow.append(many)))
    thread.start()
    meanwhile = 0
    while not done:
        quick.append(ROWS)
        meanwhile += 1
    thread.join()
    assert meanwhile > 3
    slow.close()
    quick.close()
    (tmp_path / "slow.npy").unlink()


def test_04_dropping_never_waits_for_a_lock_of_its_own_thread(path):
    out = run(
        """
        import gc, warnings
        warnings.simplefilter("ignore")
        gc.disable()
        array = ng.NpyAppendArray(args[0])
        array.append(np.arange(3))

        class Collects:
            def __array__(self, dtype=None, copy=None):
                gc.collect()
                return np.arange(3)

        for n in range(20):
            other = ng.NpyAppendArray(f"{args[0]}.{n}")
            other.append(np.arange(3))
            cycle = [other]; cycle.append(cycle)
            del other, cycle
            array.append(Collects())
        array.close()
        print(len(np.load(args[0])))
        """,
        path,
    )
    assert out.split() == ["63"]


def test_05_the_handle_of_a_forked_child_refuses(path):
    out = run(
        """
        array = ng.NpyAppendArray(args[0])
        array.append(np.arange(3))
        child = os.fork()
        if child == 0:
            try: array.append(np.arange(3)); os._exit(1)
            except ng.NpyError as error: pass
            try: array.close()
            except ng.NpyError: pass
            os._exit(0)
        array.append(np.arange(4))
        print(os.waitpid(child, 0)[1])
        array.append(np.arange(5))
        array.close()
        """,
        path,
    )
    assert out.split() == ["0"]
    holds(path, np.arange(3), np.arange(4), np.arange(5))


def test_06_one_at_a_time_or_turns(path):
    with ng.NpyAppendArray(path) as array:
        array.append(ROWS)
        with refused(ng.LockedError, path):
            ng.NpyAppendArray(path)
    code = """
        with ng.Appender(args[0], turns=True) as rows:
            for _ in range(100): rows.append(np.full((3, 2), float(args[1])))
    """
    for child in [start(code, path, who) for who in (1, 2)]:
        finish(child)
    rows = np.load(path)[3:]
    assert len(rows) == 600 and [int((rows == who).all(axis=1).sum()) for who in (1, 2)] == [300, 300]
    assert (rows.reshape(200, 6) == rows[::3, :1]).all(), "no batch is torn"


def test_07_a_failed_append_is_cut_back(path):
    with limited_files(10_000):
        with ng.NpyAppendArray(path) as array:
            array.append(ROWS)
            with refused(OSError, path):
                array.append(np.ones((700, 2)))
            array.append(ROWS)
    holds(path, ROWS, ROWS)


def test_08_a_tail_is_named_and_on_tail_decides(path):
    ng.append(path, ROWS)
    add(path, ROWS[:1].tobytes())
    with pytest.warns(UserWarning, match="1"):
        with ng.NpyAppendArray(path) as array:
            array.append(ROWS)
    holds(path, ROWS, ROWS)
    add(path, ROWS[:1].tobytes())
    with refused(ng.NeedsRecoveryError, path, r"\b1\b", r"\b16\b", "recover|on_tail"):
        ng.Appender(path, on_tail="error")
    with ng.Appender(path, on_tail="keep") as rows:
        assert len(rows) == 7


def test_09_rows_are_visible_when_append_returns(path):
    with ng.NpyAppendArray(path) as array:
        for n in range(1, 12):
            array.append(ROWS)
            assert len(np.load(path)) == 3 * n
    with ng.NpyAppendArray(path, rewrite_header_on_append=False) as array:
        array.append(ROWS)
        array.update_header()
        assert len(np.load(path)) == 3 * 12


@pytest.mark.parametrize(
    "dtype, rows",
    [("i1", [300.7, np.nan]), ("U2", ["abcdef"]), ("u8", [-1]), ("M8[D]", np.array([1], "M8[s]"))],
    ids=["float to int8", "a string cut", "-1 to unsigned", "seconds to days"],
)
def test_10_no_cast_is_silently_lossy(path, dtype, rows):
    with ng.NpyAppendArray(path) as array:
        array.append(np.zeros(1, dtype))
        with refused(ng.MismatchError, path):
            array.append(np.asarray(rows))
    holds(path, np.zeros(1, dtype))


def test_11_fields_match_by_name(path):
    with ng.NpyAppendArray(path) as array:
        array.append(np.array([(1, 2)], [("a", "f8"), ("b", "f8")]))
        array.append(np.array([(20, 10)], [("b", "f8"), ("a", "f8")]))
        with refused(ng.MismatchError, path, "x"):
            array.append(np.array([(1, 2)], [("x", "f8"), ("y", "f8")]))
    same(np.load(path), np.array([(1, 2), (10, 20)], [("a", "f8"), ("b", "f8")]))


def test_12_nothing_divides_by_zero(path):
    path.write_bytes(npy(np.zeros((0, 3))))
    ng.ensure_appendable(path)
    same(np.load(path), np.zeros((0, 3)))
    path.write_bytes(npy(np.zeros((3, 0)), pad=40))
    add(path, b"tail")
    ng.recover(path)
    same(np.load(path), np.zeros((3, 0)))
    path.write_bytes(npy(np.array(1.0)))
    for verb in (ng.ensure_appendable, ng.NpyAppendArray):
        with refused(ng.NpyError, path, "0-d|dimension|axis"):
            verb(path)


def test_13_a_sequence_is_named_and_refused(path):
    two = io.BytesIO()
    np.save(two, ROWS)
    np.save(two, ROWS)
    path.write_bytes(two.getvalue())
    with refused(ng.NpyError, path, "sequence"):
        ng.recover(path)
    with refused(ng.NpyError, path, "sequence"):
        ng.NpyAppendArray(path)


def test_14_a_0d_array_is_refused_before_a_byte_is_written(path):
    with ng.NpyAppendArray(path) as array:
        array.append(np.arange(3.0))
        with refused(ng.NpyError, path, "0-d|dimension|axis"):
            array.append(np.array(1.0))
        array.append(np.arange(3.0))
    holds(path, np.arange(3.0), np.arange(3.0))


@pytest.mark.parametrize("name", ["ragged list", "masked", "object", "header too long"])
def test_15_a_refused_first_append_creates_nothing(path, name):
    bad = {
        "ragged list": [[1], [1, 2]],
        "masked": np.ma.masked_greater(ROWS, 3),
        "object": np.array([None]),
        "header too long": np.zeros(1, [(f"field number {n:06}", "f8") for n in range(3000)]),
    }[name]
    with ng.NpyAppendArray(path) as array, refused(ng.NpyError, path):
        array.append(bad)
    assert os.listdir(path.parent) == []
    with ng.NpyAppendArray(path) as array:
        array.append([[1, 2], [3, 4]])
    same(np.load(path), np.array([[1, 2], [3, 4]]))


def test_16_a_full_disk_at_the_first_append_creates_nothing(path):
    with limited_files(5_000):
        with ng.NpyAppendArray(path) as array:
            with refused(OSError, path):
                array.append(np.ones((700, 2)))
            assert os.listdir(path.parent) == []
            array.append(ROWS)
    holds(path, ROWS)


def test_17_making_room_follows_the_link_and_keeps_mode_and_times(tmp_path, path):
    target = tmp_path / "target.npy"
    target.write_bytes(npy(ROWS))
    target.chmod(0o644)
    os.utime(target, (1e9, 1e9))
    path.symlink_to(target)
    ng.ensure_appendable(path)
    assert path.is_symlink() and stat.S_IMODE(target.stat().st_mode) == 0o644 and target.stat().st_mtime == 1e9
    assert ng.is_appendable(target)


def test_18_making_room_in_place_survives_a_kill(path):
    given = np.arange(1 << 21)
    for delay in (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016):
        path.write_bytes(npy(given))
        child = start("print('go', flush=True); ng.ensure_appendable(args[0], inplace=True)", path)
        child.stdout.readline()
        time.sleep(delay)
        child.kill()
        child.communicate()
        try:
            same(np.load(path), given)
        except ValueError:
            ng.recover(path)
            same(np.load(path), given)


def test_19_failed_constructors_leak_nothing(path):
    path.write_bytes(npy(ROWS)[:-1])
    descriptors = lambda: len(os.listdir("/proc/self/fd"))  # noqa: E731
    if not os.path.exists("/proc/self/fd"):
        skip("no /proc/self/fd: leaks of descriptors are not counted")
    before = descriptors()
    kept = []
    for _ in range(30):
        try:
            ng.NpyAppendArray(path)
        except ValueError as error:
            kept.append(error)
    assert len(kept) == 30 and descriptors() <= before + 1


def test_20_the_old_file_goes_at_the_first_commit_and_nobody_elses(path):
    ng.append(path, ROWS)
    with ng.NpyAppendArray(path, delete_if_exists=True) as array:
        holds(path, ROWS)
        array.append(-ROWS)
        holds(path, -ROWS)
    other = path.with_name("other.npy")
    with ng.NpyAppendArray(other) as array:
        ng.append(other, ROWS)
        array.append(ROWS)
    holds(other, ROWS, ROWS)


def test_21_an_append_needs_one_block_of_memory(path):
    given = np.ones((1 << 11, 1 << 12), "f4").T  # 32 MiB, strided
    with ng.NpyAppendArray(path) as array:
        array.append(given[:1])
        gc.collect()
        peak = peak_of(lambda: array.append(given))
    assert peak < 12 << 20
    assert len(np.load(path, mmap_mode="r")) == len(given) + 1


def test_22_the_order_is_what_the_user_says_and_the_drop_in_guesses(path):
    turned = np.ascontiguousarray(ROWS).T
    ng.append(path, turned)
    ng.append(path, turned)
    holds(path, turned, turned, axis=0)
    path.unlink()
    with ng.NpyAppendArray(path) as array:
        array.append(turned)
        array.append(turned)
        assert array.fortran_order
    holds(path, turned, turned, axis=1)
    path.unlink()
    with ng.Appender(path, order="F") as rows:
        rows.append(np.zeros((2, 0)))
        rows.append(turned)
    holds(path, turned)


def test_23_an_empty_file_is_a_new_file(path):
    path.touch()
    with ng.NpyAppendArray(path) as array:
        array.append(ROWS)
    holds(path, ROWS)


def test_24_errors_say_which_file_what_was_found_and_what_to_call(path):
    ng.append(path, ROWS)
    with ng.NpyAppendArray(path) as array:
        with refused(ng.MismatchError, path, r"\(2,\)", r"\(3,\)"):
            array.append(np.ones((1, 3)))
        with refused(ng.MismatchError, path, "f8|float64", "c16|complex128"):
            array.append(ROWS * 1j)
    os.truncate(path, path.stat().st_size - 1)
    with refused(ng.NeedsRecoveryError, path, "3", "2", "recover"):
        ng.NpyAppendArray(path)
    path.write_bytes(npy(ROWS))
    with refused(ng.NotAppendableError, path, "room|header", "ensure_appendable"):
        with ng.NpyAppendArray(path) as array:
            array.append(ROWS)
    path.write_bytes(b"<html>")
    with refused(ng.FormatError, path, "HTML"):
        ng.NpyAppendArray(path)
    path.unlink()
    with refused(FileNotFoundError, path):
        ng.recover(path)
