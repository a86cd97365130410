"""The chunks of those that have chunks: what other sizes than the one used here would have given them."""

from lines.append import FLOAT64, appending, values
from measure import Line
from peers import CHUNK, Rows, chunked, hdf5

SIZES = [CHUNK, 16 << 10, 256 << 10, 1 << 20]
"""The one used here first, as the reference."""

APPENDS = {"8 bytes": (1,), "512 bytes": (1, 64), "16 KiB": (1, 2048)}


def label(size):
    return f"{size >> 10:,} KiB"


def lines():
    for peer in (*hdf5.PEERS, *chunked.PEERS):
        for append, shape in APPENDS.items():
            contenders = [appending(peer, Rows(values(*shape), FLOAT64, chunk=size), label(size)) for size in SIZES]
            yield Line("chunks", f"{peer.name}, {append}", 1000, contenders)
