"""The real `npy` and a real Python process, killed at every system call that changes something, and each of them failing.

After a kill there is the old state or the new, NumPy reads it, the next open says what to do, and doing that works. After
an error something clear is said, nothing is lost, and the same again works where that is promised. `make test` takes a
sample; NPYGROW_KILLS=all takes every call.
"""

import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import npygrow as ng
import pytest
from folder_rows import batch, row
from judge import FolderWork, Work
from kills import FIGURES, cannot_trace, program, sweep, traced
from support import add, npy, skip

ROOT = Path(__file__).parents[2]
OLD, NEW = np.arange(100).reshape(-1, 2), np.arange(100, 6000).reshape(-1, 2)
BOTH = np.concatenate([OLD, NEW])
BIG = np.arange(700_000)  # two blocks


@pytest.fixture(autouse=True)
def no_deadlock():
    """Instead of the watch of the other tests: every run has its own."""


@pytest.fixture(scope="module", autouse=True)
def strace():
    if reason := cannot_trace():
        skip(f"strace does not run here: {reason}: kills at every system call are not tested")


# What is there before -----------------------------------------------------------------------------------------------


def made(*arrays, out=None, tail=b"", name="in", by=ng.save):
    """Makes the inputs in.npy, in1.npy, ... and `out.npy`, with `tail` behind its rows."""

    def make(folder):
        for number, array in enumerate(arrays):
            np.save(folder / f"{name}{number or ''}.npy", array)
        if out is not None:
            by(folder / "out.npy", out)
            add(folder / "out.npy", tail)

    return make


def tight(path, array, pad=0):
    path.write_bytes(npy(array, pad=pad))


def cut(path, array):
    np.save(path, array)
    os.truncate(path, os.path.getsize(path) - 30)


def half_moved(npy_command):
    def make(folder):
        tight(folder / "out.npy", BIG)
        argv = [npy_command, "ensure-appendable", "--in-place", "out.npy"]
        traced(argv, folder, "-o", os.devnull, "-e", "trace=fdatasync", "-e", "inject=fdatasync:signal=KILL:when=5")
        assert (folder / "out.npy").read_bytes()[:8] == b"\x93NPYGROW"

    return make


def half_consumed(npy_command):
    def make(folder):
        made(OLD, NEW)(folder)
        argv = [npy_command, "concat", "--consume", "out.npy", "in.npy", "in1.npy"]
        traced(argv, folder, "-o", os.devnull, "-e", "trace=unlink", "-e", "inject=unlink:signal=KILL:when=2")
        assert [name for name in sorted(os.listdir(folder)) if name[0] != "."] == ["in1.npy", "out.npy"]

    return make


def run_of(rows, more=None, items=False, joins=False):
    """Makes the folder `run` (or `in0`), and `in` with the rows up to `more`."""

    def make(folder):
        for name, start, end in [("in0" if joins else "run", 0, rows), ("in", rows, more)]:
            if end:
                kind = ng.RaggedAppender if items else ng.DatasetAppender
                with kind(folder / name, **({} if items else {"ragged": "t"})) as out:
                    given = batch(start, end, items)
                    out.extend(given) if items else out.append(given)

    return make


def uneven(folder):
    """What a kill between two counts leaves, and a torn row."""
    run_of(8)(folder)
    ng.append(folder / "run/x.npy", np.array([row(8)[0]]))
    add(folder / "run/x.npy", b"torn")


# The command --------------------------------------------------------------------------------------------------------


