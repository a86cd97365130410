"""`Dataset`: columns of one length, against lists of dicts."""

import collections.abc
import os
import pickle
import re

import hypothesis.strategies as st
import numpy as np
import npygrow as ng
import pytest
from hypothesis import given
from support import add, finish, optional, run, same, start
from test_ragged import alike, grow, write

IMAGES = np.arange(5 * 6, dtype="u1").reshape(5, 2, 3)
LABELS = np.array([7, 8, 9, 10, 11])
TEXTS = [np.arange(n, dtype="<i4") + 10 * i for i, n in enumerate((3, 0, 4, 1, 2))]


@pytest.fixture
def folder(tmp_path):
    """Columns of 5 rows; the images lie in Fortran order."""
    folder = tmp_path / "run"
    write(folder / "text", TEXTS)
    np.save(folder / "image.npy", np.asfortranarray(np.moveaxis(IMAGES, 0, -1)))
    np.save(folder / "label.npy", LABELS)
    return folder


@pytest.fixture
def run5(folder):
    return ng.open(folder)


def is_rows(got, numbers):
    """A dict of parts of all columns."""
    assert list(got) == ["image", "label", "text"]
    same(got["image"], IMAGES[numbers])
    same(got["label"], LABELS[numbers])
    alike(got["text"], [TEXTS[i] for i in numbers])


def raises(kind, dataset, text):
    """The block raises `kind` with exactly this text after the path."""
    return pytest.raises(kind, match=re.escape(f"{dataset.path}: {text}") + "['\"]?$")


def test_a_folder_of_columns(run5, folder):
    assert isinstance(run5, ng.Dataset) and len(run5) == 5 and run5.path == str(folder)
    columns = run5.columns
    assert isinstance(columns, collections.abc.Mapping) and list(columns) == ["image", "label", "text"]
    assert isinstance(columns["label"], ng.Array) and isinstance(columns["text"], ng.Ragged)
    same(run5["image"][:], np.moveaxis(IMAGES, 0, -1))
    alike(run5["text"], TEXTS)
    assert "label" in run5 and "words" not in run5 and 0 not in run5
    with raises(KeyError, run5, "no column 'words' among image, label, text"):
        run5["words"]
    told = "image: (2, 3) uint8, label: () int64, text: ragged () int32"
    assert repr(run5) == f"<npygrow.Dataset {str(folder)!r}, 5 rows, {told}>"


def test_rows(run5):
    for i, row in enumerate(run5):
        for got in (row, run5[i], run5[i - 5], run5[np.int8(i)]):
            assert list(got) == ["image", "label", "text"] and got["label"] == LABELS[i]
            same(got["image"], IMAGES[i])
            same(got["text"], TEXTS[i])
    for part in (slice(1, 4), slice(None, None, -2), slice(9, None)):
        is_rows(run5[part], np.arange(5)[part])
    assert isinstance(run5[1:3]["text"], ng.Ragged) and not run5[1:3]["label"].flags.writeable
    assert not run5[1:3]["label"].flags.owndata
    for index in ([3, 0, -1, 3], [], range(4, 1, -1), np.array([True, False, True, True, False])):
        is_rows(run5[index], np.arange(5)[np.asarray(index, None if len(index) else int)])
    is_rows(run5.take(np.array([4, 1], "u2")), [4, 1])
    samples = run5.__getitems__([4, 1])
    assert [sample["label"] for sample in samples] == [11, 8]
    same(samples[1]["image"], IMAGES[1])
    alike([sample["text"] for sample in samples], [TEXTS[4], TEXTS[1]])


@pytest.mark.parametrize(
    ("index", "kind", "text"),
    [
        (5, IndexError, "no row 5 among 5"),
        ([0, -6], IndexError, "no row -6 among 5"),
        ([0.5], IndexError, "expected integers as row numbers, found float64"),
        (np.ones(4, bool), IndexError, "expected a mask of 5 rows, found one of 4"),
        (
            None,
            TypeError,
            "expected a column's name, an integer, a slice, or a list or array of integers or a mask, found NoneType",
        ),
    ],
)
def test_no_such_rows(run5, index, kind, text):
    with raises(kind, run5, text):
        run5[index]


