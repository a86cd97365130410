"""`open_sequence`: a file of several np.save calls as a sequence of arrays; np.load on one open file is the oracle."""

import collections.abc
import gc
import io
import multiprocessing
import os
import pickle
import threading
import time
import warnings

import numpy as np
import npygrow as ng
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import add, example, finish, npy, refused, same, says, start

MIXED = [
    np.arange(6, dtype="<i4").reshape(2, 3),
    np.array(2.5),
    np.zeros((0, 4), "f4"),
    np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    example(">U3", (4,)),
    example([("a", "<i2"), (("title", "b"), "<f8", (2,))], (3,)),
    np.zeros((3, 0)),
    np.arange(5, dtype="u1"),
]


def saved(*arrays):
    file = io.BytesIO()
    for array in arrays:
        np.save(file, array)
    return file.getvalue()


def loaded(path):
    """What np.load reads, until it cannot."""
    arrays = []
    with open(path, "rb") as file:
        while True:
            try:
                arrays.append(np.load(file))
            except (EOFError, ValueError):
                return arrays


def agree(sequence, path):
    expected = loaded(path)
    assert len(sequence) == len(expected)
    for got, array in zip(sequence, expected, strict=True):
        same(got[...], array)
        assert got.order == ("F" if array.ndim and array.flags.fnc else "C")


@pytest.fixture
def mixed(path):
    path.write_bytes(saved(*MIXED))
    return ng.open_sequence(path)


def test_arrays_of_all_kinds(mixed, path):
    agree(mixed, path)
    assert mixed.torn is None and mixed.mode == "r" and mixed.path == str(path) and not mixed.closed
    assert repr(mixed) == f"<npygrow.Sequence {str(path)!r}, 8 arrays, mode='r'>"
    assert isinstance(mixed, collections.abc.Reversible) and isinstance(mixed[0], ng.Array)
    # Which promises index and count: of arrays none is equal to another as a whole.
    assert not isinstance(mixed, collections.abc.Sequence) and not hasattr(mixed, "index")
    for i in (0, 3, -1, -8, np.int64(2), True):
        same(mixed[i][...], MIXED[i])
    for got, array in zip(reversed(mixed), reversed(MIXED), strict=True):
        same(got[...], array)


def test_every_slice_is_a_list(mixed):
    for part in (slice(None), slice(2, 5), slice(None, None, -3), slice(-2, 99), slice(5, 2)):
        arrays = mixed[part]
        assert type(arrays) is list and len(arrays) == len(MIXED[part])
        for got, array in zip(arrays, MIXED[part], strict=True):
            same(got[...], array)


@pytest.mark.parametrize("index", [8, -9, 10**30, -(10**30)])
def test_an_index_outside(mixed, path, index):
    with refused(IndexError, path, f"no array {index} among 8$"):
        mixed[index]


@pytest.mark.parametrize("index", [1.0, "1", None, (0, 1)], ids=repr)
def test_an_index_that_is_none(mixed, path, index):
    with refused(TypeError, path, "expected an integer or a slice, found " + type(index).__name__):
        mixed[index]


