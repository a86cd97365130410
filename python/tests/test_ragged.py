"""`Ragged`: items of different length, against lists of ndarrays."""

import os
import pickle
import re

import hypothesis.strategies as st
import numpy as np
import npygrow as ng
import pytest
from hypothesis import given
from support import add, either, finish, header_len, optional, run, same, says, start

ITEMS = [np.arange(n, dtype="<i4") + 10 * i for i, n in enumerate((3, 0, 4, 1, 2))]


def write(folder, items, dtype="<i4", row_shape=()):
    """A ragged folder, made by NumPy."""
    os.makedirs(folder, exist_ok=True)
    np.save(folder / "values.npy", np.concatenate([np.empty((0, *row_shape), dtype), *items]).astype(dtype))
    np.save(folder / "offsets.npy", np.cumsum([0, *map(len, items)], dtype="<i8"))
    return folder


def alike(got, expected):
    """The same items, one by one."""
    got = list(got)
    assert len(got) == len(expected)
    for item, other in zip(got, expected, strict=True):
        same(item, other)


@pytest.fixture
def words(tmp_path):
    return ng.open(write(tmp_path / "words", ITEMS))


def raises(kind, ragged, text):
    """The block raises `kind` with exactly this text after the path."""
    return pytest.raises(kind, match=re.escape(f"{ragged.path}: {text}") + "$")


def test_a_folder_of_items(words, tmp_path):
    assert isinstance(words, ng.Ragged) and len(words) == 5
    assert words.path == str(tmp_path / "words") and words.row_shape == () and words.dtype == "<i4"
    alike(words, ITEMS)
    alike([words[i] for i in range(-5, 0)], ITEMS)
    same(words.lengths, np.array([3, 0, 4, 1, 2]))
    same(words.values, np.concatenate(ITEMS))
    same(words.offsets, np.array([0, 3, 3, 7, 8, 10]))
    assert not words[0].flags.writeable and not words.values.flags.writeable and not words.offsets.flags.writeable
    assert np.shares_memory(words[2], words.values)
    alike(ng.Ragged(os.fsencode(tmp_path / "words")), ITEMS)


def test_slices_are_ragged_too(words):
    for index in (slice(1, 4), slice(None, None, 2), slice(None, None, -1), slice(2, 2), slice(-2, None)):
        part = words[index]
        expected = ITEMS[index]
        assert isinstance(part, ng.Ragged) and len(part) == len(expected)
        alike(part, expected)
        alike(part[::-1], expected[::-1])
        same(part.lengths, np.array([len(item) for item in expected], "i8"))
        same(part.values, np.concatenate([ITEMS[1], *expected]))
        same(part.offsets, np.cumsum([0, *map(len, expected)], dtype="i8"))
        alike(part.take(range(len(expected))), expected)
        alike([item for batch in part.batches(2) for item in batch], expected)
    assert np.shares_memory(words[1:4].values, words.values)
    part = words[1:3]
    words.close()
    alike(part, ITEMS[1:3])
    for verb in (part.refresh, part.follow):
        with raises(ValueError, part, f"a slice does not grow: {verb.__name__} what it was taken of"):
            verb()


def test_items_by_their_numbers(words):
    mask = np.array([True, False, True, True, False])
    for index in ([3, 0, -1, 3], [], np.array([4, 1], "u1"), range(4, 1, -1), mask):
        numbers = np.arange(5)[np.asarray(index, None if len(index) else int)]
        alike(words[index], [ITEMS[i] for i in numbers])
    taken = words.take([2, 0, 2])
    alike(taken, [ITEMS[2], ITEMS[0], ITEMS[2]])
    assert taken[0].base is taken[2].base is not None and taken[0].flags.writeable
    taken[0][:] = 0
    alike(words.take([2]), ITEMS[2:3])
    alike(words.__getitems__([0, 4]), [ITEMS[0], ITEMS[4]])


@pytest.mark.parametrize(
    ("index", "kind", "text"),
    [
        (5, IndexError, "no item 5 among 5"),
        (-6, IndexError, "no item -6 among 5"),
        ([0, 5], IndexError, "no item 5 among 5"),
        (np.array([-6]), IndexError, "no item -6 among 5"),
        (np.array([2**63], "u8"), IndexError, "no item 9223372036854775808 among 5"),
        ([0.5], IndexError, "expected integers as item numbers, found float64"),
        ([[0]], IndexError, "expected items along one axis, found an index of 2 axes"),
        ([True], IndexError, "expected a mask of 5 items, found one of 1"),
        ("x", TypeError, "expected an integer, a slice, or a list or array of integers or a mask, found str"),
        ((0, 1), TypeError, "expected an integer, a slice, or a list or array of integers or a mask, found tuple"),
    ],
)
def test_no_such_items(words, index, kind, text):
    with raises(kind, words, text):
        words[index]


