"""`ensure_appendable(inplace=True)`: rows move within their file, which is refused or right whenever that is cut short."""

import os
import pickle
import random
import signal
import time

import numpy as np
import npygrow as ng
import pytest
from support import holds, limited_files, npy, refused, same, says, start

JOURNAL = ".rows.npy.npygrow-move"
GIVEN = np.arange(3 << 20)  # six blocks
MOVE = "print('go', flush=True); ng.ensure_appendable(args[0], inplace=True)"


def begin(path):
    """A process that moves the rows of a new file."""
    path.write_bytes(npy(GIVEN))
    child = start(MOVE, path)
    child.stdout.readline()
    return child


def is_half_moved(path):
    with open(path, "rb") as file:
        return file.read(8) == b"\x93NPYGROW"


def half_moved(path):
    """Kills a process that has begun to move rows."""
    for _ in range(20):
        child = begin(path)
        while child.poll() is None and not is_half_moved(path):
            pass
        child.kill()
        child.communicate()
        if is_half_moved(path):
            return
    pytest.fail("no kill met a move half-way")


FINISH = {
    "Appender": lambda path: ng.Appender(path).close(),
    "recover": ng.recover,
    "ensure_appendable": ng.ensure_appendable,
    "in place": lambda path: ng.ensure_appendable(path, inplace=True),
}


def test_kills_at_any_moment(path):
    chance, met = random.Random(5), 0
    begun = time.monotonic()
    path.write_bytes(npy(GIVEN))
    ng.ensure_appendable(path, inplace=True)
    whole = time.monotonic() - begun
    for turn in range(20):
        child = begin(path)
        # At any moment, and, so that a busy machine meets enough of them, at any moment of the move itself.
        while turn % 2 and child.poll() is None and not is_half_moved(path):
            pass
        time.sleep(chance.uniform(0, 0.5 * whole if turn % 2 else 1.5 * whole))
        child.kill()
        child.communicate()
        finish = FINISH[chance.choice(list(FINISH))]
        try:
            same(np.load(path), GIVEN)
        except ValueError:
            met += 1
            with refused(ng.NeedsRecoveryError, path, "recover"):
                ng.inspect(path)
            finish(path)
        ng.ensure_appendable(path)
        ng.append(path, GIVEN[:5])
        holds(path, GIVEN, GIVEN[:5])
        assert os.listdir(path.parent) == [path.name]
    assert met >= 3, f"only {met} of 20 kills met the move half-way"


@pytest.mark.parametrize("way", FINISH)
def test_each_of_them_finishes(path, way):
    half_moved(path)
    assert ng.needs_recovery(path) and not ng.is_appendable(path)
    for reader in (ng.inspect, ng.open):
        with refused(ng.NeedsRecoveryError, path, "interrupted", "Appender", "recover"):
            reader(path)
    for allow_pickle in (False, True):
        with pytest.raises((ValueError, OSError, pickle.UnpicklingError)):
            np.load(path, allow_pickle=allow_pickle)
    FINISH[way](path)
    same(np.load(path), GIVEN)
    assert ng.is_appendable(path) and os.listdir(path.parent) == [path.name]


def test_a_second_process_is_kept_out_while_rows_move(path):
    child = begin(path)
    while child.poll() is None and not is_half_moved(path):
        pass
    os.kill(child.pid, signal.SIGSTOP)
    os.waitpid(child.pid, os.WUNTRACED)
    try:
        with refused(ng.LockedError, path):
            ng.recover(path)
    finally:
        os.kill(child.pid, signal.SIGCONT)
        child.communicate()
    same(np.load(path), GIVEN)


def test_a_half_moved_file_without_its_journal(path):
    half_moved(path)
    journal = path.with_name(JOURNAL)
    journal.rename(path.with_name("kept"))
    for finish in FINISH.values():
        with refused(ng.FormatError, path, "half moved", JOURNAL, "missing"):
            finish(path)
    path.with_name("kept").rename(journal)
    ng.recover(path)
    same(np.load(path), GIVEN)


def test_a_copy_does_not_take_the_originals_journal(path, tmp_path):
    half_moved(path)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (path.name, JOURNAL):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    with refused(ng.FormatError, copy / path.name, "another file", JOURNAL):
        ng.recover(copy / path.name)


def test_a_disk_with_little_space_gets_small_blocks(path):
    path.write_bytes(npy(GIVEN[:50_000]))
    with limited_files(500_000):
        ng.ensure_appendable(path, inplace=True)
    same(np.load(path), GIVEN[:50_000])


def test_a_full_disk_is_told_before_a_row_moves(path):
    path.write_bytes(npy(GIVEN))
    with limited_files(30_000), refused(OSError, path, "as it was") as caught:
        ng.ensure_appendable(path, inplace=True)
    says(caught.value, "journal")


def test_mode_and_owner_stay(path):
    path.write_bytes(npy(GIVEN[:9]))
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    before = path.stat()
    ng.ensure_appendable(path, inplace=True)
    after = path.stat()
    for what in ("st_ino", "st_mode", "st_uid", "st_gid"):
        assert getattr(after, what) == getattr(before, what), what
