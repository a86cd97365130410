"""`DatasetAppender`: columns of one length in a folder, which NumPy alone reads."""

import gc
import os
import threading
import warnings

import numpy as np
import npygrow as ng
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import limited_files, optional, run, same, start


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run"


def ragged(path):
    values, offsets = np.load(path / "values.npy"), np.load(path / "offsets.npy")
    assert offsets[0] == 0 and offsets[-1] == len(values)
    return [values[start:end] for start, end in zip(offsets[:-1], offsets[1:], strict=True)]


def columns_of(path):
    """Every column by NumPy alone: an array, or a list of items."""
    return {
        name.removesuffix(".npy"): np.load(path / name) if name.endswith(".npy") else ragged(path / name)
        for name in sorted(os.listdir(path))
    }


def holds(path, **columns):
    found = columns_of(path)
    assert set(found) == set(columns)
    for name, expected in columns.items():
        if isinstance(expected, list):
            assert len(found[name]) == len(expected)
            for one, other in zip(found[name], expected, strict=True):
                same(one, other)
        else:
            same(found[name], expected)


def snapshot(path):
    return {os.path.join(folder, name): open(os.path.join(folder, name), "rb").read() for folder, _, names in os.walk(path) for name in names}


def refuses(path, text, verb, *given):
    """A MismatchError with exactly this text, after which all files are as before."""
    before = snapshot(path)
    with pytest.raises(ng.MismatchError) as caught:
        verb(*given)
    assert str(caught.value) == f"{path}: {text}"
    assert snapshot(path) == before


IMAGES = np.arange(48, dtype="u1").reshape(3, 4, 4)


# What goes in -------------------------------------------------------------------------------------------------------


def test_columns_grow_together(path):
    with ng.DatasetAppender(path, ragged=("text",)) as run:
        assert run.columns == {} and len(run) == 0 and os.listdir(path) == []
        assert run.append({"text": [b"a", b"bc"], "image": IMAGES[:2], "label": [1, 2]}) == range(0, 2)
        assert run.append({"image": IMAGES[2:], "label": (7,), "text": (np.frombuffer(b"xyz", "u1"), [3])}) == range(2, 3)
        assert len(run) == 3
        assert run.columns == {
            "image": ng.ColumnSpec(np.dtype("u1"), (4, 4), False),
            "label": ng.ColumnSpec(np.dtype("i8"), (), False),
            "text": ng.ColumnSpec(np.dtype("u1"), (), True),
        }
        assert repr(run) == f"<npygrow.DatasetAppender '{path}', 3 rows, columns: image, label, text>"
    assert sorted(os.listdir(path)) == ["image.npy", "label.npy", "text"]
    holds(path, image=IMAGES, label=np.array([1, 2, 7]), text=[np.frombuffer(b, "u1") for b in (b"a", b"bc", b"xyz")])
    with ng.DatasetAppender(path) as run:
        assert run.append({"image": IMAGES, "label": [0, 0, 0], "text": [b"", b"", b"d"]}) == range(3, 6)
    assert len(columns_of(path)["text"]) == 6


@pytest.mark.parametrize("buffering", [0, 1 << 16])
def test_ready_rows_and_rows_to_convert_are_the_same(path, buffering):
    with ng.DatasetAppender(path, buffering=buffering) as run:
        run.append({"x": np.zeros((1, 3), "f4"), "y": np.zeros(1, "i2")})
        run.append({"y": np.arange(2, dtype="i2"), "x": np.ones((2, 3), "f4")})
        run.append({"x": np.full((3, 1), 2.0).repeat(3, 1)[::-1], "y": [2, 3, 4]})
    x = np.array([0, 1, 1, 2, 2, 2], "f4")[:, None].repeat(3, 1)
    holds(path, x=x, y=np.array([0, 0, 1, 2, 3, 4], "i2"))


