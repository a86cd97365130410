"""`RaggedAppender`: items of different length in two plain files, which NumPy alone reads."""

import gc
import os
import sys
import threading
import warnings

import numpy as np
import npygrow as ng
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import limited_files, optional, run, same, start


def items_of(path):
    """The items, by NumPy alone; the two files say the same of them."""
    values, offsets = np.load(path / "values.npy"), np.load(path / "offsets.npy")
    assert offsets.dtype == np.int64 and offsets[0] == 0 and offsets[-1] == len(values) and (np.diff(offsets) >= 0).all()
    return [values[start:end] for start, end in zip(offsets[:-1], offsets[1:], strict=True)]


def holds(path, *items):
    found = items_of(path)
    assert len(found) == len(items)
    for one, other in zip(found, items, strict=True):
        same(one, other)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "words"


def refuses(path, text, verb, *given):
    """A MismatchError with exactly this text, after which the files are as before."""
    before = {name: (path / name).read_bytes() for name in os.listdir(path)}
    with pytest.raises(ng.MismatchError) as caught:
        verb(*given)
    assert str(caught.value) == f"{path}: {text}"
    assert {name: (path / name).read_bytes() for name in os.listdir(path)} == before


# What goes in -------------------------------------------------------------------------------------------------------


def test_items_of_any_length(path):
    with ng.RaggedAppender(path) as words:
        assert words.dtype is None and words.row_shape is None and len(words) == 0 and os.listdir(path) == []
        assert words.append(np.arange(3, dtype="i2")) == range(0, 1)
        assert words.append([]) == range(1, 2)
        assert words.append([7]) == range(2, 3)
        assert words.extend([[1, 2], np.zeros(0, "i2"), (3,)]) == range(3, 6)
        assert words.extend(iter([[4], [5]])) == range(6, 8)
        assert words.extend([]) == range(8, 8)
        assert (len(words), words.values_len, words.dtype, words.row_shape) == (8, 9, np.int16, ())
        assert repr(words) == f"<npygrow.RaggedAppender '{path}', 8 items, 9 values, dtype=dtype('int16')>"
    holds(path, *(np.array(item, "i2") for item in ([0, 1, 2], [], [7], [1, 2], [], [3], [4], [5])))
    assert sorted(os.listdir(path)) == ["offsets.npy", "values.npy"]


@pytest.mark.parametrize(
    "dtype, row_shape",
    [("f4", (3,)), (">u2", ()), ("S4", (2, 1)), ("M8[ms]", ()), ([("a", "u1"), ("b", "<f8", 2)], ()), ("f8", (0,))],
)
def test_dtypes_and_row_shapes(path, dtype, row_shape):
    given = [np.zeros((n, *row_shape), dtype) for n in (2, 0, 3)]
    for item in given:
        if item.dtype.names is None and item.size:
            item.flat[0] = item.dtype.type(1) if item.dtype.kind != "M" else np.datetime64(5, "ms")
    with ng.RaggedAppender(path, dtype=dtype, row_shape=row_shape) as words:
        assert sorted(os.listdir(path)) == ["offsets.npy", "values.npy"], "others can follow them at once"
        words.append(given[0])
        words.extend(given[1:])
    holds(path, *given)


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: np.repeat(a, 2, 0)[::2], lambda a: a.astype(">f4"), list])
def test_layouts_that_are_not_the_files(path, layout):
    item = np.arange(12, dtype="f4").reshape(4, 3)
    with ng.RaggedAppender(path, dtype="f4", row_shape=3) as words:
        words.append(layout(item))
        words.extend([layout(item), item[:1]])
        words.extend((layout(item), [1, 3]))
    holds(path, item, item, item[:1], item[:1], item[1:])


def test_texts_and_bytes(path):
    with ng.RaggedAppender(path) as words:
        assert words.append_text("wächst") == range(0, 1)
        assert words.append(b"npy") == range(1, 2)
        assert words.append(bytearray(b"\0\xff")) == range(2, 3)
        assert words.append(memoryview(b"view")) == range(3, 4)
        assert words.extend([b"a", b"", "ü".encode()]) == range(4, 7)
        with pytest.raises(TypeError):
            words.append_text(b"bytes")
    assert [item.tobytes() for item in items_of(path)] == ["wächst".encode(), b"npy", b"\0\xff", b"view", b"a", b"", b"\xc3\xbc"]


