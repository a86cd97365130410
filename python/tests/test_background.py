"""`background=True`: rows go into a queue, and a thread writes them. What is visible is always a beginning of them."""

import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import npygrow as ng
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import finish, holds, limited_files, peak_of, refused, run, same, says, skip, start

ROWS = np.arange(6, dtype="i8").reshape(2, 3)


def until(done):
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


def visible(path):
    return len(np.load(path)) if path.exists() else 0


def test_rows_are_numbered_at_once_and_published_by_commit(path):
    with ng.Appender(path, background=True) as rows:
        assert rows.shape is None and rows.dtype is None
        assert rows.append(ROWS) == range(0, 2)
        assert rows.append(ROWS.tolist()) == range(2, 4)
        assert (len(rows), rows.shape, rows.dtype) == (4, (4, 3), np.dtype("i8"))
        assert rows.commit() == range(0, 4) and rows.commit() == range(4, 4)
        holds(path, ROWS, ROWS)
        rows.append(ROWS)
        rows.sync()
        assert visible(path) == 6 and rows.commit() == range(4, 6)
        rows.truncate(1)
        assert len(rows) == 1
    assert rows.closed and rows.shape == (1, 3) and "closed" in repr(rows)
    rows.close()
    for verb, *given in [("append", ROWS), ("commit",), ("sync",), ("truncate", 0), ("__enter__",)]:
        with refused(ValueError, path, "is closed"):
            getattr(rows, verb)(*given)
    holds(path, ROWS[:1])


def test_rows_are_published_without_another_call(path):
    with ng.Appender(path, background=True) as rows:
        rows.append(ROWS)
        until(lambda: visible(path) == 2)
    with ng.Appender(path, background=True, buffering=1 << 20, max_delay=0.01) as rows:
        rows.append(ROWS)
        until(lambda: visible(path) == 4)


def test_a_buffer_gathers(path):
    with ng.Appender(path, dtype="i8", row_shape=3, background=True, buffering=100) as rows:
        rows.append(ROWS)
        rows.append(ROWS)
        time.sleep(0.02)
        assert visible(path) == 0 and len(rows) == 4
        rows.append(ROWS)
        until(lambda: visible(path) == 6)


def test_the_rows_are_copied(path):
    with ng.Appender(path, background=True, buffering=1 << 30) as rows:
        mine = ROWS.copy()
        rows.append(mine)
        mine[...] = -1
    holds(path, ROWS)


def test_what_does_not_fit_is_refused_at_once(path):
    with ng.Appender(path, background=True) as rows:
        rows.append(ROWS)
        rows.commit()
        with refused(ng.MismatchError, path, r"\(3,\)"):
            rows.append(ROWS[:, :2])
        with refused(ng.MismatchError, path, "float64"):
            rows.append(ROWS + 0.5)
        with refused(ng.MismatchError, path, "cannot truncate"):
            rows.truncate(3)
        assert rows.append(ROWS) == range(2, 4)


@pytest.mark.parametrize("given", [{"max_delay": 1.0}, {"max_queue": 1 << 20}])
def test_what_only_a_thread_can_do_is_refused_without_one(path, given):
    with pytest.raises(ValueError) as caught:
        ng.Appender(path, **given)
    says(caught.value, "background=True")


@pytest.mark.parametrize("given", [{"max_delay": -1.0}, {"max_delay": float("nan")}, {"max_queue": -1}])
def test_nonsense_is_refused(path, given):
    with pytest.raises(ValueError):
        ng.Appender(path, background=True, **given)


def test_turns_are_refused(path):
    with refused(ng.MismatchError, path, "turns"):
        ng.Appender(path, background=True, turns=True)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_that_the_queue_cannot_hold_goes_in_whole(path, order):
    turn = (lambda rows: rows) if order == "C" else (lambda rows: rows.T)
    many = np.arange(3 * 400_000).reshape(-1, 3)
    with ng.Appender(path, order=order, background=True, max_queue=1000) as rows:
        assert rows.append(turn(ROWS)) == range(0, 2)
        assert rows.append(turn(np.ascontiguousarray(many))) == range(2, 400_002)
        assert rows.append(turn(np.repeat(many, 2, axis=0)[::2])) == range(400_002, 800_002)
    holds(path, turn(ROWS), turn(many), turn(many), axis=0 if order == "C" else 1)


