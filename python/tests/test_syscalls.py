"""Making room, killed at every system call that changes something: the old file or the new one, or one that is finished."""

import os
import shutil
import subprocess
import sys

import numpy as np
import npygrow as ng
import pytest
from support import holds, npy, refused, same, skip

GIVEN = np.arange(700_000)  # two blocks
CALLS = ["pwrite64", "pwritev2", "fdatasync", "fsync", "ftruncate", "linkat", "rename", "unlink", "copy_file_range"]
MAKE_ROOM = "import sys, npygrow as ng; ng.ensure_appendable(sys.argv[1], inplace=sys.argv[2] == 'in place')"


def traced(path, way, inject):
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={','.join(CALLS)}", "-e", inject]
    command += [sys.executable, "-P", "-c", MAKE_ROOM, path, way]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("way", ["copy", "in place"])
def test_killed_at_every_system_call(path, way):
    if shutil.which("strace") is None or traced(path, way, "inject=sync:signal=KILL").returncode not in (0, 1):
        skip("strace does not run here: kills at every system call are not tested")
    kills = 0
    for call in CALLS:
        for time in range(1, 100):
            path.write_bytes(npy(GIVEN))
            done = traced(path, way, f"inject={call}:signal=KILL:when={time}")
            if done.returncode == 0:
                break
            assert done.returncode in (-9, 137), done.stderr
            kills += 1
            try:
                same(np.load(path), GIVEN)
            except ValueError:
                assert way == "in place"
                with refused(ng.NeedsRecoveryError, path, "recover"):
                    ng.inspect(path)
                ng.recover(path)
                same(np.load(path), GIVEN)
            ng.ensure_appendable(path)
            ng.append(path, GIVEN[:5])
            holds(path, GIVEN, GIVEN[:5])
            assert os.listdir(path.parent) == [path.name]
        else:
            pytest.fail(f"{call} was called a hundred times")
    assert kills >= (5 if way == "copy" else 15), kills