def of_command(npy):
    """Every verb of `npy` that changes files."""
    append = [npy, "append", "out.npy", "in.npy"]
    both, adopt = {"again": "appends"}, [OLD, BOTH]
    for durability in ("process", "ordered", "power"):
        argv = [*append, "--durability", durability]
        yield Work(f"npy append, {durability}", argv, made(NEW, out=OLD), adopt, **both)
        yield Work(f"npy append, new file, {durability}", argv, made(NEW), [None, NEW], **both)
        yield Work(f"npy append, NumPy's header, {durability}", argv, made(NEW, out=OLD, by=np.save), adopt, **both)
    wide = partial(tight, pad=900)
    argv = [*append, "--durability", "ordered"]
    yield Work("npy append, a long header, ordered", argv, made(NEW, out=OLD, by=wide), adopt, **both)
    yield Work("npy append, behind a tail", append, made(NEW, out=OLD, tail=b"torn" * 9), adopt, **both)
    yield Work("npy append --on-tail keep", [*append, "--on-tail", "keep"], made(NEW, out=OLD, tail=BOTH[50:60].tobytes()),
               [OLD, BOTH[:60], np.concatenate([BOTH[:60], NEW])])  # fmt: skip
    csv = [npy, "append", "out.npy", "in.csv", "--csv", "--buffering", "4096"]
    lines = "".join(f"{a},{b}\n" for a, b in NEW)
    yield Work("npy append --csv, buffered", csv, lambda folder: made(out=OLD)(folder) or (folder / "in.csv").write_text(lines),
               adopt, in_parts=True)  # fmt: skip
    yield Work("npy truncate", [npy, "truncate", "out.npy", "7"], made(out=OLD), [OLD, OLD[:7]], OLD[:7])
    make_room = [npy, "ensure-appendable", "out.npy"]
    for way in ("--compact", "--fast"):
        yield Work(f"npy ensure-appendable {way}", [*make_room, way], made(out=BIG, by=tight), [BIG], BIG)
    in_place = [*make_room, "--in-place"]
    yield Work("npy ensure-appendable --in-place", in_place, made(out=BIG, by=tight), [BIG], BIG, unreadable=True)
    recover = [npy, "recover", "out.npy"]
    yield Work("npy recover, half moved", recover, half_moved(npy), [BIG], BIG, unreadable=True)
    yield Work("npy recover, truncated", recover, made(out=OLD, by=cut), [OLD[:48]], OLD[:48], unreadable=True)
    kept = made(out=OLD, tail=BOTH[50:60].tobytes() + b"torn")
    yield Work("npy recover, a tail", recover, kept, [OLD, BOTH[:60]], BOTH[:60], in_parts=True)
    yield Work("npy recover --tail drop", [*recover, "--tail", "drop"], kept, [OLD, BOTH[:60], OLD])
    parts, names = (OLD, OLD[:0], NEW), ["in.npy", "in1.npy", "in2.npy"]
    yield Work("npy concat", [npy, "concat", "out.npy", *names], made(*parts), [None, BOTH])
    yield Work("npy concat --append", [npy, "concat", "--append", "out.npy", "in.npy"], made(NEW, out=OLD), adopt, **both)
    argv = [npy, "concat", "--replace", "out.npy", *names]
    yield Work("npy concat --replace", argv, made(*parts, out=NEW), [NEW, BOTH], BOTH)
    wide = np.concatenate([OLD, OLD], 1)
    argv = [npy, "concat", "--axis", "1", "out.npy", *names[:2]]
    yield Work("npy concat --axis 1", argv, made(OLD, OLD), [None, wide])
    consume = [npy, "concat", "--consume", "out.npy", *names]
    yield Work("npy concat --consume", consume, made(*parts), [None, OLD[:0], OLD, BOTH], BOTH, consumes=names)
    yield Work("npy concat --consume, gone on with", [*consume[:4], *names[:2]], half_consumed(npy), [OLD, BOTH], BOTH,
               consumes=names[1:2])  # fmt: skip
    yield FolderWork("npy append, folders", [npy, "append", "run", "in"], run_of(8, 12), [8, 12])
    yield FolderWork("npy concat, folders", [npy, "concat", "run", "in0", "in"], run_of(8, 12, joins=True), [None, 12], 12)
    yield FolderWork("npy truncate, folder", [npy, "truncate", "run", "5"], run_of(8), [8, 5], 5, in_parts=True)
    yield FolderWork("npy recover, folder", [npy, "recover", "run"], uneven, [8], 8)


# Python -------------------------------------------------------------------------------------------------------------