def test_padded(words):
    filled = np.array([[0, 1, 2, -1], [-1] * 4, [20, 21, 22, 23], [30, -1, -1, -1], [40, 41, -1, -1]], "<i4")
    same(words.padded(fill=-1), filled)
    same(words.padded([4, 0], fill=-1), filled[[4, 0], :3])
    same(words.padded([4], 4), np.array([[40, 41, 0, 0]], "<i4"))
    same(words.padded(length=2, fill=-1, clip=True), filled[:, :2])
    same(words.padded([]), np.empty((0, 0), "<i4"))
    same(words[::-1].padded(words.lengths[::-1] > 1, fill=-1), filled[[4, 2, 0]])
    text = "item 2 has 4 values, more than the length 3: give a larger one, or clip=True"
    with raises(ValueError, words, text):
        words.padded([4, 2, 0], 3)
    with raises(ValueError, words, "expected a length of 0 or more, found -1"):
        words.padded(length=-1)
    for fill in (0.5, 2**40, "x", [1]):
        with raises(ValueError, words, f"expected a fill of dtype int32, found {fill!r}"):
            words.padded(fill=fill)


def test_padded_rows_of_any_kind(tmp_path):
    boxes = [np.ones((n, 2, 3)) * n for n in (2, 0, 1)]
    out = ng.Ragged(write(tmp_path / "boxes", boxes, "f8", (2, 3))).padded(fill=np.nan)
    assert out.shape == (3, 2, 2, 3) and np.isnan(out[1]).all() and np.isnan(out[2, 1]).all()
    same(out[0], boxes[0])
    names = [np.array(["ab", "c"]), np.array(["d"])]
    assert ng.Ragged(write(tmp_path / "names", names, "<U2")).padded().tolist() == [["ab", "c"], ["d", ""]]


def test_batches(words):
    alike([item for batch in words.batches(2) for item in batch], ITEMS)
    batches = words.batches(2)
    assert len(batches) == 3 and len(next(batches)) == 2 and len(batches) == 2
    batches.close()
    assert list(batches) == [] and len(batches) == 0
    assert [len(batch) for batch in words.batches(2, drop_last=True)] == [2, 2]
    for text, options in {
        "expected batches of one row or more, found 0": {"size": 0},
        "a seed is for shuffle=True": {"size": 1, "seed": 3},
        "expected a seed from 0 to 2**64 - 1, found -1": {"size": 1, "seed": -1, "shuffle": True},
        "expected buckets of one batch or more, found 0": {"size": 1, "bucket": 0},
    }.items():
        with raises(ValueError, words, text):
            words.batches(**options)
    with pytest.raises(TypeError, match="batches cannot be pickled"):
        pickle.dumps(words.batches(1))
    begun = words.batches(2)
    words.close()
    alike(next(begun), ITEMS[:2])


def test_shuffled_and_bucketed_batches(tmp_path):
    lengths = np.random.default_rng(1).integers(0, 100, 1003)
    items = [np.full(n, i, "<i4") for i, n in enumerate(lengths)]
    ragged = ng.Ragged(write(tmp_path / "items", items))

    def order(**options):
        batches = [[len(item) for item in batch] for batch in ragged.batches(10, **options)]
        assert [len(batch) for batch in batches].count(10) == 100
        assert sorted(sum(batches, [])) == sorted(lengths) or options.get("drop_last")
        return batches

    assert order(shuffle=True, seed=1) == order(shuffle=True, seed=1) != order(shuffle=True, seed=2) != order()
    assert order(shuffle=True) != order(shuffle=True)
    padding = lambda batches: sum(max(batch) * len(batch) - sum(batch) for batch in batches)  # noqa: E731
    assert order(bucket=10) == order(bucket=10)
    assert padding(order(bucket=10)) < padding(order()) / 4
    bucketed = order(shuffle=True, seed=1, bucket=10)
    assert bucketed == order(shuffle=True, seed=1, bucket=10) != order(shuffle=True, seed=2, bucket=10)
    assert padding(bucketed) < padding(order()) / 4
    assert bucketed[:10] != sorted(bucketed[:10], key=max)
    assert len(order(bucket=10**6, drop_last=True)) == 100


