"""What the verbs found and did, as frozen dataclasses that print well."""

from __future__ import annotations

import dataclasses
import textwrap
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = [
    "ColumnRecovery",
    "ColumnReport",
    "Dropped",
    "FolderJoined",
    "FolderRecovery",
    "FolderReport",
    "Joined",
    "Recovery",
    "Report",
    "Torn",
]


class _Table:
    """Prints one aligned line a field."""

    __slots__ = ()

    def __str__(self) -> str:
        names = [field.name for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        lines = {name.replace("_", " "): text for name in names if (text := _text(name, getattr(self, name)))}
        width = max(map(len, lines)) + 2
        return "\n".join(
            textwrap.fill(
                f"{name:<{width}}{text}",
                120,
                subsequent_indent=" " * width,
                drop_whitespace=True,
                break_long_words=False,
                break_on_hyphens=False,
            )
            for name, text in lines.items()
        )


def _text(name: str, value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}" + (", unverified" if name == "from_tail" and value else "")
        case tuple() if name == "notes":
            return "; ".join(value)
        case tuple() if name == "columns":
            return "; ".join(map(str, value))
        case tuple() if name == "tails":
            return "; ".join(f"{bytes:,} bytes of {path} left out" for path, bytes in value)
    return str(value)


@dataclass(frozen=True, slots=True)
class Report(_Table):
    """What `inspect` found.

    Attributes
    ----------
    path, dtype, order, shape, version
        As the header says them; ``order`` is ``"C"`` or ``"F"``, ``version`` the format's major version.
    header_len : int
        Bytes up to the first data byte.
    room : int or None
        The most rows the count field can hold; None without such a field.
    ours : bool
        Whether the header is byte for byte what this package writes.
    rows, rows_on_disk : int
        The rows the header counts, and the whole rows the file holds.
    row_size, file_size : int
        In bytes.
    health : str
        ``"clean"``, ``"tail"`` (bytes after the last counted row), ``"truncated"`` (fewer bytes than counted rows) or
        ``"sequence"`` (several arrays in one file).
    tail_rows, tail_bytes : int
        The tail: its whole rows, and all of its bytes.
    torn_bytes : int
        What a truncated file holds of its last, torn row.
    notes : tuple of str
        Spellings in the header that some readers refuse.
    advice : str or None
        What to call.
    """

    path: str
    dtype: np.dtype[Any]
    order: Literal["C", "F"]
    shape: tuple[int, ...]
    version: int
    header_len: int
    room: int | None
    ours: bool
    rows: int
    rows_on_disk: int
    row_size: int
    file_size: int
    health: Literal["clean", "tail", "truncated", "sequence"]
    tail_rows: int
    tail_bytes: int
    torn_bytes: int
    notes: tuple[str, ...]
    advice: str | None


@dataclass(frozen=True, slots=True)
class Recovery(_Table):
    """What `recover` did.

    Attributes
    ----------
    path : str
    rows_before, rows : int
        The rows the header counted, and counts now.
    from_tail : int
        Rows taken from the tail; nobody acknowledged them, so their contents are unverified.
    zero_rows : int
        How many of those are all zero bytes.
    zero_run : int
        How many rows at the end, from the tail or not, are all zero bytes, as a power cut leaves them.
    lost : int
        Rows the header counted that are gone.
    cut, filled : int
        Bytes removed, and zero bytes added to complete a torn row.
    """

    path: str
    rows_before: int
    rows: int
    from_tail: int
    zero_rows: int
    zero_run: int
    lost: int
    cut: int
    filled: int


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """What `inspect` found of one column of a folder.

    Attributes
    ----------
    name : str
        Empty for a folder of items.
    rows : int
        Its rows, or its whole items.
    values : Report
        Its file, or that of its values.
    offsets : Report or None
        That of its offsets.
    """

    name: str
    rows: int
    values: Report
    offsets: Report | None

    def __str__(self) -> str:
        files = [file for file in (self.values, self.offsets) if file is not None]
        health = ", ".join(dict.fromkeys(file.health for file in files))
        return f"{_named(self)} {self.rows:,} {_rows(self)} of {self.values.dtype}, {health}"


@dataclass(frozen=True, slots=True)
class FolderReport(_Table):
    """What `inspect` found in a folder of items or of columns.

    Attributes
    ----------
    path : str
    rows : int
        The rows, or items, that every column has.
    columns : tuple of ColumnReport
        The columns, by name.
    advice : str or None
        What to call.
    """

    path: str
    rows: int
    columns: tuple[ColumnReport, ...]
    advice: str | None


@dataclass(frozen=True, slots=True)
class ColumnRecovery:
    """What `recover` did to one column of a folder.

    Attributes
    ----------
    name : str
        Empty for a folder of items.
    held, cut : int
        The rows, or whole items, that it had once its files were mended, and those cut because other columns lack them.
    values : Recovery
        How its file, or that of its values, was mended.
    offsets : Recovery or None
        How that of its offsets was.
    """

    name: str
    held: int
    cut: int
    values: Recovery
    offsets: Recovery | None

    def __str__(self) -> str:
        return f"{_named(self)} {self.held:,} {_rows(self)} held, {self.cut:,} of them cut"


def _named(column: ColumnReport | ColumnRecovery) -> str:
    return f"{column.name}:" if column.name else "items:"


def _rows(column: ColumnReport | ColumnRecovery) -> str:
    return "rows" if column.offsets is None else "items"


@dataclass(frozen=True, slots=True)
class FolderRecovery(_Table):
    """What `recover` did to a folder of items or of columns.

    Attributes
    ----------
    path : str
    rows : int
        The rows, or items, that every column has now.
    columns : tuple of ColumnRecovery
        What was done to each column, by name.
    """

    path: str
    rows: int
    columns: tuple[ColumnRecovery, ...]


@dataclass(frozen=True, slots=True)
class Joined(_Table):
    """What `concat` did.

    Attributes
    ----------
    path : str
    shape : tuple of int
        The output's shape now.
    rows, rows_before : int
        Its rows now, and before.
    inputs : int
        How many inputs were joined by this call.
    inputs_before : int
        How many were in the output already, for an earlier call that consumes them was interrupted.
    shared : int
        Bytes whose blocks the output shares with an input.
    tails : tuple of (str, int)
        The inputs with bytes after their last row, and how many: they were left out.
    """

    path: str
    shape: tuple[int, ...]
    rows: int
    rows_before: int
    inputs: int
    inputs_before: int
    shared: int
    tails: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class FolderJoined(_Table):
    """What `concat` did with folders.

    Attributes
    ----------
    path : str
    rows, rows_before : int
        The output's rows, or items, now, and before.
    inputs : int
        How many inputs were joined.
    shared : int
        Bytes whose blocks the output shares with an input.
    tails : tuple of (str, int)
        The inputs with bytes after the last row that every column has, and how many: they were left out.
    """

    path: str
    rows: int
    rows_before: int
    inputs: int
    shared: int
    tails: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """The tail that opening cut: bytes of an append that nobody acknowledged. False when there was none."""

    rows: int
    bytes: int

    def __bool__(self) -> bool:
        return bool(self.rows or self.bytes)

    def __str__(self) -> str:
        return f"{self.rows:,} rows ({self.bytes:,} bytes)"


@dataclass(frozen=True, slots=True)
class Torn(_Table):
    """Where the arrays of a `Sequence` end before the file does.

    Attributes
    ----------
    index : int
        How many whole arrays come before it.
    offset : int
        Where it begins in the file.
    bytes : int
        The bytes from there on.
    text : str
        What is wrong.
    """

    index: int
    offset: int
    bytes: int
    text: str
