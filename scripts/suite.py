"""Runs pytest on the installed wheel, and says which one that is; the arguments are pytest's."""

import platform
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import npygrow

if __name__ == "__main__":  # Not in the processes that tests spawn, which import this file again.
    where = Path(npygrow.__file__).parent
    if not where.is_relative_to(sysconfig.get_path("platlib")):
        sys.exit(f"the suite judges the built wheel, but `import npygrow` found {where}; run it with `make pytest`")
    print(f"npygrow {version('npygrow')} in {where}, NumPy {np.__version__}, Python {platform.python_version()}", flush=True)
    sys.exit(pytest.main(sys.argv[1:]))
