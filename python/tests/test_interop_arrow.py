"""Arrow's PyCapsule interface: what libraries get, that it is where it lies in the files, and how long it stays."""

import ctypes
import gc
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from support import example, npy, optional, run, same, says

import npygrow as ng


@pytest.fixture
def pa():
    return optional("pyarrow", "what it takes as Arrow's is")


def address(array):
    return np.asarray(array).ctypes.data


def times_mapped(path):
    """How many mappings of the file, or of files in the folder, this process has."""
    with open("/proc/self/maps") as maps:
        return sum(str(path) in line for line in maps)


def words_at(path, items, dtype="u1"):
    with ng.RaggedAppender(path, dtype=dtype) as words:
        words.extend(items)
    return ng.Ragged(path)


def folder_of(path, values, offsets):
    """A ragged folder as NumPy alone writes it, whatever the offsets say."""
    path.mkdir()
    np.save(path / "values.npy", np.asarray(values))
    np.save(path / "offsets.npy", np.asarray(offsets, "i8"))
    return path


# Rows ---------------------------------------------------------------------------------------------------------------

NUMBERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
TIMES = [f"{kind}8[{unit}]" for kind in "Mm" for unit in ("s", "ms", "us", "ns")]


@pytest.mark.parametrize("dtype", NUMBERS + TIMES)
def test_values_are_where_they_lie(path, pa, dtype):
    ng.save(path, example(dtype, (5,)))
    array = ng.open(path)
    arrow = pa.array(array)
    arrow.validate(full=True)
    same(arrow.to_numpy(), array)
    assert arrow.buffers()[1].address == address(array)
    assert arrow.type == pa.from_numpy_dtype(np.dtype(dtype))


@pytest.mark.parametrize("dtype", ["S5", "V5"])
def test_bytes_of_one_size(path, pa, dtype):
    ng.save(path, example(dtype, (5,)))
    array = ng.open(path)
    arrow = pa.array(array)
    arrow.validate(full=True)
    assert arrow.type == pa.binary(5)
    assert b"".join(arrow.to_pylist()) == np.asarray(array).tobytes()
    assert arrow.buffers()[1].address == address(array)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2), (0, 3), (4, 0), (4, 0, 2), (0,), (1, 1, 1, 1)])
def test_rows_are_lists_of_one_size(path, pa, shape):
    ng.save(path, example("f4", shape))
    array = ng.open(path)
    arrow = pa.array(array)
    arrow.validate(full=True)
    assert len(arrow) == shape[0]
    same(np.array(arrow.to_pylist(), "f4").reshape(shape), array)
    if array.size:
        assert arrow.buffers()[-1].address == address(array)


def test_rows_in_fortran_order(path, pa):
    with ng.Appender(path, order="F") as rows:
        rows.append(np.arange(6).reshape(2, 3, order="F"))
    array = ng.open(path)
    arrow = pa.array(array)
    assert arrow.to_pylist() == [[0, 1], [2, 3], [4, 5]]
    assert arrow.buffers()[-1].address == address(array)


@pytest.mark.parametrize("shape", [(0,), (1,), (63,), (64,), (65,), (1000,), (50, 3)])
def test_booleans_become_bits(path, pa, shape):
    array = np.random.default_rng(1).random(shape) < 0.5
    ng.save(path, array)
    arrow = pa.array(ng.open(path))
    arrow.validate(full=True)
    assert arrow.to_pylist() == array.tolist()


def test_any_byte_but_0_is_true(path, pa):
    path.write_bytes(npy(np.zeros(3, bool))[:-3] + b"\0\x07\x80")
    assert pa.array(ng.open(path)).to_pylist() == [False, True, True] == np.load(path).astype("u1").astype(bool).tolist()


