"""NumPy files that grow: append to one plain ``.npy`` at any time, lose nothing, read it while it grows.

>>> import os, tempfile
>>> import numpy as np, npygrow as ng
>>> path = os.path.join(tempfile.mkdtemp(), "pose.npy")
>>> with ng.Appender(path) as pose:            # made at the first append, or continued
...     pose.append(np.zeros((2, 3), "f4"))    # the numbers of the rows written
range(0, 2)
>>> np.load(path).shape                        # an ordinary file, also while it grows
(2, 3)
>>> pose = ng.open(path)                       # mapped, nothing loaded
>>> pose.shape, pose.refresh()
((2, 3), range(2, 2))
"""

from ._dataset import Dataset
from ._items import ColumnSpec
from ._native import (
    Appender,
    Array,
    Batches,
    DatasetAppender,
    RaggedAppender,
    Sequence,
    concat,
    ensure_appendable,
    inspect,
    is_appendable,
    needs_recovery,
    open,
    open_sequence,
    recover,
)
from ._ragged import Ragged
from ._verbs import append, append_from, save
from .compat import NpyAppendArray
from .errors import (
    FormatError,
    LatchedError,
    LockedError,
    MismatchError,
    NeedsRecoveryError,
    NotAppendableError,
    NpyError,
)
from .reports import (
    ColumnRecovery,
    ColumnReport,
    Dropped,
    FolderJoined,
    FolderRecovery,
    FolderReport,
    Joined,
    Recovery,
    Report,
    Torn,
)

__all__ = [
    "Appender",
    "Array",
    "Batches",
    "ColumnRecovery",
    "ColumnReport",
    "ColumnSpec",
    "Dataset",
    "DatasetAppender",
    "Dropped",
    "FolderJoined",
    "FolderRecovery",
    "FolderReport",
    "FormatError",
    "Joined",
    "LatchedError",
    "LockedError",
    "MismatchError",
    "NeedsRecoveryError",
    "NotAppendableError",
    "NpyAppendArray",
    "NpyError",
    "Ragged",
    "RaggedAppender",
    "Recovery",
    "Report",
    "Sequence",
    "Torn",
    "append",
    "append_from",
    "concat",
    "ensure_appendable",
    "inspect",
    "is_appendable",
    "needs_recovery",
    "open",
    "open_sequence",
    "recover",
    "save",
]
