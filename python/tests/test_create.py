"""How a file comes to be: modes, names, what is found in its place, what a failure leaves."""

import errno
import os
import stat

import numpy as np
import npygrow as ng
import pytest
from support import header_len, header_text, holds, refused, run, same

OLD = np.arange(3, dtype="i2")
NEW = np.arange(8.0).reshape(4, 2)


@pytest.mark.parametrize(
    "dtype, row_shape, order, before, after",
    [
        ("<f8", (3,), "C", "{'descr': '<f8', 'fortran_order': False, 'shape': (", ", 3), }"),
        ("|u1", (), "C", "{'descr': '|u1', 'fortran_order': False, 'shape': (", ",), }"),
        (">i2", (2, 3), "F", "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3, ", "), }"),
        (
            [("a", "<i4"), ("b", "<f8", (2,))],
            (),
            "C",
            "{'descr': [('a', '<i4'), ('b', '<f8', (2,))], 'fortran_order': False, 'shape': (",
            ",), }",
        ),
    ],
)
def test_the_header_has_room_at_an_aligned_place(path, dtype, row_shape, order, before, after):
    with ng.Appender(path, dtype=dtype, row_shape=row_shape, order=order) as rows:
        for count in (0, 12):
            if count:
                rows.append(np.zeros((count, *row_shape) if order == "C" else (*row_shape, count), dtype))
            text, size = header_text(path), header_len(path)
            assert text.startswith(before) and after in text
            digits = text[len(before) : text.index(after, len(before))]
            assert digits.lstrip(" ") == str(count) and len(digits) >= 19
            assert (10 + len(before) + len(digits)) % 16 == 0
            assert text[len(before) + len(digits) + len(after) :].strip(" ") == "\n" and text.endswith("\n")
            assert size % 64 == 0 and size >= 128 and path.read_bytes()[:8] == b"\x93NUMPY\x01\x00"
    assert path.stat().st_size == size + 12 * np.dtype(dtype).itemsize * int(np.prod(row_shape))


def test_names_outside_latin1_make_version_3(path):
    dtype = np.dtype([("größe", "<f4"), ("温度", "<f4")])
    with ng.Appender(path) as rows:
        rows.append(np.ones(3, dtype))
        rows.append(np.ones(3, dtype))
    assert path.read_bytes()[6] == 3
    same(np.load(path), np.ones(6, dtype))
    latin = path.with_name("latin.npy")
    ng.append(latin, np.ones(1, [("größe", "<f4")]))
    assert latin.read_bytes()[6] == 1


def test_a_header_past_the_limit_is_refused_until_the_limit_is_raised(path):
    dtype = np.dtype([(f"field number {i:05}", "<f8") for i in range(600)])
    given = np.ones(2, dtype)
    with refused(ng.FormatError, path, "max_header_size", "10.?000"):
        ng.Appender(path).append(given)
    with ng.Appender(path, max_header_size=100_000) as rows:
        rows.append(given)
        rows.append(given)
    same(np.load(path, max_header_size=100_000), np.ones(4, dtype))
    with refused(ng.FormatError, path, "max_header_size"):
        ng.Appender(path)
    with refused(ng.FormatError, path, "max_header_size"):
        ng.open(path)
    with refused(ng.FormatError, path, "max_header_size"):
        ng.inspect(path)
    assert len(ng.open(path, max_header_size=100_000)) == 4
    assert ng.inspect(path, max_header_size=100_000).rows == 4


def test_with_dtype_and_row_shape_the_file_is_there_at_once(path):
    rows = ng.Appender(path, dtype="f4", row_shape=2)
    holds(path, np.zeros((0, 2), "f4"))
    assert rows.shape == (0, 2) and rows.dtype == np.dtype("f4")
    rows.append(NEW.astype("f4"))
    rows.close()
    holds(path, NEW.astype("f4"))


def test_without_an_append_there_is_no_file(path):
    ng.Appender(path).close()
    with ng.Appender(path, mode="w"), ng.Appender(path, mode="x"):
        pass
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("mode, expected", [("a", None), ("w", NEW), ("x", FileExistsError)])
def test_modes_on_an_existing_file(path, mode, expected):
    np.save(path, OLD)
    if expected is FileExistsError:
        with refused(FileExistsError, path) as caught:
            ng.Appender(path, mode=mode)
        assert caught.value.errno and os.fspath(caught.value.filename) == os.fspath(path)
    elif expected is None:
        with ng.Appender(path, mode=mode) as rows:
            assert rows.append(OLD) == range(3, 6)
        holds(path, OLD, OLD)
    else:
        with ng.Appender(path, mode=mode) as rows:
            assert rows.append(NEW) == range(0, 4)
        holds(path, NEW)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("mode", ["a", "w", "x"])
def test_modes_on_a_new_name(path, mode):
    with ng.Appender(path, mode=mode) as rows:
        rows.append(NEW)
        rows.append(NEW)
    holds(path, NEW, NEW)
    assert os.listdir(path.parent) == [path.name]