def test_an_error_between_the_blocks_of_such_an_array_undoes_it(path):
    out = run(
        """
        import signal
        rows = ng.Appender(args[0], dtype="f4", row_shape=1024, background=True, max_queue=1 << 20)
        rows.append(np.zeros((3, 1024), "f4"))
        def alarm(*_): raise TimeoutError("enough")
        signal.signal(signal.SIGALRM, alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try: rows.append(np.broadcast_to(np.float32(1), (1 << 18, 1024)))
        except TimeoutError as error: print(error, len(rows))
        rows.append(np.zeros((2, 1024), "f4")); rows.close()
        print(np.load(args[0]).shape)
        """,
        path,
    )
    assert out.splitlines() == ["enough 3", "(5, 1024)"]


def test_memory_stays_within_the_queue(path):
    piece = np.ones((1 << 20) // 8)
    with ng.Appender(path, background=True, max_queue=8 << 20) as rows:
        rows.append(piece)
        rows.commit()
        assert peak_of(lambda: [rows.append(piece) for _ in range(200)]) < 16 << 20
    path.unlink()


# Threads, forks, exits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_queue", [200, 1 << 20])
def test_threads_get_the_numbers_of_their_rows(path, max_queue):
    wrote = {}
    with ng.Appender(path, dtype="i8", row_shape=3, background=True, max_queue=max_queue) as rows:

        def writer(who):
            for n in range(200):
                batch = np.full((1 + n % 4, 3), (who, n, 0)) + [0, 0, 1] * np.arange(1 + n % 4)[:, None]
                wrote[who, n] = rows.append(np.asfortranarray(batch) if who % 2 else batch)
                if n % 50 == 49:
                    rows.commit()

        threads = [threading.Thread(target=writer, args=(who,), daemon=True) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
            assert not thread.is_alive()
    whole = np.load(path)
    assert len(wrote) == 800 and len(whole) == 4 * 500
    for (who, n), span in wrote.items():
        same(whole[span.start : span.stop], np.array([[who, n, i] for i in range(1 + n % 4)]))


def test_closing_while_others_append(path):
    rows, wrote, begun = ng.Appender(path, background=True, max_queue=100), [], threading.Event()
    wrong = []

    def writer():
        try:
            while True:
                wrote.append(len(rows.append(ROWS)))
                begun.set()
        except ValueError as error:
            says(error, "is closed")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=writer, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(30)
    rows.close()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert not wrong and visible(path) == sum(wrote)


def test_a_forked_child_refuses_writes_nothing_and_never_hangs(path):
    out = run(
        """
        import gc, threading, warnings
        warnings.simplefilter("always")
        path, done = args[0], threading.Event()
        rows = ng.Appender(path, dtype="i8", row_shape=(), background=True, max_queue=1 << 12)
        def writer():
            while not done.is_set(): rows.append(np.arange(50))
        thread = threading.Thread(target=writer); thread.start()

        def refuses(verb, *given):
            try: getattr(rows, verb)(*given)
            except ng.LatchedError as error: assert "(a fork): open the file again here" in str(error) and path in str(error)
            else: raise AssertionError(verb)

        def child():
            global rows
            for given in [np.arange(3), np.zeros(100_000, "i8"), list(range(9))]: refuses("append", given)
            for verb in ["commit", "sync"]: refuses(verb)
            refuses("truncate", 0)
            len(rows), rows.shape, rows.dtype, repr(rows)
            with warnings.catch_warnings(record=True) as caught:
                del rows; gc.collect()
            assert not caught, caught

        ended = []
        for _ in range(40):
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                try: child(); os._exit(0)
                except BaseException as error: print(repr(error), file=sys.stderr, flush=True); os._exit(1)
            ended.append(os.waitpid(pid, 0)[1])
        done.set(); thread.join()
        written = len(rows); rows.close()
        print(set(ended), len(np.load(path)) == written)
        """,
        path,
        flags=("-W", "ignore"),
    )
    assert out.split() == ["{0}", "True"]


def test_a_forked_child_that_exits_says_nothing(path):
    out = run(
        """
        rows = ng.Appender(args[0], background=True, buffering=1 << 20)
        rows.append(np.arange(3))
        child = os.fork()
        if child == 0: sys.exit(0)
        print(os.waitpid(child, 0)[1], os.path.exists(args[0]))
        rows.close()
        """,
        path,
    )
    assert out.split() == ["0", "False"]
    holds(path, np.arange(3))


ENDINGS = {
    "a global": "",
    "an exception": "raise SystemExit(0)",
    "a cycle": "cycle = [rows]; cycle.append(cycle); del cycle, rows",
    "a daemon thread": """
import threading, time
begun = threading.Event()
def hold(rows):
    begun.set()
    time.sleep(1000)
threading.Thread(target=hold, args=(rows,), daemon=True).start()
begun.wait(); del rows
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_waits_at_exit_is_written(path, ending):
    run(
        "rows = ng.Appender(args[0], background=True, buffering=1 << 20)\n"
        "for n in range(1000): rows.append(np.arange(3))\n" + ENDINGS[ending],
        path,
    )
    holds(path, *[np.arange(3)] * 1000)


def test_an_unclosed_appender_publishes_and_warns(path):
    rows = ng.Appender(path, background=True, buffering=1 << 20)
    rows.append(ROWS)
    with pytest.warns(ResourceWarning, match="unclosed appender"):
        del rows
    holds(path, ROWS)


def test_an_exception_that_leaves_with_publishes(path):
    with pytest.raises(KeyError), ng.Appender(path, background=True, buffering=1 << 20) as rows:
        rows.append(ROWS)
        raise KeyError
    holds(path, ROWS)


# Disks that are full, or stand still --------------------------------------------------------------------------------


def test_a_full_disk_is_told_by_the_next_call_and_the_rows_are_kept(path):
    with ng.Appender(path, dtype="i8", row_shape=3, background=True) as rows:
        rows.append(ROWS)
        rows.commit()
        with limited_files(128 + 48):
            accepted = 0
            with pytest.raises(OSError) as caught:
                while True:
                    rows.append(ROWS)
                    accepted += 1
                    time.sleep(0.001)
            kept = rf"rows 2\.\.{2 + 2 * accepted} are held in memory: call commit\(\) to try again"
            says(caught.value, kept, "the file is as before")
            assert caught.value.errno and caught.value.filename == str(path) and accepted > 0
            with refused(OSError, path, kept):
                rows.commit()
            assert len(rows) == 2 + 2 * accepted and visible(path) == 2
        assert rows.commit() == range(2, 2 + 2 * accepted)
        rows.append(ROWS)
    holds(path, *[ROWS] * (accepted + 2))


def test_a_close_that_fails_says_which_rows_are_lost(path):
    rows = ng.Appender(path, dtype="i8", row_shape=3, background=True, buffering=1 << 20)
    rows.append(ROWS)
    rows.sync()
    rows.append(ROWS)
    with limited_files(128 + 48), refused(OSError, path, r"rows 0\.\.2 are written, rows 2\.\.4 are lost"):
        rows.close()
    assert rows.closed and len(rows) == 2
    rows.close()
    assert ng.append(path, ROWS) == range(2, 4)


@pytest.fixture
def frozen(tmp_path):
    """An ext4 of its own that can be made to stand still: a folder in it, and what freezes and thaws it."""
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with open(image, "wb") as file:
        file.truncate(32 << 20)
    for command in [["mkfs.ext4", "-q", image], ["mount", "-o", "loop", image, folder]]:
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError as error:
            skip(f"a disk that stands still is not tested: {error}")
        if done.returncode:
            skip(f"a disk that stands still is not tested: mounting needs root ({done.stderr.strip()})")
    try:
        yield folder, lambda freeze: subprocess.run(["fsfreeze", "-f" if freeze else "-u", folder], check=True)
    finally:
        subprocess.run(["fsfreeze", "-u", folder], capture_output=True)
        subprocess.run(["umount", folder], check=True)


def test_no_append_waits_for_a_disk_that_stands_still(frozen):
    folder, freeze = frozen
    child = start(
        """
        import asyncio
        async def main():
            with ng.Appender(args[0], dtype="i8", row_shape=3, background=True, max_queue=2400) as rows:
                rows.append(np.zeros((1, 3), "i8")); rows.commit()
                print("ready", flush=True); sys.stdin.readline()
                for n in range(99):
                    rows.append(np.full((1, 3), n)); await asyncio.sleep(0)
                print(len(rows), len(np.load(args[0])), flush=True)
                try: rows.append(np.zeros((2, 3), "i8"))
                except KeyboardInterrupt: print("interrupted", len(rows), flush=True)
                try: rows.commit()
                except KeyboardInterrupt: print("interrupted", flush=True)
                sys.stdin.readline()
                print(rows.commit())
        # asyncio.run would turn the first signal into a cancellation, which a call that waits does not see.
        asyncio.new_event_loop().run_until_complete(main())
        """,
        folder / "rows.npy",
    )
    tell = lambda: (child.stdin.write("go\n"), child.stdin.flush())
    assert child.stdout.readline() == "ready\n"
    freeze(True)
    try:
        tell()
        assert child.stdout.readline() == "100 1\n"
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)  # The queue is full: the append waits, for as long as it takes.
        assert child.stdout.readline() == "interrupted 100\n"
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "interrupted\n"
    finally:
        freeze(False)
    tell()
    assert finish(child) == "range(1, 100)\n"
    assert len(np.load(folder / "rows.npy")) == 100


# A model ------------------------------------------------------------------------------------------------------------

LAYOUTS = [np.ascontiguousarray, np.asfortranarray, lambda a: a.astype(">i8"), lambda a: a.tolist() if a.size else a]
COUNTS = st.one_of(st.integers(0, 6), st.sampled_from([100, 1023, 5000]))
APPEND = st.tuples(st.just("append"), COUNTS, st.sampled_from(range(len(LAYOUTS))))
PLAIN = st.sampled_from([("commit",), ("sync",), ("reopen",), ("kill",), ("refuse",), ("truncate", 0.5)])
OPTIONS = st.fixed_dictionaries(
    {
        "order": st.sampled_from(["C", "F"]),
        "buffering": st.sampled_from([0, 100, 1 << 16]),
        "max_queue": st.sampled_from([None, 0, 1000, 1 << 16]),
        "max_delay": st.sampled_from([None, 0.0, 0.001]),
        "durability": st.sampled_from(["process", "ordered"]),
    }
)


class Model:
    """What was appended; `told` rows of it are committed, and `said` were by the last commit."""

    def __init__(self, folder, options):
        self.folder, self.options, self.path, self.kills = Path(folder), options, Path(folder, "0.npy"), 0
        self.rows, self.next = np.zeros((0, 3), "i8"), 0
        self.open()

    def open(self):
        self.file = ng.Appender(self.path, dtype="i8", row_shape=3, background=True, **self.options)
        self.told = self.said = len(self.rows)

    def turned(self, rows):
        return rows if self.options["order"] == "C" else rows.T

    def append(self, count, layout):
        batch = np.arange(self.next, self.next + 3 * count).reshape(count, 3)
        assert self.file.append(LAYOUTS[layout](self.turned(batch))) == range(len(self.rows), len(self.rows) + count)
        self.next += 3 * count
        self.rows = np.concatenate([self.rows, batch])

    def refuse(self):
        with pytest.raises(ng.MismatchError):
            self.file.append(np.zeros((2, 5), "i8"))

    def commit(self):
        assert self.file.commit() == range(self.said, len(self.rows))
        self.told = self.said = len(self.rows)

    def sync(self):
        self.file.sync()
        self.told = len(self.rows)

    def truncate(self, share):
        count = int(share * len(self.rows))
        self.file.truncate(count)
        self.rows = self.rows[:count]
        self.told, self.said = count, min(self.said, count)

    def reopen(self):
        self.file.close()
        self.open()

    def kill(self):
        """A kill leaves what is on disk now: some beginning of the rows, no shorter than what was told."""
        copy = self.folder / "copy.npy"
        shutil.copyfile(self.path, copy)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # A copy that is not made in one go can miss rows that its count has: the file then grew meanwhile.
            with suppress(ng.NeedsRecoveryError):
                ng.Appender(copy, on_tail="drop").close()
                self.agrees(np.load(copy))
        copy.unlink()

    def agrees(self, visible):
        visible = self.turned(visible)
        assert self.told <= len(visible) <= len(self.rows)
        same(visible, self.rows[: len(visible)])

    def check(self):
        assert len(self.file) == len(self.rows)
        self.agrees(np.load(self.path))


@settings(max_examples=100)
@given(OPTIONS, st.lists(st.one_of(APPEND, APPEND, PLAIN), max_size=14))
def test_random_operations(options, steps):
    with tempfile.TemporaryDirectory() as folder:
        model = Model(folder, options)
        try:
            for name, *arguments in steps:
                getattr(model, name)(*arguments)
                model.check()
        finally:
            model.file.close()
        model.told = len(model.rows)
        model.check()
