"""The longest time that a loop is held by one append while the disk stalls: a row of 512 bytes each millisecond.

Two stalls. "frozen": an ext4 of its own, in a file behind a loop device, is frozen for a second with fsfreeze: whatever
writes to it waits for exactly that long. It needs root. "sync": another process writes 512 MiB beside the file and syncs
them, while each append is durable when it is acknowledged; how long that stalls the disk is up to the disk.

What is counted is the time of the `append` call alone, the scheduler's share of it included. In the background a row is
not acknowledged by `append` but by `commit`, for which a loop like this one does not wait.

    python bench/lines/held.py [FOLDER]            prints a table
    python bench/lines/held.py NAME FILE SECONDS   (a child: prints nanoseconds)
"""

import os
import select
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns

HERE = Path(__file__).resolve()
ROUNDS = 7
EVERY = 0.001
LEAD, FROZEN, TAIL = 0.3, 1.0, 0.3
OTHERS = 512 << 20

STALLS = {
    "frozen": f"an ext4, frozen for {FROZEN:g} s",
    "sync": f"{OTHERS >> 20} MiB synced beside it",
}


# --- In the child --------------------------------------------------------------------------------------------------


@contextmanager
def raw(path, durable):
    with open(path, "wb", buffering=0) as file:

        def append(row):
            file.write(row)
            if durable:
                os.fdatasync(file.fileno())

        yield append


@contextmanager
def ours(path, durable, **options):
    import npygrow

    with npygrow.Appender(path, durability="power" if durable else "process", **options) as rows:
        yield rows.append


CONTENDERS = {
    "raw write": raw,
    "npygrow": ours,
    "npygrow, background": lambda path, durable: ours(path, durable, background=True),
}


def child(name, path, seconds):
    """The time of the longest append, and how many there were. The loop ends when its time is over, or a line comes."""
    import numpy as np

    row = np.arange(64.0).reshape(1, 64)
    durable = seconds == "sync"
    longest = count = 0
    with CONTENDERS[name](path, durable) as append:
        for _ in range(50):
            append(row)
        print("ready", flush=True)
        end = time.monotonic() + (600 if durable else float(seconds))
        while time.monotonic() < end and not (durable and select.select([0], [], [], 0)[0]):
            began = perf_counter_ns()
            append(row)
            longest = max(longest, perf_counter_ns() - began)
            count += 1
            time.sleep(EVERY)
    if name != "raw write":
        assert len(np.load(path, mmap_mode="r")) == count + 50
    print(longest, count)


# --- In the benchmark ----------------------------------------------------------------------------------------------


def freeze(folder):
    time.sleep(LEAD)
    subprocess.run(["fsfreeze", "-f", folder], check=True)
    try:
        time.sleep(FROZEN)
    finally:
        subprocess.run(["fsfreeze", "-u", folder], check=True)


def sync_much(folder):
    with open(folder / "others", "wb", buffering=0) as file:
        block = os.urandom(16 << 20)
        for _ in range(OTHERS // len(block)):
            file.write(block)
        os.fsync(file.fileno())
    os.unlink(folder / "others")


def longest(name, folder, kind):
    """Nanoseconds of the longest append of one run."""
    path = folder / "rows.npy"
    seconds = "sync" if kind == "sync" else str(LEAD + FROZEN + TAIL)
    command = [sys.executable, os.fspath(HERE), name, os.fspath(path), seconds]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout.readline() == "ready\n"
        if kind == "sync":
            sync_much(folder)
            one.stdin.write("x")
            one.stdin.flush()
        else:
            freeze(folder)
        out = one.stdout.read()
    path.unlink()
    assert one.wait() == 0, f"{name} ended with {one.returncode}"
    return int(out.split()[0])


@contextmanager
def loop_mounted(folder):
    """An ext4 that can be frozen without stopping anyone else."""
    image, point = folder / "held.img", folder / "held"
    point.mkdir()
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)
        image.unlink()
        point.rmdir()


def measured(folder, rounds=ROUNDS):
    """A key of `STALLS` -> name -> nanoseconds, a round each; for a stall that cannot be made here, the reason instead."""
    found = {}
    for kind in STALLS:
        try:
            if kind == "frozen":
                with loop_mounted(folder) as point:
                    found[kind] = {name: [] for name in CONTENDERS}
                    every_round(found[kind], point, kind, rounds)
            else:
                found[kind] = {name: [] for name in CONTENDERS}
                every_round(found[kind], folder, kind, rounds)
        except (OSError, subprocess.CalledProcessError) as error:
            found[kind] = str(error)
    return found


def every_round(times, folder, kind, rounds):
    for number in range(rounds):
        for name in list(times)[:: -1 if number % 2 else 1]:
            times[name].append(longest(name, folder, kind))


if __name__ == "__main__":
    if len(sys.argv) == 4:
        child(*sys.argv[1:])
    else:
        sys.path[0] = os.fspath(HERE.parent.parent)
        import report

        with tempfile.TemporaryDirectory(prefix="npygrow-held-", dir=sys.argv[1] if sys.argv[1:] else ".") as folder:
            print(report.held_table(measured(Path(folder).resolve())))
