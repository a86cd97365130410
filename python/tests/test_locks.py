"""One appender a file: who is refused, who waits, when the lock is free again."""

import signal
import threading
import time

import numpy as np
import npygrow as ng
import pytest
from support import finish, holds, npy, refused, run, start

ROWS = np.arange(3.0)
HOLDER = """
    rows = ng.Appender(args[0])
    rows.append(np.arange(3.0))
    print("held", flush=True)
    sys.stdin.readline()
"""
TOUCHES = {
    "append": lambda path: ng.Appender(path),
    "mode w": lambda path: ng.Appender(path, mode="w").append(ROWS),
}


def held(path):
    child = start(HOLDER, path)
    assert child.stdout.readline() == "held\n"
    return child


def test_a_second_handle_in_this_process_is_told_so(path):
    with ng.Appender(path) as rows:
        rows.append(ROWS)
        with refused(ng.LockedError, path, "this (very )?process", "close"):
            ng.Appender(path)
        assert issubclass(ng.LockedError, BlockingIOError)
    ng.append(path, ROWS)
    holds(path, ROWS, ROWS)


@pytest.mark.parametrize("touch", ["append", "mode w"])
def test_another_process_is_refused_and_told_of_forks(path, touch):
    child = held(path)
    with refused(ng.LockedError, path, "process", "fork", "lock_timeout|turns"):
        TOUCHES[touch](path)
    finish(child)
    ng.append(path, ROWS)


@pytest.mark.parametrize("touch", ["recover", "ensure_appendable"])
def test_repairs_take_the_lock_too(path, touch):
    # Both have something to do here: a torn row, and a header without room.
    path.write_bytes(npy(ROWS)[:-3] if touch == "recover" else npy(ROWS))
    out = run(
        """
        import fcntl
        file = open(args[0], "rb+")
        fcntl.flock(file, fcntl.LOCK_EX)
        before = file.read()
        try: getattr(ng, args[1])(args[0])
        except ng.LockedError as error: print(error)
        file.seek(0)
        assert file.read() == before
        """,
        path,
        touch,
    )
    assert str(path) in out


def test_readers_need_no_lock(path):
    with ng.Appender(path) as rows:
        rows.append(ROWS)
        assert len(ng.open(path)) == 3 and ng.inspect(path).rows == 3
        assert ng.is_appendable(path) and not ng.needs_recovery(path)


def test_a_timeout_is_waited_out(path):
    with ng.Appender(path) as rows:
        rows.append(ROWS)
        begin = time.monotonic()
        with refused(ng.LockedError, path):
            ng.Appender(path, lock_timeout=0.3)
        assert 0.25 < time.monotonic() - begin < 10


def test_waiting_ends_when_the_holder_closes_and_stops_no_other_thread(path):
    rows = ng.Appender(path)
    rows.append(ROWS)
    got = []

    def wait():
        with ng.Appender(path, lock_timeout=30) as mine:
            got.append(mine.append(ROWS))

    waiter = threading.Thread(target=wait)
    waiter.start()
    ticks, end = 0, time.monotonic() + 0.3
    while time.monotonic() < end:
        ticks += 1
    assert waiter.is_alive() and ticks > 1000
    rows.close()
    waiter.join(30)
    assert got == [range(3, 6)]


def test_waiting_can_be_interrupted(path):
    with ng.Appender(path) as rows:
        rows.append(ROWS)
        child = start(
            """
            print("waiting", flush=True)
            try: ng.Appender(args[0], lock_timeout=40)
            except KeyboardInterrupt: print("interrupted")
            """,
            path,
        )
        assert child.stdout.readline() == "waiting\n"
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        assert finish(child, timeout=10) == "interrupted\n"


def test_a_killed_holder_holds_nothing(path):
    child = held(path)
    child.kill()
    child.communicate()
    assert ng.append(path, ROWS) == range(3, 6)


def test_a_failed_open_holds_nothing(path):
    path.write_bytes(npy(ROWS))
    with pytest.raises(ng.NotAppendableError):
        with ng.Appender(path) as rows:
            rows.append(np.arange(10.0**7))
    assert ng.ensure_appendable(path) is not None
    ng.append(path, ROWS)
    holds(path, ROWS, ROWS)


def test_an_unrelated_close_in_the_process_unlocks_nothing(path):
    with ng.Appender(path) as rows:
        rows.append(ROWS)
        open(path, "rb").close()
        np.load(path)
        with refused(ng.LockedError, path):
            ng.Appender(path)


def test_a_new_file_is_locked_from_the_start(path):
    with ng.Appender(path, dtype="f8", row_shape=()):
        with refused(ng.LockedError, path):
            ng.Appender(path)


def test_a_file_of_another_name_is_not_locked(path):
    with ng.Appender(path) as one, ng.Appender(path.with_name("other.npy")) as two:
        one.append(ROWS)
        two.append(ROWS)
        link = path.with_name("link.npy")
        link.symlink_to(path.name)
        with refused(ng.LockedError, link):
            ng.Appender(link)