def test_the_items_of_the_moment(tmp_path):
    """What was begun shows what it began with; a slice does not grow."""
    folder = write(tmp_path / "words", ITEMS[:2])
    words = ng.open(folder)
    batches, part, items = words.batches(1), words[:], iter(words)
    next(batches)
    grow(folder, ITEMS[2:])
    assert words.refresh() == range(2, 5) and words.refresh() == range(5, 5)
    alike(words, ITEMS)
    assert len(list(batches)) == 1 and len(part) == 2 and len(list(items)) == 2


def grow(folder, items):
    """As an appender of ours does it, in a plain way: values first."""
    with ng.Appender(folder / "values.npy") as values, ng.Appender(folder / "offsets.npy") as offsets:
        for item in items:
            values.append(item)
            offsets.append([len(values)])


def test_values_without_offsets_are_no_items(tmp_path):
    folder = write(tmp_path / "words", ITEMS[:2])
    words = ng.open(folder)
    assert words.health == "clean"
    with ng.Appender(folder / "values.npy") as values, ng.Appender(folder / "offsets.npy") as offsets:
        values.append(ITEMS[2])
        assert words.refresh() == range(2, 2) and words.health == "tail" and len(words.values) == 3
        offsets.append([7])
        assert words.refresh() == range(2, 3) and words.health == "clean"
        offsets.append([8])
        assert words.refresh() == range(3, 3) and words.health == "tail"
        same(words.offsets, np.array([0, 3, 3, 7]))


def test_an_empty_folder_of_items(tmp_path):
    for offsets in (np.zeros(1, "<i8"), np.zeros(0, "<i8")):
        folder = write(tmp_path / "words", [])
        np.save(folder / "offsets.npy", offsets)
        words = ng.open(folder)
        assert len(words) == 0 and list(words) == [] and words.take([]) == [] and list(words.batches(3)) == []
        same(words.offsets, np.zeros(1, "<i8"))
        same(words.padded(), np.zeros((0, 0), "<i4"))
        assert not words.offsets.flags.writeable


@given(
    lengths=st.lists(st.integers(0, 6), max_size=12),
    row_shape=st.sampled_from([(), (2,), (0,), (2, 3)]),
    dtype=st.sampled_from(["|u1", "<i4", ">f8", "<U3"]),
    data=st.data(),
)
def test_any_items(tmp_path_factory, lengths, row_shape, dtype, data):
    count = sum(lengths)
    values = np.arange(count * int(np.prod(row_shape))).reshape(count, *row_shape).astype(dtype)
    items = np.split(values, np.cumsum(lengths)[:-1]) if lengths else []
    ragged = ng.open(write(tmp_path_factory.mktemp("any") / "items", items, dtype, row_shape))
    alike(ragged, items)
    bound = st.none() | st.integers(-15, 15)
    part = data.draw(st.builds(slice, bound, bound, bound.filter(lambda step: step != 0)))
    ragged, items = ragged[part], items[part]
    assert len(ragged) == len(items)
    alike(ragged, items)
    same(ragged.values, np.concatenate([values[:0], *items]).astype(dtype))
    numbers = data.draw(st.lists(st.integers(-len(items), len(items) - 1))) if items else []
    alike(ragged[numbers], [items[i] for i in numbers])
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(items), max_size=len(items))), bool)
    alike(ragged[mask], [item for item, chosen in zip(items, mask, strict=True) if chosen])
    padded = ragged.padded(numbers)
    for row, i in zip(padded, numbers, strict=True):
        same(row[: len(items[i])], items[i])
        same(row[len(items[i]) :], np.zeros((padded.shape[1] - len(items[i]), *row_shape), dtype))
    size, shuffle = data.draw(st.integers(1, 5)), data.draw(st.booleans())
    bucket = data.draw(st.none() | st.integers(1, 3))
    got = [item for batch in ragged.batches(size, shuffle=shuffle, bucket=bucket) for item in batch]
    assert sorted(item.tobytes() for item in got) == sorted(item.tobytes() for item in items)
    again = pickle.loads(pickle.dumps(ragged))
    alike(again, items)


def test_pickles_name_the_items(tmp_path):
    folder = write(tmp_path / "words", ITEMS[:3])
    words = ng.open(folder)
    data = [pickle.dumps(thing) for thing in (words, words[1:], words[::-2])]
    assert max(map(len, data)) < 1000
    grow(folder, ITEMS[3:])
    for got, expected in zip(map(pickle.loads, data), (ITEMS[:3], ITEMS[1:3], ITEMS[2::-2]), strict=True):
        alike(got, expected)
    assert pickle.loads(data[0]).refresh() == range(3, 5)
    os.replace(write(tmp_path / "others", ITEMS) / "values.npy", folder / "values.npy")
    with pytest.raises(ng.MismatchError, match="the file was replaced since its array was sent here: open it again"):
        pickle.loads(data[0])