def test_dates_that_are_missing_are_null(path, pa):
    dates = np.arange(200).astype("M8[s]")
    dates[[0, 63, 64, 199]] = "NaT"
    ng.save(path, dates)
    array = ng.open(path)
    arrow = pa.array(array)
    arrow.validate(full=True)
    assert arrow.null_count == 4
    assert arrow.equals(pa.array(dates))
    assert arrow.buffers()[1].address == address(array)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(3, ">f8"), ["byte order is not this machine's", r"astype\(\"=f8\"\)"]),
        (np.zeros(3, "<U4"), ["no type for <U4", r"numpy.asarray\(it\)"]),
        (np.zeros(3, "c8"), ["no type for <c8", ".real and .imag"]),
        (np.zeros(3, "g"), ["no type for", "astype"]),
        (np.zeros(3, "M8[D]"), [r"not as <M8\[D\]", r"astype\(\"M8\[s\]\"\)"]),
        (np.zeros(3, "m8[10us]"), [r"not as <m8\[10us\]", r"astype\(\"m8\[s\]\"\)"]),
        (np.zeros(3, [("a", "i4"), ("b", "f8")]), ["each field of a record apart", r"numpy.asarray\(it\)\[\"a\"\]"]),
        (np.zeros(()), ["0-d"]),
    ],
    ids=str,
)
def test_refused(path, array, words):
    np.save(path, array)
    opened = ng.open(path)
    with pytest.raises(ng.MismatchError) as caught:
        opened.__arrow_c_array__()
    says(caught.value, str(path), *words)
    with pytest.raises(ng.MismatchError):
        opened.__arrow_c_schema__()


def test_refused_where_values_are_not_aligned(path):
    path.write_bytes(npy(np.arange(3.0), pad=next(n for n in range(8) if len(npy(np.arange(3.0), pad=n)) % 8 == 3)))
    with pytest.raises(ng.MismatchError) as caught:
        ng.open(path).__arrow_c_array__()
    says(caught.value, "begin at no multiple of 8", r"numpy.array\(it\)")


def test_refused_rows_of_several_axes_in_fortran_order(path):
    with ng.Appender(path, order="F") as rows:
        rows.append(np.zeros((2, 3, 4), order="F"))
    with pytest.raises(ng.MismatchError, match="the other way round: .* numpy.moveaxis"):
        ng.open(path).__arrow_c_array__()


# Items --------------------------------------------------------------------------------------------------------------


def test_items_are_large_lists(tmp_path, pa):
    words = words_at(tmp_path / "words", [[1, 2], [], [3], [4, 5, 6]], "i4")
    arrow = pa.array(words)
    arrow.validate(full=True)
    assert arrow.type == pa.large_list(pa.int32())
    assert arrow.to_pylist() == [[1, 2], [], [3], [4, 5, 6]]
    _, offsets, _, values = arrow.buffers()
    assert (offsets.address, values.address) == (address(words.offsets), address(words.values))


@pytest.mark.parametrize("index", [slice(1, 3), slice(2, None), slice(1, 1), slice(3, 1), slice(1, 2, 5), slice(-1, None)])
def test_slices_of_items(tmp_path, pa, index):
    items = [[1, 2], [], [3], [4, 5, 6]]
    words = words_at(tmp_path / "words", items, "i4")
    arrow = pa.array(words[index])
    arrow.validate(full=True)
    assert arrow.to_pylist() == items[index]
    if arrow:
        assert arrow.buffers()[3].address == address(words.values)
        assert arrow.buffers()[1].address == address(words.offsets) + 8 * range(4)[index].start


def test_slices_with_a_step_are_refused(tmp_path):
    words = words_at(tmp_path / "words", [[1, 2], [], [3], [4, 5, 6]])
    with pytest.raises(ValueError, match=r"take\(range\(0, 4, 2\)\)"):
        words[::2].__arrow_c_array__()


def test_items_of_rows(tmp_path, pa):
    with ng.RaggedAppender(tmp_path / "boxes", dtype="f4", row_shape=(2, 2)) as boxes:
        boxes.extend([np.ones((3, 2, 2)), np.zeros((0, 2, 2)), np.ones((1, 2, 2))])
    boxes = ng.Ragged(tmp_path / "boxes")
    arrow = pa.array(boxes)
    arrow.validate(full=True)
    assert [len(item) for item in arrow.to_pylist()] == [3, 0, 1]
    assert arrow.type.value_type == pa.list_(pa.list_(pa.float32(), 2), 2)
    assert arrow.buffers()[-1].address == address(boxes.values)


