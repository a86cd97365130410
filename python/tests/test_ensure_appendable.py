"""`ensure_appendable`: room for the count, and everything else as it was."""

import os
import stat

import numpy as np
import npygrow as ng
import pytest
from support import holds, npy, refused, same

FILES = {
    "C order": np.arange(12, dtype="<i4").reshape(4, 3),
    "F order": np.asfortranarray(np.arange(12, dtype="<i4").reshape(4, 3)),
    "1-d": np.arange(5.0),
    "0 rows": np.zeros((0, 3)),
    "rows of no bytes": np.zeros((3, 0)),
    "no rows of no bytes": np.zeros((0, 0)),
    "structured": np.ones(3, [("a", "<i4"), ("b", "<f8", (2,))]),
    "names outside latin-1": np.ones(3, [("温度", "<f4")]),
    "some blocks": np.arange(3 << 20, dtype="<i4").reshape(-1, 4),
}


def axis(array):
    return -1 if array.flags.fnc else 0


def version(array):
    return 3 if array.dtype.names == ("温度",) else 1


@pytest.mark.parametrize("inplace", [False, True], ids=["copy", "in place"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_without_room_gets_some(path, name, inplace):
    given = FILES[name]
    path.write_bytes(npy(given, version=version(given)))
    assert not ng.is_appendable(path)
    if given.shape[axis(given)]:
        with refused(ng.NotAppendableError, path, "ensure_appendable"):
            with ng.Appender(path) as rows:
                rows.append(given)
    assert ng.ensure_appendable(path, inplace=inplace)
    assert ng.is_appendable(path) and not ng.needs_recovery(path)
    same(np.load(path), given)
    assert np.load(path).flags.fnc == given.flags.fnc
    ng.append(path, given)
    holds(path, given, given, axis=axis(given))
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("maker", ["ours", "np.save"])
def test_a_file_with_room_is_left_as_it_is(path, maker):
    given = FILES["C order"]
    ng.append(path, given) if maker == "ours" else np.save(path, given)
    assert ng.is_appendable(path)
    before, inode = path.read_bytes(), path.stat().st_ino
    ng.ensure_appendable(path)
    assert path.read_bytes() == before and path.stat().st_ino == inode


def test_a_symlink_stays_one(tmp_path, path):
    target = tmp_path / "elsewhere" / "target.npy"
    target.parent.mkdir()
    target.write_bytes(npy(FILES["1-d"]))
    path.symlink_to("elsewhere/target.npy")
    ng.ensure_appendable(path)
    assert os.readlink(path) == "elsewhere/target.npy" and os.listdir(target.parent) == ["target.npy"]
    assert ng.is_appendable(target)
    same(np.load(path), FILES["1-d"])


def test_mode_owner_and_times_are_kept(path):
    path.write_bytes(npy(FILES["1-d"]))
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    os.utime(path, ns=(1_500_000_000_123_456_789, 1_600_000_000_987_654_321))
    before = path.stat()
    ng.ensure_appendable(path)
    after = path.stat()
    assert stat.S_IMODE(after.st_mode) == 0o640 and (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_mtime_ns == before.st_mtime_ns
    assert ng.is_appendable(path)


def test_a_reader_keeps_its_map(path):
    path.write_bytes(npy(FILES["some blocks"]))
    mapped = np.load(path, mmap_mode="r")
    ng.ensure_appendable(path)
    same(mapped, FILES["some blocks"])


def test_no_axis_no_growth(path):
    np.save(path, np.float64(3))
    assert not ng.is_appendable(path)
    with refused(ng.NpyError, path, "0-d|dimension|axis"):
        ng.ensure_appendable(path)
    with refused(ng.NpyError, path, "0-d|dimension|axis"):
        ng.Appender(path)


def test_a_broken_file_without_room_is_not_passed_for_a_whole_one(path):
    given = FILES["C order"]
    path.write_bytes(npy(given)[:-5])
    try:
        ng.ensure_appendable(path)
    except ng.NeedsRecoveryError as error:
        assert "recover" in str(error) and path.read_bytes() == npy(given)[:-5]
    else:
        assert ng.needs_recovery(path) and ng.recover(path).rows == 3
        holds(path, given[:3])
