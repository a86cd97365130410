"""`turns=True`: several appenders share one file, a batch at a time."""

import multiprocessing
import os
import random
import threading
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


SECONDS = 2 * int(os.environ.get("NPYGROW_SOAK", "1"))
MOST = 10_000


def appends(path, who, told, stop):
    """Appends batches of the rows (who, batch, row in it, rows of it); `told` gets how many are acknowledged."""
    random.seed(who)
    batch = 0
    while not stop.value:
        buffering = random.choice([0, 4096])
        with ng.Appender(path, turns=True, buffering=buffering) as rows:
            for _ in range(random.randrange(1, 50)):
                count = random.randrange(1, 40)
                block = np.empty((count, 4), "i8")
                block[:] = who, batch, 0, count
                block[:, 2] = np.arange(count)
                batch += 1
                if rows.append(block) is not None:
                    told[who] = batch
                if stop.value:
                    break
        told[who] = batch


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_killed_processes_lose_no_batch_and_leave_none_torn(path, method):
    """A thread of this process takes turns too, so that others are forked in the middle of its appends."""
    context = multiprocessing.get_context(method)
    told, stop = context.RawArray("q", MOST), context.RawValue("b", 0)
    thread = threading.Thread(target=appends, args=(path, 0, told, stop))
    thread.start()
    while not told[0]:  # A fork in the middle of an import would be Python's own deadlock.
        time.sleep(0.01)
    writers, processes, kills, start = 1, {}, 0, time.monotonic()
    # On a busy machine it takes a while until enough have come to write.
    while kills < 4 and time.monotonic() < start + 50 or time.monotonic() < start + SECONDS:
        if len(processes) < 6 and writers < MOST:
            processes[writers] = context.Process(target=appends, args=(path, writers, told, stop))
            processes[writers].start()
            writers += 1
        time.sleep(random.uniform(0.01, 0.05))
        at_work = [who for who in processes if told[who]]
        if len(at_work) > 1:
            killed = processes.pop(random.choice(at_work))
            killed.kill()
            killed.join()
            kills += 1
    stop.value = 1
    thread.join()
    for process in processes.values():
        process.join(50)
        process.kill()
    assert {process.exitcode for process in processes.values()} == {0}
    assert kills > 3 and told[0] > 0

    rows = np.load(path)
    starts = np.flatnonzero(rows[:, 2] == 0)
    whole = np.repeat(rows[starts], np.diff([*starts, len(rows)]), axis=0)
    whole[:, 2] = np.arange(len(rows)) - np.repeat(starts, np.diff([*starts, len(rows)]))
    same(rows, whole)
    assert (np.diff([*starts, len(rows)]) == rows[starts, 3]).all(), "every batch is whole"
    for who in range(writers):
        batches = rows[starts][rows[starts, 0] == who, 1]
        same(batches, np.arange(len(batches)))
        assert len(batches) >= told[who], f"writer {who} was told of {told[who]} batches"