@pytest.mark.parametrize("given", [True, False])
def test_no_items(tmp_path, pa, given):
    ng.RaggedAppender(tmp_path / "words", dtype="i4", row_shape=()).close()
    if not given:
        np.save(tmp_path / "words/offsets.npy", np.zeros(0, "i8"))
    arrow = pa.array(ng.Ragged(tmp_path / "words"))
    arrow.validate(full=True)
    assert arrow.to_pylist() == []


def test_text(tmp_path, pa):
    with ng.RaggedAppender(tmp_path / "words") as words:
        for text in ("wächst", "", "語"):
            words.append_text(text)
    words = ng.Ragged(tmp_path / "words")
    assert pa.array(words).type == pa.large_list(pa.uint8())
    arrow = pa.array(words.to_arrow(text=True))
    arrow.validate(full=True)
    assert arrow.type == pa.large_string()
    assert arrow.to_pylist() == ["wächst", "", "語"]
    assert [buffer.address for buffer in arrow.buffers()[1:]] == [address(words.offsets), address(words.values)]
    assert pa.array(words[1:].to_arrow(text=True)).to_pylist() == ["", "語"]
    assert len(words.to_arrow(text=True)) == 3


def test_what_is_no_text_is_refused(tmp_path):
    good, bad = "wächst".encode(), b"\xff"
    halves = folder_of(tmp_path / "halves", np.frombuffer(good, "u1"), [0, 2, len(good)])
    for folder, words in [
        (words_at(tmp_path / "bytes", [good, bad]), ["item 1 is no text in UTF-8"]),
        (ng.Ragged(halves), ["item 0 is no text in UTF-8"]),  # good only as a whole
        (words_at(tmp_path / "numbers", [[1]], "i8"), ["expected items of bytes", "<i8"]),
    ]:
        with pytest.raises(ng.MismatchError) as caught:
            folder.to_arrow(text=True)
        says(caught.value, folder.path, *words)
        folder.to_arrow()


@pytest.mark.parametrize("offsets", [[0, 3, 2, 4], [0, 5, 2, 4], [0, 4, 0], [0, -1, 4]])
def test_offsets_that_lie_are_refused(tmp_path, offsets):
    """A library would read wherever they say."""
    words = ng.Ragged(folder_of(tmp_path / "words", np.arange(4), offsets))
    for lend in (words.to_arrow, words.__arrow_c_array__):
        with pytest.raises(ng.FormatError, match="item 1 goes from|offset"):
            lend()
    with pytest.raises(ng.FormatError):
        words.to_arrow(text=True)
    with pytest.raises(ng.FormatError):
        ng.Dataset(tmp_path).__arrow_c_stream__()


def test_the_type_alone_reads_nothing(tmp_path, dataset, pa):
    """DuckDB asks for it twice before it asks for the data."""
    words = ng.Ragged(folder_of(tmp_path / "words", np.arange(4), [0, 3, 2, 4]))
    assert pa.field(words).type == pa.large_list(pa.int64())
    assert pa.field(words[::2]).type == pa.large_list(pa.int64())
    assert pa.field(dataset["image"]).type == pa.list_(pa.list_(pa.uint8(), 2), 2)
    folder_of(tmp_path / "run/words", np.arange(4), [0, 3, 2, 4])
    assert pa.schema(ng.Dataset(dataset.path)).names[-2:] == ["words", "x"]


def test_a_slice_without_the_bad_item_is_taken(tmp_path, pa):
    words = ng.Ragged(folder_of(tmp_path / "words", np.arange(9), [0, 3, 2, 4, 7]))
    assert pa.array(words[2:]).to_pylist() == [[2, 3], [4, 5, 6]]


# Datasets -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path):
    with ng.DatasetAppender(tmp_path / "run", ragged=["ids", "text"]) as rows:
        rows.append(
            {
                "x": np.arange(3.0),
                "image": np.arange(12, dtype="u1").reshape(3, 2, 2),
                "ok": np.array([True, False, True]),
                "day": np.array(["2020-01-01", "NaT", "2021-01-01"], "M8[us]"),
                "ids": [[1, 2], [], [3]],
                "text": ["a".encode(), "wächst".encode(), b""],
            }
        )
    # Rows that not every column has.
    ng.append(tmp_path / "run/x.npy", np.array([9.0]))
    return ng.Dataset(tmp_path / "run")