APPENDS = """
new = np.arange(100, 6000).reshape(-1, 2)
rows = tried(ng.Appender, "out.npy", **{options})
for start in range(0, 2950, 590):
    tried(rows.append, new[start : start + 590])
    {tell}
tried(rows.commit)
told(len(rows))
rows.close()
"""
TELL = "told(len(rows))"
FEW = """
rows = tried(ng.Appender, "out.npy")
for start in range(100, 180, 2):
    tried(rows.append, np.arange(start, start + 2).reshape(1, 2))
    told(len(rows))
rows.close()
"""
FOLDERS = """
sys.path.append({here!r})
from folder_rows import batch
kind = ng.{kind}
rows = tried(kind, "run", **{options})
for start in range(8, 24, 4):
    tried(rows.{verb}, batch(start, start + 4, {items}))
    {tell}
tried(rows.commit)
told(len(rows))
rows.close()
"""
LONG = [BOTH[: 50 + 590 * n] for n in range(6)]


def of_python():
    """What Python users call. In `APPENDS` the rows after each append are told as soon as it is acknowledged."""
    for durability in ("process", "ordered", "power"):
        argv = program(APPENDS.format(options={"durability": durability}, tell=TELL))
        yield Work(f"Appender, {durability}", argv, made(out=OLD), LONG)
    create = "tried(ng.save, 'out.npy', np.arange(6000).reshape(-1, 2))"
    for name, options, tell in [
        ("buffered", {"buffering": 16_000}, ""),
        ("background", {"background": True}, "tried(rows.commit); " + TELL),
        ("background, power", {"background": True, "durability": "power"}, ""),
        ("turns", {"turns": True}, "told(50 + start + 590)"),
    ]:
        code = APPENDS.format(options=options, tell=tell)
        yield Work(f"Appender, {name}", program(code), made(out=OLD), [OLD, BOTH], in_parts=True)
    code = APPENDS.format(options={"durability": "power"}, tell=TELL)
    yield Work("Appender, new file", program(code), made(), [None, *(state[50:] for state in LONG)])
    code = APPENDS.format(options={"mode": "w"}, tell="")
    yield Work("Appender, mode w", program(code), made(out=OLD), [OLD, *(state[50:] for state in LONG[1:])])
    yield Work("Appender, NumPy's header", program(APPENDS.format(options={}, tell=TELL)), made(out=OLD, by=np.save), LONG)
    yield Work("Appender, row by row", program(FEW), made(out=OLD), [BOTH[: 50 + n] for n in range(41)])
    yield Work("save", program(create), made(out=OLD), [OLD, np.arange(6000).reshape(-1, 2)])
    room = "tried(ng.ensure_appendable, 'out.npy', inplace={})"
    yield Work("ensure_appendable", program(room.format(False)), made(out=BIG, by=tight), [BIG], BIG)
    yield Work("ensure_appendable(inplace=True)", program(room.format(True)), made(out=BIG, by=tight), [BIG], BIG, unreadable=True)
    yield Work("recover", program("tried(ng.recover, 'out.npy')"), made(out=OLD, by=cut), [OLD[:48]], OLD[:48], unreadable=True)
    names = ["in.npy", "in1.npy", "in2.npy"]
    join = f"tried(ng.concat, [n for n in {names} if os.path.exists(n)], 'out.npy', consume={{}})"
    yield Work("concat", program(join.format(False)), made(OLD, OLD[:0], NEW), [None, BOTH])
    yield Work("concat(consume=True)", program(join.format(True)), made(OLD, OLD[:0], NEW), [None, OLD[:0], OLD, BOTH], BOTH,
               consumes=names)  # fmt: skip
    joined = program("tried(ng.concat, ['in0', 'in'], 'run')")
    yield FolderWork("concat, folders", joined, run_of(8, 12, joins=True), [None, 12], 12)
    here = os.path.dirname(__file__)
    for kind, items in [("DatasetAppender", False), ("RaggedAppender", True)]:
        verb = "extend" if items else "append"
        fresh = {"dtype": "u1", "row_shape": ()} if items else {"ragged": "t"}
        variants = [("", {}, TELL), (", buffered", {"buffering": 150}, "")]
        variants += [(f", {name}", {"durability": name}, TELL) for name in ("ordered", "power")]
        for name, options, tell in variants:
            code = FOLDERS.format(here=here, kind=kind, verb=verb, items=items, options=options, tell=tell)
            yield FolderWork(kind + name, program(code), run_of(8, items=items), [8, 12, 16, 20, 24], items=items)
        code = FOLDERS.format(here=here, kind=kind, verb=verb, items=items, options=fresh, tell=TELL)
        code = code.replace("range(8, 24, 4)", "range(0, 16, 4)")
        yield FolderWork(f"{kind}, new folder", program(code), made(), [None, 0, 4, 8, 12, 16], items=items)
    yield FolderWork("recover, folder", program("tried(ng.recover, 'run')"), uneven, [8], 8)


