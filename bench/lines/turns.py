"""Two writers taking turns on one file, in two processes; each append is seen by the other.

Only npygrow does this by itself. The others hold a lock of ours around open, append and close.

    python turns.py        (a writer: reads lines of JSON, answers each)
"""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter_ns

import numpy as np

HERE = Path(__file__).resolve().parent
ROW = np.arange(64, dtype="f8").reshape(1, 64)


# --- In the writers ------------------------------------------------------------------------------------------------


def write_locked(path, count):
    """The limit: one open file, locked for each write."""
    with open(path, "ab", buffering=0) as file:
        yield
        for _ in range(count):
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(ROW)
            fcntl.flock(file, fcntl.LOCK_UN)


def append_in_turns(path, count):
    import npygrow

    with npygrow.Appender(path, turns=True) as rows:
        yield
        for _ in range(count):
            rows.append(ROW)


def append_locked(once, path, count):
    with open(f"{path}.lock", "ab") as lock:
        yield
        for _ in range(count):
            fcntl.flock(lock, fcntl.LOCK_EX)
            once(Path(path), ROW)
            fcntl.flock(lock, fcntl.LOCK_UN)


def serve():
    """One job a line: opens the file and says so, waits for the start, appends and says so."""
    from lines.append import EVERYONE

    once = {peer.name: peer.once for peer in EVERYONE}
    for line in sys.stdin:
        name, path, count = json.loads(line)
        if name == "flock, write":
            job = write_locked(path, count)
        elif name == "npygrow, turns":
            job = append_in_turns(path, count)
        else:
            job = append_locked(once[name.removesuffix(", a lock around it")], path, count)
        next(job)
        print("ready", flush=True)
        sys.stdin.readline()
        next(job, None)
        print("done", flush=True)


# --- In the benchmark ----------------------------------------------------------------------------------------------


class Writers:
    """Two processes that stay for all rounds."""

    def __init__(self):
        command = [sys.executable, os.fspath(HERE / "turns.py")]
        self.two = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
        ]

    def tell(self, line):
        for one in self.two:
            one.stdin.write(line + "\n")
            one.stdin.flush()

    def hear(self, word):
        for one in self.two:
            heard = one.stdout.readline().strip()
            assert heard == word, f"a writer said {heard!r}, not {word!r}"

    def run(self, name, path, count):
        """Nanoseconds from the start until both are done."""
        self.tell(json.dumps([name, os.fspath(path), count]))
        self.hear("ready")
        began = perf_counter_ns()
        self.tell("go")
        self.hear("done")
        return perf_counter_ns() - began

    def close(self):
        for one in self.two:
            one.communicate()


def lines():
    from lines.append import EVERYONE, check
    from measure import Contender, Line
    from peers import Rows, files, npy, remove

    rows = Rows(ROW, ROW.dtype)
    writers = Writers()

    def contender(name, peer):
        def run(path, count):
            with peer.open(path, rows, 1) as (append, _):
                append(ROW)
            # `count` appends are half of them by each.
            spent = writers.run(name, path, count // 2)
            if peer.load:
                check(peer, path, rows, 1 + count // 2 * 2)
            lock = path.with_name(f"{path.name}.lock")
            if lock.exists():
                remove(lock)
            return spent

        return Contender(name, run, min(1, 5 * peer.share), "at once")

    contenders = [contender("flock, write", files.RAW), contender("npygrow, turns", npy.OURS)]
    locked = [peer for peer in EVERYONE if peer.once and peer is not files.RAW]
    contenders += [contender(f"{peer.name}, a lock around it", peer) for peer in locked]
    line = Line("turns", "two writers taking turns, rows of 512 bytes", 400, contenders)
    try:
        yield line
    finally:
        writers.close()


if __name__ == "__main__":
    sys.path[0] = os.fspath(HERE.parent)
    serve()
