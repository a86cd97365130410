"""Fixtures that several files share.

This folder is no package, so that the installed npygrow is tested, not its sources.
"""

import faulthandler
import os
import sys

import hypothesis
import pytest

LONGEST = 55  # seconds; a deadlock prints every stack and ends the run
stderr = None

hypothesis.settings.register_profile("npygrow", deadline=None, database=None, print_blob=True)
hypothesis.settings.load_profile("npygrow")


def pytest_configure():
    # While tests run, the error output is captured: the stacks need the real one.
    global stderr
    stderr = os.fdopen(os.dup(2), "w")


def pytest_unconfigure():
    stderr.close()


def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.stats.get("skipped", ()):
        terminalreporter.write_line(f"skipped {report.nodeid}: {report.longrepr[2].removeprefix('Skipped: ')}")
    if "kills" in sys.modules:
        for line in sys.modules["kills"].figures():
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def no_deadlock():
    faulthandler.dump_traceback_later(LONGEST, exit=True, file=stderr)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def path(tmp_path):
    """A name in an empty folder."""
    return tmp_path / "rows.npy"
