# -*- coding: utf-8 -*-
"""Writes golden files: bytes exactly as the NumPy that runs this wrote them, one fact a file.

    python make.py          into np<version>-py<version>/ beside this script

Runs under Python 2.7 to 3.13 and NumPy 1.13 to 2.x. A file that an older NumPy's folder already holds byte for byte is
not written again, so run the oldest NumPy first: what a folder holds is what that version changed.
"""
from __future__ import print_function, unicode_literals

import glob
import io
import os
import re
import sys
import warnings

import numpy as np
from numpy.lib import format as npy

HERE = os.path.dirname(os.path.abspath(__file__))
NUMPY = tuple(int(part) for part in re.findall(r"\d+", np.__version__)[:3])
PYTHON = sys.version_info[:2]
FACTS = []


def fact(since=(0,), python=(2, 3)):
    """Registers a function that writes the files of one fact, for the versions that can."""

    def register(function):
        if NUMPY >= since and PYTHON[0] in python:
            FACTS.append(function)
        return function

    return register


def versions(folder):
    return [tuple(int(n) for n in part.split(".")) for part in re.findall(r"[\d.]+", os.path.basename(folder))]


def own_folder():
    return os.path.join(HERE, "np%s-py%d.%d" % ((".".join(map(str, NUMPY)),) + PYTHON))


def keep(name, content, folder=None):
    """Writes `name` unless an older NumPy wrote the same bytes under the same name."""
    if folder is None:
        folder = own_folder()
        for other in glob.glob(os.path.join(HERE, "np*-py*")):
            same = os.path.join(other, name + ".npy")
            if versions(other) < versions(folder) and os.path.exists(same):
                with open(same, "rb") as file:
                    if file.read() == content:
                        return
    if not os.path.isdir(folder):
        os.makedirs(folder)
    with open(os.path.join(folder, name + ".npy"), "wb") as file:
        file.write(content)


