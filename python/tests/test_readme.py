"""The README's Python, run from top to bottom as one program."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert len(blocks) >= 4
    names = {"__name__": "readme"}
    for block in blocks:
        # As many empty lines before it as in the README, so that a traceback names the README's line.
        lines_before = text.count("\n", 0, block.start(1))
        exec(compile("\n" * lines_before + block[1], README, "exec"), names)
