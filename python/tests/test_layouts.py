"""Every way in which rows lie in memory, and every dtype that needs no pickle, come back from np.load as they were."""

import warnings

import numpy as np
import npygrow as ng
import pytest
from support import BLOCK, add, example, header_len, holds, npy, optional, refused, same


def within(array, place):
    """The array as a view of a larger one: `place` says which view."""
    larger = np.zeros([2 * n + 3 for n in array.shape], array.dtype)
    view = place(larger)[tuple(slice(n) for n in array.shape)]
    view[...] = array
    return view


def unaligned(array):
    view = np.zeros(array.nbytes + 1, "u1")[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


class Subclass(np.ndarray):
    """Its own copies and reductions are wrong: only its bytes count."""

    def astype(self, *args, **kwargs):
        raise AssertionError("the subclass's own method was called")

    tobytes = copy = flatten = astype


LAYOUTS = {
    "contiguous": lambda a: np.ascontiguousarray(a),
    "fortran": lambda a: np.asfortranarray(a),
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "axes swapped": lambda a: np.ascontiguousarray(a.swapaxes(0, 1)).swapaxes(0, 1),
    "strided": lambda a: within(a, lambda b: b[::2, ::2, ::2]),
    "a slice of rows": lambda a: within(a, lambda b: b[1:]),
    "negative strides": lambda a: within(a, lambda b: b[::-1, ::-1, ::-1]),
    "mixed strides": lambda a: within(a, lambda b: b[::-2, 1:, ::-1]),
    "read-only": read_only,
    "unaligned": unaligned,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "subclass": lambda a: a.view(Subclass),
    "matrix of lists": lambda a: a.tolist(),
}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(path, layout, order):
    parts = [np.arange(60.0).reshape(3, 4, 5), -np.arange(120.0).reshape((6, 4, 5) if order == "C" else (3, 4, 10))]
    with ng.Appender(path, order=order, dtype="f8", row_shape=(4, 5) if order == "C" else (3, 4)) as rows:
        for part in parts:
            rows.append(LAYOUTS[layout](part))
    holds(path, *parts, axis=0 if order == "C" else -1)


@pytest.mark.parametrize("order", ["C", "F"])
def test_broadcast_rows(path, order):
    given = (
        np.broadcast_to(np.arange(3.0), (4, 3)) if order == "C" else np.broadcast_to(np.arange(3.0)[:, None], (3, 4))
    )
    with ng.Appender(path, order=order) as rows:
        rows.append(given)
        rows.append(given)
    holds(path, given, given, axis=0 if order == "C" else 1)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "negative strides", "byte-swapped"])
