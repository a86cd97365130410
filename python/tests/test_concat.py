"""concat: what NumPy's concatenate gives, all or nothing, and inputs that go as they are joined."""

import os
import signal
import sys
import threading
import time

import numpy as np
import npygrow as ng
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import add, example, holds, peak_of, refused, run, same

DTYPES = ["<f4", ">i2", "S5", "<U3", "M8[s]", "?", "<c16", [("a", "<i4"), ("b", "<f8", (2,))]]


def save(folder, *arrays):
    """The arrays as files, and their paths."""
    paths = [folder / f"part-{i}.npy" for i in range(len(arrays))]
    for path, array in zip(paths, arrays, strict=True):
        np.save(path, array)
    return paths


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_are_those_of_numpy(path, dtype):
    arrays = [example(dtype, (n, 2, 3), n) for n in (3, 0, 1, 7)]
    joined = ng.concat(save(path.parent, *arrays), path)
    assert (joined.shape, joined.rows, joined.rows_before, joined.inputs) == ((11, 2, 3), 11, 0, 4)
    holds(path, *arrays)
    ng.append(path, arrays[0])
    holds(path, *arrays, arrays[0])


def test_fortran_files_grow_along_the_last_axis(path):
    """NumPy stores one column, and none, in C order: they are of either."""
    arrays = [np.asfortranarray(np.arange(4 * n).reshape(4, n)) for n in (1, 3, 0, 2)]
    joined = ng.concat(save(path.parent, *arrays), path)
    assert joined.shape == (4, 6)
    holds(path, *arrays, axis=1)
    assert np.load(path).flags.fnc


@given(data=st.data())
def test_every_axis(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("axis")
    shape = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=4), "shape")
    axis = data.draw(st.integers(-len(shape), len(shape) - 1), "axis")
    order = data.draw(st.sampled_from("CF"), "order")
    sizes = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=4), "sizes")
    arrays = []
    for i, size in enumerate(sizes):
        shape[axis] = size
        arrays.append(np.asarray(example("<i4", shape, 100 * i), order=order))
    output = folder / "out.npy"
    paths = save(folder, *arrays)
    one_file = any(not array.flags.c_contiguous for array in arrays)
    growth = len(shape) - 1 if one_file else 0
    joined = ng.concat(paths, output, axis=axis)
    same(np.load(output), np.concatenate(arrays, axis))
    assert joined.shape == np.load(output).shape
    if axis % len(shape) == growth:
        ng.concat(paths, output, on_exists="append")
        same(np.load(output), np.concatenate(arrays * 2, axis))


def test_paths_of_every_kind(path):
    a, b, c = save(path.parent, *[np.arange(3)] * 3)
    ng.concat(iter([os.fsencode(a), os.fspath(b), c]), os.fsencode(path))
    holds(path, *[np.arange(3)] * 3)
    with pytest.raises(TypeError, match="put it in a list"):
        ng.concat(os.fspath(a), path)
    with pytest.raises(ValueError, match="on_exists must be one of"):
        ng.concat([a], path, on_exists="overwrite")


def test_an_output_that_exists(path):
    (part,) = save(path.parent, np.arange(3))
    np.save(path, np.arange(2))
    with refused(FileExistsError, path, "append", "replace"):
        ng.concat([part], path)
    joined = ng.concat([part], path, on_exists="append")
    assert (joined.rows_before, joined.rows) == (2, 5)
    holds(path, np.arange(2), np.arange(3))
    ng.concat([part], path, on_exists="replace")
    holds(path, np.arange(3))
    path.write_bytes(b"")
    ng.concat([part], path)
    holds(path, np.arange(3))


def test_all_that_does_not_fit_is_named(path):
    good, dtype, shape, cut, order = save(
        path.parent,
        np.zeros((2, 3)),
        np.zeros((2, 3), "f4"),
        np.zeros((2, 4)),
        np.zeros((2, 3)),
        np.asfortranarray(np.zeros((2, 3))),
    )
    os.truncate(cut, os.path.getsize(cut) - 9)
    with refused(ng.MismatchError, path) as caught:
        ng.concat([good, dtype, shape, cut, order, path.parent / "none.npy"], path)
    assert str(caught.value) == (
        f"{path}: 5 of 6 inputs cannot be joined: {cut}: the header counts 2 rows, the file holds 1: call recover(path) to "
        f"go on with what is left; {path.parent / 'none.npy'}: cannot open: No such file or directory (os error 2); "
        f"{dtype}: expected dtype <f8 as in {good}, found dtype <f4; {shape}: expected rows of shape (3,) as in {good}, "
        f"found rows of shape (4,); {order}: expected rows of shape (3,), C order as in {good}, found rows of shape (2,), "
        "F order"
    )
    with refused(ng.NeedsRecoveryError, cut, "recover"):
        ng.concat([good, cut], path)
    with refused(FileNotFoundError, path.parent / "none.npy"):
        ng.concat([good, path.parent / "none.npy"], path)
    with refused(ng.MismatchError, path, "expected at least one input, found none"):
        ng.concat([], path)
    with refused(ng.MismatchError, path, "axis 2 is out of bounds: .* has 2 axes"):
        ng.concat([good], path, axis=2)


