"""Rows out of the libraries that people have their data in: these say what must come out."""

import threading
import warnings

import numpy as np
import pytest
from support import NUMPY2, example, holds, optional, refused, run, same, skip

import npygrow as ng
from npygrow import _source

MIB = 1 << 20


def chunked(library, array, chunks, folder):
    if library == "h5py":
        h5py = optional("h5py", "HDF5 datasets as sources")
        return h5py.File(folder / "a.h5", "w").create_dataset("a", data=array, chunks=chunks)
    if library == "zarr":
        zarr = optional("zarr", "Zarr arrays as sources")
        made = zarr.open(str(folder / "a.zarr"), mode="w", shape=array.shape, chunks=chunks, dtype=array.dtype)
        made[...] = array
        return made
    optional("dask", "dask arrays as sources")
    import dask.array

    return dask.array.from_array(array, chunks=chunks)


@pytest.mark.parametrize("library", ["h5py", "zarr", "dask"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_libraries(path, tmp_path, monkeypatch, library, order):
    monkeypatch.setattr(_source, "BLOCK", 1000)
    shape, chunks = ((101, 3, 2), (7, 2, 2)) if order == "C" else ((2, 3, 101), (2, 2, 7))
    array = example("f4", shape)
    source, seen = chunked(library, array, chunks, tmp_path), []
    with ng.Appender(path, order=order) as appender:
        assert appender.append_from(source, progress=lambda *done: seen.append(done)) == range(101)
        assert appender.append_from(source, start=100) == range(101, 102)
    assert seen == [(35, 101), (70, 101), (101, 101)]
    axis = 0 if order == "C" else -1
    holds(path, array, array.take([100], axis), axis=axis)
    assert np.load(path).flags.fnc == (order == "F")


def test_dask_computes_each_chunk_once(path, monkeypatch):
    optional("dask", "that dask computes each chunk once")
    import dask.array

    monkeypatch.setattr(_source, "BLOCK", 160)
    computed, lock = [], threading.Lock()

    def count(block, block_info=None):
        if block_info:
            with lock:
                computed.append(block_info[0]["chunk-location"])
        return block + 1

    array = np.arange(100).reshape(50, 2)
    source = dask.array.from_array(array, chunks=((1, 9, 30, 3, 3, 4), (1, 1))).map_blocks(count, dtype="i8")
    computed.clear()
    ng.append_from(path, source)
    assert sorted(computed) == [(i, j) for i in range(6) for j in range(2)]
    holds(path, array + 1)


def test_a_dask_array_of_unknown_shape(path):
    optional("dask", "a dask array of unknown shape")
    import dask.array

    some = dask.array.arange(10, chunks=3)
    source = some[some > 4]
    with refused(ng.MismatchError, path, "does not know its shape", r"compute_chunk_sizes\(\)"):
        ng.append_from(path, source)
    ng.append_from(path, source.compute_chunk_sizes())
    holds(path, np.arange(5, 10))


@pytest.mark.parametrize("library", ["h5py", "zarr"])
def test_what_was_never_written_has_the_fill_value(path, tmp_path, library):
    if library == "h5py":
        made = (
            optional("h5py", "fill values")
            .File(tmp_path / "a.h5", "w")
            .create_dataset("a", (10, 2), "i2", chunks=(3, 2), fillvalue=7)
        )
    else:
        made = optional("zarr", "fill values").open(
            str(tmp_path / "a.zarr"), mode="w", shape=(10, 2), chunks=(3, 2), dtype="i2", fill_value=7
        )
    made[4:5] = 1
    ng.append_from(path, made)
    expected = np.full((10, 2), 7, "i2")
    expected[4] = 1
    holds(path, expected)


def test_zarr_shards(path, tmp_path):
    zarr = optional("zarr", "Zarr shards")
    if not hasattr(zarr, "create_array"):
        skip(f"zarr {zarr.__version__} has no shards: they are not tested")
    array = example("f4", (20, 3))
    made = zarr.create_array(str(tmp_path / "a.zarr"), shape=(20, 3), chunks=(2, 3), shards=(6, 3), dtype="f4")
    made[...] = array
    ng.append_from(path, made)
    holds(path, array)


HELD = {
    "bool": ("?", None),
    "big-endian": (">i4", None),
    "half": ("f2", None),
    "complex": ("c8", None),
    "compound": ([("t", ">u4"), ("xyz", "f4", (3,))], None),
    "bytes": ("S5", None),
    "compound with bytes": ([("t", "i4"), ("name", "S5")], None),
    "array type": ("f4", (2, 3)),
}


@pytest.mark.parametrize("name", HELD)
def test_dtypes_of_hdf5(path, tmp_path, name):
    h5py = optional("h5py", "HDF5's dtypes")
    dtype, inner = HELD[name]
    array = example(dtype, (9, *(inner or ())))
    made = h5py.File(tmp_path / "a.h5", "w").create_dataset("a", (9,), np.dtype((dtype, inner)) if inner else dtype)
    made[...] = array
    with warnings.catch_warnings(action="error"):
        ng.append_from(path, made)
    holds(path, array)


def test_enums_are_their_numbers(path, tmp_path):
    h5py = optional("h5py", "HDF5 enums")
    colours = h5py.enum_dtype({"red": 1, "blue": 5}, "i2")
    made = h5py.File(tmp_path / "a.h5", "w").create_dataset("a", data=np.array([5, 1, 1], "i2"), dtype=colours)
    with pytest.warns(UserWarning, match="metadata on a dtype is not saved"):
        ng.append_from(path, made)
    ng.append_from(path, made, start=2)
    holds(path, np.array([5, 1, 1, 1], "i2"))


def test_a_cast_that_fits_is_made(path, tmp_path):
    h5py = optional("h5py", "a cast out of HDF5")
    made = h5py.File(tmp_path / "a.h5", "w").create_dataset("a", data=np.arange(300.0), dtype=">f8", chunks=(7,))
    with ng.Appender(path, dtype="f4", row_shape=()) as appender:
        appender.append_from(made)
    holds(path, np.arange(300, dtype="f4"))


def objects(tmp_path):
    """Datasets that are no arrays of values, and what is said of them."""
    h5py = optional("h5py", "refusals of HDF5's dtypes")
    file = h5py.File(tmp_path / "a.h5", "w")
    strings, ragged = h5py.string_dtype(), h5py.vlen_dtype("f4")
    any_length = (
        "expected strings of one size, found strings of any length (dtype {}): open the Appender with a dtype for the "
        "longest, such as 'S20' or 'U20', and append_from an iterator of arrays of strings"
    )
    record = np.dtype([("t", "i4"), ("name", strings)])
    one = "expected one or more rows, found "
    yield file.create_dataset("strings", (3,), strings), any_length.format("object")
    yield file.create_dataset("records", (3,), record), any_length.format("[('t', '<i4'), ('name', 'O')]")
    yield (
        file.create_dataset("ragged", (3,), ragged),
        "expected rows of one shape, found rows of any length (of float32), which .npy cannot hold: append the values to "
        "one file and the lengths to another",
    )
    yield (
        file.create_dataset("refs", (3,), h5py.ref_dtype),
        "expected values, found references (dtype object), which only their own HDF5 file knows",
    )
    yield file.create_dataset("scalar", data=3.0), one + "a single value (0-d): append [value]"
    yield file.create_dataset("empty", data=h5py.Empty("f4")), one + "a dataset without a shape (h5py.Empty)"
    yield (
        file,
        "expected an array, found a File of several ('empty', 'ragged', 'records', 'refs', 'scalar'): pick one",
    )


def test_what_no_file_can_hold(path, tmp_path):
    for source, text in objects(tmp_path):
        with pytest.raises(ng.MismatchError) as caught:
            ng.append_from(path, source)
        assert str(caught.value) == f"{path}: {text}"
        assert not hasattr(caught.value, "__notes__") and not path.exists()


def test_strings_of_any_length_by_way_of_an_iterator(path, tmp_path):
    h5py = optional("h5py", "HDF5's strings")
    words = [f"wört {i}" * (i % 3) for i in range(50)]
    made = h5py.File(tmp_path / "a.h5", "w").create_dataset("a", data=words, dtype=h5py.string_dtype())
    with ng.Appender(path, dtype="U20", row_shape=()) as appender:
        appender.append_from(made.asstr()[i : i + 8].astype("U") for i in range(0, 50, 8))
    holds(path, np.array(words, "U20"))


def test_zarr_strings_and_groups(path, tmp_path):
    zarr = optional("zarr", "refusals of Zarr's dtypes")
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    with refused(ng.MismatchError, path, "found a Group of several"):
        ng.append_from(path, group)
    if not NUMPY2:
        skip("this NumPy has no StringDType: Zarr's strings are not tested")
    made = group.create_array("s", shape=(3,), chunks=(2,), dtype=str)
    with refused(ng.MismatchError, path, r"strings of any length \(dtype StringDType\(\)\)"):
        ng.append_from(path, made)


def test_masks_of_dask(path):
    optional("dask", "dask's masks")
    import dask.array

    masked = dask.array.ma.masked_equal(dask.array.arange(10, chunks=5), 3)
    for append, given in ((ng.append_from, masked), (ng.append_from, iter([masked])), (ng.append, masked)):
        with refused(ng.MismatchError, path) as caught:
            append(path, given)
        text = "a masked array has values that .npy cannot hold: append dask.array.ma.filled(rows, value)"
        assert str(caught.value) == f"{path}: {text}"
    ng.append(path, dask.array.ma.filled(masked, 7))
    ng.append(path, dask.array.ma.masked_equal(dask.array.arange(3, chunks=2), 3))  # none is masked
    same(np.load(path), np.array([0, 1, 2, 7, 4, 5, 6, 7, 8, 9, 0, 1, 2]))


def test_a_tensor(path):
    torch = optional("torch", "a tensor as a source")
    ng.append_from(path, torch.arange(12).reshape(4, 3))
    holds(path, np.arange(12).reshape(4, 3))


LARGE = {  # 256 MiB each, made by the library itself; what it takes to read a row of chunks, in MiB
    "h5py": ("h5py.File(name, 'w').create_dataset('a', (1 << 14, 1 << 12), 'f4')", 24),
    "h5py, chunks of 1 MiB": (
        "h5py.File(name, 'w').create_dataset('a', (1 << 14, 1 << 12), 'f4', chunks=(64, 1 << 12))",
        24,
    ),
    "h5py, gzip": (
        "h5py.File(name, 'w').create_dataset('a', (1 << 14, 1 << 12), 'f4', chunks=(100, 1 << 11), compression=1)",
        24,
    ),
    "zarr": ("zarr.open(name, mode='w', shape=(1 << 14, 1 << 12), chunks=(100, 1 << 11), dtype='f4')", 40),
    "dask": ("dask.array.ones((1 << 14, 1 << 12), chunks=(100, 1 << 11), dtype='f4') * 1", 40),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_block_is_all_that_it_takes(path, tmp_path, name):
    library = name.partition(",")[0]
    optional(library, f"what an import from {name} takes of memory")
    made, limit = LARGE[name]
    out = run(
        f"""
        sys.path.insert(0, args[2])
        from support import peak_of
        import {library}
        if {library!r} == "dask":
            import dask.array
        name = args[1]
        given = {made}
        if {library!r} != "dask":
            for i in range(0, 1 << 14, 1 << 10):
                given[i : i + (1 << 10)] = 1
        with ng.Appender(args[0], buffering=0) as rows:
            rows.append_from(given, start=(1 << 14) - 300)  # what the library keeps for itself
            print(peak_of(lambda: rows.append_from(given)))
        """,
        path,
        tmp_path / "source",
        __file__.rpartition("/")[0],
    )
    assert int(out) <= limit * MIB, f"{int(out) / MIB:.0f} MiB over the input"
    found = np.load(path, mmap_mode="r")
    assert found.shape == (300 + (1 << 14), 1 << 12) and found[-1, -1] == 1
    path.unlink()
