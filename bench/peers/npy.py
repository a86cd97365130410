"""npygrow, and the package that it succeeds."""

import os
from contextlib import contextmanager

import npygrow

from . import Peer, imported
from .files import mapped

npy_append_array = imported("npy_append_array")


@contextmanager
def appender(path, rows, total, **options):
    with npygrow.Appender(path, order=rows.order, **options) as file:
        yield file.append, file.commit if options.get("buffering") else None


def appender_once(path, payload):
    with npygrow.Appender(path) as file:
        file.append(payload)


@contextmanager
def predecessor(path, rows, total, **options):
    """It takes the order from the first array."""
    with npy_append_array.NpyAppendArray(os.fspath(path), **options) as file:
        yield file.append, file.update_header


def predecessor_once(path, payload):
    with npy_append_array.NpyAppendArray(os.fspath(path)) as file:
        file.append(payload)


OURS = Peer("npygrow", appender, mapped, "at once", once=appender_once)
PREDECESSOR = Peer("npy-append-array", predecessor, mapped, "one append later", once=predecessor_once)
PEERS = [OURS, *[PREDECESSOR] * bool(npy_append_array)]
