"""awkward, dask, xarray and torch: what they make of arrays and folders, and that it is where it lies in the files."""

import pickle
import sys
import warnings

import numpy as np
import pytest
from support import example, optional, run, same

import npygrow as ng


@pytest.fixture
def words(tmp_path):
    with ng.RaggedAppender(tmp_path / "words", dtype="i4") as words:
        words.extend([[1, 2], [], [3], [4, 5, 6]])
    return ng.Ragged(tmp_path / "words")


def dataset_at(path):
    with ng.DatasetAppender(path, ragged=["ids", "text"]) as rows:
        rows.append(
            {
                "image": np.arange(12, dtype="u1").reshape(3, 2, 2),
                "x": np.arange(3.0),
                "ids": [[1, 2], [], [3]],
                "text": [b"a", "wächst".encode(), b""],
            }
        )
    return ng.Dataset(path)


# awkward ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ak():
    return optional("awkward", "what it makes of folders is")


def test_awkward_items(words, ak):
    array = words.to_awkward()
    assert ak.is_valid(array)
    assert array.to_list() == [[1, 2], [], [3], [4, 5, 6]]
    assert str(array.type) == "4 * var * int32"
    assert np.shares_memory(array.layout.content.data, words.values)
    assert np.shares_memory(array.layout.offsets.data, words.offsets)
    words.close()
    assert ak.sum(array, axis=1).to_list() == [3, 0, 3, 15]


@pytest.mark.parametrize("index", [slice(1, 3), slice(None, None, 2), slice(None, None, -1), slice(3, 0, -2), slice(1, 1)])
def test_awkward_slices(words, ak, index):
    array = words[index].to_awkward()
    assert ak.is_valid(array)
    assert array.to_list() == [[1, 2], [], [3], [4, 5, 6]][index]
    assert np.shares_memory(array.layout.content.data, words.values)


def test_awkward_items_of_rows(tmp_path, ak):
    with ng.RaggedAppender(tmp_path / "boxes", dtype="f4", row_shape=(2, 2)) as boxes:
        boxes.extend([np.ones((3, 2, 2)), np.zeros((0, 2, 2))])
    boxes = ng.Ragged(tmp_path / "boxes")
    array = boxes.to_awkward()
    assert str(array.type) == "2 * var * 2 * 2 * float32"
    assert ak.is_valid(array)
    assert [len(item) for item in array] == [3, 0]


def test_awkward_dataset(tmp_path, ak):
    dataset_at(tmp_path / "run").close()
    ng.append(tmp_path / "run/x.npy", np.array([9.0]))  # a row that not every column has
    dataset = ng.Dataset(tmp_path / "run")
    array = dataset.to_awkward(text="text")
    assert ak.is_valid(array)
    assert str(array.type) == "3 * {ids: var * int64, image: 2 * 2 * uint8, text: string, x: float64}"
    assert array["text"].to_list() == ["a", "wächst", ""]
    assert array["image"].to_list() == dataset["image"][:].tolist()
    assert np.shares_memory(array.layout.content("x").data, np.asarray(dataset["x"]))
    assert dataset.to_awkward()["text"].to_list()[0] == [97]
    with pytest.raises(KeyError, match="no column 'texts'"):
        dataset.to_awkward(text="texts")
    with pytest.raises(ng.MismatchError, match="x.npy: expected items of bytes"):
        dataset.to_awkward(text=["x"])
    with pytest.raises(ng.MismatchError, match="ids: expected items of bytes"):
        dataset.to_awkward(text=["ids"])


@pytest.mark.parametrize("offsets", [[0, 3, 2, 4], [0, 4, 0], [0, -1, 4]])
def test_awkward_refuses_offsets_that_lie(tmp_path, ak, offsets):
    (tmp_path / "words").mkdir()
    np.save(tmp_path / "words/values.npy", np.arange(4))
    np.save(tmp_path / "words/offsets.npy", np.array(offsets))
    words = ng.Ragged(tmp_path / "words")
    for items in (words, words[::2], words[::-1]):
        if len(items) > 1:
            with pytest.raises(ng.FormatError):
                items.to_awkward()


def test_awkward_names_what_it_does_not_take(tmp_path, ak):
    ng.save(tmp_path / "x.npy", np.zeros(3, ">f8"))
    with pytest.raises(TypeError) as caught:
        ng.Dataset(tmp_path).to_awkward()
    assert f"{tmp_path}/x.npy" in "\n".join(caught.value.__notes__)


def test_awkward_is_asked_for(words, monkeypatch):
    monkeypatch.setitem(sys.modules, "awkward", None)
    with pytest.raises(ImportError, match="pip install awkward"):
        words.to_awkward()


# dask ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def dask():
    optional("dask.array", "what it makes of arrays is")
    import dask

    return dask


def test_dask_array(path, dask):
    ng.save(path, example("f8", (100, 3)))
    array = ng.open(path)
    lazy = dask.array.from_array(array, chunks=(30, -1))
    assert (lazy.shape, lazy.dtype) == (array.shape, array.dtype)
    same((lazy * 2).sum(axis=0).compute(), np.load(path).sum(axis=0) * 2)
    same(lazy[[5, 99, 5]].compute(scheduler="sync"), np.load(path)[[5, 99, 5]])


