"""Where the nanoseconds of a small append go, by subtraction: each step is the difference of two loops."""

import ctypes
from contextlib import ExitStack

import npygrow
import numpy as np

from measure import median_and_interval, timed

ROW = np.arange(64, dtype="f8").reshape(1, 64)
COUNT = 4000


class Loops:
    """Loops that differ by one thing each. All calls through ctypes have the same three arguments."""

    def __init__(self, folder, stack):
        # With PyDLL the interpreter lock stays held, with CDLL it is let go.
        held, let_go = ctypes.PyDLL(None), ctypes.CDLL(None)
        number = stack.enter_context(open(folder / "written", "wb", buffering=0)).fileno()
        data = ctypes.c_void_p(ROW.ctypes.data)
        empty, range_of = ROW[:0], 100_000
        rows = stack.enter_context(npygrow.Appender(folder / "rows.npy"))
        buffered = stack.enter_context(npygrow.Appender(folder / "buffered.npy", buffering=1 << 30))
        raw = stack.enter_context(open(folder / "raw", "wb", buffering=0))

        def through(function, size):
            arguments = (number, data, ctypes.c_size_t(size))
            return lambda _: function(*arguments)

        self.loops = {
            "append": (rows.append, ROW),
            "append no rows": (rows.append, empty),
            "append, buffered": (buffered.append, ROW),
            "file.write": (raw.write, ROW),
            "id": (id, ROW),
            "range": (range, range_of),
            "abs": (through(held.abs, 0), None),
            "abs, lock let go": (through(let_go.abs, 0), None),
            "getppid": (through(held.getppid, 0), None),
            "write 8": (through(held.write, 8), None),
            "write 512": (through(held.write, ROW.nbytes), None),
        }
        for name in self.loops:
            self.time(name)

    def time(self, name):
        """Nanoseconds for one."""
        return timed(*self.loops[name], COUNT) / COUNT


STEPS = [
    ("the loop and a call into C", lambda t: t["id"], "a builtin that does nothing"),
    (
        "the file's part of a write, whatever its size",
        lambda t: t["write 8"] - t["getppid"],
        "`write` of 8 bytes, less an empty system call",
    ),
    (
        "the 504 other bytes: their copy, and new pages",
        lambda t: t["write 512"] - t["write 8"],
        "`write` of 512 bytes, less one of 8",
    ),
    ("into the kernel and back", lambda t: t["getppid"] - t["abs"], "`getppid`, less a C function that does nothing"),
    ("the interpreter lock let go and taken back", lambda t: t["abs, lock let go"] - t["abs"], "a C call that lets go, less one that does not"),
    ("the range that is returned", lambda t: t["range"] - t["id"], "`range(n)`, less a builtin that does nothing"),
    (
        "checks: type, dtype, shape, our lock, fork",
        lambda t: t["append no rows"] - t["range"] - (t["abs, lock let go"] - t["abs"]),
        "an append of no rows, less range and lock",
    ),
]


def measured(folder, rounds):
    """(step, how, median ns and interval) and the same for whole calls."""
    with ExitStack() as stack:
        loops = Loops(folder, stack)
        names = list(loops.loops)
        seen = []
        for number in range(rounds):
            turn = number // 2 % len(names)
            order = (names[turn:] + names[:turn])[:: -1 if number % 2 else 1]
            seen.append({name: loops.time(name) for name in order})
    steps = [(what, how, median_and_interval([of(one) for one in seen])) for what, of, how in STEPS]
    rest = [one["append"] - sum(of(one) for _, of, _ in STEPS) for one in seen]
    steps.append(("the count, and what is left", "the whole, less all above", median_and_interval(rest)))
    whole = [(name, median_and_interval([one[name] for one in seen])) for name in WHOLE]
    return sorted(steps[:-1], key=lambda step: -step[2][0]) + steps[-1:], whole


WHOLE = ["append", "append, buffered", "append no rows", "file.write"]
