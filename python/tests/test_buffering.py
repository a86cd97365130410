"""`buffering=N`: rows gather in memory and are published when N bytes are full, at commit() and at close()."""

import os

import numpy as np
import npygrow as ng
import pytest
from support import holds, refused, same

ROW = np.arange(4, dtype="i2")[None]  # 8 bytes


def visible(path):
    return len(np.load(path))


def test_rows_are_published_when_the_buffer_is_full(path):
    with ng.Appender(path, dtype="i2", row_shape=4, buffering=64) as rows:
        seen = []
        for n in range(20):
            assert rows.append(ROW + n) == range(n, n + 1)
            assert len(rows) == n + 1
            seen.append(visible(path))
        assert seen[:7] == [0] * 7 and 8 in seen[7:9] and 16 in seen[15:17] and max(seen) == 16
    holds(path, *[ROW + n for n in range(20)])


@pytest.mark.parametrize("publish", ["commit", "sync"])
def test_commit_publishes_and_says_which_rows(path, publish):
    rows = ng.Appender(path, dtype="i2", row_shape=4, buffering=1 << 20)
    rows.append(ROW)
    rows.append(ROW)
    assert visible(path) == 0
    result = getattr(rows, publish)()
    assert visible(path) == 2
    if publish == "commit":
        assert result == range(0, 2) and rows.commit() == range(2, 2)
    rows.append(ROW)
    assert rows.shape == (3, 4) and visible(path) == 2
    rows.close()
    holds(path, ROW, ROW, ROW)


def test_commit_without_buffering_has_nothing_to_do(path):
    with ng.Appender(path) as rows:
        rows.append(ROW)
        assert rows.commit() == range(1, 1)


def test_a_new_file_comes_with_the_first_publish(path):
    with ng.Appender(path, buffering=1 << 20) as rows:
        rows.append(ROW)
        assert rows.shape == (1, 4) and os.listdir(path.parent) == []
        rows.commit()
        holds(path, ROW)


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
def test_batches_of_any_size_keep_their_order(path, size):
    sizes = [1, 0, 3, 500, 1, 1, 2000, 7]
    whole = np.arange(4 * sum(sizes), dtype="i8").reshape(-1, 4)
    start = 0
    with ng.Appender(path, buffering=size) as rows:
        for count in sizes:
            batch = whole[start : start + count]
            # every other batch goes the way of rows that must be converted
            assert rows.append(batch if count % 2 else np.asfortranarray(batch)) == range(start, start + count)
            start += count
    same(np.load(path), whole)


def test_buffered_rows_are_copied(path):
    given = ROW.copy()
    with ng.Appender(path, buffering=1 << 20) as rows:
        rows.append(given)
        given[...] = -1
    holds(path, ROW)


def test_a_refused_batch_leaves_the_buffer_alone(path):
    with ng.Appender(path, buffering=1 << 20) as rows:
        rows.append(ROW)
        with refused(ng.MismatchError, path):
            rows.append(ROW[:, :3])
        rows.append(ROW)
    holds(path, ROW, ROW)


@pytest.mark.parametrize("order", ["C", "F"])
def test_fortran_order_is_buffered_too(path, order):
    part = np.arange(6).reshape(2, 3)
    with ng.Appender(path, order=order, buffering=100) as rows:
        for _ in range(7):
            rows.append(part)
    holds(path, *[part] * 7, axis=0 if order == "C" else 1)
