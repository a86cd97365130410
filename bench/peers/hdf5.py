"""HDF5 through h5py and PyTables: one file, chunks, no compression."""

from contextlib import contextmanager

from . import Peer, imported

h5py = imported("h5py")
tables = imported("tables")


def h5py_opened(flushed):
    @contextmanager
    def opened(path, rows, total):
        with h5py.File(path, "w", libver="latest") as file:
            unlimited = rows.shape(None)
            data = file.create_dataset("rows", rows.shape(0), rows.dtype, maxshape=unlimited, chunks=rows.chunks())
            done, axis, where = 0, rows.axis, rows.where

            def append(payload):
                nonlocal done
                stop = done + payload.shape[axis]
                data.resize(stop, axis)
                data[where(done, stop)] = payload
                done = stop
                if flushed:
                    data.flush()

            yield append, file.flush

    return opened


def h5py_once(path, payload):
    with h5py.File(path, "r+", libver="latest") as file:
        data = file["rows"]
        data.resize(len(data) + len(payload), 0)
        data[-len(payload) :] = payload


def h5py_load(path):
    with h5py.File(path) as file:
        return file["rows"][:]


def tables_opened(flushed):
    @contextmanager
    def opened(path, rows, total):
        with tables.open_file(path, "w") as file:
            atom = tables.Atom.from_dtype(rows.dtype)
            data = file.create_earray("/", "rows", atom, rows.shape(0), chunkshape=rows.chunks())

            def append(payload):
                data.append(payload)
                data.flush()

            yield (append if flushed else data.append), file.flush

    return opened


def tables_once(path, payload):
    with tables.open_file(path, "a") as file:
        file.root.rows.append(payload)


def tables_load(path):
    with tables.open_file(path) as file:
        return file.root.rows[:]


PEERS = []
FLUSHED = []
if h5py:
    PEERS.append(Peer("h5py", h5py_opened(False), h5py_load, "after a flush", 0.1, once=h5py_once))
    FLUSHED.append(Peer("h5py, flushed", h5py_opened(True), h5py_load, "at once", 0.1))
if tables:
    PEERS.append(Peer("PyTables", tables_opened(False), tables_load, "after a flush", 0.2, once=tables_once))
    FLUSHED.append(Peer("PyTables, flushed", tables_opened(True), tables_load, "at once", 0.1))
