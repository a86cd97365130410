"""The Python of the README and of the guides: each page from top to bottom, as one program."""

import re
from pathlib import Path

import pytest
from support import optional

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [page for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/guides/*.md"))] if BLOCK.search(page.read_text("utf-8"))]


def test_there_are_pages():
    assert {"README.md", "corpus.md", "logging.md", "training.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text("utf-8")
    names = {"__name__": page.stem}
    without = 0
    for block in BLOCK.finditer(text):
        if "torch" in block[1] and not has_torch():
            without += 1
            continue
        # As many empty lines before it as in the page, so that a traceback names the page's line.
        lines_before = text.count("\n", 0, block.start(1))
        exec(compile("\n" * lines_before + block[1], page, "exec"), names)
    if without:
        optional("torch", f"{without} blocks of {page.name} are")


def has_torch():
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True