def test_a_table(dataset, pa):
    table = pa.table(dataset)
    table.validate(full=True)
    assert table.column_names == list(dataset.columns) == ["day", "ids", "image", "ok", "text", "x"]
    assert table["x"].to_pylist() == [0, 1, 2]
    assert table["ids"].to_pylist() == [[1, 2], [], [3]]
    assert table["image"].to_pylist() == dataset["image"][:].tolist()
    assert table["ok"].to_pylist() == [True, False, True]
    assert table["day"].null_count == 1
    assert table["x"].chunk(0).buffers()[1].address == address(dataset["x"])
    assert table["ids"].chunk(0).buffers()[3].address == address(dataset["ids"].values)
    assert pa.schema(dataset) == table.schema


def test_a_table_with_text(dataset, pa):
    for text in ("text", ["text"], iter(["text"])):
        table = pa.table(dataset.to_arrow(text=text))
        assert table["text"].to_pylist() == ["a", "wächst", ""]
    with pytest.raises(KeyError, match="no column 'texts' among day, ids"):
        dataset.to_arrow(text="texts")
    with pytest.raises(ng.MismatchError, match="x.npy: expected items of bytes"):
        dataset.to_arrow(text="x")


def test_columns_that_are_chosen(dataset, pa):
    table = pa.table({"words": dataset["text"].to_arrow(text=True), "x": dataset["x"], "ids": dataset["ids"]})
    assert table.to_pylist()[1] == {"words": "wächst", "x": 1.0, "ids": []}


def test_a_column_that_is_refused_is_named(dataset):
    ng.save(f"{dataset.path}/big.npy", np.zeros(3, ">i4"))
    with pytest.raises(ng.MismatchError, match=r"run.big\.npy: .*byte order"):
        ng.Dataset(dataset.path).__arrow_c_stream__()


def test_polars(dataset):
    pl = optional("polars", "what it takes as Arrow's is")
    frame = pl.DataFrame(dataset.to_arrow(text="text"))
    assert frame["text"].to_list() == ["a", "wächst", ""]
    assert frame["ids"].to_list() == [[1, 2], [], [3]]
    assert frame.filter("ok")["x"].to_list() == [0, 2]
    assert pl.DataFrame(dataset).shape == (3, 6)
    chosen = pl.DataFrame({"x": dataset["x"], "text": dataset["text"].to_arrow(text=True), "ids": dataset["ids"]})
    assert chosen["text"].to_list() == ["a", "wächst", ""]
    same(pl.Series(dataset["image"]).to_numpy(), dataset["image"])
    assert pl.Series("x", dataset["x"]).to_numpy().ctypes.data == address(dataset["x"])


def test_duckdb(dataset):
    duckdb = optional("duckdb", "what it takes as Arrow's is")
    assert duckdb.sql("select sum(x), count(day), count(*) from dataset where ok").fetchall() == [(2.0, 2, 2)]
    assert duckdb.sql("select ids, image[2] from dataset").fetchall()[0] == ([1, 2], (2, 3))
    texts = dataset.to_arrow(text="text")  # noqa: F841
    assert duckdb.sql("select upper(text) from texts order by x").fetchall() == [("A",), ("WÄCHST",), ("",)]


# How long it stays --------------------------------------------------------------------------------------------------


def test_stays_after_closing_and_growing(path, pa):
    ng.save(path, np.arange(5))
    array = ng.open(path)
    arrow = pa.array(array)
    ng.append(path, np.arange(5))
    array.refresh()
    array.close()
    del array
    gc.collect()
    assert times_mapped(path) == 1
    assert arrow.to_pylist() == [0, 1, 2, 3, 4]
    part = arrow[3:]
    del arrow
    gc.collect()
    assert part.to_pylist() == [3, 4]
    del part
    gc.collect()
    assert times_mapped(path) == 0


def test_stays_as_long_as_one_column(dataset, pa):
    path = dataset.path
    column = pa.table(dataset)["ids"]
    dataset.close()
    gc.collect()
    assert times_mapped(path) >= 2
    assert column.to_pylist() == [[1, 2], [], [3]]
    del column
    gc.collect()
    assert times_mapped(path) == 0


