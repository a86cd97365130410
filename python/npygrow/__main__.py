"""The command ``npy``, also as ``python -m npygrow``."""

import signal
import sys

from ._native import main as _main


def main() -> int:
    """Runs the command on the process's own arguments and returns its exit status."""
    # The command runs outside the interpreter, where Python's own Ctrl-C handler would not be heard.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _main(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
