"""A token array that grows, loses its writer to kill -9, and goes on.

The input is on every machine: the sources of Python's own standard library. Each byte is a token (0 to 255), each file
ends with token 256, and each file is one batch. The parent kills the writing process at a random batch; a second run
asks the file how far it got and appends the rest; plain NumPy reads it back.
"""

import os
import random
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np

import npygrow as ng

END_OF_FILE = 256
LIBRARY = Path(sysconfig.get_path("stdlib"))
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"}


def sources():
    """The library's files, in an order that is the same in every run."""
    return sorted(path for path in LIBRARY.rglob("*.py") if not LEFT_OUT & set(path.relative_to(LIBRARY).parts))


def tokens_of(source):
    """One file as tokens: shape (bytes + 1,), uint16."""
    return np.append(np.frombuffer(source.read_bytes(), "u1").astype("u2"), np.uint16(END_OF_FILE))


def write(path):
    """The writer: asks the file how far it got, appends the rest, and says each count that was acknowledged."""
    with ng.Appender(path, dtype="u2", row_shape=()) as tokens:
        print(len(tokens), tokens.dropped.bytes, flush=True)
        end = 0
        for source in sources():
            batch = tokens_of(source)
            end += len(batch)
            if end > len(tokens):
                # An append is there whole or not at all, so a run always goes on at the start of a batch.
                assert tokens.append(batch) == range(end - len(batch), end)
                print(end, flush=True)
                sys.stdin.readline()  # the parent's word to go on; nothing to wait for in the second run


def start_writer(path, stdin):
    """The writer in a process of its own; with it, the rows it found and the bytes it cut from the tail."""
    command = [sys.executable, "-P", "-W", "ignore", __file__, os.fspath(path)]
    writer = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, text=True)
    found, dropped = map(int, writer.stdout.readline().split())
    return writer, found, dropped


def say(step, text):
    print(f"{step:>8}  {text}", flush=True)


def main():
    files = sources()
    expected = np.concatenate([tokens_of(source) for source in files])
    ends = np.cumsum([source.stat().st_size + 1 for source in files])
    say("input", f"{len(files):,} files of Python's library, {len(expected):,} tokens, uint16")

    with tempfile.TemporaryDirectory(prefix="npygrow-demo-") as folder:
        path = Path(folder, "tokens.npy")

        writer, _, _ = start_writer(path, subprocess.PIPE)
        batches = random.randrange(len(files) // 4, len(files) * 3 // 4)
        for _ in range(batches):
            acknowledged = int(writer.stdout.readline())
            print(file=writer.stdin, flush=True)
        time.sleep(random.random() / 3000)  # somewhere in the next batch, which is under way
        os.kill(writer.pid, signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
        say("killed", f"kill -9 after {batches:,} batches, {acknowledged:,} tokens acknowledged")

        survived = np.load(path, mmap_mode="r")
        assert len(survived) >= acknowledged and len(survived) in ends
        assert np.array_equal(survived, expected[: len(survived)])
        say("found", f"np.load sees {len(survived):,} tokens: none lost, none torn, a whole number of files")

        began = time.perf_counter()
        writer, found, dropped = start_writer(path, subprocess.DEVNULL)
        batches = len(writer.communicate()[0].splitlines())
        took = time.perf_counter() - began
        assert writer.returncode == 0 and found == len(survived)
        cut = f"{dropped:,} bytes of an unfinished append cut"
        say("resumed", f"at token {found:,}, {cut}; {batches:,} more batches in {took:.2f} s")

        tokens = np.load(path, mmap_mode="r")
        assert tokens.dtype == np.uint16 and np.array_equal(tokens, expected)
        say("checked", f"np.load(mmap_mode='r'): {len(tokens):,} tokens, {tokens.nbytes:,} bytes, all as in the sources")

        last = files[-1]
        text = bytes(tokens[ends[-2] : ends[-1] - 1].astype("u1"))
        assert text == last.read_bytes()
        say("read", f"{last.relative_to(LIBRARY)} read back out of the array: {len(text):,} bytes, equal")

        say("info", f"$ npy info {path.name}")
        subprocess.run([sys.executable, "-P", "-m", "npygrow", "info", path.name], cwd=folder, check=True)


if __name__ == "__main__":
    write(sys.argv[1]) if len(sys.argv) > 1 else main()
