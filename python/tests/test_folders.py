"""What `concat`, `recover`, `inspect` and the others do with folders, and what they say of one that is not as it should be."""

import os
import re

import numpy as np
import npygrow as ng
import pytest
from support import limited_files, npy, same

COLUMNS = ("label", "text")


def write(folder, start, count, **options):
    """Rows of a label and a text each."""
    with ng.DatasetAppender(folder, ragged="text", **options) as run:
        lengths = np.arange(start, start + count) % 5
        rows = np.arange(start, start + count)
        run.append({"label": rows, "text": (np.repeat(rows, lengths), lengths)})
    return folder


def holds(folder, count):
    run = ng.open(folder)
    assert len(run) == count and ng.inspect(folder).advice is None
    same(run["label"][:], np.arange(count))
    for row, text in enumerate(run["text"]):
        same(text, np.full(row % 5, row))
    # With NumPy alone.
    same(np.load(folder / "label.npy"), np.arange(count))
    assert np.load(folder / "text" / "offsets.npy")[-1] == len(np.load(folder / "text" / "values.npy"))


def refused(kind, about, text):
    """The block raises `kind` with exactly this text."""
    return pytest.raises(kind, match=re.escape(f"{about}: {text}") + "$")


@pytest.fixture
def parts(tmp_path):
    return [write(tmp_path / "one", 0, 5), write(tmp_path / "two", 5, 3)]


def test_concat(tmp_path, parts):
    told = []
    out = tmp_path / "all"
    joined = ng.concat(parts, out, progress=lambda done, of: told.append((done, of)))
    assert isinstance(joined, ng.FolderJoined) and told[-1][0] == told[-1][1]
    assert (joined.path, joined.rows, joined.rows_before, joined.inputs) == (str(out), 8, 0, 2)
    holds(out, 8)
    with pytest.raises(FileExistsError, match=re.escape("cannot join into a new folder (on_exists: error")):
        ng.concat(parts, out)
    joined = ng.concat([write(tmp_path / "three", 8, 4)], out, on_exists="append")
    assert (joined.rows, joined.rows_before) == (12, 8) and "12" in str(joined)
    holds(out, 12)
    assert ng.concat(parts, out, on_exists="replace").rows == 8
    holds(out, 8)
    texts = ng.concat([part / "text" for part in parts], tmp_path / "texts")
    assert texts.rows == 8 and isinstance(ng.open(tmp_path / "texts"), ng.Ragged)
    assert sorted(os.listdir(tmp_path)) == ["all", "one", "texts", "three", "two"]


def test_concat_says_what_does_not_fit(tmp_path, parts):
    out = tmp_path / "all"
    for options in {"consume": True}, {"axis": 1}:
        with pytest.raises(ng.MismatchError, match="is for files: folders are joined whole, row after row$"):
            ng.concat(parts, out, **options)
    np.save(tmp_path / "rows.npy", np.arange(3))
    with pytest.raises(NotADirectoryError, match="expected a folder, found a file.*rows.npy"):
        ng.concat([*parts, tmp_path / "rows.npy"], out)
    with ng.DatasetAppender(tmp_path / "other") as run:
        run.append({"label": np.zeros(3, "f4")})
    text = f"expected the columns label, text (ragged) as in {parts[0]}, found the columns label"
    with refused(ng.MismatchError, tmp_path / "other", text):
        ng.concat([*parts, tmp_path / "other"], out)
    with pytest.raises(FileNotFoundError, match="cannot open the folder"):
        ng.concat([*parts, tmp_path / "gone"], out)
    held = ng.DatasetAppender(parts[0])
    with pytest.raises(ng.LockedError):
        ng.concat(parts[1:], parts[0], on_exists="append")
    held.close()

    def stop(done, _of):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ng.concat(parts, out, progress=stop)
    assert not out.exists() and not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("on_exists", ["error", "append"])
