"""Memory over the input: how far the peak of a process rises while it appends one large array.

    python memory.py PEER LAYOUT        (a child: prints bytes)
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIZE = 128 << 20
"""Bytes that go into the file."""

CHILDREN = 3
"""How often each is measured: pools of threads make some of them vary."""

LAYOUTS = {
    "contiguous": "contiguous",
    "fortran": "Fortran into a C file",
    "strided": "every second row",
    "cast": "float64 into float32",
}


def payload(layout):
    """The array, every page of it touched, and the file's dtype."""
    import numpy as np

    rows = SIZE // 512
    if layout == "contiguous":
        return np.ones((rows, 64)), np.dtype("f8")
    if layout == "fortran":
        return np.ones((rows, 64), order="F"), np.dtype("f8")
    if layout == "strided":
        return np.ones((2 * rows, 64))[::2], np.dtype("f8")
    return np.ones((rows * 2, 64)), np.dtype("f4")


def peak():
    """The most memory that this process has held since it was last asked to forget, in bytes."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))


def child(name, layout):
    from lines.append import EVERYONE, check
    from peers import Rows

    peer = next(peer for peer in EVERYONE if peer.name == name)
    array, dtype = payload(layout)
    rows, first = Rows(array, dtype), Rows(array[:64], dtype)
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as folder:
        path = Path(folder, "rows.npy")
        with peer.open(path, rows, 128 + len(array)) as (append, finish):
            # These settle what the file holds, and bring lazy imports and pools of threads, which are not the array's.
            append(first.stored)
            append(first.payload)
            Path("/proc/self/clear_refs").write_text("5")
            before = peak()
            append(array)
            if finish:
                finish()
            over = peak() - before
        if peer.load:
            check(peer, path, rows, 128 + len(array))
    print(over)


def measured(folder):
    """layout -> name -> bytes over the input: the largest of `CHILDREN`."""
    from lines.append import LAYOUTS as PEERS

    found = {}
    for layout, words in LAYOUTS.items():
        found[words] = {}
        for peer in PEERS:
            command = [sys.executable, os.fspath(HERE / "memory.py"), peer.name, layout]
            done = [
                subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
                for _ in range(CHILDREN)
            ]
            found[words][peer.name] = max(int(one.stdout) for one in done)
    return found


if __name__ == "__main__":
    sys.path[0] = os.fspath(HERE.parent)
    child(*sys.argv[1:])