def test_the_output_is_no_input(path):
    (part,) = save(path.parent, np.arange(3))
    np.save(path, np.arange(3))
    link = path.parent / "link.npy"
    link.symlink_to(path)
    with refused(ng.MismatchError, link, "the output is among the inputs"):
        ng.concat([part, link], path, on_exists="append")


def test_a_tail_is_told(path):
    a, b = save(path.parent, np.arange(3, dtype="i2"), np.arange(2, dtype="i2"))
    add(a, b"\1\2\3")
    joined = ng.concat([a, b], path)
    assert joined.tails == ((os.fspath(a), 3),)
    holds(path, np.arange(3, dtype="i2"), np.arange(2, dtype="i2"))
    with refused(ng.NeedsRecoveryError, a, "3 bytes after the last row would be lost"):
        ng.concat([a, b], path, on_exists="append", consume=True)


def test_it_prints_well(path):
    a, b = save(path.parent, np.zeros((1500, 3), "f4"), np.zeros((1, 3), "f4"))
    add(b, b"xyz")
    assert str(ng.concat([a, b], path)) == "\n".join(
        [
            f"path           {path}",
            "shape          (1501, 3)",
            "rows           1,501",
            "rows before    0",
            "inputs         2",
            "inputs before  0",
            "shared         0",
            f"tails          3 bytes of {b} left out",
        ]
    )


def test_progress_is_told_and_can_stop_it(path):
    arrays = [np.arange(n) for n in (10, 20, 30)]
    parts = save(path.parent, *arrays)
    told = []
    ng.concat(parts, path, progress=lambda *sizes: told.append(sizes))
    assert told == [(80, 480), (240, 480), (480, 480)]

    def stop(done, total):
        if done > 80:
            raise KeyError("stop")

    for how in ("append", "replace"):
        with pytest.raises(KeyError):
            ng.concat(parts, path, on_exists=how, progress=stop)
        holds(path, *arrays)
    path.unlink()
    with pytest.raises(KeyError):
        ng.concat(parts, path, progress=stop)
    assert sorted(os.listdir(path.parent)) == [part.name for part in parts]
    with pytest.raises(KeyError):
        ng.concat(parts, path, consume=True, progress=stop)
    holds(path, arrays[0])
    assert sorted(os.listdir(path.parent)) == [".rows.npy.npygrow-concat", "part-1.npy", "part-2.npy", "rows.npy"]
    joined = ng.concat(parts, path, consume=True)
    assert (joined.inputs, joined.inputs_before) == (2, 1)
    holds(path, *arrays)
    assert os.listdir(path.parent) == [path.name]


def test_ctrl_c_ends_it(path):
    """Between two steps: of many inputs, then of a wait for the lock."""
    parts = save(path.parent, *[np.arange(9)] * 3)

    def interrupt(done, total):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ng.concat(parts, path, progress=interrupt)
    assert sorted(os.listdir(path.parent)) == [part.name for part in parts]
    with ng.Appender(path, dtype="i8", row_shape=()):
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            ng.concat(parts, path, on_exists="append", lock_timeout=30)
        assert time.monotonic() - began < 10
        timer.join()


def test_locks(path):
    parts = save(path.parent, np.arange(3), np.arange(4))
    with ng.Appender(parts[1]):
        with refused(ng.LockedError, parts[1], "locked"):
            ng.concat(parts, path, consume=True)
        ng.concat(parts, path)
    with ng.Appender(path), refused(ng.LockedError, path, "locked"):
        ng.concat(parts, path, on_exists="append")


