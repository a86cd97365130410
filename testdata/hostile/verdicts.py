"""Writes expected.json: for each hostile file what it deserves (make_hostile.py) and what NumPy's np.load says.

Each file is loaded in a process of its own with 2 GiB of address space, so that one that asks for more, or crashes NumPy,
harms nothing. Run with the newest NumPy, on a system with fork.
"""

import json
import os
import pathlib
import re
import resource
import signal
import warnings

import numpy as np

import make_hostile

HERE = pathlib.Path(__file__).parent


def attempt(path):
    try:
        loaded = np.load(path)
        what = f" {loaded.shape} {loaded.dtype}" if isinstance(loaded, np.ndarray) else ""
        return f"loads: {type(loaded).__name__}{what}"
    except Exception as error:
        text = str(error).replace(str(path), path.name).split("\n")[0]
        text = re.sub(r"object at 0x[0-9a-f]+", "object", re.sub(" {2,}", " ... ", text))
        return f"{type(error).__name__}: {text}"[:160]


def verdict(path):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        signal.alarm(20)
        os.write(write, attempt(path).encode("utf-8", "backslashreplace"))
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return said or f"killed by signal {os.WTERMSIG(status)}"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    lines = []
    for name, (kind, _, _) in sorted(make_hostile.collect().items()):
        expected = {"deserves": kind.split("|"), "np.load": verdict(HERE / f"{name}.npy")}
        lines.append(f"{json.dumps(name + '.npy')}: {json.dumps(expected)}")
    (HERE / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(lines)} files, NumPy {np.__version__}")