def filled(dtype, shape=(3,)):
    """An array with every byte set, padding too, so that a shifted or swapped byte shows."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    pattern = bytearray((7 * i + 1) % 251 for i in range(size))
    if size == 0:
        return np.ndarray(shape, dtype)
    return np.ndarray(shape, dtype, buffer=pattern)


def save(name, array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    keep(name, buffer.getvalue())


def by_path(write):
    """The bytes `write(path)` leaves in a file."""
    path = os.path.join(HERE, "scratch.npy")
    try:
        write(path)
        with open(path, "rb") as file:
            return file.read()
    finally:
        if os.path.exists(path):
            os.remove(path)


def native(text):
    """A `str` of this Python: field names and dtype strings of Python 2 are bytes."""
    return str(text)


@fact()
def plain():
    """Each plain dtype family and size, little-endian."""
    for code in "b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 f16 c8 c16 c32".split():
        array = filled(native("u1")) % 2 == 1 if code == "b1" else filled(native(code))
        save("dtype_" + code, array)


@fact()
def big_endian():
    """Big-endian numbers, text and times."""
    for code in "i2 u4 i8 f2 f8 f16 c16".split():
        save("dtype_big_" + code, filled(native(">" + code)))
    save("dtype_big_U3", np.array(["a", "bc", "def"], native(">U3")))
    save("dtype_big_M8_us", filled(native(">M8[us]")))


@fact()
def flexible():
    """Bytes, text and void, also zero-sized and with a byte order that means nothing."""
    save("dtype_S5", np.array([b"a", b"bc", b"defgh"], native("S5")))
    save("dtype_U12", np.array(["a", "gr\xfcn", "\u6c34\U0001f30a"], native("<U12")))
    save("dtype_V7", filled(native("V7")))
    save("dtype_S0", np.ndarray((3,), native("S0")))
    save("dtype_U0", np.ndarray((3,), native("U0")))
    save("dtype_V0", np.ndarray((3,), native("V0")))
    save("dtype_S0_no_rows", np.ndarray((0,), native("S0")))
    save("dtype_S0_n_by_0", np.ndarray((3, 0), native("S0")))


@fact()
def times():
    """Dates and durations: each unit, multiples, no unit."""
    for unit in "Y M W D h m s ms us ns ps fs as".split():
        save("dtype_M8_" + unit, filled(native("<M8[%s]" % unit), (2,)))
    for name, code in [
        ("m8_25s", "<m8[25s]"),
        ("m8_D", "<m8[D]"),
        ("M8_none", "<M8"),
        ("m8_none", "<m8"),
        ("M8_10ns", "<M8[10ns]"),
    ]:
        save("dtype_" + name, filled(native(code), (2,)))


@fact()
def shapes():
    """Shapes in C order: 0-d, 1-d, no rows, rows of no elements, many dimensions."""
    for name, shape in [
        ("0d", ()),
        ("no_rows_1d", (0,)),
        ("no_rows_2d", (0, 3)),
        ("n_by_0", (3, 0)),
        ("n_by_0_by_2", (3, 0, 2)),
        ("1_row", (1,)),
        ("9_rows", (9,)),
        ("10_rows", (10,)),
        ("2d", (2, 3)),
        ("3d", (2, 3, 4)),
        ("32d", (1,) * 31 + (2,)),
    ]:
        save("shape_" + name, filled(native("<i2"), shape))


@fact(since=(2, 0))
def shape_64d():
    """64 dimensions, the most there can be since 2.0."""
    save("shape_64d", filled("<i2", (1,) * 63 + (2,)))


@fact()
def fortran():
    """Fortran order: 2-d, 3-d, structured; np.save writes C order where an array is both."""
    save("fortran_2d", filled(native("<i2"), (3, 2)).T)
    save("fortran_3d", filled(native("<f4"), (4, 3, 2)).T)
    save("fortran_struct", filled([(native("a"), native("<i2")), (native("b"), native("u1"))], (2, 2)).T)
    save("fortran_both_is_c", np.asfortranarray(filled(native("<i2"), (3, 1))))
    save("fortran_no_rows_is_c", np.ndarray((3, 0), native("<i2"), order=native("F")))


@fact()
def fortran_outright():
    """The flag fortran_order is True where np.save would write False: 1-d, no columns, 0-d."""
    for name, shape in [("1d", (3,)), ("no_rows", (3, 0)), ("0d", ())]:
        buffer = io.BytesIO()
        npy.write_array_header_1_0(buffer, {"descr": native("<i2"), "fortran_order": True, "shape": shape})
        keep("fortran_flag_" + name, buffer.getvalue() + filled(native("<i2"), shape).tobytes())


def fields(*pairs):
    return np.dtype([tuple(native(p) if hasattr(p, "upper") else p for p in pair) for pair in pairs])


@fact()
def structured():
    """Structured: flat, nested, subarrays, padding, alignment, titles, a record array."""
    flat = fields(("a", "<i4"), ("b", ">f8"), ("c", "S3"))
    save("struct_flat", filled(flat))
    save("struct_one_field", filled(fields(("a", "<f4"))))
    save("struct_0d", filled(flat, ()))
    save("struct_no_rows", filled(flat, (0,)))
    save("struct_2d", filled(flat, (2, 2)))
    save("struct_record", filled(flat).view(np.recarray))
    nested = fields(("in", fields(("x", "<f4"), ("deep", fields(("y", "?"), ("z", "<u2"))))), ("t", "<M8[ns]"))
    save("struct_nested", filled(nested, (2,)))
    save("struct_subarrays", filled(fields(("p", "<f4", (3,)), ("q", "<i2", (2, 3))), (2,)))
    save("struct_subarray_1", filled(fields(("p", "<f4", (1,))), (2,)))
    save("struct_subarray_of_struct", filled(fields(("p", fields(("x", "<i2"), ("y", "u1")), (2,))), (2,)))
    save("struct_subarray_of_subarray", filled(fields(("p", np.dtype((native("<i2"), (3,))), (2,))), (2,)))
    save("struct_zero_size_field", filled(fields(("a", "<i2"), ("s", "S0"), ("n", "<f8", (0,)))))
    save("struct_text", np.array([("ab", b"c", "d")], fields(("u", "<U2"), ("s", "S1"), ("U", ">U1"))))


def layout(names, formats, offsets=None, itemsize=None, titles=None, aligned=False):
    spec = {"names": [native(n) for n in names], "formats": [native(f) if hasattr(f, "upper") else f for f in formats]}
    if offsets is not None:
        spec["offsets"] = offsets
    if itemsize is not None:
        spec["itemsize"] = itemsize
    if titles is not None:
        spec["titles"] = [t and native(t) for t in titles]
    return np.dtype({native(k): v for k, v in spec.items()}, align=aligned)


@fact()
def structured_layouts():
    """Structured: padding between, before and after fields, aligned, titles."""
    save("struct_padded", filled(layout("ab", ["<i2", "<f8"], [0, 8]), (2,)))
    save("struct_padded_first", filled(layout("ab", ["<i2", "<f8"], [4, 8]), (2,)))
    save("struct_padded_last", filled(layout("ab", ["<i2", "u1"], itemsize=16), (2,)))
    save("struct_aligned", filled(layout("abc", ["u1", "<f8", "<i2"], aligned=True), (2,)))
    inner = layout("xy", ["u1", "<i4"], aligned=True)
    save("struct_nested_aligned", filled(layout("ab", ["u1", inner], aligned=True), (2,)))
    save("struct_titles", filled(layout("ab", ["<i2", "<f4"], titles=["the first", "the second"]), (2,)))
    save("struct_some_titles", filled(layout("ab", ["<i2", "<f4"], titles=[None, "the second"]), (2,)))
    save("struct_title_of_nested", filled(layout("ab", [inner, "<f4"], [4, 16], 24, ["nested", "plain"]), (2,)))
    with_void = fields(("a", "<i2"), ("v", "V4"))
    save("struct_void_field", filled(with_void, (2,)))


@fact()
def names():
    """Field names with quotes, brackets, backslashes, spaces and controls; as long as a header."""
    for name, text in [
        ("bracket", "a}b)c]"),
        ("looks_like_the_end", ", 'shape': (3,), }"),
        ("single_quote", "it's"),
        ("double_quote", 'say "a"'),
        ("both_quotes", "it's \"a\""),
        ("backslash", "C:\\new"),
        ("newline", "a\nb\tc"),
        ("control", "a\x01\x7fb"),
        ("space", " "),
        ("digits", "0"),
        ("hash", "a # b"),
        ("long", "n" * 200),
    ]:
        save("name_" + name, filled(fields((text, "<i2")), (2,)))


@fact(python=(3,))
def names_latin_1():
    """Names that are latin-1 stay in version 1.0; Python escapes the no-break space and the soft hyphen."""
    save("name_latin_1", filled(fields(("\xe9t\xe9", "<i2"), ("\xa0\xad", "u1")), (2,)))


@fact(since=(1, 17))
def names_utf_8():
    """Names outside latin-1 make version 3.0."""
    save("name_utf_8", filled(fields(("\u6c34", "<i2"), ("\U0001f30a", "u1")), (2,)))
    save("name_utf_8_title", filled(layout("a", ["<i2"], titles=["\u03b1"]), (2,)))


@fact(python=(2,))
def names_python_2():
    """Python 2 names are bytes, escaped in the header: they load as latin-1."""
    save("name_python_2_bytes", filled(np.dtype([("\xe9".encode("utf-8"), native("<i2"))]), (2,)))


@fact(python=(2,))
def longs():
    """Python 2 longs in shape."""
    longs = tuple(long(n) for n in (3, 32))  # noqa: F821
    keep("shape_longs", by_path(lambda path: memmap(path, longs)))


@fact()
def numpy_integers():
    """np.int64 in the shape given to open_memmap: NumPy 2 writes np.int64(3), which np.load cannot read."""
    keep("shape_np_int64", by_path(lambda path: memmap(path, (np.int64(3), np.int64(2)))))
    keep("shape_np_int64_1d", by_path(lambda path: memmap(path, (np.int64(3),))))


@fact()
def memmaps():
    """Files of open_memmap, C and Fortran order."""
    keep("memmap_c", by_path(lambda path: memmap(path, (3, 2))))
    keep("memmap_fortran", by_path(lambda path: memmap(path, (3, 2), True)))


def memmap(path, shape, fortran_order=False):
    array = npy.open_memmap(path, native("w+"), native("<i2"), shape, fortran_order)
    array[...] = filled(native("<i2"), tuple(int(n) for n in shape))
    array.flush()
    del array


@fact()
def forced_versions():
    """Version asked for outright."""
    for version in [(1, 0), (2, 0)] + [(3, 0)] * (NUMPY >= (1, 17)):
        for name, array in [("plain", filled(native("<f4"))), ("struct", filled(fields(("a", "<i2"), ("b", "u1"))))]:
            buffer = io.BytesIO()
            npy.write_array(buffer, array, version=version)
            keep("version_%d_%s" % (version[0], name), buffer.getvalue())


@fact()
def long_headers():
    """Headers that need a raised limit: over 10,000 characters, and over 65,535 (version 2.0)."""
    save("header_over_10000", filled([(native("f%d" % i), native("u1")) for i in range(620)], (1,)))
    if NUMPY >= (1, 26) and NUMPY < (2,):
        save("header_over_65535", filled([(native("f%d" % i), native("u1")) for i in range(3700)], (1,)))


@fact(python=(3,))
def pathlib_path():
    """A pathlib path given to np.save."""
    import pathlib

    keep("save_pathlib", by_path(lambda path: np.save(pathlib.Path(path), filled("<i2"))))


@fact()
def sequences():
    """Several np.save into one file."""
    for name, arrays in [
        ("same", [filled(native("<i2"), (2, 2))] * 3),
        ("other", [filled(native("<i2")), filled(native("<f8"), (2, 2)), filled(native("u1"), ())]),
        ("after_no_rows", [filled(native("<i2"), (0, 2)), filled(native("<i2"), (1, 2))]),
    ]:
        buffer = io.BytesIO()
        for array in arrays:
            np.save(buffer, array)
        keep("sequence_" + name, buffer.getvalue())


@fact(python=(3,))
def ml_types():
    """Types of ml_dtypes: bfloat16 is written as <V2, the type is lost."""
    try:
        import ml_dtypes
    except ImportError:
        return
    for name in ["bfloat16", "float8_e4m3fn", "int4"]:
        save("ml_" + name, filled(native("u%d" % np.dtype(getattr(ml_dtypes, name)).itemsize)).view(name))
    save("ml_field", filled([("a", "<i2"), ("b", "V2")], (2,)).view([("a", "<i2"), ("b", "bfloat16")]))


@fact(python=(3,))
def npy_append_array():
    """The package npy-append-array: its padded header, after two appends."""
    try:
        from npy_append_array import NpyAppendArray
    except ImportError:
        return

    def write(path, first, second):
        with NpyAppendArray(path) as array:
            array.append(first)
            array.append(second)

    folder = os.path.join(HERE, "npy-append-array-0.9.19")
    rows = filled("<i2", (5, 2))
    keep("c", by_path(lambda path: write(path, rows[:2], rows[2:])), folder)
    keep("fortran", by_path(lambda path: write(path, rows[:2].T, rows[2:].T)), folder)
    keep("struct", by_path(lambda path: write(path, *[filled([("a", "<i2"), ("b", "u1")])] * 2)), folder)


@fact(python=(3,))
def npyt():
    """The package npyt: a left-padded count of 21 columns and its own 40 bytes after the rows."""
    try:
        import npyt.format as npyt
    except ImportError:
        return
    folder = os.path.join(HERE, "npyt-0.4.3")
    npyt.time.time_ns = lambda: 1700000000000000000
    keep("full", by_path(lambda path: npyt.save(open(path, "wb"), filled("<i2", (3, 2)), 0)), folder)
    keep("capacity_5_holds_3", by_path(lambda path: npyt.save(open(path, "wb"), filled("<i2", (3, 2)), 5)), folder)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for write in FACTS:
        write()