def test_is_released_by_another_thread(path, pa):
    ng.save(path, np.arange(1000))
    for _ in range(20):
        held = [pa.array(ng.open(path)) for _ in range(5)] + [ng.open(path).__arrow_c_array__() for _ in range(5)]
        thread = threading.Thread(target=held.clear)
        thread.start()
        thread.join()
    assert times_mapped(path) == 0


def test_what_nobody_takes_is_released(dataset):
    path = dataset.path
    capsules = [dataset.__arrow_c_stream__(), dataset["x"].__arrow_c_array__(), dataset["ids"].__arrow_c_array__()]
    capsules += [dataset.to_arrow().__arrow_c_array__(), dataset.__arrow_c_schema__()]
    dataset.close()
    assert times_mapped(path) > 0
    del capsules
    gc.collect()
    assert times_mapped(path) == 0


def test_closed(dataset):
    array, items = dataset["x"], dataset["ids"]
    for closed in (dataset, array, items):
        closed.close()
        with pytest.raises(ValueError, match="closed"):
            closed.__arrow_c_schema__()


def test_is_released_when_python_ends(path):
    optional("pyarrow", "what it holds when Python ends is")
    ng.save(path, np.arange(5))
    assert run("import pyarrow\nheld = pyarrow.array(ng.open(args[0]))\nprint(len(held))", path) == "5\n"


# The interface itself, without any library ---------------------------------------------------------------------------


class ArrowArray(ctypes.Structure):
    pass


Release = ctypes.CFUNCTYPE(None, ctypes.POINTER(ArrowArray))
ArrowArray._fields_ = [
    *[(name, ctypes.c_int64) for name in ("length", "null_count", "offset", "n_buffers", "n_children")],
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(ArrowArray))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]


class ArrowStream(ctypes.Structure):
    _fields_ = [
        ("get_schema", ctypes.c_void_p),
        ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ArrowArray))),
        ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)),
        ("release", ctypes.c_void_p),
        ("private_data", ctypes.c_void_p),
    ]


def pointed(capsule, name):
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get(capsule, name)


def taken(source):
    """As the interface has it: the struct is copied, and the one it was copied from marked as released."""
    own = ArrowArray()
    ctypes.memmove(ctypes.byref(own), ctypes.byref(source), ctypes.sizeof(own))
    source.release = None
    return own


def released(array):
    Release(array.release)(ctypes.byref(array))
    assert array.release is None


@contextmanager
def mappings_end(path):
    assert times_mapped(path) == 0
    yield
    gc.collect()
    assert times_mapped(path) == 0


def test_a_child_outlives_its_parent(tmp_path):
    words_at(tmp_path / "words", [[1, 2], [3]], "i4").close()
    with mappings_end(tmp_path):
        words = ng.Ragged(tmp_path / "words")
        _, capsule = words.__arrow_c_array__()
        words.close()
        parent = taken(ArrowArray.from_address(pointed(capsule, b"arrow_array")))
        del capsule
        assert (parent.length, parent.n_buffers, parent.n_children, parent.offset) == (2, 2, 1, 0)
        child = taken(parent.children[0].contents)
        released(parent)
        assert times_mapped(tmp_path) > 0
        assert (ctypes.c_int32 * 3).from_address(child.buffers[1])[:] == [1, 2, 3]
        released(child)


def test_a_stream_gives_its_array_once(dataset):
    path = dataset.path
    capsule = dataset.__arrow_c_stream__()
    dataset.close()
    address = pointed(capsule, b"arrow_array_stream")
    stream, array, end = ArrowStream.from_address(address), ArrowArray(), ArrowArray()
    assert stream.get_next(address, ctypes.byref(array)) == 0
    assert (array.length, array.n_children, array.n_buffers, array.buffers[0]) == (3, 6, 1, None)
    for _ in range(2):
        assert stream.get_next(address, ctypes.byref(end)) == 0
        assert end.release is None
    assert stream.get_last_error(address) is None
    del capsule
    gc.collect()
    assert times_mapped(path) > 0
    released(array)
    assert times_mapped(path) == 0


def test_an_empty_array_has_addresses(path):
    ng.Appender(path, dtype="f8", row_shape=()).close()
    _, capsule = ng.open(path).__arrow_c_array__()
    array = ArrowArray.from_address(pointed(capsule, b"arrow_array"))
    assert array.length == 0
    assert array.buffers[1] and array.buffers[1] % 64 == 0