def test_ragged_is_said_never_guessed(path):
    with ng.DatasetAppender(path) as run:
        run.append({"boxes": [[1, 2], [3, 4]]})
    holds(path, boxes=np.array([[1, 2], [3, 4]]))
    other = path.parent / "other"
    with ng.DatasetAppender(other, ragged="boxes") as run:
        run.append({"boxes": [[1, 2], [3, 4]]})
    holds(other, boxes=[np.array([1, 2]), np.array([3, 4])])
    third = path.parent / "third"
    with ng.DatasetAppender(third) as run, pytest.raises(ng.MismatchError) as caught:
        run.append({"boxes": [[1, 2], [3]]})
    assert str(caught.value).startswith(f"{third}: column boxes: expected an array or what makes one, found list: ")
    assert str(caught.value).endswith("; for items of different length name the column in ragged")


def test_ragged_must_agree_with_the_folder(path):
    with ng.DatasetAppender(path, ragged=["b"]) as run:
        run.append({"a": [1], "b": [[1]]})
    ng.DatasetAppender(path, ragged=["b"]).close()
    refuses(
        path,
        "column a: expected items of different length, found rows of one size",
        lambda: ng.DatasetAppender(path, ragged="a"),
    )
    refuses(path, "there is no column c: the columns are a, b", lambda: ng.DatasetAppender(path, ragged=["b", "c"]))
    ng.DatasetAppender(path).close()


def test_an_append_of_no_rows_makes_the_columns(path):
    with ng.DatasetAppender(path, ragged="t") as run:
        assert run.append({"x": np.zeros((0, 2)), "t": (np.zeros(0, "u1"), [])}) == range(0, 0)
        refuses(path, "expected the columns t, x: t missing", run.append, {"x": np.zeros((0, 2))})
    holds(path, x=np.zeros((0, 2)), t=[])


def test_arrow_and_awkward_columns(path):
    pa, ak = optional("pyarrow", "Arrow columns are"), optional("awkward", "awkward columns are")
    with ng.DatasetAppender(path, ragged=("a", "b", "c")) as run:
        run.append({"a": pa.array([[1, 2], []]), "b": ak.Array([[1.5], [2.5, 3.5]]), "c": pa.array(["ü", "x"]), "d": pa.array([1, 2])})
    holds(
        path,
        a=[np.array([1, 2]), np.zeros(0, "i8")],
        b=[np.array([1.5]), np.array([2.5, 3.5])],
        c=[np.frombuffer(b, "u1") for b in ("ü".encode(), b"x")],
        d=np.array([1, 2]),
    )


# What is refused ----------------------------------------------------------------------------------------------------


def test_refusals(path):
    with ng.DatasetAppender(path, ragged="text") as run:
        run.append({"image": IMAGES, "label": [1, 2, 3], "text": [b"a", b"b", b"c"]})
        good = {"image": IMAGES[:1], "label": [1], "text": [b"a"]}
        columns = "expected the columns image, label, text: "
        for text, given in [
            ("expected a dict of columns and their rows, found list", [1]),
            ("expected the columns' names, found 3: a name is a str", {3: [1]}),
            (columns + "image, label, text missing", {}),
            (columns + "image, text missing; labels, txt too many", {"label": [1], "labels": [1], "txt": [1]}),
            (columns + "more too many", good | {"more": [1]}),
            ("expected as many rows in every column, found image 1, label 2, text 1", good | {"label": [1, 2]}),
            ("expected as many rows in every column, found image 1, label 1, text 0", good | {"text": []}),
            (
                "column image: expected rows of shape (4, 4), found an array of shape (4, 4), which is one row: "
                "append row[None]",
                good | {"image": IMAGES[0]},
            ),
            ("column label: expected one or more rows, found a single value (0-d): append [value]", good | {"label": 1}),
            (
                "column label: row 0 of the array does not fit: 18446744073709551615 would change from dtype uint64 "
                "to the file's int64",
                good | {"label": np.array([2**64 - 1], "u8")},
            ),
            (
                "column text: item 0: expected an item, found a str: give text.encode()",
                good | {"text": ["a"]},
            ),
            ("column text: expected lengths of 3 values in all, found 2", good | {"text": (np.zeros(3, "u1"), [2])}),
        ]:
            refuses(path, text, run.append, given)
        refuses(path, "cannot truncate to 4 rows: there are 3", run.truncate, 4)
        assert len(run) == 3
    with ng.DatasetAppender(path, casting="exact") as run:
        text = "casting='exact' takes rows of dtype uint8 only, found int64: cast them first, or open with casting='checked'"
        refuses(path, f"column image: {text}", run.append, good | {"image": IMAGES[:1].astype("i8")})