def test_a_full_disk_leaves_what_was(tmp_path, parts, on_exists):
    out = tmp_path / "all"
    many = write(tmp_path / "many", 5, 3000)
    if on_exists == "append":
        write(out, 0, 5)
    for limit in (100, 1000, 10_000):
        with limited_files(limit), pytest.raises(OSError):
            ng.concat([many], out, on_exists=on_exists)
        if on_exists == "append":
            holds(out, 5)
        else:
            assert not out.exists()
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
    if on_exists == "append":
        ng.concat([many], out, on_exists=on_exists)
        holds(out, 3005)


def test_a_folder_that_is_well(parts):
    folder = parts[0]
    assert ng.is_appendable(folder) and not ng.needs_recovery(folder) and ng.ensure_appendable(folder)
    assert ng.recover(folder).rows == 5
    holds(folder, 5)


def test_headers_without_room(tmp_path, parts):
    folder = parts[0]
    (folder / "label.npy").write_bytes(npy(np.arange(5)))
    assert not ng.is_appendable(folder) and not ng.needs_recovery(folder)
    with pytest.raises(ng.NotAppendableError, match="ensure_appendable"):
        with ng.DatasetAppender(folder) as run:
            run.append({"label": [5], "text": [np.zeros(0, "i8")]})
    assert ng.ensure_appendable(folder) and ng.is_appendable(folder)
    write(folder, 5, 3)
    holds(folder, 8)


def test_columns_of_different_counts(parts):
    folder = parts[0]
    with ng.Appender(folder / "label.npy") as labels:
        labels.append([5])
    assert ng.needs_recovery(folder) and ng.is_appendable(folder), "an append of ours may have left it so"
    with pytest.raises(ng.NeedsRecoveryError, match=r"recover\(path\) cuts what an append left"):
        ng.ensure_appendable(folder)
    done = ng.recover(folder)
    assert done.rows == 5 and [column.cut for column in done.columns] == [1, 0]
    holds(folder, 5)


def test_a_column_that_was_replaced_by_a_shorter_one(parts):
    folder = parts[0]
    np.save(folder / "label.npy", np.arange(2))
    assert ng.needs_recovery(folder) and not ng.is_appendable(folder)
    text = (
        "expected files that go together, found label.npy of 2 rows, text/values.npy of 10 values, text/offsets.npy of 5 "
        'items; the header of label.npy is another program\'s: call recover(path, tail="drop") to go on with the 2 rows that '
        "all have, and lose the others"
    )
    for verb in (ng.recover, ng.DatasetAppender):
        with refused(ng.NeedsRecoveryError, folder, text):
            verb(folder)
    assert len(ng.Ragged(folder / "text")) == 5, "nothing is cut"
    done = ng.recover(folder, tail="drop")
    assert done.rows == 2 and [column.cut for column in done.columns] == [0, 3]
    holds(folder, 2)


def test_an_empty_column_takes_no_other_with_it(parts):
    folder = parts[0]
    np.save(folder / "text" / "values.npy", np.zeros(0, "i8"))
    found = "found label.npy of 5 rows, text/values.npy of 0 values, text/offsets.npy of 5 items; "
    with pytest.raises(ng.NeedsRecoveryError, match=re.escape(found) + ".* the 1 row that all have, and lose the others$"):
        ng.recover(folder)
    assert len(np.load(folder / "label.npy")) == 5 and len(np.load(folder / "text" / "offsets.npy")) == 6
    assert ng.recover(folder, tail="drop").rows == 1


def test_a_missing_file(parts):
    (parts[0] / "text" / "offsets.npy").unlink()
    text = "offsets.npy is missing beside values.npy: without it nothing says where an item begins: put it back"
    with refused(ng.NeedsRecoveryError, parts[0], text):
        ng.DatasetAppender(parts[0])
    for verb in (ng.open, ng.inspect, ng.recover, ng.is_appendable, ng.needs_recovery, ng.ensure_appendable):
        with pytest.raises(FileNotFoundError, match=re.escape(str(parts[0] / "text" / "offsets.npy"))):
            verb(parts[0])
    assert len(np.load(parts[0] / "label.npy")) == 5
    (parts[1] / "text" / "values.npy").unlink()
    text = "values.npy is missing beside offsets.npy, which counts 3 items: put it back"
    with refused(ng.NeedsRecoveryError, parts[1], text):
        ng.DatasetAppender(parts[1])


