"""Stores of chunks, without compression: zarr, blosc2, tensorstore.

Where a chunk is larger than an append, each append reads it, adds to it and writes it.
"""

from contextlib import contextmanager

import numpy as np

from . import Peer, imported

zarr = imported("zarr")
blosc2 = imported("blosc2")
tensorstore = imported("tensorstore")


@contextmanager
def zarr_opened(path, rows, total):
    data = zarr.create_array(path, shape=rows.shape(0), chunks=rows.chunks(), dtype=rows.dtype, compressors=None)
    done, axis, shape, where = 0, rows.axis, rows.shape, rows.where

    def append(payload):
        nonlocal done
        stop = done + payload.shape[axis]
        data.resize(shape(stop))
        data[where(done, stop)] = payload
        done = stop

    yield append, None


def zarr_once(path, payload):
    zarr.open_array(path, mode="r+").append(payload)


def zarr_load(path):
    return zarr.open_array(path, mode="r")[:]


@contextmanager
def blosc2_opened(path, rows, total):
    data = blosc2.empty(
        rows.shape(0), rows.dtype, urlpath=str(path), mode="w", contiguous=True, chunks=rows.chunks(), cparams={"clevel": 0}
    )
    done, axis, shape, where = 0, rows.axis, rows.shape, rows.where

    def append(payload):
        nonlocal done
        stop = done + payload.shape[axis]
        data.resize(shape(stop))
        # It takes nothing else.
        data[where(done, stop)] = np.ascontiguousarray(payload)
        done = stop

    yield append, None


def blosc2_once(path, payload):
    data = blosc2.open(str(path), mode="a")
    end = len(data)
    data.resize((end + len(payload), *data.shape[1:]))
    data[end:] = payload


def blosc2_load(path):
    return blosc2.open(str(path), mode="r")[:]


def tensorstore_spec(path):
    # By default every chunk is synced, which nobody else here does.
    return {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": str(path)},
        "context": {"file_io_sync": False},
    }


@contextmanager
def tensorstore_opened(path, rows, total):
    metadata = {"dtype": rows.dtype.str, "shape": rows.shape(0), "chunks": rows.chunks(), "compressor": None}
    data = tensorstore.open({**tensorstore_spec(path), "metadata": metadata}, create=True).result()
    done, axis, shape, where = 0, rows.axis, rows.shape, rows.where

    def append(payload):
        nonlocal data, done
        stop = done + payload.shape[axis]
        data = data.resize(exclusive_max=shape(stop)).result()
        # It casts nothing that could be lossy.
        data[where(done, stop)].write(payload.astype(rows.dtype, copy=False)).result()
        done = stop

    yield append, None


def tensorstore_once(path, payload):
    data = tensorstore.open(tensorstore_spec(path), open=True).result()
    end = data.shape[0]
    data = data.resize(exclusive_max=(end + len(payload), *data.shape[1:])).result()
    data[end:].write(payload).result()


def tensorstore_load(path):
    return tensorstore.open(tensorstore_spec(path), open=True).result().read().result()


PEERS = []
ZEROS_FIRST = "at once, zeros before"
if zarr:
    PEERS.append(Peer("zarr", zarr_opened, zarr_load, ZEROS_FIRST, 0.005, once=zarr_once))
if blosc2:
    PEERS.append(Peer("blosc2", blosc2_opened, blosc2_load, ZEROS_FIRST, 0.01, once=blosc2_once))
if tensorstore:
    PEERS.append(Peer("tensorstore", tensorstore_opened, tensorstore_load, ZEROS_FIRST, 0.01, once=tensorstore_once))
