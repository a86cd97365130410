"""What other libraries are given: awkward's layouts over the mapping, and names of columns that are text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import MismatchError


def awkward() -> ModuleType:
    """The library, or what to install."""
    try:
        return import_module("awkward")
    except ImportError as error:
        raise ImportError(f"to_awkward needs the library awkward ({error}): pip install awkward") from error


def awkward_rows(array: NDArray[Any], path: str) -> Any:
    """The layout of an array of one axis or more, nested by all that follow."""
    try:
        return awkward().from_numpy(array, regulararray=True, highlevel=False)
    except (TypeError, ValueError) as error:
        error.add_note(f"{path}: awkward does not take rows of dtype {array.dtype}")
        raise


def awkward_items(values: NDArray[Any], offsets: NDArray[np.int64], numbers: range, text: bool, path: str) -> Any:
    """The layout of the items of these numbers. Their offsets are to be good: awkward looks wherever they say."""
    contents, index = awkward().contents, awkward().index
    if text and (values.dtype != np.uint8 or values.ndim != 1):
        raise MismatchError(f"{path}: expected items of bytes (|u1) as text, found items of dtype {values.dtype}")
    content = contents.NumpyArray(values, parameters={"__array__": "char"}) if text else awkward_rows(values, path)
    parameters = {"__array__": "string"} if text else None
    if numbers.step == 1:
        these = offsets[numbers.start : numbers.start + len(numbers) + 1]
        return contents.ListOffsetArray(index.Index64(these), content, parameters=parameters)
    starts, stops = offsets[numbers], offsets[np.asarray(numbers) + 1]
    return contents.ListArray(index.Index64(starts), index.Index64(stops), content, parameters=parameters)


def texts(path: str, columns: Mapping[str, Any], text: str | Iterable[str]) -> list[str]:
    """The columns that are to be text."""
    names = [text] if isinstance(text, str) else list(text)
    for name in names:
        if name not in columns:
            raise KeyError(f"{path}: no column {name!r} among {', '.join(columns)}")
    return names