def test_the_shortest_column_counts(folder):
    with ng.Appender(folder / "label.npy") as labels:
        labels.append([12, 13])
    run5 = ng.open(folder)
    assert len(run5) == 5 and {len(column) for name, column in run5.columns.items() if name != "image"} == {5}
    assert run5["image"].shape == (2, 3, 5)
    grow(folder / "text", TEXTS[:1])
    assert run5.refresh() == range(5, 5) and len(run5["text"]) == 5
    with ng.Appender(folder / "image.npy") as images:
        images.append(np.moveaxis(IMAGES[:2], 0, -1))
    before = run5["label"]
    assert run5.refresh() == range(5, 6) and len(run5) == 6
    assert run5[5]["label"] == 12 and len(run5["label"]) == 6 and len(before) == 5
    same(run5[-1]["text"], TEXTS[0])


def test_columns_are_the_callers(run5, folder):
    """Neither refreshing nor closing one changes the dataset."""
    label, text = run5["label"], run5["text"]
    with ng.Appender(folder / "label.npy") as labels:
        labels.append([12])
    assert label.refresh() == range(5, 6) and len(run5["label"]) == 5 == len(run5)
    label.close()
    text.close()
    is_rows(run5[:], range(5))


def test_a_new_dataset_finds_its_columns(tmp_path):
    """The first append makes the files one after the other, all with no row."""
    folder = tmp_path / "run"
    os.mkdir(folder)
    np.save(folder / "label.npy", LABELS[:0])
    dataset = ng.open(folder)
    assert len(dataset) == 0 and dataset[:]["label"].shape == (0,) and list(dataset) == []
    write(folder / "text", TEXTS)
    assert dataset.refresh() == range(0, 0) and list(dataset.columns) == ["label", "text"]
    np.save(folder / "label.npy", LABELS)
    assert dataset.refresh() == range(0, 5)


def test_batches(run5):
    batches = run5.batches(2)
    assert len(batches) == 3
    for at, batch in enumerate(batches):
        is_rows(batch, range(5)[2 * at : 2 * at + 2])
    shuffled = [run5.batches(2, shuffle=True, seed=seed, drop_last=True) for seed in (1, 1, 2)]
    orders = []
    for batches in shuffled:
        orders.append([])
        for batch in batches:
            numbers = batch["label"] - 7
            is_rows(batch, numbers)
            orders[-1] += numbers.tolist()
        assert len(set(orders[-1])) == 4
    assert orders[0] == orders[1] != orders[2]
    with raises(ValueError, run5, "expected batches of one row or more, found 0"):
        run5.batches(0)
    begun = run5.batches(2)
    run5.close()
    is_rows(next(begun), [0, 1])


def write_both(folder, count):
    """Rows 0, 1, 2 and so on as a column, as an item each, and those in a folder of their own."""
    with ng.DatasetAppender(folder / "run", ragged=["text", "more"]) as run:
        lengths = np.arange(count) * 7 % 31
        items = (np.repeat(np.arange(count), lengths), lengths)
        run.append({"row": np.arange(count), "text": items, "more": items})
    return ng.open(folder / "run")


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("seed", [None, 0, 7, 2**64 - 1])
def test_a_seed_is_one_order_of_rows_items_and_columns(tmp_path, seed, drop_last):
    run = write_both(tmp_path, 103)
    how = dict(shuffle=seed is not None, seed=seed, drop_last=drop_last)
    of_array = [batch.tolist() for batch in run["row"].batches(10, **how)]
    of_items = [[len(item) for item in batch] for batch in run["text"].batches(10, **how)]
    assert [[row * 7 % 31 for row in batch] for batch in of_array] == of_items
    of_dataset = list(run.batches(10, **how))
    assert [batch["row"].tolist() for batch in of_dataset] == of_array
    for batch in of_dataset:
        assert [len(item) for item in batch["text"]] == [row * 7 % 31 for row in batch["row"]]
        for row, item in zip(batch["row"], batch["more"], strict=True):
            assert (item == row).all()
    # A slice has the order of as many rows.
    backwards = [item.tolist() for batch in run["text"][::-1].batches(10, **how) for item in batch]
    assert backwards == [run["text"][102 - row].tolist() for batch in of_array for row in batch]