@pytest.mark.parametrize("width", [1, 70_000], ids=["narrow", "wide"])
def test_more_inputs_than_a_process_may_open(path, width):
    """Along either axis, from files and from one that holds them all. Wide pieces are copied by themselves."""
    count, rows = 160, 2 if width == 1 else 1
    folder = path.parent
    arrays = [np.full((rows, width), i, "<f4") for i in range(count)]
    many = folder / "many.npy"
    with open(many, "wb") as file:
        for array in arrays:
            np.save(file, array)
    out = run(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (150, 150))
        for axis in (0, 1):
            for inputs in (args[2:], args[1:2]):
                print(*ng.concat(inputs, args[0], axis=axis, on_exists="replace").shape)
        """,
        path,
        many,
        *save(folder, *arrays),
    )
    assert out.split("\n")[:4] == [f"{rows * count} {width}"] * 2 + [f"{rows} {width * count}"] * 2
    same(np.load(path), np.concatenate(arrays, 1))


def test_memory_stays_at_a_block(path):
    array = np.ones((4, 4 << 20), "u1")
    parts = save(path.parent, array, array)
    assert peak_of(lambda: ng.concat(parts, path)) < 2 << 20
    path.unlink()
    assert peak_of(lambda: ng.concat(parts, path, axis=1)) < 6 << 20
    same(np.load(path), np.concatenate([array, array], 1))
    narrow = np.ones((100_000, 40), "u1")
    parts = save(path.parent, narrow, narrow)
    assert peak_of(lambda: ng.concat(parts, path, axis=1, on_exists="replace")) < 6 << 20
    same(np.load(path), np.concatenate([narrow, narrow], 1))


def test_consume_needs_space_for_one_input_more(path):
    """No file may grow past the rows of all: there is no second copy."""
    parts = save(path.parent, *[np.arange(1000)] * 5)
    joined = ng.concat(parts, path, consume=True)
    assert (joined.shape, os.listdir(path.parent)) == ((5000,), [path.name])
    holds(path, *[np.arange(1000)] * 5)
    (part,) = save(path.parent, np.arange(3))
    ng.concat([part], path, consume=True, on_exists="append")
    assert (len(np.load(path)), os.listdir(path.parent)) == (5003, [path.name])
    with refused(ng.MismatchError, path, "consume joins along the growth axis"):
        ng.concat([path], path, consume=True, axis=0)


# Killed --------------------------------------------------------------------------------------------------------------


def test_killed_by_chance_while_it_is_done_again(path):
    """Whatever a run was killed in, the next ones finish, with the files that a pattern finds by then."""
    run(
        """
        import glob, random, signal, time
        path, chance = args[0], random.Random(3)
        folder = os.path.dirname(path)
        for round in range(12):
            for name in os.listdir(folder):
                os.unlink(os.path.join(folder, name))
            for i in range(40):
                np.save(os.path.join(folder, f"part-{i:02}.npy"), np.arange(1000 * i, 1000 * i + 1000))
            finished = kills = 0
            while not finished:
                child = os.fork()
                if child == 0:
                    try:
                        ng.concat(sorted(glob.glob(os.path.join(folder, "part-*.npy"))), path, consume=True)
                        os._exit(0)
                    except BaseException as error:
                        print(repr(error), file=sys.stderr, flush=True)
                        os._exit(1)
                time.sleep(chance.uniform(0, 0.03 + 0.02 * kills))
                os.kill(child, signal.SIGKILL)
                status = os.waitpid(child, 0)[1]
                assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
                kills += 1
                finished = os.WIFEXITED(status) or os.listdir(folder) == [os.path.basename(path)]
                if os.path.exists(path):
                    rows = np.load(path)
                    assert (rows == np.arange(len(rows))).all()
                    left = len(glob.glob(os.path.join(folder, "part-*.npy")))
                    assert len(rows) // 1000 + left in (40, 41), (len(rows), left)
            assert len(np.load(path)) == 40_000 and os.listdir(folder) == [os.path.basename(path)]
        """,
        path,
    )


def test_the_arrays_of_several_saves_become_one(path, tmp_path):
    arrays = [np.arange(6).reshape(2, 3), np.zeros((0, 3), int), np.full((4, 3), 7)]
    sequence = tmp_path / "seq.npy"
    with open(sequence, "wb") as file:
        for array in arrays:
            np.save(file, array)
    joined = ng.concat([sequence], path)
    assert (joined.inputs, joined.rows) == (3, 6)
    same(np.load(path), np.concatenate(arrays))
    with open(sequence, "ab") as file:
        np.save(file, np.zeros(3))
    with refused(ng.MismatchError, sequence, r"array 3: expected dtype <i8, rows of shape \(3,\)", "found dtype <f8"):
        ng.concat([sequence], tmp_path / "other.npy")
    assert not (tmp_path / "other.npy").exists()
