"""A full disk: the append that does not fit did not happen, and the file goes on."""

import os
import subprocess

import numpy as np
import npygrow as ng
import pytest
from support import holds, limited_files, npy, refused, same, skip

ROWS = np.arange(300.0).reshape(100, 3)
MANY = np.ones((5000, 3))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("given", ["ready", "to convert"])
@pytest.mark.parametrize("limit", range(2528, 2528 + 2401, 600))
def test_an_append_that_does_not_fit_did_not_happen(path, limit, given, order):
    turn = (lambda rows: rows) if order == "C" else (lambda rows: np.asfortranarray(rows.T))
    many = turn(MANY) if given == "ready" else turn(MANY).astype("f4")
    with ng.Appender(path, order=order) as rows:
        rows.append(turn(ROWS))
        with limited_files(limit):
            for _ in range(2):
                with refused(OSError, path) as caught:
                    rows.append(many)
                assert caught.value.errno and len(rows) == 100
        rows.append(turn(ROWS))
    holds(path, turn(ROWS), turn(ROWS), axis=0 if order == "C" else 1)


def test_a_failed_publish_keeps_what_is_buffered(path):
    with ng.Appender(path, dtype="f8", row_shape=3, buffering=8000) as rows:
        for _ in range(3):
            rows.append(ROWS)
        with limited_files(128):
            with pytest.raises(OSError):
                rows.commit()
            with pytest.raises(OSError):
                rows.append(ROWS)
            assert len(rows) == 300, "the rows of the failed append were not taken"
        assert rows.commit() == range(0, 300)
        rows.append(ROWS)
    holds(path, *[ROWS] * 4)


def test_a_close_that_fails_names_the_rows_that_are_lost(path):
    rows = ng.Appender(path, dtype="f8", row_shape=3, buffering=1 << 20)
    rows.append(ROWS)
    with limited_files(128):
        with refused(OSError, path, r"\b100\b"):
            rows.close()
    assert rows.closed
    rows.close()
    with ng.Appender(path) as rows:
        rows.append(ROWS)
    holds(path, ROWS)


def test_the_first_append_creates_nothing(path):
    with limited_files(1000):
        rows = ng.Appender(path)
        with refused(OSError, path):
            rows.append(ROWS)
        assert os.listdir(path.parent) == []
        rows.append(ROWS[:9])
        rows.close()
    holds(path, ROWS[:9])


def test_mode_w_keeps_the_old_file(path):
    np.save(path, ROWS)
    with limited_files(1000):
        with ng.Appender(path, mode="w") as rows, refused(OSError, path):
            rows.append(MANY)
    holds(path, ROWS)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        skip(f"a full disk is not tested: mounting needs root ({mounted.stderr.strip()})")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("durability", ["process", "ordered", "power"])
def test_a_disk_filled_to_the_last_block(small_disk, durability):
    path, parts = small_disk / "rows.npy", []
    with ng.Appender(path, durability=durability) as rows:
        with pytest.raises(OSError) as caught:
            while True:
                rows.append(np.full((777, 3), len(parts), "f8"))
                parts.append(np.full((777, 3), len(parts), "f8"))
        assert caught.value.errno == 28 and len(parts) > 30
        holds(path, *parts)
        assert path.stat().st_size == 128 + 777 * 24 * len(parts)
        while True:
            try:
                rows.append(ROWS)
                parts.append(ROWS)
            except OSError:
                break
        rows.truncate(777)
        rows.append(ROWS)
    same(np.load(path), np.concatenate([parts[0], ROWS]))


@pytest.mark.parametrize("verb", ["ensure_appendable", "save"])
def test_a_copy_that_does_not_fit_leaves_the_file_as_it_was(small_disk, verb):
    path = small_disk / "rows.npy"
    path.write_bytes(npy(np.arange(90_000)))
    with refused(OSError, path):
        ng.ensure_appendable(path) if verb == "ensure_appendable" else ng.save(path, np.arange(90_000.0))
    same(np.load(path), np.arange(90_000))