def test_buckets_of_rows(tmp_path):
    run = write_both(tmp_path, 103)
    for how in {}, {"shuffle": True, "seed": 5}:
        of_items = [[len(item) for item in batch] for batch in run["text"].batches(5, bucket=4, **how)]
        batches = list(run.batches(5, bucket=4, by="text", **how))
        assert [[len(item) for item in batch["text"]] for batch in batches] == of_items
        assert all((batch["row"] * 7 % 31).tolist() == lengths for batch, lengths in zip(batches, of_items, strict=True))
        assert all(lengths == sorted(lengths) for lengths in of_items)
        assert sorted(row for batch in batches for row in batch["row"].tolist()) == list(range(103))
    with raises(ValueError, run, 'a bucket is sorted by the lengths of one ragged column: name it, by="more" for one of more, text'):
        run.batches(5, bucket=4)
    with raises(ValueError, run, "by names the column whose lengths a bucket is sorted by: give bucket too"):
        run.batches(5, by="text")
    with raises(ng.MismatchError, run, 'expected a ragged column to sort by, found "row": the ragged columns are more, text'):
        run.batches(5, bucket=4, by="row")
    with raises(ValueError, run, "expected buckets of one batch or more, found 0"):
        run.batches(5, bucket=0, by="text")
    plain = ng.DatasetAppender(tmp_path / "plain")
    plain.append({"row": [1, 2]})
    plain.close()
    with raises(ValueError, ng.open(tmp_path / "plain"), "a bucket is sorted by the lengths of a ragged column, found none"):
        ng.open(tmp_path / "plain").batches(1, bucket=1)


def test_a_column_that_is_cut_ends_the_batches(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((1000, 1000)))
    batches = ng.open(tmp_path).batches(10)
    next(batches)
    os.truncate(tmp_path / "rows.npy", 1_000_000)
    with pytest.raises(ng.MismatchError, match="cut while it was read.*: open it again"):
        list(batches)
    assert list(batches) == [] and len(batches) == 0


