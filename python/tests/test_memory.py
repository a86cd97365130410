"""Memory over the input: one block, whatever the layout; measured in a process of its own."""

import numpy as np
import pytest
from support import run

MIB = 1 << 20
GIVEN = {  # 256 MiB to write each; the input itself is made, and touched, before the measurement
    "transposed": ("f4", "np.ones((1 << 12, 1 << 14), 'f4').T"),
    "every other column": ("f4", "np.ones((1 << 14, 1 << 13), 'f4')[:, ::2]"),
    "float64 to float32": ("f4", "np.ones((1 << 14, 1 << 12))"),
    "int64 to int32": ("i4", "np.ones((1 << 14, 1 << 12), 'i8')"),
    "byte-swapped": ("f4", "np.ones((1 << 14, 1 << 12), '>f4')"),
    "ready": ("f4", "np.ones((1 << 14, 1 << 12), 'f4')"),
    "a row of 256 MiB, broadcast": ("f4", "np.broadcast_to(np.float32(1), (1, 1 << 26))"),
}


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("buffering", [0, MIB])
def test_an_append_needs_one_block(path, name, buffering):
    dtype, given = GIVEN[name]
    if buffering and name != "transposed":
        given = f"{given}[:1 << 11]"  # the way through the buffer is the same: less will do
    out = run(
        f"""
        sys.path.insert(0, args[1])
        from support import peak_of
        given = {given}
        rows = ng.Appender(args[0], dtype={dtype!r}, row_shape=given.shape[1:], buffering={buffering})
        rows.append(given[:1, :].copy() if len(given) > 1 else np.zeros((0, given.shape[1]), {dtype!r}))
        print(peak_of(lambda: rows.append(given)))
        rows.close()
        """,
        path,
        __file__.rpartition("/")[0],
    )
    assert int(out) <= 24 * MIB, f"{int(out) / MIB:.0f} MiB over the input"
    assert np.load(path, mmap_mode="r")[-1, -1] == 1
    path.unlink()


def test_the_measure_sees_a_copy():
    """Without this the limit above could pass by measuring nothing."""
    out = run(
        """
        sys.path.insert(0, args[0])
        from support import peak_of
        given = np.ones((1 << 12, 1 << 12), "f4").T
        print(peak_of(lambda: np.ascontiguousarray(given)))
        """,
        __file__.rpartition("/")[0],
    )
    assert int(out) > 60 * MIB
