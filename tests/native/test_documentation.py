"""The programs of docs/native.md run, one after another, and what they assert holds."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "native.md"


def test_the_examples_run() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S)
    assert len(blocks) >= 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, DOCUMENT.name, "exec"), names)


def test_every_public_function_has_an_example() -> None:
    from edgedet import ops

    text = DOCUMENT.read_text()
    functions = [name for name in ops.__all__ if name.islower()]
    assert [name for name in functions if f"ops.{name}(" not in text] == []