def test_threads_share_batches(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    np.save(tmp_path / "rows.npy", np.arange(1000))
    batches = ng.open(tmp_path).batches(7)
    with ThreadPoolExecutor(4) as pool:
        got = pool.map(lambda _: [batch["rows"] for batch in batches], range(4))
        same(np.sort(np.concatenate(sum(got, []))), np.arange(1000))


SHAPES = st.lists(st.sampled_from([(), (3,), (0,), (2, 2), None]), min_size=1)


@given(rows=st.integers(0, 8), shapes=SHAPES, data=st.data())
def test_any_columns(tmp_path_factory, rows, shapes, data):
    folder, columns = tmp_path_factory.mktemp("any"), {}
    for name, shape in zip("abcdef", shapes, strict=False):
        held = rows + (data.draw(st.integers(0, 2)) if columns else 0)  # the first is the shortest
        if shape is None:
            items = [np.full(data.draw(st.integers(0, 3)), i, "<i4") for i in range(held)]
            write(folder / name, items)
            columns[name] = items[:rows]
        else:
            values = np.arange(held * int(np.prod(shape)), dtype="<u2").reshape(held, *shape)
            turned = np.asfortranarray(np.moveaxis(values, 0, -1))
            is_f = turned.flags.fnc and data.draw(st.booleans())
            np.save(folder / f"{name}.npy", turned if is_f else values)
            columns[name] = list(values[:rows])
    dataset = ng.open(folder)
    assert len(dataset) == rows
    numbers = data.draw(st.lists(st.integers(-rows, rows - 1))) if rows else []
    bound = st.none() | st.integers(-9, 9)
    part = data.draw(st.builds(slice, bound, bound, bound.filter(lambda step: step != 0)))
    together = [batch for batch in dataset.batches(data.draw(st.integers(1, 9)))]
    for name, expected in columns.items():
        alike(dataset[numbers][name], [expected[i] for i in numbers])
        alike(dataset[part][name], expected[part])
        alike([dataset[i][name] for i in range(rows)], expected)
        alike([row for batch in together for row in batch[name]], expected)
    again = pickle.loads(pickle.dumps(dataset))
    assert len(again) == rows and list(again.columns) == list(dataset.columns)


def test_pickles_name_the_rows(run5, folder):
    data = pickle.dumps(run5)
    assert len(data) < 2000
    with ng.Appender(folder / "label.npy") as labels:
        labels.append([12])
    again = pickle.loads(data)
    is_rows(again[:], range(5))
    assert again.path == str(folder)
    np.save(folder / "other.npy", LABELS)
    os.replace(folder / "other.npy", folder / "label.npy")
    with pytest.raises(ng.MismatchError, match="the file was replaced since its array was sent here: open it again"):
        pickle.loads(data)


def test_closing(run5):
    row, rows, label = run5[0], iter(run5), run5["label"]
    with run5 as same_one:
        assert same_one is run5 and not run5.closed
    run5.close()
    assert run5.closed and repr(run5) == f"<npygrow.Dataset {run5.path!r}, closed>"
    assert row["label"] == next(rows)["label"] == label[0] == 7
    verbs = (len, list, pickle.dumps, ng.Dataset.refresh, ng.Dataset.__enter__, ng.Dataset.follow, lambda d: d[0])
    for verb in (*verbs, lambda d: d["label"], lambda d: "label" in d, lambda d: d.columns, lambda d: d.batches(1)):
        with raises(ValueError, run5, "the dataset is closed: open it again with npygrow.open"):
            verb(run5)


def test_folders_that_are_no_dataset(tmp_path):
    none = "expected a folder of columns, found none: no NAME.npy, no folder of items"
    with pytest.raises(ng.MismatchError, match=re.escape(f"{tmp_path}: {none}") + "$"):
        ng.open(tmp_path)
    for verb in (ng.inspect, ng.recover):
        with pytest.raises(ng.MismatchError, match=re.escape(f"{tmp_path}: {none}") + "$"):
            verb(tmp_path)
    with pytest.raises(FileNotFoundError):
        ng.open(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        ng.Dataset(tmp_path / "none")
    np.save(tmp_path / "a.npy", 1)
    with pytest.raises(ng.MismatchError, match=r"a\.npy: expected a column, found an array without axes$"):
        ng.open(tmp_path)
    write(tmp_path / "a", TEXTS)
    with pytest.raises(ng.MismatchError, match="expected one column a, found a file a.npy and a folder a$"):
        ng.open(tmp_path)
    (tmp_path / "a.npy").write_bytes(b"no array")
    os.rename(tmp_path / "a", tmp_path / "b")
    with pytest.raises(ng.FormatError, match=r"a\.npy"):
        ng.open(tmp_path)


def test_inspect_and_recover(run5, folder):
    assert ng.inspect(folder).advice is None
    with ng.Appender(folder / "label.npy") as labels:
        labels.append([12])
    add(folder / "text" / "values.npy", b"\x01")
    report = ng.inspect(folder)
    assert report.rows == 5 and [(column.name, column.rows) for column in report.columns] == [
        ("image", 5),
        ("label", 6),
        ("text", 5),
    ]
    assert report.columns[1].offsets is None and report.columns[2].values.health == "tail"
    assert "columns" in str(report) and "label: 6 rows of int64, clean" in str(report).replace("\n", " ")
    # None of the headers is ours: no append of ours can have left it so.
    found = "expected files that go together, found image.npy of 5 rows, label.npy of 6 rows, text/values.npy of 10 values, "
    with pytest.raises(ng.NeedsRecoveryError, match=re.escape(found)):
        ng.recover(folder)
    assert len(np.load(folder / "label.npy")) == 6
    done = ng.recover(folder, tail="drop")
    assert done.rows == 5 and [(column.held, column.cut) for column in done.columns] == [(5, 0), (6, 1), (5, 0)]
    assert done.columns[2].values.cut == 1 and "label: 6 rows held, 1 of them cut" in str(done)
    assert ng.inspect(folder).advice is None
    same(np.load(folder / "label.npy"), LABELS)
    is_rows(ng.open(folder)[:], range(5))


def test_following(folder):
    dataset = ng.open(folder)
    new, everything = dataset.follow(0.3), dataset.follow(0, start=0)
    grow(folder / "text", TEXTS[1:3])
    with ng.Appender(folder / "image.npy") as images, ng.Appender(folder / "label.npy") as labels:
        images.append(np.moveaxis(IMAGES[1:3], 0, -1))
        labels.append(LABELS[1:3])
    (block,) = new
    is_rows(block, [1, 2])
    (block,) = everything
    assert len(block["label"]) == 7 == len(dataset)
    endless = dataset.follow(start=-1)
    is_rows(next(endless), [2])
    dataset.close()
    assert list(endless) == []


def test_following_gives_blocks_of_4_mib(tmp_path):
    write(tmp_path / "text", [np.zeros(1 << 19, "u1")] * 12, "u1")
    np.save(tmp_path / "image.npy", np.zeros((12, 1 << 19), "u1"))
    blocks = ng.open(tmp_path).follow(0, start=0)
    assert [len(block["text"]) for block in blocks] == [4, 4, 4]


WRITER = """
path = args[0]
os.makedirs(path + "/text")
with (
    ng.Appender(path + "/label.npy", dtype="i8", row_shape=()) as labels,
    ng.Appender(path + "/text/values.npy", dtype="i4", row_shape=()) as values,
    ng.Appender(path + "/text/offsets.npy") as offsets,
):
    offsets.append(np.zeros(1, "i8"))
    print("made", flush=True)
    for i in range(1500):
        labels.append(np.array([i]))
        values.append(np.full(i % 17, i, "i4"))
        offsets.append(np.array([len(values)]))
"""


def test_reading_while_another_process_appends(tmp_path):
    folder = tmp_path / "run"
    child = start(WRITER, folder)
    assert child.stdout.readline() == "made\n"
    dataset, seen = ng.open(folder), 0
    for block in dataset.follow(20, start=0):
        columns = dataset.columns
        assert len(columns["label"]) == len(columns["text"])
        for label, text in zip(block["label"], block["text"], strict=True):
            assert label == seen
            same(text, np.full(seen % 17, seen, "i4"))
            seen += 1
        if seen == 1500:
            break
    finish(child)
    assert len(dataset) == 1500


def test_workers_get_the_rows(folder):
    """As torch's DataLoader sends a dataset to its workers, by fork and by a pickle."""
    out = run(
        """
        import multiprocessing
        def work(dataset, numbers):
            return int(dataset[numbers]["label"].sum())
        if __name__ == "__main__":
            dataset = ng.open(args[0])
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(pool.starmap(work, [(dataset, [0, 1]), (dataset, [-1])]))
        """,
        folder,
    )
    assert out == "[15, 11]\n"


def test_torch_takes_rows(run5):
    torch = optional("torch", "a DataLoader over a dataset is")
    for workers in (0, 2):
        (batch,) = torch.utils.data.DataLoader(run5, batch_size=5, collate_fn=list, num_workers=workers)
        assert [row["label"] for row in batch] == LABELS.tolist()