def test_values_and_lengths(path):
    with ng.RaggedAppender(path) as words:
        assert words.extend((np.arange(5.0), [2, 0, 3])) == range(0, 3)
        assert words.extend((np.arange(0.0), [])) == range(3, 3)
        assert words.extend((np.arange(2.0), np.array([1, 1], ">u2"))) == range(3, 5)
        assert words.extend(np.arange(6.0).reshape(2, 3)) == range(5, 7)
    holds(path, *map(np.array, ([0.0, 1], np.zeros(0), [2.0, 3, 4], [0.0], [1.0], [0.0, 1, 2], [3.0, 4, 5])))


def test_an_append_of_no_items_makes_the_files(path):
    with ng.RaggedAppender(path) as words:
        words.extend([])
        assert os.listdir(path) == []
        words.extend((np.zeros((0, 2), "f4"), []))
    assert np.load(path / "values.npy").shape == (0, 2)
    same(np.load(path / "offsets.npy"), np.zeros(1, "i8"))


def test_arrow(path):
    pa = optional("pyarrow", "Arrow arrays are")
    lists = pa.array([[9], [1, 2], [], [3]])[1:]
    with ng.RaggedAppender(path, dtype="i8") as words:
        assert words.extend(lists) == range(0, 3)
        assert words.extend(lists.cast(pa.large_list(pa.int16()))) == range(3, 6)
        assert words.extend(pa.chunked_array([lists, lists])) == range(6, 12)
        assert words.extend(pa.array([[1, 2], [3, 4]], pa.list_(pa.int32(), 2))[1:]) == range(12, 13)
        refuses(path, "expected items, found 1 nulls: call fill_null or drop_null first", words.extend, pa.array([[1], None]))
        refuses(
            path, "expected values, found 1 nulls among them: call fill_null first", words.extend, pa.array([[1, None]])
        )
        refuses(path, "expected an Arrow array of lists, strings or bytes, found int64", words.extend, pa.array([1]))
        refuses(
            path,
            "expected values of dtype int64, found an Arrow array of string, which are uint8: give an array",
            words.extend,
            pa.array(["a"]),
        )
    holds(path, *(np.array(item, "i8") for item in [[1, 2], [], [3]] * 4 + [[3, 4]]))
    with ng.RaggedAppender(path.parent / "boxes") as boxes:
        boxes.extend(pa.array([[[1, 2]], [], [[3, 4], [5, 6]]], pa.list_(pa.list_(pa.float32(), 2))))
    holds(path.parent / "boxes", *(np.array(item, "f4").reshape(-1, 2) for item in ([[1, 2]], [], [[3, 4], [5, 6]])))
    with ng.RaggedAppender(path.parent / "text") as text:
        text.extend(pa.array(["-", "wä", ""])[1:])
        text.extend(pa.chunked_array([[b"x"], [b"yz"]]))
    assert [item.tobytes() for item in items_of(path.parent / "text")] == ["wä".encode(), b"", b"x", b"yz"]


def test_polars(path):
    pl = optional("polars", "polars series are")
    optional("pyarrow", "polars series are")
    with ng.RaggedAppender(path) as words:
        words.extend(pl.Series([[1, 2], [], [3]]))
    holds(path, *(np.array(item, "i8") for item in ([1, 2], [], [3])))


def test_arrow_needs_pyarrow(path, monkeypatch):
    class Lists:
        def __arrow_c_array__(self, requested_schema=None):
            raise AssertionError

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with ng.RaggedAppender(path) as words:
        text = "Lists is read through pyarrow, which is not installed: give (values, lengths)"
        refuses(path, text, words.extend, Lists())


def test_awkward(path):
    ak = optional("awkward", "awkward arrays are")
    lists = ak.Array([[9], [1, 2], [], [3]])
    with ng.RaggedAppender(path) as words:
        assert words.extend(lists[1:]) == range(0, 3)
        assert words.extend(lists[[1, 2, 3]]) == range(3, 6)
        assert words.extend(lists[::-1]) == range(6, 10)
        assert words.extend(ak.Array(np.arange(4).reshape(2, 2))) == range(10, 12)
        text = "expected items of one row shape without missing values, found "
        refuses(path, text + "1 * var * ?int64", words.extend, ak.Array([[1, None]]))
        refuses(path, text + "1 * var * var * int64", words.extend, ak.Array([[[1], [2, 3]]]))
        refuses(path, "expected an awkward array of lists, found 2 * int64", words.extend, ak.Array([1, 2]))
    holds(path, *(np.array(item, "i8") for item in [[1, 2], [], [3]] * 2 + [[3], [], [1, 2], [9], [0, 1], [2, 3]]))
    with ng.RaggedAppender(path.parent / "boxes", row_shape=2) as boxes:
        boxes.extend(ak.to_regular(ak.Array([[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]]), axis=2))
    holds(path.parent / "boxes", np.array([[1.0, 2]]), np.array([[3.0, 4], [5, 6]]))


