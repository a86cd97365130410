"""Runs every example in the package's docstrings, native classes and methods too, in a folder of their own."""

import doctest
import inspect
import os
import sys
import tempfile

import npygrow


def examples():
    """The tests of the package's own docstring and of all it exports, each once."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    yield from (test for test in finder.find(npygrow, "npygrow", globs={}) if test.name == "npygrow")
    for name in npygrow.__all__:
        item = getattr(npygrow, name)
        if inspect.isclass(item) or inspect.isroutine(item):
            # module=False: a native class says that it belongs to another module than the one that exports it.
            yield from finder.find(item, f"npygrow.{name}", module=False, globs={})


def main():
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in examples():
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            runner.run(test)
            os.chdir("/")
    failed, tried = runner.summarize()
    print(f"{tried - failed} examples passed, {failed} failed")
    return 0 if tried and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