@given(st.data())
def test_as_np_load_reads(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("sequence") / "arrays.npy"
    dtypes = st.sampled_from(["?", "<f8", ">i2", "S3", "<U2", "M8[s]", "c8"])
    shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
    array = st.builds(example, dtypes, shapes).flatmap(
        lambda array: st.sampled_from("CF").map(lambda order: np.asarray(array, order=order))
    )
    arrays = data.draw(st.lists(array, max_size=6))
    whole = saved(*arrays)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    sequence = ng.open_sequence(path, on_torn="skip")
    agree(sequence, path)
    ends = np.cumsum([0, *(len(saved(array)) for array in arrays)])
    before = int(ends[ends <= cut].max())
    assert (sequence.torn is None) == (cut in ends)
    if sequence.torn:
        assert (sequence.torn.index, sequence.torn.offset) == (len(sequence), before)
        assert sequence.torn.bytes == cut - before
    add(path, whole[cut:])
    assert sequence.refresh() == range(int((ends <= cut).sum()) - 1, len(arrays))
    agree(sequence, path)


def test_a_torn_array_is_told_once_and_can_be_refused_or_skipped(path):
    path.write_bytes(saved(*MIXED[:2]) + saved(MIXED[0])[:140])
    text = "array 2, at offset 288: cut off after 140 of its 152 bytes: an np.save is under way, or was interrupted"
    full = f"{path}: {text}; os.truncate(path, 288) removes it"

    sequence = ng.open_sequence(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(sequence[1][...], MIXED[1])
    with pytest.warns(UserWarning) as told:
        assert len(sequence) == 2 and len(list(sequence)) == 2 and len(sequence[:]) == 2
    assert [str(warning.message) for warning in told] == [full]
    assert told[0].filename == __file__
    with refused(IndexError, path, "no array 2 among 2; array 2, at offset 288: cut off"):
        sequence[2]
    assert sequence.torn == type(sequence.torn)(2, 288, 140, text)
    assert "torn" in repr(sequence)

    strict = ng.open_sequence(path, on_torn="error")
    arrays = iter(strict)
    same(next(arrays)[...], MIXED[0])
    same(next(arrays)[...], MIXED[1])
    for use in (lambda: next(arrays), lambda: len(strict), lambda: strict[-1], lambda: strict[2]):
        with refused(ng.NeedsRecoveryError, path) as caught:
            use()
        assert str(caught.value) == full

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(ng.open_sequence(path, on_torn="skip"))) == 2
    os.truncate(path, 288)
    assert sequence.refresh() == range(2, 2) and sequence.torn is None
    with pytest.raises(ValueError, match="on_torn must be one of"):
        ng.open_sequence(path, on_torn="ignore")


def test_python_objects_are_named_and_end_it(path):
    objects = io.BytesIO()
    np.save(objects, np.array([None, {}]), allow_pickle=True)
    path.write_bytes(saved(MIXED[0]) + objects.getvalue() + saved(MIXED[0]))
    sequence = ng.open_sequence(path, on_torn="error")
    same(sequence[0][...], MIXED[0])
    with refused(ng.FormatError, path, "array 1, at offset 152: .*Python objects.*arrays after it cannot be found"):
        len(sequence)
    path.write_bytes(objects.getvalue())
    with refused(ng.FormatError, path, "objects"):
        ng.open_sequence(path)


@pytest.mark.parametrize("junk, name", [(bytes(64), "zeros"), (pickle.dumps([1]), "a Python pickle"), (b"\n", "text")])
def test_bytes_between_arrays_are_named(path, junk, name):
    path.write_bytes(saved(MIXED[0]) + junk)
    sequence = ng.open_sequence(path, on_torn="error")
    with refused(ng.FormatError, path, f"array 1, at offset 152: expected it, or the end of the file, found {name}"):
        list(sequence)


def test_headers_longer_than_the_limit(path):
    path.write_bytes(saved(MIXED[0]) + npy(MIXED[0], pad=20_000))
    with refused(ng.FormatError, path, "max_header_size=10000: raise it"):
        len(ng.open_sequence(path, on_torn="error"))
    assert len(ng.open_sequence(path, max_header_size=30_000)) == 2


def test_a_growing_file_is_a_sequence_of_one(path):
    with ng.Appender(path) as rows:
        rows.append(MIXED[0])
        sequence = ng.open_sequence(path)
        rows.append(MIXED[0])
        assert len(sequence) == 1 and sequence[0].shape == (4, 3)
        array = sequence[0]
        rows.append(MIXED[0])
        assert array.refresh() == range(4, 6) and sequence.refresh() == range(1, 1)
    add(path, b"tail")
    sequence.refresh()
    assert sequence.torn is None and sequence[0].health == "tail"


def test_an_empty_file_is_a_sequence_of_none(path):
    path.touch()
    sequence = ng.open_sequence(path)
    assert len(sequence) == 0 and list(sequence) == [] and not sequence
    add(path, saved(*MIXED))
    assert len(sequence) == 0 and sequence.refresh() == range(8)
    agree(sequence, path)


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_values_can_be_changed(path, mode):
    path.write_bytes(saved(*MIXED))
    sequence = ng.open_sequence(path, mode)
    sequence[3][0, 1] = 77.0
    if mode == "r+":
        sequence[3].flush()
    assert loaded(path)[3][0, 1] == (77.0 if mode == "r+" else 1.0)
    for got, array in zip(loaded(path)[4:], MIXED[4:], strict=True):
        same(got, array)
    with pytest.raises(ValueError, match="mode must be"):
        ng.open_sequence(path, "w")


def test_closed_is_closed(mixed, path):
    array, arrays = mixed[0], iter(mixed)
    with mixed:
        pass
    mixed.close()
    assert mixed.closed and repr(mixed) == f"<npygrow.Sequence {str(path)!r}, closed>"
    uses = [lambda: mixed[0], lambda: len(mixed), lambda: iter(mixed), lambda: next(arrays), lambda: mixed.torn]
    for use in (*uses, mixed.refresh, mixed.__enter__, lambda: mixed.mode, lambda: pickle.dumps(mixed)):
        with refused(ValueError, path, "closed"):
            use()
    gc.collect()
    same(array[...], MIXED[0])


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_worker_gets_the_sequence(mixed, path, how):
    add(path, saved(MIXED[0]))
    with multiprocessing.get_context(how).Pool(1) as pool:
        assert pool.apply(_sums, (mixed,)) == (8, 15.0, 66.0)
        assert pool.apply(_sums, (mixed[3],)) == (3, 6.0, 38.0)


def _sums(arrays):
    return len(arrays), float(np.sum(arrays[0])), float(np.sum(arrays[-5 if len(arrays) == 8 else -1]))


def test_a_pickle_names_the_file_and_the_arrays(mixed, path, tmp_path):
    data = pickle.dumps(mixed)
    assert len(data) < 400 + len(str(path))
    add(path, saved(MIXED[0]))
    there = pickle.loads(data)
    assert (len(there), there.mode, there.path) == (8, "r", str(path))
    assert there.refresh() == range(8, 9)
    os.replace(path, tmp_path / "old.npy")
    path.write_bytes(saved(*MIXED))
    with refused(ng.MismatchError, path, "replaced"):
        pickle.loads(data)
    with refused(ng.MismatchError, path, "private copy"):
        pickle.dumps(ng.open_sequence(path, "c"))


def test_a_file_that_was_replaced_is_told(mixed, path):
    assert len(mixed) == 8
    path.write_bytes(saved(MIXED[0]))
    with refused(ng.MismatchError, path, "replaced or cut"):
        mixed.refresh()


def test_threads_find_arrays_at_once(path):
    path.write_bytes(saved(*(np.full(3, i) for i in range(500))))
    sequence, wrong = ng.open_sequence(path), []

    def look(step):
        for i in range(0, 500, step):
            if sequence[i][0] != i:
                wrong.append(i)

    threads = [threading.Thread(target=look, args=(step,)) for step in (1, 7, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(sequence) == 500


def test_while_np_save_goes_on(path):
    """Every array is seen once, in order, whole; what is torn at the end is the one on its way."""
    path.touch()
    writer = start(
        """
        with open(args[0], "ab") as file:
            for i in range(300):
                np.save(file, np.full((i % 7 * 1000, 3), i))
                if i % 3 == 0:
                    file.flush()
        """,
        path,
    )
    sequence, seen, deadline = ng.open_sequence(path, on_torn="error"), [], time.monotonic() + 40
    while len(seen) < 300 and time.monotonic() < deadline:
        for i in sequence.refresh():
            array = sequence[i]
            assert array.shape == (i % 7 * 1000, 3) and (array[...] == i).all()
            seen.append(i)
    finish(writer)
    assert seen == list(range(300)) and sequence.refresh() == range(300, 300) and sequence.torn is None


def test_what_refuses_a_sequence_names_this(path):
    path.write_bytes(saved(MIXED[0], MIXED[0]))
    for verb in (ng.Appender, ng.recover, ng.ensure_appendable):
        with refused(ng.FormatError, path, r"several np\.save calls.*open_sequence\(path\)"):
            verb(path)
    says(ng.inspect(path).advice, r"open_sequence\(path\)")