# What is refused ----------------------------------------------------------------------------------------------------


def test_refusals(path):
    with ng.RaggedAppender(path, dtype="i4", row_shape=()) as words:
        words.append([1, 2])
        for text, item in [
            ("expected an item, found a str: give text.encode()", "text"),
            ("expected values of dtype int32, found bytes, which are uint8: give an array", b"bytes"),
            ("expected one or more rows, found a single value (0-d): append [value]", 3),
            ("expected rows of shape (), found an array of shape (1, 1), whose rows have shape (1,)", [[1]]),
            ("row 1 of the array does not fit: 4294967296 would change from dtype int64 to the file's int32", [1, 2**32]),
            (
                "expected rows of dtype int32, found float64, which does not always fit: cast them with .astype('<i4')",
                [1.5],
            ),
        ]:
            refuses(path, text, words.append, item)
            refuses(path, "item 1: " + text, words.extend, [[5], item])
        for text, items in [
            ("expected items, found str: give a list of them, or append one", "text"),
            ("expected items, found bytes: give a list of them, or append one", b"bytes"),
            ("expected items, found int: give a list of them, or append one", 3),
            ("a tuple is (values, lengths), found one of 3: give items as a list", ([1], [2], [3])),
            ("expected lengths of 3 values in all, found 2", ([1, 2, 3], [1, 1])),
            ("expected lengths of 3 values in all, found one of -1", ([1, 2, 3], [3, -1, 1])),
            ("expected lengths of 3 values in all, found one of 4", ([1, 2, 3], [4])),
            (
                "expected (values, lengths), a length for each item, found lengths of dtype float64 and shape (1,): "
                "give items as a list",
                ([1], [1.0]),
            ),
        ]:
            refuses(path, text, words.extend, items)
        refuses(path, "cannot truncate to 2 items: there are 1", words.truncate, 2)
        assert len(words) == 1 and words.values_len == 2
    with ng.RaggedAppender(path, casting="exact") as words:
        text = "casting='exact' takes rows of dtype int32 only, found int64: cast them first, or open with casting='checked'"
        refuses(path, text, words.append, [1])
    holds(path, np.array([1, 2], "i4"))


def test_a_refused_first_item_settles_nothing(path):
    with ng.RaggedAppender(path) as words:
        refuses(path, "the items are empty lists, which have no dtype: give numpy.zeros(0, dtype)", words.extend, [[], []])
        for bad in ([None], [[1], ["a"]]):
            with pytest.raises(ng.MismatchError):
                words.extend(bad)
        assert words.dtype is None and os.listdir(path) == []
        words.extend([[], [1.5]])
    holds(path, np.zeros(0), np.array([1.5]))


def test_options_are_checked(path):
    for name, value, text in [
        ("mode", "w", 'mode must be one of "a" "x", not "w"'),
        ("on_tail", "keep", 'on_tail must be one of "auto" "drop" "error", not "keep"'),
    ]:
        with pytest.raises(ValueError) as caught:
            ng.RaggedAppender(path, **{name: value})
        assert str(caught.value) == text
    assert not path.exists()
    with ng.RaggedAppender(path) as words:
        words.append([1])
    with pytest.raises(FileExistsError) as caught:
        ng.RaggedAppender(path, mode="x")
    assert caught.value.filename == str(path)
    with pytest.raises(ng.MismatchError):
        ng.RaggedAppender(path, dtype="f4")
    with ng.RaggedAppender(path, dtype="i8", row_shape=()) as words:
        assert len(words) == 1


def test_closed_is_closed(path):
    words = ng.RaggedAppender(path)
    words.append([1, 2])
    words.close()
    words.close()
    text = f"{path}: the appender is closed: make a new npygrow.RaggedAppender to go on"
    for verb in [lambda: words.append([1]), lambda: words.extend([]), words.commit, words.sync, words.__enter__]:
        with pytest.raises(ValueError) as caught:
            verb()
        assert str(caught.value) == text
    assert words.closed and len(words) == 1 and words.values_len == 2 and words.dtype == np.int64 and not words.dropped
    assert words.path == str(path)


# One writer, and what it holds --------------------------------------------------------------------------------------


def test_a_second_appender_is_refused(path):
    with ng.RaggedAppender(path, dtype="u1", row_shape=()):
        with pytest.raises(ng.LockedError):
            ng.RaggedAppender(path)
    ng.RaggedAppender(path).close()


