"""kill -9 in the middle of appends, again and again: every acknowledged row is there, and only what was appended."""

import numpy as np
import pytest
from support import run

# The child tells through shared memory, after each append, how many rows it was promised.
ROUNDS = """
    import mmap, random, signal, struct, time, warnings
    warnings.simplefilter("ignore")
    path, buffering, turns, durability = args[0], int(args[1]), args[2] == "True", args[3]
    promised, chance, found = mmap.mmap(-1, 8), random.Random(7), 0

    def append_for_ever():
        rows = ng.Appender(path, dtype="<i8", row_shape=5, buffering=buffering, turns=turns, durability=durability)
        count = len(rows)
        for n in range(10**9):
            batch = np.arange(5 * count, 5 * (count + (1, 3, 700, 1)[n % 4])).reshape(-1, 5)
            rows.append(np.asfortranarray(batch) if n % 8 == 2 else batch)
            count += len(batch)
            if buffering and n % 5 == 0:
                rows.commit()
            if not buffering or n % 5 == 0:
                struct.pack_into("<q", promised, 0, count)

    for round in range(40):
        if round % 8 == 0 and os.path.exists(path):
            os.unlink(path)
            struct.pack_into("<q", promised, 0, 0)
        child = os.fork()
        if child == 0:
            try: append_for_ever()
            finally: os._exit(1)
        # Every other child is killed while it opens the file or soon after, the rest once they have begun to append.
        before, = struct.unpack_from("<q", promised, 0)
        end = time.monotonic() + 10
        while round % 2 and struct.unpack_from("<q", promised, 0)[0] == before and time.monotonic() < end:
            pass
        time.sleep(chance.uniform(0, 0.003))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        assert os.WTERMSIG(status) == signal.SIGKILL, f"the child ended by itself: {status}"
        told, = struct.unpack_from("<q", promised, 0)
        if told == 0 and not os.path.exists(path):
            continue
        rows = np.load(path)
        assert len(rows) >= told, f"round {round}: {told} rows were promised, {len(rows)} are there"
        assert (rows.ravel() == np.arange(rows.size)).all(), f"round {round}: wrong rows"
        found += told > before
    with ng.Appender(path) as rows:
        pass
    print(found)
"""


@pytest.mark.parametrize(
    "buffering, turns, durability",
    [(0, False, "process"), (4096, False, "process"), (0, True, "process"), (0, False, "ordered")],
)
def test_acknowledged_rows_survive(path, buffering, turns, durability):
    assert int(run(ROUNDS, path, buffering, turns, durability)) >= 20, "too few children got as far as an append"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name], "an abandoned temp was left"
    assert np.load(path, mmap_mode="r").shape[1] == 5


def test_a_kill_before_the_first_commit_keeps_the_old_file(path):
    np.save(path, np.arange(3))
    run(
        """
        import signal
        for n in range(10):
            child = os.fork()
            if child == 0:
                rows = ng.Appender(args[0], mode="w", buffering=1 << 20)
                rows.append(np.arange(100.0))
                os.kill(os.getpid(), signal.SIGKILL)
            os.waitpid(child, 0)
            assert np.load(args[0]).tolist() == [0, 1, 2]
        ng.append(args[0], np.arange(3))
        """,
        path,
    )
    assert np.load(path).tolist() == [0, 1, 2, 0, 1, 2]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