def test_a_refused_first_append_settles_nothing(path):
    name = "expected the name of a column, which becomes a file's, found "
    with ng.DatasetAppender(path, ragged="t") as run:
        refuses(path, "expected a dict of columns and their rows, found an empty one", run.append, {})
        refuses(path, "expected as many rows in every column, found a 1, b 2", run.append, {"a": [1], "b": [1, 2]})
        refuses(path, "column t: no items, and so no dtype: give (numpy.zeros(0, dtype), [])", run.append, {"t": []})
        for bad, quoted in [("x/y", '"x/y"'), (".x", '".x"'), ("", '""'), ("x\\y", r'"x\\y"')]:
            text = f"{name}{quoted}: it must not be empty, begin with a dot or have slashes"
            refuses(path, text, run.append, {"A": [1], bad: [1], "z": [1]})
        assert run.columns == {} and os.listdir(path) == []
        run.append({"b": [1.5]})
    holds(path, b=np.array([1.5]))


def test_foreign_folders(path):
    with ng.RaggedAppender(path) as words:
        words.append([1])
    refuses(
        path,
        "expected a folder of columns, found one of items of different length: open it as ragged",
        lambda: ng.DatasetAppender(path),
    )
    other = path.parent / "other"
    with ng.DatasetAppender(other) as run:
        run.append({"a": [1]})
    with pytest.raises(FileExistsError):
        ng.DatasetAppender(other, mode="x")
    with pytest.raises(NotADirectoryError):
        ng.DatasetAppender(other / "a.npy")


def test_closed_is_closed(path):
    run = ng.DatasetAppender(path)
    run.append({"a": [1, 2]})
    run.close()
    run.close()
    text = f"{path}: the appender is closed: make a new npygrow.DatasetAppender to go on"
    for verb in [lambda: run.append({"a": [1]}), run.commit, run.sync, run.__enter__]:
        with pytest.raises(ValueError) as caught:
            verb()
        assert str(caught.value) == text
    assert run.closed and len(run) == 2 and list(run.columns) == ["a"] and not run.dropped and run.path == str(path)


# One writer, and what it holds --------------------------------------------------------------------------------------


def test_a_second_appender_is_refused(path):
    with ng.DatasetAppender(path) as run:
        run.append({"a": [1], "b": [2]})
        with pytest.raises(ng.LockedError):
            ng.DatasetAppender(path)
    ng.DatasetAppender(path).close()


def test_turns(path):
    with ng.DatasetAppender(path, ragged="b") as run:
        run.append({"a": [0], "b": [[0]]})
    with ng.DatasetAppender(path, turns=True) as one, ng.DatasetAppender(path, turns=True, buffering=1 << 16) as two:
        assert one.append({"a": [1], "b": [[1]]}) == range(1, 2)
        assert two.append({"a": [2], "b": [[2, 2]]}) is None
        assert one.append({"a": [3], "b": [[]]}) == range(2, 3)
        assert two.commit() == range(3, 4)
    holds(path, a=np.array([0, 1, 3, 2]), b=[np.array(item, "i8") for item in ([0], [1], [], [2, 2])])


def test_buffered_rows_are_seen_at_the_commit(path):
    with ng.DatasetAppender(path, buffering=1 << 16) as run:
        run.append({"a": [1], "b": [[2.0, 3.0]]})
        assert run.append({"a": [2], "b": [[4.0, 5.0]]}) == range(1, 2)
        assert {len(column) for column in columns_of(path).values()} == {0}
        assert run.commit() == range(0, 2)
        holds(path, a=np.array([1, 2]), b=np.array([[2.0, 3], [4, 5]]))
        run.append({"a": [3], "b": [[6.0, 7.0]]})
        run.sync()
        run.truncate(1)
    holds(path, a=np.array([1]), b=np.array([[2.0, 3]]))