def test_closing(words):
    item, items, taken = words[0], iter(words), words.take([0])
    told = "5 items of 10 values, row_shape=(), dtype=dtype('int32'), clean"
    assert repr(words) == f"<npygrow.Ragged {words.path!r}, {told}>"
    assert "2 items of 4 values" in repr(words[1:3]) and "1 item of 1 value," in repr(words[3:4])
    with words as same_words:
        assert same_words is words and not words.closed
    words.close()
    assert words.closed and repr(words) == f"<npygrow.Ragged {words.path!r}, closed>"
    alike([item, *taken, next(items)], [ITEMS[0]] * 3)
    closed = "the items are closed: open them again with npygrow.open"
    verbs = (len, list, iter, pickle.dumps, ng.Ragged.refresh, ng.Ragged.__enter__, ng.Ragged.padded)
    for verb in (*verbs, lambda w: w[0]):
        with raises(ValueError, words, closed):
            verb(words)


def test_files_that_are_none_of_ours(tmp_path):
    folder = write(tmp_path / "words", ITEMS)

    def refused(kind, name, text, array):
        write(folder, ITEMS)
        np.save(folder / f"{name}.npy", array)
        with pytest.raises(kind) as caught:
            ng.Ragged(folder)
        assert str(caught.value) == f"{folder / name}.npy: {text}"

    wrong = "expected offsets: dtype <i8, one axis; found dtype {}: the file is another's"
    refused(ng.MismatchError, "offsets", wrong.format("<i4, 1 axes"), np.zeros(3, "i4"))
    refused(ng.MismatchError, "offsets", wrong.format("<i8, 2 axes"), np.zeros((3, 1), "i8"))
    text = "expected values in C order, found Fortran order: items are joined along axis 0"
    refused(ng.MismatchError, "values", text, np.ones((3, 2), order="F"))
    text = "expected values along an axis, found a single value (0-d): it holds no items"
    refused(ng.MismatchError, "values", text, 1)
    write(folder, ITEMS)
    os.remove(folder / "values.npy")
    with pytest.raises(FileNotFoundError, match=r"values\.npy"):
        ng.Ragged(folder)
    os.remove(folder / "offsets.npy")
    with pytest.raises(ng.MismatchError) as caught:
        ng.open(folder)
    assert str(caught.value) == f"{folder}: expected a folder of columns, found none: no NAME.npy, no folder of items"
    for mode in ("r+", "c"):
        text = f'a folder is opened for reading alone, mode="r", not {mode!r}: open its files one by one'
        with pytest.raises(ValueError, match=re.escape(f"{folder}: {text}") + "$"):
            ng.open(folder, mode)


def test_offsets_that_go_down_or_past_the_values(tmp_path):
    folder = write(tmp_path / "words", ITEMS)
    np.save(folder / "offsets.npy", np.array([0, 3, 7, 4, 8, 10]))
    words = ng.open(folder)
    alike([words[i] for i in (0, 1, 3, 4)], [words.values[a:b] for a, b in ((0, 3), (3, 7), (4, 8), (8, 10))])
    text = "item 2 goes from 7 to 4: expected offsets that go up, to at most 10"
    verbs = (lambda: words[2], lambda: words.take([0, 2]), lambda: words.lengths, lambda: list(words))
    for verb in (*verbs, words.padded):
        with raises(ng.FormatError, words, text):
            verb()
    assert "5 items" in repr(words)
    np.save(folder / "offsets.npy", np.array([0, 3, 999, 4, 8, 10]))
    words = ng.open(folder)
    text = "item 1 goes from 3 to 999: expected offsets that go up, to at most 10"
    for verb in (lambda: words[1], lambda: words.take([1]), lambda: words[1:2].padded()):
        with raises(ng.FormatError, words, text):
            verb()
    np.save(folder / "offsets.npy", np.array([1, 3]))
    with pytest.raises(ng.FormatError, match="begin"):
        ng.open(folder)
    np.save(folder / "offsets.npy", np.array([0, -3]))
    with pytest.raises(ng.FormatError):
        ng.open(folder)