def test_a_foreign_file(parts):
    folder = parts[0]
    (folder / "notes.txt").write_text("mine")
    (folder / ".hidden.npy").write_text("mine")
    assert list(ng.open(folder).columns) == ["label", "text"], "what is no column is nobody's"
    write(folder, 5, 3)
    (folder / "photo.npy").write_bytes(b"\xff\xd8\xff\xe0 a picture")
    for verb in (ng.open, ng.inspect, ng.recover, ng.DatasetAppender, ng.is_appendable, ng.needs_recovery):
        with pytest.raises(ng.FormatError, match=re.escape(f"{folder}{os.sep}photo.npy: ")):
            verb(folder)
    (folder / "photo.npy").unlink()
    np.save(folder / "text" / "offsets.npy", np.arange(9.0))
    text = "expected offsets: dtype <i8, one axis; found dtype <f8, 1 axes: the file is another's"
    for verb in (ng.open, ng.inspect, ng.recover, ng.DatasetAppender):
        with refused(ng.MismatchError, folder / "text" / "offsets.npy", text):
            verb(folder)


def test_offsets_that_go_down_or_past_the_values(parts):
    text = parts[0] / "text"
    np.save(text / "offsets.npy", np.array([0, 0, 1, 0, 6, 10]))
    found = "item 2 goes from 1 to 0: expected offsets that go up"
    with refused(ng.FormatError, text, f"{found}, to at most 10"):
        ng.open(parts[0])["text"][2]
    with refused(ng.FormatError, parts[0], f"text{os.sep}offsets.npy: {found}"):
        ng.concat(parts, parts[0].parent / "all")
    with refused(ng.FormatError, text, f"{found}, to at most 10"):
        list(ng.open(parts[0]).batches(2))
    np.save(text / "offsets.npy", np.array([0, 0, 1, 3, 6, 11]))
    assert len(ng.open(parts[0])) == 4, "an item exists when the values reach it"
    np.save(text / "offsets.npy", np.array([2, 3]))
    first = "expected offsets that go up from 0, found 2 first: nothing says where items begin"
    for verb in (ng.open, ng.recover):
        with pytest.raises(ng.FormatError, match=re.escape(first) + "$"):
            verb(parts[0])


def test_two_appenders(parts):
    with ng.DatasetAppender(parts[0]):
        for verb in (ng.DatasetAppender, ng.recover, lambda path: ng.RaggedAppender(path / "text")):
            with pytest.raises(ng.LockedError, match="locked by "):
                verb(parts[0])
    holds(parts[0], 5)


def test_a_column_that_would_read_as_items(tmp_path):
    text = "column {}: values.npy and offsets.npy are the files of items of different length: give it another name"
    with ng.DatasetAppender(tmp_path / "run") as run:
        for name in ("values", "offsets"):
            with pytest.raises(ng.MismatchError, match=re.escape(text.format(name)) + "$"):
                run.append({name: [1], "label": [2]})
        run.append({"value": [1], "offset": [2]})
    assert list(ng.open(tmp_path / "run").columns) == ["offset", "value"]


def test_items_whose_offsets_are_gone_are_no_dataset(tmp_path):
    path = tmp_path / "words"
    with ng.RaggedAppender(path, dtype="u1", row_shape=()) as words:
        words.append([1, 2])
    (path / "offsets.npy").unlink()
    for verb in (ng.open, ng.Ragged, ng.recover, ng.inspect, ng.RaggedAppender):
        with pytest.raises((ng.NpyError, OSError), match="offsets.npy"):
            verb(path)
    for verb in (ng.Dataset, ng.DatasetAppender):
        with pytest.raises(ng.MismatchError, match="found one of items of different length: open it as ragged$"):
            verb(path)
