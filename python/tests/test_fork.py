"""fork: a child's copy of a handle writes nothing, unlocks nothing, warns of nothing, waits for nothing."""

import numpy as np
import pytest
from support import holds, run

FORK = """
    import gc, time, warnings
    warnings.simplefilter("always")
    path, buffering = args[0], int(args[1])

    def in_child(work):
        "Whether `work` ended well in a forked child."
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            try: work(); code = 0
            except BaseException as error: print(repr(error), file=sys.stderr); code = 1
            sys.stdout.flush(); sys.stderr.flush()
            os._exit(code)
        return os.waitpid(child, 0)[1] == 0

    def refuses(verb, *given):
        try: getattr(rows, verb)(*given)
        except ng.NpyError as error:
            text = str(error)
            assert "fork" in text and "open" in text and path in text, text
        else: raise AssertionError(verb + " was not refused")

    rows = ng.Appender(path, dtype="i8", row_shape=(), buffering=buffering)
    rows.append(np.arange(3))
"""


@pytest.mark.parametrize("buffering", [0, 1 << 16])
def test_a_child_refuses_to_write(path, buffering):
    out = run(
        FORK
        + """
    before = open(path, "rb").read()
    print(in_child(lambda: refuses("append", np.arange(3))))
    print(in_child(lambda: refuses("append", np.zeros(100_000, "i8"))))
    print(in_child(lambda: refuses("append", list(range(9000)))))
    print(in_child(lambda: refuses("sync")))
    print(in_child(lambda: refuses("truncate", 0)))
    print(not buffering or in_child(lambda: refuses("commit")))
    assert open(path, "rb").read() == before
    rows.append(np.arange(3)); rows.close()
    """,
        path,
        buffering,
    )
    assert set(out.split()) == {"True"}
    holds(path, np.arange(3), np.arange(3))


def test_a_child_buffers_no_rows_of_a_file_that_is_not_there_yet(path):
    out = run(
        FORK
        + """
    rows.close(); os.remove(path)
    rows = ng.Appender(path, buffering=buffering)
    print(in_child(lambda: refuses("append", np.arange(3))))
    rows.append(np.arange(4))
    print(in_child(lambda: refuses("append", np.arange(3))))
    rows.close()
    """,
        path,
        1 << 16,
    )
    assert out.split() == ["True", "True"]
    holds(path, np.arange(4))


@pytest.mark.parametrize("buffering", [0, 1 << 16])
@pytest.mark.parametrize("ending", ["del", "close", "exit", "exception"])
def test_a_child_that_ends_leaves_file_and_lock_alone(path, buffering, ending):
    out = run(
        FORK
        + f"""
    before = open(path, "rb").read()
    def end():
        global rows
        if {ending!r} == "del":
            del rows; gc.collect()
        elif {ending!r} == "close":
            try: rows.close()
            except ng.NpyError: pass
        elif {ending!r} == "exit":
            sys.exit(0)
        else:
            rows = 1 / 0
    child = os.fork()
    if child == 0:
        end()
        sys.exit(0)
    os.waitpid(child, 0)
    assert open(path, "rb").read() == before
    try: ng.Appender(path); print("unlocked")
    except ng.LockedError: print("locked")
    rows.append(np.arange(4)); rows.close()
    """,
        path,
        buffering,
    )
    assert out.split() == ["locked"]
    holds(path, np.arange(3), np.arange(4))


def test_a_child_drops_its_copy_without_a_word(path):
    out = run(
        FORK
        + """
    def drop():
        global rows
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del rows; gc.collect()
        assert not caught, caught[0].message
    print(in_child(drop))
    rows.close()
    """,
        path,
        100,
    )
    assert out.split() == ["True"]
    holds(path, np.arange(3))


def test_a_child_opens_the_file_for_itself_once_it_is_free(path):
    run(
        FORK
        + """
    rows.close()
    assert in_child(lambda: ng.append(path, np.arange(2)))
    """,
        path,
        0,
    )
    holds(path, np.arange(3), np.arange(2))


def test_a_fork_in_the_middle_of_another_threads_append_hangs_nobody(path):
    """The child's copy of the mutex is held by a thread that the child does not have."""
    out = run(
        FORK
        + """
    import threading
    many = np.broadcast_to(np.int64(1), (1 << 24,))
    thread = threading.Thread(target=lambda: rows.append(many)); thread.start()
    def drop():
        global rows
        del rows; gc.collect()
    ended = []
    while thread.is_alive() and len(ended) < 8:
        ended.append(in_child(drop))
    thread.join()
    rows.close()
    print(len(ended) > 0 and all(ended))
    """,
        path,
        0,
        flags=("-W", "ignore"),
    )
    assert out.split() == ["True"]
    assert len(np.load(path, mmap_mode="r")) == 3 + (1 << 24)
    path.unlink()


def test_multiprocessing_by_fork_with_a_live_appender(path):
    out = run(
        FORK
        + """
    import multiprocessing
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(sum(pool.map(abs, range(10))))
    rows.append(np.arange(4)); rows.close()
    """,
        path,
        1 << 16,
        flags=("-W", "ignore"),
    )
    assert out.split() == ["45"]
    holds(path, np.arange(3), np.arange(4))