def test_rows_larger_than_a_block(path, layout, order):
    shape = (2, 3, BLOCK // 24 + 1001) if order == "C" else (3, BLOCK // 24 + 1001, 2)
    given = np.arange(np.prod(shape), dtype="f8").reshape(shape)
    assert given.nbytes // 2 > BLOCK
    with ng.Appender(path, order=order) as rows:
        rows.append(given[:1] if order == "C" else given[..., :1])
        rows.append(LAYOUTS[layout](given))
    holds(path, given[:1] if order == "C" else given[..., :1], given, axis=0 if order == "C" else -1)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_memmap_of_the_file_itself(path, order):
    first = np.arange(3 * (BLOCK // 16)).reshape(-1, 3) if order == "C" else np.arange(3 * (BLOCK // 16)).reshape(3, -1)
    with ng.Appender(path, order=order) as rows:
        rows.append(first)
        rows.append(np.load(path, mmap_mode="r"))
        rows.append(np.load(path, mmap_mode="r")[::-1] if order == "C" else np.load(path, mmap_mode="r")[:, ::-1])
    axis = 0 if order == "C" else 1
    twice = np.concatenate([first, first], axis)
    holds(path, twice, np.flip(twice, axis), axis=axis)


DTYPES = [
    *(
        "i1",
        "u1",
        "<i2",
        ">i2",
        "<u4",
        ">u8",
        "<f2",
        "<f4",
        ">f8",
        "g",
        "<c8",
        ">c16",
        "G",
        "?",
        "S1",
        "S7",
        "<U3",
        ">U3",
        "V1",
        "V7",
    ),
    *("<M8[ns]", ">M8[D]", "<M8[25s]", "<M8", "<m8[us]", ">m8[Y]", "<m8"),
    [("a", "<i4"), ("b", ">f8")],
    [("a", "u1"), ("b", "<f8", (2, 3)), ("c", "S3", (1,))],
    [("deep", [("x", "<f4"), ("deeper", [("y", "<i2", (2,))], (2,))]), ("t", "<M8[ms]")],
    [(("a title", "name"), "<i2"), (("another", "b"), "<U2")],
    [("}", "<f8"), (")", "<i4"), ("it's", "u1"), ('"', "u1"), ("a b\\", "u1")],
    [("größe", "<f4"), ("温度", ">i2")],
    np.dtype([("a", "i1"), ("b", "<f8"), ("c", "<i2")], align=True),
    np.dtype({"names": ["x", "y"], "formats": ["<i4", "u1"], "offsets": [4, 12], "itemsize": 20}),
]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes(path, dtype, order):
    parts = [example(dtype, (4, 4)), example(dtype, (4, 4), 50)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # np.save itself warns about version 3.0
        reference = path.with_name("reference.npy")
        np.save(reference, parts[0])
    with ng.Appender(path, order=order) as rows:
        rows.append(parts[0])
    with ng.Appender(path) as rows:
        assert rows.dtype == np.load(reference).dtype
        rows.append(parts[1])
    holds(path, *parts, axis=0 if order == "C" else 1)
    descr = reference.read_bytes()[: header_len(reference)].split(b"'fortran_order'")[0].split(b"{", 1)[1]
    assert descr in path.read_bytes()[: header_len(path)], "the descr is NumPy's, letter by letter"


@pytest.mark.parametrize("shape", [(4, 0), (0, 0), (3, 0, 2)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_of_no_bytes_are_counted(path, shape, order):
    shape = shape if order == "C" else shape[::-1]
    growth = 0 if order == "C" else -1
    with ng.Appender(path, order=order) as rows:
        assert rows.append(np.zeros(shape)) == range(0, shape[growth])
    with ng.Appender(path) as rows:
        assert rows.append(np.zeros(shape)) == range(shape[growth], 2 * shape[growth])
    holds(path, np.zeros(shape), np.zeros(shape), axis=growth)


@pytest.mark.parametrize("order", ["C", "F"])
def test_many_dimensions(path, order):
    given = np.arange(2 * 3, dtype="i2").reshape((2, *[1] * 16, 3))
    with ng.Appender(path, order=order) as rows:
        rows.append(given)
        rows.append(given)
    holds(path, given, given, axis=0 if order == "C" else -1)


FOREIGN = {
    "NumPy's own": {},
    "padded to 256": {"pad": 256 - 64},
    "version 2": {"version": 2, "pad": 40},
    "version 3": {"version": 3, "pad": 40},
    "padded to 4096": {"pad": 4000},
    "not aligned": {"pad": 47},
    "newline padding": {"pad": 20, "end": b"\n" * 20},
    "double quotes": {"text": '{"descr":"<i4","fortran_order":False,"shape":(3,2)}', "pad": 40},
    "another key order": {"text": "{'shape': (3, 2), 'fortran_order': False, 'descr': '<i4'}", "pad": 40},
    "spaces inside": {"text": "{ 'descr' : '<i4' , 'fortran_order' : False , 'shape' : ( 3 , 2 , ) }", "pad": 40},
    "=i4": {"text": "{'descr': '=i4', 'fortran_order': False, 'shape': (3, 2), }", "pad": 40},
    "Python 2": {"text": "{'descr': '<i4', 'fortran_order': False, 'shape': (3L, 2L), }", "pad": 40},
    "np.int64": {"text": "{'descr': '<i4', 'fortran_order': False, 'shape': (np.int64(3), 2), }", "pad": 40},
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_foreign_headers_keep_their_length(path, foreign):
    given = np.arange(6, dtype="<i4").reshape(3, 2)
    if foreign == "NumPy's own":
        np.save(path, given)
    else:
        path.write_bytes(npy(given, **FOREIGN[foreign]))
    start = path.stat().st_size - given.nbytes
    for _ in range(2):
        with ng.Appender(path) as rows:
            rows.append(given)
            assert path.read_bytes()[start:] == given.tobytes() * (len(rows) // 3)
            holds(path, *[given] * (len(rows) // 3))
    assert path.stat().st_size == start + 3 * given.nbytes
    holds(path, *[given] * 3)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4"])
def test_ml_dtypes_are_kept_as_void(path, name):
    ml_dtypes = optional("ml_dtypes", "bfloat16 and its kin are")
    given = np.array([[1, 2], [3, -4]], getattr(ml_dtypes, name))
    void = np.dtype(f"V{given.dtype.itemsize}")
    with pytest.warns(UserWarning, match=rf"(?s){name}.*V{given.dtype.itemsize}"):
        with ng.Appender(path) as rows:
            rows.append(given)
            rows.append(given[::-1])
            assert rows.dtype == void
    assert np.load(path).dtype == void
    same(np.load(path).view(given.dtype), np.concatenate([given, given[::-1]]))


def test_other_rows_for_a_file_of_ml_dtypes_are_told_to_be_cast(path):
    ml_dtypes = optional("ml_dtypes", "bfloat16 and its kin are")
    with pytest.warns(UserWarning, match="bfloat16"):
        ng.append(path, np.zeros(3, ml_dtypes.bfloat16))
    with refused(ng.MismatchError, path, "V2", "float32", "cast them"):
        ng.append(path, np.zeros(3, "f4"))


def test_records_of_ml_dtypes_name_a_view_that_gives_them_back(path):
    ml_dtypes = optional("ml_dtypes", "bfloat16 and its kin are")
    given = np.zeros(3, [("a", ml_dtypes.bfloat16), ("b", "<i4")])
    given["a"] = given["b"] = [1, 2, 3]
    with pytest.warns(UserWarning, match=r"stored as \|V6, to be read with \.view\(this dtype\)"):
        ng.append(path, given)
    same(np.load(path).view(given.dtype)["a"], given["a"])


def test_torch_tensors_on_the_cpu(path):
    torch = optional("torch", "its tensors are")
    given = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    with ng.Appender(path) as rows:
        rows.append(given)
        rows.append(given.T.contiguous().T)
    holds(path, given.numpy(), given.numpy())


def test_metadata_in_a_dtype_is_no_obstacle(path):
    given = np.arange(3).astype(np.dtype("i8", metadata={"unit": "m"}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ng.append(path, given)
        ng.append(path, given)
    holds(path, np.arange(3), np.arange(3))


def test_rows_written_by_another_tool_behind_a_clean_file_are_no_rows(path):
    ng.append(path, np.arange(3.0))
    add(path, b"x" * 40)
    same(np.load(path), np.arange(3.0))
    same(np.asarray(ng.open(path)), np.arange(3.0))
