"""`npy import` of HDF5 and Zarr: the command that the package brings."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from support import example, optional, same

import npygrow as ng

GUIDE = Path(__file__).parents[2] / "docs/guides/command.md"


@pytest.fixture
def npy(tmp_path):
    """Runs the command in the folder; gives its status, output and errors."""

    def run(*args, python=()):
        command = [sys.executable, "-P", *python, "-m", "npygrow", *map(str, args)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def hdf5(tmp_path):
    return lambda name, **arrays: make_hdf5(tmp_path / name, arrays)


def make_hdf5(path, arrays):
    h5py = optional("h5py", "the import of HDF5")
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def test_hdf5(npy, hdf5, tmp_path):
    a, b = example("f4", (50, 3)), example(">f4", (20, 3))
    hdf5("one.h5", a=a)
    hdf5("many.h5", **{"run/1": b, "run/2": b[:1], "other": np.arange(3)})
    assert npy("import", "out.npy", "one.h5") == (0, "out.npy: 50 rows appended, 50 in all\n", "")
    sources = ["many.h5:/run/1", "one.h5:/a", "many.h5:/run/2"]
    assert npy("import", "out.npy", *sources) == (0, "out.npy: 71 rows appended, 121 in all\n", "")
    same(np.load(tmp_path / "out.npy"), np.concatenate([a, b, a, b[:1]], dtype="f4"))


def test_zarr_in_a_folder_and_in_an_archive(npy, tmp_path):
    zarr = optional("zarr", "the import of Zarr")
    array = example("f8", (11, 3))
    group = zarr.open_group(str(tmp_path / "s.zarr"), mode="w")
    group.create_array("cam/left", shape=array.shape, chunks=(2, 2), dtype="f8")[...] = array
    zarr.save_array(str(tmp_path / "one.zarr"), array)
    shutil.make_archive(tmp_path / "s", "zip", tmp_path / "s.zarr")
    sources = ["s.zarr", "s.zarr:/cam", "s.zarr:/cam/left", "s.zip:/cam/left", "one.zarr", "one.zarr:/"]
    assert npy("import", "out.npy", *sources) == (0, "out.npy: 66 rows appended, 66 in all\n", "")
    same(np.load(tmp_path / "out.npy"), np.concatenate([array] * 6))
    group.create_array("cam/right", shape=(4,), chunks=(2,), dtype="i2")
    there = "s.zarr:/cam/left (11, 3) float64, s.zarr:/cam/right (4,) int16"
    status, out, err = npy("import", "out.npy", "s.zarr", "s.zarr:/none", "one.zarr:/none")
    assert (status, out) == (2, "")
    assert err == (
        f"error: s.zarr: several arrays, name one: {there}\nerror: s.zarr:/none: no such array; there are: {there}\n"
        "error: one.zarr:/none: one array, and none of the name /none: leave that out\n"
    )


def test_what_cannot_be_imported_changes_nothing(npy, hdf5, tmp_path):
    hdf5("many.h5", a=np.zeros((4, 3)), b=np.zeros((2, 2)), c=np.float64(3), t=np.zeros((1, 3), "S2"))
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    there = "many.h5:/a (4, 3) float64, many.h5:/b (2, 2) float64, many.h5:/c () float64, many.h5:/t (1, 3) |S2"
    status, out, err = npy("import", "out.npy", "many.h5", "many.h5:/none", "bad.h5")
    lines = err.splitlines()
    assert (status, out) == (2, "") and not (tmp_path / "out.npy").exists()
    assert lines[:2] == [
        f"error: many.h5: several arrays, name one: {there}",
        f"error: many.h5:/none: no such array; there are: {there}",
    ]
    assert lines[2].startswith("error: bad.h5: ") and len(lines) == 3

    ng.save(tmp_path / "out.npy", np.zeros((1, 3)))
    before = (tmp_path / "out.npy").read_bytes()
    status, out, err = npy("import", "out.npy", "many.h5:/a", "many.h5:/b", "many.h5:/c")
    assert (status, out) == (2, "")
    assert err == (
        "error: many.h5:/b: expected rows of shape (3,), found an array of shape (2, 2), whose rows have shape (2,)\n"
        "error: many.h5:/c: expected one or more rows, found a single value (0-d): append [value]\n"
    )
    assert (tmp_path / "out.npy").read_bytes() == before
    # A new file is made by the first: the others are held to that.
    (tmp_path / "out.npy").unlink()
    status, out, err = npy("import", "out.npy", "many.h5:/a", "many.h5:/b", "many.h5:/c", "many.h5:/t")
    assert (status, out) == (2, "") and not (tmp_path / "out.npy").exists()
    whose = "the new file is to hold rows like those of many.h5:/a"
    assert err == (
        f"error: many.h5:/b: expected rows of shape (3,), found an array of shape (2, 2), whose rows have shape (2,); {whose}\n"
        f"error: many.h5:/c: expected one or more rows, found a single value (0-d): append [value]; {whose}\n"
        "error: many.h5:/t: expected rows of dtype float64, found |S2, which does not always fit: "
        f"cast them with .astype('<f8'); {whose}\n"
    )
    ng.save(tmp_path / "out.npy", np.zeros((1, 3)))
    err = "error: many.h5:/a: start must be a row of the source or its end, 0 to 4, not 5\n"
    assert npy("import", "out.npy", "many.h5:/a", "--start", 5) == (2, "", err)


def test_options(npy, hdf5, tmp_path):
    hdf5("a.h5", a=np.arange(5))
    out = tmp_path / "out.npy"
    ng.save(out, np.zeros(3))
    err = 'error: out.npy: cannot make a new file (mode "x"): File exists\n'
    assert npy("import", "out.npy", "a.h5", "--mode", "new") == (2, "", err)
    done = npy("import", "out.npy", "a.h5", "--mode", "write", "--durability", "power", "--start", 2, "--json")
    expected = {"path": "out.npy", "appended": 3, "rows": 3, "dropped_bytes": 0}
    assert done[0] == 0 and done[2] == "" and json.loads(done[1]).items() >= expected.items()
    same(np.load(out), np.arange(2, 5))
    with ng.Appender(out):
        status, said, err = npy("import", "out.npy", "a.h5", "--lock-timeout", "0.01")
        assert (status, said) == (2, "") and err.startswith("error: out.npy: ")
    with open(out, "ab") as file:
        file.write(b"12345")
    assert npy("import", "out.npy", "a.h5") == (
        0,
        "out.npy: 5 rows appended, 8 in all; 5 bytes of an unfinished append cut\n",
        "",
    )
    os.truncate(out, os.path.getsize(out) - 8)
    status, said, err = npy("import", "out.npy", "a.h5")
    assert (status, said) == (2, "") and "npy recover out.npy" in err  # in the command's words, not in Python's


def test_a_library_that_is_missing_is_named(npy, hdf5, tmp_path):
    hdf5("a.h5", a=np.arange(5))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "h5py.py").write_text("raise ImportError('as if it were not there')")
    code = "import sys; sys.path.insert(0, 'empty'); from npygrow.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", code, "import", "out.npy", "a.h5"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50)
    text = "HDF5 needs h5py, which does not load (as if it were not there): pip install h5py"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: a.h5: {text}\n")


def test_a_failure_half_way_says_how_to_go_on(npy, tmp_path):
    h5py = optional("h5py", "an HDF5 file with a broken chunk")
    array = example("f8", (4096, 512))  # 16 MiB
    with h5py.File(tmp_path / "it's.h5", "w") as file:
        made = file.create_dataset("a", data=array, chunks=(1024, 512), compression=1)
        file["b"] = array[:1]
        made.id.write_direct_chunk((2048, 0), b"this is no deflate stream")
    status, out, err = npy("import", "out.npy", "it's.h5:/a", "it's.h5:/b")
    assert (status, out) == (2, "out.npy: 2,048 rows appended, 2,048 in all\n")
    how = "npy import out.npy 'it'\"'\"'s.h5:/a' 'it'\"'\"'s.h5:/b' --start 2048 goes on"
    assert err.startswith("error: it's.h5:/a: ") and err.endswith(f"; 2048 of 4096 rows are in: {how}\n")
    with h5py.File(tmp_path / "it's.h5", "r+") as file:
        file["a"][2048:3072] = array[2048:3072]
    done = npy("import", "out.npy", "it's.h5:/a", "it's.h5:/b", "--start", 2048)
    assert done == (0, "out.npy: 2,049 rows appended, 4,097 in all\n", "")
    same(np.load(tmp_path / "out.npy"), np.concatenate([array, array[:1]]))


def test_a_terminal_gets_a_bar_and_ctrl_c_a_word(tmp_path):
    h5py = optional("h5py", "the interruption of an import")
    rows = 1 << 16
    with h5py.File(tmp_path / "a.h5", "w") as file:  # 16 GiB, of one compressed chunk
        made = file.create_dataset("a", (rows, 1 << 16), "f4", chunks=(16, 1 << 16), compression=1)
        chunk = zlib.compress(bytes(4 << 20), 1)
        for i in range(0, rows, 16):
            made.id.write_direct_chunk((i, 0), chunk)
    ours, its = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "npygrow", "import", "out.npy", "a.h5"],
        cwd=tmp_path, stdin=its, stdout=subprocess.PIPE, stderr=its, text=True, start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(its)
    said, until = "", time.monotonic() + 40
    try:
        while "%" not in said and time.monotonic() < until:
            said += os.read(ours, 1000).decode()
        os.write(ours, b"\x03")
        out = child.communicate(timeout=40)[0]
        said += os.read(ours, 100_000).decode()
    finally:
        child.kill()
        os.close(ours)
    assert child.returncode == 2
    done = len(np.load(tmp_path / "out.npy", mmap_mode="r"))
    assert 0 < done < rows
    assert out == f"out.npy: {done:,} rows appended, {done:,} in all\n"
    assert re.search(r"━* *\d+ %  [\d.]+ [KMG]iB of 16\.0 GiB", said)
    plain = re.sub(r"\x1b\[[\d;]*m", "", said).replace("^C", "").splitlines()[-1].split("\r")[-1]
    assert plain == (
        f"error: a.h5: interrupted; {done} of {rows} rows are in: npy import out.npy a.h5 --start {done} goes on"
    )
    (tmp_path / "out.npy").unlink()


def test_lines_of_csv_as_by_append(npy, tmp_path):
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    expected = (0, "out.npy: 2 rows appended, 2 in all\n", "")
    assert npy("import", "out.npy", "a.csv", "--dtype", "<i2", "--row-shape", 2) == expected
    same(np.load(tmp_path / "out.npy"), np.array([[1, 2], [3, 4]], "i2"))


def test_the_guide_prints_what_it_says(tmp_path, hdf5):
    zarr = optional("zarr", "the guide's import of Zarr")
    hdf5("run1.h5", pose=np.zeros((50, 3), "f4"))
    hdf5("run2.h5", pose=np.zeros((20, 3), "f4"), camera=np.zeros((9, 4, 4), "u1"))
    group = zarr.open_group(str(tmp_path / "store.zarr"), mode="w")
    group.create_array("arm/pose", shape=(40, 3), chunks=(10, 3), dtype="f4")
    block = GUIDE.read_text().split("```shell-session\n")[1].split("```")[0]
    examples = block.split("$ npy ")[1:]
    assert len(examples) == 3
    for each in examples:
        line, _, expected = each.partition("\n")
        command = [sys.executable, "-P", "-m", "npygrow", *line.split()]
        done = subprocess.run(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=50
        )
        assert done.stdout == expected, line
