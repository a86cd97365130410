"""Numbers that no machine word holds are refused in our own words, or mean what they say."""

import numpy as np
import npygrow as ng
import pytest

OUTSIDE = [-1, -(2**70), 2**64, 2**70]


@pytest.fixture
def folders(tmp_path):
    """A file, a file of two arrays, a folder of items, a folder of columns."""
    rows, several, items, columns = (tmp_path / name for name in ("rows.npy", "several.npy", "items", "columns"))
    np.save(rows, np.arange(3))
    with open(several, "wb") as file:
        np.save(file, np.arange(3))
        np.save(file, np.arange(3))
    items.mkdir()
    np.save(items / "values.npy", np.arange(3))
    np.save(items / "offsets.npy", np.array([0, 1, 3]))
    columns.mkdir()
    np.save(columns / "x.npy", np.arange(3))
    return rows, several, items, columns


@pytest.mark.parametrize("number", OUTSIDE)
def test_sizes_of_headers(folders, number):
    rows, several, items, columns = folders
    calls = [(ng.open, rows), (ng.open_sequence, several), (ng.Appender, rows), (ng.inspect, rows), (ng.recover, rows)]
    calls += [(ng.ensure_appendable, rows), (ng.is_appendable, rows), (ng.needs_recovery, rows), (ng.inspect, items)]
    calls += [(ng.open, items), (ng.Ragged, items), (ng.RaggedAppender, items)]
    calls += [(ng.open, columns), (ng.Dataset, columns), (ng.DatasetAppender, columns)]
    calls += [(lambda path, **options: ng.concat([path], path.parent / "all.npy", **options), rows)]
    for call, path in calls:
        with pytest.raises(ValueError) as caught:
            call(path, max_header_size=number)
        assert str(caught.value) == f"max_header_size must be bytes, 0 to 2**64 - 1, not {number}"


@pytest.mark.parametrize("number", OUTSIDE)
def test_numbers_of_bytes_and_rows(folders, number):
    rows, _, items, columns = folders
    text = f"expected a number of bytes or rows, 0 to {2**64 - 1}, found {number}"
    for kind, path in ((ng.Appender, rows), (ng.RaggedAppender, items), (ng.DatasetAppender, columns)):
        with kind(path) as appender, pytest.raises(ValueError) as caught:
            appender.truncate(number)
        assert str(caught.value) == text
        with pytest.raises(ValueError) as caught:
            kind(path, buffering=number)
        assert str(caught.value) == text
    with pytest.raises(ValueError) as caught:
        ng.Appender(rows, background=True, max_queue=number)
    assert str(caught.value) == text


def test_seconds(folders):
    for parameter in ("lock_timeout", "max_delay"):
        with pytest.raises(ValueError) as caught:
            ng.Appender(folders[0], background=True, **{parameter: -1})
        assert str(caught.value) == f"{parameter} must be seconds, 0 or more, not -1"


@pytest.mark.parametrize("number", OUTSIDE)
def test_folders(folders, number):
    _, _, items, columns = folders
    for path in (items, columns):
        with ng.open(path) as folder:
            if number < 0:
                with pytest.raises(ValueError) as caught:
                    folder.batches(number)
                assert str(caught.value) == f"{path}: expected batches of one row or more, found {number}"
            else:
                assert len(folder.batches(number)) == 1
            with pytest.raises(ValueError) as caught:
                folder.batches(2, shuffle=True, seed=number)
            assert str(caught.value) == f"{path}: expected a seed from 0 to 2**64 - 1, found {number}"
    if number < 0:
        with pytest.raises(ValueError) as caught:
            ng.open(items).padded(length=number)
        assert str(caught.value) == f"{items}: expected a length of 0 or more, found {number}"


def test_positions(folders):
    rows, _, items, columns = folders
    for path in (rows, items, columns):
        for start, expected in ((2**70, 0), (-(2**70), len(ng.open(path)))):
            assert sum(map(rows_in, ng.open(path).follow(0, start=start))) == expected
    for number in (2**70, -(2**70)):
        for take in (ng.open(rows).take, ng.open(rows).__getitems__):
            with pytest.raises(IndexError) as caught:
                take([0, number])
            assert str(caught.value) == f"{rows}: expected numbers of its 3 rows, found one of more than 64 bits"
        with ng.Appender(rows) as appender, pytest.raises(ValueError) as caught:
            appender.append_from(np.arange(3), start=number)
        assert str(caught.value) == f"start must be a row of the source or its end, not {number}"
        with pytest.raises(ng.MismatchError, match="axis"):
            ng.concat([rows], rows.parent / "all.npy", axis=number)


def rows_in(block):
    return len(block["x"]) if isinstance(block, dict) else len(block)