def test_turns(path):
    with ng.RaggedAppender(path, turns=True) as one, ng.RaggedAppender(path, turns=True, buffering=1 << 16) as two:
        assert one.append([1]) == range(0, 1)
        assert two.append([2, 3]) is None
        assert one.append([4]) == range(1, 2)
        assert two.commit() == range(2, 3)
        assert two.values_len == 4
        assert one.append([5]) == range(3, 4)
    holds(path, *(np.array(item) for item in ([1], [4], [2, 3], [5])))


def test_buffered_items_are_seen_at_the_commit(path):
    with ng.RaggedAppender(path, dtype="u1", row_shape=(), buffering=100) as words:
        for n in range(3):
            assert words.append(np.zeros(10, "u1")) == range(n, n + 1)
        assert items_of(path) == [] and len(words) == 3 and words.values_len == 30
        assert words.commit() == range(0, 3) and len(items_of(path)) == 3
        for _ in range(6):
            words.append(np.zeros(10, "u1"))
        assert len(items_of(path)) == 9, "18 bytes each: the sixth fills it"
        words.append([1])
        words.truncate(2)
        assert len(words) == 2 and words.values_len == 20
    assert len(items_of(path)) == 2


def test_an_unclosed_appender_publishes_and_warns(path):
    words = ng.RaggedAppender(path, buffering=1 << 16)
    words.append([1, 2])
    with pytest.warns(ResourceWarning) as caught:
        del words
        gc.collect()
    assert str(caught[0].message) == f'unclosed appender "{path}": close it, or use it in a with block'
    holds(path, np.array([1, 2]))


def test_an_exception_publishes(path):
    with pytest.raises(KeyError), ng.RaggedAppender(path, buffering=1 << 16) as words:
        words.append([1])
        raise KeyError
    holds(path, np.array([1]))


