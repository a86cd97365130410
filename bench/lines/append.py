"""Appending: sizes, layouts, in memory first, and a file opened for each append."""

import os
from functools import partial

import numpy as np

from measure import Contender, Line, timed
from peers import Peer, Rows, chunked, files, hdf5, mapped, npy

MIB = 1 << 20
WARM_UP = 256
"""Small appends before the clock starts: caches, lazy imports, and what a handle sets up only once."""

FLOAT64, FLOAT32 = np.dtype("f8"), np.dtype("f4")
FAST = [files.RAW, *npy.PEERS, *files.PEERS, *hdf5.PEERS]
EVERYONE = [*FAST, *hdf5.FLUSHED, *chunked.PEERS, *mapped.PEERS]
LAYOUTS = [*FAST, *chunked.PEERS, *mapped.PEERS]


def values(*shape):
    """Rows that differ from each other."""
    return np.arange(np.prod(shape), dtype=FLOAT64).reshape(shape)


def appending(peer, rows, name=None, **options):
    """`peer` appending to a new file, checked afterwards."""
    small = rows.payload.nbytes < MIB
    # The first append settles what the file holds, which may not be what the timed ones hand over.
    warm_ups = (1 + round(WARM_UP * peer.share) * small) * peer.warms

    def run(path, count):
        total = (count + warm_ups) * rows.count
        with peer.open(path, rows, total, **options) as (append, finish):
            if warm_ups:
                append(rows.stored)
                timed(append, rows.payload, warm_ups - 1)
                if finish:
                    finish()
            spent = timed(append, rows.payload, count)
            if finish:
                spent += timed(lambda _: finish(), None, 1)
        if peer.load:
            check(peer, path, rows, total)
        return spent

    return Contender(name or peer.name, run, peer.share if small else 1, peer.seen)


def check(peer, path, rows, total):
    """What was timed did happen: the file has the rows."""
    found = peer.load(path)
    assert found.shape == rows.shape(total) and found.dtype == rows.dtype, (peer.name, found.shape, found.dtype)
    assert np.array_equal(found[rows.where(total - rows.count, total)], rows.stored), peer.name


def reopening(peer, rows):
    """Times open, append, close; the file exists before."""

    def run(path, count):
        with peer.open(path, rows, rows.count) as (append, finish):
            append(rows.stored)
        spent = timed(partial(peer.once, path), rows.payload, count)
        if peer.load:
            check(peer, path, rows, (1 + count) * rows.count)
        return spent

    return Contender(peer.name, run, min(1, 5 * peer.share), "when it is closed")


def sizes():
    """Contiguous rows of the file's dtype, one append at a time."""
    for key, work, payload, count, bar in [
        ("8B", "a row of 8 bytes", values(1), 2000, None),
        ("512B", "a row of 512 bytes", values(1, 64), 2000, 1.25),
        ("16KiB", "a row of 16 KiB", values(1, 2048), 1000, None),
        ("16MiB", "a block of 16 MiB", values(32768, 64), 4, 1.03),
    ]:
        rows, who = Rows(payload, FLOAT64), EVERYONE
        if payload.nbytes >= 16 * MIB and hasattr(os, "posix_fallocate"):
            who = [*EVERYONE[:1], files.RESERVED, *EVERYONE[1:]]
        yield Line(f"append-{key}", f"append {work}", count, [appending(peer, rows) for peer in who], bar)


def layouts():
    """Rows that are not the file's bytes as they lie, or a file whose last axis grows."""
    for size, work, count, least in [("16KiB", "16 KiB", 500, 32), ("16MiB", "16 MiB", 2, 32768)]:
        block, tall = values(least, 64), values(2 * least, 64)
        for key, what, rows in [
            ("fortran", "Fortran file, rows as they lie in it", Rows(np.asfortranarray(block.T), FLOAT64, "F")),
            ("fortran-from-c", "Fortran file, rows in C order", Rows(np.ascontiguousarray(block.T), FLOAT64, "F")),
            ("c-from-fortran", "C file, rows in Fortran order", Rows(np.asfortranarray(block), FLOAT64)),
            ("strided", "C file, every second row of an array", Rows(tall[::2], FLOAT64)),
            ("cast", "C file of float32, rows of float64", Rows(tall, FLOAT32)),
        ]:
            able = [peer for peer in LAYOUTS if rows.order in peer.orders]
            cannot = {peer.name: "grows along the first axis alone" for peer in LAYOUTS if peer not in able}
            contenders = [appending(peer, rows) for peer in able]
            yield Line(f"{key}-{size}", f"append {work}: {what}", count, contenders, cannot=cannot)


def buffered():
    """Rows that gather in memory: readers see them later."""
    rows = Rows(values(1, 64), FLOAT64)
    contenders = [
        appending(buffered_file(-1), rows),
        appending(buffered_file(MIB), rows),
        appending(npy.OURS, rows, buffering=MIB),
        *[appending(peer, rows) for peer in (*files.PEERS[:1], *hdf5.PEERS)],
    ]
    if npy.npy_append_array:
        name = "npy-append-array, header at the end"
        contenders.insert(3, appending(npy.PREDECESSOR, rows, name, rewrite_header_on_append=False))
    for one in contenders:
        one.seen = "at the end" if one.seen == "at the end" else "after a flush"
    yield Line("buffered", "append a row of 512 bytes, gathered in memory (1 MiB)", 20000, contenders, 0.65)


def buffered_file(buffering):
    size = "the default buffer" if buffering < 0 else "a buffer of 1 MiB"
    return Peer(f"file.write, {size}", partial(files.raw_buffered, buffering=buffering), None, "after a flush")


def open_append_close():
    rows = Rows(values(1, 64), FLOAT64)
    contenders = [reopening(peer, rows) for peer in EVERYONE if peer.once]
    why = "would write the whole file anew"
    cannot = {peer.name: why for peer in files.PEERS if not peer.once}
    yield Line("reopen", "open, append a row of 512 bytes, close", 400, contenders, 4.0, cannot)


def lines():
    yield from sizes()
    yield from buffered()
    yield from open_append_close()
    yield from layouts()
