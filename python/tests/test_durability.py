"""The three durabilities, as far as a program that keeps running can tell them apart: not at all."""

import numpy as np
import npygrow as ng
import pytest
from support import holds

ROWS = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("buffering", [0, 1 << 20])
@pytest.mark.parametrize("durability", ["process", "ordered", "power"])
def test_every_durability_publishes_the_same_rows(path, durability, buffering):
    with ng.Appender(path, durability=durability, buffering=buffering) as rows:
        for n in range(5):
            assert rows.append(ROWS) == range(2 * n, 2 * n + 2)
            if not buffering:
                holds(path, *[ROWS] * (n + 1))
        rows.sync()
        holds(path, *[ROWS] * 5)
        rows.truncate(2)
        holds(path, ROWS)
        rows.append(ROWS)
    holds(path, ROWS, ROWS)


@pytest.mark.parametrize("durability", ["ordered", "power"])
def test_a_foreign_header_is_adopted_under_every_durability(path, durability):
    # The count of this header lies across two sectors of 512 bytes.
    descr = [(f"f{i}", "<f8") for i in range(28)]
    given = np.zeros(3, descr)
    np.save(path, given)
    with ng.Appender(path, durability=durability) as rows:
        rows.append(given)
    holds(path, given, given)


@pytest.mark.parametrize("durability", ["process", "ordered", "power"])
def test_sync_on_a_file_without_rows(path, durability):
    with ng.Appender(path, durability=durability) as rows:
        rows.sync()
        assert not path.exists()
        rows.append(ROWS)
        rows.sync()
        rows.sync()
    holds(path, ROWS)
