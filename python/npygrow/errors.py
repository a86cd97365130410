"""What can go wrong. File trouble stays ``OSError``, with errno and filename."""


class NpyError(Exception):
    """The root of this package's errors."""


class FormatError(NpyError, ValueError):
    """Not an ``.npy`` file, a broken header, an array NumPy would pickle, or more than a named limit."""


class MismatchError(NpyError, ValueError):
    """The rows or options given do not fit the file. Nothing was written."""


class NotAppendableError(NpyError, ValueError):
    """The file is whole, but its header has no room to grow: call `ensure_appendable`."""


class NeedsRecoveryError(NpyError, ValueError):
    """The file holds more or less than its header says, or its rows are half moved: call `recover`."""


class LockedError(NpyError, BlockingIOError):
    """Another appender holds the file."""


class LatchedError(NpyError):
    """An earlier failure, or a fork, left this handle unusable: open the file again."""