def test_mode_w_keeps_the_old_file_until_the_first_commit(path):
    np.save(path, OLD)
    mapped = np.load(path, mmap_mode="r")
    with ng.Appender(path, mode="w"):
        pass
    holds(path, OLD)
    with ng.Appender(path, mode="w", buffering=1 << 20) as rows:
        rows.append(NEW)
        holds(path, OLD)
        rows.commit()
        holds(path, NEW)
    same(mapped, OLD)


def test_mode_w_takes_the_old_files_mode(path):
    np.save(path, OLD)
    path.chmod(0o640)
    with ng.Appender(path, mode="w") as rows:
        rows.append(NEW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_mode_that_open_gives(path, umask, mode):
    before = os.umask(umask)
    try:
        ng.append(path, NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("create", ["append", "at once"])
def test_a_file_made_by_someone_else_meanwhile_is_not_overwritten(path, create):
    late, strict = ng.Appender(path), ng.Appender(path, mode="x")
    if create == "append":
        ng.append(path, NEW)
    else:
        ng.Appender(path, dtype="f8", row_shape=(2,)).close()
    with refused(FileExistsError, path):
        strict.append(NEW)
    count = len(np.load(path))
    assert late.append(NEW) == range(count, count + 4)
    late.close()
    holds(path, *[NEW] * (count // 4 + 1))


def test_a_file_made_by_someone_else_that_does_not_fit(path):
    late = ng.Appender(path)
    np.save(path, OLD)
    with refused(ng.MismatchError, path, r"\(2,\)"):
        late.append(NEW)


@pytest.mark.parametrize("mode", ["x", "a"])
def test_of_many_who_create_at_once_one_does(path, mode):
    out = run(
        """
        path, mode = args
        for round in range(15):
            if os.path.exists(path): os.unlink(path)
            ready, go = os.pipe(), os.pipe()
            children = []
            for who in range(4):
                children.append(os.fork())
                if children[-1] == 0:
                    code = 1
                    try:
                        os.close(go[1])
                        rows = ng.Appender(path, mode=mode)
                        os.write(ready[1], b"r")
                        os.read(go[0], 1)
                        rows.append(np.full(1000, who))
                        code = 10
                    except (FileExistsError, ng.LockedError): code = 20
                    except BaseException as error: print(repr(error), file=sys.stderr, flush=True)
                    finally: os._exit(code)
            for _ in children: os.read(ready[0], 1)
            os.close(go[1])
            ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
            for end in (*ready, go[0]): os.close(end)
            assert set(ends) <= {10, 20} and (ends.count(10) == 1 or mode == "a"), ends
            who = [n for n, end in enumerate(ends) if end == 10]
            rows = np.load(path).reshape(-1, 1000)
            assert sorted(rows[:, 0]) == who and (rows == rows[:, :1]).all(), (who, rows[:, 0])
        print("one")
        """,
        path,
        mode,
    )
    assert out.strip() == "one"
    assert os.listdir(path.parent) == [path.name]


def test_a_live_reader_never_sees_a_half_made_file(path):
    out = run(
        """
        import threading
        path, stop, bad = args[0], False, []
        def read():
            while not stop:
                try: bad.extend([] if np.load(path).shape[1:] == (2,) else ["shape"])
                except FileNotFoundError: pass
                except Exception as error: bad.append(repr(error))
        reader = threading.Thread(target=read); reader.start()
        for round in range(150):
            with ng.Appender(path, mode="w") as rows:
                rows.append(np.ones((3, 2)))
            if round % 2: os.unlink(path)
        stop = True; reader.join()
        print(bad)
        """,
        path,
    )
    assert out.strip() == "[]"


@pytest.mark.parametrize("dangling", [False, True])
@pytest.mark.parametrize("mode", ["a", "w"])
def test_symlinks_are_followed(tmp_path, path, mode, dangling):
    target = tmp_path / "elsewhere" / "target.npy"
    target.parent.mkdir()
    path.symlink_to("elsewhere/target.npy")
    if not dangling:
        np.save(target, NEW)
    with ng.Appender(path, mode=mode) as rows:
        rows.append(NEW)
    assert os.readlink(path) == "elsewhere/target.npy"
    holds(target, *[NEW] * (1 if dangling or mode == "w" else 2))
    assert os.listdir(target.parent) == ["target.npy"]


def test_a_loop_of_symlinks_is_an_os_error(path):
    path.symlink_to(path.name)
    with pytest.raises(OSError):
        ng.Appender(path).append(NEW)


@pytest.mark.parametrize("mode", ["a", "w"])
def test_an_empty_file_is_a_new_file(path, mode):
    path.touch(0o640)
    path.chmod(0o640)
    with ng.Appender(path, mode=mode) as rows:
        assert rows.append(NEW) == range(0, 4)
    holds(path, NEW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("mode", ["a", "w", "x"])
def test_a_missing_folder_is_named(tmp_path, mode):
    path = tmp_path / "no" / "rows.npy"
    with pytest.raises(FileNotFoundError) as caught:
        ng.Appender(path, mode=mode).append(NEW)
    assert str(path.parent) in str(caught.value) and caught.value.filename
    assert os.listdir(tmp_path) == []


# Folders are for `open` and `inspect` to look into: test_dataset.py.
NO_FILES = [(verb, *no) for verb in (ng.open, ng.inspect) for no in (("", errno.ENOENT), ("/dev/null", errno.EINVAL))]
NO_FILES += [(ng.Appender, "", errno.ENOENT), (ng.Appender, "/", errno.EISDIR), (ng.Appender, "/dev/null", errno.EINVAL)]


@pytest.mark.parametrize("verb, given, number", NO_FILES)
def test_what_is_no_file_has_a_number_and_a_name(verb, given, number):
    with pytest.raises(OSError, match=r"expected (a regular|the path of a) file, found [a-z ]+: '") as caught:
        verb(given)
    assert (caught.value.errno, caught.value.filename) == (number, given)


@pytest.mark.parametrize("mode", ["a", "w"])
def test_what_is_no_file_is_refused_and_never_waited_for(path, mode):
    os.mkfifo(path)
    with refused((OSError, ng.NpyError), path, "fifo|pipe"):
        ng.Appender(path, mode=mode).append(NEW)
    path.unlink()
    path.mkdir()
    with refused((OSError, ng.NpyError), path, "folder|directory"):
        ng.Appender(path, mode=mode).append(NEW)


def test_no_permission_is_a_permission_error(path):
    if os.geteuid() == 0:
        code = "os.setresuid(65534, 65534, 65534)\n"
    else:
        code = ""
    np.save(path, OLD)
    path.chmod(0o444)
    for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
        folder.chmod(folder.stat().st_mode | 0o055)
    out = run(
        code + "try: ng.Appender(args[0])\nexcept PermissionError as error: print(error.errno, error.filename)", path
    )
    assert out.split() == ["13", str(path)]


BAD = {
    "objects": np.array([None, 1]),
    "masked": np.ma.masked_greater(NEW, 3),
    "0-d": np.array(1.0),
    "ragged": [[1], [1, 2]],
}


@pytest.mark.parametrize("mode", ["a", "w", "x"])
@pytest.mark.parametrize("bad", BAD)
def test_a_refused_first_append_leaves_nothing(path, bad, mode):
    rows = ng.Appender(path, mode=mode)
    with refused(ng.NpyError, path):
        rows.append(BAD[bad])
    assert rows.append(NEW) == range(0, 4)
    rows.close()
    holds(path, NEW)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"dtype": "f4"}, ["f4|float32", "f8|float64"]),
        ({"row_shape": 3}, [r"\(3,\)", r"\(2,\)"]),
        ({"order": "F"}, ["order"]),
    ],
)
def test_options_that_are_not_the_files_are_refused(path, options, words):
    ng.append(path, NEW)
    with refused(ng.MismatchError, path, *words):
        ng.Appender(path, **options)
    ng.Appender(path, dtype="f8", row_shape=(2,), order="C").close()


@pytest.mark.parametrize("dtype", [object, [("a", "O")], [("a", "f4", (2,)), ("b", [("c", "O")])]])
def test_a_dtype_with_objects_is_refused(path, dtype):
    with refused(ng.NpyError, path, "object"):
        ng.Appender(path, dtype=dtype, row_shape=())


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_order_is_what_the_user_says(path, order):
    f_contiguous = np.asfortranarray(NEW)
    with ng.Appender(path, order=order) as rows:
        rows.append(f_contiguous)
        rows.append(f_contiguous)
    holds(path, NEW, NEW, axis=0 if order == "C" else 1)
    assert f"'fortran_order': {order == 'F'}" in header_text(path)


def test_failed_constructors_leak_no_descriptor(tmp_path, path):
    path.write_bytes(b"not npy")
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for _ in range(50):
        with pytest.raises(ng.FormatError):
            ng.Appender(path)
        with pytest.raises(OSError):
            ng.Appender(tmp_path / "no" / "rows.npy").append(NEW)
    assert (len(os.listdir("/proc/self/fd")) if before else 0) <= before + 1


@pytest.mark.parametrize("array", [NEW, np.asfortranarray(NEW), np.arange(3), np.zeros((0, 2)), NEW[::2]])
def test_save_makes_a_file_that_grows(path, array):
    path.write_bytes(b"old")
    ng.save(path, array)
    same(np.load(path), array)
    assert ng.is_appendable(path) and os.listdir(path.parent) == [path.name]
    ng.append(path, array)
    holds(path, array, array, axis=-1 if "True" in header_text(path) else 0)