def test_an_unclosed_appender_publishes_and_warns(path):
    run = ng.DatasetAppender(path, buffering=1 << 16)
    run.append({"a": [1]})
    with pytest.warns(ResourceWarning, match="unclosed appender"):
        del run
        gc.collect()
    holds(path, a=np.array([1]))


def test_threads_share_an_appender(path):
    with ng.DatasetAppender(path, ragged="b", buffering=1000) as run:
        run.append({"a": np.zeros(0, "i8"), "b": (np.zeros(0, "i8"), [])})

        def writer(who):
            for n in range(100):
                run.append({"a": [who * 1000 + n], "b": [np.full(n % 4, who * 1000 + n)]})

        threads = [threading.Thread(target=writer, args=(who,), daemon=True) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
            assert not thread.is_alive()
    found = columns_of(path)
    assert sorted(found["a"]) == [who * 1000 + n for who in range(4) for n in range(100)]
    for number, item in zip(found["a"], found["b"], strict=True):
        same(item, np.full(number % 1000 % 4, number))


def test_a_forked_child_writes_nothing(path):
    out = run(
        """
        run = ng.DatasetAppender(args[0], buffering=1000)
        run.append({"a": [1], "b": [1]})
        child = os.fork()
        if child == 0:
            code = 1
            try: run.append({"a": np.zeros(1000), "b": np.zeros(1000)})
            except ng.LatchedError as error: code = 0 if "fork" in str(error) else 2
            except ng.MismatchError: code = 3
            try: run.append({"a": np.zeros(1000, "i8"), "b": np.zeros(1000, "i8")})
            except ng.LatchedError as error: code = 0 if "fork" in str(error) else 2
            del run
            os._exit(code)
        print(os.waitpid(child, 0)[1])
        run.append({"a": [2], "b": [2]})
        run.close()
        """,
        path,
    )
    assert out.split() == ["0"]
    holds(path, a=np.array([1, 2]), b=np.array([1, 2]))


# What goes wrong ----------------------------------------------------------------------------------------------------


def test_what_an_append_left_is_cut_and_told(path):
    with ng.DatasetAppender(path) as run:
        run.append({"a": [1, 2], "b": [1, 2]})
    with ng.Appender(path / "a.npy") as a:
        a.append([3])
    with pytest.warns(UserWarning) as caught, ng.DatasetAppender(path) as run:
        assert (run.dropped.rows, run.dropped.bytes) == (1, 8)
    assert str(caught[0].message) == f"{path}: cut 8 bytes (1 whole row) of an append that was never acknowledged"
    holds(path, a=np.array([1, 2]), b=np.array([1, 2]))


@pytest.mark.parametrize("durability", ["process", "ordered"])
def test_a_replaced_column_cuts_no_other(path, durability):
    with ng.DatasetAppender(path, durability=durability) as run:
        run.append({"a": np.arange(9), "b": np.arange(9)})
    np.save(path / "b.npy", np.arange(3))
    with pytest.raises(ng.NeedsRecoveryError) as caught:
        ng.DatasetAppender(path)
    assert "a.npy of 9 rows, b.npy of 3 rows" in str(caught.value) and 'call recover(path, tail="drop")' in str(caught.value)
    assert len(np.load(path / "a.npy")) == 9


def test_an_append_that_does_not_fit_did_not_happen(path):
    small = {"a": np.arange(10), "b": [np.arange(20)] * 10, "c": np.zeros((10, 2), "f4")}
    for limit in (2000, 2400, 3200, 8300):
        folder = path / str(limit)
        os.makedirs(folder)
        with ng.DatasetAppender(folder, ragged="b") as run:
            run.append(small)
            before = snapshot(folder)
            with limited_files(limit), pytest.raises(OSError):
                run.append({"a": np.arange(1000), "b": (np.arange(1000), [1] * 1000), "c": np.zeros((1000, 2), "f4")})
            assert snapshot(folder) == before and len(run) == 10
            run.append(small)
        holds(folder, a=np.tile(np.arange(10), 2), b=[np.arange(20)] * 20, c=np.zeros((20, 2), "f4"))


def test_a_close_that_fails_names_the_rows_that_are_lost(path):
    run = ng.DatasetAppender(path, buffering=1 << 20)
    run.append({"a": np.arange(100), "b": np.arange(100.0)})
    with limited_files(300), pytest.raises(OSError, match="100 buffered rows lost"):
        run.close()
    assert run.closed and len(run) == 0
    holds(path, a=np.zeros(0, "i8"), b=np.zeros(0))


KILLED = """
    import itertools
    path, options = args[0], eval(args[1])
    run = ng.DatasetAppender(path, ragged="text", **options)
    for n in itertools.count(len(run)):
        run.append({"a": np.array([n]), "text": [np.full(n % 7, n)], "z": np.full((1, 3), n)})
        if n % 10 == 0: run.commit(); print(n + 1, flush=True)
"""


@pytest.mark.parametrize("options", [{}, {"buffering": 1000}, {"turns": True}, {"durability": "ordered"}])
def test_killed_again_and_again(path, options):
    told = 0
    for turn in range(8):
        child = start(KILLED, path, options)
        for _ in range(turn if "durability" in options else 5 * turn):
            line = child.stdout.readline()
            assert line, child.stderr.read()
            told = int(line)
        child.kill()
        child.communicate()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ng.DatasetAppender(path).close()
        found = columns_of(path)
        if not found and not told:
            continue
        assert len(found["a"]) >= told
        for n, (a, text, z) in enumerate(zip(found["a"], found["text"], found["z"], strict=True)):
            assert a == n and (z == n).all()
            same(text, np.full(n % 7, n))


# Any history --------------------------------------------------------------------------------------------------------

ROWS = st.lists(st.tuples(st.integers(-100, 100), st.lists(st.integers(0, 9), max_size=4)), max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), ROWS, st.booleans()),
        st.tuples(st.just("refuse"), st.sampled_from([{"a": [1]}, {"a": [1], "b": []}, {"a": [0.5], "b": [[1]]}])),
        st.tuples(st.just("truncate"), st.floats(0, 1)),
        st.sampled_from([("commit",), ("sync",), ("reopen",)]),
    ),
    max_size=12,
)


