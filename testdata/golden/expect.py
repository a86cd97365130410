"""Writes expected.json: what NumPy, not this project, says of every golden file. Run with the newest NumPy."""

import hashlib
import io
import json
import pathlib
import struct
import warnings

import numpy as np
from numpy.lib import format as npy

HERE = pathlib.Path(__file__).parent


def loads(path):
    try:
        np.load(path)
    except Exception:
        return False
    return True


def header_of(content):
    """Version, header length and the three values, read by NumPy; by Python alone where NumPy refuses the spelling."""
    file = io.BytesIO(content)
    version = npy.read_magic(file)
    size = struct.Struct("<H" if version == (1, 0) else "<I")
    end = file.tell() + size.size + size.unpack(file.read(size.size))[0]
    try:
        read = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0, 3: read_3_0}[version[0]]
        file.seek(8)
        shape, fortran_order, dtype = read(file, max_header_size=2**20)
        read_by = "numpy"
    except ValueError:
        values = eval(content[10:end].decode("latin-1"), {"np": np})
        shape, fortran_order, dtype = values["shape"], values["fortran_order"], npy.descr_to_dtype(values["descr"])
        read_by = "python"
    return version[0], end, [int(n) for n in shape], fortran_order, dtype, read_by


def read_3_0(file, max_header_size):
    # NumPy has no public reader of a 3.0 header alone; a 2.0 one is the same but for the encoding of its text.
    length = struct.unpack("<I", file.read(4))[0]
    text = file.read(length).decode("utf-8")
    escaped = text.encode("ascii", "backslashreplace")
    return npy.read_array_header_2_0(io.BytesIO(struct.pack("<I", len(escaped)) + escaped), max_header_size)


def expectation(path):
    content = path.read_bytes()
    version, header_len, shape, fortran_order, dtype, read_by = header_of(content)
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    data = content[header_len : header_len + size]
    assert len(data) == size, path
    expected = {
        "descr": repr(npy.dtype_to_descr(dtype)),
        "itemsize": dtype.itemsize,
        "fortran_order": fortran_order,
        "shape": shape,
        "header_len": header_len,
        "version": version,
        "sha256": hashlib.sha256(data).hexdigest(),
        "after": len(content) - header_len - size,
        "read_by": read_by,
        "loads": loads(path),
    }
    if expected["loads"]:
        array = np.load(path)
        assert (list(array.shape), array.dtype) == (shape, dtype), (path, array.shape, array.dtype, shape, dtype)
    return expected


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    paths = sorted(HERE.glob("*/*.npy"))
    lines = [f"{json.dumps(p.relative_to(HERE).as_posix())}: {json.dumps(expectation(p))}" for p in paths]
    (HERE / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(paths)} files, NumPy {np.__version__}")
