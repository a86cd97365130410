"""Threads: one appender shared, several side by side, and the ways in which locks could wait for themselves."""

import threading

import numpy as np
import npygrow as ng
import pytest
from support import run, same


def together(*tasks):
    """Runs the tasks in threads; their errors are raised here, and one that hangs is a failure."""
    errors = []

    def guard(task):
        try:
            task()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guard, args=(task,), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]


@pytest.mark.parametrize("slow", [False, True], ids=["ready rows", "rows to convert"])
@pytest.mark.parametrize("buffering", [0, 1 << 12])
def test_threads_share_an_appender(path, buffering, slow):
    wrote = {}
    with ng.Appender(path, dtype="i8", row_shape=3, buffering=buffering) as rows:

        def writer(who):
            for n in range(200):
                batch = np.full((1 + n % 4, 3), (who, n, 0)) + [0, 0, 1] * np.arange(1 + n % 4)[:, None]
                wrote[who, n] = rows.append(np.asfortranarray(batch) if slow else batch)
                if n % 50 == 49:
                    rows.commit()

        together(*(lambda who=who: writer(who) for who in range(4)))
    whole = np.load(path)
    assert sum(map(len, wrote.values())) == len(whole) == 4 * 500
    for (who, n), span in wrote.items():
        same(whole[span.start : span.stop], np.array([[who, n, i] for i in range(1 + n % 4)]))


def test_threads_with_a_file_each(tmp_path):
    def writer(who):
        with ng.Appender(tmp_path / f"{who}.npy") as rows:
            for n in range(300):
                rows.append(np.array([n]))

    together(*(lambda who=who: writer(who) for who in range(4)))
    for who in range(4):
        same(np.load(tmp_path / f"{who}.npy"), np.arange(300))


def test_every_verb_from_every_thread(path):
    with ng.Appender(path, buffering=64) as rows:

        def verbs(verb):
            for _ in range(100):
                verb()
                assert rows.shape is None or rows.shape[0] >= 0
                repr(rows), len(rows), rows.closed, rows.dtype

        together(
            lambda: verbs(lambda: rows.append(np.arange(5))),
            lambda: verbs(rows.commit),
            lambda: verbs(rows.sync),
            lambda: verbs(lambda: rows.append(np.arange(10)[::2])),
        )
    assert len(np.load(path)) == 1000


def test_closing_while_others_append(path):
    rows = ng.Appender(path)
    rows.append(np.arange(3))
    wrote, begun = [3], threading.Event()

    def writer():
        try:
            while True:
                wrote.append(len(rows.append(np.arange(3))))
                begun.set()
        except ValueError as error:
            assert "is closed" in str(error)

    def closer():
        begun.wait(30)
        rows.close()

    together(writer, writer, closer)
    assert len(np.load(path)) == sum(wrote)


def test_rows_that_append_to_their_own_appender(path):
    """What a cast hook may do: either it happens before, or it is refused; it neither hangs nor tears rows."""
    rows = ng.Appender(path, dtype="f8", row_shape=())

    class Nested:
        def __array__(self, dtype=None, copy=None):
            try:
                rows.append(np.array([1.0]))
            except RuntimeError:
                pass
            return np.array([2.0, 2.0])

    together(lambda: rows.append(Nested()))
    rows.close()
    assert np.load(path).tolist() in ([1.0, 2.0, 2.0], [2.0, 2.0])


def test_finalisers_that_append_while_an_append_runs(path):
    # Signal handlers and finalisers run between the blocks of a long append, on the thread that is inside it.
    out = run(
        """
        import signal
        rows = ng.Appender(args[0], dtype="f4", row_shape=1024)
        seen = []
        def alarm(*_):
            try: rows.append(np.zeros((1, 1024), "f4")); seen.append("appended")
            except RuntimeError as error: seen.append("refused")
        signal.signal(signal.SIGALRM, alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        wrote = rows.append(np.broadcast_to(np.float32(1), (1 << 16, 1024)))
        signal.setitimer(signal.ITIMER_REAL, 0)
        inside = seen.count("refused")
        rows.close()
        whole = np.load(args[0], mmap_mode="r")
        assert len(wrote) == 1 << 16 and (whole[wrote.start : wrote.stop : 97] == 1).all()
        assert len(whole) == (1 << 16) + seen.count("appended")
        print(inside > 0)
        """,
        path,
    )
    path.unlink()
    assert out.strip() == "True"


def test_collecting_dropped_appenders_while_appending_does_not_hang(path):
    out = run(
        """
        import gc, warnings
        warnings.simplefilter("ignore")
        gc.set_threshold(1)
        path = args[0]
        with ng.Appender(path) as rows:
            for n in range(300):
                other = ng.Appender(f"{path}.{n % 3}", buffering=100)
                other.append(np.arange(3))
                cycle = [other]; cycle.append(cycle)
                del other, cycle
                rows.append([n])
                gc.collect()
        print(len(np.load(path)), len(np.load(path + ".0")))
        """,
        path,
    )
    assert out.split() == ["300", "300"]


def test_a_thread_that_waits_holds_up_nobody(path):
    """A waiting thread that kept the interpreter would stop the one it waits for."""
    with ng.Appender(path, dtype="f4", row_shape=1 << 16) as rows:
        many = np.broadcast_to(np.float32(1), (400, 1 << 16))  # 100 MiB, block by block
        together(*[lambda: rows.append(many)] * 2, *[lambda: [rows.append(many[:1].copy()) for _ in range(50)]] * 2)
        assert len(rows) == 900
    path.unlink()