@settings(max_examples=50)
@given(STEPS, st.sampled_from([0, 1, 100, 1 << 16]), st.booleans())
def test_any_history(tmp_path_factory, steps, buffering, turns):
    path, rows = tmp_path_factory.mktemp("any") / "run", []
    options = {"ragged": "b", "buffering": buffering, "turns": turns}
    run = ng.DatasetAppender(path, **options)
    run.append({"a": np.zeros(0, "i2"), "b": (np.zeros(0, "i2"), [])})

    def agrees():
        items = [np.array(item, "i2") for _, item in rows]
        holds(path, a=np.array([number for number, _ in rows], "i2"), b=items)

    for verb, *given in steps:
        if verb == "append":
            rows += given[0]
            numbers, items = [row[0] for row in given[0]], [row[1] for row in given[0]]
            run.append({"a": np.array(numbers, "i2") if given[1] else numbers, "b": items})
        elif verb == "refuse":
            with pytest.raises(ng.MismatchError):
                run.append(given[0])
        elif verb == "truncate":
            rows = rows[: int(given[0] * len(rows))]
            run.truncate(len(rows))
        elif verb == "reopen":
            run.close()
            run = ng.DatasetAppender(path, **options)
        else:
            getattr(run, verb)()
        assert len(run) == len(rows)
        if not buffering or verb in ("commit", "sync", "truncate", "reopen"):
            agrees()
    run.close()
    agrees()