@pytest.mark.parametrize("order", ["C", "F"])
def test_dask_chunks_go_along_the_axis_that_grows(path, dask, order):
    row = (64, 1 << 10)
    with ng.Appender(path, dtype="u1", row_shape=row, order=order) as rows:
        rows.append(np.ones((5000, *row) if order == "C" else (*row, 5000), "u1", order=order))
    array = ng.open(path)
    axis = 0 if order == "C" else 2
    assert array.chunks == ((64, *row) if order == "C" else (*row, 64))  # 4 MiB
    chunks = dask.array.from_array(array).chunks
    assert [len(sizes) for i, sizes in enumerate(chunks) if i != axis] == [1, 1]
    most = dask.utils.parse_bytes(dask.config.get("array.chunk-size"))
    assert 1 < len(chunks[axis]) < 10
    assert max(chunks[axis]) * 64 << 10 <= 1.25 * most
    assert all(size % 64 == 0 for size in chunks[axis][:-1])


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [((7,), (7,)), ((0, 3), (1, 3)), ((3, 0), (3, 0)), ((), ()), ((2, 5 << 20), (1, 5 << 20)), ((9, 3 << 20), (1, 3 << 20))],
)
def test_chunks_are_rows_of_4_mib(path, dask, shape, chunks):
    np.save(path, np.zeros(shape, "u1"))
    array = ng.open(path)
    assert array.chunks == chunks
    same(dask.array.from_array(array).compute(), np.load(path))


def test_dask_tokens_of_arrays(path, tmp_path, dask, monkeypatch):
    token = dask.base.tokenize
    ng.save(path, np.arange(5))
    first, second = ng.open(path), ng.open(path)
    assert token(first) == token(second) == token(pickle.loads(pickle.dumps(first)))
    monkeypatch.chdir(tmp_path)
    assert token(ng.open(path.name)) == token(first)
    ng.append(path, np.arange(5))
    before = token(first)
    assert token(first) == token(second)
    first.refresh()
    assert token(first) != before == token(second)
    second.refresh()
    assert token(first) == token(second)
    # Another file of the same name, and one with the same rows.
    ng.save(path, np.arange(10))
    ng.save(tmp_path / "other.npy", np.arange(10))
    tokens = {token(array) for array in (first, ng.open(path), ng.open(tmp_path / "other.npy"), ng.open(path, "r+"))}
    assert len(tokens) == 4


def test_dask_tokens_of_private_copies_all_differ(path, dask):
    ng.save(path, np.arange(5))
    array = ng.open(path, "c")
    lazy = dask.array.from_array(array)
    array[0] = 7
    assert lazy.name != dask.array.from_array(array).name
    assert dask.base.tokenize(array) != dask.base.tokenize(ng.open(path, "c"))


def test_dask_tokens_of_folders(tmp_path, words, dask):
    token = dask.base.tokenize
    again = ng.Ragged(words.path)
    assert token(words) == token(again)
    assert len({token(words), token(words[1:]), token(words[:-1]), token(words[::2])}) == 4
    assert token(words[1:]) == token(again[1:])
    with ng.RaggedAppender(words.path) as more:
        more.append([7])
    again.refresh()
    assert token(words) != token(again)

    dataset = dataset_at(tmp_path / "run")
    again = ng.Dataset(tmp_path / "run")
    assert token(dataset) == token(again) == token(pickle.loads(pickle.dumps(again)))
    with ng.DatasetAppender(tmp_path / "run") as rows:
        rows.append({"image": np.zeros((1, 2, 2), "u1"), "x": [1.0], "ids": [[1]], "text": [b""]})
    assert token(dataset) == token(again)
    again.refresh()
    assert token(dataset) != token(again)


def test_dask_sends_names_to_other_processes(path, dask):
    ng.save(path, np.ones((1000, 1000), "i8"))
    assert len(pickle.dumps(dask.array.from_array(ng.open(path), chunks=(250, -1)).dask)) < 8000
    program = """
    import dask.array as da
    if __name__ == "__main__":
        rows = da.from_array(ng.open(args[0]), chunks=(250, -1))
        print(rows.sum().compute(scheduler="processes", num_workers=2))
    """
    assert run(program, path) == "1000000\n"


# xarray -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def xr():
    return optional("xarray", "what it makes of arrays is")


def test_xarray_maps(path, xr):
    ng.save(path, example("f4", (4, 3)))
    array = ng.open(path)
    shown = xr.DataArray(array, dims=("time", "axis"))
    assert np.shares_memory(shown.values, np.asarray(array))
    assert np.shares_memory(shown[1:3].values, np.asarray(array))
    same(shown.mean("time").values, np.load(path).mean(axis=0))
    # The rows it has are those of that moment.
    ng.append(path, example("f4", (2, 3)))
    array.refresh()
    assert (shown.sizes["time"], len(array)) == (4, 6)


def test_xarray_of_columns(tmp_path, xr):
    dataset = dataset_at(tmp_path / "run")
    run = xr.Dataset({"image": (("row", "y", "x"), dataset["image"]), "value": ("row", dataset["x"])})
    assert dict(run.sizes) == {"row": 3, "y": 2, "x": 2}
    assert np.shares_memory(run["value"].values, np.asarray(dataset["x"]))


def test_xarray_over_dask(path, xr, dask):
    ng.save(path, np.ones((100, 3)))
    lazy = xr.DataArray(dask.array.from_array(ng.open(path), chunks=(30, -1)), dims=("time", "axis"))
    assert lazy.chunks == ((30, 30, 30, 10), (3,))
    assert lazy.sum().compute().item() == 300


# torch --------------------------------------------------------------------------------------------------------------


def test_torch_shares_a_view(path):
    torch = optional("torch", "a tensor over a mapping is")
    ng.save(path, np.arange(6.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mode in ("c", "r+"):
            array = ng.open(path, mode)
            tensor = torch.from_numpy(array[2:])
            assert tensor.data_ptr() == array[2:].ctypes.data
            tensor[0] = 7
            assert array[2] == 7
            array.close()
            assert tensor.tolist() == [7, 3, 4, 5]
    with pytest.warns(UserWarning, match="not writable"):
        torch.from_numpy(ng.open(path)[2:])
