"""The Python of the README and of the guides: each page from top to bottom, as one program."""

import re
from pathlib import Path

import pytest
from support import optional

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [page for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/guides/*.md"))] if BLOCK.search(page.read_text("utf-8"))]


def test_there_are_pages():
    pages = {"README.md", "corpus.md", "elsewhere.md", "logging.md", "training.md"}
    assert pages <= {page.name for page in PAGES}


# What a block may need that is not installed everywhere; those that CI has come first, and a lack of them is told first.
LIBRARIES = ["pyarrow", "awkward", "duckdb", "dask", "xarray", "polars", "torch"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text("utf-8")
    names = {"__name__": page.stem}
    lacking = [name for name in LIBRARIES if re.search(rf"\b{name}\b", text) and not can_import(name)]
    without = []
    for block in BLOCK.finditer(text):
        lacks = [name for name in lacking if re.search(rf"\b{name}\b", block[1])]
        if lacks:
            without += lacks
            continue
        # As many empty lines before it as in the page, so that a traceback names the page's line.
        lines_before = text.count("\n", 0, block.start(1))
        exec(compile("\n" * lines_before + block[1], page, "exec"), names)
    for name in lacking:
        if name in without:
            optional(name, f"{without.count(name)} blocks of {page.name} are")


def can_import(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True