@pytest.fixture(scope="module")
def npy_command():
    """The command, built from these sources."""
    if given := os.environ.get("NPYGROW_NPY"):
        return given
    if shutil.which("cargo") is None:
        skip("no cargo: kills of the command are not tested")
    done = subprocess.run(["cargo", "build", "--quiet", "--workspace", "--bin", "npy"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(ROOT / "target" / "debug" / "npy")


def each(works):
    names = [work.name for work in works]
    return pytest.mark.parametrize("number", range(len(names)), ids=names)


def right(tally):
    assert not tally.wrong, "\n".join([f"{len(tally.wrong)} wrong", *tally.wrong[:5]])
    assert tally.kills >= 2, "too few calls"


@each(of_command("npy"))
def test_the_command(tmp_path, npy_command, number):
    right(sweep(list(of_command(npy_command))[number], tmp_path, errors=4))


@each(of_python())
def test_python(tmp_path, number):
    right(sweep(list(of_python())[number], tmp_path, kills=3, errors=2))


# Protocols that are wrong on purpose, which the judge must catch -----------------------------------------------------

PLAIN = "import numpy as np, os\nnew = np.arange(100, 6000).reshape(-1, 2)\n"
COUNT_FIRST = """
file = os.open("out.npy", os.O_RDWR)
os.pwrite(file, b"%19d" % 3000, 61)
os.pwrite(file, new.tobytes(), 128 + 800)
os.write(1, b"told 3000\\n")
"""
SAVED_OVER = """
old = np.load("out.npy")
np.save("out.npy", np.concatenate([old, new]))
"""
TOLD_TOO_EARLY = """
file = os.open("out.npy", os.O_RDWR)
os.write(1, b"told 3000\\n")
os.pwrite(file, new.tobytes(), 128 + 800)
os.pwrite(file, b"%19d" % 3000, 61)
"""
DEAF = """
import npygrow as ng
rows = ng.Appender("out.npy")
try: rows.append(new)
except OSError: pass
rows.close()
"""
NOT_TAKEN_BACK = """
file = os.open("out.npy", os.O_RDWR)
os.pwrite(file, new.tobytes(), 128 + 800)
try: os.pwrite(file, b"%19d" % 3000, 61)
except OSError as error: os._exit(os.write(2, f"out.npy: {error}".encode()) and 2)
"""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (COUNT_FIRST, "pwrite64:signal=KILL:when=2: AssertionError: np.load"),
        (SAVED_OVER, "write:signal=KILL:when=.: AssertionError: np.load"),
        (TOLD_TOO_EARLY, "pwrite64:signal=KILL:when=1: AssertionError: 3000 rows were acknowledged, 50 are there"),
        (DEAF, "pwrite64:error=EIO:when=1: AssertionError: .* is none of the states"),
        (NOT_TAKEN_BACK, "pwrite64:error=EIO:when=2: AssertionError: left after the error: 47200 bytes"),
    ],
    ids=["count first", "np.save over it", "told too early", "an error that is swallowed", "an append that is not taken back"],
)
def test_the_judge_catches(tmp_path, code, words):
    # By way of `env` it is judged as a command: it need not try again by itself.
    work = Work("control", ["env", sys.executable, "-P", "-c", PLAIN + code], made(out=OLD), [OLD, BOTH], "appends")
    tally = sweep(work, tmp_path)
    FIGURES.remove(tally)
    assert any(re.search(words, wrong) for wrong in tally.wrong), tally.wrong
