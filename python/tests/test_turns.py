"""`turns=True`: several appenders share one file, a batch at a time."""

import time

import numpy as np
import npygrow as ng
import pytest
from support import finish, holds, run, same, start

WRITER = """
    path, who, buffering = args[0], int(args[1]), int(args[2])
    with ng.Appender(path, turns=True, buffering=buffering) as rows:
        for n in range(40):
            count = 1 + n % 3
            batch = np.empty((count, 3), "i8"); batch[:] = who, n, 0; batch[:, 2] = np.arange(count)
            wrote = rows.append(batch)
            if buffering and n % 4 == 3:
                wrote = rows.commit()
            if wrote is not None:
                print(wrote.start, wrote.stop)
"""


@pytest.mark.parametrize("buffering", [0, 4096])
def test_processes_lose_no_row_and_interleave_no_batch(path, buffering):
    writers = [start(WRITER, path, who, buffering) for who in range(4)]
    wrote = [[tuple(map(int, line.split())) for line in finish(writer).splitlines()] for writer in writers]
    rows = np.load(path)
    assert len(rows) == 4 * sum(1 + n % 3 for n in range(40))
    told = sorted(span for spans in wrote for span in spans)
    assert [a for a, _ in told] == [0] + [b for _, b in told[:-1]] and told[-1][1] == len(rows), (
        "the ranges tile the file"
    )
    starts = np.flatnonzero(rows[:, 2] == 0)
    for a, b in zip(starts, [*starts[1:], len(rows)], strict=True):
        who, n, _ = rows[a]
        same(rows[a:b], np.array([[who, n, i] for i in range(1 + n % 3)]))
    for who, spans in enumerate(wrote):
        mine = rows[rows[:, 0] == who]
        assert (np.diff(mine[:, 1]) >= 0).all(), "one writer's batches keep their order"
        assert all((rows[a:b, 0] == who).all() for a, b in spans), "a range names the rows of that append"


def test_two_handles_in_one_process(path):
    with ng.Appender(path, turns=True) as one, ng.Appender(path, turns=True) as two:
        for n in range(0, 10, 2):
            assert one.append(np.array([n])) == range(n, n + 1)
            assert two.append(np.array([n + 1])) == range(n + 1, n + 2)
    same(np.load(path), np.arange(10))


def test_with_buffering_append_does_not_know_the_rows_yet(path):
    with ng.Appender(path, turns=True, buffering=1 << 20) as one, ng.Appender(path, turns=True) as two:
        assert one.append(np.arange(3)) is None
        assert two.append(np.arange(2)) == range(0, 2)
        assert one.commit() == range(2, 5)
    holds(path, np.arange(2), np.arange(3))


def test_another_dtype_in_between_is_refused(path):
    with ng.Appender(path, turns=True) as one, ng.Appender(path, turns=True) as two:
        one.append(np.arange(3))
        with pytest.raises(ng.MismatchError, match="f8|float64"):
            two.append(np.arange(3.0))
        two.append(np.arange(2))
    holds(path, np.arange(3), np.arange(2))


def test_a_turn_waits_for_the_one_who_holds_the_file(path):
    ng.append(path, np.arange(2))
    holder = ng.Appender(path)
    child = start(
        """
        print("ready", flush=True)
        with ng.Appender(args[0], turns=True) as rows:
            print(rows.append(np.array([9])))
        """,
        path,
    )
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.2)
    assert child.poll() is None
    holder.append(np.arange(3))
    holder.close()
    assert "range(5, 6)" in finish(child)
    holds(path, np.arange(2), np.arange(3), np.array([9]))


def test_a_turn_ends_with_its_time(path):
    ng.append(path, np.arange(2))
    out = run(
        """
        holder = ng.Appender(args[0])
        try: ng.Appender(args[0], turns=True, lock_timeout=0.2).append(np.array([9]))
        except ng.LockedError as error: print(error)
        """,
        path,
    )
    assert str(path) in out
    holds(path, np.arange(2))