def test_inspect_and_recover(tmp_path):
    folder = write(tmp_path / "words", ITEMS)
    report = ng.inspect(folder)
    assert (report.path, report.rows, report.advice) == (str(folder), 5, None)
    (column,) = report.columns
    assert (column.name, column.rows, column.values.rows, column.offsets.rows) == ("", 5, 10, 6)
    assert column.values == ng.inspect(folder / "values.npy") and column.offsets == ng.inspect(folder / "offsets.npy")
    assert str(report).splitlines() == [
        f"path     {folder}",
        "rows     5",
        "columns  items: 5 items of int32, clean",
    ]
    add(folder / "values.npy", b"\x01")
    os.truncate(folder / "offsets.npy", header_len(folder / "offsets.npy") + 30)
    assert "recover(path)" in ng.inspect(folder).advice
    kept = "values.npy of 10 values, offsets.npy of 2 items: call recover"
    with pytest.raises(ng.NeedsRecoveryError, match=re.escape(kept) + ".*lose the others$"):
        ng.recover(folder)
    assert len(np.load(folder / "values.npy")) == 10
    done = ng.recover(folder, tail="drop")
    assert done.rows == 2 and done.columns[0].held == 2 and done.columns[0].offsets.lost == 3
    assert done.columns[0].values.cut == 1
    assert str(done).splitlines() == [f"path     {folder}", "rows     2", "columns  items: 2 items held, 0 of them cut"]
    alike(ng.open(folder), ITEMS[:2])
    same(np.load(folder / "values.npy"), np.concatenate(ITEMS[:2]))
    says(ng.inspect(folder).columns[0].values.dtype, either("<i4"))


def test_following(tmp_path):
    folder = write(tmp_path / "words", ITEMS[:2])
    words = ng.open(folder)
    new, late, all_of_them = words.follow(0.3), words.follow(0, start=-1), words.follow(0, start=0)
    grow(folder, ITEMS[2:])
    blocks = list(new)
    alike(sum(blocks, []), ITEMS[2:])
    assert len(words) == 5
    alike(sum(late, []), ITEMS[1:])
    alike(sum(all_of_them, []), ITEMS)
    with pytest.raises(ValueError, match="^timeout must be seconds, 0 or more, not -1$"):
        words.follow(-1)
    endless = words.follow(start=0)
    next(endless)
    words.close()
    assert list(endless) == []


def test_following_gives_blocks_of_4_mib(tmp_path):
    items = [np.zeros(1 << 20, "u1")] * 6 + [np.zeros(9 << 20, "u1")] + [np.zeros(0, "u1")] * 3
    blocks = ng.open(write(tmp_path / "big", items, "u1")).follow(0, start=0)
    assert [len(block) for block in blocks] == [4, 2, 1, 3]


WRITER = """
path = args[0]
os.makedirs(path)
with (
    ng.Appender(path + "/values.npy", dtype="i4", row_shape=()) as values,
    ng.Appender(path + "/offsets.npy") as offsets,
):
    offsets.append(np.zeros(1, "i8"))
    print("made", flush=True)
    for i in range(2000):
        values.append(np.full(i % 17, i, "i4"))
        offsets.append(np.array([len(values)]))
"""


def test_reading_while_another_process_appends(tmp_path):
    folder = tmp_path / "words"
    child = start(WRITER, folder)
    assert child.stdout.readline() == "made\n"
    words, seen = ng.open(folder), 0
    for items in words.follow(20, start=0):
        for item in items:
            same(item, np.full(seen % 17, seen, "i4"))
            seen += 1
        assert len(words) >= seen and (words.lengths == np.arange(len(words)) % 17).all()
        if seen == 2000:
            break
    finish(child)
    assert len(words) == 2000 and words.health == "clean"


def test_a_forked_child(tmp_path):
    out = run(
        """
        words = ng.open(args[0])
        fresh, begun = words.batches(2), words.batches(2)
        next(begun)
        if child := os.fork():
            os.waitpid(child, 0)
            print(len(list(begun)), len(list(fresh)))
        else:
            print(len(list(fresh)), sum(len(batch) for batch in words.batches(2)), len(words[0]))
            try:
                next(begun)
            except ng.LatchedError as error:
                print("a fork" in str(error), flush=True)
            os._exit(0)
        """,
        write(tmp_path / "words", ITEMS),
    )
    assert out.split() == ["3", "5", "3", "True", "2", "3"]


def test_torch_takes_batches(words):
    torch = optional("torch", "a DataLoader over items is")
    for workers in (0, 2):
        loader = torch.utils.data.DataLoader(words, batch_size=2, collate_fn=list, num_workers=workers)
        alike([item for batch in loader for item in batch], ITEMS)