@pytest.mark.parametrize("buffering", [0, 1 << 12])
def test_threads_share_an_appender(path, buffering):
    with ng.RaggedAppender(path, dtype="i8", row_shape=(), buffering=buffering) as words:
        wrote = {}

        def writer(who):
            for n in range(200):
                item = np.full(n % 5, who * 1000 + n)
                wrote[who, n] = words.append(item if n % 2 else item.tolist())

        threads = [threading.Thread(target=writer, args=(who,), daemon=True) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
            assert not thread.is_alive()
    items = items_of(path)
    assert len(items) == 800
    for (who, n), numbers in wrote.items():
        same(items[numbers.start], np.full(n % 5, who * 1000 + n))


@pytest.mark.parametrize("buffering", [0, 1 << 16])
def test_a_forked_child_writes_nothing(path, buffering):
    out = run(
        """
        words = ng.RaggedAppender(args[0], dtype="i8", row_shape=(), buffering=int(args[1]))
        words.append([1, 2])
        child = os.fork()
        if child == 0:
            code = 1
            try: words.append(np.zeros(100_000, "i8"))
            except ng.LatchedError as error: code = 0 if "fork" in str(error) else 2
            del words
            os._exit(code)
        print(os.waitpid(child, 0)[1])
        words.append([3])
        words.close()
        """,
        path,
        buffering,
    )
    assert out.split() == ["0"]
    holds(path, np.array([1, 2]), np.array([3]))


# What goes wrong ----------------------------------------------------------------------------------------------------


def leave(path, offsets):
    """What an append of ours killed before its offsets leaves: values that no offset counts."""
    with ng.RaggedAppender(path) as words:
        words.extend([[1, 2], [3]])
    with ng.Appender(path / "values.npy") as values:
        values.append([4, 5])
    if offsets:
        with ng.Appender(path / "offsets.npy") as ends:
            ends.append([offsets])


def test_what_an_append_left_is_cut_and_told(path):
    leave(path, None)
    with pytest.warns(UserWarning) as caught, ng.RaggedAppender(path) as words:
        assert (words.dropped.rows, words.dropped.bytes) == (0, 16)
        words.append([6])
    assert str(caught[0].message) == f"{path}: cut 16 bytes (0 whole items) of an append that was never acknowledged"
    holds(path, np.array([1, 2]), np.array([3]), np.array([6]))


def test_on_tail_error_leaves_it(path):
    leave(path, None)
    with pytest.raises(ng.NeedsRecoveryError, match=r"recover\(path, tail="):
        ng.RaggedAppender(path, on_tail="error")
    assert len(np.load(path / "values.npy")) == 5


def test_a_missing_file_is_no_empty_one(path):
    with ng.RaggedAppender(path) as words:
        words.append([1])
    (path / "offsets.npy").unlink()
    with pytest.raises(ng.NeedsRecoveryError, match="offsets.npy is missing beside values.npy"):
        ng.RaggedAppender(path)


def test_an_append_that_does_not_fit_did_not_happen(path):
    item = np.arange(100, dtype="i8")
    for limit in range(128 + 800, 128 + 3 * 800, 200):
        folder = path / str(limit)
        os.makedirs(folder)
        with ng.RaggedAppender(folder, dtype="i8", row_shape=()) as words:
            words.append(item)
            with limited_files(limit), pytest.raises(OSError) as caught:
                words.extend([item, np.tile(item, 3)])
            assert caught.value.errno and len(words) == 1 and words.values_len == 100
            holds(folder, item)
            words.append(item[:3])
        holds(folder, item, item[:3])


def test_a_disk_too_full_for_the_offsets(path):
    """Items without values: only the offsets grow."""
    with ng.RaggedAppender(path, dtype="u1", row_shape=()) as words:
        words.append([1])
        with limited_files(1000), pytest.raises(OSError):
            words.extend((np.zeros(3, "u1"), [0] * 999 + [3]))
        assert len(words) == 1 and words.values_len == 1
        words.append([2])
    holds(path, np.array([1], "u1"), np.array([2], "u1"))


def test_a_close_that_fails_names_the_items_that_are_lost(path):
    words = ng.RaggedAppender(path, dtype="i8", row_shape=(), buffering=1 << 20)
    words.append(np.arange(100))
    with limited_files(300), pytest.raises(OSError, match="1 buffered item lost"):
        words.close()
    assert words.closed and len(words) == 0 and words.values_len == 0
    holds(path)


def test_what_was_committed_is_known_after_a_close_that_fails(path):
    words = ng.RaggedAppender(path, dtype="i8", row_shape=(), buffering=1 << 20)
    words.append(np.arange(3))
    words.commit()
    words.append(np.arange(100))
    assert words.values_len == 103
    with limited_files(300), pytest.raises(OSError, match="1 buffered item lost"):
        words.close()
    assert (len(words), words.values_len) == (1, 3) and "1 items, 3 values" in repr(words)


KILLED = """
    import itertools
    path, options = args[0], eval(args[1])
    words = ng.RaggedAppender(path, dtype="i8", row_shape=(), **options)
    for n in itertools.count(len(words)):
        words.extend([np.full(n % 7, n)])
        if n % 10 == 0: words.commit(); print(n + 1, flush=True)
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
            ng.RaggedAppender(path, dtype="i8", row_shape=()).close()
        items = items_of(path)
        assert len(items) >= told
        for n, item in enumerate(items):
            same(item, np.full(n % 7, n))


# Any history --------------------------------------------------------------------------------------------------------

ITEM = st.lists(st.integers(-100, 100), max_size=5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), ITEM),
        st.tuples(st.just("extend"), st.lists(ITEM, max_size=4), st.sampled_from(["lists", "arrays", "pair"])),
        st.tuples(st.just("refuse"), st.sampled_from([[0.5], 3, [[1]], [10**6]])),
        st.tuples(st.just("truncate"), st.floats(0, 1)),
        st.sampled_from([("commit",), ("sync",), ("reopen",)]),
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(STEPS, st.sampled_from([0, 1, 100, 1 << 16]), st.booleans())
def test_any_history(tmp_path_factory, steps, buffering, turns):
    path, items = tmp_path_factory.mktemp("any") / "words", []
    options = {"dtype": "i2", "row_shape": (), "buffering": buffering, "turns": turns}
    words = ng.RaggedAppender(path, **options)
    for verb, *given in steps:
        if verb == "append":
            items.append(given[0])
            words.append(given[0])
        elif verb == "extend":
            items += given[0]
            lists, how = given
            arrays = [np.array(item, "i2") for item in lists]
            pair = (np.concatenate([*arrays, np.zeros(0, "i2")]), [len(item) for item in lists])
            words.extend({"lists": lists, "arrays": arrays, "pair": pair}[how])
        elif verb == "refuse":
            with pytest.raises(ng.MismatchError):
                words.extend([[1], given[0]])
        elif verb == "truncate":
            items = items[: int(given[0] * len(items))]
            words.truncate(len(items))
        elif verb == "reopen":
            words.close()
            words = ng.RaggedAppender(path, **options)
        else:
            getattr(words, verb)()
        assert len(words) == len(items) and words.values_len == sum(map(len, items))
        if not buffering or verb in ("commit", "sync", "truncate", "reopen"):
            holds(path, *(np.array(item, "i2") for item in items))
    words.close()
    holds(path, *(np.array(item, "i2") for item in items))
